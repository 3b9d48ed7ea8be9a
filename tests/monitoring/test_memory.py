"""What is kept in memory between uploads is bounded by bytes, whatever sources look like."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from modelwright.monitoring import references
from modelwright.monitoring.columns import numbers
from modelwright.monitoring.documents import NUMBERS, Profile, Reference
from modelwright.monitoring.profiles import profile_of
from modelwright.monitoring.sketches import EXACT, Sketch
from modelwright.project import Column, Source

START = datetime(2013, 1, 1, tzinfo=UTC)


def wide(columns: int, rows: int = 3_000, seed: int = 1) -> Profile:
    rng = np.random.default_rng(seed)
    names = [f"f{number}" for number in range(columns)]
    times = [START + timedelta(seconds=n) for n in range(rows)]
    table = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), **{n: rng.normal(size=rows) for n in names}})
    kinds = {"at": Column(type="timestamp"), **{name: Column(type="number") for name in names}}
    return profile_of(table, "s", Source(prefix="s/", columns=kinds, key=(), event_time="at"), f"d{seed}")


def points(profile: Profile) -> int:
    return sum(len(level) for column in profile.columns.values() for level in column.sketch.levels)


def test_a_wide_profile_has_no_more_numbers_than_a_narrow_one_may_have() -> None:
    narrow, broad = wide(20), wide(400)
    assert all(one.sketch.exact for one in narrow.columns.values())
    assert points(broad) <= 1.01 * NUMBERS
    assert len(broad.packed()) < 2_000_000
    assert broad.memory_b < 8 * NUMBERS + 4_100 * 401
    column = broad.columns["f7"]
    rng = np.random.default_rng(1)
    values = np.sort([rng.normal(size=3_000) for _ in range(8)][7])
    assert (column.low, column.high, column.count) == (values[0], values[-1], 3_000)
    at = np.linspace(-3, 3, 100)
    wrong = np.abs(column.cumulative(at) - np.searchsorted(values, at, side="right") / 3_000)
    assert wrong.max() <= column.sketch.error / 3_000 + 1e-12 <= 0.001


@pytest.mark.parametrize("count", [EXACT, 50_000])
@pytest.mark.parametrize("most", [64, 1_000])
def test_a_thinned_sketch_says_how_wrong_it_is_and_is_not(count: int, most: int) -> None:
    values = np.sort(np.random.default_rng(count).normal(size=count))
    thin = Sketch.of(values).thinned(most)
    assert thin.count == count
    assert sum(map(len, thin.levels)) <= 1.2 * most + 20
    ranks = np.searchsorted(values, values, side="right")
    assert np.abs(thin.distribution.cumulative(values) * count - ranks).max() <= thin.error
    assert thin.thinned(most * 2) is thin


def test_of_columns_that_were_looked_at_only_the_last_are_remembered() -> None:
    profiles = tuple(wide(12, 50, seed) for seed in range(3))
    reference = Reference(profiles)
    for name in profiles[0].columns:
        for _, column in reference.by_upload(name):
            assert column.grid.size in (0, 1_001)
        reference.pooled(name)
    kept = [one for profile in profiles for one in profile.columns.values() if one.kind == "numbers"]
    assert not any({"grid", "distribution", "_items"} & {*vars(one), *vars(one.sketch)} for one in kept)
    assert len(reference._looked_at) <= 4
    assert reference.uploads("f1") == reference.uploads("f1")


def test_merging_keeps_nothing_of_what_it_leaves_out() -> None:
    parts = [Sketch.of(np.sort(np.random.default_rng(n).normal(size=EXACT + 1))) for n in range(60)]
    whole = Sketch.merged(parts)
    kept = [level if level.base is None else level.base for level in whole.levels]
    assert sum(one.nbytes for one in kept) <= 4 * sum(level.nbytes for level in whole.levels)


def test_what_was_read_longest_ago_is_forgotten_by_bytes() -> None:
    one = numbers(np.arange(4_000.0), rows=4_000, missing=0)
    nothing = Profile(source="s", digest="", rows=1, start=START, end=START, columns={"x": one})
    big = nothing.model_copy(update={"columns": {f"x{n}": one for n in range(4_000)}})

    def read() -> Iterator[tuple[str, tuple[Profile, float]]]:
        yield "old", (big.model_copy(), 0.0)
        yield "older", (big.model_copy(), 0.0)
        yield "middle", (big.model_copy(), 0.0)
        yield from ((f"small {n}", (nothing.model_copy(), 0.0)) for n in range(1_000))

    known = dict(read())
    references._forget(known)
    assert "old" not in known
    assert len(known) == 1_002
