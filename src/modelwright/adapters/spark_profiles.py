"""The profile of rows that exceed one machine, from Spark: partitions are profiled by ``monitoring`` and merged.

Counts, extremes, categories and duplicates are exactly those of all rows at once; moments are up to rounding; the
distribution of numbers errs by what its sketch says; different numbers are at least as many as a partition has.
"""

import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel, ConfigDict

from modelwright.errors import InvalidInput
from modelwright.monitoring.columns import TOP, ColumnProfile, categories, pool
from modelwright.monitoring.profiles import Profile, columns_of, extremes_of, stored_as
from modelwright.project import Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TABLE_ROWS = 1_000_000
_SCHEMA = "body binary"
_ARROW = pa.schema({"body": pa.binary()})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    columns: dict[str, ColumnProfile]


def profile(frame: "DataFrame", source_name: str, source: Source, digest: str) -> Profile:
    """Profile a data frame of Spark with the columns of a source.

    Args:
        frame: its rows; read up to three times, again where a text has more different values than a profile keeps.
        source_name: whose they are.
        source: their declaration.
        digest: of their content.

    Raises:
        InvalidInput: it lacks declared columns, or no row has an event time.
    """
    if missing := [name for name in source.columns if name not in frame.columns]:
        raise InvalidInput(f"the data frame has no column {', '.join(missing)}")
    declared = frame.select(*source.columns)
    with warnings.catch_warnings():
        # Spark doubts pandas 3, of which partitions make no use.
        warnings.simplefilter("ignore", FutureWarning)
        told = declared.mapInArrow(partial(_profiled, source), _SCHEMA).collect()
    parts = [_Part.model_validate_json(bytes(row.body)) for row in told]
    starts, ends = ([time for part in parts if (time := getattr(part, end)) is not None] for end in ("start", "end"))
    if not starts:
        raise InvalidInput("no row has an event time")
    columns = {name: pool([part.columns[name] for part in parts]) for name in source.columns}
    rows = columns[source.event_time].rows
    return Profile(
        source=source_name,
        digest=digest,
        rows=rows,
        start=min(starts),
        end=max(ends),
        columns={
            name: _counted(declared, name, column) if column.other else column for name, column in columns.items()
        },
        duplicates=rows - declared.select(*source.key).distinct().count() if source.key else None,
    )


def _profiled(source: Source, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Profile a partition, so many rows at a time as a table holds."""
    parts = [_part(source, table) for table in _tables(batches)]
    if not parts:
        return
    starts, ends = ([time for part in parts if (time := getattr(part, end)) is not None] for end in ("start", "end"))
    together = _Part(
        start=min(starts, default=None),
        end=max(ends, default=None),
        columns={name: pool([part.columns[name] for part in parts]) for name in source.columns},
    )
    yield pa.record_batch([pa.array([together.model_dump_json().encode()], pa.binary())], schema=_ARROW)


def _tables(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= TABLE_ROWS:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if any(one.num_rows for one in waiting):
        yield pa.Table.from_batches(waiting)


def _part(source: Source, table: pa.Table) -> _Part:
    types = {field.name: stored_as(field.type) for field in table.schema}
    times = table.column(source.event_time)
    start, end = extremes_of(times) if times.null_count < len(times) else (None, None)
    return _Part(start=start, end=end, columns=columns_of(table, source, types))


def _counted(frame: "DataFrame", name: str, column: ColumnProfile) -> ColumnProfile:
    """Return a column with the counts of the most frequent of all its values, which no partition knows."""
    from pyspark.sql import functions as f

    counts = frame.select(f.col(name).cast("string").alias("value")).dropna().groupBy("value").count()
    most = counts.orderBy(f.desc("count"), f.asc("value")).limit(TOP).collect()
    top: dict[str, Any] = {row["value"]: row["count"] for row in most}
    return categories(
        top,
        other=column.count - sum(top.values()),
        distinct=counts.count(),
        most=most[0]["count"],
        lengths=column.lengths,
        rows=column.rows,
        missing=column.missing,
        type=column.type,
    )
