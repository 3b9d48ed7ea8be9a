"""What checks see and say: a file with what is known of its source, and faults, of rows or of the whole."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.events import Finding
from modelwright.monitoring.columns import ColumnProfile
from modelwright.monitoring.documents import Profile, Reference
from modelwright.monitoring.profiles import profile_of
from modelwright.monitoring.reading import Mask, Rows
from modelwright.project import Source

MIN_ROWS = 30
MIN_UPLOADS = 3
"""With fewer accepted uploads nobody knows how much they differ."""
_IN_ORDER = 0.9

Others = Callable[[str, datetime, datetime], pa.Table | None]
"""Returns the accepted rows of another source of a span of event time; None where there are none."""


def judged_columns(source: Source) -> tuple[str, ...]:
    """Return the columns whose values can be compared with those before: all but the key.

    A key is new in every upload, that is what it is for: no value of it is far off, unknown, or of another kind. What
    can be wrong with one (missing, twice, not as declared) rows are held for. Only an exchange of two columns is looked
    for in keys too, since new ids alone never look like what another column was.
    """
    return tuple(name for name in source.columns if name not in source.key)


def _ranks(values: pa.Array) -> npt.NDArray[np.float64]:
    ordered = values.dictionary_encode()
    if not len(values):
        return np.zeros(0)
    places = pc.rank(ordered.dictionary, tiebreaker="dense").take(ordered.indices)
    return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.float64)


def _nothing(source: str, start: datetime, end: datetime) -> None:
    """Nothing is known of other sources."""


class Fault(NamedTuple):
    """What is wrong.

    Attributes:
        finding: in words, without a value of a row: the log keeps it for ever.
        rows: which rows of the file are wrong; None: the file as a whole, or nobody can say which.
    """

    finding: Finding
    rows: Mask | None = None


@dataclass(frozen=True)
class File:
    """The rows of a file that checks look at, and what is known of its source.

    Attributes:
        name: of the source.
        rows: those that are looked at; ``rows.typed`` in canonical types, ``rows.raw`` as they came.
        reference: what was accepted in the weeks before; empty in checks that are not ``learned``.
        landed: when the file landed.
        newest: last event time of all that was ever accepted; None: nothing was.
        expected: whether it is a correction of what was accepted or held back, and late for that reason.
        others: reads other sources.
        types: how the file stores its columns, where that says anything.
    """

    name: str
    source: Source
    rows: Rows
    landed: datetime
    reference: Reference = field(default_factory=lambda: Reference(()))
    newest: datetime | None = None
    expected: bool = False
    others: Others = _nothing
    types: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def profile(self) -> Profile:
        """What its columns look like; only where some row has an event time."""
        return profile_of(self.rows.figures, self.name, self.source, self.rows.digest, self.types)

    @property
    def judged(self) -> dict[str, ColumnProfile]:
        """What those of its columns look like that learned bounds are for; see ``judged_columns``."""
        return {name: self.profile.columns[name] for name in judged_columns(self.source)}

    def runs(self, column: str) -> bool:
        """Say whether a column of numbers rises or falls with the event time from row to row, as ids and clocks do.

        Spearman's rank correlation at least 0.9, of one upload that tells what of several their order would.
        """
        values, times = self.column(column), self.column(self.source.event_time)
        known = pc.and_(values.is_valid(), times.is_valid())
        ranks = [_ranks(side.filter(known)) for side in (values, times)]
        if ranks[0].size < MIN_ROWS or any(np.ptp(side) == 0 for side in ranks):
            return False
        return abs(float(np.corrcoef(ranks[0], ranks[1])[0, 1])) >= _IN_ORDER

    def uploads(self, column: str) -> list[ColumnProfile]:
        """Return a column in those uploads before that have enough of its values to say how they are distributed."""
        kind = self.profile.columns[column].kind
        return [one for one in self.reference.uploads(column) if one.kind == kind and one.count >= MIN_ROWS]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.rows.typed.num_rows)

    def only(self, wanted: Mask) -> "File":
        """Return the file with some of its rows."""
        return replace(self, rows=self.rows.only(wanted))

    def column(self, name: str) -> pa.Array:
        """Return a column in its canonical type."""
        return plain(self.rows.typed.column(name))


class Check(Protocol):
    """A plugin that judges a file: a dataclass whose fields are its options, made with none; keeps no state.

    Attributes:
        learned: whether it compares with what was accepted before. Then it is asked only where there is some and the
            file has at least ``MIN_ROWS`` rows, and sees only rows that are not held back for other reasons; all that
            was accepted may be of later times, so that the reference is empty.
    """

    learned: ClassVar[bool]

    @property
    def name(self) -> str:
        """How configuration and findings call it."""
        ...

    def check(self, file: File) -> Sequence[Fault]:
        """Return what is wrong with a file."""
        ...


def fault(check: str, column: str, block: bool, text: str, rows: Mask | None = None) -> Fault:
    """Return a fault: *block* means that its rows (or the file) are not to be believed, *warn* lets them go on."""
    return Fault(Finding(check=check, column=column, severity="block" if block else "warn", text=text), rows)


def held(check: str, column: str, rows: Mask, text: str) -> Fault:
    """Return the fault of single rows, which names where they are, not what they say."""
    count = int(rows.sum())
    told = "1 row" if count == 1 else f"{count} rows"
    return fault(check, column, True, f"{column}: {told} held back: {text}{places(rows)}", rows)


def places(rows: Mask, examples: int = 3) -> str:
    """Return the numbers of the first rows of a mask, as a remark."""
    numbers = np.flatnonzero(rows)[:examples] + 1
    return f" (rows {', '.join(map(str, numbers))}{', ...' if int(rows.sum()) > examples else ''})"


def plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole


def mask_of(array: pa.Array) -> Mask:
    """Return what is true in an array; null is not."""
    mask: Mask = array.fill_null(False).to_numpy(zero_copy_only=False)
    return mask.astype(bool)
