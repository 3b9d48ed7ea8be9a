"""Figures of profiles and verdicts as Parquet tables in the lake, for anyone's SQL.

==================  ==================================================================================
table               one row is
==================  ==================================================================================
``profile_metrics``  a metric of a column of a window; of the window as a whole where ``column`` is empty
``drift_metrics``    a verdict: a column, a segment (empty: all rows) and a detector
==================  ==================================================================================

They lie below ``tables/<workspace>/<table>/source=<source>/dt=<day>/<digest>.parquet``, partitioned as Hive does, so
that Athena, Spark, DuckDB and pyarrow find ``source`` and ``dt`` (the UTC day of the window's end) by themselves. A
window's file has its digest for a name and the same bytes whenever it is written, so that a repeated delivery changes
nothing. Times are UTC.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from modelwright.events import ColumnDrift
from modelwright.monitoring.profiles import ColumnProfile, Profile
from modelwright.monitoring.reading import parquet_bytes

QUANTILES = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
_TIME = pa.timestamp("us", "UTC")
_WINDOW = [("window_start", _TIME), ("window_end", _TIME), ("digest", pa.string())]
PROFILE_METRICS = pa.schema([*_WINDOW, ("column", pa.string()), ("metric", pa.string()), ("value", pa.float64())])
DRIFT_METRICS = pa.schema([
    *_WINDOW,
    ("column", pa.string()),
    ("segment", pa.string()),
    ("detector", pa.string()),
    ("effect", pa.float64()),
    ("floor", pa.float64()),
    ("p_value", pa.float64()),
    ("p_adjusted", pa.float64()),
    ("drifted", pa.bool_()),
    ("since", _TIME),
    ("weight", pa.float64()),
    ("reference", pa.string()),
])  # fmt: skip

Bodies = dict[str, bytes]
"""Objects of the lake by key."""


def profile_metrics(profile: Profile, workspace: str, source: str, left_out: Collection[str] = ()) -> Bodies:
    """Return the file of a window's profile.

    Args:
        profile: of the window.
        workspace: the source's.
        source: its name.
        left_out: columns of which nothing is told: keys, whose values name people.
    """
    metrics = [("", "rows", float(profile.rows)), *_duplicates(profile)]
    for name, column in profile.columns.items():
        if name in left_out:
            continue
        metrics += [(name, metric, value) for metric, value in _metrics(column)]
    columns, names, values = zip(*metrics, strict=True)
    table = _table(profile, PROFILE_METRICS, column=columns, metric=names, value=values)
    return {_key("profile_metrics", workspace, source, profile): parquet_bytes(table)}


def drift_metrics(profile: Profile, verdicts: Sequence[ColumnDrift], workspace: str, source: str) -> Bodies:
    """Return the file of a window's verdicts, drifted or not; none where nothing was compared."""
    if not verdicts:
        return {}
    names = [name for name in DRIFT_METRICS.names if name in ColumnDrift.model_fields]
    columns = {name: [getattr(one, name) for one in verdicts] for name in names}
    table = _table(profile, DRIFT_METRICS, **columns)
    return {_key("drift_metrics", workspace, source, profile): parquet_bytes(table)}


# --- private -----------------------------------------------------------------------------


def _metrics(column: ColumnProfile) -> Iterator[tuple[str, float]]:
    yield "rows", float(column.rows)
    yield "missing", float(column.missing)
    yield "missing_rate", column.missing_rate
    if column.kind == "times" or not column.count:
        return
    yield "distinct", float(column.distinct)
    yield "mode_share", column.mode_share
    if column.kind == "categories":
        yield "mean_length", column.mean_length
        return
    yield "infinite", float(column.infinite)
    yield "mean", column.mean
    yield "deviation", column.deviation
    yield "skewness", column.skewness
    yield "kurtosis", column.kurtosis
    quantiles = column.distribution.quantiles(np.array(list(QUANTILES.values())))
    yield from zip(QUANTILES, quantiles.tolist(), strict=True)


def _duplicates(profile: Profile) -> list[tuple[str, str, float]]:
    return [] if profile.duplicates is None else [("", "duplicates", float(profile.duplicates))]


def _table(profile: Profile, schema: pa.Schema, **columns: Sequence[object]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    window = {"window_start": profile.start, "window_end": profile.end, "digest": profile.digest}
    given: dict[str, Sequence[object]] = {**{name: [value] * rows for name, value in window.items()}, **columns}
    return pa.table([pa.array(given[field.name], field.type) for field in schema], schema=schema)


def _key(table: str, workspace: str, source: str, profile: Profile) -> str:
    return f"tables/{workspace}/{table}/source={source}/dt={_day(profile.end)}/{profile.digest}.parquet"


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"
