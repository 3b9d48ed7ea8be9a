"""Files that people sent, in whatever shape, without a subject: records of the others keep every byte.

Where the join keys are there by name, a record is the subject's as everywhere. Where they are not, a record is its
own if it has the key in any cell, however short that is, or tells of it, unless its columns are those of a source,
which mean something else. What then still holds the spelling and has
no records that can be told apart goes as a whole.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.subjects import Subject

T = TypeVar("T")
GONE: Any = object()
"""In the place of a node of a document that is the subject's."""
_DELIMITERS = ",;\t|"
_SAMPLE = 16_384
Took = Callable[[Mapping[str, Any]], None]
"""Is told of each record of the subject."""
Shape = Literal["named", "other", "unknown"]
"""Of a file: the join keys are columns; it has columns of a source that are others; or nobody knows."""


def lines_without(text: str, subject: Subject, names: Names, took: Took) -> str | None:
    """Return a file of lines that are JSON objects each without the subject's; None if it is no such file."""
    lines = io.StringIO(text, newline="").readlines()
    nodes = [_loaded(line) for line in lines]
    if not any(isinstance(node, dict) for node in nodes):
        return None
    kept = []
    for line, node in zip(lines, nodes, strict=True):
        left = _line(line, subject, took) if node is None else node_without(node, subject, names, took)
        if left is not GONE:
            kept.append(line if left is node or left is line else json.dumps(left, separators=(",", ":")) + "\n")
    return "".join(kept)


def node_without(node: Any, subject: Subject, names: Names, took: Took) -> Any:
    """Return a document without the subject's records: the same one if it has none, ``GONE`` if it is one.

    Args:
        node: the document.
        subject: whose records go.
        names: tells sources' columns, which are no people.
        took: told of each record.
    """
    if isinstance(node, dict):
        return _record(node, subject, names, took)
    if isinstance(node, list):
        if not any(isinstance(one, dict | list) for one in node):
            return _kept(node, lambda one: one is not None and _cell(one, subject), took)
        if all(isinstance(one, list) and not any(isinstance(cell, dict | list) for cell in one) for one in node):
            return _kept(node, lambda one: _mine(one, subject), took)
        left = [node_without(one, subject, names, took) for one in node]
        same = all(a is b for a, b in zip(left, node, strict=True))
        return node if same else [one for one in left if one is not GONE]
    return node


def csv_without(text: str, delimiter: str, known: bool, subject: Subject, names: Names, took: Took) -> tuple[str, int]:
    """Return a CSV file without the subject's records, and how many are left after the first.

    Args:
        text: the file.
        delimiter: of its cells.
        known: whether the first record names the join keys.
        subject: whose records go.
        names: tells sources' columns, which are no people.
        took: told of each record.
    """
    found = records(text, delimiter)
    first, header = next(found, ("", []))
    named, kept = [name.strip() for name in header], [first]
    if not known and not names.columns & set(named) and _mine(header, subject):
        took({})
        kept = []
    for raw, values in found:
        whole = known and len(values) == len(named)
        mine = subject.has(dict(zip(named, values, strict=True))) if whole else _mine(values, subject)
        if mine:
            took(dict(zip(named, values, strict=False)) if known else {})
        else:
            kept.append(raw)
    return "".join(kept), len(kept) - 1


def delimiter_of(text: str, subject: Subject, names: Names) -> tuple[str, Shape]:
    """Return what parts the cells of a text (empty if nothing does), and what its first record says."""
    headers = {one: [cell.strip() for cell in next(records(text, one), ("", []))[1]] for one in _DELIMITERS}
    for delimiter, header in headers.items():
        if all(name in header for name in subject.columns):
            return delimiter, "named"
    for delimiter, header in headers.items():
        if names.declared(header):
            return delimiter, "other"
    try:
        return csv.Sniffer().sniff(text[:_SAMPLE], _DELIMITERS).delimiter, "unknown"
    except csv.Error:
        return next((one for one in _DELIMITERS if one in text), ""), "unknown"


def records(text: str, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
    """Yield each record of a CSV file with the text that it was read from."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    for values in csv.reader(lines(), delimiter=delimiter):
        yield "".join(taken), values
        taken.clear()


def stands(text: str, subject: Subject) -> bool:
    """Say whether a subject's spelling stands in a text; of a short one, whether it is a line or a cell of it."""
    return _told(text, subject) or any(subject.among([cell]) for cell in re.split(r"[\r\n,;\t|\"]+", text) if cell)


def _record(node: dict[str, Any], subject: Subject, names: Names, took: Took) -> Any:
    if subject.has(node):
        took(node)
        return GONE
    if node and all(_flat(value) for value in node.values()) and len({len(value) for value in node.values()}) == 1:
        return _frame(node, subject, names, took)
    if any(isinstance(value, dict | list) for value in node.values()):
        somebodys = all(name in node and not isinstance(node[name], list) for name in subject.columns)
        return node if somebodys else _members(node, subject, names, took)
    if _known(node, subject, names) or not _mine(list(node.values()), subject):
        return node
    took({})
    return GONE


def _known(columns: Collection[str], subject: Subject, names: Names) -> bool:
    """Say whether it is known what each column means, so that a cell is the subject's by its column alone."""
    return all(name in columns for name in subject.columns) or names.declared(columns)


def _members(node: dict[str, Any], subject: Subject, names: Names, took: Took) -> Any:
    """Return a document that has others within it without the subject's members."""
    found: dict[str, Any] = {}
    for name, value in node.items():
        if _named(name, value, subject, names):
            took({})
            continue
        left = subject.spelling.sub(subject.mark, value) if isinstance(value, str) else value
        if left != value:
            took({})
        elif (left := node_without(value, subject, names, took)) is GONE:
            continue
        found[name] = left
    return node if len(found) == len(node) and all(found[name] == node[name] for name in node) else found


def _named(name: str, value: Any, subject: Subject, names: Names) -> bool:
    """Say whether a member is about the subject, by name; one that holds rows, or is called as a column, is not."""
    if subject.spelling.fullmatch(name) is None or name in names.columns:
        return False
    return not any(f'"{column}"' in json.dumps(value) for column in subject.columns)


def _frame(node: dict[str, Any], subject: Subject, names: Names, took: Took) -> Any:
    """Return columns that stand side by side without the subject's places."""
    rows = [dict(zip(node, values, strict=True)) for values in zip(*node.values(), strict=True)]
    known = _known(node, subject, names)
    gone = [subject.has(row) if known else _mine(list(row.values()), subject) for row in rows]
    for row, mine in zip(rows, gone, strict=True):
        if mine:
            took(row)
    if not any(gone):
        return node
    return {name: [v for v, mine in zip(values, gone, strict=True) if not mine] for name, values in node.items()}


def _flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _kept(node: list[T], mine: Callable[[T], bool], took: Took) -> list[T]:
    left = [one for one in node if not mine(one)]
    for _ in range(len(node) - len(left)):
        took({})
    return left if len(left) < len(node) else node


def _mine(cells: Sequence[Any], subject: Subject) -> bool:
    return subject.among(cells) or any(isinstance(cell, str) and _told(cell, subject) for cell in cells)


def _cell(value: Any, subject: Subject) -> bool:
    return _mine([value], subject)


def _line(line: str, subject: Subject, took: Took) -> Any:
    if not stands(line, subject):
        return line
    took({})
    return GONE


def _told(text: str, subject: Subject) -> bool:
    return subject.spelling.search(text) is not None


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
