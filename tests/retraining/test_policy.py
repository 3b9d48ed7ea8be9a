"""What speaks against a training, and what a training is expected to bring."""

import math
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from monitoring.healing.test_repairing import caller, ward_of
from monitoring.healing.test_rules import lines
from monitoring.healing.ward import Ward
from scipy.stats import t as student
from support.http import handler_of, memory_wiring

from modelwright.errors import AlreadyHandled
from modelwright.events import (
    AliasChanged,
    ModelVersionCreated,
    PerformanceEstimated,
    QuarantineReleased,
    QuarantineRepaired,
    TrainingDeclined,
    TrainingRequested,
    Window,
)
from modelwright.governance.access import Grant
from modelwright.log import stream_of
from modelwright.monitoring import uploads
from modelwright.project import Project
from modelwright.retraining import deciding, gain, store
from modelwright.retraining import policy as rules
from modelwright.retraining.decision import circumstances
from modelwright.retraining.store import Gain
from modelwright.retraining.triggers import Cause
from retraining.hands import ask, completed, degraded, end, failed_quality, follow, measured, note, refusals, training
from retraining.stage import WS, Stage, project

NAMED = ("performance", "estimated_performance", "manual")


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(project(triggers=NAMED, cooldown_days=0, budget=9.0))
    note(made, deciding.note_champion, AliasChanged(model="flights", alias="champion", version=1, previous=None))
    made.pass_days(30)
    return made


def derived() -> Project:
    """Return the project with a weather that is made from a raw one, which is made from a feed."""
    declared = project(triggers=NAMED, cooldown_days=0).model_dump(mode="json")
    weather = declared["sources"]["weather"]
    for name, origin in (("feed", ""), ("raw", "feed"), ("weather", "raw")):
        made = {"source": origin, "function": "team:clean"} if origin else None
        declared["sources"][name] = {**weather, "prefix": "" if origin else "feed/", "derived": made}
    return Project.model_validate(declared)


def version(stage: Stage, number: int, training_id: str = "") -> None:
    """Let the registry have a version, and make it champion."""
    event = ModelVersionCreated(
        model="flights", version=number, source="s", artifact_key="default/m/", training_id=training_id
    )
    note(stage, deciding.note_version, event)
    alias = AliasChanged(model="flights", alias="champion", version=number, previous=None)
    note(stage, deciding.note_champion, alias)


# --- vetoes ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["feed", "raw", "weather", "arrivals"])
def test_a_quarantine_anywhere_along_the_origins_of_a_source_vetoes(stage: Stage, source: str) -> None:
    stage.apply(derived())
    note(stage, deciding.note_quarantine, failed_quality(stage, source))
    assert refusals(stage) == (f"source {source} is in quarantine (q1)",)


def test_a_policy_without_the_veto_trains_in_spite_of_a_quarantine(stage: Stage) -> None:
    stage.apply(project(triggers=NAMED, cooldown_days=0, veto_on_quarantine=False))
    note(stage, deciding.note_quarantine, failed_quality(stage))
    assert refusals(stage) == ()


def test_a_repair_that_is_taken_back_vetoes_until_what_it_opened_again_is_released(stage: Stage) -> None:
    """As monitoring tells it, of a file that was repaired, taken back and repaired once more."""
    ward = ward_of()
    ward.land("sales/9.csv", lines(degrees=lambda cell, n: repr((float(cell) - 32) * 5 / 9)))
    ward.heal("sales")
    (told,) = ward.events(QuarantineRepaired, "sales")
    again = ward.revert(told.quarantine_id, call=caller(Grant(role="admin")))
    hear(stage, ward)
    assert refusals(stage) == (f"source weather is in quarantine ({again.id})",)
    ward.repair(again.id, "unit_change")
    hear(stage, ward)
    assert uploads.quarantined(ward.call(), tables=ward.tables) == []
    assert refusals(stage) == ()


def hear(stage: Stage, ward: Ward) -> None:
    """Let retrain hear what it hears of a ward's source, as if that were the weather, in any order and again."""
    known = {type_.detail_type(): type_ for type_ in handler_of("retrain", memory_wiring()).consumers}
    told = [item.envelope for item in ward.log.read(stream_of(ward.workspace, "SOURCE", "sales"))]
    for envelope in sorted((one for one in told if one.type in known), key=lambda one: -one.sequence):
        event = known[envelope.type].model_validate({**envelope.data, "source": "weather", "window": None})
        with suppress(AlreadyHandled):
            note(stage, deciding.note_quarantine, event, sequence=envelope.sequence)


def test_a_quarantine_that_ended_does_not_begin_when_that_is_told_late(stage: Stage) -> None:
    released = QuarantineReleased(source="weather", quarantine_id="q1", reason="repaired")
    note(stage, deciding.note_quarantine, released)
    note(stage, deciding.note_quarantine, failed_quality(stage))
    note(stage, deciding.note_quarantine, released)
    assert refusals(stage) == ()


def test_a_decision_reads_no_quarantine_that_is_over(stage: Stage) -> None:
    for number in range(30):
        note(stage, deciding.note_quarantine, failed_quality(stage, identity=f"q{number}"))
        released = QuarantineReleased(source="weather", quarantine_id=f"q{number}", reason="sent again")
        note(stage, deciding.note_quarantine, released)
    assert stage.tables.query("retraining", f"WS#{WS}#QUARANTINES").items == ()
    assert refusals(stage) == ()


def test_a_decision_that_did_not_see_a_quarantine_cannot_be_committed_after_it(stage: Stage) -> None:
    before = store.load_standing(stage.tables, WS, "flights")
    note(stage, deciding.note_quarantine, failed_quality(stage))
    assert store.load_standing(stage.tables, WS, "flights").v == before.v + 1


def test_the_reference_is_broken_while_data_is_held_that_the_champion_learned_from(stage: Stage) -> None:
    stage.apply(project(triggers=NAMED, cooldown_days=0, window_days=28, budget=9.0))
    learned = stage.now - timedelta(days=14)
    ask(stage)
    version(stage, 2, training(stage).training_id)
    end(stage)
    stage.pass_days(60)
    held = Window(start=learned, end=learned + timedelta(days=1))
    note(stage, deciding.note_quarantine, failed_quality(stage, window=held))
    follow(stage, deciding.follow_degraded, degraded(stage, version=2))
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons == (
        "source weather is in quarantine (q1), and v2 learned from the time of that data: the reference is broken",
    )
    version(stage, 3)
    follow(stage, deciding.follow_degraded, degraded(stage, version=3))
    assert isinstance(stage.happened()[-1], TrainingRequested), "what v3 learned from is not known here"


def test_a_fall_of_nobody_is_no_reference() -> None:
    stage = Stage()
    stage.apply(project(triggers=NAMED))
    assert refusals(stage) == ("there is no reference: no version is known to be champion",)


def test_labels_that_are_overdue_bar_a_training(stage: Stage) -> None:
    for _ in range(4):
        follow(stage, deciding.follow_labels, measured(stage))
        stage.pass_days(7)
    stage.pass_days(14)
    follow(stage, deciding.follow_estimated, estimated(stage))
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons[0].startswith("labels are overdue: the newest are of 2013-04-24, 21.0 days old")
    assert declined.reasons[0].endswith("and they never got older than 7.0")


def test_labels_that_come_as_they_always_did_bar_nothing(stage: Stage) -> None:
    for _ in range(4):
        follow(stage, deciding.follow_labels, measured(stage))
        stage.pass_days(7)
    assert refusals(stage) == ()


def test_a_person_may_train_again_on_the_same_labels_for_the_code_may_be_another(stage: Stage) -> None:
    follow(stage, deciding.follow_labels, measured(stage))
    ask(stage)
    end(stage)
    assert ask(stage, "other parameters")["training_id"]
    end(stage)
    worse = degraded(stage)
    follow(stage, deciding.follow_degraded, worse)
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons[0].startswith("no labels came since the last training")


# --- estimates ---------------------------------------------------------------------------


def estimated(stage: Stage, **more: Any) -> PerformanceEstimated:
    said = {
        "model": "flights",
        "version": 1,
        "window": degraded(stage).window,
        "estimator": "cbpe",
        "metric": "auc",
        "rows": 900,
        "value": {"value": 0.61, "low": 0.60, "high": 0.62},
        "reference": 0.68,
        "degraded": True,
        "assumes": "the model is calibrated",
    }
    return PerformanceEstimated.model_validate({**said, **more})


def test_an_estimated_fall_of_the_champion_trains_and_tells_what_it_may_bring(stage: Stage) -> None:
    follow(stage, deciding.follow_estimated, estimated(stage, degraded=False))
    follow(stage, deciding.follow_estimated, estimated(stage, version=7))
    assert stage.happened() == []
    follow(stage, deciding.follow_estimated, estimated(stage))
    (requested,) = stage.happened()
    assert isinstance(requested, TrainingRequested)
    assert (requested.trigger, requested.reason) == (
        "estimated_performance",
        "auc 0.610 after 0.680, as cbpe estimates",
    )
    assert requested.expected_gain == pytest.approx(0.07)
    assert requested.cause is not None
    assert (requested.cause.kind, requested.cause.metric) == ("estimated", "auc")


# --- gain --------------------------------------------------------------------------------


def test_too_small_a_gain_is_declined_with_where_the_figure_comes_from(stage: Stage) -> None:
    stage.apply(project(triggers=NAMED, cooldown_days=0, budget=9.0, min_gain=0.05))
    follow(stage, deciding.follow_estimated, estimated(stage))
    end(stage, gain=0.035)
    stage.pass_days(7)
    follow(stage, deciding.follow_labels, measured(stage))
    follow(stage, deciding.follow_estimated, estimated(stage))
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons == (
        "the expected gain is less than 0.05: 0.0350 auc: it lost 0.0700, and the one training after a fall won back "
        "50% of it, which says little",
    )
    assert ask(stage, "other code")["gain_text"].startswith("0.0350 auc: what the one before it brought")


def test_nobody_can_say_what_a_first_training_brings_and_that_is_no_reason_against_it(stage: Stage) -> None:
    stage.apply(project(triggers=NAMED, cooldown_days=0, budget=9.0, min_gain=0.5))
    told = ask(stage)
    assert told["expected_gain"] is None
    assert told["gain_text"].startswith("nobody can say")
    shown = deciding.show(stage.call, "flights", tables=stage.tables)
    assert shown["expected_gain"]["value"] is None


def test_the_standing_keeps_what_the_last_ten_trainings_brought(stage: Stage) -> None:
    for number in range(12):
        ask(stage)
        end(stage, gain=number / 100)
    kept = store.load_standing(stage.tables, WS, "flights").gains
    assert [one.value for one in kept] == [number / 100 for number in range(2, 12)]
    assert deciding.show(stage.call, "flights", tables=stage.tables)["expected_gain"]["value"] == pytest.approx(0.065)


def test_a_training_that_was_compared_with_nobody_teaches_nothing(stage: Stage) -> None:
    ask(stage)
    end(stage)
    assert store.load_standing(stage.tables, WS, "flights").gains == ()


@given(st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=10))
def test_the_interval_is_the_prediction_interval_of_the_next_gain(values: list[float]) -> None:
    found = gain.expected([Gain(metric="auc", value=value) for value in values])
    mean, spread, count = float(np.mean(values)), float(np.std(values, ddof=1)), len(values)
    reach = float(student.ppf(0.975, count - 1)) * spread * math.sqrt(1 + 1 / count)
    assert found.value == pytest.approx(mean, abs=1e-12)
    low, high = (float(part) for part in found.text.split("between ")[1].split(")")[0].split(" and "))
    assert (low, high) == pytest.approx((mean - reach, mean + reach), abs=1.5e-4)


@example(fall=0.0234375, share=0.025, count=2)
@given(st.floats(0.01, 0.2), st.floats(0.0, 1.0), st.integers(2, 10))
def test_where_falls_always_came_back_by_the_same_share_that_share_is_expected(
    fall: float, share: float, count: int
) -> None:
    gains = [Gain(metric="auc", value=share * n / 100, fall=n / 100) for n in range(1, count + 1)]
    found = gain.expected(gains, Cause("performance", "e", "worse", 1, "auc", fall))
    assert found.value is not None
    assert found.value == pytest.approx(share * fall)
    won = re.search(rf"{count} trainings after a fall won back (\d+)% of it", found.text)
    assert won is not None
    assert abs(int(won[1]) / 100 - share) <= 0.005 + 1e-9


@pytest.mark.parametrize(
    ("metric", "value", "reference", "fall"),
    [("auc", 0.6, 0.7, 0.1), ("brier", 0.2, 0.15, 0.05), ("rmse", 9, 10, -1), ("calibration_gap", -0.03, 0.0, 0.03)],
)
def test_a_fall_is_positive_where_the_model_got_worse(metric: str, value: float, reference: float, fall: float) -> None:
    assert gain.fall_of(metric, value, reference) == pytest.approx(fall)


def test_gains_are_positive_where_the_new_model_is_better(stage: Stage) -> None:
    ask(stage)
    event = completed(training(stage), gain=0.02).model_copy(update={"metrics": {"rmse_difference": -3.0}})
    assert gain.brought(event, "rmse", 4.0) == (
        Gain(metric="auc", value=0.02),
        Gain(metric="rmse", value=3.0, fall=4.0),
    )


# --- one after the other -----------------------------------------------------------------


def test_broken_data_never_retrains_and_a_real_shift_retrains_once() -> None:
    """The policy as it is shipped: a broken feed makes the champion look worse each week; later the world changes."""
    stage = Stage()
    stage.apply(project(budget=5.0))
    version(stage, 1)
    for week in range(12):
        if week == 2:
            note(stage, deciding.note_quarantine, failed_quality(stage, window=degraded(stage).window))
        if week == 6:
            note(stage, deciding.note_quarantine, QuarantineReleased(source="weather", quarantine_id="q1", reason="r"))
        follow(stage, deciding.follow_labels, measured(stage))
        champion = store.load_standing(stage.tables, WS, "flights").champion or 0
        if 2 <= week < 6 or (week >= 8 and champion == 1):
            follow(stage, deciding.follow_degraded, degraded(stage, version=champion))
        if store.load_standing(stage.tables, WS, "flights").training:
            version(stage, 2, training(stage).training_id)
            end(stage)
        stage.pass_days(7)
    kinds = [event.detail_type() for event in stage.happened()]
    assert kinds == ["TrainingDeclined"] * 4 + ["TrainingRequested"]
    declined = [event for event in stage.happened() if isinstance(event, TrainingDeclined)]
    assert all("weather is in quarantine" in event.reasons[0] for event in declined)


def test_a_reason_keeps_its_identity_while_its_words_count_the_days(stage: Stage) -> None:
    stage.apply(project(cooldown_days=21))
    ask(stage)
    end(stage)
    declared = project(cooldown_days=21).model("flights")
    found: list[rules.Reason] = []
    for _ in range(2):
        standing = store.load_standing(stage.tables, WS, "flights")
        seen = circumstances(stage.call, standing, project(), declared, stage.tables)
        found += rules.against(standing, declared.retraining, seen)
        stage.pass_days(1)
    assert found[0].identity == found[1].identity
    assert found[0].text != found[1].text
