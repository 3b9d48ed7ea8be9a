"""Roots: the heads of all streams, written on a schedule where nobody can change them.

A root lists every stream that the last one knew or that was written to since, with its newest
sequence number and hash, and the hash over all of them; it names the root before it. The table
holds only where the newest root lies, so that the number of streams has no limit.

However long ago the last root was, the next goes through every hour since. The first root looks back
two days: on a new stack that is all there is, but streams of a log that went on for longer without a
root, and that nothing is written to any more, are in no root until something is. Where nothing
happens there is still a root a week, so that the next has no long way back.

=============  ====================  ==========  =============================
entity         pk                    sk          access pattern
=============  ====================  ==========  =============================
newest root    ``ROOT``              ``NEWEST``  get
=============  ====================  ==========  =============================
"""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.events import RootAnchored
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.storage import Absent, Blobs, Condition, Is, Key, Put, Tables

NEWEST = Key("ROOT", "NEWEST")
_FIRST = timedelta(days=2)
_IDLE = timedelta(days=7)
_IN_FLIGHT = timedelta(minutes=5)
"""An item whose time was taken so long before it was written may lie in the hour before the last root."""
_NOTHING: dict[str, Any] = {"number": 0, "root": "", "heads": {}, "at": ""}


def anchor(call: Call, *, wall: datetime, tables: Tables, blobs: Blobs, log: Log) -> RootAnchored | None:
    """Write the next root and record it; returns None when nothing was written since one of this week.

    Args:
        call: whose doing it is.
        wall: wall-clock time, by which the log's hours are indexed.
        tables: holds the newest root.
        blobs: the audit bucket.
        log: whose heads are anchored.
    """
    last = newest_root(tables=tables, blobs=blobs) or _NOTHING
    heads = _heads(last, wall, log)
    audit = stream_of(call.workspace, "AUDIT", "roots")
    unchanged = _without(audit, heads) == _without(audit, last["heads"])
    if unchanged and wall - (datetime.fromisoformat(last["at"]) if last["at"] else wall) < _IDLE:
        return None
    root = _root(last, heads, wall)
    key = f"roots/{wall:%Y/%m/%d}/{root['number']:08d}.json"
    blobs.put("audit", key, canonical(root))
    event = RootAnchored(
        key=key, streams=len(heads), items=sum(int(sequence) for sequence, _ in heads.values()), root=root["root"]
    )
    condition: Condition = Is("number", last["number"]) if last["number"] else Absent()
    item = {**NEWEST._asdict(), "number": root["number"], "key": key, "root": root["root"]}
    log.commit(call, [Happened(audit, event)], [Put("governance", item, condition)])
    return event


def known_heads(*, wall: datetime, tables: Tables, blobs: Blobs, log: Log) -> dict[str, tuple[int, str]]:
    """Return sequence number and hash of the newest item of every stream, anchored or newer."""
    last = newest_root(tables=tables, blobs=blobs) or _NOTHING
    return {stream: (int(sequence), str(value)) for stream, (sequence, value) in _heads(last, wall, log).items()}


def newest_root(*, tables: Tables, blobs: Blobs) -> dict[str, Any] | None:
    """Return the last root that was anchored, as it lies in the audit bucket."""
    stored = tables.get("governance", NEWEST)
    if stored is None:
        return None
    root: dict[str, Any] = json.loads(blobs.get("audit", stored["key"]).body)
    return root


def _heads(last: dict[str, Any], wall: datetime, log: Log) -> dict[str, list[Any]]:
    since = datetime.fromisoformat(last["at"]) if last["at"] else wall - _FIRST
    return {**last["heads"], **_heads_since(since, wall, log)}


def _without(stream: str, heads: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: head for name, head in heads.items() if name != stream}


def _heads_since(since: datetime, wall: datetime, log: Log) -> dict[str, list[Any]]:
    heads: dict[str, list[Any]] = {}
    hour = (since - _IN_FLIGHT).replace(minute=0, second=0, microsecond=0)
    while hour <= wall:
        for item in log.hour(hour):
            sequence = item.envelope.sequence
            if sequence > heads.get(item.envelope.stream, [0])[0]:
                heads[item.envelope.stream] = [sequence, item.hash]
        hour += timedelta(hours=1)
    return heads


def _root(last: dict[str, Any], heads: dict[str, list[Any]], wall: datetime) -> dict[str, Any]:
    body = {"number": last["number"] + 1, "previous": last["root"], "at": wall.isoformat(), "heads": heads}
    return {**body, "root": hashlib.sha256(canonical(body)).hexdigest()}
