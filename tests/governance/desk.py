"""A log over memory whose wall clock the test moves."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.errors import Unavailable
from modelwright.events import RegisteredModelCreated
from modelwright.log import Happened, Log, LogItem, stream_of
from modelwright.storage import Page

START = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)


@dataclass
class Desk:
    """Tables, buckets and a log, and the time on the wall."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    wall: datetime = START

    @property
    def log(self) -> Log:
        return Log(self.tables, wall=lambda: self.wall)

    @property
    def call(self) -> Call:
        return Call("default", "platform", self.wall, "correlation")

    def wait(self, **time: float) -> None:
        self.wall += timedelta(**time)

    def happen(self, *models: str) -> list[LogItem]:
        """Let something happen to each of these models."""
        happened = [
            Happened(stream_of("default", "MODEL", name), RegisteredModelCreated(model=name)) for name in models
        ]
        return list(self.log.commit(self.call, happened))


class Mortal(MemoryTables):
    """Tables that stop answering after so many calls."""

    left = 10**9

    def _call(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("killed")

    def get(self, *args: Any) -> Any:
        self._call()
        return super().get(*args)

    def query(self, *args: Any, **options: Any) -> Page:
        self._call()
        return super().query(*args, **options)

    def write(self, *args: Any) -> None:
        self._call()
        super().write(*args)
