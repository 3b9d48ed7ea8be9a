"""Bytes of an upload to typed rows: Parquet or CSV by content, canonical types by the source's declaration.

What these are and when a cell is broken is in ``cells``; that becomes null and is remembered as a fault of its row. So
is a text that is no UTF-8. Only a file that cannot be read at all raises.
"""

import csv
import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.monitoring.cells import ARROW, UTC_TIME, Mask, infinite_of, typed_array
from modelwright.project import Source

__all__ = [
    "ARROW",
    "MISSING_WORDS",
    "REPLACEMENT",
    "UTC_TIME",
    "Mask",
    "Rows",
    "Unreadable",
    "content_digest",
    "parquet_bytes",
    "parquet_table",
    "read_rows",
    "schema_of",
    "typed_array",
]

MISSING_WORDS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
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
        malformed: text of all lines with the wrong number of fields.
        undeclared: names of its other columns.
        cut_line: whether the last of the malformed lines is where the file breaks off.
        unended: whether it is text whose last line has no end, as where a file breaks off.
        digest: SHA-256 of the canonical content, the same for CSV and Parquet.
        infinite: per column that has some, its infinite numbers, null elsewhere; they are among ``untyped``.
    """

    raw: pa.Table
    typed: pa.Table
    untyped: dict[str, Mask]
    malformed: tuple[str, ...]
    digest: str
    undeclared: tuple[str, ...] = ()
    cut_line: bool = False
    unended: bool = False
    infinite: dict[str, pa.Array] = field(default_factory=dict)

    @property
    def figures(self) -> pa.Table:
        """The typed rows as profiles see them: infinite numbers are counted, and no value to anyone else."""
        table = self.typed
        for name, numbers in self.infinite.items():
            place = table.column_names.index(name)
            finite = table.column(name).combine_chunks().cast(pa.float64(), safe=False)
            table = table.set_column(place, name, pc.coalesce(numbers, finite))
        return table

    def only(self, wanted: Mask) -> "Rows":
        """Return some of the rows, with the digest and the lines of all."""
        chosen = pa.array(wanted)
        return replace(
            self,
            raw=self.raw.filter(chosen),
            typed=self.typed.filter(chosen),
            untyped={name: broken[wanted] for name, broken in self.untyped.items()},
            infinite={name: numbers.filter(chosen) for name, numbers in self.infinite.items()},
        )


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
    columns, untyped, infinite = [], {}, {}
    for name, column in source.columns.items():
        array, broken = typed_array(raw.column(name), column.type)
        columns.append(array)
        if broken is not None and broken.any():
            untyped[name] = broken
            numbers = infinite_of(raw.column(name), broken) if column.type in ("integer", "number") else None
            if numbers is not None:
                infinite[name] = numbers
            raw = raw.set_column(raw.column_names.index(name), name, _told(raw.column(name)))
    typed = pa.table(columns, schema=schema_of(source))
    digest = _digest(raw, typed, untyped, malformed)
    if not parquet and not _is_utf8(body):
        digest = hashlib.sha256(digest.encode() + body).hexdigest()
    cut_line = unended and bool(malformed) and body.endswith(malformed[-1].encode())
    return Rows(raw, typed, untyped, tuple(malformed), digest, extra, cut_line, unended, infinite)


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


def _parquet(body: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    if body[-4:] != b"PAR1":
        raise Unreadable("the file begins like Parquet and is cut off: it has no footer", check="truncated_file")
    try:
        _require_different(pq.read_schema(pa.BufferReader(body)).names)
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
    from pyarrow import csv as columnar

    def hold(row: Any) -> str:
        malformed.append(row.text)
        return "skip"

    names = _names_of_text(body)
    _require_different(names)
    try:
        return columnar.read_csv(
            pa.BufferReader(body),
            read_options=columnar.ReadOptions(use_threads=False, block_size=max(len(body) + 1, 1 << 16)),
            parse_options=columnar.ParseOptions(invalid_row_handler=hold, newlines_in_values=True),
            convert_options=columnar.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(MISSING_WORDS),
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        told = "the file is neither Parquet nor CSV"
        raise Unreadable(f"{told}: {_first_line(error)}", logged=told) from error


def _names_of_text(body: bytes) -> list[str]:
    """Return the cells of the first line that has some: each is the name of a column, all of which are read as text."""
    with io.TextIOWrapper(io.BytesIO(body), "utf-8-sig", newline="") as lines:
        try:
            return next(filter(None, csv.reader(lines)), [])
        except csv.Error as error:
            told = "the file is neither Parquet nor CSV"
            raise Unreadable(f"{told}: {_first_line(error)}", logged=told) from error


def _require_different(names: list[str]) -> None:
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        told = "the file names a column twice"
        raise Unreadable(f"{told}: {', '.join(twice[:20])}", check="schema", logged=told)


def content_digest(table: pa.Table) -> str:
    """Return the SHA-256 of a canonical table's names, types, nulls and values, whatever file held it."""
    hashed = hashlib.sha256(f"rows {table.num_rows}".encode())
    for name in table.column_names:
        array = table.column(name).combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
        hashed.update(f"|{name}|{array.type}|".encode())
        hashed.update(_bits(pc.is_valid(array)))
        if pa.types.is_string(array.type):
            lengths = pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False)
            hashed.update(lengths.astype("<i4").tobytes())
            hashed.update("".join(array.drop_null().to_pylist()).encode())
        elif pa.types.is_boolean(array.type):
            hashed.update(_bits(array.fill_null(False)))
        else:
            numbers = array if pa.types.is_floating(array.type) else array.cast(pa.int64())
            hashed.update(numbers.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
    return hashed.hexdigest()


def _bits(array: pa.Array) -> bytes:
    return np.packbits(array.to_numpy(zero_copy_only=False).astype(bool)).tobytes()


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
