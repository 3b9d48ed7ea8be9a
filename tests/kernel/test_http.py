"""HTTP through a function: routes, bodies, callers, times, errors, and the rules of MLflow's protocol."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from support.http import Caller, memory_wiring, payload

from modelwright import errors
from modelwright.governance.access import Grant
from modelwright.http import STATUS, Answer, Request, Route, mlflow_error, parse_time, rpc, status_of
from modelwright.runtime import Function
from modelwright.wiring import Wiring

NOW = datetime(2013, 5, 1, tzinfo=UTC)


class Thing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    size: int = 1
    tags: list[str] = []


class Named(BaseModel):
    name: str


def seen(request: Request, wiring: Wiring) -> dict[str, Any]:
    return {
        "path": dict(request.path), "query": dict(request.query), "body": request.raw.decode(),
        "workspace": request.call.workspace, "actor": request.call.actor, "now": request.call.now.isoformat(),
    }  # fmt: skip


def guarded(request: Request, wiring: Wiring) -> dict[str, Any]:
    request.call.authorise("models:write", f"model/{request.path['model']}")
    return request.parse(Thing).model_dump()


ROUTES = (
    Route("GET", "/v1/things/<name>", seen),
    Route("PUT", "/v1/things/<name>", seen),
    Route("POST", "/v1/models/<model>", guarded),
    Route("GET", "/v1/files/<path:rest>", seen),
    Route("ANY", "/v1/any", seen),
    Route("POST", "/v1/json", lambda request, _: request.json()),
    Route("POST", "/v1/told/<name>", lambda request, _: request.told(Thing).model_dump()),
    Route("GET", "/open", lambda request, _: Answer(request.call.actor), open=True),
    Route("GET", "/open/guarded", lambda r, _: r.call.authorise("models:read", "model/a"), open=True),
    Route("GET", "/bytes", lambda _, __: Answer(b"\x00\xff", 201, {"x-a": "b"})),
    Route("GET", "/nothing", lambda _, __: None),
    Route("GET", "/bug", lambda _, __: 1 / 0),
)


@pytest.fixture
def wiring() -> Wiring:
    return memory_wiring()


@pytest.fixture
def function(wiring: Wiring) -> Function:
    return Function("thing", table="registry", routes=ROUTES, wiring=wiring)


@pytest.fixture
def call(function: Function) -> Caller:
    return Caller(function)


# --- routes ------------------------------------------------------------------------------


def test_a_route_gets_its_parameters_query_and_caller(call: Caller) -> None:
    said = call.ok("GET", "/v1/things/a%20b%2517c?x=1&x=2&empty=")
    assert said["path"] == {"name": "a b%17c"}, "the gateway decodes a path once, and nobody decodes it again"
    assert said["query"] == {"x": ["1", "2"], "empty": [""]}
    assert (said["workspace"], said["actor"]) == ("default", "ann")


def test_a_path_parameter_takes_slashes_only_when_it_says_so(call: Caller) -> None:
    assert call.ok("GET", "/v1/files/a/b/c")["path"] == {"rest": "a/b/c"}
    assert call("GET", "/v1/things/a/b")[0] == 404


def test_a_slash_at_the_end_makes_no_difference(call: Caller) -> None:
    assert call.ok("GET", "/v1/things/a/")["path"] == {"name": "a"}


def test_any_takes_every_method(call: Caller) -> None:
    assert {call("PATCH", "/v1/any")[0], call("GET", "/v1/any")[0]} == {200}


def test_a_path_that_is_not_there_is_named(call: Caller) -> None:
    assert call("GET", "/nowhere") == (
        404,
        {"error_code": "ENDPOINT_NOT_FOUND", "message": "no such endpoint: GET /nowhere"},
    )


def test_a_method_that_a_path_does_not_take_is_told_with_those_that_it_does(call: Caller) -> None:
    status, said = call("DELETE", "/v1/things/a")
    assert (status, said["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert said["message"] == "/v1/things/a takes GET, PUT, not DELETE"


def test_a_path_means_itself_and_no_pattern(function: Function) -> None:
    dotted = Function("dotted", routes=(Route("GET", "/a.b", seen),), wiring=function.wiring)
    assert Caller(dotted)("GET", "/axb")[0] == 404


def test_an_answer_may_be_bytes_with_a_status_and_headers(function: Function) -> None:
    said = function(payload("GET", "/bytes"))
    assert (said["statusCode"], base64.b64decode(said["body"]), said["isBase64Encoded"]) == (201, b"\x00\xff", True)
    assert said["headers"]["x-a"] == "b"
    assert said["headers"]["content-type"] == "application/octet-stream"


def test_an_answer_of_nothing_is_an_empty_object(call: Caller) -> None:
    assert call.ok("GET", "/nothing") == {}


@pytest.mark.parametrize("said", ["x" * 129, "ann@example.org", "two words", "größe"])
def test_a_correlation_id_that_the_log_should_not_keep_is_not_taken(function: Function, said: str) -> None:
    event = payload("GET", "/nothing", headers={"X-Correlation-Id": said})
    assert function(event)["headers"]["x-correlation-id"] == event["requestContext"]["requestId"]


def test_an_answer_carries_the_callers_correlation_id_or_the_gateways(function: Function) -> None:
    own = function(payload("GET", "/nothing", headers={"X-Correlation-Id": "mine"}))
    assert own["headers"]["x-correlation-id"] == "mine"
    other = payload("GET", "/nothing")
    assert function(other)["headers"]["x-correlation-id"] == other["requestContext"]["requestId"]


# --- bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "the body is no JSON"),
        (b"\xff\xfe", "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"1" * 10_000, "the body is no JSON"),
        (b"[1]", "the body must be a JSON object, it is a list"),
        (b"null", "the body must be a JSON object, it is a NoneType"),
    ],
    ids=lambda value: str(value[:8]),
)
def test_a_body_that_is_no_json_object_is_refused(call: Caller, body: bytes, text: str) -> None:
    status, said = call("POST", "/v1/json", body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert text in said["message"]


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_no_body_is_an_empty_object(call: Caller, body: bytes) -> None:
    assert call("POST", "/v1/json", body) == (200, {})


def test_every_wrong_field_is_named(call: Caller) -> None:
    status, said = call("POST", "/v1/models/flights", {"size": "x", "tags": [1], "more": 2})
    assert status == 400
    for field in ("'name'", "'size'", "'tags[0]'", "'more'"):
        assert f"parameter {field}" in said["message"]


def test_null_means_not_said(call: Caller) -> None:
    said = call("POST", "/v1/models/flights", {"name": "x", "size": None, "tags": None})
    assert said == (200, {"name": "x", "size": 1, "tags": []})
    status, refusal = call("POST", "/v1/models/flights", {"name": None})
    assert (status, refusal["message"]) == (400, "Missing value for required parameter 'name'.")


def test_what_is_told_is_query_then_body_then_path(call: Caller) -> None:
    said = call("POST", "/v1/told/path?size=2&tags=a&tags=b", {"name": "body"})
    assert said == (200, {"name": "path", "size": 2, "tags": ["a", "b"]})


def test_a_body_that_is_too_large_is_refused_with_where_it_should_go(call: Caller) -> None:
    status, said = call("POST", "/v1/json", b" " * (6 * 1024 * 1024 + 1))
    assert (status, said["error_code"]) == (413, "REQUEST_LIMIT_EXCEEDED")
    assert "S3" in said["message"]


def test_a_plain_text_body_is_taken_as_the_gateway_sends_it(function: Function) -> None:
    event = {**payload("POST", "/v1/json"), "body": '{"a": "ü"}', "isBase64Encoded": False}
    assert json.loads(function(event)["body"]) == {"a": "ü"}


# --- callers -----------------------------------------------------------------------------


def test_who_sends_no_token_is_told_to(function: Function) -> None:
    said = function(payload("GET", "/v1/any", signed_in=False))
    assert said["statusCode"] == 401
    assert json.loads(said["body"])["message"] == "a token is needed: send `Authorization: Bearer <token>`"


def test_an_open_route_needs_nobody_but_lets_nobody_do_anything(function: Function) -> None:
    assert function(payload("GET", "/open", signed_in=False))["body"] == "anonymous"
    assert function(payload("GET", "/open/guarded", signed_in=False))["statusCode"] == 401


def test_a_caller_may_do_what_its_grants_say(function: Function) -> None:
    for grants, status in (((Grant(role="contributor", resources="model/flights"),), 200), ((), 403)):
        caller = Caller(function, grants=grants)
        assert caller("POST", "/v1/models/flights", {"name": "a"})[0] == status
        assert caller("POST", "/v1/models/other", {"name": "a"})[0] == 403


def test_a_callers_workspace_is_its_tokens(function: Function) -> None:
    assert Caller(function, workspace="other").ok("GET", "/v1/any")["workspace"] == "other"


# --- time --------------------------------------------------------------------------------


def test_a_virtual_time_is_refused_unless_the_stack_allows_it() -> None:
    strict = Function("thing", routes=ROUTES, wiring=memory_wiring(virtual_time=False))
    status, said = Caller(strict)("GET", "/v1/any", x_modelwright_as_of="2013-05-01T00:00:00Z")
    assert (status, said["message"]) == (400, "this stack does not allow a virtual time")
    before = datetime.now(UTC)
    assert datetime.fromisoformat(Caller(strict).ok("GET", "/v1/any")["now"]) >= before


def test_a_virtual_time_is_the_callers_now_where_it_is_allowed(call: Caller) -> None:
    assert call("GET", "/v1/any", x_modelwright_as_of="2013-05-01T02:00:00+02:00")[1]["now"] == NOW.isoformat()


@pytest.mark.parametrize("text", ["yesterday", "2013-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_what_is_no_time_is_refused(call: Caller, text: str) -> None:
    status, said = call("GET", "/v1/any", x_modelwright_as_of=text)
    assert (status, said["message"]) == (400, f"{text!r} is no ISO 8601 time")


def test_a_time_without_zone_is_utc() -> None:
    assert parse_time("2013-05-01") == NOW


# --- errors ------------------------------------------------------------------------------


def kinds(root: type[errors.ModelwrightError]) -> list[type[errors.ModelwrightError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


CALLERS_FAULTS = {
    errors.EndpointNotFound: (404, "ENDPOINT_NOT_FOUND"),
    errors.Gone: (410, "RESOURCE_DOES_NOT_EXIST"),
    errors.NotFound: (404, "RESOURCE_DOES_NOT_EXIST"),
    errors.AlreadyExists: (400, "RESOURCE_ALREADY_EXISTS"),
    errors.InvalidInput: (400, "INVALID_PARAMETER_VALUE"),
    errors.Refused: (409, "RESOURCE_CONFLICT"),
    errors.Conflict: (409, "RESOURCE_CONFLICT"),
    errors.ConditionFailed: (409, "RESOURCE_CONFLICT"),
    errors.Forbidden: (403, "PERMISSION_DENIED"),
    errors.Unauthenticated: (401, "UNAUTHENTICATED"),
    errors.TooLarge: (413, "REQUEST_LIMIT_EXCEEDED"),
    errors.Unavailable: (503, "TEMPORARILY_UNAVAILABLE"),
    errors.NotImplementedHere: (501, "NOT_IMPLEMENTED"),
}


@pytest.mark.parametrize("kind", kinds(errors.ModelwrightError), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[errors.ModelwrightError]) -> None:
    error = kind.__new__(kind)
    known = [CALLERS_FAULTS[each] for each in kind.__mro__ if each in CALLERS_FAULTS]
    assert status_of(error) == (known or [(500, "INTERNAL_ERROR")])[0]


def test_of_two_classes_that_fit_the_narrower_comes_first() -> None:
    for n, (kind, _, _) in enumerate(STATUS):
        assert not any(issubclass(kind, earlier) for earlier, _, _ in STATUS[:n]), kind


def test_an_error_is_answered_in_the_functions_own_protocol(wiring: Wiring) -> None:
    def refuse(request: Request, wiring: Wiring) -> None:
        raise errors.Refused("budget is spent")

    own = Function("own", routes=(Route("GET", "/", refuse),), wiring=wiring, error_body=lambda e, s, c: [str(e), s, c])
    assert Caller(own)("GET", "/") == (409, ["budget is spent", 409, "RESOURCE_CONFLICT"])
    assert mlflow_error(errors.NotFound("no x"), 404, "C") == {"error_code": "C", "message": "no x"}


def test_a_bug_is_nobodys_answer_so_that_lambda_sees_it(function: Function) -> None:
    with pytest.raises(ZeroDivisionError):
        function(payload("GET", "/bug"))


def test_a_lost_race_is_run_again_on_fresh_state_and_told_when_it_is_always_lost(wiring: Wiring) -> None:
    attempts = []

    def race(request: Request, wiring: Wiring) -> dict[str, int]:
        attempts.append(1)
        if len(attempts) < int(request.first("wins")):
            raise errors.ConditionFailed("somebody was faster", (0,))
        return {"attempts": len(attempts)}

    racing = Caller(Function("race", routes=(Route("GET", "/", race),), wiring=wiring))
    assert racing.ok("GET", "/?wins=3") == {"attempts": 3}
    attempts.clear()
    status, answer = racing("GET", "/?wins=100")
    assert (status, answer["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


@pytest.mark.parametrize("body", [rb'{"a": "\ud800"}', rb'{"a": {"\udfff": 1}}', rb'{"a": ["x\uDC00\ud800"]}'])
def test_text_with_half_of_a_surrogate_pair_is_the_callers_fault(wiring: Wiring, body: bytes) -> None:
    told = Function("told", routes=(Route("POST", "/", lambda request, _: request.json()),), wiring=wiring)
    status, answer = Caller(told)("POST", "/", body)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "surrogate" in answer["message"]


def test_a_whole_surrogate_pair_is_text(wiring: Wiring) -> None:
    told = Function("told", routes=(Route("POST", "/", lambda request, _: request.json()),), wiring=wiring)
    assert Caller(told)("POST", "/", rb'{"a": "\ud83d\ude00"}') == (200, {"a": "\U0001f600"})


def test_a_request_is_named_by_its_key_or_else_by_the_gateway(wiring: Wiring) -> None:
    named = Function("named", routes=(Route("POST", "/", lambda request, _: [request.call.request]),), wiring=wiring)
    assert Caller(named)("POST", "/", {}, idempotency_key="7") == (200, ["key 7"])
    sent = payload("POST", "/")
    assert json.loads(named(sent)["body"]) == [sent["requestContext"]["requestId"]]
    assert Caller(named)("POST", "/", {}, idempotency_key="7" * 201)[0] == 400


def test_the_protocols_prefixes_and_versions_are_the_only_ones(wiring: Wiring) -> None:
    routes = (rpc("POST", "things/get", Named, lambda call, told, tables, log: told.model_dump()),)
    call = Caller(Function("rpc", routes=routes, wiring=wiring))
    for path in ("/api/2.0", "/api/3.0", "/ajax-api/2.0"):
        assert call.ok("POST", f"{path}/mlflow/things/get", {"name": "a"})["name"] == "a"
    for path in ("/api/1.0", "/other/2.0"):
        status, said = call("POST", f"{path}/mlflow/things/get", {"name": "a"})
        assert (status, said["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("", "Content-Type header is missing"),
        ("text/plain", "must be one of"),
        ("x/application/json", "must be one of"),
    ],
)
def test_the_protocols_bodies_say_that_they_are_json(wiring: Wiring, kind: str, fault: str) -> None:
    routes = tuple(rpc(m, "things", Named, lambda call, told, tables, log: told.model_dump()) for m in ("POST", "GET"))
    call = Caller(Function("rpc", routes=routes, wiring=wiring))
    status, said = call("POST", "/api/2.0/mlflow/things", {"name": "a"}, content_type=kind)
    assert (status, said["error_code"], fault in said["message"]) == (400, "INVALID_PARAMETER_VALUE", True)
    assert (
        call("POST", "/api/2.0/mlflow/things", {"name": "a"}, content_type="Application/JSON; charset=utf-8")[0] == 200
    )
    assert call("GET", "/api/2.0/mlflow/things?name=a", content_type=kind)[0] == 200
