"""A quarantine is closed by its own rows, and by nobody else's."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import Unavailable
from modelwright.events import QualityFailed, QuarantineReleased
from modelwright.monitoring import store
from modelwright.monitoring.reading import parquet_bytes
from modelwright.project import Column, Project, Source
from modelwright.storage import Write
from monitoring.desk import Desk

START = datetime(2013, 1, 1, tzinfo=UTC)
SOURCE = Source(
    prefix="s/",
    columns={
        "id": Column(type="integer"),
        "at": Column(type="timestamp"),
        "x": Column(type="number", nullable=True, high=100),
    },
    key=("id",),
    event_time="at",
    checks=("missing_rate",),
)


def rows(
    day: int, first: int, x: float | None = 1.0, count: int = 40, every: timedelta = timedelta(minutes=1)
) -> bytes:
    times = [START + timedelta(days=day) + n * every for n in range(count)]
    noise = np.random.default_rng(first).normal(size=count)
    values = pa.nulls(count, pa.float64()) if x is None else pa.array(noise * 0.1 + x)
    ids = pa.array(range(first, first + count), pa.int64())
    return parquet_bytes(pa.table({"id": ids, "at": pa.array(times, pa.timestamp("us", "UTC")), "x": values}))


@pytest.fixture
def desk() -> Desk:
    desk = Desk(Project(name="tiny", sources={"s": SOURCE}))
    for day in range(3):
        assert desk.land(f"s/{day}.parquet", rows(day, 1_000 * day)).startswith("accepted")
    return desk


def opened(desk: Desk) -> list[str]:
    return [one.upload_key for one in store.open_quarantines(desk.tables, "default")]


def test_another_part_of_the_same_day_leaves_a_quarantine_open(desk: Desk) -> None:
    assert desk.land("s/day3/part-1.parquet", rows(3, 3_000, None)).startswith("quarantined")
    assert desk.land("s/day3/part-2.parquet", rows(3, 3_500)).startswith("accepted")
    assert opened(desk) == ["s/day3/part-1.parquet"]
    assert desk.events(QuarantineReleased, "s") == []
    assert desk.land("s/day3/part-1.parquet", rows(3, 3_000)).startswith("accepted")
    assert opened(desk) == []


def test_a_file_of_any_name_with_the_same_keys_and_window_closes_it(desk: Desk) -> None:
    desk.land("s/bad.parquet", rows(3, 3_000, None))
    assert desk.land("s/partly.parquet", rows(3, 3_020)).startswith("accepted")
    assert opened(desk) == ["s/bad.parquet"], "half of its keys are not all"
    assert desk.land("s/elsewhere.parquet", rows(9, 3_000)).startswith("accepted")
    assert opened(desk) == ["s/bad.parquet"], "a snapshot of another day has the same keys and other rows"
    assert desk.land("s/whole.parquet", rows(3, 2_990, count=60)).startswith("accepted")
    assert opened(desk) == []
    (told,) = desk.events(QuarantineReleased, "s")
    assert told.reason == "s/whole.parquet brought the same rows again and passed"


def test_held_rows_of_text_are_known_by_their_keys_too(desk: Desk) -> None:
    lines = "".join(f"{n},2013-01-04T00:{n:02d}:00Z,{1000 if n < 3 else n}\n" for n in range(40))
    assert desk.land("s/a.csv", b"id,at,x\n" + lines.encode()) == "accepted 37 rows, held 3"
    assert desk.land("s/b.csv", b"id,at,x\n" + b"".join(lines.encode().splitlines(keepends=True)[3:])).startswith(
        "accepted"
    )
    assert opened(desk) == ["s/a.csv"]
    assert desk.land("s/c.csv", b"id,at,x\n" + lines.replace(",1000", ",9").encode()).startswith("accepted")
    assert opened(desk) == []


def test_the_same_content_under_the_held_name_closes_what_nobody_could_read(desk: Desk) -> None:
    whole = rows(3, 3_000)
    desk.land("s/3.parquet", whole[:-9])
    assert desk.land("s/whole.parquet", whole).startswith("accepted")
    assert opened(desk) == ["s/3.parquet"], "nobody knows its rows"
    assert desk.land("s/3.parquet", whole) == "same content as s/whole.parquet, which was accepted"
    assert opened(desk) == []


class Tired(MemoryTables):
    """Tables that take so many writes more."""

    left = 1_000

    def write(self, writes: Sequence[Write]) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the process was killed")
        super().write(writes)


def test_more_quarantines_than_a_transaction_takes_are_all_closed_also_after_a_crash() -> None:
    desk = Desk(Project(name="tiny", sources={"s": SOURCE}))
    desk.tables = desk.log._tables = tired = Tired()
    desk.apply(Project(name="tiny", sources={"s": SOURCE}))
    for n in range(90):
        desk.land(f"s/{n}.parquet", rows(0, 5 * n, 1_000.0 + n, 5, timedelta(seconds=1)))
    assert len(opened(desk)) == 90
    version = desk.blobs.put("landing", "s/all.parquet", rows(0, 0, count=450, every=timedelta(seconds=1)))
    tired.left = 2
    with pytest.raises(Unavailable):
        desk.receive("s/all.parquet", version)
    assert 0 < len(opened(desk)) < 90
    tired.left = 1_000
    assert desk.receive("s/all.parquet", version).startswith("repeated delivery: accepted 450 rows")
    assert opened(desk) == []
    assert len(desk.events(QuarantineReleased, "s")) == 90


@pytest.mark.parametrize("name", ["reasons.json", "rows.parquet"])
def test_a_file_that_is_called_like_our_own_is_kept_beside_them(desk: Desk, name: str) -> None:
    desk.land(f"s/{name}", b'{"a": 1}')
    (failed,) = desk.events(QualityFailed, "s")
    assert desk.blobs.get("lake", failed.quarantine_key).body == b'{"a": 1}'
    folder = failed.quarantine_key.rpartition("/")[0]
    assert b'"findings"' in desk.blobs.get("lake", f"{folder}/reasons.json").body
