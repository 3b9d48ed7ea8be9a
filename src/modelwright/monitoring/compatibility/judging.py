"""The compared tools' verdicts on a window, as ours are written."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa

from modelwright.events import ColumnDrift
from modelwright.monitoring.compatibility import evidently, multivariate, nannyml, sagemaker
from modelwright.monitoring.compatibility.binning import Values
from modelwright.monitoring.compatibility.cells import finite, present, values_of
from modelwright.monitoring.compatibility.documents import constraints_of, statistics_of
from modelwright.monitoring.profiles import ColumnProfile, column_profile
from modelwright.project import Source

Tool = Literal["evidently", "nannyml", "sagemaker"]
DATASET_SHARES: dict[Tool, float] = {"evidently": evidently.DRIFT_SHARE}
"""Share of drifted columns from which a tool calls the data set drifted; the others have no such verdict."""
_LARGEST = 1e300


def judge(kind: Tool, reference: pa.Table, window: pa.Table, source: Source) -> tuple[ColumnDrift, ...]:
    """Return a tool's verdict on every column of a window but the key, times and what is ignored.

    ``effect`` and ``floor`` are its score and threshold, of a test one minus the p-value and one minus the level, so
    that more is further; ``p_value`` is 1 where it has none.

    Args:
        kind: which tool.
        reference: canonical rows in their order.
        window: canonical rows.
        source: whose rows these are.
    """
    return tuple(_JUDGES[kind](reference, window, source))


def compared_columns(source: Source, table: pa.Table) -> list[str]:
    """Return the columns that are compared."""
    left_out = {*source.key, *source.drift.ignore}
    return [
        name
        for name, column in source.columns.items()
        if name not in left_out and column.type != "timestamp" and name in table.column_names
    ]


# --- private -----------------------------------------------------------------------------


def _evidently(reference: pa.Table, window: pa.Table, source: Source) -> Iterator[ColumnDrift]:
    for name in compared_columns(source, reference):
        first, second = (finite(values_of(table.column(name))) for table in (reference, window))
        if not len(first) or not len(second):
            yield _none("evidently", name, "a side has no values")
            continue
        kind: evidently.Kind = "num" if _is_number(source, name) else "cat"
        method = evidently.METHODS[evidently.default_method(first, second, kind)]
        detector = f"evidently:{method.title}"
        yield _tried(detector, name, partial(_scored, method, first, second, kind, name))


def _scored(method: evidently.Method, first: Values, second: Values, kind: evidently.Kind, name: str) -> ColumnDrift:
    score, limit = method.score(first, second, kind), method.threshold
    test = method.small_is_drift
    said = "p-value" if test else "distance"
    return ColumnDrift(
        column=name,
        detector=f"evidently:{method.title}",
        effect=_finite(1 - score if test else score),
        floor=1 - limit if test else limit,
        p_value=_finite(score) if test else 1.0,
        drifted=method.drifted(score),
        text=f"{said} {score:.4g}, drift {'below' if test else 'from'} {limit:g}{'' if test else ' on'}",
    )


def _nannyml(reference: pa.Table, window: pa.Table, source: Source) -> Iterator[ColumnDrift]:
    for name in compared_columns(source, reference):
        first, second = (values_of(table.column(name)) for table in (reference, window))
        number = _is_number(source, name)
        method = (nannyml.NUMBERS if number else nannyml.CATEGORIES)[nannyml.DEFAULT]
        judged = partial(nannyml.judged, method, first, second, present)
        yield _tried(f"nannyml:{method.title}", name, partial(_alerted, method.title, name, judged))
        absent = [table.column(name).is_null(nan_is_null=True).to_numpy() for table in (reference, window)]
        if len(absent[0]) and len(absent[1]):
            yield _alerted("missing values", name, partial(nannyml.missing_rates, absent[0], absent[1]))
        if not number and len(second):
            unseen = partial(nannyml.unseen_rate, present(first), present(second), len(second))
            yield _alerted("unseen values", name, unseen)
    yield from _together(reference, window, source)


def _together(reference: pa.Table, window: pa.Table, source: Source) -> Iterator[ColumnDrift]:
    """Yield the looks at all columns at once that the policy names."""
    names = compared_columns(source, reference)
    first, second = ({name: values_of(table.column(name)) for name in names} for table in (reference, window))
    column = ", ".join(names)
    looks: dict[str, Callable[[], nannyml.Judged]] = {
        "pca_reconstruction": partial(multivariate.reconstruction, first, second),
        "domain_classifier": partial(multivariate.domain_classifier, first, second, multivariate.boosted_trees),
    }
    titles = {
        "pca_reconstruction": "reconstruction error",
        "domain_classifier": f"domain classifier ({multivariate.boosted_by()})",
    }
    for look in source.drift.multivariate:
        if look in looks and names:
            title = titles[look]
            yield _tried(f"nannyml:{title}", column, partial(_alerted, title, column, looks[look]))


def _alerted(title: str, name: str, judged: Callable[[], nannyml.Judged]) -> ColumnDrift:
    found = judged()
    upper = found.thresholds.upper
    return ColumnDrift(
        column=name,
        detector=f"nannyml:{title}",
        effect=_finite(found.value),
        floor=_finite(upper),
        p_value=1.0,
        drifted=found.alert,
        text=f"{title} {found.value:.4g}, alert {_outside(found.thresholds)}",
    )


def _outside(thresholds: nannyml.Thresholds) -> str:
    below = "" if thresholds.lower is None else f"below {thresholds.lower:.4g}"
    above = "" if thresholds.upper is None else f"above {thresholds.upper:.4g}"
    return " or ".join(filter(None, (below, above)))


def _sagemaker(reference: pa.Table, window: pa.Table, source: Source) -> Iterator[ColumnDrift]:
    names = compared_columns(source, reference)
    usual, now = (_profiles(table, names, source) for table in (reference, window))
    baseline = statistics_of(usual, reference.num_rows)
    for found in sagemaker.judgements(constraints_of(usual), baseline, now):
        yield ColumnDrift(
            column=found.feature_name,
            detector=f"sagemaker:{found.constraint_check_type}",
            effect=found.value,
            floor=found.limit,
            p_value=1.0,
            drifted=found.violated,
            text=found.description,
        )


def _profiles(table: pa.Table, names: list[str], source: Source) -> dict[str, ColumnProfile]:
    return {name: column_profile(table.column(name), source.columns[name].type) for name in names}


def _tried(detector: str, name: str, judged: Callable[[], ColumnDrift]) -> ColumnDrift:
    try:
        return judged()
    except (ValueError, np.linalg.LinAlgError) as error:
        return _none(detector, name, f"{type(error).__name__}: {error}")


def _none(detector: str, name: str, reason: str) -> ColumnDrift:
    text = f"no verdict: {reason}"
    return ColumnDrift(column=name, detector=detector, effect=0.0, floor=1.0, p_value=1.0, drifted=False, text=text)


def _is_number(source: Source, name: str) -> bool:
    return source.columns[name].type in ("integer", "number")


def _finite(value: float | None) -> float:
    """Return a figure that JSON can hold: NaN says nothing, and an infinite distance is very large."""
    if value is None or math.isnan(value):
        return 0.0
    return max(-_LARGEST, min(_LARGEST, value))


_JUDGES = {"evidently": _evidently, "nannyml": _nannyml, "sagemaker": _sagemaker}
