"""How fresh views are: what is known of their sources' rows, and alarms of those that wait too long for new ones.

==========  ========================  =========  ====================================================
entity      pk (table ``features``)   sk         access pattern
==========  ========================  =========  ====================================================
freshness   ``WS#<ws>#FRESHNESS``     ``VIEWS``  get: views that are watched, since when, which wait
==========  ========================  =========  ====================================================
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from modelwright.context import Call
from modelwright.declarations import span_us
from modelwright.events import Event, FreshnessBroken, FreshnessRestored
from modelwright.features.layout import micros, moment, source_key
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Project, View
from modelwright.storage import Absent, Is, Key, Put, Tables


class Known(NamedTuple):
    """What the offline store holds of a source, from its manifest.

    Attributes:
        rows: how many versions of rows.
        available: when the newest became known, in microseconds; None if there are none.
        event: the latest event time; None if no row has one.
    """

    rows: int
    available: int | None
    event: int | None


class _Watched(NamedTuple):
    since: int
    waits: bool


def known(source: str, *, tables: Tables, workspace: str) -> Known:
    """Return what is known of a source's rows; those pushed since the last materialization are not among them."""
    item = tables.get("features", source_key(workspace, source, "MANIFEST"))
    partitions = json.loads(item["partitions"]) if item else []
    dated = [p["event_high"] for p in partitions if p["event_high"] >= p["event_low"]]
    return Known(
        rows=sum(p["rows"] for p in partitions),
        available=max((p["available_high"] for p in partitions), default=None),
        event=max(dated, default=None),
    )


def late_by(view: View, since: int, newest: int | None, now_us: int) -> int:
    """Return by how many microseconds a view has waited longer than it declares; not positive if it has not.

    Args:
        view: it declares ``fresh_within``.
        since: when it was first watched, which counts until the first row comes.
        newest: when its newest row became known.
        now_us: the time.
    """
    return now_us - (since if newest is None else min(newest, now_us)) - span_us(view.fresh_within)


def check(call: Call, *, project: Project, tables: Tables, log: Log, source: str = "") -> None:
    """Raise an alarm of each view that now waits too long, once, and say of each that did when it no longer does.

    Args:
        call: as of when.
        project: declares which views are watched.
        tables: the offline store's manifests.
        log: takes the events.
        source: only views of this source, and of those derived from it; empty: all.
    """
    key = Key(f"WS#{call.workspace}#FRESHNESS", "VIEWS")
    watched = {name: view for name, view in project.views.items() if view.fresh_within}
    item = tables.get("features", key) if watched or not source else None
    state = {name: _Watched(*each) for name, each in json.loads(item["views"]).items()} if item else {}
    after = dict(state)
    events: list[Happened] = []
    for name, view in watched.items():
        if not source or source in project.origins(view.source):
            after[name], event = _judged(name, view, state.get(name), call, tables)
            events += [_happened(call, name, event)] if event else []
    for name in state.keys() - watched.keys():
        if after.pop(name).waits:
            events.append(_happened(call, name, FreshnessRestored(view=name, newest=None)))
    if after != state:
        version = int(item["v"]) if item else 0
        stored = {**key._asdict(), "views": json.dumps(after), "v": version + 1}
        log.commit(call, events, [Put("features", stored, Is("v", version) if item else Absent())])


def _judged(
    name: str, view: View, before: _Watched | None, call: Call, tables: Tables
) -> tuple[_Watched, Event | None]:
    now_us = micros(call.now)
    before = before or _Watched(now_us, waits=False)
    newest = known(view.source, tables=tables, workspace=call.workspace).available
    waits = late_by(view, before.since, newest, now_us) > 0
    if waits == before.waits:
        return before, None
    said: Mapping[str, Any] = {"view": name, "newest": _time(newest)}
    event = FreshnessBroken(**said, limit=view.fresh_within) if waits else FreshnessRestored(**said)
    return _Watched(before.since, waits), event


def _happened(call: Call, view: str, event: Event) -> Happened:
    return Happened(stream_of(call.workspace, "VIEW", view), event)


def _time(time_us: int | None) -> datetime | None:
    return None if time_us is None else moment(time_us)
