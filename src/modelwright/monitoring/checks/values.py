"""Checks of values: far outside of what was seen, of another shape, under another column's name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.checks.files import MIN_ROWS, MIN_UPLOADS, Fault, File, fault, judged_columns, mask_of
from modelwright.monitoring.checks.spreads import goes_on, scale_of
from modelwright.monitoring.checks.units import SAME, distance
from modelwright.monitoring.profiles import ColumnProfile, Floats
from modelwright.monitoring.reading import Mask


@dataclass(frozen=True)
class LearnedRange:
    """Values lie beyond all that was seen, by more than the whole width of what was seen.

    Where it is a quarter of the values these rows are wrong; one in a hundred warns (storms and long delays are rare
    and real), and so does a quarter while there are fewer than ``MIN_UPLOADS``. What goes on (``goes_on``) is always
    beyond what was, and nothing is said of it.
    """

    learned: ClassVar[bool] = True
    name: str = "range"
    block: float = 0.25
    warn: float = 0.01

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column, now in file.judged.items():
            seen, uploads = file.reference.pooled(column), file.reference.uploads(column)
            if now.kind != "numbers" or not now.count or seen is None or seen.count < MIN_ROWS:
                continue
            if goes_on(uploads) or (len(uploads) < MIN_UPLOADS and file.runs(column)):
                continue
            away = _away(file.column(column), seen)
            beyond = away > 1
            outside = float(beyond.sum()) / now.count
            if outside > self.warn:
                far = float(np.median(away[beyond]))
                text = f"{column}: {outside:.0%} of values far outside, most by {far:.3g} times the width of all before"
                known = len(uploads) >= MIN_UPLOADS
                found.append(fault(self.name, column, known and outside > self.block, text, beyond))
        return found


def _away(values: pa.Array, seen: ColumnProfile) -> Floats:
    """Return how far outside of what was seen values lie, in widths of that; 0 inside and of what is missing."""
    low, high = seen.low, seen.high
    if low is None or high is None or low == high:
        return np.zeros(len(values))
    # large integers as the nearest floats, which are as good here; half a width is a number where one is none
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    half = high / 2 - low / 2
    with np.errstate(over="ignore"):
        away = np.maximum(low / 2 - numbers / 2, numbers / 2 - high / 2) / half
    return np.asarray(np.nan_to_num(np.maximum(away, 0), nan=0.0), dtype=np.float64)


@dataclass(frozen=True)
class TextShape:
    """Texts that always had one of a few shapes have others, or are much longer or shorter than any before.

    The shape of a text is what remains when each run of letters is one letter and each run of digits one digit:
    ``o-000123`` has the shape ``a-9``. A column has shapes where the texts that the reference knows, at least
    ``known`` different ones, have at most ``most`` together; of more texts than a profile keeps only the lengths are
    known, and one further from these than they are from each other, by more than one character (numbers in texts grow
    by one at times), is another. A column with few values has a check of its own.
    """

    learned: ClassVar[bool] = True
    name: str = "text_shape"
    block: float = 0.5
    warn: float = 0.01
    known: int = 50
    most: int = 3

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column in judged_columns(file.source):
            declared, seen = file.source.columns[column], file.reference.pooled(column)
            if declared.type != "string" or declared.regex or seen is None:
                continue
            if len(file.reference.uploads(column)) < MIN_UPLOADS:
                continue
            new, told = self._new(file.column(column), seen)
            share = float(new.sum()) / max(1, file.profile.columns[column].count)
            if share > self.warn:
                text = f"{column}: {share:.0%} of texts have {told}"
                found.append(fault(self.name, column, share > self.block, text, new))
        return found

    def _new(self, texts: pa.Array, seen: ColumnProfile) -> tuple[Mask, str]:
        if seen.top or seen.lengths is None:
            shapes = {shape_of(text) for text in seen.top}
            if len(seen.top) < self.known or len(shapes) > self.most:
                return np.zeros(len(texts), dtype=bool), ""
            strange = [text for text in _different(texts) if shape_of(text) not in shapes]
            return mask_of(pc.is_in(texts, pa.array(strange, pa.string()))), "a shape that none had before"
        low, high = seen.lengths.low, seen.lengths.high
        lengths, width = pc.utf8_length(texts), max(high - low, 1)
        beyond = pc.or_(pc.less(lengths, low - width), pc.greater(lengths, high + width))
        return mask_of(beyond), f"a length far from the {low} to {high} characters of those before"


def shape_of(text: str) -> str:
    """Return the shape of a text; see ``TextShape``."""
    return re.sub(r"[0-9]+", "9", re.sub(r"[^\W\d_]+", "a", text))


def _different(texts: pa.Array) -> Iterator[str]:
    return (text for text in pc.unique(texts).to_pylist() if text is not None)


@dataclass(frozen=True)
class SwappedColumns:
    """Two columns stand under each other's name: each looks like what the other was.

    Of numbers, the distance is that of ``unit_change`` (mean difference of quantiles to the nearest of the newest
    uploads, in spreads of one upload); of categories, the share of rows whose value the reference does not know. As
    they stand the two must be further than ``far`` together, exchanged at most a ``gain``-th of that, and each of them
    nearer than it was. Nothing but an exchange is said of the two then. Keys are looked at too: new ones are far from
    those before, but not near another column, which would have to look like keys besides.
    """

    learned: ClassVar[bool] = True
    name: str = "swapped_columns"
    far: float = 1.5
    gain: float = 3.0
    compared: int = 4

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found: list[Fault] = []
        for kind in ("numbers", "categories"):
            names = [name for name, now in file.profile.columns.items() if now.kind == kind and now.count >= MIN_ROWS]
            names = [name for name in names if file.uploads(name)]
            as_is = {name: self._off(file, name, name) for name in names}
            for one, other in combinations(names, 2):
                alike = file.source.columns[one].type == file.source.columns[other].type
                if alike and self._swapped(file, one, other, (as_is[one], as_is[other])):
                    text = f"{one}, {other}: each has the values that the other had: they are swapped"
                    found.append(fault(self.name, f"{one}, {other}", True, text))
        return found if len(found) == 1 else []

    def _swapped(self, file: File, one: str, other: str, as_is: tuple[float, float]) -> bool:
        if sum(as_is) < self.far:
            return False
        exchanged = [self._off(file, one, other), self._off(file, other, one)]
        each = all(after < before for after, before in zip(exchanged, as_is, strict=True))
        return each and sum(exchanged) * self.gain < sum(as_is)

    def _off(self, file: File, name: str, like: str) -> float:
        """Return how far a column is from what another one was."""
        now, uploads = file.profile.columns[name], file.uploads(like)
        if now.kind == "categories":
            # as far as it can be is three spreads
            return 3 * _unknown(now, uploads)
        scale = scale_of(uploads)
        return distance(now, uploads[-self.compared :], SAME, scale) if scale > 0 else 0.0


def _unknown(now: ColumnProfile, uploads: Sequence[ColumnProfile]) -> float:
    seen = {value for upload in uploads for value in upload.top}
    return sum(count for value, count in now.top.items() if value not in seen) / max(1, sum(now.top.values()))
