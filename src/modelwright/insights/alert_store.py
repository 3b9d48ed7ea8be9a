"""Alerts as they are kept: what was told of an incident, to whom, and what waits.

=========  ==========================  ==========================  ========================================
entity     pk                          sk                          access pattern
=========  ==========================  ==========================  ========================================
alert      ``WS#<ws>#ALERTS``          ``<incident id>``           get
group      ``WS#<ws>#ALERTS#GROUP``    ``<kind>/<name>``           get
waiting    ``ALERTS#WAITING``          ``<ws>#<incident id>``      all that waits, of all workspaces
=========  ==========================  ==========================  ========================================

An alert and whether it waits are written together. One that closed before it was heard to open is a *tombstone*,
kept as long as an event may come again.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modelwright.insights.causes import Severity
from modelwright.insights.incidents import FACT, TABLE
from modelwright.log import HANDLED_FOR
from modelwright.storage import Absent, Anything, Delete, Is, Key, Put, Tables, Write, every

RETRY_AFTER = timedelta(minutes=15)
MOST_ATTEMPTS = 8
_WAITING = "ALERTS#WAITING"


class Alert(BaseModel):
    """What was told, or waits to be told, of an incident.

    Attributes:
        waits: why it is not with everybody yet: ``send`` (to those in ``to``), ``group``, ``silence``; or ``close``:
            that it closed has to be told to those in ``to``.
        to: channels that still have to be told.
        told: channels that were told that it opened.
        due: when the sweep looks at it again; what a silence keeps back, it looks at each time.
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

    @property
    def ended(self) -> bool:
        """Whether people who were told of it have to hear that it is over."""
        return self.closed not in ("", FACT)

    @property
    def given_up(self) -> bool:
        """Whether those who did not take it are not tried again."""
        return self.attempts >= MOST_ATTEMPTS

    def is_due(self, now: datetime) -> bool:
        """Say whether a sweep looks at it."""
        return self.waits == "silence" or self.due is None or self.due <= now

    def silenced(self, until: datetime) -> "Alert":
        """Return it kept back."""
        return self.model_copy(update={"waits": "silence", "due": until})

    def closing(self, reason: str, now: datetime) -> "Alert":
        """Return it closed: what waits is dropped, and who was told, or is being told right now, hears of it.

        Of a fact nobody hears that it closed, and what its channels did not take yet is still sent.
        """
        if reason == FACT:
            return self.model_copy(update={"closed": reason})
        # before it was noted who took it, nobody knows whether the one who sends it lives: he says so, or all hear it
        being_told = self.to if self.waits == "send" and not self.attempts else ()
        to = self.told or being_told
        waits, due = ("close", now + RETRY_AFTER) if to else ("", self.due)
        return self.model_copy(update={"closed": reason, "waits": waits, "to": to, "due": due, "attempts": 0})

    def noted(self, took: Collection[str], failed: Collection[str], now: datetime, *, close: bool) -> "Alert":
        """Return it after an attempt to tell it.

        Args:
            took: channels that took it.
            failed: channels that did not.
            now: domain time.
            close: whether they were told that it closed; it may have closed while they were told that it opened.
        """
        told = self.told if close else tuple(dict.fromkeys((*self.told, *took)))
        if self.ended and not close:
            to = tuple(name for name in told if name in took or name in self.to)
            waits, attempts = "close", 0
        else:
            to = tuple(name for name in self.to if name in failed)
            waits, attempts = "close" if close else "send", self.attempts + 1
        changed = {"told": told, "attempts": attempts, "due": now + RETRY_AFTER, "waits": waits, "to": to}
        if not to or attempts >= MOST_ATTEMPTS:
            changed |= {"waits": "", "to": ()}
        return self.model_copy(update=changed)


class Group(BaseModel):
    """The newest alert of a thing that was sent at once."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    at: datetime
    severity: Severity
    v: int = 0


def tombstone(incident_id: str, reason: str, now: datetime) -> Alert:
    """Return what keeps an incident that is over from being told as one that opened."""
    return Alert(incident_id=incident_id, severity="info", subject="", text="", at=now, closed=reason)


def load(tables: Tables, workspace: str, incident_id: str) -> Alert | None:
    """Return the alert of an incident, if there is one."""
    item = tables.get(TABLE, _key(workspace, incident_id))
    return Alert.model_validate_json(item["document"]) if item else None


def waiting(tables: Tables) -> dict[str, list[Alert]]:
    """Return what waits, of all workspaces, the oldest incident first."""
    places = [item["sk"].rpartition("#") for item in every(tables, TABLE, _WAITING)]
    keys = {_key(workspace, identity): workspace for workspace, _, identity in places}
    items = tables.batch_get(TABLE, list(keys))
    found: dict[str, list[Alert]] = defaultdict(list)
    for key, workspace in keys.items():
        alert = Alert.model_validate_json(items[key]["document"]) if key in items else None
        if alert is not None and alert.waits:
            found[workspace].append(alert)
    return found


def save(workspace: str, alert: Alert, before: Alert | None, *, expires: datetime | None = None) -> list[Write]:
    """Return the writes that keep an alert, unless it is no longer what it was (None: there was none).

    Args:
        workspace: where.
        alert: its new state.
        before: the state that it replaces.
        expires: wall time from which on an event of it may come again for a while yet; None: it is kept for good.
    """
    version = before.v if before else 0
    kept = alert.model_copy(update={"v": version + 1})
    item = {**_key(workspace, alert.incident_id)._asdict(), "document": kept.model_dump_json(), "v": kept.v}
    if expires is not None:
        item["expires"] = int((expires + HANDLED_FOR).timestamp())
    place = Key(_WAITING, f"{workspace}#{alert.incident_id}")
    marked: Write = Put(TABLE, place._asdict(), Anything()) if alert.waits else Delete(TABLE, place, Anything())
    return [Put(TABLE, item, Is("v", version) if version else Absent()), marked]


def load_group(tables: Tables, workspace: str, name: str) -> Group | None:
    """Return the group of a thing, if there is one."""
    item = tables.get(TABLE, _group_key(workspace, name))
    return Group.model_validate_json(item["document"]) if item else None


def save_group(workspace: str, name: str, group: Group, before: Group | None) -> Write:
    """Return the write that keeps a group, unless another alert of its thing was sent meanwhile."""
    version = before.v if before else 0
    kept = group.model_copy(update={"v": version + 1})
    item = {**_group_key(workspace, name)._asdict(), "document": kept.model_dump_json(), "v": kept.v}
    return Put(TABLE, item, Is("v", version) if version else Absent())


def _key(workspace: str, incident_id: str) -> Key:
    return Key(f"WS#{workspace}#ALERTS", incident_id)


def _group_key(workspace: str, name: str) -> Key:
    return Key(f"WS#{workspace}#ALERTS#GROUP", name)
