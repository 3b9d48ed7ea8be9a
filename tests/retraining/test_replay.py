"""History is told again: to the policy that ran, which decides the same, and to others, which do not."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryTables
from modelwright.cli.replay import others_of
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import (
    Estimate,
    Finding,
    PerformanceDegraded,
    PerformanceEstimated,
    QualityFailed,
    QuarantineReleased,
    TrainingDeclined,
    Window,
)
from modelwright.governance.projects import policies_of
from modelwright.project import Project
from modelwright.retraining import counterfactual, rejudging, whatif
from modelwright.retraining.differences import Comparison, compare
from modelwright.retraining.ordering import history_of
from modelwright.retraining.whatif import Past
from retraining.diary import Diary
from retraining.stage import START, project

ALL = ("performance", "age", "new_data", "schedule", "manual")
ENDLESS = (START - timedelta(days=9999), START + timedelta(days=9999))


def quarantined(diary: Diary, identity: str) -> QualityFailed:
    finding = Finding(check="range", severity="block", text="too hot")
    end = diary.stage.now
    return QualityFailed(
        source="weather", upload_key="k", upload_version="v", quarantine_id=identity, quarantine_key="q", rows=3,
        findings=(finding,), window=Window(start=end - timedelta(days=1), end=end),
    )  # fmt: skip


def year(diary: Diary, weeks: int = 20) -> Diary:
    """Live through weeks with quarantines, falls, wishes and schedules, as the diary's seed has it."""
    if not diary.champion:
        diary.new_champion()
        diary.bring()
    for week in range(weeks):
        held = f"q{week} {diary.stage.now}" if diary.random.random() < 0.3 else ""
        if held:
            diary.happens(("SOURCE#weather", quarantined(diary, held)))
        diary.labels_come(0.7 - week / 200, degraded=diary.random.random() < 0.5)
        for number in range(diary.random.randrange(3)):
            diary.wish(100 * week + number)
        diary.due()
        diary.bring()
        if held:
            released = QuarantineReleased(source="weather", quarantine_id=held, reason="sent again")
            diary.happens(("SOURCE#weather", released))
        diary.stage.pass_days(7)
    diary.bring()
    return diary


def compared(diary: Diary, after: Project, period: tuple[datetime, datetime] = ENDLESS) -> Comparison:
    past = Past.read(diary.envelopes(), diary.declared, "flights")
    return compare(past, diary.declared, after, period, MemoryTables)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), queue=st.booleans(), cooldown=st.sampled_from([0, 21]))
def test_the_policy_that_ran_decides_the_same_however_late_and_in_what_disorder_it_was_told(
    seed: int, queue: bool, cooldown: int
) -> None:
    declared = project(
        triggers=ALL, queue=queue, queue_limit=3, cooldown_days=cooldown, max_age_days=21, min_new_labels=1_500,
        budget=0.2, min_gain=0.01,
    )  # fmt: skip
    diary = year(Diary(declared, seed=seed, unlucky=0.2), weeks=9)
    past = Past.read(diary.envelopes(), declared, "flights")
    assert len(past.of(*whatif.DECISIONS)) >= 3
    history = history_of(past, declared, MemoryTables())
    assert history.first_difference == ""
    told = compare(past, declared, declared, ENDLESS, MemoryTables)
    assert told.first_difference == ""
    assert [one.event.reason for one in told.other.decisions if hasattr(one.event, "reason")] == [
        one.event.reason for one in told.history.decisions if hasattr(one.event, "reason")
    ]
    assert told.other.spent == told.history.spent == pytest.approx(spent(past))
    assert told.lines()[-1] == "no decision is another"


def spent(past: Past) -> float:
    return sum(float(one.event.cost) for one in past.of("TrainingCompleted", "TrainingFailed"))


def test_another_policy_is_not_taken_for_the_one_that_ran() -> None:
    """Of a log from before it told which did."""
    diary = year(Diary(project(triggers=ALL, cooldown_days=0, budget=0.5), seed=4))
    envelopes = [one for one in diary.envelopes() if one["type"] != "ProjectApplied"]
    past = Past.read(envelopes, diary.declared, "flights")
    other = project(triggers=ALL, cooldown_days=21, budget=0.5)
    assert history_of(past, other, MemoryTables()).first_difference.startswith("recorded was ")
    told = compare(past, diary.declared, other, ENDLESS, MemoryTables)
    assert told.first_difference == ""
    assert "the project's policy ran: the log does not tell which did" in told.assumptions


POLICIES = st.fixed_dictionaries(
    {
        "triggers": st.sampled_from(
            [ALL, ("performance", "manual"), ("age", "manual"), ("new_data", "schedule", "manual")]
        ),
        "queue": st.booleans(),
        "cooldown_days": st.sampled_from([0, 7, 21]),
        "max_age_days": st.sampled_from([14, 35]),
        "min_new_labels": st.sampled_from([700, 1_500]),
        "budget": st.sampled_from([0.1, 9.0]),
    }
)


@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 10**6), policies=st.lists(POLICIES, min_size=2, max_size=3))
def test_history_is_reproduced_with_the_policies_that_ran_when_they_changed_on_the_way(
    seed: int, policies: list[dict[str, Any]]
) -> None:
    diary = year(Diary(project(**policies[0]), seed=seed, unlucky=0.2), weeks=4)
    for policy in policies[1:]:
        diary.apply(project(**policy))
        year(diary, weeks=4)
    diary.wish(0)  # and its answer tells what was heard before it
    last = diary.declared
    for period in (ENDLESS, (START + timedelta(days=35), ENDLESS[1])):
        told = compared(diary, last, period)
        assert told.first_difference == ""
    since = (diary.changed, ENDLESS[1])
    told = compared(diary, last, since)
    assert told.lines()[-1] == "no decision is another", "for of this period it was the one that ran"
    assert told.other.spent == told.history.spent


def test_a_policy_that_was_changed_half_way_ran_only_since_then() -> None:
    diary = falling(8, cooldown_days=7)
    diary.apply(project(triggers=("performance",), budget=9.0, cooldown_days=35))
    live(diary, 12)
    told = compared(diary, diary.declared, (diary.changed, ENDLESS[1]))
    assert (told.first_difference, told.lines()[-1]) == ("", "no decision is another")
    whole = compared(diary, diary.declared)
    assert whole.first_difference == ""
    assert whole.other.count("Requested") < whole.history.count("Requested") == len(diary.requested())


def test_a_recorded_policy_that_is_none_any_more_is_named() -> None:
    diary = falling(2)
    for one in diary.envelopes():
        if one["type"] == "ProjectApplied":
            one["data"]["policies"]["flights"]["retraining"]["colour"] = "red"
            past = Past.read([one, *diary.envelopes()[1:]], diary.declared, "flights")
            with pytest.raises(InvalidInput, match=r"the policy of model flights of 2013-03-04 00:00 can no longer"):
                history_of(past, diary.declared, MemoryTables())


# --- what another policy does ------------------------------------------------------------


def falling(weeks: int = 12, **retraining: Any) -> Diary:
    """A champion falls a little more each week and each fall is told; a new one begins anew."""
    diary = Diary(project(triggers=("performance",), budget=9.0, **retraining), late=0.0)
    diary.random.seed(3)
    diary.new_champion()
    diary.bring()
    return live(diary, weeks)


def live(diary: Diary, weeks: int) -> Diary:
    age = 0
    for _ in range(weeks):
        before = diary.champion
        diary.labels_come(0.72 - age / 100, degraded=age >= 2)
        diary.bring()
        age = 0 if diary.champion != before else age + 1
        diary.stage.pass_days(7)
    return diary


def test_a_longer_cooldown_trains_less_and_what_was_not_trained_was_not_paid_nor_in_charge() -> None:
    diary = falling(cooldown_days=7)
    told = compared(diary, project(triggers=("performance",), budget=9.0, cooldown_days=35))
    ours, theirs = told.history, told.other
    assert told.first_difference == ""
    assert ours.count("Requested") == len(diary.requested()) > theirs.count("Requested") > 0
    assert theirs.spent < ours.spent
    assert theirs.imagined == 0 or counterfactual.AS_THE_OTHERS in told.assumptions
    (auc,) = [outcome for outcome in told.outcomes if outcome.metric == "auc"]
    assert auc.known < auc.windows == 12
    assert auc.estimate is not None
    text = "\n".join(told.lines())
    assert "the policy that ran reproduces all" in text
    assert f"unknown in {auc.windows - auc.known} of 12 windows" in text
    assert "- 2013-" in text


def test_no_money_trains_nothing_and_the_first_model_stays_in_charge() -> None:
    diary = falling(cooldown_days=7)
    told = compared(diary, project(triggers=("performance",), budget=0.0, cooldown_days=7))
    assert (told.other.count("Requested"), told.other.spent) == (0, 0.0)
    assert {window.champion for window in told.other.windows} == {1}
    reasons = [one.event.reasons[-1] for one in told.other.decisions if isinstance(one.event, TrainingDeclined)]
    assert any("the budget of $0.00" in reason for reason in reasons)


def test_what_never_was_costs_as_the_others_and_nothing_is_said_of_its_model() -> None:
    diary = falling(cooldown_days=35)
    told = compared(diary, project(triggers=("performance",), budget=9.0, cooldown_days=0))
    assert told.other.count("Requested") > told.history.count("Requested")
    assert told.other.imagined > 0
    extra = told.other.imagined * told.history.spent / told.history.count("Requested")
    assert told.other.spent == pytest.approx(told.history.spent + extra, rel=0.35)
    assert {counterfactual.AS_THE_OTHERS, counterfactual.NEVER_WAS} <= set(told.assumptions)
    assert None in {window.champion for window in told.other.windows}
    assert told.json()["other"]["imagined"] == told.other.imagined


def test_before_the_period_the_policy_that_ran_decides() -> None:
    diary = falling(cooldown_days=7)
    whole = compared(diary, project(triggers=(), budget=9.0))
    half = START + timedelta(days=42)
    told = compared(diary, project(triggers=(), budget=9.0), (half, ENDLESS[1]))
    assert whole.other.decisions == told.other.decisions == []
    assert len(told.history.decisions) < len(whole.history.decisions)
    assert all(one.envelope.at >= half for one in told.history.decisions)
    assert len(told.other.windows) == 6


def test_higher_thresholds_leave_alarms_out() -> None:
    diary = falling(cooldown_days=7)
    quiet = diary.declared.model_dump()
    quiet["models"]["flights"]["monitoring"]["auc_fall"] = 0.5
    told = compared(diary, Project.model_validate(quiet))
    assert len(told.history.alarms) > 0
    assert (told.other.alarms, told.other.count("Requested")) == ([], 0)
    assert rejudging.FEWER_ALARMS in told.assumptions


def test_lower_thresholds_find_alarms_in_the_recorded_figures() -> None:
    diary = falling(cooldown_days=7)
    loud = diary.declared.model_dump()
    loud["models"]["flights"]["monitoring"]["auc_fall"] = 0.005
    told = compared(diary, Project.model_validate(loud))
    assert len(told.other.alarms) > len(told.history.alarms)
    assert rejudging.MORE_ALARMS in told.assumptions


@pytest.mark.parametrize(
    ("changes", "assumed"),
    [
        ({"min_rows": 100_000}, "windows were judged with min_rows 300, as recorded: what 100000 finds is unknown"),
        ({"look_backs": [9]}, "windows were judged with look_backs 1, 2, as recorded: what 9 finds is unknown"),
        ({"streams": ["adwin"]}, "streams adwin did not run, so that their alarms are unknown"),
        ({"estimators": ["cbpe"]}, "estimators cbpe did not run, so that their alarms are unknown"),
        ({"alpha": 1e-9}, "windows were judged with alpha 0.05: for 1e-09, by the recorded intervals alone"),
    ],
)
def test_what_recorded_figures_cannot_tell_of_another_policy_is_said(changes: dict[str, Any], assumed: str) -> None:
    told = compared(falling(4, cooldown_days=7), watching(changes))
    assert assumed in told.assumptions
    assert f"assumed: {assumed}" in told.lines()


def watching(changes: dict[str, Any]) -> Project:
    return with_monitoring(project(triggers=("performance",), budget=9.0, cooldown_days=7), changes)


def test_a_smaller_chance_of_false_alarms_leaves_out_what_chance_explains() -> None:
    diary = falling(cooldown_days=7)
    wide = [falls(0.66, error=0.02), falls(0.66, error=0.0005)]
    past = Past.read(diary.envelopes(), diary.declared, "flights")
    history = history_of(past, diary.declared, MemoryTables())
    old, new = (watching({"alpha": alpha}).model("flights").monitoring for alpha in (0.05, 1e-9))
    assert [rejudging._loud_enough(event, old, new, history) for event in wide] == [False, True]
    assert [rejudging._loud_enough(event, old, old, history) for event in wide] == [True, True]


def falls(auc: float, error: float) -> PerformanceDegraded:
    window = Window(start=START, end=START + timedelta(days=7))
    value = Estimate(value=auc, low=auc - 1.96 * error, high=auc + 1.96 * error)
    return PerformanceDegraded(
        model="flights", version=1, window=window, metric="auc", value=value, reference=0.72, reason="AUC fell"
    )


def test_alarms_of_detectors_and_estimators_that_another_policy_does_without_are_left_out() -> None:
    declared = project(triggers=("performance", "estimated_performance"), budget=9.0, cooldown_days=0)
    declared = with_monitoring(declared, {"streams": ["ddm"], "estimators": ["cbpe"]})
    diary = Diary(declared, late=0.0)
    diary.new_champion()
    diary.bring()
    stream = falls(0.3, 0.01).model_copy(update={"metric": "error (ddm)", "reference": 0.2})
    estimate = PerformanceEstimated(
        model="flights", version=1, window=stream.window, estimator="cbpe", metric="auc", rows=99,
        value=stream.value, reference=0.7, degraded=True, assumes="much",
    )  # fmt: skip
    for event in (stream, estimate):
        diary.labels_come(0.7)
        diary.happens(("PERFORMANCE#flights", event.model_copy(update={"version": diary.champion})))
        diary.bring()
        diary.stage.pass_days(7)
    without: list[dict[str, list[str]]] = [{"streams": []}, {"estimators": []}, {"streams": [], "estimators": []}]
    for dropped in without:
        told = compared(diary, with_monitoring(declared, dropped))
        assert (told.first_difference, len(told.history.alarms)) == ("", 2)
        assert len(told.other.alarms) == 2 - len(dropped)


def with_monitoring(declared: Project, changes: dict[str, Any]) -> Project:
    document = declared.model_dump(mode="json")
    document["models"]["flights"]["monitoring"].update(changes)
    return Project.model_validate(document)


def test_an_hourly_schedule_is_known_from_what_it_decided() -> None:
    declared = project(triggers=("age",), max_age_days=2, cooldown_days=0, budget=9.0)
    diary = Diary(declared, late=0.0)
    diary.new_champion()
    diary.bring()
    for hour in range(24 * 5):
        diary.stage.pass_days(1 / 24)
        if hour % 24 == 0:
            diary.labels_come(0.7)
        diary.due()
        diary.bring()
    assert len(diary.requested()) >= 2
    older = project(triggers=("age",), max_age_days=1, cooldown_days=0, budget=9.0)
    told = compared(diary, older)
    assert told.first_difference == ""
    assert told.schedule.startswith("the schedule was due hourly")
    assert told.other.count("Requested") > told.history.count("Requested")
    hours = {one.envelope.at - START for one in told.other.decisions}
    assert timedelta(days=1) in hours, "at the very hour at which it was a day old"


def test_a_schedule_that_jumps_is_known_at_the_times_that_decisions_tell() -> None:
    declared = project(triggers=("age",), max_age_days=10, cooldown_days=0, budget=9.0)
    diary = Diary(declared, late=0.0)
    diary.new_champion()
    diary.bring()
    for _ in range(6):
        diary.stage.pass_days(7)
        diary.due()
        diary.bring()
    told = compared(diary, declared)
    assert told.first_difference == ""
    assert told.schedule.startswith("the schedule was not due hourly in this history")
    assert told.lines()[-1] == "no decision is another"


# --- files -------------------------------------------------------------------------------


def test_a_file_says_what_is_otherwise_and_all_else_stays(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("[models.flights.retraining]\nbudget = 1.5\n[models.flights.monitoring]\nauc_fall = 0.1\n")
    (other,) = others_of(file, project(reserve=0.01)).values()
    model = other.model("flights")
    assert (model.retraining.budget, model.retraining.reserve) == (1.5, 0.01)
    assert (model.monitoring.auc_fall, model.label) == (0.1, project().model("flights").label)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[models.flights.retraining]\nbudjet = 1\n", "models.flights: retraining.budjet"),
        ("[models.boats.retraining]\nbudget = 1\n", "model boats is not in project demo"),
        ("[models.flights]\ninputs = []\n", r"no table \[models.NAME.retraining\]"),
        ("nonsense", "is no TOML"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_its_fault(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "other.toml"
    file.write_text(text)
    with pytest.raises((InvalidInput, NotFound), match=told):
        others_of(file, project())


def test_a_model_that_the_log_does_not_know_is_named() -> None:
    with pytest.raises(NotFound, match="the log says nothing of model flights"):
        Past.read([], project(), "flights")


def test_figures_for_programs_are_json() -> None:
    told = compared(falling(cooldown_days=7), project(triggers=("performance",), budget=0.0, cooldown_days=7))
    assert json.loads(json.dumps(told.json()))["reproduced"] is True


def test_the_log_is_told_the_policies_of_models_that_are_new_or_changed_alone() -> None:
    first, second = project(budget=1.0), project(budget=2.0)
    told = policies_of(None, first)["flights"]
    assert (
        Project.model_validate(first.model_dump()).model("flights").retraining.model_dump(mode="json")
        == (told["retraining"])
    )
    assert set(told) == {"retraining", "monitoring"}
    assert policies_of(first, first) == {}
    assert policies_of(first, second)["flights"]["retraining"]["budget"] == 2.0
