"""Checks of single rows by what a source declares: what is held back while the good rows of a file go on.

A row is held for a cell of the wrong type, a missing value where none may be, a value that cannot be true, a rule that
does not hold, or a key that other rows of the file contradict. Rows repeated exactly are dropped with a warning,
because nothing is lost. How severe each of ``DECLARED`` is, the source may say.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.events import Finding
from modelwright.monitoring import formulas
from modelwright.monitoring.checks.files import Fault, fault, held, mask_of
from modelwright.monitoring.reading import Mask, Rows
from modelwright.project import Column, Source

DECLARED = ("type", "required", "low", "high", "values", "regex", "unique", "rules", "duplicate_key")
"""What is checked because it is declared; of ``rules`` each may also be named by itself."""
_TIMES = (datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))
"""Events are within these: before and after is no room for the windows around them, and what is there means "never"."""


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

    def without(self, fault: Fault) -> "RowVerdict":
        """Return the verdict when rows are held back besides, or a warning is said."""
        findings = (*self.findings, fault.finding)
        if fault.rows is None or fault.finding.severity == "warn":
            return RowVerdict(self.good, self.held, findings)
        return RowVerdict(self.good & ~fault.rows, self.held | fault.rows, findings)


def check_rows(rows: Rows, source: Source, faults: Sequence[Fault] = ()) -> RowVerdict:
    """Check each row of a file by the source's declaration.

    Args:
        rows: of the file.
        source: its source.
        faults: what is known to be wrong with rows besides.
    """
    everything = np.ones(rows.typed.num_rows, dtype=bool)
    verdict = RowVerdict(everything, ~everything, ())
    for name, column in source.columns.items():
        array = rows.typed.column(name).combine_chunks()
        needed = name in source.key or name == source.event_time
        untyped = _Untyped(rows.untyped.get(name), rows.infinite.get(name))
        for check, broken, text in _column_faults(array, column, untyped, name in source.key):
            if broken.any():
                # without key and time no row can be told from others
                block = (needed and check in ("type", "required")) or _severity(source, check) == "block"
                verdict = verdict.without(_rated(held(check, name, broken, text), block))
    verdict = _with_lines(_of_times(verdict, rows.typed, source), rows)
    for one in faults:
        verdict = verdict.without(one)
    for later in (_of_keys, _of_unique, _of_rules):
        verdict = later(verdict, rows.typed, source)
    return verdict


def _severity(source: Source, check: str) -> str:
    return source.severity.get(check, "block")


def _rated(one: Fault, block: bool) -> Fault:
    if block:
        return one
    text = one.finding.text.replace("held back: ", "not as declared: ")
    return one._replace(finding=one.finding.model_copy(update={"severity": "warn", "text": text}))


def _of_times(verdict: RowVerdict, typed: pa.Table, source: Source) -> RowVerdict:
    times = typed.column(source.event_time).combine_chunks()
    first, last = (pa.scalar(time, times.type) for time in _TIMES)
    never = mask_of(pc.or_(pc.less(times, first), pc.greater_equal(times, last)))
    if not never.any():
        return verdict
    return verdict.without(held("event_time", source.event_time, never, "at the end of all times nothing happens"))


def _with_lines(verdict: RowVerdict, rows: Rows) -> RowVerdict:
    """Add what is said of lines that are no rows."""
    count = len(rows.malformed) - rows.cut_line
    if count:
        verdict = verdict.without(fault("malformed", "", True, f"{count} lines have the wrong number of fields"))
    if rows.cut_line:
        verdict = verdict.without(fault("truncated_file", "", True, "the last line is cut: the file breaks off there"))
    return verdict


def _among(part: Mask, of: Mask) -> Mask:
    whole = np.zeros(len(of), dtype=bool)
    whole[np.flatnonzero(of)[part]] = True
    return whole


def expanded(part: Mask | None, of: Mask) -> Mask | None:
    """Return a mask of some rows as one of all."""
    return None if part is None else _among(part, of)


def _of_keys(verdict: RowVerdict, typed: pa.Table, source: Source) -> RowVerdict:
    """Drop exact repeats among rows that are good so far, and hold keys whose rows differ."""
    some = verdict.good
    repeats, conflicts = (_among(mask, some) for mask in duplicates(typed.filter(pa.array(some)), source.key))
    if conflicts.any():
        found = held("duplicate_key", ", ".join(source.key), conflicts, "the same key comes with different values")
        verdict = verdict.without(_rated(found, _severity(source, "duplicate_key") == "block"))
    if repeats.any():
        text = f"{int(repeats.sum())} rows repeat others exactly and were dropped"
        verdict = verdict.without(fault("duplicate_row", "", False, text))
    return RowVerdict(verdict.good & ~repeats, verdict.held, verdict.findings)


def _of_unique(verdict: RowVerdict, typed: pa.Table, source: Source) -> RowVerdict:
    for name in (name for name, column in source.columns.items() if column.unique and (name,) != source.key):
        some = verdict.good & mask_of(typed.column(name).combine_chunks().is_valid())
        codes = codes_of(typed.select([name]).filter(pa.array(some)))
        shared = _among(np.bincount(codes)[codes] > 1 if len(codes) else np.zeros(0, dtype=bool), some)
        if shared.any():
            found = held("unique", name, shared, "the same value comes several times")
            verdict = verdict.without(_rated(found, _severity(source, "unique") == "block"))
    return verdict


def _of_rules(verdict: RowVerdict, typed: pa.Table, source: Source) -> RowVerdict:
    for name, expression in source.rules.items():
        try:
            broken = mask_of(pc.invert(formulas.holds(expression, typed))) & verdict.good
        except InvalidInput as error:
            verdict = verdict.without(fault("rules", "", False, f"the rule {name} says nothing: {error}"))
            continue
        if broken.any():
            columns = ", ".join(formulas.columns_of(expression))
            severity = source.severity.get(name, _severity(source, "rules"))
            found = held("rules", columns, broken, f"against the rule {name}, {expression}")
            verdict = verdict.without(_rated(found, severity == "block"))
    return verdict


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


class _Untyped(NamedTuple):
    """Which cells broke their type, and which of them are infinite numbers."""

    broken: Mask | None
    infinite: pa.Array | None


def _column_faults(array: pa.Array, column: Column, untyped: _Untyped, in_key: bool) -> list[tuple[str, Mask, str]]:
    faults = []
    missing = mask_of(array.is_null())
    if untyped.broken is not None:
        infinite = 0 if untyped.infinite is None else len(untyped.infinite) - untyped.infinite.null_count
        told = f" ({infinite} of them infinite)" if infinite else ""
        faults.append(("type", untyped.broken, f"not of type {column.type}{told}"))
        missing = missing & ~untyped.broken
    if (not column.nullable or in_key) and missing.any():
        faults.append(("required", missing, "missing where a value must be"))
    if column.low is not None:
        faults.append(("low", _beyond(array, column.low, below=True), f"below {column.low:g}"))
    if column.high is not None:
        faults.append(("high", _beyond(array, column.high, below=False), f"above {column.high:g}"))
    if column.values:
        faults.append(("values", _unlike(array, set(column.values).__contains__), f"none of {_told(column.values)}"))
    if column.regex:
        matches = re.compile(column.regex).fullmatch
        faults.append(("regex", _unlike(array, lambda text: bool(matches(text))), f"not like {column.regex}"))
    return faults


def _beyond(array: pa.Array, bound: float, *, below: bool) -> Mask:
    """Return the rows below or above a bound, of integers to the last one; what is no number is neither."""
    compare = pc.less if below else pc.greater
    if pa.types.is_floating(array.type):
        return mask_of(compare(array, bound))
    if not pa.types.is_integer(array.type) or math.isnan(bound):
        return np.zeros(len(array), dtype=bool)
    if not -(2.0**63) <= bound < 2.0**63:
        all_or_none = array.is_valid() if (bound > 0) == below else pa.array(np.zeros(len(array), dtype=bool))
        return mask_of(all_or_none)
    # a float would not tell large integers apart
    return mask_of(compare(array, pa.scalar(math.ceil(bound) if below else math.floor(bound), pa.int64())))


def _told(values: Sequence[str]) -> str:
    return ", ".join(values[:10])


def _unlike(array: pa.Array, fits: Callable[[str], bool]) -> Mask:
    """Return the rows whose value, as text, does not fit; each different one is looked at once."""
    texts = array.cast(pa.string())
    return mask_of(
        pc.is_in(texts, pa.array([t for t in pc.unique(texts.drop_null()).to_pylist() if not fits(t)], pa.string()))
    )
