"""Asynchronous invocations that are not over yet, so that a stop loses none of them.

On AWS an invocation waits until it succeeded or was dead-lettered, whatever happens to machines. In
the emulator it is a thread; what is remembered here is saved at its stop, and begun again by its
next start. Twice is possible, never is not: consumers know an event by its id.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import Any


class Unfinished:
    """What was begun and is not over.

    Args:
        stopping: set when the process begins to stop.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._begun: dict[int, tuple[str, Any]] = {}  # by the event's identity, which holding the event keeps valid
        self._left: list[tuple[str, Any]] = []

    def begin(self, function: str, event: Any) -> None:
        """Remember an invocation of a function (its ARN) with an event."""
        self._begun[id(event)] = function, event

    def attempted(self, event: Any, *, failed: bool) -> None:
        """Take note of an attempt; one that fails because the process stops never returns, so that none follows."""
        if not failed:
            self.over(event)
        elif self._stopping.is_set() and id(event) in self._begun:
            threading.Event().wait()  # for ever: a daemon's thread ends with the process

    def over(self, event: Any) -> None:
        """Forget an invocation."""
        self._begun.pop(id(event), None)

    def saved(self) -> list[tuple[str, Any]]:
        """Return what is not over, and what an earlier process left, as pairs of function and event."""
        return [*self._left, *self._begun.values()]

    def restore(self, saved: Iterable[tuple[str, Any]]) -> None:
        """Take what an earlier process left."""
        self._left.extend((function, event) for function, event in saved)

    def left(self) -> Iterator[tuple[str, Any]]:
        """Yield what an earlier process left, oldest first, each once."""
        while self._left:
            yield self._left.pop(0)
