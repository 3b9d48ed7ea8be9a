import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelwright.monitoring.detectors import Detector, chi_square_tail, kolmogorov_tail
from modelwright.monitoring.profiles import ColumnProfile, column_profile, pool
from modelwright.monitoring.verdict import benjamini_hochberg
from monitoring.desk import DETECTORS

NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=80)
WORDS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=80)


def numbers(values: object) -> ColumnProfile:
    return column_profile(pa.chunked_array([pa.array(values, pa.float64())]), "number")


def words(values: object) -> ColumnProfile:
    return column_profile(pa.chunked_array([pa.array(values, pa.string())]), "string")


@pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS.keys())
@settings(max_examples=40, deadline=None)
@given(values=NUMBERS, texts=WORDS, other=NUMBERS, other_texts=WORDS)
def test_every_detector_keeps_the_laws(
    detector: Detector, values: list[float], texts: list[str], other: list[float], other_texts: list[str]
) -> None:
    pairs = []
    if "numbers" in detector.kinds:
        pairs.append((numbers(values), numbers(other)))
    if "categories" in detector.kinds:
        pairs.append((words(texts), words(other_texts)))
    for reference, window in pairs:
        same = detector.compare(reference, reference)
        assert same.effect == pytest.approx(0, abs=1e-9)
        assert same.p_value > 0.9
        found = detector.compare(reference, window)
        assert found.effect >= 0
        assert math.isfinite(found.effect)
        assert 0 <= found.p_value <= 1


def test_ks_from_quantiles_is_scipys_within_the_grid() -> None:
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.1, 0.5, 2.0):
        a, b = rng.normal(size=5000), rng.normal(shift, 1, size=700)
        exact, found = stats.ks_2samp(a, b), DETECTORS["ks"].compare(numbers(a), numbers(b))
        assert abs(found.effect - exact.statistic) <= 0.01
        assert (found.p_value < 0.01) == (exact.pvalue < 0.01)


def test_tails_are_scipys() -> None:
    for value in (0.3, 0.8, 1.36, 2.5):
        assert kolmogorov_tail(value) == pytest.approx(stats.kstwobign.sf(value), abs=1e-9)
        assert chi_square_tail(value, 3) == pytest.approx(stats.chi2.sf(value, 3))


def test_chi_square_is_scipys_contingency_test() -> None:
    a, b = words(["a"] * 50 + ["b"] * 30 + ["c"] * 20), words(["a"] * 20 + ["b"] * 40 + ["c"] * 40)
    exact = stats.chi2_contingency([[50, 30, 20], [20, 40, 40]])
    found = DETECTORS["chi_square"].compare(a, b)
    assert found.p_value == pytest.approx(exact.pvalue)
    assert found.effect == pytest.approx(stats.contingency.association([[50, 30, 20], [20, 40, 40]]))


def test_psi_and_jensen_shannon_see_a_heavy_tail_and_a_new_category_is_unseen() -> None:
    rng = np.random.default_rng(2)
    normal, cauchy = numbers(rng.normal(size=5000)), numbers(rng.standard_cauchy(size=2000))
    for name in ("psi", "jensen_shannon"):
        found = DETECTORS[name].compare(normal, cauchy)
        assert found.effect > DETECTORS[name].floor
        assert found.p_value < 1e-6
    assert DETECTORS["unseen"].compare(words(["a"] * 500), words(["a"] * 90 + ["b"] * 10)).effect == pytest.approx(0.1)
    assert (
        DETECTORS["missing"].compare(numbers([1.0] * 95 + [None] * 5), numbers([1.0] * 75 + [None] * 25)).effect == 0.2
    )


def test_without_drift_few_p_values_are_small() -> None:
    rng = np.random.default_rng(3)
    for name in ("ks", "psi", "jensen_shannon"):
        p_values = [
            DETECTORS[name].compare(numbers(rng.normal(size=4000)), numbers(rng.normal(size=500))).p_value
            for _ in range(200)
        ]
        assert np.mean(np.array(p_values) < 0.05) <= 0.1, name


def test_a_pool_is_the_profile_of_all_rows() -> None:
    rng = np.random.default_rng(4)
    parts = [rng.normal(loc, 2, size=n) for loc, n in ((0, 500), (3, 2000), (10, 100))]
    together, pooled = numbers(np.concatenate(parts)), pool([numbers(part) for part in parts])
    assert (pooled.rows, pooled.low, pooled.high) == (together.rows, together.low, together.high)
    assert pooled.mean == pytest.approx(together.mean)
    assert pooled.deviation == pytest.approx(together.deviation)
    assert np.max(np.abs(pooled.cumulative(together.grid) - together.cumulative(together.grid))) < 0.02


def test_benjamini_hochberg_steps_up() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5], 0.05) == [True, False, False, False]
    assert benjamini_hochberg([0.01, 0.02, 0.03, 0.5], 0.05) == [True, True, True, False]
    assert benjamini_hochberg([], 0.05) == []
