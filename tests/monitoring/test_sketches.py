"""Sketches weigh what the values weigh, and err by no more than they say."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.monitoring.distributions import Floats
from modelwright.monitoring.sketches import EXACT, POINTS, Sketch

SHAPES = ("normal", "cauchy", "few", "constant", "whole", "large")
QUICK = settings(max_examples=40, deadline=None)


def drawn(shape: str, size: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    values: dict[str, Floats] = {
        "normal": rng.standard_normal(size),
        "cauchy": rng.standard_cauchy(size),
        "few": rng.choice([-1.5, 0.0, 0.1, 7.0], size),
        "constant": np.full(size, 3.25),
        "whole": rng.poisson(40, size).astype(np.float64),
        "large": rng.standard_normal(size) * 1e300,
    }
    return values[shape]


def off(sketch: Sketch, values: Floats) -> float:
    """Return the largest error of the number of values at or below any point."""
    ordered = np.sort(values)
    points = np.union1d(sketch.distribution.points, ordered)
    true = np.searchsorted(ordered, points, side="right")
    return float(np.max(np.abs(np.rint(sketch.distribution.cumulative(points) * sketch.count) - true)))


@QUICK
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=200))
def test_few_values_are_kept_as_they_are(values: list[float]) -> None:
    sketch = Sketch.of(np.sort(np.array(values, dtype=np.float64)))
    assert sketch.exact
    assert sketch.error == 0
    assert np.repeat(sketch.distribution.points, sketch.distribution.weights.astype(int)).tolist() == sorted(values)
    if values:
        assert sketch.quantiles([0, 0.3, 1]) == pytest.approx(np.quantile(values, [0, 0.3, 1]))


@QUICK
@given(st.sampled_from(SHAPES), st.integers(EXACT + 1, 60_000), st.integers(0, 2**32))
def test_a_sketch_of_many_errs_by_less_than_a_thousandth(shape: str, size: int, seed: int) -> None:
    values = drawn(shape, size, seed)
    sketch = Sketch.of(np.sort(values))
    assert sketch.count == size
    assert off(sketch, values) <= sketch.error <= size / 1000
    assert POINTS / 2 <= sum(map(len, sketch.levels)) <= POINTS + 20
    assert (sketch.distribution.points[0], sketch.distribution.points[-1]) == (values.min(), values.max())
    if shape in ("few", "constant"):
        assert set(sketch.distribution.points) <= set(values)


@QUICK
@given(
    st.lists(st.tuples(st.sampled_from(SHAPES[:5]), st.integers(0, 20_000)), min_size=1, max_size=8),
    st.integers(0, 2**32),
)
def test_parts_together_are_the_whole_within_the_error(parts: list[tuple[str, int]], seed: int) -> None:
    values = [drawn(shape, size, seed + n) for n, (shape, size) in enumerate(parts)]
    sketches = [Sketch.of(np.sort(part)) for part in values]
    merged, whole = Sketch.merged(sketches), np.concatenate(values)
    assert merged.count == len(whole)
    if len(whole):
        assert off(merged, whole) <= merged.error <= max(0.002 * len(whole), sum(one.error for one in sketches))
    assert Sketch.merged(sketches[::-1]) == merged
    if all(sketch.exact for sketch in sketches):
        assert merged == Sketch.of(np.sort(whole))


@QUICK
@given(st.lists(st.integers(1, 30_000), min_size=3, max_size=12), st.integers(0, 2**32))
def test_merging_in_turn_errs_by_no_more_than_it_says(sizes: list[int], seed: int) -> None:
    values = [drawn("normal", size, seed + n) for n, size in enumerate(sizes)]
    sketch = Sketch()
    for part in values:
        sketch = Sketch.merged([sketch, Sketch.of(np.sort(part))])
    whole = np.concatenate(values)
    assert sketch.count == len(whole)
    assert off(sketch, whole) <= sketch.error <= 0.02 * len(whole)
    assert sum(map(len, sketch.levels)) <= 4 * POINTS


def test_sixty_weeks_together_err_by_a_thousandth() -> None:
    parts = [drawn("normal", 50_000, n) + n / 60 for n in range(60)]
    merged = Sketch.merged([Sketch.of(np.sort(part)) for part in parts])
    whole = np.concatenate(parts)
    assert off(merged, whole) <= merged.error < 0.0012 * len(whole)
    shares = np.linspace(0.001, 0.999, 999)
    ranks = np.searchsorted(np.sort(whole), merged.quantiles(shares)) / len(whole)
    assert np.max(np.abs(ranks - shares)) < 0.0012


@QUICK
@given(st.sampled_from(SHAPES), st.integers(0, 10_000), st.integers(0, 2**32))
def test_the_same_values_give_the_same_document_which_is_read_back(shape: str, size: int, seed: int) -> None:
    values = drawn(shape, size, seed)
    documents = [json.dumps(Sketch.of(np.sort(part)).document()) for part in (values, values[::-1])]
    assert documents[0] == documents[1]
    assert Sketch.read(json.loads(documents[0])) == Sketch.of(np.sort(values))


def test_a_document_of_many_values_tells_short_numbers() -> None:
    sketch = Sketch.of(np.sort(drawn("normal", 1_000_000, 1)))
    assert len(json.dumps(sketch.document())) < 8 * sum(map(len, sketch.levels))


def test_quantiles_of_before_become_a_sketch_that_errs_by_a_step() -> None:
    values = drawn("normal", 10_000, 1)
    sketch = Sketch.of_quantiles(np.quantile(values, np.linspace(0, 1, 201)).tolist(), len(values))
    assert sketch.count == len(values)
    assert off(sketch, values) <= sketch.error <= 0.006 * len(values)
    assert Sketch.of_quantiles((), 5) == Sketch()
