"""Feast's online protocol: features of named entities as of now, in columns with a status per value."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, ModelwrightError, NotFound, Unauthenticated, Unavailable
from modelwright.features.layout import moment
from modelwright.features.online import Found, lookup
from modelwright.features.plan import Load, Plan, compute, find, functions_of, plan_of
from modelwright.features.rows import asked, columnar
from modelwright.project import Project
from modelwright.storage import Tables

ENTITIES = 1_000
_CLASSES: tuple[tuple[type[ModelwrightError], str, str], ...] = (
    (NotFound, "builtins", "KeyError"),
    (InvalidInput, "builtins", "ValueError"),
    (Forbidden, "builtins", "PermissionError"),
    (Unauthenticated, "builtins", "PermissionError"),
    (Unavailable, "builtins", "ConnectionError"),
)


class FeaturesQuery(BaseModel):
    """Feast's body of ``/get-online-features``.

    Attributes:
        features: ``view:feature`` each; or
        feature_service: the name of a model, whose stored and on-demand inputs are meant.
        entities: join keys and request columns, a list of values each.
        full_feature_names: answer ``view__feature``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    features: tuple[str, ...] | None = None
    feature_service: str | None = None
    entities: dict[str, list[Any]]
    full_feature_names: bool = False


def get_online_features(
    call: Call, query: FeaturesQuery, *, project: Project, tables: Tables, load: Load
) -> dict[str, Any]:
    """Answer as Feast does: entity columns first, then features, in the order asked.

    Raises:
        NotFound: a view, feature or model that does not exist; the text says what does.
        InvalidInput: entities that do not fit together, or lack a join key.
    """
    rows = columnar(query.entities)
    if not rows or len(rows) > ENTITIES:
        raise InvalidInput(f"a request takes 1 to {ENTITIES} entities, this one has {len(rows)}")
    if query.feature_service:
        return _of_service(call, query, rows, project=project, tables=tables, load=load)
    if not query.features:
        raise InvalidInput("say which features: `features` or `feature_service`")
    stored = [find(project, *_split(reference)) for reference in query.features]
    wanted: dict[str, list[str]] = {}
    for view, feature in stored:
        wanted.setdefault(view, []).append(feature)
    found = _found(call, project, wanted, rows, tables)
    names = {f"{s.view}__{s.feature}" if query.full_feature_names else s.feature: s for s in stored}
    if len(names) < len(set(stored)):
        raise InvalidInput("features of several views have the same name: ask for full_feature_names")
    results = _keys(project, wanted, query) | {n: _column(found[s.view], s.feature) for n, s in names.items()}
    return _answer(results)


def views(call: Call, *, project: Project) -> dict[str, Any]:
    """List the feature views that the caller may read."""
    listed = []
    for name, view in project.views.items():
        try:
            call.authorise("features:read", f"view/{name}")
        except Forbidden:
            continue
        listed.append({"name": name, "serves": view.feature_names(), **view.model_dump(mode="json")})
    return {"views": listed}


def error_body(error: ModelwrightError, status: int, code: str) -> str:
    """Return an error as Feast's client reads it: JSON in a JSON string, naming the class that it raises."""
    module, name = next(((m, c) for kind, m, c in _CLASSES if isinstance(error, kind)), ("builtins", "RuntimeError"))
    detail = {"module": module, "class": name, "message": str(error), "error_code": code, "status": status}
    return json.dumps(json.dumps(detail))


def _of_service(
    call: Call, query: FeaturesQuery, rows: list[dict[str, Any]], *, project: Project, tables: Tables, load: Load
) -> dict[str, Any]:
    assert query.feature_service is not None
    plan = plan_of(project, query.feature_service)
    needed = _needed(plan)
    if missing := sorted(needed - set(query.entities)):
        raise InvalidInput(f"{query.feature_service} needs {', '.join(missing)} beside {', '.join(query.entities)}")
    full = asked(
        plan.service.model_copy(update={"request": {n: plan.service.request[n] for n in sorted(needed)}}), rows
    )
    wanted = {name: plan.features(name) for name in plan.views}
    found = _found(call, project, wanted, full, tables)
    functions = functions_of(plan, load)
    for n, row in enumerate(full):
        for name, stored in plan.stored.items():
            view = found[stored.view]
            row[name] = view.features[view.entities[n]][stored.feature].value
        compute(plan, functions, row)
    results = _keys(project, wanted, query)
    for name in plan.service.inputs:
        if name in plan.stored:
            stored = plan.stored[name]
            called = f"{stored.view}__{stored.feature}" if query.full_feature_names else name
            results[called] = _column(found[stored.view], stored.feature)
        elif group := next((g for g, d in plan.on_demand.items() if name in d.outputs), None):
            called = f"{group}__{name}" if query.full_feature_names else name
            results[called] = _computed([row[name] for row in full], call.now)
    return _answer(results)


def _needed(plan: Plan) -> set[str]:
    keys = {key for view in plan.views.values() for key in view.entity}
    read = {name for group in plan.on_demand.values() for name in group.inputs}
    return keys | (read & set(plan.service.request))


def _found(
    call: Call,
    project: Project,
    wanted: Mapping[str, Sequence[str]],
    rows: Sequence[Mapping[str, Any]],
    tables: Tables,
) -> dict[str, Found]:
    for name in wanted:
        call.authorise("features:read", f"view/{name}")
        if missing := [key for key in project.views[name].entity if key not in rows[0]]:
            raise InvalidInput(f"view {name} joins by {', '.join(missing)}: entities lack it")
    return lookup(project, wanted, rows, as_of=call.now, tables=tables, workspace=call.workspace)


def _split(reference: str) -> tuple[str, str]:
    view, found, feature = reference.partition(":")
    if not found:
        raise InvalidInput(f"{reference!r} names no feature: write view:feature")
    return view, feature


def _keys(project: Project, wanted: Mapping[str, Any], query: FeaturesQuery) -> dict[str, dict[str, Any]]:
    keys = {key for name in wanted for key in project.views[name].entity}
    epoch = _said(moment(0))
    return {
        name: {"values": values, "statuses": ["PRESENT"] * len(values), "event_timestamps": [epoch] * len(values)}
        for name, values in query.entities.items()
        if name in keys
    }


def _column(found: Found, feature: str) -> dict[str, Any]:
    served = [found.features[entity][feature] for entity in found.entities]
    return {
        "values": [_said(s.value) for s in served],
        "statuses": [s.status for s in served],
        "event_timestamps": [_said(moment(s.event)) for s in served],
    }


def _computed(values: list[Any], now: datetime) -> dict[str, Any]:
    return {
        "values": [_said(value) for value in values],
        "statuses": ["NULL_VALUE" if value is None else "PRESENT" for value in values],
        "event_timestamps": [_said(now)] * len(values),
    }


def _answer(results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {"metadata": {"feature_names": list(results)}, "results": list(results.values())}


def _said(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
