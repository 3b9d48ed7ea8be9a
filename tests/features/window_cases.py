"""Window views of every kind, a stack that notes every version, and an oracle that looks at all of them."""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from features.feature_cases import Stack
from features.offline_cases import Offline
from modelwright.features import online
from modelwright.features.layout import arrival, source_key
from modelwright.project import Project

START = datetime(2026, 1, 5, 22, 50, tzinfo=UTC)
AGGREGATES = {
    "n": {"function": "count"},
    "amounts": {"function": "count", "column": "amount", "where": "good"},
    "sum": {"function": "sum", "column": "amount"},
    "pieces": {"function": "sum", "column": "pieces", "where": "good"},
    "mean": {"function": "mean", "column": "amount"},
    "std": {"function": "std", "column": "amount"},
    "least": {"function": "min", "column": "amount"},
    "most": {"function": "max", "column": "pieces"},
    "last": {"function": "last", "column": "shop"},
    "when": {"function": "last", "column": "at", "where": "good"},
    "shops": {"function": "distinct", "column": "shop"},
    "median": {"function": "quantile", "column": "amount"},
    "high": {"function": "quantile", "column": "pieces", "q": 0.9},
}
KINDS: dict[str, dict[str, Any]] = {
    "hours": {"windows": ["2h", "6h"]},
    "minutes": {"windows": ["15m", "1h"]},
    "odd": {"windows": ["21m", "42m"], "tile": "7m"},
    "blocks": {"windows": ["2h", "6h"], "tumbling": True},
    "events": {"windows": ["3h"], "by": "event_time"},
    "event_blocks": {"windows": ["20m", "3h"], "tumbling": True, "by": "event_time"},
}
PROJECT = Project.model_validate(
    {
        "name": "till",
        "sources": {
            "sales": {
                "columns": {
                    "sale": {"type": "string"},
                    "customer": {"type": "string", "nullable": True},
                    "at": {"type": "timestamp"},
                    "known": {"type": "timestamp", "nullable": True},
                    "amount": {"type": "number", "nullable": True, "decimals": 2},
                    "pieces": {"type": "integer", "nullable": True},
                    "shop": {"type": "string", "nullable": True},
                    "good": {"type": "boolean", "nullable": True},
                },
                "key": ["sale"],
                "event_time": "at",
                "available_at": "known",
            }
        },
        "views": {
            **{
                name: {"entity": ["customer"], "source": "sales", "aggregates": AGGREGATES, **kind}
                for name, kind in KINDS.items()
            },
            "visit": {"entity": ["customer"], "source": "sales", "features": ["amount", "shop"], "ttl": "5h"},
        },
    }
)
FEATURES = [f"{name}:{feature}" for name, view in PROJECT.views.items() for feature in view.feature_names()]


class Till:
    """A stack in memory, and every version that ever came."""

    def __init__(self, project: Project = PROJECT) -> None:
        self.project = project
        self.stack, self.seen = Stack(project), Offline(project)

    def declare(self, project: Project) -> None:
        """Go on with another project."""
        self.project = self.stack.project = self.seen.project = project

    def upload(self, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Have a file materialized."""
        delivery = self.stack.delivery("sales", rows, now)
        known = self.stack.tables.get("features", source_key("default", "sales", f"ACCEPTED#{delivery.event.digest}"))
        self.stack.deliver(delivery)
        if known is None:
            self._note(rows, arrival(now, delivery.envelope.id), now)

    def push(self, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Push rows."""
        done = self.stack.push("sales", rows, now)
        ledger = self.stack.tables.get("features", source_key("default", "sales", f"PUSHED#{done.digest}"))
        if ledger is not None and not done.repeated:
            self._note(rows, ledger["arrival"], now)

    def fold(self, now: datetime) -> None:
        """Have pushed rows folded in."""
        self.stack.fold(now)

    def served(self, customers: Sequence[str | None], now: datetime) -> list[dict[str, Any]]:
        """Return all features of customers as the online store serves them."""
        wanted = {name: view.feature_names() for name, view in self.project.views.items()}
        rows = [{"customer": customer} for customer in customers]
        found = online.lookup(
            self.project, wanted, rows, as_of=now, tables=self.stack.tables, workspace=self.stack.workspace
        )
        columns = {
            f"{name}:{feature}": view.of_rows(column.values)
            for name, view in found.items()
            for feature, column in view.features.items()
        }
        return [bits({feature: columns[feature][n] for feature in FEATURES}) for n in range(len(rows))]

    def expected(self, customers: Sequence[str | None], now: datetime) -> list[dict[str, Any]]:
        """Return what every version says."""
        rows = [{"customer": customer, "event_timestamp": now} for customer in customers]
        return [bits(row) for row in self.seen.oracle(rows, FEATURES)]

    def _note(self, rows: Sequence[Mapping[str, Any]], came: str, now: datetime) -> None:
        from features.offline_cases import _version

        for row in rows:
            version = _version(self.project.sources["sales"], row, came, now)
            self.seen.versions["sales"][version.key, version.available, came] = version


def bits(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with numbers as their bytes, so that equality is to the bit and 1 is not 1.0."""
    return {n: struct.pack("<d", v) if isinstance(v, float) else (type(v), v) for n, v in row.items()}


def sale(name: str, minute: float, *, lag: float = 0, customer: str | None = "ann", **values: Any) -> dict[str, Any]:
    """Return a row of a sale at a minute after the start, known some minutes later."""
    at = START + timedelta(minutes=minute)
    row = {"amount": 1.25, "pieces": 1, "shop": "north", "good": True}
    return {"sale": name, "customer": customer, "at": at, "known": at + timedelta(minutes=lag), **row, **values}
