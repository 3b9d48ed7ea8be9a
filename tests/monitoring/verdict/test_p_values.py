"""p-values are what they say: in small windows, where values repeat, and of sketches."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from modelwright.monitoring.columns import ColumnProfile, categories, numbers
from modelwright.monitoring.detectors import kolmogorov_tail
from modelwright.monitoring.distributions import Distribution
from modelwright.monitoring.profiles import Floats
from monitoring.desk import DETECTORS

OWN = (
    *("ks", "cramer_von_mises", "anderson_darling", "wasserstein", "psi", "chi_square", "g_test"),
    *("unseen", "range"),
)
"""Detectors with a p-value of their own: all distances of shares have that of ``psi``."""
LEVELS = np.array([0.6, 0.2, 0.1, 0.05, 0.03, 0.02])


def of_numbers(values: Floats) -> ColumnProfile:
    return numbers(np.sort(values), rows=len(values), missing=0)


def of_words(values: "np.ndarray[tuple[int], np.dtype[np.int64]] | list[int]") -> ColumnProfile:
    counts = Counter(f"c{value}" for value in values)
    return categories(dict(counts), rows=len(values), missing=0)


def drawn(kind: str, rng: np.random.Generator, rows: int) -> ColumnProfile:
    made = {
        "normal": lambda: of_numbers(rng.normal(size=rows)),
        "ties": lambda: of_numbers(rng.poisson(0.5, rows).astype(np.float64)),
        "levels": lambda: of_words(rng.choice(6, rows, p=LEVELS)),
        "seldom": lambda: of_words((rng.random(rows) < 0.05).astype(np.int64)),
    }
    return made[kind]()


@pytest.mark.parametrize("name", OWN)
def test_a_p_value_below_one_in_a_hundred_comes_once_in_a_hundred(name: str) -> None:
    """A little is allowed for limits that hold only nearly; more comes by chance once in 10,000 times."""
    detector, rows, windows = DETECTORS[name], 50, 30 if name == "wasserstein" else 100
    rng = np.random.default_rng(11)
    kinds = {"numbers": ("normal", "ties"), "categories": ("levels", "seldom")}
    for kind in (one for each in detector.kinds for one in kinds[each]):
        pairs = ((drawn(kind, rng, 8 * rows), drawn(kind, rng, rows)) for _ in range(windows))
        found = [detector.compare(reference, window).p_value for reference, window in pairs]
        assert np.sum(np.array(found) < 0.01) <= stats.binom.isf(1e-4, windows, 0.013), (name, kind)


@pytest.mark.parametrize("seed", range(6))
def test_a_sketch_makes_no_p_value_smaller(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=30_000), rng.normal(0.01 * seed, 1, 20_000)
    exact = stats.ks_2samp(first, second, method="asymp")
    found = DETECTORS["ks"].compare(of_numbers(first), of_numbers(second))
    assert found.p_value >= exact.pvalue * (1 - 1e-9)
    assert found.effect == pytest.approx(exact.statistic, abs=0.003)


def test_unseen_categories_are_as_likely_as_shuffling_makes_them() -> None:
    rng = np.random.default_rng(5)
    pooled = rng.permutation(np.concatenate([np.repeat(0, 400), np.arange(1, 7), np.repeat([8, 9, 10], 2), [11] * 3]))
    shuffled = []
    for _ in range(4_000):
        rng.shuffle(pooled)
        shuffled.append(np.sum(~np.isin(pooled[:50], pooled[50:])))
    rows = np.array(shuffled)
    for few in (1, 2, 3):
        new = [*range(1, few + 1), *[0] * (50 - few)]
        rest = [value for value in pooled.tolist() if value > few] + [0] * (400 - 50 + few)
        found = DETECTORS["unseen"].compare(of_words(rest), of_words(new))
        assert round(found.effect * 50) == few
        assert found.p_value == pytest.approx(np.mean(rows >= few), rel=0.25, abs=0.01)


def test_a_new_category_that_is_frequent_is_no_chance() -> None:
    usual = of_words([0] * 900 + [1] * 100)
    few, many = of_words([0] * 49 + [7]), of_words([0] * 45 + [7] * 5)
    assert DETECTORS["unseen"].compare(usual, few).p_value == pytest.approx(50 / 1050)
    assert DETECTORS["unseen"].compare(usual, many).p_value == pytest.approx((50 / 1050) ** 5)


def test_tails_are_scipys_and_distributions_of_ties_are_exact() -> None:
    assert kolmogorov_tail(1.36) == pytest.approx(stats.kstwobign.sf(1.36))
    tied = Distribution.of([1, 1, 2, 2, 2])
    assert tied.weights.tolist() == [2, 3]
