"""Distributions of numbers as detectors see them: points in order, and how many values lie at each.

A distribution of few values is exact; one of many stands on the points of a sketch (``sketches``), whose
weights say how many values each stands for. Detectors need not know which: every distance of two
distributions is computed from points and weights alone. Missing and infinite values are in none; tests of
their own look at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """Points and weights.

    Attributes:
        points: finite, ascending, all different.
        weights: how many values each point stands for, above zero.
    """

    points: Floats
    weights: Floats

    @classmethod
    def of(cls, values: ArrayLike) -> "Distribution":
        """Return the exact distribution of the finite values."""
        numbers = np.asarray(values, dtype=np.float64)
        points, counts = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
        return cls(points, counts.astype(np.float64))

    @classmethod
    def mixed(cls, parts: Sequence["Distribution"]) -> "Distribution":
        """Return the distribution of all values of all parts."""
        points = np.concatenate([part.points for part in parts]) if parts else np.empty(0)
        weights = np.concatenate([part.weights for part in parts]) if parts else np.empty(0)
        distinct, inverse = np.unique(points, return_inverse=True)
        return cls(distinct, np.bincount(inverse, weights=weights, minlength=len(distinct)).astype(np.float64))

    @cached_property
    def count(self) -> float:
        """How many values it stands for."""
        return float(self.weights.sum())

    @cached_property
    def heights(self) -> Floats:
        """Of each point, the share of values at or below it."""
        heights: Floats = np.cumsum(self.weights) / max(self.count, 1.0)
        return heights

    def cumulative(self, at: Floats) -> Floats:
        """Return the share of values at or below each of some points."""
        return np.concatenate([[0.0], self.heights])[np.searchsorted(self.points, at, side="right")]

    def below(self, at: Floats) -> Floats:
        """Return the share of values below each of some points."""
        return np.concatenate([[0.0], self.heights])[np.searchsorted(self.points, at, side="left")]

    def quantiles(self, shares: ArrayLike) -> Floats:
        """Return quantiles, interpolated between neighbouring values as numpy's default does.

        Raises:
            ValueError: it has no values.
        """
        if not len(self.points):
            raise ValueError("a distribution without values has no quantiles")
        ends = np.cumsum(self.weights)
        place = np.asarray(shares, dtype=np.float64) * (self.count - 1)
        low, high = np.floor(place), np.ceil(place)
        left, right = (self.points[np.searchsorted(ends, p, side="right").clip(0, len(ends) - 1)] for p in (low, high))
        quantiles: Floats = left + (right - left) * (place - low)
        return quantiles
