"""Rows pushed over HTTP: checked, kept, and online at once; ``materialize`` folds them in later.

A push is named by its content, so that sending it again changes nothing, and a push that died half
way is finished by sending it again or by ``materialize``.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound
from modelwright.features import online
from modelwright.features.layout import PENDING, arrival, micros, pushed_path, source_key
from modelwright.features.rows import Row, checked, columnar, packed, placed
from modelwright.project import Project, Source, View
from modelwright.storage import Absent, Blobs, Item, Put, Tables

ROWS = 10_000


class Push(BaseModel):
    """Feast's body of ``/push``, and ours: ``source`` and ``rows`` instead of ``push_source_name`` and ``df``.

    Attributes:
        to: where rows are served from at once; every pushed row reaches the offline store.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    push_source_name: str = ""
    source: str = ""
    df: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | dict[str, Any] | None = None
    to: Literal["online", "offline", "online_and_offline"] = "online_and_offline"


class ViewWrite(BaseModel):
    """Feast's body of ``/write-to-online-store``: columns of a view, ``event_timestamp`` and ``created``."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    feature_view_name: str
    df: dict[str, Any]


class Pushed(BaseModel):
    """What became of a push."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    source: str
    digest: str
    rows: int
    online_items: int
    repeated: bool


def push(call: Call, body: Push, *, project: Project, tables: Tables, blobs: Blobs, identity: str) -> Pushed:
    """Take rows of a source.

    Args:
        call: whose rows.
        body: the rows.
        project: declares the source.
        tables: the online store.
        blobs: keeps the rows until they are folded in.
        identity: a ULID; orders pushes of the same domain time.

    Raises:
        NotFound: there is no such source.
        InvalidInput: a row is not as declared; nothing was written.
    """
    name = body.source or body.push_source_name
    if name not in project.sources:
        raise NotFound(f"there is no source {name}: there are {', '.join(project.sources)}")
    call.authorise("features:push", f"source/{name}")
    given = body.df if body.df is not None else body.rows
    if given is None:
        raise InvalidInput("a push needs rows: `df` (values by column) or `rows`")
    rows = columnar(given) if isinstance(given, dict) else given
    return take(call, name, rows, project=project, tables=tables, blobs=blobs, identity=identity, to=body.to)


def write_view(call: Call, body: ViewWrite, *, project: Project, tables: Tables, blobs: Blobs, identity: str) -> Pushed:
    """Take rows in the form of a feature view: they are rows of its source.

    Rows that do not say when they became known (``created``) are known now. Raises as ``push`` does.
    """
    if body.feature_view_name not in project.views:
        known = ", ".join(project.views) or "none"
        raise NotFound(f"there is no feature view {body.feature_view_name}: there are {known}")
    view = project.views[body.feature_view_name]
    call.authorise("features:push", f"source/{view.source}")
    frame = _of_source(project.sources[view.source], view, body.df, call.now)
    stores: dict[str, Any] = {"project": project, "tables": tables, "blobs": blobs}
    return take(call, view.source, columnar(frame), identity=identity, **stores)


def take(
    call: Call,
    name: str,
    given: Sequence[Any],
    *,
    project: Project,
    tables: Tables,
    blobs: Blobs,
    identity: str,
    to: str = "online_and_offline",
) -> Pushed:
    """Check rows, keep them, and put them online; the caller has authorised it."""
    if len(given) > ROWS:
        raise InvalidInput(f"{len(given)} rows in one push are more than {ROWS}: upload a file")
    source = project.sources[name]
    rows = checked(source, given)
    if not rows:
        return Pushed(source=name, digest="", rows=0, online_items=0, repeated=False)
    body = packed(source, rows)
    digest = hashlib.sha256(body).hexdigest()
    known = tables.get("features", source_key(call.workspace, name, f"PUSHED#{digest}"))
    if known is None:
        blobs.put("lake", pushed_path(call.workspace, name, digest), body)
    ledger = known or _record(call, name, digest, len(rows), identity, tables)
    written = 0
    if to != "offline" and not (known and _folded(call.workspace, name, digest, tables)):
        at, came = ledger["at"], ledger["arrival"]
        newest: dict[int, Row] = {}
        for row in (placed(source, values, now_us=at, arrival=came) for values in rows):
            if row.key not in newest or row.available >= newest[row.key].available:
                newest[row.key] = row
        written = online.push(
            project, name, list(newest.values()), now=call.now, tables=tables, workspace=call.workspace
        )
    return Pushed(source=name, digest=digest, rows=len(rows), online_items=written, repeated=known is not None)


def _of_source(source: Source, view: View, given: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return Feast's columns under our names; its client writes a join key that is a feature too twice per row."""
    renamed = {"event_timestamp": source.event_time, "created": source.available_at}
    frame: dict[str, Any] = {}
    for column, values in given.items():
        target = column if column in source.columns else renamed.get(column, column)
        if target and target not in frame:
            frame[target] = values
    size = len(frame.get(source.event_time, ()))
    for key in view.entity:
        if isinstance(frame.get(key), list) and len(frame[key]) == 2 * size:
            frame[key] = frame[key][::2]
    if source.available_at and not any(frame.get(source.available_at) or ()):
        frame[source.available_at] = [now] * size
    return frame


def _folded(workspace: str, name: str, digest: str, tables: Tables) -> bool:
    """Say whether ``materialize`` has taken a push over: its rows may have been replaced since, elsewhere."""
    return tables.get("features", source_key(workspace, name, f"{PENDING}{digest}")) is None


def _record(call: Call, name: str, digest: str, rows: int, identity: str, tables: Tables) -> Item:
    key = source_key(call.workspace, name, f"PUSHED#{digest}")
    entry = {"arrival": arrival(call.now, identity), "at": micros(call.now), "rows": rows}
    waiting = source_key(call.workspace, name, f"{PENDING}{digest}")
    try:
        tables.write(
            [
                Put("features", {**key._asdict(), **entry}, Absent()),
                Put("features", {**waiting._asdict(), **entry, "digest": digest}, Absent()),
            ]
        )
    except ConditionFailed:
        winner = tables.get("features", key)
        if winner is None:
            raise
        return winner
    return entry
