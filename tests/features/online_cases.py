"""A project of many kinds of views, served from memory: what the tests of online serving share."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from support.http import ADMIN, Caller, handler_of, payload

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.governance.access import Grant
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put
from modelwright.wiring import Settings, Wiring

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
TIME, NUMBER = {"type": "timestamp"}, {"type": "number", "nullable": True}

PROJECT = Project.model_validate(
    {
        "name": "shop",
        "sources": {
            "profiles": {
                "columns": {
                    "customer": {"type": "integer"},
                    "at": TIME,
                    "age": {"type": "integer", "nullable": True, "low": 0, "high": 150},
                    "score": NUMBER,
                    "city": {"type": "string", "nullable": True},
                    "vip": {"type": "boolean", "nullable": True},
                    "since": {"type": "timestamp", "nullable": True},
                },
                "key": ["customer", "at"],
                "event_time": "at",
            },
            "sales": {
                "columns": {
                    "sale": {"type": "string"},
                    "customer": {"type": "integer"},
                    "shop": {"type": "string"},
                    "at": TIME,
                    "known": {"type": "timestamp", "nullable": True},
                    "amount": {"type": "number", "nullable": True, "decimals": 2},
                },
                "key": ["sale"],
                "event_time": "at",
                "available_at": "known",
            },
            "large_sales": {
                "columns": {"sale": {"type": "string"}, "at": TIME, "amount": NUMBER},
                "key": ["sale"],
                "event_time": "at",
                "derived": {"source": "sales", "function": "features.online_cases:large"},
            },
        },
        "entities": {"customer": {"join_keys": ["customer"]}, "visitor": {"join_keys": ["customer", "shop"]}},
        "views": {
            "profile": {
                "entity": ["customer"],
                "source": "profiles",
                "features": ["age", "score", "city", "vip", "since"],
                "ttl": "30d",
            },
            "visit": {"entity": ["customer", "shop"], "source": "sales", "features": ["amount", "sale"]},
            "spent": {
                "entity": ["customer"],
                "source": "sales",
                "aggregates": {
                    "n": {"function": "count"},
                    "sum": {"function": "sum", "column": "amount"},
                    "mean": {"function": "mean", "column": "amount"},
                },
                "windows": ["1h", "1d"],
            },
        },
        "on_demand": {
            "basket": {
                "function": "features.online_cases:basket",
                "inputs": ["price", "score"],
                "outputs": ["worth", "word"],
                "request": {"price": "number"},
            }
        },
        "services": {
            "checkout": {
                "request": {"customer": "integer", "shop": "string", "price": "number", "event_timestamp": "timestamp"},
                "views": ["profile", "visit", "spent"],
                "on_demand": ["basket"],
                "inputs": ["age", "score", "visit__amount", "sum_1h", "n_1d", "worth", "word"],
            },
            "hourly": {
                "request": {"customer": "integer", "price": "number", "event_timestamp": "timestamp"},
                "views": ["profile"],
                "on_demand": ["basket"],
                "inputs": ["price", "worth"],
            },
        },
    }
)  # fmt: skip


def basket(row: dict[str, Any]) -> dict[str, Any]:
    """Features of a request column and a stored feature."""
    known = row["price"] is not None and row["score"] is not None
    return {"worth": row["price"] * row["score"] if known else None, "word": "known" if known else "new"}


def large(frame: Any) -> Any:
    """Return the large sales."""
    return frame[frame["amount"] > 100]


class Shop:
    """The function ``features`` over memory, with a project applied."""

    def __init__(self, project: Project = PROJECT, tables: Any = None) -> None:
        self.tables = tables or MemoryTables()
        self.blobs = MemoryBlobs()
        self.apply(project)
        settings = Settings(
            function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
        )
        self.wiring = Wiring(settings, tables=self.tables, blobs=self.blobs)
        self.function = handler_of("features", self.wiring)
        self.caller = Caller(self.function)

    def apply(self, project: Project) -> None:
        item = {**current_key("default")._asdict(), "project": project.model_dump_json()}
        self.tables.write([Put("governance", item, Anything())])

    def post(
        self, path: str, body: Any, *, now: datetime = NOW, grants: Sequence[Grant] = ADMIN, **headers: str
    ) -> tuple[int, Any]:
        """Send a request as of a time; Feast's errors are unwrapped."""
        told = {"x-modelwright-as-of": now.isoformat(), **headers}
        answer = self.function(payload("POST", path, body, grants=grants, headers=told))
        body = json.loads(answer["body"])
        return answer["statusCode"], json.loads(body) if isinstance(body, str) else body

    def ok(self, path: str, body: Any, *, now: datetime = NOW) -> Any:
        status, answer = self.post(path, body, now=now)
        assert status == 200, answer
        return answer

    def push(self, source: str, rows: Sequence[Mapping[str, Any]], *, now: datetime = NOW, **more: Any) -> Any:
        given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
        return self.ok("/push", {"source": source, "rows": given, **more}, now=now)

    def asked(self, entities: Mapping[str, Sequence[Any]], *, now: datetime = NOW, **query: Any) -> dict[str, Any]:
        """Return Feast's answer as (value, status) pairs by name."""
        answer = self.ok("/get-online-features", {"entities": entities, **query}, now=now)
        names = answer["metadata"]["feature_names"]
        return {
            name: list(zip(result["values"], result["statuses"], strict=True))
            for name, result in zip(names, answer["results"], strict=True)
        }


def profile(customer: int, *, ago: timedelta = timedelta(hours=1), **values: Any) -> dict[str, Any]:
    row = {"customer": customer, "at": NOW - ago, "age": 30, "score": 0.5, "city": "Rome", "vip": True, "since": NOW}
    return {**row, **values}


def sale(name: str, customer: int = 1, shop: str = "A", *, minutes: float = 90, **values: Any) -> dict[str, Any]:
    when = NOW - timedelta(minutes=minutes)
    return {"sale": name, "customer": customer, "shop": shop, "at": when, "known": when, "amount": 10.0, **values}
