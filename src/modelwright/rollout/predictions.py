"""The prediction log: who said what about which row, as Parquet in the lake.

``predictions/<ws>/<model>/dt=<day of the row's own time>/<request id>.parquet``; a request whose rows lie
on several days writes one object for each, so that a day's partition is all that was ever said about that
day, whenever it was asked: labels, which know the row's time alone, find it there. ``as_of`` is the time as
of which a row was answered, ``asked_at`` when. Nothing that was logged is overwritten: what a repeat of a
request says about a day that is in the log is what the log says. One row per (prediction, version); exactly
one row of a prediction in a request has role ``champion`` or ``canary``: the one that answered. Objects that are an
hour old may be packed, many of a day in one below ``dt=<day>/packed/``: then the rows of a request lie there, under
its id.

Beside that stands what was asked, the request's columns by their names (by ``request_<name>`` where the log has
a column of that name), and what the model was fed, as ``feature_<name>``: segments, attribution and estimates
need them, and whoever erases somebody finds the rows by join key.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from modelwright.errors import Conflict, NotFound
from modelwright.project import ColumnType
from modelwright.storage import Blobs

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("as_of", pa.timestamp("us", tz="UTC")),
        ("version", pa.int32()),
        ("role", pa.string()),
        ("score", pa.float64()),
        ("request_id", pa.string()),
        ("mode", pa.string()),
        ("asked_at", pa.timestamp("us", tz="UTC")),
    ]
)
_OF_LINES = SCHEMA.names[:5]
_TRIES = 4
FEATURE = "feature_"
_REQUEST = "request_"
_TAKEN = frozenset((*SCHEMA.names, "label"))
_KINDS: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Scored:
    """One line of the log."""

    prediction_id: str
    as_of: datetime
    version: int
    role: str
    score: float


@dataclass(frozen=True, slots=True)
class Request:
    """What the lines of a request have in common."""

    workspace: str
    model: str
    request_id: str
    mode: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was asked and fed, one row per prediction of a request.

    Attributes:
        places: the row of each prediction, by id.
    """

    table: pa.Table
    places: Mapping[str, int]

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        columns: Mapping[str, ColumnType],
        frame: "pd.DataFrame",
    ) -> "Inputs":
        """Arrange checked rows of declared columns, and the frame that was made of them, in the same order."""
        asked = columns.items()
        arrays = {column_of(name): pa.array([row[name] for row in rows], _KINDS[kind]) for name, kind in asked}
        arrays |= {f"{FEATURE}{name}": _array(frame[name]) for name in frame.columns}
        return cls(pa.table(arrays), {identity: place for place, identity in enumerate(ids)})


def column_of(name: str) -> str:
    """Return the column of the log that holds a request column."""
    return f"{_REQUEST}{name}" if name in _TAKEN else name


def write(
    lines: Sequence[Scored],
    times: Mapping[str, datetime],
    request: Request,
    inputs: Inputs | None = None,
    *,
    blobs: Blobs,
) -> tuple[tuple[str, ...], list[Scored]]:
    """Write the lines of the days that are not in the log yet.

    Args:
        lines: what was said.
        times: the own time of each prediction's row.
        request: which request it was.
        inputs: what was asked and fed; None: nothing is told of it.
        blobs: the lake.

    Returns:
        The keys of the objects, in order of days, and the lines as they are in the log.

    Raises:
        Conflict: the log has other predictions under the request's id.
    """
    days: dict[str, list[Scored]] = {}
    for line in lines:
        days.setdefault(f"{times[line.prediction_id]:%Y-%m-%d}", []).append(line)
    keys: list[str] = []
    logged: list[Scored] = []
    for day, of_day in sorted(days.items()):
        key = f"predictions/{request.workspace}/{request.model}/dt={day}/{request.request_id}.parquet"
        keys.append(key)
        logged += _write_once(key, of_day, request, inputs, blobs)
    return tuple(keys), logged


def read(keys: Sequence[str], *, blobs: Blobs) -> Iterator[Scored]:
    """Yield the lines of log objects, wherever they lie by now; raises ``NotFound``."""
    for key in keys:
        try:
            yield from _lines(blobs.get("lake", key).body)
        except NotFound:
            yield from _packed(key, blobs)


def _lines(body: bytes, request: str = "") -> Iterator[Scored]:
    chosen = [("request_id", "=", request)] if request else None
    for row in pq.read_table(io.BytesIO(body), columns=_OF_LINES, filters=chosen).to_pylist():
        yield Scored(**row)


def _packed(key: str, blobs: Blobs) -> list[Scored]:
    """Return the lines of an object that was packed; what is packed anew meanwhile is looked for again."""
    folder, _, name = key.rpartition("/")
    for _ in range(_TRIES):
        for listed in list(blobs.list("lake", f"{folder}/packed/")):
            try:
                found = list(_lines(blobs.get("lake", listed.key).body, name.removesuffix(".parquet")))
            except NotFound:
                break
            if found:
                return found
        else:
            break
    raise NotFound(f"{key} is not in the log, nor packed with others of its day")


def _write_once(
    key: str, lines: Sequence[Scored], request: Request, inputs: Inputs | None, blobs: Blobs
) -> Sequence[Scored]:
    try:
        before = list(_lines(blobs.get("lake", key).body))
    except NotFound:
        blobs.put("lake", key, _parquet(lines, request, inputs))
        return lines
    if {line.prediction_id for line in before} != {line.prediction_id for line in lines}:
        raise Conflict(f"the log has other predictions of the request {request.request_id}")
    return before


def _parquet(lines: Sequence[Scored], request: Request, inputs: Inputs | None) -> bytes:
    columns = [[getattr(line, name) for line in lines] for name in _OF_LINES]
    columns += [[value] * len(lines) for value in (request.request_id, request.mode, request.asked_at)]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    if inputs is not None:
        given = inputs.table.take(pa.array([inputs.places[line.prediction_id] for line in lines], pa.int64()))
        for name in given.column_names:
            table = table.append_column(name, given.column(name))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy", write_statistics=False)
    return buffer.getvalue()


def _array(values: "pd.Series[Any]") -> pa.Array:
    """Return a column of a frame: categories by what they are called, and values of all sorts as texts."""
    try:
        array = pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.Array.from_pandas(values.astype(str).where(values.notna(), None))
    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    texts = pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type)
    return array.cast(pa.string()) if texts else array
