"""Events of what people are told: webhooks and incidents."""

from datetime import datetime
from typing import Literal

from modelwright.events.envelope import Event


class WebhookChanged(Event):
    """A webhook was made, changed or removed; its address may hold a secret and is not told.

    Attributes:
        listens_to: names of the events that it is told of, ``model_version.created``.
        delivery_id: what somebody had sent again.
    """

    webhook_id: str
    change: Literal["created", "updated", "deleted", "redelivered"]
    listens_to: tuple[str, ...] = ()
    delivery_id: str = ""


class WebhookFailed(Event):
    """A delivery was given up after its last attempt and lies among the dead letters."""

    webhook_id: str
    delivery_id: str
    event_id: str
    attempts: int
    reason: str


class IncidentOpened(Event):
    """Something needs a person's eye."""

    incident_id: str
    severity: Literal["info", "warning", "critical"]
    subject: str
    text: str
    cause_id: str


class IncidentClosed(Event):
    """The cause of an incident is gone."""

    incident_id: str
    reason: str


class SilenceChanged(Event):
    """Alerts of some subjects are kept back until a time, or not any more.

    Attributes:
        subject: incidents whose subject is this or begins with it, if it ends in a slash.
    """

    silence_id: str
    change: Literal["created", "ended"]
    subject: str
    until: datetime
    reason: str


class AlertFailed(Event):
    """A notifier did not take an alert; the others did what they could."""

    notifier: str
    incident_id: str
    reason: str


class AnomalyDetected(Event):
    """A series of figures left the band that its own past makes likely.

    Attributes:
        series: ``model/flights/auc``, ``function/predict/errors``.
        low: of the band.
        high: of the band.
    """

    series: str
    at: datetime
    value: float
    low: float
    high: float
    text: str


class AnomalyEnded(Event):
    """A series is within its band again."""

    series: str
    at: datetime
    value: float
