"""The report as a fold over the log, the predictions and what functions counted."""

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.made import FAULT_WEEK, PROMOTED, WEEKS, log, made_report, outcomes, rollout, training
from modelwright.demo import cost, report
from modelwright.demo.chronicle import Chronicle, week_of
from modelwright.demo.cost import PRICES, Training
from modelwright.demo.data import weeks
from modelwright.demo.report import Report
from modelwright.events import TrainingFailed, TrainingRequested, Window

KEYS = {
    "static", "loop", "no_information", "auc_difference", "flights", "weeks", "retrainings", "rollouts", "rollbacks",
    "quarantines", "declined", "incidents", "parity", "chain", "dead_letters", "deliveries", "cost", "seconds",
    "predictions", "options",
}  # fmt: skip
ITEMS = log().items


@pytest.fixture(scope="module")
def made() -> Report:
    return made_report(120)


def test_the_document_has_its_keys_and_is_strict_json(made: Report, tmp_path: Path) -> None:
    assert set(made) == KEYS
    assert set(made["static"]) == set(made["loop"]) == {"auc", "brier"}
    assert set(made["auc_difference"]) == {"value", "low", "high", "resampled"}
    report.write(made, tmp_path / "demo" / "report.json")
    assert report.read(tmp_path / "demo" / "report.json") == json.loads(json.dumps(made))


def test_retrainings_tell_what_became_of_them(made: Report) -> None:
    outcome = {row["version"]: row["outcome"] for row in made["retrainings"]}
    assert outcome == {
        2: "promoted",
        3: "promoted",
        4: "promoted",
        6: "promoted",
        7: "promoted",
        8: "promoted",
        9: "refused",
    }
    first = made["retrainings"][0]
    assert (first["week"], first["trigger"], first["rows"], first["seconds"]) == (5, "performance", 32_000, 4.5)


def test_rollouts_have_their_steps_and_their_end(made: Report) -> None:
    first = made["rollouts"][0]
    assert (first["challenger"], first["champion"], first["outcome"], first["forced"]) == (2, 1, "promoted", "")
    assert [step["percent"] for step in first["steps"]] == [10, 50, 100]
    assert first["ended"] == WEEKS[6].start.isoformat()
    assert [r["challenger"] for r in made["rollouts"] if r["outcome"] == "promoted"] == [c for _, c, _ in PROMOTED]


def test_the_planted_challenger_was_forced_and_rolled_back(made: Report) -> None:
    forced = [r for r in made["rollouts"] if r["forced"]]
    assert [(r["challenger"], r["outcome"]) for r in forced] == [(5, "rolled_back")]
    assert [(r["challenger"], "margin" in r["reason"]) for r in made["rollbacks"]] == [(5, True)]


def test_quarantines_have_their_reasons_and_their_end(made: Report) -> None:
    (held,) = made["quarantines"]
    assert (held["source"], held["upload"], held["scope"]) == ("weather", "weather/2013-03-22.parquet", "file")
    assert len(held["reasons"]) == 2, "what only warned is no reason"
    assert held["released"] == (WEEKS[FAULT_WEEK - 1].start + timedelta(days=2)).isoformat()
    assert [row["number"] for row in made["weeks"] if row["quarantined"]] == [FAULT_WEEK]
    assert made["incidents"][0]["closed"] == held["released"]


def test_weeks_show_the_step_and_not_the_share_that_chance_gave(made: Report) -> None:
    assert [(row["canary"], row["canary_percent"]) for row in made["weeks"][4:7]] == [(2, 10), (2, 50), (None, 0)]


def test_everything_told_lies_in_its_week(made: Report) -> None:
    for row in made["weeks"]:
        for happening in row["events"]:
            assert row["start"] <= happening["at"] < row["end"]


def test_the_first_champion_is_told(made: Report) -> None:
    assert made["weeks"][0]["events"][0]["text"] == "v1 is the first champion."


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_disorder_and_repetition_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    items = [*ITEMS, *chance.sample(ITEMS, 20)]
    chance.shuffle(items)
    ours, theirs = Chronicle(items, "flights"), Chronicle(ITEMS, "flights")
    assert ours.rollouts == theirs.rollouts
    assert ours.retrainings(WEEKS) == theirs.retrainings(WEEKS)
    assert ours.happenings() == theirs.happenings()
    assert ours.quarantines() == theirs.quarantines()


@settings(max_examples=30, deadline=None)
@given(kept=st.sets(st.integers(0, len(ITEMS) - 1)))
def test_a_log_with_gaps_breaks_nothing(kept: set[int]) -> None:
    chronicle = Chronicle([ITEMS[n] for n in sorted(kept)], "flights")
    chronicle.retrainings(WEEKS)
    chronicle.happenings()
    for row in chronicle.rollouts:
        assert row["outcome"] in ("running", "promoted", "rolled_back")


def test_other_models_and_unknown_events_are_left_out() -> None:
    newer = ITEMS[0].envelope.model_copy(update={"id": "x", "type": "WrittenByNewerCode"})
    items = [*ITEMS, type(ITEMS[0])(newer, "", "")]
    assert Chronicle(items, "flights").happenings() == Chronicle(ITEMS, "flights").happenings()
    assert Chronicle(ITEMS, "trains").rollouts == []


def test_what_has_not_ended_is_still_on_its_way() -> None:
    made = log()
    at = WEEKS[40].start
    requested = TrainingRequested(
        training_id="t", model="flights", trigger="manual", reason="", trainer="lambda", champion=8, reserved=0.0,
        window=Window(start=at, end=at),
    )  # fmt: skip
    made.model(at, requested)
    assert Chronicle(made.items, "flights").retrainings(WEEKS)[-1]["outcome"] == "running"
    made.model(at, TrainingFailed(training_id="t", model="flights", reason="out of memory"))
    assert Chronicle(made.items, "flights").retrainings(WEEKS)[-1]["outcome"] == "failed"
    training(made, WEEKS[42].start, 10, "manual", "why not")
    assert Chronicle(made.items, "flights").retrainings(WEEKS)[-1]["outcome"] == "registered"
    rollout(made, 43, 10, 8)
    begun = [
        i
        for i in made.items
        if i.envelope.data.get("rollout_id") != "rollout-10" or i.envelope.type == "RolloutStarted"
    ]
    begun = [i for i in begun if i.envelope.data.get("alias") != "champion" or i.envelope.data["version"] != 10]
    row = Chronicle(begun, "flights").rollouts[-1]
    assert (row["challenger"], row["outcome"], row["ended"]) == (10, "running", None)
    assert Chronicle(begun, "flights").retrainings(WEEKS)[-1]["outcome"] == "canary"


def test_times_outside_of_all_weeks_go_to_the_nearest() -> None:
    assert week_of(WEEKS[0].start - timedelta(days=40), WEEKS) == 1
    assert week_of(WEEKS[0].start - timedelta(days=1), weeks()) == 0
    assert week_of(WEEKS[-1].end, WEEKS) == 48


def test_a_log_without_items_is_not_verified() -> None:
    assert not report.chain_of([], 0, 0)["verified"]
    assert report.chain_of(["x is broken"], 1, 5)["breaks"] == ["x is broken"]


# --- cost --------------------------------------------------------------------------------


def test_cost_is_counted_from_outcome_lines() -> None:
    found = cost.estimate(outcomes(), {"predict": 2048}, events=1_000, trainings=(), weeks=48, predictions=10_000)
    units = found["units"]
    assert (units["http_requests"], units["lambda_requests"], units["events"]) == (300, 601, 1_001)
    assert (units["dynamodb_read_units"], units["dynamodb_write_units"]) == (300 * 900, 150 * 830)
    assert units["lambda_gb_seconds"] == pytest.approx(300 * 0.31 * 2 + (150 * 0.82 + 0.02) / 8)
    assert found["total"] == pytest.approx(sum(units[name] * price for name, price in PRICES.items()))
    assert found["per_week"] == pytest.approx(found["total"] / 48)
    assert found["per_1000_predictions"] == pytest.approx(found["total"] / 10)


def test_a_training_counts_once_whoever_tells_of_it() -> None:
    def seconds(lines: list[dict[str, object]]) -> float:
        found = cost.estimate(lines, {"train": 4096}, events=0, trainings=[Training(5.0)], weeks=1, predictions=1)
        return found["units"]["lambda_gb_seconds"]

    assert seconds([]) == pytest.approx(20)
    assert seconds([{"service": "train", "ms": 6_000.0}]) == pytest.approx(24)


def test_memory_is_read_from_the_template() -> None:
    text = Path("template.yaml").read_text(encoding="utf-8")
    assert cost.memory_sizes(text)["train"] == 4096
