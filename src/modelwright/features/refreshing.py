"""Online items brought up to what the offline store holds.

An entity's item of a window view is made anew of its rows as far back as its windows reach; a latest view's item takes
the versions that are new, or that end now. Rows are read partition by partition, of each only the columns and entities
that are needed, and when that is still too much for the memory, for some of the entities at a time. Each item is
written alone under its version, so that whoever writes it meanwhile costs this one item a second try.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.features import latest, tiling, windows
from modelwright.features.aggregates import NEVER, sound
from modelwright.features.bounds import FIRST_US, LAST_US
from modelwright.features.encoding import Entities, entity_codes
from modelwright.features.history import (
    ARRIVAL,
    AVAILABLE,
    KEY,
    TIME,
    UNTIL,
    Folded,
    History,
    Ints,
    Partition,
    arrival_ranks,
    numbers,
    plain,
)
from modelwright.features.latest import Version
from modelwright.features.layout import HOUR_US, LATEST, WINDOWS, moment
from modelwright.features.settling import ENTITIES, Online, settle
from modelwright.features.windows import NO_EVENT, Change, Kept
from modelwright.project import Project, Source, View
from modelwright.storage import Item, Key


def refresh(project: Project, source: str, folded: Folded, *, history: History, online: Online) -> int:
    """Bring the items of all views of a source up to what was folded in and return how many were written.

    Raises:
        Unavailable: others kept writing the same items.
    """
    declared, written = project.sources[source], 0
    for name, view in project.views.items():
        if view.source == source:
            sound(name, view, declared)
            if view.aggregates:
                touched = _touched(view, declared, folded, online.now_us)
                written += roll(name, view, declared, touched, folded.partitions, folded.incoming, history, online)
            if view.features:
                written += _refresh_latest(name, view, declared, folded, history, online)
    return written


# --- window views ------------------------------------------------------------------------


def roll(
    name: str,
    view: View,
    declared: Source,
    touched: pa.Table,
    partitions: Sequence[Partition],
    came: pa.Table,
    history: History,
    online: Online,
) -> int:
    """Make the items of a window view anew for the entities of some rows.

    Args:
        name: of the view.
        view: the view.
        declared: its source.
        touched: rows with the join keys of the entities.
        partitions: of the source.
        came: versions that are in the offline store, though they may be too old to be read from it.
        history: the offline store.
        online: where items are written.
    """
    keys = [touched[column] for column in view.entity]
    entities, names = Entities.of(keys), {code: text for text, code in entity_codes(keys)[1].items()}
    arrived, written = _Arrived(came), 0

    def remade(key: Key, item: Item | None, beside: Mapping[Key, Item], rows: list[Kept]) -> Change | None:
        now_us, wall = online.now_us, online.wall
        return tiling.remade(key, view, declared, item, beside, rows, arrived, now_us=now_us, wall=wall)

    for group in _groups(view, declared, entities, partitions, history, online):
        rows, codes = _gathered(view, declared, entities, group, partitions, history, online.now_us)
        for first in range(0, len(group), ENTITIES):
            mine = [int(code) for code in group[first : first + ENTITIES] if int(code) in names]
            kept = {names[code]: _kept(view, declared, _of(rows, codes, code)) for code in mine}

            written += settle(name, view, WINDOWS, kept, remade, online)
    return written


def reach(view: View, now_us: int) -> int:
    """Return the earliest place of rows that items of a window view can need, in microseconds."""
    return windows.first_place(view, windows.since_of(view, now_us))


def places(view: View, declared: Source, rows: pa.Table) -> Ints:
    """Return by which time each row lies in windows; ``NO_EVENT`` if it has none."""
    if view.by == "event_time":
        return numbers(pc.fill_null(rows[declared.event_time].cast(pa.int64()), NO_EVENT))
    return numbers(rows[AVAILABLE])


def reaching(view: View, partitions: Sequence[Partition], now_us: int) -> list[Partition]:
    """Return the partitions that have rows of that place or later."""
    first = reach(view, now_us)
    return [p for p in partitions if (p.event_high if view.by == "event_time" else p.available_high) >= first]


class _Arrived:
    """The versions of a table, to be asked for few of them."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._keys = np.asarray(rows[KEY]).astype(np.uint64)
        self._order = np.argsort(self._keys, kind="stable")

    def __contains__(self, age: object) -> bool:
        assert isinstance(age, tuple)
        key, available, arrival = age
        low, high = (np.searchsorted(self._keys, np.uint64(key), side, self._order) for side in ("left", "right"))
        mine = self._rows.take(pa.array(self._order[low:high]))
        return (available, arrival) in zip(plain(mine[AVAILABLE]), plain(mine[ARRIVAL]), strict=True)


def _touched(view: View, declared: Source, folded: Folded, now_us: int) -> pa.Table:
    columns = list(dict.fromkeys((*view.entity, declared.event_time, AVAILABLE)))
    rows = pa.concat_tables([folded.incoming.select(columns), folded.ended.select(columns)])
    return rows.filter(pa.array(places(view, declared, rows) >= reach(view, now_us)))


def _groups(
    view: View, declared: Source, entities: Entities, partitions: Sequence[Partition], history: History, online: Online
) -> Iterator[Ints]:
    """Yield codes of entities that have about ``online.at_once`` rows together."""
    within = reaching(view, partitions, online.now_us)
    if sum(p.rows for p in within) <= online.at_once:
        yield np.arange(entities.count)
        return
    counts = np.zeros(entities.count, dtype=np.int64)
    for partition in within:
        codes = _read(view, declared, entities, partition, history, online.now_us)[1]
        counts += np.bincount(codes, minlength=entities.count)
    group = np.cumsum(counts) // online.at_once
    yield from np.split(np.arange(entities.count), np.flatnonzero(np.diff(group)) + 1)


def _gathered(
    view: View,
    declared: Source,
    entities: Entities,
    group: Ints,
    partitions: Sequence[Partition],
    history: History,
    now_us: int,
) -> tuple[pa.Table, Ints]:
    """Return the rows of some entities, in order of their codes, and the codes."""
    low, high = int(group[0]) if len(group) else 0, int(group[-1]) if len(group) else -1
    tables, found = [], []
    for partition in reaching(view, partitions, now_us):
        rows, codes = _read(view, declared, entities, partition, history, now_us)
        mine = (codes >= low) & (codes <= high)
        tables.append(rows if mine.all() else rows.filter(pa.array(mine)))
        found.append(codes[mine])
    if not tables:
        return pa.table({}), np.empty(0, np.int64)
    codes = np.concatenate(found)
    order = np.argsort(codes, kind="stable")
    return pa.concat_tables(tables).take(pa.array(order)).combine_chunks(), codes[order]


def _read(
    view: View, declared: Source, entities: Entities, partition: Partition, history: History, now_us: int
) -> tuple[pa.Table, Ints]:
    """Return the rows of a partition that items of some entities can need, and the entities' codes."""
    own = (declared.event_time, AVAILABLE, ARRIVAL, KEY, UNTIL)
    columns = tuple(dict.fromkeys((*view.entity, *windows.columns_of(view), *own)))
    (rows,) = history.rows(declared, view.source, [partition], columns)
    codes = entities.find([rows[column] for column in view.entity])
    wanted = (codes >= 0) & (places(view, declared, rows) >= reach(view, now_us))
    return rows.filter(pa.array(wanted)), codes[wanted]


def _of(rows: pa.Table, codes: Ints, code: int) -> pa.Table:
    first, end = np.searchsorted(codes, code), np.searchsorted(codes, code, side="right")
    return rows.slice(int(first), int(end - first))


def _kept(view: View, declared: Source, rows: pa.Table) -> list[Kept]:
    if not rows.num_rows:
        return []
    events = plain(pc.fill_null(rows[declared.event_time].cast(pa.int64()), NO_EVENT))
    stored = (plain(rows[name]) for name in (AVAILABLE, ARRIVAL, UNTIL))
    columns = [plain(rows[name]) for name in windows.columns_of(view)]
    values: Sequence[tuple[Any, ...]] = list(zip(*columns, strict=True)) if columns else [()] * rows.num_rows
    each = zip(plain(rows[KEY]), events, *stored, values, strict=True)
    return [Kept(*row) for row in each]


# --- latest views ------------------------------------------------------------------------


def put_latest(
    name: str, view: View, declared: Source, rows: pa.Table, online: Online, *, ended: pa.Table | None = None
) -> int:
    """Put versions into a latest view's items, as far as any read can be served one; those that end now all."""
    since = online.now_us - latest.SLACK_H * HOUR_US
    candidates = _servable(view, declared, rows, since)
    versions: dict[str, list[Version]] = {}
    for table in (candidates, *(() if ended is None else (ended,))):
        for entity, version in _versions(view, declared, table):
            versions.setdefault(entity, []).append(version)

    def merged(key: Key, item: Item | None, _: Mapping[Key, Item], rows: list[Version]) -> Change | None:
        new = latest.merged(latest.read_newest(item, declared, view.features), rows, online.now_us)
        if new is None:
            return None
        expires = latest.expires(view, new, online.now_us, online.wall)
        return Change((), latest.newest_write(key, view, new, expires=expires), ())

    return settle(name, view, LATEST, versions, merged, online)


def take_out(
    name: str,
    view: View,
    declared: Source,
    gone: pa.Table,
    partitions: Sequence[Partition],
    history: History,
    online: Online,
) -> int:
    """Take versions that were removed from the offline store out of a latest view's items.

    What was dropped from an item because of them comes back.

    Args:
        name: of the view.
        view: the view.
        declared: its source.
        gone: the versions, as they were.
        partitions: of the source, without them.
        history: the offline store.
        online: where items are written.
    """
    since = online.now_us - latest.SLACK_H * HOUR_US
    removed: dict[str, set[tuple[int, int, str]]] = {}
    for entity, version in _versions(view, declared, gone):
        removed.setdefault(entity, set()).add(version.age)
    left = Folded(tuple(partitions), gone, gone.slice(0, 0), gone)
    again: dict[str, list[Version]] = {entity: [] for entity in removed}
    for entity, version in _versions(view, declared, _tail(view, declared, left, since, history)):
        again[entity].append(version)

    def without(key: Key, item: Item | None, _: Mapping[Key, Item], given: str) -> Change | None:
        there = latest.read_newest(item, declared, view.features)
        rows = [row for row in there.rows if row.age not in removed[given]]
        if len(rows) == len(there.rows):
            return None
        less = replace(there, rows=rows)
        new = latest.merged(less, again[given], online.now_us) or less
        expires = latest.expires(view, new, online.now_us, online.wall)
        return Change((), latest.newest_write(key, view, new, expires=expires), ())

    return settle(name, view, LATEST, {entity: entity for entity in removed}, without, online)


def _refresh_latest(name: str, view: View, declared: Source, folded: Folded, history: History, online: Online) -> int:
    rows = folded.added
    came_ended = rows.filter(pc.less(rows[UNTIL], NEVER))  # an item to which they were pushed may know of no end
    folded = replace(folded, ended=pa.concat_tables([folded.ended, came_ended]))
    if folded.ended.num_rows:
        since = online.now_us - latest.SLACK_H * HOUR_US
        rows = pa.concat_tables([rows, _tail(view, declared, folded, since, history)])
    return put_latest(name, view, declared, rows, online, ended=folded.ended)


def _servable(view: View, declared: Source, rows: pa.Table, since: int) -> pa.Table:
    """Return, of each entity, the rows that reads as of ``since`` or later can be served."""
    rows = rows.filter(pc.is_valid(rows[declared.event_time]))
    codes = entity_codes([rows[key] for key in view.entity])[0]
    events, available = numbers(rows[declared.event_time]), numbers(rows[AVAILABLE])
    until = numbers(rows[UNTIL])
    order = np.lexsort((np.asarray(rows[KEY]), arrival_ranks(rows), available, events, codes))
    late = ((events > since) | (available > since) | (until < NEVER)) & (until > np.maximum(since, available))
    settled = order[(until == NEVER)[order] & ~late[order]]
    best = np.ones(len(settled), dtype=bool)
    best[:-2] = codes[settled][2:] != codes[settled][:-2]  # the best, and the one behind it
    wanted = np.concatenate([np.flatnonzero(late), settled[best]]).astype(np.int64)
    return rows.take(pa.array(wanted[codes[wanted] >= 0]))


def _tail(view: View, declared: Source, folded: Folded, since: int, history: History) -> pa.Table:
    """Return what ``_servable`` gives of the store for entities a version of which ends, from few partitions.

    What was dropped because of that version may be served again.
    """
    keys = [folded.ended[key] for key in view.entity]
    asked, wanted = Entities.of(keys), len(entity_codes(keys)[1])
    found = folded.added.slice(0, 0)
    for partition in sorted(folded.partitions, key=lambda p: p.event_high, reverse=True):
        if len(_settled(view, declared, found, partition, since)) == wanted:
            break
        (rows,) = history.rows(declared, view.source, [partition])
        mine = asked.find([rows[key] for key in view.entity]) >= 0
        found = _servable(view, declared, pa.concat_tables([found, rows.filter(pa.array(mine))]), since)
    return found


def _settled(view: View, declared: Source, rows: pa.Table, partition: Partition, since: int) -> set[str]:
    """Return the entities for which no row of a partition can be served in place of those that were found."""
    return {
        entity
        for entity, version in _versions(view, declared, rows)
        if version.available <= since and partition.event_high < version.event <= since and version.until == NEVER
    }


def _versions(view: View, declared: Source, rows: pa.Table) -> Iterator[tuple[str, Version]]:
    rows = rows.filter(pc.is_valid(rows[declared.event_time]))
    codes, entities = entity_codes([rows[key] for key in view.entity])
    names = {code: name for name, code in entities.items()}
    events = plain(rows[declared.event_time])
    stored = (plain(rows[name]) for name in (AVAILABLE, ARRIVAL, KEY, UNTIL))
    values: Sequence[tuple[Any, ...]] = list(zip(*(_values(rows[n]) for n in view.features), strict=True))
    for code, event, available, came, key, until, row in zip(codes.tolist(), events, *stored, values, strict=True):
        if code >= 0:
            yield names[code], Version(event, available, came, key, until, row)


def _values(column: Any) -> list[Any]:
    if column.type == TIME:
        return [moment(v) if v is not None and FIRST_US <= v <= LAST_US else None for v in plain(column)]
    return plain(column)
