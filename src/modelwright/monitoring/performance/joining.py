"""Joins labels with the predictions they belong to.

Labels come late, in any order, and some twice; each prediction of a version is counted once, with the answer that was
asked for first (so that nobody improves a figure by asking again when the outcome is known) and the first label that
came. What was asked and what the model was fed (the columns of the prediction log beyond ``LABELLED``) comes along;
logs of before these were kept have none of it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.reading import parquet_table
from modelwright.project import Model
from modelwright.storage import Blobs

LABELLED = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("as_of", pa.timestamp("us", tz="UTC")),
        pa.field("version", pa.int32()),
        pa.field("role", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("label", pa.float64()),
    ]
)
_OF_REQUEST = {"request_id": pa.string(), "asked_at": pa.timestamp("us", tz="UTC")}
_OF_LOG = pa.schema([*list(LABELLED)[:5], *(pa.field(name, kind) for name, kind in _OF_REQUEST.items())])
_LEFT_OUT = ("mode", *_OF_REQUEST)
THREADS = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000


def labels_of(blobs: Blobs, key: str, model: Model, time: str) -> pa.Table:
    """Return id, time and label (0 or 1, or the number itself) of the rows that have one, one row per id."""
    columns = list(dict.fromkeys((model.id_column, time, model.label.column)))
    table = parquet_table(blobs.get("lake", key).body, columns)
    value = table.column(model.label.column).cast(pa.float64())
    known = pc.and_(value.is_valid(), table.column(model.id_column).is_valid())
    if model.label.above is None:  # a number that is no number is no label
        known = pc.and_(known, pc.is_finite(value).fill_null(False))
    table, value = table.filter(known), value.filter(known)
    label = value if model.label.above is None else pc.greater(value, model.label.above).cast(pa.float64())
    identity = table.column(model.id_column).cast(pa.string())
    made = pa.table({"id": identity, "time": table.column(time), "label": label})
    _, first = np.unique(codes_of(made.column("id")), return_index=True)
    return made if len(first) == made.num_rows else made.take(pa.array(np.sort(first)))


def predictions_of(blobs: Blobs, workspace: str, model: str, labels: pa.Table) -> pa.Table:
    """Read the partitions of the prediction log on the days of the labels' rows, whenever these were asked."""
    days = pc.unique(labels.column("time").drop_null().cast(pa.int64()).combine_chunks()).to_numpy() // DAY_US
    return logged(blobs, workspace, model, [day_of(number) for number in np.unique(days)])


def logged(blobs: Blobs, workspace: str, model: str, days: Sequence[date]) -> pa.Table:
    """Return what the prediction log says about some days, in order of the days."""
    prefixes = [f"predictions/{workspace}/{model}/dt={day}/" for day in days]

    def read(key: str) -> pa.Table:
        table = parquet_table(blobs.get("lake", key).body)
        return table.drop_columns([name for name in ("mode",) if name in table.column_names])

    with ThreadPoolExecutor(THREADS) as pool:
        listings = pool.map(lambda prefix: [listed.key for listed in blobs.list("lake", prefix)], prefixes)
        tables = list(pool.map(read, [key for keys in listings for key in keys]))
    return stacked(tables, _OF_LOG)


def stacked(tables: Sequence[pa.Table], needed: pa.Schema) -> pa.Table:
    """Return tables one after the other: the columns that are needed, then all others of any of them.

    What a table lacks is null. Columns of which the types differ become numbers where all are, else texts: definitions
    change while a log is kept.
    """
    kinds: dict[str, pa.DataType] = {}
    for table in tables:
        for field in table.schema:
            if field.name not in needed.names:
                kinds[field.name] = _common(kinds.get(field.name, field.type), field.type)
    schema = pa.schema([*needed, *(pa.field(name, kind) for name, kind in kinds.items())])
    return pa.concat_tables([_fitted(table, schema) for table in tables]) if tables else schema.empty_table()


def join(labels: pa.Table, predictions: pa.Table) -> pa.Table:
    """Join by id; of several answers of a version for an id the one asked first counts, then by request id."""
    ids = labels.column("id").combine_chunks()
    position = pc.index_in(predictions.column("prediction_id"), value_set=ids).combine_chunks()
    known = position.is_valid()
    predictions, position = predictions.filter(known), position.filter(known).to_numpy()
    order = first_asked(predictions, position)
    chosen = predictions.take(pa.array(order)).drop_columns([n for n in _LEFT_OUT if n in predictions.column_names])
    label = labels.column("label").combine_chunks().take(pa.array(position[order]))
    place = len(LABELLED) - 1
    return chosen.add_column(place, LABELLED.field("label"), label.cast(pa.float64())).combine_chunks()


def first_asked(predictions: pa.Table, position: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return the rows that count, one per position and version: the one asked first, then by request id."""
    asked = predictions.column("asked_at").cast(pa.int64()).to_numpy()
    version = predictions.column("version").to_numpy()
    order = np.lexsort((_ranks(predictions.column("request_id")), asked, version, position))
    position, version = position[order], version[order]
    if len(order):
        first = np.concatenate([[True], (position[1:] != position[:-1]) | (version[1:] != version[:-1])])
        order = order[first]
    return order


def not_counted(joined: pa.Table, bodies: Sequence[bytes]) -> pa.Table:
    """Drop what earlier labels already counted."""
    for body in bodies:
        before = parquet_table(body, ["prediction_id", "version"])
        both = pa.concat_tables([before, joined.select(["prediction_id", "version"])])
        pairs = codes_of(both.column("prediction_id")) * (1 << 32) + both.column("version").to_numpy()
        counted = np.isin(pairs[before.num_rows :], pairs[: before.num_rows])
        joined = joined.filter(pa.array(~counted))
    return joined


def labelled_tables(blobs: Blobs, keys: Sequence[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield labelled files; in old ones labels are small integers."""

    def read(key: str) -> pa.Table:
        return parquet_table(blobs.get("lake", key).body, columns)

    with ThreadPoolExecutor(THREADS) as pool:
        for table in pool.map(read, keys):
            place = table.column_names.index("label")
            yield table.set_column(place, "label", table.column("label").cast(pa.float64()))


def codes_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return a number for each distinct value; -1 where there is none."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    return np.asarray(array.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def days_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the day as of which each row was answered, as a number."""
    return np.asarray(table.column("as_of").cast(pa.int64()).to_numpy() // DAY_US, dtype=np.int64)


def day_of(number: int) -> date:
    """Return the day of a number of days since 1970."""
    return (EPOCH + timedelta(days=int(number))).date()


# --- private -----------------------------------------------------------------------------


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    if pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    numbers = all(pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_boolean(t) for t in (one, other))
    return pa.float64() if numbers else pa.string()


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if pa.types.is_boolean(column.type) and pa.types.is_floating(field.type):
            column = column.cast(pa.int8())
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the place of each text among the sorted distinct ones."""
    texts = pc.unique(column).sort()
    return np.asarray(pc.index_in(column, value_set=texts).fill_null(0).to_numpy(), dtype=np.int64)
