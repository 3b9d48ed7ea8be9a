"""Rows into the online store's items, under versions.

What an item holds is made by ``latest`` and ``tiling``; this module stores it. A write that lost a race is made
again from what is there now, so that an older event never overwrites a newer one, whoever comes last. Each item is
written by itself: nothing is asked of two of them at once, and a transaction would cost twice as much.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from modelwright.errors import ConditionFailed, Unavailable
from modelwright.features import latest, tiling, windows
from modelwright.features.aggregates import NEVER, sound
from modelwright.features.latest import Version
from modelwright.features.layout import LATEST, WINDOWS, entity_key, micros
from modelwright.features.rows import Row
from modelwright.features.windows import Change
from modelwright.project import Project, Source, View
from modelwright.storage import Item, Key, Tables

_ATTEMPTS = 40
_THREADS = 8
_GROUP = 64


def settle(tables: Tables, plan: Callable[[], Iterable[Change]]) -> int:
    """Write what ``plan`` says; plan and write again what others came between.

    Returns:
        How many items were written.

    Raises:
        Unavailable: others kept coming between.
    """
    count = 0
    for _ in range(_ATTEMPTS):
        try:
            changes = iter(plan())
            while group := list(islice(changes, _GROUP)):
                won = _written(tables, group)
                count += sum(won)
                if not all(won):
                    break
            else:
                return count
        except ConditionFailed:  # what was read was written anew before all of it was read
            continue
    raise Unavailable("the online store is too busy: others write the same entities all the time")


def push(
    project: Project,
    source: str,
    rows: Sequence[Row],
    *,
    now: datetime,
    tables: Tables,
    workspace: str,
    wall: datetime | None = None,
) -> int:
    """Put rows of a source into the items of all its views and return how many items changed.

    Rows that are there already, or that nothing can be asked of any more, change nothing.

    Args:
        project: the definitions.
        source: whose rows.
        rows: the rows, in any order, and several versions of one row among them.
        now: domain time.
        tables: where the items are.
        workspace: whose.
        wall: the same moment's wall time, by which DynamoDB deletes; now, if it is not said.

    Raises:
        InvalidInput: a number cannot be added up, or an aggregation does not fit its column.
        Unavailable: others write the same entities all the time.
    """
    declared, wall = project.sources[source], wall or datetime.now(UTC)
    views = {name: view for name, view in project.views.items() if view.source == source}
    for name, view in views.items():
        sound(name, view, declared)
    pushing = [Pushing(name, view, declared, tables, workspace, now, wall) for name, view in views.items()]
    return settle(tables, lambda: (change for one in pushing for change in one.changes(rows)))


def versions_of(view: View, rows: Iterable[Row]) -> list[Version]:
    """Return rows as a latest view keeps them."""
    return [
        Version(r.event, r.available, r.arrival, r.key, NEVER, tuple(r.values[name] for name in view.features))
        for r in rows
    ]


def _written(tables: Tables, changes: Sequence[Change]) -> list[bool]:
    """Write items, and say of each whether it was still as it was when it was read."""
    if before := [put.item for change in changes for put in change.before]:
        tables.write_many("features", before)

    def write(change: Change) -> bool:
        try:
            tables.write([change.head])
        except ConditionFailed:
            return False
        return True

    if len(changes) == 1:
        won = [write(changes[0])]
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            won = list(pool.map(write, changes))
    after = [key for change, done in zip(changes, won, strict=True) if done for key in change.after]
    if after:
        tables.delete_many("features", after)
    return won


@dataclass(frozen=True)
class Pushing:
    """Puts rows of a source into the items of one of its views.

    Attributes:
        name: of the view.
        now: domain time.
        wall: the same moment's wall time, by which DynamoDB deletes.
    """

    name: str
    view: View
    source: Source
    tables: Tables
    workspace: str
    now: datetime
    wall: datetime

    def changes(self, rows: Iterable[Row]) -> Iterator[Change]:
        """Yield what rows change; those that are there already change nothing."""
        grouped: dict[str, list[Row]] = {}
        for row in rows:
            if (entity := row.entity(self.view)) is not None:
                grouped.setdefault(entity, []).append(row)
        if grouped and self.view.features:
            yield from self._latest(grouped)
        if grouped and self.view.aggregates:
            yield from self._windows(grouped)

    def _latest(self, grouped: dict[str, list[Row]]) -> Iterator[Change]:
        keys, items = self._items(grouped, LATEST)
        for entity, rows in grouped.items():
            there = latest.read_newest(items.get(keys[entity]), self.source, self.view.features)
            changed = latest.merged(there, versions_of(self.view, rows), micros(self.now))
            if changed is not None:
                expires = latest.expires(self.view, changed, micros(self.now), self.wall)
                yield Change((), latest.newest_write(keys[entity], self.view, changed, expires=expires), ())

    def _windows(self, grouped: dict[str, list[Row]]) -> Iterator[Change]:
        keys, items = self._items(grouped, WINDOWS)
        wanted = [key for mine in keys.values() for key in windows.beside(mine, items.get(mine))]
        beside = self.tables.batch_get("features", wanted) if wanted else {}
        for entity, rows in grouped.items():
            key, kept = keys[entity], [windows.kept(self.view, row) for row in rows]
            times: dict[str, datetime | int] = {"now_us": micros(self.now), "wall": self.wall}
            change = tiling.pushed(key, self.view, self.source, items.get(key), beside, kept, **times)  # type: ignore[arg-type]
            if change is not None:
                yield change

    def _items(self, grouped: Iterable[str], what: str) -> tuple[dict[str, Key], dict[Key, Item]]:
        keys = {entity: entity_key(self.workspace, self.name, self.view, entity, what) for entity in grouped}
        return keys, self.tables.batch_get("features", list(keys.values()))
