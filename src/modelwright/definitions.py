"""What a team declares of its features: entities, sources, views, on-demand features, services.

These are the words of a team's ``features.py``, and of ``modelwright.toml`` for sources. They say what is
computed; ``modelwright.features`` computes it. Spans of time are written as a number and ``m``, ``h``, ``d`` or ``w``.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ColumnType = Literal["string", "integer", "number", "boolean", "timestamp"]
MINUTE_US = 60_000_000
NO_ENTITY = "__dummy_id"
"""The join key of features that are about everything, as Feast calls it; its one value is the empty string."""
_SPANS = {"m": MINUTE_US, "h": 60 * MINUTE_US, "d": 24 * 60 * MINUTE_US, "w": 7 * 24 * 60 * MINUTE_US}
_TILES = ("1h", "5m", "1m")


def _span(text: str) -> str:
    if not re.fullmatch("[1-9][0-9]*[mhdw]", text):
        raise ValueError(f"{text!r} is no span of time: write it as 30m, 2h, 7d or 1w")
    return text


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_utc)]
"""A time in UTC, which one without a zone is meant to be."""
Span = Annotated[str, AfterValidator(_span)]
SpanOrNone = Annotated[str, AfterValidator(lambda text: text and _span(text))]
"""Empty where there is none."""


@lru_cache(maxsize=1024)
def span_us(span: str) -> int:
    """Return a span such as ``30m``, ``2h``, ``7d`` or ``1w`` in microseconds; 0 if it is empty."""
    return int(span[:-1]) * _SPANS[span[-1]] if span else 0


@lru_cache(maxsize=1024)
def _tile_us(tile: str, windows: tuple[str, ...]) -> int:
    sizes = (span_us(each) for each in ((tile,) if tile else _TILES))
    return next(size for size in sizes if tile or all(span_us(window) % size == 0 for window in windows))


def spoken(span: int) -> str:
    """Return a span of microseconds in the longest unit that says it: ``1d`` for 24 hours, never weeks."""
    unit = next(unit for unit in "dhm" if span % _SPANS[unit] == 0)
    return f"{span // _SPANS[unit]}{unit}"


@lru_cache(maxsize=1024)
def _rolled(aggregates: tuple[str, ...], windows: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_{spoken(span_us(window))}" for window in windows for name in aggregates)


class Declared(BaseModel):
    """Base of all declarations: frozen, and a word that is not known is an error (validators are built when used)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Described(Declared):
    """What people say of a declaration.

    Attributes:
        owner: who answers for it.
        tags: by name.
    """

    owner: str = ""
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


class Entity(Described):
    """What features are about: a customer, an airport, a route from one to another.

    Attributes:
        join_keys: columns that name one, in order; several make a composite key.
    """

    join_keys: tuple[str, ...] = Field(min_length=1)


class Column(Declared):
    """One column of a source.

    Attributes:
        nullable: whether missing values are normal; a column that is not may have none.
        low: smallest value that can be true, if there is one.
        high: largest value that can be true.
        values: the only values that can be true, if they are known.
        decimals: of a number, in how many decimals it is added up; sums and means are exact in this unit, and so the
            same in whatever order rows come.
        regex: what the whole text of every value must match (Python's syntax).
        unique: whether no two rows may have the same value.
    """

    type: ColumnType
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    decimals: int = Field(default=6, ge=0, le=12)
    description: str = ""
    regex: str = ""
    unique: bool = False


class Baseline(Declared):
    """What new rows of a source are compared with: its *reference*.

    Attributes:
        kind: ``sliding``: what was accepted in the ``days`` before; ``window``: between ``start`` and ``end``;
            ``seasonal``: of the ``days`` before only what lies in the same hour of the same weekday; ``training``: the
            rows on which the champion of ``model`` was trained.
        days: how far back; 0: the source's ``reference_days``.
        start: of a ``window``.
        end: of a ``window``.
        model: whose champion, of kind ``training``.
    """

    kind: Literal["sliding", "window", "seasonal", "training"] = "sliding"
    days: int = Field(default=0, ge=0)
    start: Instant | None = None
    end: Instant | None = None
    model: str = ""

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> "Baseline":
        if self.kind == "window" and not (self.start and self.end and self.start < self.end):
            raise ValueError("a reference of kind window needs a start and an end after it")
        if self.kind == "training" and not self.model:
            raise ValueError("a reference of kind training needs the name of a model")
        return self


class DriftPolicy(Declared):
    """When a source counts as drifted. See ``modelwright.monitoring.verdict``.

    Attributes:
        reference: what is compared with.
        every: rows of so long a span are one window, whose files are taken together (``1d``); empty: a file is one.
        min_rows: smaller windows have no verdict.
        windows: of so many newest windows...
        agreeing: ... so many have to say that a column moved.
        false_discovery: rate of false alarms among all columns and tests of a window (Benjamini & Hochberg).
        floors: by detector, the smallest effect that matters, where it is not the detector's own.
        importance: by column, how much it counts in the verdict on the whole; 1 where nothing is said.
        share: of the importance of all columns, how much must drift for the data set to count as drifted.
        segments: columns or expressions (``"distance > 1000"``) in whose values drift is looked for too.
        ignore: columns that nobody looks at; the key and times never are.
        multivariate: names of detectors that look at all columns at once.
        compatibility: the choices and thresholds of another tool instead of all this.
    """

    reference: Baseline = Field(default_factory=Baseline)
    every: SpanOrNone = ""
    min_rows: int = Field(default=100, ge=10)
    windows: int = Field(default=3, ge=1)
    agreeing: int = Field(default=2, ge=1)
    false_discovery: float = Field(default=0.05, gt=0, lt=1)
    floors: dict[str, float] = Field(default_factory=dict)
    importance: dict[str, float] = Field(default_factory=dict)
    share: float = Field(default=0.3, gt=0, le=1)
    segments: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    multivariate: tuple[str, ...] = ()
    compatibility: Literal["", "evidently", "nannyml", "sagemaker"] = ""

    @model_validator(mode="after")
    def _can_agree(self) -> "DriftPolicy":
        if self.agreeing > self.windows:
            raise ValueError(f"{self.agreeing} of {self.windows} windows cannot agree")
        return self


class Healing(Declared):
    """How quarantined files of a source are repaired. See ``modelwright.monitoring.healing``.

    Attributes:
        rules: names of the repairs that may be tried; none: people repair.
        impute: by column, the stated rule by which missing values are filled: ``median``, ``mode`` or a value.
    """

    rules: tuple[str, ...] = (
        "encoding",
        "delimiter",
        "renamed_column",
        "swapped_columns",
        "unit_change",
        "type_coercion",
        "time_zones",
        "deduplication",
        "imputation",
        "late_file",
    )
    impute: dict[str, str | float] = Field(default_factory=dict)


class Derived(Declared):
    """How the rows of a source are made from those of another.

    Attributes:
        source: the other.
        function: ``module:function`` in the team's code, data frame to data frame, in which every row of the result
            follows from one row alone, whatever others are beside it.
        code: digest of the function itself, but for its layout and comments; empty where it is not known.
    """

    source: str
    function: str
    code: str = ""


class Source(Described):
    """Rows of one shape: files below a prefix of the landing bucket, pushed rows, rows derived from another source's.

    Attributes:
        prefix: where its files (Parquet or CSV) land, ending in ``/``; empty for one that is only pushed or derived.
        key: columns that name a row; of a key's versions the one that became known last counts, from then on.
        event_time: when the row's facts were so.
        available_at: when the row became known; upload time where there is no such column.
        derived: how its rows are made, if they are made from another source's.
        labels: whether these are labels that arrive late, for predictions made before.
        reference_days: accepted uploads of so many days before a file are what it is compared with.
        checks: names of the plugins that judge its files.
        check_options: by check, what it is made with instead of its defaults, ``{block = 0.3}``.
        severity: by check, ``warn`` or ``block`` for whatever it finds.
        rules: by name, an expression over a row's columns that has to hold: ``"landed >= departed"``.
        detectors: names of the plugins that look for drift in them.
        drift: when they count as drifted.
        healing: how what is held back is repaired.
    """

    prefix: str = ""
    columns: dict[str, Column]
    key: tuple[str, ...]
    event_time: str
    available_at: str = ""
    derived: Derived | None = None
    labels: bool = False
    reference_days: int = Field(default=56, ge=1)
    checks: tuple[str, ...] = (
        "missing_rate",
        "unit_change",
        "constant_column",
        "volume",
        "range",
        "unknown_categories",
        "uniqueness",
        "text_shape",
        "swapped_columns",
        "encoding",
        "future_dates",
        "time_zones",
        "late_file",
        "freshness",
        "truncated_file",
        "schema",
    )
    check_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    severity: dict[str, Literal["warn", "block"]] = Field(default_factory=dict)
    rules: dict[Name, str] = Field(default_factory=dict)
    detectors: tuple[str, ...] = ("ks", "chi_square", "missing", "infinite", "unseen", "range", "type")
    drift: DriftPolicy = Field(default_factory=DriftPolicy)
    healing: Healing = Field(default_factory=Healing)

    @model_validator(mode="after")
    def _names_exist(self) -> "Source":
        named = {*self.key, self.event_time, *([self.available_at] if self.available_at else [])}
        if missing := sorted(named - set(self.columns)):
            raise ValueError(f"source {self.prefix} names columns it does not declare: {', '.join(missing)}")
        if self.prefix and not self.prefix.endswith("/"):
            raise ValueError(f"the prefix {self.prefix} must end in /")
        if self.prefix and self.derived:
            raise ValueError(f"a source that is derived from {self.derived.source} takes no files below {self.prefix}")
        return self


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
