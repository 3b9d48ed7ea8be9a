"""Tables, buckets and a notifier in this process: of production quality, for tests, notebooks and one-process use.

Writes are atomic under a lock and conditions are DynamoDB's, so that a test in memory is a
test of the same rules.
"""

import copy
import hashlib
import threading
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

from modelwright.adapters.metering import item_size
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, Unavailable
from modelwright.insights.notices import Notice
from modelwright.insights.webhook_requests import Reply
from modelwright.storage import (
    Absent,
    Anything,
    BucketName,
    Condition,
    Delete,
    Exists,
    Is,
    Item,
    Key,
    Listed,
    Page,
    Put,
    Raised,
    Stored,
    TableName,
    Update,
    Version,
    Write,
    admissible,
    key_of,
)

_PAGE = 1000
_LARGEST_ITEM = 400 * 1024
_SEPARATOR = "\x1f"
_MARKER = "deleted"


def holds(condition: Condition, item: Item | None) -> bool:
    """Say whether a condition holds for an item, or for its absence."""
    if isinstance(condition, Anything):
        return True
    if isinstance(condition, Absent):
        return item is None
    if isinstance(condition, Exists):
        return item is not None
    return item is not None and item.get(condition.attribute) == condition.value


class MemoryTables:
    """``Tables`` in a dictionary per table, with the sort keys of each partition kept in order."""

    def __init__(self) -> None:
        self._items: dict[TableName, dict[Key, Item]] = {}
        self._order: dict[tuple[TableName, str], list[str]] = {}
        self._lock = threading.RLock()

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        with self._lock:
            return copy.deepcopy(self._items.get(table, {}).get(Key(*key).checked()))

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``."""
        found = {key: item for key in keys if (item := self.get(table, key)) is not None}
        if not attributes:
            return found
        wanted = {"pk", "sk", *attributes}
        return {key: {k: v for k, v in item.items() if k in wanted} for key, item in found.items()}

    def query(
        self,
        table: TableName,
        pk: str,
        *,
        prefix: str = "",
        start: str = "",
        end: str = "",
        index: str = "",
        reverse: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> Page:
        """See ``Tables``."""
        after = _from_cursor(cursor) if cursor else None
        Key(pk, "any").checked()
        with self._lock:
            rows = self._of_index(table, index, pk) if index else self._of_partition(table, pk)
            chosen = [(k, i) for k, i in rows if k.startswith(prefix) and k >= start and (not end or k <= end)]
            if reverse:
                chosen.reverse()
            if after is not None:
                chosen = [row for row in chosen if (_place(*row) < after if reverse else _place(*row) > after)]
            size = limit or _PAGE
            page = chosen[:size]
            more = _SEPARATOR.join(_place(*page[-1])) if len(chosen) > size else ""
            return Page(tuple(copy.deepcopy(item) for _, item in page), more)

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        admissible(writes)
        keys = [(w.table, key_of(w)) for w in writes]
        for write in writes:
            _check_types(_content(write))
        with self._lock:
            failed = tuple(
                n
                for n, (w, (table, key)) in enumerate(zip(writes, keys, strict=True))
                if not holds(w.condition, self._items.get(table, {}).get(key))
            )
            if failed:
                raise ConditionFailed(f"{len(failed)} of {len(writes)} conditions do not hold", failed)
            for write in writes:
                self._apply(write)

    def raise_entries(
        self,
        table: TableName,
        key: Key,
        attribute: str,
        entries: Mapping[str, bytes],
        *,
        guard: Is,
        counter: str,
    ) -> Raised:
        """See ``Tables``."""
        with self._lock:
            item = self.get(table, key)
            if item is None or not holds(guard, item):
                return Raised(done=False, item=item)
            known: Mapping[str, bytes] = item[attribute]
            if any(name in known and known[name] >= entry for name, entry in entries.items()):
                return Raised(done=False, item=item)
            changed = {**item, attribute: {**known, **entries}, counter: item[counter] + 1}
            self._apply(Put(table, changed, Anything()))
            return Raised(done=True, item=changed)

    def write_many(self, table: TableName, items: Sequence[Item]) -> None:
        """See ``Tables``."""
        for item in items:
            _check_types(item)
        with self._lock:
            for item in items:
                self._apply(Put(table, item, Anything()))

    def delete_many(self, table: TableName, keys: Sequence[Key]) -> None:
        """See ``Tables``."""
        with self._lock:
            for key in keys:
                self._apply(Delete(table, key, Anything()))

    def _apply(self, write: Write) -> None:
        key = key_of(write)
        items = self._items.setdefault(write.table, {})
        order = self._order.setdefault((write.table, key.pk), [])
        if isinstance(write, Put):
            _check_size(write.item)
            if key not in items:
                insort(order, key.sk)
            items[key] = copy.deepcopy(dict(write.item))
        elif isinstance(write, Update):
            self._apply(Put(write.table, {**key._asdict(), **items.get(key, {}), **write.attributes}, Anything()))
        elif isinstance(write, Delete) and key in items:
            del items[key]
            del order[bisect_left(order, key.sk)]

    def _of_partition(self, table: TableName, pk: str) -> list[tuple[str, Item]]:
        items = self._items.get(table, {})
        return [(sk, items[Key(pk, sk)]) for sk in self._order.get((table, pk), [])]

    def _of_index(self, table: TableName, index: str, pk: str) -> list[tuple[str, Item]]:
        items = self._items.get(table, {}).values()
        rows = [(i[f"{index}_sk"], i) for i in items if i.get(f"{index}_pk") == pk and f"{index}_sk" in i]
        return sorted(rows, key=lambda row: (row[0], row[1]["pk"], row[1]["sk"]))


def _place(key: str, item: Item) -> tuple[str, ...]:
    return key, item["pk"], item["sk"]


def _from_cursor(cursor: str) -> tuple[str, ...]:
    after = tuple(cursor.split(_SEPARATOR))
    if len(after) != len(_place("", {"pk": "", "sk": ""})):
        raise InvalidInput("the page token is not one of ours")
    return after


def _content(write: Write) -> Mapping[str, Any]:
    if isinstance(write, Put):
        return write.item
    return write.attributes if isinstance(write, Update) else {}


def _check_size(item: Item) -> None:
    """Refuse what outgrows DynamoDB's items; there too it is an error that nobody is expected to catch."""
    if (size := item_size(item)) > _LARGEST_ITEM:
        raise ValueError(f"item {item['pk'][:200]} {item['sk']} has {size} bytes, more than {_LARGEST_ITEM}")


def _check_types(value: Any) -> None:
    """Refuse what DynamoDB's serializer refuses, so that no test passes on what cannot be stored."""
    if isinstance(value, float):
        raise TypeError("a float is no attribute: put it into JSON or packed bytes")
    if isinstance(value, Mapping):
        for part in value.values():
            _check_types(part)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_types(part)


class MemoryBlobs:
    """``Blobs`` in a dictionary; presigned URLs are ``memory://`` ones that nothing serves."""

    def __init__(self) -> None:
        self._objects: dict[tuple[BucketName, str], list[Stored]] = {}
        self._deleted: set[tuple[BucketName, str]] = set()
        self._uploads: dict[str, tuple[BucketName, str]] = {}
        self._finished: dict[str, tuple[BucketName, str, tuple[tuple[int, str], ...]]] = {}
        self._versions = count(1)
        self._lock = threading.RLock()

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        with self._lock:
            versions = self._objects.get((bucket, key), []) if version else self._newest(bucket, key)
            for stored in versions:
                if version in ("", stored.version):
                    return stored
        raise NotFound(f"{bucket}/{key} {version}".strip() + " does not exist")

    def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
        """See ``Blobs``."""
        body = self.get(bucket, key).body
        if not 0 <= start < start + length <= len(body):
            raise InvalidInput(f"{bucket}/{key} has {len(body)} bytes: there are no {length} from {start} on")
        return body[start : start + length]

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """See ``Blobs``."""
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        with self._lock:
            stored = Stored(bytes(body), f"v{next(self._versions)}", digest, dict(metadata or {}))
            self._objects.setdefault((bucket, key), []).append(stored)
            self._deleted.discard((bucket, key))
        return stored.version

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        """See ``Blobs``."""
        with self._lock:
            keys = sorted(k for b, k in self._objects if b == bucket and k.startswith(prefix))
            rows = [(key, stored) for key in keys for stored in self._newest(bucket, key)]
        return (Listed(key, len(stored.body), stored.etag, stored.version) for key, stored in rows)

    def level(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """See ``Blobs``."""
        lines: dict[str, Listed] = {}
        for listed in self.list(bucket, prefix):
            head, slash, _ = listed.key.removeprefix(prefix).partition("/")
            line = Listed(f"{prefix}{head}/", 0, "") if slash else listed
            if line.key > max(after, prefix):
                lines[line.key] = line
        return iter([lines[key] for key in sorted(lines)])

    def copy(self, source: tuple[BucketName, str, str], target: tuple[BucketName, str]) -> None:
        """See ``Blobs``."""
        stored = self.get(*source)
        self.put(*target, stored.body, metadata=stored.metadata)

    def delete(self, bucket: BucketName, key: str) -> None:
        """See ``Blobs``; its versions stay, as in a bucket that keeps them."""
        with self._lock:
            self._deleted.add((bucket, key))

    def delete_many(self, bucket: BucketName, keys: Iterable[str]) -> None:
        """See ``Blobs``."""
        for key in keys:
            self.delete(bucket, key)

    def versions(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Version]:
        """See ``Blobs``; the marker of a deletion is called so."""
        rows: list[Version] = []
        with self._lock:
            for (where, key), stored in sorted(self._objects.items()):
                if where == bucket and key.startswith(prefix) and key > after:
                    deleted = (bucket, key) in self._deleted
                    rows += [Version(key, _MARKER, True, marker=True)] if deleted else []
                    last = stored[-1:] if not deleted else []
                    rows += [Version(key, one.version, one in last) for one in reversed(stored)]
        return iter(rows)

    def delete_versions(self, bucket: BucketName, versions: Iterable[Version]) -> None:
        """See ``Blobs``."""
        with self._lock:
            for one in versions:
                place = (bucket, one.key)
                if one.version == _MARKER:
                    self._deleted.discard(place)
                self._objects[place] = [s for s in self._objects.get(place, []) if s.version != one.version]
                if not self._objects[place] and place not in self._deleted:
                    del self._objects[place]

    def size(self, bucket: BucketName, key: str) -> int:
        """See ``Blobs``."""
        return len(self.get(bucket, key).body)

    def presigned_get(self, bucket: BucketName, key: str, *, expires_s: int = 900, filename: str = "") -> str:
        """See ``Blobs``."""
        saved = f"&filename={quote(filename)}" if filename else ""
        return f"memory://{bucket}/{key}?expires={expires_s}{saved}"

    def presigned_put(self, bucket: BucketName, key: str, *, expires_s: int = 900) -> str:
        """See ``Blobs``."""
        return f"memory://{bucket}/{key}?method=PUT&expires={expires_s}"

    def start_upload(self, bucket: BucketName, key: str, parts: int) -> tuple[str, tuple[str, ...]]:
        """See ``Blobs``."""
        upload = f"upload-{next(self._versions)}"
        self._uploads[upload] = (bucket, key)
        urls = tuple(f"memory://{bucket}/{key}?upload={upload}&part={n}" for n in range(1, parts + 1))
        return upload, urls

    def finish_upload(self, bucket: BucketName, key: str, upload: str, etags: Sequence[tuple[int, str]]) -> None:
        """See ``Blobs``; in memory the parts have no bytes, so the object is made of their etags."""
        done = bucket, key, tuple(sorted(etags))
        if self._finished.get(upload) != done:
            self.abort_upload(bucket, key, upload)
            self._finished[upload] = done
            self._put_parts(bucket, key, upload, done[2])

    def _put_parts(self, bucket: BucketName, key: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        self.put(bucket, key, "".join(etag for _, etag in parts).encode())

    def abort_upload(self, bucket: BucketName, key: str, upload: str) -> None:
        """See ``Blobs``."""
        if self._uploads.pop(upload, None) != (bucket, key):
            raise NotFound(f"there is no upload {upload} of {bucket}/{key}")

    def _newest(self, bucket: BucketName, key: str) -> Sequence[Stored]:
        """Return the newest version alone, or nothing if the object was deleted or never was."""
        return [] if (bucket, key) in self._deleted else self._objects.get((bucket, key), [])[-1:]


class MemoryNotifier:
    """``Notifier`` that keeps what was sent, and takes nothing while it is ``broken``."""

    options: Mapping[str, bool] = {"where": False}
    secrets: frozenset[str] = frozenset({"where"})

    def __init__(self) -> None:
        self.sent: list[Notice] = []
        self.broken = False

    def check(self, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        if options.get("where") == "nowhere":
            raise InvalidInput("where: nowhere is no place")

    def send(self, notice: Notice, options: Mapping[str, str]) -> None:
        """See ``Notifier``."""
        if self.broken:
            raise Unavailable("it is throttled")
        self.sent.append(notice)


class MemoryOutbound:
    """``Outbound`` that keeps what was sent, as (url, body, headers), and answers as it is told.

    Attributes:
        replies: what a URL answers; 200 unless said.
        refused: URLs that nothing may be sent to.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.replies: dict[str, Reply] = {}
        self.refused: set[str] = set()

    def check(self, url: str) -> None:
        """See ``Outbound``."""
        if url in self.refused:
            raise InvalidInput(f"{url} is refused")

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See ``Outbound``."""
        if url in self.refused:
            return Reply(fault=f"{url} is refused")
        self.sent.append((url, body, headers))
        return self.replies.get(url, Reply(200, "ok"))
