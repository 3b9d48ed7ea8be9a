"""Incidents: what needs a person's eye, opened once per cause and closed when the cause is gone.

=============  ======================  ==========================  =====================================
entity         pk                      sk                          access pattern
=============  ======================  ==========================  =====================================
incident       ``WS#<ws>#INCIDENT``    ``<subject>``               get by subject; list all, newest state
=============  ======================  ==========================  =====================================

A *subject* names the thing that is wrong (``quarantine/weather``, ``model/flights/performance``):
while its incident is open, further causes count up and open no second one.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from modelwright.context import Call
from modelwright.events import (
    Delivery,
    DriftDetected,
    Event,
    IncidentClosed,
    IncidentOpened,
    PerformanceDegraded,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TransitionRefused,
)
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Absent, Condition, Is, Item, Key, Put, Tables, every

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What an event means for people.

    Attributes:
        subject: names the thing.
        text: one sentence with the figures.
    """

    subject: str
    severity: Severity
    text: str


def _quality(event: QualityFailed) -> Cause:
    reasons = "; ".join(finding.text for finding in event.findings)
    return Cause(f"quarantine/{event.source}", "critical", f"{event.upload_key} is in quarantine: {reasons}")


def _drift(event: DriftDetected) -> Cause:
    moved = ", ".join(f"{c.column} ({c.detector} {c.effect:.3g})" for c in event.columns if c.drifted)
    return Cause(f"drift/{event.source}", "info", f"{event.source} drifted from {event.reference}: {moved}")


def _degraded(event: PerformanceDegraded) -> Cause:
    return Cause(f"model/{event.model}/performance", "warning", event.reason)


def _rolled_back(event: RolloutRolledBack) -> Cause:
    text = f"version {event.challenger} of {event.model} was rolled back: {event.reason}"
    return Cause(f"model/{event.model}/rollback/{event.challenger}", "critical", text)


def _failed(event: TrainingFailed) -> Cause:
    return Cause(f"model/{event.model}/training", "critical", f"training {event.training_id} failed: {event.reason}")


def _declined(event: TrainingDeclined) -> Cause:
    text = f"{event.trigger} asked to train {event.model}: declined: {'; '.join(event.reasons)}"
    return Cause(f"model/{event.model}/declined", "info", text)


def _refused(event: TransitionRefused) -> Cause:
    reasons = "; ".join(result.text for result in event.results if not result.passed)
    text = f"version {event.version} may not become {event.alias}: {reasons}"
    return Cause(f"model/{event.model}/transition", "info", text)


OPENS: dict[type[Event], Callable[[Any], Cause]] = {
    QualityFailed: _quality,
    DriftDetected: _drift,
    PerformanceDegraded: _degraded,
    RolloutRolledBack: _rolled_back,
    TrainingFailed: _failed,
    TrainingDeclined: _declined,
    TransitionRefused: _refused,
}
CLOSES: dict[type[Event], Callable[[Any], tuple[str, ...]]] = {
    QuarantineReleased: lambda event: (f"quarantine/{event.source}",),
    RolloutPromoted: lambda event: (f"model/{event.model}/performance", f"model/{event.model}/declined"),
    TrainingCompleted: lambda event: (f"model/{event.model}/training",),
}


def follow(delivery: Delivery, call: Call, *, tables: Tables, log: Log) -> Cause | None:
    """Open, count up or close incidents for an event; return the cause if one was opened."""
    event = delivery.event
    if type(event) in CLOSES:
        _close(delivery, call, CLOSES[type(event)](event), tables=tables, log=log)
        return None
    cause = OPENS[type(event)](event)
    key = Key(f"WS#{call.workspace}#INCIDENT", cause.subject)
    known = tables.get("insights", key)
    if known is not None and known["open"]:
        counted = {**known, "count": known["count"] + 1, "v": known["v"] + 1, "last_text": cause.text}
        log.commit(call, (), [Put("insights", counted, Is("v", known["v"]))], delivery=delivery, table="insights")
        return None
    _open(delivery, call, cause, known, log=log)
    return cause


def incidents(call: Call, *, tables: Tables) -> Iterator[dict[str, Any]]:
    """Yield the workspace's incidents, open and closed."""
    call.authorise("incidents:read", "incident/*")
    for item in every(tables, "insights", f"WS#{call.workspace}#INCIDENT"):
        document = json.loads(item["incident"])
        yield {**document, "open": bool(item["open"]), "count": item["count"], "last_text": item["last_text"]}


def _open(delivery: Delivery, call: Call, cause: Cause, known: Item | None, *, log: Log) -> None:
    opened = IncidentOpened(
        incident_id=delivery.envelope.id,
        severity=cause.severity,
        subject=cause.subject,
        text=cause.text,
        cause_id=delivery.envelope.id,
    )
    condition: Condition = Is("v", known["v"]) if known else Absent()
    item = {
        "pk": f"WS#{call.workspace}#INCIDENT",
        "sk": cause.subject,
        "v": known["v"] + 1 if known else 1,
        "open": 1,
        "count": 1,
        "last_text": cause.text,
        "incident": json.dumps({**opened.model_dump(mode="json"), "at": call.now.isoformat()}),
    }
    happened = Happened(stream_of(call.workspace, "INCIDENT", opened.incident_id), opened)
    log.commit(call, [happened], [Put("insights", item, condition)], delivery=delivery, table="insights")


def _close(delivery: Delivery, call: Call, subjects: tuple[str, ...], *, tables: Tables, log: Log) -> None:
    events, writes = [], []
    for subject in subjects:
        known = tables.get("insights", Key(f"WS#{call.workspace}#INCIDENT", subject))
        if known is None or not known["open"]:
            continue
        identity = json.loads(known["incident"])["incident_id"]
        closed = IncidentClosed(incident_id=identity, reason=f"{delivery.envelope.type} of {call.now.isoformat()}")
        events.append(Happened(stream_of(call.workspace, "INCIDENT", identity), closed))
        writes.append(Put("insights", {**known, "open": 0, "v": known["v"] + 1}, Is("v", known["v"])))
    log.commit(call, events, writes, delivery=delivery, table="insights")
