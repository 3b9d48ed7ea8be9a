"""Corrections for looking at many things at once: over columns, families of tests, and segments.

All of them bound the false discovery rate, and so, where nothing moved at all, the chance of any alarm. p-values of
one window are positively dependent (columns that move together), for which Benjamini-Hochberg holds (Benjamini &
Yekutieli, Ann. Stat. 29, 2001).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from modelwright.monitoring.profiles import Floats

SHAPE, RATES = "shape", "rates"
SHARES: Mapping[str, float] = {SHAPE: 0.8, RATES: 0.2}
"""How the rate is split among the families of tests. What happens to rates (missing, never seen, out of range) has
p-values far below any level once it is above its floor, so that little is enough for them."""


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which hypotheses are rejected at a false discovery rate (Benjamini & Hochberg, JRSS-B 57, 1995)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    last = max((rank for rank, i in enumerate(order, 1) if p_values[i] <= rate * rank / len(order)), default=0)
    rejected = set(order[:last])
    return [i in rejected for i in range(len(p_values))]


def adjusted(p_values: ArrayLike, weights: ArrayLike = 1.0) -> Floats:
    """Return p-values that are at most a rate exactly where Benjamini-Hochberg rejects at that rate.

    Args:
        p_values: of all hypotheses.
        weights: how much of the rate each may use; their mean is 1 (Genovese, Roeder & Wasserman, Biometrika 93,
            2006).
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return p
    weighted = p / np.asarray(weights, dtype=np.float64)
    order = np.argsort(weighted, kind="stable")
    stepped = weighted[order] * (p.size / np.arange(1, p.size + 1))
    result = np.empty_like(p)
    result[order] = np.minimum(1.0, np.minimum.accumulate(stepped[::-1])[::-1])
    return result


def weights_of(families: Sequence[str], shares: Mapping[str, float] = SHARES) -> Floats:
    """Return the weight of each hypothesis: families divide the rate as ``shares`` says, hypotheses of one alike.

    A family that is not there leaves its share to the others.
    """
    sizes = {family: families.count(family) for family in set(families)}
    total = sum(shares[family] for family in sizes)
    return np.array([shares[family] / total * len(families) / sizes[family] for family in families], dtype=np.float64)


def hierarchical(
    groups: Sequence[tuple[Sequence[float], Sequence[str]]], shares: Sequence[float]
) -> tuple[Floats, ...]:
    """Return adjusted p-values of hypotheses in groups, of which only selected ones are looked into.

    A group is all rows, or a segment. Groups are selected by Benjamini-Hochberg over the groups' Simes p-values
    (Simes, Biometrika 73, 1986), and within each of the ``R`` selected of ``K`` the rate is ``R / K`` of the whole,
    times the group's weight (Benjamini & Bogomolov, JRSS-B 76, 2014; for deeper trees Yekutieli, JASA 103, 2008, and
    Bogomolov, Peterson, Benjamini & Sabatti, Biometrika 108, 2021). The mean false discovery rate over selected
    groups is then at most the rate; where nothing moved so is the chance of any alarm.

    What is returned is at most a rate exactly where this procedure rejects at that rate.

    Args:
        groups: of each, the p-values and the families of its hypotheses; empty ones do not count.
        shares: of each group, how much of the rate is its own; they add up to 1.
    """
    own = [adjusted(p_values, weights_of(families)) for p_values, families in groups]
    filled = [number for number, group in enumerate(own) if group.size]
    if not filled:
        return tuple(own)
    total = sum(shares[number] for number in filled)
    weights = [shares[number] / total * len(filled) for number in filled]
    simes = adjusted([float(own[number].min()) for number in filled], weights)
    result = list(own)
    for place, number in enumerate(filled):
        # at a rate q the group is selected when simes <= q, and R is then the number of groups with simes <= q
        result[number] = _at_any_rate(own[number] / weights[place], float(simes[place]), simes)
    return tuple(result)


def _at_any_rate(within: Floats, selected: float, simes: Floats) -> Floats:
    """Return, of each hypothesis, the smallest rate ``q >= selected`` with ``within <= q R(q) / K``."""
    groups = simes.size
    best = np.full(within.shape, np.inf)
    for rate in np.unique(simes[simes >= selected]):
        count = int(np.sum(simes <= rate))
        # from this rate on at least so many groups are selected
        best = np.minimum(best, np.maximum(rate, within * groups / count))
    bounded: Floats = np.minimum(1.0, best)
    return bounded
