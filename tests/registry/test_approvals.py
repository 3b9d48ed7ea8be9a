"""The way of a request by its doors: gates, approvals, four eyes, overrides, and who may see and end it."""

from typing import Any
from urllib.parse import quote

import pytest
from support.http import deliver
from support.mlflow_desk import API, envelope_of, event_of

from modelwright import plugins
from registry import panel
from registry.panel import MODELS, Panel

RM, MV = f"{API}/registered-models", f"{API}/model-versions"


@pytest.fixture(autouse=True)
def installed_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package under test may run from its source tree, which has no entry points."""
    monkeypatch.setattr(plugins, "entry_points", panel.entry_points)


def test_a_request_waits_for_as_many_people_as_the_policy_says() -> None:
    desk = Panel(policy={"approvals": 2})
    status, said = desk.send(desk.asks(1, reason="better on Mondays"))
    request = said["transition"]["request_id"]
    assert (status, said["transition"]["state"], said["transition"]["missing"]) == (202, "waiting", 2)
    assert desk.aliases == {}
    assert desk.ok(desk.does("approve", request, "bob", comment="looks fine"))["transition"]["missing"] == 1
    assert desk.aliases == {}
    assert desk.ok(desk.does("approve", request, "cid"))["transition"]["state"] == "applied"
    assert desk.aliases == {"champion": 1}
    changed = desk.events()[-1].envelope
    assert changed.actor == "cid"
    assert (changed.data["requested_by"], changed.data["approved_by"]) == ("ann", ["bob", "cid"])
    assert (changed.data["request_id"], changed.data["reason"]) == (request, "better on Mondays")
    assert desk.types(since=4) == ["TransitionRequested", "TransitionApproved", "TransitionApproved", "AliasChanged"]
    assert desk.shown(request)["approvals"][0]["comment"] == "looks fine"
    desk.check()


def test_who_asked_cannot_approve() -> None:
    desk = Panel(policy={"approvals": 1})
    request = desk.ask(1, actor="bob")["request_id"]
    status, said = desk.do("approve", request, "bob")
    assert (status, said["error_code"]) == (403, "PERMISSION_DENIED")
    assert "somebody else has to approve" in said["message"]
    assert desk.do("approve", request, "cid")[0] == 200
    desk.check()


def test_who_asked_for_a_training_cannot_approve_what_came_of_it() -> None:
    desk = Panel(policy={"approvals": 1})
    trained = event_of("registry-training-completed.json", requested_by="bob")
    deliver(desk.registry, envelope_of(trained, at=desk.now))
    (request,) = desk.ok(desk.said("GET", MODELS))["transitions"]
    assert (request["state"], request["actor"], request["on_behalf_of"]) == ("waiting", "platform", "bob")
    assert desk.approvable("bob") == {}
    assert desk.do("approve", request["request_id"], "bob")[0] == 403
    assert desk.ok(desk.does("approve", request["request_id"], "cid"))["transition"]["state"] == "applied"


def test_where_people_count_nobody_acts_by_a_token() -> None:
    desk = Panel(policy={"approvals": 1, "approvers": "people"})
    status, said = desk.send(desk.asks(1))
    assert (status, "an identity provider vouches for" in said["message"]) == (403, True)
    assert desk.ok(desk.said("GET", MODELS))["transitions"] == []
    request = desk.ask(1, actor="oidc-al")["request_id"]
    assert desk.approvable("bob") == {}
    status, said = desk.do("approve", request, "bob")
    assert (status, "not by bob" in said["message"]) == (403, True)
    assert desk.ok(desk.does("approve", request, "oidc-bo"))["transition"]["state"] == "applied"
    desk.check()


def test_approvals_by_token_count_no_more_once_people_must_approve() -> None:
    desk = Panel(policy={"approvals": 2})
    request = desk.ask(1, actor="oidc-al")["request_id"]
    assert desk.do("approve", request, "bob")[0] == 200
    desk.declare(approvals=2, approvers="people")
    assert desk.ok(desk.does("approve", request, "oidc-bo"))["transition"]["missing"] == 1
    assert desk.aliases == {}
    assert [each["actor"] for each in desk.shown(request)["approvals"]] == ["oidc-bo"]


def test_where_nobody_has_to_approve_tokens_ask() -> None:
    desk = Panel(policy={"approvers": "people"})
    assert desk.ask(1)["state"] == "applied"


def test_one_person_counts_once() -> None:
    desk = Panel(policy={"approvals": 2})
    request = desk.ask(1)["request_id"]
    for _ in range(3):
        assert desk.ok(desk.does("approve", request, "bob"))["transition"]["missing"] == 1
    assert desk.types().count("TransitionApproved") == 1
    desk.check()


@pytest.mark.parametrize("actor", ["ann", "ron"])
def test_only_who_may_approve_approves_and_rejects(actor: str) -> None:
    desk = Panel(policy={"approvals": 1})
    request = desk.ask(1, actor="eve")["request_id"]
    assert desk.do("approve", request, actor)[0] == 403
    assert desk.do("reject", request, actor, reason="no")[0] == 403
    assert desk.shown(request)["state"] == "waiting"


def test_a_rejection_ends_a_request_and_says_why() -> None:
    desk = Panel(policy={"approvals": 1})
    request = desk.ask(1)["request_id"]
    status, said = desk.do("reject", request, "bob", reason=" ")
    assert (status, said["message"]) == (400, "a rejection needs a written reason")
    assert desk.do("reject", request, "bob", reason="no card")[0] == 200
    refused = desk.events()[-1].envelope
    assert (refused.type, refused.data["why"], refused.data["reason"]) == ("TransitionRefused", "rejected", "no card")
    status, said = desk.do("approve", request, "cid")
    assert status == 409
    assert "rejected by bob: no card" in said["message"]
    assert desk.do("withdraw", request, "ann")[0] == 409
    assert desk.ask(1)["state"] == "waiting"
    desk.check()


def test_who_asked_or_an_administrator_withdraws_and_nobody_else() -> None:
    desk = Panel(policy={"approvals": 1})
    first = desk.ask(1)["request_id"]
    assert desk.do("withdraw", first, "bob")[0] == 403
    assert desk.do("withdraw", first, "ann")[0] == 200
    second = desk.ask(1)["request_id"]
    assert desk.do("withdraw", second, "eve", reason="outdated")[0] == 200
    assert (desk.shown(second)["why"], desk.shown(second)["decided_by"]) == ("withdrawn", "eve")
    assert desk.do("approve", second, "bob")[0] == 409
    desk.check()


def test_full_gates_are_run_elsewhere_and_then_people_approve() -> None:
    desk = Panel(policy={"gates": ["light", "slow"], "approvals": 1})
    request = desk.ask(1)
    assert (request["state"], request["pending"], [r["gate"] for r in request["results"]]) == (
        "judging", ["slow"], ["light"],
    )  # fmt: skip
    status, said = desk.do("approve", request["request_id"], "bob")
    assert status == 409
    assert "slow are still to be run" in said["message"]
    desk.publish()
    judged = desk.shown(request["request_id"])
    assert (judged["state"], [r["gate"] for r in judged["results"]]) == ("waiting", ["light", "slow"])
    assert desk.do("approve", request["request_id"], "bob")[0] == 200
    assert desk.types(since=4) == ["TransitionRequested", "TransitionJudged", "TransitionApproved", "AliasChanged"]
    desk.check()


def test_full_gates_alone_apply_a_request_when_they_say_yes() -> None:
    desk = Panel(policy={"gates": ["slow"]})
    request = desk.ask(1)["request_id"]
    desk.publish()
    assert (desk.shown(request)["state"], desk.aliases) == ("applied", {"champion": 1})
    changed = desk.events()[-1].envelope
    assert (changed.actor, changed.data["requested_by"]) == ("platform", "ann")
    desk.check()


def test_a_refusal_waits_for_the_full_gates_so_that_every_reason_is_told() -> None:
    desk = Panel(policy={"gates": ["light", "slow"]}, versions=9)
    event = desk.asks(9)
    assert desk.send(event)[0] == 202
    desk.publish()
    status, said = desk.send(event)
    assert status == 409
    assert "light: light looked at v9; slow: slow looked at v9" in said["message"]
    assert [r["gate"] for r in desk.events()[-1].envelope.data["results"]] == ["light", "slow"]
    desk.check()


def test_gates_look_again_when_another_version_became_champion() -> None:
    desk = Panel(policy={"gates": ["compares"], "approvals": 1, "approve": ["challenger"]})
    request = desk.ask(3, "challenger")["request_id"]
    desk.ask(2)
    assert desk.ok(desk.does("approve", request, "bob"))["transition"]["state"] == "applied"
    assert "beside v2" in desk.shown(request)["results"][0]["text"]
    assert desk.types(since=7) == ["TransitionApproved", "TransitionJudged", "AliasChanged"]
    desk.check()


def test_an_approval_does_not_help_against_a_champion_that_is_better() -> None:
    desk = Panel(policy={"gates": ["compares"], "approvals": 1, "approve": ["challenger"]})
    request = desk.ask(3, "challenger")["request_id"]
    desk.ask(1)
    event = desk.does("approve", request, "bob")
    for _ in range(2):
        status, said = desk.send(event)
        assert status == 409
        assert "compares looked at v3 beside v1" in said["message"]
    assert desk.types()[-2:] == ["TransitionApproved", "TransitionRefused"]
    assert desk.aliases == {"champion": 1}
    desk.check()


def test_full_gates_too_look_again_and_approvals_stay() -> None:
    desk = Panel(policy={"gates": ["compares", "slow"], "approvals": 1, "approve": ["challenger"]})
    request = desk.ask(3, "challenger")["request_id"]
    desk.publish()
    desk.ask(2)
    desk.publish()
    assert desk.aliases == {"champion": 2}
    status, said = desk.do("approve", request, "bob")
    assert (status, said["transition"]["state"], said["transition"]["pending"]) == (200, "judging", ["slow"])
    desk.publish()
    assert desk.aliases == {"champion": 2, "challenger": 3}
    assert desk.shown(request)["champion"] == 2
    desk.check()


def test_light_gates_look_again_where_the_full_ones_are_run() -> None:
    desk = Panel(policy={"gates": ["compares", "slow"]})
    request = desk.ask(3, "challenger")["request_id"]
    desk.ask(1, actor="eve", force=True, reason="outage")
    desk.publish()
    assert "beside v1" in desk.shown(request)["results"][0]["text"]
    assert (desk.shown(request)["state"], desk.aliases) == ("refused", {"champion": 1})
    desk.check()


def test_whom_the_policy_names_overrides_gates_and_approvals_and_the_log_says_so() -> None:
    desk = Panel(
        policy={"gates": ["light", "slow"], "approvals": 2, "override": ["approver"], "override_reason": 10}, versions=9
    )
    status, said = desk.send(desk.asks(9, actor="eve", force=True, reason="the old one is on fire"))
    assert status == 403
    assert "its policy lets approver" in said["message"]
    assert desk.send(desk.asks(9, actor="ann", force=True, reason="the old one is on fire"))[0] == 403
    assert desk.send(desk.asks(9, actor="bob", force=True, reason="fire"))[0] == 400
    made = desk.ask(9, actor="bob", force=True, reason="the old one is on fire")
    assert (made["state"], made["forced"]) == ("applied", True)
    changed = desk.events()[-1].envelope.data
    assert changed["forced"] == "the old one is on fire"
    assert [r["passed"] for r in changed["results"]] == [False, False]
    assert desk.types()[-2:] == ["TransitionRequested", "AliasChanged"]
    desk.publish()
    desk.check()


def test_nobody_overrides_where_the_policy_names_nobody() -> None:
    desk = Panel(policy={"gates": ["light"], "override": []})
    status, said = desk.send(desk.asks(1, actor="eve", force=True, reason="because"))
    assert status == 403
    assert "lets nobody" in said["message"]


def test_an_override_of_nothing_is_an_ordinary_request() -> None:
    desk = Panel(policy={"gates": ["light"]})
    assert desk.ask(1, actor="eve", force=True, reason="to be sure")["forced"] is False
    assert desk.events()[-1].envelope.data["forced"] == ""


def test_an_override_takes_the_place_of_a_request_that_waits_for_the_same() -> None:
    desk = Panel(policy={"approvals": 1})
    waiting = desk.ask(1)["request_id"]
    assert desk.ask(1, actor="eve", force=True, reason="outage")["state"] == "applied"
    assert (desk.shown(waiting)["state"], desk.shown(waiting)["why"]) == ("refused", "superseded")
    desk.check()


def test_there_is_one_open_request_for_a_version_and_an_alias() -> None:
    desk = Panel(policy={"approvals": 1})
    first = desk.ask(1)["request_id"]
    status, said = desk.send(desk.asks(1, actor="bob"))
    assert (status, said["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert first in said["message"]
    assert desk.ask(1, "challenger")["state"] == desk.ask(2)["state"] == "waiting"
    desk.check()


def test_a_model_has_so_many_open_requests_at_most() -> None:
    desk = Panel(policy={"approvals": 1}, versions=11)
    for version in range(1, 11):
        desk.ask(version)
        desk.ask(version, "challenger")
    status, said = desk.send(desk.asks(11))
    assert status == 409
    assert "20 open requests" in said["message"]
    desk.ok(desk.said("DELETE", f"{RM}/delete", {"name": "flights"}, "eve"))
    assert desk.types().count("TransitionRefused") == 20


def test_a_request_that_nobody_decides_is_refused_in_time() -> None:
    desk = Panel(policy={"approvals": 1, "waits_days": 3})
    request = desk.ask(1)["request_id"]
    desk.pass_days(2.9)
    desk.registry(desk.due())
    assert desk.shown(request)["state"] == "waiting"
    desk.pass_days(0.1)
    desk.registry(desk.due())
    desk.registry(desk.due())
    refused = desk.events()[-1].envelope.data
    assert (refused["why"], refused["reason"]) == ("expired", "nobody decided it by 2026-03-05 00:00 UTC")
    assert desk.types().count("TransitionRefused") == 1
    desk.check()


def test_an_approval_that_comes_too_late_is_told_so_whether_or_not_the_schedule_came() -> None:
    desk = Panel(policy={"approvals": 1, "waits_days": 3})
    request = desk.ask(1)["request_id"]
    desk.pass_days(4)
    assert desk.shown(request)["why"] == "expired"
    assert desk.approvable("bob") == {}
    for _ in range(2):
        status, said = desk.do("approve", request, "bob")
        assert status == 409
        assert "expired" in said["message"]
    assert desk.types().count("TransitionRefused") == 1
    desk.check()


@pytest.mark.parametrize("verb", ["reject", "withdraw"])
def test_what_expired_is_not_ended_again(verb: str) -> None:
    desk = Panel(policy={"approvals": 1, "waits_days": 3})
    request = desk.ask(1)["request_id"]
    desk.pass_days(4)
    assert desk.do(verb, request, "eve", reason="no")[0] == 409
    assert desk.events()[-1].envelope.data["why"] == "expired"
    desk.check()


def test_after_it_expired_the_same_can_be_asked_for_again() -> None:
    desk = Panel(policy={"approvals": 1, "waits_days": 3})
    first = desk.ask(1)["request_id"]
    desk.pass_days(4)
    second = desk.ask(1)["request_id"]
    assert (desk.shown(first)["why"], desk.shown(second)["state"]) == ("expired", "waiting")
    desk.check()


def test_the_schedule_serves_every_workspace_that_has_open_requests() -> None:
    desk = Panel(policy={"approvals": 1, "waits_days": 3})
    request = desk.ask(1)["request_id"]
    desk.wiring.settings = desk.wiring.settings.model_copy(update={"workspace": "other"})
    desk.pass_days(9)
    desk.registry(desk.due())
    assert desk.document(f"REQUEST#{request}")["why"] == "expired"


def test_deleting_a_version_ends_its_requests_alone() -> None:
    desk = Panel(policy={"approvals": 1})
    first, second = desk.ask(1)["request_id"], desk.ask(2)["request_id"]
    desk.ok(desk.said("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"}, "eve"))
    assert (desk.shown(first)["why"], desk.shown(second)["state"]) == ("superseded", "waiting")
    assert desk.do("approve", first, "bob")[0] == 409
    assert desk.types()[-2:] == ["TransitionRefused", "ModelVersionDeleted"]
    desk.check()


def test_requests_go_with_a_model_that_is_renamed() -> None:
    desk = Panel(policy={"gates": ["slow"], "approvals": 1})
    request = desk.ask(1)["request_id"]
    desk.ok(desk.said("POST", f"{RM}/rename", {"name": "flights", "new_name": "delays"}, "eve"))
    assert desk.send(desk.said("GET", f"{MODELS}/{request}"))[0] == 404
    desk.publish()
    path = f"/v1/models/delays/transitions/{request}"
    assert desk.approvable("bob") == {request: 1}
    assert desk.ok(desk.said("POST", f"{path}/approve", {}, "bob"))["transition"]["state"] == "applied"
    assert desk.events()[-1].envelope.data["model"] == "delays"
    found = desk.ok(desk.said("GET", f"{RM}/alias?name=delays&alias=champion"))["model_version"]
    assert (found["name"], found["version"], found["aliases"]) == ("delays", "1", ["champion"])
    desk.check()


def test_a_model_that_is_renamed_stays_in_its_policys_reach() -> None:
    desk = Panel(policy={"approvals": 1, "guarded": ["champion", "prod"]})
    desk.ok(desk.said("POST", f"{RM}/rename", {"name": "flights", "new_name": "tmp"}, "eve"))
    for alias in ("champion", "prod"):
        event = desk.said("POST", f"{RM}/alias", {"name": "tmp", "alias": alias, "version": "1"})
        assert "waits for 1 approval" in desk.send(event)[1]["message"]
    assert desk.ok(desk.said("GET", "/v1/models/tmp"))["aliases"] == {}
    (first, second) = desk.ok(desk.said("GET", "/v1/models/tmp/transitions"))["transitions"]
    assert (first["model"], second["model"]) == ("tmp", "tmp")
    desk.check()


def test_a_models_requests_are_listed_newest_first_page_by_page() -> None:
    desk = Panel(policy={"approvals": 1}, versions=5)
    made = []
    for version in range(1, 6):
        desk.pass_days(0.01)
        made.append(desk.ask(version)["request_id"])
    seen: list[str] = []
    token = ""
    while True:
        page = desk.ok(desk.said("GET", f"{MODELS}?max_results=2&page_token={quote(token)}"))
        seen += [each["request_id"] for each in page["transitions"]]
        if not (token := page.get("next_page_token", "")):
            break
    assert seen == made[::-1]
    shown = desk.ok(desk.said("GET", "/v1/models/flights"))
    assert [each["request_id"] for each in shown["transitions"]] == seen
    assert "open" not in shown


def test_everybody_sees_what_they_could_approve() -> None:
    desk = Panel(policy={"approvals": 2})
    one, other = desk.ask(1)["request_id"], desk.ask(2, actor="bob")["request_id"]
    desk.do("approve", one, "cid")
    assert desk.approvable("bob") == {one: 1}
    assert desk.approvable("cid") == {other: 2}
    assert desk.approvable("dot") == desk.approvable("eve") == {one: 1, other: 2}
    assert desk.approvable("ann") == desk.approvable("ron") == {}


def test_what_gates_still_look_at_waits_for_nobody() -> None:
    desk = Panel(policy={"gates": ["slow"], "approvals": 1})
    desk.ask(1)
    assert desk.approvable("bob") == {}


def test_a_request_that_nobody_made_is_not_found() -> None:
    desk = Panel()
    for event in (desk.said("GET", f"{MODELS}/nothing"), desk.does("approve", "nothing", "bob")):
        status, said = desk.send(event)
        assert (status, said["message"]) == (404, "flights has no request nothing")


def test_approvals_are_for_the_aliases_that_the_policy_names() -> None:
    desk = Panel(policy={"approvals": 1, "approve": ["champion"], "guarded": ["champion", "challenger"]})
    assert desk.ask(1, "challenger")["state"] == "applied"
    assert desk.ask(2)["state"] == "waiting"
    assert desk.ask(3, "blue")["state"] == "applied"


def test_a_policy_that_became_stricter_holds_for_requests_that_wait() -> None:
    desk = Panel(policy={"approvals": 1}, versions=7)
    request, other, slow = (desk.ask(version)["request_id"] for version in (1, 7, 2))
    desk.declare(approvals=2)
    assert desk.ok(desk.does("approve", request, "bob"))["transition"]["missing"] == 1
    assert desk.ok(desk.does("approve", request, "cid"))["transition"]["state"] == "applied"
    desk.declare(approvals=1, gates=["light"])
    status, said = desk.do("approve", other, "bob")
    assert (status, "light looked at v7" in said["message"]) == (409, True)
    desk.declare(approvals=1, gates=["slow"])
    assert desk.ok(desk.does("approve", slow, "bob"))["transition"]["pending"] == ["slow"]
    desk.publish()
    assert (desk.shown(slow)["state"], desk.aliases) == ("applied", {"champion": 2})
    desk.check()


def test_what_gates_said_of_a_version_that_changed_since_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Panel(policy={"approvals": 1, "gates": ["light", "slow"]})
    first, second = (desk.ask(version)["request_id"] for version in (1, 2))
    desk.publish()
    monkeypatch.setitem(panel.REFUSED, 1, ("light",))
    monkeypatch.setitem(panel.REFUSED, 2, ("slow",))
    assert desk.do("approve", first, "bob")[0] == 409
    assert desk.do("approve", second, "bob")[1]["transition"]["state"] == "applied", (
        "full gates ran against the champion"
    )
    desk.check()


def test_a_policy_of_an_environment_holds_there() -> None:
    desk = Panel()
    assert desk.ask(1)["state"] == "applied"
    strict = Panel(policy={"approvals": 1})
    strict.wiring.settings = strict.wiring.settings.model_copy(update={"tier": "prod"})
    assert strict.ask(1)["state"] == "waiting"


# --- the same request again ---------------------------------------------------------------


@pytest.mark.parametrize("policy", [{}, {"approvals": 1}, {"gates": ["light"]}, {"gates": ["slow"]}], ids=str)
@pytest.mark.parametrize("version", [1, 7])
def test_a_request_that_comes_twice_is_one_request_and_told_the_same(version: int, policy: dict[str, Any]) -> None:
    desk = Panel(policy=policy, versions=7)
    event = desk.asks(version)
    first, events = desk.send(event), desk.types()
    assert desk.send(event) == first
    assert desk.types() == events
    desk.check()


@pytest.mark.parametrize(
    ("verb", "actor"), [("approve", "bob"), ("reject", "bob"), ("withdraw", "ann"), ("withdraw", "eve")]
)
def test_a_decision_that_comes_twice_is_one_decision(verb: str, actor: str) -> None:
    desk = Panel(policy={"approvals": 1})
    event = desk.does(verb, desk.ask(1)["request_id"], actor, **({"reason": "no"} if verb != "approve" else {}))
    first, events = desk.send(event), desk.types()
    assert first[0] == 200
    assert desk.send(event) == first
    assert desk.types() == events
    desk.check()


def test_an_idempotency_key_names_a_request_whatever_the_gateway_calls_it() -> None:
    desk = Panel(policy={"approvals": 1})
    said = [
        desk.send(desk.said("POST", MODELS, {"version": 1, "alias": "champion"}, idempotency_key="k")) for _ in "ab"
    ]
    assert said[0] == said[1]
    status, other = desk.send(desk.said("POST", MODELS, {"version": 2, "alias": "champion"}, idempotency_key="k"))
    assert status == 400
    assert "Idempotency-Key was used before" in other["message"]
    assert desk.types().count("TransitionRequested") == 1
    theirs = desk.said("POST", MODELS, {"version": 2, "alias": "champion"}, "bob", idempotency_key="k")
    assert desk.send(theirs)[0] == 202


def test_events_that_come_twice_are_handled_once() -> None:
    desk = Panel(policy={"gates": ["light", "slow"], "approvals": 1}, times=2)
    request = desk.ask(1)["request_id"]
    desk.publish()
    desk.do("approve", request, "bob")
    desk.publish()
    assert desk.types(since=4) == ["TransitionRequested", "TransitionJudged", "TransitionApproved", "AliasChanged"]
    desk.check()


# --- MLflow's alias calls -------------------------------------------------------------------


def test_mlflows_call_is_told_what_it_waits_for_and_how_to_follow_it() -> None:
    desk = Panel(policy={"gates": ["slow"], "approvals": 2})
    event = desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "champion", "version": "1"})
    status, said = desk.send(event)
    (request,) = (each["request_id"] for each in desk.documents("REQUEST#"))
    assert (status, said["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert f"request {request} waits for the gates slow" in said["message"]
    assert f"modelwright transitions show flights {request}" in said["message"]
    desk.publish()
    assert "waits for 2 approvals" in desk.send(event)[1]["message"]
    desk.do("approve", request, "bob")
    assert "waits for 1 approval." in desk.send(event)[1]["message"]
    desk.do("approve", request, "cid")
    assert desk.send(event) == (200, {})
    desk.check()


def test_an_alias_that_the_policy_does_not_guard_is_free() -> None:
    desk = Panel(policy={"approvals": 1, "guarded": ["prod"]})
    free = desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "champion", "version": "1"})
    assert desk.send(free) == (200, {})
    guarded = desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "prod", "version": "1"})
    assert desk.send(guarded)[0] == 409
    assert desk.types().count("TransitionRequested") == 1


def test_a_version_has_so_many_free_aliases_at_most() -> None:
    desk = Panel()
    for number in range(16):
        desk.ok(desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": f"a{number}", "version": "1"}))
    more = {"name": "flights", "alias": "b", "version": "1"}
    assert desk.send(desk.said("POST", f"{RM}/alias", more))[0] == 400
    desk.ok(desk.said("POST", f"{RM}/alias", {**more, "alias": "a0"}))
    desk.ok(desk.said("POST", f"{RM}/alias", {**more, "version": "2"}))
    tag = {"name": "flights", "version": "1", "key": "k", "value": "v"}
    desk.ok(desk.said("POST", f"{MV}/set-tag", tag))
    desk.check()
    desk.ok(desk.said("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"}, "eve"))
    desk.check()
