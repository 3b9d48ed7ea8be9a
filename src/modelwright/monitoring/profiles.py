"""Profiles: what a file's columns look like, as a small document that later files are compared with.

Rows are profiled column by column, and numbers sorted once, so that memory holds one column and no table need be read.
They have a source's canonical types, or those of a Parquet file, whose infinite values are counted then. What is known
of a column is in ``columns``, what is done with profiles in ``documents``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.monitoring import counting
from modelwright.monitoring.columns import QUANTILES, TOP, ColumnProfile, Lengths, numbers, pool
from modelwright.monitoring.distributions import Floats
from modelwright.monitoring.documents import Profile, Reference, merged
from modelwright.monitoring.reading import ARROW, typed_array
from modelwright.project import ColumnType, Source

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = [
    "QUANTILES",
    "TOP",
    "ColumnProfile",
    "Floats",
    "Lengths",
    "Profile",
    "Reference",
    "column_profile",
    "columns_of",
    "duplicates_of",
    "extremes_of",
    "merged",
    "pool",
    "profile_file",
    "profile_of",
    "stored_as",
]

_HASHED_ROWS = 1 << 19


def profile_of(
    table: pa.Table, source_name: str, source: Source, digest: str, types: Mapping[str, str] | None = None
) -> Profile:
    """Profile a canonical table with at least one event time.

    Args:
        table: rows.
        source_name: whose.
        source: their declaration.
        digest: of their content.
        types: how the file stored its columns, where that is known.
    """
    extremes = extremes_of(table.column(source.event_time))
    return Profile(
        source=source_name,
        digest=digest,
        rows=table.num_rows,
        start=extremes[0],
        end=extremes[1],
        columns=columns_of(table, source, types or {}),
        duplicates=duplicates_of([table.select(list(source.key))]) if source.key else None,
    ).thinned()


def columns_of(table: pa.Table, source: Source, types: Mapping[str, str]) -> dict[str, ColumnProfile]:
    """Profile each declared column of a table; see ``profile_of``."""
    room = np.empty(table.num_rows)
    return {
        name: column_profile(table.column(name), column.type, types.get(name, ""), room)
        for name, column in source.columns.items()
    }


def extremes_of(times: pa.ChunkedArray) -> "tuple[datetime, datetime]":
    """Return the smallest and the largest of a column of times.

    Raises:
        InvalidInput: there are none.
    """
    extremes = pc.min_max(_typed(times, "timestamp")).as_py()
    if extremes["min"] is None:
        raise InvalidInput("no row has an event time")
    return extremes["min"], extremes["max"]


def profile_file(file: "Path | str | bytes", source_name: str, source: Source, digest: str = "") -> Profile:
    """Profile a Parquet file, one column in memory at a time.

    Args:
        file: its path or its bytes.
        source_name: whose rows they are.
        source: their declaration.
        digest: of their content; of the file's bytes, if it is not given.

    Raises:
        InvalidInput: it is no Parquet, lacks declared columns, or no row has an event time.
    """
    import pyarrow.parquet as pq

    texts = [name for name, column in source.columns.items() if column.type == "string"]
    opened = pa.BufferReader(file) if isinstance(file, bytes) else pa.OSFile(str(file))
    try:
        with opened, pq.ParquetFile(opened) as plain, pq.ParquetFile(opened, read_dictionary=texts) as coded:
            return _Parquet(plain, coded).profile(source_name, source, digest or _digest(file))
    except pa.ArrowInvalid as error:
        raise InvalidInput("the file is no Parquet that can be read") from error


def column_profile(
    column: pa.ChunkedArray, kind: ColumnType, type_: str = "", room: Floats | None = None
) -> ColumnProfile:
    """Profile one column.

    Args:
        column: of its canonical type, or any that ``reading`` can make that type.
        kind: its declared type.
        type_: how the file stored it.
        room: as many numbers as the column has rows, which are overwritten; else some are made.
    """
    counted: dict[str, Any] = {"rows": len(column), "type": type_}
    if kind == "timestamp":
        return _times(column, counted)
    if kind in ("integer", "number"):
        return _numbers(_floats(column, room), counted)
    words = column if _is_text(column.type) else _typed(column, kind)
    return counting.counted(lambda: words.chunks, lambda: words.chunks, **counted)


def duplicates_of(tables: Iterable[pa.Table]) -> int:
    """Return how many rows have the key of a row before them, by 64 bits of a hash: 8 bytes of memory for a row.

    That two of ten million different keys have one hash happens once in 400,000 such files.
    """
    hashes = [
        counting.hashes_of(part.to_pandas())
        for table in tables
        for start in range(0, table.num_rows, _HASHED_ROWS)
        for part in (table.slice(start, _HASHED_ROWS),)
    ]
    if not hashes:
        return 0
    ordered = np.concatenate(hashes)
    ordered.sort()
    return int(np.count_nonzero(ordered[1:] == ordered[:-1]))


def stored_as(kind: pa.DataType) -> str:
    """Return how a profile calls the type of a stored column: in Arrow's words, times in UTC."""
    if pa.types.is_timestamp(kind) and kind.tz:
        kind = pa.timestamp(kind.unit, "UTC")
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)


# --- private -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Parquet:
    """A file.

    Attributes:
        plain: it, as it is.
        coded: it, with texts as places in dictionaries, which are faster to count while there are few.
    """

    plain: "pq.ParquetFile"
    coded: "pq.ParquetFile"

    def profile(self, source_name: str, source: Source, digest: str) -> Profile:
        """Profile it column by column; see ``profile_file``."""
        schema, rows, columns = self.plain.schema_arrow, self.plain.metadata.num_rows, {}
        if missing := [name for name in source.columns if name not in schema.names]:
            raise InvalidInput(f"the file has no column {', '.join(missing)}")
        room = np.empty(rows)
        for name, column in source.columns.items():
            stored = schema.field(name).type
            said: dict[str, Any] = {"rows": rows, "type": stored_as(stored)}
            if column.type == "string" and _is_text(stored):
                coded, plain = (partial(self._pieces, file, name) for file in (self.coded, self.plain))
                columns[name] = counting.counted(coded, plain, **said)
                continue
            values = self._read(name)
            columns[name] = column_profile(values, column.type, said["type"], room)
            if name == source.event_time:
                start, end = extremes_of(values)
        keys = self.plain.iter_batches(_HASHED_ROWS, columns=list(source.key), use_threads=False)
        return Profile(
            source=source_name,
            digest=digest,
            rows=rows,
            start=start,
            end=end,
            columns=columns,
            duplicates=duplicates_of(pa.Table.from_batches([batch]) for batch in keys) if source.key else None,
        ).thinned()

    def _read(self, name: str) -> pa.ChunkedArray:
        return self.plain.read(columns=[name], use_threads=False).column(0)

    def _pieces(self, file: "pq.ParquetFile", name: str) -> Iterator[pa.Array]:
        for batch in file.iter_batches(counting.MANY, columns=[name], use_threads=False):
            yield batch.column(0)


def _typed(column: pa.ChunkedArray, kind: ColumnType) -> pa.ChunkedArray:
    """Return a column in its canonical type; what cannot be of it is missing."""
    return column if column.type == ARROW[kind] else pa.chunked_array([typed_array(column, kind)[0]])


def _floats(column: pa.ChunkedArray, room: Floats | None) -> Floats:
    """Return numbers in an array of their own, or in the room that is given, missing ones as NaN."""
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = _typed(column, "number")
    values = np.empty(len(column)) if room is None else room
    start = 0
    for chunk in column.chunks:
        values[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return values


def _numbers(values: Floats, counted: dict[str, Any]) -> ColumnProfile:
    """Profile numbers in the array itself: sorted, minus infinity stands first, and infinity and NaN last."""
    values.sort()
    below = int(np.searchsorted(values, -np.inf, side="right"))
    above, there = (int(place) for place in np.searchsorted(values, [np.inf, np.nan], side="left"))
    finite = values[below:above]
    zeros = np.searchsorted(finite, 0.0), np.searchsorted(finite, 0.0, side="right")
    finite[slice(*zeros)] = 0.0  # a negative one differs in no other way
    infinite = {"infinite": below + there - above, "negative_infinite": below}
    return numbers(finite, missing=len(values) - there, **infinite, **counted)


def _times(column: pa.ChunkedArray, counted: dict[str, Any]) -> ColumnProfile:
    times = _typed(column, "timestamp")
    ends = pc.min_max(times)
    low, high = (None if (end := ends[name].value) is None else end / 1e6 for name in ("min", "max"))
    return ColumnProfile(kind="times", missing=times.null_count, low=low, high=high, **counted)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _digest(file: "Path | str | bytes") -> str:
    if isinstance(file, bytes):
        return hashlib.sha256(file).hexdigest()
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
