"""The window views of many rows at once: the aggregations of ``aggregates``, to the bit, in arrays.

A version is in a window as of the tiles of its ``span``. So what it adds to a count or a sum is added at the span's
first tile and taken off after its last: cumulative sums over versions in order of entity and first tile, and in order
of entity and last tile, give every window by two binary searches each. All other aggregations gather the versions
that may be in a window, in chunks of bounded size, and reduce them.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.features.aggregates import (
    LARGEST_UNITS,
    MANTISSA_BITS,
    NEVER,
    SKETCH,
    Cell,
    cells_of,
    deviation,
    hashed,
    middle,
)
from modelwright.features.encoding import bits, flat, packed
from modelwright.features.history import ARROW, AVAILABLE, KEY, UNTIL, Ints, arrival_ranks, numbers, plain
from modelwright.project import Aggregate, Source, View

Mask = npt.NDArray[np.bool_]
Made = TypeVar("Made")
CHUNK = 2**20
_SUMMED = ("rows", "values", "total", "squares")
_LARGEST = 2**63


@dataclass(frozen=True)
class _Ordered:
    """Versions in order of entity and the first, or last, tile of their spans."""

    keys: Ints
    order: Ints


@dataclass(frozen=True)
class _Spans:
    """The spans of all versions for one length of window, in tiles from ``base``."""

    last: Ints
    starts: _Ordered
    ends: _Ordered
    base: int
    width: int
    length: int

    def place(self, tiles: Ints) -> Ints:
        """Return tiles, counted from ``base``, with those before and after all spans drawn near."""
        return np.clip(tiles - self.base, 0, self.width - 1)


@dataclass(frozen=True)
class _Limbs:
    """Cumulative sums of integers, in parts that do not overflow, each with its weight as a power of two."""

    parts: tuple[tuple[Ints, Ints, int], ...]

    def between(self, starts: Ints, ends: Ints) -> npt.NDArray[Any]:
        """Return sums of what began up to a place and did not end before another; Python's integers if need be."""
        if len(self.parts) == 1:
            ((began, ended, _),) = self.parts
            return began[starts] - ended[ends]
        found = np.zeros(len(starts), dtype=object)
        for began, ended, shift in self.parts:
            found += (began[starts] - ended[ends]).astype(object) * (1 << shift)
        return found


class Windows:
    """A view's versions, ready to be rolled up.

    Args:
        view: the view.
        source: its source.
        rows: versions of the source's rows.
        codes: of their entities.
        available: whether a version counts only from when it became known until the next one did; otherwise the
            newest of each counts from its event time.
        chunk: how many versions are gathered at once; more only where one window holds more.
    """

    def __init__(
        self, view: View, source: Source, rows: pa.Table, codes: Ints, *, available: bool, chunk: int = CHUNK
    ) -> None:
        usable = codes >= 0
        if view.by == "event_time" or not available:
            usable &= np.asarray(rows[source.event_time].is_valid())
        until = numbers(rows[UNTIL])
        usable &= numbers(rows[AVAILABLE]) < until if available else until == NEVER
        self._view, self._source, self._chunk = view, source, chunk
        self._rows = rows if usable.all() else rows.filter(pa.array(usable))
        self._codes = codes[usable]
        self._events = numbers(self._rows[source.event_time].cast(pa.int64()).fill_null(0))
        self._known = numbers(self._rows[AVAILABLE]) if available else self._events
        self._until = until[usable]
        self._made: dict[Hashable, Any] = {}

    @property
    def nbytes(self) -> int:
        """How much memory this takes, about."""
        return int(self._rows.nbytes + 8 * len(self._codes) * (3 + 5 * len(self._view.windows) + 4))

    def at(self, codes: Ints, times: Ints, asked: Mask, wanted: Sequence[str]) -> dict[str, Any]:
        """Return features as of times: of an entity without rows counts and sums are 0; null where nothing is asked."""
        tiles = times // self._view.tile_us
        seen = asked & (codes >= 0)
        found: dict[str, Any] = {}
        windows: dict[int, list[tuple[str, Aggregate]]] = {}
        for name, aggregate, window_us in self._view.aggregated():
            if name in wanted:
                windows.setdefault(window_us, []).append((name, aggregate))
        for window_us, aggregates in windows.items():
            found |= self._rolled(window_us, aggregates, np.where(seen, codes, 0), tiles, seen)
        return {name: _only(found[name], asked & (codes != -1)) for name in wanted}

    def _rolled(
        self, window_us: int, aggregates: Sequence[tuple[str, Aggregate]], codes: Ints, tiles: Ints, seen: Mask
    ) -> dict[str, Any]:
        summed = [(n, a) for n, a in aggregates if all(cell.kind in _SUMMED for cell in cells_of(a))]
        others = [(n, a) for n, a in aggregates if (n, a) not in summed]
        spans = self._once(self._spans, window_us)
        keys = packed(codes, spans.place(tiles), spans.width)
        found = {}
        if summed:
            starts = np.where(seen, np.searchsorted(spans.starts.keys, keys, side="right"), 0)
            ends = np.where(seen, np.searchsorted(spans.ends.keys, keys, side="left"), 0)
            counts = self._once(self._limbs, Cell("rows", "", ""), window_us, False).between(starts, ends)
            most = int(counts.max()) if len(counts) else 0
            for name, aggregate in summed:
                limbs = [self._summing(cell, window_us, most) for cell in cells_of(aggregate)]
                found[name] = _finished(name, aggregate, self._source, [each.between(starts, ends) for each in limbs])
        if others:
            places = np.flatnonzero(seen)
            alike, inverse = np.unique(keys[places], return_inverse=True)
            gathered = self._gathered(window_us, others, alike)
            back = np.full(len(codes), -1)
            back[places] = inverse
            found |= {name: column.take(pa.array(back, mask=back < 0)) for name, column in gathered.items()}
            for name, aggregate in others:
                if aggregate.function == "distinct":
                    found[name] = found[name].fill_null(0)
        return found

    def _once(self, make: Callable[..., Made], *arguments: Hashable) -> Made:
        """Return what a method makes, made once."""
        key = (make.__name__, *arguments)
        if key not in self._made:
            self._made[key] = make(*arguments)
        made: Made = self._made[key]
        return made

    # --- spans ---------------------------------------------------------------------------

    def _spans(self, window_us: int) -> _Spans:
        """Return ``aggregates.span`` of every version; one that is in no window ends before it begins."""
        view = self._view
        tile, length = view.tile_us, window_us // view.tile_us
        by_event = view.by == "event_time"
        place = (self._events if by_event else self._known) // tile
        known, last = self._known // tile + 1, self._until // tile
        if view.tumbling:
            end = (place // length + 1) * length
            first, last = np.maximum(end, known), np.minimum(end + length - 1, last)
        else:
            first, last = np.maximum(place + 1, known), np.minimum(place + length, last)
        last = np.maximum(last, first - 1)
        base = int(first.min()) - 2 if len(first) else 0
        width = int(last.max()) - base + 3 if len(last) else 3
        starts = packed(self._codes, first - base, width)
        order = np.argsort(starts)
        keys = starts[order]
        ends = packed(self._codes, last - base, width)
        ended = ends[order]
        if not (ended[1:] < ended[:-1]).any():
            return _Spans(last - base, _Ordered(keys, order), _Ordered(ended, order), base, width, length)
        by_end = np.argsort(ends)
        return _Spans(last - base, _Ordered(keys, order), _Ordered(ends[by_end], by_end), base, width, length)

    # --- sums ----------------------------------------------------------------------------

    def _mask(self, column: str, where: str) -> Mask:
        """Say which versions have a value of a column (of none: all) and fulfil a condition."""
        mask = np.ones(self._rows.num_rows, dtype=bool)
        if column:
            mask &= np.asarray(self._rows[column].is_valid())
        if where:
            mask &= np.asarray(pc.fill_null(self._rows[where], False)).astype(bool)
        return mask

    def _units(self, column: str) -> Ints:
        """Return the units that each version adds: ``aggregates.units`` of a column."""
        declared = self._source.columns[column]
        if declared.type != "number":
            return numbers(self._rows[column].cast(pa.int64()).fill_null(0))
        values = np.asarray(self._rows[column].fill_null(0.0)) * float(10**declared.decimals)
        if (wrong := ~(np.abs(values) <= LARGEST_UNITS)).any():
            value = self._rows[column][int(np.flatnonzero(wrong)[0])].as_py()
            raise InvalidInput(
                f"{value} is too large to be added up in {declared.decimals} decimals: declare fewer for {column}"
            )
        return np.rint(values).astype(np.int64)

    def _summing(self, cell: Cell, window_us: int, most: int) -> _Limbs:
        """Return the cumulative sums of a cell, of which at most so many versions are in one window."""
        wide = False
        if cell.kind in ("total", "squares"):
            units = self._once(self._units, cell.column)
            largest = max(int(units.max()), -int(units.min())) if len(units) else 0
            wide = most * largest ** (2 if cell.kind == "squares" else 1) >= _LARGEST
        return self._once(self._limbs, cell, window_us, wide)

    def _limbs(self, cell: Cell, window_us: int, wide: bool) -> _Limbs:
        mask = self._once(self._mask, cell.column, cell.where)
        if cell.kind in ("rows", "values"):
            parts = [(mask.astype(np.int64), 0)]
        else:
            units = np.where(mask, self._once(self._units, cell.column), 0)
            if cell.kind == "total":
                parts = _halves(units) if wide else [(units, 0)]
            else:
                parts = _square(units) if wide else [(units * units, 0)]
        spans = self._once(self._spans, window_us)
        starts, ends = spans.starts.order, spans.ends.order
        summed = [(_cumulated(part[starts]), shift) for part, shift in parts]
        if starts is ends:
            return _Limbs(tuple((part, part, shift) for part, shift in summed))
        ended = [_cumulated(part[ends]) for part, _ in parts]
        return _Limbs(tuple((began, over, shift) for (began, shift), over in zip(summed, ended, strict=True)))

    # --- everything else -----------------------------------------------------------------

    def _gathered(self, window_us: int, aggregates: Sequence[tuple[str, Aggregate]], keys: Ints) -> dict[str, Any]:
        """Return aggregations for each (entity, tile), chunk by chunk."""
        parts: dict[str, list[Any]] = {name: [self._nothing(aggregate)] for name, aggregate in aggregates}
        for count, window, row in self._chunks(window_us, keys):
            for name, aggregate in aggregates:
                mask = self._once(self._mask, aggregate.column, aggregate.where)[row]
                parts[name].append(self._reduced(aggregate, window[mask], row[mask], count))
        return {name: pa.concat_arrays(some) for name, some in parts.items()}

    def _chunks(self, window_us: int, keys: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Yield how many windows a chunk has, and each version in one of them beside the window's number."""
        spans = self._once(self._spans, window_us)
        tiles = keys % spans.width
        first = np.searchsorted(spans.starts.keys, keys - np.minimum(spans.length - 1, tiles), side="left")
        sizes = np.searchsorted(spans.starts.keys, keys, side="right") - first
        begin = 0
        filled = np.cumsum(sizes)
        while begin < len(keys):
            before = filled[begin - 1] if begin else 0
            end = max(int(np.searchsorted(filled, before + self._chunk, side="right")), begin + 1)
            mine = sizes[begin:end]
            window = np.repeat(np.arange(end - begin), mine)
            offsets = np.arange(len(window)) - np.repeat(np.cumsum(mine) - mine, mine)
            row = spans.starts.order[np.repeat(first[begin:end], mine) + offsets]
            inside = spans.last[row] >= tiles[begin:end][window]
            yield end - begin, window[inside], row[inside]
            begin = end

    def _nothing(self, aggregate: Aggregate) -> Any:
        return pa.array([], ARROW[aggregate.type_of(self._source.columns[aggregate.column])])

    def _reduced(self, aggregate: Aggregate, window: Ints, row: Ints, count: int) -> Any:
        match aggregate.function:
            case "min" | "max":
                least = aggregate.function == "min"
                return self._extremes(aggregate.column, window, row, count, np.minimum if least else np.maximum)
            case "last":
                newest = _reduce(np.maximum, self._once(self._ranks)[row], window, count, -1)
                by_rank = np.argsort(self._once(self._ranks))
                chosen = by_rank[newest] if len(by_rank) else newest
                return flat(self._rows[aggregate.column]).take(pa.array(chosen, mask=newest < 0))
            case "distinct":
                return self._distinct(aggregate.column, window, row, count)
            case _:
                return self._quantiles(aggregate, window, row, count)

    def _extremes(self, column: str, window: Ints, row: Ints, count: int, of_two: np.ufunc) -> Any:
        values = flat(self._rows[column])
        number = pa.types.is_float64(values.type)
        plain_values = (
            np.asarray(values.fill_null(0.0)) + 0.0 if number else numbers(values.cast(pa.int64()).fill_null(0))
        )
        there = np.bincount(window, minlength=count) > 0
        found = _reduce(of_two, plain_values[row], window, count, 0)
        return pa.array(found, mask=~there).cast(values.type)

    def _distinct(self, column: str, window: Ints, row: Ints, count: int) -> Any:
        codes, hashes = self._once(self._coded, column)
        both = np.unique(packed(window, codes[row], max(len(hashes), 1)))
        counts = np.bincount(both // max(len(hashes), 1), minlength=count)
        many = np.flatnonzero(counts >= SKETCH)
        if len(many):
            start = np.cumsum(counts) - counts
            smallest = both[start[many] + SKETCH - 1] % len(hashes)
            counts[many] = [((SKETCH - 1) << 64) // hashes[place] for place in smallest.tolist()]
        return pa.array(counts.astype(np.int64))

    def _coded(self, column: str) -> tuple[Ints, list[int]]:
        """Return each version's value as its place among all values' hashes, which ascend, and those hashes."""
        encoded = pc.dictionary_encode(bits(flat(self._rows[column])))
        values = encoded.dictionary
        values = values.view(pa.float64()) if self._source.columns[column].type == "number" else values
        given = [hashed(value) for value in plain(values)]
        hashes = sorted(set(given))
        place = {one: n for n, one in enumerate(hashes)}
        places = np.array([place[one] for one in given], dtype=np.int64)
        indices = np.asarray(encoded.indices.fill_null(0)).astype(np.int64)
        return (places[indices] if len(places) else indices), hashes

    def _quantiles(self, aggregate: Aggregate, window: Ints, row: Ints, count: int) -> Any:
        buckets, middles = self._once(self._buckets, aggregate.column)
        both = np.sort(packed(window, buckets[row], max(len(middles), 1)))
        sizes = np.bincount(window, minlength=count)
        there = sizes > 0
        chosen = np.cumsum(sizes) - sizes + (aggregate.q * (sizes - 1)).astype(np.int64)
        found = np.zeros(count)
        found[there] = middles[both[chosen[there]] % max(len(middles), 1)]
        return pa.array(found, mask=~there)

    def _buckets(self, column: str) -> tuple[Ints, npt.NDArray[np.float64]]:
        """Return each version's ``aggregates.bucket`` as a number from 0 in order, and the middle of each."""
        values = np.asarray(self._rows[column].cast(pa.float64(), safe=False).fill_null(0.0))
        places = (np.abs(values).view(np.int64) >> (52 - MANTISSA_BITS)) + 1
        places = np.where(values == 0, 0, np.where(values > 0, places, -places))
        there, codes = np.unique(places, return_inverse=True)
        return codes, np.array([middle(place) for place in there.tolist()], dtype=np.float64)

    def _ranks(self) -> Ints:
        """Return the place of each version in order of event, availability, arrival and key."""
        rows = self._rows
        by = (np.asarray(rows[KEY]), arrival_ranks(rows), numbers(rows[AVAILABLE]), self._events)
        ranks = np.empty(rows.num_rows, dtype=np.int64)
        ranks[np.lexsort(by)] = np.arange(rows.num_rows)
        return ranks


def _finished(name: str, aggregate: Aggregate, source: Source, sums: Sequence[npt.NDArray[Any]]) -> Any:
    """Return ``aggregates.finished`` of sums."""
    column = source.columns.get(aggregate.column)
    scale = 10**column.decimals if column and column.type == "number" else 0
    match aggregate.function:
        case "count":
            return pa.array(sums[0])
        case "sum":
            return _sums(name, sums[0], scale)
        case "mean":
            return _means(sums[0], sums[1], scale)
        case _:
            listed = zip(*(some.tolist() for some in sums), strict=True)
            given = [deviation(squares, total, count, scale or 1) for squares, total, count in listed]
            return pa.array(given, pa.float64())


def _sums(name: str, totals: npt.NDArray[Any], scale: int) -> Any:
    if scale:
        return pa.array(_divided(totals, np.full(len(totals), float(scale))))
    try:
        return pa.array(totals.tolist() if totals.dtype == object else totals, pa.int64())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise InvalidInput(f"a sum of {name} does not fit into 64 bits") from error


def _means(totals: npt.NDArray[Any], counts: Ints, scale: int) -> Any:
    values = _divided(totals, np.full(len(totals), float(scale))) if scale else _floats(totals)
    return pa.array(values / np.maximum(counts, 1).astype(np.float64), mask=counts == 0)


def _divided(totals: npt.NDArray[Any], by: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return _floats(totals) / by


def _floats(totals: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return integers as the floats nearest to them."""
    if totals.dtype == object:
        return np.array([float(total) for total in totals], dtype=np.float64)
    return totals.astype(np.float64)


def _only(column: Any, asked: Mask) -> Any:
    return column if asked.all() else pc.if_else(pa.array(asked), column, pa.scalar(None, column.type))


def _reduce(of_two: np.ufunc, values: npt.NDArray[Any], window: Ints, count: int, filling: int) -> npt.NDArray[Any]:
    """Reduce values by window, which ascends; ``filling`` where one has none."""
    found = np.full(count, filling, dtype=values.dtype)
    if len(window):
        starts = np.flatnonzero(np.concatenate([[True], window[1:] != window[:-1]]))
        found[window[starts]] = of_two.reduceat(values, starts)
    return found


def _cumulated(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(values)])


def _halves(values: Ints) -> list[tuple[Ints, int]]:
    return [(values & 0xFFFFFFFF, 0), (values >> 32, 32)]


def _square(values: Ints) -> list[tuple[Ints, int]]:
    """Return the squares of integers in parts of 32 bits."""
    size = np.abs(values).astype(np.uint64)
    low, high = size & np.uint64(0xFFFFFFFF), size >> np.uint64(32)
    products = ((low * low, 0), (low * high, 33), (high * high, 64))
    return [
        (((product >> np.uint64(part)) & np.uint64(0xFFFFFFFF)).astype(np.int64), shift + part)
        for product, shift in products
        for part in (0, 32)
    ]  # fmt: skip
