"""``modelwright replay``, over the functions behind a loopback port."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from retraining.diary import Diary
from retraining.stage import project
from retraining.test_replay import year
from support.http import ServedBlobs, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app
from modelwright.errors import InvalidInput

Run = Callable[..., Result]


@pytest.fixture
def diary() -> Diary:
    return year(Diary(project(triggers=("performance", "manual"), cooldown_days=21, budget=9.0), seed=3), weeks=12)


@pytest.fixture
def run(diary: Diary) -> Iterator[Run]:
    wiring = memory_wiring(tables=diary.stage.tables)
    with serve([handler_of("console", wiring), handler_of("registry", wiring)], ServedBlobs()) as url:
        yield lambda *arguments: CliRunner().invoke(app, ["replay", *arguments, "--endpoint", url])


def test_the_policy_that_ran_reproduces_history_and_another_does_otherwise(
    diary: Diary, run: Run, tmp_path: Path
) -> None:
    same, other = tmp_path / "same.toml", tmp_path / "other.toml"
    same.write_text("[models.flights.retraining]\ncooldown_days = 21\n")
    other.write_text("[models.flights.retraining]\ncooldown_days = 0\n")
    said = run("--policy", str(same)).stdout
    assert "recorded decisions exactly" in said
    assert "no decision is another" in said
    (told,) = json.loads(run("--policy", str(other), "--json").stdout)
    assert told["model"] == "flights"
    assert "retrain" in run("--policy", str(other)).stdout


def test_a_bad_policy_or_period_is_named(run: Run, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    assert isinstance(run("--policy", str(policy)).exception, InvalidInput)
    policy.write_text("[models.flights.retraining]\ncooldown = 3\n")
    assert "cooldown" in str(run("--policy", str(policy)).exception)
    policy.write_text("[models.flights.retraining]\ncooldown_days = 3\n")
    bad = run("--policy", str(policy), "--from", "2026-02-01T00:00:00Z", "--to", "2026-01-01T00:00:00Z")
    assert isinstance(bad.exception, InvalidInput)
