"""The pages people look at, and their read API.

MLflow's web interface is at ``/`` where a stack has one (in AWS on CloudFront's own domain, which
leads to the paths here too), the console always at ``/console``. Both sign in by one cookie.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from modelwright.console import pages, status
from modelwright.context import Call
from modelwright.errors import EndpointNotFound, Unauthenticated
from modelwright.governance.access import COOKIE, authenticate, require, roles_on, token_of
from modelwright.insights.incidents import incidents
from modelwright.runtime import Answer, Function, Request, Route
from modelwright.wiring import Wiring

HTML = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    f"frame-ancestors 'none'; script-src '{pages.SCRIPT_HASH}'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
ATTRIBUTES = "HttpOnly; Secure; SameSite=Lax; Path=/"
FORM, CONSOLE = "/login", "/console"
INTERFACE_HEADER = "x-modelwright-interface"
MLFLOW_PROTOCOL = "3.18.0"


def front(request: Request, wiring: Wiring) -> Answer:
    """Lead on from the API's own root; the door and CloudFront, where MLflow's interface is, do not ask for it."""
    return Answer("", 303, {"location": interface(request) or CONSOLE})


def interface(request: Request) -> str:
    """Return where MLflow's web interface is: as the stage knows in AWS, or the local door says; empty for nowhere."""
    return request.stage.get("interface") or (pages.HOME if INTERFACE_HEADER in request.headers else "")


def form(request: Request, wiring: Wiring) -> Answer:
    return Answer(pages.login(to=pages.own_path(request.first("to"))), 200, HTML)


def sign_in(request: Request, wiring: Wiring) -> Answer:
    said = parse_qs(request.raw.decode(errors="replace"))
    token, to = said.get("token", [""])[0], pages.own_path(said.get("to", [""])[0])
    try:
        authenticate(token, tables=wiring.tables)
    except Unauthenticated as error:
        return Answer(pages.login(str(error), to=to), 401, HTML)
    return Answer("", 303, {"location": to, "set-cookie": f"{COOKIE}={token}; {ATTRIBUTES}"})


def sign_out(request: Request, wiring: Wiring) -> Answer:
    return Answer("", 303, {"location": FORM, "set-cookie": f"{COOKIE}=; {ATTRIBUTES}; Max-Age=0"})


def overview(request: Request, wiring: Wiring) -> Answer:
    """Show the page, or the way to the form; the route is open so that a browser without a cookie is sent there."""
    try:
        call = visitor(request, wiring)
        known = status.status(call, wall=datetime.now(UTC), tables=wiring.tables, log=wiring.log)
    except Unauthenticated:
        return Answer("", 303, {"location": f"{FORM}?to={CONSOLE}"})
    return Answer(pages.overview(known, interface(request)), 200, HTML)


def visitor(request: Request, wiring: Wiring) -> Call:
    """Return the call of who holds the request's token: before an open route no authorizer looks at it."""
    if not (token := token_of(request.headers)):
        return request.call
    who = authenticate(token, tables=wiring.tables)
    return replace(
        request.call,
        workspace=who.workspace,
        actor=who.actor,
        authority=partial(require, who),
        roles=partial(roles_on, who),
    )


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


def nowhere(request: Request, wiring: Wiring) -> Answer:
    """Take what no route of the API takes; without this the gateway answers as no client of MLflow expects."""
    raise EndpointNotFound(f"no such endpoint: {request.method} {request.url_path}")


handler = Function(
    "console",
    routes=(
        Route("GET", "/health", lambda _, __: Answer("OK"), open=True),
        Route("GET", "/version", lambda _, __: Answer(MLFLOW_PROTOCOL), open=True),
        Route("GET", FORM, form, open=True),
        Route("POST", FORM, sign_in, open=True),
        Route("POST", "/logout", sign_out, open=True),
        Route("GET", "/", front, open=True),
        Route("GET", CONSOLE, overview, open=True),
        Route("GET", "/v1/status", glance),
        Route("GET", "/v1/log", streams),
        Route("GET", "/v1/log/<path:stream>", stream),
        Route("GET", "/v1/incidents", open_incidents),
        Route("ANY", "<path:path>", nowhere),
    ),
)
