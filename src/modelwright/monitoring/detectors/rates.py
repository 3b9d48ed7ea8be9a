"""Shares of rows that are not as they should be: missing, infinite, never seen, out of range, of another type.

Distances of distributions look at finite values alone, so that these have detectors of their own.
"""

from dataclasses import dataclass

import numpy as np

from modelwright.monitoring.detectors.protocol import BOTH, NOTHING, Effect, Kinds
from modelwright.monitoring.profiles import ColumnProfile


@dataclass(frozen=True)
class MissingRateShift:
    """Difference of the shares of missing values, in [0, 1]; see ``proportions``."""

    name: str = "missing"
    floor: float = 0.05
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return proportions(reference.missing, reference.rows, window.missing, window.rows)


@dataclass(frozen=True)
class InfiniteRateShift:
    """Difference of the shares of infinite values, in [0, 1]; see ``proportions``."""

    name: str = "infinite"
    floor: float = 0.01
    kinds: Kinds = ("numbers",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return proportions(reference.infinite, reference.rows, window.infinite, window.rows)


@dataclass(frozen=True)
class UnseenCategories:
    """Share of values that the reference never had, in [0, 1].

    Were the rows of both shuffled together, a value of which there are ``c`` would lie in the window alone with chance
    ``f^c``, ``f`` the window's share of all rows. p is the chance that such values make up so many rows, as if each
    value fell independently of the others. Of a window with more than ``TOP`` values the most frequent ones count.
    """

    name: str = "unseen"
    floor: float = 0.01
    kinds: Kinds = ("categories",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count or reference.distinct > len(reference.top):
            return NOTHING
        unseen = sum(count for value, count in window.top.items() if value not in reference.top)
        if not unseen:
            return NOTHING
        return Effect(unseen / window.count, self._chance(unseen, reference, window))

    def _chance(self, unseen: int, reference: ColumnProfile, window: ColumnProfile) -> float:
        share = window.count / (window.count + reference.count)
        counts = [
            reference.top.get(value, 0) + window.top.get(value, 0) for value in sorted({*reference.top, *window.top})
        ]
        rare = [count for count in counts if share**count >= _NEVER]
        if sum(rare) < unseen:
            return 0.0
        chances = np.zeros(unseen + 1)  # of 0, 1, ... rows, the last of so many or more
        chances[0] = 1.0
        for count in rare:
            alone, reach = share**count, min(count, unseen)
            moved = np.zeros_like(chances)
            moved[reach:] = chances[: unseen + 1 - reach]
            moved[-1] += chances[unseen + 1 - reach :].sum()
            chances = (1 - alone) * chances + alone * moved
        return float(min(1.0, chances[-1]))


@dataclass(frozen=True)
class OutOfRange:
    """Share of values outside the reference's extremes, in [0, 1].

    Were both drawn alike and continuous, the number of ``m`` values outside the extremes of ``n`` is
    beta-binomial with 2 and ``n - 1`` (each of the ``n + 1`` gaps is as likely: Wilks, Ann. Math. Stat. 12, 1941).
    """

    name: str = "range"
    floor: float = 0.05
    kinds: Kinds = ("numbers",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        low, high = reference.low, reference.high
        if reference.count < 2 or not window.count or low is None or high is None or _within(low, high, window):
            return NOTHING
        values = window.distribution
        outside = float(values.weights[(values.points < low) | (values.points > high)].sum())
        outside = max(1.0, round(outside))
        from scipy.stats import betabinom

        chance = betabinom.sf(outside - 1, window.count, 2, reference.count - 1)
        return Effect(outside / window.count, float(min(1.0, max(0.0, chance))))


@dataclass(frozen=True)
class TypeChange:
    """Whether the values are stored as another type than the reference's: 0 or 1; no chance explains that."""

    name: str = "type"
    floor: float = 0.5
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        changed = bool(reference.type and window.type and reference.type != window.type)
        return Effect(1.0, 0.0) if changed else NOTHING


def proportions(first: float, of_first: float, second: float, of_second: float) -> Effect:
    """Return the difference of two shares and its two-sided p-value.

    Pooled z test; where fewer than ``_FEW`` are expected in a cell, Fisher's exact test (Fisher 1922), since the
    normal law is none there.
    """
    if not of_first or not of_second:
        return NOTHING
    difference = abs(second / of_second - first / of_first)
    pooled = (first + second) / (of_first + of_second)
    if not difference or pooled in (0.0, 1.0):
        return NOTHING
    if min(pooled, 1 - pooled) * min(of_first, of_second) >= _FEW:
        from scipy.special import erfc

        deviation = (pooled * (1 - pooled) * (1 / of_first + 1 / of_second)) ** 0.5
        return Effect(difference, float(erfc(difference / deviation / 2**0.5)))
    from scipy.stats import fisher_exact

    table = [[int(first), int(of_first - first)], [int(second), int(of_second - second)]]
    return Effect(difference, float(min(1.0, fisher_exact(table).pvalue)))


# --- private -----------------------------------------------------------------------------

_FEW = 10.0
_NEVER = 1e-18
"""A chance below which nothing needs to be told apart."""


def _within(low: float, high: float, window: ColumnProfile) -> bool:
    return window.low is not None and window.high is not None and low <= window.low and window.high <= high
