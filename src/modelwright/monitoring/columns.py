"""What one column looks like: of a file, or of several taken together.

A column is *numbers* (a sketch of their distribution, moments) or *categories* (counts of the most frequent values);
times have their extremes only. Counts, extremes and moments of several files are those of the whole; so are the
counts of categories while none has more than ``TOP``, and everything while a sketch is exact, to the bit.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, model_validator

from modelwright.monitoring.distributions import Distribution, Floats
from modelwright.monitoring.sketches import Sketch

QUANTILES = 1001
TOP = 500
_COUNTED = ("rows", "missing", "infinite", "negative_infinite")
_POWERS = ("m2", "m3", "m4")
_BLOCK = 1 << 15
_LARGEST = float(np.finfo(np.float64).max)
_SHARES = np.linspace(0, 1, QUANTILES)


class Lengths(BaseModel):
    """How long texts are, in characters.

    Attributes:
        low: of the shortest.
        high: of the longest.
        total: of all of them together.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    low: int
    high: int
    total: int


class ColumnProfile(BaseModel):
    """One column of one file, or of several pooled.

    Attributes:
        type: how the file stores it, in Arrow's words (``double``); empty where that says nothing, as in CSV.
        rows: rows, missing or not.
        missing: rows without a value, or with one that is not a number.
        infinite: infinite values; they are faults and in no other figure but the next.
        negative_infinite: those of them that are below every number.
        distinct: number of different values; of a pool with more than are kept, at least so many.
        mode_share: share of the most frequent value among the values that are there.
        mean: of the finite numbers.
        m2: sum of the squared differences from the mean.
        m3: sum of their third powers.
        m4: sum of their fourth powers.
        low: smallest number, or time in seconds since 1970.
        high: largest of them.
        sketch: the numbers' distribution.
        top: the most frequent categories and their counts, the most frequent first; see ``categories``.
        other: rows of other categories.
        lengths: of texts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: Literal["numbers", "categories", "times"]
    type: str = ""
    rows: int
    missing: int
    infinite: int = 0
    negative_infinite: int = 0
    distinct: int = 0
    mode_share: float = 0.0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    low: float | None = None
    high: float | None = None
    sketch: Annotated[Sketch, PlainValidator(Sketch.read), PlainSerializer(Sketch.document)] = Sketch()
    top: dict[str, int] = Field(default_factory=dict)
    other: int = 0
    lengths: Lengths | None = None

    @model_validator(mode="before")
    @classmethod
    def _lifted(cls, document: Any) -> Any:
        """Read version 1, which kept 201 quantiles and a deviation."""
        if not isinstance(document, dict) or "sketch" in document or "mode_share" not in document:
            return document
        count = document["rows"] - document["missing"]
        if document["kind"] == "categories":
            return {"other": max(0, count - sum(document.get("top", {}).values())), **document}
        sketch = Sketch.of_quantiles(document.get("quantiles", ()), count)
        return {"m2": document.get("deviation", 0.0) ** 2 * count, **_higher(sketch), **document, "sketch": sketch}

    @property
    def count(self) -> int:
        """Values that are there and finite."""
        return self.rows - self.missing - self.infinite

    @property
    def missing_rate(self) -> float:
        """Share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation, ``sqrt(m2 / n)``."""
        return math.sqrt(self.m2 / self.count) if self.count else 0.0

    @property
    def skewness(self) -> float:
        """``(m3 / n) / deviation^3``; 0 of a constant."""
        return self.m3 / self.count / self.deviation**3 if self.deviation else 0.0

    @property
    def kurtosis(self) -> float:
        """``(m4 / n) / deviation^4``, 3 of a normal distribution; 0 of a constant."""
        return self.m4 / self.count / self.deviation**4 if self.deviation else 0.0

    @property
    def mean_length(self) -> float:
        """Mean length of texts."""
        return self.lengths.total / self.count if self.lengths is not None and self.count else 0.0

    @cached_property
    def grid(self) -> Floats:
        """Quantiles at ``QUANTILES`` equal steps from minimum to maximum; empty where there are no numbers."""
        if self.kind != "numbers" or not self.sketch.count:
            return np.empty(0)
        grid = self.sketch.quantiles(_SHARES)
        grid[0], grid[-1] = self.low, self.high
        return grid

    @property
    def quantiles(self) -> tuple[float, ...]:
        """``grid`` as plain numbers."""
        return tuple(self.grid.tolist())

    @property
    def distribution(self) -> Distribution:
        """The numbers, as detectors see them."""
        return self.sketch.distribution

    def thinned(self, most: int) -> "ColumnProfile":
        """Return the profile with a sketch of about so many numbers at most."""
        sketch = self.sketch.thinned(most)
        return self if sketch is self.sketch else self.model_copy(update={"sketch": sketch})

    def afresh(self) -> "ColumnProfile":
        """Return the same profile, which remembers nothing that it is asked for longer than it lives itself."""
        return self.model_copy(update={"sketch": Sketch(self.sketch.levels, self.sketch.error)})

    def cumulative(self, points: Floats) -> Floats:
        """Return the share of values at or below each point, right up to the sketch's error."""
        return self.distribution.cumulative(points)


def numbers(ordered: Floats, **counted: Any) -> ColumnProfile:
    """Return the profile of a column with these finite values, in ascending order.

    Args:
        ordered: its finite values.
        counted: the other fields: rows, missing, infinite values.
    """
    if not len(ordered):
        return ColumnProfile(kind="numbers", **counted)
    distinct, most = _repeated(ordered)
    return ColumnProfile(
        kind="numbers",
        distinct=distinct,
        mode_share=most / len(ordered),
        low=float(ordered[0]),
        high=float(ordered[-1]),
        sketch=Sketch.of(ordered),
        **_moments(ordered),
        **counted,
    )


def categories(
    top: Mapping[str, int],
    other: int = 0,
    distinct: int = 0,
    most: int = 0,
    lengths: Lengths | None = None,
    **counted: Any,
) -> ColumnProfile:
    """Return the profile of a column with these categories, of which it keeps the most frequent.

    Of more than ``TOP`` different ones those that came once are kept in no case: they say nothing, and ids are such.

    Args:
        top: counts of values; all that are at least as frequent as the ``TOP``-th.
        other: rows of values that are not among them.
        distinct: how many different values there are, if more.
        most: how often the most frequent comes, if it is not among them.
        lengths: of its texts.
        counted: the other fields: rows and missing.
    """
    distinct = max(distinct, len(top))
    pairs = sorted(top.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
    kept = {value: count for value, count in pairs if count > 1 or distinct <= TOP}
    count = sum(top.values()) + other
    return ColumnProfile(
        kind="categories",
        distinct=distinct,
        mode_share=max(most, pairs[0][1] if pairs else 0) / count if count else 0.0,
        top=kept,
        other=count - sum(kept.values()),
        lengths=lengths,
        **counted,
    )


def pool(parts: Sequence[ColumnProfile]) -> ColumnProfile:
    """Return the profile of several files together, oldest first; of those that hold what the newest with values does.

    Moments are added up as Pebay (SAND2008-6212) has it, about the mean of all, in whatever order.
    """
    filled = [part for part in parts if part.count] or list(parts)
    kind = filled[-1].kind
    alike = [part for part in parts if part.kind == kind]
    filled = [part for part in filled if part.kind == kind]
    counted: dict[str, Any] = {name: sum(getattr(part, name) for part in alike) for name in _COUNTED}
    counted["type"] = next((part.type for part in reversed(filled) if part.type), "")
    return _POOLED[kind](filled, counted)


# --- private -----------------------------------------------------------------------------


def _pooled_numbers(parts: Sequence[ColumnProfile], counted: dict[str, Any]) -> ColumnProfile:
    sketch = Sketch.merged([part.sketch for part in parts])
    if sketch.exact:
        return numbers(sketch.levels[0], **counted)
    filled = [part for part in parts if part.count]
    weights = np.array([part.count for part in filled], dtype=np.float64)
    shares = np.array([part.mode_share for part in filled])
    most = float(sketch.distribution.weights.max() / sketch.count)
    lows, highs = ([getattr(part, end) for part in filled if getattr(part, end) is not None] for end in ("low", "high"))
    return ColumnProfile(
        kind="numbers",
        distinct=max(part.distinct for part in filled),
        mode_share=float(np.clip(most, np.max(shares * weights) / weights.sum(), np.average(shares, weights=weights))),
        low=min(lows, default=None),
        high=max(highs, default=None),
        sketch=sketch,
        **_added(filled),
        **counted,
    )


def _pooled_categories(parts: Sequence[ColumnProfile], counted: dict[str, Any]) -> ColumnProfile:
    top: Counter[str] = Counter()
    for part in parts:
        top.update(part.top)
    lengths = [part.lengths for part in parts if part.lengths is not None]
    return categories(
        top,
        other=sum(part.other for part in parts),
        distinct=max(part.distinct for part in parts),
        most=max(round(part.mode_share * part.count) for part in parts),
        lengths=_together(lengths) if lengths else None,
        **counted,
    )


def _pooled_times(parts: Sequence[ColumnProfile], counted: dict[str, Any]) -> ColumnProfile:
    lows, highs = ([getattr(part, end) for part in parts if getattr(part, end) is not None] for end in ("low", "high"))
    return ColumnProfile(kind="times", low=min(lows, default=None), high=max(highs, default=None), **counted)


_POOLED: dict[str, Callable[[Sequence[ColumnProfile], dict[str, Any]], ColumnProfile]] = {
    "numbers": _pooled_numbers,
    "categories": _pooled_categories,
    "times": _pooled_times,
}


def _together(parts: Sequence[Lengths]) -> Lengths:
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return Lengths(low=low, high=high, total=sum(part.total for part in parts))


def _repeated(ordered: Floats) -> tuple[int, int]:
    """Return how many different values there are, and how often the most frequent comes."""
    changes = ordered[1:] != ordered[:-1]
    distinct = 1 + int(np.count_nonzero(changes))
    if distinct == len(ordered):
        return distinct, 1
    ends = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(ordered)]])
    return distinct, int(np.max(np.diff(ends)))


def _moments(ordered: Floats) -> dict[str, float]:
    """Return mean and sums of powers of the differences from it; what is too large for a float is the largest one."""
    if ordered[0] == ordered[-1]:
        return {"mean": float(ordered[0]), "m2": 0.0, "m3": 0.0, "m4": 0.0}
    sums: list[tuple[float, float, float]] = []
    room, squares = np.empty(_BLOCK), np.empty(_BLOCK)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(ordered))
        if not math.isfinite(mean):
            mean = float(np.sum(ordered / len(ordered)))
        for start in range(0, len(ordered), _BLOCK):
            block = ordered[start : start + _BLOCK]
            d, s = room[: len(block)], squares[: len(block)]
            np.subtract(block, mean, out=d)
            np.multiply(d, d, out=s)
            second = float(s.sum())
            np.multiply(d, s, out=d)
            np.multiply(s, s, out=s)
            sums.append((second, float(d.sum()), float(s.sum())))
    return {"mean": mean, **{name: _sum(terms) for name, terms in zip(_POWERS, zip(*sums, strict=True), strict=True)}}


def _added(parts: Sequence[ColumnProfile]) -> dict[str, float]:
    """Return the moments of all parts together."""
    count = sum(part.count for part in parts)
    mean = _sum([part.mean * (part.count / count) for part in parts])
    with np.errstate(over="ignore", invalid="ignore"):
        n = np.array([part.count for part in parts], dtype=np.float64)
        d = np.array([part.mean for part in parts]) - mean
        m2, m3, m4 = (np.array([getattr(part, name) for part in parts]) for name in _POWERS)
        sums = {
            "m2": m2 + n * d**2,
            "m3": m3 + 3 * d * m2 + n * d**3,
            "m4": m4 + 4 * d * m3 + 6 * d**2 * m2 + n * d**4,
        }
    return {"mean": mean, **{name: _sum(terms.tolist()) for name, terms in sums.items()}}


def _sum(terms: Sequence[float]) -> float:
    """Add up without an error; documents have no infinite numbers."""
    if all(map(math.isfinite, terms)):
        try:
            return math.fsum(terms)
        except OverflowError:  # between finite terms too
            pass
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.nan_to_num(np.sum(terms), nan=0.0, posinf=_LARGEST, neginf=-_LARGEST))


def _higher(sketch: Sketch) -> dict[str, float]:
    """Return third and fourth moments as near as a sketch gives them."""
    if not sketch.count:
        return {}
    points, weights = sketch.distribution.points, sketch.distribution.weights
    differences = points - np.average(points, weights=weights)
    return {f"m{power}": float(np.sum(weights * differences**power)) for power in (3, 4)}
