"""Statistics against scikit-learn, scipy and brute force."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from modelwright import statistics as ours
from modelwright.errors import InvalidInput

RNG = np.random.default_rng(7)
Y = (RNG.random(400) < 0.3).astype(int)
A = np.round(1 / (1 + np.exp(-(RNG.normal(size=400) + Y))), 2)
B = np.clip(np.round(A + RNG.normal(size=400) / 20, 2), 0, 1)


@pytest.mark.parametrize("dof", [1, 2, 6, 30, 400])
@pytest.mark.parametrize("p", [0.005, 0.3, 0.5, 0.95, 0.999])
def test_students_quantiles_are_scipys(dof: int, p: float) -> None:
    assert ours.t_quantile(p, dof) == pytest.approx(float(stats.t.ppf(p, dof)), rel=1e-9, abs=1e-9)
    assert ours.t_tail(1.7, dof) == pytest.approx(float(stats.t.sf(1.7, dof)), rel=1e-9)


def test_midranks_are_scipys() -> None:
    assert ours.midranks(A).tolist() == stats.rankdata(A).tolist()


def test_the_auc_is_scikit_learns_and_its_paired_variance_is_brute_forces() -> None:
    def brute(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p, n = scores[Y == 1], scores[Y == 0]
        wins = (p[:, None] > n) + 0.5 * (p[:, None] == n)
        return wins.mean(axis=1), wins.mean(axis=0)

    (pa, na), (pb, nb) = brute(A), brute(B)
    found = ours.auc_difference(Y, A, B)
    assert found.value == pytest.approx(roc_auc_score(Y, B) - roc_auc_score(Y, A), abs=1e-12)
    expected = math.sqrt((pb - pa).var(ddof=1) / len(pa) + (nb - na).var(ddof=1) / len(na))
    assert found.se == pytest.approx(expected, abs=1e-12)


def test_clusters_of_one_row_are_no_clusters() -> None:
    plain, clustered = ours.brier_interval(Y, A), ours.brier_interval(Y, A, np.arange(len(Y)))
    assert clustered.se == pytest.approx(plain.se, rel=1e-9)
    assert ours.auc_interval(Y, A, np.arange(len(Y))).se == pytest.approx(ours.auc_interval(Y, A).se, rel=0.02)


def test_rows_repeated_in_clusters_prove_nothing_new() -> None:
    once = ours.brier_difference(Y, A, B, np.arange(len(Y)))
    thrice = ours.brier_difference(np.tile(Y, 3), np.tile(A, 3), np.tile(B, 3), np.tile(np.arange(len(Y)), 3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    same = ours.auc_difference(np.tile(Y, 3), np.tile(A, 3), np.tile(B, 3), np.tile(np.arange(len(Y)), 3))
    assert same.se == pytest.approx(ours.auc_difference(Y, A, B, np.arange(len(Y))).se)


def test_the_bootstrap_agrees_with_delong() -> None:
    drawn, exact = ours.bootstrap_auc_difference(Y, A, B), ours.auc_difference(Y, A, B)
    assert drawn.value == pytest.approx(exact.value)
    assert drawn.se == pytest.approx(exact.se, rel=0.15)


def test_a_version_compared_with_itself_differs_by_nothing() -> None:
    for found in (ours.auc_difference(Y, A, A), ours.brier_difference(Y, A, A)):
        assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two rows of each class"):
        ours.auc([1, 0, 0], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidInput, match="two clusters"):
        ours.brier_interval(Y, A, np.zeros(len(Y)))
    with pytest.raises(InvalidInput, match="two rows"):
        ours.mean_interval([1.0])
