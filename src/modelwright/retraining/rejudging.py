"""Alarms of recorded history as another monitoring policy would have raised them, as far as recorded figures tell.

The rows themselves are not in the log, so errors are normal ones, taken from the recorded intervals. What cannot be
told from figures of single windows is said in words, and taken to be as it was recorded.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from modelwright.events import Delivery, Estimate, Performance, PerformanceDegraded
from modelwright.project import MonitoringPolicy
from modelwright.retraining import gain
from modelwright.retraining.whatif import History, Step

_Z_975 = 1.959963984540054
_COMPARISONS = 2
"""Of a window: AUC and calibration."""
_THRESHOLDS = ("auc_fall", "calibration_gap", "error_rise")
_TAKEN = ("min_rows", "look_backs", "segments", "fairness")

FEWER_ALARMS = "alarms below the new thresholds are left out; another pair of windows might have raised one instead"
MORE_ALARMS = (
    "alarms that were not recorded are judged from the recorded figures of single windows, not from their rows"
)


def assumed(old: MonitoringPolicy, new: MonitoringPolicy) -> set[str]:
    """Return what is taken to be as recorded, because no recorded figure tells what another policy finds."""
    told = set()
    for name in _TAKEN:
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            told.add(f"windows were judged with {name} {_plain(was)}, as recorded: what {_plain(now)} finds is unknown")
    for name in ("estimators", "streams"):
        if more := sorted(set(getattr(new, name)) - set(getattr(old, name))):
            told.add(f"{name} {', '.join(more)} did not run, so that their alarms are unknown")
    if old.alpha != new.alpha:
        told.add(f"windows were judged with alpha {old.alpha:g}: for {new.alpha:g}, by the recorded intervals alone")
    return told


def heard(
    step: Step, old: MonitoringPolicy, new: MonitoringPolicy, history: History, champion: int | None
) -> tuple[list[Step], set[str]]:
    """Return a step as another policy hears it, and what that rests on: an alarm perhaps not, or one more after labels.

    Args:
        step: of history.
        old: by which its alarms were raised.
        new: the other one.
        history: of which it is.
        champion: who is in charge under the other policy; None where nobody knows.
    """
    if step.delivery is None:
        return [step], set()
    event = step.delivery.event
    if step.type == "PerformanceEstimated":
        return ([step] if event.estimator in new.estimators or not event.degraded else []), set()
    if step.type == "PerformanceDegraded" and not _loud_enough(event, old, new, history):
        return [], {FEWER_ALARMS}
    if step.type == "PerformanceMeasured" and (more := _unheard(step, step.delivery, old, new, history, champion)):
        return [step, more], {MORE_ALARMS}
    return [step], set()


def _loud_enough(event: PerformanceDegraded, old: MonitoringPolicy, new: MonitoringPolicy, history: History) -> bool:
    """Say whether an alarm that was raised is one under another policy."""
    if (name := _stream_of(event.metric)) is not None:
        return name in new.streams
    fall = gain.fall_of(event.metric, event.value.value, event.reference)
    floors = {"auc": new.auc_fall, "calibration_gap": new.calibration_gap}
    if fall <= floors.get(event.metric, new.error_rise * abs(event.reference)):
        return False
    return new.alpha >= old.alpha or fall > _chance(event, new, history)


def _chance(event: PerformanceDegraded, policy: MonitoringPolicy, history: History) -> float:
    """Return how much of a fall chance explains, by the intervals of both figures; of one unknown: as the other's."""
    error = _error(event.value)
    if event.metric == "calibration_gap":
        return _reach(policy, sides=2) * error
    first = _first(history, event.version)
    figure = None if first is None else first.auc if event.metric == "auc" else first.metrics.get(event.metric)
    return _reach(policy) * math.hypot(error, error if figure is None else _error(figure))


def _unheard(
    step: Step,
    measured: Delivery,
    old: MonitoringPolicy,
    new: MonitoringPolicy,
    history: History,
    champion: int | None,
) -> Step | None:
    """Return the alarm that another policy raises on a window, by its figures and those of the first one."""
    lower = [name for name in _THRESHOLDS if getattr(new, name) < getattr(old, name)]
    event = measured.event
    raised = {(one.envelope.correlation_id, one.event.window) for one in history.past.of("PerformanceDegraded")}
    if not (lower or new.alpha > old.alpha) or (step.correlation_id, event.window) in raised or not event.labels_key:
        return None
    version = history.champions.get(step.identity)
    now = figures_of(event.performances, version)
    found = judged(_first(history, version), now, new) if now is not None and now.rows >= 2 else None
    if found is None or version is None:
        return None
    metric, value, reference, reason = found
    alarm = PerformanceDegraded(
        model=history.past.model,
        version=champion or version,
        window=event.window,
        metric=metric,
        value=Estimate(value=value, low=value, high=value),
        reference=reference,
        reason=reason,
    )
    identity = f"{step.identity}~"
    envelope = measured.envelope.model_copy(update={"id": identity, "type": alarm.detail_type()})
    return replace(step, identity=identity, delivery=Delivery(consumer="retrain", envelope=envelope, event=alarm))


def judged(
    first: Performance | None, now: Performance, policy: MonitoringPolicy
) -> tuple[str, float, float, str] | None:
    """Return metric, figure, reference and reason if a window is worse by its recorded figures; None if it is not.

    By normal errors at the policy's ``alpha``: of an AUC from its interval, of a rate from its rows.
    """
    if first is not None and first.auc is not None and now.auc is not None:
        fall = first.auc.value - now.auc.value
        chance = _reach(policy) * math.hypot(_error(first.auc), _error(now.auc))
        if fall > max(policy.auc_fall, chance):
            return "auc", now.auc.value, first.auc.value, f"AUC {now.auc.value:.3f} after {first.auc.value:.3f}"
    if now.auc is None and now.brier is None:
        return _risen(first, now, policy)
    rate = now.positives / now.rows
    gap, chance = now.mean_score - rate, _reach(policy, sides=2) * math.sqrt(rate * (1 - rate) / now.rows)
    if abs(gap) > max(policy.calibration_gap, chance):
        return "calibration_gap", gap, 0.0, f"it said {now.mean_score:.3f} on average and {rate:.3f} were so"
    return None


def _risen(
    first: Performance | None, now: Performance, policy: MonitoringPolicy
) -> tuple[str, float, float, str] | None:
    """Return what ``judged`` does of a task that predicts numbers, by its mean absolute error."""
    then, new = (None if one is None else one.metrics.get("mae") for one in (first, now))
    if then is None or new is None:
        return None
    chance = _reach(policy) * math.hypot(_error(then), _error(new))
    if new.value - then.value <= max(policy.error_rise * then.value, chance):
        return None
    return "mae", new.value, then.value, f"mae {new.value:.4g} after {then.value:.4g}"


def figures_of(performances: Sequence[Performance], version: int | None) -> Performance | None:
    """Return the figures of a version over all rows."""
    return next((one for one in performances if one.version == version and not one.segment), None)


def _first(history: History, version: int | None) -> Performance | None:
    """Return the first figures of a version as champion."""
    for one in history.past.of("PerformanceMeasured"):
        if version is not None and history.champions.get(one.envelope.id) == version:
            return figures_of(one.event.performances, version)
    return None


def _reach(policy: MonitoringPolicy, sides: int = 1) -> float:
    """Return how many standard errors chance explains: the policy's ``alpha`` is shared by all it looks at."""
    return NormalDist().inv_cdf(1 - policy.alpha / (_COMPARISONS * len(policy.look_backs) * sides))


def _error(figure: Estimate) -> float:
    return (figure.high - figure.low) / (2 * _Z_975)


def _stream_of(metric: str) -> str | None:
    """Return which stream detector raised an alarm; None: windows did."""
    return metric.removeprefix("error (").removesuffix(")") if metric.startswith("error (") else None


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, tuple) else f"{value}"
