import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import TooLarge
from modelwright.storage import Is, Key, Update
from modelwright.tracking import latest as l
from modelwright.tracking.entities import Latest, Point, newest

values = st.floats(allow_infinity=False)
whole = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
latests = st.builds(Latest, values, whole, whole)
PK = "WS#default#RUN#r"


def fresh(*points: Point) -> l.LatestMetrics:
    tables = MemoryTables()
    latest = l.LatestMetrics(tables, PK)
    tables.write(latest.begin(l.entries_of(points)))
    return latest


def entries(count: int, *, step: int = 0, length: int = 12) -> dict[str, bytes]:
    return {f"metric {n}".ljust(length, "x"): l.entry_of(float(n), 1_760_000_000_000, step) for n in range(count)}


@given(latests, latests)
def test_entries_sort_as_mlflow_ranks(one: Latest, other: Latest) -> None:
    if one.rank != other.rank:
        assert (l.entry_of(*one) < l.entry_of(*other)) == (one.rank < other.rank)


@given(latests)
def test_an_entry_tells_its_value_to_the_bit_but_for_the_sign_of_zero(value: Latest) -> None:
    assert repr(l.latest_of(l.entry_of(*value))) == repr(value).replace("=-0.0,", "=0.0,")


@given(st.dictionaries(st.text(max_size=9), latests, max_size=30))
def test_packed_entries_come_back(known: dict[str, Latest]) -> None:
    packed = {key: l.entry_of(*value) for key, value in known.items()}
    assert l.unpack_entries(l.pack_entries(packed)) == packed


points = st.lists(st.builds(Point, st.sampled_from("abc"), values, whole, whole), max_size=40)


@given(points, st.randoms())
def test_the_latest_value_does_not_depend_on_order_or_repetition(some: list[Point], random: Any) -> None:
    again = [*some, *some]
    random.shuffle(again)
    ranks = [{k: repr(v.rank) for k, v in newest({}, order).items()} for order in (some, again)]
    assert ranks[0] == ranks[1]
    told = {k: l.latest_of(entry).rank for k, entry in l.entries_of(again).items()}
    assert told == {k: v.rank for k, v in newest({}, some).items()}


def test_the_latest_is_the_highest_by_step_then_timestamp_then_value_where_nan_is_zero() -> None:
    def latest(*some: tuple[float, int, int]) -> float:
        return l.latest_of(l.entries_of([Point("k", *point) for point in some])["k"]).value

    assert latest((1.0, 5, 2), (9.0, 9, 1)) == 1.0
    assert latest((1.0, 5, 2), (2.0, 6, 2)) == 2.0
    assert latest((3.0, 5, 2), (2.0, 5, 2)) == 3.0
    assert math.isnan(latest((-1.0, 5, 2), (math.nan, 5, 2)))
    assert latest((1.0, 5, 2), (math.nan, 5, 2)) == 1.0


def test_what_is_not_newer_is_left_and_the_rest_is_raised() -> None:
    latest = fresh(Point("a", 1.0, 5, 5))
    assert not latest.raise_entries({"a": l.entry_of(9.0, 9, 1), "b": l.entry_of(1.0, 1, 1)}).stage
    assert {k: l.latest_of(e).value for k, e in latest.read().entries().items()} == {"a": 1.0, "b": 1.0}


def test_a_crowded_item_is_folded_and_says_the_same() -> None:
    latest, wanted = fresh(), entries(40)
    for key, entry in wanted.items():
        outcome = latest.raise_entries({key: entry})
        if outcome.crowded:
            latest.fold(outcome.size)
    standing = latest.read()
    assert standing.entries() == wanted
    assert len(standing.shards) == 1
    assert len(standing.hot["m"]) < 26


def test_an_older_value_after_a_fold_is_not_the_latest() -> None:
    latest = fresh(Point("a", 1.0, 5, 5))
    latest.fold(0)
    assert not latest.raise_entries({"a": l.entry_of(7.0, 1, 1)}).stage
    assert l.latest_of(latest.read().entries()["a"]).value == 1.0


def test_many_metrics_are_spread_over_shards() -> None:
    latest, wanted = fresh(), entries(30_000)
    keys = list(wanted)
    for first in range(0, len(keys), 1000):
        assert not latest.merge({key: wanted[key] for key in keys[first : first + 1000]}).stage
    standing = latest.read()
    assert len(standing.shards) == l.SHARDS
    assert standing.entries() == wanted
    assert max(len(shard["packed"]) for shard in standing.shards) < 100_000
    assert not latest.merge(entries(1000, step=1)).stage
    assert latest.read().entries() == {**wanted, **entries(1000, step=1)}


def test_a_run_with_all_the_metrics_it_can_have_takes_newer_values_but_no_other_metrics() -> None:
    latest, wanted = fresh(), entries(36_000, length=14)
    keys = list(wanted)
    for first in range(0, 30_000, 1000):
        latest.merge({key: wanted[key] for key in keys[first : first + 1000]})
    with pytest.raises(TooLarge, match="too many metrics"):
        latest.merge({key: wanted[key] for key in keys[30_000:]})
    known = latest.read().entries()
    assert len(known) == 30_000
    newer = {key: l.entry_of(0.5, 1, 9) for key in list(known)[:40]}
    assert not latest.merge(newer).stage
    with pytest.raises(TooLarge):
        latest.merge(entries(2000, length=200))
    assert latest.read().entries() == {**known, **newer}


def test_metrics_that_come_a_few_at_a_time_are_held_to_the_same_limit() -> None:
    latest, long = fresh(), entries(12_000, length=250)
    keys, outcome = list(long), l.Outcome()
    latest.merge({key: long[key] for key in keys[:9500]})
    while not outcome.stage:
        few = {key: long[key] for key in keys[len(latest.read().entries()) :][:16]}
        outcome = latest.raise_entries(few)
        if outcome.crowded:
            latest.fold(outcome.size)
    assert outcome.stage == l.FULL
    with pytest.raises(TooLarge):
        latest.merge(few)
    assert not latest.merge({keys[0]: l.entry_of(0.5, 1, 9)}).stage
    assert latest.read().stage == l.FULL


def test_writers_who_never_let_it_be_folded_are_stopped_by_its_size() -> None:
    class Busy(MemoryTables):
        """Somebody else's write comes between every reading and writing."""

        def write(self, writes: Any) -> None:
            if any(isinstance(w, Update) and "folds" in w.attributes for w in writes) and self.busy:
                item = self.get("tracking", Key(PK, "METRICS"))
                assert item is not None
                super().write([Update("tracking", Key(PK, "METRICS"), {"n": item["n"] + 1}, Is("n", item["n"]))])
            super().write(writes)

        busy = True

    tables = Busy()
    latest = l.LatestMetrics(tables, PK)
    tables.write(latest.begin({}))
    wanted = entries(1800)
    keys = list(wanted)
    outcome = l.Outcome()
    for first in range(0, len(keys), 16):
        outcome = latest.raise_entries({key: wanted[key] for key in keys[first : first + 16]})
        if outcome.stage:
            break
        if outcome.crowded:
            latest.fold(outcome.size)
    assert outcome.stage == l.FULL
    tables.busy = False
    assert not latest.merge(wanted).stage
    assert latest.read().entries() == wanted
    assert latest.read().stage == l.OPEN
    assert not latest.read().hot["m"]
