"""A run's compacted points: one object of the lake, keyed, so that one metric is read without the others.

The object is the blocks of all keys, one after the other, and then the directory. A block is the packed form
(``points.pack``) of up to 50,000 points of one key, in order; the directory is zlib of a JSON list with one
``[key, [bytes of each block]]`` per key in the order of the blocks. The item that names the object:

=============  ================================================================================
attribute      meaning
=============  ================================================================================
``object``     the object's key
``start``      where the blocks end and the directory begins
``size``       bytes of the object
``count``      points in it
``directory``  the directory itself, unless it is long: then it is read from the object
=============  ================================================================================
"""

import json
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any, Final, NamedTuple

from modelwright.storage import Blobs, Item
from modelwright.tracking.entities import Point
from modelwright.tracking.points import distinct, pack, unpack, unpack_columns

BUCKET: Final = "lake"
_BLOCK = 50_000
_DIRECTORY_LIMIT = 8_000
"""A longer directory stays in the object alone, so that the item stays cheap to write."""


@dataclass(frozen=True, slots=True)
class Archive:
    """Where compacted points lie, and which of them where."""

    object: str
    start: int
    size: int
    count: int
    directory: bytes = b""

    @classmethod
    def read(cls, item: Item) -> "Archive":
        """Read the attributes of an item."""
        names = (str(item["object"]), int(item["start"]), int(item["size"]), int(item["count"]))
        return cls(*names, bytes(item["directory"]))

    def attributes(self) -> dict[str, Any]:
        """Return the stored form."""
        return {name: getattr(self, name) for name in ("object", "start", "size", "count", "directory")}

    def points(self, blobs: Blobs, key: str | None = None) -> Iterator[Point]:
        """Yield the points, or those of one key by reading its range alone; each once, by (timestamp, step, value)."""
        for block in self.blocks(blobs, key):
            yield from unpack(block)

    def blocks(self, blobs: Blobs, key: str | None = None) -> Iterator[bytes]:
        """Yield the packed points, or those of one key: up to 50,000 of one key at a time."""
        place = 0
        for name, lengths in self._directory(blobs):
            if key in (None, name):
                packed = blobs.get_range(BUCKET, self.object, place, sum(lengths))
                ends = accumulate(lengths)
                yield from (packed[end - length : end] for end, length in zip(ends, lengths, strict=True))
            place += sum(lengths)

    def _directory(self, blobs: Blobs) -> Sequence[tuple[str, Sequence[int]]]:
        packed = self.directory or blobs.get_range(BUCKET, self.object, self.start, self.size - self.start)
        found: list[tuple[str, Sequence[int]]] = json.loads(zlib.decompress(packed))
        return found


def archived(batches: Iterable[bytes], name: str) -> tuple[Archive, bytes]:
    """Return the archive of packed points, each kept once, and the object to be stored as ``name``."""
    blocks: list[bytes] = []
    directory, count = [], 0
    for key, columns in sorted(_by_key(batches).items()):
        rows = distinct(map(Point, repeat(key), columns.values, columns.timestamps, columns.steps))
        packed = [pack(rows[first : first + _BLOCK]) for first in range(0, len(rows), _BLOCK)]
        directory.append((key, [len(block) for block in packed]))
        blocks += packed
        count += len(rows)
    table = zlib.compress(json.dumps(directory).encode())
    start = sum(map(len, blocks))
    kept = table if len(table) <= _DIRECTORY_LIMIT else b""
    return Archive(name, start, start + len(table), count, kept), b"".join([*blocks, table])


class _Arrays(NamedTuple):
    """Points of one metric in 24 bytes each, as there may be tens of millions."""

    timestamps: "array[int]"
    steps: "array[int]"
    values: "array[float]"


def _by_key(batches: Iterable[bytes]) -> dict[str, _Arrays]:
    found: dict[str, _Arrays] = {}
    for batch in batches:
        for key, columns in unpack_columns(batch):
            known = found.setdefault(key, _Arrays(array("q"), array("q"), array("d")))
            known.timestamps.extend(columns.timestamps)
            known.steps.extend(columns.steps)
            known.values.extend(columns.values)
    return found
