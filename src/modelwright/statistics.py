"""Statistics for comparing model versions on labelled rows, with numpy alone.

Labels are 0 and 1, scores are probabilities; all arrays of one call have the same rows. Rows of one
*cluster* (a day, say) may depend on each other; where clusters are given, intervals hold all the same.
Differences are ``b`` minus ``a``.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelwright.errors import InvalidInput
from modelwright.events import Estimate

Floats = NDArray[np.float64]
_DRAWS = 500
_TINY = 1e-300
_FRACTION_STEPS = 300


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, its standard error, its interval, and the two-sided p-value of "it is zero"."""

    value: float
    se: float
    low: float
    high: float
    p_value: float = math.nan

    def estimate(self) -> Estimate:
        """Return what events carry of it."""
        return Estimate(value=self.value, low=self.low, high=self.high)


# --- Student's t -------------------------------------------------------------------------


def t_tail(x: float, dof: float) -> float:
    """Return the probability that Student's t exceeds ``x``: half a regularized incomplete beta function."""
    tail = 0.5 * _beta_regularized(dof / (dof + x * x), dof / 2, 0.5)
    return tail if x >= 0 else 1.0 - tail


def t_quantile(p: float, dof: float) -> float:
    """Return the ``p`` quantile of Student's t (to 1e-12 relative), by bisection on ``t_tail``."""
    if p < 0.5:
        return -t_quantile(1.0 - p, dof)
    low, high = 0.0, 1.0
    while t_tail(high, dof) > 1.0 - p:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, dof) > 1.0 - p else (low, middle)
    return (low + high) / 2


# --- AUC ---------------------------------------------------------------------------------


def midranks(values: ArrayLike) -> Floats:
    """Return ranks from 1; ties share the mean of theirs."""
    x = np.asarray(values, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(first, len(x)))
    ranks = np.empty(len(x))
    ranks[order] = np.repeat(first + (sizes + 1) / 2, sizes)
    return ranks


def delong_components(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return AUCs and structural components of ``k`` scores on the same rows, in O(n log n).

    Sun & Xu, IEEE Signal Processing Letters 21 (2014), eqs. 5-9; DeLong, DeLong & Clarke-Pearson,
    Biometrics 44 (1988), eqs. 3-5.

    Args:
        labels: shape (n,).
        scores: shape (k, n) or (n,).

    Returns:
        AUC (k,), components of positives (k, positives) and of negatives (k, negatives).

    Raises:
        InvalidInput: there are fewer than two rows of a class.
    """
    positive = np.asarray(labels).astype(bool)
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n = int(positive.sum()), int((~positive).sum())
    if m < 2 or n < 2:
        raise InvalidInput(f"an AUC needs two rows of each class, here are {m} positive and {n} negative ones")
    every = np.array([midranks(s) for s in table])
    of_positives = (every[:, positive] - np.array([midranks(s[positive]) for s in table])) / n
    of_negatives = 1.0 - (every[:, ~positive] - np.array([midranks(s[~positive]) for s in table])) / m
    return of_positives.mean(axis=1), of_positives, of_negatives


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve; raises ``InvalidInput`` below two rows of a class."""
    return float(delong_components(labels, scores)[0][0])


def auc_interval(
    labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the AUC with DeLong's interval, or the clustered one; its p-value says nothing and is NaN."""
    if clusters is not None:
        value, se, dof = clustered_auc(labels, scores, clusters)
        half = t_quantile(0.5 + level / 2, dof) * se
    else:
        aucs, positives, negatives = delong_components(labels, scores)
        value, se = float(aucs[0]), _delong_se(positives[0], negatives[0])
        half = NormalDist().inv_cdf(0.5 + level / 2) * se
    return Interval(value, se, max(0.0, value - half), min(1.0, value + half))


def clustered_auc(labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike) -> tuple[float, float, int]:
    """Return the AUC, its standard error when rows of a cluster depend, and degrees of freedom.

    Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 53 (1997), sec. 2: DeLong's
    components summed per cluster, written as the influence function, with the G / (G - 1) correction.
    """
    aucs, influence = _influence(labels, scores)
    se, groups = _clustered_se(influence[0], clusters)
    return float(aucs[0]), se, groups - 1


def auc_difference(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return AUC(b) - AUC(a) on the same rows, with DeLong's paired variance or the clustered one."""
    scores = np.stack([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    if clusters is not None:
        aucs, influence = _influence(labels, scores)
        se, groups = _clustered_se(influence[1] - influence[0], clusters)
        return _student(float(aucs[1] - aucs[0]), se, groups - 1, level)
    aucs, positives, negatives = delong_components(labels, scores)
    se = _delong_se(positives[1] - positives[0], negatives[1] - negatives[0])
    return _normal(float(aucs[1] - aucs[0]), se, level)


# --- Brier score -------------------------------------------------------------------------


def brier_interval(
    labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the Brier score (Brier, Monthly Weather Review 78, 1950) with the interval of a mean of squares.

    Its standard error is Bradley, Schwartz & Hashino's, Weather and Forecasting 23 (2008), sec. 2.
    """
    losses = _losses(labels, scores)
    return mean_interval(losses, clusters, level)


def brier_difference(
    labels: ArrayLike, a: ArrayLike, b: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return Brier(b) - Brier(a) on the same rows; below zero means that ``b`` is better."""
    return mean_interval(_losses(labels, b) - _losses(labels, a), clusters, level)


def mean_interval(values: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95) -> Interval:
    """Return the mean with a normal interval, or with a cluster-robust one on Student's t.

    Liang & Zeger, Biometrika 73 (1986); Cameron & Miller, Journal of Human Resources 50 (2015), sec. II, with
    the G / (G - 1) correction and G - 1 degrees of freedom.

    Raises:
        InvalidInput: there are fewer than two values or clusters.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        raise InvalidInput(f"an interval needs two rows, here are {len(x)}")
    mean = float(x.mean())
    if clusters is None:
        return _normal(mean, float(x.std(ddof=1)) / math.sqrt(len(x)), level)
    se, groups = _clustered_se((x - mean) / len(x), clusters)
    return _student(mean, se, groups - 1, level)


def functional_interval(
    value: float, influence: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return a smooth figure of the rows with the interval that its influence function gives (the delta method).

    Hampel, Journal of the American Statistical Association 69 (1974); clusters as in ``mean_interval``.

    Args:
        value: the figure.
        influence: of each row, on the scale of the figure: their mean is 0, and that of their squares, divided by the
            number of rows, the variance of the figure.
        clusters: what each row belongs to, if rows depend on each other.
        level: of the interval.

    Raises:
        InvalidInput: there are fewer than two rows or clusters.
    """
    x = np.asarray(influence, dtype=np.float64)
    around = mean_interval(x - x.mean() if len(x) else x, clusters, level)
    shifted = (value + around.low - around.value, value + around.high - around.value)
    return Interval(value, around.se, *shifted)


def share_interval(share: Interval, rows: int, dof: float = math.inf, level: float = 0.95) -> Interval:
    """Return Wilson's interval of a share, which lies within [0, 1] and has a width at 0 and 1 too.

    Wilson, Journal of the American Statistical Association 22 (1927); where rows depend on each other, with as many
    rows as have the same standard error: Korn & Graubard, Survey Methodology 24 (1998).

    Args:
        share: with its standard error, clustered or not.
        rows: that it is a share of.
        dof: degrees of freedom of the standard error.
        level: of the interval.
    """
    p, variance = share.value, share.value * (1 - share.value)
    n = min(float(rows), variance / share.se**2) if share.se > 0 and variance > 0 else float(rows)
    z = NormalDist().inv_cdf(0.5 + level / 2) if math.isinf(dof) else t_quantile(0.5 + level / 2, dof)
    middle, half = p + z * z / (2 * n), z * math.sqrt(variance / n + z * z / (4 * n * n))
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return Interval(p, share.se, min(p, max(0.0, low)), max(p, min(1.0, high)), share.p_value)


def calibration_gap(
    labels: ArrayLike, scores: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the mean of score minus label: calibration in the large (Cox, Biometrika 45, 1958)."""
    gap = np.asarray(scores, dtype=np.float64) - np.asarray(labels, dtype=np.float64)
    return mean_interval(gap, clusters, level)


# --- paired bootstrap --------------------------------------------------------------------


def bootstrap_auc_difference(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    blocks: ArrayLike | None = None,
    *,
    draws: int = _DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of AUC(b) - AUC(a) when rows (or whole blocks of them) are drawn anew.

    Scores are sorted once; a draw is a weighted AUC in O(n). Efron & Tibshirani, "An Introduction to the
    Bootstrap" (1993), ch. 13 (percentile) and 8.6 (blocks).
    """
    rng = np.random.default_rng(seed)
    y = np.asarray(labels, dtype=np.float64)
    sides = [_sorted_side(y, np.asarray(score, dtype=np.float64)) for score in (a, b)]
    codes = np.arange(len(y)) if blocks is None else np.unique(np.asarray(blocks), return_inverse=True)[1]
    units = int(codes.max()) + 1

    def difference(weights: Floats) -> float:
        return _weighted_auc(sides[1], weights) - _weighted_auc(sides[0], weights)

    value = difference(np.ones(len(y)))
    picks = (np.bincount(rng.integers(0, units, units), minlength=units) for _ in range(draws))
    sample = np.array([difference(pick[codes].astype(np.float64)) for pick in picks])
    low, high = np.quantile(sample, [0.5 - level / 2, 0.5 + level / 2])
    beyond = min(int((sample <= 0).sum()), int((sample >= 0).sum()))
    return Interval(value, float(sample.std(ddof=1)), float(low), float(high), min(1.0, 2 * (beyond + 1) / (draws + 1)))


# --- private -----------------------------------------------------------------------------


def _losses(labels: ArrayLike, scores: ArrayLike) -> Floats:
    gap = np.asarray(scores, dtype=np.float64) - np.asarray(labels, dtype=np.float64)
    return np.asarray(gap * gap, dtype=np.float64)


def _delong_se(positives: Floats, negatives: Floats) -> float:
    return math.sqrt(float(positives.var(ddof=1)) / len(positives) + float(negatives.var(ddof=1)) / len(negatives))


def _influence(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    positive = np.asarray(labels).astype(bool)
    aucs, positives, negatives = delong_components(labels, scores)
    influence = np.empty((len(aucs), len(positive)))
    influence[:, positive] = (positives - aucs[:, None]) / positives.shape[1]
    influence[:, ~positive] = (negatives - aucs[:, None]) / negatives.shape[1]
    return aucs, influence


def _clustered_se(influence: Floats, clusters: ArrayLike) -> tuple[float, int]:
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums = np.bincount(codes, weights=influence)
    groups = len(sums)
    if groups < 2:
        raise InvalidInput(f"a clustered interval needs two clusters, here is {groups}")
    return math.sqrt(groups / (groups - 1) * float((sums**2).sum())), groups


def _normal(value: float, se: float, level: float) -> Interval:
    half = NormalDist().inv_cdf(0.5 + level / 2) * se
    p_value = math.erfc(abs(value) / se / math.sqrt(2)) if se > 0 else float(value == 0)
    return Interval(value, se, value - half, value + half, p_value)


def _student(value: float, se: float, dof: int, level: float) -> Interval:
    half = t_quantile(0.5 + level / 2, dof) * se
    p_value = 2 * t_tail(abs(value) / se, dof) if se > 0 else float(value == 0)
    return Interval(value, se, value - half, value + half, p_value)


def _sorted_side(y: Floats, score: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp], int, Floats]:
    order = np.argsort(score, kind="stable")
    ties = np.concatenate([[0], np.cumsum(np.diff(score[order]) != 0)]).astype(np.intp)
    return order, ties, int(ties[-1]) + 1, y[order]


def _weighted_auc(side: tuple[NDArray[np.intp], NDArray[np.intp], int, Floats], weights: Floats) -> float:
    order, ties, groups, y = side
    weight = weights[order]
    positives = np.bincount(ties, weights=weight * y, minlength=groups)
    negatives = np.bincount(ties, weights=weight * (1 - y), minlength=groups)
    below = np.cumsum(negatives) - negatives
    pairs = float(positives.sum() * negatives.sum())
    return float((positives * (below + 0.5 * negatives)).sum()) / pairs if pairs else 0.5


def _beta_regularized(x: float, a: float, b: float) -> float:
    """Press et al., "Numerical Recipes" (3rd ed. 2007), sec. 6.4: by Lentz's continued fraction."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x > (a + 1) / (a + b + 2):
        return 1.0 - front * _beta_fraction(1 - x, b, a) / b
    return front * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _off_zero(1.0 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _FRACTION_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _off_zero(1.0 + term * d)
            c = _off_zero(1.0 + term / c)
            result *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return result


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
