"""The offline store keeps every version of a row, and knows until when each counted."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature_cases import PROJECT, START
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.features.aggregates import NEVER
from modelwright.features.history import ARRIVAL, ARROW, AVAILABLE, KEY, UNTIL, Folded, History, canonical, fold
from modelwright.features.layout import WEEK_US, micros

SOURCE = PROJECT.sources["weather"]
Version = tuple[str, int, str]


class Store:
    """A source's history in memory."""

    def __init__(self) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.history = History(blobs=self.blobs, tables=self.tables, workspace="w", cache={})

    def put(self, rows: list[dict[str, Any]], arrival: str) -> Folded:
        names = SOURCE.columns
        table = pa.table({n: pa.array([r[n] for r in rows], ARROW[c.type]) for n, c in names.items()})
        came = canonical(SOURCE, table, now_us=micros(START), arrival=arrival)
        manifest = self.history.manifest("weather")
        folded = fold(self.history, "weather", SOURCE, manifest, came)
        self.tables.write([self.history.replacement("weather", manifest, folded.partitions)])
        return folded

    def rows(self) -> list[dict[str, Any]]:
        """Read everything back from its objects."""
        fresh = History(blobs=self.blobs, tables=self.tables, workspace="w", cache={})
        partitions = fresh.manifest("weather").partitions
        return [row for part in fresh.rows(SOURCE, "weather", partitions) for row in part.to_pylist()]


def named(row: dict[str, Any]) -> Version:
    return (row["origin"], row[AVAILABLE], row[ARRIVAL])


def observed(origin: str, known_h: float, temp: float) -> dict[str, Any]:
    known = START + timedelta(hours=known_h)
    return {"origin": origin, "observed_at": START, "known_at": known, "temp": temp, "sky": None}


def untils(rows: list[dict[str, Any]]) -> dict[float, int]:
    return {row["temp"]: row[UNTIL] for row in rows}


def at(hours: float) -> int:
    return micros(START + timedelta(hours=hours))


def test_a_correction_ends_the_version_before_it_and_erases_nothing() -> None:
    store = Store()
    store.put([observed("JFK", 0, 1.0)], "a")
    folded = store.put([observed("JFK", 5, 2.0)], "b")
    assert untils(store.rows()) == {1.0: at(5), 2.0: NEVER}
    assert untils(folded.added.to_pylist()) == {2.0: NEVER}
    assert untils(folded.ended.to_pylist()) == {1.0: at(5)}


def test_a_correction_that_comes_before_what_it_corrects_ends_it_all_the_same() -> None:
    store = Store()
    store.put([observed("JFK", 5, 2.0)], "a")
    folded = store.put([observed("JFK", 0, 1.0)], "b")
    assert untils(store.rows()) == {1.0: at(5), 2.0: NEVER}
    assert untils(folded.added.to_pylist()) == {1.0: at(5)}
    assert not folded.ended.num_rows


def test_a_version_between_two_shortens_the_first() -> None:
    store = Store()
    store.put([observed("JFK", 0, 1.0), observed("JFK", 400, 3.0)], "a")
    folded = store.put([observed("JFK", 200, 2.0)], "b")
    assert untils(store.rows()) == {1.0: at(200), 2.0: at(400), 3.0: NEVER}
    assert untils(folded.ended.to_pylist()) == {1.0: at(200)}


def test_what_became_known_at_the_same_time_but_came_earlier_was_never_seen() -> None:
    store = Store()
    store.put([observed("JFK", 5, 1.0)], "a")
    store.put([observed("JFK", 5, 2.0)], "b")
    assert untils(store.rows()) == {1.0: at(5), 2.0: NEVER}


def test_versions_that_are_there_change_nothing_and_rewrite_nothing() -> None:
    store = Store()
    rows = [observed("JFK", 0, 1.0), observed("JFK", 5, 2.0), observed("EWR", 300, 3.0)]
    before = store.put(rows, "a").partitions
    folded = store.put(rows[::-1], "a")
    assert folded.partitions == before
    assert folded.incoming.num_rows == 3
    assert not folded.added.num_rows
    assert not folded.ended.num_rows


def test_of_a_version_twice_in_one_file_the_last_counts() -> None:
    store = Store()
    store.put([observed("JFK", 0, 1.0), observed("JFK", 0, 2.0)], "a")
    assert untils(store.rows()) == {2.0: NEVER}


def test_partitions_from_before_versions_ended_are_read_as_if_none_had() -> None:
    store = Store()
    folded = store.put([observed("JFK", 0, 1.0)], "a")
    old = folded.added.drop_columns([UNTIL])
    stored = store.history.store("weather", SOURCE, folded.partitions[0].week, old)
    store.tables.write([store.history.replacement("weather", store.history.manifest("weather"), [stored])])
    assert untils(store.rows()) == {1.0: NEVER}
    store.put([observed("JFK", 1, 2.0)], "b")
    assert untils(store.rows()) == {1.0: at(1), 2.0: NEVER}


def test_columns_that_are_asked_for_are_all_that_is_read() -> None:
    store = Store()
    partitions = store.put([observed("JFK", 0, 1.0)], "a").partitions
    fresh = History(blobs=store.blobs, tables=store.tables, workspace="w", cache={})
    (part,) = fresh.rows(SOURCE, "weather", partitions, ["temp", UNTIL])
    assert part.to_pylist() == [{"temp": 1.0, UNTIL: NEVER}]


class Counting(MemoryBlobs):
    """A lake that notes what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, bucket: Any, key: str, *options: Any) -> Any:
        self.read.append(key)
        return super().get(bucket, key, *options)


def test_keys_of_large_partitions_are_read_one_partition_at_a_time() -> None:
    store = Store()
    store.blobs = Counting()
    store.history = History(blobs=store.blobs, tables=store.tables, workspace="w", cache={})
    weeks = [observed("JFK", 200.0 * n, n) for n in range(4)]
    partitions = store.put(weeks, "a").partitions
    large = [partition.model_copy(update={"rows": 300_000}) for partition in partitions]
    fresh = History(blobs=store.blobs, tables=store.tables, workspace="w", cache={})
    store.blobs.read.clear()
    seen = [(len(store.blobs.read), keys.tolist()) for keys in fresh.keys("weather", large)]
    assert [read for read, _ in seen] == [1, 2, 3, 4]
    assert [keys for _, keys in seen] == [keys.tolist() for keys in store.history.keys("weather", partitions)]


versions = st.lists(
    st.builds(observed, st.sampled_from(["JFK", "EWR"]), st.integers(0, 6).map(lambda n: n * 100), st.floats(0, 9)),
    max_size=8,
)


def expected(files: list[list[dict[str, Any]]]) -> dict[Version, tuple[float, int]]:
    """Return value and end of every version that ever came, by a loop over them."""
    found: dict[Version, float] = {}
    for number, rows in enumerate(files):
        for row in rows:
            found[row["origin"], micros(row["known_at"]), f"{number}"] = row["temp"]
    ends = {}
    for origin, available, arrival in found:
        later = [v[1] for v in found if v[0] == origin and v[1:] > (available, arrival)]
        ends[origin, available, arrival] = min(later, default=NEVER)
    return {version: (temp, ends[version]) for version, temp in found.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(versions, max_size=5), st.data())
def test_files_in_any_order_and_twice_give_the_same_bytes_and_tell_what_they_changed(
    files: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    told: dict[Version, tuple[float, int]] = {}
    shuffled, in_order = Store(), Store()
    repeated = [
        *enumerate(files),
        *data.draw(st.lists(st.sampled_from(list(enumerate(files))), max_size=2) if files else st.just([])),
    ]
    for number, rows in data.draw(st.permutations(repeated)):
        folded = shuffled.put(rows, f"{number}")
        for row in folded.added.to_pylist():
            assert named(row) not in told
            told[named(row)] = (row["temp"], row[UNTIL])
        for row in folded.ended.to_pylist():
            assert row[UNTIL] < told[named(row)][1]
            told[named(row)] = (row["temp"], row[UNTIL])
    for number, rows in enumerate(files):
        in_order.put(rows, f"{number}")
    assert told == expected(files)
    assert {named(row): (row["temp"], row[UNTIL]) for row in shuffled.rows()} == told
    partitions = shuffled.history.manifest("weather").partitions
    assert partitions == in_order.history.manifest("weather").partitions
    for partition in partitions:
        (rows,) = shuffled.history.rows(SOURCE, "weather", [partition])
        assert set(np.asarray(rows[AVAILABLE]) // WEEK_US) == {partition.week}
        (keys,) = shuffled.history.keys("weather", [partition])
        assert sorted(rows[KEY].to_pylist()) == keys.tolist()
