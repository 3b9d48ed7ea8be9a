"""MLflow's registry protocol and our own over HTTP, and what follows from trainings and rollouts."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel

from modelwright.context import Call
from modelwright.events import ScheduleDue
from modelwright.http import Answer, Request, Route, protocol, rpc, said_in_json
from modelwright.plugins import gate
from modelwright.registry import (
    aliases,
    cards,
    creation,
    downloads,
    models,
    transitions,
    versions,
)
from modelwright.registry import messages as m
from modelwright.runtime import Consumers, Function
from modelwright.wiring import Wiring

_ACCESS = "modelwright.governance.requests"


def _create_version(request: Request, w: Wiring) -> Any:
    protocol(request)
    return creation.create(request.call, request.told(m.CreateVersion), tables=w.tables, log=w.log, blobs=w.blobs)


def _file(request: Request, w: Wiring) -> Any:
    asked = request.told(downloads.GetVersionArtifact)
    found = downloads.get(request.call, asked, tables=w.tables, blobs=w.blobs)
    if asked.presigned == "true":
        return found.answer()
    return Answer("", 302, {"location": found.url, "cache-control": "no-store"})


def _set_alias(request: Request, w: Wiring) -> Any:
    protocol(request)
    return aliases.set_alias(request.call, request.told(m.SetAlias), **_judging(w))


def _delete_alias(request: Request, w: Wiring) -> Any:
    protocol(request)
    said, tier = request.told(m.OfAlias), w.settings.tier
    return aliases.delete_alias(request.call, said, tables=w.tables, log=w.log, tier=tier)


def _ruled(method: str, path: str, message: type[BaseModel], use_case: Callable[..., Any]) -> Route:
    """Return the route of a call of MLflow's protocol that the policy of the environment has a say in."""

    def answer(request: Request, w: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.told(message), tables=w.tables, log=w.log, tier=w.settings.tier)

    return Route(method, f"/<api>/<api_version>/mlflow/{path}", answer)


def _judging(w: Wiring) -> dict[str, Any]:
    return {"tables": w.tables, "log": w.log, "blobs": w.blobs, "gates": gate, "tier": w.settings.tier}


def _transition(request: Request, w: Wiring) -> Answer:
    said_in_json(request)
    said = transitions.request(request.call, request.told(m.RequestTransition), **_judging(w))
    return Answer(said, 200 if said["transition"]["state"] == "applied" else 202)


def _approve(request: Request, w: Wiring) -> Any:
    said_in_json(request)
    return transitions.approve(request.call, request.told(m.ApproveTransition), **_judging(w))


def _reject(request: Request, w: Wiring) -> Any:
    said_in_json(request)
    return transitions.reject(request.call, request.told(m.EndTransition), tables=w.tables, log=w.log)


def _withdraw(request: Request, w: Wiring) -> Any:
    said_in_json(request)
    return transitions.withdraw(request.call, request.told(m.EndTransition), tables=w.tables, log=w.log)


def _transitions(request: Request, w: Wiring) -> Any:
    return transitions.of_model(request.call, request.told(m.ListTransitions), tables=w.tables)


def _one_transition(request: Request, w: Wiring) -> Any:
    return transitions.get(request.call, request.told(m.OfTransition), tables=w.tables)


def _expire(due: ScheduleDue, call: Call, w: Wiring) -> None:
    from modelwright.registry import arrivals

    for workspace in [due.workspace] if due.workspace else transitions.known_workspaces(call, tables=w.tables):
        transitions.expire(replace(call, workspace=workspace), tables=w.tables, log=w.log)
    arrivals.collect(call, tables=w.tables, blobs=w.blobs)


def _search_models(request: Request, w: Wiring) -> Any:
    from modelwright.registry import search

    protocol(request)
    return search.models(request.call, request.told(m.Search), tables=w.tables, log=w.log)


def _search_versions(request: Request, w: Wiring) -> Any:
    from modelwright.registry import search

    protocol(request)
    return search.versions(request.call, request.told(m.Search), tables=w.tables, log=w.log)


def _show(request: Request, w: Wiring) -> Any:
    from modelwright.registry import views

    return views.show(request.call, request.told(m.Named), tables=w.tables, log=w.log)


def _history(request: Request, w: Wiring) -> Any:
    from modelwright.registry import history

    return history.history(request.call, request.told(m.ReadHistory), tables=w.tables, log=w.log)


def _as_of(request: Request, w: Wiring) -> Any:
    from modelwright.registry import history

    return history.as_of(request.call, request.told(m.ReadAsOf), tables=w.tables, log=w.log)


def _lineage(request: Request, w: Wiring) -> Any:
    from modelwright.registry import lineage

    return lineage.graph(request.call, request.told(m.ReadLineage), tables=w.tables, log=w.log)


def _manifest(request: Request, w: Wiring) -> Answer:
    from modelwright.registry import bundles

    asked = request.told(bundles.ExportVersion)
    said = bundles.manifest(request.call, asked, tables=w.tables, log=w.log, blobs=w.blobs)
    return Answer(said, 200 if "manifest" in said else 202)


def _announce(request: Request, w: Wiring) -> Any:
    from modelwright.registry import arrivals

    return arrivals.announce(request.call, request.told(arrivals.OfArrival), tables=w.tables, blobs=w.blobs)


def _arrive(request: Request, w: Wiring) -> Answer:
    from modelwright.registry import arrivals

    said = arrivals.arrive(request.call, request.told(arrivals.Arrive), tables=w.tables, log=w.log, blobs=w.blobs)
    return Answer(said, 200 if "version" in said else 202)


def _card(request: Request, w: Wiring) -> Answer:
    from modelwright.registry import cardforms

    asked = request.told(m.ReadCard)
    form = asked.format or cardforms.form_of(request.headers.get("accept", ""))
    card = cards.show(request.call, asked, tables=w.tables, log=w.log, tier=w.settings.tier)
    return Answer(cardforms.written_as(form, card), 200, {**cardforms.HEADERS[form], "vary": "accept"})


def _write_card(request: Request, w: Wiring) -> Any:
    said_in_json(request)
    return cards.write(request.call, request.told(m.WriteCard), tables=w.tables, log=w.log)


def _apply(request: Request, w: Wiring) -> Any:
    from modelwright.adapters.planning import knowledge_of
    from modelwright.governance import projects

    asked, known = request.parse(projects.ApplyProject), knowledge_of(request.call, tables=w.tables, log=w.log)
    stores: dict[str, Any] = {"tables": w.tables, "log": w.log, "blobs": w.blobs}
    return projects.apply(request.call, asked, knowledge=known, **stores).model_dump(mode="json")


def _plan(request: Request, w: Wiring) -> Any:
    from modelwright.adapters.planning import knowledge_of
    from modelwright.governance import projects

    asked, known = request.parse(projects.PlanProject), knowledge_of(request.call, tables=w.tables, log=w.log)
    return projects.plan(request.call, asked, tables=w.tables, knowledge=known).model_dump(mode="json")


def _project(request: Request, w: Wiring) -> Any:
    from modelwright.governance import projects

    return projects.current(request.call, tables=w.tables).model_dump(mode="json")


def _access(method: str, path: str, message: str, use_case: str) -> Route:
    """Return a route of access by the names of its message and use case, whose module is imported when a call comes."""
    late = partial(_answer_later, message=f"{_ACCESS}:{message}", use_case=f"{_ACCESS}:{use_case}")
    return Route(method, f"/v1/access/{path}", late)


def _answer_later(request: Request, w: Wiring, *, message: str, use_case: str) -> Any:
    told = request.told(resolve_name(message))
    return resolve_name(use_case)(request.call, told, tables=w.tables, log=w.log)


def _consumers() -> Consumers:
    from modelwright.events import (
        LoggedModelCreated,
        ParityFailed,
        ParityProven,
        QualityFailed,
        QuarantineReleased,
        RolloutPromoted,
        RolloutRolledBack,
        RunRegistered,
        TrainingCompleted,
        TrainingRecorded,
    )
    from modelwright.registry import parities, quarantines, reactions, tracing

    return {
        TrainingCompleted: lambda d, call, w: reactions.register(call, d, **_judging(w)),
        TrainingRecorded: lambda d, call, w: reactions.move_to_run(call, d, tables=w.tables, log=w.log),
        LoggedModelCreated: lambda d, call, w: reactions.remember_run(call, d, tables=w.tables, log=w.log),
        RunRegistered: lambda d, call, w: tracing.trace(call, d, tables=w.tables, log=w.log),
        ParityFailed: lambda d, call, w: parities.note(call, d, tables=w.tables, log=w.log),
        ParityProven: lambda d, call, w: parities.note(call, d, tables=w.tables, log=w.log),
        QualityFailed: lambda d, call, w: quarantines.note(call, d, tables=w.tables, log=w.log),
        QuarantineReleased: lambda d, call, w: quarantines.note(call, d, tables=w.tables, log=w.log),
        RolloutPromoted: lambda d, call, w: reactions.promote(call, d, tables=w.tables, log=w.log),
        RolloutRolledBack: lambda d, call, w: reactions.roll_back(call, d, tables=w.tables, log=w.log),
    }


ROUTES = (
    rpc("POST", "registered-models/create", m.CreateModel, models.create),
    rpc("GET", "registered-models/get", m.Named, models.get),
    Route("GET", "/<api>/<api_version>/mlflow/registered-models/search", _search_models),
    rpc("PATCH", "registered-models/update", m.UpdateModel, models.update),
    _ruled("POST", "registered-models/rename", m.RenameModel, models.rename),
    _ruled("DELETE", "registered-models/delete", m.Named, models.delete),
    rpc("POST", "registered-models/set-tag", m.SetModelTag, models.set_tag),
    rpc("DELETE", "registered-models/delete-tag", m.DeleteModelTag, models.delete_tag),
    rpc("ANY", "registered-models/get-latest-versions", m.LatestVersions, models.latest_versions),
    Route("POST", "/<api>/<api_version>/mlflow/registered-models/alias", _set_alias),
    rpc("GET", "registered-models/alias", m.OfAlias, aliases.get_by_alias),
    Route("DELETE", "/<api>/<api_version>/mlflow/registered-models/alias", _delete_alias),
    Route("POST", "/<api>/<api_version>/mlflow/model-versions/create", _create_version),
    rpc("GET", "model-versions/get", m.OfVersion, versions.get),
    rpc("GET", "model-versions/get-download-uri", m.OfVersion, versions.download_uri),
    Route("GET", "/<api>/<api_version>/mlflow/model-versions/search", _search_versions),
    rpc("PATCH", "model-versions/update", m.UpdateVersion, versions.update),
    _ruled("DELETE", "model-versions/delete", m.OfVersion, versions.delete),
    rpc("POST", "model-versions/set-tag", m.SetVersionTag, versions.set_tag),
    rpc("DELETE", "model-versions/delete-tag", m.DeleteVersionTag, versions.delete_tag),
    rpc("POST", "model-versions/transition-stage", m.TransitionStage, versions.transition_stage),
    Route("GET", "/model-versions/get-artifact", _file),
    Route("GET", "/v1/models/<name>", _show),
    Route("GET", "/v1/models/<name>/history", _history),
    Route("GET", "/v1/models/<name>/as-of", _as_of),
    Route("GET", "/v1/lineage/<kind>/<path:name>", _lineage),
    Route("POST", "/v1/models/<name>/transitions", _transition),
    Route("GET", "/v1/models/<name>/transitions", _transitions),
    Route("GET", "/v1/models/<name>/transitions/<request_id>", _one_transition),
    Route("POST", "/v1/models/<name>/transitions/<request_id>/approve", _approve),
    Route("POST", "/v1/models/<name>/transitions/<request_id>/reject", _reject),
    Route("POST", "/v1/models/<name>/transitions/<request_id>/withdraw", _withdraw),
    Route("GET", "/v1/approvals", lambda r, w: transitions.inbox(r.call, r.told(m.OpenTransitions), tables=w.tables)),
    Route("GET", "/v1/models/<name>/versions/<version>/manifest", _manifest),
    Route("POST", "/v1/models/<name>/arrivals", _arrive),
    Route("PUT", "/v1/models/<name>/arrivals/<content>", _announce),
    Route("GET", "/v1/models/<name>/versions/<version>/card", _card),
    Route("PUT", "/v1/models/<name>/versions/<version>/card", _write_card),
    Route(
        "GET",
        "/v1/models/<name>/versions/<version>/card/revisions",
        lambda r, w: cards.revisions(r.call, r.told(m.OfCard), tables=w.tables, log=w.log),
    ),
    Route("POST", "/v1/projects", _apply),
    Route("POST", "/v1/projects/plan", _plan),
    Route("GET", "/v1/projects/current", _project),
    _access("POST", "tokens", "IssueToken", "issue"),
    _access("GET", "tokens", "Nothing", "list_tokens"),
    _access("POST", "tokens/<token_id>/rotate", "RotateToken", "rotate"),
    _access("DELETE", "tokens/<token_id>", "OfToken", "revoke"),
    _access("POST", "principals", "AdmitPrincipal", "admit"),
    _access("GET", "principals", "Nothing", "list_principals"),
    _access("DELETE", "principals/<path:principal>", "OfPrincipal", "dismiss"),
    _access("POST", "providers", "federation.Provider", "trust"),
    _access("GET", "providers", "Nothing", "list_providers"),
    _access("DELETE", "providers/<provider>", "OfProvider", "distrust"),
    _access("GET", "people", "Nothing", "list_people"),
    _access("DELETE", "people/<person>", "OfPerson", "forget"),
    _access("GET", "explain", "Explain", "explain"),
    _access("GET", "roles", "Nothing", "roles"),
)

handler = Function(
    "registry",
    table="registry",
    routes=ROUTES,
    consumers=_consumers,
    schedules={"expire": _expire},
)
