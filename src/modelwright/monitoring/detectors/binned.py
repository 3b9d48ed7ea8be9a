"""Distances of shares in bins: tenths of the reference with open ends, or categories; each a plugin.

Open ends make them see heavy tails that move, which bins of equal width do not. All p-values are that of chi-square,
categories that are expected fewer than five times taken together, exact where only two are left: without drift all
these distances are small for the same reason. Their own limits are not used, since in small windows (50
rows) they reject up to 25 times as often as they say.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelwright.monitoring.detectors.protocol import (
    BOTH,
    NOTHING,
    Effect,
    Kinds,
    Statistic,
    chi_square_tail,
    shares,
)
from modelwright.monitoring.detectors.rates import proportions
from modelwright.monitoring.profiles import ColumnProfile, Floats

CATEGORIES: Kinds = ("categories",)
SMALL = 1e-4


@dataclass(frozen=True)
class PopulationStability:
    """Population stability index, in [0, inf).

    ``PSI = sum (q_i - p_i) ln(q_i / p_i)`` (Siddiqi, Credit Risk Scorecards, 2006; .1 some, .25 much), shares below
    ``SMALL`` raised to it.
    """

    name: str = "psi"
    floor: float = 0.1
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return _between(stability_index, reference, window)


@dataclass(frozen=True)
class JensenShannon:
    """Jensen-Shannon distance, in [0, 1].

    ``sqrt((KL(p|m) + KL(q|m)) / 2)`` with ``m = (p + q) / 2`` and logarithms to base 2 (Lin, IEEE
    Trans. Inf. Theory 37, 1991; Endres & Schindelin, 2003).
    """

    name: str = "jensen_shannon"
    floor: float = 0.1
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return _between(jensen_shannon, reference, window)


@dataclass(frozen=True)
class Hellinger:
    """Hellinger distance ``sqrt(1 - sum sqrt(p q))``, in [0, 1] (Hellinger 1909)."""

    name: str = "hellinger"
    floor: float = 0.085
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return _between(hellinger, reference, window)


@dataclass(frozen=True)
class LInfinity:
    """Largest difference of the shares of one bin or category, in [0, 1]; what SageMaker Model Monitor calls drift."""

    name: str = "l_infinity"
    floor: float = 0.1
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return _between(l_infinity, reference, window)


@dataclass(frozen=True)
class TotalVariation:
    """Half the sum of all differences of shares, in [0, 1]: how much would have to change bins."""

    name: str = "total_variation"
    floor: float = 0.1
    kinds: Kinds = BOTH

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        return _between(total_variation, reference, window)


@dataclass(frozen=True)
class ChiSquare:
    """Chi-square test of homogeneity of categories; the effect is Cramér's V, in [0, 1].

    Both samples are random (Pearson 1900; Cramér 1946, 21.4); categories expected fewer than five times
    in either are taken together (Cochran 1954); of two categories p is that of their proportions, exact where they are
    rare. A category that is new altogether is the business of ``unseen``.
    """

    name: str = "chi_square"
    floor: float = 0.1
    kinds: Kinds = CATEGORIES

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        counts = _expected_often(_counts(reference, window))
        return Effect(math.sqrt(pearson(counts).statistic / counts.sum()), _homogeneity(reference, window))


@dataclass(frozen=True)
class GTest:
    """Likelihood ratio test of homogeneity of categories, ``G = 2 sum O ln(O / E)``; the effect is ``sqrt(G / N)``.

    Woolf, Ann. Hum. Genet. 21 (1957); Sokal & Rohlf, Biometry, 17. The effect is near Cramér's V, in [0, 1.18].
    """

    name: str = "g_test"
    floor: float = 0.1
    kinds: Kinds = CATEGORIES

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return NOTHING
        counts = _expected_often(_counts(reference, window))
        statistic, p_value = likelihood_ratio(counts)
        return Effect(math.sqrt(statistic / counts.sum()), _exact_of_two(counts, p_value))


def stability_index(p: Floats, q: Floats, small: float = SMALL) -> float:
    """Return PSI of two arrays of shares."""
    p, q = np.maximum(p, small), np.maximum(q, small)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Return the Jensen-Shannon distance to base 2 of two arrays of shares."""
    middle = (p + q) / 2
    nats = max(0.0, (divergence(p, middle) + divergence(q, middle)) / 2)
    return math.sqrt(nats / math.log(2))


def hellinger(p: Floats, q: Floats) -> float:
    """Return the Hellinger distance of two arrays of shares."""
    return math.sqrt(float(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)) / 2)


def l_infinity(p: Floats, q: Floats) -> float:
    """Return the largest difference of two arrays of shares."""
    return float(np.max(np.abs(p - q), initial=0.0))


def total_variation(p: Floats, q: Floats) -> float:
    """Return half the sum of the differences of two arrays of shares."""
    return float(np.abs(p - q).sum() / 2)


def divergence(p: Floats, q: Floats) -> float:
    """Return the Kullback-Leibler divergence of ``q`` from ``p`` in nats; infinite where only ``p`` has a share."""
    there = p > 0
    if (q[there] <= 0).any():
        return math.inf
    return float(np.sum(p[there] * np.log(p[there] / q[there])))


def pearson(counts: Floats) -> Statistic:
    """Return chi-square of a table of two rows, and its p-value; empty columns count for nothing."""
    filled, expected = _expected(counts)
    if filled.shape[1] < 2:
        return Statistic(0.0, 1.0)
    statistic = float(np.sum((filled - expected) ** 2 / expected))
    return Statistic(statistic, chi_square_tail(statistic, filled.shape[1] - 1))


def likelihood_ratio(counts: Floats) -> Statistic:
    """Return ``G`` of a table of two rows, and its p-value; empty columns count for nothing."""
    filled, expected = _expected(counts)
    if filled.shape[1] < 2:
        return Statistic(0.0, 1.0)
    there = filled > 0
    statistic = max(0.0, 2 * float(np.sum(filled[there] * np.log(filled[there] / expected[there]))))
    return Statistic(statistic, chi_square_tail(statistic, filled.shape[1] - 1))


# --- private -----------------------------------------------------------------------------

_OFTEN = 5.0


def _between(distance: Callable[[Floats, Floats], float], reference: ColumnProfile, window: ColumnProfile) -> Effect:
    if not reference.count or not window.count:
        return NOTHING
    return Effect(distance(*shares(reference, window)), _homogeneity(reference, window))


def _homogeneity(reference: ColumnProfile, window: ColumnProfile) -> float:
    """Return the p-value of all distances of shares: that of chi-square, in categories that are frequent enough.

    Bins of numbers are tenths of the reference: none is rare, and to put together what the window has few of would
    make differences of the others larger than chance does.
    """
    counts = _counts(reference, window)
    if reference.kind == "categories":
        counts = _expected_often(counts)
    return _exact_of_two(counts, pearson(counts).p_value)


def _exact_of_two(counts: Floats, otherwise: float) -> float:
    if counts.shape[1] != 2:
        return otherwise
    whole = np.rint(counts)
    (first, second), (of_first, of_second) = whole[:, 1], whole.sum(axis=1)
    return proportions(float(first), float(of_first), float(second), float(of_second)).p_value


def _counts(reference: ColumnProfile, window: ColumnProfile) -> Floats:
    p, q = shares(reference, window)
    counts: Floats = np.stack([p * reference.count, q * window.count])
    return counts


def _expected(counts: Floats) -> tuple[Floats, Floats]:
    filled = counts[:, counts.sum(axis=0) > 0]
    return filled, np.outer(filled.sum(axis=1), filled.sum(axis=0)) / max(filled.sum(), 1.0)


def _expected_often(counts: Floats) -> Floats:
    """Return a table whose columns that are expected fewer than five times in either row are one."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(counts.sum(), 1.0)
    rare = expected.min(axis=0) < _OFTEN
    if not rare.any():
        return counts
    together = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
    if together.shape[1] > 2 and _expected(together)[1].min(initial=_OFTEN) < _OFTEN:
        # too few even together: they join the rarest of the others
        least = int(np.argmin(together[:, :-1].sum(axis=0)))
        together[:, least] += together[:, -1]
        together = together[:, :-1]
    return together
