"""Rows of a subject taken out of what online items of others hold, and pushed rows among them.

Rows that were pushed online alone lie beside those that are folded in, so that an erasure finds them: of each push
``PUSHED#ONLINE#<digest>`` says when it came.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from modelwright.features import refreshing, windows
from modelwright.features.aggregates import NEVER
from modelwright.features.encoding import entity_codes
from modelwright.features.erasing.places import Ground, Held, Objects
from modelwright.features.erasing.receipts import Found
from modelwright.features.erasing.scrubbing import mask_of
from modelwright.features.history import ARROW, UNTIL, History, Partition, canonical
from modelwright.features.layout import LATEST, PENDING, WINDOWS, entity_key, pushed_path, source_key
from modelwright.features.rows import unpacked
from modelwright.features.settling import Online
from modelwright.project import Project, Source, View
from modelwright.storage import Anything, Delete, Item, Key, Put, Write, every

ONLINE = "ONLINE#"


@dataclass(frozen=True)
class Declarations:
    """What was ever declared.

    Attributes:
        project: the current one.
        sources: every source there ever was, as declared last.
        views: every view in each of its versions, with its source's name.
        models: names of all models.
    """

    project: Project
    sources: Mapping[str, Source]
    views: Mapping[tuple[str, int], tuple[View, str]]
    models: tuple[str, ...]

    @classmethod
    def of(cls, project: Project, former: Iterable[Project]) -> "Declarations":
        """Put the declarations of all projects together."""
        known = (*former, project)
        sources = {name: source for one in known for name, source in one.sources.items()}
        views = {(name, view.version): (view, view.source) for one in known for name, view in one.views.items()}
        return cls(project, sources, views, tuple(dict.fromkeys(name for one in known for name in one.models)))

    def current(self, name: str, version: int) -> bool:
        """Say whether a view of this version is served."""
        return name in self.project.views and self.project.views[name].version == version


def id_columns(projects: Iterable[Project]) -> tuple[list[str], dict[str, set[str]]]:
    """Return the columns that name what models are asked about, of all and by model."""
    by_model: dict[str, set[str]] = {}
    for project in projects:
        for name, model in project.models.items():
            by_model.setdefault(name, set()).add(model.id_column)
    return [column for columns in by_model.values() for column in sorted(columns)], by_model


def own_items(ground: Ground, declared: Declarations, source: str, rows: pa.Table) -> tuple[str, ...]:
    """Return where online items about the subject lie, in views of all versions, that rows of a source went into."""
    views = [(name, n, view) for (name, n), (view, of) in declared.views.items() if of == source]
    found = [
        item_pk(ground, name, n, view, entity)
        for name, n, view in views
        if mine(ground, view)
        for entity in entities_of(view, rows)
    ]
    return tuple(dict.fromkeys(found))


def remade(
    ground: Ground,
    declared: Declarations,
    history: History,
    online: Online,
    source: str,
    gone: pa.Table,
    partitions: Sequence[Partition],
) -> None:
    """Make the items of other entities anew that hold what rows of a source told of the subject.

    Args:
        ground: what the erasure works with.
        declared: the views.
        history: the offline store.
        online: where items are written.
        source: whose rows.
        gone: the rows, as versions.
        partitions: of the source, without them.
    """
    of = declared.sources[source]
    for (name, version), (view, its) in declared.views.items():
        if its != source or mine(ground, view):
            continue
        if not declared.current(name, version):  # nobody reads them any more
            for entity in entities_of(view, gone):
                delete_all(ground, item_pk(ground, name, version, view, entity))
            continue
        if view.aggregates:
            refreshing.roll(name, view, of, gone, partitions, gone, history, online)
            for entity in entities_of(view, gone):
                _tidy(ground, entity_key(ground.workspace, name, view, entity, WINDOWS))
        if view.features:
            refreshing.take_out(name, view, of, gone, partitions, history, online)


def _tidy(ground: Ground, key: Key) -> None:
    """Remove what lies beside an entity's item and is not named by it: leavings of writers who were killed or lost.

    Whoever writes the item now has names of a later version.
    """
    item = ground.tables.get("features", key)
    if item is None:
        return
    named = {one.sk for one in windows.beside(key, item)}
    kinds = ("FOLDED#", "PART#")
    beside = [one["sk"] for kind in kinds for one in every(ground.tables, "features", key.pk, prefix=kind)]
    left = [Key(key.pk, sk) for sk in beside if sk not in named and int(sk.split("#")[1]) <= item["v"]]
    if left:
        ground.tables.delete_many("features", left)


def mine(ground: Ground, view: View) -> bool:
    """Say whether items of a view are about the subject alone, or a part of it."""
    return set(ground.subject.columns) <= set(view.entity)


def entities_of(view: View, rows: pa.Table) -> list[str]:
    """Return the entities of a view that rows are about."""
    if not rows.num_rows or any(key not in rows.column_names for key in view.entity):
        return []
    return list(entity_codes([rows[key] for key in view.entity])[1])


def item_pk(ground: Ground, name: str, version: int, view: View, entity: str) -> str:
    """Return the partition key of an entity's items in a version of a view."""
    return entity_key(ground.workspace, name, view.model_copy(update={"version": version}), entity, LATEST).pk


def delete_all(ground: Ground, pk: str) -> None:
    """Remove a partition of items."""
    keys = [Key(pk, item["sk"]) for item in every(ground.tables, "features", pk)]
    if keys:
        ground.tables.delete_many("features", keys)


@dataclass(frozen=True)
class Pushes(Objects):
    """Pushed rows: their name is their digest, so that what is left of a push is another push, known as before.

    A push that comes again with the subject in it is therefore a new one.
    """

    declared: Declarations = field(kw_only=True)
    history: History = field(kw_only=True)
    online: Online = field(kw_only=True)

    def found(self, held: Held) -> Found:
        """See ``Objects``."""
        gone = self._gone(held)
        entities = own_items(self.ground, self.declared, held.key.split("/")[2], gone)
        return super().found(held).model_copy(update={"entities": entities})

    def replace(self, held: Held) -> None:
        """See ``Objects``."""
        if held.current is not None:
            self._take_out(held)
            self._renew(held.key, self._left(held.current))
        self.forget(held.key)

    def _take_out(self, held: Held) -> None:
        """Take rows that are online and nowhere else out of the items of others."""
        source, gone = held.key.split("/")[2], self._gone(held)
        if gone.num_rows:
            partitions = self.history.manifest(source).partitions
            remade(self.ground, self.declared, self.history, self.online, source, gone, partitions)

    def _gone(self, held: Held) -> pa.Table:
        """Return the subject's rows of a push that went online alone, as they were put there; none of another."""
        source, newest = held.key.split("/")[2], held.versions[0]
        ledger = self.ground.tables.get("features", self._key(source, f"PUSHED#{ONLINE}{_digest(held.key)}"))
        declared = self.declared.sources.get(source)
        if ledger is None or declared is None or newest.version not in held.bodies:
            return pa.table({})
        rows = versions_of(declared, held.bodies[newest.version].body, ledger)
        return rows.filter(pa.array(mask_of(rows, self.ground.looking())))

    def _renew(self, key: str, body: bytes | None) -> None:
        ground, source, old = self.ground, key.split("/")[2], _digest(key)
        kinds = ("PUSHED#", f"PUSHED#{ONLINE}", PENDING)
        items = {kind: ground.tables.get("features", self._key(source, f"{kind}{old}")) for kind in kinds}
        known = {kind: item for kind, item in items.items() if item is not None}
        writes: list[Write] = [Delete("features", self._key(source, f"{kind}{old}")) for kind in known]
        if body is not None:
            new = hashlib.sha256(body).hexdigest()
            ground.blobs.put("lake", pushed_path(ground.workspace, source, new), body)
            rows = len(next(iter(json.loads(body).values())))
            for kind, item in known.items():
                digest = {"digest": new} if kind == PENDING else {}
                named = self._key(source, f"{kind}{new}")._asdict()
                writes.append(Put("features", {**item, **named, "rows": rows, **digest}, Anything()))
        if writes:
            ground.tables.write(writes)

    def _key(self, source: str, what: str) -> Key:
        return source_key(self.ground.workspace, source, what)


def versions_of(declared: Source, body: bytes, ledger: Item) -> pa.Table:
    """Return pushed rows as versions of rows, by when the push came."""
    rows = unpacked(declared, body)
    names = [name for name in declared.columns if rows and name in rows[0]]
    table = pa.table({n: pa.array([row[n] for row in rows], ARROW[declared.columns[n].type]) for n in names})
    came = canonical(declared, table, now_us=ledger["at"], arrival=ledger["arrival"])
    return came.append_column(UNTIL, pa.array([NEVER] * came.num_rows, pa.int64()))


def _digest(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
