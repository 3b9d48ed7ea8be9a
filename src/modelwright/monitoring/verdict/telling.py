"""What of a verdict goes into the event and the item that tell of it: the furthest, since both have to stay small.

500 columns, four detectors and twenty segments have 42,000 verdicts; the report and the table ``drift_metrics`` have
them all.
"""

from collections.abc import Iterable, Sequence

from modelwright.events import ColumnDrift

MOST_TOLD = 50
"""Verdicts of an event: the log and the bus take 256 KB, and nobody reads more."""
MOST_KEPT = 800
"""Verdicts of a kept window."""


def told(columns: Sequence[ColumnDrift]) -> tuple[ColumnDrift, ...]:
    """Return what an event says of the columns that drift: the furthest, of each column first."""
    return _furthest([one for one in columns if one.drifted], MOST_TOLD)


def kept(columns: Sequence[ColumnDrift]) -> tuple[ColumnDrift, ...]:
    """Return what is kept of a window: of each column what was furthest in all rows, and what drifted."""
    chosen = {id(one) for one in _of_each_column(one for one in columns if not one.segment)}
    return _furthest([one for one in columns if one.drifted or id(one) in chosen], MOST_KEPT)


def strength(one: ColumnDrift) -> float:
    """Return an effect in multiples of its floor."""
    return one.effect / one.floor if one.floor > 0 else one.effect


def _furthest(columns: Sequence[ColumnDrift], most: int) -> tuple[ColumnDrift, ...]:
    """Return so many at most, in their order: those of each column that are furthest before others of it."""
    if len(columns) <= most:
        return tuple(columns)
    first = {id(one) for one in _of_each_column(columns)}
    order = sorted(columns, key=lambda one: (not one.drifted, id(one) not in first, bool(one.segment), -strength(one)))
    chosen = {id(one) for one in order[:most]}
    return tuple(one for one in columns if id(one) in chosen)


def _of_each_column(columns: Iterable[ColumnDrift]) -> Iterable[ColumnDrift]:
    """Return of each column the one that drifts, or else is furthest; that of all rows before that of a segment."""
    furthest: dict[str, ColumnDrift] = {}
    for one in columns:
        if one.column not in furthest or _place(one) > _place(furthest[one.column]):
            furthest[one.column] = one
    return furthest.values()


def _place(one: ColumnDrift) -> tuple[bool, float]:
    return not one.segment, strength(one)
