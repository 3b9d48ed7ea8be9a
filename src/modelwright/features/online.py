"""Reading the online store: features of many entities as of a time, from one item per entity and view.

All items that a request needs are read in one batch, with the attributes of the features asked for and no others. What
is read stays columns of JSON text as far as it can: who answers in JSON passes the text on, and who computes with the
values gets them of a whole column at once.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, TypeVar

from modelwright.errors import InvalidInput
from modelwright.features import latest, windows
from modelwright.features.aggregates import NEVER
from modelwright.features.layout import LATEST, WINDOWS, entity_key, micros, moment, spelled
from modelwright.features.plan import Load, Plan, compute, functions_of, plan_of
from modelwright.features.rows import READERS, Unfit, asked
from modelwright.project import ColumnType, Project, Service, View
from modelwright.storage import Item, Key, Tables

Status = Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
NULL = "null"
_NOWHERE = (-1, 0, False)
_ONE_ROW = 4
_QUOTED = '"'
T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Where the features of a view come from, for each entity of a request.

    Attributes:
        statuses: of the row that is served, or why none is.
        events: its event time in microseconds; 0 if there is none.
    """

    statuses: Sequence[Status]
    events: Sequence[int]

    @cached_property
    def times(self) -> Sequence[str]:
        """Return the event times as the JSON of an answer."""
        texts = {event: f'"{told(moment(event))}"' for event in set(self.events)}
        return [texts[event] for event in self.events]


class Column:
    """A feature of the entities of a request; made of texts or of values, and the other is made when it is asked for.

    Args:
        kind: the type of its values.
        origin: where they come from.
        texts: the values as JSON, all of them finite, times as microseconds.
        values: the values.
    """

    def __init__(
        self,
        kind: ColumnType,
        origin: Origin,
        *,
        texts: Sequence[str] | None = None,
        values: Sequence[Any] | None = None,
    ) -> None:
        self._kind, self._origin = kind, origin
        self._texts, self._values = texts, values
        if texts is not None and kind != "timestamp":
            self.texts = texts  # in the place of the property, which would be asked for it again and again

    @property
    def times(self) -> Sequence[str]:
        """Return the event time of each value as the JSON of an answer."""
        return self._origin.times

    @cached_property
    def values(self) -> Sequence[Any]:
        """Return the values."""
        if self._values is not None:
            return self._values
        values: list[Any] = json.loads(f"[{','.join(self._texts or ())}]")
        return [None if v is None else moment(v) for v in values] if self._kind == "timestamp" else values

    @cached_property
    def texts(self) -> Sequence[str]:
        """Return the values as the JSON of an answer, in which times are ISO 8601 and infinities are strings."""
        return [said(value) for value in self.values]

    @property
    def statuses(self) -> Sequence[Status]:
        """Return Feast's status of each value."""
        if NULL not in self.texts:
            return self._origin.statuses
        pairs = zip(self.texts, self._origin.statuses, strict=True)
        return ["NULL_VALUE" if text == NULL and status == "PRESENT" else status for text, status in pairs]


class Found:
    """What a view says of the rows of a request.

    Args:
        places: of each row, which entity it is about.
        features: by name, of each entity.
    """

    def __init__(self, places: Sequence[int], features: Mapping[str, Column]) -> None:
        self.features = features
        self._places = places
        self._spread: dict[int, tuple[Sequence[Any], Sequence[Any]]] = {}

    def of_rows(self, column: Sequence[T]) -> Sequence[T]:
        """Return what is said of each row, from what is said of each entity; of the same, the same."""
        if len(self._places) == len(column):
            return column
        if id(column) not in self._spread:
            self._spread[id(column)] = column, [column[place] for place in self._places]
        return self._spread[id(column)][1]


def read(
    project: Project,
    service: Service | str,
    rows: Sequence[Mapping[str, Any]],
    *,
    as_of: datetime,
    tables: Tables,
    workspace: str,
    load: Load,
) -> list[dict[str, Any]]:
    """Return the model's inputs for each request row, in order, from the online store.

    Args:
        project: the definitions.
        service: the model or feature service, or its name.
        rows: request columns; times may be ISO 8601 text.
        as_of: rows that became available later are not seen.
        tables: where the items are.
        workspace: whose.
        load: gives the row function of a reference (``teamcode.load``).

    Raises:
        InvalidInput: a request column is missing or of another type, or ``as_of`` is further back
            than the online store keeps.
    """
    plan = plan_of(project, service)
    full = asked(plan.service, rows)
    found = lookup(project, wanted(plan), full, as_of=as_of, tables=tables, workspace=workspace)
    complete(plan, found, full, load)
    return [{name: row[name] for name in plan.service.inputs} for row in full]


def wanted(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return the stored features that a plan needs, by view."""
    return {name: plan.features(name) for name in plan.views}


def complete(plan: Plan, found: Mapping[str, Found], rows: Sequence[dict[str, Any]], load: Load) -> None:
    """Add stored and on-demand features to rows of request columns, in place; raises as ``plan.compute`` does."""
    for name, stored in plan.stored.items():
        view = found[stored.view]
        for row, value in zip(rows, view.of_rows(view.features[stored.feature].values), strict=True):
            row[name] = value
    if plan.on_demand:
        functions = functions_of(plan, load)
        for number, row in enumerate(rows):
            compute(plan, functions, row, number)


def lookup(
    project: Project,
    wanted: Mapping[str, Sequence[str]],
    rows: Sequence[Mapping[str, Any]],
    *,
    as_of: datetime,
    tables: Tables,
    workspace: str,
) -> dict[str, Found]:
    """Return stored features of several views for rows that hold the join keys, by one batch read.

    Args:
        project: the definitions.
        wanted: names of features by view.
        rows: hold the join keys of every view.
        as_of: the time as of which to answer.
        tables: where the items are.
        workspace: whose.

    Raises:
        InvalidInput: a join key is of another type, or ``as_of`` is further back than the online store keeps.
        Unavailable: the table is throttled, and stayed so.
    """
    entities = _Entities(project, rows)
    questions = [_Question(project, workspace, name, features, entities) for name, features in wanted.items()]
    keys = [key for question in questions for key in question.needed()]
    attributes = dict.fromkeys(attribute for question in questions for attribute in question.attributes())
    items = tables.batch_get("features", keys, tuple(attributes)) if keys else {}
    if parts := [key for question in questions for key in question.beside(items)]:
        items = {**items, **tables.batch_get("features", parts)}
    return {question.name: question.answered(items, micros(as_of)) for question in questions}


def said(value: Any) -> str:
    """Return a value as the JSON of an answer: times as ISO 8601, infinities and NaN as strings."""
    if value is None:
        return NULL
    if type(value) is int:
        return str(value)
    if isinstance(value, float):
        text = repr(value)
        return text if math.isfinite(value) else f'"{_NAMED[text]}"'
    if isinstance(value, datetime):
        return f'"{told(value)}"'
    return json.dumps(value)


def told(time: datetime) -> str:
    """Return a time as ISO 8601 in UTC."""
    return time.isoformat().replace("+00:00", "Z")


_NAMED = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}


def _plain(block: str) -> bool:
    """Say whether there is neither text in a block nor an infinity: numbers, true, false and null."""
    return '"' not in block and "I" not in block


class _Entities:
    """Which entities the rows of a request are about, by the columns that name them; worked out once."""

    def __init__(self, project: Project, rows: Sequence[Mapping[str, Any]]) -> None:
        self._project, self._rows = project, rows
        self._known: dict[tuple[tuple[str, ColumnType], ...], tuple[tuple[str | None, ...], Sequence[int]]] = {}

    def of(self, view: View) -> tuple[tuple[str | None, ...], Sequence[int]]:
        """Return the distinct entities (None: a join key is null), and the place among them of each row's."""
        columns = self._project.sources[view.source].columns
        key = tuple((name, columns[name].type) for name in view.entity)
        if key not in self._known:
            names = self._names(key)
            places = {name: n for n, name in enumerate(dict.fromkeys(names))}
            self._known[key] = tuple(places), [places[name] for name in names]
        return self._known[key]

    def _names(self, key: Sequence[tuple[str, ColumnType]]) -> list[str | None]:
        try:
            columns = [
                [None if (value := row.get(name)) is None else READERS[kind](value) for row in self._rows]
                for name, kind in key
            ]
        except ValueError:  # a row is at fault: find out which
            return [_spelled(key, row, n) for n, row in enumerate(self._rows)]
        return [None if None in values else spelled(values) for values in zip(*columns, strict=True)]


def _spelled(key: Sequence[tuple[str, ColumnType]], row: Mapping[str, Any], n: int) -> str | None:
    values = []
    for name, kind in key:
        value = row.get(name)
        if value is not None:
            try:
                value = READERS[kind](value)
            except Unfit as error:
                raise error.at(f"row {n}, column {name}") from error
        if value is None:
            return None
        values.append(value)
    return spelled(values)


class _Question:
    """Features of one view, and how they are read."""

    def __init__(
        self, project: Project, workspace: str, name: str, features: Sequence[str], entities: _Entities
    ) -> None:
        self.name = name
        self._view = project.views[name]
        self._source = project.sources[self._view.source]
        self._plain = tuple(f for f in features if f in self._view.features)
        self._rolled = tuple(f for f in features if f not in self._view.features)
        blocks = latest.blocks_of(self._view.features) if self._plain else {}
        self._blocks = {attribute: names for attribute, names in blocks.items() if not set(names).isdisjoint(features)}
        self._entities, self._places = entities.of(self._view)
        kinds = [kind for kind, asked in ((LATEST, self._plain), (WINDOWS, self._rolled)) if asked]
        prefix = entity_key(workspace, name, self._view, "", "").pk
        self._keys = {kind: [None if e is None else Key(prefix + e, kind) for e in self._entities] for kind in kinds}

    def needed(self) -> Iterator[Key]:
        """Return the keys of the items that the answer is in."""
        return (key for keys in self._keys.values() for key in keys if key is not None)

    def attributes(self) -> Iterator[str]:
        """Return the attributes that are needed of them."""
        if self._plain:
            yield "times"
            yield from self._blocks
        if self._rolled:
            yield from windows.ATTRIBUTES

    def beside(self, items: Mapping[Key, Item]) -> Iterator[Key]:
        """Return the keys of what has to be read besides: what did not fit, and items of older definitions, whole."""
        for key in self._keys.get(WINDOWS, ()):
            if key is not None:
                yield from windows.parts_of(key, items.get(key))
        for attribute in self._blocks:
            for key in self._keys[LATEST]:
                if key is not None and attribute not in items.get(key, self._blocks):
                    yield key

    def answered(self, items: Mapping[Key, Item], as_of_us: int) -> Found:
        """Return the answer that is in the items."""
        features: dict[str, Column] = {}
        if LATEST in self._keys:
            features |= self._latest(items, as_of_us)
        if WINDOWS in self._keys:
            features |= self._windows(items, as_of_us)
        return Found(self._places, features)

    def _latest(self, batch: Mapping[Key, Item], as_of_us: int) -> dict[str, Column]:
        items = [None if key is None else batch.get(key) for key in self._keys[LATEST]]
        times = iter(json.loads(f"[{','.join([item['times'] for item in items if item is not None])}]"))
        chosen = [_NOWHERE if item is None else self._chosen(next(times), as_of_us) for item in items]
        oldest = as_of_us - self._view.ttl_us if self._view.ttl_us else -NEVER
        statuses: list[Status] = [
            "PRESENT" if place >= 0 and event >= oldest else "NOT_FOUND" if place < 0 else "OUTSIDE_MAX_AGE"
            for place, event, _ in chosen
        ]
        origin = Origin(statuses, [event for _, event, _ in chosen])
        alone = bool(chosen) and statuses.count("PRESENT") == len(statuses) and all(lone for _, _, lone in chosen)
        found: dict[str, Column] = {}
        for attribute, names in self._blocks.items():
            texts = [item.get(attribute, _QUOTED) for item in items if item is not None] if alone else [_QUOTED]
            if not _plain("".join(texts)):
                columns = self._picked(items, attribute, names, statuses, chosen)
                found |= {name: self._column(name, origin, values=column) for name, column in columns.items()}
            else:
                rows = zip(*[text[2:-2].split(",") for text in texts], strict=True)
                found |= {
                    name: self._column(name, origin, texts=texts) for name, texts in zip(names, rows, strict=True)
                }
        return {name: found[name] for name in self._plain}

    def _column(self, name: str, origin: Origin, **of: Sequence[Any]) -> Column:
        return Column(self._source.columns[name].type, origin, **of)

    def _picked(
        self,
        items: Sequence[Item | None],
        attribute: str,
        names: Sequence[str],
        statuses: Sequence[Status],
        chosen: Sequence[tuple[int, int, bool]],
    ) -> dict[str, list[Any]]:
        """Return the values of a block's features in the rows that are served."""
        texts = [
            (item or {}).get(attribute, "[]") if s == "PRESENT" else "[]"
            for item, s in zip(items, statuses, strict=True)
        ]
        served: list[Sequence[Any]] = []
        for item, status, block, (place, _, _) in zip(
            items, statuses, json.loads(f"[{','.join(texts)}]"), chosen, strict=True
        ):
            if status != "PRESENT" or item is None:
                served.append([None] * len(names))
            elif block:
                served.append(block[place])
            else:  # it was written when other features were declared
                stored = latest.stored_columns(item)
                served.append([stored[name][place] if name in stored else None for name in names])
        columns = dict(zip(names, zip(*served, strict=True) if served else [()] * len(names), strict=True))
        types = {name: self._source.columns[name].type for name in names}
        return {
            name: [moment(v) if v is not None and types[name] == "timestamp" else v for v in column]
            for name, column in columns.items()
        }

    def _chosen(self, times: Sequence[int], as_of_us: int) -> tuple[int, int, bool]:
        """Return which row of an item is served (-1: none), its event time, and whether it is the only one."""
        if as_of_us < times[0]:
            raise self._behind(times[0], as_of_us)
        if len(times) == _ONE_ROW:
            _, event, available, until = times
            return (0, event, True) if event <= as_of_us and available <= as_of_us < until else _NOWHERE
        for n in range(1, len(times), 3):
            event, available, until = times[n : n + 3]
            if event <= as_of_us and available <= as_of_us < until:
                return n // 3, event, False
        return _NOWHERE

    def _windows(self, items: Mapping[Key, Item], as_of_us: int) -> dict[str, Column]:
        rows = [{} if key is None else self._window(key, items, as_of_us) for key in self._keys[WINDOWS]]
        end = as_of_us // self._view.tile_us * self._view.tile_us
        origin = Origin(["PRESENT" if row else "NOT_FOUND" for row in rows], [end if row else 0 for row in rows])
        types = self._view.types(self._source)
        return {name: Column(types[name], origin, values=[row.get(name) for row in rows]) for name in self._rolled}

    def _window(self, key: Key, items: Mapping[Key, Item], as_of_us: int) -> dict[str, Any]:
        tiles = windows.read(key, self._view, items.get(key), items)
        if as_of_us // self._view.tile_us < tiles.since:
            raise self._behind(tiles.since * self._view.tile_us, as_of_us)
        return tiles.features(self._view, self._source, as_of_us, self._rolled)

    def _behind(self, since: int, as_of_us: int) -> InvalidInput:
        return InvalidInput(
            f"view {self.name} is kept online as of {moment(since).isoformat()} and later, not as of "
            f"{moment(as_of_us).isoformat()}: ask point in time"
        )
