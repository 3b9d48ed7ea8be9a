"""Events of what people are told: webhooks and incidents."""

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
