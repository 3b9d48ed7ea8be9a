"""``modelwright features backfill`` and ``backfills``, over the functions behind a loopback port."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from features.test_parity_service import Deployed
from features.window_cases import PROJECT, START, sale
from support.http import ServedBlobs, deliver, serve
from typer.testing import CliRunner, Result

from modelwright.cli import backfills
from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.log import Log

Run = Callable[..., Result]
APPLIED = PROJECT.model_copy(update={"digest": "f" * 64})


class Prompt:
    """The function ``features``, with a bus that brings backfills to ``materialize`` at once while it is up."""

    def __init__(self, stack: Deployed) -> None:
        self.stack = stack
        self.routes = stack.features.routes
        self.up = True
        self.before: Callable[[], None] = lambda: None

    def __call__(self, event: dict[str, Any]) -> Any:
        answer = self.stack.features(event)
        if self.up:
            self.before()
            for item in Log(self.stack.tables).read("WS#default#SOURCE#sales"):
                if item.envelope.type == "BackfillRequested":
                    deliver(self.stack.materialize, item.envelope)
        return answer


@pytest.fixture
def stack() -> Deployed:
    made = Deployed(APPLIED, ServedBlobs())
    made.push("sales", [sale(f"s{n}", 7 * n, lag=11, amount=n / 4, pieces=n) for n in range(40)], START)
    made.fold(START + timedelta(hours=5))
    return made


@pytest.fixture
def bus(stack: Deployed) -> Prompt:
    return Prompt(stack)


@pytest.fixture
def run(stack: Deployed, bus: Prompt) -> Iterator[Run]:
    blobs: Any = stack.blobs
    function: Any = bus
    with serve([function], blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["features", *arguments, "--endpoint", url])


def test_a_backfill_is_asked_for_and_awaited(run: Run) -> None:
    said = run("backfill", "sales", "--view", "hours", "--view", "visit")
    assert said.exit_code == 0, (said.output, said.exception)
    (line,) = said.stdout.splitlines()
    assert " completed sales (hours, visit): " in line
    assert line.endswith(" items written")
    assert " rows read" in line
    assert "it goes on if you stop waiting" in said.stderr
    assert run("backfills").stdout.splitlines() == [line]


def test_backfills_are_listed_newest_first_with_how_far_they_are(run: Run, bus: Prompt) -> None:
    assert run("backfills").stdout == "there was no backfill\n"
    assert run("backfill", "sales").exit_code == 0
    bus.up = False
    asked = run("backfill", "sales", "--start", START.isoformat(), "--end", "2030-01-01", "--no-wait", "--json")
    assert json.loads(asked.stdout)["window"]["end"] == "2030-01-01T00:00:00Z"
    newest, first = run("backfills").stdout.splitlines()
    assert (
        f" requested sales (all views {START:%Y-%m-%d %H:%M:%S} to 2030-01-01 00:00:00): nothing is done yet" in newest
    )
    assert " completed sales (all views): " in first
    assert [one["state"] for one in json.loads(run("backfills", "--json").stdout)] == ["requested", "completed"]


def test_waiting_tells_how_far_it_is_once_and_ends_when_it_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    steps: list[dict[str, Any]] = [
        {"steps": 0, "of": 0},
        {"steps": 1, "of": 4},
        {"steps": 1, "of": 4},
        {"state": "completed", "phase": ""},
    ]
    waits: list[float] = []
    api: Any = Answering([{**RUNNING, **step} for step in steps])
    assert backfills.awaited(api, "b", pause=waits.append)["state"] == "completed"
    assert [line.partition(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "step 0 of 0, hours; 1,200 rows read, 7 items written",
        "step 1 of 4, hours; 1,200 rows read, 7 items written",
    ]
    assert len(waits) == 3


def test_one_that_failed_ends_with_its_reason(run: Run, stack: Deployed, bus: Prompt) -> None:
    bus.before = lambda: stack.apply(APPLIED.model_copy(update={"sources": {}, "views": {}}))
    said = run("backfill", "sales")
    assert isinstance(said.exception, Refused)
    assert "has no source sales any more" in str(said.exception)
    (line,) = run("backfills").stdout.splitlines()
    assert " failed    sales (all views): project " in line
    assert line.endswith("has no source sales any more; 0 rows read, 0 items written")


def test_what_makes_no_sense_is_refused(run: Run) -> None:
    for arguments, kind, text in (
        (("purchases",), NotFound, "there is no source purchases"),
        (("sales", "--view", "weeks"), NotFound, "source sales has no view weeks"),
        (("sales", "--start", "2026-01-01"), InvalidInput, "--start and --end go together"),
        (("sales", "--start", "soon", "--end", "later"), InvalidInput, "'soon' is no time"),
        (("sales", "--start", "2026-02-01", "--end", "2026-01-01"), InvalidInput, "not after its start"),
    ):
        said = run("backfill", *arguments)
        assert isinstance(said.exception, kind), (arguments, said.output)
        assert text in str(said.exception)


RUNNING = {
    "backfill_id": "b", "state": "running", "source": "sales", "views": ["hours"], "window": None,
    "requested_at": datetime.isoformat(START), "phase": "hours", "rows": 1200, "online_items": 7, "reason": "",
}  # fmt: skip


class Answering:
    """An API that gives one answer after the other."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers = answers

    def get(self, path: str) -> Any:
        assert path == "/v1/features/backfills/b"
        return self.answers.pop(0)
