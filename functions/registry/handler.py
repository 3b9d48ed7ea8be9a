"""MLflow's registry protocol and our own over HTTP, and what follows from trainings and rollouts."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright.events import (
    LoggedModelCreated,
    RolloutPromoted,
    RolloutRolledBack,
    TrainingCompleted,
    TrainingRecorded,
)
from modelwright.governance import access, projects
from modelwright.plugins import gate
from modelwright.registry import creation, downloads, models, reactions, search, transitions, versions, views
from modelwright.registry import messages as m
from modelwright.runtime import Answer, Function, Request, Route, protocol, rpc
from modelwright.wiring import Wiring


class IssueToken(BaseModel):
    """``POST /v1/access/tokens``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    actor: str
    grants: tuple[access.Grant, ...]


class AdmitPrincipal(BaseModel):
    """``POST /v1/access/principals``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    arn: str
    grants: tuple[access.Grant, ...]


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
    return transitions.set_alias(request.call, request.told(m.SetAlias), tables=w.tables, log=w.log, gates=gate)


def _transition(request: Request, w: Wiring) -> Any:
    asked = request.told(m.RequestTransition)
    return transitions.request(request.call, asked, tables=w.tables, log=w.log, gates=gate)


def _apply(request: Request, w: Wiring) -> Any:
    asked = request.parse(projects.ApplyProject)
    return projects.apply(request.call, asked, tables=w.tables, log=w.log, blobs=w.blobs).model_dump(mode="json")


def _issue(request: Request, w: Wiring) -> Any:
    asked = request.parse(IssueToken)
    token = access.issue_token(request.call, asked.grants, actor=asked.actor, tables=w.tables, log=w.log)
    return {"token": token}


def _admit(request: Request, w: Wiring) -> Any:
    asked = request.parse(AdmitPrincipal)
    access.admit_principal(request.call, asked.arn, asked.grants, tables=w.tables, log=w.log)
    return {"principal": access.principal_of(asked.arn)}


def _revoke(request: Request, w: Wiring) -> Answer:
    access.revoke_token(request.call, request.path["token_id"], tables=w.tables, log=w.log)
    return Answer({})


ROUTES = (
    rpc("POST", "registered-models/create", m.CreateModel, models.create),
    rpc("GET", "registered-models/get", m.Named, models.get),
    rpc("GET", "registered-models/search", m.Search, search.models),
    rpc("PATCH", "registered-models/update", m.UpdateModel, models.update),
    rpc("POST", "registered-models/rename", m.RenameModel, models.rename),
    rpc("DELETE", "registered-models/delete", m.Named, models.delete),
    rpc("POST", "registered-models/set-tag", m.SetModelTag, models.set_tag),
    rpc("DELETE", "registered-models/delete-tag", m.DeleteModelTag, models.delete_tag),
    rpc("ANY", "registered-models/get-latest-versions", m.LatestVersions, models.latest_versions),
    Route("POST", "/<api>/<api_version>/mlflow/registered-models/alias", _set_alias),
    rpc("GET", "registered-models/alias", m.OfAlias, transitions.get_by_alias),
    rpc("DELETE", "registered-models/alias", m.OfAlias, transitions.delete_alias),
    Route("POST", "/<api>/<api_version>/mlflow/model-versions/create", _create_version),
    rpc("GET", "model-versions/get", m.OfVersion, versions.get),
    rpc("GET", "model-versions/get-download-uri", m.OfVersion, versions.download_uri),
    rpc("GET", "model-versions/search", m.Search, search.versions),
    rpc("PATCH", "model-versions/update", m.UpdateVersion, versions.update),
    rpc("DELETE", "model-versions/delete", m.OfVersion, versions.delete),
    rpc("POST", "model-versions/set-tag", m.SetVersionTag, versions.set_tag),
    rpc("DELETE", "model-versions/delete-tag", m.DeleteVersionTag, versions.delete_tag),
    rpc("POST", "model-versions/transition-stage", m.TransitionStage, versions.transition_stage),
    Route("GET", "/model-versions/get-artifact", _file),
    Route("GET", "/v1/models/<name>", lambda r, w: views.show(r.call, r.told(m.Named), tables=w.tables, log=w.log)),
    Route(
        "GET",
        "/v1/models/<name>/history",
        lambda r, w: views.history(r.call, r.told(m.Named), tables=w.tables, log=w.log),
    ),
    Route("POST", "/v1/models/<name>/transitions", _transition),
    Route("POST", "/v1/projects", _apply),
    Route(
        "GET", "/v1/projects/current", lambda r, w: projects.current(r.call, tables=w.tables).model_dump(mode="json")
    ),
    Route("POST", "/v1/access/tokens", _issue),
    Route("GET", "/v1/access/tokens", lambda r, w: {"tokens": access.list_tokens(r.call, tables=w.tables)}),
    Route("DELETE", "/v1/access/tokens/<token_id>", _revoke),
    Route("POST", "/v1/access/principals", _admit),
)

handler = Function(
    "registry",
    table="registry",
    routes=ROUTES,
    consumers={
        TrainingCompleted: lambda d, call, w: reactions.register(call, d, tables=w.tables, log=w.log, gates=gate),
        TrainingRecorded: lambda d, call, w: reactions.move_to_run(call, d, tables=w.tables, log=w.log),
        LoggedModelCreated: lambda d, call, w: reactions.remember_run(call, d, tables=w.tables, log=w.log),
        RolloutPromoted: lambda d, call, w: reactions.promote(call, d, tables=w.tables, log=w.log),
        RolloutRolledBack: lambda d, call, w: reactions.roll_back(call, d, tables=w.tables, log=w.log),
    },
)
