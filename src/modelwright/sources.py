"""What a team declares of its data: sources, their columns, what is checked, when they drift, how they heal.

These are the words of ``modelwright.toml`` and of a team's ``features.py``; ``modelwright.monitoring`` does it.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modelwright.declarations import ColumnType, Declared, Described, Instant, Name, SpanOrNone, columns_of

NotNegative = Annotated[float, Field(ge=0)]


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

    @model_validator(mode="after")
    def _can_be_checked(self) -> "Column":
        if self.type not in ("integer", "number") and (self.low is not None or self.high is not None):
            raise ValueError(f"low and high are bounds of numbers, and this is a {self.type}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}: no value can be true")
        if self.type != "string" and (self.values or self.regex):
            raise ValueError(f"values and regex are of strings, and this is a {self.type}")
        try:
            re.compile(self.regex)
        except re.error as error:
            raise ValueError(f"the regex {self.regex!r} is none: {error}") from error
        return self


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
    floors: dict[str, NotNegative] = Field(default_factory=dict)
    importance: dict[str, NotNegative] = Field(default_factory=dict)
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

    def columns(self) -> dict[str, set[str]]:
        """Return the columns that are named here, by where."""
        segments = {f"segment {each!r}": set(columns_of(each)) for each in self.segments}
        return {"importance": set(self.importance), "ignore": set(self.ignore), **segments}


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

    @model_validator(mode="after")
    def _policies_name_what_there_is(self) -> "Source":
        for where, names in {**self.drift.columns(), "impute": set(self.healing.impute)}.items():
            if unknown := sorted(names - set(self.columns)):
                told = f"{where} names {', '.join(unknown)}, which is no column"
                raise ValueError(f"{told}: there are {', '.join(self.columns)}")
        looking = (*self.detectors, *self.drift.multivariate)
        if unknown := sorted(set(self.drift.floors) - set(looking)):
            raise ValueError(f"there are floors of {', '.join(unknown)}, which do not look: {', '.join(looking)} do")
        for name, rule in self.healing.impute.items():
            self._require_imputable(name, rule)
        return self

    def _require_imputable(self, name: str, rule: str | float) -> None:
        kind = self.columns[name].type
        fits = {"string": isinstance(rule, str) and rule != "median", "boolean": rule in ("mode", "true", "false")}
        if not fits.get(kind, rule in ("median", "mode") or isinstance(rule, float | int)):
            raise ValueError(f"impute fills {name}, a {kind}, by median (of numbers), mode or a value, not by {rule!r}")
