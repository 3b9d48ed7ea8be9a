"""The places of an erasure in the feature store: the offline store, online items, and items that tell of rows.

What other entities' windows counted of the subject, and what a latest view served of it, is made anew from the offline
store without it, so that serving and training go on to agree. As with every change of the offline store, online items
come first and the manifest last, under its version: an upload that is folded in meanwhile loses, and begins again
from what is there now. To make sure of that, the manifest is written anew also where nothing was found.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from modelwright.features import refreshing, windows
from modelwright.features.encoding import entity_codes
from modelwright.features.history import History, Partition, conformed, decoded
from modelwright.features.layout import LATEST, WINDOWS, entity_key, partition_path
from modelwright.features.places import Ground, Held, Objects
from modelwright.features.receipts import Found
from modelwright.features.scrubbing import Search, document_without, mask_of, packed_without
from modelwright.features.settling import Online
from modelwright.project import Project, Source, View
from modelwright.storage import Exists, Is, Item, Key, Put, TableName, every


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


@dataclass(frozen=True)
class Offline:
    """The offline store, a source at a time.

    Attributes:
        fold: folds rows that wait to be folded in, so that the offline store holds all that is online.
    """

    ground: Ground
    declared: Declarations
    history: History
    online: Online
    fold: Callable[[], object]
    name: str = "offline"

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``."""
        if not after:
            self.fold()
        names = sorted(name for name in self.declared.sources if name > after)
        if not names:
            return [], ""
        source = names[0]
        self._fence(source)
        objects = self._objects(source)
        counted = {partition.digest for partition in self.history.manifest(source).partitions}
        found: list[Found] = []
        cursor, more = "", True
        while more:
            some, cursor = objects.search(cursor)
            found += [one if _digest(one.at) in counted else one.model_copy(update={"rows": 0}) for one in some]
            more = bool(cursor)
        if found:
            found[0] = found[0].model_copy(update={"entities": self._entities(source)})
        return found, source

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for source in dict.fromkeys(one.at.split("/")[2] for one in found):
            self._rewrite(source)
            objects = self._objects(source)
            for one in found:
                if one.at.split("/")[2] == source:
                    for kind in (".keys", ".summary", ".parquet"):  # the last one says what the others are about
                        objects.forget(one.at.removesuffix(".parquet") + kind)

    def _objects(self, source: str) -> Objects:
        prefix = f"offline/{self.ground.workspace}/{source}/"
        return Objects(self.ground, self.name, "lake", prefix, leaves=lambda key: not key.endswith(".parquet"))

    def _fence(self, source: str) -> None:
        manifest = self.history.manifest(source)
        self.ground.tables.write([self.history.replacement(source, manifest, manifest.partitions)])

    def _entities(self, source: str) -> tuple[str, ...]:
        """Return the partition keys of online items about the subject, of whatever view of this source."""
        gone, _ = self._without(source, store=False)
        return own_items(self.ground, self.declared, source, gone)

    def _rewrite(self, source: str) -> None:
        manifest = self.history.manifest(source)
        gone, partitions = self._without(source, store=True)
        if not gone.num_rows:
            return
        for (name, version), (view, of) in self.declared.views.items():
            if of == source and not _mine(self.ground, view):
                self._remake(name, version, view, source, gone, partitions)
        self.ground.tables.write([self.history.replacement(source, manifest, partitions)])

    def _without(self, source: str, *, store: bool) -> tuple[pa.Table, tuple[Partition, ...]]:
        """Return the subject's rows of a source, and its partitions without them."""
        declared, gone, left = self.declared.sources[source], [], []
        for partition in self.history.manifest(source).partitions:
            path = partition_path(self.ground.workspace, source, partition.week, partition.digest)
            rows = decoded(self.ground.blobs.get("lake", path).body).combine_chunks()
            mask = mask_of(rows, Search(self.ground.subject, self.ground.ids))
            if not mask.any():
                left.append(partition)
                continue
            gone.append(conformed(declared, rows.filter(pa.array(mask))))
            if store and not mask.all():
                left.append(self.history.store(source, declared, partition.week, rows.filter(pa.array(~mask))))
        return pa.concat_tables(gone).combine_chunks() if gone else pa.table({}), tuple(left)

    def _remake(
        self, name: str, version: int, view: View, source: str, gone: pa.Table, partitions: Sequence[Partition]
    ) -> None:
        if not self.declared.current(name, version):  # nobody reads them any more
            for entity in _entities(view, gone):
                _delete(self.ground, _pk(self.ground, name, version, view, entity))
            return
        declared = self.declared.sources[source]
        if view.aggregates:
            refreshing.roll(name, view, declared, gone, partitions, gone, self.history, self.online)
            for entity in _entities(view, gone):
                self._tidy(entity_key(self.ground.workspace, name, view, entity, WINDOWS))
        if view.features:
            refreshing.take_out(name, view, declared, gone, partitions, self.history, self.online)

    def _tidy(self, key: Key) -> None:
        """Remove what lies beside an entity's item and is not named by it: leavings of writers who were killed or lost.

        Whoever writes the item now has names of a later version.
        """
        tables = self.ground.tables
        item = tables.get("features", key)
        if item is None:
            return
        named = {one.sk for one in windows.beside(key, item)}
        beside = [one["sk"] for kind in ("FOLDED#", "PART#") for one in every(tables, "features", key.pk, prefix=kind)]
        left = [Key(key.pk, sk) for sk in beside if sk not in named and int(sk.split("#")[1]) <= item["v"]]
        if left:
            tables.delete_many("features", left)


@dataclass(frozen=True)
class Accepted(Objects):
    """Accepted uploads, which also tell which online items are about the subject.

    Attributes:
        declared: the views.
    """

    declared: Declarations = field(kw_only=True)

    def found(self, held: Held) -> Found:
        """See ``Objects``."""
        source, entities = held.key.split("/")[2], dict[str, None]()
        for stored in held.bodies.values():
            rows = decoded(stored.body)
            gone = rows.filter(pa.array(mask_of(rows, Search(self.ground.subject, self.ground.ids))))
            entities |= dict.fromkeys(own_items(self.ground, self.declared, source, gone))
        return super().found(held).model_copy(update={"entities": tuple(entities)})


def own_items(ground: Ground, declared: Declarations, source: str, rows: pa.Table) -> tuple[str, ...]:
    """Return where online items about the subject lie, in views of all versions, that rows of a source went into."""
    views = [(name, n, view) for (name, n), (view, of) in declared.views.items() if of == source]
    found = [
        _pk(ground, name, n, view, entity)
        for name, n, view in views
        if _mine(ground, view)
        for entity in _entities(view, rows)
    ]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class OnlineItems:
    """The subject's own online items, in views of all versions."""

    ground: Ground
    declared: Declarations
    name: str = "online"

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``."""
        del after
        found = []
        for pk in sorted({*self.ground.entities, *self._exact()}):
            items = [item["sk"] for item in every(self.ground.tables, "features", pk)]
            if items:
                rows = sum(sk in (LATEST, WINDOWS) for sk in items)
                found.append(Found(place=self.name, key=self.ground.told(pk), at=pk, rows=rows, entities=(pk,)))
        return found, ""

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for one in found:
            _delete(self.ground, one.at)

    def _exact(self) -> Iterator[str]:
        """Yield where items of views of exactly this entity lie, whether the offline store knows rows or not."""
        columns = self.ground.subject.columns
        for (name, version), (view, _) in self.declared.views.items():
            if set(view.entity) == set(columns):
                yield _pk(self.ground, name, version, view, "|".join(columns[key] for key in view.entity))


@dataclass(frozen=True)
class Items:
    """Items of a table that may tell of rows: profiles, quarantines, examples.

    Attributes:
        partitions: their partition keys.
    """

    ground: Ground
    name: str
    table: TableName
    partitions: tuple[str, ...]

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``; the cursor is the number of partitions that are done."""
        done = int(after or 0)
        if done >= len(self.partitions):
            return [], ""
        found = []
        for item in every(self.ground.tables, self.table, self.partitions[done]):
            if self._cleaned(item) is not None:
                at = json.dumps([item["pk"], item["sk"]])
                key = self.ground.told(f"{self.table} {item['pk']} {item['sk']}")
                found.append(Found(place=self.name, key=key, at=at, texts=1))
        return found, str(done + 1)

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for one in found:
            item = self.ground.tables.get(self.table, Key(*json.loads(one.at)))
            if item is not None and (new := self._cleaned(item)) is not None:
                condition = Is("v", item["v"]) if "v" in item else Exists()
                more = {"v": item["v"] + 1} if "v" in item else {}
                self.ground.tables.write([Put(self.table, {**new, **more}, condition)])

    def _cleaned(self, item: Item) -> Item | None:
        new = {name: self._value(value) for name, value in item.items() if name not in ("pk", "sk")}
        changed = {name: value for name, value in new.items() if value != item[name]}
        return {**item, **changed} if changed else None

    def _value(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray) or type(value).__name__ == "Binary":
            return packed_without(bytes(value), self.ground.subject, self.ground.ids) or value
        if not isinstance(value, str):
            return value
        if value[:1] in ("{", "["):
            search = Search(self.ground.subject, self.ground.ids)
            try:
                document = document_without(json.loads(value), search)
            except ValueError:
                return self.ground.told(value)
            return json.dumps(document, separators=(",", ":"), ensure_ascii=False) if search.hit else value
        return self.ground.told(value)


def _mine(ground: Ground, view: View) -> bool:
    """Say whether items of a view are about the subject alone, or a part of it."""
    return set(ground.subject.columns) <= set(view.entity)


def _digest(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".parquet")


def _entities(view: View, rows: pa.Table) -> list[str]:
    if not rows.num_rows or any(key not in rows.column_names for key in view.entity):
        return []
    return list(entity_codes([rows[key] for key in view.entity])[1])


def _pk(ground: Ground, name: str, version: int, view: View, entity: str) -> str:
    return entity_key(ground.workspace, name, view.model_copy(update={"version": version}), entity, LATEST).pk


def _delete(ground: Ground, pk: str) -> None:
    keys = [Key(pk, item["sk"]) for item in every(ground.tables, "features", pk)]
    if keys:
        ground.tables.delete_many("features", keys)
