"""What an entity's item of a window view holds, and what it says as of a time.

``aggregates`` says what a window holds. Here the rows of an entity are kept so that a read merges few states: *tiles*,
each the merged cells of the rows whose place lies in it, and *loose* rows that cannot be in a tile, because they
count from later on than their place says, or only for a while longer, or were pushed and are not folded in yet.
A read as of tile ``H`` merges the tiles of a window with the loose rows of it. Reads as of earlier than ``since`` are
refused, because what they would need was dropped.

Beside its item an entity has *chunks* that say which rows are in the tiles, in order of place: a pushed row that is a
newer version of one of them takes it out of the tiles, which are then made of the others again. Chunks are never
changed; their names hold the version of the item that was the first to name them, so that who lost a race has
written nothing that anybody reads. An item whose body outgrows DynamoDB's 400 KB keeps it in such items too.

Plain Python: reading and pushing run in a light function.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Any, NamedTuple
from zlib import crc32

from modelwright.errors import ConditionFailed, Unavailable
from modelwright.features.aggregates import (
    NEVER,
    Cell,
    Rank,
    cells,
    cells_of,
    contribution,
    finished,
    merged,
    span,
)
from modelwright.features.layout import HOUR_US, micros, moment
from modelwright.features.packing import unpack
from modelwright.features.rows import Row
from modelwright.project import Aggregate, Source, View
from modelwright.storage import Item, Key, Put

ATTRIBUTES = ("shape", "since", "body", "parts")
"""What a read needs of an item."""
SLACK_H = 48
"""An item can be read as of so much before its last write, if that takes few loose rows."""
NO_EVENT = -NEVER
"""The place of a row without event time: before all others."""
_LEAST_SLACK_US = HOUR_US // 12
_EMPTY = -NEVER
Age = tuple[int, int, str]


class Kept(NamedTuple):
    """A version of a row, with what the view's cells take of it.

    Attributes:
        key: names the row.
        event: its event time; ``NO_EVENT`` if it has none.
        available: when it became known.
        arrival: when it came.
        until: when the next version of the row became known; ``NEVER`` if none did.
        values: of ``columns_of(view)``; times as microseconds.
    """

    key: int
    event: int
    available: int
    arrival: str
    until: int
    values: tuple[Any, ...]

    @property
    def age(self) -> Age:
        """Which version of which row it is; of two versions of a row the newer is the greater."""
        return (self.key, self.available, self.arrival)

    def place(self, view: View) -> int:
        """Return the time by which it lies in windows."""
        return self.event if view.by == "event_time" else self.available


class Loose(NamedTuple):
    """A version that is in no tile.

    Attributes:
        kept: the version.
        chunked: whether the chunks name it, which say otherwise what is in the tiles.
    """

    kept: Kept
    chunked: bool


class Chunk(NamedTuple):
    """Rows in tiles, in an item beside.

    Attributes:
        name: the sort key of the item.
        digest: of its content.
        last: no read as of a later tile needs them.
    """

    name: str
    digest: str
    last: int


@dataclass(frozen=True)
class Tiles:
    """An entity's item of a window view, read.

    Attributes:
        since: the first tile as of which it can be read.
        places: of the tiles, ascending, in ``grain_of(view)``.
        states: by cell, one per tile.
        loose: versions that are in no tile.
        chunks: where the versions are named that are in the tiles.
        parts: names of the items that hold the body, if it is not in the item.
        version: counts writes.
    """

    since: int = _EMPTY
    places: Sequence[int] = ()
    states: Sequence[Sequence[Any]] = ()
    loose: tuple[Loose, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    parts: tuple[str, ...] = ()
    version: int = 0

    def features(self, view: View, source: Source, as_of_us: int, wanted: Collection[str]) -> dict[str, Any]:
        """Return some of the view's features as of a time that it can be read as of."""
        found = {}
        names = iter(view.feature_names()[len(view.features) :])
        for window in view.windows_us:
            asked = {a: name for a, name in zip(view.aggregates, names, strict=False) if name in wanted}
            states = self._states(view, source, window, as_of_us // view.tile_us)
            for called, name in asked.items():
                aggregate = view.aggregates[called]
                value = finished(aggregate, source, [states(cell) for cell in cells_of(aggregate)])
                found[name] = moment(value) if _timed(source, aggregate, value) else value
        return found

    def _states(self, view: View, source: Source, window: int, now: int) -> Callable[[Cell], Any]:
        """Return what gives the state of a cell over a window as of a tile."""
        known, columns, grain = cells(view), columns_of(view), grain_of(view)
        low, high = (bisect_left(self.places, bound // grain) for bound in _bounds(view, window, now))
        loose = [one.kept for one in self.loose if _counts(view, window, one.kept, now)]

        def state(cell: Cell) -> Any:
            tiles = self.states[known.index(cell)][low:high] if low < high else ()
            return merged(cell.kind, [*tiles, *(state_of(cell, source, columns, row) for row in loose)])

        return state


class Change(NamedTuple):
    """How an entity's item is written.

    Attributes:
        before: items that nobody knows of yet; the same however often they are written.
        head: the item, if nobody else has written it since it was read.
        after: items that nobody needs once the item is written.
    """

    before: tuple[Put, ...]
    head: Put
    after: tuple[Key, ...]


# --- what a view keeps -------------------------------------------------------------------


def columns_of(view: View) -> tuple[str, ...]:
    """Return the columns that a view's cells look at, in order."""
    named = (name for cell in cells(view) for name in (cell.column, cell.where) if name)
    return tuple(dict.fromkeys(named))


def shape_of(view: View) -> str:
    """Return what tells items of a view from those of the view as it was before it was changed."""
    kept = (cells(view), view.tile_us, view.windows_us, view.tumbling, view.by)
    return f"{crc32(repr(kept).encode()):08x}"


def grain_of(view: View) -> int:
    """Return how many tiles lie in every window together or not at all, and are kept as one."""
    return gcd(*(window // view.tile_us for window in view.windows_us)) if view.tumbling else 1


def kept(view: View, row: Row) -> Kept:
    """Return what a view keeps of a pushed row."""
    values = (row.values[name] for name in columns_of(view))
    plain = tuple(micros(v) if isinstance(v, datetime) else v for v in values)
    return Kept(row.key, row.event, row.available, row.arrival, NEVER, plain)


def since_of(view: View, now_us: int, slack_us: int = SLACK_H * HOUR_US) -> int:
    """Return the first tile as of which an item written now can be read."""
    return (now_us - max(slack_us, _LEAST_SLACK_US)) // view.tile_us


def last_of(view: View, place_us: int, until: int = NEVER) -> int:
    """Return the last tile as of which a version at a place can lie in any of the view's windows."""
    place = place_us // view.tile_us
    lengths = (window // view.tile_us for window in view.windows_us)
    return min(max((place // n + 2) * n - 1 if view.tumbling else place + n for n in lengths), until // view.tile_us)


def first_place(view: View, since: int) -> int:
    """Return the earliest place, in microseconds, that a read as of tile ``since`` or later can need."""
    lengths = [window // view.tile_us for window in view.windows_us]
    first = min((since // n - 1) * n if view.tumbling else since - n for n in lengths)
    return first * view.tile_us


def needed(view: View, row: Kept, since: int) -> bool:
    """Say whether a read as of tile ``since`` or later can count a version."""
    if view.by == "event_time" and row.event == NO_EVENT:
        return False
    return last_of(view, row.place(view), row.until) >= max(since, row.available // view.tile_us + 1)


def settled(view: View, row: Kept, since: int) -> bool:
    """Say whether its place alone says as of when a version counts."""
    known = row.available // view.tile_us + 1
    return row.until == NEVER and known <= max(since, row.place(view) // view.tile_us + 1)


def _bounds(view: View, window: int, now: int) -> tuple[int, int]:
    """Return the tiles ``[low, high)`` that a window covers as of a tile."""
    length = window // view.tile_us
    if not view.tumbling:
        return now - length, now
    return (now // length - 1) * length, now // length * length


def _counts(view: View, window: int, row: Kept, now: int) -> bool:
    low, high = span(view, window, row.place(view), row.available, row.until)
    return low <= now <= high


def state_of(cell: Cell, source: Source, columns: Sequence[str], row: Kept) -> Any:
    """Return the state of a cell over one version; ``columns`` are ``columns_of`` its view."""
    rank = Rank(0 if row.event == NO_EVENT else row.event, row.available, row.arrival, row.key)
    return contribution(cell, source, dict(zip(columns, row.values, strict=True)), rank)


def _timed(source: Source, aggregate: Aggregate, value: Any) -> bool:
    return aggregate.function == "last" and value is not None and source.columns[aggregate.column].type == "timestamp"


# --- items -------------------------------------------------------------------------------


def parts_of(key: Key, item: Item | None) -> list[Key]:
    """Return the keys of the items that a read needs besides an entity's item: seldom any."""
    return [Key(key.pk, name) for name in json.loads(item["parts"])] if item and "parts" in item else []


def beside(key: Key, item: Item | None) -> list[Key]:
    """Return the keys of the items that a push needs besides an entity's item."""
    chunks = json.loads(item["folded"]) if item else []
    return [*parts_of(key, item), *(Key(key.pk, name) for name, _, _ in chunks)]


def outdated(view: View, item: Item | None) -> bool:
    """Say whether an item was written when the view kept something else."""
    return item is not None and item.get("shape") != shape_of(view)


def read(key: Key, view: View, item: Item | None, beside: Mapping[Key, Item]) -> Tiles:
    """Return an entity's item; None is an entity never seen, whose windows are empty.

    Args:
        key: of the item.
        view: the window view.
        item: what is there.
        beside: the items that ``parts_of`` names.

    Raises:
        ConditionFailed: it was written anew since it was read.
        Unavailable: the view was changed since it was written, and a backfill has yet to come by.
    """
    if item is None:
        return Tiles()
    if outdated(view, item):
        name = key.pk.partition("#ENTITY#")[2].partition("@")[0]
        raise Unavailable(f"view {name} was changed, and what it serves is being made anew: try again in a while")
    parts = tuple(json.loads(item.get("parts", "[]")))
    body = b"".join(_there(beside, Key(key.pk, name))["body"] for name in parts) if parts else item["body"]
    places, *columns = unpack(body)
    known = cells(view)
    states = [_states(cell.kind, column) for cell, column in zip(known, columns, strict=False)]
    chunked, *rows = columns[len(known) :]
    loose = (Loose(row, bool(mark)) for row, mark in zip(_unpacked(rows), chunked, strict=True))
    chunks = tuple(Chunk(*chunk) for chunk in json.loads(item.get("folded", "[]")))
    return Tiles(item["since"], places, states, tuple(loose), chunks, parts, item.get("v", 0))


def chunk_rows(key: Key, chunk: Chunk, beside: Mapping[Key, Item]) -> Iterator[Kept]:
    """Yield the versions that a chunk of an entity's item names; raises ``ConditionFailed`` if it is gone."""
    return _unpacked(unpack(_there(beside, Key(key.pk, chunk.name))["rows"]))


def _there(beside: Mapping[Key, Item], key: Key) -> Item:
    if key not in beside:
        raise ConditionFailed("the item was written anew since it was read", ())
    return beside[key]


def _unpacked(columns: Sequence[Sequence[Any]]) -> Iterator[Kept]:
    arrivals, keys, events, available, until, came, *values = columns
    each = zip(*values, strict=True) if values else ((),) * len(keys)
    for key, event, since, end, n, row in zip(keys, events, available, until, came, each, strict=True):
        yield Kept(key, event, since, arrivals[n], end, tuple(row))


def _states(kind: str, column: Sequence[Any]) -> Sequence[Any]:
    if kind == "buckets":
        return [None if counts is None else dict(counts) for counts in column]
    if kind in ("hashes", "last"):
        return [None if state is None else tuple(state) for state in column]
    return column
