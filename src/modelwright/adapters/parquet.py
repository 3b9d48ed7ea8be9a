"""Parquet, for tools that read nothing else: the log, and what tracking settled.

An experiment's runs are one dataset (``pyarrow.dataset.dataset(<folder>)``, DuckDB, Athena, Spark), and so are the
points of their metrics. Times are milliseconds since 1970 as the client told them, so any integer.

===================  ================================  ==================================================
dataset              column                            type
===================  ================================  ==================================================
runs                 ``run_id``, ``experiment_id``     string
                     ``run_name``, ``user_id``         string
                     ``status``, ``lifecycle_stage``   string; the stage is the run's own
                     ``start_time_ms``                 int64
                     ``end_time_ms``                   int64 or null
                     ``artifact_uri``                  string
                     ``params``, ``tags``              map of string to string
                     ``metrics``                       map of string to double: the latest values
                     ``datasets``                      list of (``name``, ``digest``, ``context``)
points               ``run_id``, ``key``               string
                     ``step``, ``timestamp_ms``        int64
                     ``value``                         double
===================  ================================  ==================================================
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelwright.log import LogItem
from modelwright.tracking.entities import Point, Run

RUNS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("experiment_id", pa.string(), nullable=False),
        pa.field("run_name", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("status", pa.string()),
        pa.field("lifecycle_stage", pa.string()),
        pa.field("start_time_ms", pa.int64()),
        pa.field("end_time_ms", pa.int64()),
        pa.field("artifact_uri", pa.string()),
        pa.field("params", pa.map_(pa.string(), pa.string())),
        pa.field("tags", pa.map_(pa.string(), pa.string())),
        pa.field("metrics", pa.map_(pa.string(), pa.float64())),
        pa.field("datasets", pa.list_(pa.struct({name: pa.string() for name in ("name", "digest", "context")}))),
    ]
)
POINTS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)
_CONTEXT = "mlflow.data.context"
_GROUP = 100_000
"""Rows of a row group: what is in memory at a time while points are written."""


class ParquetTables:
    """``tracking.tabular.Tabular`` as Parquet (zstd)."""

    suffix = ".parquet"

    def runs(self, runs: Sequence[Run]) -> bytes:
        """Return the file of some runs."""
        return to_parquet(pa.Table.from_pylist([_row(run) for run in runs], schema=RUNS))

    def points(self, points: Iterable[tuple[str, Point]]) -> bytes:
        """Return the file of points, each told with its run; empty when there is none."""
        return _written(_groups(points))

    def merged(self, files: Iterable[tuple[bytes, Collection[str]]]) -> bytes:
        """Return the rows of files of one kind as one, of each but those of some runs; empty when none is left."""
        groups = (group for file, without in files for group in _kept(file, without))
        return _written(groups)


def events_table(items: Sequence[LogItem]) -> pa.Table:
    """Return log items as a table: the envelope's fields as columns, its data as JSON, and the hash."""
    ordered = sorted(items, key=lambda item: (item.envelope.stream, item.envelope.sequence))
    rows = [item.envelope.model_dump(exclude={"data"}) for item in ordered]
    data = [{"data": json.dumps(item.envelope.data, sort_keys=True), "hash": item.hash} for item in ordered]
    return pa.Table.from_pylist([{**row, **more} for row, more in zip(rows, data, strict=True)])


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as a Parquet file (zstd)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue())


def _row(run: Run) -> dict[str, object]:
    names = ("run_id", "experiment_id", "run_name", "user_id", "status", "lifecycle_stage", "artifact_uri")
    return {
        **{name: getattr(run, name) for name in names},
        "start_time_ms": run.start_time,
        "end_time_ms": run.end_time,
        "params": sorted(run.params.items()),
        "tags": sorted(run.tags.items()),
        "metrics": [(key, run.metrics[key].value) for key in sorted(run.metrics)],
        "datasets": [{"name": d.name, "digest": d.digest, "context": d.tags.get(_CONTEXT)} for d in run.datasets],
    }


def _groups(points: Iterable[tuple[str, Point]]) -> Iterator[pa.Table]:
    rest = iter(points)
    while group := list(islice(rest, _GROUP)):
        columns = (
            [run_id for run_id, _ in group],
            [point.key for _, point in group],
            [point.step for _, point in group],
            [point.timestamp for _, point in group],
            [point.value for _, point in group],
        )
        yield pa.table(list(columns), schema=POINTS)


def _kept(file: bytes, without: Collection[str]) -> Iterator[pa.Table]:
    dropped = pa.array(sorted(without), pa.string())
    opened = pq.ParquetFile(pa.BufferReader(file))
    for number in range(opened.num_row_groups):
        group = opened.read_row_group(number)
        yield group.filter(pc.invert(pc.is_in(group["run_id"], value_set=dropped))) if without else group


def _written(groups: Iterable[pa.Table]) -> bytes:
    """Return tables of one schema as one file, at most one of them in memory at a time; empty when there is no row."""
    filled = (group for group in groups if group.num_rows)
    if (first := next(filled, None)) is None:
        return b""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, first.schema, compression="zstd") as writer:
        for group in chain([first], filled):
            writer.write_table(group)
    return bytes(sink.getvalue())
