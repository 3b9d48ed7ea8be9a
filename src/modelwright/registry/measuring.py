"""Digests of files in the bucket, however large, in requests that each take a bounded time.

The digest of a file is its SHA-256; that of a file of more than one block is the SHA-256 of its blocks' SHA-256s, one
after the other. A hash cannot be put aside half way, but blocks can: what one request measured is noted, and the
next one goes on. A note holds for the object that was read (its etag and size) and for no other.

=======  ===================================  ================  =====================================
entity   pk                                   sk                access pattern
=======  ===================================  ================  =====================================
notes    ``WS#<ws>#FOLDER#<prefix>``          ``<ulid>``        all of a folder, until it is measured
=======  ===================================  ================  =====================================
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from modelwright.log import new_id
from modelwright.storage import Blobs, BucketName, Key, Listed, TableName, Tables, every

BLOCK_BYTES: Final = 256 * 1024 * 1024
"""Part of the form: another size of blocks would give large files other digests."""

BUDGET_BYTES: Final = 512 * 1024 * 1024
"""What one request measures: at 60 MB/s, which a function gets of S3, about nine of its 29 seconds."""

_RANGE_BYTES = 8 * 1024 * 1024
_NOTE_BYTES = 300_000
_KEPT = timedelta(days=30)
_BUCKET: BucketName = "artifacts"
_TABLE: TableName = "registry"


def combined(blocks: Sequence[str]) -> str:
    """Return the digest of a file by those of its blocks; a file has at least one, which may be empty."""
    if len(blocks) == 1:
        return blocks[0]
    return hashlib.sha256(b"".join(map(bytes.fromhex, blocks))).hexdigest()


class Digest:
    """A file's digest, of bytes that come one after the other.

    Args:
        block_bytes: only tests have smaller blocks.
    """

    def __init__(self, block_bytes: int = BLOCK_BYTES) -> None:
        self._block_bytes, self._room = block_bytes, block_bytes
        self._blocks: list[str] = []
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        while data:
            if not self._room:
                self._blocks.append(self._hash.hexdigest())
                self._hash, self._room = hashlib.sha256(), self._block_bytes
            taken, data = data[: self._room], data[self._room :]
            self._hash.update(taken)
            self._room -= len(taken)

    def hexdigest(self) -> str:
        """Return the digest of all bytes that came."""
        return combined([*self._blocks, self._hash.hexdigest()])


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of an object: as it was listed, and the digests of its first blocks."""

    size: int
    etag: str
    blocks: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The file's digest, once all its blocks are known."""
        return combined(self.blocks)


@dataclass(frozen=True)
class Folder:
    """All objects below a prefix, by their paths below it.

    Attributes:
        measured: how many bytes are known.
        whole: whether all are.
    """

    files: Mapping[str, Measured]
    measured: int
    whole: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def progress(self) -> dict[str, int]:
        """Return how far it is."""
        return {"measured_bytes": self.measured, "total_bytes": self.size}


@dataclass(frozen=True)
class Ruler:
    """Measures folders of one workspace.

    Attributes:
        budget: bytes that one request reads; a single block may have more.
        block_bytes: only tests have smaller blocks.
    """

    tables: Tables
    blobs: Blobs
    workspace: str
    budget: int = BUDGET_BYTES
    block_bytes: int = BLOCK_BYTES
    range_bytes: int = field(default=_RANGE_BYTES)

    def measure(self, prefix: str) -> Folder:
        """Return a folder with the digests of its files, or with as many as there was time for.

        Args:
            prefix: of the artifacts bucket; ends in ``/``.
        """
        listed = self.listed(prefix)
        large = sum(line.size for line in listed.values()) > self.budget
        notes = self._notes(prefix) if large else {}
        files, known, fresh, spent = {}, 0, {}, 0
        for path, line in listed.items():
            noted = notes.get(path)
            same = noted is not None and (noted.size, noted.etag) == (line.size, line.etag)
            file = noted if same and noted else Measured(line.size, line.etag)
            before = len(file.blocks)
            while (place := self._next(file)) is not None and (not spent or spent + place[1] <= self.budget):
                file = Measured(line.size, line.etag, (*file.blocks, self._block(line.key, *place)))
                spent += place[1]
            files[path] = file
            known += min(file.size, len(file.blocks) * self.block_bytes)
            if len(file.blocks) > before:
                fresh[path] = file
        whole = all(self._next(file) is None for file in files.values())
        if large and fresh:
            self._note(prefix, fresh)
        return Folder(files, known, whole)

    def listed(self, prefix: str) -> dict[str, Listed]:
        """Return what lies below a prefix, in order of paths."""
        return {line.key.removeprefix(prefix): line for line in self.blobs.list(_BUCKET, prefix)}

    def forget(self, prefix: str) -> None:
        """Remove what was noted of a folder that is of no more interest."""
        found = [Key(str(item["pk"]), str(item["sk"])) for item in every(self.tables, _TABLE, self._pk(prefix))]
        if found:
            self.tables.delete_many(_TABLE, found)

    def _next(self, file: Measured) -> tuple[int, int] | None:
        """Return start and length of the next block to be read, if one is."""
        start = len(file.blocks) * self.block_bytes
        if start >= file.size and (file.blocks or file.size):
            return None
        return start, min(self.block_bytes, file.size - start)

    def _block(self, key: str, start: int, length: int) -> str:
        digest = hashlib.sha256()
        for first in range(start, start + length, self.range_bytes):
            size = min(self.range_bytes, start + length - first)
            digest.update(self.blobs.get_range(_BUCKET, key, first, size))
        return digest.hexdigest()

    def _notes(self, prefix: str) -> dict[str, Measured]:
        notes: dict[str, Measured] = {}
        for item in every(self.tables, _TABLE, self._pk(prefix)):
            for path, (size, etag, blocks) in json.loads(item["doc"]).items():
                notes[path] = Measured(size, etag, tuple(blocks))  # newer notes come later and know more
        return notes

    def _note(self, prefix: str, files: Mapping[str, Measured]) -> None:
        expires = int((datetime.now(UTC) + _KEPT).timestamp())  # the table's own TTL, which goes by the wall's time
        place = {"pk": self._pk(prefix), "expires": expires}
        self.tables.write_many(_TABLE, [{**place, "sk": new_id(), "doc": text} for text in _texts(files)])

    def _pk(self, prefix: str) -> str:
        return f"WS#{self.workspace}#FOLDER#{prefix}"


def _texts(files: Mapping[str, Measured]) -> Iterator[str]:
    """Yield notes of files in JSON texts that each fit into an item."""
    said: list[str] = []
    room = _NOTE_BYTES
    for path, file in files.items():
        text = f"{json.dumps(path)}:{json.dumps([file.size, file.etag, file.blocks])}"
        if said and len(text) > room:
            yield "{" + ",".join(said) + "}"
            said, room = [], _NOTE_BYTES
        said.append(text)
        room -= len(text)
    yield "{" + ",".join(said) + "}"
