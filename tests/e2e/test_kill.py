"""``up`` ends in the middle of a replay and is started again: nothing was lost and nothing done twice."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from e2e import shell
from e2e.almanac import raw_flights

pytestmark = pytest.mark.e2e

WEEKS = 3


@dataclass(frozen=True)
class Resumed:
    """Two sittings of one replay.

    Attributes:
        broken: the sitting in whose middle the stack was stopped.
        resumed: the one after it.
        before: the log's event ids after week 1, of what was written when the stack was started again.
        after: those of the whole log at the end.
        verified: what ``modelwright log verify`` said at the end.
    """

    folder: Path
    broken: shell.Watched
    broken_code: int
    up_code: int
    resumed: shell.Said
    before: list[str]
    after: list[str]
    verified: shell.Said


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Resumed:
    folder = tmp_path_factory.mktemp("kill")
    up = ("up", "--virtual-time", "--port", str(shell.free_port()))
    demo = ("demo", "--weeks", str(WEEKS), "--report", "out.json")
    with shell.Watched(up, folder) as first:
        first.wait_for("http://", 60)
        with shell.Watched(demo, folder) as broken:
            broken.wait_for("week  1", 120)
            first.process.terminate()
            broken_code = broken.end()
        up_code = first.end()
    with shell.Watched(up, folder) as second:
        second.wait_for("http://", 60)
        before = [envelope["id"] for envelope in shell.exported(folder, folder / "before.jsonl")]
        said = shell.run(*demo, folder=folder, limit_s=180)
        after = [envelope["id"] for envelope in shell.exported(folder, folder / "after.jsonl")]
        verified = shell.run("log", "verify", folder=folder)
    return Resumed(folder, broken, broken_code, up_code, said, before, after, verified)


def test_up_ends_cleanly_when_it_is_told_to(resumed: Resumed) -> None:
    assert resumed.up_code == 0


def test_the_demo_whose_stack_is_gone_says_so_in_one_line(resumed: Resumed) -> None:
    assert resumed.broken_code == 1
    said = [line for line in resumed.broken.errors if not line.startswith(("Created version", "Successfully"))]
    assert len(said) == 1, said
    assert "the local stack was stopped" in said[0]
    assert "`modelwright demo` again" in said[0]


def test_the_next_demo_goes_on_after_the_finished_weeks(resumed: Resumed) -> None:
    assert resumed.resumed.code == 0, resumed.resumed
    again = [line for line in resumed.resumed.lines if "is champion" in line]
    assert again == [], "the first model was made again"
    assert [line[:7] for line in resumed.resumed.lines if line.startswith("week  ") and "champion" in line] == [
        f"week  {number}" for number in range(1, WEEKS + 1)
    ]


def test_no_event_of_before_is_lost_and_the_chain_is_whole(resumed: Resumed) -> None:
    assert set(resumed.before) <= set(resumed.after)
    assert max(Counter(resumed.after).values()) == 1
    assert resumed.verified.code == 0, resumed.verified


def test_every_flight_was_predicted_exactly_once_all_the_same(resumed: Resumed) -> None:
    report = json.loads((resumed.folder / "out.json").read_text())
    predictions = pd.read_parquet(report["predictions"])
    answered = predictions[predictions["route"].isin(["champion", "canary"])]
    assert Counter(answered["flight_id"]) == Counter(raw_flights(WEEKS)["flight_id"])
    assert report["flights"]["faults"] == []
    assert report["deliveries"]["expected"] == report["deliveries"]["handled"] > 0
    assert report["dead_letters"] == 0
