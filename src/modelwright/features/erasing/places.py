"""The places of an erasure that are objects: what lies in a bucket, version by version.

A place is searched first and cleaned then, so that what is found is written down before it is gone. Cleaning an object
can be done again at any time: what takes its place is there before anything is removed.
"""

import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from modelwright.errors import InvalidInput, NotFound
from modelwright.features.datasets import About, save
from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.receipts import Found
from modelwright.features.erasing.scrubbing import Cleaned, Search, cleaned
from modelwright.features.erasing.subjects import Ids, Subject
from modelwright.features.history import decoded, parquet
from modelwright.features.layout import about_path, spelled
from modelwright.features.serving_log import Answer, without
from modelwright.log import canonical
from modelwright.storage import Anything, Blobs, BucketName, Key, Put, Stored, Tables, Version

T = TypeVar("T")
R = TypeVar("R")
BATCH = 100
"""Objects that are searched before it is written down how far it got."""
METADATA = "modelwright-erasure"
"""Of an upload that was rewritten: by which erasure. It is no new upload."""
_THREADS = 4


@dataclass(frozen=True)
class Ground:
    """What an erasure works with.

    Attributes:
        erasure_id: which it is.
        workspace: whose.
        subject: whose traces go.
        ids: under which predictions about it were asked for.
        entities: partition keys of online items about it, as far as they are known.
        names: tells names that people chose from our own.
        threads: how many objects are read at a time.
    """

    erasure_id: str
    workspace: str
    subject: Subject
    ids: Ids
    entities: set[str]
    tables: Tables
    blobs: Blobs
    names: Names = field(default_factory=Names)
    threads: int = _THREADS

    def parallel(self, work: Callable[[T], R], things: Sequence[T]) -> list[R]:
        """Return what comes of things, in order."""
        if self.threads == 1:
            return [work(one) for one in things]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, things))

    def renamed(self, bucket: str, key: str) -> str:
        """Return an object's key without the subject's spelling, where people chose it."""
        return self.names.renamed(bucket, key, self.subject)

    def looking(self, name: str = "") -> Search:
        """Return a search for the subject, in an object of that key."""
        return Search(self.subject, self.ids, name, self.names)


class Place(Protocol):
    """One kind of place."""

    @property
    def name(self) -> str:
        """What receipts call it."""
        ...

    def search(self, after: str) -> tuple[list[Found], str]:
        """Return what is found next after a cursor, and the next cursor; it is empty at the end."""
        ...

    def clean(self, found: Sequence[Found]) -> None:
        """Remove what was found; again is the same."""
        ...


@dataclass(frozen=True)
class Held:
    """An object, of which some version holds the subject.

    Attributes:
        versions: all of them, the newest first.
        hits: those that hold it, without it, by version.
        bodies: as they are, by version.
    """

    key: str
    versions: tuple[Version, ...]
    hits: dict[str, Cleaned]
    bodies: dict[str, Stored]

    @property
    def current(self) -> Cleaned | None:
        """What the key names now, without the subject; None if it does not hold it."""
        newest = self.versions[0]
        return self.hits.get(newest.version) if newest.newest and not newest.marker else None


@dataclass(frozen=True)
class Objects:
    """Objects below a prefix, each rewritten where it lies.

    Attributes:
        name: what receipts call them.
        keeps_empty: whether an object stays of which no row is left, because events name it.
        leaves: what is not searched here, though it lies below the prefix.
    """

    ground: Ground
    name: str
    bucket: BucketName
    prefix: str
    keeps_empty: bool = False
    leaves: Callable[[str], bool] = field(default=lambda _: False)

    def search(self, after: str) -> tuple[list[Found], str]:
        """See ``Place``."""
        listed = self.ground.blobs.versions(self.bucket, self.prefix, after=after)
        grouped = groupby(listed, key=lambda one: one.key)
        keys = [(key, tuple(versions)) for key, versions in islice(grouped, BATCH)]
        searched = self.ground.parallel(self._searched, [one for one in keys if not self.leaves(one[0])])
        found = [one for one in searched if one is not None]
        return found, keys[-1][0] if len(keys) == BATCH else ""

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for one in found:
            versions = tuple(v for v in self.ground.blobs.versions(self.bucket, one.at) if v.key == one.at)
            if versions and (held := self.held((one.at, versions))) is not None:
                self.replace(held)

    def _searched(self, listed: tuple[str, tuple[Version, ...]]) -> Found | None:
        held = self.held(listed)
        return None if held is None else self.found(held)

    def held(self, listed: tuple[str, tuple[Version, ...]]) -> Held | None:
        """Return an object if any of its versions holds the subject, or its name tells of it."""
        key, versions = listed
        versions = tuple(sorted(versions, key=lambda v: not v.newest))
        hits, bodies, named = {}, {}, self.ground.renamed(self.bucket, key) != key
        for version in versions:
            if version.marker or (stored := self._read(version)) is None:
                continue
            clean = self.cleaned(key, stored.body)
            if clean is None and named:
                clean = Cleaned(stored.body, None, 0, 1, {})
            if clean is not None:
                hits[version.version], bodies[version.version] = clean, stored
        return Held(key, versions, hits, bodies) if hits or (named and versions) else None

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """Return a body without the subject; None if it does not hold it."""
        names = self.ground.names
        sent = names.foreign(self.bucket, key)
        return cleaned(key, body, self.ground.subject, self.ground.ids, names=names, sent=sent)

    def found(self, held: Held) -> Found:
        """Return what is written down of an object before it is cleaned."""
        current = held.current
        body = self._left(current)
        ids: dict[str, set[str]] = {}
        for hit in held.hits.values():
            for column, some in hit.ids.items():
                ids.setdefault(column, set()).update(some)
        return Found(
            place=self.name,
            key=f"{self.bucket}/{self.ground.renamed(self.bucket, held.key)}",
            at=held.key,
            rows=current.rows if current else 0,
            texts=current.texts if current else 0,
            versions=len(held.hits),
            old=_digest(held.bodies[held.versions[0].version].body) if current else "",
            new=_digest(body) if body is not None else "",
            ids={column: sorted(some) for column, some in ids.items()},
        )

    def replace(self, held: Held) -> None:
        """Put what is left of an object in its place and remove the versions that hold the subject."""
        blobs, current = self.ground.blobs, held.current
        key = self.ground.renamed(self.bucket, held.key)
        if current is not None:
            body = self._left(current)
            if body is not None:
                stored = held.bodies[held.versions[0].version]
                blobs.put(self.bucket, key, body, metadata={**stored.metadata, METADATA: self.ground.erasure_id})
            if body is None or key != held.key:
                blobs.delete(self.bucket, held.key)
        blobs.delete_versions(self.bucket, [v for v in held.versions if v.version in held.hits])
        if key != held.key:
            self.forget(held.key)

    def forget(self, key: str) -> None:
        """Remove an object with all its versions, and then what says that it was deleted."""
        blobs = self.ground.blobs
        if any(v.newest and not v.marker for v in self._versions(key)):
            blobs.delete(self.bucket, key)  # or else, while versions go, an older one shows
        there = self._versions(key)
        blobs.delete_versions(self.bucket, [v for v in there if not v.marker])
        blobs.delete_versions(self.bucket, [v for v in there if v.marker])

    def _versions(self, key: str) -> list[Version]:
        return [v for v in self.ground.blobs.versions(self.bucket, key) if v.key == key]

    def _read(self, version: Version) -> Stored | None:
        try:
            return self.ground.blobs.get(self.bucket, version.key, version.version)
        except NotFound:  # somebody else removed it
            return None

    def _left(self, current: Cleaned | None) -> bytes | None:
        if current is None or (current.left == 0 and not self.keeps_empty):
            return None
        return current.body


@dataclass(frozen=True)
class Answers(Objects):
    """Logged answers, of whose rows the features lie beside the entities."""

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """See ``Objects``."""
        try:
            answer = Answer.read(body)
        except InvalidInput:
            return super().cleaned(key, body)
        subject, ids = self.ground.subject, self.ground.ids
        mine = [row for row in _rows(answer) if subject.has(row)]
        if not mine:
            return None
        found = {c: frozenset(spelled([row[c]]) for row in mine if row.get(c) is not None) for c in ids.columns}
        left = without(answer, subject.has)
        return Cleaned(left.body(), len(left), len(mine), 0, {c: some for c, some in found.items() if some})


@dataclass(frozen=True)
class Reports(Objects):
    """Proofs of parity: the document and the page beside it go together when either shows the subject."""

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """See ``Objects``."""
        if key.endswith(".html"):
            cells = (html.unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", body.decode(), re.DOTALL))
            shown = any(self._shows(cell) for cell in cells)
            return Cleaned(None, None, 0, 1, {}) if shown else None
        found = super().cleaned(key, body)
        if found is not None and found.rows:
            return found
        examples = json.loads(body).get("examples", ())
        told = (str(example.get(said, "")) for example in examples for said in ("served", "offline"))
        return Cleaned(None, None, 0, 1, {}) if any(self._shows(value) for value in told) else None

    def clean(self, found: Sequence[Found]) -> None:
        """See ``Place``."""
        for one in found:
            name = one.at.rpartition(".")[0]
            for kind in (".html", ".json"):
                self.forget(name + kind)

    def _shows(self, cell: str) -> bool:
        """Say whether a cell of a page is the subject: by its name, as Python spells it, or by its join keys."""
        subject = self.ground.subject
        entity = dict(pair.split(" ", 1) for pair in cell.split(", ") if " " in pair)
        return subject.has(entity) or subject.among([cell.strip("'\"")])

    def _left(self, current: Cleaned | None) -> bytes | None:
        return None


@dataclass(frozen=True)
class WindowReports(Reports):
    """Reports of windows: page and document go together when a column's figures, or a text, name the subject."""

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """See ``Objects``."""
        if not key.endswith(".json"):
            return None
        report = json.loads(body)
        told = [str(one.get(part, "")) for one in report["verdicts"] for part in ("text", "segment")]
        texts = [*told, *(one["text"] for one in report["findings"])]
        shown = any(self._figures_show(column) for column in report["columns"])
        if not shown and not any(_tells(text, self.ground.subject) for text in texts):
            return None
        return Cleaned(None, None, 0, 1, {})

    def _figures_show(self, column: Any) -> bool:
        subject, name = self.ground.subject, column["name"]
        if tuple(subject.columns) != (name,):
            return False
        sides = [side for side in (column["window"], column["reference"]) if side]
        figures = [side[figure] for side in sides for figure in ("low", "median", "high")]
        return any(subject.is_value(name, value) for value in (*figures, *((column["shape"] or {}).get("names", ()))))


@dataclass(frozen=True)
class Measures(Objects):
    """Tables of figures: a quantile that is the subject goes, and what is said of a segment that is the subject."""

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """See ``Objects``."""
        table, subject = decoded(body), self.ground.subject
        single = tuple(subject.columns) if len(subject.columns) == 1 else ()
        mine = [
            (row["column"] in single and subject.is_value(row["column"], row.get("value")))
            or _tells(row.get("segment") or "", subject)
            for row in table.to_pylist()
        ]
        if not any(mine):
            return None
        left = table.filter(pa.array([not one for one in mine]))
        return Cleaned(parquet(left), left.num_rows, 0, sum(mine), {})


@dataclass(frozen=True)
class Repairs(Objects):
    """Repaired files and the logs of what was changed: cells stand there without whose they are, so that all go."""

    def replace(self, held: Held) -> None:
        """See ``Objects``."""
        log = held.key.endswith(".log.json")
        self.forget(held.key if log else f"{held.key.rpartition('.')[0]}.log.json")
        if not log:
            super().replace(held)


@dataclass(frozen=True)
class Datasets(Objects):
    """Saved datasets: what is left of one is another one, under its own digest; beside the old one lies a tombstone."""

    def found(self, held: Held) -> Found:
        """See ``Objects``."""
        found = super().found(held)
        if not held.key.endswith(".parquet") or not found.old:
            return found
        old = _named(held.key)
        return found.model_copy(update={"old": old, "replaced_by": found.new})

    def cleaned(self, key: str, body: bytes) -> Cleaned | None:
        """See ``Objects``; a tombstone tells of nobody."""
        found = super().cleaned(key, body)
        if found is None or found.body is None or not key.endswith(".parquet"):
            return found
        table = decoded(found.body).replace_schema_metadata(None).combine_chunks()
        return Cleaned(parquet(table), found.left, found.rows, found.texts, found.ids)

    def replace(self, held: Held) -> None:
        """See ``Objects``."""
        if not held.key.endswith(".parquet"):
            super().replace(held)
            return
        body = self._left(held.current)
        if held.current is not None:
            self._succeed(_named(held.key), body)
        self.forget(held.key)

    def _succeed(self, old: str, body: bytes | None) -> None:
        ground = self.ground
        new = ""
        told = self._about(old)
        if body is not None:
            about = None if told is None else _about(told)
            new, _ = save(decoded(body), blobs=ground.blobs, workspace=ground.workspace, about=about)
            self._inherit(old, new)
        self.forget(about_path(ground.workspace, old))
        tombstone = {"digest": old, "erasure": ground.erasure_id, "replaced_by": new}
        ground.blobs.put("lake", about_path(ground.workspace, old), canonical(tombstone))

    def _about(self, digest: str) -> dict[str, Any] | None:
        try:
            told: dict[str, Any] = json.loads(
                self.ground.blobs.get("lake", about_path(self.ground.workspace, digest)).body
            )
        except NotFound:
            return None
        return None if "erasure" in told else told

    def _inherit(self, old: str, new: str) -> None:
        """Let the new dataset be announced as the old one was, and know which ones it replaces."""
        tables = self.ground.tables
        before = (*ancestors(tables, self.ground.workspace, old), old)
        key = _dataset_key(self.ground.workspace, new, "REPLACES")
        tables.write([Put("features", {**key._asdict(), "digests": list(before)}, Anything())])
        saved = tables.get("features", _dataset_key(self.ground.workspace, old, "SAVED"))
        if saved is not None:
            named = _dataset_key(self.ground.workspace, new, "SAVED")._asdict()
            tables.write([Put("features", {**saved, **named}, Anything())])


def ancestors(tables: Tables, workspace: str, digest: str) -> tuple[str, ...]:
    """Return the digests of the datasets that one stands for, because subjects were erased from them."""
    item = tables.get("features", _dataset_key(workspace, digest, "REPLACES"))
    return () if item is None else tuple(item["digests"])


def folders(blobs: Blobs, bucket: BucketName, known: Iterable[str], left: Iterable[str]) -> Iterator[str]:
    """Yield the names of a bucket's folders, those that are known to be there first; some are left out."""
    there = (line.key.rstrip("/") for line in blobs.level(bucket, "") if line.key.endswith("/"))
    yield from (name for name in dict.fromkeys((*known, *there)) if name not in set(left))


def _rows(answer: Answer) -> Iterator[dict[str, Any]]:
    for values in zip(*answer.given.values(), strict=True):
        yield dict(zip(answer.given, values, strict=True))


def _about(told: dict[str, Any]) -> About:
    numbers = ("int", "uint", "float", "double", "half")
    private = [c["name"] for c in told["columns"] if "mean" not in c and str(c["type"]).startswith(numbers)]
    return About.model_validate({**told, "private": private})


def _dataset_key(workspace: str, digest: str, what: str) -> Key:
    return Key(f"WS#{workspace}#DATASET#{digest}", what)


def _named(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _tells(text: str, subject: Subject) -> bool:
    """Say whether a text names the subject."""
    return all(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in subject.columns.values())
