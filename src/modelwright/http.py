"""HTTP as the functions speak it: requests, answers, routes, and errors as statuses.

What API Gateway's payloads (version 2.0) become, and what becomes of answers; the rules of MLflow's protocol that
every route of it keeps. ``runtime`` finds the route, and calls it for whom it was authenticated.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from modelwright import errors
from modelwright.context import Call
from modelwright.protocol import check_depth, faults, without_nulls
from modelwright.wiring import Wiring

AS_OF_HEADER = "x-modelwright-as-of"
CORRELATION_HEADER = "x-correlation-id"
WORKSPACE_HEADER = "x-mlflow-workspace"
IDEMPOTENCY_HEADER = "idempotency-key"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

M = TypeVar("M", bound=BaseModel)

STATUS: tuple[tuple[type[errors.ModelwrightError], int, str], ...] = (
    (errors.EndpointNotFound, 404, "ENDPOINT_NOT_FOUND"),
    (errors.Gone, 410, "RESOURCE_DOES_NOT_EXIST"),
    (errors.NotFound, 404, "RESOURCE_DOES_NOT_EXIST"),
    (errors.AlreadyExists, 400, "RESOURCE_ALREADY_EXISTS"),
    (errors.InvalidInput, 400, "INVALID_PARAMETER_VALUE"),
    (errors.Refused, 409, "RESOURCE_CONFLICT"),
    (errors.Conflict, 409, "RESOURCE_CONFLICT"),
    (errors.Forbidden, 403, "PERMISSION_DENIED"),
    (errors.Unauthenticated, 401, "UNAUTHENTICATED"),
    (errors.TooLarge, 413, "REQUEST_LIMIT_EXCEEDED"),
    (errors.Unavailable, 503, "TEMPORARILY_UNAVAILABLE"),
    (errors.NotImplementedHere, 501, "NOT_IMPLEMENTED"),
)
"""Status and MLflow error code of each class; the first that fits counts."""


@dataclass(frozen=True)
class Request:
    """An HTTP request after authentication.

    Attributes:
        path: the parameters of the route.
        query: every value of each query parameter.
        headers: by lower-case name.
        raw: the body as bytes.
        stage: the variables of the API's stage, which may name what the API's own resources cannot.
    """

    call: Call
    method: str
    url_path: str
    path: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    raw: bytes
    stage: Mapping[str, str] = field(default_factory=dict)

    def first(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object (empty body: empty object); raises ``InvalidInput``."""
        if not self.raw.strip():
            return {}
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            raise errors.InvalidInput(f"the body is no JSON: {error}") from error
        if not isinstance(body, dict):
            raise errors.InvalidInput(f"the body must be a JSON object, it is a {type(body).__name__}")
        check_depth(self.raw, body)
        if _SURROGATE.search(self.raw) and not _unicode(body):
            raise errors.InvalidInput("the body has text with half of a surrogate pair (\\ud800 to \\udfff)")
        return body

    def parse(self, model: type[M]) -> M:
        """Return the body as a model; raises ``InvalidInput`` naming every wrong field."""
        return validated(model, self.json())

    def told(self, model: type[M]) -> M:
        """Return all that the caller said as a model: query (repeated names are lists), body, then path parameters."""
        query = {name: values[0] if len(values) == 1 else list(values) for name, values in self.query.items()}
        return validated(model, {**query, **self.json(), **self.path})


def validated(model: type[M], value: Any) -> M:
    """Return ``value`` as a model, in which null means not said; raises ``InvalidInput`` naming every wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError:
        try:
            return model.model_validate(without_nulls(value))
        except ValidationError as error:
            raise errors.InvalidInput(faults(error), logged=faults(error, quoting=False)) from error


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``body`` is bytes, text, or anything that JSON can say."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


RouteHandler = Callable[[Request, Wiring], Any]
ErrorBody = Callable[[errors.ModelwrightError, int, str], Any]


@dataclass(frozen=True)
class Route:
    """A method, a path with ``<parameters>`` (``<path:rest>`` takes slashes), and who answers.

    Attributes:
        open: answered without a caller (login, health, version).
        too_large: what to do with a body that is over the limit.
    """

    method: str
    path: str
    handler: RouteHandler
    open: bool = False
    too_large: str = "upload large things to S3"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression."""
        expression = re.sub(r"<path:(\w+)>", r"(?P<\1>.+)", re.escape(self.path))
        expression = re.sub(r"(?<!\?P)<(\w+)>", r"(?P<\1>[^/]+)", expression)
        return re.compile(f"^{expression}/?$")


def rpc(method: str, path: str, model: type[M], use_case: Callable[..., Any]) -> Route:
    """Return the route of a call of MLflow's protocol, under both prefixes and both versions.

    Args:
        method: the HTTP method.
        path: what follows ``/api/2.0/mlflow/``.
        model: what the caller says.
        use_case: ``(call, message, *, tables, log) -> JSON``.
    """

    def answer(request: Request, wiring: Wiring) -> Any:
        protocol(request)
        return use_case(request.call, request.told(model), tables=wiring.tables, log=wiring.log)

    return Route(method, f"/<api>/<api_version>/mlflow/{path}", answer)


def protocol(request: Request, *, raw: bool = False) -> None:
    """Raise ``EndpointNotFound`` unless the path begins as MLflow's protocol does, ``InvalidInput`` for no JSON.

    Args:
        request: the request.
        raw: its body is a file.
    """
    if request.path["api"] not in ("api", "ajax-api") or request.path["api_version"] not in ("2.0", "3.0"):
        raise errors.EndpointNotFound(f"no such endpoint: {request.method} {request.url_path}")
    if not raw:
        said_in_json(request)


def said_in_json(request: Request) -> None:
    """Raise ``InvalidInput`` unless a body that makes something says that it is JSON.

    Stock clients say so. A form of another site cannot, so the session cookie alone changes nothing.
    """
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method in ("POST", "PUT") and said != "application/json":
        fault = "must be one of ['application/json']" if said else "header is missing"
        raise errors.InvalidInput(f"Bad Request. Content-Type {fault}.")


def mlflow_error(error: errors.ModelwrightError, status: int, code: str) -> Any:
    """The error body of MLflow's protocol, which is ours everywhere else too."""
    return {"error_code": code, "message": str(error)}


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 time as UTC (naive means UTC); raises ``InvalidInput``."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise errors.InvalidInput(f"{text!r} is no ISO 8601 time") from error


def status_of(error: errors.ModelwrightError) -> tuple[int, str]:
    """Return the HTTP status and MLflow error code of an error."""
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            return status, code
    return 500, "INTERNAL_ERROR"


def headers_of(event: dict[str, Any]) -> dict[str, str]:
    """Return an HTTP payload's headers by lower-case name, with the cookies that payload 2.0 lists apart from them."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if cookies := event.get("cookies"):
        headers["cookie"] = "; ".join(cookies)
    return headers


def header(event: dict[str, Any], name: str) -> str:
    """Return a header of an HTTP payload by its lower-case name; empty if there is none."""
    return next((v for k, v in (event.get("headers") or {}).items() if k.lower() == name), "")


def query_of(event: dict[str, Any]) -> dict[str, list[str]]:
    """Return every value of each query parameter of an HTTP payload."""
    from urllib.parse import parse_qs

    return parse_qs(event.get("rawQueryString") or "", keep_blank_values=True)


def payload_of(answer: Answer, correlation: str) -> dict[str, Any]:
    """Return an answer as API Gateway takes it, under the correlation id of its request."""
    body, headers = answer.body, {CORRELATION_HEADER: correlation, **answer.headers}
    if isinstance(body, bytes):
        encoded = base64.b64encode(body).decode()
        headers.setdefault("content-type", "application/octet-stream")
        return {"statusCode": answer.status, "headers": headers, "body": encoded, "isBase64Encoded": True}
    if not isinstance(body, str):
        headers.setdefault("content-type", "application/json")
        body = json.dumps({} if body is None else body)
    headers.setdefault("content-type", "text/plain; charset=utf-8")
    return {"statusCode": answer.status, "headers": headers, "body": body}


def _unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
