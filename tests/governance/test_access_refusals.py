"""Every refusal of somebody known is in the log with its actor; a flood of them is not a flood of events."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from support.http import Caller, handler_of, memory_wiring, payload
from support.mlflow_desk import API, Desk

from governance.desk import Desk as Plain
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import Forbidden, Unavailable
from modelwright.governance.access import Grant
from modelwright.governance.principals import principal_id
from modelwright.governance.refusals import MOST, record
from modelwright.governance.tokens import COOKIE, item_of
from modelwright.http import Request, Route
from modelwright.log import Log
from modelwright.runtime import Function
from modelwright.storage import Anything, Put, Write
from modelwright.wiring import Wiring

READER = (Grant(role="reader"),)
ROLE = "arn:aws:iam::123456789012:role/trainer"


def refusals(wiring: Wiring, actor: str = "ann", workspace: str = "default") -> list[tuple[str, str]]:
    """Return the refusals of an actor: action and resource."""
    events = [item.envelope for item in wiring.log.read(f"WS#{workspace}#ACCESS#refused-{actor}")]
    assert {event.type for event in events} <= {"AccessRefused"}
    assert {event.actor for event in events} <= {actor}
    return [(event.data["action"], event.data["resource"]) for event in events]


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return what the functions said in their own logs, a line each."""
    return [vars(record) for record in caplog.records]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_refused_request_is_in_the_log_with_its_actor_and_correlation(desk: Desk) -> None:
    ann = desk.as_caller("registry", grants=READER)
    status, _ = ann("POST", f"{API}/registered-models/create", {"name": "churn"}, x_correlation_id="c-7")
    assert status == 403
    assert refusals(desk.wiring) == [("models:write", "model/churn")]
    (item,) = desk.stream("ACCESS", "refused-ann")
    assert item.envelope.correlation_id == "c-7"


def test_every_function_that_answers_requests_writes_its_refusals(desk: Desk) -> None:
    desk.as_caller("tracking", grants=READER)("POST", f"{API}/runs/create", {"experiment_id": "0"})
    desk.as_caller("artifacts", grants=READER)("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x.txt", b"x")
    nobody = Caller(handler_of("console", desk.wiring), grants=())
    assert nobody("GET", "/v1/log")[0] == 403
    assert [action for action, _ in refusals(desk.wiring)] == ["runs:write", "artifacts:write", "log:read"]


def test_a_use_case_that_goes_on_without_what_it_may_not_see_is_no_refusal(desk: Desk) -> None:
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "churn"})
    some = desk.as_caller("registry", grants=(Grant(role="reader", resources="model/other"),))
    assert some("GET", f"{API}/registered-models/search")[0] == 200
    assert refusals(desk.wiring) == []


def test_a_refusal_that_no_action_caused_names_the_request(desk: Desk) -> None:
    path = "/api/2.0/mlflow-artifacts/artifacts/0/models/m-x/artifacts/model.txt"
    plain = Plain()
    refusal = Forbidden("it is the platform's")
    record(plain.call, refusal, asked=f"PUT {path}", tables=plain.tables, log=plain.log, wall=plain.wall)
    (item,) = plain.log.read("WS#default#ACCESS#refused-platform")
    assert item.envelope.data == {"action": "request", "resource": f"PUT {path}"}


def test_a_visitor_of_a_page_who_may_not_see_it_is_in_the_log_too(desk: Desk) -> None:
    item = item_of("default", "0123456789abcdef", "eve", "secret", (), datetime.now(UTC))
    desk.tables.write([Put("governance", item, Anything())])
    cookie = f"{COOKIE}=mw.default.0123456789abcdef.secret"
    console = handler_of("console", desk.wiring)
    answer = console({**payload("GET", "/console", signed_in=False), "cookies": [cookie]})
    assert answer["statusCode"] == 403
    assert refusals(desk.wiring, "eve") == [("status:read", "workspace")]


# --- who signs with IAM ------------------------------------------------------------------


def signed(arn: str, path: str = "/v1/log", **headers: str) -> dict[str, Any]:
    """Return a request of the API that takes SigV4, as API Gateway passes it on."""
    event = payload("GET", path, signed_in=False, headers=headers)
    iam = {"accessKey": "AKIA", "accountId": "123456789012", "callerId": "x", "userArn": arn, "userId": "y"}
    event["requestContext"]["authorizer"] = {"iam": iam}
    return event


def test_a_principal_that_nobody_admitted_is_refused_and_seen(desk: Desk) -> None:
    console = handler_of("console", desk.wiring)
    session = "arn:aws:sts::123456789012:assumed-role/trainer/nightly"
    answers = [console(signed(session, **headers)) for headers in ({}, {"x-mlflow-workspace": "nowhere"})]
    assert [answer["statusCode"] for answer in answers] == [403, 403]
    pseudonym = principal_id(ROLE)
    found = refusals(desk.wiring, pseudonym)
    assert found == [("workspace:enter", "workspace/default"), ("workspace:enter", "workspace/nowhere")]
    assert not [key for key in desk.tables._items.get("log", {}) if key.pk.startswith("WS#nowhere")]
    assert "trainer" not in repr(desk.tables._items)


def test_an_admitted_principal_goes_the_way_of_everybody_else(desk: Desk) -> None:
    admitted = {"arn": ROLE, "grants": [{"role": "reader", "resources": "model/*"}]}
    desk.registry.ok("POST", "/v1/access/principals", admitted)
    registry = desk.functions["registry"]
    arn = "arn:aws:sts::123456789012:assumed-role/trainer/nightly"
    assert registry(signed(arn, f"{API}/registered-models/search"))["statusCode"] == 200
    assert registry(signed(arn, "/v1/access/tokens"))["statusCode"] == 403
    assert refusals(desk.wiring, principal_id(ROLE)) == [("access:read", "token/*")]


def test_principals_are_listed_and_dismissed_at_once(desk: Desk) -> None:
    desk.registry.ok("POST", "/v1/access/principals", {"arn": ROLE, "grants": [{"role": "reader"}]})
    (known,) = desk.registry.ok("GET", "/v1/access/principals")["principals"]
    assert (known["arn"], known["id"]) == (ROLE, principal_id(ROLE))
    desk.registry.ok("DELETE", f"/v1/access/principals/{ROLE}")
    assert desk.registry.ok("GET", "/v1/access/principals")["principals"] == []
    assert desk.registry("DELETE", f"/v1/access/principals/{known['id']}")[0] == 404
    assert desk.functions["registry"](signed(ROLE, f"{API}/registered-models/search"))["statusCode"] == 403
    changes = [item.envelope.data for item in desk.stream("ACCESS", "tokens")]
    assert [(each["change"], each["token_id"]) for each in changes] == [
        ("issued", principal_id(ROLE)),
        ("revoked", principal_id(ROLE)),
    ]


def test_an_administrator_of_some_resources_replaces_no_principal_that_holds_more(desk: Desk) -> None:
    desk.registry.ok("POST", "/v1/access/principals", {"arn": ROLE, "grants": [{"role": "reader"}]})
    scoped = desk.as_caller("registry", actor="sue", grants=(Grant(role="admin", resources="model/a*"),))
    given = [{"role": "reader", "resources": "model/ants"}]
    assert scoped("POST", "/v1/access/principals", {"arn": ROLE, "grants": given})[0] == 403
    assert scoped("DELETE", f"/v1/access/principals/{ROLE}")[0] == 403
    other = "arn:aws:iam::123456789012:user/bob"
    assert scoped("POST", "/v1/access/principals", {"arn": other, "grants": given})[0] == 200


# --- a client in a loop ------------------------------------------------------------------


def refuse(desk: Plain, resource: str, action: str = "models:write") -> str:
    refusal = Forbidden("no", action=action, resource=resource)
    return record(desk.call, refusal, asked="", tables=desk.tables, log=desk.log, wall=desk.wall)


def recorded(desk: Plain) -> list[str]:
    return [item.envelope.data["resource"] for item in desk.log.read("WS#default#ACCESS#refused-platform")]


def test_the_same_refusal_within_a_minute_is_one_event() -> None:
    desk = Plain()
    said = []
    for _ in range(3):
        said.append(refuse(desk, "model/churn"))
        desk.wait(seconds=19)
    assert said == ["recorded", *["recorded within the minute"] * 2]
    desk.wait(seconds=3)
    assert refuse(desk, "model/churn") == "recorded"
    assert refuse(desk, "model/churn", "models:approve") == "recorded"
    assert recorded(desk) == ["model/churn"] * 3


def test_an_actor_who_tries_everything_is_so_many_events_a_minute_the_last_of_which_says_so() -> None:
    desk = Plain()
    said = [refuse(desk, f"model/{number}") for number in range(3 * MOST)]
    assert said.count("recorded") == MOST
    assert set(said[MOST:]) == {"too many within the minute"}
    assert recorded(desk) == [*(f"model/{number}" for number in range(MOST - 1)), "*"]
    desk.wait(minutes=1)
    assert refuse(desk, "model/later") == "recorded"


def test_one_actors_flood_hides_nobody_elses_refusal(desk: Desk) -> None:
    for number in range(2 * MOST):
        desk.as_caller("registry", grants=READER)("POST", f"{API}/registered-models/create", {"name": f"m{number}"})
    desk.as_caller("registry", actor="bob", grants=READER)("POST", f"{API}/registered-models/create", {"name": "x"})
    assert len(refusals(desk.wiring)) == MOST
    assert refusals(desk.wiring, "bob") == [("models:write", "model/x")]


def test_what_a_refusal_costs_is_bounded(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * MOST):
        desk.as_caller("registry", grants=READER)("POST", f"{API}/registered-models/create", {"name": f"m{number}"})
    calls = [line["table_calls"] for line in lines(caplog)]
    assert len(calls) == 2 * MOST
    assert max(calls) == 3
    assert set(calls[MOST:]) == {1}


def test_a_long_resource_is_cut(desk: Desk) -> None:
    desk.as_caller("registry", grants=READER)("POST", f"{API}/registered-models/create", {"name": "x" * 1000})
    assert {len(resource) for _, resource in refusals(desk.wiring)} <= {300}


# --- when the log cannot be written ---------------------------------------------------------


class Unwritable(MemoryTables):
    """Tables whose log takes nothing."""

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        if any(isinstance(each, Put) and each.table == "log" for each in writes):
            raise Unavailable("the table is throttled")
        super().write(writes)


def test_a_refusal_that_cannot_be_written_is_still_a_refusal_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Request, wiring: Wiring) -> None:
        request.call.authorise("models:write", "model/churn")

    function = Function("registry", routes=(Route("GET", "/x", handler),), wiring=memory_wiring(tables=Unwritable()))
    answer = function(payload("GET", "/x", grants=READER))
    assert answer["statusCode"] == 403
    assert json.loads(answer["body"])["error_code"] == "PERMISSION_DENIED"
    (line,) = lines(caplog)
    assert line["refusal"] == "NOT RECORDED: the table is throttled"


def test_a_log_line_says_what_became_of_a_refusal(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        desk.as_caller("registry", grants=READER)("POST", f"{API}/registered-models/create", {"name": "churn"})
    said = [line["refusal"] for line in lines(caplog)]
    assert said == ["recorded", "recorded within the minute"]


def test_who_cannot_be_authenticated_is_a_line_and_no_event(caplog: pytest.LogCaptureFixture) -> None:
    wiring = memory_wiring()
    authorize = handler_of("authorize", wiring)
    assert authorize({"rawPath": "/v1/log", "headers": {"authorization": "Bearer mw.a.b.c"}}) == {"isAuthorized": False}
    assert list(Log(wiring.tables).hour(datetime.now(UTC))) == []
    (line,) = lines(caplog)
    assert line["outcome"] == "UNAUTHENTICATED: the token is not valid"
    assert "mw.a.b.c" not in repr(line)
