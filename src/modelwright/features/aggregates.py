"""What a window holds: the one definition of every aggregation, to the bit.

A row that became known at ``a`` and is superseded at ``u`` lies, by its ``x`` (its availability or its event
time), in windows that end at full tiles; ``span`` says of which tiles' ends. What a row adds to a window is made of
*cells*: states that merge in any order into the same state, so that a tile, a day of tiles and a loop over rows agree.

=========  ============================================================  ==============================
cell       state                                                         merging
=========  ============================================================  ==============================
rows       how many rows                                                 sum
values     how many values                                               sum
total      sum of the values' units (integers)                           sum
squares    sum of their squares (integers)                               sum
least      smallest value                                                min
most       largest value                                                 max
last       (event, available, arrival, key, value) of the newest row     max
hashes     the ``SKETCH`` smallest 64-bit hashes of values               union, the smallest kept
buckets    how many values by ``bucket``                                 sum by bucket
=========  ============================================================  ==============================

A number is added up in units of 10^-decimals of its column, rounded half to even, so that sums are of integers and
every order of adding gives the same bits.
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from modelwright.errors import InvalidInput
from modelwright.features.layout import spelled
from modelwright.project import Aggregate, Column, Source, View

Kind = Literal["rows", "values", "total", "squares", "least", "most", "last", "hashes", "buckets"]
NEVER = 2**62
SKETCH = 1024
"""Distinct values are counted exactly below this, and above estimated with a standard error of 1/sqrt(SKETCH - 2),
3.1 % (k minimum values: Bar-Yossef et al. 2002, Beyer et al. 2007)."""
MANTISSA_BITS = 6
"""A quantile is within 2^-(MANTISSA_BITS + 1), 0.8 %, of the value of a row that has the rank."""
LARGEST_UNITS = 2**53
ADDED = ("integer", "number")
"""Types of columns whose values may be too large to be added up."""
_INFINITE = 0x7FF << 52
_CELLS: Mapping[str, tuple[Kind, ...]] = {
    "count": ("values",),
    "sum": ("total",),
    "mean": ("total", "values"),
    "std": ("squares", "total", "values"),
    "min": ("least",),
    "max": ("most",),
    "last": ("last",),
    "distinct": ("hashes",),
    "quantile": ("buckets",),
}
_NUMERIC = ("sum", "mean", "std", "min", "max", "quantile")


class Cell(NamedTuple):
    """A state that a view keeps per tile: of the rows ``where`` is true, of the values of ``column``."""

    kind: Kind
    column: str
    where: str


class Rank(NamedTuple):
    """What orders rows of an entity: the newest is the greatest."""

    event: int
    available: int
    arrival: str
    key: int


def cells_of(aggregate: Aggregate) -> tuple[Cell, ...]:
    """Return the cells that an aggregation is made from, in the order in which ``finished`` takes their states."""
    kinds: tuple[Kind, ...] = _CELLS[aggregate.function] if aggregate.column else ("rows",)
    return tuple(Cell(kind, aggregate.column, aggregate.where) for kind in kinds)


def cells(view: View) -> tuple[Cell, ...]:
    """Return the distinct cells that a view's aggregations need, in order."""
    return tuple(dict.fromkeys(cell for aggregate in view.aggregates.values() for cell in cells_of(aggregate)))


def sound(name: str, view: View, source: Source) -> None:
    """Raise ``InvalidInput`` when an aggregation does not fit its column."""
    for called, aggregate in view.aggregates.items():
        column = source.columns.get(aggregate.column)
        if aggregate.column and column is None:
            raise InvalidInput(f"{name}.{called} is of {aggregate.column}, which source {view.source} does not declare")
        if aggregate.function != "count" and column is None:
            raise InvalidInput(f"{name}.{called} is a {aggregate.function} of no column")
        if aggregate.function in _NUMERIC and column and column.type not in ("integer", "number", "boolean"):
            raise InvalidInput(f"{name}.{called} is a {aggregate.function} of {aggregate.column}, a {column.type}")
        if aggregate.where and getattr(source.columns.get(aggregate.where), "type", "") != "boolean":
            raise InvalidInput(f"{name}.{called} counts where {aggregate.where}, which is no boolean column")


def span(view: View, window_us: int, x: int, available: int, until: int) -> tuple[int, int]:
    """Return the first and last tile ``H`` as of which a row is in a window; none if the first is the later.

    As of ``t``, ``H`` is ``t // tile``. A row counts from the tile after the one in which it became known, to the
    tile in which it was superseded.

    Args:
        view: whose tiles and kind of window.
        window_us: length of the window.
        x: the row's place: when it became known, or its event time (``View.by``), in microseconds.
        available: when it became known, in microseconds.
        until: when a newer version of it became known; ``NEVER`` if none did.
    """
    tile = view.tile_us
    length = window_us // tile
    place, known, last = x // tile, available // tile + 1, until // tile
    if not view.tumbling:
        return max(place + 1, known), min(place + length, last)
    end = (place // length + 1) * length
    return max(end, known), min(end + length - 1, last)


def units(column: Column, value: Any) -> int:
    """Return a value as the integer that is added up.

    Raises:
        InvalidInput: it is too large to be added up exactly in the column's decimals.
    """
    if column.type != "number":
        return int(value)
    whole: float = value * 10**column.decimals
    if not abs(whole) <= LARGEST_UNITS:
        told = f"too large to be added up in {column.decimals} decimals: declare fewer"
        raise InvalidInput(f"{value} is {told}", logged=told)
    return round(whole)


def contribution(cell: Cell, source: Source, values: Mapping[str, Any], rank: Rank) -> Any:
    """Return the state of a cell over one row; None where the row adds nothing."""
    if cell.where and not values[cell.where]:
        return None
    if cell.kind == "rows":
        return 1
    value, column = values[cell.column], source.columns[cell.column]
    if value is None:
        return None
    match cell.kind:
        case "values":
            return 1
        case "total":
            return units(column, value)
        case "squares":
            return units(column, value) ** 2
        case "last":
            return (*rank, value)
        case "hashes":
            return (hashed(value),)
        case "buckets":
            return {bucket(float(value)): 1}
        case _:
            return value + 0.0 if isinstance(value, float) else value  # of 0.0 and -0.0 neither is the smaller


def merged(kind: Kind, states: Iterable[Any]) -> Any:
    """Return the state over all rows of several states, in any order; None of nothing."""
    given = [state for state in states if state is not None]
    if not given:
        return None
    match kind:
        case "least":
            return min(given)
        case "most":
            return max(given)
        case "last":
            return max(given, key=lambda state: state[:4])
        case "hashes":
            return tuple(sorted({one for state in given for one in state})[:SKETCH])
        case "buckets":
            counts: dict[int, int] = {}
            for state in given:
                for place, count in state.items():
                    counts[place] = counts.get(place, 0) + count
            return counts
        case _:
            return sum(given)


def finished(aggregate: Aggregate, source: Source, states: Sequence[Any]) -> Any:
    """Return the feature's value from the states of ``cells_of``; of nothing, counts and sums are 0, others None."""
    if aggregate.function in ("count", "distinct"):
        return distinct_count(states[0]) if aggregate.function == "distinct" else states[0] or 0
    column = source.columns[aggregate.column]
    scale = 10**column.decimals if column.type == "number" else 0
    match aggregate.function:
        case "sum":
            return scaled(states[0] or 0, scale)
        case "mean":
            return float(scaled(states[0], scale)) / float(states[1]) if states[1] else None
        case "std":
            return deviation(states[0], states[1], states[2], scale or 1)
        case "quantile":
            return quantile(states[0] or {}, aggregate.q)
        case "last":
            return states[0][4] if states[0] else None
        case _:
            return states[0]


def scaled(total: int, scale: int) -> int | float:
    """Return a sum of units as a value: an integer where the column is one (``scale`` 0)."""
    return float(total) / float(scale) if scale else total


def deviation(squares: int | None, total: int | None, count: int | None, scale: int) -> float | None:
    """Return the standard deviation of a sample (n - 1), rounded twice: the exact variance, and its root."""
    if squares is None or total is None or count is None or count < 2:
        return None
    return math.sqrt((count * squares - total * total) / (count * (count - 1) * scale * scale))


def hashed(value: Any) -> int:
    """Return 64 bits of a value (BLAKE2b of its one spelling)."""
    return int.from_bytes(hashlib.blake2b(spelled([value]).encode(), digest_size=8).digest(), "big")


def distinct_count(hashes: Sequence[int] | None) -> int:
    """Return how many different values there are: exactly below ``SKETCH``, else estimated."""
    if not hashes:
        return 0
    return len(hashes) if len(hashes) < SKETCH else ((SKETCH - 1) << 64) // hashes[SKETCH - 1]


def bucket(value: float) -> int:
    """Return the bucket of a value: the exponent and first bits of its mantissa, ordered as values are."""
    (bits,) = struct.unpack("<q", struct.pack("<d", abs(value)))
    place = (bits >> (52 - MANTISSA_BITS)) + 1
    return 0 if value == 0 else int(place if value > 0 else -place)


def middle(place: int) -> float:
    """Return the middle of a bucket."""
    if not place:
        return 0.0
    bits = ((abs(place) - 1) << (52 - MANTISSA_BITS)) | (1 << (51 - MANTISSA_BITS))
    if bits >= _INFINITE:
        return math.copysign(math.inf, place)
    (value,) = struct.unpack("<d", struct.pack("<q", bits))
    return math.copysign(value, place)


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """Return the middle of the bucket of the value with rank ``floor(q (n - 1))``, from 0, in ascending order."""
    rank = int(q * (sum(counts.values()) - 1))
    for place in sorted(counts):
        rank -= counts[place]
        if rank < 0:
            return middle(place)
    return None
