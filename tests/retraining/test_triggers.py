"""What may cause a training, one by one."""

from datetime import timedelta

import pytest

from modelwright.project import RetrainingPolicy
from modelwright.retraining import triggers
from modelwright.retraining.store import Standing
from modelwright.retraining.triggers import Cause, CauseKind, Trigger
from retraining.stage import START

POLICY = RetrainingPolicy(max_age_days=30, min_new_labels=100)
CHAMPION = Standing(model="flights", champion=2, champion_since=START, labels_since=100)
KINDS: tuple[CauseKind, ...] = ("performance", "estimated", "drift", "labels", "schedule", "manual")


@pytest.mark.parametrize(
    ("trigger", "fires_on"),
    [
        (triggers.PerformanceTrigger(), {"performance"}),
        (triggers.EstimatedTrigger(), {"estimated"}),
        (triggers.DriftEvidence(), set()),
        (triggers.ScheduleTrigger(), {"schedule"}),
        (triggers.AgeTrigger(), {"labels", "schedule"}),
        (triggers.NewDataTrigger(), {"labels"}),
        (triggers.ManualTrigger(), {"manual"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_fires_on_what_it_is_about(trigger: Trigger, fires_on: set[CauseKind]) -> None:
    now = START + timedelta(days=31)
    causes = [Cause(kind, "id", "why", 2) for kind in KINDS]
    assert {cause.kind for cause in causes if trigger.fires(cause, CHAMPION, POLICY, now)} == fires_on


@pytest.mark.parametrize("trigger", [triggers.PerformanceTrigger(), triggers.EstimatedTrigger()])
@pytest.mark.parametrize(("champion", "fires"), [(2, True), (3, False), (None, True)])
def test_a_fall_counts_if_it_is_the_champions_or_nobody_knows_yet_who_is(
    trigger: Trigger, champion: int | None, fires: bool
) -> None:
    kinds: tuple[CauseKind, ...] = ("performance", "estimated")
    standing = CHAMPION.having(champion=champion)
    said = [trigger.fires(Cause(kind, "id", "worse", 2), standing, POLICY, START) for kind in kinds]
    assert any(said) == fires


@pytest.mark.parametrize(("days", "fires"), [(29, False), (30, True)])
def test_age_counts_from_the_newest_training_or_else_from_the_champion(days: int, fires: bool) -> None:
    trigger, cause, now = triggers.AgeTrigger(), Cause("schedule", "id"), START + timedelta(days=days)
    assert bool(trigger.fires(cause, CHAMPION, POLICY, now)) == fires
    trained = CHAMPION.having(trained=START + timedelta(days=1))
    assert not trigger.fires(cause, trained, POLICY, START + timedelta(days=30))
    assert not trigger.fires(cause, Standing(model="flights"), POLICY, now), "of nothing there is no age"


@pytest.mark.parametrize(("labels", "fires"), [(99, False), (100, True)])
def test_new_data_counts_labels_since_the_newest_training(labels: int, fires: bool) -> None:
    standing = CHAMPION.having(labels_since=labels)
    assert bool(triggers.NewDataTrigger().fires(Cause("labels", "id"), standing, POLICY, START)) == fires


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_lasts_is_told_from_what_happened(kind: CauseKind) -> None:
    assert Cause(kind, "id").lasting == (kind in ("labels", "schedule"))
