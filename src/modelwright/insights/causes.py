"""Causes: which events need a person's eye, in words, and which events say that it is needed no longer.

Three kinds of events open:

- what lasts until another event ends it, or a person: a quarantine until its release, a bad performance until
  another version is champion, an estimated one until that or the estimate is good or taken back, an anomaly until
  the figure is within its band, groups that are treated differently until they are not or another version is
  champion, failed trainings until one completes, a stale view until rows come, a feature's values that are not as
  expected until they are, rows that are held until others of their source came of which none was, a channel that
  took no alert until it takes one;
- a rollback, each with an incident of its own, until another version of the model is champion;
- facts without an end (severity ``info``: drift, a declined training, a refused transition).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from modelwright.events import (
    AlertFailed,
    AliasChanged,
    AnomalyDetected,
    AnomalyEnded,
    AttributionDrifted,
    DriftDetected,
    Event,
    ExpectationBroken,
    ExpectationMet,
    FairnessBroken,
    FairnessRestored,
    FeaturesMaterialized,
    FreshnessBroken,
    FreshnessRestored,
    ParityFailed,
    ParityProven,
    PerformanceDegraded,
    PerformanceEstimated,
    QualityFailed,
    QuarantineReleased,
    RepairAsked,
    RolloutPromoted,
    RolloutRolledBack,
    RowsHeld,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TransitionRefused,
    WebhookChanged,
    WebhookFailed,
)

_REASONS = 3

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What an event means for people.

    Attributes:
        subject: names the thing.
        text: one sentence with the figures.
        family: the beginning of the subject (with the slash) that some event closes as a whole.
    """

    subject: str
    severity: Severity
    text: str
    family: str = ""


def _quality(event: QualityFailed) -> Cause:
    reasons = "; ".join(finding.text for finding in event.findings)
    subject = f"quarantine/{event.source}/{event.quarantine_id}"
    return Cause(subject, "critical", f"{event.upload_key} is in quarantine: {reasons}")


def _drift(event: DriftDetected) -> Cause:
    moved = ", ".join(f"{c.column} ({c.detector} {c.effect:.3g})" for c in event.columns if c.drifted)
    return Cause(f"drift/{event.source}", "info", f"{event.source} drifted from {event.reference}: {moved}")


def _degraded(event: PerformanceDegraded) -> Cause:
    return Cause(f"model/{event.model}/performance", "warning", event.reason)


def _rolled_back(event: RolloutRolledBack) -> Cause:
    text = f"version {event.challenger} of {event.model} was rolled back: {event.reason}"
    family = f"model/{event.model}/rollback/"
    return Cause(f"{family}{event.rollout_id}", "critical", text, family)


def _failed(event: TrainingFailed) -> Cause:
    return Cause(f"model/{event.model}/training", "critical", f"training {event.training_id} failed: {event.reason}")


def _declined(event: TrainingDeclined) -> Cause:
    text = f"{event.trigger} asked to train {event.model}: declined: {'; '.join(event.reasons)}"
    return Cause(f"model/{event.model}/declined", "info", text)


def _refused(event: TransitionRefused) -> Cause:
    reasons = "; ".join(result.text for result in event.results if not result.passed)
    text = f"version {event.version} may not become {event.alias}: {reasons}"
    return Cause(f"model/{event.model}/transition", "info", text)


def _undelivered(event: WebhookFailed) -> Cause:
    text = f"delivery {event.delivery_id} was given up after {event.attempts} attempts: {event.reason}"
    return Cause(f"webhook/{event.webhook_id}", "warning", text)


def _stale(event: FreshnessBroken) -> Cause:
    newest = f"the newest did at {event.newest:%Y-%m-%d %H:%M:%S} UTC" if event.newest else "there never was one"
    text = f"no row of view {event.view} became known for more than {event.limit}: {newest}"
    return Cause(f"view/{event.view}/freshness", "warning", text)


def _unexpected(event: ExpectationBroken) -> Cause:
    text = f"values of {event.feature} in view {event.view} are not what is expected: {event.text}"
    return Cause(f"view/{event.view}/expectation/{event.feature}", "warning", text)


def _unequal(event: ParityFailed) -> Cause:
    what = ", ".join(f"{d.feature} in {d.count} rows ({d.cause})" for d in event.differences)
    text = f"{event.service} is served otherwise than it is trained on: {what}; proof {event.digest[:16]}"
    return Cause(f"service/{event.service}/parity", "warning", text)


def _held(event: RowsHeld) -> Cause:
    reasons = "; ".join(event.reasons[:_REASONS])
    more = "; and more" if len(event.reasons) > _REASONS else ""
    text = (
        f"{event.rows} rows of {event.upload_key} are held and in no feature of {event.source}: {reasons}{more}. They "
        f"lie in the lake at {event.key}. Send them again corrected, or repair the function that derives from them and "
        f"run `modelwright features backfill {event.source}`: the next new rows of it, if none is held, close this"
    )
    return Cause(f"source/{event.source}/held", "warning", text)


def _asked(event: RepairAsked) -> Cause:
    choices = "; ".join(event.choices) or "nothing is known to help"
    text = (
        f"a repair of {event.source} waits for a person: {event.reason}: {choices}. Run `modelwright quarantine show "
    )
    return Cause(f"quarantine/{event.source}/{event.quarantine_id}", "critical", f"{text}{event.quarantine_id}`")


def _anomalous(event: AnomalyDetected) -> Cause:
    return Cause(f"series/{event.series}", "warning", event.text)


def _estimated(event: PerformanceEstimated) -> Cause:
    figures = f"{event.value.value:.3f} ({event.value.low:.3f} to {event.value.high:.3f})"
    text = (
        f"{event.metric} of {event.model} version {event.version} is estimated at {figures} by {event.estimator}, "
        f"after {event.reference:.3f}; no label says so yet. It assumes: {event.assumes}"
    )
    return Cause(_estimate(event), "warning", text, _estimates(event.model))


def _unfair(event: FairnessBroken) -> Cause:
    family = f"model/{event.model}/fairness/"
    return Cause(f"{family}{event.group}/{event.metric}", "warning", event.reason, family)


def _attributed(event: AttributionDrifted) -> Cause:
    text = (
        f"version {event.version} of {event.model} rests on other features than it was trained on (agreement "
        f"{event.ndcg:.2f}, floor {event.floor:.2f}): {'; '.join(event.features)}"
    )
    return Cause(f"model/{event.model}/attribution", "info", text)


def _unalerted(event: AlertFailed) -> Cause:
    text = f"the channel {event.notifier} took no alert of incident {event.incident_id}: {event.reason}"
    return Cause(channel_subject(event.notifier), "warning", text)


def _estimate(event: PerformanceEstimated) -> str:
    return f"{_estimates(event.model)}{event.estimator}/{event.metric}"


def _estimates(model: str) -> str:
    """Return the family of what is estimated of a model."""
    return f"model/{model}/estimate/"


def channel_subject(name: str) -> str:
    """Return the subject of a channel that takes no alerts."""
    return f"channel/{name}/alert"


def _no_worse(event: PerformanceEstimated) -> tuple[str, ...]:
    return () if event.degraded else (_estimate(event),)


def _succeeded(event: RolloutPromoted | AliasChanged) -> tuple[str, ...]:
    """Return what another champion makes a matter of the past."""
    if isinstance(event, AliasChanged) and (event.alias != "champion" or event.version == event.previous):
        return ()
    model = f"model/{event.model}/"
    gone = (f"{model}performance", _estimates(event.model), f"{model}fairness/")
    return gone if isinstance(event, AliasChanged) and event.version is None else (*gone, f"{model}rollback/")


OPENS: dict[type[Event], Callable[[Any], Cause]] = {
    QualityFailed: _quality,
    DriftDetected: _drift,
    PerformanceDegraded: _degraded,
    RolloutRolledBack: _rolled_back,
    TrainingFailed: _failed,
    TrainingDeclined: _declined,
    TransitionRefused: _refused,
    WebhookFailed: _undelivered,
    FreshnessBroken: _stale,
    ExpectationBroken: _unexpected,
    ParityFailed: _unequal,
    RowsHeld: _held,
    RepairAsked: _asked,
    AnomalyDetected: _anomalous,
    PerformanceEstimated: _estimated,
    FairnessBroken: _unfair,
    AttributionDrifted: _attributed,
    AlertFailed: _unalerted,
}
CLOSES: dict[type[Event], Callable[[Any], tuple[str, ...]]] = {
    QuarantineReleased: lambda event: (f"quarantine/{event.source}/{event.quarantine_id}",),
    RolloutPromoted: _succeeded,
    AliasChanged: _succeeded,
    TrainingCompleted: lambda event: (f"model/{event.model}/training",),
    ParityProven: lambda event: (f"service/{event.service}/parity",),
    FreshnessRestored: lambda event: (f"view/{event.view}/freshness",),
    ExpectationMet: lambda event: (f"view/{event.view}/expectation/{event.feature}",),
    FeaturesMaterialized: lambda event: (f"source/{event.source}/held",) if event.whole else (),
    WebhookChanged: lambda event: () if event.change == "created" else (f"webhook/{event.webhook_id}",),
    AnomalyEnded: lambda event: (f"series/{event.series}",),
    PerformanceEstimated: _no_worse,
    FairnessRestored: lambda event: (f"model/{event.model}/fairness/{event.group}/{event.metric}",),
}
"""Which subjects an event closes; one that ends in a slash is a family."""
