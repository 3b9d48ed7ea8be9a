"""What a repair changed, so that it can be taken back to the byte.

A step's record is made by comparing the file before and after it, whatever made the change: names of columns, a
formula for a column where the formula gives the very cells that were there, otherwise the cells, rows that were
taken out, and how the file is written. Of a CSV file the original follows from the record and the repaired file alone.
A Parquet file cannot be written again to the byte by anyone but who wrote it: there the original, which stays in
quarantine, is the inverse, and the record says so and what its digest is.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from modelwright.errors import InvalidInput
from modelwright.monitoring.healing.numerals import Style, evaluated
from modelwright.monitoring.healing.sheets import Dialect, Sheet, sheet_of


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Formula(_Record):
    """How the cells that were there follow from those that are there now.

    Attributes:
        forward: expression over ``x``, a repaired cell.
        style: how its results were written.
    """

    forward: str
    style: Style


class Cells(_Record):
    """Cells of a column as they were.

    Attributes:
        rows: numbers of their rows, from 0, as they were counted before rows were taken out.
        were: what was written in them, quotes included.
    """

    rows: tuple[int, ...]
    were: tuple[str, ...]


class Rows(_Record):
    """Rows that were taken out.

    Attributes:
        rows: their numbers, from 0.
        were: their lines, each with its end.
    """

    rows: tuple[int, ...]
    were: tuple[str, ...]


class Step(_Record):
    """What one rule did.

    Attributes:
        rule: ``name@version``.
        text: in words, without a value of a row.
        names: names of columns before, if they changed.
        header: the first line's cells before, and what ended it; empty: as after.
        formulas: by column (as it is called now), before its cells.
        cells: by column (as it is called now), what the formula, if there is one, does not give.
        taken: rows that were taken out.
        gaps: lines that are no rows, by the row before which they stood, if that changed.
        dialect: how the file was written, if that changed.
    """

    rule: str
    text: str
    names: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    formulas: dict[str, Formula] = {}
    cells: dict[str, Cells] = {}
    taken: Rows = Rows(rows=(), were=())
    gaps: dict[int, str] | None = None
    dialect: Dialect | None = None


class RepairLog(_Record):
    """The log of a repair; it lies in the lake beside the repaired file.

    Attributes:
        inverse: where the original's bytes follow from: this log and the repaired file, or the original that is kept.
        original: the object that is kept, in quarantine.
        before: SHA-256 of the original.
        after: SHA-256 of the repaired file.
    """

    version: int = 1
    source: str
    quarantine_id: str
    at: datetime
    actor: str
    reason: str = ""
    inverse: Literal["log", "original"]
    original: str
    before: str
    after: str
    steps: tuple[Step, ...]


def compared(
    before: Sheet, after: Sheet, rule: str, text: str, *, taken: Sequence[int], forward: dict[str, str]
) -> Step:
    """Return the record of what a rule did to a file.

    Args:
        before: the file.
        after: the same, repaired; Parquet where that was.
        rule: which rule.
        text: what it did.
        taken: numbers of the rows that it took out.
        forward: by column, the formula by which the cells before came from those now, if there is one.
    """
    changed: dict[str, object] = {}
    if before.names != after.names:
        changed["names"] = before.names
    if before.dialect is None:
        return Step(rule=rule, text=text, cells=_values_were(before, after, taken), **changed)
    if before.header != after.header or before.dialect != after.dialect:
        changed |= {"header": (*before.header, before.ends[0])}
    if taken:
        lines = list(before.lines())
        changed["taken"] = Rows(rows=tuple(taken), were=tuple(lines[row] for row in taken))
    if taken and before.gaps:
        changed["gaps"] = before.gaps
    if before.dialect != after.dialect:
        changed["dialect"] = before.dialect
    formulas, cells = _cells_were(before, after, taken, forward)
    return Step(rule=rule, text=text, formulas=formulas, cells=cells, **changed)


def undo(log: RepairLog, repaired: bytes, original: bytes = b"") -> bytes:
    """Return a file as it was before a repair.

    Args:
        log: of the repair.
        repaired: the repaired file.
        original: what is kept of it in quarantine; needed where ``log.inverse`` says so.

    Raises:
        InvalidInput: the repaired file, or what is given as the original, is not what the log is about.
    """
    if digest(repaired) != log.after:
        raise InvalidInput(f"this is not the file that quarantine {log.quarantine_id} was repaired to")
    was = original
    if log.inverse == "log":
        was = undone(log.steps, repaired)
    if digest(was) != log.before:
        raise InvalidInput(f"the original of quarantine {log.quarantine_id} does not follow: ask for {log.original}")
    return was


def undone(steps: Sequence[Step], repaired: bytes) -> bytes:
    """Return a CSV file as it was before some steps, without a look at whether it is that."""
    for step in reversed(steps):  # each is of the file as it is read then, however it was read before
        repaired = _before(sheet_of(repaired), step).body()
    return repaired


def digest(body: bytes) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(body).hexdigest()


# --- cells -------------------------------------------------------------------------------


def _cells_were(
    before: Sheet, after: Sheet, taken: Sequence[int], forward: dict[str, str]
) -> tuple[dict[str, Formula], dict[str, Cells]]:
    kept = np.setdiff1d(np.arange(before.rows), np.asarray(taken, dtype=np.int64))
    formulas: dict[str, Formula] = {}
    cells: dict[str, Cells] = {}
    for place, name in enumerate(after.names):
        were = _texts(before.cells.column(place).take(pa.array(kept)))
        now = _texts(after.cells.column(place))
        given = now
        if name in forward:
            style = Style.of(_texts(before.values(before.names[place])))
            formulas[name] = Formula(forward=forward[name], style=style)
            given = _by_formula(formulas[name], now)
        other = [n for n, (old, new) in enumerate(zip(were, given, strict=True)) if old != new]
        if other:
            rows = tuple(int(kept[n]) for n in other)
            cells[name] = Cells(rows=rows, were=tuple(str(were[n]) for n in other))
    return formulas, cells


def _values_were(before: Sheet, after: Sheet, taken: Sequence[int]) -> dict[str, Cells]:
    """Return the values of Parquet that are different now, as text, for people: it is the original that tells all."""
    kept = np.setdiff1d(np.arange(before.rows), np.asarray(taken, dtype=np.int64))
    cells: dict[str, Cells] = {}
    for place, name in enumerate(after.names):
        old, new = before.cells.column(place), after.cells.column(place)
        if old.type == new.type and not taken and old.equals(new):
            continue
        were, now = old.take(pa.array(kept)).to_pylist(), new.to_pylist()
        other = [n for n, (one, two) in enumerate(zip(were, now, strict=True)) if str(one) != str(two)]
        if other:
            cells[name] = Cells(rows=tuple(int(kept[n]) for n in other), were=tuple(str(were[n]) for n in other))
    return cells


def _by_formula(formula: Formula, cells: Sequence[str]) -> list[str]:
    """Return what a formula gives of cells; what is no number stays."""
    values = [_number(cell) for cell in cells]
    results = evaluated(formula.forward, [0.0 if value is None else value for value in values])
    told = zip(values, results, cells, strict=True)
    return [cell if value is None else formula.style.write(result) for value, result, cell in told]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str]:
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def _before(sheet: Sheet, step: Step) -> Sheet:
    if step.names:
        called = dict(zip(sheet.names, step.names, strict=True))
        step = step.model_copy(
            update={
                "formulas": {called[name]: each for name, each in step.formulas.items()},
                "cells": {called[name]: each for name, each in step.cells.items()},
            }
        )
        sheet = replace(sheet, names=step.names)
    columns = [_texts(column) for column in sheet.cells.columns]
    for name, formula in step.formulas.items():
        columns[sheet.place(name)] = _by_formula(formula, columns[sheet.place(name)])
    dialect = step.dialect or sheet.dialect
    assert dialect is not None
    ends = list(sheet.ends[1:])
    if step.taken.rows:
        columns, ends = _put_back(columns, ends, step.taken, dialect)
    for name, cells in step.cells.items():
        column = columns[sheet.place(name)]
        for row, was in zip(cells.rows, cells.were, strict=True):
            column[row] = was
    header, first_end = (step.header[:-1], step.header[-1]) if step.header else (sheet.header, sheet.ends[0])
    table = pa.table({str(place): pa.array(column, pa.string()) for place, column in enumerate(columns)})
    gaps = sheet.gaps if step.gaps is None else step.gaps
    return replace(sheet, cells=table, header=header, ends=(first_end, *ends), gaps=gaps, dialect=dialect)


def _put_back(
    columns: list[list[str]], ends: list[str], taken: Rows, dialect: Dialect
) -> tuple[list[list[str]], list[str]]:
    """Return columns, and ends of lines, with the rows that were taken out."""
    gone = dict(zip(taken.rows, taken.were, strict=True))
    read = sheet_of((dialect.delimiter.join("n" + str(n) for n in range(len(columns))) + "\n").encode() + "".join(
        gone.values()).encode(), Dialect(delimiter=dialect.delimiter))  # fmt: skip
    back = iter(zip(*(_texts(column) for column in read.cells.columns), strict=True))
    back_ends, kept = iter(read.ends[1:]), iter(zip_longest(*columns, fillvalue=""))
    kept_ends = iter(ends)
    rows: list[tuple[str, ...]] = []
    all_ends: list[str] = []
    for row in range(len(ends) + len(gone)):
        rows.append(next(back) if row in gone else next(kept))
        all_ends.append(next(back_ends) if row in gone else next(kept_ends))
    return [list(column) for column in zip(*rows, strict=True)], all_ends
