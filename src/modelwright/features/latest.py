"""Latest views: which version of a row is served as of a time, and which of them an entity's item must keep.

A version is visible from when it became known to when the next newer version of its key did (``until``). As of ``t``
the newest visible one by event time counts, of those with event time not after ``t``; ties go to the later
availability, then the later arrival. The item keeps every version that can still be served as of ``since`` or later,
and no other.

Versions of one key end one another as they meet in an item. What has left it can end nothing any more, and a row that
was corrected into another entity's is ended by nobody here: both are put right when the rows are folded into the
history, which knows every version. So is a row that was dropped and would be served again because those after it were
corrected to earlier event times: the item keeps one row behind the newest for that, not two.

An item has a bound. Of many rows it keeps those that reads as of five minutes ago or later can be served; of more than
fit, of still less; and of more rows of the future than fit, those that are served first: the others, thousands for one
entity, are in the offline store, and come online with a backfill.

An item holds, each as JSON: ``times`` (``since``, then event, availability and end of each version), ``names`` (arrival
and key of each), and the features in blocks of up to ``BLOCK`` (a list of values of each version), so that a read takes
``times`` and the blocks of the features asked for, and nothing else. The name of a block's attribute follows from the
names of its features: an item that was written before features were declared lacks the blocks they are in now, and says
in ``blocks`` which it has.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from modelwright.features.aggregates import NEVER
from modelwright.features.layout import HOUR_US, micros, moment
from modelwright.project import ColumnType, Source, View
from modelwright.storage import Absent, Is, Item, Key, Put

SLACK_H = 24
"""An item can be read as of so much before its last write, if that takes few rows."""
FEW = 64
LARGEST = 300_000
"""Bytes of versions in an item, of DynamoDB's 400 KB: one that is larger by itself is not taken."""
_LESS_US = (HOUR_US // 12, HOUR_US // 60, HOUR_US // 3600, 0)
_FRAME, _PLAIN = 140, 26
BLOCK = 16
"""Features per attribute: few attributes are quick to read, and little is read that was not asked for."""


class Version(NamedTuple):
    """A version of a row in a latest view: the order of its first fields is the order of precedence.

    Attributes:
        event: its event time.
        available: when it became known.
        arrival: when it came.
        key: names the row of the source.
        until: when the next newer version of the row became known; ``NEVER`` if none did.
        values: the view's features, in the view's order.
    """

    event: int
    available: int
    arrival: str
    key: int
    until: int
    values: tuple[Any, ...]

    @property
    def rank(self) -> tuple[int, int, str, int]:
        """Which of two rows is served."""
        return self[:4]

    @property
    def age(self) -> tuple[int, int, str]:
        """Which version of which row it is; of two versions of a row, the newer is the greater."""
        return (self.key, self.available, self.arrival)

    def visible(self, time_us: int) -> bool:
        """Say whether a read as of a time sees it."""
        return self.event <= time_us and self.available <= time_us < self.until


@dataclass(frozen=True)
class Newest:
    """An entity's item of a latest view: its few newest rows, newest first.

    Attributes:
        since: reads as of earlier times would miss rows that were dropped; 0 if nothing was ever written.
        version: counts writes.
    """

    since: int = 0
    rows: Sequence[Version] = ()
    version: int = 0

    def as_of(self, time_us: int) -> Version | None:
        """Return the row that is newest as of a time, whatever its age."""
        return next((r for r in self.rows if r.visible(time_us)), None)


def merged(newest: Newest, versions: Iterable[Version], now_us: int) -> Newest | None:
    """Return the item with versions put in, or None if that changes nothing.

    It commutes: the same versions give the same rows in whatever order and however often they come.

    Args:
        newest: what is there.
        versions: versions of rows of the same entity, at least all that reads as of ``SLACK_H`` before ``now_us`` or
            later can be served; one that comes again with an earlier ``until`` ends then.
        now_us: the time of writing.
    """
    there: dict[tuple[int, int, str], Version] = {}
    for version in (*newest.rows, *versions):
        known = there.get(version.age)
        there[version.age] = version if known is None or version.until < known.until else known
    ordered = sorted(_ended(there), key=lambda v: v.rank, reverse=True)
    since = max(now_us - SLACK_H * HOUR_US, newest.since)
    kept = needed(ordered, since)
    if len(kept) > FEW or weight(kept) > LARGEST:
        for slack_us in _LESS_US:
            since = max(now_us - slack_us, newest.since)
            kept = needed(ordered, since)
            if weight(kept) <= LARGEST:
                break
        else:
            kept = _nearest(kept, since)
    return None if kept == list(newest.rows) else Newest(since, kept, newest.version)


def weight(versions: Iterable[Version]) -> int:
    """Return at most how many bytes of an item versions take."""
    return sum(_FRAME + sum(weight_of(value) for value in version.values) for version in versions)


def weight_of(value: Any) -> int:
    """Return at most how many bytes of an item a feature's value takes."""
    return len(dumps(value)) + 1 if isinstance(value, str) else _PLAIN


def needed(ordered: Iterable[Version], since: int) -> list[Version]:
    """Return, of versions in order of precedence, those that some read as of ``since`` or later can be served.

    And the one behind them, which can be served if the last of them is corrected.
    """
    kept, settled = [], 0
    for version in ordered:
        if version.until > max(version.event, version.available, since):
            kept.append(version)
            settled += max(version.event, version.available) <= since and version.until == NEVER
            if settled == 2:
                break
    return kept


def outdated(view: View, event_us: int, as_of_us: int) -> bool:
    """Say whether a row with this event time is older than the view's TTL allows."""
    return bool(view.ttl_us) and event_us < as_of_us - view.ttl_us


def expires(view: View, newest: Newest, now_us: int, wall: datetime) -> int:
    """Return when DynamoDB may delete an item: once its rows are older than the TTL allows; 0 is never.

    Args:
        view: whose TTL.
        newest: what the item holds.
        now_us: domain time, which the rows' times are of.
        wall: the same moment's wall time, which DynamoDB goes by.
    """
    if not view.ttl_us:
        return 0
    last = max((row.event for row in newest.rows), default=now_us) + view.ttl_us
    return int(wall.timestamp()) + max(0, last - now_us) // 1_000_000 + SLACK_H * 3600


@lru_cache(1024)
def blocks_of(features: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the blocks that a view's features are stored in: their names, by attribute."""
    blocks = (features[n : n + BLOCK] for n in range(0, len(features), BLOCK))
    return {f"b{hashlib.blake2b(' '.join(names).encode(), digest_size=6).hexdigest()}": names for names in blocks}


def read_newest(item: Item | None, source: Source, features: Sequence[str]) -> Newest:
    """Return an item with these of its features; None is an entity never seen."""
    if item is None:
        return Newest()
    since, *times = json.loads(item["times"])
    names = json.loads(item["names"])
    stored = stored_columns(item)
    absent = [None] * len(names)
    columns = [_plain(stored.get(name, absent), source.columns[name].type) for name in features]
    values = zip(*columns, strict=True) if columns else [()] * len(names)
    places = zip(times[0::3], times[1::3], times[2::3], names, values, strict=True)
    rows = [Version(e, a, came, int(key, 16), until, v) for e, a, until, (came, key), v in places]
    return Newest(since, rows, item["v"])


def stored_columns(item: Item) -> dict[str, tuple[Any, ...]]:
    """Return the features of a whole item by name, one value per version, times as microseconds."""
    found: dict[str, tuple[Any, ...]] = {}
    for attribute, names in json.loads(item["blocks"]).items():
        found.update(zip(names, zip(*json.loads(item[attribute]), strict=True), strict=False))
    return found


def newest_write(key: Key, view: View, newest: Newest, *, expires: int = 0) -> Put:
    """Return the write of an item, if nobody else has written it since it was read.

    Args:
        key: of the item.
        view: whose features they are.
        newest: what it is to hold.
        expires: when DynamoDB may delete it (seconds since 1970 of wall time); 0: never.
    """
    blocks = blocks_of(view.features)
    item = {
        **key._asdict(),
        "v": newest.version + 1,
        "times": dumps([newest.since, *(time for r in newest.rows for time in (r.event, r.available, r.until))]),
        "names": dumps([[r.arrival, f"{r.key:016x}"] for r in newest.rows]),
        "blocks": dumps(blocks),
        **{
            attribute: dumps([[_said(v) for v in row.values[n * BLOCK : (n + 1) * BLOCK]] for row in newest.rows])
            for n, attribute in enumerate(blocks)
        },
        **({"expires": expires} if expires else {}),
    }
    return Put("features", item, Is("v", newest.version) if newest.version else Absent())


def _nearest(kept: Sequence[Version], since: int) -> list[Version]:
    """Return, of more versions than fit, those that are served first, in the same order."""
    chosen, total = set[tuple[int, int, str]](), 0
    for version in sorted(kept, key=lambda v: max(v.event, v.available, since)):
        total += weight([version])
        if total > LARGEST:
            break
        chosen.add(version.age)
    return [version for version in kept if version.age in chosen]


def dumps(value: Any) -> str:
    """Return compact JSON; floats come back to the bit."""
    return json.dumps(value, separators=(",", ":"))


def _plain(values: Sequence[Any], kind: ColumnType) -> Sequence[Any]:
    return [None if v is None else moment(v) for v in values] if kind == "timestamp" else values


def _said(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


def _ended(versions: Mapping[tuple[int, int, str], Version]) -> Iterable[Version]:
    """Yield versions, each ended by the next newer one of its key."""
    for _, ages in groupby(sorted(versions), key=lambda age: age[0]):
        mine = [versions[age] for age in ages]
        for older, newer in pairwise(mine):
            yield older._replace(until=min(older.until, newer.available))
        yield mine[-1]
