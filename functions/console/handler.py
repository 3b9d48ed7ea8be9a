"""The pages people look at, and their read API.

MLflow's web interface is at ``/`` where a stack has one (in AWS on CloudFront's own domain, which
leads to the paths here too), the console always at ``/console``. Both sign in by one cookie.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote

from modelwright.console import pages, status
from modelwright.context import Call
from modelwright.errors import EndpointNotFound, InvalidInput, NotFound, Unauthenticated
from modelwright.governance.access import Identity
from modelwright.governance.authentication import authenticate
from modelwright.governance.tokens import COOKIE, token_of
from modelwright.http import WORKSPACE_HEADER, Answer, Request, Route, RouteHandler, status_of
from modelwright.insights.incidents import incidents
from modelwright.runtime import Function, acting
from modelwright.wiring import Wiring


def page_of(script: str, more: str = "") -> dict[str, str]:
    """Return the headers of a page with one script of its own, by its hash, and what else its policy allows."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": f"{policy}frame-ancestors 'none'; script-src '{script}'{more}",
        "cache-control": "no-store",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }


HTML = page_of(pages.SCRIPT_HASH)
ATTRIBUTES = "HttpOnly; Secure; SameSite=Lax; Path=/"
SESSION_S = 12 * 3600
"""How long a browser keeps the cookie; what the token in it may do ends when the token does."""
LONGEST_COOKIE = 3800
FROM_HERE = ("same-origin", "none")
"""What ``Sec-Fetch-Site`` says of our own form; another site's would sign a person in as somebody else."""
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
        check_form(request, token)
        holder(token, request, wiring)
    except Unauthenticated as error:
        return Answer(pages.login(str(error), to=to), 401, HTML)
    return Answer("", 303, {"location": to, "set-cookie": f"{COOKIE}={token}; {ATTRIBUTES}; Max-Age={SESSION_S}"})


def check_form(request: Request, token: str) -> None:
    """Raise ``Unauthenticated`` unless our own form was sent, with what a browser can keep."""
    if request.headers.get("sec-fetch-site", "none") not in FROM_HERE:
        raise Unauthenticated("another site sent this form: sign in here, if you want to")
    if len(token) > LONGEST_COOKIE:
        raise Unauthenticated(f"a browser keeps no token of more than {LONGEST_COOKIE} characters")


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


def shown(view: Callable[[Call, Request, Wiring], str]) -> RouteHandler:
    """Return the route of a page; it is open, so that a browser without a cookie is sent to the form and back."""

    def answer(request: Request, wiring: Wiring) -> Answer:
        from modelwright.console import model_pages

        headers = page_of(model_pages.SCRIPT_HASH, "; connect-src 'self'")
        try:
            return Answer(view(visitor(request, wiring), request, wiring), 200, headers)
        except Unauthenticated:
            return Answer("", 303, {"location": f"{FORM}?to={quote(quote(request.url_path))}"})
        except (NotFound, InvalidInput) as error:
            return Answer(model_pages.fault("Not there", str(error)), status_of(error)[0], headers)

    return answer


def list_models(call: Call, request: Request, w: Wiring) -> str:
    from modelwright.console import model_pages, models

    return model_pages.models(models.listing(call, tables=w.tables))


def show_model(call: Call, request: Request, w: Wiring) -> str:
    from modelwright.console import model_pages, models

    return model_pages.model(models.one(call, request.path["name"], tables=w.tables, log=w.log))


def show_version(call: Call, request: Request, w: Wiring) -> str:
    from modelwright.console import model_pages, models

    name, version, tier = request.path["name"], request.path["version"], w.settings.tier
    return model_pages.version(models.card(call, name, version, tables=w.tables, log=w.log, tier=tier))


def show_request(call: Call, request: Request, w: Wiring) -> str:
    from modelwright.console import model_pages, models

    name, request_id = request.path["name"], request.path["request_id"]
    return model_pages.request(models.request(call, name, request_id, tables=w.tables))


def show_approvals(call: Call, request: Request, w: Wiring) -> str:
    from modelwright.console import model_pages, models

    return model_pages.approvals(models.inbox(call, tables=w.tables))


def visitor(request: Request, wiring: Wiring) -> Call:
    """Return the call of who holds the request's token: before an open route no authorizer looks at it."""
    if not (token := token_of(request.headers)):
        return request.call
    call = acting(holder(token, request, wiring))
    return replace(call, now=request.call.now, correlation_id=request.call.correlation_id)


def holder(token: str, request: Request, w: Wiring) -> Identity:
    """Return who holds a token; raises ``Unauthenticated``."""
    workspace = request.headers.get(WORKSPACE_HEADER) or w.settings.workspace
    return authenticate(token, workspace, tables=w.tables, keys=w.keys, wall=datetime.now(UTC))


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
        Route("GET", f"{CONSOLE}/models", shown(list_models), open=True),
        Route("GET", f"{CONSOLE}/models/<name>", shown(show_model), open=True),
        Route("GET", f"{CONSOLE}/models/<name>/versions/<version>", shown(show_version), open=True),
        Route("GET", f"{CONSOLE}/models/<name>/requests/<request_id>", shown(show_request), open=True),
        Route("GET", f"{CONSOLE}/approvals", shown(show_approvals), open=True),
        Route("GET", "/v1/status", glance),
        Route("GET", "/v1/log", streams),
        Route("GET", "/v1/log/<path:stream>", stream),
        Route("GET", "/v1/incidents", open_incidents),
        Route("ANY", "<path:path>", nowhere),
    ),
)
