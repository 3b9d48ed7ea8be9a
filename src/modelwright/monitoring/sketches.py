"""Sketches: the distribution of a column in a few thousand numbers, which can be merged.

Up to ``EXACT`` values a sketch is these values. Beyond, it is a KLL sketch (Karnin, Lang & Liberty, FOCS 2016): numbers
in levels, of which one of level ``h`` stands for ``2^h`` values. Merging concatenates levels; a level that grows too
large is sorted, and every second number of it moves up. All values together weigh what they weighed, always.

Other than the paper's, a sketch of a column that is sorted anyway takes one number of each block of ``2^h`` neighbours
at once, and every sketch knows the largest error that it can have: taking one of a block of ``s`` off its middle half
errs by at most ``s - 1 - s // 4`` ranks, compacting a level of weight ``w`` by ``w`` more. Merging many at once
compacts each level once, so that sixty files err by a fiftieth of what sixty merges in turn could.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelwright.monitoring.distributions import Distribution, Floats

EXACT = 4096
"""So many values are kept as they are."""
POINTS = 2048
"""Most numbers of a level."""
_SHRINK = 2 / 3
_DIGITS = 15
_TENS = np.array([float(f"1e{power}") for power in range(309)])
_NOTHING = np.empty(0)

Ranks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sketch:
    """Numbers in levels.

    Attributes:
        levels: each in ascending order; a number of level ``h`` stands for ``2^h`` values.
        error: by how many values the number of those at or below any point may at most be wrong.
    """

    levels: tuple[Floats, ...] = (_NOTHING,)
    error: int = 0

    @classmethod
    def of(cls, ordered: Floats, exact: int = EXACT, points: int = POINTS) -> "Sketch":
        """Return the sketch of finite values in ascending order; the extremes stay what they are.

        Args:
            ordered: the values.
            exact: so many are kept as they are.
            points: of more, about so many at most are kept.
        """
        if len(ordered) <= exact:
            return cls((np.array(ordered, dtype=np.float64),), 0)
        high = math.ceil(math.log2((len(ordered) - 2) / points))
        starts, sizes = _blocks(1, len(ordered) - 1, high)
        middle, low, up = (ordered[starts + at] for at in (sizes // 2, sizes // 4, sizes - 1 - sizes // 4))
        chosen = _shortest(middle, low, up)
        levels = [chosen[sizes == 1 << level] for level in range(high + 1)]
        levels[0] = np.concatenate([ordered[:1], levels[0], ordered[-1:]])
        return cls(tuple(levels), _block_error(1 << high))

    @classmethod
    def merged(cls, parts: Iterable["Sketch"]) -> "Sketch":
        """Return the sketch of all values of all parts, in whatever order; of exact ones that of the whole."""
        filled = [part for part in parts if part.count]
        if all(part.exact for part in filled):
            return cls.of(np.sort(np.concatenate([_NOTHING, *(part.levels[0] for part in filled)])))
        height = max(len(part.levels) for part in filled)
        levels = [
            np.sort(np.concatenate([part.levels[level] for part in filled if level < len(part.levels)]))
            for level in range(height)
        ]
        return cls(*_compacted(levels, sum(part.error for part in filled)))

    @classmethod
    def of_quantiles(cls, grid: Sequence[float], count: int) -> "Sketch":
        """Return a sketch of ``count`` values of which equally spaced quantiles are known, extremes among them."""
        if not grid or not count:
            return cls()
        places = np.rint(np.linspace(0, len(grid) - 1, count)).astype(np.int64)
        sketch = cls.of(np.sort(np.asarray(grid, dtype=np.float64))[places])
        return cls(sketch.levels, sketch.error + math.ceil(count / max(1, len(grid) - 1)))

    @classmethod
    def read(cls, document: "Sketch | Mapping[str, Any]") -> "Sketch":
        """Return what ``document`` gave."""
        if isinstance(document, Sketch):
            return document
        points = {int(weight): np.asarray(values, dtype=np.float64) for weight, values in document["points"].items()}
        height = max(points, default=1).bit_length()
        return cls(tuple(points.get(1 << level, _NOTHING) for level in range(height)), int(document["error"]))

    def thinned(self, most: int) -> "Sketch":
        """Return a sketch of about so many numbers at most, which are at least 8; its error says what that costs."""
        if sum(map(len, self.levels)) <= most:
            return self
        if self.exact:
            return Sketch.of(self.levels[0], most, most)
        return Sketch(*_compacted(list(self.levels), self.error, max(2, round(most * (1 - _SHRINK)))))

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it: numbers by how many values they stand for."""
        points = {str(1 << h): level.tolist() for h, level in enumerate(self.levels) if len(level)}
        return {"error": self.error, "points": points}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.document() == other.document()

    def __hash__(self) -> int:
        return hash((self.count, self.error))

    @property
    def exact(self) -> bool:
        """Whether it is all values themselves."""
        return self.error == 0 and len(self.levels) == 1

    @cached_property
    def count(self) -> int:
        """How many values it stands for."""
        return sum(len(level) << h for h, level in enumerate(self.levels))

    @cached_property
    def distribution(self) -> Distribution:
        """The values, as detectors see them."""
        values, weights = self._items
        if not len(values):
            return Distribution(_NOTHING, _NOTHING)
        starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        return Distribution(values[starts], np.add.reduceat(weights, starts))

    def quantiles(self, shares: ArrayLike) -> Floats:
        """Return quantiles: of an exact sketch as numpy gives them, else between the middles of neighbouring blocks."""
        values, weights = self._items
        middles = np.cumsum(weights) - (weights + 1) / 2
        found: Floats = np.interp(np.asarray(shares, dtype=np.float64) * (self.count - 1), middles, values)
        return found

    @cached_property
    def _items(self) -> tuple[Floats, Floats]:
        """Numbers in ascending order, and how many values each stands for."""
        if len(self.levels) == 1:
            return self.levels[0], np.ones(len(self.levels[0]))
        values = np.concatenate(self.levels)
        weights = np.repeat(2.0 ** np.arange(len(self.levels)), [len(level) for level in self.levels])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]


def _block_error(size: int) -> int:
    return size - 1 - size // 4


def _blocks(start: int, end: int, high: int) -> tuple[Ranks, Ranks]:
    """Cut ranks into blocks of ``2^high`` and what is left into smaller ones; returns their starts and sizes."""
    whole = (end - start) >> high
    rest = [1 << level for level in range(high - 1, -1, -1) if (end - start) >> level & 1]
    sizes = np.concatenate([np.full(whole, 1 << high), np.array(rest, dtype=np.int64)])
    return start + np.cumsum(sizes) - sizes, sizes


def _shortest(middle: Floats, low: Floats, high: Floats) -> Floats:
    """Round numbers to as few significant digits as keep them within their bounds, so that documents are small.

    Bounds are the ends of the middle halves of blocks of neighbours, any number of which stands for its block.
    """
    found = middle
    left = np.flatnonzero(low < high)
    largest = np.maximum(np.abs(low[left]), np.abs(high[left]))
    power = np.floor(np.log10(largest, where=largest > 0, out=np.zeros_like(largest))).astype(np.int64)
    for digits in range(1, _DIGITS):
        if not len(left):
            break
        rounded = _rounded(middle[left], digits - 1 - power)
        good = (low[left] <= rounded) & (rounded <= high[left])
        found[left[good]] = rounded[good]
        left, power = left[~good], power[~good]
    return found


def _rounded(values: Floats, decimals: Any) -> Floats:
    """Round to decimals, of each value its own; zero is positive."""
    up, down = _TENS[np.clip(decimals, 0, 308)], _TENS[np.clip(-decimals, 0, 308)]
    with np.errstate(over="ignore", invalid="ignore"):
        rounded: Floats = np.rint(values / down * up) / up * down + 0.0
    return rounded


def _compacted(levels: list[Floats], error: int, points: int = POINTS) -> tuple[tuple[Floats, ...], int]:
    """Compact the lowest levels that are too large until all together are not; returns them and the error."""
    count = sum(len(level) << h for h, level in enumerate(levels))
    while True:
        rooms = [max(2, math.ceil(points * _SHRINK**depth)) for depth in range(len(levels) - 1, -1, -1)]
        if sum(map(len, levels)) <= sum(rooms):
            return tuple(levels), error
        h = next(h for h, (level, room) in enumerate(zip(levels, rooms, strict=True)) if len(level) > room)
        if h + 1 == len(levels):
            levels.append(_NOTHING)
        offset = int(np.random.default_rng([count, h]).integers(2))
        even = len(levels[h]) & ~1
        levels[h + 1] = np.sort(np.concatenate([levels[h + 1], levels[h][offset:even:2]]))
        levels[h] = levels[h][even:].copy()  # a view would keep all that is gone in memory
        error += 1 << h
