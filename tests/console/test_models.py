"""The console's pages of models, versions, requests and approvals."""

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from support.http import ADMIN, Caller, handler_of, payload
from support.mlflow_desk import API, Desk, event_of

from modelwright.governance.access import Grant
from modelwright.runtime import Function

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
EVIL = "<script>alert('x')</script>\"&"
APPROVER = (Grant(role="approver"),)


class Page(HTMLParser):
    """A page as its reader and its browser see it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.buttons: list[str] = []
        self.attributes: dict[str, str] = {}
        self.text = ""
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes |= said
        self.links += [said["href"]] if "href" in said else []
        self.buttons += [said["value"]] if tag == "button" and "value" in said else []

    def handle_data(self, data: str) -> None:
        if self.tags[-1] not in ("script", "style"):
            self.text += data + " "


@pytest.fixture
def desk() -> Desk:
    """A workspace with ``flights`` of two versions, whose requests take one approval."""
    desk = Desk()
    times = {"t": {"type": "timestamp"}}
    arrivals = {
        "prefix": "a/",
        "columns": {"id": {"type": "string"}, "late": {"type": "integer"}, **times},
        "key": ["late"],
        "event_time": "t",
    }
    declared = {
        "id_column": "id", "time_column": "t", "request": {"id": "string"}, "views": [], "inputs": ["id"],
        "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit",
        "gates": {"gates": ["data_known"], "approvals": 1},
    }  # fmt: skip
    project = {"name": "demo", "sources": {"arrivals": arrivals}, "models": {"flights": declared}}
    desk.registry.ok("POST", "/v1/projects", {"project": project})
    desk.registry.ok("POST", f"{RM}/create", {"name": "flights"})
    for _ in range(2):
        known = [{"key": "modelwright.dataset_digest", "value": "d1"}]
        body = {"name": "flights", "source": "mlflow-artifacts:/1/x", "tags": known}
        desk.registry.ok("POST", f"{MV}/create", body)
    return desk


@pytest.fixture
def console(desk: Desk) -> Function:
    return handler_of("console", desk.wiring)


def look(console: Function, path: str, **who: Any) -> Page:
    status, text = Caller(console, **who)("GET", path)
    assert status == 200, text
    return Page(text)


def ask(desk: Desk, version: int, alias: str = "champion", **said: Any) -> str:
    """Ask for an alias in ann's name and return the request's id."""
    body = {"version": version, "alias": alias, **said}
    status, answer = desk.registry("POST", "/v1/models/flights/transitions", body)
    assert status == 202, answer
    return str(answer["transition"]["request_id"])


def approve(desk: Desk, request_id: str, actor: str = "bob") -> None:
    caller = desk.as_caller("registry", actor=actor, grants=APPROVER)
    caller.ok("POST", f"/v1/models/flights/transitions/{request_id}/approve", {"comment": "looks right"})


def page_of(request_id: str) -> str:
    return f"/console/models/flights/requests/{request_id}"


# --- models and versions -----------------------------------------------------------------


def test_models_are_listed_with_champion_and_open_requests(desk: Desk, console: Function) -> None:
    approve(desk, ask(desk, 1))
    ask(desk, 2)
    page = look(console, "/console/models")
    assert {"/console/models/flights", "/console/models/flights/versions/1"} <= set(page.links)
    assert re.search(r"flights\s+v1\s+\d{4}-\d\d-\d\d \d\d:\d\d UTC\s+none\s+2\s+1", page.text)


def test_only_models_that_one_may_read_are_listed(desk: Desk, console: Function) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    page = look(console, "/console/models", grants=(Grant(role="reader", resources="model/churn"),))
    assert "churn" in page.text
    assert "flights" not in page.text
    status, _ = Caller(console, grants=(Grant(role="reader", resources="model/churn"),))(
        "GET", "/console/models/flights"
    )
    assert status == 403


def test_a_model_shows_aliases_versions_requests_and_its_history_in_words(desk: Desk, console: Function) -> None:
    approve(desk, ask(desk, 1, reason="the first"))
    waiting = ask(desk, 2, reason="better on snow days")
    page = look(console, "/console/models/flights")
    assert page_of(waiting) in page.links
    for text in (
        "champion v1", "Waits for a decision", "better on snow days", "waits for approval, 0 of 1", "flights was born",
        "v1 was approved as champion, 1 of 1",
    ):  # fmt: skip
        assert text in page.text


def test_a_model_without_anything_has_a_page(console: Function, desk: Desk) -> None:
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn"})
    text = look(console, "/console/models/churn").text
    for said in ("No version has an alias yet.", "There is no version yet.", "Nobody asked for an alias yet."):
        assert said in text


@pytest.mark.parametrize("version", ["2", "@blue"])
def test_a_version_shows_its_card_and_leads_to_its_files(desk: Desk, console: Function, version: str) -> None:
    desk.registry.ok("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "2"})
    desk.registry.ok("PUT", "/v1/models/flights/versions/1/card", {"sections": {"owner": "team *delays*"}})
    page = look(console, f"/console/models/flights/versions/{version}")
    assert "Carried over from v1" in page.text
    assert "em" in page.tags
    assert "/v1/models/flights/versions/2/card?format=markdown" in page.links


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("models/nothing", 404, "Registered Model with name=nothing not found"),
        ("models/flights/versions/9", 404, "version=9"),
        ("models/flights/versions/x", 400, "a version is a number"),
        ("models/flights/requests/nothing", 404, "flights has no request nothing"),
    ],
)
def test_what_is_not_there_is_said_on_a_page(console: Function, path: str, status: int, told: str) -> None:
    code, text = Caller(console)("GET", f"/console/{path}")
    assert code == status
    assert told in unescape(text)
    assert "/console/models" in Page(text).links


# --- requests ----------------------------------------------------------------------------


def test_who_may_approve_gets_the_buttons(desk: Desk, console: Function) -> None:
    request_id = ask(desk, 1, reason="first")
    page = look(console, page_of(request_id), actor="bob", grants=APPROVER)
    assert page.buttons == ["approve", "reject"]
    assert page.attributes["data-path"] == f"/v1/models/flights/transitions/{request_id}"
    for text in ("flights v1 as champion", "ann asks that", "data_known", "passed", "flights v1 was trained on d1"):
        assert text in page.text


def test_who_asked_may_only_withdraw_and_is_told_why(desk: Desk, console: Function) -> None:
    request_id = ask(desk, 1)
    page = look(console, page_of(request_id))
    assert page.buttons == ["withdraw"]
    assert "somebody else has to approve it" in page.text


def test_who_may_only_read_gets_no_button_and_is_told_why(desk: Desk, console: Function) -> None:
    page = look(console, page_of(ask(desk, 1)), actor="eve", grants=(Grant(role="reader"),))
    assert (page.buttons, "script" in page.tags) == ([], False)
    assert "that takes the role approver on this model" in page.text


def test_a_decided_request_shows_who_decided_and_has_no_button(desk: Desk, console: Function) -> None:
    request_id = ask(desk, 1)
    approve(desk, request_id)
    page = look(console, page_of(request_id), actor="carol", grants=ADMIN)
    assert page.buttons == []
    for text in ("applied", "bob", "looks right"):
        assert text in page.text


def test_failed_gates_come_first_and_are_counted(desk: Desk, console: Function) -> None:
    desk.registry.ok(
        "DELETE", f"{MV}/delete-tag", {"name": "flights", "version": "2", "key": "modelwright.dataset_digest"}
    )
    desk.registry("POST", "/v1/models/flights/transitions", {"version": 2, "alias": "champion"})
    (refused,) = desk.registry.ok("GET", "/v1/models/flights/transitions")["transitions"]
    text = look(console, page_of(refused["request_id"])).text
    for said in ("refused by its gates", "Gates (1 of 1 failed)", "FAILED", "nobody said what"):
        assert said in text


def test_the_page_of_a_request_has_the_one_script_that_its_policy_names(desk: Desk, console: Function) -> None:
    answer = console(payload("GET", page_of(ask(desk, 1)), actor="bob"))
    (script,) = re.findall(r"<script>(.*?)</script>", answer["body"], re.DOTALL)
    policy = answer["headers"]["content-security-policy"].split("; ")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert {"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)


@pytest.mark.parametrize("verb", ["approve", "reject", "withdraw"])
def test_a_form_of_another_site_decides_nothing(desk: Desk, verb: str) -> None:
    request_id = ask(desk, 1)
    path = f"/v1/models/flights/transitions/{request_id}"
    bob = desk.as_caller("registry", actor="bob")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert bob("POST", f"{path}/{verb}", {"comment": "x", "reason": "x"}, content_type=kind)[0] == 400
    assert desk.registry.ok("GET", path)["transition"]["state"] == "waiting"


# --- approvals ---------------------------------------------------------------------------


def test_the_inbox_tells_what_waits_for_me_from_what_waits_for_others(desk: Desk, console: Function) -> None:
    request_id = ask(desk, 1)
    for actor, grants, mine in (
        ("bob", APPROVER, True),
        ("ann", ADMIN, False),
        ("eve", (Grant(role="reader"),), False),
    ):
        page = look(console, "/console/approvals", actor=actor, grants=grants)
        assert page_of(request_id) in page.links
        first, _, rest = page.text.partition("Open, for others or for gates")
        assert ("flights v1 as champion" in first, "flights v1 as champion" in rest) == (mine, not mine)
    approve(desk, request_id)
    assert page_of(request_id) not in look(console, "/console/approvals", actor="bob", grants=APPROVER).links


# --- all of them -------------------------------------------------------------------------


def paths(desk: Desk) -> list[str]:
    request_id = ask(desk, 1, reason=EVIL)
    return [
        "models",
        "models/flights",
        "models/flights/versions/1",
        f"models/flights/requests/{request_id}",
        "approvals",
    ]


def test_every_page_escapes_whatever_it_shows(desk: Desk, console: Function) -> None:
    desk.registry.ok("PATCH", f"{RM}/update", {"name": "flights", "description": EVIL})
    desk.registry.ok("PATCH", f"{MV}/update", {"name": "flights", "version": "1", "description": EVIL})
    desk.registry.ok("PUT", "/v1/models/flights/versions/1/card", {"sections": {"owner": EVIL}})
    shown = 0
    for path in paths(desk):
        text = Caller(console, actor="bob")("GET", f"/console/{path}")[1]
        shown += unescape(re.sub("<[^>]*>", "", text)).count(EVIL)
        assert EVIL not in text
        assert Page(text).tags.count("script") <= 1
    assert shown >= 4


def test_every_page_sends_who_did_not_sign_in_to_the_form_and_back(desk: Desk, console: Function) -> None:
    for path in paths(desk):
        answer = console(payload("GET", f"/console/{path}", signed_in=False))
        assert (answer["statusCode"], answer["body"]) == (303, "")
        assert answer["headers"]["location"] == f"/login?to=/console/{path}"


def test_the_way_back_keeps_a_name_with_blanks(console: Function) -> None:
    answer = console(payload("GET", f"/console/models/{quote('night flights')}", signed_in=False))
    form = console(payload("GET", answer["headers"]["location"], signed_in=False))["body"]
    assert 'name="to" value="/console/models/night%20flights"' in form


def test_no_page_asks_anybody_else(desk: Desk, console: Function) -> None:
    for path in paths(desk):
        page = look(console, f"/console/{path}", actor="bob")
        assert not {"img", "link", "iframe"} & set(page.tags)
        assert all(re.match(r"/(console|v1)\b|#", link) for link in page.links)


def test_another_workspace_sees_none_of_it(desk: Desk, console: Function) -> None:
    for path in paths(desk):
        status, text = Caller(console, workspace="other")("GET", f"/console/{path}")
        assert (status, "v1 as champion" in text) in ((200, False), (404, False))


def test_a_version_that_the_platform_trained_shows_its_figures(desk: Desk, console: Function) -> None:
    desk.tell("registry", event_of("registry-training-completed.json"))
    assert "0.7520 [0.7410, 0.7630]" in look(console, "/console/models/flights").text
