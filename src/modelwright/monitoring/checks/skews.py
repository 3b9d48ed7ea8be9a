"""The check of one source against another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.checks.files import Fault, File, fault, mask_of, plain
from modelwright.monitoring.reading import Mask


@dataclass(frozen=True)
class Skew:
    """A column says another thing than the same column of another source.

    With ``on``, rows of the same key are compared, and those that differ are what is wrong; without, the shares of its
    values, by their total variation distance (half the sum of the differences, 0 to 1). It warns, for nobody knows
    which of the two is right; who knows says so by ``severity``. What the other source does not have is not compared.

    Attributes:
        source: the other source; empty: nothing is compared.
        column: of both sources.
        other: its name in the other source, if it is another.
        on: columns that name a row in both.
        tolerance: which difference of numbers, as a share of the larger one, does not matter.
        share: which share of differing rows, or distance of shares, does not matter.
    """

    learned: ClassVar[bool] = False
    name: str = "skew"
    source: str = ""
    column: str = ""
    other: str = ""
    on: tuple[str, ...] = ()
    tolerance: float = 1e-6
    share: float = 0.01

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        times = pc.min_max(file.column(file.source.event_time)).as_py()
        if not self.source or times["min"] is None:
            return []
        theirs = file.others(self.source, times["min"], times["max"])
        if theirs is None or (self.other or self.column) not in theirs.column_names:
            return []
        mine = file.rows.typed
        if any(name not in theirs.column_names or theirs[name].type != mine[name].type for name in self.on):
            return []  # of before the declaration was changed
        if self.on:
            return self._rows(mine, theirs)
        apart = _variation(mine.column(self.column), theirs.column(self.other or self.column))
        text = f"{self.column}: its shares differ from those of {self.source} by {apart:.0%}"
        return [fault(self.name, self.column, False, text)] if apart > self.share else []

    def _rows(self, mine: pa.Table, theirs: pa.Table) -> Sequence[Fault]:
        on = list(self.on)
        known = theirs.select([*on, self.other or self.column]).rename_columns([*on, "theirs"])
        # of several rows of a key the last counts
        known = known.group_by(on, use_threads=False).aggregate([("theirs", "last")])
        numbered = mine.select([*on, self.column]).append_column("place", pa.array(np.arange(mine.num_rows)))
        joined = numbered.join(known, on, join_type="inner", use_threads=False)
        differ = self._differ(plain(joined.column(self.column)), plain(joined.column("theirs_last")))
        if not joined.num_rows or differ.mean() <= self.share:
            return []
        rows = np.zeros(mine.num_rows, dtype=bool)
        rows[joined.column("place").to_numpy()[differ]] = True
        text = f"{self.column}: {int(rows.sum())} of {joined.num_rows} rows say another thing than {self.source}"
        return [fault(self.name, self.column, False, text, rows)]

    def _differ(self, mine: pa.Array, theirs: pa.Array) -> Mask:
        if all(pa.types.is_integer(side.type) or pa.types.is_floating(side.type) for side in (mine, theirs)):
            # large integers lose less than the tolerance
            floats = (side.cast(pa.float64(), safe=False) for side in (mine, theirs))
            one, two = (side.to_numpy(zero_copy_only=False) for side in floats)
            with np.errstate(invalid="ignore"):
                differ: Mask = np.abs(one - two) > self.tolerance * np.maximum(np.abs(one), np.abs(two))
            return differ
        if mine.type != theirs.type:
            mine, theirs = mine.cast(pa.string()), theirs.cast(pa.string())
        return mask_of(pc.not_equal(mine, theirs))


def _variation(mine: pa.ChunkedArray, theirs: pa.ChunkedArray) -> float:
    """Return half the sum of the differences of the values' shares."""
    counted = []
    for column in (mine, theirs):
        counts = pc.value_counts(plain(column).drop_null())
        total = max(1, len(column) - column.null_count)
        counted.append({pair["values"]: pair["counts"] / total for pair in counts.to_pylist()})
    values = {*counted[0], *counted[1]}
    return float(sum(abs(counted[0].get(value, 0) - counted[1].get(value, 0)) for value in values)) / 2
