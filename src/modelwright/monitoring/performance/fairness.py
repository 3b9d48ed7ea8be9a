"""Whether groups are treated alike: rates by group, the largest difference of two, and what chance explains of it.

A difference counts when its interval, corrected over all pairs of groups and rates (Bonferroni), lies beyond the
tolerance as a whole. Rows of one day depend on each other, as in ``taskmetrics``.

======================  =====================================================================  ==================
metric                  rates compared                                                         source
======================  =====================================================================  ==================
``demographic_parity``  positive answers among all                                             Dwork et al. 2012
``equal_opportunity``   positive answers among those whose label is positive                   Hardt et al. 2016
``equalized_odds``      that, and positive answers among those whose label is not              Hardt et al. 2016
``accuracy``            right answers among all                                                Berk et al. 2021
``calibration``         mean score minus label, among all                                      Chouldechova 2017
======================  =====================================================================  ==================
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from modelwright.events import Estimate
from modelwright.project import Fairness
from modelwright.statistics import Floats, Interval, functional_interval
from modelwright.taskmetrics import MIN_CLUSTERS

_ALPHA = 0.05
Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """The two groups that are treated most differently.

    Attributes:
        worst: the group with the smaller rate (of a calibration: that is said too little of).
        difference: of the rates, with an interval that is corrected over all comparisons.
        text: which rate it is, and how large in both.
    """

    worst: str
    best: str
    difference: Estimate
    text: str

    def broken(self, tolerance: float) -> bool:
        """Say whether the difference is larger than tolerated, whatever chance had to do with it."""
        return self.difference.low > tolerance

    def restored(self, tolerance: float) -> bool:
        """Say whether the difference itself is tolerated."""
        return self.difference.value <= tolerance


def difference_of(
    asked: Fairness, groups: Sequence[str | None], labels: Floats, scores: Floats, days: npt.NDArray[np.int64]
) -> Difference | None:
    """Return the largest difference, the surest first; None where fewer than two groups have enough rows.

    Args:
        asked: which groups, and of which rates.
        groups: the group of each row; None: nobody knows.
        labels: 0 or 1.
        scores: probabilities.
        days: of each row.
    """
    names = np.array(["" if name is None else name for name in groups], dtype=object)
    known = np.array([name is not None for name in groups], dtype=bool)
    found: list[Difference] = []
    rates = dict(_rates(asked, labels.astype(bool), scores))
    for rate, (values, among) in rates.items():
        large = _large(names, known & among, asked.min_rows)
        comparisons = len(rates) * max(1, len(large) * (len(large) - 1) // 2)
        for one, other in combinations(sorted(large), 2):
            found.append(_compared(rate, values, {one: large[one], other: large[other]}, days, _ALPHA / comparisons))
    return max(found, key=lambda each: (each.difference.low, each.difference.value), default=None)


def _rates(asked: Fairness, labels: Rows, scores: Floats) -> Iterator[tuple[str, tuple[Floats, Rows]]]:
    """Yield the values whose means are compared, and among which rows."""
    every, said = np.ones(len(labels), dtype=bool), scores >= asked.threshold
    if asked.metric == "demographic_parity":
        yield "rate of positive answers", (said.astype(np.float64), every)
    if asked.metric in ("equal_opportunity", "equalized_odds"):
        yield "true positive rate", (said.astype(np.float64), labels)
    if asked.metric == "equalized_odds":
        yield "false positive rate", (said.astype(np.float64), ~labels)
    if asked.metric == "accuracy":
        yield "accuracy", ((said == labels).astype(np.float64), every)
    if asked.metric == "calibration":
        yield "mean score minus label", (scores - labels, every)


def _large(names: npt.NDArray[np.object_], rows: Rows, least: int) -> dict[str, Rows]:
    values, counts = np.unique(names[rows].astype(str), return_counts=True)
    return {str(value): rows & (names == value) for value, count in zip(values, counts, strict=True) if count >= least}


def _compared(
    rate: str, values: Floats, pair: Mapping[str, Rows], days: npt.NDArray[np.int64], alpha: float
) -> Difference:
    means = {name: float(values[rows].mean()) for name, rows in pair.items()}
    worst, best = sorted(pair, key=lambda name: means[name])
    interval = _difference(values, pair[worst], pair[best], days, 1 - alpha)
    text = f"{rate} {means[worst]:.3f} of {worst} and {means[best]:.3f} of {best}"
    return Difference(worst, best, interval.estimate(), text)


def _difference(values: Floats, low: Rows, high: Rows, days: npt.NDArray[np.int64], level: float) -> Interval:
    value = float(values[high].mean() - values[low].mean())
    influence = np.zeros(len(values))
    both = low | high
    count = int(both.sum())
    influence[high] = (values[high] - values[high].mean()) * count / high.sum()
    influence[low] = (values[low].mean() - values[low]) * count / low.sum()
    clusters = days[both] if len(np.unique(days[both])) >= MIN_CLUSTERS else None
    return functional_interval(value, influence[both], clusters, level)
