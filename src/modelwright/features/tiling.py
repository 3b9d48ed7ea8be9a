"""How rows come into an entity's item of a window view: pushed ones, and all anew when they were folded in.

See ``windows`` for what an item holds. What is written depends on the versions alone, not on the order in which they
came: a version ends where the next one of its row begins, and a tile is made of rows, never of a tile before it, so
that also states that nothing can be taken from (the smallest, the different ones) are right after a correction.
"""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby, pairwise
from typing import Any

from modelwright.features.aggregates import NEVER, SKETCH, cells, merged
from modelwright.features.layout import HOUR_US
from modelwright.features.packing import pack
from modelwright.features.windows import (
    SLACK_H,
    Age,
    Change,
    Chunk,
    Kept,
    Loose,
    Tiles,
    chunk_rows,
    columns_of,
    grain_of,
    last_of,
    needed,
    outdated,
    read,
    settled,
    shape_of,
    since_of,
    state_of,
)
from modelwright.project import Source, View
from modelwright.storage import Absent, Anything, Is, Item, Key, Put

FEW = 256
"""An item keeps so many loose rows to be readable as of a while ago; of more it keeps what is read from now on."""
CHUNK_ROWS = 1000
"""About 20 kB packed: what is written again when a row comes into a chunk."""
_PIECE = 300_000
_LONGER_S = 30 * 24 * 3600


def pushed(
    key: Key,
    view: View,
    source: Source,
    item: Item | None,
    beside: Mapping[Key, Item],
    rows: Iterable[Kept],
    *,
    now_us: int,
    wall: datetime,
) -> Change | None:
    """Return how pushed rows change an entity's item; None if none of them is news.

    Args:
        key: of the item.
        view: the window view.
        source: of the view.
        item: what is there.
        beside: the items that ``beside`` names.
        rows: rows of the entity.
        now_us: domain time.
        wall: the same moment's wall time, which DynamoDB goes by.

    Raises:
        ConditionFailed: somebody else wrote the item since it was read.
    """
    if outdated(view, item):
        return None  # a backfill of the changed view makes it anew, with these rows
    tiles = read(key, view, item, beside)
    since = max(tiles.since, since_of(view, now_us))
    there = {one.kept.age: one for one in tiles.loose}
    named = {row.age: row for chunk in tiles.chunks if chunk.last >= since for row in chunk_rows(key, chunk, beside)}
    known = {**{age: Loose(row, True) for age, row in named.items()}, **there}
    ended = _ended({**{row.age: Loose(row, False) for row in rows}, **known})
    loose = _held([one for one in ended if one != known.get(one.kept.age) or one.kept.age in there], view, since)
    if loose == _held(tiles.loose, view, since):
        return None
    changed = replace(tiles, since=since, loose=tuple(loose))
    out = {one.kept.age for one in loose if one.chunked}
    if out - set(there):
        left = [row for age, row in named.items() if age not in out]
        places, states = tiled(view, source, left, since)
        changed = replace(changed, places=places, states=states)
    return _change(key, view, changed, tiles, (), now_us, wall)


def remade(
    key: Key,
    view: View,
    source: Source,
    item: Item | None,
    beside: Mapping[Key, Item],
    rows: Iterable[Kept],
    came: Container[Age],
    *,
    now_us: int,
    wall: datetime,
) -> Change | None:
    """Return an entity's item made anew of its rows in the offline store; None if it is the same.

    Args:
        key: of the item.
        view: the window view.
        source: of the view.
        item: what is there.
        beside: the items that ``beside`` names.
        rows: the versions in the offline store whose place is ``first_place`` or later.
        came: versions that are in the offline store though they may not be among ``rows``.
        now_us: domain time.
        wall: the same moment's wall time, which DynamoDB goes by.

    Raises:
        ConditionFailed: somebody else wrote the item since it was read.
    """
    tiles = _former(item) if item and outdated(view, item) else read(key, view, item, beside)
    stored = {row.age: Loose(row, False) for row in rows}
    waiting = [one.kept for one in tiles.loose if not one.chunked]
    pending = {row.age: Loose(row, False) for row in waiting if row.age not in stored and row.age not in came}
    ended = _ended({**stored, **pending})
    for slack_us in (SLACK_H * HOUR_US, 0):
        since = max(tiles.since, since_of(view, now_us, slack_us))
        inside = [one.kept for one in ended if one.kept.age in stored and settled(view, one.kept, since)]
        ages = {row.age for row in inside}
        loose = _held([one for one in ended if one.kept.age not in ages], view, since)
        if len(loose) <= FEW:
            break
    inside = [row for row in inside if needed(view, row, since)]
    places, states = tiled(view, source, inside, since)
    chunks, puts = _chunked(key, view, inside, tiles, now_us, wall)
    changed = replace(tiles, since=since, places=places, states=states, loose=tuple(loose), chunks=chunks)
    return _change(key, view, changed, tiles, puts, now_us, wall)


def _former(item: Item) -> Tiles:
    """Return what is left of an item of a view that was changed: what it names and what is not needed any more."""
    chunks = tuple(Chunk(name, "", 0) for name, _, _ in json.loads(item.get("folded", "[]")))
    return Tiles(chunks=chunks, parts=tuple(json.loads(item.get("parts", "[]"))), version=item["v"])


def tiled(view: View, source: Source, rows: Iterable[Kept], since: int) -> tuple[list[int], list[list[Any]]]:
    """Return the tiles of rows: their places, and by cell the states."""
    columns, size = columns_of(view), view.tile_us * grain_of(view)
    grouped: dict[int, list[Kept]] = {}
    for row in rows:
        grouped.setdefault(row.place(view) // size, []).append(row)
    places = sorted(grouped)
    states = []
    for cell in cells(view):
        column = [
            merged(cell.kind, [state_of(cell, source, columns, row) for row in grouped[place]]) for place in places
        ]
        settled = bisect_left(places, since) if not view.tumbling else 0
        states.append([*_sparse(column[:settled]), *column[settled:]] if cell.kind == "hashes" else column)
    return places, states


def _sparse(column: Sequence[Any]) -> list[Any]:
    """Return hashes by tile without those that no window needs, as each window with a tile has all later ones too."""
    newer: list[int] = []
    found = []
    for hashes in reversed(column):
        there, full = set(newer), len(newer) == SKETCH
        mine = tuple(h for h in hashes or () if h not in there and not (full and h > newer[-1]))
        newer = sorted((*newer, *mine))[:SKETCH]
        found.append(mine)
    return found[::-1]


def _ended(versions: Mapping[Age, Loose]) -> list[Loose]:
    """Return versions in order, each ended by the next one of its key."""
    found = []
    for _, ages in groupby(sorted(versions), key=lambda age: age[0]):
        mine = [versions[age] for age in ages]
        for older, newer in pairwise(mine):
            until = min(older.kept.until, newer.kept.available)
            found.append(older._replace(kept=older.kept._replace(until=until)))
        found.append(mine[-1])
    return found


def _held(versions: Iterable[Loose], view: View, since: int) -> list[Loose]:
    """Return, of versions in order, those that an item has to hold: those that count, and those that end them."""
    found: list[Loose] = []
    for _, group in groupby(versions, key=lambda one: one.kept.key):
        mine = list(group)
        held = [one for one in mine if one.chunked or needed(view, one.kept, since)]
        found.extend(held)
        if held[-1:] != mine[-1:] and (held or _ending(view, mine[-1].kept, since)):
            found.append(mine[-1])
    return found


def _ending(view: View, row: Kept, since: int) -> bool:
    """Say whether a version before this one, if it came late, could be counted though this one ended it."""
    return view.by == "event_time" and last_of(view, row.available) >= since


def _change(
    key: Key, view: View, new: Tiles, old: Tiles, puts: Sequence[Put], now_us: int, wall: datetime
) -> Change | None:
    body = _body(view, new)
    if old.version and new.chunks == old.chunks and new.since >= old.since > -NEVER and body == _body(view, old):
        return None
    lasts = (*(chunk.last for chunk in new.chunks), *(last_of(view, one.kept.place(view)) for one in new.loose))
    expires = _expires(view, max(lasts, default=new.since), now_us, wall)
    item = {
        **key._asdict(),
        "v": old.version + 1,
        "shape": shape_of(view),
        "since": new.since,
        "folded": json.dumps(new.chunks, separators=(",", ":")),
        "expires": expires,
    }
    pieces = [body[n : n + _PIECE] for n in range(0, len(body), _PIECE)] if len(body) > _PIECE else []
    names = [_name("PART", old.version + 1, _digest(piece)) for piece in pieces]
    parts = [_beside(key, name, "body", piece, expires) for name, piece in zip(names, pieces, strict=True)]
    head = Put(
        "features",
        {**item, "parts": json.dumps(names)} if pieces else {**item, "body": body},
        Is("v", old.version) if old.version else Absent(),
    )
    left = {*old.parts, *(chunk.name for chunk in old.chunks)} - {*names, *(chunk.name for chunk in new.chunks)}
    return Change((*puts, *parts), head, tuple(Key(key.pk, name) for name in sorted(left)))


def _body(view: View, tiles: Tiles) -> bytes:
    states = tiles.states or [()] * len(cells(view))
    plain = [_plain(cell.kind, column) for cell, column in zip(cells(view), states, strict=True)]
    chunked = [int(one.chunked) for one in tiles.loose]
    return pack([tiles.places, *plain, chunked, *_columns(view, [one.kept for one in tiles.loose])])


def _name(kind: str, version: int, digest: str) -> str:
    """Return the sort key of an item beside one's entity, which no other version or content has."""
    return f"{kind}#{version:012d}#{digest}"


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _beside(key: Key, name: str, attribute: str, body: bytes, expires: int) -> Put:
    item = {"pk": key.pk, "sk": name, attribute: body, "expires": expires + _LONGER_S}
    return Put("features", item, Anything())


def _chunked(
    key: Key, view: View, rows: Sequence[Kept], old: Tiles, now_us: int, wall: datetime
) -> tuple[tuple[Chunk, ...], list[Put]]:
    """Return the chunks of rows, and the writes of those that are new: old rows stay in the chunks they are in."""
    names = {chunk.digest: chunk.name for chunk in old.chunks}
    chunks, puts = [], []
    for mine, body in (packed for batch in _batches(view, rows) for packed in _fitting(view, batch)):
        digest, last = _digest(body), max(last_of(view, row.place(view)) for row in mine)
        name = names.get(digest) or _name("FOLDED", old.version + 1, digest)
        chunks.append(Chunk(name, digest, last))
        if digest not in names:
            puts.append(_beside(key, name, "rows", body, _expires(view, last, now_us, wall)))
    return tuple(chunks), puts


def _batches(view: View, rows: Sequence[Kept]) -> Iterator[list[Kept]]:
    """Yield rows by spans of place whose bounds do not move when rows are added, about ``CHUNK_ROWS`` each."""
    ordered = sorted(rows, key=lambda row: (row.place(view), row.age))
    if not ordered:
        return
    tiles = (ordered[-1].place(view) - ordered[0].place(view)) // view.tile_us + 1
    size = view.tile_us << max(0, (tiles * CHUNK_ROWS // len(ordered)).bit_length() - 1)
    for _, group in groupby(ordered, key=lambda row: row.place(view) // size):
        mine = list(group)
        for first in range(0, len(mine), CHUNK_ROWS):
            yield mine[first : first + CHUNK_ROWS]


def _fitting(view: View, rows: list[Kept]) -> Iterator[tuple[list[Kept], bytes]]:
    """Yield rows as packed, in as many parts as it takes for each to fit into an item."""
    body = pack(_columns(view, rows))
    if len(body) <= _PIECE or len(rows) == 1:
        yield rows, body
        return
    middle = len(rows) // 2
    yield from _fitting(view, rows[:middle])
    yield from _fitting(view, rows[middle:])


def _expires(view: View, last: int, now_us: int, wall: datetime) -> int:
    """Return when DynamoDB may delete what no read after a tile needs, in seconds since 1970 of wall time."""
    left_us = (last + 1) * view.tile_us - now_us
    return int(wall.timestamp()) + max(0, left_us) // 1_000_000 + SLACK_H * 3600


def _columns(view: View, rows: Sequence[Kept]) -> list[Sequence[Any]]:
    """Return versions as columns; arrivals, of which few differ, as places in a list of them."""
    arrivals = sorted({row.arrival for row in rows})
    place = {arrival: n for n, arrival in enumerate(arrivals)}
    values = [[row.values[n] for row in rows] for n in range(len(columns_of(view)))]
    came = [place[row.arrival] for row in rows]
    times = [[row.event for row in rows], [row.available for row in rows], [row.until for row in rows]]
    return [arrivals, [row.key for row in rows], *times, came, *values]


def _plain(kind: str, column: Sequence[Any]) -> Sequence[Any]:
    if kind == "buckets":
        return [None if counts is None else list(counts.items()) for counts in column]
    return column
