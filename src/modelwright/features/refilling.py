"""The work of a backfill, in steps that each leave something done: it goes on where it was when it is killed.

Steps are short against Lambda's 15 minutes. After each the cursor is stored under the backfill's version, so that of
two who are at it one stops; after ten minutes the rest is left to a new event, and what nobody is at any more, to
the schedule. A step that is done twice does no harm: items are made of what is stored, whenever that is. A step counts
only if the source's manifest is still the one whose rows it read: else it is done once more, with what came meanwhile.

=============  ============================================  =====================================================
phase          a step                                        what it does
=============  ============================================  =====================================================
``derive``     a week of the source it is derived from       makes the rows of a derived source and puts them in
latest view    a week of the source, newest first            puts the rows that can be served into items
window view    some of the entities                          makes their items anew
=============  ============================================  =====================================================
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, ConditionFailed, InvalidInput, NotFound, PluginError
from modelwright.events import BackfillCompleted, BackfillRequested, Delivery
from modelwright.features.aggregates import NEVER, sound
from modelwright.features.backfill import OPEN, Backfill, backfill_key, find, open_key
from modelwright.features.derivation import derive
from modelwright.features.encoding import entity_codes
from modelwright.features.history import UNTIL, Manifest, Partition, empty
from modelwright.features.layout import micros, source_key
from modelwright.features.materialization import Outcome, Store, keep_held, put
from modelwright.features.refreshing import put_latest, reaching, roll
from modelwright.features.rounds import go_round
from modelwright.features.settling import AT_ONCE_ROWS
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project, Source, View
from modelwright.storage import Absent, Anything, Blobs, Check, Delete, Is, Tables, Write, every

BUDGET_S = 600
ABANDONED = timedelta(minutes=20)
"""A backfill that was not touched for so long has nobody at it: Lambda ends its functions after 15."""


@dataclass(frozen=True)
class _Step:
    """One step of a phase: its cursor, what it does, how many rows it reads."""

    cursor: str
    work: Callable[[Outcome], int]
    rows: int


def follow_request(
    delivery: Delivery, call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> None:
    """Do what a backfill asks for, or the next part of it.

    Raises:
        AlreadyHandled: the delivery came before.
    """
    if log.handled("features", delivery):
        raise AlreadyHandled(f"{delivery.consumer} handled {delivery.envelope.id} before")
    event: BackfillRequested = delivery.event
    store = Store.of(call, project, tables=tables, blobs=blobs, cache=cache)
    if tables.get("features", backfill_key(call.workspace, event.backfill_id)) is None:
        _started(call, Backfill.started(event, call.now), tables)
    run(store, event.backfill_id, log)


def resume(call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]) -> list[str]:
    """Go on with backfills that nobody is at any more and return their ids; what one fails by is raised at the end."""
    store = Store.of(call, project, tables=tables, blobs=blobs, cache=cache)
    pk, _ = backfill_key(call.workspace, "any")
    waiting = [str(item["sk"]).removeprefix(OPEN) for item in every(tables, "features", pk, prefix=OPEN)]
    found = []

    def go_on(backfill_id: str) -> None:
        backfill, _ = find(call.workspace, backfill_id, tables)
        if call.now - backfill.touched_at >= ABANDONED:
            run(store, backfill_id, log)
            found.append(backfill_id)

    go_round(partial(go_on, backfill_id) for backfill_id in waiting)
    return found


def run(store: Store, backfill_id: str, log: Log, *, budget_s: float = BUDGET_S) -> None:
    """Do steps of a backfill until it is over or the time is."""
    end = time.monotonic() + budget_s
    backfill, version = find(store.call.workspace, backfill_id, store.tables)
    while not backfill.over:
        if time.monotonic() >= end:
            _hand_on(store.call, backfill, log)
            return
        done = Outcome()
        try:
            after = _stepped(store, backfill, done)
        except (InvalidInput, NotFound, PluginError) as error:
            done, after = Outcome(), backfill.model_copy(update={"state": "failed", "reason": error.logged})
        try:
            _commit(store.call, after, version, done, log)
        except ConditionFailed:
            _, now = find(store.call.workspace, backfill_id, store.tables)
            if now != version:
                return  # somebody else is at it
            continue  # rows came in meanwhile: once more, with them
        backfill, version = after, version + 1


def _stepped(store: Store, backfill: Backfill, done: Outcome) -> Backfill:
    """Do the next step and return the backfill after it."""
    touched = {"state": "running", "touched_at": store.call.now}
    if backfill.source not in store.project.sources:
        raise NotFound(f"project {store.project.name} has no source {backfill.source} any more")
    phases = list(_phases(store, backfill))
    names = [name for name, _ in phases]
    first = names.index(backfill.phase) if backfill.phase in names else 0
    for name, steps in phases[first:]:
        cursor = backfill.cursor if name == backfill.phase else ""
        left = [step for step in steps() if step.cursor > cursor]
        if left:
            step = left[0]
            items = step.work(done)
            update = {"phase": name, "cursor": step.cursor, "steps": backfill.steps + 1}
            update |= {"of": backfill.steps + len(left), "rows": backfill.rows + step.rows}
            return backfill.model_copy(update={**touched, **update, "online_items": backfill.online_items + items})
    return backfill.model_copy(update={**touched, "state": "completed", "phase": "", "cursor": ""})


def _phases(store: Store, backfill: Backfill) -> Iterator[tuple[str, Callable[[], list[_Step]]]]:
    declared = store.project.sources[backfill.source]
    if declared.derived:
        yield "derive", partial(_deriving, store, backfill.source, declared)
    for name, view in store.project.views.items():
        if view.source == backfill.source and (not backfill.views or name in backfill.views):
            sound(name, view, declared)
            if view.features:
                yield f"latest {name}", partial(_latest, store, backfill, name, view)
            if view.aggregates:
                yield f"windows {name}", partial(_windows, store, backfill, name, view)


def _deriving(store: Store, source: str, declared: Source) -> list[_Step]:
    assert declared.derived is not None
    origin, function = declared.derived.source, store.load(declared.derived.function)
    parent = store.project.sources[origin]

    def work(partition: Partition, done: Outcome) -> int:
        (rows,) = store.history.rows(parent, origin, [partition])
        made = derive(declared, rows.drop_columns([UNTIL]), function)
        came_from = f"offline/{store.call.workspace}/{origin}/{partition.week}"
        keep_held(store, source, came_from, made.held, done)
        if made.rows.num_rows:
            put(store, source, made.rows, came_from, done, left_out=len(made.held.reasons))
        return done.items

    partitions = store.history.manifest(origin).partitions
    return [_Step(f"{p.week:06d}", partial(work, p), p.rows) for p in partitions]


def _latest(store: Store, backfill: Backfill, name: str, view: View) -> list[_Step]:
    declared = store.project.sources[view.source]

    manifest = store.history.manifest(view.source)

    def work(partition: Partition, done: Outcome) -> int:
        done.writes.append(_unchanged(store, view.source, manifest))
        (rows,) = store.history.rows(declared, view.source, [partition])
        rows = _within(backfill, declared, rows)
        ended = rows.filter(pc.less(rows[UNTIL], NEVER))  # an attempt before this one may have put them without an end
        return put_latest(name, view, declared, rows, store.online, ended=ended)

    return [_Step(f"{999_999 - p.week:06d}", partial(work, p), p.rows) for p in reversed(manifest.partitions)]


def _windows(store: Store, backfill: Backfill, name: str, view: View) -> list[_Step]:
    declared = store.project.sources[view.source]
    manifest = store.history.manifest(view.source)
    partitions = manifest.partitions
    within = reaching(view, partitions, micros(store.call.now))
    rows = sum(p.rows for p in within)
    slices = _slices(backfill, name, rows)

    def work(number: int, done: Outcome) -> int:
        done.writes.append(_unchanged(store, view.source, manifest))
        touched = _entities(store, backfill, view, within, number, slices)
        came = empty(declared)
        return roll(name, view, declared, touched, partitions, came, store.history, store.online)

    return [_Step(f"{n:06d}/{slices:06d}", partial(work, n), rows // slices) for n in range(slices)]


def _unchanged(store: Store, source: str, manifest: Manifest) -> Check:
    """Return what holds a step to the rows that it read: an item made without those folded in since would lose them."""
    condition = Is("v", manifest.version) if manifest.version else Absent()
    return Check("features", source_key(store.call.workspace, source, "MANIFEST"), condition)


def _slices(backfill: Backfill, name: str, rows: int) -> int:
    """Return how many slices a view's entities are done in: once begun, as many as it was begun with."""
    if backfill.phase == f"windows {name}":
        return int(backfill.cursor.partition("/")[2])
    return max(1, -(-rows // AT_ONCE_ROWS))


def _entities(
    store: Store, backfill: Backfill, view: View, partitions: list[Partition], number: int, slices: int
) -> pa.Table:
    """Return a row for each entity of a slice."""
    declared = store.project.sources[view.source]
    columns = tuple(dict.fromkeys((*view.entity, declared.event_time)))
    found = pa.concat_tables([empty(declared).select(view.entity)])
    for partition in partitions:
        (rows,) = store.history.rows(declared, view.source, [partition], columns)
        rows = _within(backfill, declared, rows).select(view.entity)
        codes, names = entity_codes([rows[key] for key in view.entity])
        mine = [code for name, code in names.items() if _slice(name, slices) == number]
        places = np.unique(codes, return_index=True)
        first = places[1][np.isin(places[0], mine)]
        found = _distinct(pa.concat_tables([found, rows.take(pa.array(first))]))
    return found


def _slice(name: str, slices: int) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % slices


def _distinct(rows: pa.Table) -> pa.Table:
    return rows.group_by(rows.column_names).aggregate([]).select(rows.column_names)


def _within(backfill: Backfill, declared: Source, rows: pa.Table) -> pa.Table:
    if backfill.window is None:
        return rows
    start, end = micros(backfill.window.start), micros(backfill.window.end)
    times = rows[declared.event_time].cast(pa.int64())
    inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
    return rows.filter(pc.fill_null(inside, False))


def _started(call: Call, backfill: Backfill, tables: Tables) -> None:
    try:
        tables.write(backfill.writes(call.workspace, 0))
    except ConditionFailed:
        return  # somebody else began it


def _commit(call: Call, backfill: Backfill, version: int, done: Outcome, log: Log) -> None:
    events, writes = list(done.events), [*backfill.writes(call.workspace, version), *done.writes]
    if backfill.over:
        over = BackfillCompleted(
            backfill_id=backfill.backfill_id,
            source=backfill.source,
            rows=backfill.rows,
            online_items=backfill.online_items,
            reason=backfill.reason,
        )
        events.append(Happened(stream_of(call.workspace, "SOURCE", backfill.source), over))
        mark: Write = Delete("features", open_key(call.workspace, backfill.backfill_id), Anything())
        writes.append(mark)
    log.commit(call, events, writes)


def _hand_on(call: Call, backfill: Backfill, log: Log) -> None:
    """Leave the rest to a new event."""
    asked = BackfillRequested(
        backfill_id=backfill.backfill_id, source=backfill.source, views=backfill.views, window=backfill.window
    )
    log.commit(call, [Happened(stream_of(call.workspace, "SOURCE", backfill.source), asked)])
