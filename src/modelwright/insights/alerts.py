"""Alerts: what somebody is told at once of incidents, and what waits.

An alert follows from ``IncidentOpened``. It is kept first, then sent to each channel that takes it, and what a
channel did not take is tried again by the schedule ``sweep``: none is lost, and each channel is told once, but for
a function that dies between sending and noting it. A channel never hinders another one.

- *Grouped*: incidents of one thing (a source, a model) within ``TOGETHER`` of its first alert come in one more
  message when that time is over, unless one is more severe than all that was told. Each channel's message is of the
  incidents that it takes, and what it does not take comes together again.
- *Silenced*: kept back until no silence covers them any more, and then told only if the incident is still open.
- *Closed*: whoever was told that it opened is told that it closed, also if it closed while it was being told; what
  closed before anybody was told, or before it was heard to open, is not told.
- *Taken again*: a channel that was given up, and takes something, closes the incident about itself.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from modelwright.context import Call
from modelwright.errors import ConditionFailed, ModelwrightError
from modelwright.events import AlertFailed, Delivery, IncidentClosed, IncidentOpened
from modelwright.insights.alert_store import (
    RETRY_AFTER,
    Alert,
    Group,
    load,
    load_group,
    save,
    save_group,
    tombstone,
    waiting,
)
from modelwright.insights.causes import Severity
from modelwright.insights.incidents import FACT, TABLE
from modelwright.insights.notices import TIERS, Channel, Notice, Notifiers, channels_of, note_taken, tell
from modelwright.insights.silences import silenced_until, silences_of
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Tables, Write

TOGETHER = timedelta(minutes=30)
"""Of domain time: what one cause breaks, breaks within this."""
_NAMED = 20
_RACES = 8
"""Times that a note of who was told gives way to another one before it is an error."""


@dataclass(frozen=True)
class Desk:
    """Sends alerts.

    Attributes:
        topic: whether the stack has a topic of its own.
        wall: tells the time from which on what is over is kept for a while.
    """

    tables: Tables
    log: Log
    notifiers: Notifiers
    topic: bool = False
    wall: Callable[[], datetime] = lambda: datetime.now(UTC)

    def opened(self, delivery: Delivery, call: Call) -> bool:
        """Keep and send the alert of an incident that opened; returns whether anybody was told at once."""
        event: IncidentOpened = delivery.event
        channels = [one for one in self._channels(call) if one.takes(event.severity, event.subject)]
        if not channels or load(self.tables, call.workspace, event.incident_id) is not None:
            return False
        alert = Alert(
            incident_id=event.incident_id, severity=event.severity, subject=event.subject, text=event.text, at=call.now,
            to=tuple(channel.name for channel in channels), waits="send", due=call.now + RETRY_AFTER,
        )  # fmt: skip
        until = silenced_until(silences_of(self.tables, call.workspace), event.subject, call.now)
        group = load_group(self.tables, call.workspace, _group_of(event.subject))
        writes: list[Write] = []
        if until is not None:
            alert = alert.silenced(until)
        elif group and call.now < group.at + TOGETHER and _rank(event.severity) >= _rank(group.severity):
            alert = alert.model_copy(update={"waits": "group", "due": group.at + TOGETHER})
        else:
            leading = Group(at=call.now, severity=event.severity)
            writes.append(save_group(call.workspace, _group_of(event.subject), leading, group))
        writes += save(call.workspace, alert, None)
        self.log.commit(call, (), writes, delivery=delivery, table=TABLE)
        kept = alert.model_copy(update={"v": 1})
        return kept.waits == "send" and self._send(call, [kept], channels)

    def closed(self, delivery: Delivery, call: Call) -> None:
        """Tell those who were told that it opened; drop what waits."""
        event: IncidentClosed = delivery.event
        alert = load(self.tables, call.workspace, event.incident_id)
        if alert is None and event.reason != FACT:
            over = tombstone(event.incident_id, event.reason, call.now)
            writes = save(call.workspace, over, None, expires=self.wall())
            self.log.commit(call, (), writes, delivery=delivery, table=TABLE)
        if alert is None or alert.closed:
            return
        ended = alert.closing(event.reason, call.now)
        self.log.commit(call, (), save(call.workspace, ended, alert), delivery=delivery, table=TABLE)
        if ended.waits == "close" and alert.told:
            self._send(call, [ended.model_copy(update={"v": alert.v + 1})], self._channels(call))

    def sweep(self, call: Call) -> None:
        """Send what waits and is due, of all workspaces: groups as one message, ended silences, what was not taken."""
        for workspace, alerts in waiting(self.tables).items():
            if due := [alert for alert in alerts if alert.is_due(call.now)]:
                self._sweep(replace(call, workspace=workspace), due)

    # --- private -------------------------------------------------------------------------

    def _channels(self, call: Call) -> tuple[Channel, ...]:
        return channels_of(self.tables, call.workspace, topic=self.topic)

    def _sweep(self, call: Call, alerts: Sequence[Alert]) -> None:
        channels, silences = self._channels(call), silences_of(self.tables, call.workspace)
        together: dict[tuple[str, str], list[Alert]] = defaultdict(list)
        for alert in alerts:
            closing = alert.waits == "close"
            until = None if closing else silenced_until(silences, alert.subject, call.now)
            if until is None:
                together[_group_of(alert.subject), alert.incident_id if closing else ""].append(alert)
            elif (alert.waits, alert.due) != ("silence", until):
                # who lost a race looks again with the next sweep
                with suppress(ConditionFailed):
                    self.log.commit(call, (), save(call.workspace, alert.silenced(until), alert))
        for group in together.values():
            self._send(call, group, channels)

    def _send(self, call: Call, alerts: Sequence[Alert], channels: Sequence[Channel]) -> bool:
        """Tell each channel in one message what it still has to be told, and note who took it; says if anybody did."""
        answers: dict[str, str] = {}
        for channel in channels:
            if its := [alert for alert in alerts if channel.name in alert.to]:
                answers[channel.name] = self._tell(call, channel, its)
        for alert in alerts:
            self._note(call, alert, answers, channels)
        for name, fault in answers.items():
            if not fault:
                note_taken(call, name, "took an alert again", tables=self.tables, log=self.log)
        return "" in answers.values()

    def _tell(self, call: Call, channel: Channel, alerts: Sequence[Alert]) -> str:
        """Send one message; returns why it was not taken, empty if it was."""
        notice = _notice(call.workspace, alerts[0]) if len(alerts) == 1 else _several(call.workspace, alerts)
        try:
            tell(self.notifiers, channel, notice)
        except ModelwrightError as error:
            return error.logged or type(error).__name__
        return ""

    def _note(self, call: Call, alert: Alert, answers: Mapping[str, str], channels: Sequence[Channel]) -> None:
        """Keep who took an alert, whatever became of it meanwhile; what closed while it was told is told at once."""
        close, newest = alert.waits == "close", alert
        took = [name for name in alert.to if answers.get(name) == ""]
        failed = {name: answers[name] for name in alert.to if answers.get(name)}
        for left in reversed(range(_RACES)):
            noted = newest.noted(took, failed, call.now, close=close)
            given_up = failed if noted.given_up else {}
            try:
                self.log.commit(call, _failures(call, noted, given_up), save(call.workspace, noted, newest))
                break
            except ConditionFailed:
                if not left:
                    raise
                newest = load(self.tables, call.workspace, alert.incident_id) or newest
        if noted.waits == "close" and not close:
            self._send(call, [noted.model_copy(update={"v": newest.v + 1})], channels)


def _failures(call: Call, alert: Alert, failed: Mapping[str, str]) -> list[Happened]:
    stream = stream_of(call.workspace, "ALERT", alert.incident_id)
    return [
        Happened(stream, AlertFailed(notifier=name, incident_id=alert.incident_id, reason=reason[:500]))
        for name, reason in failed.items()
    ]


def _rank(severity: Severity) -> int:
    return TIERS.index(severity)


def _group_of(subject: str) -> str:
    """Return the thing that a subject is about: of ``quarantine/weather/7`` and ``drift/weather`` the source."""
    kind, _, rest = subject.removeprefix("series/").partition("/")
    name = rest.partition("/")[0]
    return f"{'source' if kind in ('quarantine', 'drift', 'source') else kind}/{name}"


def _notice(workspace: str, alert: Alert) -> Notice:
    closed = alert.waits == "close"
    text = alert.closed if closed else alert.text
    if alert.waits == "silence":
        text = f"{text} (was silenced, and is still so)"
    state: Literal["opened", "closed"] = "closed" if closed else "opened"
    return Notice(workspace, alert.incident_id, alert.severity, alert.subject, text, alert.at, state)


def _several(workspace: str, alerts: Sequence[Alert]) -> Notice:
    worst = min(alerts, key=lambda alert: _rank(alert.severity))
    lines = [f"- {alert.subject}: {alert.text}" for alert in alerts[:_NAMED]]
    more = [f"and {len(alerts) - _NAMED} more"] if len(alerts) > _NAMED else []
    further = "further " if all(alert.waits == "group" for alert in alerts) else ""
    text = "\n".join([f"{len(alerts)} {further}incidents of {_group_of(worst.subject)}:", *lines, *more])
    return Notice(workspace, worst.incident_id, worst.severity, _group_of(worst.subject), text, worst.at)
