"""What estimates performance while labels are missing: plugins of the kind ``estimators``.

An estimator is given what is known, labelled predictions of a version, and what is not, newer predictions of the same
version; it says how the version does on the latter, with intervals, and what has to hold for that to be true. A new
relation of inputs and labels (concept drift) is nothing that any of them can see.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from modelwright.statistics import Floats, Interval
from modelwright.taskmetrics import MIN_CLUSTERS

Days = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Predictions of one version.

    Attributes:
        scores: what it said.
        days: the day of each, as a number: what happens on one day depends on each other.
        features: what it was fed, a column per feature: numbers, or texts as objects; empty where that was not logged.
        labels: what was so; None: not known yet.
    """

    scores: Floats
    days: Days
    features: pd.DataFrame
    labels: Floats | None = None

    def __len__(self) -> int:
        return len(self.scores)


class Estimator(Protocol):
    """Estimates the figures of predictions without labels; made without arguments, keeps no state.

    Attributes:
        name: as in the policy.
        tasks: of models that it can be used for.
        assumes: what has to hold for the estimates to be true, in a sentence.
    """

    @property
    def name(self) -> str:
        """See the attributes."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """See the attributes."""
        ...

    @property
    def assumes(self) -> str:
        """See the attributes."""
        ...

    def estimate(self, known: Answers, unknown: Answers, seed: int) -> dict[str, Interval]:
        """Return figures by name, with intervals in which what labels will tell lies 95 times out of 100.

        Args:
            known: with labels.
            unknown: without.
            seed: the same gives the same.

        Raises:
            InvalidInput: what is known does not suffice; the text says why.
        """
        ...


def within_day(residuals: Floats, days: Days) -> float:
    """Return the correlation of residuals of the same day, at least 0; 0 where too few days tell.

    From the variance of day sums, as the intraclass correlation follows from Kish's design effect ("Survey Sampling",
    1965, sec. 5.4).
    """
    _, codes, sizes = np.unique(days, return_inverse=True, return_counts=True)
    if len(sizes) < MIN_CLUSTERS or sizes.max() < 2:
        return 0.0
    x = residuals - residuals.mean()
    pairs = float((np.bincount(codes, weights=x) ** 2).sum() - (x**2).sum())
    variance = float((x**2).mean())
    return min(1.0, max(0.0, pairs / float((sizes * (sizes - 1.0)).sum()) / variance)) if variance > 0 else 0.0


def design_effect(correlation: float, days: Days) -> float:
    """Return how many times larger the variance of a mean is than if rows of the same day were independent."""
    sizes = np.unique(days, return_counts=True)[1].astype(np.float64)
    return 1.0 + correlation * (float((sizes**2).sum() / sizes.sum()) - 1.0)


def folds_of(days: Days, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold of each row: whole days where there are enough of them, else rows."""
    rng = np.random.default_rng(seed)
    values, codes = np.unique(days, return_inverse=True)
    if len(values) >= max(count, MIN_CLUSTERS):
        return np.asarray((rng.permutation(len(values)) % count)[codes], dtype=np.int64)
    return np.asarray(rng.permutation(len(days)) % count, dtype=np.int64)
