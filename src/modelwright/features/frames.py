"""What a model is fed: one data frame, the same from the offline table and from online rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from modelwright.features.history import plain
from modelwright.features.layout import micros
from modelwright.features.plan import Plan, plan_of
from modelwright.project import ColumnType, Project, Service


def frame(
    project: Project, service: Service | str, table_or_rows: pa.Table | Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Return the model's inputs, in order, as it is fed them in training and in serving.

    Numbers, booleans (0 or 1) and times (seconds since 1970) are float64 with NaN for missing; strings
    are categories where the model declares the input categorical, else objects, with None for missing.

    Args:
        project: the definitions.
        service: the model or feature service, or its name.
        table_or_rows: what ``offline.historical`` or ``online.read`` gave.
    """
    plan = plan_of(project, service)
    columns = {}
    for name in plan.service.inputs:
        textual = _textual(project, plan, name)
        if isinstance(table_or_rows, pa.Table):
            column = table_or_rows[name]
            textual = pa.types.is_string(column.type) if textual is None else textual
            columns[name] = _texts(plain(column), plan, name) if textual else _floats(column)
        else:
            values = [row[name] for row in table_or_rows]
            textual = any(isinstance(v, str) for v in values) if textual is None else textual
            columns[name] = _texts(values, plan, name) if textual else _numbers(values)
    return pd.DataFrame(columns)


def _textual(project: Project, plan: Plan, name: str) -> bool | None:
    """Say whether an input is text; None when only its values tell (on-demand features)."""
    kind: ColumnType | None = None
    if name in plan.stored:
        view = project.views[plan.stored[name].view]
        feature = plan.stored[name].feature
        if feature not in view.features:
            return False
        kind = project.sources[view.source].columns[feature].type
    elif not any(name in group.outputs for group in plan.on_demand.values()):
        kind = plan.service.request[name]
    return None if kind is None else kind == "string"


def _texts(values: list[Any], plan: Plan, name: str) -> "pd.Series[Any]":
    if name not in plan.service.categorical:
        return pd.Series(values, dtype=object)
    known = sorted({v for v in values if v is not None})
    return pd.Series(pd.Categorical(values, categories=known))


def _floats(column: Any) -> npt.NDArray[np.float64]:
    if pa.types.is_timestamp(column.type):
        return _numbers([None if v is None else float(v) for v in plain(column)]) / 1e6
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _numbers(values: list[Any]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if v is None else _number(v) for v in values], dtype=np.float64)


def _number(value: Any) -> float:
    return float(micros(value)) / 1e6 if hasattr(value, "tzinfo") else float(value)
