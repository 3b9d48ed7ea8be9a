"""Exports: any period of the log, page by page, with the roots that prove it; who takes one is in the log.

A period is of wall-clock time, that of writing. An export reaches from the last root before its period
to the first one after it, so that what it leaves out can be told from what there was not: everything between
two roots is known. If no root is late enough, one is written; a period that is not over yet ends then.
The last minutes before such an end may miss what was under way.

=============  ========================  ==========  =============================================
entity         pk                        sk          access pattern
=============  ========================  ==========  =============================================
export         ``WS#<ws>#EXPORT``        ``<id>``    get by id: the period, the two roots, the digest
=============  ========================  ==========  =============================================

``AuditExported`` is written twice: without a digest when an export begins, before anything is given out,
and with its manifest's digest when whoever took it is done. That digest is the taker's statement of what
was taken; that nothing is missing or changed is proven by the roots.
"""

import json
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, Refused, Unavailable
from modelwright.events import AuditExported
from modelwright.governance import excerpts
from modelwright.governance.anchoring import (
    SETTLING,
    Anchored,
    Root,
    anchor,
    anchored_at,
    first_from,
    last_until,
    list_roots,
    newest_anchored,
    part_of,
)
from modelwright.governance.excerpts import Spans
from modelwright.log import Happened, Log, canonical, new_id, stream_of
from modelwright.storage import Absent, Blobs, Is, Item, Key, Put, Tables

PAGE_BYTES = 4_000_000
"""A function answers with 6 MB at most, and JSON in JSON grows."""
PAGE_ITEMS = 1000
"""So many streams of one item each are as many queries, within an answer's 30 seconds."""
PAGE_HEADS = 20_000
MOST_ROOTS = 60
"""So many roots an hour and no export has another one written: they lie in the bucket for years, and readers export."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class BeginExport(BaseModel):
    """What is asked for.

    Attributes:
        start: of the period, inclusive, by the wall clock.
        end: of the period, exclusive.
        format: what the items are for; all formats are made of the same pages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    start: AwareDatetime
    end: AwareDatetime
    format: Literal["jsonl", "csv", "cloudtrail"] = "jsonl"


class FinishExport(BaseModel):
    """What was taken.

    Attributes:
        items: how many.
        digest: SHA-256 of the manifest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    items: int = Field(ge=0)
    digest: str = Field(pattern="^[0-9a-f]{64}$")


def begin(
    call: Call, asked: BeginExport, *, wall: datetime, platform: Call, tables: Tables, blobs: Blobs, log: Log
) -> dict[str, Any]:
    """Begin an export and return its id, its period and the two roots that it reaches from and to.

    Args:
        call: who takes it.
        asked: the period.
        wall: wall-clock time.
        platform: the platform's own call in this workspace, which writes a root if none is late enough.
        tables: holds exports, and where the roots lie.
        blobs: the audit bucket.
        log: what is exported, and where that is recorded.

    Raises:
        InvalidInput: the period is empty or has not begun, or nothing was ever written.
        Unavailable: exports had so many roots written lately that there is none after the period's start.
    """
    call.authorise("log:read", "workspace")
    if asked.start >= asked.end:
        raise InvalidInput(f"a period must start before it ends, not {_told(asked.start)} to {_told(asked.end)}")
    if asked.start >= wall:
        raise InvalidInput(f"the period begins at {_told(asked.start)}, which is in the future")
    after = first_from(min(asked.end, wall + SETTLING) + SETTLING, tables)
    if after is None:
        if not _flooded(wall, tables):
            anchor(platform, wall=wall, tables=tables, blobs=blobs, log=log, anew=True)
        after = newest_anchored(tables)
    if after is not None and after.at <= asked.start:
        raise Unavailable("there were too many exports within the hour, try again later")
    if after is None:
        raise InvalidInput("nothing was ever written to the log, so there is nothing to export")
    before, end = last_until(max(asked.start, _BEGINNING) - SETTLING, tables), min(asked.end, after.at)
    identity = new_id(wall)
    told = {
        "start": asked.start.isoformat(),
        "end": end.isoformat(),
        "format": asked.format,
        "from": before.told if before else None,
        "to": after.told,
    }
    item = {
        **_key(call, identity)._asdict(),
        "actor": call.actor,
        "told": canonical(told).decode(),
        "items": 0,
        "digest": "",
    }
    log.commit(call, [_happened(call, told, 0, "")], [Put("governance", item, Absent())])
    return {"export": identity, "workspace": call.workspace, **told}


def page(
    call: Call, identity: str, *, cursor: str, tables: Tables, blobs: Blobs, cache: MutableMapping[str, Any]
) -> dict[str, Any]:
    """Return the next items of an export as they are stored, and the cursor of the page after; empty at the end.

    Raises:
        NotFound: there is no such export.
        InvalidInput: the cursor is none of this export's.
    """
    call.authorise("log:read", "workspace")
    _, told = _export(call, identity, tables)
    spans = _spans(call.workspace, told, blobs, cache)
    number, start = _place(cursor, spans)
    found: list[Item] = []
    size = 0
    for position in range(number, len(spans)):
        stream, span = spans[position]
        call.authorise("log:read", f"stream/{stream}")
        for item in excerpts.items_of(stream, span, tables, start=start if position == number else 0):
            size += len(json.dumps(item))
            if found and (size > PAGE_BYTES or len(found) == PAGE_ITEMS):
                return {"items": found, "next": f"{position}.{int(item['sk'])}"}
            found.append(item)
    return {"items": found, "next": ""}


def finish(call: Call, identity: str, taken: FinishExport, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Record what was taken; again, with the same, is the same.

    Raises:
        NotFound: there is no such export.
        Refused: something else was recorded.
    """
    call.authorise("log:read", "workspace")
    item, told = _export(call, identity, tables)
    if item["digest"]:
        if item["digest"] != taken.digest:
            raise Refused(f"export {identity} was finished with another digest, {item['digest']}: begin a new one")
    else:
        done = {**item, "items": taken.items, "digest": taken.digest}
        happened = _happened(call, told, taken.items, taken.digest)
        log.commit(call, [happened], [Put("governance", done, Is("digest", ""))])
    return {"export": identity, "items": taken.items, "digest": taken.digest}


def roots(call: Call, start: datetime, end: datetime, *, tables: Tables, cursor: str) -> dict[str, Any]:
    """Return a page of where the roots of a time lie, oldest first."""
    call.authorise("log:read", "workspace")
    found = list_roots(start, end, tables=tables, cursor=cursor)
    return {"roots": [Anchored.read(item).told for item in found.items], "next": found.cursor}


def root(call: Call, at: datetime | None, *, after: str, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return the workspace's part of a root, page by page; the whole root if these are all its streams.

    Args:
        call: who asks.
        at: exactly when it was written; None: the newest.
        after: the last stream of the page before.
        tables: holds where the roots lie.
        blobs: the audit bucket.

    Raises:
        NotFound: there is none.
    """
    call.authorise("log:read", "workspace")
    found = anchored_at(at, tables) if at else newest_anchored(tables)
    if found is None:
        raise NotFound("there is no root yet")
    part: Root = part_of(found.load(blobs), call.workspace)
    names = sorted(stream for stream in part["heads"] if stream > after)
    shown = names[:PAGE_HEADS]
    heads = {stream: part["heads"][stream] for stream in shown}
    return {**part, "heads": heads, "next": shown[-1] if len(names) > len(shown) else ""}


def _flooded(wall: datetime, tables: Tables) -> bool:
    """Say whether so many roots were written lately that an export that wants one must do with the newest."""
    lately = list_roots(wall - timedelta(hours=1), wall, tables=tables).items
    return len(lately) >= MOST_ROOTS


def _key(call: Call, identity: str) -> Key:
    return Key(f"WS#{call.workspace}#EXPORT", identity)


def _export(call: Call, identity: str, tables: Tables) -> tuple[Item, dict[str, Any]]:
    item = tables.get("governance", _key(call, identity))
    if item is None:
        raise NotFound(f"there is no export {identity}")
    told: dict[str, Any] = json.loads(item["told"])
    return item, told


def _happened(call: Call, told: dict[str, Any], items: int, digest: str) -> Happened:
    start, end = (datetime.fromisoformat(told[name]) for name in ("start", "end"))
    event = AuditExported(start=start, end=end, format=told["format"], items=items, digest=digest)
    return Happened(stream_of(call.workspace, "AUDIT", "exports"), event)


def _spans(workspace: str, told: dict[str, Any], blobs: Blobs, cache: MutableMapping[str, Any]) -> Spans:
    """Return where the export's streams begin and end; those of the last one asked for are kept."""
    name = (workspace, *(root and root["key"] for root in (told["from"], told["to"])))
    if cache.get("audit", (None, None))[0] != name:
        before, after = (root and Anchored.read(root) for root in (told["from"], told["to"]))
        cache["audit"] = (name, excerpts.spans(before, after, blobs, workspace))
    spans: Spans = cache["audit"][1]
    return spans


def _place(cursor: str, spans: Spans) -> tuple[int, int]:
    """Return which stream a cursor points to, and where in it."""
    if not cursor:
        return 0, 0
    position, _, sequence = cursor.partition(".")
    if not (position.isascii() and position.isdigit() and sequence.isascii() and sequence.isdigit()):
        raise InvalidInput(f"{cursor[:100]!r} is no cursor of an export")
    if len(cursor) > 40 or int(position) >= len(spans):
        raise InvalidInput(f"{cursor[:100]!r} is no cursor of this export")
    return int(position), int(sequence)


def _told(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
