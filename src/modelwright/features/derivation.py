"""Rows that cannot be served, told from those that can; and the rows of derived sources, made by a team's function.

A derived source's function is given rows of another source as a data frame and returns rows of its own, each under the
index of the row that it is made from: so a row became known when that one did, where the source does not say
otherwise, and a row that cannot be computed is found, held and told with its reason, while the others go on. That a
row follows from one row alone is not believed but tried: some rows are computed alone too, and have to come out
the same.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.events import RowsHeld
from modelwright.features.aggregates import ADDED, LARGEST_UNITS, cells
from modelwright.features.history import ARRIVAL, ARROW, AVAILABLE, KEY, canonical, empty, parquet
from modelwright.project import Column, Project, Source
from modelwright.storage import Blobs

Mask = npt.NDArray[np.bool_]
Function = Callable[[Any], Any]
REASON = "_reason"
ALONE = 8
"""Rows that are computed alone, to see whether the function looks at others."""
_CALLS = 300
_REASONS = 10
_EXAMPLES = 3
_DTYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
"""Types that do not change when a value is missing: what a row is given must not depend on the others."""


class Reason(NamedTuple):
    """What is wrong with a row.

    Attributes:
        text: for who looks at the row; may quote it.
        kind: the same for events, which are kept for good: without values, the same for many rows.
    """

    text: str
    kind: str


@dataclass(frozen=True)
class Held:
    """Rows that are served to nobody.

    Attributes:
        rows: as they came.
        reasons: what is wrong with each.
    """

    rows: pa.Table
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Derived:
    """What a function made.

    Attributes:
        rows: of the derived source, as the offline store keeps them.
        held: rows of the source they are made from.
    """

    rows: pa.Table
    held: Held


class _Unfit(Exception):
    """What a function made of some rows cannot be taken."""

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.reason = Reason(text, kind or text)


def summable(project: Project, source: str, rows: pa.Table) -> tuple[pa.Table, Held]:
    """Return rows of a source without those that hold a number which a view cannot add up, and those."""
    declared = project.sources[source]
    reasons: dict[int, Reason] = {}
    for name, column in _added(project, source, declared).items():
        kind = np.int64 if column.type == "integer" else np.float64
        values = np.asarray(pc.fill_null(rows[name], 0)).astype(kind)
        decimals = 0 if column.type == "integer" else column.decimals
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = values * 10**decimals
            large = ~((scaled <= LARGEST_UNITS) & (scaled >= -LARGEST_UNITS))
        for place in np.flatnonzero(large):
            told = f"cannot be added up in {decimals} decimals"
            reasons[int(place)] = Reason(f"column {name}: {values[place]} {told}", f"column {name}: a number {told}")
    wrong = np.isin(np.arange(rows.num_rows), list(reasons))
    held = Held(rows.filter(pa.array(wrong)), tuple(reasons[place] for place in sorted(reasons)))
    return rows.filter(pa.array(~wrong)), held


def derive(declared: Source, rows: pa.Table, function: Function) -> Derived:
    """Return the rows of a derived source that a function makes of rows of another.

    Args:
        declared: the derived source.
        rows: of the source that it is derived from, as the offline store keeps them.
        function: the team's.
    """
    frame = _frame(rows)
    made, faults = _bisected(declared, frame, rows, function)
    try:
        _same_alone(declared, frame, rows, function, made, faults)
    except _Unfit as error:
        made, faults = [], dict.fromkeys(range(rows.num_rows), error.reason)
    places = sorted(faults)
    held = Held(rows.take(pa.array(places, pa.int64())), tuple(faults[place] for place in places))
    return Derived(pa.concat_tables([_nothing(declared), *(table for table, _ in made)]).combine_chunks(), held)


def hold(workspace: str, source: str, upload_key: str, held: Held, *, blobs: Blobs) -> RowsHeld:
    """Keep held rows in the lake, each with its reason, and return the event that says so; the same is one object."""
    body = parquet(held.rows.append_column(REASON, pa.array([reason.text for reason in held.reasons], pa.string())))
    key = f"quarantine/{workspace}/{source}/held-{hashlib.sha256(body).hexdigest()[:32]}/rows.parquet"
    blobs.put("lake", key, body)
    said = tuple(_kinds(held))[:_REASONS]
    return RowsHeld(source=source, upload_key=upload_key, rows=held.rows.num_rows, key=key, reasons=said)


def _kinds(held: Held) -> Iterator[str]:
    """Yield what is wrong and with which of the held rows, from 1: no values, for the log keeps events for ever."""
    places: dict[str, list[int]] = {}
    for number, reason in enumerate(held.reasons, start=1):
        places.setdefault(reason.kind, []).append(number)
    for kind, numbers in places.items():
        more = ", ..." if len(numbers) > _EXAMPLES else ""
        yield f"{kind} (held rows {', '.join(map(str, numbers[:_EXAMPLES]))}{more})"


def _added(project: Project, source: str, declared: Source) -> dict[str, Column]:
    """Return the columns of numbers and integers that views of a source add up."""
    views = (view for view in project.views.values() if view.source == source and view.aggregates)
    named = {cell.column for view in views for cell in cells(view) if cell.kind in ("total", "squares")}
    return {name: declared.columns[name] for name in sorted(named) if declared.columns[name].type in ADDED}


def _nothing(declared: Source) -> pa.Table:
    return empty(declared).select([*declared.columns, AVAILABLE, ARRIVAL, KEY])


def _frame(rows: pa.Table) -> pd.DataFrame:
    own = [name for name in rows.column_names if not name.startswith("_")]
    frame: pd.DataFrame = rows.select(own).to_pandas(types_mapper=_DTYPES.get)
    return frame


def _bisected(
    declared: Source, frame: pd.DataFrame, rows: pa.Table, function: Function
) -> tuple[list[tuple[pa.Table, Any]], dict[int, Reason]]:
    """Return what comes of rows, and what is wrong with those of which nothing does, by place."""
    made, faults = [], dict[int, Reason]()
    waiting, calls = [np.arange(len(frame))] if len(frame) else [], 0
    while waiting:
        places, calls = waiting.pop(), calls + 1
        try:
            table, origins = _made(declared, frame, rows, function, places)
        except _Unfit as error:
            if len(places) == 1 or calls > _CALLS:
                faults |= dict.fromkeys(places.tolist(), error.reason)
            else:
                waiting += [places[len(places) // 2 :], places[: len(places) // 2]]
            continue
        wrong = _misfits(declared, table)
        bad = {int(origins[n]): reason for n, reason in wrong}
        faults |= bad
        good = ~np.isin(origins, list(bad))
        made.append((table.filter(pa.array(good)), origins[good]))
    return made, faults


def _made(
    declared: Source, frame: pd.DataFrame, rows: pa.Table, function: Function, places: Any
) -> tuple[pa.Table, Any]:
    """Return what a function makes of some rows, and the place of the row that each is made from."""
    try:
        result = function(frame.iloc[places].copy())
    except Exception as error:  # a team's function may raise anything, and its other rows are to go on
        told = f"the function raised {type(error).__name__}"
        raise _Unfit(f"{told}: {error}", told) from error
    if not isinstance(result, pd.DataFrame):
        raise _Unfit(f"the function returned a {type(result).__name__}, not a data frame")
    if not result.index.isin(places).all():
        raise _Unfit("the function returned rows whose index is of no row that it was given: keep the index")
    origins = np.asarray(result.index, dtype=np.int64)
    parents = rows.take(pa.array(origins))
    columns = {name: _column(result, name, column) for name, column in declared.columns.items()}
    try:
        table = canonical(declared, pa.table(columns), now_us=0, arrival="")
    except InvalidInput as error:
        raise _Unfit(str(error), error.logged) from error
    known = parents[AVAILABLE].combine_chunks()
    if declared.available_at:
        said = table[declared.available_at]
        known = pc.if_else(pc.is_valid(said), said.cast(pa.int64()), known)
    for name, column in ((AVAILABLE, known), (ARRIVAL, parents[ARRIVAL])):
        table = table.set_column(table.column_names.index(name), name, column)
    return table.combine_chunks(), origins


def _column(result: pd.DataFrame, name: str, column: Column) -> Any:
    if name not in result.columns:
        return pa.nulls(len(result), ARROW[column.type])
    try:
        return pa.array(result[name], ARROW[column.type], from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        told = f"column {name} is no {column.type}"
        raise _Unfit(f"{told}: {error}", told) from error


def _misfits(declared: Source, table: pa.Table) -> Iterator[tuple[int, Reason]]:
    """Yield the places of rows that are not as declared, with what is wrong."""
    needed = {*declared.key, declared.event_time}
    for name, column in declared.columns.items():
        values = table[name]
        if name in needed or not column.nullable:
            missing = f"column {name} may not be missing"
            yield from ((n, Reason(missing, missing)) for n in _where(values.is_null()))
        if column.values:
            strange = pc.and_(values.is_valid(), pc.invert(pc.is_in(values, pa.array(column.values))))
            said = f"none of {', '.join(column.values)}"
            for n in _where(strange):
                yield n, Reason(f"column {name}: {values[n].as_py()!r} is {said}", f"column {name}: {said}")
        if column.type in ("integer", "number"):
            yield from _beyond(name, column, values)


def _beyond(name: str, column: Column, values: Any) -> Iterator[tuple[int, Reason]]:
    for wrong, bound in ((pc.less, column.low), (pc.greater, column.high)):
        if bound is not None:
            for n in _where(wrong(values, bound)):
                told = f"beyond {bound}"
                yield n, Reason(f"column {name}: {values[n].as_py()} is {told}", f"column {name}: {told}")


def _where(mask: Any) -> list[int]:
    found: list[int] = np.flatnonzero(np.asarray(pc.fill_null(mask, False))).tolist()
    return found


def _same_alone(
    declared: Source,
    frame: pd.DataFrame,
    rows: pa.Table,
    function: Function,
    made: Sequence[tuple[pa.Table, Any]],
    faults: Mapping[int, Reason],
) -> None:
    """Raise unless some rows, computed alone, come out as they did among others."""
    good = np.array([place for place in range(len(frame)) if place not in faults], dtype=np.int64)
    chosen = good[np.argsort(_keys(rows)[good], kind="stable")[:ALONE]] if len(good) > 1 else good[:0]
    for place in chosen.tolist():
        alone, _ = _made(declared, frame, rows, function, np.array([place]))
        among = pa.concat_tables([table.filter(pa.array(origins == place)) for table, origins in made])
        if not alone.equals(among.combine_chunks()):
            name = rows.column_names[0]
            told = "the function looks at other rows than the one a result is made from"
            raise _Unfit(
                f"{told}: computed alone, the row of {name} {rows[name][place].as_py()} comes out otherwise", told
            )


def _keys(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """Return the row keys, whose order has nothing to do with that of the rows."""
    return np.asarray(rows[KEY]).astype(np.uint64)
