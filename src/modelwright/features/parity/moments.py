"""Hypotheses about moments: what was served is right as of another time, or of what was not known yet.

A row of the future is a *leak*; another time that is a whole offset away is a *time zone*. There are many to try: zones
are tried on a few rows first, and those that explain most of them on all.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from modelwright.declarations import MINUTE_US, spoken
from modelwright.features.aggregates import NEVER
from modelwright.features.history import AVAILABLE, UNTIL, Ints, numbers
from modelwright.features.layout import micros, moment
from modelwright.features.parity.case import Case, Hypothesis, direct, matching
from modelwright.features.parity.rows import Recomputation, Row, about, altered, events_of, instants, same

_HALF_HOURS = [n * 30 for n in range(-28, 29) if n]
_QUARTERS = [sign * minutes for sign in (-1, 1) for minutes in (345, 525, 765)]
OFFSETS_US = tuple(minutes * MINUTE_US for minutes in (*_HALF_HOURS, *_QUARTERS))
"""Offsets between two zones of the world, as far as they matter: half hours, and those of 5:45, 8:45 and 12:45."""
_SCREENED = 32
_KEPT = 8
_NEXT = 3


def leaks(case: Case) -> Iterator[Hypothesis]:
    """Yield hypotheses by which something was served that was not known at the moment."""
    rows, current = case.sample.rows, case.current
    early, corrected = {}, {}
    for source, table in current.tables.items():
        events = events_of(table, current.project.sources[source].event_time)
        early[source] = altered(table, **{AVAILABLE: pa.array(np.minimum(numbers(table[AVAILABLE]), events))})
        newest = pa.array(numbers(table[UNTIL]) == NEVER)
        corrected[source] = altered(table.filter(newest), **{AVAILABLE: pa.array(events).filter(newest)})
    for tables, what in ((early, "rows"), (corrected, "rows, and what corrected them,")):
        ignored = current.values(rows, case.as_of, tables)
        text = f"{what} count before they were available"
        yield Hypothesis("leak through the join", text, matching(case, ignored))
    for tile in sorted({current.project.views[v].tile_us for v in current.plan.views}):
        ends = current.values(rows, (case.as_of // tile + 1) * tile)
        text = f"the window reaches into the tile of {spoken(tile)} that was not over"
        yield Hypothesis("leak through the join", text, matching(case, ends))
    ahead = {view: list(_news(case, view)) for view in current.plan.views}
    for n, which in enumerate(("next", "second", "third")):
        later = {view: times[n] for view, times in ahead.items()}
        for leaking in ([*later], *([view] for view in later if len(later) > 1)):
            stored = current.stored(rows, case.as_of, apart={view: later[view] for view in leaking})
            text = f"the {which} row that became known after the moment counts"
            values = current.finished(rows, stored)
            yield Hypothesis("leak through the join", text, matching(case, values))
    yield Hypothesis("leak through the join", "it is the value of a row of the future", _of_the_future(case))


def _news(case: Case, view: str) -> Iterator[Ints]:
    """Yield, per request row, as of when a view says what became known of its entity next, then after that.

    Of a row in windows that is when its tile is over.
    """
    declared = case.current.project.views[view]
    tile = declared.tile_us if declared.aggregates else 1
    times = [np.unique(_known(case, row, view)) for row in case.sample.rows]
    for ahead in range(_NEXT):
        found = case.as_of.copy()
        for n, mine in enumerate(times):
            place = int(np.searchsorted(mine, case.as_of[n], side="right")) + ahead
            found[n] = mine[min(place, len(mine) - 1)] if len(mine) else found[n]
        yield np.maximum(-(-found // tile) * tile, case.as_of)


def _known(case: Case, row: Row, view: str) -> Ints:
    table, source = _of_entity(case, row, view)
    events = events_of(table, case.current.project.sources[source].event_time)
    return np.maximum(numbers(table[AVAILABLE]), events)


def _of_entity(case: Case, row: Row, view: str) -> tuple[pa.Table, str]:
    source = case.current.project.views[view].source
    alone = {view: case.current.project.views[view]}
    return about(case.current.tables[source], case.current.project, source, alone, [row]), source


def _of_the_future(case: Case) -> frozenset[int]:
    found = set()
    for n, difference in enumerate(case.differences):
        place = case.current.plan.stored.get(difference.feature)
        if place is None or place.feature not in case.current.project.views[place.view].features:
            continue
        row = case.sample.rows[difference.row]
        table, source = _of_entity(case, row, place.view)
        events = events_of(table, case.current.project.sources[source].event_time)
        ahead = np.maximum(numbers(table[AVAILABLE]), events) > case.sample.as_of[difference.row]
        values = table[place.feature].filter(pa.array(ahead)).to_pylist()
        if difference.served is not None and any(same(value, difference.served) for value in values):
            found.add(n)
    return frozenset(found)


class _Shift(NamedTuple):
    """Which times are taken to be in another zone."""

    text: str
    join: bool = False
    request: bool = False
    source: str = ""

    def values(
        self, by: Recomputation, rows: Sequence[Row], as_of: Ints, offsets: Sequence[int]
    ) -> Iterator[dict[str, list[Any]]]:
        """Yield features of rows, once for each offset."""
        size, many = len(rows), list(rows) * len(offsets)
        each = np.repeat(np.array(offsets, dtype=np.int64), size)
        if self.source:
            stored = [row for offset in offsets for row in by.stored(rows, as_of, self._moved(by, offset))]
        else:
            stored = by.stored(many, np.tile(as_of, len(offsets)) + (each if self.join else 0))
        if self.request:
            many = [_moved(row, offset) for row, offset in zip(many, each.tolist(), strict=True)]
        found = by.finished(many, stored)
        for n in range(len(offsets)):
            yield {name: values[n * size : (n + 1) * size] for name, values in found.items()}

    def _moved(self, by: Recomputation, offset: int) -> dict[str, pa.Table]:
        event_time, table = by.project.sources[self.source].event_time, by.tables[self.source]
        moved = instants(events_of(table, event_time) + offset)
        place = table.column_names.index(event_time)
        return {**by.tables, self.source: table.set_column(place, event_time, moved)}


def zones(case: Case) -> Iterator[Hypothesis]:
    """Yield hypotheses by which some times were taken to be in another zone."""
    yield Hypothesis("time zone", "the time has no zone", direct(case, partial(_apart, 0)))
    for offset in OFFSETS_US:
        yield Hypothesis("time zone", f"the time is {_hours(offset)}", direct(case, partial(_apart, offset)))
    shifts = [_Shift("asked as of", join=True, request=True), _Shift("joined as of", join=True)]
    if "timestamp" in case.current.plan.service.request.values() and case.current.plan.on_demand:
        shifts.append(_Shift("times of the request are", request=True))
    yield from _shifted(case, shifts)


def source_zones(case: Case) -> Iterator[Hypothesis]:
    """Yield hypotheses by which event times of a source were taken to be in another zone."""
    yield from _shifted(case, [_Shift(f"event times of {source} are", source=source) for source in case.current.tables])


def _shifted(case: Case, shifts: Sequence[_Shift]) -> Iterator[Hypothesis]:
    for shift, offset in _screened(case, shifts):
        (values,) = shift.values(case.current, case.sample.rows, case.as_of, [offset])
        yield Hypothesis("time zone", f"{shift.text} {_hours(offset)}", matching(case, values))


def _screened(case: Case, shifts: Sequence[_Shift]) -> list[tuple[_Shift, int]]:
    """Return the shifts that explain most of a few rows: there are too many to try them on all."""
    size = len(case.sample.rows)
    chosen = sorted({int(n) for n in np.linspace(0, size - 1, min(size, _SCREENED))})
    few, by = case.sample.taken(chosen), case.current
    tables = {s: about(t, by.project, s, by.plan.views, few.rows) for s, t in by.tables.items()}
    small = by.over(tables)
    as_of = np.asarray(few.as_of, dtype=np.int64)
    tried = []
    for shift in shifts:
        for offset, values in zip(OFFSETS_US, shift.values(small, few.rows, as_of, OFFSETS_US), strict=True):
            tried.append((len(matching(case, values, chosen)), shift, offset))
    tried.sort(key=lambda each: -each[0])
    return [(shift, offset) for explains, shift, offset in tried[:_KEPT] if explains]


def _moved(row: Row, offset: int) -> Row:
    return {name: moment(micros(v) + offset) if isinstance(v, datetime) else v for name, v in row.items()}


def _apart(offset: int, left: Any, right: Any) -> bool:
    """Say whether two times are so far apart on the clock, whatever their zones are."""
    if not (isinstance(left, datetime) and isinstance(right, datetime)):
        return False
    return left.replace(tzinfo=UTC) - right.replace(tzinfo=UTC) == timedelta(microseconds=offset)


def _hours(offset: int) -> str:
    hours, minutes = divmod(abs(offset) // MINUTE_US, 60)
    span = f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{span} {'later' if offset > 0 else 'earlier'}"
