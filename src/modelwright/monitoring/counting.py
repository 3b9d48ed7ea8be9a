"""How often each category comes, and which come most often, in memory that does not grow with the number of rows.

Up to ``MANY`` different values are counted as they are. Beyond, 64 bits of a hash stand for each: a first reading
counts hashes, a second finds the words of the most frequent. Counts are exact but where two values have one hash, which
is so once in 400,000 columns of ten million different values.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.columns import TOP, ColumnProfile, Lengths, categories

MANY = 1 << 20
PIECE = 1 << 19
"""So many values are looked at at once."""
_EMPTY = pa.table({"value": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
_MOST_FIRST = [("count", "descending"), ("value", "ascending")]

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


def counted(
    pieces: Callable[[], Iterable[pa.Array]], again: Callable[[], Iterable[pa.Array]], many: int = MANY, **said: Any
) -> ColumnProfile:
    """Return the profile of a column of categories.

    Args:
        pieces: gives its arrays, of texts, dictionaries of them, or yes and no.
        again: gives them again, where they are many, best as plain texts.
        many: so many different values are counted as they are.
        said: other fields of the profile: rows and type.
    """
    counts, texts = _EMPTY, True
    for piece in pieces():
        texts = not pa.types.is_boolean(piece.type)
        counts = _together([counts, _counts(piece)])
        if counts.num_rows > many:
            return _Hashed(again).profile(said)
    frequencies = counts.column("count").to_numpy()
    lengths = _lengths(counts.column("value"), frequencies) if texts else None
    return _profile(_most(counts), frequencies, lengths, said)


def hashes_of(frame: Any) -> Hashes:
    """Return 64 bits of a hash for each row of a data frame."""
    import pandas as pd

    return np.asarray(pd.util.hash_pandas_object(frame, index=False, categorize=False), dtype=np.uint64)


# --- as they are -------------------------------------------------------------------------


def _counts(piece: pa.Array) -> pa.Table:
    """Return the different values that are there, each with its count."""
    if pa.types.is_dictionary(piece.type):
        counts = np.bincount(piece.indices.drop_null().to_numpy(), minlength=len(piece.dictionary))
        found = pa.table({"value": piece.dictionary.cast(pa.string()), "count": pa.array(counts, pa.int64())})
        return found if counts.all() else found.filter(pc.greater(found.column("count"), 0))
    pairs = pc.value_counts(piece.drop_null())
    return pa.table({"value": pairs.field(0).cast(pa.string()), "count": pairs.field(1)})


def _together(parts: list[pa.Table]) -> pa.Table:
    filled = [part for part in parts if part.num_rows]
    if not filled:
        return _EMPTY
    # dictionaries that people made may have a word twice
    if len(filled) == 1 and pc.count_distinct(filled[0].column("value")).as_py() == filled[0].num_rows:
        return filled[0]
    counts = pa.concat_tables(filled).group_by("value", use_threads=False).aggregate([("count", "sum")])
    return counts.rename_columns({"count_sum": "count"})


def _most(counts: pa.Table) -> pa.Table:
    """Return the values that are kept, with their counts."""
    return counts if counts.num_rows <= TOP else counts.take(pc.select_k_unstable(counts, TOP, _MOST_FIRST))


def _profile(top: pa.Table, frequencies: Counts, lengths: Lengths | None, said: dict[str, Any]) -> ColumnProfile:
    """Return the profile of a column with these values at its top, and so many of each of all."""
    there = int(frequencies.sum())
    words = dict(zip(top.column("value").to_pylist(), top.column("count").to_pylist(), strict=True))
    return categories(
        words,
        other=there - sum(words.values()),
        distinct=len(frequencies),
        most=int(frequencies.max(initial=0)),
        lengths=lengths,
        missing=said["rows"] - there,
        **said,
    )


def _lengths(values: Any, frequencies: Counts) -> Lengths | None:
    if not len(values):
        return None
    lengths = pc.utf8_length(values).to_numpy().astype(np.int64)
    return Lengths(low=int(lengths.min()), high=int(lengths.max()), total=int(lengths @ frequencies))


# --- by their hashes ---------------------------------------------------------------------


@dataclass
class _Hashed:
    """A column of more different texts than are counted as they are."""

    pieces: Callable[[], Iterable[pa.Array]]

    def profile(self, said: dict[str, Any]) -> ColumnProfile:
        """Return its profile."""
        keys, counts, lengths = self._counted()
        frequent = counts >= max(2, int(np.partition(counts, -TOP)[-TOP]))
        keys, often = keys[frequent], counts[frequent]
        top = _EMPTY
        for values in self._texts() if len(keys) else ():
            hashes = _hashes(values)
            places = np.searchsorted(keys, hashes).clip(max=len(keys) - 1)
            known = keys[places] == hashes
            chosen = pa.table({"value": values.filter(pa.array(known)), "count": often[places[known]]})
            firsts = chosen.group_by("value", use_threads=False).aggregate([("count", "max")])
            both = pa.concat_tables([top, firsts.rename_columns({"count_max": "count"})])
            top = _most(both.group_by(["value", "count"], use_threads=False).aggregate([]))
        return _profile(top, counts, lengths, said)

    def _counted(self) -> tuple[Hashes, Counts, Lengths]:
        """Return the different hashes in order, how often each comes, and the lengths of all texts."""
        parts: list[Hashes] = []
        lows, highs, total = [], [], 0
        for values in self._texts():
            parts.append(_hashes(values))
            lengths = pc.utf8_length(values).to_numpy().astype(np.int64)
            lows.append(int(lengths.min()))
            highs.append(int(lengths.max()))
            total += int(lengths.sum())
        hashes = np.concatenate(parts)
        parts.clear()
        hashes.sort()
        starts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
        counts = np.diff(np.append(starts, len(hashes)))
        return hashes[starts], counts, Lengths(low=min(lows), high=max(highs), total=total)

    def _texts(self) -> Iterator[pa.Array]:
        """Yield the texts that are there, not too many at once."""
        for piece in self.pieces():
            for start in range(0, len(piece), PIECE):
                values = piece.slice(start, PIECE).cast(pa.string()).drop_null()
                if len(values):
                    yield values


def _hashes(values: pa.Array) -> Hashes:
    import pandas as pd

    return np.asarray(pd.util.hash_array(values.to_numpy(zero_copy_only=False), categorize=False), dtype=np.uint64)
