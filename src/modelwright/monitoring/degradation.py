"""When a champion counts as degraded: the trigger that retraining listens to.

The newest windows of labelled rows are compared with the first ones after the version became
champion, once per look-back ``k`` (the newest ``k`` against the first ``k``; while they overlap, the
comparison errs on the quiet side). Two things may be wrong: it *ranks* worse (the AUC fell) or it is
*off* (mean score and observed rate differ). Each must exceed a floor that matters and be significant
by day-clustered errors at ``alpha`` over all comparisons of the look (Bonferroni). The Brier score is
measured and no trigger: it rises and falls with the base rate (12 % to 48 % of flights are late) while
the model stays as good.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelwright.events import Estimate
from modelwright.project import MonitoringPolicy
from modelwright.statistics import auc_interval, calibration_gap, clustered_auc, t_quantile

_COMPARISONS = 2


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of one version.

    Attributes:
        days: the day of each row, as a number: rows of one day depend on each other.
    """

    labels: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    days: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Labelled"]) -> "Labelled":
        """Return several parts as one."""
        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.days for part in parts]),
        )

    @property
    def testable(self) -> bool:
        """Both classes twice and two days: less has no standard error."""
        positives = int(self.labels.sum())
        return min(positives, len(self.labels) - positives) >= 2 and len(np.unique(self.days)) >= 2


@dataclass(frozen=True)
class Degradation:
    """What got worse, by how much, and against what."""

    metric: str
    value: Estimate
    reference: float
    reason: str


def degradation_of(windows: Sequence[Labelled], policy: MonitoringPolicy) -> Degradation | None:
    """Judge the windows of a champion, oldest first (those needed: the first and the newest ones)."""
    able = [k for k in policy.look_backs if k <= len(windows)]
    for k in able:
        recent = Labelled.joined(windows[-k:])
        first = Labelled.joined(windows[:k]) if len(windows) > k else None
        found = _compare(recent, first, policy, policy.alpha / (_COMPARISONS * len(able)))
        if found is not None:
            return found
    return None


def _compare(recent: Labelled, first: Labelled | None, policy: MonitoringPolicy, alpha: float) -> Degradation | None:
    if not recent.testable:
        return None
    if first is not None and first.testable:
        new, new_error, new_degrees = clustered_auc(recent.labels, recent.scores, recent.days)
        old, old_error, old_degrees = clustered_auc(first.labels, first.scores, first.days)
        bound = t_quantile(1 - alpha, min(new_degrees, old_degrees)) * math.hypot(new_error, old_error)
        if old - new > max(policy.auc_fall, bound):
            reason = f"AUC {new:.3f} after {old:.3f} in its first windows (chance explains {bound:.3f})"
            value = auc_interval(recent.labels, recent.scores, recent.days)
            return Degradation("auc", value.estimate(), old, reason)
    gap = calibration_gap(recent.labels, recent.scores, recent.days)
    bound = t_quantile(1 - alpha / 2, len(np.unique(recent.days)) - 1) * gap.se
    if abs(gap.value) > max(policy.calibration_gap, bound):
        rate, said = float(recent.labels.mean()), float(recent.scores.mean())
        reason = f"it said {said:.3f} on average and {rate:.3f} were so (chance explains {bound:.3f})"
        return Degradation("calibration_gap", gap.estimate(), 0.0, reason)
    return None
