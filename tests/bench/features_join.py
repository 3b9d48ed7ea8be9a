"""Point-in-time joins of a million entities with three views of ten features: ours, polars and Feast on DuckDB.

``python -m bench.features_join FOLDER`` (in ``tests``) makes the data below a folder, once, joins it with each side in
processes of their own, one after the other, and prints a table. Every side starts from Parquet on this disk (zstd) with
the same rows, and ends with one table in memory, entities in their order. Inside the timing: reading, joining, putting
the columns together. Outside: imports; that our rows are in the store (partitions by week, as ``history.fold`` left
them); that Feast's definitions are applied. Ours also honours from when to when each version was known; the others
know event times alone, so "ours by event time" is their task, and its answers must be those of polars.

Feast needs an environment of its own: ``FEAST_PYTHON`` names its interpreter. Without one it is not measured.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.features.history import History, canonical, fold
from modelwright.features.offline import get_historical_features
from modelwright.project import Project
from modelwright.storage import Anything, BucketName, Put, Stored

VIEWS, FEATURES, ENTITIES, ROWS = 3, 10, 50_000, 1_000_000
TTL_D, DAYS, TIMES = 7, 30, 3
AT_MOST_POLARS, AT_LEAST_FEAST = 1.3, 4.0
START, DAY = 1_767_225_600_000_000, 86_400_000_000
TIME = pa.timestamp("us", tz="UTC")
SIDES = ("ours", "ours by event time", "polars", "polars lazy", "feast duckdb")


@dataclass(frozen=True)
class Measured:
    """What one run of a side took, and the sum and count of the values of a view's first feature each."""

    wall_s: float
    cpu_s: float
    peak_mb: int
    sums: tuple[float, ...]
    counts: tuple[int, ...]


def names(view: int) -> list[str]:
    """Return a view's features."""
    return [f"v{view}_f{feature}" for feature in range(FEATURES)]


def project() -> Project:
    """Return the definitions: three views, a source each."""
    times = {name: {"type": "timestamp"} for name in ("event_timestamp", "created")}
    return Project.model_validate(
        {
            "name": "bench",
            "sources": {
                f"s{view}": {
                    "columns": {
                        "entity_id": {"type": "integer"},
                        **times,
                        **{n: {"type": "number"} for n in names(view)},
                    },
                    "key": ["entity_id", "event_timestamp"],
                    "event_time": "event_timestamp",
                    "available_at": "created",
                }
                for view in range(VIEWS)
            },
            "views": {
                f"fv{view}": {
                    "entity": ["entity_id"],
                    "source": f"s{view}",
                    "features": names(view),
                    "ttl": f"{TTL_D}d",
                }
                for view in range(VIEWS)
            },
        }
    )


# --- data --------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """Make files for everybody, and our store of them: 20 events per entity and view, one in a hundred twice."""
    for view in range(VIEWS):
        random = np.random.default_rng(view)
        entity, event = random.integers(0, ENTITIES, ROWS), START + random.integers(0, DAYS * DAY, ROWS)
        again = ROWS // 100
        source = random.integers(0, ROWS - again, again)
        entity[-again:], event[-again:] = entity[source], event[source]
        created = event + random.integers(0, 60_000_000, ROWS)
        created[-again:] = created[source] + 1_000_000 + np.arange(again)
        columns = {
            "entity_id": pa.array(entity),
            "event_timestamp": pa.array(event, TIME),
            "created": pa.array(created, TIME),
        }
        columns |= {name: pa.array(random.standard_normal(ROWS)) for name in names(view)}
        table = pa.table(columns)
        pq.write_table(table, folder / f"fv{view}.parquet", compression="zstd", row_group_size=250_000)
        _store(folder, f"s{view}", table)
    random = np.random.default_rng(99)
    asked = {
        "entity_id": pa.array(random.integers(0, int(ENTITIES * 1.02), ROWS)),
        "event_timestamp": pa.array(START + random.integers(5 * DAY, DAYS * DAY, ROWS), TIME),
        "label": pa.array(random.integers(0, 2, ROWS)),
    }
    pq.write_table(pa.table(asked), folder / "entities.parquet", compression="zstd")


class Folder(MemoryBlobs):
    """A bucket on this disk."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def put(self, bucket: BucketName, key: str, body: bytes, **options: Any) -> str:
        """See ``Blobs``."""
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return ""

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        return Stored((self._root / key).read_bytes(), "", "", {})


def _store(folder: Path, source: str, table: pa.Table) -> None:
    declared = project().sources[source]
    tables = MemoryTables()
    history = History(blobs=Folder(folder), tables=tables, workspace="w", cache={})
    rows = canonical(declared, table, now_us=0, arrival="a")
    folded = fold(history, source, declared, history.manifest(source), rows)
    write = history.replacement(source, history.manifest(source), folded.partitions)
    assert isinstance(write, Put)
    (folder / f"{source}.json").write_text(json.dumps(write.item))


# --- sides -------------------------------------------------------------------------------


def ours(folder: Path, *, available: bool) -> tuple[float, Callable[[str], Any]]:
    """Join by the library, as a job does."""
    tables = MemoryTables()
    for view in range(VIEWS):
        tables.write([Put("features", json.loads((folder / f"s{view}.json").read_text()), Anything())])
    declared = project()
    wanted = [f"fv{view}:{name}" for view in range(VIEWS) for name in names(view)]
    stores: dict[str, Any] = {"blobs": Folder(folder), "tables": tables, "workspace": "w", "cache": {}}
    begin = time.perf_counter()
    entities = pq.read_table(folder / "entities.parquet")
    joined = get_historical_features(declared, entities, wanted, available=available, **stores)
    spent = time.perf_counter() - begin
    return spent, lambda name: joined[f"f{name.partition('_')[0]}:{name}"].to_numpy()


def polars(folder: Path, *, lazy: bool) -> tuple[float, Callable[[str], Any]]:
    """Join by ``join_asof``, as its documentation does."""
    import polars as pl

    read: Any = pl.scan_parquet if lazy else pl.read_parquet
    begin = time.perf_counter()
    joined = read(folder / "entities.parquet").with_row_index("place").sort("event_timestamp")
    for view in range(VIEWS):
        right = read(folder / f"fv{view}.parquet").sort(["event_timestamp", "created"]).drop("created")
        joined = joined.join_asof(
            right,
            on="event_timestamp",
            by="entity_id",
            strategy="backward",
            tolerance=f"{TTL_D}d",
            check_sortedness=False,
        )
    joined = joined.sort("place").drop("place")
    joined = joined.collect() if lazy else joined
    spent = time.perf_counter() - begin
    return spent, lambda name: joined[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


RUN: dict[str, Callable[[Path], tuple[float, Callable[[str], Any]]]] = {
    "ours": lambda folder: ours(folder, available=True),
    "ours by event time": lambda folder: ours(folder, available=False),
    "polars": lambda folder: polars(folder, lazy=False),
    "polars lazy": lambda folder: polars(folder, lazy=True),
}

FEAST = """
import json, sys, time
from datetime import timedelta
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64
folder, views, ttl = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
registry = f"{folder}/feast_registry.db"
online = {"type": "sqlite", "path": registry + ".o"}
config = RepoConfig(project="p", provider="local", registry=registry, online_store=online,
                    offline_store={"type": "duckdb"}, entity_key_serialization_version=3)
store = FeatureStore(config=config)
entity = Entity(name="entity_id", join_keys=["entity_id"], value_type=ValueType.INT64)
declared = [FeatureView(name=f"fv{n}", entities=[entity], ttl=timedelta(days=ttl),
                        schema=[Field(name=c, dtype=Float64) for c in columns],
                        source=FileSource(name=f"s{n}", path=f"{folder}/fv{n}.parquet",
                                          timestamp_field="event_timestamp", created_timestamp_column="created"))
            for n, columns in enumerate(views)]
store.apply([entity, *declared])
begin = time.perf_counter()
frame = pd.read_parquet(f"{folder}/entities.parquet")
wanted = [f"fv{n}:{c}" for n, columns in enumerate(views) for c in columns]
joined = store.get_historical_features(frame, wanted).to_arrow()
wall = time.perf_counter() - begin
peak = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM:"))
firsts = [joined[columns[0]] for columns in views]
print(json.dumps({"wall_s": wall, "cpu_s": time.process_time(), "peak_mb": peak,
                  "sums": [float(c.to_pandas().sum()) for c in firsts],
                  "counts": [len(c) - c.null_count for c in firsts]}))
"""


def measured(folder: Path) -> dict[str, Measured]:
    """Return the median run of each side that is here; sides take turns, each run in a process of its own."""
    runs: dict[str, list[Measured]] = {}
    for turn in range(TIMES):
        for side in SIDES:
            if (command := _command(side, folder)) and (side in RUN or not turn):
                runs.setdefault(side, []).append(_run(command, Path(__file__).parents[1] if side in RUN else folder))
    return {side: sorted(some, key=lambda run: run.wall_s)[len(some) // 2] for side, some in runs.items()}


def _command(side: str, folder: Path) -> list[str]:
    """Return what runs a side; nothing if it is not here."""
    if side in RUN:
        return [sys.executable, "-m", "bench.features_join", str(folder), side]
    views = json.dumps([names(view) for view in range(VIEWS)])
    python = os.environ.get("FEAST_PYTHON", "")
    return [python, "-W", "ignore", "-c", FEAST, str(folder), views, str(TTL_D)] if python else []


def _run(command: list[str], where: Path) -> Measured:
    done = subprocess.run(command, cwd=where, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return Measured(said["wall_s"], said["cpu_s"], said["peak_mb"], tuple(said["sums"]), tuple(said["counts"]))


def alone(side: str, folder: Path) -> Measured:
    """Measure a side in this process."""
    wall, column = RUN[side](folder)
    peak, cpu = _most_memory(), time.process_time()
    firsts = [column(names(view)[0]) for view in range(VIEWS)]
    return Measured(
        wall, cpu, peak, tuple(float(np.nansum(c)) for c in firsts), tuple(int((~np.isnan(c)).sum()) for c in firsts)
    )


def _most_memory() -> int:
    """Return the most MB that this program has had (``ru_maxrss`` would count the process that it was forked from)."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


# --- report ------------------------------------------------------------------------------


def claims(found: dict[str, Measured]) -> Iterable[tuple[str, bool]]:
    """Yield what is asked for and whether it is so."""
    mine, equal, other = found["ours"], found["ours by event time"], found["polars"]
    yield "by event time, the same answers as polars", (equal.sums, equal.counts) == (other.sums, other.counts)
    for name in ("polars", "polars lazy"):
        ratio = mine.wall_s / found[name].wall_s
        yield f"{ratio:.2f} times the time of {name} (at most {AT_MOST_POLARS})", ratio <= AT_MOST_POLARS
        yield f"{mine.peak_mb} MB, {name} {found[name].peak_mb} MB (less)", mine.peak_mb < found[name].peak_mb
    if feast := found.get("feast duckdb"):
        ratio = feast.wall_s / mine.wall_s
        yield f"{ratio:.1f} times faster than Feast on DuckDB (at least {AT_LEAST_FEAST})", ratio >= AT_LEAST_FEAST


def main(folder: Path) -> None:
    """Print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "entities.parquet").exists():
        make(folder)
    found = measured(folder)
    lines = [f"{'':20} {'wall s':>7} {'cpu s':>7} {'peak MB':>8} {'matched':>10}"]
    for side in SIDES:
        run = found.get(side)
        lines.append(
            f"{side:20} {run.wall_s:7.2f} {run.cpu_s:7.2f} {run.peak_mb:8} {sum(run.counts):10,}"
            if run
            else f"{side:20} not measured: FEAST_PYTHON names no interpreter that has Feast"
        )
    lines += [f"{'yes' if so else 'NO':4} {claim}" for claim, so in claims(found)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.stdout.write(json.dumps(alone(sys.argv[2], Path(sys.argv[1])).__dict__) + "\n")
    else:
        main(Path(sys.argv[1]).resolve())
