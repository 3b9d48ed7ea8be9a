"""The aggregations of a stream feature view of Feast's, as windows of ours.

They are over the same lengths of time and change with full tiles; their features are called
``<function>_<column>_<window>``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from modelwright.declarations import ColumnType, spoken
from modelwright.definitions import Aggregate
from modelwright.feast.messages import Message
from modelwright.feast.notes import Notes

_FUNCTIONS: Mapping[str, str] = {
    "count": "count",
    "sum": "sum",
    "avg": "mean",
    "mean": "mean",
    "min": "min",
    "max": "max",
    "std": "std",
    "stddev": "std",
    "last": "last",
    "count_distinct": "distinct",
    "nunique": "distinct",
}


def fault(aggregations: Iterable[Message]) -> str:
    """Return why there is no equal to some aggregation; empty: there is one to each."""
    for one in aggregations:
        if one.function not in _FUNCTIONS:
            return f"there is no aggregation {one.function}"
        if one.time_window.seconds % 60 or not one.time_window.seconds:
            return f"the window of {one.time_window.seconds} seconds is no whole number of minutes"
    return ""


def columns(aggregations: Iterable[Message], known: Mapping[str, ColumnType]) -> list[tuple[str, ColumnType]]:
    """Return the columns that are aggregated; Feast does not say their types, and most are numbers."""
    return [(one.column, known.get(one.column, "number")) for one in aggregations]


def windows(view: str, aggregations: Iterable[Message], notes: Notes) -> dict[str, Any]:
    """Return what a view of ours says of aggregations, and note what its features are called."""
    found: dict[str, Aggregate] = {}
    lengths: dict[str, None] = {}
    for one in aggregations:
        called = f"{one.function}_{one.column}"
        found[called] = Aggregate.model_validate({"function": _FUNCTIONS[one.function], "column": one.column})
        window = spoken(one.time_window.seconds * 1_000_000)
        lengths[window] = None
        theirs = one.name or f"{called}_{one.time_window.seconds}s"
        notes.change(f"feature view {view}: {theirs} is called {called}_{window}, of full tiles")
    return {"aggregates": found, "windows": tuple(lengths)} if found else {}
