"""From the log to the bus: what the stream brings, and what a sweep finds it has missed.

An item is acknowledged (``published``) only after the bus took it. The stream loses records
after a day; the sweep looks through the hours' index for items that were never acknowledged and
publishes them again. Twice is possible, never is not: consumers know an event by its id.

A sweep goes from the first hour that is not known to be done: an hour is done when it is over for two
hours, which is more than a function runs and clocks differ, and all in it was acknowledged. Once a day a
sweep goes through the whole week all the same, for what was written into an old hour by a clock that was far off.
What nobody took for a week is given up.

=============  =============  ==========  ============================================================
entity         pk             sk          access pattern
=============  =============  ==========  ============================================================
watermark      ``SWEEP``      ``NEWEST``  get: the first hour not known to be done; the last whole sweep
=============  =============  ==========  ============================================================
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from modelwright.log import Log, LogItem, time_of
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, Update

GRACE = timedelta(minutes=2)
SETTLED = timedelta(hours=2)
"""So long after an hour's end nothing is written into it any more, unless a clock is wrong."""
WATERMARK = Key("SWEEP", "NEWEST")
_WEEK = timedelta(days=7)
_WHOLE = timedelta(days=1)
_HOUR = timedelta(hours=1)


class Bus(Protocol):
    """Where events go."""

    def publish(self, items: Sequence[LogItem]) -> frozenset[str]:
        """Put items on the bus and return the ids of those that it took."""
        ...


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the sweeps got.

    Attributes:
        hour: the first hour that is not known to be done.
        whole: when the last sweep through the whole week began.
    """

    hour: datetime
    whole: datetime

    @classmethod
    def read(cls, item: Item | None) -> "Watermark | None":
        """Read the stored form."""
        return cls(*(datetime.fromisoformat(item[name]) for name in ("hour", "whole"))) if item else None

    def item(self) -> Item:
        """Return the stored form."""
        return {**WATERMARK._asdict(), "hour": self.hour.isoformat(), "whole": self.whole.isoformat()}


def publish(items: Sequence[LogItem], *, bus: Bus, tables: Tables, wall: datetime) -> frozenset[str]:
    """Publish items, acknowledge those that the bus took, and return the ids of those that it did not."""
    taken = bus.publish(items)
    for item in items:
        if item.envelope.id in taken:
            _acknowledge(item, tables, wall)
    return frozenset(item.envelope.id for item in items) - taken


def sweep(*, bus: Bus, tables: Tables, log: Log, wall: datetime) -> int:
    """Publish what was written and never acknowledged, within the last week; return how many items that were.

    The watermark moves when all before it is done, so a sweep that broke off, or two at once, cost nothing but time.

    Raises:
        ConditionFailed: another sweep moved the watermark meanwhile.
    """
    stored = Watermark.read(tables.get("governance", WATERMARK))
    oldest = _hour_of(wall - _WEEK)
    whole = stored is None or wall - stored.whole >= _WHOLE
    start = oldest if whole or stored is None else max(stored.hour, oldest)
    found, undone = 0, None
    for hour in _hours(start, wall):
        missed, done = _sweep_hour(hour, bus=bus, tables=tables, log=log, wall=wall)
        found += missed
        undone = undone or (None if done and wall - hour >= SETTLED + _HOUR else hour)
    now = Watermark(undone or _hour_of(wall), wall if whole or stored is None else stored.whole)
    if now != stored:
        condition = Is("hour", stored.hour.isoformat()) if stored else Absent()
        tables.write([Put("governance", now.item(), condition)])
    return found


def _sweep_hour(hour: datetime, *, bus: Bus, tables: Tables, log: Log, wall: datetime) -> tuple[int, bool]:
    """Publish what an hour's index has unacknowledged; return how many items that were, and whether all is done now."""
    waiting = [item for item in log.hour(hour) if not item.published and _waits(item, tables)]
    missed = [item for item in waiting if wall - time_of(item.envelope.id) > GRACE]
    refused = publish(missed, bus=bus, tables=tables, wall=wall)
    return len(missed), len(missed) == len(waiting) and not refused


def _waits(item: LogItem, tables: Tables) -> bool:
    """Look at the item itself, because the index lags."""
    stored = tables.get("log", _key(item))
    return stored is not None and not stored["published"]


def _hours(start: datetime, end: datetime) -> Iterator[datetime]:
    while start <= end:
        yield start
        start += _HOUR


def _hour_of(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _acknowledge(item: LogItem, tables: Tables, wall: datetime) -> None:
    tables.write([Update("log", _key(item), {"published": wall.isoformat()}, Is("hash", item.hash))])


def _key(item: LogItem) -> Key:
    return Key(item.envelope.stream, f"{item.envelope.sequence:012d}")
