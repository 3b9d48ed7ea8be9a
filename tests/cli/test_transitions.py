"""``modelwright transitions`` over the registry's own function, behind a port."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from registry.panel import Panel
from support.http import ServedBlobs, serve
from typer.testing import CliRunner, Result

from modelwright import plugins
from modelwright.cli.commands import app
from modelwright.errors import Conflict, Forbidden
from registry import panel

Run = Callable[..., Result]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Panel:
    monkeypatch.setattr(plugins, "entry_points", panel.entry_points)
    made = Panel(policy={"gates": ["light"], "approvals": 1, "approve": ["champion"]}, versions=9)
    made.now = datetime.now(UTC)  # as the command's own requests are
    return made


@pytest.fixture
def run(desk: Panel) -> Iterator[Run]:
    """Run a command as ``ann``, who is an administrator here."""
    with serve([desk.registry], ServedBlobs()) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["transitions", *arguments, "--endpoint", url])


def test_who_asks_is_told_what_became_of_it(desk: Panel, run: Run) -> None:
    said = run("request", "flights", "1", "challenger", "--reason", "better on Mondays")
    assert said.exit_code == 0, said.output
    first, why, gate = said.output.splitlines()
    assert "flights v1 -> challenger  applied, asked by ann at 2" in first
    assert (why, gate) == ("  asked because: better on Mondays", "  yes  light: light looked at v1")
    waiting = run("request", "flights", "2", "champion").output.splitlines()
    assert "flights v2 -> champion  waits for 1 more approval, asked by ann" in waiting[0]
    assert waiting[-1].startswith("  expires at 2")


def test_a_refusal_is_an_error_with_every_reason(desk: Panel, run: Run) -> None:
    said = run("request", "flights", "7", "challenger")
    assert isinstance(said.exception, Conflict)
    assert "light: light looked at v7" in str(said.exception)
    assert run("request", "flights", "7", "challenger", "--force", "--reason", "outage").exit_code == 0
    assert "NO   light: light looked at v7" in run("show", "flights", newest(run)).output


def test_what_others_asked_for_is_listed_and_approved(desk: Panel, run: Run) -> None:
    assert run("list").output == "nothing waits for your approval\n"
    assert run("list", "flights").output == "nobody asked for a version of flights\n"
    request = desk.ask(1, actor="bob")["request_id"]
    assert run("list").output.startswith(f"{request}  flights v1 -> champion  waits for 1 more approval")
    said = run("approve", "flights", request, "--comment", "fine \x1b[31m")
    assert "applied, asked by bob" in said.output
    assert "  approved by ann at 2" in said.output
    assert "UTC: fine  [31m" in said.output
    assert run("list").output == "nothing waits for your approval\n"
    assert "applied" in run("list", "flights").output


def test_a_request_is_rejected_or_taken_back(desk: Panel, run: Run) -> None:
    one = desk.ask(1, actor="bob")["request_id"]
    assert "refused (rejected by ann: no card)" in run("reject", "flights", one, "--reason", "no card").output
    assert run("reject", "flights", one).exit_code == 2
    run("request", "flights", "2", "champion")
    own = newest(run)
    assert isinstance(run("approve", "flights", own).exception, Forbidden)
    assert "refused (withdrawn by ann)" in run("withdraw", "flights", own).output


def test_programs_get_json(desk: Panel, run: Run) -> None:
    made = json.loads(run("request", "flights", "1", "champion", "--json").output)
    assert json.loads(run("show", "flights", made["request_id"], "--json").output) == made
    assert json.loads(run("list", "flights", "--json").output) == [made]
    assert json.loads(run("list", "--json").output) == []


def newest(run: Run) -> str:
    found: list[dict[str, Any]] = json.loads(run("list", "flights", "--json").output)
    return str(found[0]["request_id"])
