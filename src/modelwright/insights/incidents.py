"""Incidents: what needs a person's eye, opened once per cause and closed when the cause is gone.

=============  ======================  ==========================  =====================================
entity         pk                      sk                          access pattern
=============  ======================  ==========================  =====================================
incident       ``WS#<ws>#INCIDENT``    ``<subject>``               get by subject; list all, newest state
family         ``WS#<ws>#INCIDENT``    ``<subject up to a />``     get; its incidents by prefix
=============  ======================  ==========================  =====================================

A *subject* names the thing that is wrong (``quarantine/weather/<id>``, ``model/flights/performance``):
while its incident is open, further causes count up and open no second one.

Events come in any order and again, so an incident is open exactly while the newest cause is newer
than the newest event that closes it, by their ids, which sort by the time at which they were
written. What closes is remembered even where nothing is open (a *tombstone*): a cause that it
overtook opens nothing any more. What closes many subjects at once (a promotion, all rollbacks of its
model) leaves its tombstone at their *family*, which openers of that family write too, so that of two
at the same time one sees the other.

Three kinds of events:

- what lasts until another event ends it, or a person: a quarantine until its release, a bad performance until a
  promotion, an estimated one until the estimate is good, an anomaly until the figure is within its band, groups
  that are treated differently until they are not, failed trainings until one completes, a stale view until rows
  come, a feature's values that are not as expected until they are, rows that are held until others of their source
  came of which none was;
- a rollback, each with an incident of its own, until another version of the model is promoted;
- facts without an end (severity ``info``: drift, a declined training, a refused transition): opened
  and closed in one commit. The log has each, the table the newest of each subject.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from modelwright.context import Call
from modelwright.errors import NotFound, Refused
from modelwright.events import (
    AlertFailed,
    AnomalyDetected,
    AnomalyEnded,
    AttributionDrifted,
    Delivery,
    DriftDetected,
    Event,
    ExpectationBroken,
    ExpectationMet,
    FairnessBroken,
    FairnessRestored,
    FeaturesMaterialized,
    FreshnessBroken,
    FreshnessRestored,
    IncidentClosed,
    IncidentOpened,
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
from modelwright.log import Happened, Log, stream_of
from modelwright.protocol import Message
from modelwright.storage import Absent, Is, Item, Key, Put, TableName, Tables, every

TABLE: TableName = "insights"
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
    return Cause(_estimate(event), "warning", text)


def _unfair(event: FairnessBroken) -> Cause:
    return Cause(f"model/{event.model}/fairness/{event.group}/{event.metric}", "warning", event.reason)


def _attributed(event: AttributionDrifted) -> Cause:
    text = (
        f"version {event.version} of {event.model} rests on other features than it was trained on (agreement "
        f"{event.ndcg:.2f}, floor {event.floor:.2f}): {'; '.join(event.features)}"
    )
    return Cause(f"model/{event.model}/attribution", "info", text)


def _unalerted(event: AlertFailed) -> Cause:
    text = f"the channel {event.notifier} took no alert of incident {event.incident_id}: {event.reason}"
    return Cause(f"channel/{event.notifier}/alert", "warning", text)


def _estimate(event: PerformanceEstimated) -> str:
    return f"model/{event.model}/estimate/{event.estimator}/{event.metric}"


def _no_worse(event: PerformanceEstimated) -> tuple[str, ...]:
    return () if event.degraded else (_estimate(event),)


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
    RolloutPromoted: lambda event: (f"model/{event.model}/performance", f"model/{event.model}/rollback/"),
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


def follow(delivery: Delivery, call: Call, *, tables: Tables, log: Log) -> None:
    """Open, count up or close incidents for an event."""
    event = delivery.event
    closes = CLOSES[type(event)](event) if type(event) in CLOSES else ()
    if closes or type(event) not in OPENS:
        events, writes = _closing(delivery, call, closes, tables)
    else:
        cause = OPENS[type(event)](event)
        known = _get(call, cause.subject, tables)
        kind = _recording if cause.severity == "info" else _opening
        events, writes = kind(delivery, call, cause, known, tables)
    log.commit(call, events, writes, delivery=delivery, table=TABLE)


def incidents(call: Call, *, tables: Tables) -> Iterator[dict[str, Any]]:
    """Yield the workspace's incidents, open and closed."""
    call.authorise("incidents:read", "incident/*")
    for item in every(tables, TABLE, _partition(call)):
        if item["incident"]:
            document = json.loads(item["incident"])
            yield {**document, "open": bool(item["open"]), "count": item["count"], "last_text": item["last_text"]}


class CloseIncident(Message):
    """``POST /v1/alerts/incidents/<id>/close``."""

    incident_id: str
    reason: str = Field(min_length=1, max_length=1000)


def close(call: Call, message: CloseIncident, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Close an incident on a person's word; a newer cause opens another one.

    Raises:
        NotFound: there is no incident of that id.
        Refused: it is closed already.
    """
    call.authorise("alerts:write", "alert/*")
    for item in every(tables, TABLE, _partition(call)):
        document = json.loads(item["incident"]) if item["incident"] else {}
        if document.get("incident_id") != message.incident_id:
            continue
        if not item["open"]:
            raise Refused(f"incident {message.incident_id} is closed already")
        reason = f"closed by {call.actor}: {message.reason}"
        event = IncidentClosed(incident_id=message.incident_id, reason=reason)
        happened = Happened(stream_of(call.workspace, "INCIDENT", message.incident_id), event)
        log.commit(call, [happened], [_put(item, open=0, closed=max(item["closed"], item["opened"]))])
        return {**document, "open": False, "count": item["count"], "last_text": item["last_text"]}
    raise NotFound(f"there is no incident {message.incident_id}")


def partitions(workspace: str) -> tuple[str, ...]:
    """Return where items lie that tell in texts what was wrong, with names of files and values of rows."""
    return (f"WS#{workspace}#INCIDENT",)


# --- private -----------------------------------------------------------------------------

_Change = tuple[list[Happened], list[Put]]


def _partition(call: Call) -> str:
    return partitions(call.workspace)[0]


def _get(call: Call, subject: str, tables: Tables) -> Item:
    """Return a subject's or family's item; where there is none, one of version 0 that nothing opened or closed."""
    blank = {"v": 0, "open": 0, "count": 0, "opened": "", "closed": "", "last_text": "", "incident": ""}
    key = Key(_partition(call), subject)
    return tables.get(TABLE, key) or {**key._asdict(), **blank}


def _put(known: Item, **changed: Any) -> Put:
    condition = Is("v", known["v"]) if known["v"] else Absent()
    return Put(TABLE, {**known, **changed, "v": known["v"] + 1}, condition)


def _opening(delivery: Delivery, call: Call, cause: Cause, known: Item, tables: Tables) -> _Change:
    """Open the incident or count it up, unless what closes it overtook its cause."""
    identity, writes = delivery.envelope.id, []
    closed = known["closed"]
    if cause.family:
        family = _get(call, cause.family, tables)
        closed = max(closed, family["closed"])
        writes.append(_put(family))
    if identity < closed:
        return [], []
    if not known["open"]:
        happened, changed = _opened(delivery, call, cause)
        return [happened], [*writes, _put(known, open=1, count=1, **changed)]
    newest = {"opened": identity, "last_text": cause.text} if identity > known["opened"] else {}
    return [], [*writes, _put(known, count=known["count"] + 1, **newest)]


def _recording(delivery: Delivery, call: Call, cause: Cause, known: Item, _: Tables) -> _Change:
    """Open and close an incident at once; the table keeps the newest of the subject."""
    happened, changed = _opened(delivery, call, cause)
    closed = Happened(happened.stream, IncidentClosed(incident_id=delivery.envelope.id, reason="a fact without an end"))
    newest = changed if delivery.envelope.id > known["opened"] else {}
    return [happened, closed], [_put(known, count=known["count"] + 1, **newest)]


def _opened(delivery: Delivery, call: Call, cause: Cause) -> tuple[Happened, dict[str, Any]]:
    identity = delivery.envelope.id
    event = IncidentOpened(
        incident_id=identity, severity=cause.severity, subject=cause.subject, text=cause.text, cause_id=identity
    )
    document = json.dumps({**event.model_dump(mode="json"), "at": call.now.isoformat()})
    happened = Happened(stream_of(call.workspace, "INCIDENT", identity), event)
    return happened, {"opened": identity, "last_text": cause.text, "incident": document}


def _closing(delivery: Delivery, call: Call, subjects: tuple[str, ...], tables: Tables) -> _Change:
    """Close what is open and has no newer cause, and leave tombstones."""
    identity = delivery.envelope.id
    known = [_get(call, subject, tables) for subject in subjects]
    for family in (subject for subject in subjects if subject.endswith("/")):
        members = every(tables, TABLE, _partition(call), prefix=family)
        known += [item for item in members if item["open"]]
    events, writes = [], []
    for item in known:
        ends = item["open"] and item["opened"] < identity
        if ends:
            incident = json.loads(item["incident"])["incident_id"]
            reason = f"{delivery.envelope.type} of {call.now.isoformat()}"
            closed = IncidentClosed(incident_id=incident, reason=reason)
            events.append(Happened(stream_of(call.workspace, "INCIDENT", incident), closed))
        if identity > item["closed"]:
            writes.append(_put(item, closed=identity, open=0 if ends else item["open"]))
    return events, writes
