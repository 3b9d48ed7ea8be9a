"""What storage costs: request units computed from item sizes, and calls to S3.

Sizes follow DynamoDB's documentation ("Item sizes and formats", "Read/write capacity unit consumption",
"Transactions"): names and values in UTF-8, a unit per started KB written (two in a transaction; one more
per index, whose entry is written once) or per started 4 KB read consistently. Emulators answer a constant
1.0 instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelwright.storage import (
    Anything,
    Blobs,
    BucketName,
    Is,
    Item,
    Key,
    Listed,
    Page,
    Put,
    Raised,
    Stored,
    TableName,
    Tables,
    Update,
    Write,
)

_WRITE_UNIT = 1024
_READ_UNIT = 4096
_KEYS_ONLY = 100


@dataclass
class Meter:
    """Counts since it was last taken."""

    read_units: int = 0
    write_units: int = 0
    table_calls: int = 0
    s3_reads: int = 0
    s3_writes: int = 0
    s3_bytes: int = 0
    answers_not_logged: int = 0

    def take(self) -> dict[str, int]:
        """Return the counts and begin anew."""
        counts = dict(vars(self))
        self.__init__()  # type: ignore[misc]
        return counts


def item_size(item: Item) -> int:
    """Return the bytes that DynamoDB counts for an item."""
    try:
        return len("".join((*item, *item.values())).encode())
    except TypeError:  # something in it is no text
        return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int):
        return _units(len(str(abs(value))), 2) + 1
    if isinstance(value, Mapping):
        return 3 + sum(len(str(name).encode()) + 1 + _size(part) for name, part in value.items())
    return 3 + sum(1 + _size(part) for part in value)


class MeteredTables:
    """``Tables`` that count what each call would cost on demand."""

    def __init__(self, tables: Tables, meter: Meter) -> None:
        self._tables = tables
        self._meter = meter

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        item = self._tables.get(table, key)
        self._read([item] if item else [])
        return item

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``; each item is rounded up alone."""
        found = self._tables.batch_get(table, keys, attributes)
        self._meter.read_units += sum([-(-item_size(item) // _READ_UNIT) for item in found.values()])
        self._meter.table_calls += _units(len(keys), 100)
        return found

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        """See ``Tables``; a page is rounded up as a whole."""
        page = self._tables.query(table, pk, **options)
        self._read(page.items)
        return page

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        factor = 2 if len(writes) > 1 else 1
        self._meter.write_units += sum(factor * _write_units(write) + _index_units(write) for write in writes)
        self._meter.table_calls += 1
        self._tables.write(writes)

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
        """See ``Tables``; the whole item counts, also when the write is refused."""
        raised = self._tables.raise_entries(table, key, attribute, entries, guard=guard, counter=counter)
        self._meter.write_units += max(1, _units(item_size(raised.item or {}), _WRITE_UNIT))
        self._meter.table_calls += 1
        return raised

    def write_many(self, table: TableName, items: Sequence[Item]) -> None:
        """See ``Tables``."""
        puts = [Put(table, item, Anything()) for item in items]
        self._meter.write_units += sum(_write_units(put) + _index_units(put) for put in puts)
        self._meter.table_calls += _units(len(items), 25)
        self._tables.write_many(table, items)

    def delete_many(self, table: TableName, keys: Sequence[Key]) -> None:
        """See ``Tables``; a unit each, whatever their size was."""
        self._meter.write_units += len(keys)
        self._meter.table_calls += _units(len(keys), 25)
        self._tables.delete_many(table, keys)

    def _read(self, items: Sequence[Item]) -> None:
        self._meter.read_units += max(1, _units(sum(map(item_size, items)), _READ_UNIT))
        self._meter.table_calls += 1


class MeteredBlobs:
    """``Blobs`` that count calls and bytes."""

    def __init__(self, blobs: Blobs, meter: Meter) -> None:
        self._blobs = blobs
        self._meter = meter

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        self._meter.s3_reads += 1
        stored = self._blobs.get(bucket, key, version)
        self._meter.s3_bytes += len(stored.body)
        return stored

    def get_range(self, bucket: BucketName, key: str, start: int, length: int) -> bytes:
        """See ``Blobs``."""
        self._meter.s3_reads += 1
        self._meter.s3_bytes += length
        return self._blobs.get_range(bucket, key, start, length)

    def put(self, bucket: BucketName, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> str:
        """See ``Blobs``."""
        self._meter.s3_writes += 1
        self._meter.s3_bytes += len(body)
        return self._blobs.put(bucket, key, body, metadata=metadata)

    def list(self, bucket: BucketName, prefix: str) -> Iterator[Listed]:
        """See ``Blobs``; a listing costs as much as a write."""
        self._meter.s3_writes += 1
        return self._blobs.list(bucket, prefix)

    def level(self, bucket: BucketName, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """See ``Blobs``; a listing costs as much as a write."""
        self._meter.s3_writes += 1
        return self._blobs.level(bucket, prefix, after=after)

    def copy(self, source: tuple[BucketName, str, str], target: tuple[BucketName, str]) -> None:
        """See ``Blobs``."""
        self._meter.s3_writes += 1
        self._blobs.copy(source, target)

    def __getattr__(self, name: str) -> Any:
        """Pass on what costs nothing here: signing, deleting, sizes, and uploads that the client makes."""
        return getattr(self._blobs, name)


def _write_units(write: Write) -> int:
    if isinstance(write, Put):
        return _units(item_size(write.item), _WRITE_UNIT)
    if isinstance(write, Update):
        return _units(item_size(write.attributes) + _KEYS_ONLY, _WRITE_UNIT)
    return 1


def _index_units(write: Write) -> int:
    indexes = sum(name.endswith("_pk") for name in write.item) if isinstance(write, Put) else 0
    return indexes * _write_units(write)


def _units(amount: int, unit: int) -> int:
    return -(-amount // unit)
