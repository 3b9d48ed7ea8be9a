"""What there is, for who looks for features: lists, a search, and all that is known of a view.

Everybody sees what they may read: a view by ``features:read``, an entity, source, feature service or on-demand group
by the views that it is about, and a service only if all of its views are readable.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.events import FeaturesMaterialized
from modelwright.features.freshness import Known, known, late_by
from modelwright.features.layout import DAY_US, EPOCH, micros, moment, partition_path, source_key, summary_path
from modelwright.features.soundness import reads
from modelwright.log import Log, stream_of
from modelwright.project import Described, Project, Service, View, features_named
from modelwright.storage import Blobs, Tables

DAYS = 92
"""Statistics of so many days at most are answered at once."""
_SHOWN_DAYS = 14
_LOOK_BACK = 40


def view(call: Call, name: str, *, project: Project, tables: Tables, log: Log) -> dict[str, Any]:
    """Return all that is known of a feature view.

    Raises:
        NotFound: there is none of this name.
    """
    declared = _view(call, name, project)
    source = project.sources[declared.source]
    found = known(declared.source, tables=tables, workspace=call.workspace)
    wrong = _broken(declared.source, tables, call.workspace)
    return {
        "name": name,
        **_described(declared),
        "version": declared.version,
        "entity": list(declared.entity),
        "entities": list(project.entities_of(declared)),
        "source": declared.source,
        "ttl": declared.ttl,
        "features": [
            {**feature, "expectation_broken": wrong.get(f"{name}:{feature['name']}", "")}
            for feature in _features(declared, project)
        ],
        "freshness": {**_freshness(declared, found, call), "event_time": source.event_time},
        "last_materialized": _materialized(call, declared.source, log),
        "used_by": _users(call, name, project),
    }


def statistics(
    call: Call, name: str, *, start: str, end: str, project: Project, tables: Tables, blobs: Blobs
) -> dict[str, Any]:
    """Return what values the columns behind a view's features had, by the day on which their rows became known.

    Of an aggregation these are the values that it is made from, not those that it gives: ``of`` says so.

    Args:
        call: who asks.
        name: the view.
        start: the first day; empty: two weeks before the last.
        end: the last day; empty: the newest with rows, or the first, if that is later.
        project: declares the view.
        tables: the offline store's manifests.
        blobs: the summaries.

    Raises:
        NotFound: there is no such view.
        InvalidInput: a day is none, or they are too many, or the last is before the first.
    """
    declared = _view(call, name, project)
    item = tables.get("features", source_key(call.workspace, declared.source, "MANIFEST"))
    partitions = json.loads(item["partitions"]) if item else []
    newest = max((p["available_high"] for p in partitions), default=micros(call.now)) // DAY_US
    last = _day(end, "to", newest)
    first = _day(start, "from", last - _SHOWN_DAYS + 1)
    if not end:
        last = max(first, last)
    if last < first:
        raise InvalidInput(f"from {_date(first)} to {_date(last)} there is no day: the first is after the last")
    if last - first >= DAYS:
        raise InvalidInput(f"{last - first + 1} days are more than {DAYS}: ask for fewer at once")
    columns = _columns(declared)
    days: list[dict[str, Any]] = []
    unknown = 0
    for p in sorted(partitions, key=lambda p: p["available_low"]):
        if p["available_high"] // DAY_US < first or p["available_low"] // DAY_US > last:
            continue
        path = partition_path(call.workspace, declared.source, p["week"], p["digest"])
        try:
            summary = json.loads(blobs.get("lake", summary_path(path)).body)
        except NotFound:  # stored before there were summaries
            unknown += p["rows"]
            continue
        days += [_of_day(int(day), said, columns) for day, said in summary.items() if first <= int(day) <= last]
    return {"view": name, "of": "column", "columns": columns, "days": days, "rows_without": unknown}


def entities(call: Call, *, project: Project) -> dict[str, Any]:
    """List the entities that the views are about which the caller may read."""
    readable = _readable(call, project)
    listed = []
    for name, entity in project.entities.items():
        about = [n for n, each in project.views.items() if name in project.entities_of(each)]
        if mine := [n for n in about if n in readable]:
            listed.append({"name": name, **_described(entity), "join_keys": list(entity.join_keys), "views": mine})
        elif not about:
            listed.append({"name": name, **_described(entity), "join_keys": list(entity.join_keys), "views": []})
    return {"entities": listed if readable else []}


def sources(call: Call, *, project: Project, tables: Tables) -> dict[str, Any]:
    """List the sources of the views that the caller may read, with what is known of their rows."""
    readable = _readable(call, project)
    listed = []
    for name, source in project.sources.items():
        if mine := [n for n, each in project.views.items() if each.source == name and n in readable]:
            found = known(name, tables=tables, workspace=call.workspace)
            told = source.model_dump(mode="json", include={"prefix", "key", "event_time", "available_at", "derived"})
            columns = {n: c.model_dump(mode="json", exclude_defaults=True) for n, c in source.columns.items()}
            rows = {"rows": found.rows, "newest_available": _time(found.available), "newest_event": _time(found.event)}
            listed.append({"name": name, **_described(source), **told, "columns": columns, "views": mine, **rows})
    return {"sources": listed}


def services(call: Call, *, project: Project) -> dict[str, Any]:
    """List the feature services, models among them, of which the caller may read all views."""
    readable = _readable(call, project)
    listed = []
    for kind, name, service in _services(project):
        if set(service.views) <= readable and readable:
            told = service.model_dump(mode="json", include={"request", "time_column", "views", "on_demand", "inputs"})
            listed.append({"name": name, "kind": kind, **_described(service), **told})
    return {"services": listed}


def search(call: Call, *, words: str, project: Project) -> dict[str, Any]:
    """Find what has all of some words in its name, description, owner, tags or columns; names come first.

    Raises:
        InvalidInput: there are no words.
    """
    wanted = words.casefold().split()
    if not wanted:
        raise InvalidInput("say what to look for: ?q=<words>")
    found = []
    for kind, name, declared, more in _everything(call, project):
        said = f"{declared.description} {declared.owner} {json.dumps(declared.tags, ensure_ascii=False)}".casefold()
        texts = (name.casefold(), " ".join(more).casefold(), said)
        if all(any(word in text for text in texts) for word in wanted):
            place = next(n for n, text in enumerate((*texts, " ".join(texts))) if all(w in text for w in wanted))
            matching = [each for each in more if any(word in each.casefold() for word in wanted)]
            found.append((place, {"kind": kind, "name": name, **_described(declared), "matching": matching}))
    return {"found": [each for _, each in sorted(found, key=lambda pair: pair[0])]}


# --- what may be seen --------------------------------------------------------------------------


def _readable(call: Call, project: Project) -> set[str]:
    found = set()
    for name in project.views:
        try:
            call.authorise("features:read", f"view/{name}")
        except Forbidden:
            continue
        found.add(name)
    return found


def _view(call: Call, name: str, project: Project) -> View:
    call.authorise("features:read", f"view/{name}")
    if name not in project.views:
        there = ", ".join(n for n in project.views if n in _readable(call, project)) or "none"
        raise NotFound(f"there is no feature view {name}: there are {there}")
    return project.views[name]


def _services(project: Project) -> Iterator[tuple[str, str, Service]]:
    yield from (("service", name, service) for name, service in project.services.items())
    yield from (("model", name, model) for name, model in project.models.items())


def _everything(call: Call, project: Project) -> Iterator[tuple[str, str, Described, Sequence[str]]]:
    """Yield what the caller may see: its kind, name, declaration, and the names within it."""
    readable = _readable(call, project)
    for name, view in project.views.items():
        if name in readable:
            yield "view", name, view, (*view.feature_names(), *view.entity)
    for each in entities(call, project=project)["entities"]:
        yield "entity", each["name"], project.entities[each["name"]], each["join_keys"]
    for name, source in project.sources.items():
        if any(view.source == name and n in readable for n, view in project.views.items()):
            described = [f"{n}: {c.description}" if c.description else n for n, c in source.columns.items()]
            yield "source", name, source, described
    for name, group in project.on_demand.items():
        behind = {view for one in group.inputs for view, _ in features_named(project.views, one)}
        if readable and behind <= readable:
            yield "on_demand", name, group, (*group.outputs, *group.inputs)
    for kind, name, service in _services(project):
        if readable and set(service.views) <= readable:
            yield kind, name, service, service.inputs


# --- what is said --------------------------------------------------------------------------------


def _described(declared: Described) -> dict[str, Any]:
    return {"owner": declared.owner, "description": declared.description, "tags": dict(declared.tags)}


def _features(view: View, project: Project) -> Iterator[dict[str, Any]]:
    source = project.sources[view.source]
    types, rolled = view.types(source), {name: (a, window) for name, a, window in view.aggregated()}
    for name, kind in types.items():
        aggregate, window = rolled.get(name, (None, 0))
        column = aggregate.column if aggregate else name
        said = source.columns[column].description if column else ""
        expected = view.expected.get(name)
        yield {
            "name": name,
            "type": kind,
            "description": said,
            "statistics_of": column,
            "aggregate": aggregate.model_dump(mode="json", exclude_defaults=True) if aggregate else None,
            "window_s": window // 1_000_000,
            "expected": expected.model_dump(mode="json", exclude_none=True) if expected else None,
        }


def _freshness(view: View, found: Known, call: Call) -> dict[str, Any]:
    now_us = micros(call.now)
    waits = bool(view.fresh_within) and late_by(view, now_us, found.available, now_us) > 0
    return {
        "rows": found.rows,
        "newest_available": _time(found.available),
        "newest_event": _time(found.event),
        "fresh_within": view.fresh_within,
        "fresh": not waits if view.fresh_within and found.rows else None,
    }


def _materialized(call: Call, source: str, log: Log) -> dict[str, Any] | None:
    for item in log.newest(stream_of(call.workspace, "SOURCE", source), _LOOK_BACK):
        if item.envelope.type == FeaturesMaterialized.detail_type():
            told = item.envelope.data
            said = {name: told[name] for name in ("upload_key", "rows", "online_items")}
            return {"at": item.envelope.at.isoformat(), **said}
    return None


def _users(call: Call, name: str, project: Project) -> list[dict[str, Any]]:
    found, readable = [], _readable(call, project)
    for kind, called, service in _services(project):
        try:
            features = reads(project, service).get(name, ()) if set(service.views) <= readable else ()
        except (NotFound, InvalidInput):  # applied before this was checked
            features = ()
        if features:
            found.append({"kind": kind, "name": called, "features": sorted(features)})
    return found


def _columns(view: View) -> dict[str, str]:
    """Return the column behind each feature that has one."""
    rolled = {name: aggregate.column for name, aggregate, _ in view.aggregated() if aggregate.column}
    return {**{name: name for name in view.features}, **rolled}


def _of_day(day: int, said: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    wanted = dict.fromkeys(columns.values())
    kept = {column: said["columns"][column] for column in wanted if column in said["columns"]}
    return {"day": _date(day), "rows": said["rows"], "columns": kept}


def _date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).date().isoformat()


def _day(text: str, name: str, default: int) -> int:
    if not text:
        return default
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{name}={text} is no day: write it as 2026-03-01") from error
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH).days


def _broken(source: str, tables: Tables, workspace: str) -> dict[str, str]:
    item = tables.get("features", source_key(workspace, source, "EXPECTATIONS"))
    found: dict[str, str] = json.loads(item["broken"]) if item else {}
    return found


def _time(time_us: int | None) -> str | None:
    return None if time_us is None else moment(time_us).isoformat()
