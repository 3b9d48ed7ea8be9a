"""Our own pages of models: a request is approved by click, rejected with a reason, and read on a telephone at night."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from e2e.desk import Desk, token_of_workspace
from playwright.sync_api import Browser, StorageState, expect

from browser.conftest import visiting
from browser.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

ML = "/api/2.0/mlflow"
NARROW = 400


@dataclass(frozen=True)
class Board:
    """A workspace in which ``cider`` has two versions, and requests take one approval.

    Attributes:
        tokens: by person: ann asks, bob and carol approve.
    """

    url: str
    tokens: dict[str, str]

    def ask(self, who: str, method: str, path: str, **body: Any) -> Any:
        """Return what the API says to somebody."""
        headers = {"authorization": f"Bearer {self.tokens[who]}"}
        answer = requests.request(method, self.url + path, headers=headers, json=body or None, timeout=60)
        assert answer.ok, (path, answer.text)
        return answer.json()

    def request(self, version: int, alias: str, reason: str) -> str:
        """Return the id of a request of ann's."""
        body = {"version": version, "alias": alias, "reason": reason}
        return str(self.ask("ann", "POST", "/v1/models/cider/transitions", **body)["transition"]["request_id"])

    def state(self, request_id: str) -> dict[str, Any]:
        """Return a request."""
        said: dict[str, Any] = self.ask("ann", "GET", f"/v1/models/cider/transitions/{request_id}")["transition"]
        return said


@pytest.fixture(scope="module")
def board(desk: Desk) -> Board:
    token = token_of_workspace(desk.running, "board")
    board = Board(desk.running.url, {"admin": token})
    for who, role in (("ann", "contributor"), ("bob", "approver"), ("carol", "approver")):
        grants = [{"role": role}]
        board.tokens[who] = board.ask("admin", "POST", "/v1/access/tokens", actor=who, grants=grants)["token"]
    times = {"t": {"type": "timestamp"}}
    sales = {
        "prefix": "sales/",
        "columns": {"id": {"type": "string"}, "sold": {"type": "integer"}, **times},
        "key": ["sold"],
        "event_time": "t",
    }
    declared = {
        "id_column": "id", "time_column": "t", "request": {"id": "string"}, "views": [], "inputs": ["id"],
        "label": {"source": "sales", "column": "sold", "above": 1}, "trainer": "code:fit",
        "gates": {"gates": ["data_known", "metric_floor"], "floor": 0.6, "approvals": 1},
    }  # fmt: skip
    project = {"name": "press", "sources": {"sales": sales}, "models": {"cider": declared}}
    board.ask("admin", "POST", "/v1/projects", project=project)
    board.ask("ann", "POST", f"{ML}/registered-models/create", name="cider", description="How much cider will be sold.")
    for _ in range(2):
        tags = {"modelwright.dataset_digest": "d1", "modelwright.metric.auc": "0.75"}
        known = [{"key": key, "value": value} for key, value in tags.items()]
        board.ask("ann", "POST", f"{ML}/model-versions/create", name="cider", source="s3://x/y", tags=known)
    sections = {"owner": "Team Press", "intended_use": "Tells *how much* is pressed.\n\n- in autumn"}
    board.ask("ann", "PUT", "/v1/models/cider/versions/1/card", sections=sections)
    return board


@pytest.fixture
def stranger(browser: Browser, board: Board, shots: Path) -> Iterator[Visitor]:
    yield from visiting(browser, board.url, shots)


@pytest.fixture
def bob(browser: Browser, board: Board, shots: Path) -> Iterator[Visitor]:
    """An approver who has signed in."""
    yield from visiting(browser, board.url, shots, signed_in(browser, board, "bob"))


@pytest.fixture
def ann(browser: Browser, board: Board, shots: Path) -> Iterator[Visitor]:
    """Somebody who asks, and has signed in."""
    yield from visiting(browser, board.url, shots, signed_in(browser, board, "ann"))


def signed_in(browser: Browser, board: Board, who: str) -> StorageState:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{board.url}/login?to=/health")
    sign_in(Visitor(page, board.url, Path()), board.tokens[who])
    page.wait_for_url(f"{board.url}/health")
    state = context.storage_state()
    context.close()
    return state


def sign_in(visitor: Visitor, token: str) -> None:
    visitor.page.get_by_label("Token").fill(token)
    visitor.page.get_by_role("button", name="Sign in").click()


def press(visitor: Visitor, button: str) -> None:
    visitor.page.get_by_role("button", name=button, exact=True).click()


def test_a_link_to_a_request_leads_through_the_form_to_an_approval_by_click(stranger: Visitor, board: Board) -> None:
    request_id = board.request(1, "champion", "the first one")
    stranger.open(f"console/models/cider/requests/{request_id}")
    sign_in(stranger, board.tokens["bob"])
    stranger.see("cider v1 as champion", "waits for approval, 0 of 1", "the first one", "data_known", "metric_floor")
    stranger.keep("request-waiting")
    stranger.page.get_by_label("Comment").fill("looked at the winter weeks")
    press(stranger, "Approve")
    stranger.see("applied")
    stranger.keep("request-applied")
    said = board.state(request_id)
    assert (said["state"], said["decided_by"]) == ("applied", "bob")
    assert [(each["actor"], each["comment"]) for each in said["approvals"]] == [("bob", "looked at the winter weeks")]
    held = board.ask("ann", "GET", f"{ML}/registered-models/alias?name=cider&alias=champion")
    assert held["model_version"]["version"] == "1"


def test_a_rejection_needs_a_reason(bob: Visitor, board: Board) -> None:
    request_id = board.request(2, "challenger", "maybe")
    bob.open("console/approvals")
    bob.page.get_by_role("link", name="cider v2 as challenger").click()
    press(bob, "Reject")
    bob.see("Say why it is rejected.")
    assert board.state(request_id)["state"] == "waiting"
    bob.page.get_by_label("Comment").fill("not before the harvest")
    press(bob, "Reject")
    bob.see("rejected", "not before the harvest")
    bob.keep("request-rejected")
    assert board.state(request_id)["why"] == "rejected"


def test_who_asked_cannot_approve_but_withdraw(ann: Visitor, board: Board) -> None:
    request_id = board.request(2, "challenger", "mine")
    ann.open(f"console/models/cider/requests/{request_id}")
    ann.see("You asked for this, so somebody else has to approve it.")
    expect(ann.page.get_by_role("button", name="Approve")).to_have_count(0)
    press(ann, "Withdraw")
    ann.see("withdrawn")
    assert board.state(request_id)["why"] == "withdrawn"


def test_a_decision_that_comes_too_late_is_told_so(bob: Visitor, board: Board) -> None:
    request_id = board.request(2, "challenger", "both at once")
    bob.open(f"console/models/cider/requests/{request_id}")
    board.ask("carol", "POST", f"/v1/models/cider/transitions/{request_id}/reject", reason="no")
    bob.expected.append("/approve")
    press(bob, "Approve")
    bob.see(re.compile("is decided"))
    bob.keep("request-too-late")
    expect(bob.page.get_by_role("button", name="Approve")).to_be_enabled()


def test_a_model_its_versions_and_a_card_are_found_by_links(bob: Visitor, board: Board) -> None:
    bob.open("console")
    bob.page.get_by_role("link", name="Models", exact=True).click()
    bob.page.get_by_role("link", name="cider", exact=True).click()
    bob.see("How much cider will be sold.", "cider was born")
    bob.keep("console-model")
    bob.page.get_by_role("link", name="v2", exact=True).first.click()
    bob.see("Team Press", "how much")
    expect(bob.page.get_by_text("Carried over from v1 and not confirmed").first).to_be_visible()
    bob.keep("console-card")
    bob.page.get_by_role("link", name="HTML", exact=True).click()
    bob.see("Team Press")
    assert bob.page.url.endswith("/v1/models/cider/versions/2/card?format=html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_telephone(bob: Visitor, board: Board, scheme: Any) -> None:
    listed = board.ask("ann", "GET", "/v1/models/cider/transitions")["transitions"]
    request_id = listed[0]["request_id"] if listed else board.request(2, "challenger", "so that there is one")
    bob.page.set_viewport_size({"width": NARROW, "height": 800})
    bob.page.emulate_media(color_scheme=scheme)
    places = ("models", "models/cider", "models/cider/versions/1", f"models/cider/requests/{request_id}", "approvals")
    for place in places:
        bob.open(f"console/{place}")
        width = bob.page.evaluate("document.documentElement.scrollWidth")
        assert width <= NARROW, f"{place} is {width} wide"
        bob.keep(f"narrow-{scheme}-{place.split('/')[-1][:8]}")
