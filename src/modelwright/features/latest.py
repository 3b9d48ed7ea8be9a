"""Latest views: which row is served as of a time, and which rows an entity's item must keep.

As of ``t`` the newest row by event time counts, of those with event time and availability not after
``t``; ties go to the later availability, then the later arrival. The item keeps every row that can
still be served as of ``since`` or later, and no other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelwright.features.layout import HOUR_US
from modelwright.project import View

SLACK_H = 24
"""An item can be read as of so much before its last write, if that takes few rows."""
FEW = 64


class Version(NamedTuple):
    """A row of a latest view: the order of its fields is the order of precedence.

    Attributes:
        event: its event time.
        available: when it became known.
        arrival: when it came.
        key: names the row of the source.
        values: the view's features, in the view's order.
    """

    event: int
    available: int
    arrival: str
    key: int
    values: tuple[Any, ...]

    @property
    def rank(self) -> tuple[int, int, str, int]:
        """Which of two rows is served."""
        return self[:4]

    @property
    def age(self) -> tuple[int, str]:
        """Which of two rows of one key is kept."""
        return (self.available, self.arrival)


@dataclass(frozen=True)
class Newest:
    """An entity's item of a latest view: its few newest rows, newest first.

    Attributes:
        since: reads as of earlier times would miss rows that were dropped; 0 if none was.
        version: counts writes.
    """

    since: int = 0
    rows: Sequence[Version] = ()
    version: int = 0

    def as_of(self, time_us: int) -> Version | None:
        """Return the row that is newest as of a time, whatever its age."""
        return next((r for r in self.rows if r.event <= time_us and r.available <= time_us), None)


def merged(newest: Newest, rows: Iterable[Version], now_us: int, gone: Mapping[int, tuple[int, str]]) -> Newest | None:
    """Return the item with rows put in, or None if that changes nothing.

    Args:
        newest: what is there.
        rows: rows of the same entity.
        now_us: the time of writing.
        gone: rows of these keys and not newer than this have been replaced by rows of other entities.
    """
    there = {r.key: r for r in newest.rows if r.key not in gone or r.age > gone[r.key]}
    for row in rows:
        if row.key not in there or row.age > there[row.key].age:
            there[row.key] = row
    ordered = sorted(there.values(), key=lambda r: r.rank, reverse=True)
    since, kept = newest.since, ordered
    for limit in (now_us - SLACK_H * HOUR_US, now_us):
        fitting = needed(ordered, max(limit, newest.since))
        if len(fitting) < len(ordered):
            since, kept = max(limit, newest.since), fitting
        if len(kept) <= FEW:
            break
    if kept == list(newest.rows):
        return None
    return Newest(since, kept, newest.version)


def needed(ordered: Sequence[Version], since: int) -> list[Version]:
    """Return, of rows in order of precedence, those that some read as of ``since`` or later can be served."""
    kept = []
    for row in ordered:
        kept.append(row)
        if row.event <= since and row.available <= since:
            break
    return kept


def outdated(view: View, row: Version, as_of_us: int) -> bool:
    """Say whether a row is older than the view's TTL allows."""
    return bool(view.ttl_us) and row.event < as_of_us - view.ttl_us
