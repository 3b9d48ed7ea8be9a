"""Point-in-time features for many rows: what the online store would have said at each row's time.

With one limit: of a corrected row only the newest version is kept (``history``), so that a time before the
correction sees neither it nor what it replaced, though the online store served that; sums lack the row.

Rows of a latest view are sorted by entity, event time and precedence; a binary search finds the newest
event of each request, and rows not yet available then are stepped over. Window views are cumulative
sums of cells by entity and hour, and two binary searches per window. Prepared arrays are kept in the
caller's cache as long as the partitions they were made of.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright import teamcode
from modelwright.errors import InvalidInput
from modelwright.features import windows
from modelwright.features.history import (
    ARROW,
    AVAILABLE,
    KEY,
    TIME,
    History,
    Ints,
    Partition,
    arrival_ranks,
    empty,
    kept,
    numbers,
    plain,
    remember,
)
from modelwright.features.layout import HOUR_US, moment, spelled
from modelwright.features.plan import Plan, compute, functions_of, plan_of
from modelwright.features.rows import asked
from modelwright.project import Project, Service, Source, View
from modelwright.storage import Blobs, Tables

Mask = npt.NDArray[np.bool_]
_STEPS = 8
_PREPARED = 24


def historical(
    project: Project,
    service: Service | str,
    rows: pa.Table,
    *,
    blobs: Blobs,
    tables: Tables,
    workspace: str,
    cache: dict[str, Any],
) -> pa.Table:
    """Return rows with the model's inputs as columns, each as of the row's ``time_column``.

    Order and duplicates are kept. Rows whose time or join key is null get nulls. Inputs that are
    request columns stay as they are; columns of the same name as another input are replaced.

    Args:
        project: the definitions.
        service: the model or feature service, or its name.
        rows: hold the model's request columns.
        blobs: the lake, and the wheel of the team's code.
        tables: manifests.
        workspace: whose.
        cache: kept between calls by the caller (``wiring.cache``).

    Raises:
        InvalidInput: a request column is missing or of another type.
    """
    plan = plan_of(project, service)
    request = request_columns(plan.service, rows)
    times, known = _times(request[plan.service.time_column])
    history = History(blobs=blobs, tables=tables, workspace=workspace, cache=cache)
    columns: dict[str, Any] = {}
    for name in plan.views:
        found = _view_features(project, plan, name, request, times, known, history, cache)
        columns |= {n: found[s.feature] for n, s in plan.stored.items() if s.view == name}
    if plan.on_demand:
        load = teamcode.loader(project, blobs=blobs)
        columns |= _on_demand(plan, request, columns, functions_of(plan, load))
    for name in plan.service.inputs:
        column = columns[name] if name in columns else request[name]
        place = rows.column_names.index(name) if name in rows.column_names else -1
        rows = rows.append_column(name, column) if place < 0 else rows.set_column(place, name, column)
    return rows


def request_table(service: Service, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return request rows (as JSON has them) as a table of the request columns; raises ``InvalidInput``."""
    full = asked(service, rows)
    return pa.table({n: pa.array([row[n] for row in full], ARROW[kind]) for n, kind in service.request.items()})


def request_columns(service: Service, rows: pa.Table) -> dict[str, Any]:
    """Return the request columns of a table in their declared types; raises ``InvalidInput``."""
    found = {}
    for name, kind in service.request.items():
        if name not in rows.column_names:
            raise InvalidInput(f"the rows lack the column {name}: they need {', '.join(service.request)}")
        column = rows[name]
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            column = column.cast(pa.timestamp("us")).cast(TIME)
        try:
            found[name] = column.cast(ARROW[kind]).combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(f"column {name} is no {kind}: {error}") from error
        if kind == "number":
            found[name] = pc.if_else(pc.is_nan(found[name]), pa.scalar(None, pa.float64()), found[name])
    return found


# --- one view ----------------------------------------------------------------------------


def _view_features(
    project: Project,
    plan: Plan,
    name: str,
    request: Mapping[str, Any],
    times: Ints,
    known: Mask,
    history: History,
    cache: dict[str, Any],
) -> dict[str, Any]:
    view = project.views[name]
    source = project.sources[view.source]
    windows.sound(name, view, source)
    for key in view.entity:
        if plan.service.request[key] != source.columns[key].type:
            kinds = f"a {plan.service.request[key]} in the request, a {source.columns[key].type} in view {name}"
            raise InvalidInput(f"{key} is {kinds}")
    wanted = plan.features(name)
    manifest = history.manifest(view.source)
    span = (int(times[known].min()), int(times[known].max())) if known.any() else (0, -1)
    found: dict[str, Any] = {}
    if any(feature in view.features for feature in wanted):
        partitions = _candidates(manifest.partitions, span, view)
        latest = cast(_Latest, _prepared(cache, "latest", name, view, source, partitions, history, _Latest.of))
        found |= latest.at(view, _codes(latest.entities, view, request), times, known)
    if any(feature not in view.features for feature in wanted):
        partitions = _covering(manifest.partitions, span, view)
        sums = cast(_Sums, _prepared(cache, "windows", name, view, source, partitions, history, _Sums.of))
        found |= sums.at(view, _codes(sums.entities, view, request), times, known)
    return found


def _candidates(partitions: Sequence[Partition], span: tuple[int, int], view: View) -> tuple[Partition, ...]:
    oldest = span[0] - view.ttl_us if view.ttl_us else -(2**62)
    return tuple(
        p for p in partitions if p.available_low <= span[1] and p.event_low <= span[1] and p.event_high >= oldest
    )


def _covering(partitions: Sequence[Partition], span: tuple[int, int], view: View) -> tuple[Partition, ...]:
    first = span[0] // HOUR_US * HOUR_US - max(view.windows_us)
    return tuple(p for p in partitions if p.available_high >= first and p.available_low <= span[1])


def _prepared(
    cache: dict[str, Any],
    kind: str,
    name: str,
    view: View,
    source: Source,
    partitions: tuple[Partition, ...],
    history: History,
    make: Callable[[View, Source, pa.Table], Any],
) -> Any:
    part = kept(cache, "features.prepared")
    key = (kind, name, view.model_dump_json(), source.model_dump_json(), tuple(p.digest for p in partitions))
    if key not in part:
        tables = history.rows(source, view.source, partitions) or [empty(source)]
        remember(part, key, make(view, source, pa.concat_tables(tables).combine_chunks()), _PREPARED)
    return part[key]


@dataclass(frozen=True)
class _Latest:
    """A latest view's rows in order of entity, event, availability, arrival, key."""

    entities: Mapping[str, int]
    codes: Ints
    events: Ints
    available: Ints
    ranks: Ints
    distinct: Ints
    columns: pa.Table

    @classmethod
    def of(cls, view: View, source: Source, rows: pa.Table) -> "_Latest":
        rows = rows.filter(pc.is_valid(rows[source.event_time]))
        codes, entities = entity_codes([rows[key] for key in view.entity])
        events, available = numbers(rows[source.event_time]), numbers(rows[AVAILABLE])
        order = np.lexsort((np.asarray(rows[KEY]), arrival_ranks(rows), available, events, codes))
        order = order[codes[order] >= 0]
        distinct = np.unique(events)
        return cls(
            entities,
            codes[order],
            events[order],
            available[order],
            np.searchsorted(distinct, events[order]).astype(np.int64),
            distinct,
            rows.select(list(view.features)).take(pa.array(order)).combine_chunks(),
        )

    def at(self, view: View, codes: Ints, times: Ints, known: Mask) -> dict[str, Any]:
        width = len(self.distinct) + 1
        asked_rank = np.searchsorted(self.distinct, times, side="right")
        place = np.searchsorted(self.codes * width + self.ranks, codes * width + asked_rank) - 1
        place = np.where(known & (codes >= 0), place, -1)
        place = self._available(place, codes, times, view)
        return {
            name: self.columns[name].combine_chunks().take(pa.array(np.maximum(place, 0), mask=place < 0))
            if len(self.codes)
            else pa.nulls(len(times), self.columns[name].type)
            for name in view.features
        }

    def _available(self, place: Ints, codes: Ints, times: Ints, view: View) -> Ints:
        """Step back from each place to the first row that was available; -1 where none of the entity is."""
        if not len(self.codes):
            return place
        oldest = times - view.ttl_us if view.ttl_us else np.full(len(times), -(2**62))
        for _ in range(_STEPS):
            place = self._within(place, codes, oldest)
            waiting = (place >= 0) & (self.available[place] > times)
            if not waiting.any():
                return place
            place = place - waiting.astype(np.int64)
        place = self._within(place, codes, oldest)
        late = np.flatnonzero((place >= 0) & (self.available[place] > times))
        place[late] = self._leap(place[late], times[late])
        return self._within(place, codes, oldest)

    def _within(self, place: Ints, codes: Ints, oldest: Ints) -> Ints:
        held = np.maximum(place, 0)
        inside = (place >= 0) & (self.codes[held] == codes) & (self.events[held] >= oldest)
        return np.where(inside, place, -1)

    def _leap(self, place: Ints, times: Ints) -> Ints:
        """Find the last row at or before each place that was available, by minima over blocks of 2^n rows."""
        minima = [self.available]
        while 2 ** len(minima) <= len(self.available):
            last, half = minima[-1], 2 ** (len(minima) - 1)
            shifted = np.concatenate([np.full(half, 2**62), last[:-half]])
            minima.append(np.minimum(last, shifted))
        for level in range(len(minima) - 1, -1, -1):
            held = np.maximum(place, 0)
            none = (place >= 0) & (minima[level][held] > times)
            place = np.where(none, np.maximum(place - 2**level, -1), place)
        return place


@dataclass(frozen=True)
class _Sums:
    """Cumulative cells of a window view in order of entity and hour."""

    entities: Mapping[str, int]
    places: Ints
    first: int
    width: int
    totals: tuple[Ints, ...]

    @classmethod
    def of(cls, view: View, _source: Source, rows: pa.Table) -> "_Sums":
        codes, entities = entity_codes([rows[key] for key in view.entity])
        hours = numbers(rows[AVAILABLE]) // HOUR_US
        first = int(hours.min()) if len(hours) else 0
        width = int(hours.max()) - first + 2 if len(hours) else 2
        places = codes * width + (hours - first)
        order = np.argsort(places, kind="stable")
        order = order[codes[order] >= 0]
        totals = tuple(_cumulated(column[order]) for column in cell_columns(view, rows))
        return cls(entities, places[order], first, width, totals)

    def at(self, view: View, codes: Ints, times: Ints, known: Mask) -> dict[str, Any]:
        present = known & (codes != _NULL)
        seen = known & (codes >= 0)
        end = times // HOUR_US - self.first
        bounds: dict[int, Ints] = {}

        def bound(back: int) -> Ints:
            if back not in bounds:
                asked_hour = np.clip(end - back, 0, self.width - 1)
                bounds[back] = np.searchsorted(self.places, codes * self.width + asked_hour)
            return bounds[back]

        def total(cell: int, hours: int) -> Ints:
            sums = self.totals[cell]
            return np.where(seen, sums[bound(0)] - sums[bound(hours)], 0)

        features = windows.rolled(view, total, _quotients)
        return {name: pa.array(values, mask=~present | np.isnan(values)) for name, values in features.items()}


def entity_codes(columns: Sequence[Any]) -> tuple[Ints, dict[str, int]]:
    """Return a code per row, -1 where a key is null, and the code of each entity in its one spelling."""
    place, values = _combined(columns)
    texts = {spelled(value): n for n, value in enumerate(values) if None not in value}
    codes = np.array([-1 if None in value else n for n, value in enumerate(values)], dtype=np.int64)
    return (codes[place] if len(place) else place), texts


def cell_columns(view: View, rows: pa.Table) -> list[Ints]:
    """Return what each row adds to each cell of a window view: ``windows.Cell.of`` for columns."""
    found = []
    for cell in windows.cells(view):
        values = np.ones(rows.num_rows, dtype=np.int64)
        if cell.column:
            column = rows[cell.column]
            added = pc.fill_null(column, pa.scalar(0).cast(column.type)) if cell.total else pc.is_valid(column)
            values = np.asarray(added).astype(np.int64)
        if cell.where:
            values = values * np.asarray(pc.fill_null(rows[cell.where], False)).astype(np.int64)
        found.append(values)
    return found


_NULL = -1
_UNKNOWN = -2


def _codes(entities: Mapping[str, int], view: View, request: Mapping[str, Any]) -> Ints:
    place, values = _combined([request[key] for key in view.entity])
    codes = [_NULL if None in value else entities.get(spelled(value), _UNKNOWN) for value in values]
    return np.array(codes, dtype=np.int64)[place] if len(place) else place


def _combined(columns: Sequence[Any]) -> tuple[Ints, list[tuple[Any, ...]]]:
    """Return, per row, the place of its combination of values, and the combinations."""
    place: Ints | None = None
    values: list[tuple[Any, ...]] = []
    for column in columns:
        encoded = pc.dictionary_encode(column, null_encoding="encode")
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        mine, parts = np.asarray(encoded.indices).astype(np.int64), plain(encoded.dictionary)
        if place is None:
            place, values = mine, [(part,) for part in parts]
        else:
            both, place = np.unique(place * len(parts) + mine, return_inverse=True)
            values = [(*values[b // len(parts)], parts[b % len(parts)]) for b in both.tolist()]
    assert place is not None, "a view has an entity"
    return place, values


def _times(column: Any) -> tuple[Ints, Mask]:
    known = np.asarray(pc.is_valid(column)).astype(bool)
    return numbers(pc.fill_null(column.cast(pa.int64()), 0)), known


def _cumulated(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(values)])


def _quotients(totals: Ints, counts: Ints) -> npt.NDArray[np.float64]:
    nothing = counts == 0
    quotients = totals.astype(np.float64) / np.where(nothing, 1, counts).astype(np.float64)
    return np.where(nothing, np.nan, quotients)


# --- on demand ---------------------------------------------------------------------------


def _on_demand(
    plan: Plan, request: Mapping[str, Any], stored: Mapping[str, Any], functions: Mapping[str, Any]
) -> dict[str, Any]:
    outputs = [output for group in plan.on_demand.values() for output in group.outputs]
    names = dict.fromkeys(n for group in plan.on_demand.values() for n in group.inputs if n not in outputs)
    columns = {n: _values(stored[n] if n in stored else request[n]) for n in names}
    size = len(request[plan.service.time_column])
    rows: list[dict[str, Any]] = [{} for _ in range(size)]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    for row in rows:
        compute(plan, functions, row)
    return {name: _inferred([row[name] for row in rows], name) for name in outputs}


def _values(column: Any) -> list[Any]:
    values = plain(column)
    if pa.types.is_timestamp(column.type):
        return [None if v is None else moment(v) for v in values]
    return values


def _inferred(values: list[Any], name: str) -> Any:
    if any(isinstance(v, str) for v in values):
        if any(isinstance(v, float) for v in values):
            raise InvalidInput(f"the on-demand feature {name} is now a number, now a string")
        return pa.array(values, pa.string())
    return pa.array(values, pa.float64())
