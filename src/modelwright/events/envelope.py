"""What all events are made of, and how they and the schedules' command travel."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

SOURCE = "modelwright"
SCHEDULE_DUE = "ScheduleDue"


class Value(BaseModel):
    """A frozen part of an event; its figures are finite, because JSON has no other.

    Validators are built when first used: a function starts without those of events that it never sees.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)


class Event(Value):
    """Base of all events.

    Attributes:
        schema_version: raised when fields are added; readers of newer code lift older events.
    """

    schema_version: ClassVar[int] = 1

    @classmethod
    def detail_type(cls) -> str:
        """EventBridge's name of this event."""
        return cls.__name__


class Envelope(Value):
    """How an event travels on the bus (``detail``) and lies in the log.

    Attributes:
        id: unique; the idempotency key of every consumer.
        stream: the log stream of the aggregate that it happened to.
        sequence: its place in that stream, from 1.
        at: domain time.
        actor: a pseudonymous id of who caused it.
        correlation_id: joins all that one cause set off.
    """

    id: str
    type: str
    schema_version: int
    workspace: str
    stream: str
    sequence: int
    at: datetime
    actor: str
    correlation_id: str
    data: dict[str, Any]


class Window(Value):
    """A half-open interval of event time."""

    start: datetime
    end: datetime


class Estimate(Value):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class ScheduleDue(BaseModel):
    """The command that every schedule sends, and a virtual clock in its stead; no fact, so not in the log.

    Attributes:
        name: which schedule.
        at: when it was due; domain time of all that follows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    name: str
    at: datetime
    workspace: str = Field(default="", description="empty: the stack's own")
