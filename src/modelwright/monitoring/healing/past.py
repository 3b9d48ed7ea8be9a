"""What was accepted of a source before: with it a repair is compared, value by value."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.healing.numerals import decimals_of
from modelwright.project import Source

Floats = npt.NDArray[np.float64]

FAR = 1.5
"""Columns whose distance is more look like another one."""
NEAR = 1.0
_LEAST = 10
_CATEGORIES = 50
_KNOWN = 0.5
_SHAPED = 0.9
_SPREAD = 4.0
_STEPS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Past:
    """Accepted uploads.

    Attributes:
        source: whose.
        uploads: their rows in canonical types, oldest first; none: nothing is known.
    """

    source: Source
    uploads: tuple[pa.Table, ...] = ()

    def numbers(self, name: str) -> tuple[Floats, ...]:
        """Return a column's numbers, an array per upload that has some."""
        arrays = (_numbers(upload.column(name)) for upload in self.uploads if name in upload.column_names)
        return tuple(array for array in arrays if array.size >= _LEAST)

    def column(self, name: str) -> pa.ChunkedArray | None:
        """Return a column of all uploads; None where there is none."""
        parts = [upload.column(name) for upload in self.uploads if name in upload.column_names]
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks]) if parts else None

    def words(self, name: str) -> frozenset[str]:
        """Return the different texts of a column."""
        column = self.column(name)
        return frozenset() if column is None else frozenset(map(str, pc.unique(column.drop_null()).to_pylist()))

    def decimals(self, name: str) -> int:
        """Return in how many decimals a column's numbers were written; 15 if nothing is known."""
        arrays = self.numbers(name)
        return decimals_of(np.concatenate(arrays)) if arrays else 15

    @cached_property
    def known(self) -> bool:
        """Whether anything was accepted."""
        return bool(self.uploads)

    def distance(self, name: str, values: Floats) -> float | None:
        """Return how far numbers are from a column's; None where nothing can be said.

        The mean absolute difference of the 5 % to 95 % quantiles to the nearest upload, in units of the typical spread
        of one upload (75 % minus 25 % quantile).
        """
        arrays = self.numbers(name)
        if not arrays or values.size < _LEAST:
            return None
        scale = self.spread(name)
        if scale == 0:
            return 0.0 if np.isin(values, np.concatenate(arrays)).all() else None
        now = np.quantile(values, _STEPS)
        return min(float(np.mean(np.abs(now - np.quantile(array, _STEPS)))) for array in arrays) / scale

    def spread(self, name: str) -> float:
        """Return the typical spread of one upload."""
        return float(np.median([float(np.subtract(*np.quantile(array, [0.75, 0.25]))) for array in self.numbers(name)]))

    def _as_spread(self, name: str, values: Floats) -> bool:
        usual, now = self.spread(name), float(np.subtract(*np.quantile(values, [0.75, 0.25])))
        return usual == 0 or usual / _SPREAD < now < usual * _SPREAD

    def fits(self, name: str, values: pa.Array) -> bool | None:
        """Say whether typed values look like those of a column; None where nothing can be said."""
        kind = self.source.columns[name].type
        before, now = self.column(name), values.drop_null()
        if before is None or not len(before.drop_null()) or not len(now) or kind == "timestamp":
            return None
        if kind in ("integer", "number"):
            numbers = _numbers(now)
            distance = self.distance(name, numbers)
            return None if distance is None else distance < FAR and self._as_spread(name, numbers)
        if kind == "boolean":
            return abs(float(pc.mean(before).as_py()) - float(pc.mean(now).as_py())) < 1 / 3
        return _fit_words(before.drop_null(), now)


def _fit_words(before: pa.ChunkedArray, now: pa.Array) -> bool:
    """Say whether words are the same, or, of names that are all different, written alike."""
    known = pc.unique(before)
    if len(known) <= max(_CATEGORIES, len(before) // 20):
        return float(pc.mean(pc.is_in(now, known)).as_py()) >= _KNOWN
    shapes = {shape(word) for word in known.to_pylist()}
    many = len(pc.unique(now)) * len(before) * 4 >= len(known) * len(now)
    return many and float(np.mean([shape(word) in shapes for word in now.to_pylist()])) >= _SHAPED


def shape(word: str) -> str:
    """Return how a word is written: ``aa-0`` for ``UA-1545``."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", word))


def _numbers(column: pa.ChunkedArray | pa.Array) -> Floats:
    return np.asarray(column.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)


def numbers_of(values: pa.Array) -> Floats:
    """Return the numbers of a typed column that are there."""
    return _numbers(values)


def agree(answers: Sequence[bool | None]) -> bool:
    """Say whether no answer is no, and one is yes."""
    return False not in answers and True in answers
