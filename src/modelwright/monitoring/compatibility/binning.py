"""Bins and distances as the compared tools take them: other bins than ours, so that their figures come out.

Ours (``detectors``) are tenths of the reference with open ends. Evidently cuts what it has of both samples into
bins of equal width, NannyML the reference alone, with one more bin for whatever lies outside.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from modelwright.monitoring.distributions import Floats

Values = npt.NDArray[Any]
"""Numbers, or categories as objects, none of them missing."""
Counts = dict[Any, int]


class Shares(NamedTuple):
    """Shares of two samples in the same bins."""

    reference: Floats
    window: Floats


def counted(values: Values) -> Counts:
    """Return how often each value comes, in the order of the values."""
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def by_category(reference: Values, window: Values) -> Shares:
    """Return shares of every value that either has."""
    first, second = counted(reference), counted(window)
    names = sorted({*first, *second})
    return Shares(
        np.array([first.get(name, 0) for name in names], dtype=np.float64) / max(1, len(reference)),
        np.array([second.get(name, 0) for name in names], dtype=np.float64) / max(1, len(window)),
    )


def by_width(reference: Values, window: Values, rule: Literal["sturges", "doane"], *, pooled: bool) -> Shares:
    """Return shares in bins of equal width (Sturges, JASA 21, 1926; Doane, Am. Stat. 30, 1976).

    Args:
        reference: one sample.
        window: the other.
        rule: how many bins.
        pooled: whether the bins span both samples; else the reference alone, and the window's values outside make one
            more bin.

    Raises:
        ValueError: a value is not finite.
    """
    edges = np.histogram_bin_edges(np.concatenate([reference, window]) if pooled else reference, bins=rule)
    p, q = (np.histogram(one, edges)[0] / len(one) for one in (reference, window))
    outside = 1 - float(np.sum(q))
    if not pooled and outside > 0:
        return Shares(np.append(p, 0.0), np.append(q, outside))
    return Shares(p, q)


def by_quantile(reference: Values, window: Values, bins: int = 10) -> tuple[Floats, Shares]:
    """Return the reference's inner quantiles, without its extremes, and shares in the bins between them.

    Bins are closed to the right and open at the ends. A reference of one value has one bin: no change is seen.
    """
    inner: Floats = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)))[1:-1]
    counts = (np.bincount(np.searchsorted(inner, one), minlength=len(inner) + 1) for one in (reference, window))
    p, q = (count / count.sum() for count in counts)
    return inner, Shares(p, q)


def jensen_shannon(shares: Shares, base: float | None = None) -> float:
    """Return the Jensen-Shannon distance (Endres & Schindelin 2003), in [0, 1] to base 2, to .83 to base e."""
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(shares.reference, shares.window, base))


def hellinger(shares: Shares) -> float:
    """Return the Hellinger distance, in [0, 1]."""
    return float(np.sqrt(np.sum((np.sqrt(shares.reference) - np.sqrt(shares.window)) ** 2)) / np.sqrt(2))


def l_infinity(shares: Shares) -> float:
    """Return the largest difference of one share, in [0, 1]."""
    return float(np.max(np.abs(shares.reference - shares.window), initial=0.0))
