"""Stored bytes without a subject, by what they are: Parquet, CSV, JSON, text, and these compressed.

Rows of others stay as they are, to the bit: of Parquet every value, of CSV every byte. In JSON a row of the subject
goes (an object, or the places of columns that stand side by side). Of our own documents nothing else changes but
texts that tell of it, in members that are known to hold texts (``naming``): names of members, sources and the like
stay, whatever the subject is called. Files that people sent may have any shape (``foreign``).
"""

import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from modelwright.features.erasing import foreign
from modelwright.features.erasing.foreign import GONE
from modelwright.features.erasing.naming import PATHS, QUOTES, TEXTS, Names
from modelwright.features.erasing.subjects import PREDICTION, Ids, Subject
from modelwright.features.history import parquet
from modelwright.features.layout import spelled

Mask = npt.NDArray[np.bool_]
_PROFILE = {"quantiles", "sketch"}
_PARQUET, _GZIP, _ZLIB = b"PAR1", b"\x1f\x8b", b"\x78"


@dataclass
class Search:
    """What is looked for, and what was found in one body.

    Attributes:
        subject: whose rows go.
        ids: what else names the subject where predictions are kept.
        name: the object's key.
        names: tells names that people chose from our own.
        rows: how many of its rows were found.
        texts: how many texts told of it.
        found: ids that its rows had, by column.
    """

    subject: Subject
    ids: Ids
    name: str = ""
    names: Names = field(default_factory=Names)
    rows: int = 0
    texts: int = 0
    found: dict[str, set[str]] = field(default_factory=dict)

    @property
    def hit(self) -> bool:
        """Whether anything was found."""
        return bool(self.rows or self.texts)

    def took(self, row: Mapping[str, Any]) -> None:
        """Note a row of the subject."""
        self.rows += 1
        for column in self.ids.columns:
            if row.get(column) not in (None, ""):
                self.found.setdefault(column, set()).add(spelled([row[column]]))


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


def cleaned(
    name: str, body: bytes, subject: Subject, ids: Ids, *, names: Names | None = None, sent: bool = False
) -> Cleaned | None:
    """Return a body without a subject; None if it does not hold it.

    Args:
        name: the object's key.
        body: its bytes.
        subject: whose rows go.
        ids: what else names the subject in the prediction log.
        names: tells names that people chose from our own.
        sent: whether people wrote it, in whatever shape they liked.
    """
    search = Search(subject, ids, name, names or Names())
    left: int | None = None
    new: bytes | None
    if body.startswith(_PARQUET):
        new, left = _parquet(body, search, sent)
    elif body.startswith(_GZIP):
        new, left = _compressed(body, search, sent)
    else:
        new, left = _sent(body, search) if sent else _own(body, search)
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
    if PREDICTION in names and (ids := search.ids.of(search.name)):
        column = table[PREDICTION].cast(pa.string())
        mask |= np.asarray(pc.is_in(column, value_set=pa.array(sorted(ids), pa.string())))
    return mask


def document_without(document: Any, search: Search) -> Any:
    """Return a document as JSON has it without the subject; None if all of it is the subject's."""
    found = _node(document, "", search)
    return None if found is GONE else found


def packed_without(body: bytes, search: Search) -> bytes | None:
    """Return zlib-compressed JSON without a subject; None if it does not hold it, or is none."""
    if not body.startswith(_ZLIB):
        return None
    try:
        document = json.loads(zlib.decompress(body))
    except (zlib.error, ValueError):
        return None
    new = document_without(document, search)
    return zlib.compress(json.dumps(new, separators=(",", ":")).encode(), 6) if search.hit else None


# --- rows --------------------------------------------------------------------------------


def _parquet(body: bytes, search: Search, sent: bool) -> tuple[bytes | None, int | None]:
    try:
        table = pq.ParquetFile(pa.BufferReader(body)).read(use_threads=False)
    except (pa.ArrowException, OSError):
        return _unreadable(body, search, sent)
    names = table.column_names
    if sent and not set(search.subject.columns) <= set(names) and not search.names.declared(names):
        mine = _somewhere(table, search.subject)
        search.rows += int(mine.sum())
        left = _dense(table).filter(pa.array(~mine)).combine_chunks()
    else:
        left = table_without(table, search).combine_chunks()
    return (parquet(left) if search.rows else body), left.num_rows


def _somewhere(table: pa.Table, subject: Subject) -> Mask:
    """Return which rows have the subject's values in columns of whatever name."""
    mine = np.ones(table.num_rows, dtype=bool)
    plain = [column for column in table.columns if not pa.types.is_nested(column.type)]
    for name in subject.columns:
        either = np.zeros(table.num_rows, dtype=bool)
        for column in plain:
            either |= _equal(column, name, subject)
        mine &= either
    return mine


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


# --- documents and texts -----------------------------------------------------------------


def _compressed(body: bytes, search: Search, sent: bool) -> tuple[bytes | None, int | None]:
    name = search.name.removesuffix(".gz")
    try:
        inner = cleaned(name, gzip.decompress(body), search.subject, search.ids, names=search.names, sent=sent)
    except (OSError, EOFError, zlib.error):
        return _unreadable(body, search, sent)
    if inner is None:
        return body, None
    search.rows, search.texts = inner.rows, inner.texts
    search.found = {column: set(found) for column, found in inner.ids.items()}
    return (None if inner.body is None else gzip.compress(inner.body, 6, mtime=0)), inner.left


def _own(body: bytes, search: Search) -> tuple[bytes | None, int | None]:
    """Clean what the platform wrote: documents; of anything else that is not Parquet nobody's rows are known."""
    try:
        document = json.loads(body) if body[:1] in (b"{", b"[") else None
    except ValueError:
        document = None
    if document is None:
        return body, None
    new = _node(document, "", search)
    if new is GONE:
        return None, 0
    left = _places(new, search.subject) if isinstance(new, dict) else None
    return json.dumps(new, separators=(",", ":")).encode(), left


def _sent(body: bytes, search: Search) -> tuple[bytes | None, int | None]:
    """Clean what people wrote."""
    wide = body.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = body.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError:
        return _unreadable(body, search, sent=True)
    subject, names = search.subject, search.names
    bom, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    encoding = "utf-16" if wide else "utf-8"
    if text.lstrip()[:1] in ("{", "["):
        left = _documents(text, search)
        if left is not None:
            return (None if left is GONE else (bom + left).encode(encoding)), None
    delimiter, shape = foreign.delimiter_of(text, subject, names)
    if shape == "other":
        return body, None
    if delimiter:
        kept, rows = foreign.csv_without(text, delimiter, shape == "named", subject, names, search.took)
        return (bom + kept).encode(encoding), rows if shape == "named" else None
    if foreign.stands(text, subject):
        search.texts += 1
        return None, None
    return body, None


def _documents(text: str, search: Search) -> Any:
    """Return JSON, or lines of it, without the subject; None if it is neither."""
    subject, names = search.subject, search.names
    try:
        document = json.loads(text)
    except ValueError:
        return foreign.lines_without(text, subject, names, search.took)
    new = foreign.node_without(document, subject, names, search.took)
    if new is document or new is GONE:
        return text if new is document else GONE
    return json.dumps(new, separators=(",", ":"))


def _node(node: Any, name: str, search: Search) -> Any:
    if isinstance(node, dict):
        return _object(node, search)
    if isinstance(node, list):
        return [new for one in node if (new := _node(one, name, search)) is not GONE]
    if isinstance(node, str):
        return _string(node, name, search)
    return node


def _string(text: str, name: str, search: Search) -> Any:
    new = text
    if name == "malformed" and foreign.stands(text, search.subject):
        search.took({})
        return GONE
    if name == QUOTES and search.subject.word.search(text):
        search.texts += 1
        return search.subject.mark
    if name in TEXTS:
        return words_without(text, search)
    if name in PATHS:
        new = search.names.renamed(PATHS[name], text, search.subject)
        search.texts += new != text
    return new


def _object(node: dict[str, Any], search: Search) -> Any:
    subject = search.subject
    if subject.has(node):
        search.took(node)
        return GONE
    if _places(node, subject) is not None:
        return _columnar(node, search)
    found: dict[str, Any] = {}
    for name, value in node.items():
        if name in subject.columns and len(subject.columns) == 1 and isinstance(value, dict) and _PROFILE & set(value):
            found[name] = _profile(value, name, search)
        elif (new := _node(value, name, search)) is not GONE:
            found[name] = _without_ids(new, name, search)
    return found


def _without_ids(profile: Any, name: str, search: Search) -> Any:
    """Return a profile of the ids of predictions without the subject's; anything else as it is."""
    ids = search.ids.found.get(name, ())
    if not ids or not isinstance(profile, dict) or not isinstance(profile.get("top"), dict):
        return profile
    left = _less_known(profile, lambda value: value in ids)
    search.texts += len(profile["top"]) - len(left["top"])
    return left


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
            search.took(row)
        else:
            kept.append(place)
    return {name: [values[n] for n in kept] if name in whole else values for name, values in node.items()}


def _profile(profile: dict[str, Any], name: str, search: Search) -> dict[str, Any]:
    """Return a profile of a join key's values in which others stand for the subject's own."""

    def mine(value: Any) -> bool:
        return search.subject.is_value(name, value)

    points = (profile.get("sketch") or {}).get("points", {})
    numbers = [*profile.get("quantiles", ()), *(value for level in points.values() for value in level)]
    if not any(mine(v) for v in (*numbers, profile.get("low"), profile.get("high"), *(profile.get("top") or ()))):
        return profile
    search.texts += 1
    others = [value for value in numbers if not mine(value)]
    ends = (("low", min(others, default=None)), ("high", max(others, default=None)))
    changed: dict[str, Any] = {end: other for end, other in ends if mine(profile.get(end))}
    if "quantiles" in profile:
        changed["quantiles"] = [_instead(value, others, mine) for value in profile["quantiles"]]
    if points:
        left = {weight: sorted(_instead(value, others, mine) for value in level) for weight, level in points.items()}
        changed["sketch"] = {**profile["sketch"], "points": left}
    return _less_known({**profile, **changed}, mine)


def _less_known(profile: dict[str, Any], mine: Callable[[Any], bool]) -> dict[str, Any]:
    """Return a profile whose most frequent categories are others than these, whose rows count among the rest."""
    before = profile.get("top") or {}
    top = {value: count for value, count in before.items() if not mine(value)}
    rest = {"other": profile["other"] + sum(before.values()) - sum(top.values())} if "other" in profile else {}
    return {**profile, "top": top, **rest}


def _instead(value: Any, others: Sequence[float], mine: Callable[[Any], bool]) -> Any:
    return min(others, key=lambda other: abs(other - value), default=0.0) if mine(value) else value


def words_without(text: str, search: Search) -> str:
    """Return a text in which a mark stands for the subject."""
    new, count = search.subject.spelling.subn(search.subject.mark, text)
    search.texts += count
    return new


def _unreadable(body: bytes, search: Search, sent: bool) -> tuple[bytes | None, int | None]:
    """Give up a body that people sent, of which nobody can tell the rows apart, if the spelling stands in it."""
    texts = (body.decode("latin-1"), body.decode("utf-8", "replace"))
    if sent and any(search.subject.spelling.search(text) for text in texts):
        search.texts += 1
        return None, None
    return body, None
