"""Window views: hourly tiles of integer counts and sums, and how they roll up to features.

A *cell* is one count or sum that a view needs; a row adds its cells to the tile of the full hour
in which it became available. As of ``t`` a window of W hours covers the tiles of the W hours before
``floor_hour(t)``. Sums are of integers, so that every order of adding gives the same bits, and a mean
is one division of two of them as float64.

Online, an entity's item holds its tiles packed, and ``recent`` rows that were pushed since they were
made. A recent row that replaces one in the tiles carries what that one added, to take it off again.
"""

import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelwright.errors import InvalidInput
from modelwright.features.layout import HOUR_US
from modelwright.features.rows import Row
from modelwright.project import Aggregate, Source, View

SLACK_H = 48
"""Tiles reach so much further back than the longest window, for readers whose clock is behind."""
FOLDED_ROWS = 8_000
"""Rows per chunk: about 150 kB packed, against DynamoDB's limit of 400 kB per item."""


class Cell(NamedTuple):
    """One count (of rows, or of values of ``column``) or sum (of ``column``), over rows ``where`` is true."""

    total: bool
    column: str
    where: str

    def of(self, values: Mapping[str, Any]) -> int:
        """Return what a row adds."""
        if self.where and not values[self.where]:
            return 0
        if not self.column:
            return 1
        value = values[self.column]
        return 0 if value is None else int(value) if self.total else 1


def cells(view: View) -> tuple[Cell, ...]:
    """Return the distinct cells that a view's aggregates need, in order."""
    found: dict[Cell, None] = {}
    for aggregate in view.aggregates.values():
        found.update(dict.fromkeys(_cells_of(aggregate)))
    return tuple(found)


def rolled(view: View, total: Callable[[int, int], Any], divide: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """Return a window view's features by name: the one definition for one entity and for arrays of them.

    Args:
        view: the view.
        total: gives the sum of a cell (by position) over the last so many hours.
        divide: a sum by a count, null where that is 0.
    """
    place = {cell: n for n, cell in enumerate(cells(view))}
    names = iter(view.feature_names()[len(view.features) :])
    found = {}
    for hours in (window // HOUR_US for window in view.windows_us):
        for aggregate in view.aggregates.values():
            sums = [total(place[cell], hours) for cell in _cells_of(aggregate)]
            found[next(names)] = sums[0] if len(sums) == 1 else divide(*sums)
    return found


def reach_h(view: View) -> int:
    """Return how many hours of tiles are kept online."""
    return max(view.windows_us, default=0) // HOUR_US + SLACK_H


def sound(name: str, view: View, source: Source) -> None:
    """Raise ``InvalidInput`` when an aggregate would not add integers."""
    for called, aggregate in view.aggregates.items():
        kind = source.columns[aggregate.column].type if aggregate.column in source.columns else ""
        if aggregate.column and aggregate.function != "count" and kind not in ("integer", "boolean"):
            raise InvalidInput(f"{name}.{called} adds {aggregate.column}, a {kind or 'column that is not declared'}")
        if aggregate.function != "count" and not aggregate.column:
            raise InvalidInput(f"{name}.{called} is a {aggregate.function} of no column")
        if aggregate.where and getattr(source.columns.get(aggregate.where), "type", "") != "boolean":
            raise InvalidInput(f"{name}.{called} counts where {aggregate.where}, which is no boolean column")


class Added(NamedTuple):
    """What a row added to the tiles.

    Attributes:
        available: its availability.
        arrival: when it came.
        cells: what it added to each cell.
    """

    available: int
    arrival: str
    cells: tuple[int, ...]

    def newer(self, other: "Added") -> bool:
        """Say whether this row replaces another of the same key."""
        return (self.available, self.arrival) > (other.available, other.arrival)


def added(row: Row, view: View) -> Added:
    """Return what a row adds."""
    return Added(row.available, row.arrival, tuple(cell.of(row.values) for cell in cells(view)))


class Recent(NamedTuple):
    """A pushed row that is not in the tiles, and the one in the tiles that it replaces, if any."""

    row: Added
    replaced: Added | None = None


@dataclass(frozen=True)
class Tiles:
    """An entity's item of a window view.

    Attributes:
        base: the first hour that is complete.
        hours: hours that have a tile, ascending.
        sums: per cell, one number per hour.
        recent: pushed rows by row key.
        chunks: how many ``FOLDED`` items say which rows are in the tiles.
        generation: the same in the item and in its chunks.
        version: counts writes.
    """

    base: int
    hours: Sequence[int] = ()
    sums: Sequence[Sequence[int]] = ()
    recent: Mapping[int, Recent] | None = None
    chunks: int = 0
    generation: int = 0
    version: int = 0

    def total(self, cell: int, first: int, end: int) -> int:
        """Return the sum of a cell over the hours ``[first, end)``."""
        low, high = bisect_left(self.hours, first), bisect_left(self.hours, end)
        result = sum(self.sums[cell][low:high]) if high > low else 0
        for recent in (self.recent or {}).values():
            if first <= recent.row.available // HOUR_US < end:
                result += recent.row.cells[cell]
            if recent.replaced and first <= recent.replaced.available // HOUR_US < end:
                result -= recent.replaced.cells[cell]
        return result

    def features(self, view: View, as_of_us: int) -> dict[str, Any]:
        """Return the view's features as of a time."""
        end = as_of_us // HOUR_US
        return rolled(view, lambda cell, hours: self.total(cell, end - hours, end), quotient)


def quotient(total: int, count: int) -> float | None:
    """Return the mean as float64 division gives it, None of nothing."""
    return float(total) / float(count) if count else None


def pushed(tiles: Tiles, rows: Iterable[tuple[int, Added]], known: Mapping[int, Added], base: int) -> Tiles | None:
    """Return tiles with pushed rows in ``recent``, or None if none of them is news.

    Args:
        tiles: what is there.
        rows: pushed rows by key.
        known: of the same keys, those that are in the tiles.
        base: hours before this are of no use any more.
    """
    recent = dict(tiles.recent or {})
    for key, row in rows:
        there = recent[key].row if key in recent else known.get(key)
        if (there is None or row.newer(there)) and row.available // HOUR_US >= base:
            recent[key] = Recent(row, known.get(key))
    if recent == (tiles.recent or {}):
        return None
    base = max(base, tiles.base)
    kept = {k: r for k, r in recent.items() if r.replaced or r.row.available // HOUR_US >= base}
    return Tiles(base, tiles.hours, tiles.sums, kept, tiles.chunks, tiles.generation, tiles.version)


# --- packing -----------------------------------------------------------------------------


def pack_columns(count: int, columns: Iterable[bytes]) -> bytes:
    """Pack columns of ``count`` little-endian 64-bit integers."""
    return zlib.compress(struct.pack("<I", count) + b"".join(columns), 1)


def unpack_columns(body: bytes) -> "list[array[int]]":
    """Return the columns; signed."""
    raw = zlib.decompress(body)
    (count,) = struct.unpack_from("<I", raw)
    if not count:
        return []
    size = 8 * count
    columns = [array("q", raw[start : start + size]) for start in range(4, len(raw), size)]
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        for column in columns:
            column.byteswap()
    return columns


def pack_tiles(hours: Sequence[int], sums: Sequence[Sequence[int]]) -> bytes:
    """Pack tiles in plain Python."""
    return pack_columns(len(hours), (struct.pack(f"<{len(hours)}q", *column) for column in (hours, *sums)))


def read_folded(body: bytes, arrivals: Sequence[str], keys: Iterable[int]) -> dict[int, Added]:
    """Return what rows of these keys added, from a chunk; columns are key, availability, arrival's place, cells."""
    columns = unpack_columns(body)
    if not columns:
        return {}
    place = {key & _MASK: n for n, key in enumerate(columns[0])}
    found = {}
    for key in keys:
        if (n := place.get(key)) is not None:
            found[key] = Added(columns[1][n], arrivals[columns[2][n]], tuple(c[n] for c in columns[3:]))
    return found


_MASK = 2**64 - 1


def _cells_of(aggregate: Aggregate) -> tuple[Cell, ...]:
    count = Cell(False, aggregate.column, aggregate.where)
    total = Cell(True, aggregate.column, aggregate.where)
    return {"count": (count,), "sum": (total,), "mean": (total, count)}[aggregate.function]
