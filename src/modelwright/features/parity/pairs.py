"""Random (entity, time) pairs of a history: request rows as they could have been asked.

Entities are those of rows of the history, with one in twenty never seen or null. Half of the times are anywhere, the
other half next to where an answer changes: when a row happened, became known or was superseded, when it became too
old, and the ends of tiles, a microsecond before, then and after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.features.aggregates import NEVER
from modelwright.features.encoding import Entities
from modelwright.features.history import AVAILABLE, UNTIL, History, Ints, numbers
from modelwright.features.layout import moment
from modelwright.features.parity.rows import Row, Sample, events_of, excerpt, keys_of, listed
from modelwright.features.plan import Plan
from modelwright.project import ColumnType, Model, Project

_STRANGE = 0.05
_DAY_US = 86_400_000_000
_MONTH_US = 28 * _DAY_US


@dataclass(frozen=True)
class Span:
    """The moments that are asked as of, in microseconds: from ``start`` up to and including ``end``."""

    start: int
    end: int


def span(history: History, project: Project, plan: Plan, since: int | None, now: int) -> Span | None:
    """Return the moments that pairs are chosen from, up to a day after the newest row; None if there is no history."""
    sources = {view.source for view in plan.views.values()}
    partitions = [p for source in sources for p in history.manifest(source).partitions]
    if not partitions:
        return None
    newest = max(p.available_high for p in partitions)
    oldest = min(p.available_low for p in partitions)
    end = min(now, newest + _DAY_US)
    return Span(max(oldest, newest - _MONTH_US) if since is None else min(since, end), end)


def pairs(
    history: History, project: Project, plan: Plan, count: int, span: Span, rng: np.random.Generator
) -> Iterator[tuple[Row, int]]:
    """Yield request rows with their moments; the same generator gives the same pairs."""
    columns = _columns(history, project, plan, count, rng)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for row in rows:
        _strange(row, plan, rng)
    times = rng.integers(span.start, span.end, count, endpoint=True)
    turns = list(_turns(history, project, plan, rows))
    for n, row in enumerate(rows):
        mine = turns[int(rng.integers(len(turns)))][n] if turns else ()
        if len(mine) and rng.random() < 0.5:
            near = int(mine[int(rng.integers(len(mine)))]) + int(rng.integers(-1, 2))
            times[n] = near if span.start <= near <= span.end else times[n]
        row[plan.service.time_column] = moment(int(times[n]))
        yield row, int(times[n])


def sample(taken: Sequence[tuple[Row, int]], served: Mapping[str, Sequence[Any]]) -> Sample:
    """Return pairs, and what was served for them, as a sample."""
    return Sample("replayed", [row for row, _ in taken], [time for _, time in taken], served)


def _columns(
    history: History, project: Project, plan: Plan, count: int, rng: np.random.Generator
) -> dict[str, list[Any]]:
    """Return request columns: as many as possible out of the same rows of one source, the others of other sources."""
    request = {n: kind for n, kind in plan.service.request.items() if n != plan.service.time_column}
    found: dict[str, list[Any]] = {}
    while missing := [name for name in request if name not in found]:
        source, having = _widest(history, project, plan, {name: request[name] for name in missing})
        if not source:
            break
        found |= _drawn(history, project, source, having, count, rng)
    return {
        name: found[name] if name in found else [_made(kind, rng) for _ in range(count)]
        for name, kind in request.items()
    }


def _widest(
    history: History, project: Project, plan: Plan, wanted: Mapping[str, ColumnType]
) -> tuple[str, tuple[str, ...]]:
    """Return the source with most of some columns, that of labels before others, and which those are."""
    service = plan.service
    first = [service.label.source] if isinstance(service, Model) else []
    used = dict.fromkeys([*first, *(view.source for view in plan.views.values()), *project.sources])
    best: tuple[str, tuple[str, ...]] = "", ()
    for source in used:
        columns = project.sources[source].columns
        having = tuple(n for n, kind in wanted.items() if n in columns and columns[n].type == kind)
        if len(having) > len(best[1]) and history.manifest(source).partitions:
            best = source, having
    return best


def _drawn(
    history: History, project: Project, source: str, names: Sequence[str], count: int, rng: np.random.Generator
) -> dict[str, list[Any]]:
    partitions = history.manifest(source).partitions
    sizes = np.array([partition.rows for partition in partitions])
    places = np.sort(rng.integers(0, int(sizes.sum()), count))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = []
    for n, partition in enumerate(partitions):
        mine = places[(places >= starts[n]) & (places < starts[n + 1])] - starts[n]
        if len(mine):
            (table,) = history.rows(project.sources[source], source, [partition], list(names))
            parts.append(table.take(pa.array(mine)))
    drawn = pa.concat_tables(parts).take(pa.array(rng.permutation(count)))
    return {name: listed(drawn[name]) for name in names}


def _made(kind: ColumnType, rng: np.random.Generator) -> Any:
    """Return a value of a request column that no source has."""
    match kind:
        case "string":
            return f"v{int(rng.integers(100))}"
        case "integer":
            return int(rng.integers(-1000, 1000))
        case "number":
            return float(rng.normal(0, 100))
        case "boolean":
            return bool(rng.integers(2))
        case _:
            return moment(int(rng.integers(0, NEVER >> 12)))


def _strange(row: dict[str, Any], plan: Plan, rng: np.random.Generator) -> None:
    """Turn one in twenty entities into one that nobody saw, or null."""
    if rng.random() >= _STRANGE:
        return
    keys = sorted({key for view in plan.views.values() for key in view.entity})
    if not keys:
        return
    key = keys[int(rng.integers(len(keys)))]
    unseen = {"string": "\\|nobody", "integer": -(2**40) - 7}.get(plan.service.request[key])
    row[key] = unseen if rng.random() < 0.5 else None


def _turns(history: History, project: Project, plan: Plan, rows: Sequence[Row]) -> Iterator[list[Ints]]:
    """Yield, for each view, at which times the answers of each row may change."""
    tables = excerpt(history, project, plan.views, rows)
    for view in plan.views.values():
        source = project.sources[view.source]
        table = tables[view.source]
        entities = Entities.of([table[key] for key in view.entity])
        request = [keys_of([row[key] for row in rows], source.columns[key].type, key) for key in view.entity]
        events, until = events_of(table, source.event_time), numbers(table[UNTIL])
        places = Places.of(entities.codes)
        tile = view.tile_us
        found = []
        for code in entities.find(request).tolist():
            mine = places.of_code(code)
            available = numbers(table[AVAILABLE])[mine]
            ends = until[mine]
            turns = [events[mine], available, ends[ends < NEVER], (available // tile + 1) * tile]
            found.append(np.concatenate([*turns, events[mine] + view.ttl_us]))
        yield found


@dataclass(frozen=True)
class Places:
    """Where the rows of each entity are in a table."""

    codes: Ints
    order: Ints

    @classmethod
    def of(cls, codes: Ints) -> "Places":
        """Return the places of rows that have these codes of entities."""
        order = np.argsort(codes, kind="stable")
        return cls(codes[order], order)

    def of_code(self, code: int) -> Ints:
        """Return the places of an entity's rows, in order; none for a code that is no entity's."""
        if code < 0:
            return self.order[:0]
        low, high = np.searchsorted(self.codes, (code, code + 1))
        return self.order[low:high]
