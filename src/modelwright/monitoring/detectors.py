"""Drift detectors: how far one column of a window is from its reference; plugins of ``modelwright.detectors``.

A detector gives an *effect* (a distance with a floor below which nobody cares) and a *p-value*
(how likely so much by chance, were rows independent). Both are needed, and the verdict in
``drift`` adds what neither knows: how much accepted windows differ from each other.
They see profiles only, so that a window of any size costs the same.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np

from modelwright.monitoring.profiles import ColumnProfile, Floats

BINS = 10
_SMALL = 1e-4


class Effect(NamedTuple):
    """How far a column is from its reference, and how likely that is by chance."""

    effect: float
    p_value: float


class Detector(Protocol):
    """A plugin that compares one column of a window with the reference; made without arguments, keeps no state."""

    @property
    def name(self) -> str:
        """How configuration and events call it."""
        ...

    @property
    def floor(self) -> float:
        """The smallest effect that matters."""
        ...

    @property
    def kinds(self) -> tuple[Literal["numbers", "categories"], ...]:
        """The kinds of columns that it understands."""
        ...

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """Compare two profiles of one kind, each with at least one row; equal profiles give effect 0 and p 1."""
        ...


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Largest difference of the two distribution functions, in [0, 1].

    ``D = sup |F(x) - G(x)|`` from quantile grids (off by at most 1/201); p from Kolmogorov's limit with
    ``n = n1 n2 / (n1 + n2)`` and Stephens' correction (Stephens, JRSS-B 32, 1970; Numerical Recipes 14.3).
    """

    name: str = "ks"
    floor: float = 0.1
    kinds: tuple[Literal["numbers", "categories"], ...] = ("numbers",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return Effect(0.0, 1.0)
        points = np.concatenate([reference.grid, window.grid])
        distance = float(np.max(np.abs(reference.cumulative(points) - window.cumulative(points))))
        size = math.sqrt(reference.count * window.count / (reference.count + window.count))
        return Effect(distance, kolmogorov_tail((size + 0.12 + 0.11 / size) * distance))


@dataclass(frozen=True)
class PopulationStability:
    """Population stability index on tenths of the reference with open ends, in [0, inf).

    ``PSI = sum (q_i - p_i) ln(q_i / p_i)`` (Siddiqi, Credit Risk Scorecards, 2006; .1 some, .25 much). Without
    drift it is about ``(1/n1 + 1/n2)`` times chi-square with ``bins - 1`` degrees of freedom (Yurdakul, 2018).
    """

    name: str = "psi"
    floor: float = 0.1
    kinds: tuple[Literal["numbers", "categories"], ...] = ("numbers", "categories")

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return Effect(0.0, 1.0)
        p, q = shares(reference, window)
        p, q = np.maximum(p, _SMALL), np.maximum(q, _SMALL)
        index = float(np.sum((q - p) * np.log(q / p)))
        return Effect(index, chi_square_tail(index / _noise(reference, window), len(p) - 1))


@dataclass(frozen=True)
class JensenShannon:
    """Jensen-Shannon distance on tenths of the reference with open ends, in [0, 1].

    ``sqrt((KL(p|m) + KL(q|m)) / 2)`` with ``m = (p + q) / 2`` and logarithms to base 2 (Lin, IEEE
    Trans. Inf. Theory 37, 1991; Endres & Schindelin, 2003). Without drift eight times the divergence in
    nats is about ``(1/n1 + 1/n2)`` times chi-square with ``bins - 1`` degrees of freedom.
    """

    name: str = "jensen_shannon"
    floor: float = 0.1
    kinds: tuple[Literal["numbers", "categories"], ...] = ("numbers", "categories")

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return Effect(0.0, 1.0)
        p, q = shares(reference, window)
        middle = (p + q) / 2
        nats = max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2)
        p_value = chi_square_tail(8 * nats / _noise(reference, window), len(p) - 1)
        return Effect(math.sqrt(nats / math.log(2)), p_value)


@dataclass(frozen=True)
class ChiSquare:
    """Chi-square test of homogeneity of categories; the effect is Cramér's V, in [0, 1].

    Both samples are random (Pearson 1900; Cramér 1946, 21.4); categories expected fewer than five times
    in either are taken together (Cochran 1954). A category that is new altogether is the business of ``unseen``.
    """

    name: str = "chi_square"
    floor: float = 0.1
    kinds: tuple[Literal["numbers", "categories"], ...] = ("categories",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count:
            return Effect(0.0, 1.0)
        p, q = shares(reference, window)
        counts = np.stack([p * reference.count, q * window.count])
        margins = np.array([reference.count, window.count], dtype=np.float64)
        expected = np.outer(margins, counts.sum(axis=0)) / margins.sum()
        rare = expected.min(axis=0) < 5
        if rare.any():
            counts = np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])
            expected = np.column_stack([expected[:, ~rare], expected[:, rare].sum(axis=1)])
        filled = expected.min(axis=0) > 0
        if int(filled.sum()) < 2:
            return Effect(0.0, 1.0)
        statistic = float(np.sum((counts[:, filled] - expected[:, filled]) ** 2 / expected[:, filled]))
        return Effect(math.sqrt(statistic / margins.sum()), chi_square_tail(statistic, int(filled.sum()) - 1))


@dataclass(frozen=True)
class MissingRateShift:
    """Difference of the shares of missing values, in [0, 1]; two-sided z test of two proportions (pooled)."""

    name: str = "missing"
    floor: float = 0.05
    kinds: tuple[Literal["numbers", "categories"], ...] = ("numbers", "categories")

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        difference = abs(window.missing_rate - reference.missing_rate)
        pooled = (window.missing + reference.missing) / (window.rows + reference.rows)
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / window.rows + 1 / reference.rows))
        p_value = math.erfc(difference / deviation / math.sqrt(2)) if deviation else 1.0
        return Effect(difference, p_value)


@dataclass(frozen=True)
class UnseenCategories:
    """Share of values that the reference never had, in [0, 1].

    By the rule of succession a reference of ``n`` values hides at most a share of about ``1 / n`` of unseen ones
    (Good, Biometrika 40, 1953: Turing's estimate); p is the Poisson chance of so many.
    """

    name: str = "unseen"
    floor: float = 0.01
    kinds: tuple[Literal["numbers", "categories"], ...] = ("categories",)

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """See ``Detector``."""
        if not reference.count or not window.count or reference.distinct > len(reference.top):
            return Effect(0.0, 1.0)
        unseen = sum(count for value, count in window.top.items() if value not in reference.top)
        expected = window.count / reference.count
        chance = 1.0 if unseen == 0 else _poisson_tail(unseen, expected)
        return Effect(unseen / window.count, chance)


def shares(reference: ColumnProfile, window: ColumnProfile) -> tuple[Floats, Floats]:
    """Return the shares of both in bins.

    Bins are tenths of the reference with open ends, or the reference's categories and a rest.
    """
    if reference.kind == "numbers":
        edges = np.unique(np.quantile(reference.grid, np.linspace(0, 1, BINS + 1)[1:-1]))
        p, q = (np.diff(np.concatenate([[0.0], c.cumulative(edges), [1.0]])) for c in (reference, window))
        return p, q
    names = list(reference.top)[: BINS * 5]
    p = np.array([reference.top[name] for name in names], dtype=np.float64) / reference.count
    q = np.array([window.top.get(name, 0) for name in names], dtype=np.float64) / window.count
    return np.append(p, max(0.0, 1 - p.sum())), np.append(q, max(0.0, 1 - q.sum()))


def kolmogorov_tail(value: float) -> float:
    """Return ``P(K > value)`` of Kolmogorov's distribution."""
    if value < 0.2:
        return 1.0
    total = sum((-1) ** (k - 1) * math.exp(-2 * (k * value) ** 2) for k in range(1, 101))
    return float(min(1.0, max(0.0, 2 * total)))


def chi_square_tail(value: float, degrees: int) -> float:
    """Return ``P(X > value)`` of chi-square."""
    if degrees < 1 or value <= 0:
        return 1.0
    from scipy.special import gammaincc

    return float(gammaincc(degrees / 2, value / 2))


def _poisson_tail(count: int, expected: float) -> float:
    from scipy.special import gammainc

    return float(gammainc(count, expected))


def _divergence(p: Floats, m: Floats) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / m[there])))


def _noise(reference: ColumnProfile, window: ColumnProfile) -> float:
    return 1 / reference.count + 1 / window.count
