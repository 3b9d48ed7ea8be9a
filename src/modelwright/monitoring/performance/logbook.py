"""The prediction log as it is read: days of it, each row once, from the objects of requests and from packed ones.

``predictions/<ws>/<model>/dt=<day>/<request id>.parquet`` is what serving writes; ``dt=<day>/packed/<digest>.parquet``
holds several of these together (``packing``). An object is packed before it is removed, so that for a while, or for
good if somebody was killed between both, rows lie in two objects: of a day a request counts once, from the first
object that has it, packed ones first.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelwright.errors import NotFound, Unavailable
from modelwright.monitoring.reading import parquet_table
from modelwright.storage import Blobs, Listed

PACKED = "packed/"
"""The folder of a day for objects of several requests; no request id has a slash."""
_OF_REQUEST = {"request_id": pa.string(), "asked_at": pa.timestamp("us", tz="UTC")}
OF_LOG = pa.schema(
    [
        pa.field("prediction_id", pa.string()),
        pa.field("as_of", pa.timestamp("us", tz="UTC")),
        pa.field("version", pa.int32()),
        pa.field("role", pa.string()),
        pa.field("score", pa.float64()),
        *(pa.field(name, kind) for name, kind in _OF_REQUEST.items()),
    ]
)
LEFT_OUT = ("mode", *_OF_REQUEST)
"""What is said of requests as a whole."""
THREADS = 16
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_US = 86_400_000_000
_TRIES, _KEPT = 4, 3
T = TypeVar("T")
R = TypeVar("R")


def folder(workspace: str, model: str, day: date | None = None) -> str:
    """Return the prefix of a model's log, or of a day of it."""
    return f"predictions/{workspace}/{model}/" + (f"dt={day}/" if day else "")


class Partitions:
    """The log of a model as it is just now, for whoever looks at the same days many times.

    Each day is listed once, and only if there is something of it; the rows of a few days are kept.
    """

    def __init__(self, blobs: Blobs, workspace: str, model: str) -> None:
        self._blobs, self._place = blobs, (workspace, model)
        self._there: frozenset[str] | None = None
        self._listed: dict[date, str] = {}
        self._rows: dict[date, pa.Table] = {}

    def seen(self, days: Iterable[date]) -> str:
        """Return what stands for the objects of some days: another text when there are others."""
        known = hashlib.sha256()
        for day in days:
            known.update(self._names(day).encode())
        return known.hexdigest()

    def rows(self, days: Sequence[date]) -> pa.Table:
        """Return what the log says about some days; see ``logged``."""
        if len(days) > _KEPT:
            return logged(self._blobs, *self._place, days)
        for day in days:
            if day not in self._rows:
                table = logged(self._blobs, *self._place, [day])
                self._rows = dict([*self._rows.items(), (day, table)][-_KEPT:])
            else:
                self._rows[day] = self._rows.pop(day)
        return stacked([self._rows[day] for day in days], OF_LOG)

    def _names(self, day: date) -> str:
        if self._there is None:
            self._there = frozenset(one.key for one in self._blobs.level("lake", folder(*self._place)))
        prefix = folder(*self._place, day)
        if prefix not in self._there:
            return ""
        if day not in self._listed:
            self._listed[day] = "".join(f"{one.key}\n" for one in self._blobs.list("lake", prefix))
        return self._listed[day]


def logged(blobs: Blobs, workspace: str, model: str, days: Sequence[date]) -> pa.Table:
    """Return what the prediction log says about some days, in order of the days.

    Raises:
        Unavailable: objects were packed again and again while they were read.
    """
    prefixes = [folder(workspace, model, day) for day in days]
    with ThreadPoolExecutor(THREADS) as pool:

        def begun(listed: Sequence[Listed]) -> list[Future[pa.Table]]:
            return [pool.submit(_read, blobs, one.key) for one in listed]

        listings = list(pool.map(lambda prefix: in_order(blobs.list("lake", prefix)), prefixes))
        reading = [begun(listed) for listed in listings]
        tables = []
        for prefix, listed, futures in zip(prefixes, listings, reading, strict=True):
            tables.append(_day(blobs, prefix, listed, futures, begun))
    return stacked(tables, OF_LOG)


def in_order(listed: Iterable[Listed]) -> list[Listed]:
    """Return objects of a day with the packed ones first, as their rows count."""
    return sorted(listed, key=lambda one: (not packed(one.key), one.key))


def packed(key: str) -> bool:
    """Say whether an object holds several requests."""
    return key.rpartition("/")[0].endswith(f"/{PACKED[:-1]}")


def once(table: pa.Table, sizes: Sequence[int]) -> pa.Table:
    """Drop rows of requests that an earlier object has, where a table is made of objects with so many rows each."""
    objects = np.repeat(np.arange(len(sizes)), sizes)
    codes = codes_of(table.column("request_id"))
    first = np.full(int(codes.max(initial=0)) + 2, len(sizes))
    np.minimum.at(first, codes, objects)
    kept = (codes < 0) | (objects == first[codes])
    return table if kept.all() else table.filter(pa.array(kept))


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


def ahead(work: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """Yield what comes of things, in order, a few of them at once and no more: results are large."""
    rest = iter(things)
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(rest, THREADS)):
            yield from pool.map(work, some)


def codes_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return a number for each distinct value; -1 where there is none."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    return np.asarray(array.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)


def day_of(number: int) -> date:
    """Return the day of a number of days since 1970."""
    return (EPOCH + timedelta(days=int(number))).date()


# --- private -----------------------------------------------------------------------------


def _day(
    blobs: Blobs, prefix: str, listed: Sequence[Listed], futures: Sequence[Future[pa.Table]],
    begun: Callable[[Sequence[Listed]], list[Future[pa.Table]]],
) -> pa.Table:  # fmt: skip
    """Return a day of the log; what was packed since it was listed is looked for anew."""
    for _ in range(_TRIES):
        try:
            tables = [one.result() for one in futures]
        except NotFound:
            listed = in_order(blobs.list("lake", prefix))
            futures = begun(listed)
            continue
        whole = stacked(tables, OF_LOG)
        doubtful = len(listed) > 1 and packed(listed[0].key)
        return once(whole, [table.num_rows for table in tables]) if doubtful else whole
    raise Unavailable(f"objects of {prefix} are packed all the time while they are read: try again later")


def _read(blobs: Blobs, key: str) -> pa.Table:
    table = parquet_table(blobs.get("lake", key).body)
    return table.drop_columns([name for name in ("mode",) if name in table.column_names])


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
