"""Online features over HTTP: Feast's endpoints and ours."""

import gc
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from modelwright import teamcode
from modelwright.context import Call
from modelwright.errors import ModelwrightError
from modelwright.features import push as pushes
from modelwright.features import serving
from modelwright.http import Answer, Request, Route, RouteHandler
from modelwright.log import new_id
from modelwright.runtime import Function
from modelwright.wiring import Wiring

if TYPE_CHECKING:
    from modelwright.project import Project

_JSON = {"content-type": "application/json"}


def push(request: Request, wiring: Wiring) -> dict[str, Any]:
    project, body = wiring.project(request.call.workspace), request.parse(pushes.Push)
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "blobs": wiring.blobs}
    return pushes.push(request.call, body, identity=new_id(), **stores).model_dump()


def write(request: Request, wiring: Wiring) -> dict[str, Any]:
    project, body = wiring.project(request.call.workspace), request.parse(pushes.ViewWrite)
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "blobs": wiring.blobs}
    return pushes.write_view(request.call, body, identity=new_id(), **stores).model_dump()


def materialize(request: Request, wiring: Wiring) -> Answer:
    from modelwright.features import feast_jobs

    project, body = wiring.project(request.call.workspace), request.parse(feast_jobs.Materialize)
    asked = feast_jobs.materialize(request.call, body, project=project, tables=wiring.tables, log=wiring.log)
    return Answer(asked, 202 if request.first("async") == "true" else 200)


def materialize_incremental(request: Request, wiring: Wiring) -> Answer:
    from modelwright.features import feast_jobs

    project, body = wiring.project(request.call.workspace), request.parse(feast_jobs.MaterializeIncremental)
    found = feast_jobs.materialize_incremental(request.call, body, project=project, tables=wiring.tables)
    return Answer(found, 202 if request.first("async") == "true" else 200)


def feast_registry(request: Request, wiring: Wiring) -> Answer:
    from modelwright.feast import registry

    body = registry.of_workspace(request.call, tables=wiring.tables)
    return Answer(body, headers={"content-type": "application/octet-stream"})


def get_online_features(request: Request, wiring: Wiring) -> Answer:
    query = request.parse(serving.FeaturesQuery)
    return _answered(request, wiring, lambda served: served.columns(request.call, query, tables=wiring.tables))


def online_rows(request: Request, wiring: Wiring) -> Answer:
    query = request.parse(serving.RowsQuery)
    return _answered(request, wiring, lambda served: served.rows(request.call, query, tables=wiring.tables))


def _answered(request: Request, wiring: Wiring, ask: Callable[[serving.Serving], str]) -> Answer:
    workspace = request.call.workspace
    known: dict[str, serving.Current] = wiring.cache.setdefault("features.serving", {})
    if workspace not in known:
        known[workspace] = serving.Current(
            lambda within_s: wiring.project(workspace, within_s=within_s), partial(_serving, wiring)
        )
    return Answer(known[workspace].answer(ask), headers=_JSON)


def _serving(wiring: Wiring, project: "Project") -> serving.Serving:
    gc.freeze()  # what is there by now stays: to look through it again with every request took a fifth of its time
    return serving.Serving(project, teamcode.loader(project, blobs=wiring.blobs), note=partial(_note, wiring, project))


def _note(wiring: Wiring, project: "Project", call: Call, answered: serving.Answered) -> None:
    """Log a sampled answer; that this failed is said in the log line of the request, which is answered anyway."""
    from botocore.exceptions import BotoCoreError, ClientError

    from modelwright.features import serving_log

    def put(key: str, body: bytes) -> None:
        try:
            wiring.blobs.put("lake", key, body)
        except (ModelwrightError, BotoCoreError, ClientError):
            wiring.meter.answers_not_logged += 1

    serving_log.record(call, answered, project=project, put=put)


def prove(request: Request, wiring: Wiring) -> Answer:
    from modelwright.features.parity import proofs

    call, project = request.call, wiring.project(request.call.workspace)
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "log": wiring.log}
    query = request.parse(proofs.ProofQuery)
    proof = proofs.ask(call, request.path["service"], query, identity=new_id(), **stores)
    return Answer(proof.model_dump(mode="json"), 202)


def list_proofs(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features.parity import proofs

    project = wiring.project(request.call.workspace)
    return proofs.proofs(request.call, request.path["service"], project=project, tables=wiring.tables)


def show_proof(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features.parity import proofs

    project = wiring.project(request.call.workspace)
    return proofs.show(request.call, **request.path, project=project, tables=wiring.tables, blobs=wiring.blobs)


def _shown(use_case: str, *needed: str, **asked: str) -> RouteHandler:
    """Return the route of a question to the catalogue, which is imported when somebody asks.

    Args:
        use_case: its function.
        needed: collaborators besides the project.
        asked: its parameters, by the query parameters that say them.
    """

    def answer(request: Request, wiring: Wiring) -> Any:
        from modelwright.features import catalogue

        told = {name: request.first(query) for name, query in asked.items()}
        stores = {name: getattr(wiring, name) for name in needed}
        project = wiring.project(request.call.workspace)
        return getattr(catalogue, use_case)(request.call, **request.path, **told, project=project, **stores)

    return answer


def request_historical(request: Request, wiring: Wiring) -> Answer:
    from modelwright.adapters import emr
    from modelwright.features import jobs

    query, project = request.parse(jobs.HistoricalQuery), wiring.project(request.call.workspace)
    if query.engine == emr.ENGINE:
        emr.require_spark(wiring.settings.environment)
    stores: dict[str, Any] = {"tables": wiring.tables, "log": wiring.log, "blobs": wiring.blobs}
    return Answer(jobs.request(request.call, query, project=project, **stores), status=202)


def upload_entities(request: Request, wiring: Wiring) -> dict[str, str]:
    from modelwright.features import jobs

    return jobs.upload(request.call, blobs=wiring.blobs)


def request_backfill(request: Request, wiring: Wiring) -> Answer:
    from modelwright.features import backfill

    query, project = request.parse(backfill.BackfillQuery), wiring.project(request.call.workspace)
    return Answer(backfill.request(request.call, query, project=project, tables=wiring.tables, log=wiring.log), 202)


def list_backfills(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features import backfill

    return backfill.listed(request.call, tables=wiring.tables, cursor=request.first("cursor"))


def show_backfill(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features import backfill

    return backfill.show(request.call, **request.path, tables=wiring.tables)


def list_jobs(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features import jobs

    return jobs.listed(request.call, tables=wiring.tables, cursor=request.first("cursor"))


def show_job(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features import jobs

    return jobs.show(request.call, **request.path, tables=wiring.tables, blobs=wiring.blobs)


def show_dataset(request: Request, wiring: Wiring) -> dict[str, Any]:
    from modelwright.features import saved

    return saved.show(request.call, **request.path, blobs=wiring.blobs)


ROUTES = (
    Route("GET", "/health", lambda _request, _wiring: {"status": "ok"}, open=True),
    Route("POST", "/push", push),
    Route("POST", "/write-to-online-store", write),
    Route("POST", "/get-online-features", get_online_features),
    Route("POST", "/materialize", materialize),
    Route("POST", "/materialize-incremental", materialize_incremental),
    Route("GET", "/v1/features/registry.db", feast_registry),
    Route("POST", "/v1/features/online", online_rows),
    Route("GET", "/v1/features/views", lambda r, w: serving.views(r.call, project=w.project(r.call.workspace))),
    Route("GET", "/v1/features/views/<name>", _shown("view", "tables", "log")),
    Route(
        "GET", "/v1/features/views/<name>/statistics", _shown("statistics", "tables", "blobs", start="from", end="to")
    ),
    Route("GET", "/v1/features/entities", _shown("entities")),
    Route("GET", "/v1/features/sources", _shown("sources", "tables")),
    Route("GET", "/v1/features/services", _shown("services")),
    Route("POST", "/v1/features/parity/<service>", prove),
    Route("GET", "/v1/features/parity/<service>", list_proofs),
    Route("GET", "/v1/features/parity/<service>/<proof_id>", show_proof),
    Route("GET", "/v1/features/search", _shown("search", words="q")),
    Route(
        "POST",
        "/v1/historical-features",
        request_historical,
        too_large="upload the entities (POST /v1/features/uploads) and give their key",
    ),
    Route("POST", "/v1/features/uploads", upload_entities),
    Route("POST", "/v1/features/backfills", request_backfill),
    Route("GET", "/v1/features/backfills", list_backfills),
    Route("GET", "/v1/features/backfills/<backfill_id>", show_backfill),
    Route("GET", "/v1/features/jobs", list_jobs),
    Route("GET", "/v1/features/jobs/<job_id>", show_job),
    Route("GET", "/v1/features/datasets/<digest>", show_dataset),
)
handler = Function("features", table="features", routes=ROUTES, error_body=serving.error_body)
