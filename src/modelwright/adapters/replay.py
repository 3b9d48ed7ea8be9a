"""Training rows computed once more, the way they are served: what they are equal to proves that both ways agree.

For each row the rows of its entities that were known at its time are pushed into an online store in memory, by the code
that pushes rows in production, and the row is asked as of its time by the code that serves. The store begins
empty, so that nothing of the batch path is in the answer but the history that both start from.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import InvalidInput
from modelwright.features import online, windows
from modelwright.features.history import ARRIVAL, AVAILABLE, KEY, TIME, History, empty, numbers
from modelwright.features.layout import HOUR_US, micros, moment
from modelwright.features.plan import Load, Plan, plan_of
from modelwright.features.rows import Row, asked
from modelwright.project import Project, View

_NEWEST = 200
"""The row that a latest view serves is the newest by event time of those that are known: it is among so many."""


class Replay:
    """Serves rows of a model again.

    Args:
        project: the definitions.
        model: its name.
        history: where the rows of the sources are.
        load: gives the row functions of the team's code.
    """

    def __init__(self, project: Project, model: str, *, history: History, load: Load) -> None:
        self._project, self._model, self._load = project, model, load
        self._plan: Plan = plan_of(project, model)
        self._history = history
        self._sources: dict[str, pa.Table] = {}

    def served(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the model's inputs of request rows, each served as of its own time.

        Raises:
            InvalidInput: a request column is missing or of another type.
        """
        return [self._one(row) for row in asked(self._plan.service, rows)]

    def _one(self, row: Mapping[str, Any]) -> dict[str, Any]:
        time: datetime = row[self._plan.service.time_column]
        tables = MemoryTables()
        for name, view in self._plan.views.items():
            alone = self._project.model_copy(update={"views": {name: view}})
            known = self._known(view, row, micros(time))
            online.push(alone, view.source, known, now=time, tables=tables, workspace="replay")
        options: dict[str, Any] = {"as_of": time, "tables": tables, "workspace": "replay", "load": self._load}
        (served,) = online.read(self._project, self._model, [row], **options)
        return served

    def _known(self, view: View, row: Mapping[str, Any], time_us: int) -> list[Row]:
        """Return the rows of an entity that were available at a time, as far back as a view looks."""
        event_time, table = self._project.sources[view.source].event_time, self._table(view.source)
        mask = pc.less_equal(table[AVAILABLE], time_us)
        for key in view.entity:
            mask = pc.and_(mask, pc.equal(table[key], _scalar(row[key], table[key].type, key)))
        found = table.filter(mask)
        wanted = np.zeros(found.num_rows, dtype=bool)
        if view.aggregates:
            wanted |= numbers(found[AVAILABLE]) >= (time_us // HOUR_US - windows.reach_h(view)) * HOUR_US
        if view.features:
            events = pc.fill_null(found[event_time].cast(pa.int64()), time_us + 1)
            newest = np.lexsort((-np.asarray(events), np.asarray(events) > time_us))
            wanted[newest[:_NEWEST]] = True
        return _rows(found.filter(pa.array(wanted)), event_time)

    def _table(self, source: str) -> pa.Table:
        if source not in self._sources:
            declared, manifest = self._project.sources[source], self._history.manifest(source)
            parts = self._history.rows(declared, source, manifest.partitions)
            self._sources[source] = pa.concat_tables(parts) if parts else empty(declared)
        return self._sources[source]


def _scalar(value: Any, kind: Any, name: str) -> Any:
    try:
        return pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(f"{name} is of another type in the request than in its source: {error}") from error


def _rows(table: pa.Table, event_time: str) -> list[Row]:
    columns = {name: _plain(table[name]) for name in table.column_names}
    return [
        Row(
            columns[KEY][n],
            micros(columns[event_time][n]) if columns[event_time][n] is not None else 0,
            columns[AVAILABLE][n],
            columns[ARRIVAL][n],
            {name: values[n] for name, values in columns.items()},
        )
        for n in range(table.num_rows)
    ]


def _plain(column: Any) -> list[Any]:
    if column.type == TIME:
        return [None if us is None else moment(us) for us in column.cast(pa.int64()).to_pylist()]
    return list(column.to_pylist())
