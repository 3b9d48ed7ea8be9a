"""What a request cost, on either side, and the two sides' common face."""

from dataclasses import dataclass, fields
from statistics import median
from typing import Any, Protocol

ROUND_MS = 5.0
"""Stated, not measured: what one AWS round trip takes from a Lambda function in the same region."""


@dataclass(frozen=True)
class Cost:
    """What one or several requests cost.

    Attributes:
        wall_ms: by the clock; of MLflow's server, the latency.
        cpu_ms: of our process, all threads.
        rounds: AWS round trips that had to follow one another.
        calls: all AWS calls; ``transactions`` are those of them that write several items.
        bytes: of the answers.
        rss_mb: the most memory that the process ever had, where that was looked at.
    """

    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    rounds: int = 0
    calls: int = 0
    transactions: int = 0
    read_units: int = 0
    write_units: int = 0
    bytes: int = 0
    rss_mb: int = 0

    @property
    def ms(self) -> float:
        """Our latency with the emulator's own time taken out."""
        return self.cpu_ms + ROUND_MS * self.rounds

    def __add__(self, other: "Cost") -> "Cost":
        """Return what both cost together, one after the other."""
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class Failed(Exception):
    """A request was not answered with 200; says what with."""


class Side(Protocol):
    """Somebody who answers MLflow's protocol, and what it has cost so far."""

    spent: Cost

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request to ``/api/2.0/mlflow/<path>``, and return its JSON; raises ``Failed``."""
        ...


@dataclass(frozen=True)
class Measured:
    """What an operation cost each time, or why it failed."""

    costs: tuple[Cost, ...]
    failure: str = ""

    def p50(self, name: str) -> float:
        """Return the median of an attribute."""
        return float(median(getattr(cost, name) for cost in self.costs))

    def most(self, name: str) -> int:
        """Return the highest value of an attribute."""
        return int(max(getattr(cost, name) for cost in self.costs))
