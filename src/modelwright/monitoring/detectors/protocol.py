"""What a detector is, and what all of them count with: bins of the reference, tails of distributions."""

import math
from typing import Literal, NamedTuple, Protocol

import numpy as np

from modelwright.monitoring.profiles import ColumnProfile, Floats

BINS = 10
Kinds = tuple[Literal["numbers", "categories"], ...]
BOTH: Kinds = ("numbers", "categories")


class Effect(NamedTuple):
    """How far a column is from its reference, and how likely that is by chance."""

    effect: float
    p_value: float


NOTHING = Effect(0.0, 1.0)


class Statistic(NamedTuple):
    """A test as textbooks have it."""

    statistic: float
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
    def kinds(self) -> Kinds:
        """The kinds of columns that it understands."""
        ...

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> Effect:
        """Compare two profiles of one kind, each with at least one row; equal profiles give effect 0 and p 1."""
        ...


def shares(reference: ColumnProfile, window: ColumnProfile) -> tuple[Floats, Floats]:
    """Return the shares of both in bins.

    Bins are tenths of the reference with open ends, or the reference's most frequent categories and a rest.
    """
    if reference.kind == "numbers":
        edges = inner_edges(reference)
        p, q = (np.diff(np.concatenate([[0.0], c.distribution.cumulative(edges), [1.0]])) for c in (reference, window))
        return p, q
    names = list(reference.top)[: BINS * 5]
    p = np.array([reference.top[name] for name in names], dtype=np.float64) / reference.count
    q = np.array([window.top.get(name, 0) for name in names], dtype=np.float64) / window.count
    return np.append(p, max(0.0, 1 - p.sum())), np.append(q, max(0.0, 1 - q.sum()))


def inner_edges(reference: ColumnProfile, bins: int = BINS) -> Floats:
    """Return the inner quantiles of a reference that make bins with open ends; fewer where values repeat."""
    edges: Floats = np.unique(reference.distribution.quantiles(np.linspace(0, 1, bins + 1)[1:-1]))
    return edges


def noise(reference: ColumnProfile, window: ColumnProfile) -> float:
    """Return ``1/n + 1/m``, by which differences of shares vary."""
    return 1 / reference.count + 1 / window.count


def chi_square_tail(value: float, degrees: int) -> float:
    """Return ``P(X > value)`` of chi-square."""
    if degrees < 1 or value <= 0:
        return 1.0
    from scipy.special import gammaincc

    return float(gammaincc(degrees / 2, value / 2))


def kolmogorov_tail(value: float) -> float:
    """Return ``P(K > value)`` of Kolmogorov's limit."""
    if value <= 0:
        return 1.0
    from scipy.special import kolmogorov

    return float(kolmogorov(value))


def normal_tail(value: float) -> float:
    """Return ``P(|Z| > |value|)``."""
    return math.erfc(abs(value) / math.sqrt(2))
