"""Rows pushed over HTTP: checked, kept, and online at once; ``materialize`` folds them in later.

A push is named by its content, so that sending it again changes nothing, and a push that died half
way is finished by sending it again or by ``materialize``.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound
from modelwright.features import writing
from modelwright.features.aggregates import ADDED, LARGEST_UNITS, cells, units
from modelwright.features.bounds import fault
from modelwright.features.completing import completed
from modelwright.features.layout import PENDING, arrival, micros, moment, pushed_path, source_key
from modelwright.features.rights import may, visible
from modelwright.features.rows import all_of, checked, columnar, packed, placed
from modelwright.project import Column, Project, Source, View
from modelwright.storage import Absent, Blobs, Item, Key, Put, Tables, Write

ROWS = 10_000
_SECONDS = 200_000_000_000
"""Later times than Python's last year are none."""
To = Literal["online", "offline", "online_and_offline"]


class Push(BaseModel):
    """Feast's body of ``/push``, and ours: ``source`` and ``rows`` instead of ``push_source_name`` and ``df``.

    Attributes:
        to: ``online_and_offline``: served at once, and kept for training. ``offline``: kept, and served once they are
            folded in. ``online``: served at once and never trained on, so that no training set equals what was served.
        allow_registry_cache: Feast's servers ask it; here it changes nothing, nor does
        transform_on_write: rows are taken as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    push_source_name: str = ""
    source: str = ""
    df: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | dict[str, Any] | None = None
    to: To = "online_and_offline"
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class ViewWrite(BaseModel):
    """Feast's body of ``/write-to-online-store``: columns of a view, ``event_timestamp`` and ``created``.

    The other fields are as in ``Push``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    feature_view_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class Pushed(BaseModel):
    """What became of a push.

    Attributes:
        digest: names the rows.
        online_items: how many items of the online store changed.
        repeated: whether the same rows were pushed before.
        derived: sources whose rows are made of these; they follow when the rows are folded in.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    source: str
    digest: str
    rows: int
    online_items: int
    repeated: bool
    derived: tuple[str, ...] = ()


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
    if not name:
        raise InvalidInput("a push names a source: `push_source_name` or `source`")
    call.authorise("features:push", f"source/{name}")
    if name not in project.sources:
        there = ", ".join(n for n in project.sources if may(call, "features:push", f"source/{n}")) or "none"
        raise NotFound(f"there is no source {name}: there are {there}")
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
        known = ", ".join(visible(call, project).views) or "none"
        raise NotFound(f"there is no feature view {body.feature_view_name}: there are {known}")
    view = project.views[body.feature_view_name]
    call.authorise("features:push", f"source/{view.source}")
    frame = _of_source(project.sources[view.source], view, body.df, call.now)
    stores: dict[str, Any] = {"project": project, "tables": tables, "blobs": blobs}
    rows = completed(project, body.feature_view_name, columnar(frame), tables=tables, workspace=call.workspace)
    return take(call, view.source, rows, identity=identity, **stores)


def take(
    call: Call,
    name: str,
    given: Sequence[Any],
    *,
    project: Project,
    tables: Tables,
    blobs: Blobs,
    identity: str,
    to: To = "online_and_offline",
) -> Pushed:
    """Check rows, keep them, and put them online; the caller has authorised it."""
    if len(given) > ROWS:
        raise InvalidInput(f"{len(given)} rows in one push are more than {ROWS}: upload a file")
    source = project.sources[name]
    if source.derived:
        raise InvalidInput(f"rows of {name} are made of those of {source.derived.source}: push these")
    rows = checked(source, given)
    _summable(project, name, rows)
    _storable(call.workspace, project, name, rows)
    derived = tuple(_derived(project, name))
    if not rows:
        return Pushed(source=name, digest="", rows=0, online_items=0, repeated=False, derived=derived)
    body = packed(source, rows)
    digest = hashlib.sha256(body).hexdigest()
    known = tables.get("features", _ledger_key(call, name, digest, to))
    if known is None:  # rows that go online alone are kept too: who erases a subject has to find them
        blobs.put("lake", pushed_path(call.workspace, name, digest), body)
    ledger = known or _record(call, name, digest, len(rows), identity, tables, to)
    written = 0
    if to == "online" or (to != "offline" and not (known and _folded(call.workspace, name, digest, tables))):
        stamped = [placed(source, values, now_us=ledger["at"], arrival=ledger["arrival"]) for values in rows]
        newest = {(row.key, row.available): row for row in stamped}  # of one version, the last in the push counts
        written = writing.push(
            project, name, list(newest.values()), now=call.now, tables=tables, workspace=call.workspace
        )
    return Pushed(
        source=name, digest=digest, rows=len(rows), online_items=written, repeated=known is not None, derived=derived
    )


def _summable(project: Project, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``InvalidInput`` for numbers that cannot be added up where a view does so."""
    source = project.sources[name]
    columns = {
        cell.column
        for view in project.views.values()
        if view.source == name
        for cell in cells(view)
        if cell.kind in ("total", "squares") and source.columns[cell.column].type in ADDED
    }
    faults = []
    for column in sorted(columns):
        for n, row in enumerate(rows):
            try:
                _addable(source.columns[column], row[column] or 0)
            except InvalidInput as error:
                place = f"row {n}, column {column}"
                faults.append(InvalidInput(f"{place}: {error}", logged=f"{place}: {error.logged}"))
    if faults:
        raise all_of(faults)


def _addable(column: Column, value: float) -> None:
    if column.type == "integer" and abs(value) > LARGEST_UNITS:
        told = f"too large to be added up: beyond {LARGEST_UNITS}"
        raise InvalidInput(f"{value} is {told}", logged=told)
    units(column, value)


def _storable(workspace: str, project: Project, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``InvalidInput`` for rows that cannot be put online, before anything is kept of them."""
    views = [(called, view) for called, view in project.views.items() if view.source == name]
    each = ((n, fault(workspace, called, view, row)) for n, row in enumerate(rows) for called, view in views)
    if faults := [InvalidInput(f"row {n}: {text}") for n, text in each if text]:
        raise all_of(faults)


def _derived(project: Project, name: str) -> Iterator[str]:
    for child, source in project.sources.items():
        if source.derived and source.derived.source == name:
            yield child
            yield from _derived(project, child)


def _of_source(source: Source, view: View, given: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return Feast's columns under our names; its client writes a join key that is a feature too twice per row."""
    renamed = {"event_timestamp": source.event_time, "created": source.available_at}
    frame: dict[str, Any] = {}
    for column, values in given.items():
        target = column if column in source.columns else renamed.get(column, column)
        if target and target not in frame and not _says_nothing(source, target, values):
            timed = target in source.columns and source.columns[target].type == "timestamp"
            frame[target] = [_time(v) for v in values] if timed and isinstance(values, list) else values
    size = len(frame.get(source.event_time, ()))
    for key in view.entity:
        if isinstance(frame.get(key), list) and len(frame[key]) == 2 * size:
            frame[key] = frame[key][::2]
    if source.available_at:
        known = frame.get(source.available_at) or [None] * size
        frame[source.available_at] = [now if v is None else v for v in known] if isinstance(known, list) else known
    return frame


def _says_nothing(source: Source, column: str, values: Any) -> bool:
    """Say whether an undeclared column is all nulls: Feast's client sends what its view has and ours may not."""
    return column not in source.columns and isinstance(values, list) and not any(v is not None for v in values)


def _time(value: Any) -> Any:
    """Return a time of Feast's client, which sends those of features as seconds since 1970."""
    seconds = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _SECONDS
    return moment(value * 1_000_000) if seconds else value


def _folded(workspace: str, name: str, digest: str, tables: Tables) -> bool:
    """Say whether ``materialize`` has taken a push over: its rows may have been replaced since, elsewhere."""
    return tables.get("features", source_key(workspace, name, f"{PENDING}{digest}")) is None


def _ledger_key(call: Call, name: str, digest: str, to: str) -> Key:
    return source_key(call.workspace, name, f"PUSHED#{'ONLINE#' if to == 'online' else ''}{digest}")


def _record(call: Call, name: str, digest: str, rows: int, identity: str, tables: Tables, to: str) -> Item:
    key = _ledger_key(call, name, digest, to)
    entry = {"arrival": arrival(call.now, identity), "at": micros(call.now), "rows": rows}
    waiting = source_key(call.workspace, name, f"{PENDING}{digest}")
    pending: list[Write] = [Put("features", {**waiting._asdict(), **entry, "digest": digest}, Absent())]
    try:
        tables.write([Put("features", {**key._asdict(), **entry}, Absent()), *(pending if to != "online" else ())])
    except ConditionFailed:
        winner = tables.get("features", key)
        if winner is None:
            raise
        return winner
    return entry
