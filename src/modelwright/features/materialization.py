"""Accepted uploads and pushed rows into the offline store, and from there online.

Online items are written before the manifest is replaced: whoever loses the race for the manifest does
it all again from what is there then, so that the last to commit has written items that hold
everything. An entity's tiles are made anew from the offline rows of the hours that they reach back; a
latest view's item takes the new rows in.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, NotFound
from modelwright.events import Delivery, FeaturesMaterialized, UploadAccepted, Window
from modelwright.features import latest, online, windows
from modelwright.features.history import (
    ARRIVAL,
    ARROW,
    AVAILABLE,
    KEY,
    TIME,
    Folded,
    History,
    arrival_ranks,
    canonical,
    decoded,
    fold,
    numbers,
)
from modelwright.features.latest import Version
from modelwright.features.layout import (
    HOUR_US,
    LATEST,
    PENDING,
    WINDOWS,
    arrival,
    entity_key,
    micros,
    moment,
    pushed_path,
    source_key,
)
from modelwright.features.offline import cell_columns, entity_codes
from modelwright.features.rows import unpacked
from modelwright.features.windows import FOLDED_ROWS, Added, Recent, Tiles
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project, Source, View
from modelwright.storage import Absent, Anything, Blobs, Delete, Item, Put, Tables, Write, every

_PUSHES = 40
Age = tuple[int, str]


def follow_upload(
    delivery: Delivery, call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> None:
    """Fold an accepted upload in and serve what is new of it; the same upload again changes nothing.

    Raises:
        AlreadyHandled: the delivery came before.
        NotFound: the project has no such source any more.
    """
    event: UploadAccepted = delivery.event
    if log.handled("features", delivery):
        raise AlreadyHandled(f"{delivery.consumer} handled {delivery.envelope.id} before")
    declared = _declared(project, event.source)
    history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache=cache)
    ledger = source_key(call.workspace, event.source, f"ACCEPTED#{event.digest}")
    stream = stream_of(call.workspace, "SOURCE", event.source)
    if tables.get("features", ledger) is not None:
        happened = Happened(stream, _materialized(project, event.source, event.upload_key, 0, 0, event.window))
        log.commit(call, [happened], delivery=delivery, table="features")
        return
    came = arrival(delivery.envelope.at, delivery.envelope.id)
    file = decoded(blobs.get("lake", event.key).body)
    rows = canonical(declared, file, now_us=micros(delivery.envelope.at), arrival=came)
    manifest = history.manifest(event.source)
    folded = fold(history, event.source, declared, manifest, rows)
    items = _serve(project, event.source, folded, call, history, tables)
    entry = {**ledger._asdict(), "key": event.key, "arrival": came, "rows": rows.num_rows}
    happened = Happened(
        stream, _materialized(project, event.source, event.upload_key, folded.added.num_rows, items, event.window)
    )
    writes = [history.replacement(event.source, manifest, folded.partitions), Put("features", entry, Absent())]
    log.commit(call, [happened], writes, delivery=delivery, table="features")


def fold_pushed(
    call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> dict[str, int]:
    """Fold the pushed rows of all sources in and return how many rows of each."""
    return {
        source: _fold_pushed(call, source, project=project, tables=tables, log=log, blobs=blobs, cache=cache)
        for source in project.sources
    }


def _fold_pushed(
    call: Call, source: str, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> int:
    declared = project.sources[source]
    history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache=cache)
    waiting = list(every(tables, "features", source_key(call.workspace, source, "").pk, prefix=PENDING))
    total = 0
    for first in range(0, len(waiting), _PUSHES):
        pushes = waiting[first : first + _PUSHES]
        rows = pa.concat_tables([_pushed_rows(call.workspace, source, declared, push, blobs) for push in pushes])
        manifest = history.manifest(source)
        folded = fold(history, source, declared, manifest, rows)
        items = _serve(project, source, folded, call, history, tables)
        count, span = folded.added.num_rows, _span(declared, rows)
        event = _materialized(project, source, f"pushed/{call.workspace}/{source}/", count, items, span)
        done: list[Write] = [Delete("features", source_key(call.workspace, source, push["sk"])) for push in pushes]
        happened = Happened(stream_of(call.workspace, "SOURCE", source), event)
        log.commit(call, [happened], [history.replacement(source, manifest, folded.partitions), *done])
        total += count
    return total


def _pushed_rows(workspace: str, source: str, declared: Source, push: Item, blobs: Blobs) -> pa.Table:
    rows = unpacked(declared, blobs.get("lake", pushed_path(workspace, source, push["digest"])).body)
    names = [name for name in declared.columns if rows and name in rows[0]]
    table = pa.table({n: pa.array([row[n] for row in rows], ARROW[declared.columns[n].type]) for n in names})
    return canonical(declared, table, now_us=push["at"], arrival=push["arrival"])


def _declared(project: Project, source: str) -> Source:
    if source not in project.sources:
        raise NotFound(f"project {project.name} has no source {source}: it has {', '.join(project.sources)}")
    return project.sources[source]


def _materialized(
    project: Project, source: str, upload_key: str, rows: int, items: int, window: Window
) -> FeaturesMaterialized:
    views = tuple(name for name, view in project.views.items() if view.source == source)
    return FeaturesMaterialized(
        source=source, upload_key=upload_key, views=views, rows=rows, online_items=items, window=window
    )


def _span(declared: Source, rows: pa.Table) -> Window:
    span = pc.min_max(rows[declared.event_time].cast(pa.int64()))
    return Window(start=moment(span["min"].as_py() or 0), end=moment((span["max"].as_py() or 0) + 1))


# --- online ------------------------------------------------------------------------------


class _Remade(NamedTuple):
    """An entity's tiles, made anew from the offline store.

    Attributes:
        packed: the tiles.
        chunks: the ``FOLDED`` items' arrivals and packed rows.
        place: where the entity's rows are in ``rows``.
    """

    packed: bytes
    chunks: tuple[tuple[str, bytes], ...]
    place: slice


class _Columns(NamedTuple):
    """Rows of a window view, in order of entity, hour and key."""

    keys: npt.NDArray[np.uint64]
    available: npt.NDArray[np.int64]
    arrivals: list[str]
    came: npt.NDArray[np.int64]
    cells: list[npt.NDArray[np.int64]]

    def added(self, n: int) -> Added:
        return Added(int(self.available[n]), self.arrivals[int(self.came[n])], tuple(int(c[n]) for c in self.cells))


def _serve(project: Project, source: str, folded: Folded, call: Call, history: History, tables: Tables) -> int:
    declared = project.sources[source]
    now_us = micros(call.now)
    plans: list[_TilesPlan | _LatestPlan] = []
    for name, view in project.views.items():
        if view.source != source:
            continue
        windows.sound(name, view, declared)
        if view.aggregates:
            plans.append(_tiles_plan(name, view, declared, folded, now_us, history))
        if view.features:
            plans.append(_latest_plan(name, view, declared, folded, now_us, history))

    def plan() -> Iterator[list[Write]]:
        for make in plans:
            yield from make(tables, call.workspace)

    return online.settle(tables, plan)


class _TilesPlan:
    """Writes a window view's items of the entities that rows came or went for."""

    def __init__(self, name: str, view: View, now_us: int) -> None:
        self.name, self.view = name, view
        self.base = now_us // HOUR_US - windows.reach_h(view)
        self.remade: dict[str, _Remade] = {}
        self.columns = _Columns(np.empty(0, np.uint64), np.empty(0, np.int64), [], np.empty(0, np.int64), [])
        self.ages: Mapping[int, Age] = {}

    def __call__(self, tables: Tables, workspace: str) -> Iterator[list[Write]]:
        keys = {entity: entity_key(workspace, self.name, self.view, entity, WINDOWS) for entity in self.remade}
        items = tables.batch_get("features", list(keys.values())) if keys else {}
        for entity, remade in self.remade.items():
            key = keys[entity]
            old = online.read_tiles(items.get(key), self.view)
            base = max(self.base, old.base)
            recent = self._recent(old, remade, base)
            tiles = Tiles(base, (), (), recent, len(remade.chunks), old.generation + 1, old.version)
            chunks: list[Write] = [
                Put("features", {**online.folded_key(key, n)._asdict(), "g": tiles.generation, **chunk}, Anything())
                for n, chunk in enumerate({"arrivals": a, "rows": r} for a, r in remade.chunks)
            ]
            yield [online.tiles_write(key, tiles, remade.packed), *chunks]

    def _recent(self, old: Tiles, remade: _Remade, base: int) -> dict[int, Recent]:
        if not old.recent:
            return {}
        first = remade.place.start
        place = {int(k): first + n for n, k in enumerate(self.columns.keys[remade.place])}
        kept = {}
        for key, (row, _) in old.recent.items():
            folded = self.columns.added(place[key]) if key in place else None
            beaten = folded is not None and not row.newer(folded)
            done = key in self.ages and self.ages[key] >= (row.available, row.arrival)
            if not beaten and not done and (folded or row.available // HOUR_US >= base):
                kept[key] = Recent(row, folded)
        return kept


def _tiles_plan(name: str, view: View, declared: Source, folded: Folded, now_us: int, history: History) -> _TilesPlan:
    plan = _TilesPlan(name, view, now_us)
    start = plan.base * HOUR_US
    touched = pa.concat_tables([folded.incoming, folded.superseded])
    touched = touched.filter(pc.greater_equal(touched[AVAILABLE], start))
    affected = entity_codes([touched[key] for key in view.entity])[1]
    if not affected:
        return plan
    partitions = [p for p in folded.partitions if p.available_high >= start]
    rows = pa.concat_tables(history.rows(declared, view.source, partitions) or [folded.added.slice(0, 0)])
    rows = rows.filter(pc.greater_equal(rows[AVAILABLE], start)).combine_chunks()
    codes, entities = entity_codes([rows[key] for key in view.entity])
    order = np.lexsort((np.asarray(rows[KEY]), numbers(rows[AVAILABLE]), codes))
    rows, codes = rows.take(pa.array(order)).combine_chunks(), codes[order]
    plan.columns = _columns(view, rows)
    plan.ages = _ages(folded.incoming)
    for entity in affected:
        code = entities.get(entity, -2)
        place = slice(int(np.searchsorted(codes, code)), int(np.searchsorted(codes, code, side="right")))
        plan.remade[entity] = _remade(plan.columns, place)
    return plan


def _columns(view: View, rows: pa.Table) -> _Columns:
    return _Columns(
        np.asarray(rows[KEY]).astype(np.uint64),
        numbers(rows[AVAILABLE]),
        sorted(rows[ARRIVAL].unique().to_pylist()),
        arrival_ranks(rows),
        cell_columns(view, rows),
    )


def _remade(columns: _Columns, place: slice) -> _Remade:
    size = place.stop - place.start
    if not size:
        return _Remade(windows.pack_tiles((), ()), (), place)
    hours = columns.available[place] // HOUR_US
    starts = np.flatnonzero(np.concatenate([[True], hours[1:] != hours[:-1]]))
    sums = [np.add.reduceat(cell[place], starts) for cell in columns.cells]
    packed = windows.pack_columns(len(starts), [_packed(column) for column in (hours[starts], *sums)])
    count = -(-size // FOLDED_ROWS)
    mine = columns.keys[place] % np.uint64(count)
    return _Remade(packed, tuple(_chunk(columns, place.start + np.flatnonzero(mine == n)) for n in range(count)), place)


def _chunk(columns: _Columns, places: npt.NDArray[np.int64]) -> tuple[str, bytes]:
    came, ranks = np.unique(columns.came[places], return_inverse=True)
    arrivals = online.dumps([columns.arrivals[n] for n in came.tolist()])
    stored = [columns.keys[places], columns.available[places], ranks, *(cell[places] for cell in columns.cells)]
    return arrivals, windows.pack_columns(len(places), [_packed(column) for column in stored])


def _packed(column: Any) -> bytes:
    kind = "<u8" if column.dtype == np.uint64 else "<i8"
    return bytes(column.astype(kind).tobytes())


def _ages(rows: pa.Table) -> dict[int, Age]:
    order = np.lexsort((arrival_ranks(rows), numbers(rows[AVAILABLE])))
    keys, available, came = (rows[name].take(pa.array(order)).to_pylist() for name in (KEY, AVAILABLE, ARRIVAL))
    return dict(zip(keys, zip(available, came, strict=True), strict=True))


class _LatestPlan:
    """Puts new rows into a latest view's items, and takes out those that became rows of other entities."""

    def __init__(self, name: str, view: View, source: Source, now_us: int) -> None:
        self.name, self.view, self.source, self.now_us = name, view, source, now_us
        self.rows: dict[str, list[Version]] = {}
        self.gone: dict[str, dict[int, Age]] = {}

    def __call__(self, tables: Tables, workspace: str) -> Iterator[list[Write]]:
        names = dict.fromkeys((*self.rows, *self.gone))
        keys = {entity: entity_key(workspace, self.name, self.view, entity, LATEST) for entity in names}
        items = tables.batch_get("features", list(keys.values())) if keys else {}
        for entity, key in keys.items():
            old = online.read_newest(items.get(key), self.source, self.view.features)
            new = latest.merged(old, self.rows.get(entity, ()), self.now_us, self.gone.get(entity, {}))
            if new is not None:
                yield [online.newest_write(key, self.view, new)]


def _latest_plan(name: str, view: View, declared: Source, folded: Folded, now_us: int, history: History) -> _LatestPlan:
    plan = _LatestPlan(name, view, declared, now_us)
    since = now_us - latest.SLACK_H * HOUR_US
    candidates = _needed(view, declared, folded.added, since)
    moved = folded.superseded.filter(_moved(view, declared, folded)) if folded.superseded.num_rows else None
    if moved is not None and moved.num_rows:
        for entity, version in _versions(view, declared, moved):
            gone = plan.gone.setdefault(entity, {})
            gone[version.key] = max(version.age, gone.get(version.key, (-1, "")))
        candidates = pa.concat_tables([candidates, _tail(view, declared, folded, set(plan.gone), since, history)])
    for entity, version in _versions(view, declared, candidates):
        plan.rows.setdefault(entity, []).append(version)
    return plan


def _needed(view: View, declared: Source, rows: pa.Table, since: int) -> pa.Table:
    """Return, of each entity, the rows that reads as of ``since`` or later can be served."""
    rows = rows.filter(pc.is_valid(rows[declared.event_time]))
    codes = entity_codes([rows[key] for key in view.entity])[0]
    events, available = numbers(rows[declared.event_time]), numbers(rows[AVAILABLE])
    order = np.lexsort((np.asarray(rows[KEY]), arrival_ranks(rows), available, events, codes))
    late = (events > since) | (available > since)
    settled = order[~late[order]]
    best = np.ones(len(settled), dtype=bool)
    best[:-1] = codes[settled][1:] != codes[settled][:-1]
    wanted = np.concatenate([np.flatnonzero(late), settled[best]]).astype(np.int64)
    return rows.take(pa.array(wanted[codes[wanted] >= 0]))


def _moved(view: View, declared: Source, folded: Folded) -> pa.Array:
    same = np.ones(folded.superseded.num_rows, dtype=bool)
    for column in (*view.entity, declared.event_time):
        equal = pc.equal(folded.superseded[column], folded.winners[column])
        same &= np.asarray(pc.fill_null(equal, False)).astype(bool)
    return pa.array(~same)


def _tail(view: View, declared: Source, folded: Folded, entities: set[str], since: int, history: History) -> pa.Table:
    """Return what ``_needed`` gives of the whole store for some entities, from as few partitions as that takes."""
    found = folded.added.slice(0, 0)
    for partition in sorted(folded.partitions, key=lambda p: p.event_high, reverse=True):
        known = [(entity, v) for entity, v in _versions(view, declared, found) if v.available <= since]
        settled = {entity for entity, v in known if partition.event_high < v.event <= since}
        if settled == entities:
            break
        (rows,) = history.rows(declared, view.source, [partition])
        codes, names = entity_codes([rows[key] for key in view.entity])
        mine = np.isin(codes, [code for name, code in names.items() if name in entities])
        found = _needed(view, declared, pa.concat_tables([found, rows.filter(pa.array(mine))]), since)
    return found


def _versions(view: View, declared: Source, rows: pa.Table) -> Iterator[tuple[str, Version]]:
    rows = rows.filter(pc.is_valid(rows[declared.event_time]))
    codes, entities = entity_codes([rows[key] for key in view.entity])
    names = {code: name for name, code in entities.items()}
    events = rows[declared.event_time].cast(pa.int64()).to_pylist()
    places = zip(events, rows[AVAILABLE].to_pylist(), rows[ARRIVAL].to_pylist(), rows[KEY].to_pylist(), strict=True)
    values: Sequence[tuple[Any, ...]] = list(zip(*(_plain_values(rows[n]) for n in view.features), strict=True))
    for code, place, row in zip(codes.tolist(), places, values, strict=True):
        if code >= 0:
            yield names[code], Version(*place, row)


def _plain_values(column: Any) -> list[Any]:
    if column.type == TIME:
        return [None if v is None else moment(v) for v in column.cast(pa.int64()).to_pylist()]
    return list(column.to_pylist())
