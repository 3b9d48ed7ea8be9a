"""What the pages of models, versions and requests show, read from the registry and the ends of the log's streams."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden
from modelwright.log import Log, stream_of
from modelwright.registry import cards, transitions
from modelwright.registry.entities import CHAMPION, ModelVersion, RegisteredModel, checked_name
from modelwright.registry.messages import ListTransitions, OfTransition, OpenTransitions, ReadCard
from modelwright.registry.models import readable
from modelwright.registry.requests import RequestStore
from modelwright.registry.store import RegistryStore
from modelwright.registry.words import words
from modelwright.storage import Tables

MODELS, VERSIONS, REQUESTS, EVENTS, OPEN = 500, 50, 20, 50, 100
"""So many of each are shown at most, the newest ones (of models: the first by name)."""

Facts = dict[str, Any]


def listing(call: Call, *, tables: Tables) -> list[Facts]:
    """Return the models that the caller may read, by name."""
    found = RegistryStore(tables, call).models()
    return [_line(model) for model in islice((model for model in found if readable(call, model)), MODELS)]


def one(call: Call, name: str, *, tables: Tables, log: Log) -> Facts:
    """Return a model with its newest versions, its requests and what happened to it; raises ``NotFound``."""
    call.authorise("models:read", f"model/{name}")
    store = RegistryStore(tables, call)
    model = store.model(checked_name(name))
    asked = transitions.of_model(call, ListTransitions(name=name, max_results=REQUESTS), tables=tables)
    routes = _routes(call, name, log)
    return {
        **_line(model),
        "aliases": {
            alias: {"version": number, "since": _since(model, alias)} for alias, number in sorted(model.aliases.items())
        },
        "routes": routes,
        "versions": [_version(model, version) for version in store.versions(model)[: -VERSIONS - 1 : -1]],
        "requests": asked["transitions"],
        "events": [
            {"at": e.at.isoformat(), "actor": e.actor, "text": words(e.type, e.data)}
            for e in (item.envelope for item in log.newest(stream_of(call.workspace, "MODEL", model.model_id), EVENTS))
        ],
    }


def request(call: Call, name: str, request_id: str, *, tables: Tables) -> Facts:
    """Return a request, what the caller may do with it, and the version that holds its alias; raises ``NotFound``."""
    said = transitions.get(call, OfTransition(name=name, request_id=request_id), tables=tables)["transition"]
    model = RegistryStore(tables, call).model(checked_name(name))
    return {**said, "model": name, "holder": model.aliases.get(said["alias"]), "may": _may(call, model, said)}


def inbox(call: Call, *, tables: Tables) -> Facts:
    """Return the open requests of the workspace that the caller may read: those that wait for them, and the others."""
    mine = transitions.inbox(call, OpenTransitions(max_results=OPEN), tables=tables)["transitions"]
    known = {said["request_id"] for said in mine}
    store = RequestStore(tables, call)
    lines, more = store.lines(OPEN)
    others = [
        found.shown()
        for model, found in store.of_lines(lines)
        if found.open and found.request_id not in known and readable(call, model) and not found.overdue(call.now)
    ]
    return {"mine": mine, "others": sorted(others, key=lambda said: said["at"]), "more": bool(more)}


def card(call: Call, name: str, version: str, *, tables: Tables, log: Log, tier: str) -> Facts:
    """Return a version's card; raises ``NotFound``."""
    return cards.show(call, ReadCard(name=name, version=version), tables=tables, log=log, tier=tier)


def _may(call: Call, model: RegisteredModel, said: Facts) -> Facts:
    """Return which buttons a person gets, and why not; the registry decides when one is pressed."""
    open_ = said["state"] in ("waiting", "judging")
    asked = call.actor == said["actor"]
    approver = _allowed(call, "models:approve", model)
    approved = any(approval["actor"] == call.actor for approval in said["approvals"])
    why = ""
    if open_ and asked:
        why = "You asked for this, so somebody else has to approve it."
    elif open_ and approved:
        why = "You approved it; it waits for others."
    elif open_ and not approver:
        why = "You may read this request, but not approve it: that takes the role approver on this model."
    return {
        "approve": said["state"] == "waiting" and approver and not asked and not approved,
        "reject": open_ and approver and not asked,
        "withdraw": open_
        and (asked or "admin" in call.roles(model.resource))
        and _allowed(call, "models:transition", model),
        "why": why,
    }


def _allowed(call: Call, action: str, model: RegisteredModel) -> bool:
    try:
        call.authorise(action, model.resource)
    except Forbidden:
        return False
    return True


def _line(model: RegisteredModel) -> Facts:
    return {
        "name": model.name,
        "description": model.description,
        "champion": model.aliases.get(CHAMPION),
        "since": _since(model, CHAMPION) if CHAMPION in model.aliases else "",
        "others": {alias: number for alias, number in sorted(model.aliases.items()) if alias != CHAMPION},
        "newest": model.newest,
        "open": len(model.open),
    }


def _version(model: RegisteredModel, version: ModelVersion) -> Facts:
    evaluation = version.evaluation
    return {
        "version": version.version,
        "aliases": model.aliases_of(version.version),
        "stage": version.stage,
        "created": datetime.fromtimestamp(version.created / 1000, tz=UTC).isoformat(),
        "by": version.user_id,
        "description": version.description,
        "auc": evaluation.challenger_auc.model_dump() if evaluation and evaluation.challenger_auc else None,
        "brier": evaluation.challenger_brier if evaluation else None,
    }


def _since(model: RegisteredModel, alias: str) -> str:
    return model.alias_at[alias].isoformat() if alias in model.alias_at else ""


def _routes(call: Call, name: str, log: Log) -> dict[int, str]:
    """Return each version's share of traffic in words."""
    newest = log.newest(stream_of(call.workspace, "ROLLOUT", name), EVENTS)
    changed = (item.envelope.data["routes"] for item in newest if item.envelope.type == "RoutesChanged")
    return {route["version"]: f"{route['percent']} % as {route['role']}" for route in next(changed, ())}
