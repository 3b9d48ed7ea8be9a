"""From the log to the bus: what the stream brings, and what a sweep finds it has missed.

An item is acknowledged (``published``) only after the bus took it. The stream loses records
after a day; the sweep looks through the hours' index for items that were never acknowledged and
publishes them again. Twice is possible, never is not: consumers know an event by its id.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from modelwright.log import Log, LogItem, time_of
from modelwright.storage import Is, Key, Tables, Update

GRACE = timedelta(minutes=2)
_SWEPT_HOURS = 24 * 7


class Bus(Protocol):
    """Where events go."""

    def publish(self, items: Sequence[LogItem]) -> frozenset[str]:
        """Put items on the bus and return the ids of those that it took."""
        ...


def publish(items: Sequence[LogItem], *, bus: Bus, tables: Tables, wall: datetime) -> frozenset[str]:
    """Publish items, acknowledge those that the bus took, and return the ids of those that it did not."""
    taken = bus.publish(items)
    for item in items:
        if item.envelope.id in taken:
            _acknowledge(item, tables, wall)
    return frozenset(item.envelope.id for item in items) - taken


def sweep(*, bus: Bus, tables: Tables, log: Log, wall: datetime, hours: int = _SWEPT_HOURS) -> int:
    """Publish what was written in the last hours and never acknowledged; return how many items that were."""
    found = 0
    hour = wall.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    while hour <= wall:
        missed = [item for item in log.hour(hour) if not item.published and _old_enough(item, tables, wall)]
        publish(missed, bus=bus, tables=tables, wall=wall)
        found += len(missed)
        hour += timedelta(hours=1)
    return found


def _old_enough(item: LogItem, tables: Tables, wall: datetime) -> bool:
    """The index lags and the stream is on its way: look at the item itself, and let the young ones be."""
    stored = tables.get("log", _key(item))
    return stored is not None and not stored["published"] and wall - time_of(item.envelope.id) > GRACE


def _acknowledge(item: LogItem, tables: Tables, wall: datetime) -> None:
    tables.write([Update("log", _key(item), {"published": wall.isoformat()}, Is("hash", item.hash))])


def _key(item: LogItem) -> Key:
    return Key(item.envelope.stream, f"{item.envelope.sequence:012d}")
