"""A project with every kind of view, histories of versions of its rows, and rows that ask."""

import struct
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from features.offline_cases import EPOCH
from modelwright.project import Project

HOURS = 60
_FUNCTIONS: dict[str, dict[str, Any]] = {
    "rows": {"function": "count"},
    "flagged": {"function": "count", "where": "flag"},
    "values": {"function": "count", "column": "x"},
    "total": {"function": "sum", "column": "n"},
    "amount": {"function": "sum", "column": "x"},
    "mean": {"function": "mean", "column": "x", "where": "flag"},
    "spread": {"function": "std", "column": "x"},
    "least": {"function": "min", "column": "x"},
    "most": {"function": "max", "column": "n"},
    "newest": {"function": "last", "column": "word"},
    "words": {"function": "distinct", "column": "word"},
    "median": {"function": "quantile", "column": "x", "q": 0.5},
}
PROJECT = Project.model_validate(
    {
        "name": "shop",
        "sources": {
            "sales": {
                "columns": {
                    "id": {"type": "integer"},
                    "shop": {"type": "string", "nullable": True},
                    "shelf": {"type": "integer", "nullable": True},
                    "at": {"type": "timestamp", "nullable": True},
                    "known": {"type": "timestamp"},
                    "n": {"type": "integer", "nullable": True},
                    "x": {"type": "number", "nullable": True, "decimals": 2},
                    "flag": {"type": "boolean"},
                    "word": {"type": "string", "nullable": True},
                },
                "key": ["id"],
                "event_time": "at",
                "available_at": "known",
            },
            "ratings": {
                "columns": {
                    "shop": {"type": "string"},
                    "at": {"type": "timestamp"},
                    "stars": {"type": "number", "nullable": True},
                },
                "key": ["shop", "at"],
                "event_time": "at",
            },
        },
        "views": {
            "newest": {
                "entity": ["shop", "shelf"],
                "source": "sales",
                "features": ["n", "x", "flag", "word", "at"],
                "ttl": "9h",
            },
            "ever": {"entity": ["shop"], "source": "sales", "features": ["word"]},
            "rating": {"entity": ["shop"], "source": "ratings", "features": ["stars"], "ttl": "2d"},
            "sliding": {"entity": ["shop"], "source": "sales", "aggregates": _FUNCTIONS, "windows": ["2h", "1d"]},
            "tumbling": {
                "entity": ["shelf", "shop"],
                "source": "sales",
                "aggregates": _FUNCTIONS,
                "windows": ["30m", "6h"],
                "tumbling": True,
                "by": "event_time",
            },
        },
        "on_demand": {
            "ratio": {
                "function": "features.spark_cases:ratio",
                "inputs": ["amount", "sliding__amount_2h", "event_timestamp"],
                "outputs": ["share", "day"],
                "request": {"amount": "number"},
            }
        },
    }
)
STORED = tuple(f"{name}:{feature}" for name, view in PROJECT.views.items() for feature in view.feature_names())
FEATURES = (*STORED, "ratio:share", "ratio:day")


def ratio(row: dict[str, Any]) -> dict[str, Any]:
    """Compare what is asked with what is stored."""
    amount, total, time = row["amount"], row["sliding__amount_2h"], row["event_timestamp"]
    return {"share": total / amount if amount and total is not None else None, "day": f"{time:%A}" if time else "never"}


def bits(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with floats as their bytes, so that equality is to the bit and 1 is not 1.0."""
    return [{n: struct.pack("<d", v) if isinstance(v, float) else v for n, v in row.items()} for row in rows]


_shops = st.sampled_from(["north", "so|uth", "w\\est", "", None])
_shelves = st.sampled_from([0, 1, -7, None])
_minutes = st.integers(0, HOURS * 4).map(lambda n: EPOCH + timedelta(minutes=15 * n))
_lags = st.sampled_from([0, 0, 1, 15, 61, 700, 3000])
_cents = st.integers(-500, 100_000).map(lambda n: n / 100)


@st.composite
def sales(draw: st.DrawFn) -> dict[str, Any]:
    """A sale, or a correction of one: its key is one of few."""
    at = draw(_minutes)
    return {
        "id": draw(st.integers(0, 40)),
        "shop": draw(_shops),
        "shelf": draw(_shelves),
        "at": draw(st.sampled_from([at, at, at, None])),
        "known": at + timedelta(minutes=draw(_lags)),
        "n": draw(st.none() | st.integers(-9, 2**40)),
        "x": draw(st.none() | _cents),
        "flag": draw(st.booleans()),
        "word": draw(st.none() | st.sampled_from(["a", "b|", "ä", ""])),
    }


ratings = st.fixed_dictionaries(
    {"shop": st.sampled_from(["north", "w\\est"]), "at": _minutes, "stars": st.none() | st.floats(0, 5)}
)
requests = st.fixed_dictionaries(
    {
        "shop": _shops | st.just("nobody's"),
        "shelf": _shelves,
        "event_timestamp": st.none() | _minutes,
        "amount": st.none() | st.floats(-3, 3),
    }
)
