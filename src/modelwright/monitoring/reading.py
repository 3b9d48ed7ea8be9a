"""Bytes of an upload to typed rows: Parquet or CSV by content, canonical types by the source's declaration.

Canonical types are ``timestamp[us, UTC]`` (naive means UTC), ``int64``, ``float64`` (NaN is missing),
``string`` and ``bool``. A cell that cannot be what its column declares becomes null and is
remembered as a fault of its row; so is one that is no UTF-8. Only a file that cannot be read at all raises.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.project import ColumnType, Source

Mask = npt.NDArray[np.bool_]

UTC_TIME = pa.timestamp("us", tz="UTC")
ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": UTC_TIME,
}
MISSING_WORDS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
_EXACT_INTEGER = 2.0**53
_YEARS_S = (-62_135_596_800, 253_402_300_800)
"""The years 1 to 9999, in seconds since 1970."""
_MALFORMED_KEPT = 1000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
"""Stands for bytes that are no UTF-8."""


class Unreadable(InvalidInput):
    """A file that cannot be read as rows of its source.

    Args:
        message: for who may see the file.
        check: what it failed.
        logged: without a word of the file.
        table: its columns, where it has other ones than the source.
    """

    def __init__(
        self, message: str, *, check: str = "readable", logged: str = "", table: "pa.Table | None" = None
    ) -> None:
        super().__init__(message, logged=logged)
        self.check = check
        self.table = table


@dataclass(frozen=True)
class Rows:
    """An upload's rows under the source's declaration.

    Attributes:
        raw: the declared columns as they came, in declared order.
        typed: the same in canonical types; cells that broke their type are null.
        untyped: per column, the rows whose cell broke its type.
        malformed: text of lines with the wrong number of fields.
        undeclared: names of its other columns.
        cut_line: whether the last of the malformed lines is where the file breaks off.
        unended: whether it is text whose last line has no end, as where a file breaks off.
        digest: SHA-256 of the canonical content, the same for CSV and Parquet.
    """

    raw: pa.Table
    typed: pa.Table
    untyped: dict[str, Mask]
    malformed: tuple[str, ...]
    digest: str
    undeclared: tuple[str, ...] = ()
    cut_line: bool = False
    unended: bool = False


def read_rows(body: bytes, source: Source) -> Rows:
    """Read an upload.

    Raises:
        Unreadable: it is empty, cut off, neither Parquet nor CSV, lacks declared columns or has no rows.
    """
    if not body.strip():
        raise Unreadable("the file is empty")
    malformed: list[str] = []
    parquet = body[:4] == b"PAR1"
    table = _parquet(body) if parquet else _csv(body, source, malformed)
    extra = tuple(name for name in table.column_names if name not in source.columns)
    _require_columns(table, source, extra)
    raw = table.select(list(source.columns)).combine_chunks()
    if raw.num_rows == 0 and not malformed:
        raise Unreadable("the file has a header and no rows")
    unended = not parquet and not body.endswith((b"\n", b"\r"))
    columns, untyped = [], {}
    for name, column in source.columns.items():
        array, broken = typed_array(raw.column(name), column.type)
        columns.append(array)
        if broken is not None and broken.any():
            untyped[name] = broken
            raw = raw.set_column(raw.column_names.index(name), name, _told(raw.column(name)))
    typed = pa.table(columns, schema=schema_of(source))
    digest = _digest(raw, typed, untyped, malformed)
    if not parquet and not _is_utf8(body):
        digest = hashlib.sha256(digest.encode() + body).hexdigest()
    cut_line = unended and bool(malformed) and body.endswith(malformed[-1].encode())
    return Rows(raw, typed, untyped, tuple(malformed), digest, extra, cut_line, unended)


def _require_columns(table: pa.Table, source: Source, extra: tuple[str, ...]) -> None:
    missing = [name for name in source.columns if name not in table.column_names]
    if missing:
        there = f"; it has {', '.join(extra[:20])} instead" if extra else ""
        number = f"; it has columns that are not declared: {len(extra)}" if extra else ""
        told = f"the file has no column {', '.join(missing)}"
        # a file without a header names its columns by what its first row has
        raise Unreadable(f"{told}{there}", check="schema", logged=f"{told}{number}", table=table)


def _told(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of which cells are broken as Python can tell them: strange times as numbers with their unit."""
    kind = array.type
    if pa.types.is_date(kind):
        kind = pa.timestamp("s" if pa.types.is_date32(kind) else "ms")
    if not pa.types.is_timestamp(kind):
        return array
    counts = array.cast(kind, safe=False).cast(pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(counts, f"{kind.unit} since 1970", " ")


def schema_of(source: Source) -> pa.Schema:
    """Return the canonical schema of a source."""
    return pa.schema([pa.field(name, ARROW[column.type]) for name, column in source.columns.items()])


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as Parquet."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="snappy")
    return sink.getvalue()


def parquet_table(body: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return the table (or some of its columns) of a Parquet object that this platform wrote."""
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(body), columns=columns, use_threads=False)


def typed_array(column: pa.ChunkedArray, kind: ColumnType) -> tuple[pa.Array, Mask | None]:
    """Return a column in its canonical type, and which cells could not be it (None: all could)."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), ARROW[kind]), None
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    if pa.types.is_string(array.type) and kind != "string":
        return _from_text(array, kind)
    return _TYPED[kind](array)


def _parquet(body: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    if body[-4:] != b"PAR1":
        raise Unreadable("the file begins like Parquet and is cut off: it has no footer", check="truncated_file")
    try:
        return pq.read_table(pa.BufferReader(body), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        told = "the file begins like Parquet and cannot be read"
        raise Unreadable(f"{told}: {_first_line(error)}", logged=told) from error


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_utf8(body: bytes, source: Source) -> bytes:
    """Return text in which what is no UTF-8 is marked; raises ``Unreadable`` where that is the whole."""
    if _is_utf8(body):
        return body
    header = body.split(b"\n", 1)[0]
    if _is_utf8(header) and any(name.encode() in header for name in source.columns):
        return body.decode(errors="replace").encode()
    for encoding in ("utf-16", "latin-1"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if sum(name in text.split("\n", 1)[0] for name in source.columns) > len(source.columns) / 2:
            raise Unreadable(f"the file is encoded in {encoding} or the like, and not in UTF-8", check="encoding")
    raise Unreadable("the file is neither Parquet nor CSV in UTF-8")


def _csv(body: bytes, source: Source, malformed: list[str]) -> pa.Table:
    body = _as_utf8(body, source)
    try:
        return _table_of_text(body, malformed)
    except Unreadable:
        lines = body.rstrip(b"\n").rsplit(b"\n", 1)
        if len(lines) < 2 or body.endswith(b"\n"):
            raise
    # a file that breaks off within quotes is whole but for its last line
    malformed.clear()
    table = _table_of_text(lines[0] + b"\n", malformed)
    malformed.append(lines[1].decode())
    return table


def _table_of_text(body: bytes, malformed: list[str]) -> pa.Table:
    from pyarrow import csv

    def hold(row: Any) -> str:
        if len(malformed) < _MALFORMED_KEPT:
            malformed.append(row.text)
        return "skip"

    header = body.split(b"\n", 1)[0].decode("utf-8-sig")
    names = [name.strip().strip('"') for name in header.strip("\r").split(",")]
    if len(set(names)) != len(names):
        raise Unreadable("the file names a column twice", check="schema")
    try:
        return csv.read_csv(
            pa.BufferReader(body),
            read_options=csv.ReadOptions(use_threads=False, block_size=max(len(body) + 1, 1 << 16)),
            parse_options=csv.ParseOptions(invalid_row_handler=hold, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(MISSING_WORDS),
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        told = "the file is neither Parquet nor CSV"
        raise Unreadable(f"{told}: {_first_line(error)}", logged=told) from error


def _from_text(array: pa.Array, kind: ColumnType) -> tuple[pa.Array, Mask | None]:
    if kind == "boolean":
        return _boolean_text(array)
    target = pa.float64() if kind in ("integer", "number") else UTC_TIME
    try:
        if kind == "timestamp":
            return _timestamp(_timestamps_of_text(array))
        if kind == "integer":
            return array.cast(pa.int64()), None
        converted = array.cast(target)
    except pa.ArrowInvalid:
        parse: Callable[[str], Any] = _instant if kind == "timestamp" else float
        converted, broken = _one_by_one(array, parse, target)
        typed, more = _TYPED[kind](converted)
        return typed, broken if more is None else broken | more
    return _TYPED[kind](converted)


def _timestamps_of_text(array: pa.Array) -> pa.Array:
    zoned = pc.match_substring_regex(array, r"(Z|[+-]\d\d:?\d\d)$")
    if pc.all(zoned).as_py():
        return array.cast(UTC_TIME)
    if pc.any(zoned).as_py():
        raise pa.ArrowInvalid("zoned and naive times in one column")
    return pc.assume_timezone(array.cast(pa.timestamp("us")), "UTC")


def _instant(text: str) -> datetime:
    from datetime import UTC

    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _one_by_one(array: pa.Array, parse: Callable[[str], Any], target: pa.DataType) -> tuple[pa.Array, Mask]:
    """Parse distinct texts one by one: slow, and only for columns in which some cell is broken."""
    coded = array.dictionary_encode()
    values: list[Any] = []
    faults: list[bool] = []
    for text in coded.dictionary.to_pylist():
        try:
            values.append(parse(text.strip()))
            faults.append(False)
        except ValueError:
            values.append(None)
            faults.append(True)
    typed = pa.array(values, target).take(coded.indices)
    broken = pa.array(faults, pa.bool_()).take(coded.indices).fill_null(False)
    return typed, _mask(broken)


def _boolean_text(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(array))
    true = pc.is_in(lower, pa.array(_TRUE))
    known = pc.or_(true, pc.is_in(lower, pa.array(_FALSE)))
    typed = pc.if_else(pc.and_(known, pc.is_valid(array)), true, pa.scalar(None, pa.bool_()))
    broken = _mask(pc.and_(pc.invert(known), pc.is_valid(array)))
    return typed, broken


def _number(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_boolean(array.type) or not _numeric(array.type):
        return _all_broken(array, pa.float64())
    values = array.cast(pa.float64(), safe=False)
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    infinite = _mask(pc.is_inf(values).fill_null(False))
    if infinite.any():
        return pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), values), infinite
    return values, None


def _integer(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64()), None
    values, broken = _number(array)
    numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    fraction = (numbers != np.floor(numbers)) | (np.abs(numbers) > _EXACT_INTEGER)
    if fraction.any():
        values = pc.if_else(pa.array(fraction), pa.scalar(None, pa.float64()), values)
        broken = fraction if broken is None else broken | fraction
    return values.cast(pa.int64()), broken


def _string(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_string(array.type):
        return array, None
    if pa.types.is_integer(array.type):
        return array.cast(pa.string()), None
    return _all_broken(array, pa.string())


def _boolean(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_boolean(array.type):
        return array, None
    if not _numeric(array.type):
        return _all_broken(array, pa.bool_())
    values, _ = _number(array)
    broken = _mask(pc.invert(pc.is_in(values, pa.array([0.0, 1.0]))))
    broken &= _mask(pc.is_valid(array))
    return pc.if_else(pa.array(broken), pa.scalar(None, pa.bool_()), pc.equal(values, 1.0)), broken


def _timestamp(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"), safe=False)
    if not pa.types.is_timestamp(array.type):
        return _all_broken(array, UTC_TIME)
    times = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    return _within_years(pc.assume_timezone(times, "UTC") if array.type.tz is None else times.cast(UTC_TIME), array)


def _within_years(times: pa.Array, array: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Return times, without those outside the years 1 to 9999, which nothing in Python can name.

    Args:
        times: in microseconds; what does not fit into them comes out as another time.
        array: the same in its own unit.
    """
    a_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
    said = array.cast(pa.int64())
    low, high = (max(-(2**63), min(year * a_second, 2**63 - 1)) for year in _YEARS_S)
    beyond = pc.fill_null(pc.or_(pc.less(said, low), pc.greater_equal(said, high)), False)
    if a_second == 10**9 or not pc.any(beyond).as_py():
        return times, None
    return pc.if_else(beyond, pa.scalar(None, UTC_TIME), times), _mask(beyond)


_TYPED: dict[ColumnType, Callable[[pa.Array], tuple[pa.Array, Mask | None]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _all_broken(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, Mask]:
    return pa.nulls(len(array), target), _mask(pc.is_valid(array))


def _mask(array: Any) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask.astype(bool)


def content_digest(table: pa.Table) -> str:
    """Return the SHA-256 of a canonical table's names, types, nulls and values, whatever file held it."""
    hashed = hashlib.sha256(f"rows {table.num_rows}".encode())
    for name in table.column_names:
        array = table.column(name).combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
        hashed.update(f"|{name}|{array.type}|".encode())
        hashed.update(np.packbits(_mask(pc.is_valid(array))).tobytes())
        if pa.types.is_string(array.type):
            lengths = pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
            hashed.update(lengths.astype("<i4").tobytes())
            hashed.update("".join(array.drop_null().to_pylist()).encode())
        elif pa.types.is_boolean(array.type):
            hashed.update(np.packbits(_mask(array.fill_null(False))).tobytes())
        else:
            numbers = array if pa.types.is_floating(array.type) else array.cast(pa.int64())
            hashed.update(numbers.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    return hashed.hexdigest()


def _digest(raw: pa.Table, typed: pa.Table, untyped: dict[str, Mask], malformed: list[str]) -> str:
    digest = content_digest(typed)
    if not untyped and not malformed:
        return digest
    hashed = hashlib.sha256(digest.encode())
    for name, broken in untyped.items():
        hashed.update(repr((name, raw.column(name).filter(pa.array(broken)).to_pylist())).encode())
    hashed.update("\n".join(malformed).encode())
    return hashed.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]
