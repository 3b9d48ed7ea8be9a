"""When a champion counts as degraded: the trigger that retraining listens to.

The newest windows of labelled rows are compared with the first ones after the version became
champion, once per look-back ``k`` (the newest ``k`` against the first ``k``; while they overlap, the
comparison errs on the quiet side). Two things may be wrong: it *ranks* worse (the AUC fell) or it is
*off* (mean score and observed rate differ). Each must exceed a floor that matters and be significant
by day-clustered errors at ``alpha`` over all comparisons of the look (Bonferroni). The Brier score is
measured and no trigger: it rises and falls with the base rate (12 % to 48 % of flights are late) while
the model stays as good.

Of numbers and forecasts one thing may be wrong: the mean absolute error (which no single outlier moves much) rose, by
more than ``error_rise`` of the first one. Of rankings it is 1 - NDCG@10, of each list.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modelwright.events import Estimate
from modelwright.project import MonitoringPolicy
from modelwright.statistics import auc_interval, calibration_gap, clustered_auc, mean_interval, t_quantile
from modelwright.taskmetrics import TOP, ranking_by_list

_COMPARISONS = 2


@dataclass(frozen=True)
class Labelled:
    """Labelled rows of one version.

    Attributes:
        labels: 0 or 1, or the numbers themselves.
        days: the day of each row, as a number: rows of one day depend on each other.
        lists: of a ranking, the list that each row belongs to; else empty.
    """

    labels: npt.NDArray[np.float64] | npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float64]
    days: npt.NDArray[np.int64]
    lists: npt.NDArray[np.str_] | None = None

    @classmethod
    def joined(cls, parts: Sequence["Labelled"]) -> "Labelled":
        """Return several parts as one."""
        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.days for part in parts]),
            None if any(part.lists is None for part in parts) else np.concatenate([_lists(part) for part in parts]),
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


def degradation_of(
    windows: Sequence[Labelled], policy: MonitoringPolicy, task: str = "classification"
) -> Degradation | None:
    """Judge the windows of a champion, oldest first (those needed: the first and the newest ones)."""
    able = [k for k in policy.look_backs if k <= len(windows)]
    for k in able:
        recent = Labelled.joined(windows[-k:])
        first = Labelled.joined(windows[:k]) if len(windows) > k else None
        if task == "classification":
            found = _compare(recent, first, policy, policy.alpha / (_COMPARISONS * len(able)))
        else:
            found = _compare_errors(recent, first, policy, policy.alpha / len(able), task)
        if found is not None:
            return found
    return None


def _compare_errors(
    recent: Labelled, first: Labelled | None, policy: MonitoringPolicy, alpha: float, task: str
) -> Degradation | None:
    if first is None:
        return None
    name, new, new_days = _errors(recent, task)
    _, old, old_days = _errors(first, task)
    if min(len(np.unique(new_days)), len(np.unique(old_days))) < 2:
        return None
    now, then = mean_interval(new, new_days), mean_interval(old, old_days)
    degrees = min(len(np.unique(new_days)), len(np.unique(old_days))) - 1
    bound = t_quantile(1 - alpha, degrees) * math.hypot(now.se, then.se)
    if now.value - then.value <= max(policy.error_rise * then.value, bound):
        return None
    reason = f"{name} {now.value:.4g} after {then.value:.4g} in its first windows (chance explains {bound:.2g})"
    return Degradation(name, now.estimate(), then.value, reason)


def _errors(rows: Labelled, task: str) -> tuple[str, npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return what the error is called, its values, and the day of each."""
    if task != "ranking":
        return "mae", np.abs(rows.scores - rows.labels), rows.days
    lists = _lists(rows)
    gain = ranking_by_list(rows.labels, rows.scores, lists)[f"ndcg@{TOP}"]
    _, first, codes = np.unique(lists, return_index=True, return_inverse=True)
    relevant = np.bincount(codes, weights=np.maximum(np.asarray(rows.labels, dtype=np.float64), 0)) > 0
    return f"1 - ndcg@{TOP}", 1 - gain, rows.days[first][relevant]


def _lists(rows: Labelled) -> npt.NDArray[np.str_]:
    return np.empty(0, dtype=np.str_) if rows.lists is None else rows.lists


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
