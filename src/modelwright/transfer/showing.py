"""What is seen of a copy: a bar while it goes on, on a terminal alone, and a table at its end."""

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from modelwright.transfer.tally import Tally


class Bar:
    """A progress bar on a terminal, and nothing anywhere else; also a context manager.

    Args:
        stream: standard error, if none is given.
        terminal: whether it is one; as the stream is, if not said.
    """

    def __init__(self, stream: TextIO | None = None, *, terminal: bool | None = None) -> None:
        console = Console(file=stream or sys.stderr, force_terminal=terminal)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("looking", total=None)

    def begin(self, what: str, total: int) -> None:
        """Begin with so many things."""
        self._progress.reset(self._task, description=what, total=total, completed=0)

    def step(self) -> None:
        """Advance; from any thread."""
        self._progress.advance(self._task)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it as it is."""
        self._progress.stop()


def table(tally: Tally, source: str, target: str) -> str:
    """Return the counts of both sides, what differs, and the verdict."""
    return "\n".join(_lines(tally, source, target))


def counts(tally: Tally, source: str) -> str:
    """Return the counts of one side, where nothing was copied."""
    lines = [f"{kind:<18}{number:>14,}" for kind, number, _ in tally.rows()]
    return "\n".join([f"at {source}, nothing copied:", *lines, *tally.first_differences()])


def _lines(tally: Tally, source: str, target: str) -> Iterator[str]:
    yield f"{'':<18}{'source':>14}{'target':>14}   {source} -> {target}"
    for kind, number, found in tally.rows():
        yield f"{kind:<18}{number:>14,}{found:>14,}{'' if number == found else '   DIFFERS'}"
    yield from (f"note: {text}" for text in tally.notes[:10])
    yield from (f"DIFFERS: {text}" for text in tally.first_differences())
    yield "verified: all of it is there" if tally.complete else "NOT all of it is there"
