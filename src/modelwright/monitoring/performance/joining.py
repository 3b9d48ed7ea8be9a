"""Joins labels with the predictions they belong to.

Labels come late, in any order, and some twice; each prediction of a version is counted once, with the answer that was
asked for first (so that nobody improves a figure by asking again when the outcome is known) and the first label that
came. What was asked and what the model was fed (the columns of the prediction log beyond ``LABELLED``) comes along;
logs of before these were kept have none of it.

Labels find a prediction by the day of its row's own time alone. So of two label files the same predictions can only be
in both if they have days in common, whenever either became known: that is what ``spanned`` is compared for.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.events import Window
from modelwright.monitoring.performance.logbook import DAY_US, LEFT_OUT, OF_LOG, ahead, codes_of, day_of
from modelwright.monitoring.reading import parquet_table
from modelwright.project import Model
from modelwright.storage import Blobs

LABELLED = pa.schema([*list(OF_LOG)[:5], pa.field("label", pa.float64())])


def labels_of(blobs: Blobs, key: str, model: Model, time: str) -> pa.Table:
    """Return id, time and label (0 or 1, or the number itself) of the rows that have one, one row per id.

    Raises:
        InvalidInput: the column holds nothing that can be a label; the text says what to do.
    """
    columns = list(dict.fromkeys((model.id_column, time, model.label.column)))
    body = blobs.get("lake", key).body
    _require(body, columns, model)
    table = parquet_table(body, columns)
    value = table.column(model.label.column).cast(pa.float64(), safe=False)
    known = pc.and_(value.is_valid(), table.column(model.id_column).is_valid())
    if model.label.above is None:  # a number that is no number is no label
        known = pc.and_(known, pc.is_finite(value).fill_null(False))
    table, value = table.filter(known), value.filter(known)
    label = value if model.label.above is None else pc.greater(value, model.label.above).cast(pa.float64(), safe=False)
    identity = table.column(model.id_column).cast(pa.string())
    made = pa.table({"id": identity, "time": table.column(time), "label": label})
    _, first = np.unique(codes_of(made.column("id")), return_index=True)
    return made if len(first) == made.num_rows else made.take(pa.array(np.sort(first)))


def days_asked(labels: pa.Table) -> list[date]:
    """Return the days of the labels' rows, in order: those on whose part of the log their predictions lie."""
    days = pc.unique(labels.column("time").drop_null().cast(pa.int64()).combine_chunks()).to_numpy() // DAY_US
    return [day_of(number) for number in np.unique(days)]


def spanned(days: Sequence[date]) -> Window | None:
    """Return from when to when days are; None for no day."""
    return Window(start=midnight(min(days)), end=midnight(max(days) + timedelta(days=1))) if days else None


def unjoined(labels: pa.Table, predictions: pa.Table) -> pa.Table:
    """Return the labels of which no prediction is in the log."""
    asked = predictions.column("prediction_id").combine_chunks()
    return labels.filter(pc.invert(pc.is_in(labels.column("id"), value_set=asked)))


def join(labels: pa.Table, predictions: pa.Table) -> pa.Table:
    """Join by id; of several answers of a version for an id the one asked first counts, then by request id."""
    ids = labels.column("id").combine_chunks()
    position = pc.index_in(predictions.column("prediction_id"), value_set=ids).combine_chunks()
    known = position.is_valid()
    predictions, position = predictions.filter(known), position.filter(known).to_numpy()
    order = first_asked(predictions, position)
    chosen = predictions.take(pa.array(order)).drop_columns([n for n in LEFT_OUT if n in predictions.column_names])
    label = labels.column("label").combine_chunks().take(pa.array(position[order]))
    place = len(LABELLED) - 1
    return chosen.add_column(place, LABELLED.field("label"), label.cast(pa.float64(), safe=False)).combine_chunks()


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


def not_counted(joined: pa.Table, blobs: Blobs, keys: Sequence[str]) -> pa.Table:
    """Drop what earlier labels already counted, by labelled files; only a few of them are in memory at a time."""
    columns = ["prediction_id", "version"]
    for before in ahead(lambda key: parquet_table(blobs.get("lake", key).body, columns), keys):
        if not joined.num_rows:
            return joined
        both = pa.concat_tables([before, joined.select(columns)])
        pairs = codes_of(both.column("prediction_id")) * (1 << 32) + both.column("version").to_numpy()
        counted = np.isin(pairs[before.num_rows :], pairs[: before.num_rows])
        joined = joined.filter(pa.array(~counted))
    return joined


def labelled_tables(blobs: Blobs, keys: Sequence[str], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield labelled files; in old ones labels are small integers."""
    for table in ahead(lambda key: parquet_table(blobs.get("lake", key).body, columns), keys):
        place = table.column_names.index("label")
        yield table.set_column(place, "label", table.column("label").cast(pa.float64(), safe=False))


def days_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return the day as of which each row was answered, as a number."""
    return np.asarray(table.column("as_of").cast(pa.int64()).to_numpy() // DAY_US, dtype=np.int64)


def midnight(day: date) -> datetime:
    """Return when a day begins."""
    return datetime.combine(day, time(), UTC)


# --- private -----------------------------------------------------------------------------


def _require(body: bytes, columns: Sequence[str], model: Model) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(io.BytesIO(body))
    if lacking := [name for name in columns if name not in schema.names]:
        raise InvalidInput(f"the labels lack the column {', '.join(lacking)}: declare it in their source")
    kind = schema.field(model.label.column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        told = f"the label column {model.label.column} holds {kind}, and a label is a number or true and false"
        raise InvalidInput(f"{told}: declare it as one, or derive such a column before labels are sent")


def _ranks(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the place of each text among the sorted distinct ones."""
    texts = pc.unique(column).sort()
    return np.asarray(pc.index_in(column, value_set=texts).fill_null(0).to_numpy(), dtype=np.int64)
