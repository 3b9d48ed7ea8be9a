import numpy as np
import pandas as pd
import pytest

from modelwright.monitoring.detectors.multivariate import (
    DomainClassifier,
    MaximumMeanDiscrepancy,
    MultivariateDetector,
    Reconstruction,
    mmd2,
)

ALL: tuple[MultivariateDetector, ...] = (DomainClassifier(), Reconstruction(), MaximumMeanDiscrepancy())
EACH = pytest.mark.parametrize("detector", ALL, ids=[one.name for one in ALL])


def rows(seed: int, n: int = 300, *, together: float = 0.95) -> pd.DataFrame:
    """Two numbers that go together, a category and a column with gaps: each the same whatever ``together`` is."""
    rng = np.random.default_rng(seed)
    a, noise = rng.normal(size=n), rng.normal(size=n)
    gaps = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n))
    kinds = rng.choice(["x", "y", "z"], n, p=[0.6, 0.3, 0.1])
    return pd.DataFrame({"a": a, "b": together * a + np.sqrt(1 - together**2) * noise, "gaps": gaps, "kind": kinds})


@EACH
def test_rows_that_are_drawn_alike_do_not_drift(detector: MultivariateDetector) -> None:
    alarms = 0
    for seed in range(5):
        effect, p_value = detector.compare(rows(seed), rows(100 + seed), seed)
        alarms += effect >= detector.floor and p_value < 0.01
    assert alarms == 0


@EACH
def test_a_relation_that_changes_is_found_though_no_column_did(detector: MultivariateDetector) -> None:
    effect, p_value = detector.compare(rows(1), rows(2, together=-0.95), 0)
    assert effect >= detector.floor
    assert p_value < 1e-4


@EACH
def test_the_same_seed_gives_the_same_verdict(detector: MultivariateDetector) -> None:
    assert detector.compare(rows(1), rows(2), 5) == detector.compare(rows(1), rows(2), 5)


@EACH
def test_too_few_rows_say_nothing(detector: MultivariateDetector) -> None:
    assert detector.compare(rows(1), rows(2, n=10), 0) == (0.0, 1.0)


@EACH
def test_constants_infinities_and_empty_columns_are_taken(detector: MultivariateDetector) -> None:
    strange = pd.DataFrame({"c": 1.0, "e": np.nan, "i": [np.inf, 1.0, -np.inf, 2.0] * 50})
    effect, p_value = detector.compare(strange, strange, 0)
    assert np.isfinite(effect)
    assert 0 <= p_value <= 1


def test_mmd_of_far_apart_points_is_two() -> None:
    x, y = np.zeros((5, 2)), np.full((5, 2), 1e6)
    assert mmd2(x, y, 1.0) == pytest.approx(2.0)
