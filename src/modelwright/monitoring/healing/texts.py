"""How a CSV file is written: its encoding, and what separates its cells."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from modelwright.errors import InvalidInput
from modelwright.monitoring.healing.repairs import Damaged, Proposal
from modelwright.monitoring.healing.sheets import BOM, DELIMITERS, Dialect, Sheet, sheet_of

ENCODINGS = ("cp1252", "latin-1", "cp1250", "mac_roman", "cp850")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Encoding:
    """The bytes are no UTF-8, and one other encoding makes words of them.

    Tried are UTF-16, where the file begins with its mark, and the encodings of one byte that are still about. One is
    plausible when it leaves no control characters and no words with a capital letter behind a small one. Of several
    that give different texts those count whose words were all accepted before, if there are any.

    Text that was UTF-8, was read in an encoding of one byte and written again (``MontrÃ©al``) is turned back where that
    makes words that were accepted before of all that changes; else it is a guess, and left to a person.
    """

    name: str = "encoding"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.body[:4] == b"PAR1":
            return ()
        if damaged.sheet is not None:
            return _garbled(damaged, damaged.sheet)
        found: dict[str, tuple[str, Sheet]] = {}
        for encoding, sheet in _readings(damaged.body):
            found.setdefault(sheet.text(), (encoding, sheet))
        known = [one for one in found.values() if _strange(one[1], damaged) == 0]
        return [
            Proposal(replace(sheet, dialect=Dialect()), f"reads the bytes as {encoding} and writes UTF-8", before=sheet)
            for encoding, sheet in known or found.values()
        ]


def _readings(body: bytes) -> Iterator[tuple[str, Sheet]]:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        encodings = ("utf-16",) if body[:2] in _UTF16 else ENCODINGS
        for encoding in encodings:
            try:
                sheet = sheet_of(body, Dialect(encoding=encoding))
            except InvalidInput:
                continue
            if _plausible(sheet.text()) and sheet.body() == body:
                yield encoding, sheet


def _plausible(text: str) -> bool:
    strange = {word for word in _WORD.findall(text) if not word.isascii()}
    mixed = (word for word in strange if word != word.upper() and word[1:] != word[1:].lower())
    lone = re.search(r"[^\W\d_][^\x00-\x7f\w\s][^\W\d_]", text)
    return not _CONTROLS.search(text) and not any(mixed) and lone is None


def _strange(sheet: Sheet, damaged: Damaged) -> int:
    """Return how many words with letters beyond ASCII were never accepted, however its cells are separated."""
    columns = (name for name, column in damaged.source.columns.items() if column.type == "string")
    known = {word for name in columns for cell in damaged.past.words(name) for word in _WORD.findall(cell)}
    return len({word for word in _WORD.findall(sheet.text()) if not word.isascii()} - known)


def _garbled(damaged: Damaged, sheet: Sheet) -> Sequence[Proposal]:
    blamed = damaged.found("encoding", "values", "unknown_categories", "regex")
    mended, sure = sheet, True
    for name in sorted(blamed & set(sheet.names)):
        cells = sheet.values(name)
        if not pa.types.is_string(cells.type):
            continue
        before = cells.to_pylist()
        after = [word if word is None else _ungarbled(word) for word in before]
        changed = {new for old, new in zip(before, after, strict=True) if old != new}
        sure = sure and changed <= damaged.past.words(name) | set(damaged.source.columns[name].values)
        mended = mended.with_values(name, pa.array(after, pa.string())) if changed else mended
    if mended is sheet:
        return ()
    return [Proposal(mended, "turns text back that was UTF-8 and read in an encoding of one byte", sure=sure)]


def _ungarbled(word: str) -> str:
    for encoding in () if word.isascii() else ("cp1252", "latin-1"):
        try:
            return word.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return word


@dataclass(frozen=True)
class Delimiter:
    """Cells are separated by semicolons, tabs or bars: one of these makes declared columns of the first line."""

    name: str = "delimiter"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or damaged.sheet.dialect is None or not damaged.missing:
            return ()
        found = []
        there = set(damaged.sheet.names) & set(damaged.source.columns)
        for delimiter in DELIMITERS[1:]:
            try:
                sheet = sheet_of(damaged.body, Dialect(delimiter, bom=damaged.body.startswith(BOM)))
            except InvalidInput:
                continue
            named = set(sheet.names) & set(damaged.source.columns)
            if named > there and len(named) > 1 and sheet.rows:
                text = f"separates cells by {delimiter!r} and writes commas"
                found.append(Proposal(_with_commas(sheet), text, before=sheet))
        return found


def _with_commas(sheet: Sheet) -> Sheet:
    assert sheet.dialect is not None
    cells = sheet.cells
    for place in range(cells.num_columns):
        texts = cells.column(place).to_pylist()
        cells = cells.set_column(place, str(place), pa.array([_with_quotes(text) for text in texts], pa.string()))
    header = tuple(_with_quotes(text) for text in sheet.header)
    return replace(sheet, cells=cells, header=header, dialect=sheet.dialect._replace(delimiter=","))


def _with_quotes(raw: str) -> str:
    return f'"{raw}"' if "," in raw and not raw.startswith('"') else raw
