"""Columns of settled runs: what filters and orders look at, without a number of Python's per run.

A part of an experiment's snapshot (``parts``) holds columns of numbers (metrics, times), of texts (params,
tags, attributes) and of names (run ids). A column says of all its rows at once whether they match a clause,
as a mask with a 0 or 1 per row, and gives sort keys that compare as MLflow orders: numbers first, then
NaN, then what is missing, in either direction.

Packed, a column is one deflated stream. Numbers are little-endian, their bytes grouped by significance:

======= ====== ================================================================================================
form    letter what the stream holds
======= ====== ================================================================================================
numbers f d q  the rows that have one (u32; left out when all have), and their values (f64, all of them finite;
               f64; i64)
texts   t      the distinct texts, sorted (JSON), and per row the place of its own, from 1 on (u8, u16 or u32; 0:
               it has none). As the texts are sorted, their places order as they do
names   n      texts of one length in UTF-8 (filled up with zeros), one per row
======= ====== ================================================================================================
"""

import json
import math
import zlib
from array import array
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from operator import neg, sub
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

if TYPE_CHECKING:
    from modelwright.filters import Actual, Clause


Name = tuple[str, str]
"""A column's name: entity and key, as clauses and orders have them."""
Mask = bytes
NUMBER, NAN, MISSING = 0, 1, 2
_BYTE, _WORD = 1 << 8, 1 << 16
_PER_TEXT = 60
"""About the bytes that Python takes for a text beside its letters."""


def _rows_said(said: Any) -> Any:
    """Undo ``_said_of_rows``."""
    return tuple(accumulate(array("I", zlib.decompress(b64decode(said))))) if isinstance(said, str) else said


def _said_of_rows(rows: Sequence[int]) -> str:
    """Return numbers of rows as a short text: how far each is from the one before."""
    return b64encode(zlib.compress(array("I", [*rows[:1], *map(sub, rows[1:], rows)]).tobytes())).decode()


class Part(BaseModel):
    """What the pointer of a snapshot says of a part: two objects below ``tracking/<ws>/runs/<experiment>/``.

    Attributes:
        id: no other part has it, and what lies under it never changes.
        rows: how many runs there are.
        bytes_columns: the length of ``<id>.columns``.
        bytes_rows: the length of ``<id>.rows``.
        directory: the length of the head of ``<id>.columns``.
        active: whether no run of it was deleted by itself.
        newest: the latest start time, in milliseconds.
        oldest: the earliest start time.
        gone: numbers of the rows that count no more, in order: their run is in a newer part, or was collected.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    id: str
    rows: int
    bytes_columns: int
    bytes_rows: int
    directory: int
    active: bool
    newest: int
    oldest: int
    gone: Annotated[tuple[int, ...], BeforeValidator(_rows_said), PlainSerializer(_said_of_rows)] = ()

    def key(self, workspace: str, experiment_id: str, kind: str) -> str:
        """Return the key of one of its objects in the lake; ``kind`` is ``columns`` or ``rows``."""
        return f"tracking/{workspace}/runs/{experiment_id}/{self.id}.{kind}"


class Entry(NamedTuple):
    """Where a packed column lies, and its form.

    Attributes:
        start: the first byte, counted from the end of the index.
        size: how many bytes.
        form: the letter of its form.
        detail: of numbers, how many there are; of texts, how long their JSON is; of names, the length of one.
    """

    start: int
    size: int
    form: str
    detail: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers per row.

    Attributes:
        values: one per row; 0 where there is none, or NaN.
        kinds: per row whether it has a number, NaN or nothing; empty if all have finite numbers.
    """

    values: "array[Any]"
    kinds: bytes = b""

    @property
    def weight(self) -> int:
        """About how many bytes this takes."""
        return len(self.values) * self.values.itemsize + len(self.kinds)

    def actual(self, row: int) -> "Actual":
        """Return what a row has."""
        kind = self.kinds[row] if self.kinds else NUMBER
        value: int | float = self.values[row]
        return value if kind == NUMBER else math.nan if kind == NAN else None

    def mask(self, clause: "Clause") -> Mask:
        """Return which rows match."""
        if isinstance(clause.value, float) and clause.operator in _COMPARED:
            found = _COMPARED[clause.operator](self.values, clause.value)
        else:
            found = bytes(map(clause.holds, self.values))
        if not self.kinds:
            return found
        numbers = self.kinds.translate(_table([1, 0, 0]))
        others = self.kinds.translate(_table([0, clause.holds(math.nan), clause.holds(None)]))
        return either(both(found, numbers), others)

    def keys(self, mask: Mask | None, *, ascending: bool) -> list[Iterable[Any]]:
        """Return sort keys of the rows of a mask (None: all): their kinds unless all are finite, and their values."""
        values = chosen(self.values, mask)
        signed = values if ascending else map(neg, values)
        return [chosen(self.kinds, mask), signed] if self.kinds else [signed]

    def key_of(self, actual: "Actual", *, ascending: bool) -> list[Any]:
        """Return the sort key of any number, NaN or nothing, to be compared with those of ``keys``."""
        number = isinstance(actual, int | float) and not math.isnan(actual)
        value = 0.0 if not number else actual if ascending else -actual  # type: ignore[operator]
        if not self.kinds:
            return [value if number else math.inf]
        return [NUMBER if number else MISSING if actual is None else NAN, value]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts per row.

    Attributes:
        words: the distinct texts, sorted.
        codes: per row the place of its text, from 1 on; 0 where there is none.
        letters: about how many bytes the words take.
    """

    words: Sequence[str]
    codes: "array[int]"
    letters: int = 0

    @property
    def weight(self) -> int:
        """About how many bytes this takes."""
        return self.letters + _PER_TEXT * len(self.words) + len(self.codes) * self.codes.itemsize

    def actual(self, row: int) -> "Actual":
        """Return what a row has."""
        code = self.codes[row]
        return self.words[code - 1] if code else None

    def mask(self, clause: "Clause") -> Mask:
        """Return which rows match; the clause is asked once per distinct text."""
        return self.where(clause.holds)

    def where(self, holds: Callable[[str | None], bool]) -> Mask:
        """Return the rows whose text, or lack of one, fits."""
        found = [holds(None), *map(holds, self.words)]
        if len(found) <= _BYTE:
            return self.codes.tobytes().translate(_table(found))
        return bytes(map(found.__getitem__, self.codes))

    def keys(self, mask: Mask | None, *, ascending: bool) -> list[Iterable[Any]]:
        """Return sort keys of the rows of a mask (None: all)."""
        count = len(self.words)
        places = range(1, count + 1) if ascending else range(-1, -count - 1, -1)
        table = [count + 1, *places]
        return [map(table.__getitem__, chosen(self.codes, mask))]

    def key_of(self, actual: "Actual", *, ascending: bool) -> list[Any]:
        """Return the sort key of any text or nothing, to be compared with those of ``keys``."""
        if not isinstance(actual, str):
            return [len(self.words) + 1]
        place = bisect_left(self.words, actual)
        known = place < len(self.words) and self.words[place] == actual
        code = place + (1 if known else 0.5)
        return [code if ascending else -code]


@dataclass(frozen=True, slots=True)
class Names:
    """A name per row, no two alike, of one length in UTF-8 (filled up with zeros)."""

    joined: bytes
    length: int

    @property
    def weight(self) -> int:
        """About how many bytes this takes."""
        return len(self.joined)

    def __len__(self) -> int:
        return len(self.joined) // self.length

    def __getitem__(self, row: int) -> str:
        return self.joined[row * self.length : (row + 1) * self.length].rstrip(b"\0").decode()

    def mask(self, clause: "Clause") -> Mask:
        """Return which rows match; names that are asked for are looked up, not compared."""
        wanted = (clause.value,) if clause.operator == "=" else clause.value if clause.operator == "IN" else None
        if not isinstance(wanted, tuple):
            return bytes(clause.holds(self[row]) for row in range(len(self)))
        found = bytearray(len(self))
        for name in wanted:
            row = self.row(str(name))
            if row >= 0:
                found[row] = 1
        return bytes(found)

    def row(self, name: str) -> int:
        """Return the row of a name, or -1."""
        padded = name.encode(errors="surrogatepass").ljust(self.length, b"\0")
        place = self.joined.find(padded) if len(padded) == self.length else -1
        while place > 0 and place % self.length:
            place = self.joined.find(padded, place + 1)
        return place // self.length

    def texts(self) -> Texts:
        """Return the same as texts, which can be ordered by."""
        return texts_of([self[row] for row in range(len(self))])


Column = Numbers | Texts


@dataclass
class Packed:
    """Packed columns one after the other, and where each lies."""

    entries: dict[Name, Entry] = field(default_factory=dict)
    streams: list[bytes] = field(default_factory=list)
    length: int = 0

    def add(self, name: Name, form: str, detail: int, stream: bytes) -> None:
        """Append a packed column."""
        self.entries[name] = Entry(self.length, len(stream), form, detail)
        self.streams.append(stream)
        self.length += len(stream)

    def add_numbers(self, name: Name, rows: Sequence[int], values: Sequence[float], size: int) -> None:
        """Append the numbers that some rows have; whole ones stay whole."""
        whole = all(isinstance(value, int) for value in values)
        form = "q" if whole else "f" if all(map(math.isfinite, values)) else "d"
        places = b"" if len(values) == size else grouped(array("I", rows))
        packed = zlib.compress(places + grouped(array("q" if whole else "d", values)))
        self.add(name, form, len(values), packed)

    def add_texts(self, name: Name, rows: Sequence[int], values: Sequence[str], size: int) -> None:
        """Append the texts that some rows have."""
        given: list[str | None] = [None] * size
        for row, value in zip(rows, values, strict=True):
            given[row] = value
        texts = texts_of(given)
        words = json.dumps(texts.words).encode()
        self.add(name, "t", len(words), zlib.compress(words + grouped(texts.codes)))

    def add_names(self, name: Name, values: Sequence[str]) -> None:
        """Append names."""
        encoded = [value.encode() for value in values]
        length = max(map(len, encoded))
        self.add(name, "n", length, zlib.compress(b"".join(value.ljust(length, b"\0") for value in encoded)))


def unpacked(entry: Entry, stream: bytes, size: int) -> Column:
    """Return a packed column of ``size`` rows."""
    data = zlib.decompress(stream)
    if entry.form != "t":
        return _numbers(entry, data, size)
    words: list[str] = json.loads(data[: entry.detail])
    return Texts(words, ungrouped(data[entry.detail :], _code(len(words))), entry.detail)


def missing(entity: str, key: str, numbers: Iterable[str], size: int) -> Column:
    """Return the column of a key that no row has; ``numbers`` are the attributes with numbers."""
    if entity == "metrics" or (entity == "attributes" and key in numbers):
        return Numbers(array("d", bytes(8 * size)), bytes([MISSING]) * size)
    return Texts((), array("B", bytes(size)))


def texts_of(values: Sequence[str | None]) -> Texts:
    """Return texts as a column."""
    words = sorted({value for value in values if value is not None})
    places: dict[str | None, int] = {word: place for place, word in enumerate(words, 1)}
    places[None] = 0
    return Texts(words, array(_code(len(words)), map(places.__getitem__, values)), sum(map(len, words)))


def grouped(numbers: "array[Any]") -> bytes:
    """Return the bytes of numbers, the first of each, then the second of each ...: so they deflate better."""
    data, width = numbers.tobytes(), numbers.itemsize
    return b"".join(data[place::width] for place in range(width))


def ungrouped(data: bytes, letter: str) -> "array[Any]":
    """Return numbers from ``grouped`` bytes."""
    numbers: array[Any] = array(letter)
    width, count = numbers.itemsize, len(data) // numbers.itemsize
    whole = bytearray(len(data))
    for place in range(width):
        whole[place::width] = data[place * count : (place + 1) * count]
    numbers.frombytes(whole)
    return numbers


def chosen(values: Iterable[Any], mask: Mask | None) -> Iterable[Any]:
    """Return the values of the rows of a mask."""
    return values if mask is None else compress(values, mask)


def both(one: Mask, other: Mask) -> Mask:
    """Return the rows that are in both masks."""
    return (int.from_bytes(one, "little") & int.from_bytes(other, "little")).to_bytes(len(one), "little")


def either(one: Mask, other: Mask) -> Mask:
    """Return the rows that are in one of two masks."""
    return (int.from_bytes(one, "little") | int.from_bytes(other, "little")).to_bytes(len(one), "little")


def _numbers(entry: Entry, data: bytes, size: int) -> Numbers:
    letter = "q" if entry.form == "q" else "d"
    split = len(data) - 8 * entry.detail
    values = ungrouped(data[split:], letter)
    if entry.detail == size and entry.form != "d":
        return Numbers(values)
    rows: Iterable[int] = range(size) if entry.detail == size else ungrouped(data[:split], "I")
    kinds, everyone = bytearray([MISSING]) * size, array(letter, bytes(8 * size))
    for row, value in zip(rows, values, strict=True):
        nan = math.isnan(value)
        kinds[row] = NAN if nan else NUMBER
        everyone[row] = 0 if nan else value
    return Numbers(everyone, bytes(kinds))


def _code(words: int) -> str:
    return "B" if words < _BYTE else "H" if words < _WORD else "I"


def _table(by_code: Sequence[int]) -> bytes:
    """Return a table for ``bytes.translate``."""
    return bytes(by_code).ljust(_BYTE, b"\0")


_COMPARED: Final[Mapping[str, Callable[[Iterable[Any], float], Mask]]] = {
    "=": lambda values, wanted: bytes([value == wanted for value in values]),
    "!=": lambda values, wanted: bytes([value != wanted for value in values]),
    "<": lambda values, wanted: bytes([value < wanted for value in values]),
    "<=": lambda values, wanted: bytes([value <= wanted for value in values]),
    ">": lambda values, wanted: bytes([value > wanted for value in values]),
    ">=": lambda values, wanted: bytes([value >= wanted for value in values]),
}
"""Written out, because a comprehension is the fastest that the standard library has."""
