"""A reference is the profiles of the uploads that a baseline means, out of the lake, each read once."""

import json
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.errors import AlreadyHandled
from modelwright.events import AliasChanged, Delivery, ModelVersionCreated, TrainingCompleted, Window
from modelwright.log import Log
from modelwright.monitoring import performance, references, store
from modelwright.monitoring.profiles import Profile, Reference, profile_of
from modelwright.monitoring.references import MOST, reference_of
from modelwright.project import Baseline, Source
from modelwright.storage import Anything, BucketName, Put, Stored
from monitoring.desk import Desk

EVENTS = Path(__file__).parents[2] / "events"
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
SOURCE = Source.model_validate(
    {
        "prefix": "rows/",
        "columns": {"at": {"type": "timestamp"}, "x": {"type": "number"}},
        "key": [],
        "event_time": "at",
        "reference_days": 56,
    }
)


class Counted(MemoryBlobs):
    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        self.read += 1
        return super().get(bucket, key, version)


class Shelf:
    """A source's accepted uploads."""

    def __init__(self) -> None:
        self.tables, self.blobs = MemoryTables(), Counted()
        self.cache: dict[str, Any] = {}
        self.log = Log(self.tables)
        self.desk = Desk(None)

    def put(self, start: datetime, span: timedelta) -> Profile:
        times = pa.array([start, start + span - timedelta(seconds=1)], pa.timestamp("us", tz="UTC"))
        profile = profile_of(pa.table({"at": times, "x": [1.0, 2.0]}), "rows", SOURCE, f"{start:%m%d%H%M}-{span}")
        self.blobs.put("lake", store.profile_key("w", "rows", profile.digest), profile.packed())
        self.tables.write([store.put_profile("w", profile)])
        return profile

    def reference(self, start: datetime, span: timedelta, baseline: Baseline | None = None) -> Reference:
        call = Call("w", "platform", start + span, "test")
        end = start + span - timedelta(seconds=1)
        stores: Any = {"tables": self.tables, "blobs": self.blobs, "cache": self.cache}
        return reference_of(call, "rows", SOURCE, start, end, baseline=baseline, **stores)

    def happened(self, *events: Any) -> None:
        heard: dict[type, Any] = {
            TrainingCompleted: references.follow_training,
            ModelVersionCreated: references.follow_version,
        }
        for event in events:
            call = Call("w", "platform", MONDAY, "test")
            delivery = self.desk.delivery(event, "MODEL", MONDAY)
            if isinstance(event, AliasChanged):
                performance.follow_alias(delivery, call, tables=self.tables, log=self.log)
            else:
                heard[type(event)](delivery, call, log=self.log)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def starts(reference: Reference) -> list[datetime]:
    return [profile.start for profile in reference.profiles]


def test_a_sliding_reference_is_the_days_before(shelf: Shelf) -> None:
    for n in range(10):
        shelf.put(MONDAY + n * WEEK, WEEK)
    now = MONDAY + 9 * WEEK
    assert starts(shelf.reference(now, WEEK)) == [MONDAY + n * WEEK for n in range(1, 10)]
    month = shelf.reference(now, HOUR, Baseline(days=14))
    assert starts(month) == [now - 2 * WEEK, now - WEEK]
    assert month.text == "2 uploads of 14 days before"
    assert starts(shelf.reference(MONDAY, HOUR)) == []


def test_a_fixed_window_stays_what_it_is(shelf: Shelf) -> None:
    for n in range(30):
        shelf.put(MONDAY + n * DAY, DAY)
    baseline = Baseline(kind="window", start=MONDAY + 2 * DAY, end=(MONDAY + 5 * DAY).replace(tzinfo=None))
    found = shelf.reference(MONDAY + 29 * DAY, DAY, baseline)
    assert starts(found) == [MONDAY + n * DAY for n in (2, 3, 4)]
    assert found.text == "3 uploads from 2026-03-04 to 2026-03-07"


@pytest.mark.parametrize(
    ("uploads", "compared", "hours"),
    [
        # an hour's file: that hour of the same weekday
        (HOUR, (3 * WEEK + 9 * HOUR, HOUR), [9, 168 + 9, 336 + 9]),
        # files of half an hour: those of this hour
        (HOUR / 2, (3 * WEEK + 9 * HOUR, HOUR), [w * 168 + 9 + n / 2 for w in range(3) for n in range(2)]),
        # an hour from twenty to on: the hour in which at least half of it lies
        (HOUR, (3 * WEEK + 9.6 * HOUR, HOUR), [10, 168 + 10, 336 + 10]),
        # a day's file, out of hourly ones: all hours of this weekday
        (HOUR, (3 * WEEK, DAY), [w * 168 + n for w in range(3) for n in range(24)]),
        # a day's file: this weekday
        (DAY, (3 * WEEK + DAY, DAY), [24, 168 + 24, 336 + 24]),
        # an hour's file, out of daily ones: nobody knows what a day's file says of its hour
        (DAY, (3 * WEEK + 9 * HOUR, HOUR), []),
        # a week's file: all
        (DAY, (3 * WEEK, WEEK), list(range(0, 504, 24))),
    ],
)
def test_a_seasonal_reference_is_the_same_hours_of_the_week(
    shelf: Shelf, uploads: timedelta, compared: tuple[timedelta, timedelta], hours: Sequence[float]
) -> None:
    for n in range(int(3 * WEEK / uploads)):
        shelf.put(MONDAY + n * uploads, uploads)
    found = shelf.reference(MONDAY + compared[0], compared[1], Baseline(kind="seasonal"))
    expected = [MONDAY + hour * HOUR for hour in hours]
    assert starts(found) == expected[-MOST:]
    assert "in the same hours of the week" in found.text


def test_of_too_many_uploads_the_newest_count_or_an_even_choice(shelf: Shelf) -> None:
    for n in range(130):
        shelf.put(MONDAY + n * HOUR, HOUR)
    newest = shelf.reference(MONDAY + 130 * HOUR, HOUR)
    assert starts(newest) == [MONDAY + n * HOUR for n in range(70, 130)]
    assert newest.text == "60 of 130 uploads of 56 days before"
    spread = shelf.reference(MONDAY, HOUR, Baseline(kind="window", start=MONDAY, end=MONDAY + WEEK))
    assert len(spread.profiles) == MOST
    assert (starts(spread)[0], starts(spread)[-1]) == (MONDAY, MONDAY + 129 * HOUR)


def test_a_profile_is_read_from_the_lake_once(shelf: Shelf) -> None:
    for n in range(5):
        shelf.put(MONDAY + n * DAY, DAY)
    first = shelf.reference(MONDAY + 5 * DAY, DAY)
    shelf.put(MONDAY + 5 * DAY, DAY)
    second = shelf.reference(MONDAY + 6 * DAY, DAY)
    assert shelf.blobs.read == 6
    assert second.profiles[:5] == first.profiles
    assert second.pooled("x") is not None
    assert second.rows == 12


def test_a_profile_that_an_erasure_rewrote_is_read_again_within_the_hour(shelf: Shelf) -> None:
    profile = shelf.put(MONDAY, DAY)
    first = shelf.reference(MONDAY + DAY, DAY)
    rewritten = profile.model_copy(update={"rows": 1})
    key = store.profile_key("w", "rows", profile.digest)
    shelf.blobs.put("lake", key, rewritten.packed())
    assert shelf.reference(MONDAY + DAY, DAY) == first
    known = shelf.cache["profiles"]
    known[key] = (known[key][0], known[key][1] - 3601)
    assert shelf.reference(MONDAY + DAY, DAY).profiles == (rewritten,)


def test_a_profile_that_is_gone_from_the_lake_is_left_out(shelf: Shelf) -> None:
    gone, kept = shelf.put(MONDAY, DAY), shelf.put(MONDAY + DAY, DAY)
    shelf.blobs.delete("lake", store.profile_key("w", "rows", gone.digest))
    assert shelf.reference(MONDAY + 2 * DAY, DAY).profiles == (kept,)


def test_a_profile_that_lies_in_the_table_is_still_read(shelf: Shelf) -> None:
    profile = shelf.put(MONDAY, DAY)
    (write,) = (store.put_profile("w", profile),)
    assert isinstance(write, Put)
    old = {"pk": write.item["pk"], "sk": write.item["sk"], "profile": zlib.compress(profile.model_dump_json().encode())}
    shelf.tables.write([Put("monitoring", old, Anything())])
    shelf.blobs.delete("lake", store.profile_key("w", "rows", profile.digest))
    assert shelf.reference(MONDAY + DAY, DAY).profiles == (profile,)


def test_an_item_is_small_however_many_columns_there_are(shelf: Shelf) -> None:
    profile = shelf.put(MONDAY, DAY)
    wide = profile.model_copy(update={"columns": {f"x{n}": profile.columns["x"] for n in range(300)}})
    write = store.put_profile("w", wide)
    assert isinstance(write, Put)
    assert len(str(write.item)) < 500


# --- what the champion was trained on ----------------------------------------------------

TRAINING = Baseline(kind="training", model="m")


def trained(identity: str, window: Window) -> TrainingCompleted:
    sample = json.loads((EVENTS / "monitor-training-completed.json").read_text())["detail"]["data"]
    return TrainingCompleted.model_validate({**sample, "training_id": identity, "model": "m", "window": window})


def version(number: int, training_id: str = "") -> ModelVersionCreated:
    return ModelVersionCreated(model="m", version=number, source="", artifact_key="", training_id=training_id)


def champion(number: int | None) -> AliasChanged:
    return AliasChanged(model="m", alias="champion", version=number, previous=None)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 4, 0, 3, 1)])
def test_the_reference_of_a_training_is_what_the_champion_saw_in_whatever_order_it_was_heard(
    shelf: Shelf, order: Sequence[int]
) -> None:
    for n in range(40):
        shelf.put(MONDAY + n * DAY, DAY)
    events = (
        trained("t1", Window(start=MONDAY + 3 * DAY, end=MONDAY + 6 * DAY)),
        trained("t2", Window(start=MONDAY + 10 * DAY, end=MONDAY + 12 * DAY)),
        version(1, "t1"),
        version(2, "t2"),
        champion(2),
    )
    shelf.happened(*(events[n] for n in order))
    found = shelf.reference(MONDAY + 40 * DAY, DAY, TRAINING)
    assert starts(found) == [MONDAY + 10 * DAY, MONDAY + 11 * DAY]
    assert found.text == "2 uploads of what champion v2 of m was trained on, 2026-03-12 to 2026-03-14"


def test_without_a_known_champion_there_is_no_reference_and_it_says_why(shelf: Shelf) -> None:
    shelf.put(MONDAY, DAY)
    assert shelf.reference(MONDAY + DAY, DAY, TRAINING) == Reference((), "none: m has no champion")
    shelf.happened(version(7), champion(7))
    found = shelf.reference(MONDAY + DAY, DAY, TRAINING)
    assert found == Reference((), "none: nobody said on which rows champion v7 of m was trained")
    shelf.happened(version(8, "t"), champion(8))
    assert "champion v8 of m was trained" in shelf.reference(MONDAY + DAY, DAY, TRAINING).text


def test_a_training_that_is_heard_twice_is_remembered_once(shelf: Shelf) -> None:
    event = trained("t1", Window(start=MONDAY, end=MONDAY + DAY))
    delivery: Delivery = shelf.desk.delivery(event, "MODEL", MONDAY)
    call = Call("w", "platform", MONDAY, "test")
    references.follow_training(delivery, call, log=shelf.log)
    with pytest.raises(AlreadyHandled):
        references.follow_training(delivery, call, log=shelf.log)
