"""The engine ``spark`` in this process: for entity rows and history that exceed memory, but not this machine.

The join is that of ``spark_join``, by ``pyspark`` in local mode; files pass through a temporary folder. What exceeds
the machine is a job on a cluster, which ``spark_jobs`` starts.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modelwright.adapters.spark_join import joined, reached
from modelwright.adapters.spark_workers import BUCKET_ROWS, Work
from modelwright.errors import InvalidInput, NotFound, PluginError
from modelwright.features import arrow
from modelwright.features.encoding import flat
from modelwright.features.history import History, Partition, decoded, parquet
from modelwright.features.layout import partition_path
from modelwright.features.ondemand import computed
from modelwright.features.plan import Load, Plan, functions_of, plan_of
from modelwright.project import Project, Service
from modelwright.storage import BucketName, Stored

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_INSTALL = "install modelwright[spark], and Java 17 or later"
_LOOPBACK = "127.0.0.1"
_LOCAL: dict[str, bool | float | int | str | None] = {
    "spark.driver.bindAddress": _LOOPBACK,
    "spark.driver.host": _LOOPBACK,
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@dataclass(frozen=True)
class Folder:
    """Buckets in a folder that driver and workers share: as much of ``Blobs`` as a join needs."""

    root: str

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        path = Path(self.root, bucket, key)
        if not path.is_file():
            raise NotFound(f"{path} does not exist")
        return Stored(path.read_bytes(), "", "", {})

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """See ``Blobs``."""
        path = Path(self.root, bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return ""


@dataclass(frozen=True)
class SparkEngine:
    """Joins by the session that is active, or else by one that is started, which goes on until the process ends.

    Args:
        file_rows: entity rows that a worker reads, and puts into their order again, at once.
        bucket_rows: entity rows and rows of history that a worker joins at once, about.
    """

    file_rows: int = 500_000
    bucket_rows: int = BUCKET_ROWS

    def historical(
        self,
        project: Project,
        service: Service,
        rows: pa.Table,
        *,
        history: History,
        workspace: str,
        load: Load,
        available: bool = True,
    ) -> pa.Table:
        """See ``Engine``."""
        plan = plan_of(project, service)
        request = arrow.request_columns(service, rows)
        columns: dict[str, Any] = {}
        if plan.views:
            with tempfile.TemporaryDirectory(prefix="modelwright-spark-") as root:
                folder = Folder(root)
                work = Work(
                    project,
                    service,
                    workspace,
                    files=_entity_rows(folder, pa.table(request), self.file_rows),
                    partitions=_partitions(folder, project, plan, request, history, workspace, available=available),
                    blobs=partial(Folder, root),
                    known_by=history.known_by,
                    available=available,
                    bucket_rows=self.bucket_rows,
                )
                parts = joined(session(), work, rows.num_rows)
                stored = pa.concat_tables([decoded(folder.get("lake", part.key).body) for part in parts])
            columns = {name: flat(stored[name]) for name in stored.column_names}
        if plan.on_demand:
            columns |= computed(plan, request, columns, functions_of(plan, load))
        return arrow.placed(plan, rows, request, columns)


def session() -> "SparkSession":
    """Return the active session, or start one on this machine whose workers run this Python.

    Raises:
        PluginError: ``pyspark`` is not installed, or finds no Java.
        InvalidInput: the active session is one of a cluster, whose workers do not see this machine's files.
    """
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise PluginError(f"the engine spark needs pyspark: {_INSTALL}") from error
    found = SparkSession.getActiveSession()
    if found is None:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", _LOOPBACK)
        try:
            found = SparkSession.builder.master("local[*]").appName("modelwright").config(map=_LOCAL).getOrCreate()
        except PySparkRuntimeError as error:
            raise PluginError(f"the engine spark does not start: {_INSTALL}; {error}") from error
    require_local(found.sparkContext.master or "")
    return found


def require_local(master: str) -> None:
    """Raise ``InvalidInput`` where Spark's workers are not on this machine."""
    if not master.startswith("local"):
        raise InvalidInput(
            f"the active Spark session runs on {master}: the engine spark joins in local mode; "
            "submit the job in infra/spark to a cluster"
        )


def _entity_rows(folder: Folder, rows: pa.Table, file_rows: int) -> tuple[str, ...]:
    """Write request columns in files that workers read one at a time, and return their keys."""
    keys = []
    for n, start in enumerate(range(0, max(rows.num_rows, 1), file_rows)):
        keys.append(f"asked/{n:06d}.parquet")
        folder.put("lake", keys[-1], parquet(rows.slice(start, file_rows)))
    return tuple(keys)


def _partitions(
    folder: Folder,
    project: Project,
    plan: Plan,
    request: Mapping[str, Any],
    history: History,
    workspace: str,
    *,
    available: bool,
) -> dict[str, tuple[Partition, ...]]:
    """Bring the partitions that are needed to where workers read them, one at a time and as they are."""
    times, known = arrow.times_of(request[plan.service.time_column])
    span = (int(times[known].min()), int(times[known].max())) if known.any() else (0, -1)
    there = {view.source: history.manifest(view.source).partitions for view in plan.views.values()}
    chosen = reached(plan, project, there, span, available=available)
    for source, partitions in chosen.items():
        for partition in partitions:
            path = partition_path(workspace, source, partition.week, partition.digest)
            folder.put("lake", path, history.body(source, partition))
    return chosen
