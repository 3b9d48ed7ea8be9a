"""Silences: alerts of some subjects are kept back until a time. Incidents open, count and close all the same.

=========  ==========================  =====================  ==========================
entity     pk                          sk                     access pattern
=========  ==========================  =====================  ==========================
silence    ``WS#<ws>#SILENCES``        ``<id>``               get; list all
=========  ==========================  =====================  ==========================
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import SilenceChanged
from modelwright.insights.incidents import TABLE
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.protocol import Message
from modelwright.storage import Absent, Delete, Exists, Key, Put, Tables, every

LONGEST = timedelta(days=30)
"""Whoever wants to hear nothing for longer says so again."""


class Silence(BaseModel):
    """Which alerts are kept back until when.

    Attributes:
        subject: of incidents; all that begin with it, if it ends in a slash.
        by: a pseudonymous id of who wanted it.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    silence_id: str
    subject: str
    until: datetime
    reason: str
    by: str

    def covers(self, subject: str, now: datetime) -> bool:
        """Say whether alerts of a subject are kept back at a time."""
        named = subject == self.subject or (self.subject.endswith("/") and subject.startswith(self.subject))
        return named and now < self.until


class MakeSilence(Message):
    """``POST /v1/alerts/silences``."""

    subject: str = Field(min_length=1, max_length=500)
    until: datetime
    reason: str = Field(min_length=1, max_length=1000)


class OfSilence(Message):
    """Names a silence."""

    silence_id: str


def silences_of(tables: Tables, workspace: str) -> tuple[Silence, ...]:
    """Return all that were made and not ended, those that are over too."""
    items = every(tables, TABLE, f"WS#{workspace}#SILENCES")
    return tuple(Silence.model_validate_json(item["document"]) for item in items)


def silenced_until(silences: Iterable[Silence], subject: str, now: datetime) -> datetime | None:
    """Return until when alerts of a subject are kept back; None if they are not."""
    return max((one.until for one in silences if one.covers(subject, now)), default=None)


def list_silences(call: Call, *, tables: Tables) -> list[dict[str, Any]]:
    """Return the silences, each with whether it still holds."""
    call.authorise("alerts:read", "alert/*")
    found = silences_of(tables, call.workspace)
    return [{**one.model_dump(mode="json"), "active": call.now < one.until} for one in found]


def make_silence(call: Call, message: MakeSilence, *, tables: Tables, log: Log) -> Silence:
    """Keep alerts back.

    Raises:
        InvalidInput: its end has no zone, is past, or is further than ``LONGEST`` away.
    """
    call.authorise("alerts:write", "alert/*")
    if message.until.tzinfo is None:
        raise InvalidInput(f"until: {message.until.isoformat()} has no time zone: write 2026-01-31T18:00:00Z")
    if not call.now < message.until <= call.now + LONGEST:
        raise InvalidInput(f"until: a silence ends within {LONGEST.days} days, not at {message.until.isoformat()}")
    silence = Silence(
        silence_id=new_id(call.now), subject=message.subject, until=message.until, reason=message.reason, by=call.actor
    )
    item = {"pk": f"WS#{call.workspace}#SILENCES", "sk": silence.silence_id, "document": silence.model_dump_json()}
    log.commit(call, [_changed(call, silence, "created")], [Put(TABLE, item, Absent())])
    return silence


def end_silence(call: Call, message: OfSilence, *, tables: Tables, log: Log) -> None:
    """End a silence before its time.

    Raises:
        NotFound: there is none of that id.
    """
    call.authorise("alerts:write", "alert/*")
    key = Key(f"WS#{call.workspace}#SILENCES", message.silence_id)
    item = tables.get(TABLE, key)
    if item is None:
        raise NotFound(f"there is no silence {message.silence_id}")
    silence = Silence.model_validate_json(item["document"])
    log.commit(call, [_changed(call, silence, "ended")], [Delete(TABLE, key, Exists())])


def _changed(call: Call, silence: Silence, change: Any) -> Happened:
    event = SilenceChanged(
        silence_id=silence.silence_id, change=change, subject=silence.subject, until=silence.until,
        reason=silence.reason,
    )  # fmt: skip
    return Happened(stream_of(call.workspace, "SILENCE", silence.silence_id), event)
