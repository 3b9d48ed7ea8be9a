"""Tails what functions printed: their outcome lines, for waiting on schedules and for the bill."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelwright.errors import Unavailable

_POLL_S = 0.05


class Outcomes:
    """The outcome lines of a local stack.

    Args:
        path: the stack's file of invocations.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._seen: set[str] = set()
        self.lines: list[dict[str, Any]] = []

    def look(self) -> None:
        """Read what was printed since."""
        for line in self._new():
            self.lines.append(line)
            self._seen.add(str(line.get("correlation_id", "")))

    def wait_for(self, correlation_id: str, what: str, timeout_s: float = 60) -> None:
        """Wait until an outcome with this correlation id was printed.

        Raises:
            Unavailable: there was none in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.look()
            if correlation_id in self._seen:
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"waited {timeout_s:.0f} s for {what}: see `modelwright logs`")
            time.sleep(_POLL_S)

    def _new(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8") as stream:
            stream.seek(self._offset)
            while (text := stream.readline()).endswith("\n"):
                self._offset = stream.tell()
                yield from _outcomes(json.loads(text))


def _outcomes(invocation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for line in invocation["lines"]:
        if line.startswith("{") and '"outcome"' in line:
            yield json.loads(line)
