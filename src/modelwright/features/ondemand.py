"""On-demand features of many rows: the same plain-Python function as in serving, row by row."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from modelwright.errors import InvalidInput
from modelwright.features.history import plain
from modelwright.features.layout import moment
from modelwright.features.plan import Plan, compute


def computed(
    plan: Plan, request: Mapping[str, Any], stored: Mapping[str, Any], functions: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a plan's on-demand features as arrays.

    Args:
        plan: the plan.
        request: its request columns.
        stored: its stored features.
        functions: its row functions.

    Raises:
        InvalidInput: a function fails, or does not give what it is declared to give.
    """
    outputs = [output for group in plan.on_demand.values() for output in group.outputs]
    names = dict.fromkeys(n for group in plan.on_demand.values() for n in group.inputs if n not in outputs)
    columns = {n: _values(stored[n] if n in stored else request[n]) for n in names}
    size = len(request[plan.service.time_column])
    rows: list[dict[str, Any]] = [{} for _ in range(size)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    for number, row in enumerate(rows):
        compute(plan, functions, row, number)
    return {name: _inferred([row[name] for row in rows], name) for name in outputs}


def _values(column: Any) -> list[Any]:
    values = plain(column)
    if pa.types.is_timestamp(column.type):
        return [None if v is None else moment(v) for v in values]
    return values


def _inferred(values: list[Any], name: str) -> Any:
    if any(isinstance(v, str) for v in values):
        if any(isinstance(v, float) for v in values):
            raise InvalidInput(f"the on-demand feature {name} is now a number, now a string")
        return pa.array(values, pa.string())
    return pa.array(values, pa.float64())
