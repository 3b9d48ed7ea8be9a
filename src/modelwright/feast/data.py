"""The rows of Feast's file sources, as files that land here: our columns, our types, Parquet."""

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pyarrow import fs

from modelwright.declarations import NO_ENTITY
from modelwright.errors import InvalidInput, NotFound
from modelwright.feast.sources import Files
from modelwright.features.history import ARROW
from modelwright.sources import Column, Source

ROWS = 500_000


def landing(source: Source, files: Files, folder: Path, *, rows: int = ROWS) -> Iterator[tuple[str, bytes]]:
    """Yield the keys and bodies of objects for the landing bucket.

    Args:
        source: ours.
        files: where Feast's rows are: a Parquet file, a folder of such, or ``s3://``.
        folder: what a relative path starts from.
        rows: of one object at most.

    Raises:
        NotFound: there is nothing.
        InvalidInput: a column is missing, or its values are of another type.
    """
    for number, table in enumerate(tables(source, files, folder, rows=rows)):
        body = io.BytesIO()
        pq.write_table(table, body, compression="zstd")
        yield f"{source.prefix}feast-{number:05}.parquet", body.getvalue()


def tables(source: Source, files: Files, folder: Path, *, rows: int = ROWS) -> Iterator[pa.Table]:
    """Yield the rows of a file source with exactly our columns, in order; raises as ``landing``."""
    found = _dataset(files, folder)
    theirs = {files.renamed.get(name, name): name for name in found.schema.names}
    wanted = [name for name in source.columns if name != NO_ENTITY]
    if missing := [name for name in wanted if name not in theirs]:
        there = ", ".join(theirs)
        raise InvalidInput(f"{files.uri} has no column {', '.join(missing)}: it has {there}")
    waiting: list[pa.RecordBatch] = []
    for batch in found.to_batches(columns=[theirs[name] for name in wanted]):
        waiting.append(batch)
        if sum(one.num_rows for one in waiting) >= rows:
            yield from _cut(source, files, waiting, rows)
            waiting = []
    yield from _cut(source, files, waiting, rows)


def _cut(source: Source, files: Files, batches: list[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    if not sum(batch.num_rows for batch in batches):
        return
    table = pa.Table.from_batches(batches).rename_columns([name for name in source.columns if name != NO_ENTITY])
    if NO_ENTITY in source.columns:
        table = table.append_column(NO_ENTITY, pa.array([""] * table.num_rows, pa.string()))
    whole = pa.table({n: _typed(files.uri, n, column, table[n]) for n, column in source.columns.items()})
    for start in range(0, whole.num_rows, rows):
        yield whole.slice(start, rows)


def _typed(uri: str, name: str, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as ours: times without a zone are in UTC, and finer ones lose what is below a microsecond."""
    try:
        if column.type == "timestamp" and pa.types.is_timestamp(values.type):
            zoned = values if values.type.tz else pc.assume_timezone(values, "UTC")
            return zoned.cast(ARROW["timestamp"], safe=False)
        return values.cast(ARROW[column.type])
    except pa.ArrowException as error:
        raise InvalidInput(f"{uri}: column {name} is {values.type}, which is no {column.type}: {error}") from error


def _dataset(files: Files, folder: Path) -> pads.Dataset:
    try:
        if files.uri.startswith("s3://"):
            store = fs.S3FileSystem(endpoint_override=files.endpoint or None)
            return pads.dataset(files.uri.removeprefix("s3://"), format="parquet", filesystem=store)
        return pads.dataset(folder / files.uri.removeprefix("file://"), format="parquet")
    except FileNotFoundError as error:
        raise NotFound(f"there are no rows at {files.uri}: {error}") from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{files.uri} is no Parquet: {error}") from error
