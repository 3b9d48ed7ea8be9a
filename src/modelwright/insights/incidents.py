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

Which events those are, and in which words, ``causes`` says. Facts without an end are opened and closed in one commit:
the log has each, the table the newest of each subject.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from modelwright.context import Call
from modelwright.errors import NotFound, Refused
from modelwright.events import Delivery, IncidentClosed, IncidentOpened
from modelwright.insights.causes import CLOSES, OPENS, Cause
from modelwright.log import Happened, Log, stream_of
from modelwright.protocol import Message
from modelwright.storage import Absent, Is, Item, Key, Put, TableName, Tables, every

TABLE: TableName = "insights"
FACT = "a fact without an end"
"""Why an incident closed that nothing ever ends."""


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


def clear(call: Call, subject: str, reason: str, *, tables: Tables, log: Log) -> None:
    """Close the incident of a subject, if one is open, because the platform saw itself that its cause is gone.

    Raises:
        ConditionFailed: it changed meanwhile.
    """
    item = _get(call, subject, tables)
    if item["open"]:
        log.commit(call, [_closed(call, item, reason)], [_put(item, **_ended(item))])


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
        log.commit(
            call, [_closed(call, item, reason)], [_put(item, open=0, closed=max(item["closed"], item["opened"]))]
        )
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
    newest = _newest(identity, cause) if identity > known["opened"] else {}
    return [], [*writes, _put(known, count=known["count"] + 1, **newest)]


def _recording(delivery: Delivery, call: Call, cause: Cause, known: Item, _: Tables) -> _Change:
    """Open and close an incident at once; the table keeps the newest of the subject."""
    happened, changed = _opened(delivery, call, cause)
    closed = Happened(happened.stream, IncidentClosed(incident_id=delivery.envelope.id, reason=FACT))
    newest = changed if delivery.envelope.id > known["opened"] else {}
    return [happened, closed], [_put(known, count=known["count"] + 1, **newest)]


def _opened(delivery: Delivery, call: Call, cause: Cause) -> tuple[Happened, dict[str, Any]]:
    identity = delivery.envelope.id
    event = IncidentOpened(
        incident_id=identity, severity=cause.severity, subject=cause.subject, text=cause.text, cause_id=identity
    )
    document = json.dumps({**event.model_dump(mode="json"), "at": call.now.isoformat()})
    happened = Happened(stream_of(call.workspace, "INCIDENT", identity), event)
    return happened, {**_newest(identity, cause), "incident": document}


def _newest(identity: str, cause: Cause) -> dict[str, Any]:
    return {"opened": identity, "last_text": cause.text}


def _ended(item: Item) -> dict[str, Any]:
    return {"open": 0, "closed": max(item["closed"], item["opened"])}


def _closed(call: Call, item: Item, reason: str) -> Happened:
    identity = json.loads(item["incident"])["incident_id"]
    return Happened(
        stream_of(call.workspace, "INCIDENT", identity), IncidentClosed(incident_id=identity, reason=reason)
    )


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
            events.append(_closed(call, item, f"{delivery.envelope.type} of {call.now.isoformat()}"))
        if identity > item["closed"]:
            writes.append(_put(item, closed=identity, open=0 if ends else item["open"]))
    return events, writes
