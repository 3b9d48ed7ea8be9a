"""What is to be explained of values that differ, and what an explanation is."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from modelwright.features.history import Ints
from modelwright.features.parity.report import Cause
from modelwright.features.parity.rows import Difference, Recomputation, Sample, Values, same


@dataclass(frozen=True)
class Case:
    """The differences of a sample, and what there is to explain them.

    Attributes:
        sample: the rows that differ in something.
        differences: whose rows are places in the sample.
        current: computes features by the project as it is.
        former: does so by the project of a digest; None where that is not kept.
    """

    sample: Sample
    differences: Sequence[Difference]
    current: Recomputation
    former: Callable[[str], Recomputation | None]

    @property
    def as_of(self) -> Ints:
        """The moments."""
        return np.asarray(self.sample.as_of, dtype=np.int64)


class Hypothesis(NamedTuple):
    """A cause under circumstances, and the places of the differences that it explains."""

    cause: Cause
    text: str
    explains: frozenset[int]


def matching(case: Case, values: Values, places: Iterable[int] | None = None) -> frozenset[int]:
    """Return the differences whose served values are these.

    Args:
        case: the case.
        values: features by name, a value per row.
        places: the rows that the values are of; by default all.
    """
    at = None if places is None else {row: n for n, row in enumerate(places)}
    found = set()
    for n, difference in enumerate(case.differences):
        row = difference.row if at is None else at.get(difference.row, -1)
        if row >= 0 and difference.feature in values and same(values[difference.feature][row], difference.served):
            found.add(n)
    return frozenset(found)


def direct(case: Case, holds: Callable[[Any, Any], bool]) -> frozenset[int]:
    """Return the differences of whose two values something holds."""
    return frozenset(n for n, d in enumerate(case.differences) if holds(d.served, d.offline))
