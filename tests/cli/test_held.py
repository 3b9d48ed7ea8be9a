"""``modelwright features held``: what was held, where it lies and why, from the log behind a loopback port."""

import json
from collections.abc import Callable, Iterator

import pytest
from features.feature_cases import Stack
from features.test_derived import NOW, project, reading
from support.http import ServedBlobs, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app

Run = Callable[..., Result]


@pytest.fixture
def stack() -> Stack:
    return Stack(project())


@pytest.fixture
def run(stack: Stack) -> Iterator[Run]:
    wiring = memory_wiring(tables=stack.tables)
    with serve([handler_of("console", wiring)], ServedBlobs()) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["features", "held", *arguments, "--endpoint", url])


def lines(run: Run, *arguments: str) -> list[str]:
    said = run(*arguments)
    assert said.exit_code == 0, (said.output, said.exception)
    return said.stdout.splitlines()


def test_where_nothing_is_held_that_is_said(run: Run, stack: Stack) -> None:
    assert lines(run) == ["no rows are held"]
    stack.upload("readings", [reading(3.0)], NOW)
    assert lines(run) == ["no rows are held"]
    assert lines(run, "levels", "--json") == ["[]"]


def test_held_rows_are_told_with_place_and_reason_and_whether_others_went_through_since(run: Run, stack: Stack) -> None:
    stack.upload("readings", [reading(900.0, sensor="big"), reading(3.0)], NOW)
    first, place, reason, advice = lines(run)
    assert first == ("levels: 1 rows of readings/x.parquet, 2026-01-05 12:00:00 UTC; nothing went through whole since")
    key = place.removeprefix("  lie in the lake at ")
    assert stack.blobs.get("lake", key).body[:4] == b"PAR1"
    assert reason == "  column level: beyond 1000.0 (held rows 1)"
    assert advice == "settle them: send them corrected, or repair the function and backfill"
    stack.upload("readings", [reading(901.0, sensor="big", known=3), reading(5.0, known=3)], NOW)
    assert [line.rpartition("; ")[2] for line in lines(run) if line.startswith("levels")] == [
        "nothing went through whole since"
    ] * 2
    stack.upload("readings", [reading(90.0, sensor="big", known=2)], NOW)
    assert [line.rpartition("; ")[2] for line in lines(run, "levels") if line.startswith("levels")] == [
        "others went through at 2026-01-05 12:00:00"
    ] * 2


def test_only_the_sources_that_are_named_are_told(run: Run, stack: Stack) -> None:
    stack.upload("readings", [reading(900.0, sensor="big"), reading(3.0)], NOW)
    assert lines(run, "readings") == ["no rows are held"]
    (found,) = json.loads(run("levels", "--json").stdout)
    assert (found["source"], found["rows"], found["whole_since"]) == ("levels", 1, None)
    assert found["reasons"] == ["column level: beyond 1000.0 (held rows 1)"]
