"""A file as repairs change it: columns of cells, and how to write them so that what was not touched stays to the byte.

Of a CSV file every cell keeps its own text, quotes included, and every line its own end; what has the wrong number of
fields stays where it stood. Of Parquet the columns are those of the table.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.monitoring.reading import MISSING_WORDS, Mask, parquet_bytes

BOM = b"\xef\xbb\xbf"
DELIMITERS = (",", ";", "\t", "|")


class Dialect(NamedTuple):
    """How a CSV file is written.

    Attributes:
        delimiter: what separates its cells.
        encoding: what its bytes are.
        bom: whether it begins with the mark of UTF-8.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    bom: bool = False


@dataclass(frozen=True)
class Sheet:
    """A file's cells.

    Attributes:
        names: of its columns.
        cells: its columns in order, called by their positions: raw text of a CSV file, values of Parquet.
        dialect: of a CSV file; None: it is Parquet.
        header: the raw cells of the first line, and what ends it.
        ends: what ends each line.
        gaps: by row, lines before it that are no rows of this table (of the last number: after all rows).
    """

    names: tuple[str, ...]
    cells: pa.Table
    dialect: Dialect | None = None
    header: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    gaps: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.cells.num_rows)

    def place(self, name: str) -> int:
        """Return which column is called so; raises ``ValueError``."""
        return self.names.index(name)

    def values(self, name: str) -> pa.Array:
        """Return a column: of CSV the texts, null where nothing is said, of Parquet what it holds."""
        raw = _whole(self.cells.column(self.place(name)))
        if self.dialect is None:
            return raw.dictionary_decode() if pa.types.is_dictionary(raw.type) else raw
        plain = _unquoted(raw)
        return pc.if_else(pc.is_in(plain, pa.array(MISSING_WORDS)), pa.scalar(None, pa.string()), plain)

    def with_values(self, name: str, values: pa.Array) -> "Sheet":
        """Return the sheet with other values in a column; cells whose value is the same stay as they are written."""
        place = self.place(name)
        if self.dialect is None:
            return replace(self, cells=self.cells.set_column(place, str(place), values))
        raw, delimiter = _whole(self.cells.column(place)), self.dialect.delimiter
        before, after = self.values(name).to_pylist(), values.to_pylist()
        new = [
            old if was == now or now is None else _quoted(now, delimiter)
            for old, was, now in zip(raw.to_pylist(), before, after, strict=True)
        ]
        return replace(self, cells=self.cells.set_column(place, str(place), pa.array(new, pa.string())))

    def renamed(self, names: Sequence[str]) -> "Sheet":
        """Return the sheet with other names of its columns; those that stay are written as before."""
        if self.dialect is None:
            return replace(self, names=tuple(names))
        told = zip(self.header, self.names, names, strict=True)
        header = tuple(raw if was == now else _quoted(now, self.dialect.delimiter) for raw, was, now in told)
        return replace(self, names=tuple(names), header=header)

    def without(self, gone: Mask) -> "Sheet":
        """Return the sheet without some rows; lines between them stay."""
        kept = ~gone
        cells = self.cells.filter(pa.array(kept))
        if self.dialect is None:
            return replace(self, cells=cells)
        place = [0, *accumulate(int(each) for each in kept)]
        gaps: dict[int, str] = {}
        for row, text in sorted(self.gaps.items()):
            gaps[place[row]] = gaps.get(place[row], "") + text
        ends = (self.ends[0], *(end for end, stays in zip(self.ends[1:], kept, strict=True) if stays))
        return replace(self, cells=cells, ends=ends, gaps=gaps)

    def lines(self) -> Iterator[str]:
        """Yield the rows of a CSV file as they are written, each with its end."""
        assert self.dialect is not None
        columns = [_whole(column) for column in self.cells.columns]
        joined = pc.binary_join_element_wise(*columns, self.dialect.delimiter).to_pylist() if columns else []
        yield from (line + end for line, end in zip(joined, self.ends[1:], strict=True))

    def text(self) -> str:
        """Return a CSV file's text."""
        assert self.dialect is not None
        written = [self.dialect.delimiter.join(self.header) + self.ends[0]]
        for row, line in enumerate(self.lines()):
            written += [self.gaps[row], line] if row in self.gaps else [line]
        return "".join(written) + self.gaps.get(self.rows, "")

    def body(self) -> bytes:
        """Return the file."""
        if self.dialect is None:
            return parquet_bytes(self.cells.rename_columns(list(self.names)))
        return (BOM if self.dialect.bom else b"") + self.text().encode(self.dialect.encoding)


def sheet_of(body: bytes, dialect: Dialect | None = None) -> Sheet:
    """Return a file's cells.

    Args:
        body: Parquet or CSV.
        dialect: how it is written; without it UTF-8 with commas.

    Raises:
        InvalidInput: it is neither, or names a column twice.
    """
    if body[:4] == b"PAR1":
        return _of_parquet(body)
    dialect = dialect or Dialect(bom=body.startswith(BOM))
    try:
        text = body[len(BOM) if dialect.bom else 0 :].decode(dialect.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InvalidInput(f"the file is no text in {dialect.encoding}") from error
    return _of_text(text, dialect)


def _of_parquet(body: bytes) -> Sheet:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(body), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput("the file begins like Parquet and cannot be read") from error
    _distinct(table.column_names)
    places = [str(place) for place in range(table.num_columns)]
    return Sheet(tuple(table.column_names), table.combine_chunks().rename_columns(places))


def _of_text(text: str, dialect: Dialect) -> Sheet:
    found = _lines(text, dialect.delimiter)
    header, end = next(found, ((), ""))
    names = tuple(_plain(cell).strip() for cell in header)
    _distinct(names)
    rows: list[tuple[str, ...]] = []
    ends, gaps = [end], dict[int, str]()
    for cells, end in found:
        if len(cells) == len(names) and cells != ("",):
            rows.append(cells)
            ends.append(end)
        else:
            gaps[len(rows)] = gaps.get(len(rows), "") + dialect.delimiter.join(cells) + end
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    cells_of = {str(place): pa.array(column, pa.string()) for place, column in enumerate(columns)}
    return Sheet(names, pa.table(cells_of), dialect, header, tuple(ends), gaps)


def _lines(text: str, delimiter: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the raw cells of each line and what ends it; a quoted cell may hold ends of lines."""
    if '"' not in text:
        for line in text.splitlines(keepends=True) if not _STRANGE_ENDS.search(text) else _split(text):
            bare = line.rstrip("\r\n")
            yield tuple(bare.split(delimiter)), line[len(bare) :]
        return
    cell = re.compile(rf'("(?:[^"]|"")*"[^{re.escape(delimiter)}\r\n]*|[^{re.escape(delimiter)}\r\n]*)'
                      rf"({re.escape(delimiter)}|\r\n|\n|\r|\Z)")  # fmt: skip
    cells: list[str] = []
    at = 0
    while at < len(text):
        found = cell.match(text, at)
        assert found is not None, "the second alternative matches anything"
        cells.append(found[1])
        at = found.end()
        if found[2] != delimiter or at == len(text):
            last = ("",) if found[2] == delimiter else ()
            yield (*cells, *last), found[2] if found[2] != delimiter else ""
            cells = []


_STRANGE_ENDS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
"""What ends a line for Python, and not in a CSV file."""


def _split(text: str) -> list[str]:
    return [line for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if line]


def _distinct(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidInput("the file names a column twice")


def _whole(column: Any) -> pa.Array:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def _unquoted(raw: pa.Array) -> pa.Array:
    quoted = pc.starts_with(raw, '"')
    if not pc.any(quoted).as_py():
        return raw
    return pa.array([_plain(cell) for cell in raw.to_pylist()], pa.string())


def _plain(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted(text: str, delimiter: str) -> str:
    if any(sign in text for sign in (delimiter, '"', "\n", "\r")):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text
