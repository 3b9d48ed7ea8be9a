"""The prediction log in few objects: what is read costs as much, and is the same, whoever asked how."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import NotFound
from modelwright.events import PerformanceMeasured
from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.places import Ground, Objects
from modelwright.features.erasing.subjects import Ids, Subject
from modelwright.monitoring.performance import look_again, pack
from modelwright.monitoring.performance.logbook import logged, packed
from modelwright.rollout import predictions
from modelwright.storage import BucketName, Listed, Stored
from monitoring.performance.stage import MODEL, START, Rows, Shop, project

PREFIX = f"predictions/default/{MODEL}/"


class Watched(MemoryBlobs):
    """A bucket that counts what is asked of it, says how old its objects are, and dies when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.before_put: Callable[[], None] | None = None
        self.gets, self.dies, self.modified = 0, False, "2013-01-01T00:00:00+00:00"

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        self.gets += 1
        return super().get(bucket, key, version)

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        return (replace(one, modified=self.modified) for one in super().list(bucket, prefix))

    def delete_many(self, bucket: BucketName, keys: object) -> None:
        if self.dies:
            raise KeyboardInterrupt
        super().delete_many(bucket, keys)  # type: ignore[arg-type]

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        if "/packed/" in key and self.before_put is not None:
            meanwhile, self.before_put = self.before_put, None
            meanwhile()
        return super().put(bucket, key, body, metadata=metadata)


def one(rows: Rows, number: int, count: int = 1) -> Rows:
    some = copy.copy(rows)
    some.count = count
    for name in ("ids", "times", "shops", "size", "kind"):
        setattr(some, name, getattr(rows, name)[number : number + count])
    return some


@pytest.fixture
def asked() -> tuple[Shop, Watched, Rows]:
    """A day of which 100 rows were asked about one by one."""
    shop, blobs = Shop(project("classification")), Watched()
    shop.desk.blobs = blobs
    rows = shop.rows(0, days=1, count=100)
    for number in range(rows.count):
        shop.answer(one(rows, number), [number / 100])
    blobs.gets = 0
    return shop, blobs, rows


def packs(shop: Shop) -> int:
    return pack(shop.desk.call(), tables=shop.desk.tables, blobs=shop.desk.blobs)


def keys(shop: Shop) -> list[str]:
    return [listed.key for listed in shop.desk.blobs.list("lake", PREFIX)]


def day(shop: Shop) -> pa.Table:
    return logged(shop.desk.blobs, "default", MODEL, [START.date()]).sort_by("prediction_id")


def test_labels_cost_a_few_reads_however_many_requests_a_day_had(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, rows = asked
    assert packs(shop) == 100
    blobs.gets = 0
    found = shop.label(one(rows, 0, 60), [1.0] * 60)
    assert (found.joined, blobs.gets < 10) == (60, True)
    blobs.gets = 0
    assert shop.label(one(rows, 0, 100), [1.0] * 100).joined == 40
    assert blobs.gets < 10


def test_what_is_read_is_the_same_before_and_after(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, _, _ = asked
    before = day(shop)
    packs(shop)
    (key,) = keys(shop)
    assert packed(key)
    assert day(shop).select(before.column_names).equals(before)
    assert packs(shop) == 0


def test_whoever_is_killed_half_way_loses_and_doubles_nothing(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, rows = asked
    before = day(shop)
    blobs.dies = True
    with pytest.raises(KeyboardInterrupt):
        packs(shop)
    blobs.dies = False
    assert len(keys(shop)) == 101
    assert day(shop).select(before.column_names).equals(before)
    packs(shop)
    assert len(keys(shop)) == 1
    assert day(shop).select(before.column_names).equals(before)
    assert shop.label(rows, [1.0] * 100).joined == 100


def test_objects_that_come_later_are_packed_with_the_small_ones_of_before(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, _, rows = asked
    packs(shop)
    for number in range(20):
        shop.answer(one(rows, number), [0.9], version=2, role="shadow")
    assert packs(shop) == 21
    assert len(keys(shop)) == 1
    assert day(shop).num_rows == 120


def test_young_objects_and_a_few_are_left_alone(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, rows = asked
    blobs.modified = (shop.desk.call().now - timedelta(minutes=59)).isoformat()
    assert packs(shop) == 0
    blobs.modified = (shop.desk.call().now - timedelta(minutes=61)).isoformat()
    later = shop.rows(3, days=1, count=10)
    for number in range(later.count):
        shop.answer(one(later, number), [0.5])
    assert packs(shop) == 100
    assert sum(not packed(key) for key in keys(shop)) == 10
    assert rows.count == 100


def test_a_repeat_of_a_request_that_was_packed_gets_its_answer(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, _ = asked
    key = keys(shop)[7]
    before = list(predictions.read([key], blobs=blobs))
    packs(shop)
    assert list(predictions.read([key], blobs=blobs)) == before
    with pytest.raises(NotFound, match="other"):
        list(predictions.read([key.replace(".parquet", "-other.parquet")], blobs=blobs))


def test_columns_of_other_kinds_stay_apart_and_empty_ones_do_not(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, _ = asked
    rows = shop.rows(0, days=1, count=40)
    rows.kind = np.array([None if n % 2 else "a" for n in range(40)], dtype=object)
    for number in range(20):
        shop.answer(one(rows, number), [0.5])
    rows.kind = np.array(list(range(40)), dtype=object)
    for number in range(20, 40):
        shop.answer(one(rows, number), [0.5])
    packs(shop)
    kinds = [
        pa.parquet.read_schema(pa.BufferReader(blobs.get("lake", key).body)).field("feature_kind").type
        for key in keys(shop)
    ]
    assert {str(kind) for kind in kinds} == {"string", "int64"}
    assert day(shop).num_rows == 140


def test_who_is_erased_is_erased_from_what_was_packed(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, rows = asked
    packs(shop)
    subject = Subject(entity="sale", columns={"sale": rows.ids[5]})
    ground = Ground("1", "default", subject, Ids(()), set(), shop.desk.tables, blobs, Names())
    place = Objects(ground, "predictions", "lake", "predictions/default/")
    found, cursor = place.search("")
    more, _ = place.search(cursor)
    place.clean([*found, *more])
    left = [place.search("")[0], place.search(cursor)[0]]
    assert (len(found) + len(more), left) == (2, [[], []])  # of the pack, and of what it was packed from
    assert sorted(day(shop).column("prediction_id").to_pylist()) == sorted({*rows.ids} - {rows.ids[5]})


def test_who_is_erased_while_their_rows_are_packed_stays_erased(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, rows = asked
    subject = Subject(entity="sale", columns={"sale": rows.ids[5]})
    ground = Ground("1", "default", subject, Ids(()), set(), shop.desk.tables, blobs, Names())
    place = Objects(ground, "predictions", "lake", "predictions/default/")

    def erase() -> None:
        found, cursor = place.search("")
        more, _ = place.search(cursor)
        place.clean([*found, *more])

    blobs.before_put = erase
    packs(shop)
    assert [place.search("")[0], place.search(place.search("")[1])[0]] == [[], []]
    assert sorted(day(shop).column("prediction_id").to_pylist()) == sorted({*rows.ids} - {rows.ids[5]})
    packs(shop)
    assert len(keys(shop)) == 1


def test_label_files_that_wait_for_the_same_day_read_it_once(asked: tuple[Shop, Watched, Rows]) -> None:
    shop, blobs, _ = asked
    unasked = shop.rows(0, days=1, count=30)
    for number in range(3):
        shop.label(one(unasked, 10 * number, 10), [1.0] * 10)
    shop.answer(one(unasked, 0, 25), [0.5] * 25)
    blobs.gets = 0
    look_again(shop.desk.call(), tables=shop.desk.tables, log=shop.desk.log, blobs=blobs)
    assert sorted(one.joined for one in shop.desk.events(PerformanceMeasured, MODEL, "PERFORMANCE"))[3:] == [5, 10, 10]
    assert blobs.gets < 101 + 3 * 4
