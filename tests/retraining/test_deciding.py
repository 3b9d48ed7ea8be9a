"""When a training happens, and why not."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound, PluginError, Refused
from modelwright.events import (
    AliasChanged,
    ColumnDrift,
    DriftDetected,
    Event,
    Judgement,
    ModelVersionCreated,
    QuarantineReleased,
    RolloutRolledBack,
    RolloutStarted,
    TrainingDeclined,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from modelwright.project import current_key
from modelwright.retraining import deciding, ending, jobs, store
from modelwright.retraining.triggers import Trigger
from modelwright.storage import Delete
from retraining.hands import (
    TRIGGERS,
    Recorder,
    ask,
    degraded,
    end,
    failed_quality,
    follow,
    measured,
    note,
    refusals,
    schedule,
    training,
    week,
)
from retraining.stage import WALL, WS, Stage, project


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    named = ("performance", "estimated_performance", "drift_evidence", "age", "manual")
    made.apply(project(triggers=named, max_age_days=56))
    version = ModelVersionCreated(
        model="flights",
        version=1,
        source="s",
        artifact_key="default/m/",
        features=("temp", "hour"),
        artifact_digest="d",
    )
    note(made, deciding.note_version, version)
    made.pass_days(-30)
    note(made, deciding.note_champion, AliasChanged(model="flights", alias="champion", version=1, previous=None))
    made.pass_days(30)
    return made


def test_a_degraded_champion_is_retrained_with_all_that_the_trainer_needs(stage: Stage) -> None:
    follow(stage, deciding.follow_degraded, degraded(stage))
    (event,) = stage.happened()
    assert isinstance(event, TrainingRequested)
    assert (event.trigger, event.reason, event.champion) == ("performance", "worse", 1)
    found = training(stage)
    assert (found.champion_key, found.champion_digest) == ("default/m/", "d")
    assert found.champion_features == ("temp", "hour")
    assert found.window.end == stage.now
    ledger = store.load_ledger(stage.tables, WS, "flights", "2013-03")
    assert (ledger.reserved, ledger.spent) == (50_000, 0)


def test_one_delivery_is_one_training(stage: Stage) -> None:
    delivery = stage.delivery(degraded(stage))
    for _ in range(2):
        deciding.follow_degraded(
            stage.call, delivery, wall=WALL, tables=stage.tables, log=stage.log, triggers=TRIGGERS.__getitem__
        ) if not stage.log.handled("retraining", delivery) else None
    assert len(stage.happened()) == 1


def test_every_reason_against_a_training_is_told_at_once(stage: Stage) -> None:
    follow(stage, deciding.follow_labels, measured(stage))
    follow(stage, deciding.follow_degraded, degraded(stage))
    end(stage, cost=0.10)
    note(stage, deciding.note_quarantine, failed_quality(stage))
    started = RolloutStarted(rollout_id="r1", model="flights", challenger=2, champion=1, percent=10)
    note(stage, deciding.note_rollout, started)
    worse = degraded(stage)
    stage.pass_days(1)
    follow(stage, deciding.follow_degraded, worse)
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    text = " | ".join(declined.reasons)
    for part in (
        "source weather is in quarantine",
        "no labels came",
        "cooldown of 21",
        "rollout r1",
        "budget of $0.12",
    ):
        assert part in text
    assert len(declined.reasons) == 5


def test_a_quarantine_of_a_source_that_feeds_the_model_vetoes_until_it_is_released(stage: Stage) -> None:
    note(stage, deciding.note_quarantine, failed_quality(stage, "boats"))
    note(stage, deciding.note_quarantine, failed_quality(stage))
    with pytest.raises(Refused, match="weather is in quarantine"):
        ask(stage)
    note(stage, deciding.note_quarantine, QuarantineReleased(source="weather", quarantine_id="q1", reason="sent again"))
    assert ask(stage)["training_id"]


def test_rows_held_back_from_an_accepted_file_veto_nothing(stage: Stage) -> None:
    note(stage, deciding.note_quarantine, failed_quality(stage, scope="rows"))
    assert ask(stage)["training_id"]


def test_a_release_that_arrives_before_its_quarantine_counts(stage: Stage) -> None:
    note(stage, deciding.note_quarantine, QuarantineReleased(source="weather", quarantine_id="q1", reason="sent again"))
    note(stage, deciding.note_quarantine, failed_quality(stage))
    assert ask(stage)["training_id"]


def test_a_quarantine_older_than_the_training_window_is_no_veto(stage: Stage) -> None:
    note(stage, deciding.note_quarantine, failed_quality(stage, window=week(stage)))
    stage.pass_days(366)
    assert ask(stage)["training_id"]


def test_drift_trains_nothing_and_is_told_as_evidence(stage: Stage) -> None:
    column = ColumnDrift(column="temp", detector="psi", effect=0.5, floor=0.1, p_value=0.001, drifted=True)
    drift = DriftDetected(source="weather", window=week(stage), reference="r", columns=(column,))
    note(stage, deciding.note_drift, drift)
    assert stage.happened() == []
    follow(stage, deciding.follow_degraded, degraded(stage))
    event = stage.happened()[0]
    assert isinstance(event, TrainingRequested)
    assert "weather drifted in 2013-02-25/2013-03-04: temp" in event.reason


def test_a_complaint_about_a_former_champion_trains_nothing(stage: Stage) -> None:
    follow(stage, deciding.follow_degraded, degraded(stage, version=7))
    assert stage.happened() == []


def test_the_cooldown_is_of_domain_time_and_a_failed_training_starts_none(stage: Stage) -> None:
    ask(stage)
    end(stage, failed=True)
    stage.pass_days(1)
    follow(stage, deciding.follow_degraded, degraded(stage))
    assert isinstance(stage.happened()[-1], TrainingRequested)
    end(stage)
    stage.pass_days(20)
    with pytest.raises(Refused, match=r"cooldown of 21 days ends in 1\.0 days"):
        ask(stage)
    assert deciding.show(stage.call, "flights", tables=stage.tables)["cooldown_left_s"] == 86_400
    stage.pass_days(1)
    assert ask(stage)["training_id"]


def test_only_one_training_runs_at_a_time(stage: Stage) -> None:
    ask(stage)
    with pytest.raises(Refused, match="is running"):
        ask(stage)
    assert [event.detail_type() for event in stage.happened()] == ["TrainingRequested", "TrainingDeclined"]


def test_a_rollout_bars_trainings_until_it_ends_in_whichever_order_its_events_come(stage: Stage) -> None:
    begun = RolloutStarted(rollout_id="r", model="flights", challenger=2, champion=1, percent=10)
    judgement = Judgement(rows=0, mean=0, low=-1, high=1)
    ended = RolloutRolledBack(
        rollout_id="r", model="flights", challenger=2, champion=1, reason="harm", judgement=judgement
    )
    note(stage, deciding.note_rollout, ended, sequence=12)
    note(stage, deciding.note_rollout, begun, sequence=11)
    assert ask(stage)["training_id"]


def test_the_budget_is_reserved_settled_and_renewed_with_the_month(stage: Stage) -> None:
    stage.apply(project(cooldown_days=0, budget=0.12, reserve=0.05))
    for _ in range(2):
        ask(stage)
        end(stage, cost=0.04)
    ledger = store.load_ledger(stage.tables, WS, "flights", "2013-03")
    assert (ledger.reserved, ledger.spent) == (0, 80_000)
    with pytest.raises(Refused, match=r"budget of \$0\.12 for 2013-03 has \$0\.0400 left"):
        ask(stage)
    stage.pass_days(28)
    assert ask(stage)["training_id"]
    assert deciding.show(stage.call, "flights", tables=stage.tables)["ledger"]["reserved"] == 0.05


def test_a_champion_that_is_new_is_given_time_before_the_first_training() -> None:
    stage = Stage()
    stage.apply(project())
    note(stage, deciding.note_champion, AliasChanged(model="flights", alias="champion", version=1, previous=None))
    stage.pass_days(20)
    with pytest.raises(Refused, match="cooldown"):
        ask(stage)
    stage.pass_days(1)
    assert ask(stage)["training_id"]


def test_a_failed_training_costs_what_it_cost_and_releases_what_it_reserved(stage: Stage) -> None:
    ask(stage)
    end(stage, cost=0.03, failed=True)
    ledger = store.load_ledger(stage.tables, WS, "flights", "2013-03")
    assert (ledger.reserved, ledger.spent) == (0, 30_000)
    assert store.load_standing(stage.tables, WS, "flights").training == ""


def test_after_a_failure_the_next_training_waits_twice_as_long_each_time_up_to_the_cooldown(stage: Stage) -> None:
    stage.apply(project(budget=9, cooldown_days=5))
    for times, wait in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (5, 5.0)):
        assert refusals(stage) == ()
        end(stage, failed=True)
        stage.pass_days(0.5)
        row = f" {times} times in a row" if times > 1 else ""
        reasons = (f"the last training failed{row}; the next may begin in {wait - 0.5} days",)
        assert refusals(stage) == deciding.show(stage.call, "flights", tables=stage.tables)["against"] == reasons
        stage.pass_days(wait - 0.5)
    assert refusals(stage) == ()
    end(stage)
    standing = store.load_standing(stage.tables, WS, "flights")
    assert (standing.failures, standing.failed) == (0, None)


def test_a_policy_without_cooldown_waits_after_failures_all_the_same(stage: Stage) -> None:
    stage.apply(project(budget=9, cooldown_days=0, retry_hours=12))
    for _ in range(3):
        assert refusals(stage) == ()
        end(stage, failed=True)
        stage.pass_days(0.25)
        assert "the next may begin in 0.2 days" in refusals(stage)[0]
        stage.pass_days(0.25)


def test_a_training_remembers_who_asked_for_it(stage: Stage) -> None:
    ask(stage, call=replace(stage.call, actor="ann"))
    assert training(stage).requested_by == "ann"


def test_a_person_need_not_wait_after_a_failure_but_is_bound_by_the_budget(stage: Stage) -> None:
    for _ in range(2):
        ask(stage)
        end(stage, cost=0.04, failed=True)
    with pytest.raises(
        Refused, match=r"no training of flights: the budget of \$0\.12 .* has \$0\.0400 left"
    ) as refused:
        ask(stage)
    assert "failed" not in str(refused.value)


def test_age_and_new_labels_train_when_the_policy_names_them(stage: Stage) -> None:
    stage.pass_days(25)
    schedule(stage)
    assert stage.happened() == []
    stage.pass_days(1)
    schedule(stage)
    assert isinstance(stage.happened()[0], TrainingRequested)
    end(stage)
    stage.apply(project(triggers=("new_data",), min_new_labels=150, cooldown_days=0))
    follow(stage, deciding.follow_labels, measured(stage))
    assert len(stage.happened()) == 1
    stage.pass_days(7)
    follow(stage, deciding.follow_labels, measured(stage))
    assert isinstance(stage.happened()[1], TrainingRequested)


def test_the_same_refusal_of_an_hourly_schedule_is_said_once_though_its_words_count_the_days(stage: Stage) -> None:
    stage.apply(project(triggers=("schedule", "manual")))
    ask(stage)
    end(stage)
    for _ in range(48):
        stage.pass_days(1 / 24)
        schedule(stage)
    assert [event.detail_type() for event in stage.happened()] == ["TrainingRequested", "TrainingDeclined"]
    note(stage, deciding.note_quarantine, failed_quality(stage))
    for _ in range(3):
        stage.pass_days(1 / 24)
        schedule(stage)
    said = stage.happened()[-1]
    assert len(stage.happened()) == 3, "another reason is said"
    assert isinstance(said, TrainingDeclined)
    assert "weather is in quarantine" in said.reasons[0]


def test_each_fall_of_the_champion_is_refused_in_words_of_its_own(stage: Stage) -> None:
    note(stage, deciding.note_quarantine, failed_quality(stage))
    assert refusals(stage) == refusals(stage) == ("source weather is in quarantine (q1)",)


def test_a_requested_training_is_started_once_however_often_it_is_delivered(stage: Stage) -> None:
    ask(stage)
    delivery, recorder = stage.delivery(stage.happened()[0]), Recorder()
    for _ in range(3):
        jobs.start(stage.call, delivery, tables=stage.tables, log=stage.log, trainers=recorder.named)
    assert len(recorder.jobs) == 1
    assert [type(event) for event in stage.happened()] == [TrainingRequested, TrainingStarted]
    assert training(stage).job == "job-1"


def test_a_training_that_never_ends_is_failed_by_the_schedule_in_wall_time(stage: Stage) -> None:
    ask(stage)
    stage.pass_days(3)
    schedule(stage, hours=0.5)
    assert len(stage.happened()) == 1
    schedule(stage, hours=1.5)
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    note(stage, ending.settle, failed)
    ledger = store.load_ledger(stage.tables, WS, "flights", "2013-03")
    assert (ledger.reserved, ledger.spent) == (0, 50_000)
    assert ask(stage)["training_id"]


def test_without_a_project_a_schedule_has_nothing_to_do_but_fail_what_hangs(stage: Stage) -> None:
    ask(stage)
    stage.tables.write([Delete("governance", current_key(WS))])
    schedule(stage, hours=1.5)
    assert isinstance(stage.happened()[-1], TrainingFailed)


def test_a_manual_request_needs_a_model_a_reason_a_grant_and_a_policy_that_takes_it(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="say why"):
        ask(stage, " ")
    with pytest.raises(NotFound, match="boats"):
        deciding.show(stage.call, "boats", tables=stage.tables)

    def nobody(action: str, resource: str) -> None:
        raise Forbidden(f"{action} {resource}")

    with pytest.raises(Forbidden, match="retraining:request model/flights"):
        ask(stage, call=Call(WS, "a", stage.now, "c", nobody))
    stage.apply(project(triggers=("performance",)))
    with pytest.raises(Refused, match="does not take the trigger manual"):
        ask(stage)


def test_two_quarantines_and_their_ends_in_any_order_leave_no_veto() -> None:
    for order in itertools.permutations(range(4)):
        stage = Stage()
        stage.apply(project())
        said: list[Event] = [
            failed_quality(stage, identity="a"),
            failed_quality(stage, identity="b"),
            QuarantineReleased(source="weather", quarantine_id="a", reason="r"),
            QuarantineReleased(source="weather", quarantine_id="b", reason="r"),
        ]
        for place in order:
            note(stage, deciding.note_quarantine, said[place])
        assert store.open_quarantines(stage.tables, WS, ["weather"]) == ()


# --- what is counted, and what goes wrong -------------------------------------------------


def test_labels_that_join_no_prediction_are_no_new_data(stage: Stage) -> None:
    stage.apply(project(triggers=("new_data",), min_new_labels=150, cooldown_days=0))
    for joined in (0, 0, 100):
        stage.pass_days(7)
        follow(stage, deciding.follow_labels, measured(stage).model_copy(update={"joined": joined}))
    assert stage.happened() == []
    stage.pass_days(7)
    follow(stage, deciding.follow_labels, measured(stage).model_copy(update={"joined": 50}))
    assert isinstance(stage.happened()[0], TrainingRequested)


def test_evidence_names_some_columns_and_counts_the_rest(stage: Stage) -> None:
    for _ in range(12):
        columns = tuple(drifted(f"{'c' * 300}{number}") for number in range(1000))
        event = DriftDetected(source="weather", window=week(stage), reference="r", columns=columns)
        note(stage, deciding.note_drift, event)
    ask(stage)
    reason = training(stage).reason
    assert "and 990 more" in reason
    assert len(reason) < 15_000


def drifted(column: str) -> ColumnDrift:
    return ColumnDrift(column=column, detector="ks", effect=1.0, floor=0.1, p_value=0.0, drifted=True)


@pytest.mark.parametrize("trigger", ["nonsense", "broken"])
def test_a_model_whose_trigger_fails_keeps_no_other_from_the_schedule(stage: Stage, trigger: str) -> None:
    declared = project(triggers=("schedule",), cooldown_days=0)
    flights = declared.models["flights"]
    wrong = flights.model_copy(update={"retraining": flights.retraining.model_copy(update={"triggers": (trigger,)})})
    stage.apply(declared.model_copy(update={"models": {"apples": wrong, "flights": flights, "pears": wrong}}))

    def named(name: str) -> Trigger:
        if name == "nonsense":
            raise PluginError("there is no trigger nonsense")
        return Broken() if name == "broken" else TRIGGERS[name]

    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "triggers": named}
    for _ in range(3):  # as Lambda repeats what raises
        with pytest.raises(PluginError, match=f"model apples: .*{trigger}.*; model pears: .*{trigger}"):
            ending.follow_schedule(stage.call, "retrain/1", wall=WALL, **options)
    assert [event.detail_type() for event in stage.happened()] == ["TrainingRequested"]


class Broken:
    """A trigger of somebody's that does not work."""

    def fires(self, cause: Any, standing: Any, policy: Any, now: Any) -> str:
        return str(1 // 0)


def test_the_same_schedule_asks_once_however_often_it_comes(stage: Stage) -> None:
    stage.apply(project(triggers=("schedule",), cooldown_days=0, queue=True, budget=9.0))
    for _ in range(3):
        schedule(stage)
    assert [event.detail_type() for event in stage.happened()] == ["TrainingRequested"]
