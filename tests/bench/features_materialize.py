"""What it takes to materialize ten million rows: memory, time, and write units per million rows.

    python tests/bench/features_materialize.py [rows in millions] [files]

Rows of a year of card payments land in files, in order of time, a few of each file late and a few corrected, and are
folded in one by one as ``materialize`` does, for a latest view and a window view. Then both views are filled
again by a backfill. This runs in a child process whose peak memory is told; objects lie in a folder and items in
SQLite, as they lie in S3 and DynamoDB: not in the memory that is measured. Units are reckoned from the sizes of items.
"""

import io
import json
import multiprocessing
import pickle
import resource
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.adapters.memory import MemoryBlobs, MemoryTables, holds
from modelwright.adapters.metering import item_size
from modelwright.context import Call
from modelwright.errors import ConditionFailed, NotFound
from modelwright.events import BackfillRequested, Delivery, Envelope, UploadAccepted, Window
from modelwright.features import materialization, refilling
from modelwright.log import Log, new_id
from modelwright.project import Project
from modelwright.storage import BucketName, Item, Key, Listed, Page, Put, Stored, TableName, Write, admissible, key_of

START = datetime(2025, 1, 1, tzinfo=UTC)
CARDS = 2_000
WEEKS = 52
DOLLARS_PER_MILLION_UNITS = 0.625
PROJECT = Project.model_validate(
    {
        "name": "bench",
        "sources": {
            "payments": {
                "columns": {
                    "payment": {"type": "integer"},
                    "card": {"type": "integer"},
                    "at": {"type": "timestamp"},
                    "known": {"type": "timestamp"},
                    "amount": {"type": "number", "decimals": 2},
                    "shop": {"type": "integer"},
                    "declined": {"type": "boolean"},
                },
                "key": ["payment"],
                "event_time": "at",
                "available_at": "known",
            }
        },
        "views": {
            "last_payment": {"entity": ["card"], "source": "payments", "features": ["amount", "shop"], "ttl": "90d"},
            "spending": {
                "entity": ["card"],
                "source": "payments",
                "aggregates": {
                    "n": {"function": "count"},
                    "sum": {"function": "sum", "column": "amount"},
                    "most": {"function": "max", "column": "amount"},
                    "declined": {"function": "count", "where": "declined"},
                },
                "windows": ["1d", "7d"],
            },
        },
    }
)


class FolderBlobs(MemoryBlobs):
    """Objects in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        path = self._folder / bucket / key
        if not path.exists():
            raise NotFound(f"{bucket}/{key} does not exist")
        return Stored(path.read_bytes(), "", "", {})

    def put(self, bucket: BucketName, key: str, body: bytes, **_: Any) -> str:
        """See ``Blobs``."""
        path = self._folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return ""

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        """See ``Blobs``."""
        root = self._folder / bucket
        for path in sorted((root / prefix).rglob("*")):
            if path.is_file():
                yield Listed(str(path.relative_to(root)), path.stat().st_size, "")


class SqliteTables(MemoryTables):
    """Items in SQLite, and what writing them would cost in DynamoDB."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._sql = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for pragma in ("synchronous=OFF", "journal_mode=OFF", "locking_mode=EXCLUSIVE"):
            self._sql.execute(f"PRAGMA {pragma}")
        self._sql.execute("CREATE TABLE items (t TEXT, pk TEXT, sk TEXT, body BLOB, PRIMARY KEY (t, pk, sk))")
        self._guard = threading.RLock()
        self.units = {"online": 0, "other": 0}
        self.writes = 0

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        with self._guard:
            row = self._sql.execute("SELECT body FROM items WHERE t=? AND pk=? AND sk=?", (table, *key)).fetchone()
        return None if row is None else pickle.loads(row[0])

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        """See ``Tables``; one page holds all."""
        order = "DESC" if options.get("reverse") else "ASC"
        with self._guard:
            text = f"SELECT sk, body FROM items WHERE t=? AND pk=? ORDER BY sk {order}"
            rows = self._sql.execute(text, (table, pk)).fetchall()
        start, end, prefix = (options.get(name, "") for name in ("start", "end", "prefix"))
        chosen = [b for sk, b in rows if sk.startswith(prefix) and sk >= start and (not end or sk <= end)]
        return Page(tuple(pickle.loads(b) for b in chosen[: options.get("limit") or None]))

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        admissible(writes)
        with self._guard:
            before = [self.get(write.table, key_of(write)) for write in writes]
            failed = tuple(n for n, w in enumerate(writes) if not holds(w.condition, before[n]))
            if failed:
                raise ConditionFailed("conditions do not hold", failed)
            for write, old in zip(writes, before, strict=True):
                self._one(write, old, 2 if len(writes) > 1 else 1)

    def _one(self, write: Write, old: Item | None, factor: int) -> None:
        key = key_of(write)
        new = write.item if isinstance(write, Put) else {}
        size = max(item_size(new), item_size(old or {}))
        self.units["online" if "#ENTITY#" in key.pk else "other"] += factor * max(1, -(-size // 1024))
        self.writes += 1
        if isinstance(write, Put):
            body = pickle.dumps(dict(new))
            self._sql.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?)", (write.table, *key, body))
        else:
            self._sql.execute("DELETE FROM items WHERE t=? AND pk=? AND sk=?", (write.table, *key))


def payments(number: int, rows: int, files: int) -> pa.Table:
    """Return the rows of one file: of its part of the year, a hundredth late, a hundredth corrections."""
    chance = np.random.default_rng(number)
    span_us = WEEKS * 7 * 86_400_000_000 // files
    at = np.sort(chance.integers(0, span_us, rows)) + number * span_us + int(START.timestamp()) * 1_000_000
    names = np.arange(rows, dtype=np.int64) + number * rows
    if number:
        again = chance.random(rows) < 0.01
        names[again] -= rows
    late = np.where(chance.random(rows) < 0.01, chance.integers(0, 3 * 86_400_000_000, rows), 60_000_000)
    moment = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "payment": names,
            "card": names * 7919 % CARDS,
            "at": pa.array(at).cast(moment),
            "known": pa.array(at + late).cast(moment),
            "amount": np.round(chance.gamma(2.0, 20.0, rows), 2),
            "shop": chance.integers(0, 500, rows),
            "declined": chance.random(rows) < 0.03,
        }
    )


def delivered(event: Any, now: datetime) -> Delivery:
    """Return the delivery of an event."""
    envelope = Envelope(
        id=new_id(), type=event.detail_type(), schema_version=1, workspace="bench", stream="s", sequence=1,
        at=now, actor="a", correlation_id="c", data=event.model_dump(mode="json"),
    )  # fmt: skip
    return Delivery(consumer="materialize", envelope=envelope, event=event)


def work(folder: Path, rows: int, files: int) -> dict[str, Any]:
    """Materialize and backfill, and return what that took."""
    tables, blobs = SqliteTables(folder / "items.db"), FolderBlobs(folder)
    stores: dict[str, Any] = {"tables": tables, "log": Log(tables), "blobs": blobs, "cache": {}}
    idle, began = _peak_mb(), time.perf_counter()
    now = START
    for number in range(files):
        now = START + timedelta(weeks=WEEKS) * (number + 1) / files
        sink = io.BytesIO()
        pq.write_table(payments(number, rows // files, files), sink)
        key = f"accepted/bench/payments/{number}.parquet"
        blobs.put("lake", key, sink.getvalue())
        event = UploadAccepted(
            source="payments", upload_key=f"payments/{number}.parquet", upload_version="1", digest=f"{number:064d}",
            key=key, rows=rows // files, bad_rows=0, window=Window(start=now, end=now), profile_key="",
        )  # fmt: skip
        call = Call("bench", "bench", now, "c")
        materialization.follow_upload(delivered(event, now), call, project=PROJECT, **stores)
    told = {"rows": rows, "files": files, "seconds": round(time.perf_counter() - began), "peak_mb": _peak_mb()}
    units, tables.units = tables.units, {"online": 0, "other": 0}
    told |= {"idle_mb": idle, "online_units": units["online"], "other_units": units["other"]}
    began = time.perf_counter()
    asked = BackfillRequested(backfill_id="b", source="payments", views=(), window=None)
    refilling.follow_request(delivered(asked, now), Call("bench", "bench", now, "c"), project=PROJECT, **stores)
    told |= {"backfill_seconds": round(time.perf_counter() - began), "backfill_peak_mb": _peak_mb()}
    return {**told, "backfill_units": tables.units["online"]}


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measured(rows: int, files: int) -> dict[str, Any]:
    """Do the work in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="modelwright-bench-"))
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(work, (folder, rows, files))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Print what ten million rows take."""
    rows = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 10_000_000
    files = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    told = measured(rows, files)
    for name in ("online_units", "backfill_units"):
        per_million = told[name] / (rows / 1e6)
        told[f"{name}_per_million_rows"] = round(per_million)
        told[f"{name}_dollars_per_million_rows"] = round(per_million * DOLLARS_PER_MILLION_UNITS / 1e6, 2)
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
