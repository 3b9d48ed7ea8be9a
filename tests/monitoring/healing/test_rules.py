"""Each rule mends what it is for to the true bytes, its record takes that back, and people are left what is theirs."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.events import Finding
from modelwright.monitoring.healing import Damaged, Proposal
from modelwright.monitoring.healing.logs import compared, undone
from modelwright.monitoring.healing.past import Past
from modelwright.monitoring.reading import parquet_bytes, parquet_table, read_rows
from modelwright.plugins import load
from modelwright.project import Column, Source
from modelwright.sources import Healing

SOURCE = Source(
    prefix="sales/",
    columns={
        "id": Column(type="string"),
        "at": Column(type="timestamp"),
        "known_at": Column(type="timestamp"),
        "town": Column(type="string"),
        "amount": Column(type="number", nullable=True),
        "degrees": Column(type="number", nullable=True),
        "items": Column(type="integer"),
        "paid": Column(type="boolean"),
    },
    key=("id",),
    event_time="at",
    available_at="known_at",
)
Change = Callable[[str, int], str]
TOWNS = ("Zürich", "Genève", "Bern", "Córdoba")
LANDED = datetime(2026, 2, 20, tzinfo=UTC)


def lines(week: int = 9, rows: int = 120, *, of: Mapping[str, Change] | None = None, **changed: Change) -> bytes:
    """Return a week; ``changed`` (and ``of``) are applied to the cells of columns."""
    changed |= of or {}
    random = np.random.default_rng(week)
    text = [",".join(SOURCE.columns)]
    for n in range(rows):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(weeks=week, hours=n)
        cells = {
            "id": f"s-{week * 1000 + n}",
            "at": at.isoformat(),
            "known_at": (at + timedelta(minutes=5)).isoformat(),
            "town": TOWNS[int(random.integers(4))],
            "amount": repr(round(float(random.lognormal(7, 0.5)), 2)),
            "degrees": repr(round(float(random.integers(300, 700)) / 10, 1)),
            "items": str(random.integers(1, 9)),
            "paid": "true" if random.random() < 0.7 else "false",
        }
        text.append(",".join(changed[name](cell, n) if name in changed else cell for name, cell in cells.items()))
    return ("\n".join(text) + "\n").encode()


PAST = Past(SOURCE, tuple(read_rows(lines(week), SOURCE).typed for week in range(8)))
TRUE = lines()


def damaged(
    body: bytes, *faults: tuple[str, str], past: Past = PAST, source: Source = SOURCE, at: datetime = LANDED
) -> Damaged:
    findings = (Finding(check=check, column=column, severity="block", text="odd") for check, column in faults)
    return Damaged(body, source, tuple(findings), past, at)


def proposed(rule: str, file: Damaged) -> Sequence[Proposal]:
    """Return what a rule proposes, each of which its record takes back to the byte."""
    found = load("repairs", rule)().propose(file)
    for one in found:
        before = one.before or file.sheet
        assert before is not None
        step = compared(before, one.sheet, f"{rule}@1", one.text, taken=one.taken, forward=dict(one.forward))
        if file.body[:4] != b"PAR1":
            assert undone([step], one.sheet.body()) == file.body
    return list(found)


def told(found: Sequence[Proposal]) -> list[tuple[bytes, bool]]:
    return [(one.sheet.body(), one.sure) for one in found]


# --- names and places --------------------------------------------------------------------


def test_a_renamed_column_gets_its_name_back() -> None:
    for name, sure in ((b"Amount EUR", True), (b"amt_amount", True), (b"turnover", False)):
        body = TRUE.replace(b",amount,", b",%b," % name)
        assert told(proposed("renamed_column", damaged(body))) == [(TRUE, sure)], "a name that is alike, or a guess"
    assert not proposed("renamed_column", damaged(TRUE))


def test_two_columns_that_fit_are_two_proposals_and_one_that_does_not_is_none() -> None:
    header, *rows = TRUE.decode().splitlines()
    twice = [f"{header.replace('amount', 'net')},gross", *(f"{row},{row.split(',')[4]}" for row in rows)]
    found = proposed("renamed_column", damaged("\n".join(twice).encode()))
    assert [one.sure for one in found] == [False, False]
    other = [f"{header.replace('amount', 'net')},town_code", *(f"{row},7" for row in rows)]
    found = proposed("renamed_column", damaged("\n".join(other).encode()))
    assert [one.sheet.names[4] for one in found] == ["amount"]
    rubbish = [header.replace("amount", "net"), *(_with(row, 4, "x") for row in rows)]
    assert not proposed("renamed_column", damaged("\n".join(rubbish).encode()))


def test_several_columns_renamed_at_once_are_told_apart() -> None:
    body = TRUE.replace(b"town,amount", b"Place,AMOUNTS").replace(b",paid", b",Paid").replace(b"known_at", b"known at")
    assert told(proposed("renamed_column", damaged(body))) == [(TRUE, True)]


def test_without_a_past_names_must_be_alike() -> None:
    for name, count in (("amounts", 1), ("zzz", 0)):
        body = TRUE.replace(b",amount,", f",{name},".encode())
        assert len(proposed("renamed_column", damaged(body, past=Past(SOURCE)))) == count


@pytest.mark.parametrize("by", ["contents", "names"])
def test_swapped_columns_are_swapped_back(by: str) -> None:
    rows = [line.split(",") for line in TRUE.decode().splitlines()]
    for row in rows if by == "names" else rows[1:]:
        row[4], row[5] = row[5], row[4]
    if by == "names":
        rows = [[*row[:4], row[5], row[4], *row[6:]] if n else row for n, row in enumerate(rows)]
    body = ("\n".join(map(",".join, rows)) + "\n").encode()
    assert told(proposed("swapped_columns", damaged(body, ("range", "degrees")))) == [(TRUE, True)]
    assert not proposed("swapped_columns", damaged(TRUE, ("range", "degrees")))


# --- units -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit", [lambda f: (f - 32) * 5 / 9, lambda f: (f + 459.67) * 5 / 9, lambda f: round((f + 459.67) * 5 / 9, 2)]
)
def test_another_unit_is_taken_back_to_the_cell(unit: Callable[[float], float]) -> None:
    body = lines(degrees=lambda cell, n: repr(unit(float(cell))))
    assert told(proposed("unit_change", damaged(body, ("unit_change", "degrees")))) == [(TRUE, True)]


def test_a_factor_that_no_world_has_is_taken_back() -> None:
    body = lines(amount=lambda cell, n: repr(float(cell) * 1000))
    assert told(proposed("unit_change", damaged(body, ("unit_change", "amount")))) == [(TRUE, True)]


def test_a_unit_whose_values_were_rounded_away_is_a_guess() -> None:
    body = lines(degrees=lambda cell, n: str(round((float(cell) - 32) * 5 / 9)))
    found = proposed("unit_change", damaged(body, ("unit_change", "degrees")))
    assert [one.sure for one in found] == [False] * len(found)
    assert found


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3), st.floats(-100, 100))
def test_no_world_that_moved_is_surely_another_unit(scale: float, shift: float) -> None:
    body = lines(degrees=lambda cell, n: repr(round(float(cell) * scale + shift, 1)))
    assert all(not one.sure for one in proposed("unit_change", damaged(body, ("unit_change", "degrees"))))


# --- types -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("amount", lambda cell, n: cell.replace(".", ",") if n % 7 == 3 else cell),
        ("amount", lambda cell, n: f"{float(cell):,}" if n % 2 else cell),
        ("amount", lambda cell, n: f"{float(cell):,}".translate(str.maketrans(",.", ".,")) if n % 2 else cell),
        ("amount", lambda cell, n: f"{float(cell):,}".replace(",", " ") if n % 3 else cell),
        ("degrees", lambda cell, n: f"{cell} %" if n % 5 == 2 else cell),
        ("paid", lambda cell, n: {"true": "Y", "false": "n"}[cell] if n > 50 else cell),
        ("at", lambda cell, n: str(int(datetime.fromisoformat(cell).timestamp())) if n > 9 else cell),
        ("at", lambda cell, n: str(int(datetime.fromisoformat(cell).timestamp()) * 1000) if n > 9 else cell),
        ("at", lambda cell, n: f"{datetime.fromisoformat(cell):%d/%m/%Y %H:%M}"),
    ],
    ids=["comma", "thousands", "points", "spaces", "percent", "letters", "seconds", "milliseconds", "dates"],
)
def test_cells_of_another_type_are_read_as_what_was_meant(column: str, change: Callable[[str, int], str]) -> None:
    def quoted(cell: str, n: int) -> str:
        new = change(cell, n)
        return f'"{new}"' if "," in new else new

    body, truth = (lines(10, of={column: quoted}), lines(10)) if column == "at" else (lines(of={column: quoted}), TRUE)
    found = [body for body, sure in told(proposed("type_coercion", damaged(body, ("type", column)))) if sure]
    assert found == [truth]


def test_a_comma_that_may_be_either_is_two_proposals() -> None:
    body = lines(items=lambda cell, n: f'"{cell},000"' if n % 2 else cell)
    found = proposed("type_coercion", damaged(body, ("type", "items"), past=Past(SOURCE)))
    assert {one.sheet.values("items")[1].as_py()[1:] for one in found} == {"000", ".000"}


def test_days_that_may_be_months_are_two_proposals() -> None:
    body = lines(4, 24, at=lambda cell, n: "03/04/2026")
    found = proposed("type_coercion", damaged(body, ("type", "at")))
    assert [one.sheet.values("at")[0].as_py()[:10] for one in found] == ["2026-04-03", "2026-03-04"]


def test_what_means_nothing_is_left_alone() -> None:
    for column in ("amount", "paid", "at"):
        assert not proposed("type_coercion", damaged(lines(of={column: lambda cell, n: "?"}), ("type", column)))


def test_parquet_of_another_type_is_read_as_what_was_meant() -> None:
    table = read_rows(TRUE, SOURCE).typed
    seconds = table.set_column(1, "at", table["at"].cast(pa.int64()))
    bits = table.set_column(6, "items", table["paid"])
    floats = table.set_column(0, "id", pa.array([float(n) for n in range(table.num_rows)]))
    (one,) = proposed("type_coercion", damaged(parquet_bytes(seconds), ("type", "at")))
    assert parquet_table(one.sheet.body()).equals(table)
    (one,) = proposed("type_coercion", damaged(parquet_bytes(bits), ("type", "items")))
    assert one.sheet.values("items").to_pylist() == [int(value) for value in table["paid"].to_pylist()]
    (one,) = proposed("type_coercion", damaged(parquet_bytes(floats), ("type", "id")))
    assert one.sheet.values("id")[3].as_py() == "3"


# --- times -------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["EST", "-05:00", "-0500", "America/New_York", "UTC"])
def test_stated_zones_become_utc(zone: str) -> None:
    of = ZoneInfo(zone) if "/" in zone else timezone(timedelta(hours=0 if zone == "UTC" else -5))

    def local(cell: str, n: int) -> str:
        there = datetime.fromisoformat(cell).astimezone(of)
        return f"{there:%Y-%m-%dT%H:%M:%S} {zone}" if n % 3 else cell

    faults = [("type", "at"), ("time_zones", "at")]
    assert told(proposed("time_zones", damaged(lines(at=local), *faults))) == [(TRUE, True)]


def test_a_zone_of_several_meanings_is_a_proposal_for_each() -> None:
    body = lines(at=lambda cell, n: f"{cell[:19]} CST")
    found = proposed("time_zones", damaged(body, ("type", "at")))
    assert [one.sheet.values("at")[0].as_py() for one in found] == [
        "2026-03-05T06:00:00+00:00", "2026-03-04T16:00:00+00:00",
    ]  # fmt: skip


def test_times_without_a_zone_are_a_persons_to_say() -> None:
    def naive(cell: str, n: int) -> str:
        return (datetime.fromisoformat(cell) - timedelta(hours=5)).isoformat()[:19] if n % 4 else cell

    found = proposed("time_zones", damaged(lines(at=naive), ("time_zones", "at")))
    assert [(one.text[-9:], one.sure) for one in found] == [("UTC+00:00", False), ("UTC-05:00", False)]
    assert found[1].sheet.body() == TRUE


# --- texts -------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "mac_roman", "cp850"])
def test_bytes_of_another_encoding_become_utf_8(encoding: str) -> None:
    body = TRUE.decode().encode(encoding)
    assert told(proposed("encoding", damaged(body, ("encoding", "")))) == [(TRUE, True)]


def test_words_that_were_read_wrongly_are_known_or_a_guess() -> None:
    body = lines(town=lambda cell, n: cell.encode().decode("latin-1") if n % 3 else cell)
    file = damaged(body, ("encoding", "town"))
    assert told(proposed("encoding", file)) == [(TRUE, True)]
    (one,) = proposed("encoding", damaged(body, ("encoding", "town"), past=Past(SOURCE)))
    assert not one.sure
    assert not proposed("encoding", damaged(TRUE, ("encoding", "town")))


def test_an_encoding_that_nobody_can_tell_is_several_proposals() -> None:
    body = TRUE.replace("Zürich".encode(), b"\xf8eka")
    assert len(proposed("encoding", damaged(body, ("encoding", "")))) > 1


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_become_commas(delimiter: str) -> None:
    body = TRUE.replace(b"Bern", b"Bern, CH").replace(b",", delimiter.encode()).replace(
        f"Bern{delimiter} CH".encode(), b"Bern, CH"
    )  # fmt: skip
    truth = TRUE.replace(b"Bern", b'"Bern, CH"')
    assert told(proposed("delimiter", damaged(body, ("schema", "")))) == [(truth, True)]


# --- rows --------------------------------------------------------------------------------


def test_repeated_rows_and_older_versions_go() -> None:
    header, *rows = TRUE.splitlines(keepends=True)
    again = b"".join([header, *rows[:40], *rows[10:20], *rows[40:]])
    assert told(proposed("deduplication", damaged(again, ("volume", "")))) == [(TRUE, True)]
    older = [_with(row.decode(), 2, "2026-03-01T00:00:00+00:00").encode() for row in rows[10:20]]
    versions = b"".join([header, *older, *rows])
    assert told(proposed("deduplication", damaged(versions, ("duplicate_key", "id")))) == [(TRUE, True)]


def test_rows_that_contradict_each_other_are_nobodys_to_choose_from() -> None:
    header, *rows = TRUE.splitlines(keepends=True)
    other = _with(rows[5].decode(), 3, "Basel").encode()
    body = b"".join([header, *rows, other])
    assert not proposed("deduplication", damaged(body, ("duplicate_key", "id")))
    plain = SOURCE.model_copy(update={"available_at": ""})
    assert not proposed("deduplication", damaged(body, ("duplicate_key", "id"), source=plain))
    elsewhere = b"s-9005,2026-03-05T05:00:00+00:00,2026-03-01T00:00:00+00:00,Basel,1.0,2.0,7,true\n"
    found = proposed("deduplication", damaged(b"".join([header, elsewhere, *rows]), ("duplicate_key", "id")))
    assert [one.sure for one in found] == [False]


@pytest.mark.parametrize("stated", ["median", "mode", 7.5])
def test_missing_values_are_filled_by_the_stated_rule_alone(stated: str | float) -> None:
    body = lines(degrees=lambda cell, n: "" if n % 4 == 1 else cell)
    assert not proposed("imputation", damaged(body, ("missing_rate", "degrees")))
    source = SOURCE.model_copy(update={"healing": Healing(impute={"degrees": stated})})
    (one,) = proposed("imputation", damaged(body, ("missing_rate", "degrees"), source=source))
    values = np.concatenate(PAST.numbers("degrees"))
    unique, counts = np.unique(values, return_counts=True)
    expected = {"median": np.median(values), "mode": unique[counts.argmax()]}.get(str(stated), 7.5)
    filled = [float(value.as_py()) for n, value in enumerate(one.sheet.values("degrees")) if n % 4 == 1]
    assert filled == pytest.approx([float(expected)] * 30)
    assert not proposed("imputation", damaged(body, ("range", "degrees"), source=source))


def test_a_late_file_says_that_it_was_known_when_it_landed() -> None:
    truth = lines(known_at=lambda cell, n: LANDED.replace(month=4).isoformat())
    (one,) = proposed("late_file", damaged(TRUE, ("late_file", "at"), at=LANDED.replace(month=4)))
    assert one.sheet.body() == truth
    assert not proposed("late_file", damaged(TRUE, ("range", "at")))


def _with(row: str, place: int, cell: str) -> str:
    cells = row.split(",")
    return ",".join([*cells[:place], cell, *cells[place + 1 :]])
