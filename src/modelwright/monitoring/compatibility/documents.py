"""SageMaker Model Monitor's documents, ``statistics.json`` and ``constraints.json``, from our profiles and back.

Format: Amazon SageMaker Developer Guide, "Schema for Statistics" and "Schema for Constraints". What others wrote into
a document besides is kept when it is written again. A column of times has no place in them and is left out; infinite
values count as missing, since JSON has none.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwright.errors import InvalidInput
from modelwright.monitoring.columns import ColumnProfile
from modelwright.monitoring.profiles import Profile
from modelwright.monitoring.sketches import Sketch

BUCKETS = 10
DOMAIN = 50
"""Columns of at most so many different texts are constrained to these."""
InferredType = Literal["Integral", "Fractional", "String", "Unknown"]
Switch = Literal["Enabled", "Disabled"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class Common(_Part):
    """How many values are there."""

    num_present: int = Field(ge=0)
    num_missing: int = Field(ge=0)


class Bucket(_Part):
    """Values between two bounds, the lower one included; the last bucket's upper one too."""

    lower_bound: float
    upper_bound: float
    count: float


class SketchParameters(_Part):
    """Of the KLL sketch: how much smaller each level is, and the size of the largest."""

    c: float = 0.64
    k: float = 2048.0


class KllSketch(_Part):
    """Numbers in levels; one of level ``i`` stands for ``2^i`` values."""

    parameters: SketchParameters = SketchParameters()
    data: tuple[tuple[float, ...], ...] = ()


class Kll(_Part):
    """A distribution of numbers."""

    buckets: tuple[Bucket, ...] = ()
    sketch: KllSketch = KllSketch()


class NumberDistribution(_Part):
    """See ``Kll``."""

    kll: Kll = Kll()


class NumericalStatistics(_Part):
    """Of a column of numbers."""

    common: Common
    mean: float | None = None
    sum: float | None = None
    std_dev: float | None = None
    min: float | None = None
    max: float | None = None
    distribution: NumberDistribution = NumberDistribution()


class CategoryBucket(_Part):
    """How often a text comes."""

    value: str
    count: int


class Categorical(_Part):
    """The most frequent texts."""

    buckets: tuple[CategoryBucket, ...] = ()


class TextDistribution(_Part):
    """See ``Categorical``."""

    categorical: Categorical = Categorical()


class StringStatistics(_Part):
    """Of a column of texts."""

    common: Common
    distinct_count: float = 0
    distribution: TextDistribution = TextDistribution()


class FeatureStatistics(_Part):
    """Of one column."""

    name: str
    inferred_type: InferredType
    numerical_statistics: NumericalStatistics | None = None
    string_statistics: StringStatistics | None = None


class Dataset(_Part):
    """Of the whole."""

    item_count: int = Field(ge=0)


class Statistics(_Part):
    """``statistics.json``."""

    version: float = 0
    dataset: Dataset
    features: tuple[FeatureStatistics, ...]


class NumberConstraints(_Part):
    """What numbers must be."""

    is_non_negative: bool = False


class StringConstraints(_Part):
    """What texts must be: one of these."""

    domains: tuple[str, ...] = ()


class FeatureConstraints(_Part):
    """What a column must be.

    Attributes:
        completeness: the least share of rows with a value.
    """

    name: str
    inferred_type: InferredType
    completeness: float = Field(ge=0, le=1)
    num_constraints: NumberConstraints | None = None
    string_constraints: StringConstraints | None = None


class DistributionConstraints(_Part):
    """How far distributions may be apart.

    Attributes:
        comparison_method: ``Robust`` takes off what so few rows explain, ``Simple`` does not.
        categorical_comparison_threshold: of texts, where it is not ``comparison_threshold``.
    """

    perform_comparison: Switch = "Enabled"
    comparison_threshold: float = 0.1
    comparison_method: Literal["Robust", "Simple"] = "Robust"
    categorical_comparison_threshold: float | None = None
    categorical_drift_method: Literal["LInfinity", "ChiSquared"] = "LInfinity"


class MonitoringConfig(_Part):
    """What is looked at.

    Attributes:
        datatype_check_threshold: the least share of values that must have the inferred type.
        domain_content_threshold: the least share of values that must be in the domain.
    """

    evaluate_constraints: Switch = "Enabled"
    emit_metrics: Switch = "Enabled"
    datatype_check_threshold: float = 1.0
    domain_content_threshold: float = 1.0
    distribution_constraints: DistributionConstraints = DistributionConstraints()


class Constraints(_Part):
    """``constraints.json``."""

    version: float = 0
    features: tuple[FeatureConstraints, ...]
    monitoring_config: MonitoringConfig = MonitoringConfig()


D = TypeVar("D", Statistics, Constraints)


def read(kind: type[D], body: bytes, name: str) -> D:
    """Read a document.

    Args:
        kind: which.
        body: its JSON.
        name: what messages call it.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise InvalidInput(
            f"{name} is no {kind.__name__.lower()}.json of SageMaker: {place}: {first['msg']}"
        ) from error


def written(document: BaseModel) -> bytes:
    """Return a document as JSON, without what it does not say."""
    return document.model_dump_json(indent=2, exclude_none=True).encode()


def statistics_of(columns: Mapping[str, ColumnProfile], rows: int) -> Statistics:
    """Return what SageMaker would say of columns."""
    features = [_statistics(name, column) for name, column in columns.items() if column.kind != "times"]
    return Statistics(dataset=Dataset(item_count=rows), features=tuple(features))


def constraints_of(columns: Mapping[str, ColumnProfile]) -> Constraints:
    """Return the constraints that SageMaker would suggest from a baseline: that nothing gets worse than it."""
    features = [_constraints(name, column) for name, column in columns.items() if column.kind != "times"]
    return Constraints(features=tuple(features))


def columns_of(statistics: Statistics) -> dict[str, ColumnProfile]:
    """Return the columns' profiles, right up to the sketch; without sketches numbers lie in the middle of buckets."""
    return {feature.name: _profile(feature) for feature in statistics.features}


def profile_of(statistics: Statistics, source: str, digest: str, start: datetime, end: datetime) -> Profile:
    """Return statistics as a profile, for a reference.

    Args:
        statistics: the document.
        source: what it is of.
        digest: of the document.
        start: of the time that it is of, which it does not say.
        end: likewise.
    """
    rows = statistics.dataset.item_count
    return Profile(source=source, digest=digest, rows=rows, start=start, end=end, columns=columns_of(statistics))


def inferred_type(column: ColumnProfile) -> InferredType:
    """Return the type by SageMaker's names."""
    if not column.count:
        return "Unknown"
    if column.kind != "numbers":
        return "String"
    return "Integral" if integral_share(column) == 1 else "Fractional"


def integral_share(column: ColumnProfile) -> float:
    """Return the share of numbers that are whole."""
    values = column.distribution
    return float(values.weights[values.points == np.floor(values.points)].sum()) / values.count if values.count else 0.0


# --- private -----------------------------------------------------------------------------


def _statistics(name: str, column: ColumnProfile) -> FeatureStatistics:
    common = Common(num_present=column.count, num_missing=column.rows - column.count)
    kind = inferred_type(column)
    if column.kind == "numbers":
        numbers = NumericalStatistics(common=common, **_moments(column), distribution=_sketched(column))
        return FeatureStatistics(name=name, inferred_type=kind, numerical_statistics=numbers)
    buckets = tuple(CategoryBucket(value=value, count=count) for value, count in column.top.items())
    texts = StringStatistics(
        common=common,
        distinct_count=column.distinct,
        distribution=TextDistribution(categorical=Categorical(buckets=buckets)),
    )
    return FeatureStatistics(name=name, inferred_type=kind, string_statistics=texts)


def _moments(column: ColumnProfile) -> dict[str, float | None]:
    if not column.count:
        return {}
    return {
        "mean": column.mean,
        "sum": column.mean * column.count,
        "std_dev": column.deviation,
        "min": column.low,
        "max": column.high,
    }


def _sketched(column: ColumnProfile) -> NumberDistribution:
    if not column.count or column.low is None or column.high is None:
        return NumberDistribution()
    edges = np.linspace(column.low, column.high, BUCKETS + 1)
    below = np.append(column.distribution.below(edges[:-1]), 1.0)
    counts = np.rint(np.diff(below) * column.count)
    buckets = tuple(
        Bucket(lower_bound=float(low), upper_bound=float(high), count=float(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    )
    data = tuple(tuple(level.tolist()) for level in column.sketch.levels)
    return NumberDistribution(kll=Kll(buckets=buckets, sketch=KllSketch(data=data)))


def _constraints(name: str, column: ColumnProfile) -> FeatureConstraints:
    numbers = column.kind == "numbers" and column.count > 0
    few = column.kind == "categories" and 0 < column.distinct <= DOMAIN and not column.other
    return FeatureConstraints(
        name=name,
        inferred_type=inferred_type(column),
        completeness=column.count / column.rows if column.rows else 1.0,
        num_constraints=NumberConstraints(is_non_negative=(column.low or 0.0) >= 0) if numbers else None,
        string_constraints=StringConstraints(domains=tuple(sorted(column.top))) if few else None,
    )


def _profile(feature: FeatureStatistics) -> ColumnProfile:
    numbers, texts = feature.numerical_statistics, feature.string_statistics
    if numbers is not None:
        return _numbers(numbers)
    if texts is None:
        raise InvalidInput(f"feature {feature.name} has neither numerical_statistics nor string_statistics")
    common, top = texts.common, {bucket.value: bucket.count for bucket in texts.distribution.categorical.buckets}
    return ColumnProfile(
        kind="categories",
        rows=common.num_present + common.num_missing,
        missing=common.num_missing,
        distinct=round(texts.distinct_count),
        mode_share=max(top.values(), default=0) / max(1, common.num_present),
        top=dict(sorted(top.items(), key=lambda pair: (-pair[1], pair[0]))),
        other=max(0, common.num_present - sum(top.values())),
    )


def _numbers(numbers: NumericalStatistics) -> ColumnProfile:
    common = numbers.common
    sketch = _sketch(numbers.distribution.kll)
    values = sketch.distribution
    mean = numbers.mean or 0.0
    away = values.points - mean
    scale = common.num_present / values.count if values.count else 0.0
    return ColumnProfile(
        kind="numbers",
        rows=common.num_present + common.num_missing,
        missing=common.num_missing,
        distinct=len(values.points),
        mode_share=float(values.weights.max(initial=0.0)) / max(1.0, values.count),
        mean=mean,
        m2=(numbers.std_dev or 0.0) ** 2 * common.num_present,
        m3=float(np.sum(values.weights * away**3)) * scale,
        m4=float(np.sum(values.weights * away**4)) * scale,
        low=numbers.min,
        high=numbers.max,
        sketch=sketch,
    )


def _sketch(kll: Kll) -> Sketch:
    levels = tuple(np.sort(np.asarray(level, dtype=np.float64)) for level in kll.sketch.data)
    if levels:
        # how far a foreign sketch is off, it does not say: a level of weight w may be off by w
        return Sketch(levels, sum(1 << level for level in range(1, len(levels))))
    middles = [np.repeat((one.lower_bound + one.upper_bound) / 2, round(one.count)) for one in kll.buckets]
    return Sketch.of(np.sort(np.concatenate([np.empty(0), *middles])))
