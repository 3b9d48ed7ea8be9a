"""MLflow's artifact protocol: signed URLs, and small files."""

from collections.abc import Callable
from typing import Any

from modelwright.runtime import Answer, Function, Request, Route, Wiring, protocol
from modelwright.tracking import files

_BASE = "/<api>/<api_version>/mlflow-artifacts"


def _list(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    return files.list_path(request.call, request.first("path"), blobs=wiring.blobs)


def _get(request: Request, wiring: Wiring) -> Answer:
    protocol(request)
    url = files.download_url(request.call, request.path["path"], blobs=wiring.blobs)
    return Answer("", 302, {"location": url})


def _put(request: Request, wiring: Wiring) -> Any:
    protocol(request)
    return files.put(request.call, request.path["path"], request.raw, blobs=wiring.blobs)


def _on_path(use_case: Callable[..., Any]) -> Callable[[Request, Wiring], Any]:
    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.path["path"], blobs=wiring.blobs)

    return answer


def _upload(use_case: Callable[..., Any]) -> Callable[[Request, Wiring], Any]:
    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.path["path"], request.parse(files.Upload), blobs=wiring.blobs)

    return answer


handler = Function(
    "artifacts",
    routes=(
        Route("GET", f"{_BASE}/artifacts", _list),
        Route("GET", f"{_BASE}/artifacts/<path:path>", _get),
        Route("PUT", f"{_BASE}/artifacts/<path:path>", _put),
        Route("DELETE", f"{_BASE}/artifacts/<path:path>", _on_path(files.delete)),
        Route("GET", f"{_BASE}/presigned/<path:path>", _on_path(files.presigned)),
        Route("POST", f"{_BASE}/mpu/create/<path:path>", _upload(files.start_upload)),
        Route("POST", f"{_BASE}/mpu/complete/<path:path>", _upload(files.finish_upload)),
        Route("POST", f"{_BASE}/mpu/abort/<path:path>", _upload(files.abort_upload)),
    ),
)
