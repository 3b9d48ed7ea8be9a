"""Alerts: what somebody is told at once.

An alert follows from ``IncidentOpened``, when that the incident is open is in the log already. It is
sent first and marked as handled after, so that a topic that fails loses none: it may come twice.
"""

from typing import Protocol

from modelwright.events import Delivery
from modelwright.insights.incidents import TABLE
from modelwright.log import Log


class Topic(Protocol):
    """Where people listen."""

    def send(self, severity: str, subject: str, text: str) -> None:
        """Send one alert; whatever hinders it travels on, so that the delivery is tried again."""
        ...


def alert(delivery: Delivery, *, topic: Topic | None, log: Log) -> None:
    """Send the alert of an incident that opened; facts (severity ``info``) and a stack without a topic send none."""
    opened = delivery.event
    if topic is not None and opened.severity != "info" and not log.handled(TABLE, delivery):
        topic.send(opened.severity, opened.subject, opened.text)
