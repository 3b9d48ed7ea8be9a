"""The figures of a task, each with a 95 % interval: classification, regression, forecasting, ranking.

All of one call are about the same rows. ``days`` are the days of the rows, as numbers: rows of one day depend on each
other, and from ``MIN_CLUSTERS`` days on intervals are cluster-robust; with fewer days there is no knowing how much they
do, and rows are taken as independent. Of ranking the units are lists, which are taken as independent.

Figures that the rows do not allow (an AUC of one class, an R2 of equal labels) are left out.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelwright.statistics import (
    Floats,
    Interval,
    auc_interval,
    calibration_gap,
    functional_interval,
    mean_interval,
    share_interval,
)

Days = NDArray[np.int64]
MIN_CLUSTERS = 5
"""Fewer give standard errors that are too small, or intervals that say nothing."""
THRESHOLD = 0.5
BINS = 10
TOP = 10
"""How far down a list its order matters."""
_SMALLEST = 1e-15


def classification(labels: ArrayLike, scores: ArrayLike, days: Days | None = None) -> dict[str, Interval]:
    """Return the figures of probabilities: do they rank, do they mean what they say, are answers at .5 right.

    ``auc``; ``average_precision``; ``brier`` and ``log_loss``; ``accuracy``, ``precision``, ``recall`` and ``f1`` (van
    Rijsbergen, "Information Retrieval", 1979) at .5; ``calibration_gap`` (mean score minus rate) and ``ece``.
    """
    y, p = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    groups = _groups(days)
    found = {"brier": _within(mean_interval((p - y) ** 2, groups)), "log_loss": _not_negative(_log_loss(y, p, groups))}
    found["calibration_gap"] = calibration_gap(y, p, groups)
    found["ece"] = expected_calibration_error(y, p, days)
    positives = int(y.sum())
    if 2 <= positives <= len(y) - 2:
        found["auc"] = auc_interval(y, p, groups)
        found["average_precision"] = average_precision(y, p, days)
    return found | _decided(y, p >= THRESHOLD, groups)


def regression(labels: ArrayLike, scores: ArrayLike, days: Days | None = None) -> dict[str, Interval]:
    """Return the figures of predicted numbers.

    ``mae``, ``rmse`` and ``bias`` (mean of prediction minus label) in the label's unit; ``r2`` (1 for no error, 0 for
    always saying the mean); ``mape`` as a share, over the labels that are not 0.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    groups, error = _groups(days), p - y
    found = {"mae": _not_negative(mean_interval(np.abs(error), groups)), "rmse": _rmse(error, groups)}
    found["bias"] = mean_interval(error, groups)
    deviation = (y - y.mean()) ** 2
    if deviation.any():
        share = _ratio(error**2, deviation, groups)
        found["r2"] = Interval(1 - share.value, share.se, 1 - share.high, 1 - share.low)
    told = y != 0
    if told.sum() >= 2:
        days_told = None if days is None else days[told]
        found["mape"] = _not_negative(mean_interval(np.abs(error[told] / y[told]), _groups(days_told)))
    return found


def error_differences(labels: ArrayLike, a: ArrayLike, b: ArrayLike, days: Days | None = None) -> dict[str, Interval]:
    """Return by how much ``mae`` and ``rmse`` of ``b`` are above those of ``a`` on the same rows, paired."""
    y, groups = np.asarray(labels, dtype=np.float64), _groups(days)
    first, second = (np.asarray(scores, dtype=np.float64) - y for scores in (a, b))
    roots = [math.sqrt(float((error**2).mean())) for error in (first, second)]
    of_roots = [
        (error**2 - root**2) / (2 * root) if root > 0 else np.zeros(len(y))
        for error, root in zip((first, second), roots, strict=True)
    ]
    return {
        "mae": mean_interval(np.abs(second) - np.abs(first), groups),
        "rmse": functional_interval(roots[1] - roots[0], of_roots[1] - of_roots[0], groups),
    }


def forecasting(
    labels: ArrayLike, scores: ArrayLike, days: Days | None = None, *, naive: float = math.nan
) -> dict[str, Interval]:
    """Return the figures of forecasts: ``mae``, ``rmse``, ``bias``, ``smape`` in [0, 2] and ``mase``.

    sMAPE is Makridakis, International Journal of Forecasting 9 (1993), with the mean of both sizes below; MASE Hyndman
    & Koehler, International Journal of Forecasting 22 (2006), eq. 3: below 1 is better than the naive forecast.

    Args:
        labels: what was.
        scores: what was forecast.
        days: of the rows.
        naive: mean absolute error of the naive forecast on these rows, taken as known; NaN where there is none.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    groups, error = _groups(days), np.abs(p - y)
    size = (np.abs(y) + np.abs(p)) / 2
    relative = np.divide(error, size, out=np.zeros_like(error), where=size > 0)
    found = {name: one for name, one in regression(y, p, days).items() if name in ("mae", "rmse", "bias")}
    found["smape"] = _not_negative(mean_interval(relative, groups))
    if naive > 0:
        found["mase"] = _not_negative(mean_interval(error / naive, groups))
    return found


def ranking(labels: ArrayLike, scores: ArrayLike, lists: ArrayLike) -> dict[str, Interval]:
    """Return the figures of orders, as means over lists in which something is relevant (a label above 0).

    ``ndcg@10``; ``map``, the mean average precision; ``mrr``, the mean reciprocal rank of the first that is relevant.
    """
    values = ranking_by_list(labels, scores, lists)
    return {name: _within(mean_interval(each)) for name, each in values.items() if len(each) >= 2}


def ranking_by_list(labels: ArrayLike, scores: ArrayLike, lists: ArrayLike) -> dict[str, Floats]:
    """Return ``ndcg@10``, ``map`` and ``mrr`` of each list in which something is relevant, in order of the lists.

    NDCG with the labels as gains and logarithmic discounts (Jarvelin & Kekalainen, ACM Transactions on Information
    Systems 20, 2002), ties sharing theirs (McSherry & Najork, ECIR 2008); in the others a tie counts against the model.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _, codes = np.unique(np.asarray(lists), return_inverse=True)
    relevant = np.bincount(codes, weights=np.maximum(y, 0)) > 0
    kept = relevant[codes]
    y, p, codes = np.maximum(y[kept], 0), p[kept], np.unique(codes[kept], return_inverse=True)[1]
    if not len(y):
        return {name: np.empty(0) for name in (f"ndcg@{TOP}", "map", "mrr")}
    ideal, gained = _gain(y, y, codes), _gain(y, p, codes)
    order = np.lexsort((y, -p, codes))
    places, hits = _places(codes[order]), y[order] > 0
    lists_of = codes[order]
    found: NDArray[np.intp] = np.cumsum(hits) - (np.cumsum(hits) - hits)[_firsts(lists_of)]
    totals = np.bincount(lists_of, weights=hits)
    precision = np.bincount(lists_of, weights=np.where(hits, found / (places + 1), 0.0)) / totals
    first = np.full(len(totals), np.inf)
    np.minimum.at(first, lists_of[hits], places[hits] + 1.0)
    return {f"ndcg@{TOP}": gained / ideal, "map": precision, "mrr": 1 / first}


def average_precision(labels: ArrayLike, scores: ArrayLike, days: Days | None = None) -> Interval:
    """Return the mean of the precision over the positives, each at its own score; ties share theirs.

    The interval is the delta method's, from the influence function of the ratio of both distributions.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    n = len(y)
    _, code = np.unique(-p, return_inverse=True)
    rows, hits = np.bincount(code).astype(np.float64), np.bincount(code, weights=y)
    above, hits_above = np.cumsum(rows) / n, np.cumsum(hits) / n
    precision, rate = hits_above / above, float(y.mean())
    value = float((hits / n * precision).sum()) / rate
    # of a row at a score: its part in the precision of all positives at that score and below
    gained = np.cumsum((hits / n / above)[::-1])[::-1]
    lost = np.cumsum((hits / n * hits_above / above**2)[::-1])[::-1]
    influence = (y * precision[code] + y * gained[code] - lost[code] - value * y) / rate
    return _within(functional_interval(value, influence, _groups(days)))


def expected_calibration_error(labels: ArrayLike, scores: ArrayLike, days: Days | None = None) -> Interval:
    """Return the mean distance of score and rate over ``BINS`` bins of equal size.

    Naeini, Cooper & Hauskrecht, AAAI 2015. It cannot be 0 by chance: of a perfectly calibrated model it is about
    ``sqrt(BINS / n) * .8 * sd(label)``; the interval holds where it is well above that.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    bins = _bins(p)
    gaps = np.bincount(bins, weights=p - y)
    value = float(np.abs(gaps).sum()) / len(y)
    return _within(functional_interval(value, np.sign(gaps)[bins] * (p - y), _groups(days)))


def calibration_curve(labels: ArrayLike, scores: ArrayLike) -> Iterator[tuple[float, float, int]]:
    """Yield mean score, observed rate and number of rows of each of ``BINS`` bins of equal size, by score."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    bins = _bins(p)
    for one in np.unique(bins):
        rows = bins == one
        yield float(p[rows].mean()), float(y[rows].mean()), int(rows.sum())


def seasonal_naive(labels: ArrayLike, times: ArrayLike, series: ArrayLike, season: int, *, first: int = 0) -> float:
    """Return the mean absolute error of forecasting each series by its own value ``season`` steps before; NaN if none.

    Args:
        labels: shape (n,).
        times: by which a series is ordered.
        series: which one each row is of.
        season: in steps.
        first: the rows before this one are of before: others are forecast from them, and they are not counted.
    """
    y = np.asarray(labels, dtype=np.float64)
    _, codes = np.unique(np.asarray(series), return_inverse=True)
    order = np.lexsort((np.asarray(times), codes))
    y, codes = y[order], codes[order]
    same = (codes[season:] == codes[:-season]) & (order[season:] >= first)
    return float(np.abs(y[season:] - y[:-season])[same].mean()) if same.any() else math.nan


# --- private -----------------------------------------------------------------------------


def _groups(days: Days | None) -> Days | None:
    return days if days is not None and len(np.unique(days)) >= MIN_CLUSTERS else None


def _log_loss(y: NDArray[np.bool_], p: Floats, groups: Days | None) -> Interval:
    said = np.clip(np.where(y, p, 1 - p), _SMALLEST, 1.0)
    return mean_interval(-np.log(said), groups)


def _decided(y: NDArray[np.bool_], said: NDArray[np.bool_], groups: Days | None) -> dict[str, Interval]:
    dof = math.inf if groups is None else len(np.unique(groups)) - 1.0
    right = (y & said).astype(np.float64)
    found = {"accuracy": share_interval(mean_interval(y == said, groups), len(y), dof)}
    for name, among in (("precision", said), ("recall", y)):
        if among.any():
            found[name] = share_interval(_ratio(right, among.astype(np.float64), groups), int(among.sum()), dof)
    if (y | said).any():
        found["f1"] = _within(_ratio(2 * right, y.astype(np.float64) + said, groups))
    return found


def _ratio(above: Floats, below: Floats, groups: Days | None) -> Interval:
    """Return the ratio of two means."""
    value = float(above.mean() / below.mean())
    return functional_interval(value, (above - value * below) / below.mean(), groups)


def _rmse(error: Floats, groups: Days | None) -> Interval:
    squares = error**2
    value = math.sqrt(float(squares.mean()))
    influence = (squares - squares.mean()) / (2 * value) if value > 0 else np.zeros(len(error))
    return _not_negative(functional_interval(value, influence, groups))


def _within(found: Interval) -> Interval:
    value, low, high = (min(1.0, max(0.0, one)) for one in (found.value, found.low, found.high))  # sums round
    return Interval(value, found.se, low, high, found.p_value)


def _not_negative(found: Interval) -> Interval:
    return Interval(found.value, found.se, max(0.0, found.low), found.high, found.p_value)


def _bins(p: Floats) -> NDArray[np.intp]:
    edges = np.unique(np.quantile(p, np.arange(1, BINS) / BINS))
    return np.searchsorted(edges, p, side="left")


def _gain(y: Floats, by: Floats, codes: NDArray[np.intp]) -> Floats:
    """Return the discounted gain of each list when ordered by something, falling."""
    order = np.lexsort((-by, codes))
    lists, values = codes[order], by[order]
    places = _places(lists)
    discounts = np.where(places < TOP, 1 / np.log2(places + 2.0), 0.0)
    fresh = np.concatenate([[True], (lists[1:] != lists[:-1]) | (values[1:] != values[:-1])])
    tie = np.cumsum(fresh) - 1
    shared = np.bincount(tie, weights=discounts) / np.bincount(tie)
    return np.asarray(np.bincount(lists, weights=y[order] * shared[tie]), dtype=np.float64)


def _firsts(lists: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return, of rows in order of lists, where the list of each begins."""
    starts = np.flatnonzero(np.concatenate([[True], lists[1:] != lists[:-1]]))
    return np.repeat(starts, np.diff(np.append(starts, len(lists))))


def _places(lists: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.arange(len(lists)) - _firsts(lists)
