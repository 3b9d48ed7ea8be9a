"""Artifacts by signed URLs: of runs, of logged models, and by path as MLflow's artifact proxy has them."""

import gzip
import json
from collections.abc import Callable
from typing import Any

from modelwright.artifacts import Signed
from modelwright.http import Answer, Request, Route, protocol
from modelwright.runtime import Function
from modelwright.tracking import files, proxy
from modelwright.wiring import Wiring

_MLFLOW, _PROXY = "/<api>/<api_version>/mlflow", "/<api>/<api_version>/mlflow-artifacts"
_PLAIN_BYTES = 1_000_000


def _list(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    found = proxy.list_path(request.call, request.told(proxy.ListPath), blobs=wiring.blobs)
    text = json.dumps(found).encode()
    if len(text) <= _PLAIN_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return found
    return Answer(gzip.compress(text, 6), 200, {"content-type": "application/json", "content-encoding": "gzip"})


def _download(request: Request, wiring: Wiring) -> Answer:
    protocol(request)
    return _elsewhere(proxy.download(request.call, request.path["path"], blobs=wiring.blobs))


def _presigned(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    return proxy.download(request.call, request.path["path"], blobs=wiring.blobs).answer()


def _put(request: Request, wiring: Wiring) -> Any:
    protocol(request, raw=True)
    length = request.headers.get("content-length", "")
    proxy.put(request.call, request.path["path"], request.raw, length, blobs=wiring.blobs)
    return {}


def _delete(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    return proxy.delete(request.call, request.path["path"], blobs=wiring.blobs)


def _parts(use_case: Callable[..., Any]) -> Callable[[Request, Wiring], Any]:
    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.path["path"], request.parse(proxy.Upload), blobs=wiring.blobs)

    return answer


def _of_run(request: Request, wiring: Wiring) -> Answer:
    if "api" in request.path:
        protocol(request)
    message = request.told(files.GetArtifact)
    return _elsewhere(files.get(request.call, message, tables=wiring.tables, blobs=wiring.blobs))


def _of_model(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    message = request.told(files.GetModelArtifact)
    found = files.get_of_model(request.call, message, tables=wiring.tables, blobs=wiring.blobs)
    return found.answer() if message.presigned == "true" else _elsewhere(found)


def _upload(request: Request, wiring: Wiring) -> Any:
    protocol(request, raw=True)
    said = files.UploadArtifact.model_validate({name: request.first(name) for name in ("run_id", "run_uuid", "path")})
    files.upload(request.call, said, request.raw, tables=wiring.tables, blobs=wiring.blobs)
    return {}


def _presign(model: type[Any], use_case: Callable[..., Any]) -> Callable[[Request, Wiring], Any]:
    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.told(model), tables=wiring.tables, blobs=wiring.blobs)

    return answer


def _elsewhere(found: Signed) -> Answer:
    return Answer("", 302, {"location": found.url, "cache-control": "no-store"})


handler = Function(
    "artifacts",
    routes=(
        Route("GET", f"{_PROXY}/artifacts", _list),
        Route("GET", f"{_PROXY}/artifacts/<path:path>", _download),
        Route("PUT", f"{_PROXY}/artifacts/<path:path>", _put, too_large=proxy.UPGRADE),
        Route("DELETE", f"{_PROXY}/artifacts/<path:path>", _delete),
        Route("GET", f"{_PROXY}/presigned/<path:path>", _presigned),
        Route("POST", f"{_PROXY}/mpu/create/<path:path>", _parts(proxy.start_upload)),
        Route("POST", f"{_PROXY}/mpu/complete/<path:path>", _parts(proxy.finish_upload)),
        Route("POST", f"{_PROXY}/mpu/abort/<path:path>", _parts(proxy.abort_upload)),
        Route("GET", "/get-artifact", _of_run),
        Route("GET", f"{_MLFLOW}/get-artifact", _of_run),
        Route("GET", f"{_MLFLOW}/logged-models/<model_id>/artifacts/files", _of_model),
        Route("POST", f"{_MLFLOW}/upload-artifact", _upload, too_large=proxy.UPGRADE),
        Route("POST", f"{_MLFLOW}/artifacts/presigned-upload-url", _presign(files.PresignUpload, files.presign_upload)),
        Route(
            "POST",
            f"{_MLFLOW}/artifacts/presigned-download-url",
            _presign(files.PresignDownload, files.presign_download),
        ),
    ),
)
