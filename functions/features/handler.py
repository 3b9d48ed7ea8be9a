"""Online features over HTTP: Feast's endpoints and ours."""

from typing import Any

from modelwright import teamcode
from modelwright.features import push as pushes
from modelwright.features import serving
from modelwright.log import new_id
from modelwright.runtime import Function, Request, Route
from modelwright.wiring import Wiring


def push(request: Request, wiring: Wiring) -> dict[str, Any]:
    project, body = wiring.project(request.call.workspace), request.parse(pushes.Push)
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "blobs": wiring.blobs}
    return pushes.push(request.call, body, identity=new_id(), **stores).model_dump()


def write(request: Request, wiring: Wiring) -> dict[str, Any]:
    project, body = wiring.project(request.call.workspace), request.parse(pushes.ViewWrite)
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "blobs": wiring.blobs}
    return pushes.write_view(request.call, body, identity=new_id(), **stores).model_dump()


def get_online_features(request: Request, wiring: Wiring) -> dict[str, Any]:
    project, query = wiring.project(request.call.workspace), request.parse(serving.FeaturesQuery)
    load = teamcode.loader(project, blobs=wiring.blobs)
    return serving.get_online_features(request.call, query, project=project, tables=wiring.tables, load=load)


ROUTES = (
    Route("GET", "/health", lambda _request, _wiring: {"status": "ok"}, open=True),
    Route("POST", "/push", push),
    Route("POST", "/write-to-online-store", write),
    Route("POST", "/get-online-features", get_online_features),
    Route("GET", "/v1/features/views", lambda r, w: serving.views(r.call, project=w.project(r.call.workspace))),
)
handler = Function("features", table="features", routes=ROUTES, error_body=serving.error_body)
