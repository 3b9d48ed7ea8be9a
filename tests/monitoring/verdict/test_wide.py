"""Sources of hundreds of columns of which all drift at once: every item and event stays small, and nothing is lost."""

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelwright.adapters.metering import item_size
from modelwright.events import ColumnDrift, DriftDetected, Finding, QualityFailed, UploadAccepted
from modelwright.monitoring import store
from modelwright.monitoring.holding import told as told_findings
from modelwright.monitoring.verdict import telling
from modelwright.monitoring.votes import LARGEST, DriftVotes
from modelwright.project import Column, DriftPolicy, Project, Source
from monitoring.desk import Desk

START = datetime(2013, 1, 1, tzinfo=UTC)
SMALL = 200_000
DETECTORS = ("ks", "psi", "range")


def names_of(columns: int) -> list[str]:
    return [f"feature_number_{number:03d}" for number in range(columns)]


def wide(columns: int, **policy: object) -> Desk:
    numbers = {name: Column(type="number") for name in names_of(columns)}
    fixed = {"id": Column(type="string"), "at": Column(type="timestamp"), "place": Column(type="string")}
    drift = DriftPolicy.model_validate({"windows": 2, "agreeing": 1, "min_rows": 100, **policy})
    source = Source(
        prefix="s/", columns={**fixed, **numbers}, key=("id",), event_time="at", checks=(), detectors=DETECTORS,
        drift=drift,
    )  # fmt: skip
    return Desk(Project(name="tiny", sources={"s": source}))


def body(day: int, columns: int, places: int = 1, shift: float = 0.0, rows: int = 120) -> bytes:
    rng = np.random.default_rng(day)
    times = [START + timedelta(days=day, minutes=n) for n in range(rows)]
    table = pa.table(
        {
            "id": [f"{day}-{n}" for n in range(rows)],
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "place": [f"place {n % places}" for n in range(rows)],
            **{name: rng.normal(size=rows) + shift for name in names_of(columns)},
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def largest(desk: Desk) -> int:
    return max(item_size(item) for table in desk.tables._items.values() for item in table.values())


def test_five_hundred_columns_that_all_drift_are_told_of_in_little() -> None:
    desk = wide(500)
    for day in range(4):
        assert desk.land(f"s/{day}.parquet", body(day, 500, shift=6.0 * (day == 3))) == "accepted 120 rows"
    (event,) = desk.events(DriftDetected, "s")
    assert event.drifting == 1_500
    assert len(event.columns) == telling.MOST_TOLD == len({one.column for one in event.columns})
    (kept,) = store.judged_windows(desk.tables, "default", "s", 5)
    assert {one.column for one in kept.columns if one.drifted} == set(names_of(500))
    votes = store.drift_votes(desk.tables, "default", "s")
    assert {name for name, ballot in votes.votes.items() if ballot[-1]} == {
        f"{name}|{detector}" for name in names_of(500) for detector in DETECTORS
    }
    assert largest(desk) < SMALL


def test_a_source_of_many_segments_that_all_drift_is_told_of_in_little() -> None:
    desk = wide(12, segments=("place",), min_rows=20)
    for day in range(4):
        said = desk.land(f"s/{day}.parquet", body(day, 12, 21, 6.0 * (day == 3), 21 * 25))
        assert said == "accepted 525 rows"
    (event,) = desk.events(DriftDetected, "s")
    assert event.drifting is not None
    assert event.drifting > 12 * 22
    assert {one.column for one in event.columns} == set(names_of(12))
    assert largest(desk) < SMALL / 4


def test_votes_come_back_as_they_were_and_fit_into_an_item() -> None:
    rng = np.random.default_rng(1)
    tails = list(DETECTORS) + [f"{d}|carrier = {n}" for d in DETECTORS for n in range(21)]
    ballots = {f"{c}|{t}": tuple((rng.random(3) < 0.5).tolist()) for c in names_of(500) for t in tails}
    since = {name: START + timedelta(days=int(rng.integers(3))) for name, ballot in ballots.items() if any(ballot)}
    votes = DriftVotes(version=7, newest=START, began=START, votes=ballots, since=since)
    body = votes.packed()
    assert len(body) <= LARGEST < SMALL
    moved = {name: ballot for name, ballot in ballots.items() if any(ballot)}
    assert DriftVotes.unpacked(body) == votes.model_copy(update={"votes": moved})


def test_what_does_not_fit_loses_the_votes_of_segments() -> None:
    rng = np.random.default_rng(1)
    values = [rng.bytes(60).hex() for _ in range(4_000)]
    ballots = {"x|ks": (True,), **{f"x|ks|word = {value}": (True,) for value in values}}
    found = DriftVotes.unpacked(DriftVotes(votes=ballots, since=dict.fromkeys(ballots, START)).packed())
    assert (found.votes, found.since) == ({"x|ks": (True,)}, {"x|ks": START})


def test_the_furthest_of_each_column_are_told_before_others_of_it() -> None:
    def one(column: str, effect: float, segment: str = "") -> ColumnDrift:
        return ColumnDrift(
            column=column, detector="ks", effect=effect, floor=0.1, p_value=0.0, drifted=True, segment=segment
        )

    loud = [one("loud", 0.9 - n / 1_000, f"place = {n}") for n in range(100)]
    quiet = [one(name, 0.2) for name in ("a", "b")]
    told = telling.told([*loud, *quiet])
    assert len(told) == telling.MOST_TOLD
    assert {"a", "b"} <= {each.column for each in told}
    assert loud[0] in told
    assert loud[-1] not in told


def test_thousands_of_findings_are_told_in_little_and_kept_in_full() -> None:
    many = tuple(Finding(check="high", column=name, severity="block", text="x" * 5_000) for name in names_of(900))
    short = told_findings((Finding(check="a", severity="warn", text="w"), *many))
    assert len(short) == 101
    assert short[-1].text.startswith("and 801 findings more")
    assert sum(len(one.text) for one in short) < SMALL
    assert told_findings(many[:1])[0].text.endswith(" ...")
    desk = wide(300)
    desk.land("s/1.parquet", body(1, 299))
    columns = ",".join(["id", "at", "place", *names_of(300)])
    row = ",".join(["many"] * 300)
    lines = "".join(f"{n},2013-01-01,a,{row}\n" for n in range(4))
    desk.land("s/2.csv", f"{columns}\n{lines}".encode())
    failed = desk.events(QualityFailed, "s")[-1]
    assert len(failed.findings) == 101
    folder = failed.quarantine_key.rpartition("/")[0]
    assert desk.blobs.get("lake", f"{folder}/reasons.json").body.count(b'"check"') > 300
    assert largest(desk) < SMALL


def hourly(hour: float, shift: float = 0.0, late: float = 0.0, rows: int = 120) -> bytes:
    """Return the file of an hour; its last row can be later by some hours."""
    table = pq.read_table(io.BytesIO(body(round(hour * 10), 2, shift=shift)))
    times = [START + timedelta(hours=hour, seconds=25 * n) for n in range(120)]
    times[-1] += timedelta(hours=late)
    sink = io.BytesIO()
    pq.write_table(table.set_column(1, "at", pa.array(times, pa.timestamp("us", "UTC"))).slice(0, rows), sink)
    return sink.getvalue()


def as_of(hour: float) -> dict[str, str]:
    return {"as-of": (START + timedelta(hours=hour + 1)).isoformat()}


@pytest.mark.parametrize("every", ["", "1h"])
def test_a_row_of_tomorrow_silences_nobody(every: str) -> None:
    desk = wide(2, every=every)
    for hour in range(14):
        desk.land(f"s/{hour}.parquet", hourly(hour, 3.0 * (hour > 6), 25.0 * (hour == 6)), as_of(hour))
    assert desk.events(DriftDetected, "s")


def test_parts_of_an_hour_are_judged_in_whatever_order_their_last_rows_come() -> None:
    desk = wide(2)
    for hour in range(5):
        desk.land(f"s/{hour}-a.parquet", hourly(hour), as_of(hour))
    desk.land("s/6-a.parquet", hourly(6), as_of(6))
    desk.land("s/6-b.parquet", hourly(6.001, 3.0, rows=110), as_of(6))
    assert desk.events(DriftDetected, "s")[-1].window.start == START + timedelta(hours=6.001)


@pytest.mark.parametrize("every", ["", "1h"])
def test_what_is_too_late_to_be_judged_says_so(every: str) -> None:
    desk = wide(2, every=every)
    for hour in range(1, 9):
        desk.land(f"s/{hour}.parquet", hourly(hour), as_of(hour))
    before = store.drift_votes(desk.tables, "default", "s")
    assert desk.land("s/late.parquet", hourly(3.1, 3.0, rows=110), as_of(9)) == "accepted 110 rows"
    (told,) = desk.events(UploadAccepted, "s")[-1].findings
    assert told.check == "drift"
    assert told.text.startswith("not judged: its rows end 2013-01-01 03:51, before the newest window that was judged")
    after = store.drift_votes(desk.tables, "default", "s")
    assert after.votes == before.votes
