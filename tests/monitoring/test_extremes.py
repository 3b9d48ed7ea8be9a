"""What is at the edge of a type: integers no float can tell apart, the last of all times, cells like numbers."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.events import DriftDetected, QualityFailed, UploadAccepted
from modelwright.monitoring.documents import Profile
from modelwright.monitoring.reading import Unreadable, parquet_bytes, parquet_table, read_rows
from modelwright.monitoring.rows import check_rows
from modelwright.project import Column, DriftPolicy, Project, Source
from monitoring.desk import Desk

START = datetime(2013, 1, 1, tzinfo=UTC)
EXACT = 2**53
EDGES: dict[str, Column] = {
    "id": Column(type="string"),
    "at": Column(type="timestamp"),
    "known": Column(type="timestamp", nullable=True),
    "n": Column(type="integer", nullable=True),
    "x": Column(type="number", nullable=True),
}


def source(name: str = "edges", columns: dict[str, Column] | None = None, **more: Any) -> Source:
    return Source(prefix=f"{name}/", columns={**EDGES, **(columns or {})}, key=("id",), event_time="at", **more)


def desk(**more: Any) -> Desk:
    return Desk(Project(name="edges", sources={"edges": source(**more)}))


def times(rows: int, day: int = 0) -> pa.Array:
    start = START + timedelta(days=day)
    return pa.array([start + timedelta(seconds=60 * row) for row in range(rows)], pa.timestamp("us", "UTC"))


def table(rows: int = 100, day: int = 0, **columns: Any) -> pa.Table:
    plain = {
        "id": pa.array([f"{day}-{row}" for row in range(rows)]),
        "at": times(rows, day),
        "known": times(rows, day),
        "n": pa.array(range(rows), pa.int64()),
        "x": pa.array(np.random.default_rng(day).normal(size=rows)),
    }
    return pa.table({**plain, **columns})


def land(at: Desk, number: int, rows: pa.Table) -> str:
    return at.land(f"edges/{number}.parquet", parquet_bytes(rows))


def csv_of(cells: list[str], name: str = "n") -> bytes:
    lines = [f"r{number},2013-01-01T00:00:{number % 60:02d}Z,,{cell},1\n" for number, cell in enumerate(cells)]
    return ("id,at,known,n,x\n".replace("n,x", f"{name},x") + "".join(lines)).encode()


def texts_of(at: Desk) -> dict[str, str]:
    failed = at.events(QualityFailed, "edges")
    return {finding.check: finding.text for one in failed for finding in one.findings}


# --- integers ----------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [Column(type="integer"), Column(type="integer", low=0, high=2e18)])
def test_integers_that_no_float_can_tell_apart_are_judged_like_others(declared: Column) -> None:
    at = desk(columns={"n": declared}, rules={"positive": "n >= 0"})
    for day in range(5):
        large = pa.array(np.random.default_rng(day).integers(10**17, 10**18, 100))
        assert land(at, day, table(day=day, n=large)) == "accepted 100 rows"
    far = pa.array(np.full(100, -(10**18) * 8))
    assert land(at, 9, table(day=9, n=far)).startswith("quarantined as "), "what is far outside is so here too"


def test_declared_bounds_hold_to_the_last_integer() -> None:
    at = desk(columns={"n": Column(type="integer", low=float(EXACT), high=float(EXACT + 4))})
    edge = [EXACT - 1, EXACT, EXACT + 3, EXACT + 4, EXACT + 5, 2**63 - 1, -(2**63)]
    rows = table(100, n=pa.array(edge + [EXACT] * 93))
    assert land(at, 0, rows) == "accepted 96 rows, held 4"
    assert "(rows 1, 7)" in texts_of(at)["low"]
    assert "(rows 5, 6)" in texts_of(at)["high"]
    wide = desk(columns={"n": Column(type="integer", low=-1e30, high=1e30)})
    assert land(wide, 0, rows) == "accepted 100 rows"
    none = desk(columns={"n": Column(type="integer", low=1e30)})
    assert land(none, 0, rows).startswith("quarantined as ")


def test_unsigned_integers_that_are_too_large_are_of_another_type() -> None:
    at = desk()
    rows = table(100, n=pa.array(np.array([2**63 - 1, 2**63, 2**64 - 1] + [5] * 97, dtype=np.uint64)))
    assert land(at, 0, rows) == "accepted 98 rows, held 2"
    assert "not of type integer (rows 2, 3)" in texts_of(at)["type"]
    (failed,) = at.events(QualityFailed, "edges")
    assert parquet_table(at.blobs.get("lake", failed.quarantine_key).body).column("n").to_pylist() == [2**63, 2**64 - 1]


def test_one_broken_cell_leaves_large_integers_beside_it_whole() -> None:
    rows = read_rows(csv_of(["oops", *(str(EXACT + 1 + n) for n in range(3)), str(2**63), "3.0", "1.5"]), source())
    assert rows.typed.column("n").to_pylist() == [None, EXACT + 1, EXACT + 2, EXACT + 3, None, 3, None]
    assert rows.untyped["n"].tolist() == [True, False, False, False, True, False, True]


def test_large_whole_decimals_are_integers() -> None:
    from decimal import Decimal

    whole = pa.array([Decimal(EXACT + 1)] * 3, pa.decimal128(38, 0))
    assert read_rows(parquet_bytes(table(3, n=whole)), source()).typed.column("n").to_pylist() == [EXACT + 1] * 3


@pytest.mark.parametrize("cell", ["1_000", "0x10", "1_000.5"])
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_what_only_a_programming_language_reads_as_a_number_is_none(cell: str, kind: Any) -> None:
    rows = read_rows(csv_of([cell, "7"]), source(columns={"n": Column(type=kind, nullable=True)}))
    assert rows.typed.column("n").to_pylist() == [None, 7]
    assert rows.untyped["n"].tolist() == [True, False]


def test_large_integers_of_two_sources_are_compared() -> None:
    compared = {"skew": {"source": "edges", "column": "n", "on": ["id"]}}
    other = source("other", checks=("skew",), check_options=compared, severity={"skew": "block"})
    at = Desk(Project(name="edges", sources={"edges": source(), "other": other}))
    large = np.arange(100) + EXACT + 1
    assert land(at, 0, table(n=pa.array(large))) == "accepted 100 rows"
    wrong = np.where(np.arange(100) < 7, large * 2, large)
    assert at.land("other/0.parquet", parquet_bytes(table(n=pa.array(wrong)))) == "accepted 93 rows, held 7"


# --- times -------------------------------------------------------------------------------


def test_a_row_known_at_the_end_of_all_times_is_held_alone() -> None:
    at = desk(available_at="known")
    known = pa.array([datetime(9999, 12, 31, tzinfo=UTC), *times(100).to_pylist()[1:]], pa.timestamp("us", "UTC"))
    assert land(at, 0, table(known=known)) == "accepted 99 rows, held 1"
    assert "known: 1 row held back: in the future" in texts_of(at)["future_dates"]


@pytest.mark.parametrize("checks", [("future_dates",), ()])
def test_the_last_moment_there_is_has_a_window(checks: tuple[str, ...]) -> None:
    at = desk(checks=checks)
    last = pa.array([datetime.max.replace(tzinfo=UTC)] * 100, pa.timestamp("us", "UTC"))
    outcome = land(at, 0, table(at=last))
    assert "100 of 100 rows break row checks" in outcome
    assert texts_of(at)["event_time"].startswith("at: 100 rows held back: at the end of all times")
    assert land(at, 1, table(100, day=1)) == "accepted 100 rows", "and what comes later is judged"


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("timestamp", times(100)),
        ("string", pa.array(["a"] * 100)),
        ("boolean", pa.array([True] * 100)),
    ],
)
def test_bounds_of_what_is_no_number_say_nothing(declared: Any, values: pa.Array) -> None:
    # as a project may have them that was applied before such bounds were refused
    columns = {**EDGES, "odd": Column(type=declared).model_copy(update={"low": 0.0, "high": 1.0})}
    loose = source().model_copy(update={"columns": columns})
    rows = read_rows(parquet_bytes(table(odd=values)), loose)
    assert check_rows(rows, loose).good.all()


# --- infinite values ---------------------------------------------------------------------


def infinite(day: int, count: int = 40) -> pa.Table:
    values = np.random.default_rng(day).normal(size=100)
    values[:count], values[0] = np.inf, -np.inf
    return table(day=day, x=pa.array(values))


def test_infinite_values_are_held_and_named() -> None:
    at = desk()
    assert land(at, 0, infinite(0)) == "accepted 60 rows, held 40"
    assert texts_of(at)["type"].startswith("x: 40 rows held back: not of type number (40 of them infinite)")


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_infinite_values_that_a_source_lets_pass_are_counted_and_no_value(kind: Any) -> None:
    at = desk(columns={"x": Column(type=kind, nullable=True)}, severity={"type": "warn"}, checks=())
    rows = infinite(0).set_column(4, "x", pa.array([-np.inf, *[np.inf] * 39, None, *[1.0] * 59]))
    assert land(at, 0, rows) == "accepted 100 rows"
    (accepted,) = at.events(UploadAccepted, "edges")
    column = Profile.unpacked(at.blobs.get("lake", accepted.profile_key).body).columns["x"]
    assert (column.infinite, column.negative_infinite, column.missing, column.count) == (40, 1, 1, 59)
    kept = parquet_table(at.blobs.get("lake", accepted.key).body).column("x")
    assert kept.null_count == 41, "nothing that follows need reckon with them"


def test_infinite_values_that_came_to_be_are_told_of() -> None:
    drift = DriftPolicy(windows=1, agreeing=1)
    at = desk(severity={"type": "warn"}, checks=(), detectors=("infinite",), drift=drift)
    for day in range(5):
        land(at, day, infinite(day) if day == 4 else table(day=day))
    (told,) = at.events(DriftDetected, "edges")
    assert [(one.column, one.detector) for one in told.columns] == [("x", "infinite")]


# --- lines and headers -------------------------------------------------------------------


def malformed(count: int, cell: str = "broken") -> bytes:
    return csv_of([str(number) for number in range(1500)]) + "".join(f"{n},{cell}\n" for n in range(count)).encode()


def test_every_line_that_is_no_row_counts() -> None:
    at = desk(checks=())
    outcome = at.land("edges/0.csv", malformed(5000))
    assert "5000 of 6500 rows break row checks" in outcome


def test_every_line_that_is_no_row_is_kept_and_makes_another_content() -> None:
    at = desk(checks=())
    one, other = malformed(1400), malformed(1399) + b"1399,else\n"
    assert at.land("edges/0.csv", one) == "accepted 1500 rows, held 1400"
    assert at.land("edges/1.csv", other) == "accepted 1500 rows, held 1400"
    failed, _ = at.events(QualityFailed, "edges")
    reasons = json.loads(at.blobs.get("lake", failed.quarantine_key.replace("rows.parquet", "reasons.json")).body)
    assert (len(reasons["malformed"]), reasons["malformed"][-1]) == (1400, "1399,broken")


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (b'id,at,"a, b"', ("a, b",)),
        (b'id,at,"a, b","c, b"', ("a, b", "c, b")),
        (b'\xef\xbb\xbfid,at,"a ""quoted"" name"', ('a "quoted" name',)),
        (b'id,at,"two\nlines"', ("two\nlines",)),
        (b"\n\r\nid,at,after", ("after",)),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_names_of_columns_are_read_as_cells_are(header: bytes, names: tuple[str, ...], end: bytes) -> None:
    columns = {"id": Column(type="string"), "at": Column(type="timestamp"), **{n: Column(type="string") for n in names}}
    declared = Source(prefix="edges/", columns=columns, key=("id",), event_time="at")
    cells = b",".join([b"007"] * len(names))
    body = header + end + b"01,2013-01-01T00:00:00Z," + cells + end
    read = read_rows(body, declared).typed.to_pylist()
    assert [row["id"] for row in read] == ["01"]
    assert [[row[name] for name in names] for row in read] == [["007"] * len(names)]


def test_lines_that_end_in_carriage_returns_are_lines() -> None:
    rows = read_rows(csv_of(["007", "8"]).replace(b"\n", b"\r"), source(columns={"n": Column(type="string")}))
    assert rows.typed.column("n").to_pylist() == ["007", "8"]
    assert not rows.unended


def test_a_name_that_stands_twice_is_named() -> None:
    twice = pa.table([*table(5).columns, pa.array(range(5))], names=[*table(5).column_names, "x"])
    sink = io.BytesIO()
    pq.write_table(twice, sink)
    with pytest.raises(Unreadable, match="names a column twice: x") as refused:
        read_rows(sink.getvalue(), source())
    assert refused.value.check == "schema"
    with pytest.raises(Unreadable, match="names a column twice: a, b"):
        read_rows(b'id,at,"a, b","a, b"\n1,2,3,4\n', source())
