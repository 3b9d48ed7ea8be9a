"""A shop whose features are served in every way there is, and what servers do that are wrong in one way each."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright import teamcode
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.adapters.replay import replays
from modelwright.context import Call
from modelwright.features import serving_log
from modelwright.features.history import ARROW, History, canonical, fold
from modelwright.features.layout import arrival, micros, moment
from modelwright.features.parity import proof as parity
from modelwright.features.parity.proof import Stand
from modelwright.features.parity.report import Report
from modelwright.features.parity.rows import Row
from modelwright.log import Log, new_id
from modelwright.project import Project

START = datetime(2024, 3, 4, tzinfo=UTC)
NOW = START + timedelta(days=20)
SERVICE = "checkout"
PROJECT = Project.model_validate(
    {
        "name": "shop",
        "digest": "a" * 64,
        "sources": {
            "orders": {
                "prefix": "orders/",
                "columns": {
                    "order_id": {"type": "string"},
                    "customer": {"type": "string", "nullable": True},
                    "shop": {"type": "integer"},
                    "ordered_at": {"type": "timestamp"},
                    "amount": {"type": "number", "decimals": 2},
                    "items": {"type": "integer", "nullable": True},
                    "paid": {"type": "boolean", "nullable": True},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["order_id"],
                "event_time": "ordered_at",
                "available_at": "known_at",
            },
            "visits": {
                "prefix": "visits/",
                "columns": {
                    "customer": {"type": "string"},
                    "seen_at": {"type": "timestamp"},
                    "score": {"type": "number", "nullable": True},
                    "page": {"type": "string", "nullable": True},
                    "clicks": {"type": "integer", "nullable": True},
                    "known_at": {"type": "timestamp"},
                },
                "key": ["customer", "seen_at"],
                "event_time": "seen_at",
                "available_at": "known_at",
            },
        },
        "views": {
            "profile": {
                "entity": ["customer"], "source": "visits", "features": ["score", "page", "clicks", "seen_at"],
                "ttl": "3d",
            },
            "spending": {
                "entity": ["customer"],
                "source": "orders",
                "aggregates": {
                    "n": {"function": "count"},
                    "spent": {"function": "sum", "column": "amount"},
                    "mean": {"function": "mean", "column": "amount", "where": "paid"},
                    "dearest": {"function": "max", "column": "amount"},
                    "spread": {"function": "std", "column": "amount"},
                    "shops": {"function": "distinct", "column": "shop"},
                    "median": {"function": "quantile", "column": "amount", "q": 0.5},
                    "newest": {"function": "last", "column": "amount"},
                },
                "windows": ["6h", "7d"],
            },
            "habits": {
                "entity": ["customer", "shop"],
                "source": "orders",
                "features": ["amount", "items"],
                "aggregates": {"orders": {"function": "count"}},
                "windows": ["1d"],
                "by": "event_time",
            },
            "takings": {
                "entity": ["shop"],
                "source": "orders",
                "aggregates": {
                    "cheapest": {"function": "min", "column": "amount"},
                    "people": {"function": "distinct", "column": "customer"},
                    "guest": {"function": "last", "column": "customer"},
                    "bills": {"function": "count", "column": "items", "where": "paid"},
                },
                "windows": ["1d"],
                "tumbling": True,
            },
        },
        "on_demand": {
            "clock": {
                "function": "features.parity_cases:clock",
                "inputs": ["event_timestamp", "basket", "score", "spent_7d"],
                "outputs": ["hour", "share", "scored"],
            }
        },
        "services": {
            SERVICE: {
                "request": {"customer": "string", "shop": "integer", "basket": "number",
                            "event_timestamp": "timestamp"},
                "views": ["profile", "spending", "habits", "takings"],
                "on_demand": ["clock"],
                "inputs": [
                    "customer", "score", "page", "clicks", "seen_at", "n_6h", "spent_6h", "mean_6h", "dearest_6h",
                    "spread_6h", "shops_6h", "median_6h", "newest_6h", "n_7d", "spent_7d", "mean_7d", "shops_7d",
                    "median_7d", "amount", "items", "orders_1d", "cheapest_1d", "people_1d",
                    "guest_1d", "bills_1d", "hour", "share", "scored",
                ],
                "sampled": 1.0,
            }
        },
    }
)  # fmt: skip
FEATURES = PROJECT.services[SERVICE].inputs[1:]


def clock(row: dict[str, Any]) -> dict[str, Any]:
    """Features of when it is asked, of what is in the basket, and of a score that may be missing."""
    asked, score, spent = row["event_timestamp"], row["score"], row["spent_7d"]
    share = row["basket"] / (spent + 1) if row["basket"] is not None and spent is not None else None
    hour = None if asked is None else asked.hour + asked.minute / 60
    return {"hour": hour, "share": share, "scored": None if score is None else score * 3}


def other_clock(row: dict[str, Any]) -> dict[str, Any]:
    """What ``clock`` is after somebody changed it."""
    return {**clock(row), "share": None if row["basket"] is None else row["basket"] / 100}


def customers(count: int = 12) -> list[str]:
    return [f"c{n}" for n in range(count)]


def orders(chosen: random.Random, count: int, days: float = 20, people: int = 12) -> list[dict[str, Any]]:
    """Return orders, some of which became known late, and one in ten of which is corrected later, also in its time."""
    rows = []
    for n in range(count):
        at = START + timedelta(microseconds=chosen.randrange(int(days * 86_400_000_000)))
        row: dict[str, Any] = {
            "order_id": f"o{n}", "customer": chosen.choice([*customers(people), None]), "shop": chosen.randrange(4),
            "ordered_at": at, "amount": round(chosen.uniform(1, 400), 2), "items": chosen.choice([None, 1, 2, 5]),
            "paid": chosen.choice([None, True, False]), "known_at": at + timedelta(minutes=chosen.choice([0, 3, 95])),
        }  # fmt: skip
        rows.append(row)
        if n % 10 == 0:
            known = row["known_at"] + timedelta(hours=chosen.choice([1, 30]))
            at += timedelta(hours=chosen.choice([0, -200, -30, -1, 2]))
            rows.append({**row, "amount": round(chosen.uniform(1, 400), 2), "ordered_at": at, "known_at": known})
    return rows


def visits(chosen: random.Random, count: int, days: float = 20, people: int = 12) -> list[dict[str, Any]]:
    rows: dict[tuple[str, datetime], dict[str, Any]] = {}
    for _ in range(count):
        at = START + timedelta(minutes=chosen.randrange(int(days * 1440)))
        who = chosen.choice(customers(people))
        rows[who, at] = {
            "customer": who, "seen_at": at, "score": chosen.choice([None, chosen.random(), chosen.random()]),
            "page": chosen.choice([None, "home", "cart", "help"]), "clicks": chosen.choice([None, 1, 2, 40]),
            "known_at": at + timedelta(minutes=chosen.choice([0, 0, 30, 300])),
        }  # fmt: skip
    return list(rows.values())


def requests(chosen: random.Random, count: int, people: int = 12) -> list[Row]:
    return [
        {
            "customer": chosen.choice([*customers(people), "nobody"]),
            "shop": chosen.randrange(4),
            "basket": chosen.uniform(0, 90),
            "event_timestamp": START + timedelta(minutes=chosen.randrange(2 * 1440, 20 * 1440)),
        }
        for _ in range(count)
    ]


Served = Sequence[Mapping[str, Any]]
Server = Callable[[Sequence[Row]], Served]
"""Answers request rows, each as of its time."""


@dataclass
class Shop:
    """The shop's history, its serving log, and what proofs are made with."""

    project: Project = PROJECT
    workspace: str = "default"
    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    former: dict[str, Project] = field(default_factory=dict)

    @property
    def log(self) -> Log:
        return Log(self.tables)

    @property
    def history(self) -> History:
        return History(blobs=self.blobs, tables=self.tables, workspace=self.workspace, cache={})

    @property
    def stand(self) -> Stand:
        def former(digest: str) -> tuple[Project, Any] | None:
            known = self.former.get(digest)
            return None if known is None else (known, teamcode.loader(known, blobs=self.blobs))

        return Stand(
            self.workspace, self.project, teamcode.loader(self.project, blobs=self.blobs), former, replays, self.blobs,
            self.tables, {},
        )  # fmt: skip

    def call(self, now: datetime = NOW) -> Call:
        return Call(self.workspace, "ann", now, "c-1")

    def store(self, source: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Put rows that came now into the history."""
        declared, history = self.project.sources[source], self.history
        table = pa.table({n: pa.array([r[n] for r in rows], ARROW[c.type]) for n, c in declared.columns.items()})
        came = canonical(declared, table, now_us=micros(now), arrival=arrival(now, new_id()))
        manifest = history.manifest(source)
        folded = fold(history, source, declared, manifest, came)
        self.tables.write([history.replacement(source, manifest, folded.partitions)])

    def fill(self, seed: int = 7, count: int = 600) -> None:
        """Put a history into the store that came before everything that is asked."""
        chosen = random.Random(seed)
        self.store("orders", orders(chosen, count), START)
        self.store("visits", visits(chosen, count), START)

    def right(self, rows: Sequence[Row]) -> Served:
        """Answer as the history says."""
        times = [micros(row["event_timestamp"]) for row in rows]
        columns = parity.joined(self.stand, SERVICE, rows, times)
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def serve(self, rows: Sequence[Row], server: Server | None = None, *, project: Project | None = None) -> None:
        """Log what a server answers, a request per row."""
        project = project or self.project
        for n, (row, said) in enumerate(zip(rows, (server or self.right)(rows), strict=True)):
            at = row["event_timestamp"]
            answer = serving_log.noted(
                SERVICE, project.services[SERVICE], [{**row, **said}], project=project, request=f"r-{n}", as_of=at,
                now=at, statuses={},
            )  # fmt: skip
            self.blobs.put("lake", answer.key(self.workspace), answer.body())

    def prove(self, pairs: int = 0, stand: Stand | None = None) -> Report:
        return parity.prove(stand or self.stand, SERVICE, now=NOW, since=START, pairs=pairs, seed="s")


def shifted(rows: Sequence[Row], offset: timedelta) -> list[Row]:
    return [{**row, "event_timestamp": row["event_timestamp"] + offset} for row in rows]


def narrowed(value: Any) -> Any:
    return float(np.float32(value)) if isinstance(value, float) else value


def zeroed(value: Any) -> Any:
    return 0.0 if value is None else value


def causes(report: Report) -> dict[str, int]:
    """Return how many values each cause explains."""
    found: dict[str, int] = {}
    for each in report.differences:
        found[each.cause] = found.get(each.cause, 0) + each.count
    return found


def at(time: int) -> datetime:
    return moment(time)
