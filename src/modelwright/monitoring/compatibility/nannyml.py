"""What NannyML computes and decides by default, faults included, for people who move over.

A window is one of its chunks. The reference is cut into ten chunks, in its order; what each has against the whole
reference gives the threshold, their mean and three standard deviations, so that thresholds hang on the size of the
reference's chunks, not on the window's. Missing values are dropped, then looked at by themselves; an infinite one
makes bins impossible (an error), the Wasserstein distance NaN (no alert) and above ``ESTIMATED_ROWS`` rows the
Kolmogorov-Smirnov statistic what the bins happen to give. Unseen values alert from the first one on.

Figures are those of version 0.13 (``tests/monitoring/data/drift/nannyml.json``).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from modelwright.monitoring.compatibility.binning import (
    Shares,
    Values,
    by_category,
    by_width,
    counted,
    hellinger,
    jensen_shannon,
    l_infinity,
)
from modelwright.monitoring.compatibility.samples import contingency, table
from modelwright.monitoring.distributions import Floats

CHUNKS = 10
DEVIATIONS = 3.0
ESTIMATED_ROWS = 10_000
"""References of so many rows are no longer compared value by value but in as many bins of equal width."""
ALPHA = 0.05
S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True)
class Thresholds:
    """Between what no alert is raised; None: no bound."""

    lower: float | None
    upper: float | None

    def alert(self, value: float) -> bool:
        """Say whether a value lies outside; NaN never does."""
        below = self.lower is not None and value < self.lower
        return below or (self.upper is not None and value > self.upper)


def chunks(values: npt.NDArray[S], count: int = CHUNKS) -> list[npt.NDArray[S]]:
    """Return rows in chunks of equal size, in order; rows that are left over make one more."""
    size = max(1, len(values) // count)
    return [values[start : start + size] for start in range(0, len(values), size)]


def constant(lower: float | None = None, upper: float | None = None) -> Thresholds:
    """Return thresholds that are given."""
    return Thresholds(lower, upper)


def standard_deviation(
    values: Sequence[float],
    *,
    below: float | None = DEVIATIONS,
    above: float | None = DEVIATIONS,
    least: float | None = None,
    most: float | None = None,
) -> Thresholds:
    """Return thresholds so many standard deviations of the reference's chunks away from their mean.

    Args:
        values: of the reference's chunks; NaN among them counts for nothing.
        below: deviations; None: no lower threshold.
        above: deviations; None: no upper threshold.
        least: no threshold is below this.
        most: no threshold is above this.
    """
    there = np.asarray(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        there = there[~np.isnan(there)]
    if not there.size:
        return Thresholds(None if below is None else math.nan, None if above is None else math.nan)
    mean, deviation = float(there.mean()), float(there.std())
    lower = None if below is None else mean - below * deviation
    upper = None if above is None else mean + above * deviation
    if lower is not None and least is not None:
        lower = max(lower, least)
    if upper is not None and most is not None:
        upper = min(upper, most)
    return Thresholds(lower, upper)


@dataclass(frozen=True)
class Method:
    """One of its univariate methods: ``distance`` of a chunk from the reference, neither with missing values."""

    title: str
    distance: Callable[[Values, Values], float]
    most: float | None = None


@dataclass(frozen=True)
class Judged:
    """A chunk's value, the thresholds and what it says.

    Attributes:
        p_value: of the chi-square test, which has no threshold.
    """

    value: float
    thresholds: Thresholds
    alert: bool
    p_value: float | None = None


def numeric_jensen_shannon(reference: Values, chunk: Values) -> float:
    """Return the distance to base 2 in Doane's bins of the reference; raises ``ValueError`` at an infinite value."""
    return jensen_shannon(_doane(reference, chunk), 2)


def numeric_hellinger(reference: Values, chunk: Values) -> float:
    """Return the distance in Doane's bins of the reference; raises ``ValueError`` at an infinite value."""
    return hellinger(_doane(reference, chunk))


def kolmogorov_smirnov(reference: Values, chunk: Values) -> float:
    """Return the statistic, above ``ESTIMATED_ROWS`` rows in bins of equal width."""
    if len(reference) >= ESTIMATED_ROWS:
        return _binned_kolmogorov_smirnov(reference, chunk)
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, chunk).statistic)


def wasserstein(reference: Values, chunk: Values) -> float:
    """Return the distance in units of the values, above ``ESTIMATED_ROWS`` rows in bins; NaN at an infinite value."""
    if len(reference) >= ESTIMATED_ROWS:
        return _binned_wasserstein(reference, chunk)
    from scipy.stats import wasserstein_distance

    with np.errstate(invalid="ignore"):
        return float(wasserstein_distance(reference, chunk))


def categorical_jensen_shannon(reference: Values, chunk: Values) -> float:
    """Return the distance to base 2; categories that the reference never had count as one."""
    return jensen_shannon(_known(reference, chunk), 2)


def categorical_hellinger(reference: Values, chunk: Values) -> float:
    """Return the distance; categories that the reference never had count as one."""
    return hellinger(_known(reference, chunk))


def largest_difference(reference: Values, chunk: Values) -> float:
    """Return the largest difference of one category's shares."""
    return l_infinity(by_category(reference, chunk))


NUMBERS: dict[str, Method] = {
    "jensen_shannon": Method("Jensen-Shannon distance", numeric_jensen_shannon),
    "kolmogorov_smirnov": Method("Kolmogorov-Smirnov statistic", kolmogorov_smirnov, most=1.0),
    "wasserstein": Method("Wasserstein distance", wasserstein),
    "hellinger": Method("Hellinger distance", numeric_hellinger),
}
CATEGORIES: dict[str, Method] = {
    "jensen_shannon": Method("Jensen-Shannon distance", categorical_jensen_shannon),
    "l_infinity": Method("L-Infinity distance", largest_difference),
    "hellinger": Method("Hellinger distance", categorical_hellinger),
}
DEFAULT = "jensen_shannon"


def judged(method: Method, reference: Values, window: Values, missing: Callable[[Values], Values]) -> Judged:
    """Return what a method says of a window.

    Args:
        method: the method.
        reference: in its order, missing values included.
        window: likewise.
        missing: returns values without those that are missing.

    Raises:
        ValueError: the method cannot be computed, or the reference has no values.
    """
    whole = missing(reference)
    if not len(whole):
        raise ValueError("the reference has no values")

    def value(rows: Values) -> float:
        there = missing(rows)
        return method.distance(whole, there) if len(there) else math.nan

    found = value(window)
    thresholds = standard_deviation([value(c) for c in chunks(reference)], below=None, most=method.most)
    return Judged(found, thresholds, thresholds.alert(found))


def chi_square(reference: Values, window: Values) -> Judged:
    """Return chi-square of homogeneity, neither with missing values; it alerts on the p-value alone."""
    found = contingency(table(reference, window))
    return Judged(found.statistic, Thresholds(None, None), found.p_value < ALPHA, found.p_value)


def missing_rates(reference: npt.NDArray[np.bool_], window: npt.NDArray[np.bool_]) -> Judged:
    """Return the window's rate of missing values against those of the reference's chunks.

    Args:
        reference: which rows are missing, in order.
        window: which rows are missing.
    """
    thresholds = standard_deviation([float(np.mean(c)) for c in chunks(reference)], least=0.0, most=1.0)
    rate = float(np.mean(window))
    return Judged(rate, thresholds, thresholds.alert(rate))


def unseen_rate(reference: Values, window: Values, rows: int) -> Judged:
    """Return the share of a window's rows whose category the reference never had; any at all is an alert.

    Args:
        reference: its values, without missing ones.
        window: likewise.
        rows: of the window, missing or not.
    """
    known = counted(reference)
    unseen = sum(count for name, count in counted(window).items() if name not in known)
    thresholds = constant(upper=0.0)
    rate = unseen / rows
    return Judged(rate, thresholds, thresholds.alert(rate))


# --- private -----------------------------------------------------------------------------


def _doane(reference: Values, chunk: Values) -> Shares:
    # as floats: of whole numbers numpy makes no bins narrower than 1
    return by_width(reference.astype(np.float64), chunk.astype(np.float64), "doane", pooled=False)


def _known(reference: Values, chunk: Values) -> Shares:
    usual, now = counted(reference), counted(chunk)
    p = np.array([count / len(reference) for count in usual.values()])
    q = np.array([now.get(name, 0) for name in usual]) / len(chunk)
    outside = 1 - float(np.sum(q))
    return Shares(np.append(p, 0.0), np.append(q, outside)) if outside > 0 else Shares(p, q)


def _binned_kolmogorov_smirnov(reference: Values, chunk: Values) -> float:
    """Return the largest difference of heights at the ends of bins; an infinite value leaves no bins, and 0."""
    ends = float(np.min(reference)), float(np.max(reference))
    if not all(map(math.isfinite, ends)):
        return 0.0
    edges = np.linspace(*ends, ESTIMATED_ROWS + 1)
    usual, now = (np.cumsum(np.histogram(one, edges)[0] / len(one)) for one in (reference, chunk))
    return float(np.max(np.abs(usual - now - float(np.mean(chunk < edges[0])))))


def _binned_wasserstein(reference: Values, chunk: Values) -> float:
    usual, edges = np.histogram(reference, bins=ESTIMATED_ROWS)
    width = edges[1] - edges[0]
    below, above = chunk[chunk < edges[0]], chunk[chunk > edges[-1]]
    before, after = _beyond(below, float(edges[0]), len(chunk)), _beyond(above, float(edges[-1]), len(chunk))
    now = np.cumsum(np.histogram(chunk, edges)[0] / len(chunk))
    left = (len(below) + 1) / len(chunk) if len(below) else 0.0
    within = float(np.sum(np.abs(np.cumsum(usual / len(reference)) - now - left) * width))
    return within + before + after


def _beyond(values: Floats, edge: float, rows: int) -> float:
    """Return how far values outside the reference lie from its end, over the rows of the chunk."""
    return float(np.sum(np.abs(values - edge))) / rows
