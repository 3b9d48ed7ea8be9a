"""What several tests look at, made once: a replay of twelve weeks and what it left."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from e2e import shell
from e2e.almanac import Sides, raw_flights
from modelwright.local.stack import Running, Stack

WEEKS = 12


@dataclass(frozen=True)
class Replayed:
    """A finished ``modelwright demo --fast``.

    Attributes:
        folder: where it ran.
        code: its exit status.
        lines: what it printed, with the seconds after which each line appeared.
        errors: what it printed to standard error.
        seconds: of wall time, from the start of the process to its end.
        invocations: every invocation of a function.
    """

    folder: Path
    code: int
    lines: list[tuple[float, str]]
    errors: list[str]
    seconds: float
    invocations: list[dict[str, Any]]

    @cached_property
    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "out.json").read_text()))

    @cached_property
    def predictions(self) -> pd.DataFrame:
        return pd.read_parquet(self.report["predictions"])

    @cached_property
    def flights(self) -> pd.DataFrame:
        return raw_flights(WEEKS)

    @cached_property
    def sides(self) -> Sides:
        return Sides.of(self.predictions, self.flights)


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Twelve weeks, as a user replays them."""
    folder = tmp_path_factory.mktemp("demo")
    command = ("demo", "--fast", "--report", "out.json", "--port", str(shell.free_port()))
    with shell.Watched(command, folder) as demo:
        code = demo.end(limit_s=600)
    printed = (folder / ".modelwright" / "invocations.jsonl").read_text().splitlines()
    invocations = [json.loads(line) for line in printed]
    return Replayed(folder, code, demo.lines, demo.errors, demo.seconds, invocations)


@dataclass(frozen=True)
class Aftermath:
    """The stack of the replay, started once more: its whole log and its dead letters."""

    envelopes: list[dict[str, Any]]
    verified: shell.Said
    dead_letters: int

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [envelope for envelope in self.envelopes if envelope["type"] in kinds]


@pytest.fixture(scope="session")
def aftermath(replayed: Replayed) -> Aftermath:
    started = shell.run("up", "--detach", "--virtual-time", folder=replayed.folder)
    assert started.code == 0, started
    try:
        envelopes = shell.exported(replayed.folder, replayed.folder / "log.jsonl")
        verified = shell.run("log", "verify", folder=replayed.folder)
        running = Stack(replayed.folder).status()
        assert running is not None
        letters = dead_letters(running)
    finally:
        shell.run("down", folder=replayed.folder)
    return Aftermath(envelopes, verified, letters)


def dead_letters(running: Running) -> int:
    queues = [url for name, url in running.outputs.items() if name.endswith("DeadLettersUrl")]
    asked = ["ApproximateNumberOfMessages"]
    sqs = running.client("sqs")
    found = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=asked)["Attributes"] for url in queues]
    assert found
    return sum(int(attributes["ApproximateNumberOfMessages"]) for attributes in found)
