"""What is at the source and what was found again at the target, counted, and where they differ.

Nothing is counted while it is written: both numbers come from reading, the second one from reading the target
once all of that thing was written.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field

KINDS = (
    "experiments",
    "experiment tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "metric points",
    "datasets",
    "models read",
    "models made",
    "logged models",
    "model params",
    "model tags",
    "model metrics",
    "files",
    "bytes",
    "registered models",
    "versions",
    "aliases",
)
_SHOWN = 10


@dataclass
class Tally:
    """Counts and differences; threads may write at once.

    Attributes:
        source: how many of each kind there are.
        found: how many of them were found at the target.
        differences: what differs, as sentences.
        notes: what is worth knowing and no difference.
    """

    source: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, kind: str, source: int, found: int = 0) -> None:
        """Add to a kind."""
        with self._lock:
            self.source[kind] += source
            self.found[kind] += found

    def differs(self, what: str, how: str) -> None:
        """Write down a difference."""
        with self._lock:
            self.differences.append(f"{what}: {' '.join(how.split())}")

    def note(self, text: str) -> None:
        """Write down a note."""
        with self._lock:
            self.notes.append(text)

    @property
    def complete(self) -> bool:
        """Whether all that there is was found again, and nothing went wrong."""
        return not self.differences and all(self.source[kind] == self.found[kind] for kind in KINDS)

    def rows(self) -> list[tuple[str, int, int]]:
        """Return kind, source and found of every kind there was."""
        return [(kind, self.source[kind], self.found[kind]) for kind in KINDS if self.source[kind]]

    def first_differences(self) -> list[str]:
        """Return the first differences, and how many more there are."""
        rest = len(self.differences) - _SHOWN
        return self.differences[:_SHOWN] + ([f"... and {rest} more"] if rest > 0 else [])
