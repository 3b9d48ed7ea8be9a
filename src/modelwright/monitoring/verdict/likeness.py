"""Which columns of a reference are so much alike that one can stand for the others, as far as plans go."""

from collections.abc import Mapping, Sequence

import numpy as np

from modelwright.monitoring.columns import ColumnProfile
from modelwright.monitoring.distributions import Floats
from modelwright.monitoring.documents import Reference

_APART = (0.02, 0.04, 0.08, 0.16, 0.32, 1.0)
"""How far columns that are taken together may be apart, as shares of their rows; as little as is enough."""
_POINTS = np.linspace(-3, 3, 25)
_FEW_VALUES = 50


def leaders(names: Sequence[str], reference: Reference, most: int) -> tuple[Mapping[str, str], float]:
    """Return by column the one that stands for it, and how far they are apart at most.

    Two columns are as far apart as their distribution functions are, brought to one median and spread (of categories
    in order of frequency), or the shares of missing values, or what uploads differ among themselves.

    Args:
        names: of columns of the reference.
        reference: of which all have rows.
        most: so many stand for all; if there are no more, each for itself.
    """
    if len(names) <= most:
        return {name: name for name in names}, 0.0
    looks = {name: _look(name, reference) for name in names}
    found: dict[str, str] = {}
    for apart in _APART:
        found = _led(names, looks, apart)
        if len(set(found.values())) <= most:
            return found, apart
    return found, 1.0


def spread_of(usual: ColumnProfile) -> float:
    """Return a column's spread: interquartile range / 1.349, or where that is 0 its deviation."""
    low, high = usual.distribution.quantiles([0.25, 0.75]).tolist()
    return float((high - low) / 1.349 or usual.deviation or 1.0)


def _led(names: Sequence[str], looks: Mapping[str, tuple[str, Floats]], apart: float) -> dict[str, str]:
    found: dict[str, str] = {}
    chosen: dict[str, tuple[list[str], list[Floats]]] = {}
    for name in names:
        kind, look = looks[name]
        leading, theirs = chosen.setdefault(kind, ([], []))
        gaps = np.abs(np.array(theirs) - look).max(axis=1) if theirs else np.empty(0)
        if len(gaps) and gaps.min() <= apart:
            found[name] = leading[int(gaps.argmin())]
        else:
            found[name] = name
            leading.append(name)
            theirs.append(look)
    return found


def _look(name: str, reference: Reference) -> tuple[str, Floats]:
    usual = reference.pooled(name)
    assert usual is not None
    uploads = [part for one in reference.profiles if (part := one.columns.get(name)) is not None]
    uploads = [part for part in uploads if part.kind == usual.kind] or [usual]
    missing = [part.missing_rate for part in uploads]
    shape = np.zeros(len(_POINTS))
    restless = 0.0
    if usual.kind == "numbers" and usual.count:
        spread = spread_of(usual)
        middle = float(usual.distribution.quantiles([0.5])[0])
        shape = usual.cumulative(middle + spread * _POINTS)
        restless = float(np.std([part.mean for part in uploads if part.count])) / spread
    elif usual.count:
        counts = np.array(list(usual.top.values())[: len(_POINTS)], dtype=np.float64)
        shape[: len(counts)] = counts / usual.count
        shape = np.cumsum(shape)
        restless = float(np.std([part.mode_share for part in uploads if part.count]))
    rest = [usual.missing_rate, float(np.std(missing)), restless, usual.infinite / max(1, usual.rows)]
    steps = "whole" if usual.kind == "numbers" and 1 < usual.distinct <= _FEW_VALUES else ""
    return f"{usual.kind} {steps}", np.minimum(1.0, np.concatenate([shape, rest]))
