"""The pages people look at, and their read API."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from modelwright.console import pages, status
from modelwright.errors import Unauthenticated
from modelwright.governance.access import COOKIE, authenticate
from modelwright.insights.incidents import incidents
from modelwright.runtime import Answer, Function, Request, Route, Wiring

HTML = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
MLFLOW_PROTOCOL = "3.18.0"


def sign_in(request: Request, wiring: Wiring) -> Answer:
    token = parse_qs(request.raw.decode(errors="replace")).get("token", [""])[0]
    try:
        authenticate(token, tables=wiring.tables)
    except Unauthenticated as error:
        return Answer(pages.login(str(error)), 401, HTML)
    cookie = f"{COOKIE}={token}; HttpOnly; Secure; SameSite=Strict; Path=/"
    return Answer("", 303, {"location": "/", "set-cookie": cookie})


def overview(request: Request, wiring: Wiring) -> Answer:
    return Answer(pages.overview(glance(request, wiring)), 200, HTML)


def glance(request: Request, wiring: Wiring) -> dict[str, Any]:
    return status.status(request.call, wall=datetime.now(UTC), tables=wiring.tables, log=wiring.log)


def streams(request: Request, wiring: Wiring) -> dict[str, Any]:
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log}
    return status.streams(request.call, wall=datetime.now(UTC), **stores)


def stream(request: Request, wiring: Wiring) -> dict[str, Any]:
    return status.stored_items(
        request.call, request.path["stream"], tables=wiring.tables, cursor=request.first("cursor")
    )


def open_incidents(request: Request, wiring: Wiring) -> dict[str, Any]:
    return {"incidents": list(incidents(request.call, tables=wiring.tables))}


handler = Function(
    "console",
    routes=(
        Route("GET", "/health", lambda _, __: Answer("OK"), open=True),
        Route("GET", "/version", lambda _, __: Answer(MLFLOW_PROTOCOL), open=True),
        Route("GET", "/login", lambda _, __: Answer(pages.login(), 200, HTML), open=True),
        Route("POST", "/login", sign_in, open=True),
        Route("GET", "/", overview),
        Route("GET", "/v1/status", glance),
        Route("GET", "/v1/log", streams),
        Route("GET", "/v1/log/<path:stream>", stream),
        Route("GET", "/v1/incidents", open_incidents),
    ),
)
