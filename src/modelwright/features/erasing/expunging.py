"""The places of an erasure in the feature store: the offline store, online items, and items that tell of rows.

What other entities' windows counted of the subject, and what a latest view served of it, is made anew from the offline
store without it, so that serving and training go on to agree. As with every change of the offline store, online items
come first and the manifest last, under its version: an upload that is folded in meanwhile loses, and begins again
from what is there now. To make sure of that, the manifest is written anew also where nothing was found.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa

from modelwright.features.erasing.places import BATCH, Ground, Held, Objects
from modelwright.features.erasing.receipts import Found
from modelwright.features.erasing.retracting import Declarations, delete_all, item_pk, own_items, remade
from modelwright.features.erasing.scrubbing import document_without, mask_of, packed_without, words_without
from modelwright.features.history import History, Partition, conformed, decoded
from modelwright.features.layout import LATEST, WINDOWS, partition_path
from modelwright.features.settling import Online
from modelwright.storage import Exists, Is, Item, Key, Put, TableName, every


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
        remade(self.ground, self.declared, self.history, self.online, source, gone, partitions)
        self.ground.tables.write([self.history.replacement(source, manifest, partitions)])

    def _without(self, source: str, *, store: bool) -> tuple[pa.Table, tuple[Partition, ...]]:
        """Return the subject's rows of a source, and its partitions without them."""
        declared, gone, left = self.declared.sources[source], [], []
        for partition in self.history.manifest(source).partitions:
            path = partition_path(self.ground.workspace, source, partition.week, partition.digest)
            rows = decoded(self.ground.blobs.get("lake", path).body).combine_chunks()
            mask = mask_of(rows, self.ground.looking())
            if not mask.any():
                left.append(partition)
                continue
            gone.append(conformed(declared, rows.filter(pa.array(mask))))
            if store and not mask.all():
                left.append(self.history.store(source, declared, partition.week, rows.filter(pa.array(~mask))))
        return pa.concat_tables(gone).combine_chunks() if gone else pa.table({}), tuple(left)


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
            gone = rows.filter(pa.array(mask_of(rows, self.ground.looking())))
            entities |= dict.fromkeys(own_items(self.ground, self.declared, source, gone))
        return super().found(held).model_copy(update={"entities": tuple(entities)})


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
                said = f"{'#'.join(pk.split('#')[:4])}#{self.ground.subject.mark}"
                found.append(Found(place=self.name, key=said, at=pk, rows=rows, entities=(pk,)))
        return found, ""

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for one in found:
            delete_all(self.ground, one.at)

    def _exact(self) -> Iterator[str]:
        """Yield where items of views of exactly this entity lie, whether the offline store knows rows or not."""
        columns = self.ground.subject.columns
        for (name, version), (view, _) in self.declared.views.items():
            if set(view.entity) == set(columns):
                yield item_pk(self.ground, name, version, view, "|".join(columns[key] for key in view.entity))


DOCUMENTS = ("broken", "document", "incident", "job", "profile", "proof")
"""Attributes of items that are documents in which values of rows may be told."""
SENTENCES = ("last_text", "outcome")
"""Attributes of items that are sentences."""


@dataclass(frozen=True)
class Items:
    """Items of a table that may tell of rows: profiles, quarantines, examples. Nothing else of them is searched.

    Attributes:
        partitions: their partition keys, each with how the sort keys begin that are searched.
    """

    ground: Ground
    name: str
    table: TableName
    partitions: tuple[tuple[str, str], ...]

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``; the cursor is the number of partitions that are done."""
        done = int(after or 0)
        if done >= len(self.partitions):
            return [], ""
        pk, prefix = self.partitions[done]
        found = []
        for item in every(self.ground.tables, self.table, pk, prefix=prefix):
            if self._cleaned(item) is not None:
                at = json.dumps([item["pk"], item["sk"]])
                key = f"{self.table} {item['pk']} {item['sk']}"
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
        changed = {name: self._document(name, item[name]) for name in DOCUMENTS if item.get(name)}
        changed |= {name: words_without(item[name], self.ground.looking()) for name in SENTENCES if item.get(name)}
        changed = {name: value for name, value in changed.items() if value != item[name]}
        return {**item, **changed} if changed else None

    def _document(self, name: str, value: Any) -> Any:
        search = self.ground.looking()
        if not isinstance(value, str):
            return packed_without(bytes(value), search) or value
        document = json.loads(value)
        if name == "broken":  # features by name, each with a sentence
            left = {feature: words_without(text, search) for feature, text in document.items()}
        else:
            left = document_without(document, search)
        return json.dumps(left, separators=(",", ":"), ensure_ascii=False) if search.hit else value


@dataclass(frozen=True)
class Uploads(Items):
    """What is remembered of uploads that lie in the landing bucket: it tells their names.

    Attributes:
        states: gives the key of the item about an object's version.
    """

    states: Callable[[str, str], Key] = field(kw_only=True)

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``; the cursor is the object that was searched last."""
        listed = self.ground.blobs.versions("landing", "", after=after)
        found: list[Found] = []
        last, count = "", 0
        for key, versions in groupby(listed, key=lambda one: one.key):
            if count == BATCH:
                return found, last
            last, count = key, count + 1
            for at in (self.states(key, version.version) for version in versions if not version.marker):
                item = self.ground.tables.get(self.table, at)
                if item is not None and self._cleaned(item) is not None:
                    named = f"{self.table} {at.pk} {at.sk}"
                    found.append(Found(place=self.name, key=named, at=json.dumps(at), texts=1))
        return found, ""


def own_partitions(workspace: str, declared: Declarations) -> list[tuple[str, str]]:
    """Return the partitions of items that tell of rows, and how their sort keys begin."""
    services = sorted({*declared.models, *declared.project.services})
    about = [("JOBS", ""), *((f"PARITY#{name}", "") for name in services)]
    about += [(f"SOURCE#{name}", "EXPECTATIONS") for name in declared.sources]
    return [(f"WS#{workspace}#{what}", prefix) for what, prefix in about]


def _digest(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".parquet")
