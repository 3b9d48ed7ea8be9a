"""Roots: the heads of all streams, written on a schedule where nobody can change them.

A root lists every stream that the last one knew or that was written to since, with its newest
sequence number and hash, and the hash over all of them; it names the root before it. The table
holds only where the roots lie, so that the number of streams has no limit.

However long ago the last root was, the next goes through every hour since. The first root goes back until
nothing was written for a month, so that a log that went on without roots is in it. Where nothing happens
there is still a root a week, and a note a day that nothing happened, so that nobody has a long way back.

=============  ====================  ==============  ===============================================
entity         pk                    sk              access pattern
=============  ====================  ==============  ===============================================
newest root    ``ROOT``              ``NEWEST``      get; number 0 before the first; since when nothing is new
root           ``ROOT``              ``AT#<time>``   where a root lies, by the wall time of writing
=============  ====================  ==============  ===============================================
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import RootAnchored
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.storage import Absent, Blobs, Condition, Is, Item, Key, Page, Put, Tables

NEWEST = Key("ROOT", "NEWEST")
SETTLING = timedelta(minutes=5)
"""An item may be written so long after the time that its id tells."""
_AT = "AT#"
_STREAM = ("AUDIT", "roots")
_EMPTY_DAYS, _LOOKED_DAYS = 30, 2
"""So many days without an item end the way back: of the first root, and of who only looks."""
_NOTED = timedelta(days=1)
_IDLE = timedelta(days=7)
_HOUR = timedelta(hours=1)
_NOTHING: dict[str, Any] = {"number": 0, "root": "", "heads": {}, "at": ""}

Root = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Anchored:
    """Where a root lies, as the table tells it."""

    number: int
    at: datetime
    key: str
    root: str

    @classmethod
    def read(cls, item: Item) -> "Anchored":
        """Read the stored form."""
        return cls(item["number"], datetime.fromisoformat(item["at"]), item["key"], item["root"])

    @property
    def told(self) -> dict[str, Any]:
        """What a manifest and the read API tell of it."""
        return {"number": self.number, "at": self.at.isoformat(), "key": self.key, "root": self.root}

    def load(self, blobs: Blobs) -> Root:
        """Return the root itself, as it lies in the audit bucket."""
        root: Root = json.loads(blobs.get("audit", self.key).body)
        return root


def anchor(
    call: Call, *, wall: datetime, tables: Tables, blobs: Blobs, log: Log, anew: bool = False
) -> RootAnchored | None:
    """Write the next root and record it; returns None when nothing was written since one of this week.

    Args:
        call: whose doing it is.
        wall: wall-clock time, by which the log's hours are indexed.
        tables: holds where the roots lie.
        blobs: the audit bucket.
        log: whose heads are anchored.
        anew: write one even so, unless nothing was ever written.
    """
    newest = tables.get("governance", NEWEST)
    last = _last(newest, blobs)
    heads = _heads(last, newest, wall, log)
    unchanged = _of_others(heads) == _of_others(last["heads"])
    if not heads or (unchanged and not anew and wall - datetime.fromisoformat(last["at"]) < _IDLE):
        _note(newest, {name: head for name, head in heads.items() if last["heads"].get(name) != head}, wall, tables)
        return None
    root = _root(last, heads, wall)
    key = f"roots/{wall:%Y/%m/%d}/{root['number']:08d}-{root['root'][:16]}.json"
    blobs.put("audit", key, canonical(root))
    theirs = part_of(root, call.workspace)["heads"]
    event = RootAnchored(
        key=key, streams=len(theirs), items=sum(int(sequence) for sequence, _ in theirs.values()), root=root["root"]
    )
    told = {"number": root["number"], "at": root["at"], "key": key, "root": root["root"]}
    condition: Condition = Is("number", last["number"]) if newest else Absent()
    writes = [Put("governance", {**NEWEST._asdict(), **told}, condition), Put("governance", _row(told), Absent())]
    log.commit(call, [Happened(stream_of(call.workspace, *_STREAM), event)], writes)
    return event


def known_heads(*, wall: datetime, tables: Tables, blobs: Blobs, log: Log) -> dict[str, tuple[int, str]]:
    """Return sequence number and hash of the newest item of every stream, anchored or newer.

    Before the first root only streams of the last days are known.
    """
    newest = tables.get("governance", NEWEST)
    heads = _heads(_last(newest, blobs), newest, wall, log, empty_days=_LOOKED_DAYS)
    return {stream: (int(sequence), str(value)) for stream, (sequence, value) in heads.items()}


def newest_root(*, tables: Tables, blobs: Blobs) -> Root | None:
    """Return the last root that was anchored, as it lies in the audit bucket."""
    stored = tables.get("governance", NEWEST)
    return Anchored.read(stored).load(blobs) if stored and stored["number"] else None


def newest_anchored(tables: Tables) -> Anchored | None:
    """Return where the last root lies."""
    stored = tables.get("governance", NEWEST)
    return Anchored.read(stored) if stored and stored["number"] else None


def first_from(time: datetime, tables: Tables) -> Anchored | None:
    """Return the first root of this time or later, or None."""
    return _only(tables.query("governance", NEWEST.pk, start=_sk(time), end=f"{_AT}~", limit=1))


def last_until(time: datetime, tables: Tables) -> Anchored | None:
    """Return the last root of this time or earlier, or None."""
    return _only(tables.query("governance", NEWEST.pk, start=_AT, end=_sk(time), reverse=True, limit=1))


def anchored_at(time: datetime, tables: Tables) -> Anchored:
    """Return where the root of exactly this time lies; raises ``NotFound``."""
    item = tables.get("governance", Key(NEWEST.pk, _sk(time)))
    if item is None:
        raise NotFound(f"there is no root of {time.isoformat()}")
    return Anchored.read(item)


def list_roots(start: datetime, end: datetime, *, tables: Tables, cursor: str = "") -> Page:
    """Return a page of where the roots of a time lie, oldest first."""
    return tables.query("governance", NEWEST.pk, start=_sk(start), end=_sk(end), cursor=cursor)


def part_of(root: Root, workspace: str) -> Root:
    """Return a root with one workspace's heads alone; unless these are all, it says so and its hash is not theirs."""
    mine = f"WS#{workspace}#"
    heads = {stream: head for stream, head in root["heads"].items() if stream.startswith(mine)}
    if len(heads) == len(root["heads"]):
        return root
    return {"number": root["number"], "at": root["at"], "heads": heads, "part_of": root["root"]}


def _only(page: Page) -> Anchored | None:
    return Anchored.read(page.items[0]) if page.items else None


def _sk(time: datetime) -> str:
    """Return the sort key of a time: always as many digits, so that keys sort by time."""
    return f"{_AT}{time.astimezone(UTC).isoformat(timespec='microseconds')}"


def _row(told: Mapping[str, Any]) -> Item:
    return {"pk": NEWEST.pk, "sk": _sk(datetime.fromisoformat(told["at"])), **told}


def _note(newest: Item | None, seen: Mapping[str, list[Any]], wall: datetime, tables: Tables) -> None:
    """Remember, once a day, that nothing is new but the roots' own streams, so that no look goes back to the root."""
    noted = {"looked": wall.isoformat(), "seen": dict(seen)}
    if newest is None:
        item = {**NEWEST._asdict(), "number": 0, "at": wall.isoformat(), "key": "", "root": "", **noted}
        tables.write([Put("governance", item, Absent())])
    elif wall - _looked(newest) >= _NOTED:
        tables.write([Put("governance", {**newest, **noted}, Is("number", newest["number"]))])


def _looked(newest: Item) -> datetime:
    return datetime.fromisoformat(newest.get("looked") or newest["at"])


def _last(newest: Item | None, blobs: Blobs) -> Root:
    return Anchored.read(newest).load(blobs) if newest and newest["number"] else _NOTHING


def _heads(
    last: Root, newest: Item | None, wall: datetime, log: Log, empty_days: int = _EMPTY_DAYS
) -> dict[str, list[Any]]:
    if newest is None:
        return _all_heads(wall, log, empty_days)
    since = _heads_of(_hours(_looked(newest) - SETTLING, wall), log)
    return _furthest(last["heads"], newest.get("seen", {}), since)


def _furthest(*found: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return each stream's furthest head: where writers' clocks differ, a later hour may have an earlier item."""
    heads: dict[str, list[Any]] = {}
    for name, head in chain.from_iterable(each.items() for each in found):
        if name not in heads or head[0] > heads[name][0]:
            heads[name] = list(head)
    return heads


def _all_heads(wall: datetime, log: Log, empty_days: int) -> dict[str, list[Any]]:
    """Return the heads of a log without a root: from now back, until nothing was written for so many days."""
    heads: dict[str, list[Any]] = {}
    empty, day = 0, wall
    while empty < empty_days:
        of_day = _heads_of(_hours(day - 23 * _HOUR, day), log)
        heads = _furthest(heads, of_day)
        empty, day = (0 if of_day else empty + 1), day - timedelta(days=1)
    return heads


def _of_others(heads: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the heads without those of the roots' own streams: that a root was written needs no other."""
    own = "#" + "#".join(_STREAM)
    return {name: head for name, head in heads.items() if not name.endswith(own)}


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    hour = start.replace(minute=0, second=0, microsecond=0)
    while hour <= end:
        yield hour
        hour += _HOUR


def _heads_of(hours: Iterator[datetime], log: Log) -> dict[str, list[Any]]:
    heads: dict[str, list[Any]] = {}
    for hour in hours:
        for item in log.hour(hour):
            sequence = item.envelope.sequence
            if sequence > heads.get(item.envelope.stream, [0])[0]:
                heads[item.envelope.stream] = [sequence, item.hash]
    return heads


def _root(last: Root, heads: Mapping[str, list[Any]], wall: datetime) -> Root:
    body = {"number": last["number"] + 1, "previous": last["root"], "at": wall.isoformat(), "heads": heads}
    return {**body, "root": hashlib.sha256(canonical(body)).hexdigest()}
