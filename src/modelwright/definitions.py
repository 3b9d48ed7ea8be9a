"""What a team declares of its features: entities, views, on-demand features, services.

These are the words of a team's ``features.py``. They say what is computed; ``modelwright.features`` computes it.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from modelwright.declarations import (
    ColumnType,
    Declared,
    Described,
    Span,
    SpanOrNone,
    span_us,
    spoken,
)
from modelwright.sources import Column, Derived, Source

_TILES = ("1h", "5m", "1m")


@lru_cache(maxsize=1024)
def _tile_us(tile: str, windows: tuple[str, ...]) -> int:
    sizes = (span_us(each) for each in ((tile,) if tile else _TILES))
    return next(size for size in sizes if tile or all(span_us(window) % size == 0 for window in windows))


@lru_cache(maxsize=1024)
def _rolled(aggregates: tuple[str, ...], windows: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_{spoken(span_us(window))}" for window in windows for name in aggregates)


class Entity(Described):
    """What features are about: a customer, an airport, a route from one to another.

    Attributes:
        join_keys: columns that name one, in order; several make a composite key.
    """

    join_keys: tuple[str, ...] = Field(min_length=1)


class Aggregate(Declared):
    """One aggregation of a window view; ``modelwright.features.aggregates`` defines each to the bit.

    Attributes:
        function: ``count`` of rows, or of the values of ``column``; ``sum``, ``mean``, ``std`` (of a sample), ``min``,
            ``max``, ``last``, ``distinct`` (how many different values) and ``quantile`` of ``column``.
        column: the column; none for ``count`` of rows.
        where: only rows whose boolean column of this name is true.
        q: which quantile.
    """

    function: Literal["count", "sum", "mean", "min", "max", "std", "last", "distinct", "quantile"]
    column: str = ""
    where: str = ""
    q: float = Field(default=0.5, ge=0, le=1)

    def type_of(self, column: Column | None) -> ColumnType:
        """Return the type of what it gives of a column."""
        if column is None or self.function in ("count", "distinct"):
            return "integer"
        if self.function == "sum":
            return "number" if column.type == "number" else "integer"
        return column.type if self.function in ("min", "max", "last") else "number"


class Expected(Declared):
    """What a feature's values are expected to be; outside it an alarm is raised, and nothing is held back.

    It is judged with each batch of rows: a column by the values in it, an aggregation by what its entities are served.

    Attributes:
        missing: the largest share of rows, or entities, without a value.
    """

    low: float | None = None
    high: float | None = None
    missing: float | None = None


def _join_keys(given: Any) -> Any:
    return given.join_keys if isinstance(given, Entity) else given


class View(Described):
    """Features of one entity from one source.

    A *latest* view (``features``) serves the newest row by event time; a *window* view (``aggregates``) serves
    aggregations over windows that change at full tiles. A view may be both.

    Attributes:
        entity: the join keys, or the ``Entity``.
        features: columns served as they are.
        aggregates: by name; a feature is called ``<name>_<window>``, e.g. ``mean_delay_2h``.
        windows: their lengths.
        tumbling: as of a time, the last window that is over (they follow one another since 1970) instead of the one
            that ends with the last full tile.
        by: whether a row lies in a window by when it became known, or by its event time. In either case it counts
            from the tile after it became known.
        tile: what windows are made of: their starts and ends are full tiles. By default the longest of an hour, five
            minutes and a minute that divides every window.
        ttl: older rows are not served; empty: never too old.
        expected: by feature.
        fresh_within: an alarm is raised when no row became known for so long.
        version: raised when a change breaks readers.
    """

    entity: Annotated[tuple[str, ...], BeforeValidator(_join_keys)]
    source: str
    features: tuple[str, ...] = ()
    aggregates: dict[str, Aggregate] = Field(default_factory=dict)
    windows: tuple[Span, ...] = ()
    tumbling: bool = False
    by: Literal["availability", "event_time"] = "availability"
    tile: SpanOrNone = ""
    ttl: SpanOrNone = ""
    expected: dict[str, Expected] = Field(default_factory=dict)
    fresh_within: SpanOrNone = ""
    version: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _windows_are_whole_tiles(self) -> "View":
        if bool(self.aggregates) != bool(self.windows):
            raise ValueError("aggregates and windows come together: a view has both or neither")
        for window in self.windows:
            if span_us(window) % self.tile_us:
                raise ValueError(f"the window {window} is no whole number of tiles of {spoken(self.tile_us)}")
        if unknown := sorted(set(self.expected) - set(self.feature_names())):
            raise ValueError(f"expectations are of features that it does not serve: {', '.join(unknown)}")
        return self

    @property
    def tile_us(self) -> int:
        """The length of a tile in microseconds."""
        return _tile_us(self.tile, self.windows)

    @property
    def windows_us(self) -> tuple[int, ...]:
        """The lengths of the windows in microseconds."""
        return tuple(span_us(window) for window in self.windows)

    @property
    def ttl_us(self) -> int:
        """The time to live in microseconds; 0: never too old."""
        return span_us(self.ttl)

    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features that this view serves, in order."""
        return (*self.features, *_rolled(tuple(self.aggregates), self.windows))

    def aggregated(self) -> Iterator[tuple[str, Aggregate, int]]:
        """Yield the names of the features that are aggregations, each with its aggregation and window, in order."""
        features = iter(_rolled(tuple(self.aggregates), self.windows))
        for window in self.windows_us:
            for aggregate in self.aggregates.values():
                yield next(features), aggregate, window

    def types(self, source: Source) -> dict[str, ColumnType]:
        """Return the types of the features that this view serves, in order, of which the source has all columns."""
        found = {name: source.columns[name].type for name in self.features}
        for name, aggregate, _ in self.aggregated():
            found[name] = aggregate.type_of(source.columns.get(aggregate.column))
        return found


class OnDemand(Described):
    """Features computed from the request (and stored features) by a plain-Python row function.

    Attributes:
        function: ``module:function`` in the team's code: ``dict -> dict``.
        inputs: names of request columns and stored features that it reads.
        outputs: names of the features it gives.
        request: types of those inputs that are request columns, for who asks for its features by name; a service
            or model declares them itself.
        code: see ``Derived``.
    """

    function: str
    code: str = ""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    request: dict[str, ColumnType] = Field(default_factory=dict)


class Service(Described):
    """A feature service: features that are asked for together, in training and in serving.

    Attributes:
        request: request columns and their types, the views' join keys and ``time_column`` among them.
        time_column: request column with the time as of which it is asked; online, that is now where it is left out.
        views: names of feature views.
        on_demand: names of on-demand feature groups.
        inputs: the features, in order: bare where the name is unique among the views, else ``view__feature``.
        categorical: inputs that are categories.
        sampled: share of the answers of ``/get-online-features`` that are logged, for the proof of parity.
    """

    request: dict[str, ColumnType]
    time_column: str = "event_timestamp"
    views: tuple[str, ...]
    on_demand: tuple[str, ...] = ()
    inputs: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    sampled: float = Field(default=0.01, ge=0, le=1)


Row = dict[str, Any]
RowFunction = Callable[[Row], Row]
FrameFunction = Callable[[Any], Any]


def on_demand(
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    request: dict[str, ColumnType] | None = None,
    owner: str = "",
    tags: dict[str, str] | None = None,
) -> Callable[[RowFunction], RowFunction]:
    """Mark a plain-Python row function of a team's code as an on-demand feature group of its name.

    Args:
        inputs: request columns and stored features that it reads.
        outputs: features that it gives.
        request: types of those inputs that are request columns.
        owner: who answers for it.
        tags: by name.
    """

    def declare(function: RowFunction) -> RowFunction:
        function.on_demand = OnDemand(  # type: ignore[attr-defined]
            function=_reference(function),
            inputs=inputs,
            outputs=outputs,
            request=request or {},
            owner=owner,
            description=_first_line(function),
            tags=tags or {},
        )
        return function

    return declare


def derived(
    *,
    source: str,
    columns: dict[str, Column],
    key: tuple[str, ...],
    event_time: str,
    available_at: str = "",
    owner: str = "",
    tags: dict[str, str] | None = None,
) -> Callable[[FrameFunction], FrameFunction]:
    """Mark a vectorised function of a team's code, data frame to data frame, as a source of its name.

    It is given rows of ``source`` as a pandas data frame, with times in UTC, and returns the rows of the new source.
    Every row of the result has to follow from one row alone, whatever others are beside it.

    What it made stays until it makes a newer version of it: a row that is corrected so that the function leaves it
    out, or makes another key of it, takes nothing back. Give such a row as well, with a column that says so, and
    aggregate ``where`` that column.

    Args:
        source: whose rows it is given.
        columns: what it gives.
        key: see ``Source``.
        event_time: see ``Source``.
        available_at: see ``Source``; where it is left out, a row became known when the row it is made from did.
        owner: who answers for it.
        tags: by name.
    """

    def declare(function: FrameFunction) -> FrameFunction:
        function.source = Source(  # type: ignore[attr-defined]
            columns=columns,
            key=key,
            event_time=event_time,
            available_at=available_at,
            derived=Derived(source=source, function=_reference(function)),
            owner=owner,
            description=_first_line(function),
            tags=tags or {},
        )
        return function

    return declare


def _reference(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__name__}"


def _first_line(function: Callable[..., Any]) -> str:
    return next(iter((function.__doc__ or "").strip().splitlines()), "")
