"""Stored bytes without a subject, by what they are: Parquet, CSV, JSON, text, and these compressed.

Rows of others stay as they are, to the bit: of Parquet every value, of CSV every byte. In JSON a row of the subject
goes (an object, or the places of columns that stand side by side), and where a text tells of it, its spelling.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelwright.features.history import parquet
from modelwright.features.layout import spelled
from modelwright.features.subjects import PREDICTION, Ids, Subject

Mask = npt.NDArray[np.bool_]
_PARQUET, _GZIP, _ZLIB = b"PAR1", b"\x1f\x8b", b"\x78"
_GONE = object()


@dataclass
class Search:
    """What is looked for, and what was found in one body.

    Attributes:
        subject: whose rows go.
        ids: what else names the subject where predictions are kept.
        rows: how many of its rows were found.
        texts: how many texts told of it.
        found: ids that its rows had, by column.
    """

    subject: Subject
    ids: Ids
    rows: int = 0
    texts: int = 0
    found: dict[str, set[str]] = field(default_factory=dict)

    @property
    def hit(self) -> bool:
        """Whether anything was found."""
        return bool(self.rows or self.texts)


@dataclass(frozen=True)
class Cleaned:
    """A body without a subject.

    Attributes:
        body: what is left; None if it cannot be taken out of it, so that all of it has to go.
        left: how many rows it holds still; None where it does not consist of rows.
        rows: how many rows of the subject it held.
        texts: how many texts told of it besides.
        ids: that rows of the subject had, by column.
    """

    body: bytes | None
    left: int | None
    rows: int
    texts: int
    ids: Mapping[str, frozenset[str]]


def cleaned(name: str, body: bytes, subject: Subject, ids: Ids) -> Cleaned | None:
    """Return a body without a subject; None if it does not hold it.

    Args:
        name: the object's key.
        body: its bytes.
        subject: whose rows go.
        ids: what else names the subject in the prediction log.
    """
    search = Search(subject, ids)
    left: int | None = None
    new: bytes | None
    if body.startswith(_PARQUET):
        new, left = _parquet(body, search)
    elif body.startswith(_GZIP):
        new, left = _compressed(name.removesuffix(".gz"), body, subject, ids, search)
    else:
        new, left = _text(name, body, search)
    if not search.hit:
        return None
    return Cleaned(new, left, search.rows, search.texts, {n: frozenset(found) for n, found in search.found.items()})


def table_without(table: pa.Table, search: Search) -> pa.Table:
    """Return a table without the subject's rows, all else as it is."""
    mask = mask_of(table, search)
    if not mask.any():
        return table
    gone = table.filter(pa.array(mask))
    search.rows += gone.num_rows
    for column in search.ids.columns:
        if column in gone.column_names:
            texts = {spelled([v]) for v in gone[column].unique().to_pylist() if v is not None}
            search.found.setdefault(column, set()).update(texts)
    return _dense(table).filter(pa.array(~mask))


def mask_of(table: pa.Table, search: Search) -> Mask:
    """Return which rows of a table are the subject's."""
    names = table.column_names
    mask = np.zeros(table.num_rows, dtype=bool)
    if all(name in names for name in search.subject.columns):
        mask = np.ones(table.num_rows, dtype=bool)
        for name in search.subject.columns:
            mask &= _equal(table[name], name, search.subject)
    if PREDICTION in names and (ids := search.ids.every):
        column = table[PREDICTION].cast(pa.string())
        mask |= np.asarray(pc.is_in(column, value_set=pa.array(sorted(ids), pa.string())))
    return mask


def document_without(document: Any, search: Search) -> Any:
    """Return a document as JSON has it without the subject; None if all of it is the subject's."""
    found = _node(document, "", search)
    return None if found is _GONE else found


def packed_without(body: bytes, subject: Subject, ids: Ids) -> bytes | None:
    """Return zlib-compressed JSON without a subject; None if it does not hold it, or is none."""
    if not body.startswith(_ZLIB):
        return None
    search = Search(subject, ids)
    try:
        document = json.loads(zlib.decompress(body))
    except (zlib.error, ValueError):
        return None
    new = document_without(document, search)
    return zlib.compress(json.dumps(new, separators=(",", ":")).encode(), 6) if search.hit else None


# --- rows --------------------------------------------------------------------------------


def _parquet(body: bytes, search: Search) -> tuple[bytes | None, int | None]:
    try:
        table = pq.ParquetFile(pa.BufferReader(body)).read(use_threads=False)
    except (pa.ArrowException, OSError):
        return _unreadable(body, search)
    left = table_without(table, search).combine_chunks()
    return (parquet(left) if search.rows else body), left.num_rows


def _dense(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, which hold values of rows that are gone."""
    for place, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            plain = table.column(place).cast(column.type.value_type)
            table = table.set_column(place, column.name, plain)
    return table


def _equal(column: Any, name: str, subject: Subject) -> Mask:
    """Return where a column of any type has the subject's value of a join key."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    distinct = column.unique()
    mine = [n for n, value in enumerate(distinct.to_pylist()) if subject.is_value(name, value)]
    if not mine:
        return np.zeros(len(column), dtype=bool)
    return np.asarray(pc.is_in(column, value_set=distinct.take(pa.array(mine))))


def _csv(text: str, search: Search) -> tuple[str, int]:
    """Return a CSV file without the records of the subject; the others keep every byte."""
    records = _records(text)
    header = next(records, ("", []))
    names = [name.strip() for name in header[1]]
    kept, rows = [header[0]], 0
    for raw, values in records:
        whole = len(values) == len(names)
        mine = search.subject.has(dict(zip(names, values, strict=True))) if whole else _told(raw, search)
        if mine:
            search.rows += 1
            _note(dict(zip(names, values, strict=False)), search)
        else:
            kept.append(raw)
            rows += 1
    return "".join(kept), rows


def _records(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each record of a CSV file with the text that it was read from."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for values in csv.reader(lines()):
        yield "".join(taken), values
        taken.clear()


def _note(row: Mapping[str, Any], search: Search) -> None:
    for column in search.ids.columns:
        if row.get(column) not in (None, ""):
            search.found.setdefault(column, set()).add(spelled([row[column]]))


# --- documents and texts -----------------------------------------------------------------


def _compressed(name: str, body: bytes, subject: Subject, ids: Ids, search: Search) -> tuple[bytes | None, int | None]:
    try:
        inner = cleaned(name, gzip.decompress(body), subject, ids)
    except (OSError, EOFError, zlib.error):
        return _unreadable(body, search)
    if inner is None:
        return body, None
    search.rows, search.texts = inner.rows, inner.texts
    search.found = {column: set(found) for column, found in inner.ids.items()}
    return (None if inner.body is None else gzip.compress(inner.body, 6, mtime=0)), inner.left


def _text(name: str, body: bytes, search: Search) -> tuple[bytes | None, int | None]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return _unreadable(body, search)
    if text[:1] in "{[" and not name.endswith(".csv"):
        try:
            return _json(json.loads(text), search)
        except ValueError:
            pass
    if not name.endswith((".html", ".txt", ".summary")):
        header = next(_records(text.removeprefix("\ufeff")), ("", []))[1]
        if all(column in [one.strip() for one in header] for column in search.subject.columns):
            bom = "\ufeff" if text.startswith("\ufeff") else ""
            left, rows = _csv(text.removeprefix("\ufeff"), search)
            return (bom + left).encode(), rows
    return _words(text, search).encode(), None


def _json(document: Any, search: Search) -> tuple[bytes | None, int | None]:
    new = _node(document, "", search)
    if new is _GONE:
        return None, 0
    left = _places(new, search.subject) if isinstance(new, dict) else None
    return json.dumps(new, separators=(",", ":")).encode(), left


def _node(node: Any, name: str, search: Search) -> Any:
    if isinstance(node, dict):
        return _object(node, search)
    if isinstance(node, list):
        return [new for one in node if (new := _node(one, name, search)) is not _GONE]
    if isinstance(node, str):
        return _words(node, search)
    if name in search.subject.columns and len(search.subject.columns) == 1 and search.subject.is_value(name, node):
        search.texts += 1
        return None
    return node


def _object(node: dict[str, Any], search: Search) -> Any:
    subject = search.subject
    if subject.has(node):
        search.rows += 1
        _note(node, search)
        return _GONE
    if _places(node, subject) is not None:
        node = _columnar(node, search)
    found: dict[str, Any] = {}
    for name, value in node.items():
        if subject.spelling.search(name):
            search.texts += 1
        elif name in subject.columns and len(subject.columns) == 1 and isinstance(value, dict) and "quantiles" in value:
            found[name] = _profile(_node(value, name, search), name, search)
        elif (new := _node(value, name, search)) is not _GONE:
            found[name] = _without_ids(new, name, search)
    return found


def _without_ids(profile: Any, name: str, search: Search) -> Any:
    """Return a profile of the ids of predictions without the subject's; anything else as it is."""
    ids = search.ids.found.get(name, ())
    if not ids or not isinstance(profile, dict) or not isinstance(profile.get("top"), dict):
        return profile
    top = {value: count for value, count in profile["top"].items() if value not in ids}
    search.texts += len(profile["top"]) - len(top)
    return {**profile, "top": top}


def _places(node: Mapping[str, Any], subject: Subject) -> int | None:
    """Return how many rows there are where columns stand side by side, the join keys among them."""
    columns = [node.get(name) for name in subject.columns]
    sizes = {len(column) if isinstance(column, list) else -1 for column in columns}
    return sizes.pop() if len(sizes) == 1 and -1 not in sizes else None


def _columnar(node: dict[str, Any], search: Search) -> dict[str, Any]:
    size = cast(int, _places(node, search.subject))
    whole = {name: values for name, values in node.items() if isinstance(values, list) and len(values) == size}
    kept = []
    for place in range(size):
        row = {name: values[place] for name, values in whole.items()}
        if search.subject.has(row):
            search.rows += 1
            _note(row, search)
        else:
            kept.append(place)
    return {name: [values[n] for n in kept] if name in whole else values for name, values in node.items()}


def _profile(profile: dict[str, Any], name: str, search: Search) -> dict[str, Any]:
    """Return a profile of a join key's values in which others stand for the subject's own."""

    def mine(value: Any) -> bool:
        return search.subject.is_value(name, value)

    top = {value: count for value, count in (profile.get("top") or {}).items() if not mine(value)}
    told = [*profile["quantiles"], profile.get("low"), profile.get("high"), *(profile.get("top") or ())]
    if not any(mine(value) for value in told):
        return profile
    search.texts += 1
    others = [value for value in profile["quantiles"] if not mine(value)]
    ends = {"low": min(others, default=None), "high": max(others, default=None)}
    changed = {end: other for end, other in ends.items() if mine(profile.get(end))}
    return {**profile, **changed, "top": top, "quantiles": [_instead(v, others, mine) for v in profile["quantiles"]]}


def _instead(value: Any, others: Sequence[float], mine: Callable[[Any], bool]) -> Any:
    return min(others, key=lambda other: abs(other - value), default=0.0) if mine(value) else value


def _words(text: str, search: Search) -> str:
    new, count = search.subject.spelling.subn(search.subject.mark, text)
    search.texts += count
    return new


def _told(text: str, search: Search) -> bool:
    return search.subject.spelling.search(text) is not None


def _unreadable(body: bytes, search: Search) -> tuple[bytes | None, int | None]:
    """Give up a body of which nobody can tell the rows apart, if the spelling stands in it."""
    if search.subject.spelling.search(body.decode("latin-1")) or search.subject.spelling.search(
        body.decode("utf-8", "replace")
    ):
        search.texts += 1
        return None, None
    return body, None
