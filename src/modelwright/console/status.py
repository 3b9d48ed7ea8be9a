"""The platform at a glance, folded from the log and the open incidents."""

from datetime import datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, NotFound
from modelwright.governance.anchoring import known_heads, newest_root, part_of
from modelwright.insights.incidents import incidents
from modelwright.log import Log, LogItem, stream_of
from modelwright.project import load_current
from modelwright.storage import Blobs, Tables

_RECENT_HOURS = 6
_SHOWN = 50


def status(call: Call, *, wall: datetime, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the project (None before one is applied), each model's routes, open incidents and the newest events.

    Who may not read the log is shown no events.
    """
    call.authorise("status:read", "workspace")
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        project = None
    names = project.models if project else ()
    return {
        "workspace": call.workspace,
        "project": project and {"name": project.name, "digest": project.digest},
        "models": {name: {"routes": _routes(call.workspace, name, log)} for name in names},
        "incidents": [incident for incident in incidents(call, tables=tables) if incident["open"]],
        "events": _events(call, wall, log),
    }


def _events(call: Call, wall: datetime, log: Log) -> list[dict[str, Any]]:
    try:
        return [line(item) for item in recent(call, wall=wall, log=log)]
    except Forbidden:
        return []


def recent(call: Call, *, wall: datetime, log: Log, shown: int = _SHOWN) -> list[LogItem]:
    """Return the workspace's newest events, newest first."""
    call.authorise("log:read", "workspace")
    found: list[LogItem] = []
    hour = wall.replace(minute=0, second=0, microsecond=0)
    for _ in range(_RECENT_HOURS):
        found += [item for item in log.hour(hour) if item.envelope.workspace == call.workspace]
        if len(found) >= shown:
            break
        hour -= timedelta(hours=1)
    return sorted(found, key=lambda item: item.envelope.id, reverse=True)[:shown]


def line(item: LogItem) -> dict[str, Any]:
    """Return an event as people read it."""
    envelope = item.envelope
    return {
        "at": envelope.at.isoformat(),
        "type": envelope.type,
        "stream": envelope.stream,
        "sequence": envelope.sequence,
        "id": envelope.id,
        "actor": envelope.actor,
        "correlation_id": envelope.correlation_id,
        "data": envelope.data,
        "hash": item.hash,
        "published": bool(item.published),
    }


def streams(call: Call, *, wall: datetime, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return the workspace's streams with their newest sequence numbers, and its part of the last anchored root."""
    call.authorise("log:read", "workspace")
    mine = f"WS#{call.workspace}#"
    heads = known_heads(wall=wall, tables=tables, blobs=blobs, log=log)
    root = newest_root(tables=tables, blobs=blobs)
    return {
        "streams": {stream: sequence for stream, (sequence, _) in sorted(heads.items()) if stream.startswith(mine)},
        "root": root and part_of(root, call.workspace),
    }


def stored_items(call: Call, stream: str, *, tables: Tables, cursor: str) -> dict[str, Any]:
    """Return a page of a stream's items as they are stored, for the verifier.

    Raises:
        NotFound: the stream is empty, or another workspace's.
    """
    call.authorise("log:read", f"stream/{stream}")
    if not stream.startswith(f"WS#{call.workspace}#"):
        raise NotFound(f"there is no stream {stream}")
    page = tables.query("log", stream, cursor=cursor)
    if not page.items and not cursor:
        raise NotFound(f"there is no stream {stream}")
    shown = ("pk", "sk", "previous", "hash", "chain_version", "envelope", "published")
    return {"items": [{name: item[name] for name in shown} for item in page.items], "next": page.cursor}


def _routes(workspace: str, model: str, log: Log) -> list[dict[str, Any]]:
    items = [item for item in log.read(stream_of(workspace, "ROLLOUT", model)) if item.envelope.type == "RoutesChanged"]
    routes: list[dict[str, Any]] = items[-1].envelope.data["routes"] if items else []
    return routes
