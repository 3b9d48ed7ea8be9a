"""The online store: one item per entity and view, read in one batch and written under versions.

What an item holds is made by ``latest`` and ``windows``; this module stores it and answers from it, in
plain Python. A write that lost a race is made again from what is there now, so that an older event
never overwrites a newer one, whoever comes last.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from modelwright.errors import ConditionFailed, InvalidInput, Unavailable
from modelwright.features import latest, windows
from modelwright.features.latest import Newest, Version
from modelwright.features.layout import HOUR_US, LATEST, WINDOWS, entity_key, micros, moment, spelled
from modelwright.features.plan import Load, compute, functions_of, plan_of
from modelwright.features.rows import Row, asked, typed
from modelwright.features.windows import Added, Recent, Tiles
from modelwright.project import Project, Service, Source, View
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, Write

Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
_ATTEMPTS = 12
_GROUP = 50
_GROUP_BYTES = 2_000_000


class Served(NamedTuple):
    """A feature's value as of a time, Feast's status of it, and the event time it is from (0: none)."""

    value: Any
    status: Status
    event: int


class Found(NamedTuple):
    """What a view says: the entity of each row (None: a join key is null), and its features."""

    entities: Sequence[str | None]
    features: Mapping[str | None, Mapping[str, Served]]


def read(
    project: Project,
    service: Service | str,
    rows: Sequence[Mapping[str, Any]],
    *,
    as_of: datetime,
    tables: Tables,
    workspace: str,
    load: Load,
) -> list[dict[str, Any]]:
    """Return the model's inputs for each request row, in order, from the online store.

    Args:
        project: the definitions.
        service: the model or feature service, or its name.
        rows: request columns; times may be ISO 8601 text.
        as_of: rows that became available later are not seen.
        tables: where the items are.
        workspace: whose.
        load: gives the row function of a reference (``teamcode.load``).

    Raises:
        InvalidInput: a request column is missing or of another type, or ``as_of`` is further back
            than the online store keeps.
    """
    plan = plan_of(project, service)
    functions = functions_of(plan, load)
    wanted = {name: plan.features(name) for name in plan.views}
    full = asked(plan.service, rows)
    found = lookup(project, wanted, full, as_of=as_of, tables=tables, workspace=workspace)
    for n, row in enumerate(full):
        for name, stored in plan.stored.items():
            view = found[stored.view]
            row[name] = view.features[view.entities[n]][stored.feature].value
        compute(plan, functions, row)
    return [{name: row[name] for name in plan.service.inputs} for row in full]


def lookup(
    project: Project,
    wanted: Mapping[str, Sequence[str]],
    rows: Sequence[Mapping[str, Any]],
    *,
    as_of: datetime,
    tables: Tables,
    workspace: str,
) -> dict[str, Found]:
    """Return stored features of several views for rows that hold the join keys, by one batch read.

    Args:
        project: the definitions.
        wanted: names of features by view.
        rows: hold the join keys of every view.
        as_of: the time as of which to answer.
        tables: where the items are.
        workspace: whose.
    """
    as_of_us = micros(as_of)
    entities = {name: _entities(project, name, rows) for name in wanted}
    keys = [
        entity_key(workspace, name, project.views[name], entity, what)
        for name, features in wanted.items()
        for what in _kinds(project.views[name], features)
        for entity in dict.fromkeys(entities[name])
        if entity is not None
    ]
    attributes = ("v", "since", "head", "base", "tiles", "recent", *(f"f:{f}" for fs in wanted.values() for f in fs))
    items = tables.batch_get("features", keys, attributes) if keys else {}
    found = {}
    for name, features in wanted.items():
        answer = _Answer(project, workspace, name, features, as_of_us, items)
        found[name] = Found(entities[name], {entity: answer.of(entity) for entity in dict.fromkeys(entities[name])})
    return found


class _Answer:
    """Answers for the entities of one view from a batch of items."""

    def __init__(
        self,
        project: Project,
        workspace: str,
        name: str,
        features: Sequence[str],
        as_of_us: int,
        items: Mapping[Key, Item],
    ) -> None:
        self._view = project.views[name]
        self._source = project.sources[self._view.source]
        self._workspace, self._name = workspace, name
        self._features, self._as_of, self._items = features, as_of_us, items
        self._plain = tuple(f for f in features if f in self._view.features)

    def of(self, entity: str | None) -> dict[str, Served]:
        """Return the features of an entity."""
        if entity is None:
            return dict.fromkeys(self._features, Served(None, "NOT_FOUND", 0))
        found = self._latest(entity) if self._plain else {}
        if len(self._plain) < len(self._features):
            found |= self._windows(entity)
        return {name: found[name] for name in self._features}

    def _latest(self, entity: str) -> dict[str, Served]:
        newest = read_newest(self._item(entity, LATEST), self._source, self._plain)
        if self._as_of < newest.since:
            raise self._behind(newest.since)
        row = newest.as_of(self._as_of)
        if row is None:
            return dict.fromkeys(self._plain, Served(None, "NOT_FOUND", 0))
        if latest.outdated(self._view, row, self._as_of):
            return dict.fromkeys(self._plain, Served(None, "OUTSIDE_MAX_AGE", row.event))
        served = zip(self._plain, row.values, strict=True)
        return {n: Served(v, "NULL_VALUE" if v is None else "PRESENT", row.event) for n, v in served}

    def _windows(self, entity: str) -> dict[str, Served]:
        tiles = read_tiles(self._item(entity, WINDOWS), self._view)
        end = self._as_of // HOUR_US
        if end - max(self._view.windows_us) // HOUR_US < tiles.base:
            raise self._behind(tiles.base * HOUR_US + max(self._view.windows_us))
        values = tiles.features(self._view, self._as_of).items()
        return {n: Served(v, "NULL_VALUE" if v is None else "PRESENT", end * HOUR_US) for n, v in values}

    def _item(self, entity: str, what: str) -> Item | None:
        return self._items.get(entity_key(self._workspace, self._name, self._view, entity, what))

    def _behind(self, since: int) -> InvalidInput:
        return InvalidInput(
            f"view {self._name} is kept online as of {moment(since).isoformat()} and later, not as of "
            f"{moment(self._as_of).isoformat()}: ask point in time"
        )


# --- writing -----------------------------------------------------------------------------


def settle(tables: Tables, plan: Callable[[], Iterable[list[Write]]]) -> int:
    """Write what ``plan`` says, a list per entity at once; plan and write again when others came between.

    Returns:
        How many entities' items were written.

    Raises:
        Unavailable: others kept coming between.
    """
    count = 0
    for _ in range(_ATTEMPTS):
        try:
            for size, group in _grouped(plan()):
                tables.write(group)
                count += size
        except ConditionFailed:
            continue
        return count
    raise Unavailable("the online store is too busy: others write the same entities all the time")


def push(project: Project, source: str, rows: Sequence[Row], *, now: datetime, tables: Tables, workspace: str) -> int:
    """Put rows of a source into the items of all its views and return how many items changed.

    Rows that are there already, or older than what is there, change nothing.
    """
    views = [(name, view) for name, view in project.views.items() if view.source == source]
    for name, view in views:
        windows.sound(name, view, project.sources[source])

    def plan() -> Iterator[list[Write]]:
        for name, view in views:
            grouped: dict[str, list[Row]] = {}
            for row in rows:
                if (entity := row.entity(view)) is not None:
                    grouped.setdefault(entity, []).append(row)
            if view.features:
                yield from _push_latest(project, workspace, name, grouped, now, tables)
            if view.aggregates:
                yield from _push_windows(workspace, name, view, grouped, now, tables)

    return settle(tables, plan)


def versions_of(view: View, rows: Iterable[Row]) -> list[Version]:
    """Return rows as a latest view keeps them."""
    return [
        Version(r.event, r.available, r.arrival, r.key, tuple(r.values[name] for name in view.features)) for r in rows
    ]


def _push_latest(
    project: Project, workspace: str, name: str, grouped: Mapping[str, list[Row]], now: datetime, tables: Tables
) -> Iterator[list[Write]]:
    view = project.views[name]
    source = project.sources[view.source]
    keys = {entity: entity_key(workspace, name, view, entity, LATEST) for entity in grouped}
    items = tables.batch_get("features", list(keys.values()))
    for entity, rows in grouped.items():
        there = read_newest(items.get(keys[entity]), source, view.features)
        changed = latest.merged(there, versions_of(view, rows), micros(now), {})
        if changed is not None:
            yield [newest_write(keys[entity], view, changed)]


def _push_windows(
    workspace: str, name: str, view: View, grouped: Mapping[str, list[Row]], now: datetime, tables: Tables
) -> Iterator[list[Write]]:
    keys = {entity: entity_key(workspace, name, view, entity, WINDOWS) for entity in grouped}
    items = tables.batch_get("features", list(keys.values()))
    there = {entity: read_tiles(items.get(key), view) for entity, key in keys.items()}
    wanted = {
        folded_key(keys[entity], row.key % tiles.chunks)
        for entity, tiles in there.items()
        for row in grouped[entity]
        if tiles.chunks
    }
    chunks = tables.batch_get("features", sorted(wanted)) if wanted else {}
    base = micros(now) // HOUR_US - windows.reach_h(view)
    for entity, rows in grouped.items():
        tiles = there[entity]
        known = _known(keys[entity], tiles, [row.key for row in rows], chunks)
        changed = windows.pushed(tiles, [(row.key, windows.added(row, view)) for row in rows], known, base)
        if changed is not None:
            item = items.get(keys[entity])
            yield [tiles_write(keys[entity], changed, item["tiles"] if item else windows.pack_tiles((), ()))]


def _known(key: Key, tiles: Tiles, keys: Sequence[int], chunks: Mapping[Key, Item]) -> dict[int, Added]:
    found: dict[int, Added] = {}
    for number in {k % tiles.chunks for k in keys} if tiles.chunks else set():
        chunk = chunks.get(folded_key(key, number))
        if chunk is None or chunk["g"] != tiles.generation:
            raise ConditionFailed("the tiles were made anew meanwhile", ())
        mine = [k for k in keys if k % tiles.chunks == number]
        found |= windows.read_folded(chunk["rows"], json.loads(chunk["arrivals"]), mine)
    return found


def _grouped(units: Iterable[list[Write]]) -> Iterator[tuple[int, list[Write]]]:
    group: list[Write] = []
    size = weight = 0
    for unit in units:
        heavy = sum(len(w.item.get("rows", b"")) + len(w.item.get("tiles", b"")) for w in unit if isinstance(w, Put))
        if group and (len(group) + len(unit) > _GROUP or weight + heavy > _GROUP_BYTES):
            yield size, group
            group, size, weight = [], 0, 0
        group, size, weight = [*group, *unit], size + 1, weight + heavy
    if group:
        yield size, group


# --- items -------------------------------------------------------------------------------


def read_newest(item: Item | None, source: Source, features: Sequence[str]) -> Newest:
    """Read an item of a latest view with these of its features; None is an entity never seen."""
    if item is None:
        return Newest()
    head = json.loads(item["head"])
    columns = [_column(item, source, name, len(head)) for name in features]
    values = zip(*columns, strict=True) if columns else [()] * len(head)
    rows = [Version(e, a, came, int(key, 16), v) for (e, a, came, key), v in zip(head, values, strict=True)]
    return Newest(item["since"], rows, item["v"])


def newest_write(key: Key, view: View, newest: Newest) -> Put:
    """Return the write of an item of a latest view."""
    columns = zip(*(row.values for row in newest.rows), strict=True) if newest.rows else [()] * len(view.features)
    head = [[r.event, r.available, r.arrival, f"{r.key:016x}"] for r in newest.rows]
    item = {
        **key._asdict(),
        "v": newest.version + 1,
        "since": newest.since,
        "head": dumps(head),
        **{f"f:{name}": dumps([_said(v) for v in vs]) for name, vs in zip(view.features, columns, strict=True)},
    }
    return Put("features", item, _unchanged(newest.version))


def read_tiles(item: Item | None, view: View) -> Tiles:
    """Read an item of a window view; None is an entity never seen, of which all hours are empty."""
    if item is None:
        return Tiles(base=-(2**40), sums=[()] * len(windows.cells(view)))
    columns: Sequence[Sequence[int]] = windows.unpack_columns(item["tiles"])
    columns = columns or [()] * (1 + len(windows.cells(view)))
    pushed = json.loads(item["recent"])
    recent = {int(k, 16): Recent(_added(r), _added(o) if o else None) for k, (r, o) in pushed.items()}
    chunks, generation = item.get("chunks", 0), item.get("g", 0)
    return Tiles(item["base"], columns[0], columns[1:], recent, chunks, generation, item["v"])


def tiles_write(key: Key, tiles: Tiles, packed: bytes) -> Put:
    """Return the write of an item of a window view whose tiles are packed already."""
    recent = {f"{k:016x}": [r.row, r.replaced] for k, r in sorted((tiles.recent or {}).items())}
    item = {
        **key._asdict(),
        "v": tiles.version + 1,
        "base": tiles.base,
        "chunks": tiles.chunks,
        "g": tiles.generation,
        "tiles": packed,
        "recent": dumps(recent),
    }
    return Put("features", item, _unchanged(tiles.version))


def folded_key(key: Key, chunk: int) -> Key:
    """Return the key of a chunk that says which rows are in an entity's tiles."""
    return Key(key.pk, f"FOLDED#{chunk:04d}")


def _entities(project: Project, name: str, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    view = project.views[name]
    columns = project.sources[view.source].columns
    found: list[str | None] = []
    for n, row in enumerate(rows):
        values = [typed(columns[k].type, row.get(k), f"row {n}, column {k}") for k in view.entity]
        found.append(None if None in values else spelled(values))
    return found


def _kinds(view: View, features: Sequence[str]) -> Iterator[str]:
    plain = sum(name in view.features for name in features)
    if plain:
        yield LATEST
    if plain < len(features):
        yield WINDOWS


def _column(item: Item, source: Source, name: str, size: int) -> list[Any]:
    values = json.loads(item[f"f:{name}"]) if f"f:{name}" in item else [None] * size
    if source.columns[name].type == "timestamp":
        return [None if v is None else moment(v) for v in values]
    return list(values)


def _unchanged(version: int) -> Absent | Is:
    return Is("v", version) if version else Absent()


def _added(stored: list[Any]) -> Added:
    return Added(stored[0], stored[1], tuple(stored[2]))


def _said(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


def dumps(value: Any) -> str:
    """Return compact JSON; floats come back to the bit."""
    return json.dumps(value, separators=(",", ":"))
