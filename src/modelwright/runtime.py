"""What a Lambda function is made of: routes and consumers over its ``wiring``, and errors as HTTP.

``functions/<name>/handler.py`` names its routes and consumers and builds one ``Function`` of them:

    handler = Function("rollout", table="rollout", routes=(Route("GET", "/v1/rollouts/<model>", show),),
                       consumers={AliasChanged: follow_alias}, schedules={"rollout": step_all})

A route is ``(Request, Wiring) -> Answer | JSON``; a consumer ``(Delivery, Call, Wiring) -> None``.
Use cases run again when a conditional write lost a race (nothing was written then), a delivery
that came before is skipped, and each outcome is one log line.
"""

import base64
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ValidationError

from modelwright import errors
from modelwright.context import PLATFORM, Call
from modelwright.events import SCHEDULE_DUE, Delivery, Event, ScheduleDue
from modelwright.governance import refusals
from modelwright.governance.access import Grant, Identity, require, roles_on
from modelwright.governance.principals import identify
from modelwright.log import new_id
from modelwright.protocol import check_depth, faults, without_nulls
from modelwright.storage import TableName
from modelwright.wiring import Settings, Wiring

AS_OF_HEADER = "x-modelwright-as-of"
CORRELATION_HEADER = "x-correlation-id"
WORKSPACE_HEADER = "x-mlflow-workspace"
IDEMPOTENCY_HEADER = "idempotency-key"
NOT_AUTHORIZED = {"isAuthorized": False}
"""What API Gateway asks an authorizer to answer; the callers get 401 or 403 from it."""
_ATTEMPTS = 8
_BASE_S = 0.004
_KEY_LIMIT = 200
_CORRELATION = re.compile(r"[\w.:;=/+-]{1,128}", re.ASCII)
"""A caller's own correlation id, which the log keeps for ever: neither a text nor an address of a person."""
_BODY_LIMIT = 4_500_000
"""What surely fits: Lambda takes 6 MB with the envelope, and binary bodies come as base64."""

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
Consumer = Callable[[Delivery, Call, Wiring], None]
Consumers = Mapping[type[Event], Consumer]
Scheduled = Callable[[ScheduleDue, Call, Wiring], None]


@dataclass(frozen=True)
class Upload:
    """A new object of the landing bucket."""

    key: str
    version: str
    size: int


UploadHandler = Callable[[Upload, Call, Wiring], str]
"""Returns its outcome, for the log line."""
Raw = Callable[[dict[str, Any], Wiring], Any]
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


class Function:
    """A Lambda handler.

    Args:
        name: the function's name, as in the template and in ``HANDLED`` marks.
        table: its capability's table, where marks of handled deliveries go.
        routes: what it answers over HTTP.
        consumers: what it does on each event, or a function that says so when the first event comes.
        schedules: what it does when a schedule of that name is due.
        uploads: what it does when an object lands.
        raw: takes any other payload (streams, direct invocations, the authorizer's request).
        error_body: the protocol's form of an error.
        wiring: instead of one made from the environment, in tests.
    """

    def __init__(
        self,
        name: str,
        *,
        table: TableName | None = None,
        routes: Sequence[Route] = (),
        consumers: Consumers | Callable[[], Consumers] | None = None,
        schedules: Mapping[str, Scheduled] | None = None,
        uploads: UploadHandler | None = None,
        raw: Raw | None = None,
        error_body: ErrorBody = mlflow_error,
        wiring: Wiring | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.routes = tuple(routes)
        self.schedules = dict(schedules or {})
        self._consumers = consumers
        self._uploads = uploads
        self._raw = raw
        self._error_body = error_body
        self._given = wiring
        self._started = 0.0

    @cached_property
    def consumers(self) -> Consumers:
        """What it does on each event."""
        return (self._consumers() if callable(self._consumers) else self._consumers) or {}

    @cached_property
    def wiring(self) -> Wiring:
        """The function's collaborators."""
        return self._given or Wiring(Settings.read(os.environ))

    @cached_property
    def _logger(self) -> Logger:
        return Logger(service=self.name, stream=sys.stderr, location=None)

    def __call__(self, event: dict[str, Any], context: object = None) -> Any:
        """Handle one invocation, whatever sent it."""
        self._started = time.perf_counter()
        if "requestContext" in event and "http" in event["requestContext"] and self.routes:
            return self._http(event)
        kind = event.get("detail-type")
        if kind == "Object Created" and self._uploads is not None:
            return self._upload(event)
        if kind == SCHEDULE_DUE:
            return self._schedule(event)
        if kind is not None:
            return self._deliver(event)
        if self._raw is None:
            raise errors.InvalidInput(f"{self.name} does not understand this payload: {sorted(event)}")
        try:
            answer, outcome = self._raw(event, self.wiring), "done"
        except errors.Unauthenticated as error:
            answer, outcome = NOT_AUTHORIZED, f"UNAUTHENTICATED: {error.__cause__ or error}"
        request = event.get("requestContext", {}).get("requestId", "")
        self._line(str(event.get("rawPath", "invoked")), outcome, request or new_id())
        return answer

    # --- HTTP ---------------------------------------------------------------------------

    def _http(self, event: dict[str, Any]) -> dict[str, Any]:
        said = _header(event, CORRELATION_HEADER)
        named = said if _CORRELATION.fullmatch(said) else ""
        correlation = named or event["requestContext"].get("requestId") or new_id()
        method, path = event["requestContext"]["http"]["method"], event.get("rawPath", "/")
        more: dict[str, str] = {}
        try:
            answer = self._answer(event, method, path, correlation)
            outcome = "answered"
        except errors.ModelwrightError as error:
            status, code = status_of(error)
            answer = Answer(self._error_body(error, status, code), status, {"content-type": "application/json"})
            outcome = f"{code}: {error.logged}"
            if isinstance(error, errors.Forbidden):
                more["refusal"] = self._record(event, error, correlation)
        self._line(f"{method} {path}", outcome, correlation, status=answer.status, **more)
        return _proxy(answer, correlation)

    def _record(self, event: dict[str, Any], refusal: errors.Forbidden, correlation: str) -> str:
        """Put a refusal into the log, and return what became of that; the caller is refused whatever it was.

        That it could not be written must not tell the caller more than the refusal does, so it is said in this
        function's log line, which an alarm can watch.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        http = event["requestContext"]["http"]
        asked = f"{http['method']} {event.get('rawPath', '/')}"
        w, wall = self.wiring, datetime.now(UTC)
        try:
            call = self._refused(event, refusal, correlation)
            return refusals.record(call, refusal, asked=asked, tables=w.tables, log=w.log, wall=wall)
        except (errors.ModelwrightError, BotoCoreError, ClientError) as error:
            return f"NOT RECORDED: {error}"

    def _refused(self, event: dict[str, Any], refusal: errors.Forbidden, correlation: str) -> Call:
        """Return the call of who was refused: as the refusal says, who may have no call of their own, or else did."""
        if not refusal.actor:
            return self._caller(event, correlation, open_route=True)
        now = self._now(_header(event, AS_OF_HEADER))
        workspace = refusal.workspace or self.wiring.settings.workspace
        return Call(workspace, refusal.actor, now, correlation, _deny, grants=())

    def _answer(self, event: dict[str, Any], method: str, path: str, correlation: str) -> Answer:
        route, parameters = self._route(method, path)
        call = self._caller(event, correlation, open_route=route.open)
        body = event.get("body") or ""
        raw = base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()
        if len(raw) > _BODY_LIMIT:
            raise errors.TooLarge(f"the body has {len(raw)} bytes, more than {_BODY_LIMIT}: {route.too_large}")
        stage = event.get("stageVariables") or {}
        request = Request(call, method, path, parameters, _query(event), headers_of(event), raw, stage)
        answer = _again(lambda: route.handler(request, self.wiring))
        return answer if isinstance(answer, Answer) else Answer(answer)

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        known = [(route, match) for route in self.routes if (match := route.pattern.match(path))]
        for route, match in known:
            if route.method in (method, "ANY"):
                return route, match.groupdict()  # the gateway has decoded the path
        if known:
            raise errors.EndpointNotFound(
                f"{path} takes {', '.join(sorted({r.method for r, _ in known}))}, not {method}"
            )
        raise errors.EndpointNotFound(f"no such endpoint: {method} {path}")

    def _caller(self, event: dict[str, Any], correlation: str, *, open_route: bool) -> Call:
        now = self._now(_header(event, AS_OF_HEADER))
        identity = self._identity(event)
        if identity is None:
            if not open_route:
                raise errors.Unauthenticated("a token is needed: send `Authorization: Bearer <token>`")
            return Call(self.wiring.settings.workspace, "anonymous", now, correlation, _deny, grants=())
        return replace(acting(identity), now=now, correlation_id=correlation, request=_request_name(event))

    def _identity(self, event: dict[str, Any]) -> Identity | None:
        """Return who calls: as our authorizer found out, or as IAM vouches for on the API that takes SigV4."""
        authorizer = event["requestContext"].get("authorizer") or {}
        if context := authorizer.get("lambda"):
            grants = tuple(Grant.model_validate(grant) for grant in json.loads(context["grants"]))
            return Identity(actor=context["actor"], workspace=context["workspace"], grants=grants)
        if arn := (authorizer.get("iam") or {}).get("userArn"):
            workspace = _header(event, WORKSPACE_HEADER) or self.wiring.settings.workspace
            return identify(arn, workspace, tables=self.wiring.tables)
        return None

    # --- events -------------------------------------------------------------------------

    def _deliver(self, event: dict[str, Any]) -> dict[str, str]:
        delivery = Delivery.read(self.name, event["detail"])
        consumer = self.consumers.get(type(delivery.event))
        if consumer is None:
            raise errors.InvalidInput(f"{self.name} was sent {delivery.envelope.type}, which it does not consume")
        envelope = delivery.envelope
        call = Call(envelope.workspace, PLATFORM, envelope.at, envelope.correlation_id)
        outcome, self.wiring.log.last_marked = "handled", ""  # the last one may have been this very event
        try:
            _again(lambda: consumer(delivery, call, self.wiring))
            self._mark(delivery, call)
        except errors.AlreadyHandled:
            outcome = "duplicate"
        self._line(envelope.type, outcome, envelope.correlation_id, event=envelope.id)
        return {"outcome": outcome}

    def _mark(self, delivery: Delivery, call: Call) -> None:
        """Record the delivery even when its use case had nothing to write."""
        if self.table is not None and self.wiring.log.last_marked != delivery.envelope.id:
            self.wiring.log.commit(call, (), delivery=delivery, table=self.table)

    def _schedule(self, event: dict[str, Any]) -> dict[str, str]:
        due = validated(ScheduleDue, event["detail"])
        handler = self.schedules.get(due.name)
        if handler is None:
            return {"outcome": "not mine"}
        now = self._now(due.at.isoformat()) if self.wiring.settings.virtual_time else datetime.now(UTC)
        correlation = str(event.get("id") or new_id())
        call = Call(due.workspace or self.wiring.settings.workspace, PLATFORM, now, correlation)
        _again(lambda: handler(due, call, self.wiring))
        self._line(f"{SCHEDULE_DUE} {due.name}", "done", correlation)
        return {"outcome": "done"}

    def _upload(self, event: dict[str, Any]) -> dict[str, str]:
        thing = event["detail"]["object"]
        upload = Upload(thing["key"], thing.get("version-id", ""), int(thing.get("size", 0)))
        call = Call(self.wiring.settings.workspace, PLATFORM, datetime.now(UTC), str(event.get("id") or new_id()))
        handler = self._uploads
        assert handler is not None
        outcome = str(_again(lambda: handler(upload, call, self.wiring)))
        self._line(f"upload {upload.key}", outcome, call.correlation_id)
        return {"outcome": outcome}

    def _now(self, said: str) -> datetime:
        if not said:
            return datetime.now(UTC)
        if not self.wiring.settings.virtual_time:
            raise errors.InvalidInput("this stack does not allow a virtual time")
        return parse_time(said)

    def _line(self, what: str, outcome: str, correlation: str, **more: object) -> None:
        spent = round((time.perf_counter() - self._started) * 1000, 1)
        counts = {name: count for name, count in self.wiring.meter.take().items() if count}
        details: dict[str, Any] = {"outcome": outcome, "correlation_id": correlation, "ms": spent, **counts, **more}
        self._logger.info(what, **details)


def acting(identity: Identity) -> Call:
    """Return a call of somebody who was authenticated, of now."""
    return Call(
        identity.workspace,
        identity.actor,
        datetime.now(UTC),
        "",
        lambda action, resource: require(identity, action, resource),
        roles=lambda resource: roles_on(identity, resource),
        grants=tuple(grant.text for grant in identity.grants),
    )


def _unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


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


def _again(use_case: Callable[[], Any]) -> Any:
    """Run a use case; run it again on fresh state, a little later, when a conditional write lost a race."""
    for attempt in range(_ATTEMPTS):
        try:
            return use_case()
        except errors.ConditionFailed as failure:
            lost = failure
        time.sleep(random.uniform(0, _BASE_S * 2**attempt))  # noqa: S311 - jitter is no secret
    raise errors.Unavailable(f"others write to the same thing all the time, try again: {lost}") from lost


def _request_name(event: dict[str, Any]) -> str:
    """Return what names a request: the caller's own key, or the gateway's."""
    key = _header(event, IDEMPOTENCY_HEADER)
    if len(key) > _KEY_LIMIT:
        raise errors.InvalidInput(f"the header Idempotency-Key takes up to {_KEY_LIMIT} characters, not {len(key)}")
    return f"key {key}" if key else str(event["requestContext"].get("requestId") or "")


def _deny(action: str, resource: str) -> None:
    raise errors.Unauthenticated(f"a token is needed to {action} on {resource}")


def headers_of(event: dict[str, Any]) -> dict[str, str]:
    """Return an HTTP payload's headers by lower-case name, with the cookies that payload 2.0 lists apart from them."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if cookies := event.get("cookies"):
        headers["cookie"] = "; ".join(cookies)
    return headers


def _header(event: dict[str, Any], name: str) -> str:
    return next((v for k, v in (event.get("headers") or {}).items() if k.lower() == name), "")


def _query(event: dict[str, Any]) -> dict[str, list[str]]:
    from urllib.parse import parse_qs

    return parse_qs(event.get("rawQueryString") or "", keep_blank_values=True)


def _proxy(answer: Answer, correlation: str) -> dict[str, Any]:
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
