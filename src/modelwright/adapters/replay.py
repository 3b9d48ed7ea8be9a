"""Rows computed once more, the way they are served: what they are equal to proves that both ways agree.

The rows of the history that are about the entities of some request rows come into an online store in memory in the
order in which they became known, by the code that does so in production, and each request row is asked as of its time
by the code that serves. The store begins empty, so that nothing of the batch path is in the answer but the history
that both start from. Times rise, so that every row comes once, however many request rows there are: as in production,
a store is only ever asked about now.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from modelwright.adapters.memory import MemoryTables
from modelwright.features import latest, online, tiling, windows, writing
from modelwright.features.aggregates import NEVER
from modelwright.features.encoding import Entities
from modelwright.features.history import ARRIVAL, AVAILABLE, KEY, UNTIL, History, Ints, arrival_ranks, numbers
from modelwright.features.layout import LATEST, WINDOWS, entity_key, micros, spelled
from modelwright.features.newest import Mask
from modelwright.features.parity.pairs import Places
from modelwright.features.parity.proof import Replay as ReplayRows
from modelwright.features.parity.rows import excerpt, keys_of, listed
from modelwright.features.plan import Load, Plan, plan_of
from modelwright.features.rows import Row, asked
from modelwright.project import Project
from modelwright.storage import Key

WORKSPACE = "replay"
_WAITING = 200
"""Rows that wait in an item before they are folded in, which ``materialize`` does by the clock."""


class Replay:
    """Serves rows of a feature service again.

    Args:
        project: the definitions.
        service: name of the feature service or model.
        history: where the rows of the sources are.
        load: gives the row functions of the team's code.
    """

    def __init__(self, project: Project, service: str, *, history: History, load: Load) -> None:
        self._project, self._load = project, load
        self._plan: Plan = plan_of(project, service)
        self._history = history

    def served(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the service's inputs of request rows, each served as of its own time.

        Raises:
            InvalidInput: a request column is missing or of another type.
        """
        full = asked(self._plan.service, rows)
        times = [row[self._plan.service.time_column] for row in full]
        tables = MemoryTables()
        sources = excerpt(self._history, self._project, self._plan.views, full)
        feeds = [_Feed(self._project, name, sources, full, tables) for name in self._plan.views]
        needed = online.wanted(self._plan)
        for n in sorted(range(len(full)), key=lambda n: times[n]):
            for feed in feeds:
                feed.advance(n, times[n])
            found = online.lookup(self._project, needed, [full[n]], as_of=times[n], tables=tables, workspace=WORKSPACE)
            online.complete(self._plan, found, [full[n]], self._load)
        return [{name: row[name] for name in self._plan.service.inputs} for row in full]


def replays(project: Project, service: str, history: History, load: Load) -> ReplayRows:
    """Return what serves a service's request rows again; see ``parity.Replays``."""
    return Replay(project, service, history=history, load=load).served


class _Feed:
    """Brings the rows of a view's source into its items, as far as they are known by a time."""

    def __init__(
        self,
        project: Project,
        name: str,
        sources: Mapping[str, pa.Table],
        asked: Sequence[Mapping[str, Any]],
        tables: MemoryTables,
    ) -> None:
        self._view = project.views[name]
        self._source = project.sources[self._view.source]
        self._project = project.model_copy(update={"views": {name: self._view}})
        self._name, self._tables = name, tables
        table = sources[self._view.source]
        order = np.lexsort((arrival_ranks(table), numbers(table[AVAILABLE])))
        table = table.take(pa.array(order)).combine_chunks()
        entities = Entities.of([table[key] for key in self._view.entity])
        self._table, self._places = table, Places.of(entities.codes)
        columns = self._source.columns
        keys = [keys_of([row[key] for row in asked], columns[key].type, key) for key in self._view.entity]
        self._codes: list[int] = entities.find(keys).tolist()
        self._moved = _moved(table, entities.codes)
        self._known: dict[int, _Known] = {}

    def advance(self, n: int, time: datetime) -> None:
        """Make the items of the entity that request row ``n`` is about those of a time, not before the last one."""
        code = self._codes[n]
        if code < 0:
            return
        if code not in self._known:
            self._known[code] = self._of(code)
        self._bring(self._known[code], time)

    def _bring(self, known: "_Known", time: datetime) -> None:
        now = micros(time)
        upto = int(np.searchsorted(known.available, now, side="right"))
        ended = int(np.searchsorted(known.ends, now, side="right"))
        fresh = known.rows[known.count : upto]
        waiting = known.waiting + len(fresh)
        if waiting > _WAITING or ended > known.ended or known.shifted[known.count : upto].any():
            self._fold(known, upto, time)
            waiting = 0
        elif fresh:
            writing.push(
                self._project, self._view.source, fresh, now=time, tables=self._tables, workspace=WORKSPACE, wall=time
            )
        known.count, known.ended, known.waiting = upto, ended, waiting

    def _fold(self, known: "_Known", upto: int, time: datetime) -> None:
        """Make an entity's items of all its versions, each with its end as far as that is known, as folding does."""
        now = micros(time)
        ends = [until if until <= now else NEVER for until in known.until[:upto].tolist()]
        rows = known.rows[:upto]
        if self._view.features:
            key = entity_key(WORKSPACE, self._name, self._view, known.entity, LATEST)
            there = latest.read_newest(self._tables.get("features", key), self._source, self._view.features)
            versions = [
                v._replace(until=end) for v, end in zip(writing.versions_of(self._view, rows), ends, strict=True)
            ]
            changed = latest.merged(there, versions, now)
            if changed is not None:
                self._tables.write([latest.newest_write(key, self._view, changed)])
        if self._view.aggregates:
            kept = [windows.kept(self._view, row)._replace(until=end) for row, end in zip(rows, ends, strict=True)]
            self._remake(entity_key(WORKSPACE, self._name, self._view, known.entity, WINDOWS), kept, time)

    def _remake(self, key: Key, kept: list[windows.Kept], time: datetime) -> None:
        item = self._tables.get("features", key)
        beside = self._tables.batch_get("features", windows.beside(key, item))
        change = tiling.remade(
            key, self._view, self._source, item, beside, kept, {row.age for row in kept}, now_us=micros(time), wall=time
        )
        if change is not None:
            self._tables.write_many("features", [put.item for put in change.before])
            self._tables.write([change.head])
            self._tables.delete_many("features", change.after)

    def _of(self, code: int) -> "_Known":
        places = self._places.of_code(code)
        table = self._table.take(pa.array(places))
        columns = {name: listed(table[name]) for name in table.column_names}
        events = columns[self._source.event_time]
        rows = [
            Row(
                columns[KEY][n],
                micros(events[n]) if events[n] is not None else windows.NO_EVENT,
                columns[AVAILABLE][n],
                columns[ARRIVAL][n],
                {name: values[n] for name, values in columns.items()},
            )
            for n in range(table.num_rows)
        ]
        until = numbers(table[UNTIL])
        ends = np.sort(until[self._moved[places]])
        entity = spelled([columns[key][0] for key in self._view.entity])
        return _Known(entity, rows, numbers(table[AVAILABLE]), until, ends, _shifted(rows))


class _Known:
    """The versions that are about an entity, in the order in which they became known, and how far they have come.

    Attributes:
        ends: when those end that become another entity's.
        shifted: which of them move a row to another event time: what the row stood before may have left the items.
        count: of versions that came.
        ended: of them, those that became another entity's.
        waiting: of them, those that came since they were folded in.
    """

    def __init__(self, entity: str, rows: list[Row], available: Ints, until: Ints, ends: Ints, shifted: Mask) -> None:
        self.entity, self.rows, self.available, self.until, self.ends = entity, rows, available, until, ends
        self.shifted = shifted
        self.count = self.ended = self.waiting = 0


def _shifted(rows: Sequence[Row]) -> Mask:
    """Say which versions have another event time than the version before them, of rows in order of availability."""
    events: dict[int, int] = {}
    found = np.zeros(len(rows), dtype=bool)
    for n, row in enumerate(rows):
        found[n] = events.get(row.key, row.event) != row.event
        events[row.key] = row.event
    return found


def _moved(table: pa.Table, codes: Ints) -> Any:
    """Say which versions are followed by one that is about another entity, or none: no push ends them.

    Rows are in order of availability, and what follows may be missing among them.
    """
    keys = np.asarray(table[KEY]).astype(np.uint64)
    order = np.argsort(keys, kind="stable")
    available, until = numbers(table[AVAILABLE])[order], numbers(table[UNTIL])
    follows = (np.diff(keys[order]) == 0) & (available[1:] == until[order[:-1]])
    moved = until < NEVER
    moved[order[:-1][follows & (np.diff(codes[order]) == 0)]] = False
    return moved
