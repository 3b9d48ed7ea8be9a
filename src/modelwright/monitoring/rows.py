"""Checks of single rows: what is held back while the good rows of a file go on.

A row is held for a cell of the wrong type, a missing value where none may be, a value that
cannot be true, or a key that other rows of the file contradict. Rows repeated exactly are
dropped with a warning, because nothing is lost.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.events import Finding
from modelwright.monitoring.reading import Mask, Rows
from modelwright.project import Column, Source

_EXAMPLES = 3


@dataclass(frozen=True)
class RowVerdict:
    """Which rows go on.

    Attributes:
        good: rows that go on.
        held: rows that are held back (the others that are not good are exact repeats).
        findings: why, one per check and column.
    """

    good: Mask
    held: Mask
    findings: tuple[Finding, ...]


def check_rows(rows: Rows, source: Source) -> RowVerdict:
    """Check each row of a file by the source's declaration."""
    held = np.zeros(rows.typed.num_rows, dtype=bool)
    findings: list[Finding] = []
    for name, column in source.columns.items():
        array = rows.typed.column(name).combine_chunks()
        for check, broken, text in _column_faults(array, column, rows.untyped.get(name), name in source.key):
            if broken.any():
                held |= broken
                findings.append(_held(check, name, broken, f"{text}{_places(broken)}"))
    if rows.malformed:
        text = f"{len(rows.malformed)} lines have the wrong number of fields"
        findings.append(Finding(check="malformed", severity="block", text=text))
    repeats, conflicts = duplicates(rows.typed, source.key)
    repeats &= ~held
    conflicts &= ~held
    if conflicts.any():
        held |= conflicts
        key = ", ".join(source.key)
        findings.append(_held("duplicate_key", key, conflicts, "the same key comes with different values"))
    if repeats.any():
        text = f"{int(repeats.sum())} rows repeat others exactly and were dropped"
        findings.append(Finding(check="duplicate_row", severity="warn", text=text))
    return RowVerdict(~held & ~repeats, held, tuple(findings))


def duplicates(table: pa.Table, key: tuple[str, ...]) -> tuple[Mask, Mask]:
    """Return the rows that repeat an earlier row exactly, and all rows of keys whose rows differ."""
    none = np.zeros(table.num_rows, dtype=bool)
    keys = codes_of(table.select(list(key)))
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    if len(first) == table.num_rows:
        return none, none.copy()
    shared = counts[inverse] > 1
    positions = np.flatnonzero(shared)
    whole = codes_of(table.take(pa.array(positions)))
    _, first_whole = np.unique(whole, return_index=True)
    repeats = none.copy()
    repeats[positions] = True
    repeats[positions[first_whole]] = False
    distinct = np.bincount(inverse[positions[first_whole]], minlength=len(first))
    return repeats & (distinct[inverse] == 1), (distinct > 1)[inverse]


def codes_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return one integer per row, equal for rows with equal values (nulls equal nulls)."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        indices = column.dictionary_encode(null_encoding="encode").indices.to_numpy(zero_copy_only=False)
        codes = codes * (int(indices.max(initial=0)) + 1) + indices
        _, codes = np.unique(codes, return_inverse=True)
    return codes.astype(np.int64)


def _column_faults(array: pa.Array, column: Column, untyped: Mask | None, in_key: bool) -> list[tuple[str, Mask, str]]:
    faults = []
    missing = _numpy(array.is_null())
    if untyped is not None:
        faults.append(("type", untyped, f"not of type {column.type}"))
        missing = missing & ~untyped
    if (not column.nullable or in_key) and missing.any():
        faults.append(("required", missing, "missing where a value must be"))
    if column.low is not None:
        low = _numpy(pc.less(array, column.low).fill_null(False))
        faults.append(("low", low, f"below {column.low:g}"))
    if column.high is not None:
        high = _numpy(pc.greater(array, column.high).fill_null(False))
        faults.append(("high", high, f"above {column.high:g}"))
    if column.values:
        known = pc.is_in(array.cast(pa.string()), pa.array(column.values))
        unknown = _numpy(pc.and_(pc.invert(known), array.is_valid()))
        faults.append(("values", unknown, f"none of {', '.join(column.values[:10])}"))
    return faults


def _held(check: str, column: str, broken: Mask, text: str) -> Finding:
    count = int(broken.sum())
    rows = "1 row" if count == 1 else f"{count} rows"
    return Finding(check=check, column=column, severity="block", text=f"{column}: {rows} held back: {text}")


def _places(broken: Mask) -> str:
    """Where it is: row numbers, not values, because the log keeps findings for ever."""
    numbers = np.flatnonzero(broken)[:_EXAMPLES] + 1
    return f" (rows {', '.join(map(str, numbers))}{', ...' if int(broken.sum()) > _EXAMPLES else ''})"


def _numpy(array: pa.Array) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask.astype(bool)
