"""Request rows, each with its moment, and their features computed again from some rows of the history.

``same`` says what equal means: of one type, and to the bit. ``Recomputation`` computes a service's features from
tables in memory, which may have been altered to try out a hypothesis; the join is that of ``arrow``, the on-demand
features those of ``plan``.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.features.aggregates import NEVER
from modelwright.features.arrow import point_in_time
from modelwright.features.history import (
    ARROW,
    AVAILABLE,
    KEY,
    TIME,
    UNTIL,
    History,
    Ints,
    arrival_ranks,
    empty,
    numbers,
)
from modelwright.features.layout import moment
from modelwright.features.parity.report import Way
from modelwright.features.plan import Load, compute, functions_of, plan_of
from modelwright.project import ColumnType, Project, View

Values = Mapping[str, Sequence[Any]]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Rows whose features were served.

    Attributes:
        rows: request columns.
        as_of: the moment of each, in microseconds.
        served: features by name, a value per row.
        arrivals: per row, what came to the store later sorts after this; empty where nobody knows.
        projects: per row, the digest of the project whose code served it.
    """

    way: Way
    rows: Sequence[Row]
    as_of: Sequence[int]
    served: Values
    arrivals: Sequence[str] = ()
    projects: Sequence[str] = ()

    def taken(self, places: Sequence[int]) -> "Sample":
        """Return the sample of some rows."""
        return Sample(
            self.way,
            [self.rows[n] for n in places],
            [self.as_of[n] for n in places],
            {name: [values[n] for n in places] for name, values in self.served.items()},
            [self.arrivals[n] for n in places] if self.arrivals else (),
            [self.projects[n] for n in places] if self.projects else (),
        )


class Difference(NamedTuple):
    """A value that is not equal: of a feature, in a row of a sample."""

    feature: str
    row: int
    served: Any
    offline: Any


def same(left: Any, right: Any) -> bool:
    """Say whether two values are equal: of one type and, if they are floats, to the bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return bool(left == right)


def differences(served: Values, offline: Values) -> list[Difference]:
    """Return what differs, by feature and row."""
    return [
        Difference(name, n, left, right)
        for name, values in served.items()
        for n, (left, right) in enumerate(zip(values, offline[name], strict=True))
        if not same(left, right)
    ]


class Recomputation:
    """A service's features from tables in memory.

    Args:
        project: the definitions.
        service: name of the feature service or model.
        tables: rows by source, as ``excerpt`` gives them.
        load: gives the row functions of the team's code.
    """

    def __init__(self, project: Project, service: str, tables: Mapping[str, pa.Table], load: Load) -> None:
        self.project, self.tables = project, tables
        self.plan = plan_of(project, service)
        self._service, self._load = service, load
        self._functions = functions_of(self.plan, load)

    def over(self, tables: Mapping[str, pa.Table]) -> "Recomputation":
        """Return the same over other tables."""
        return Recomputation(self.project, self._service, tables, self._load)

    @property
    def features(self) -> tuple[str, ...]:
        """The inputs that are features, not request columns."""
        return tuple(name for name in self.plan.service.inputs if name not in self.plan.service.request)

    def stored(
        self,
        rows: Sequence[Row],
        as_of: Ints,
        tables: Mapping[str, pa.Table] | None = None,
        apart: Mapping[str, Ints] | None = None,
    ) -> list[Row]:
        """Return stored features, by the name that reads them.

        Args:
            rows: request rows.
            as_of: their moments.
            tables: instead of the own ones.
            apart: moments for some views instead.
        """
        tables = self.tables if tables is None else tables
        found: list[dict[str, Any]] = [{} for _ in rows]
        known = np.ones(len(rows), dtype=bool)
        for view_name in self.plan.views:
            view = self.project.views[view_name]
            types = self.project.sources[view.source].columns
            request = {key: keys_of([row[key] for row in rows], types[key].type, key) for key in view.entity}
            wanted = self.plan.features(view_name)
            times = (apart or {}).get(view_name, as_of)
            columns = point_in_time(self.project, view_name, wanted, tables[view.source], request, times, known)
            for name, stored in self.plan.stored.items():
                if stored.view == view_name:
                    for row, value in zip(found, listed(columns[stored.feature]), strict=True):
                        row[name] = value
        return list(found)

    def finished(
        self, rows: Sequence[Row], stored: Sequence[Row], change: Callable[[Any], Any] | None = None
    ) -> dict[str, list[Any]]:
        """Return the features of rows from their stored ones, which ``change`` may alter before they are used.

        A row whose inputs an on-demand function does not take has ``NOTHING``, which is equal to no value: who fails
        for inputs that it was never given did not give what was served either.
        """
        change = change or (lambda value: value)
        found: dict[str, list[Any]] = {name: [] for name in self.features}
        for number, (given, taken) in enumerate(zip(rows, stored, strict=True)):
            row = {**given, **{name: change(value) for name, value in taken.items()}}
            try:
                compute(self.plan, self._functions, row, number)
            except InvalidInput:
                row |= {output: NOTHING for group in self.plan.on_demand.values() for output in group.outputs}
            for name, values in found.items():
                values.append(row[name])
        return found

    def values(
        self, rows: Sequence[Row], as_of: Ints, tables: Mapping[str, pa.Table] | None = None
    ) -> dict[str, list[Any]]:
        """Return the features of rows, each as of its moment."""
        return self.finished(rows, self.stored(rows, as_of, tables))


class _Nothing:
    """What is equal to no value."""


NOTHING = _Nothing()


def listed(column: Any) -> list[Any]:
    """Return a column as the values that are served."""
    if pa.types.is_timestamp(column.type):
        return [None if us is None else moment(us) for us in column.cast(pa.int64()).to_pylist()]
    return list(column.to_pylist())


def excerpt(history: History, project: Project, views: Mapping[str, View], rows: Iterable[Row]) -> dict[str, pa.Table]:
    """Return, by source of these views, the rows of the history that are about the entities of request rows.

    One partition at a time is in memory. A row that shares each part of a composite key with some request row may be
    there without need.
    """
    rows = list(rows)
    found = {}
    for source in dict.fromkeys(view.source for view in views.values()):
        parts = [empty(project.sources[source])]
        for partition in history.manifest(source).partitions:
            parts += history.rows(project.sources[source], source, [partition])
            parts[-1] = about(parts[-1], project, source, views, rows)
        found[source] = pa.concat_tables(parts).combine_chunks()
    return found


def about(table: pa.Table, project: Project, source: str, views: Mapping[str, View], rows: Sequence[Row]) -> pa.Table:
    """Return those rows of a source that are about the entities of request rows, in any of its views."""
    columns = project.sources[source].columns
    mask = np.zeros(table.num_rows, dtype=bool)
    for entity in {view.entity for view in views.values() if view.source == source}:
        inside = np.ones(table.num_rows, dtype=bool)
        for key in entity:
            values = keys_of({row[key] for row in rows if row[key] is not None}, columns[key].type, key)
            inside &= np.asarray(pc.is_in(table[key], value_set=values))
        mask |= inside
    return table.filter(pa.array(mask))


def keys_of(values: Iterable[Any], kind: ColumnType, name: str) -> Any:
    """Return join keys of request rows as an array; raises ``InvalidInput`` if they are not of the source's type."""
    try:
        return pa.array(list(values), ARROW[kind])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"{name} is of another type in the request than in its source: {error}") from error


def altered(rows: pa.Table, **columns: Any) -> pa.Table:
    """Return rows with other columns, and with versions that end when the next one of their key begins."""
    for name, values in columns.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    keys, available = np.asarray(rows[KEY]).astype(np.uint64), numbers(rows[AVAILABLE])
    order = np.lexsort((arrival_ranks(rows), available, keys))
    until = np.full(rows.num_rows, NEVER, dtype=np.int64)
    followed = np.flatnonzero(np.diff(keys[order]) == 0)
    until[order[followed]] = available[order[followed + 1]]
    return rows.set_column(rows.column_names.index(UNTIL), UNTIL, pa.array(until)).combine_chunks()


def events_of(rows: pa.Table, event_time: str) -> Ints:
    """Return event times in microseconds; rows without one have that of their availability."""
    times = pc.coalesce(rows[event_time].cast(pa.int64()), rows[AVAILABLE])
    return np.asarray(times).astype(np.int64)


def instants(times: Ints) -> Any:
    """Return microseconds as a column of times."""
    return pa.array(times).cast(TIME)
