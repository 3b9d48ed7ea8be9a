"""Accepted uploads and pushed rows into the offline store, and from there online.

Online items are written before the manifest is replaced: whoever loses the race for the manifest does
it all again from what is there then, so that the last to commit has written items that hold
everything (``refreshing``).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, ConditionFailed, NotFound, PluginError
from modelwright.events import Delivery, FeaturesMaterialized, UploadAccepted, Window
from modelwright.features.bounds import LAST_US
from modelwright.features.derivation import Function, Held, Reason, derive, hold, summable
from modelwright.features.erasing.receipts import under_way
from modelwright.features.expectations import judge
from modelwright.features.fitting import storable
from modelwright.features.history import ARROW, History, Manifest, canonical, decoded, fold
from modelwright.features.layout import PENDING, arrival, micros, moment, pushed_path, source_key
from modelwright.features.plan import Load
from modelwright.features.refreshing import refresh, roll, take_out
from modelwright.features.rounds import go_round
from modelwright.features.rows import unpacked
from modelwright.features.settling import Online
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project, Source
from modelwright.storage import Absent, Blobs, Delete, Item, Put, Tables, Write, every
from modelwright.teamcode import loader

_PUSHES = 40


@dataclass(frozen=True)
class Store:
    """What rows are put into, for one piece of work.

    Attributes:
        call: whose, and as of when.
        load: gives the functions of the team's code.
    """

    call: Call
    project: Project
    history: History
    tables: Tables
    blobs: Blobs
    load: Load

    @classmethod
    def of(cls, call: Call, project: Project, *, tables: Tables, blobs: Blobs, cache: dict[str, Any]) -> "Store":
        """Return the store of a workspace."""
        history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache=cache)
        return cls(call, project, history, tables, blobs, loader(project, blobs=blobs))

    @property
    def online(self) -> Online:
        """How items are written."""
        return Online(self.tables, self.call.workspace, micros(self.call.now), datetime.now(UTC))


@dataclass
class Outcome:
    """What putting rows in comes to: nothing of it counts before it is committed.

    Attributes:
        rows: how many are new, of the source and those derived from it.
        items: how many online items were written.
        served: versions that were put online, by source.
    """

    events: list[Happened] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    rows: int = 0
    items: int = 0
    served: list[tuple[str, pa.Table]] = field(default_factory=list)


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
    ledger = source_key(call.workspace, event.source, f"ACCEPTED#{event.digest}")
    if tables.get("features", ledger) is not None:
        told = _materialized(project, event.source, event.upload_key, 0, 0, event.window)
        happened = Happened(stream_of(call.workspace, "SOURCE", event.source), told)
        log.commit(call, [happened], delivery=delivery, table="features")
        return
    came = arrival(delivery.envelope.at, delivery.envelope.id)
    store, done = Store.of(call, project, tables=tables, blobs=blobs, cache=cache), Outcome()
    manifest = store.history.manifest(event.source)  # before the rows: an erasure cleans those first, and then this
    file = decoded(blobs.get("lake", event.key).body)
    rows = canonical(declared, file, now_us=micros(delivery.envelope.at), arrival=came)
    put(store, event.source, rows, event.upload_key, done, window=event.window, manifest=manifest)
    entry = {**ledger._asdict(), "key": event.key, "arrival": came, "rows": rows.num_rows}
    done.writes.append(Put("features", entry, Absent()))
    try:
        log.commit(call, done.events, done.writes, delivery=delivery, table="features")
    except ConditionFailed:
        withdraw(store, done)
        raise


def put(
    store: Store,
    source: str,
    rows: pa.Table,
    upload_key: str,
    done: Outcome,
    *,
    window: Window | None = None,
    manifest: Manifest | None = None,
    left_out: int = 0,
) -> None:
    """Fold rows of a source in, put them online, and then what is derived from them; held rows go nowhere.

    Args:
        store: where to.
        source: whose rows.
        rows: as ``canonical`` gives them.
        upload_key: where they came from, for who reads the events.
        done: takes what is to be committed.
        window: of their event times, if it is known.
        manifest: of the source, as it was before the rows were read; now, if it is not said.
        left_out: how many rows of the same upload could not be derived, and are held already.
    """
    call, project, declared = store.call, store.project, store.project.sources[source]
    stream = stream_of(call.workspace, "SOURCE", source)
    functions = _functions(store, source)
    rows, held = _fitting(store, source, rows)
    manifest = manifest or store.history.manifest(source)
    folded = fold(store.history, source, declared, manifest, rows)
    items = refresh(project, source, folded, history=store.history, online=store.online)
    judged = judge(project, source, folded.added, call=call, tables=store.tables)
    count = folded.added.num_rows
    done.served.append((source, folded.added))
    told = _materialized(project, source, upload_key, count, items, window or _span(declared, rows))
    told = told.model_copy(update={"held": left_out + len(held.reasons)})
    done.events += [Happened(stream, told), *judged.events]
    done.writes += [store.history.replacement(source, manifest, folded.partitions), *judged.writes]
    done.rows, done.items = done.rows + count, done.items + items
    keep_held(store, source, upload_key, held, done)
    for name, function in functions.items() if count else ():
        if isinstance(function, Reason):
            keep_held(store, name, upload_key, Held(folded.added, (function,) * count), done)
            continue
        made = derive(project.sources[name], folded.added, function)
        keep_held(store, name, upload_key, made.held, done)
        if made.rows.num_rows:
            put(store, name, made.rows, upload_key, done, left_out=len(made.held.reasons))


def _functions(store: Store, source: str) -> dict[str, Function | Reason]:
    """Return the functions of the sources that are derived from a source, or why they cannot be loaded.

    Those of the sources derived from these are loaded too: what fails here fails before anything is online.
    """
    found: dict[str, Function | Reason] = {}
    for name, other in store.project.sources.items():
        if other.derived and other.derived.source == source:
            try:
                found[name] = store.load(other.derived.function)
            except (PluginError, NotFound) as error:
                told = "the function cannot be loaded"
                found[name] = Reason(f"{told}: {error}", f"{told}: {error.logged}")
            _functions(store, name)
    return found


def _fitting(store: Store, source: str, rows: pa.Table) -> tuple[pa.Table, Held]:
    """Return rows that can be added up and put online, and the others."""
    rows, one = summable(store.project, source, rows)
    rows, other = storable(store.call.workspace, store.project, source, rows)
    return rows, Held(pa.concat_tables([one.rows, other.rows]), (*one.reasons, *other.reasons))


def withdraw(store: Store, done: Outcome) -> None:
    """Take out of online items what was put there and does not count, where an erasure may have come between.

    Whoever only lost a race puts the same there again; but rows that were erased do not come again.
    """
    if not under_way(store.tables, store.call.workspace):
        return
    for source, rows in done.served:
        declared, partitions = store.project.sources[source], store.history.manifest(source).partitions
        for name, view in store.project.views.items():
            if view.source == source and view.aggregates and rows.num_rows:
                roll(name, view, declared, rows, partitions, rows, store.history, store.online)
            if view.source == source and view.features and rows.num_rows:
                take_out(name, view, declared, rows, partitions, store.history, store.online)


def keep_held(store: Store, source: str, upload_key: str, held: Held, done: Outcome) -> None:
    """Keep held rows, if there are any, and tell of them."""
    if held.reasons:
        event = hold(store.call.workspace, source, upload_key, held, blobs=store.blobs)
        done.events.append(Happened(stream_of(store.call.workspace, "SOURCE", source), event))


def fold_pushed(
    call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> dict[str, int]:
    """Fold the pushed rows of all sources in and return how many rows, with those derived from them.

    What cannot be folded in of one source is raised after the others were.
    """
    store, found = Store.of(call, project, tables=tables, blobs=blobs, cache=cache), dict[str, int]()

    def of_source(source: str) -> None:
        found[source] = _fold_pushed(store, source, log)

    go_round(partial(of_source, source) for source in project.sources)
    return found


def _fold_pushed(store: Store, source: str, log: Log) -> int:
    workspace, declared, total = store.call.workspace, store.project.sources[source], 0
    waiting = list(every(store.tables, "features", source_key(workspace, source, "").pk, prefix=PENDING))
    for first in range(0, len(waiting), _PUSHES):
        pushes, done = waiting[first : first + _PUSHES], Outcome()
        rows = pa.concat_tables([_pushed_rows(workspace, source, declared, push, store.blobs) for push in pushes])
        put(store, source, rows, f"pushed/{workspace}/{source}/", done)
        done.writes += [Delete("features", source_key(workspace, source, push["sk"])) for push in pushes]
        try:
            log.commit(store.call, done.events, done.writes)
        except ConditionFailed:
            withdraw(store, done)
            raise
        total += done.rows
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
    return Window(start=moment(span["min"].as_py() or 0), end=moment(min((span["max"].as_py() or 0) + 1, LAST_US)))
