"""The figures as a table for people, and as JSON."""

from dataclasses import asdict, dataclass
from typing import Any

from bench.costs import ROUND_MS, Measured
from bench.operations import Asked

_TITLES = (
    "operation",
    "sqlite",
    "postgres",
    "ours",
    "cpu",
    "rounds",
    "calls",
    "ru",
    "wu",
    "kB",
    "MB",
    "ratio",
    "asked",
    "",
)


@dataclass(frozen=True)
class Row:
    """One operation on all sides; a side that did not take part is None."""

    operation: str
    asked: Asked
    ours: Measured
    sqlite_ms: float | None = None
    postgres_ms: float | None = None

    @property
    def best_ms(self) -> float | None:
        """The better of MLflow's two."""
        return min((ms for ms in (self.sqlite_ms, self.postgres_ms) if ms is not None), default=None)

    @property
    def ratio(self) -> float | None:
        """How many times as fast ours is."""
        if self.best_ms is None or self.ours.failure:
            return None
        return self.best_ms / self.ours.p50("ms")

    @property
    def misses(self) -> list[str]:
        """What is short of what is asked."""
        return self.asked.misses(self.ours, self.best_ms)

    @property
    def verdict(self) -> str:
        """``ok``, or what is short; nothing where nothing is asked."""
        if not str(self.asked) and not self.ours.failure:
            return ""
        return "short: " + "; ".join(self.misses) if self.misses else "ok"

    def figures(self) -> dict[str, Any]:
        """Return the row for a program."""
        names = (
            "ms",
            "cpu_ms",
            "wall_ms",
            "rounds",
            "calls",
            "transactions",
            "read_units",
            "write_units",
            "bytes",
            "rss_mb",
        )
        return {
            "operation": self.operation,
            "n": len(self.ours.costs),
            "sqlite_ms": self.sqlite_ms,
            "postgres_ms": self.postgres_ms,
            "ours": {name: self._figure(name) for name in names},
            "ratio": self.ratio,
            "asked": {name: value for name, value in asdict(self.asked).items() if value is not None},
            "short": self.misses,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row for a person: medians, and the most where the two differ."""
        measured = ("",) * 8 if self.ours.failure else self._measured()
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}x"
        theirs = (_ms(self.sqlite_ms), _ms(self.postgres_ms))
        return (self.operation, *theirs, *measured, ratio, str(self.asked), self.verdict)

    def _measured(self) -> tuple[str, ...]:
        ours = self.ours
        memory = f"{ours.most('rss_mb')}" if ours.most("rss_mb") else ""
        counted = (_range(ours, name) for name in ("rounds", "calls", "read_units", "write_units"))
        return (_ms(ours.p50("ms")), _ms(ours.p50("cpu_ms")), *counted, f"{ours.p50('bytes') / 1000:.1f}", memory)

    def _figure(self, name: str) -> dict[str, float]:
        return {} if self.ours.failure else {"p50": self.ours.p50(name), "most": self.ours.most(name)}


def text(rows: list[Row], notes: list[str]) -> str:
    """Return the table."""
    lines = [_TITLES, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_TITLES))]
    shown = ["  ".join(_padded(cell, widths[n], n) for n, cell in enumerate(line)).rstrip() for line in lines]
    legend = f"p50 in ms; ours = our CPU + {ROUND_MS:g} ms for each AWS round trip that follows another; a-b: p50-most"
    return "\n".join([*notes, legend, "", *shown])


def _padded(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 or column >= len(_TITLES) - 2 else cell.rjust(width)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _range(ours: Measured, name: str) -> str:
    usual, most = ours.p50(name), ours.most(name)
    return f"{usual:g}" if usual == most else f"{usual:g}-{most}"
