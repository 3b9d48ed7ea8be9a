"""Rows of a table that cannot be put online, told from those that can (``bounds``)."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.features.bounds import FIRST_US, LAST_US, ROW, fault
from modelwright.features.derivation import Held, Reason
from modelwright.features.history import Ints
from modelwright.features.windows import columns_of
from modelwright.project import Project, Source, View

_SHORT = 600
"""Join keys of so few bytes fit into any item's key, however they are spelled."""
_ESCAPED = 6
"""Bytes that one byte of text takes in JSON at most."""


def storable(workspace: str, project: Project, source: str, rows: pa.Table) -> tuple[pa.Table, Held]:
    """Return rows of a source without those that cannot be put online in all of its views, and those."""
    declared, reasons = project.sources[source], dict[int, Reason]()
    for place, text in _faults(workspace, project, source, declared, rows):
        reasons.setdefault(place, Reason(text, text))
    wrong = np.isin(np.arange(rows.num_rows), list(reasons))
    held = Held(rows.filter(pa.array(wrong)), tuple(reasons[place] for place in sorted(reasons)))
    return rows.filter(pa.array(~wrong)), held


def _faults(
    workspace: str, project: Project, source: str, declared: Source, rows: pa.Table
) -> Iterator[tuple[int, str]]:
    for name, column in declared.columns.items():
        if column.type == "timestamp":
            times = rows[name].cast(pa.int64())
            beyond = pc.or_(pc.less(times, FIRST_US), pc.greater(times, LAST_US))
            for place in np.flatnonzero(np.asarray(pc.fill_null(beyond, False))).tolist():
                yield place, f"column {name}: outside the years 1 to 9999"
    for name, view in project.views.items():
        if view.source == source:
            for place in _suspects(view, declared, rows):
                wanted = dict.fromkeys((*view.entity, *view.features, *columns_of(view)))
                values = {column: rows[column][place].as_py() for column in wanted if _text(declared, column)}
                if text := fault(workspace, name, view, {column: values.get(column, 0) for column in wanted}):
                    yield place, text


def _suspects(view: View, declared: Source, rows: pa.Table) -> list[int]:
    """Return the places of rows that hold so much text that they may be too large."""
    keys = _lengths(view.entity, declared, rows) > _SHORT
    kept = _lengths((*view.features, *columns_of(view)), declared, rows) * _ESCAPED > ROW // 2
    found: list[int] = np.flatnonzero(keys | kept).tolist()
    return found


def _lengths(columns: Sequence[str], declared: Source, rows: pa.Table) -> Ints:
    """Return how many bytes of text each row has in some columns."""
    total = np.zeros(rows.num_rows, dtype=np.int64)
    for name in dict.fromkeys(columns):
        if _text(declared, name):
            total += np.asarray(pc.fill_null(pc.binary_length(rows[name]), 0)).astype(np.int64)
    return total


def _text(declared: Source, name: str) -> bool:
    return declared.columns[name].type == "string"
