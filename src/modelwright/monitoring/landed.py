"""An upload under judgement, and what follows from it."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.context import Call
from modelwright.events import Event, Finding, Window
from modelwright.log import Log
from modelwright.monitoring import store
from modelwright.storage import Blobs, Tables, Write

UNKNOWN = "unknown"
"""The source of what belongs to none."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Landed:
    """An upload, or what it was repaired to, and the collaborators that its handling needs.

    Attributes:
        key: of the object in the landing bucket.
        version: of the object; a repair adds to it what makes it another, so that it is handled once too.
        cache: what is kept while the process lives.
    """

    call: Call
    key: str
    version: str
    body: bytes
    tables: Tables
    log: Log
    blobs: Blobs
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def workspace(self) -> str:
        """Whose upload it is."""
        return self.call.workspace

    def quarantine_id(self, source: str) -> str:
        """The same however often the upload is handled, so that a second attempt writes the same objects."""
        version = self.version or hashlib.sha256(self.body).hexdigest()
        return hashlib.sha256("\n".join((self.workspace, source, self.key, version)).encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Outcome:
    """What follows from an upload; nothing of it is written yet.

    Attributes:
        text: in words.
        accepted: whether it goes on, if need be without the rows that are held.
        events: what happened.
        writes: the state of monitoring.
        bodies: objects of the lake, by key.
        findings: all reasons and warnings.
        held: how many rows are held.
        closes: quarantines that end besides, for which its transaction has no room.
    """

    text: str
    accepted: bool
    events: tuple[Event, ...] = ()
    writes: tuple[Write, ...] = ()
    bodies: dict[str, bytes] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    held: int = 0
    closes: tuple[str, ...] = ()


def window_of(times: pa.ChunkedArray) -> Window | None:
    """Return the window of a column of times; None where there are none."""
    extremes = pc.min_max(times).as_py()
    return None if extremes["min"] is None else Window(start=extremes["min"], end=_after(extremes["max"]))


def _after(time: datetime) -> datetime:
    """Return the next moment; after the last one that can be named is none."""
    return time + MICROSECOND if time < datetime.max.replace(tzinfo=time.tzinfo) else time


def forgotten(landed: Landed, text: str) -> Outcome:
    """Remember the object only: nothing happened that anyone need hear of."""
    return Outcome(text, False, writes=(store.put_upload(landed.workspace, landed.key, landed.version, text),))
