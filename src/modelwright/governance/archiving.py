"""The archive: each day of the log as compressed JSON Lines in the Object-Lock bucket, so that it outlives the table.

A day goes from the first root of its date to the first root of the next date that has one; so days follow one another
without a gap, each is an excerpt between two roots of the same bucket (``excerpts``), and the verifier
checks it by itself. What was written at the day's edges may lie in the file of the day before. Days without a
root, when nothing happened, belong to the day before them. Missed days are made up for, one after the other.

A day's bytes follow from its items: a run that broke off is done again with the same outcome.

=============  =============  ==========  ==================================================
entity         pk             sk          access pattern
=============  =============  ==========  ==================================================
newest day     ``ARCHIVE``    ``NEWEST``  get: the root that the archive reaches to
=============  =============  ==========  ==================================================
"""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta

from modelwright.context import Call
from modelwright.events import LogArchived
from modelwright.governance import excerpts
from modelwright.governance.anchoring import Anchored, first_from
from modelwright.governance.excerpts import MANIFEST, File, Tally
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Absent, Blobs, Condition, Is, Item, Key, Put, Tables

NEWEST = Key("ARCHIVE", "NEWEST")
PART_BYTES = 64_000_000
"""So many bytes of lines make a part: a tenth of it compressed, which is what is held in memory."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_LEVEL = 6


def archive(call: Call, *, tables: Tables, blobs: Blobs, log: Log, days: int = 7) -> list[LogArchived]:
    """Archive the days that are over and not archived yet, at most so many, and record each.

    Args:
        call: whose doing it is.
        tables: holds where the roots lie, and how far the archive goes.
        blobs: the audit bucket.
        log: what is archived, and where that is recorded.
        days: the others are left to the next time.
    """
    done = []
    for _ in range(days):
        stored = tables.get("governance", NEWEST)
        before = Anchored.read(stored) if stored else None
        since = before or first_from(_BEGINNING, tables)
        after = first_from(_midnight_after(since.at), tables) if since else None
        if since is None or after is None:
            break
        done.append(_archive_day(call, since.at, before, after, tables=tables, blobs=blobs, log=log))
    return done


def _archive_day(
    call: Call, day: datetime, before: Anchored | None, after: Anchored, *, tables: Tables, blobs: Blobs, log: Log
) -> LogArchived:
    folder, tally, files = f"archive/{day:%Y/%m/%d}", Tally(), dict[str, File]()
    for number, part in enumerate(_parts(before, after, tally, tables, blobs), 1):
        name = f"part-{number:05d}.jsonl.gz"
        blobs.put("audit", f"{folder}/{name}", part)
        files[name] = File.of(part)
    body = excerpts.manifest(
        tally,
        workspace="",
        period=(before.at if before else _BEGINNING, after.at),
        roots=(before.told if before else None, after.told),
        log=files,
        others={},
        day=f"{day:%Y-%m-%d}",
    )
    key = f"{folder}/{MANIFEST}"
    blobs.put("audit", key, body)
    event = LogArchived(key=key, day=f"{day:%Y-%m-%d}", items=tally.items, digest=File.of(body).sha256)
    condition: Condition = Is("number", before.number) if before else Absent()
    item = {**NEWEST._asdict(), **after.told, "day": event.day}
    happened = Happened(stream_of(call.workspace, "AUDIT", "archive"), event)
    log.commit(call, [happened], [Put("governance", item, condition)])
    return event


def _parts(before: Anchored | None, after: Anchored, tally: Tally, tables: Tables, blobs: Blobs) -> Iterator[bytes]:
    """Yield the compressed parts of what was written between two roots."""
    lines: list[bytes] = []
    size = 0
    for item in _items(before, after, tables, blobs):
        tally.take(item)
        lines.append(excerpts.line(item))
        size += len(lines[-1])
        if size >= PART_BYTES:
            yield _compressed(lines)
            lines, size = [], 0
    if lines:
        yield _compressed(lines)


def _items(before: Anchored | None, after: Anchored, tables: Tables, blobs: Blobs) -> Iterator[Item]:
    for stream, span in excerpts.spans(before, after, blobs):
        yield from excerpts.items_of(stream, span, tables)


def _compressed(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(lines), _LEVEL, mtime=0)


def _midnight_after(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
