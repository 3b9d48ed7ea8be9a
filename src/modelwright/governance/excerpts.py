"""Excerpts of the log: what was written between two roots, in a form that proves itself.

An excerpt has every item of every stream that was written after one root (or the log's beginning) and
before another, in the order of streams and sequence numbers, one stored item a line. Its manifest tells
where each stream begins and ends, the two roots, and the SHA-256 of every file;
``modelwright.governance.verifier`` checks all of that. The same items make the same bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelwright.governance.anchoring import Anchored, Root
from modelwright.governance.verifier import Span, spans_between
from modelwright.log import canonical
from modelwright.storage import Blobs, Item, Tables, every

FIELDS = ("pk", "sk", "chain_version", "previous", "hash", "envelope")
"""What the chain protects; whether an item was published is no part of it, and changes."""
MANIFEST = "manifest.json"
_VERSION = 1

Spans = list[tuple[str, Span]]


def spans(before: Anchored | None, after: Anchored, blobs: Blobs, workspace: str = "") -> Spans:
    """Return each stream that was written to between two roots, by name, and from where to where."""
    earlier: Root | None = before.load(blobs) if before else None
    return list(spans_between(earlier, after.load(blobs), workspace))


def items_of(stream: str, span: Span, tables: Tables, *, start: int = 0) -> Iterator[Item]:
    """Yield a span's items as they are stored, from a sequence number on."""
    options = {"start": f"{max(start, span.first):012d}", "end": f"{span.last:012d}"}
    for item in every(tables, "log", stream, **options):
        yield {name: item[name] for name in FIELDS}


def line(item: Item) -> bytes:
    """Return an item's line."""
    return canonical({name: item[name] for name in FIELDS}) + b"\n"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an excerpt: its size and its SHA-256."""

    size: int
    sha256: str

    @classmethod
    def of(cls, body: bytes) -> "File":
        """Return what is told of a file with this content."""
        return cls(len(body), hashlib.sha256(body).hexdigest())


@dataclass
class Tally:
    """Where streams begin and end, counted item by item in stored order."""

    items: int = 0
    streams: dict[str, tuple[int, str, int, str]] = field(default_factory=dict)

    def take(self, item: Item) -> None:
        """Count an item."""
        place = int(item["sk"])
        first, before = self.streams.get(item["pk"], (place, item["previous"], 0, ""))[:2]
        self.streams[item["pk"]] = (first, before, place, item["hash"])
        self.items += 1


def manifest(
    tally: Tally,
    *,
    workspace: str,
    period: tuple[datetime, datetime],
    roots: tuple[Mapping[str, Any] | None, Mapping[str, Any]],
    log: Mapping[str, File],
    others: Mapping[str, File],
    **more: object,
) -> bytes:
    """Return an excerpt's manifest.

    Args:
        tally: of all its items.
        workspace: whose streams these are; empty: everybody's.
        period: what was asked for; the excerpt takes it in.
        roots: from which (None: the log's beginning) to which it goes, as ``Anchored.told``.
        log: the files with its items, in order.
        others: further files.
        more: what else is to be told.
    """
    files = {name: {"bytes": file.size, "sha256": file.sha256} for name, file in {**log, **others}.items()}
    told = {
        "version": _VERSION,
        "workspace": workspace,
        "start": period[0].isoformat(),
        "end": period[1].isoformat(),
        "from": roots[0],
        "to": roots[1],
        "items": tally.items,
        "log": list(log),
        "files": files,
        "streams": {stream: list(span) for stream, span in tally.streams.items()},
        **more,
    }
    return canonical(told)
