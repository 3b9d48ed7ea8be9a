"""``modelwright alerts``, ``silences`` and ``incidents``, over the functions behind a loopback port."""

import json
from collections.abc import Callable, Iterator

import pytest
from support.http import ServedBlobs, deliver, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.adapters.memory import MemoryNotifier
from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Envelope, TrainingFailed
from modelwright.runtime import Function
from modelwright.wiring import Wiring

Run = Callable[..., Result]
URL = "https://hooks.slack.com/services/T0/B0/secret"


@pytest.fixture
def wiring() -> Wiring:
    wiring = memory_wiring()
    wiring.cache["notifiers"] = {"slack": MemoryNotifier()}
    return wiring


@pytest.fixture
def notify(wiring: Wiring) -> Function:
    return handler_of("notify", wiring)


@pytest.fixture
def run(wiring: Wiring, notify: Function) -> Iterator[Run]:
    with serve([notify, handler_of("console", wiring)], ServedBlobs()) as url:
        yield lambda *arguments, **more: CliRunner().invoke(app, [*arguments, "--endpoint", url], **more)


def test_a_channel_is_added_with_a_secret_from_standard_input_tried_and_removed(wiring: Wiring, run: Run) -> None:
    added = run("alerts", "add", "ops", "slack", "--option", "where=-", "--tier", "critical", input=f"{URL}\n")
    assert added.stdout == "ops is told; try it: modelwright alerts test ops\n"
    shown = run("alerts", "channels").stdout
    assert "ops                  slack    critical  where (kept secret)" in shown
    assert URL not in shown + run("alerts", "channels", "--json").stdout
    assert run("alerts", "test", "ops").stdout == "sent\n"
    assert [notice.state for notice in wiring.cache["notifiers"]["slack"].sent] == ["test"]
    assert isinstance(run("alerts", "add", "x", "slack", "--option", "where").exception, InvalidInput)
    run("alerts", "remove", "ops")
    assert run("alerts", "channels").stdout == ""
    assert isinstance(run("alerts", "test", "ops").exception, NotFound)


def test_a_silence_is_made_shown_and_ended(run: Run) -> None:
    identity = run("silences", "add", "quarantine/", "we know", "--for", "3h").stdout.strip()
    assert "quarantine/" in run("silences", "list").stdout
    assert json.loads(run("silences", "list", "--json").stdout)[0]["active"]
    run("silences", "end", identity)
    assert run("silences", "list").stdout == ""
    assert isinstance(run("silences", "add", "x", "y", "--for", "soon").exception, InvalidInput)


def test_what_is_wrong_is_listed_and_closed(notify: Function, run: Run) -> None:
    failed = TrainingFailed(training_id="t", model="flights", reason="no rows")
    envelope = Envelope(
        id="0" * 26, type="TrainingFailed", schema_version=1, workspace="default", stream="WS#default#TRAINING#flights",
        sequence=1, at="2026-01-01T00:00:00Z", actor="platform", correlation_id="c", data=failed.model_dump(),
    )  # fmt: skip
    deliver(notify, envelope)
    listed = run("incidents", "list").stdout
    assert "model/flights/training (x1)" in listed
    assert "training t failed: no rows" in listed
    identity = json.loads(run("incidents", "list", "--json").stdout)[0]["incident_id"]
    run("incidents", "close", identity, "it was the test data")
    assert run("incidents", "list").stdout == ""
    assert "closed" in run("incidents", "list", "--all").stdout


def test_series_are_listed_once_there_are_any(run: Run) -> None:
    assert run("alerts", "series").stdout == ""
    assert isinstance(run("alerts", "series", "model/x/auc").exception, NotFound)
