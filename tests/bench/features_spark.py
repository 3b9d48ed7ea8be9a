"""A point-in-time join of five million entity rows with a view, by both engines: what it takes, with no claim.

``python -m bench.features_spark FOLDER`` (in ``tests``) makes the data below a folder, once, and joins it with each
engine in a process of its own. Both start from entity rows in memory and partitions on this disk, and end with one
table in memory. ``cold`` holds what comes once in a process: for Spark the start of its JVM and workers. Memory is the
peak of the process that asks, and, for Spark, of its JVM and of its largest worker besides. On one machine Spark has
nothing to gain: it is for what one machine does not hold.
"""

import hashlib
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.features_join import Folder
from modelwright.adapters.memory import MemoryTables
from modelwright.features.history import History, canonical, fold, parquet
from modelwright.features.offline import get_historical_features
from modelwright.project import Project
from modelwright.storage import Anything, Put

ENTITIES, HISTORY, ASKED, FEATURES = 100_000, 2_000_000, 5_000_000, 5
START, DAY = 1_767_225_600_000_000, 86_400_000_000
TIME = pa.timestamp("us", tz="UTC")
NAMES = tuple(f"f{n}" for n in range(FEATURES))
PROJECT = Project.model_validate(
    {
        "name": "bench",
        "sources": {
            "rows": {
                "columns": {
                    "entity_id": {"type": "integer"},
                    "at": {"type": "timestamp"},
                    "created": {"type": "timestamp"},
                    **{name: {"type": "number"} for name in NAMES},
                },
                "key": ["entity_id", "at"],
                "event_time": "at",
                "available_at": "created",
            }
        },
        "views": {"view": {"entity": ["entity_id"], "source": "rows", "features": list(NAMES), "ttl": "7d"}},
    }
)


def make(folder: Path) -> None:
    """Make entity rows and our store of the history."""
    random = np.random.default_rng(1)
    at = START + random.integers(0, 30 * DAY, HISTORY)
    columns: dict[str, Any] = {
        "entity_id": pa.array(random.integers(0, ENTITIES, HISTORY)),
        "at": pa.array(at, TIME),
        "created": pa.array(at + random.integers(0, 60_000_000, HISTORY), TIME),
    }
    columns |= {name: pa.array(random.standard_normal(HISTORY)) for name in NAMES}
    declared, tables = PROJECT.sources["rows"], MemoryTables()
    history = History(blobs=Folder(folder), tables=tables, workspace="w", cache={})
    folded = fold(
        history,
        "rows",
        declared,
        history.manifest("rows"),
        canonical(declared, pa.table(columns), now_us=0, arrival="a"),
    )
    write = history.replacement("rows", history.manifest("rows"), folded.partitions)
    assert isinstance(write, Put)
    asked = {
        "entity_id": pa.array(random.integers(0, ENTITIES, ASKED)),
        "event_timestamp": pa.array(START + random.integers(0, 30 * DAY, ASKED), TIME),
    }
    pq.write_table(pa.table(asked), folder / "asked.parquet", compression="zstd")
    (folder / "manifest.json").write_text(json.dumps(write.item))


def side(folder: Path, engine: str) -> dict[str, Any]:
    """Join twice and return what it took."""
    tables = MemoryTables()
    tables.write([Put("features", json.loads((folder / "manifest.json").read_text()), Anything())])
    asked = pq.read_table(folder / "asked.parquet")
    features = [f"view:{name}" for name in NAMES]
    stores: dict[str, Any] = {"blobs": Folder(folder), "tables": tables, "workspace": "w", "engine": engine}
    watch = Watch()
    walls = []
    for _ in range(2):
        start = time.perf_counter()
        found = get_historical_features(PROJECT, asked, features, cache={}, **stores)
        walls.append(time.perf_counter() - start)
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    others = watch.ended()
    digest = hashlib.sha256(parquet(found.combine_chunks())).hexdigest()
    return {"cold_s": walls[0], "warm_s": walls[1], "mb": mine, **others, "digest": digest}


class Watch:
    """The peaks of this process's descendants: a JVM, and Python's workers below it."""

    def __init__(self) -> None:
        self._peaks: dict[str, int] = {"java": 0, "python": 0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def ended(self) -> dict[str, int]:
        """Stop, and return the largest of each in MB."""
        self._over.set()
        self._thread.join()
        return {"jvm_mb": self._peaks["java"], "worker_mb": self._peaks["python"]}

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            for name, peak in _descendants(Path("/proc/self").resolve().name):
                kind = "java" if name == "java" else "python"
                self._peaks[kind] = max(self._peaks[kind], peak)


def _descendants(ancestor: str) -> list[tuple[str, int]]:
    """Return the name and peak memory in MB of each descendant of a process."""
    said: dict[str, dict[str, str]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:  # it is over
            continue
        said[status.parent.name] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    found, waiting = [], [ancestor]
    while waiting:
        parent = waiting.pop()
        for process, fields in said.items():
            if fields.get("PPid") == parent:
                waiting.append(process)
                found.append((fields["Name"], int(fields.get("VmHWM", "0 kB").split()[0]) // 1024))
    return found


def main(folder: Path) -> None:
    """Measure both engines and print a table."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "manifest.json").exists():
        make(folder)
    sys.stdout.write(f"{ASKED:,} entity rows x 1 view of {FEATURES} features, {HISTORY:,} rows of history\n")
    sys.stdout.write(f"{'engine':8}{'cold s':>9}{'warm s':>9}{'driver MB':>11}{'JVM MB':>9}{'worker MB':>11}\n")
    digests = set()
    for engine in ("arrow", "spark"):
        command = [sys.executable, "-m", "bench.features_spark", str(folder), engine]
        said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        digests.add(said["digest"])
        figures = (
            f"{said['cold_s']:9.1f}{said['warm_s']:9.1f}{said['mb']:11,}{said['jvm_mb']:9,}{said['worker_mb']:11,}"
        )
        sys.stdout.write(f"{engine:8}{figures}\n")
    sys.stdout.write("the same answer, to the byte\n" if len(digests) == 1 else "THE ANSWERS DIFFER\n")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.stdout.write(json.dumps(side(Path(sys.argv[1]), sys.argv[2])) + "\n")
    else:
        main(Path(sys.argv[1]))
