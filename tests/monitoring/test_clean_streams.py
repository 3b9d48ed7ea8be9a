"""The law of clean streams: whatever the key and however small the files, all of it goes on under shipped checks."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.events import QualityFailed, UploadAccepted
from modelwright.monitoring.reading import parquet_bytes
from modelwright.project import Column, ColumnType, Project, Source
from monitoring.desk import Desk

START = datetime(2013, 1, 1, tzinfo=UTC)
EPOCH_MS = 1_288_834_974_657
Seconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Key:
    """How rows are named: from their times, and how many there were before."""

    type: ColumnType
    of: Callable[[Seconds, int, np.random.Generator], Sequence[int] | Sequence[str] | Sequence[float]]


def serial(seconds: Seconds, before: int, random: np.random.Generator) -> list[int]:
    return list(range(before, before + len(seconds)))


def snowflakes(seconds: Seconds, before: int, random: np.random.Generator) -> list[int]:
    return [((second * 1000 - EPOCH_MS) << 22) + before + n for n, second in enumerate(seconds.tolist())]


def uuids(seconds: Seconds, before: int, random: np.random.Generator) -> list[str]:
    return [str(uuid.UUID(bytes=random.bytes(16))) for _ in seconds]


KEYS = {
    "serial": Key("integer", serial),
    "serial that others share": Key("integer", lambda s, b, r: [10**6 + 5000 * (b + n) for n in range(len(s))]),
    "serial that falls": Key("integer", lambda s, b, r: [-n for n in serial(s, b, r)]),
    "serial as a number": Key("number", lambda s, b, r: [float(n) for n in serial(s, b, r)]),
    "serial in a text": Key("string", lambda s, b, r: [f"o-{n}" for n in serial(s, b, r)]),
    "unix seconds": Key("integer", lambda s, b, r: s.tolist()),
    "snowflakes": Key("integer", snowflakes),
    "random integers": Key("integer", lambda s, b, r: r.integers(-(2**63), 2**63 - 1, len(s)).tolist()),
    "uuids": Key("string", uuids),
}


def source(key: Key) -> Source:
    kinds: dict[str, ColumnType] = {
        "id": key.type, "at": "timestamp", "ts": "integer", "line": "integer", "ref": key.type, "day": "string",
        "x": "number", "tail": "number", "other_tail": "number", "n": "integer", "kind": "string", "ok": "boolean",
    }  # fmt: skip
    columns = {name: Column(type=kind, nullable=name == "x") for name, kind in kinds.items()}
    return Source(prefix="rows/", columns=columns, key=("id",), event_time="at")


def day_of(key: Key, rows: int, day: int, before: int, seed: int) -> pa.Table:
    """A day's rows: besides the key, numbers that go on, ids of others, a day's name, measures and words."""
    random = np.random.default_rng((seed, day))
    start = int((START + timedelta(days=day)).timestamp())
    seconds = start + np.sort(random.choice(86_400, rows, replace=False))
    kinds = source(key).columns
    arrow = {"integer": pa.int64(), "number": pa.float64(), "string": pa.string()}
    x = random.normal(20, 3, rows)
    columns = {
        "id": pa.array(key.of(seconds, before, random), arrow[kinds["id"].type]),
        "at": pa.array(seconds * 10**6, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "ts": pa.array(seconds),
        "line": pa.array(serial(seconds, 3 * before, random), pa.int64()),
        "ref": pa.array(key.of(seconds, 7 * before, random), arrow[kinds["ref"].type]),
        "day": pa.array([str(day)] * rows),
        "x": pa.array(x, mask=random.random(rows) < 0.3),
        "tail": pa.array(random.lognormal(0, 2, rows)),
        "other_tail": pa.array(random.standard_cauchy(rows)),
        "n": pa.array(random.poisson(2, rows)),
        "kind": pa.array(random.choice(list("abcd"), rows, p=[0.6, 0.3, 0.08, 0.02])),
        "ok": pa.array(random.random(rows) < 0.9),
    }
    return pa.table(columns)


def require_whole(key: Key, sizes: Sequence[int], gaps: Sequence[int], seed: int = 0) -> Desk:
    """Land files of these sizes, so many days apart: each must be accepted, every row of it."""
    desk = Desk(Project(name="clean", sources={"rows": source(key)}))
    day = before = 0
    for number, rows in enumerate(sizes):
        body = parquet_bytes(day_of(key, rows, day, before, seed))
        at = START + timedelta(days=day + 1)
        outcome = desk.land(f"rows/{number}.parquet", body, {"as-of": at.isoformat()})
        assert outcome == f"accepted {rows} rows", (number, outcome)
        day, before = day + gaps[number % len(gaps)], before + rows
    assert desk.events(QualityFailed, "rows") == []
    return desk


@pytest.mark.parametrize("gaps", [(1,), (1, 9)])
@pytest.mark.parametrize("name", KEYS)
def test_daily_files_of_any_key_go_on_whole(name: str, gaps: tuple[int, ...]) -> None:
    desk = require_whole(KEYS[name], (400,) * 6, gaps)
    later = desk.events(UploadAccepted, "rows")[4:]
    assert [finding.text for one in later for finding in one.findings] == [], "what is known to go on is no news"


@pytest.mark.parametrize("name", KEYS)
def test_a_file_of_one_row_is_no_measure_of_the_next(name: str) -> None:
    require_whole(KEYS[name], (1, 200, 1, 1, 200), (1,))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(KEYS)),
    st.lists(st.integers(1, 40) | st.just(40), min_size=3, max_size=9),
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(0, 2**32),
)
def test_small_files_of_any_key_go_on_whole(name: str, sizes: list[int], gaps: list[int], seed: int) -> None:
    require_whole(KEYS[name], sizes, gaps, seed)
