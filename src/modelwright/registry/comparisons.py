"""Whether one version is worse than another by the rows that both scored: paired differences with intervals.

The AUC's is DeLong's (``modelwright.statistics.auc_difference``); here are McNemar's test for accuracy and the paired
bootstrap for losses. Differences are ``b`` minus ``a``. Rows of a *cluster* (a day, say) may depend on each other.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from modelwright.errors import InvalidInput
from modelwright.statistics import Floats, Interval, mean_interval

DRAWS = 5000
_FEW_CLUSTERS = 20
_EXACT_BELOW = 25
_TINY = 1e-300


def loss_per_row(labels: ArrayLike, predictions: ArrayLike, metric: str) -> Floats:
    """Return what each row adds to a figure of which less is better: ``brier``, ``log_loss``, ``mae`` or ``rmse``.

    The figure is the mean of that, and for ``rmse`` its square root. Of a log loss, probabilities are kept off 0 and 1
    by 1e-15.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if metric == "log_loss":
        p = np.clip(p, 1e-15, 1 - 1e-15)
        return np.asarray(-(y * np.log(p) + (1 - y) * np.log1p(-p)), dtype=np.float64)
    return np.asarray(np.abs(p - y) if metric == "mae" else (p - y) ** 2, dtype=np.float64)


def loss_difference(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    metric: str,
    clusters: ArrayLike | None = None,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the difference (b minus a) of a loss on the same rows, with its paired bootstrap interval.

    Rows, or whole clusters of them, are drawn anew; the interval is Efron's BCa, Journal of the American Statistical
    Association 82 (1987), secs. 2-3, with its acceleration by the jackknife (Efron & Tibshirani, "An Introduction to
    the Bootstrap", 1993, eq. 14.15). Of fewer than twenty clusters a bootstrap knows too little: there the
    interval is the cluster-robust one on Student's t (``mean_interval``), of the linearised figure. The same rows
    and seed give the same bits.

    Raises:
        InvalidInput: there are fewer than two rows.
    """
    losses = np.stack([loss_per_row(labels, side, metric) for side in (a, b)])
    if losses.shape[1] < 2:
        raise InvalidInput(f"a comparison needs two rows, here are {losses.shape[1]}")
    curve = np.sqrt if metric == "rmse" else np.asarray
    means = losses.mean(axis=1)
    value = float(curve(means[1]) - curve(means[0]))
    units = np.arange(losses.shape[1]) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sizes = np.bincount(units).astype(np.float64)
    if clusters is not None and 1 < len(sizes) < _FEW_CLUSTERS:
        slopes = 1 / (2 * np.sqrt(np.maximum(means, _TINY))) if metric == "rmse" else np.ones(2)
        linear = (losses[1] - means[1]) * slopes[1] - (losses[0] - means[0]) * slopes[0]
        return mean_interval(value + linear, clusters, level)
    sums = np.stack([np.bincount(units, weights=side) for side in losses])
    rng = np.random.default_rng(seed)
    sample = np.empty(draws)
    for n in range(draws):
        picked = np.bincount(rng.integers(0, len(sizes), len(sizes)), minlength=len(sizes))
        low, high = curve((sums @ picked) / (sizes @ picked))
        sample[n] = high - low
    left = curve((sums.sum(axis=1, keepdims=True) - sums) / np.maximum(sizes.sum() - sizes, 1))
    low, high = _bca(sample, value, left[1] - left[0], level)
    beyond = min(int((sample <= 0).sum()), int((sample >= 0).sum()))
    p_value = min(1.0, 2 * (beyond + 1) / (draws + 1))
    return Interval(value, float(sample.std(ddof=1)), low, high, p_value)


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of "a row that one of two gets right is as often the one's as the other's".

    It is the exact binomial test for fewer than 25 such rows, and its mid-p form for more, which keeps its level
    without being too shy (Fagerland, Lydersen & Laake, BMC Medical Research Methodology 13:91, 2013).

    Args:
        only_a: rows that only a gets right.
        only_b: rows that only b gets right.
    """
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    tail = 2 * math.fsum(math.exp(log) for log in logs)
    return min(1.0, tail if n < _EXACT_BELOW else tail - math.exp(logs[k]))


def accuracy_difference(
    labels: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    threshold: float = 0.5,
) -> Interval:
    """Return accuracy(b) - accuracy(a) on the same rows, a score from ``threshold`` on meaning yes.

    The interval is Bonett & Price's, Journal of Educational and Behavioral Statistics 37 (2012), sec. 3, the p-value
    ``mcnemar``'s; with clusters both are cluster-robust (``mean_interval``).

    Raises:
        InvalidInput: there are fewer than two rows.
    """
    truth = np.asarray(labels).astype(bool)
    right = [(np.asarray(side, dtype=np.float64) >= threshold) == truth for side in (a, b)]
    gains = right[1].astype(np.float64) - right[0].astype(np.float64)
    if clusters is not None:
        return mean_interval(gains, clusters, level)
    n = len(gains)
    if n < 2:
        raise InvalidInput(f"a comparison needs two rows, here are {n}")
    only_a, only_b = int((gains < 0).sum()), int((gains > 0).sum())
    lost, won = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    se = math.sqrt((lost + won - (won - lost) ** 2) / (n + 2))
    half = NormalDist().inv_cdf(0.5 + level / 2) * se
    middle = won - lost
    return Interval((only_b - only_a) / n, se, middle - half, middle + half, mcnemar(only_a, only_b))


def _bca(sample: Floats, value: float, left_out: Floats, level: float) -> tuple[float, float]:
    """Return the BCa interval of a bootstrap sample; that of a figure that never varies is the figure."""
    normal = NormalDist()
    below = (float((sample < value).sum()) + float((sample == value).sum()) / 2) / len(sample)
    if not 0 < below < 1 or sample.min() == sample.max():
        return float(sample.min()), float(sample.max())
    shift = normal.inv_cdf(below)
    gaps = left_out.mean() - left_out
    spread = float((gaps**2).sum()) ** 1.5
    bend = float((gaps**3).sum()) / (6 * spread) if spread > 0 else 0.0
    ends = []
    for tail in (0.5 - level / 2, 0.5 + level / 2):
        z = shift + normal.inv_cdf(tail)
        ends.append(normal.cdf(shift + z / (1 - bend * z)))
    low, high = np.quantile(sample, ends)
    return float(low), float(high)
