"""Profiles: what a file's columns look like, as a small document that later files are compared with.

A column is *numbers* (quantiles, moments) or *categories* (counts of the most frequent values);
timestamps have their extremes only. A ``Reference`` is the profiles of what was accepted
before: their pool, and each upload by itself, because how much uploads differ among themselves
is the measure of what is normal.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from modelwright.monitoring.distributions import Distribution
from modelwright.project import ColumnType, Source

Floats = npt.NDArray[np.float64]

QUANTILES = 201
TOP = 50
_DIGITS = 9


class ColumnProfile(BaseModel):
    """One column of one file, or of several pooled.

    Attributes:
        rows: rows, missing or not.
        missing: rows without a value.
        infinite: infinite values; they are faults and in no other figure.
        distinct: number of different values (of a pool: the largest of its files).
        mode_share: share of the most frequent value among the values that are there.
        quantiles: at ``QUANTILES`` equal steps from minimum to maximum.
        top: the most frequent categories and their counts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: Literal["numbers", "categories", "times"]
    rows: int
    missing: int
    infinite: int = 0
    distinct: int = 0
    mode_share: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    low: float | None = None
    high: float | None = None
    quantiles: tuple[float, ...] = ()
    top: dict[str, int] = Field(default_factory=dict)

    @property
    def count(self) -> int:
        """Values that are there."""
        return self.rows - self.missing

    @property
    def missing_rate(self) -> float:
        """Share of rows without a value."""
        return self.missing / self.rows if self.rows else 0.0

    @cached_property
    def grid(self) -> Floats:
        """The quantiles as an array."""
        return np.asarray(self.quantiles, dtype=np.float64)

    @cached_property
    def distribution(self) -> Distribution:
        """The numbers, as detectors see them."""
        points, weights = np.unique(self.grid, return_counts=True)
        return Distribution(points, np.asarray(weights * (self.count / max(1, len(self.quantiles))), dtype=np.float64))

    def cumulative(self, points: Floats) -> Floats:
        """Return the share of values at or below each point, from the quantiles (off by at most 1/QUANTILES)."""
        return np.searchsorted(self.grid, points, side="right") / max(1, len(self.quantiles))


class Profile(BaseModel):
    """All columns of one file.

    Attributes:
        start: smallest event time.
        end: largest event time.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    profile_version: int = 1
    source: str
    digest: str
    rows: int
    start: datetime
    end: datetime
    columns: dict[str, ColumnProfile]

    def packed(self) -> bytes:
        """Return the form in which a table keeps it."""
        return zlib.compress(self.model_dump_json().encode(), 6)

    @classmethod
    def unpacked(cls, data: bytes) -> "Profile":
        """Read the form in which a table keeps it."""
        return cls.model_validate_json(zlib.decompress(bytes(data)))


def profile_of(table: pa.Table, source_name: str, source: Source, digest: str) -> Profile:
    """Profile a canonical table with at least one event time."""
    times = table.column(source.event_time)
    extremes = pc.min_max(times).as_py()
    columns = {name: column_profile(table.column(name), column.type) for name, column in source.columns.items()}
    return Profile(
        source=source_name,
        digest=digest,
        rows=table.num_rows,
        start=extremes["min"],
        end=extremes["max"],
        columns=columns,
    )


def column_profile(column: pa.ChunkedArray, kind: ColumnType) -> ColumnProfile:
    """Profile one canonical column."""
    rows, missing = len(column), column.null_count
    if missing == rows or kind == "timestamp":
        return _times(column, rows, missing) if kind == "timestamp" else _empty(kind, rows)
    if kind in ("integer", "number"):
        values = column.drop_null().combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)
        return _numbers(values, rows, missing)
    counts = pc.value_counts(column.drop_null())
    words = [str(word).lower() if kind == "boolean" else word for word in counts.field(0).to_pylist()]
    pairs = sorted(zip(words, counts.field(1).to_pylist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
    return ColumnProfile(
        kind="categories",
        rows=rows,
        missing=missing,
        distinct=len(pairs),
        mode_share=round(pairs[0][1] / (rows - missing), _DIGITS),
        top=dict(pairs[:TOP]),
    )


@dataclass(frozen=True)
class Reference:
    """The uploads of a source that were accepted in the weeks before, oldest first."""

    profiles: tuple[Profile, ...]

    @property
    def rows(self) -> int:
        """Rows of all uploads together."""
        return sum(profile.rows for profile in self.profiles)

    def uploads(self, column: str) -> list[ColumnProfile]:
        """Return the profile of a column in each upload that has values of it."""
        known = (profile.columns.get(column) for profile in self.profiles)
        return [profile for profile in known if profile is not None and profile.count]

    def pooled(self, column: str) -> ColumnProfile | None:
        """Return the column over all uploads together (None: never seen)."""
        return self._pools.get(column)

    @cached_property
    def _pools(self) -> dict[str, ColumnProfile]:
        parts: dict[str, list[ColumnProfile]] = {}
        for profile in self.profiles:
            for name, column in profile.columns.items():
                parts.setdefault(name, []).append(column)
        return {name: pool(columns) for name, columns in parts.items()}


def pool(parts: Sequence[ColumnProfile]) -> ColumnProfile:
    """Return the profile of several files together: counts and extremes exact, quantiles from their grids."""
    filled = [part for part in parts if part.count]
    if not filled:
        return parts[0].model_copy(update={"rows": sum(p.rows for p in parts), "missing": sum(p.rows for p in parts)})
    weights = np.array([part.count for part in filled], dtype=np.float64)
    mean = float(np.average([part.mean for part in filled], weights=weights))
    squares = [part.deviation**2 + (part.mean - mean) ** 2 for part in filled]
    top: dict[str, int] = {}
    for part in filled:
        for value, count in part.top.items():
            top[value] = top.get(value, 0) + count
    lows = [part.low for part in filled if part.low is not None]
    highs = [part.high for part in filled if part.high is not None]
    return ColumnProfile(
        kind=filled[0].kind,
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        infinite=sum(part.infinite for part in parts),
        distinct=max(part.distinct for part in filled),
        mode_share=float(np.average([part.mode_share for part in filled], weights=weights)),
        mean=mean,
        deviation=math.sqrt(float(np.average(squares, weights=weights))),
        low=min(lows, default=None),
        high=max(highs, default=None),
        quantiles=_mixed(filled, weights),
        top=dict(sorted(top.items(), key=lambda pair: (-pair[1], pair[0]))[: 4 * TOP]),
    )


def _mixed(parts: Sequence[ColumnProfile], weights: Floats) -> tuple[float, ...]:
    """Quantiles of the mixture: every grid point stands for an equal share of its file's values."""
    if not parts[0].quantiles:
        return ()
    points = np.concatenate([part.grid for part in parts])
    mass = np.repeat(weights / weights.sum() / QUANTILES, QUANTILES)
    order = np.argsort(points, kind="stable")
    below = np.cumsum(mass[order]) - mass[order] / 2
    grid = np.interp(np.linspace(0, 1, QUANTILES), below, points[order])
    return tuple(_rounded(grid))


def _empty(kind: str, rows: int) -> ColumnProfile:
    numeric = kind in ("integer", "number")
    return ColumnProfile(kind="numbers" if numeric else "categories", rows=rows, missing=rows)


def _times(column: pa.ChunkedArray, rows: int, missing: int) -> ColumnProfile:
    if missing == rows:
        return ColumnProfile(kind="times", rows=rows, missing=missing)
    extremes = pc.min_max(column).as_py()
    low, high = extremes["min"].timestamp(), extremes["max"].timestamp()
    return ColumnProfile(kind="times", rows=rows, missing=missing, low=low, high=high)


def _numbers(values: Floats, rows: int, missing: int) -> ColumnProfile:
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    runs = np.diff(np.concatenate([starts, [len(ordered)]]))
    grid = np.interp(np.linspace(0, len(ordered) - 1, QUANTILES), np.arange(len(ordered)), ordered)
    mean, deviation, low, high = _rounded(np.array([values.mean(), values.std(), ordered[0], ordered[-1]]))
    return ColumnProfile(
        kind="numbers",
        rows=rows,
        missing=missing,
        distinct=len(starts),
        mode_share=round(float(runs.max()) / len(ordered), _DIGITS),
        mean=mean,
        deviation=deviation,
        low=low,
        high=high,
        quantiles=tuple(_rounded(grid)),
    )


def _rounded(values: Floats) -> list[float]:
    """Nine significant digits: enough for every test here, and half the bytes."""
    return [float(f"{value:.{_DIGITS}g}") for value in values]
