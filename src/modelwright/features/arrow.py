"""The engine in this process: point-in-time features by numpy on Arrow columns.

``point_in_time`` is the whole of it for one view, a pure function of the source's versions and the rows that
ask; the engine reads as few partitions and columns as the rows can need and puts the views together.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.errors import InvalidInput
from modelwright.features import aggregates
from modelwright.features.encoding import Entities, Taken, flat
from modelwright.features.history import (
    ARRIVAL,
    ARROW,
    AVAILABLE,
    KEY,
    TIME,
    UNTIL,
    History,
    Ints,
    Partition,
    empty,
    numbers,
)
from modelwright.features.newest import Mask, Newest
from modelwright.features.ondemand import computed
from modelwright.features.plan import Load, Plan, functions_of, plan_of
from modelwright.features.rollup import Windows
from modelwright.features.rows import typed
from modelwright.project import Project, Service, Source, View


class Prepared:
    """The versions that a view is made of, ready to be asked of many rows.

    Args:
        view: the view.
        source: its source.
        rows: versions, with at least the columns of ``columns_of``.
        available: see ``point_in_time``.
    """

    def __init__(self, view: View, source: Source, rows: pa.Table, *, available: bool) -> None:
        self._view, self._source, self._available = view, source, available
        self._rows = rows
        self._entities = Entities.of([rows[key] for key in view.entity])
        self._newest: Newest | None = None
        self._windows: Windows | None = None

    @property
    def nbytes(self) -> int:
        """How much memory this takes, about, when everything of it was asked for."""
        rolled = len(self._view.windows) * (5 + 2 * len(aggregates.cells(self._view)))
        copies, arrays = (2, 7 + rolled) if self._view.aggregates else (1, 7)
        size: int = self._rows.nbytes * copies + 8 * self._rows.num_rows * arrays
        return size

    def at(self, wanted: Sequence[str], request: Mapping[str, Any], times: Ints, known: Mask) -> dict[str, Any]:
        """Return features by name; see ``point_in_time``."""
        codes = self._entities.find([request[key] for key in self._view.entity])
        found: dict[str, Any] = {}
        if latest := [name for name in wanted if name in self._view.features]:
            self._newest = self._newest or Newest(
                self._view, self._source, self._rows, self._entities.codes, available=self._available
            )
            taken = Taken(self._newest.at(codes, times, known))
            found |= {name: taken.of(self._rows[name]) for name in latest}
        if rolled := [name for name in wanted if name not in self._view.features]:
            self._windows = self._windows or Windows(
                self._view, self._source, self._rows, self._entities.codes, available=self._available
            )
            found |= self._windows.at(codes, times, known, rolled)
        return found


def point_in_time(
    project: Project,
    name: str,
    wanted: Sequence[str],
    rows: pa.Table,
    request: Mapping[str, Any],
    times: Ints,
    known: Mask,
    *,
    available: bool = True,
) -> dict[str, Any]:
    """Return features of a view, one array each, as of each row's time.

    Args:
        project: the definitions.
        name: the view.
        wanted: its features.
        rows: versions of its source's rows, with at least the columns of ``columns_of``.
        request: the rows' join keys, as arrays of the source's types.
        times: the rows' times, in microseconds.
        known: which rows have a time; the others get nulls.
        available: whether a version counts only from when it became known until the next one did. If not,
            the newest version of each row counts, from its event time.
    """
    view = project.views[name]
    return Prepared(view, project.sources[view.source], rows, available=available).at(wanted, request, times, known)


def columns_of(view: View, source: Source, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a source's versions that features of a view are made of."""
    used = [name for name in wanted if name in view.features]
    for name, aggregate, _ in view.aggregated():
        if name in wanted:
            used += [column for column in (aggregate.column, aggregate.where) if column]
    return tuple(dict.fromkeys((*view.entity, source.event_time, *used, AVAILABLE, ARRIVAL, KEY, UNTIL)))


def needed(
    view: View, wanted: Sequence[str], partitions: Sequence[Partition], span: tuple[int, int], *, available: bool
) -> tuple[Partition, ...]:
    """Return the partitions with rows that features as of some time in a span can be made of.

    Args:
        view: the view.
        wanted: its features.
        partitions: all of its source.
        span: the first and the last time.
        available: see ``point_in_time``.
    """
    latest = any(name in view.features for name in wanted)
    rolled = any(name not in view.features for name in wanted)

    def reaches(partition: Partition) -> bool:
        if available and partition.available_low > span[1]:
            return False
        events = (partition.event_low, partition.event_high)
        oldest = span[0] - view.ttl_us if view.ttl_us else -aggregates.NEVER
        if latest and events[0] <= span[1] and events[1] >= oldest:
            return True
        if not rolled:
            return False
        by_event = view.by == "event_time" or not available
        low, high = events if by_event else (partition.available_low, partition.available_high)
        back = max(view.windows_us) * (2 if view.tumbling else 1)
        return low <= span[1] and high >= span[0] // view.tile_us * view.tile_us - back

    return tuple(partition for partition in partitions if reaches(partition))


class ArrowEngine:
    """See ``engines.Engine``; keeps what it prepared of a history as long as the history's cache does."""

    def historical(
        self,
        project: Project,
        service: Service,
        rows: pa.Table,
        *,
        history: History,
        workspace: str,
        load: Load,
        available: bool = True,
    ) -> pa.Table:
        """See ``engines.Engine``."""
        plan = plan_of(project, service)
        request = request_columns(plan.service, rows)
        times, known = times_of(request[plan.service.time_column])
        columns: dict[str, Any] = {}
        for name in plan.views:
            found = _view(project, plan, name, request, times, known, history, available=available)
            columns |= {n: found[s.feature] for n, s in plan.stored.items() if s.view == name}
        if plan.on_demand:
            columns |= computed(plan, request, columns, functions_of(plan, load))
        return placed(plan, rows, request, columns)


def request_columns(service: Service, rows: pa.Table) -> dict[str, Any]:
    """Return the request columns of a table in their declared types; raises ``InvalidInput``."""
    found = {}
    for name, kind in service.request.items():
        if name not in rows.column_names:
            raise InvalidInput(f"the rows lack the column {name}: they need {', '.join(service.request)}")
        try:
            found[name] = flat(_times(rows[name], name) if kind == "timestamp" else rows[name].cast(ARROW[kind]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            told = f"column {name} is no {kind}"
            raise InvalidInput(f"{told}: {error}", logged=told) from error
        if kind == "number":
            found[name] = pc.if_else(pc.is_nan(found[name]), pa.scalar(None, pa.float64()), found[name])
    return found


def _times(column: Any, name: str) -> Any:
    """Return a column as times: without a zone they are in UTC, and what is finer than a microsecond is cut off."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        read = [typed("timestamp", text, f"row {n}, column {name}") for n, text in enumerate(column.to_pylist())]
        return pa.array(read, TIME)
    if not pa.types.is_timestamp(column.type):
        return column.cast(TIME)
    fine = column.type.unit == "ns"
    return column.cast(pa.timestamp("us", column.type.tz), safe=not fine).cast(TIME)


def times_of(column: Any) -> tuple[Ints, Mask]:
    """Return times in microseconds, and which are no nulls."""
    known = np.asarray(pc.is_valid(column)).astype(bool)
    return numbers(pc.fill_null(column.cast(pa.int64()), 0)), known


def placed(plan: Plan, rows: pa.Table, request: Mapping[str, Any], columns: Mapping[str, Any]) -> pa.Table:
    """Return rows with the inputs of a plan as columns, in place of those that are called so."""
    for name in plan.service.inputs:
        column = columns[name] if name in columns else request[name]
        place = rows.column_names.index(name) if name in rows.column_names else -1
        rows = rows.append_column(name, column) if place < 0 else rows.set_column(place, name, column)
    return rows


def _view(
    project: Project,
    plan: Plan,
    name: str,
    request: Mapping[str, Any],
    times: Ints,
    known: Mask,
    history: History,
    *,
    available: bool,
) -> dict[str, Any]:
    view = project.views[name]
    source = project.sources[view.source]
    aggregates.sound(name, view, source)
    joinable(plan, name, view, source)
    wanted = plan.features(name)
    if not known.any():
        return Prepared(view, source, empty(source), available=available).at(wanted, request, times, known)
    span = (int(times[known].min()), int(times[known].max()))
    partitions = needed(view, wanted, history.manifest(view.source).partitions, span, available=available)
    columns = columns_of(view, source, wanted)

    bound = history.known_by
    known_by = None if bound is None or (available and span[1] <= bound) else bound

    def prepare() -> Prepared:
        parts = history.rows(source, view.source, partitions, columns, known_by=known_by)
        rows = pa.concat_tables(parts or [empty(source).select(list(columns))])
        return Prepared(view, source, rows, available=available)

    digests = tuple(partition.digest for partition in partitions)
    key = (name, view.model_dump_json(), source.model_dump_json(), columns, digests, available, known_by)
    prepared = _kept(history, key, prepare)
    return prepared.at(wanted, request, times, known)


def joinable(plan: Plan, name: str, view: View, source: Source) -> None:
    """Raise ``InvalidInput`` when a view's join keys have another type in the request than in its source."""
    for key in view.entity:
        if plan.service.request[key] != source.columns[key].type:
            kinds = f"a {plan.service.request[key]} in the request, a {source.columns[key].type} in view {name}"
            raise InvalidInput(f"{key} is {kinds}")


def _kept(history: History, key: Any, make: Callable[[], Prepared]) -> Prepared:
    found = history.prepared.get(key)
    if found is None:
        found = make()
        history.prepared.put(key, found, found.nbytes)
    prepared: Prepared = found
    return prepared
