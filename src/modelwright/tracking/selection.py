"""What a search of runs finds: in the open runs, which are told as they are, and in the parts of the snapshots.

A run that is open hides the row that a part has of it. Each source gives its first hits in order; they are
merged by keys that compare across sources. A search without an order of its own goes back in time, and
opens no part before it gets there.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import merge, nsmallest
from itertools import chain, compress, islice
from typing import Final, NamedTuple

from modelwright.filters import Clause, matches
from modelwright.tracking.columns import Column, Mask, Name, Part, Texts, both
from modelwright.tracking.entities import ACTIVE, Experiment, Run
from modelwright.tracking.ordering import Key, Ordering, Spot
from modelwright.tracking.parts import DATASETS
from modelwright.tracking.reading import Head, Place, Reader

_AT_ONCE: Final = 8
"""Parts whose columns are in memory at the same time."""
_DATASET_KEYS = ("name", "digest", "context")
_RUN_ID = ("attributes", "run_id")


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        clauses: what must hold.
        ordering: in which order, and from where on.
        stages: the lifecycle stages that are shown.
        limit: how many hits are wanted at most.
    """

    clauses: tuple[Clause, ...]
    ordering: Ordering
    stages: tuple[str, ...]
    limit: int

    @cached_property
    def names(self) -> list[Name]:
        """The columns that parts are asked for."""
        clauses = [DATASETS if clause.entity == DATASETS[0] else (clause.entity, clause.key) for clause in self.clauses]
        orders = [(order.entity, order.key) for order in self.ordering.orders]
        return list(dict.fromkeys([*(name for name in clauses if name != _RUN_ID), *orders]))


class Scope(NamedTuple):
    """An experiment's runs: the open ones, and the parts that have the others."""

    experiment: Experiment
    open: Sequence[Run]
    parts: Sequence[Part]


class _Staged(NamedTuple):
    """The own stage of a run of a part."""

    lifecycle_stage: str
    epoch: int


class Hit(NamedTuple):
    """A run that was found."""

    source: "Live | Settled"
    row: int


class Live:
    """The open runs of an experiment that a query finds, in its order.

    Attributes:
        runs: as callers see them.
    """

    def __init__(self, scope: Scope, query: Query) -> None:
        self._query = query
        self.runs = [
            run
            for run in map(scope.experiment.seen, scope.open)
            if run.lifecycle_stage in query.stages and matches(query.clauses, run.value)
        ]

    def hits(self) -> Iterator[Hit]:
        """Yield what was found."""
        ordering = self._query.ordering
        keyed = sorted((ordering.key(self.spot(row)), row) for row in range(len(self.runs)))
        after = ordering.key(ordering.after) if ordering.after else ()
        return (Hit(self, row) for key, row in keyed if key > after)

    def spot(self, row: int) -> Spot:
        """Return where a run stands."""
        run = self.runs[row]
        values = tuple(next(iter(run.value(order.entity, order.key)), None) for order in self._query.ordering.orders)
        return Spot(values, run.start_time, run.run_id)


@dataclass(frozen=True, eq=False)
class Settled:
    """The runs of a part that a query finds.

    Attributes:
        place: the part.
        head: its head.
        columns: those that the query asks for.
        experiment: whose snapshot it is of.
        hidden: rows that are told elsewhere, or not at all.
        query: what is looked for.
    """

    place: Place
    head: Head
    columns: dict[Name, Column]
    experiment: Experiment
    hidden: frozenset[int]
    query: Query

    def hits(self) -> Iterator[Hit]:
        """Yield what was found, in order, and no more than is wanted."""
        size = len(self.head.starts)
        mask = self._mask()
        if mask is not None and 1 not in mask:
            return iter(())
        if not self.query.ordering.orders:
            first = self._first()
            rows = range(first, size) if mask is None else compress(range(first, size), mask[first:])
            return (Hit(self, row) for row in islice(rows, self.query.limit))
        return (Hit(self, row) for row in self._ordered(mask, range(size)))

    def spot(self, row: int) -> Spot:
        """Return where a run stands."""
        values = tuple(self.columns[order.entity, order.key].actual(row) for order in self.query.ordering.orders)
        return Spot(values, self.head.starts[row], self.head.runs[row])

    def stage(self, row: int) -> str:
        """Return the stage in which callers see a run."""
        return self._seen(str(self.head.stages.actual(row)) if self.head.stages else ACTIVE)

    def _seen(self, word: str) -> str:
        own, _, epoch = word.partition(" ")
        return self.experiment.stage_of(_Staged(own, int(epoch or 0)))

    def _mask(self) -> Mask | None:
        """Return which rows match, None for all of them."""
        masks = [self._holding(clause) for clause in self.query.clauses]
        if self.head.stages is not None:
            masks.append(self.head.stages.where(lambda word: self._seen(str(word)) in self.query.stages))
        elif self._seen(ACTIVE) not in self.query.stages:
            return bytes(len(self.head.starts))
        if self.hidden:
            shown = bytearray(b"\1") * len(self.head.starts)
            for row in self.hidden:
                shown[row] = 0
            masks.append(bytes(shown))
        mask = masks.pop() if masks else None
        for other in masks:
            assert mask is not None
            mask = both(mask, other)
        return mask

    def _holding(self, clause: Clause) -> Mask:
        if (clause.entity, clause.key) == _RUN_ID:
            return self.head.runs.mask(clause)
        if clause.entity == DATASETS[0]:
            datasets, place = self.columns[DATASETS], _DATASET_KEYS.index(clause.key)
            assert isinstance(datasets, Texts)
            return datasets.where(lambda word: any(clause.holds(one[place]) for one in json.loads(word or "[]")))
        return self.columns[clause.entity, clause.key].mask(clause)

    def _ordered(self, mask: Mask | None, rows: range) -> list[int]:
        """Return the first rows of a mask in the query's order, after the page before."""
        ordering = self.query.ordering
        keys = [
            key
            for order in ordering.orders
            for key in self.columns[order.entity, order.key].keys(mask, ascending=order.ascending)
        ]
        places: Iterable[Key] = zip(*keys, rows if mask is None else compress(rows, mask), strict=True)
        if ordering.after is not None:
            bound = self._bound(ordering.after)
            places = [place for place in places if place > bound]
        return [place[-1] for place in nsmallest(self.query.limit, places)]

    def _bound(self, after: Spot) -> Key:
        """Return where the page before ended, as the keys of this part say it."""
        row, there = self.head.find(after.time, after.identity)
        keys = [
            key
            for order, value in zip(self.query.ordering.orders, after.values, strict=True)
            for key in self.columns[order.entity, order.key].key_of(value, ascending=order.ascending)
        ]
        return (*keys, row if there else row - 0.5)

    def _first(self) -> int:
        """Return the first row after the page before."""
        after = self.query.ordering.after
        if after is None:
            return 0
        row, there = self.head.find(after.time, after.identity)
        return row + 1 if there else row


def find(scopes: Sequence[Scope], query: Query, reader: Reader) -> Iterator[Hit]:
    """Yield the runs that a query finds, in its order, and at least as many as are wanted if there are so many."""
    live = [Live(scope, query).hits() for scope in scopes if scope.open]
    shelves = [_Shelf(scope, part) for scope in scopes for part in scope.parts]
    eras = [shelves] if query.ordering.orders else _eras(shelves, query.ordering.after)
    together = _growing(eras) if query.clauses else eras
    settled = chain.from_iterable(_of_era(era, query, reader) for era in together)
    return _merged([*live, settled] if shelves else live, query)


@dataclass(frozen=True, eq=False)
class _Shelf:
    """A part in its snapshot."""

    scope: Scope
    part: Part

    @property
    def place(self) -> Place:
        return Place(self.scope.experiment.experiment_id, self.part)


def _eras(shelves: Sequence[_Shelf], after: Spot | None) -> Iterator[list[_Shelf]]:
    """Yield groups of parts, each of which begins after the next one ended, newest first."""
    group: list[_Shelf] = []
    oldest = 0
    for shelf in sorted(shelves, key=lambda shelf: shelf.part.newest, reverse=True):
        if group and shelf.part.newest < oldest:
            if after is None or oldest <= after.time:
                yield group
            group = []
        oldest = min(oldest, shelf.part.oldest) if group else shelf.part.oldest
        group.append(shelf)
    if group:
        yield group


def _growing(eras: Iterable[list[_Shelf]]) -> Iterator[list[_Shelf]]:
    """Yield one era, then two as one, then four: where little is found, a search is soon through."""
    rest, count = iter(eras), 1
    while together := list(chain.from_iterable(islice(rest, count))):
        yield together
        count *= 2


def _of_era(era: Sequence[_Shelf], query: Query, reader: Reader) -> Iterator[Hit]:
    heads = reader.heads([shelf.place for shelf in era])
    streams = []
    for first in range(0, len(era), _AT_ONCE):
        shelves = list(zip(era, heads, strict=True))[first : first + _AT_ONCE]
        columns = reader.columns([(shelf.place, head, query.names) for shelf, head in shelves])
        for (shelf, head), own in zip(shelves, columns, strict=True):
            found = Settled(shelf.place, head, own, shelf.scope.experiment, _hidden(shelf, head), query)
            streams.append(iter(list(found.hits())))
    return _merged(streams, query)


def _hidden(shelf: _Shelf, head: Head) -> frozenset[int]:
    """Return the rows of a part that are told elsewhere, or not at all."""
    part = shelf.part
    runs = [run for run in shelf.scope.open if part.oldest <= run.start_time <= part.newest]
    found = [head.find(run.start_time, run.run_id) for run in runs]
    return frozenset([*part.gone, *(row for row, there in found if there)])


def _merged(streams: Sequence[Iterator[Hit]], query: Query) -> Iterator[Hit]:
    if len(streams) == 1:
        return streams[0]
    return merge(*streams, key=lambda hit: query.ordering.key(hit.source.spot(hit.row)))
