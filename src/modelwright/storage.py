"""The two places where state lives, as ports: tables of items, and buckets of objects.

A *table* holds items under ``pk`` and ``sk``. Its items hold strings, integers, booleans,
bytes, and lists and maps of them; floats travel inside JSON or packed bytes, so that they
come back to the bit. Capabilities write aggregate stores with named methods over ``Tables``;
``adapters`` has one implementation per technology (DynamoDB, memory), and both pass the
same contract.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from modelwright.errors import InvalidInput

TRANSACTION_LIMIT = 100
_LONGEST_PK = 2048
_LONGEST_SK = 1024

TableName = Literal[
    "log", "tracking", "registry", "features", "monitoring", "retraining", "rollout", "governance", "insights"
]
BucketName = Literal["landing", "lake", "artifacts", "audit"]
Item = Mapping[str, Any]


class Key(NamedTuple):
    """The primary key of an item."""

    pk: str
    sk: str

    def checked(self) -> "Key":
        """Return the key; raises ``InvalidInput`` unless both parts are neither empty nor longer than a table takes."""
        if not (0 < len(self.pk.encode()) <= _LONGEST_PK and 0 < len(self.sk.encode()) <= _LONGEST_SK):
            parts = f"its parts must have 1 to {_LONGEST_PK} and 1 to {_LONGEST_SK} bytes"
            raise InvalidInput(f"{str(self)[:200]} is no key: {parts}")
        return self


@dataclass(frozen=True, slots=True)
class Absent:
    """The item must not exist."""


@dataclass(frozen=True, slots=True)
class Is:
    """The item must exist and its attribute must have this value."""

    attribute: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Exists:
    """The item must exist."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Whatever is there is replaced: only for writes that are the same however often they come."""


Condition = Absent | Is | Exists | Anything


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole item."""

    table: TableName
    item: Item
    condition: Condition


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove the item."""

    table: TableName
    key: Key
    condition: Condition = field(default_factory=Exists)


@dataclass(frozen=True, slots=True)
class Update:
    """Set some attributes and leave the others as they are."""

    table: TableName
    key: Key
    attributes: Mapping[str, Any]
    condition: Condition = field(default_factory=Exists)


@dataclass(frozen=True, slots=True)
class Check:
    """Write nothing, but hold the transaction to a condition on another item."""

    table: TableName
    key: Key
    condition: Condition


Write = Put | Delete | Update | Check


def key_of(write: Write) -> Key:
    """Return the key of the item that a write is about; raises ``InvalidInput`` if it is none."""
    key = Key(write.item["pk"], write.item["sk"]) if isinstance(write, Put) else Key(*write.key)
    return key.checked()


def admissible(writes: Sequence[Write]) -> None:
    """Raise ``InvalidInput`` if writes are too many for a transaction, name an item twice, or a key is none."""
    keys = {(write.table, key_of(write)) for write in writes}
    if len(writes) > TRANSACTION_LIMIT or len(keys) < len(writes):
        raise InvalidInput(f"a transaction of {len(writes)} writes is too large or names an item twice")


@dataclass(frozen=True, slots=True)
class Raised:
    """What became of ``Tables.raise_entries``.

    Attributes:
        done: whether the entries were written.
        item: the item after the write; if it was refused, the item as it is (None: there is none).
    """

    done: bool
    item: Item | None


@dataclass(frozen=True, slots=True)
class Page:
    """Items in key order and the cursor of the next page, empty at the end."""

    items: tuple[Item, ...]
    cursor: str = ""


class Tables(Protocol):
    """Items by key, in order of ``sk`` within a ``pk``; strongly consistent unless an index is named.

    A key part that is empty or too long is ``InvalidInput``; a float in an item is a ``TypeError``.
    """

    def get(self, table: TableName, key: Key) -> Item | None:
        """Return the item, or None."""
        ...

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """Return the items that exist (all attributes, or those named); a throttled key is retried, never left out.

        Raises:
            Unavailable: keys remained unanswered after the retries.
        """
        ...

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
        """Return a page of items of ``pk``; raises ``InvalidInput`` for a cursor that is none.

        Args:
            table: the table.
            pk: the partition (of the index, if one is named).
            prefix: only ``sk`` that begin so; not together with ``start``/``end``.
            start: only ``sk`` from here, inclusive.
            end: only ``sk`` up to here, inclusive; needs ``start``.
            index: a secondary index, whose keys are ``<index>_pk`` and ``<index>_sk``; eventually consistent.
            reverse: newest first.
            limit: at most so many items (0: as many as one page holds).
            cursor: where the page before ended.
        """
        ...

    def write(self, writes: Sequence[Write]) -> None:
        """Apply all writes or none (at most 100, on distinct items; one write is no transaction and costs half).

        Raises:
            ConditionFailed: with the positions whose condition did not hold.
            InvalidInput: the writes are too many, or name an item twice.
            Unavailable: the table is throttled.
        """
        ...

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
        """Set entries of a map, all or none, each of which must be absent or smaller; bytes compare unsigned.

        It commutes and is the same however often it comes, so that writers who meet need not take turns.

        Args:
            table: the table.
            key: the item, which must exist.
            attribute: the item's map of names to bytes.
            entries: what to set; at least one.
            guard: what must hold for the item besides.
            counter: an attribute of the item that goes up by one with the write.
        """
        ...

    def write_many(self, table: TableName, items: Sequence[Item]) -> None:
        """Put any number of items unconditionally and not atomically: for data that is the same whenever it comes."""
        ...

    def delete_many(self, table: TableName, keys: Sequence[Key]) -> None:
        """Remove any number of items unconditionally and not atomically; those that are not there are no error."""
        ...


def every(tables: Tables, table: TableName, pk: str, **options: Any) -> Iterator[Item]:
    """Yield the items of all pages of a query (``options`` as in ``Tables.query``)."""
    cursor = ""
    while True:
        page = tables.query(table, pk, cursor=cursor, **options)
        yield from page.items
        if not (cursor := page.cursor):
            return


@dataclass(frozen=True, slots=True)
class Stored:
    """An object: its bytes, and what the bucket knows of it."""

    body: bytes
    version: str
    etag: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """An object's line in a listing.

    Attributes:
        modified: when the bucket says that it was put, of ``Blobs.list``: another once it is put again, even the same.
    """

    key: str
    size: int
    etag: str
    modified: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object, or the marker that says that the object was deleted.

    Attributes:
        newest: whether it is what the key names now.
        marker: whether it is such a marker, which has no bytes.
    """

    key: str
    version: str
    newest: bool
    marker: bool = False


class Blobs(Protocol):
    """Objects by bucket and key."""

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """Return the object; raises ``NotFound``."""
        ...

    def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
        """Return ``length`` bytes from ``start`` on.

        Raises:
            NotFound: there is no such object.
            InvalidInput: the object does not have these bytes.
        """
        ...

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """Write the object and return its version id."""
        ...

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        """Yield the objects below a prefix in key order."""
        ...

    def level(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """Yield what lies directly below a prefix, in key order: objects, and folders as lines that end in ``/``.

        Args:
            bucket: the bucket.
            prefix: where; ends in ``/``.
            after: only lines whose key comes after this one.
        """
        ...

    def copy(self, source: tuple[BucketName, str, str], target: tuple[BucketName, str]) -> None:
        """Copy (bucket, key, version or "") to (bucket, key)."""
        ...

    def delete(self, bucket: BucketName, key: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...

    def delete_many(self, bucket: BucketName, keys: Iterable[str]) -> None:
        """Remove any number of objects; those that are not there are no error. Not atomic.

        Raises:
            Unavailable: some are still there.
        """
        ...

    def versions(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Version]:
        """Yield every version of the objects below a prefix, in key order; also of those that were deleted.

        Args:
            bucket: the bucket.
            prefix: where.
            after: only of objects whose key comes after this one.
        """
        ...

    def delete_versions(self, bucket: BucketName, versions: Iterable[Version]) -> None:
        """Remove versions for good; those that are not there are no error. Not atomic.

        What is left of an object shows: without its newest version, the one before is the newest.

        Raises:
            Unavailable: some are still there.
        """
        ...

    def size(self, bucket: BucketName, key: str) -> int:
        """Return the number of bytes; raises ``NotFound``."""
        ...

    def presigned_get(self, bucket: BucketName, key: str, *, expires_s: int = 900, filename: str = "") -> str:
        """Return a URL that downloads the object without credentials; browsers save it as ``filename``, if given."""
        ...

    def presigned_put(self, bucket: BucketName, key: str, *, expires_s: int = 900) -> str:
        """Return a URL that uploads the object without credentials."""
        ...

    def start_upload(self, bucket: BucketName, key: str, parts: int) -> tuple[str, tuple[str, ...]]:
        """Begin a multipart upload: its id and one presigned URL per part."""
        ...

    def finish_upload(self, bucket: BucketName, key: str, upload: str, etags: Sequence[tuple[int, str]]) -> None:
        """Complete a multipart upload from (part number, etag) pairs; again, with the same pairs, is the same.

        Raises:
            NotFound: there is no such upload.
            InvalidInput: the parts are not those that were uploaded.
        """
        ...

    def abort_upload(self, bucket: BucketName, key: str, upload: str) -> None:
        """Give up a multipart upload."""
        ...
