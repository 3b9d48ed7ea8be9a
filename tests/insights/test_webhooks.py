"""Webhooks are made, changed, listed and tried through MLflow's protocol and ours, by who may."""

import json
from typing import Any

import pytest
from support.http import Caller, payload
from support.mlflow_desk import API

from insights.hooks import HOOKS, URL, HookDesk
from modelwright.governance.access import Grant
from modelwright.insights.webhook_events import MLFLOW, OURS
from modelwright.insights.webhook_requests import Reply

CREATED = {"entity": "MODEL_VERSION", "action": "CREATED"}
ASKED: dict[str, Any] = {"name": "ci", "url": URL, "events": [CREATED]}
SECRET = "correct horse battery staple"


@pytest.fixture
def desk() -> HookDesk:
    return HookDesk()


def made(desk: HookDesk, **more: Any) -> dict[str, Any]:
    webhook: dict[str, Any] = desk.hooks.ok("POST", HOOKS, {**ASKED, **more})["webhook"]
    return webhook


def test_a_webhook_is_answered_in_mlflows_form(desk: HookDesk) -> None:
    webhook = made(desk, description="tells the pipeline", secret=SECRET)
    stamps = (webhook.pop("creation_timestamp"), webhook.pop("last_updated_timestamp"))
    assert webhook == {
        "webhook_id": webhook["webhook_id"], "name": "ci", "description": "tells the pipeline", "url": URL,
        "events": [CREATED], "status": "ACTIVE",
    }  # fmt: skip
    assert stamps[0] == stamps[1] > 1_700_000_000_000
    assert desk.hooks.ok("GET", f"{HOOKS}/{webhook['webhook_id']}")["webhook"].items() >= webhook.items()


def test_webhooks_are_listed_newest_first_page_by_page(desk: HookDesk) -> None:
    ids = [made(desk, name=f"ci{n}")["webhook_id"] for n in range(5)]
    found, token = [], ""
    for size in (2, 2, 1):
        page = desk.hooks.ok("GET", f"{HOOKS}?max_results=2&page_token={token}")
        assert len(page["webhooks"]) == size
        found += [webhook["webhook_id"] for webhook in page["webhooks"]]
        token = page.get("next_page_token", "")
    assert (found, token) == (ids[::-1], "")
    assert desk.hooks("GET", f"{HOOKS}?page_token=eyJ")[0] == 400
    assert desk.hooks("GET", f"{HOOKS}?max_results=1001")[0] == 400


def test_an_update_changes_what_it_says_and_nothing_else(desk: HookDesk) -> None:
    identity = made(desk, description="d", secret=SECRET)["webhook_id"]
    changed = desk.hooks.ok("PATCH", f"{HOOKS}/{identity}", {"status": "DISABLED", "description": ""})["webhook"]
    assert (changed["status"], "description" in changed, changed["url"]) == ("DISABLED", False, URL)
    assert desk.hooks.ok("GET", f"/v1/webhooks/{identity}")["webhook"]["signed"] is True
    desk.hooks.ok("PATCH", f"{HOOKS}/{identity}", {"secret": "", "name": "cd"})
    webhook = desk.hooks.ok("GET", f"/v1/webhooks/{identity}")["webhook"]
    assert (webhook["signed"], webhook["name"], webhook["status"]) == (False, "cd", "DISABLED")


def test_a_deleted_webhook_is_gone(desk: HookDesk) -> None:
    identity = made(desk)["webhook_id"]
    assert desk.hooks.ok("DELETE", f"{HOOKS}/{identity}") == {}
    code, said = desk.hooks("GET", f"{HOOKS}/{identity}")
    assert (code, said["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert desk.hooks("DELETE", f"{HOOKS}/{identity}")[0] == 404


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "name"), ({"name": "-ci"}, "name"), ({"name": "a" * 64}, "63 characters"),
        ({"name": "a b"}, "letters"), ({"name": None}, "required parameter 'name'"),
        ({"url": None}, "required parameter 'url'"), ({"url": "https://refused.example.com"}, "is refused"),
        ({"events": []}, "cannot be empty"), ({"events": None}, "required parameter 'events'"),
        ({"events": ["x"]}, "no event 'x'"), ({"events": [{"entity": "MODEL_VERSION"}]}, "no event"),
        ({"events": [{"entity": "MODEL_VERSION", "action": "EXCEEDED"}]}, "model_version.exceeded"),
        ({"events": [{"entity": "BUDGET_POLICY", "action": "EXCEEDED"}]}, "never happens here"),
        ({"events": ["transition.requested"]}, "/v1/webhooks"), ({"events": 7}, "events"),
        ({"status": "SLEEPING"}, "status"), ({"description": "x" * 1001}, "description"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_made(desk: HookDesk, wrong: dict[str, Any], said: str) -> None:
    desk.outbound.refused.add("https://refused.example.com")
    code, answer = desk.hooks("POST", HOOKS, {**ASKED, **wrong})
    assert code == 400, answer
    assert said in answer["message"]
    assert desk.hooks.ok("GET", HOOKS)["webhooks"] == []
    assert desk.log() == []
    identity = made(desk)["webhook_id"]
    body = {key: value for key, value in wrong.items() if value}
    if body:
        before = desk.hooks.ok("GET", f"{HOOKS}/{identity}")
        assert desk.hooks("PATCH", f"{HOOKS}/{identity}", body)[0] == 400
        assert desk.hooks.ok("GET", f"{HOOKS}/{identity}") == before


def test_the_same_request_again_makes_no_other_webhook(desk: HookDesk) -> None:
    event = payload("POST", HOOKS, ASKED)
    first, second = (json.loads(desk.notify(event)["body"]) for _ in range(2))
    assert first == second
    assert len(desk.hooks.ok("GET", HOOKS)["webhooks"]) == 1
    assert len(desk.log()) == 1


def test_a_workspace_has_fifty_webhooks_at_most(desk: HookDesk) -> None:
    for _ in range(50):
        made(desk)
    code, said = desk.hooks("POST", HOOKS, ASKED)
    assert (code, "at most 50" in said["message"]) == (400, True)


def test_changes_are_in_the_log_without_url_and_secret(desk: HookDesk) -> None:
    identity = made(desk, secret=SECRET)["webhook_id"]
    desk.hooks.ok("PATCH", f"{HOOKS}/{identity}", {"secret": SECRET + "2", "url": URL + "2"})
    desk.hooks.ok("DELETE", f"{HOOKS}/{identity}")
    events = [item.envelope for item in desk.log()]
    assert [(e.type, e.actor, e.data["change"]) for e in events] == [
        ("WebhookChanged", "ann", change) for change in ("created", "updated", "deleted")
    ]
    assert not any(word in repr(events) for word in (SECRET, "hooks.example.com"))


def test_no_answer_has_the_secret(desk: HookDesk, capfd: pytest.CaptureFixture[str]) -> None:
    identity = made(desk, secret=SECRET)["webhook_id"]
    said = [
        desk.hooks(method, path, body)
        for method, path, body in (
            ("GET", HOOKS, None), ("GET", "/v1/webhooks", None), ("GET", f"/v1/webhooks/{identity}", None),
            ("PATCH", f"{HOOKS}/{identity}", {"secret": SECRET}), ("POST", f"{HOOKS}/{identity}/test", {}),
            ("PATCH", f"{HOOKS}/{identity}", {"secret": SECRET * 100}),
            ("POST", f"/v1/webhooks/{identity}/test", {"event": "prompt.created"}),
        )
    ]  # fmt: skip
    captured = capfd.readouterr()
    kept = repr([code for code, _ in said]) + repr([answer for code, answer in said if code == 200])
    assert SECRET not in kept + captured.out + captured.err
    webhook = next(iter(desk.tables._items["insights"].values()))
    assert webhook["secret"] == SECRET, "or the test could not fail"


# --- our events --------------------------------------------------------------------------


def test_mlflows_client_sees_only_what_it_knows(desk: HookDesk) -> None:
    mixed, alone = desk.hook("transition.requested", "model_version.created"), desk.hook("drift.detected")
    assert [w["webhook_id"] for w in desk.hooks.ok("GET", HOOKS)["webhooks"]] == [mixed]
    assert desk.hooks.ok("GET", f"{HOOKS}/{mixed}")["webhook"]["events"] == [CREATED]
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test")):
        assert desk.hooks(method, f"{HOOKS}/{alone}{more}", {})[0] == 404
    assert len(desk.hooks.ok("GET", "/v1/webhooks")["webhooks"]) == 2


def test_what_mlflows_client_cannot_see_it_does_not_take_away(desk: HookDesk) -> None:
    mixed = desk.hook("transition.requested", "model_version.created")
    asked = {"events": [{"entity": "PROMPT", "action": "CREATED"}]}
    desk.hooks.ok("PATCH", f"{HOOKS}/{mixed}", asked)
    events = desk.hooks.ok("GET", f"/v1/webhooks/{mixed}")["webhook"]["events"]
    assert sorted(events) == ["prompt.created", "transition.requested"]


def test_every_name_can_be_listened_to_and_tried(desk: HookDesk) -> None:
    identity = desk.hook(*MLFLOW, *OURS)
    for name in (*MLFLOW, *OURS):
        assert desk.hooks.ok("POST", f"/v1/webhooks/{identity}/test", {"event": name})["result"]["success"]
    assert desk.told() == [*MLFLOW, *OURS]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(204), {"success": True, "response_status": 204}),
        (Reply(302, "moved"), {"success": False, "response_status": 302, "response_body": "moved"}),
        (Reply(500, "oh"), {"success": False, "response_status": 500, "response_body": "oh"}),
        (Reply(fault="no answer in time"), {"success": False, "error_message": "no answer in time"}),
    ],
)
def test_a_trial_says_what_came_of_it_and_keeps_nothing(desk: HookDesk, reply: Reply, said: dict[str, Any]) -> None:
    identity = made(desk)["webhook_id"]
    before = len(desk.log())
    desk.outbound.replies[URL] = reply
    assert desk.hooks.ok("POST", f"{HOOKS}/{identity}/test", {})["result"] == said
    assert len(desk.log()) == before
    assert desk.deliveries(identity) == []


def test_a_trial_may_be_of_an_event_that_is_not_listened_to(desk: HookDesk) -> None:
    identity = made(desk)["webhook_id"]
    event = {"entity": "PROMPT_ALIAS", "action": "DELETED"}
    desk.hooks.ok("POST", f"{HOOKS}/{identity}/test", {"event": event})
    (body,) = desk.bodies()
    assert (body["entity"], body["action"], body["data"]) == ("prompt_alias", "deleted", MLFLOW["prompt_alias.deleted"])
    assert desk.hooks("POST", f"{HOOKS}/{identity}/test", {"event": {"entity": "X", "action": "Y"}})[0] == 400


# --- who may -----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reader", "contributor", "approver", "service"])
def test_only_administrators_change_or_try_webhooks(desk: HookDesk, role: Any) -> None:
    identity = desk.hook("model_version.created")
    before = len(desk.outbound.sent)
    other = Caller(desk.notify, actor="eve", grants=(Grant(role=role),))
    for base in (HOOKS, "/v1/webhooks"):
        asked = ASKED if base == HOOKS else {**ASKED, "events": ["model_version.created"]}
        assert other("POST", base, asked)[0] == 403
        assert other("PATCH", f"{base}/{identity}", {"name": "x"})[0] == 403
        assert other("DELETE", f"{base}/{identity}")[0] == 403
        assert other("POST", f"{base}/{identity}/test", {})[0] == 403
    assert other("POST", f"/v1/webhooks/{identity}/deliveries/{identity}-X/redeliver", {})[0] == 403
    assert len(desk.outbound.sent) == before


def test_who_may_only_read_is_shown_where_a_webhook_leads_and_no_more(desk: HookDesk) -> None:
    identity = desk.hook("model_version.created")
    reader = Caller(desk.notify, actor="eve", grants=(Grant(role="reader"),))
    for path in (HOOKS, "/v1/webhooks"):
        (listed,) = reader.ok("GET", path)["webhooks"]
        shown = reader.ok("GET", f"{path}/{identity}")["webhook"]
        assert listed == shown
        assert shown["url"] == "https://hooks.example.com"
    desk.outbound.replies[URL] = Reply(500, "private words")
    desk.model()
    desk.registry.ok("POST", f"{API}/model-versions/create", {"name": "churn", "source": "s3://x/y"})
    desk.pump()
    (delivery,) = reader.ok("GET", f"/v1/webhooks/{identity}/deliveries")["deliveries"]
    assert (delivery["response_status"], "reason" in delivery) == (500, False)
    assert desk.deliveries(identity)[0]["reason"] == "answered 500: private words"


def test_a_grant_may_be_of_one_webhook(desk: HookDesk) -> None:
    mine, other = desk.hook("drift.detected"), desk.hook("drift.detected")
    owner = Caller(desk.notify, actor="eve", grants=(Grant(role="admin", resources=f"webhook/{mine}"),))
    assert owner("POST", f"/v1/webhooks/{mine}/test", {})[0] == 200
    assert owner("POST", f"/v1/webhooks/{other}/test", {})[0] == 403
    assert owner("GET", "/v1/webhooks")[0] == 403


def test_another_workspace_has_webhooks_of_its_own(desk: HookDesk) -> None:
    identity = desk.hook("registered_model.created")
    other = Caller(desk.notify, workspace="other")
    assert other.ok("GET", "/v1/webhooks") == {"webhooks": []}
    for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")):
        assert other(method, f"/v1/webhooks/{identity}{more}", {})[0] == 404
    registry = Caller(desk.functions["registry"], workspace="other")
    registry.ok("POST", "/api/2.0/mlflow/registered-models/create", {"name": "churn"})
    desk.pump()
    assert desk.told() == []
