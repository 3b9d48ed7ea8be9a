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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from aws_lambda_powertools import Logger

from modelwright import errors
from modelwright.context import PLATFORM, Call
from modelwright.events import SCHEDULE_DUE, Delivery, Event, ScheduleDue
from modelwright.governance import refusals
from modelwright.governance.access import Grant, Identity, require, roles_on
from modelwright.governance.principals import identify
from modelwright.http import (
    AS_OF_HEADER,
    CORRELATION_HEADER,
    IDEMPOTENCY_HEADER,
    WORKSPACE_HEADER,
    Answer,
    ErrorBody,
    Request,
    Route,
    header,
    headers_of,
    mlflow_error,
    parse_time,
    payload_of,
    query_of,
    status_of,
    validated,
)
from modelwright.log import new_id
from modelwright.storage import TableName
from modelwright.wiring import Settings, Wiring

NOT_AUTHORIZED = {"isAuthorized": False}
"""What API Gateway asks an authorizer to answer; the callers get 401 or 403 from it."""
_ATTEMPTS = 8
_BASE_S = 0.004
_KEY_LIMIT = 200
_CORRELATION = re.compile(r"[\w.:;=/+-]{1,128}", re.ASCII)
"""A caller's own correlation id, which the log keeps for ever: neither a text nor an address of a person."""
_BODY_LIMIT = 4_500_000
"""What surely fits: Lambda takes 6 MB with the envelope, and binary bodies come as base64."""

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
        if (left := getattr(context, "get_remaining_time_in_millis", None)) is not None:
            self.wiring.remaining_s = lambda: left() / 1000
        self.wiring.invocation = str(getattr(context, "aws_request_id", ""))
        try:
            answer, outcome = self._raw(event, self.wiring), "done"
        except errors.Unauthenticated as error:
            answer, outcome = NOT_AUTHORIZED, f"UNAUTHENTICATED: {error.__cause__ or error}"
        request = event.get("requestContext", {}).get("requestId", "")
        self._line(str(event.get("rawPath", "invoked")), outcome, request or new_id())
        return answer

    # --- HTTP ---------------------------------------------------------------------------

    def _http(self, event: dict[str, Any]) -> dict[str, Any]:
        said = header(event, CORRELATION_HEADER)
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
        return payload_of(answer, correlation)

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
        now = self._now(header(event, AS_OF_HEADER))
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
        request = Request(call, method, path, parameters, query_of(event), headers_of(event), raw, stage)
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
        now = self._now(header(event, AS_OF_HEADER))
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
            workspace = header(event, WORKSPACE_HEADER) or self.wiring.settings.workspace
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
    key = header(event, IDEMPOTENCY_HEADER)
    if len(key) > _KEY_LIMIT:
        raise errors.InvalidInput(f"the header Idempotency-Key takes up to {_KEY_LIMIT} characters, not {len(key)}")
    return f"key {key}" if key else str(event["requestContext"].get("requestId") or "")


def _deny(action: str, resource: str) -> None:
    raise errors.Unauthenticated(f"a token is needed to {action} on {resource}")
