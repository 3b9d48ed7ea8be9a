"""Alerts: what somebody is told at once of incidents, and what waits.

An alert follows from ``IncidentOpened``. It is kept first, then sent to each channel that takes it, and what a
channel did not take is tried again by the schedule ``sweep``: none is lost, and each channel is told once, but for
a function that dies between sending and noting it. A channel never hinders another one.

- *Grouped*: incidents of one thing (a source, a model) within ``TOGETHER`` of its first alert come in one more
  message when that time is over, unless one is more severe than all that was told.
- *Silenced*: kept back until the silence ends, and then told only if the incident is still open.
- *Closed*: whoever was told that it opened is told that it closed; what closed before anybody was told is not told.

=========  ==========================  ==========================  ========================================
entity     pk                          sk                          access pattern
=========  ==========================  ==========================  ========================================
alert      ``WS#<ws>#ALERTS``          ``<incident id>``           get
group      ``WS#<ws>#ALERTS#GROUP``    ``<kind>/<name>``           get
waiting    ``ALERTS#WAITING``          ``<ws>#<incident id>``      all that waits, of all workspaces
=========  ==========================  ==========================  ========================================
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, PluginError, Unavailable
from modelwright.events import AlertFailed, Delivery, IncidentClosed, IncidentOpened
from modelwright.insights.incidents import TABLE, Severity
from modelwright.insights.notices import TIERS, Channel, Notice, Notifiers, channels_of
from modelwright.insights.silences import silenced_until
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Absent, Anything, Delete, Is, Item, Key, Put, Tables, Write, every

TOGETHER = timedelta(minutes=30)
"""Of domain time: what one cause breaks, breaks within this."""
RETRY_AFTER = timedelta(minutes=15)
MOST_ATTEMPTS = 8
_FACT = "a fact without an end"
_WAITING = "ALERTS#WAITING"
_NAMED = 20


class Alert(BaseModel):
    """What was told, or waits to be told, of an incident.

    Attributes:
        waits: why it is not with everybody yet: ``send`` (to those in ``to``), ``group``, ``silence``; or ``close``:
            that it closed has to be told to those in ``to``.
        to: channels that still have to be told.
        told: channels that were told that it opened.
        due: when the sweep looks at it again.
        closed: why the incident closed; empty while it is open.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    incident_id: str
    severity: Severity
    subject: str
    text: str
    at: datetime
    waits: Literal["", "send", "group", "silence", "close"] = ""
    to: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    attempts: int = 0
    due: datetime | None = None
    closed: str = ""
    v: int = 0


class Group(BaseModel):
    """The newest alert of a thing that was sent at once."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    at: datetime
    severity: Severity
    v: int = 0


@dataclass(frozen=True)
class Desk:
    """Sends alerts.

    Attributes:
        topic: whether the stack has a topic of its own.
    """

    tables: Tables
    log: Log
    notifiers: Notifiers
    topic: bool = False

    def opened(self, delivery: Delivery, call: Call) -> bool:
        """Keep and send the alert of an incident that opened; returns whether anybody was told at once."""
        event: IncidentOpened = delivery.event
        wanting = self._wanting(call.workspace, event.severity, event.subject)
        if not wanting or self._load(call.workspace, event.incident_id) is not None:
            return False
        alert = Alert(
            incident_id=event.incident_id, severity=event.severity, subject=event.subject, text=event.text, at=call.now
        )
        until = silenced_until(self.tables, call.workspace, event.subject, call.now)
        names = tuple(channel.name for channel in wanting)
        group, item = self._group(call.workspace, event.subject)
        writes: list[Write] = []
        if until is not None:
            alert = alert.model_copy(update={"waits": "silence", "to": names, "due": until})
        elif group and call.now < group.at + TOGETHER and _rank(event.severity) >= _rank(group.severity):
            alert = alert.model_copy(update={"waits": "group", "to": names, "due": group.at + TOGETHER})
        else:
            alert = alert.model_copy(update={"waits": "send", "to": names, "due": call.now + RETRY_AFTER})
            leading = Group(at=call.now, severity=event.severity, v=int(item["v"]) if item else 0)
            writes.append(self._put_group(call.workspace, event.subject, leading))
        kept = alert.model_copy(update={"v": 1})
        self.log.commit(
            call, (), [*writes, *self._puts(call.workspace, kept, Absent())], delivery=delivery, table=TABLE
        )
        return kept.waits == "send" and self._send(call, kept, [_notice(call.workspace, kept)], wanting)

    def closed(self, delivery: Delivery, call: Call) -> None:
        """Tell those who were told that it opened; drop what waits."""
        event: IncidentClosed = delivery.event
        alert = self._load(call.workspace, event.incident_id)
        if alert is None or alert.closed:
            return
        tell = alert.told if event.reason != _FACT else ()
        # what a fact's channels did not take yet is still sent
        waits = ("close" if tell else "") if event.reason != _FACT else alert.waits
        to, due = (tell, call.now + RETRY_AFTER) if tell else (alert.to if waits else (), alert.due)
        ended = alert.model_copy(
            update={"closed": event.reason, "waits": waits, "to": to, "due": due, "attempts": 0, "v": alert.v + 1}
        )
        writes = self._puts(call.workspace, ended, Is("v", alert.v))
        self.log.commit(call, (), writes, delivery=delivery, table=TABLE)
        if tell:
            channels = [c for c in channels_of(self.tables, call.workspace, topic=self.topic) if c.name in tell]
            self._send(call, ended, [_notice(call.workspace, ended)], channels)

    def sweep(self, call: Call) -> None:
        """Send what waits and is due, of all workspaces: groups as one message, ended silences, what was not taken."""
        due: dict[str, list[Alert]] = defaultdict(list)
        for item in every(self.tables, TABLE, _WAITING):
            workspace, _, identity = item["sk"].rpartition("#")
            alert = self._load(workspace, identity)
            if alert is None or not alert.waits:
                self.tables.write([Delete(TABLE, Key(_WAITING, item["sk"]), Anything())])
            elif alert.due is None or alert.due <= call.now:
                due[workspace].append(alert)
        for workspace, alerts in due.items():
            self._sweep(replace(call, workspace=workspace), alerts)

    # --- private -------------------------------------------------------------------------

    def _sweep(self, call: Call, alerts: Sequence[Alert]) -> None:
        channels = channels_of(self.tables, call.workspace, topic=self.topic)
        together: dict[str, list[Alert]] = defaultdict(list)
        for alert in alerts:
            until = silenced_until(self.tables, call.workspace, alert.subject, call.now)
            if until is not None and alert.waits in ("group", "silence", "send"):
                self._keep(call, alert, {"waits": "silence", "due": until})
            elif alert.waits == "group":
                together[_group_of(alert.subject)].append(alert)
            else:
                self._send(call, alert, [_notice(call.workspace, alert)], channels)
        for group in together.values():
            notice = _notice(call.workspace, group[0]) if len(group) == 1 else _several(call.workspace, group)
            for place, alert in enumerate(group):
                # one message stands for all; the others are only noted as told
                self._send(call, alert, [notice] if place == 0 else [], channels)

    def _send(self, call: Call, alert: Alert, notices: Sequence[Notice], channels: Iterable[Channel]) -> bool:
        """Send notices to those whom an alert still has to reach, and note who took them."""
        there = {channel.name: channel for channel in channels}
        failed: dict[str, str] = {}
        for name in alert.to:
            if name not in there:
                continue
            for notice in notices:
                try:
                    self.notifiers(there[name].notifier).send(notice, there[name].told)
                except (Unavailable, PluginError, InvalidInput) as error:
                    failed[name] = str(error)
        took = tuple(name for name in alert.to if name in there and name not in failed)
        attempts = alert.attempts + 1
        last = attempts >= MOST_ATTEMPTS
        waits = "" if last or not failed else ("close" if alert.waits == "close" else "send")
        told = alert.told if alert.waits == "close" else tuple(dict.fromkeys((*alert.told, *took)))
        changed = {"waits": waits, "to": tuple(failed) if waits else (), "told": told, "attempts": attempts}
        given_up = failed if last else {}
        self._keep(call, alert, {**changed, "due": call.now + RETRY_AFTER}, given_up)
        return bool(took)

    def _keep(self, call: Call, alert: Alert, changed: dict[str, Any], failed: dict[str, str] | None = None) -> None:
        following = alert.model_copy(update={**changed, "v": alert.v + 1})
        happened = [
            Happened(
                stream_of(call.workspace, "ALERT", alert.incident_id),
                AlertFailed(notifier=name, incident_id=alert.incident_id, reason=reason[:500]),
            )
            for name, reason in (failed or {}).items()
        ]
        try:
            self.log.commit(call, happened, self._puts(call.workspace, following, Is("v", alert.v)))
        except ConditionFailed:
            # it closed, or another sweep sent it, meanwhile: theirs is the newer word
            return

    def _wanting(self, workspace: str, severity: Severity, subject: str) -> list[Channel]:
        channels = channels_of(self.tables, workspace, topic=self.topic)
        return [channel for channel in channels if channel.takes(severity, subject)]

    def _load(self, workspace: str, identity: str) -> Alert | None:
        item = self.tables.get(TABLE, Key(f"WS#{workspace}#ALERTS", identity))
        return Alert.model_validate_json(item["document"]) if item else None

    def _puts(self, workspace: str, alert: Alert, condition: Absent | Is) -> list[Write]:
        item = {"pk": f"WS#{workspace}#ALERTS", "sk": alert.incident_id, "document": alert.model_dump_json()}
        waiting = Key(_WAITING, f"{workspace}#{alert.incident_id}")
        marked: Write = (
            Put(TABLE, dict(waiting._asdict()), Anything()) if alert.waits else Delete(TABLE, waiting, Anything())
        )
        return [Put(TABLE, {**item, "v": alert.v}, condition), marked]

    def _group(self, workspace: str, subject: str) -> tuple[Group | None, Item | None]:
        item = self.tables.get(TABLE, Key(f"WS#{workspace}#ALERTS#GROUP", _group_of(subject)))
        return (Group.model_validate_json(item["document"]) if item else None), item

    def _put_group(self, workspace: str, subject: str, group: Group) -> Write:
        condition = Is("v", group.v) if group.v else Absent()
        document = group.model_copy(update={"v": group.v + 1}).model_dump_json()
        key = {"pk": f"WS#{workspace}#ALERTS#GROUP", "sk": _group_of(subject)}
        return Put(TABLE, {**key, "document": document, "v": group.v + 1}, condition)


def _rank(severity: Severity) -> int:
    return TIERS.index(severity)


def _group_of(subject: str) -> str:
    """Return the thing that a subject is about: of ``quarantine/weather/7`` and ``drift/weather`` the source."""
    kind, _, rest = subject.partition("/")
    name = rest.partition("/")[0]
    return f"{'source' if kind in ('quarantine', 'drift', 'source') else kind}/{name}"


def _notice(workspace: str, alert: Alert) -> Notice:
    state: Literal["opened", "closed"] = "closed" if alert.closed and alert.waits == "close" else "opened"
    text = alert.closed if state == "closed" else alert.text
    if alert.waits == "silence":
        text = f"{text} (was silenced, and is still so)"
    return Notice(workspace, alert.incident_id, alert.severity, alert.subject, text, alert.at, state)


def _several(workspace: str, alerts: Sequence[Alert]) -> Notice:
    worst = min(alerts, key=lambda alert: _rank(alert.severity))
    lines = [f"- {alert.subject}: {alert.text}" for alert in alerts[:_NAMED]]
    more = [f"and {len(alerts) - _NAMED} more"] if len(alerts) > _NAMED else []
    text = "\n".join([f"{len(alerts)} further incidents of {_group_of(worst.subject)}:", *lines, *more])
    return Notice(workspace, worst.incident_id, worst.severity, _group_of(worst.subject), text, worst.at)
