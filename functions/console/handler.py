"""The pages people look at, and their read API."""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from modelwright.console import pages, status
from modelwright.context import Call
from modelwright.errors import Unauthenticated
from modelwright.governance.access import COOKIE, authenticate, require, token_of
from modelwright.insights.incidents import incidents
from modelwright.runtime import Answer, Function, Request, Route, Wiring

HTML = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
ATTRIBUTES = "HttpOnly; Secure; SameSite=Strict; Path=/"
MLFLOW_PROTOCOL = "3.18.0"


def sign_in(request: Request, wiring: Wiring) -> Answer:
    token = parse_qs(request.raw.decode(errors="replace")).get("token", [""])[0]
    try:
        authenticate(token, tables=wiring.tables)
    except Unauthenticated as error:
        return Answer(pages.login(str(error)), 401, HTML)
    return Answer("", 303, {"location": "/", "set-cookie": f"{COOKIE}={token}; {ATTRIBUTES}"})


def sign_out(request: Request, wiring: Wiring) -> Answer:
    return Answer("", 303, {"location": "/login", "set-cookie": f"{COOKIE}=; {ATTRIBUTES}; Max-Age=0"})


def overview(request: Request, wiring: Wiring) -> Answer:
    """Show the page, or the way to the form; the route is open so that a browser without a cookie is sent there."""
    try:
        call = visitor(request, wiring)
        known = status.status(call, wall=datetime.now(UTC), tables=wiring.tables, log=wiring.log)
    except Unauthenticated:
        return Answer("", 303, {"location": "/login"})
    return Answer(pages.overview(known), 200, HTML)


def visitor(request: Request, wiring: Wiring) -> Call:
    """Return the call of who holds the request's token: before an open route no authorizer looks at it."""
    if not (token := token_of(request.headers)):
        return request.call
    who = authenticate(token, tables=wiring.tables)
    return replace(request.call, workspace=who.workspace, actor=who.actor, authority=partial(require, who))


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
        Route("POST", "/logout", sign_out, open=True),
        Route("GET", "/", overview, open=True),
        Route("GET", "/v1/status", glance),
        Route("GET", "/v1/log", streams),
        Route("GET", "/v1/log/<path:stream>", stream),
        Route("GET", "/v1/incidents", open_incidents),
    ),
)
