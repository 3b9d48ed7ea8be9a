"""A challenger's way, from alias to champion or back."""

import itertools

import pytest

from modelwright.errors import AlreadyHandled, InvalidInput, NotFound
from modelwright.events import (
    Event,
    ModelVersionCreated,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
    Route,
    RoutesChanged,
)
from modelwright.project import Project, RolloutPolicy
from modelwright.rollout import rollouts
from modelwright.rollout.judging import FixedSample, Judge, PairedConfidenceSequence
from modelwright.rollout.store import Traffic, history, load_traffic
from rollout.stage import WS, Stage, alias, performance


def judges(name: str) -> Judge:
    found: dict[str, Judge] = {"paired_confidence_sequence": PairedConfidenceSequence(), "fixed_sample": FixedSample()}
    return found[name]


def follow(stage: Stage, event: Event, sequence: int = 0) -> None:
    delivery = stage.delivery(event, consumer="rollout", sequence=sequence)
    rollouts.follow_alias(stage.call, delivery, tables=stage.tables, log=stage.log)


def labels(stage: Stage, mean: float, **how: int | str) -> None:
    stage.pass_days(7)
    delivery = stage.delivery(performance(stage, mean, **how), consumer="rollout", kind="PERFORMANCE")  # type: ignore[arg-type]
    rollouts.follow_performance(stage.call, delivery, tables=stage.tables, log=stage.log, judges=judges)


def traffic(stage: Stage) -> Traffic:
    return load_traffic(stage.tables, WS, "flights")


def events(stage: Stage) -> list[str]:
    return [event.detail_type() for event in stage.happened("ROLLOUT")]


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    follow(made, alias("champion", 1))
    return made


@pytest.fixture
def canary(stage: Stage) -> Stage:
    follow(stage, alias("challenger", 2))
    return stage


def test_a_first_champion_gets_all_traffic(stage: Stage) -> None:
    assert traffic(stage).routes == (Route(version=1, role="champion", percent=100),)
    assert events(stage) == ["RoutesChanged"]


def test_a_challenger_starts_at_ten_percent_and_scores_the_rest_in_shadow(canary: Stage) -> None:
    started = canary.happened("ROLLOUT")[1]
    assert isinstance(started, RolloutStarted)
    assert (started.challenger, started.champion, started.percent) == (2, 1, 10)
    assert [(r.version, r.role, r.percent) for r in traffic(canary).routes] == [
        (1, "champion", 90),
        (2, "canary", 10),
        (2, "shadow", 0),
    ]


def test_two_good_weeks_promote_through_fifty_percent(canary: Stage) -> None:
    labels(canary, -0.005)
    assert traffic(canary).routes[1].percent == 50
    labels(canary, -0.005)
    assert traffic(canary).routes == (Route(version=2, role="champion", percent=100),)
    assert [type(e) for e in canary.happened("ROLLOUT")] == [
        RoutesChanged,
        RolloutStarted,
        RoutesChanged,
        RolloutStepped,
        RoutesChanged,
        RolloutPromoted,
        RoutesChanged,
    ]
    follow(canary, alias("champion", 2, 1))
    follow(canary, alias("challenger", None, 2))
    assert len(events(canary)) == 7
    assert history(canary.tables, WS, "flights")[0].status == "promoted"


def test_harm_rolls_back_at_once_with_its_evidence(canary: Stage) -> None:
    labels(canary, 0.05)
    rolled = canary.happened("ROLLOUT")[-2]
    assert isinstance(rolled, RolloutRolledBack)
    assert rolled.judgement.low > 0.005
    assert "does harm" in rolled.reason
    assert traffic(canary).routes == (Route(version=1, role="champion", percent=100),)
    follow(canary, alias("challenger", None, 2))
    assert traffic(canary).rollout is None


def test_too_few_labels_wait(canary: Stage) -> None:
    labels(canary, 0.0, rows=50)
    assert traffic(canary).routes[1].percent == 10
    labels(canary, 0.0, rows=160)
    assert traffic(canary).routes[1].percent == 50


def test_a_window_with_a_quarantine_lets_no_step_pass(canary: Stage) -> None:
    canary.pass_days(7)
    event = performance(canary, -0.005).model_copy(update={"quarantined": ("weather",)})
    delivery = canary.delivery(event, consumer="rollout")
    rollouts.follow_performance(canary.call, delivery, tables=canary.tables, log=canary.log, judges=judges)
    assert traffic(canary).routes[1].percent == 10
    labels(canary, -0.005)
    assert traffic(canary).routes[1].percent == 50


def test_a_label_file_counts_once_and_one_from_before_the_rollout_never(canary: Stage) -> None:
    early = performance(canary, 0.5)
    delivery = canary.delivery(early, consumer="rollout")
    rollouts.follow_performance(canary.call, delivery, tables=canary.tables, log=canary.log, judges=judges)
    labels(canary, 0.0, rows=50, key="a")
    labels(canary, 0.0, rows=50, key="a")
    rollout = traffic(canary).rollout
    assert rollout is not None
    assert [batch.rows for batch in rollout.batches] == [50]


def test_a_delivery_that_comes_twice_changes_nothing_the_second_time(stage: Stage) -> None:
    stage.pass_days(1)
    delivery = stage.delivery(alias("challenger", 2), consumer="rollout")
    rollouts.follow_alias(stage.call, delivery, tables=stage.tables, log=stage.log)
    before = traffic(stage)
    rollouts.follow_alias(stage.call, delivery, tables=stage.tables, log=stage.log)
    assert traffic(stage) == before

    stage.pass_days(7)
    measured = stage.delivery(performance(stage, 0.0), consumer="rollout")
    rollouts.follow_performance(stage.call, measured, tables=stage.tables, log=stage.log, judges=judges)
    after = traffic(stage)
    rollouts.follow_performance(stage.call, measured, tables=stage.tables, log=stage.log, judges=judges)
    assert traffic(stage) == after


def test_a_repeated_version_is_reported_as_handled(stage: Stage) -> None:
    event = ModelVersionCreated(model="flights", version=3, source="s", artifact_key="k/")
    delivery = stage.delivery(event, consumer="rollout")
    rollouts.follow_version(stage.call, delivery, tables=stage.tables, log=stage.log)
    with pytest.raises(AlreadyHandled):
        rollouts.follow_version(stage.call, delivery, tables=stage.tables, log=stage.log)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_alias_events_in_any_order_give_the_same_routes(order: tuple[int, ...]) -> None:
    said = [alias("champion", 1), alias("challenger", 2), alias("challenger", None, 2), alias("challenger", 3)]
    stage = Stage()
    for place in order:
        follow(stage, said[place], sequence=place + 1)
    assert traffic(stage).champion.version == 1
    assert traffic(stage).challenger.version == 3
    canaries = [r.version for r in traffic(stage).routes if r.role == "canary"]
    assert canaries in ([2], [3])
    if canaries == [2]:
        rollouts.abort(stage.call, "flights", rollouts.Abort(reason="x"), tables=stage.tables, log=stage.log)
        assert [r.version for r in traffic(stage).routes if r.role == "canary"] == [3]


def test_a_newer_challenger_waits_for_the_active_rollout_to_end(canary: Stage) -> None:
    follow(canary, alias("challenger", 3, 2))
    assert rollouts.show(canary.call, "flights", tables=canary.tables)["waiting"] == 3
    labels(canary, 0.05)
    active = traffic(canary).rollout
    assert active is not None
    assert (active.challenger, active.champion) == (3, 1)


def test_dropping_the_challenger_aborts(canary: Stage) -> None:
    follow(canary, alias("challenger", None, 2))
    assert "RolloutRolledBack" in events(canary)
    assert traffic(canary).rollout is None


def test_a_challenger_made_champion_by_hand_ends_its_rollout_as_promoted(canary: Stage) -> None:
    follow(canary, alias("champion", 2, 1))
    assert "RolloutPromoted" in events(canary)
    assert traffic(canary).routes == (Route(version=2, role="champion", percent=100),)


def test_another_champion_takes_the_ground_from_a_rollout(canary: Stage) -> None:
    follow(canary, alias("champion", 7, 1))
    assert "RolloutRolledBack" in events(canary)
    assert traffic(canary).routes == (Route(version=7, role="champion", percent=100),)


def test_a_challenger_without_champion_waits_for_one() -> None:
    stage = Stage()
    follow(stage, alias("challenger", 2))
    assert traffic(stage).routes == ()
    follow(stage, alias("champion", 1))
    assert traffic(stage).rollout is not None


def test_a_rollout_without_end_is_aborted_after_its_days(canary: Stage) -> None:
    canary.pass_days(59)
    rollouts.expire(canary.call, tables=canary.tables, log=canary.log)
    assert traffic(canary).rollout is not None
    canary.pass_days(2)
    rollouts.expire(canary.call, tables=canary.tables, log=canary.log)
    assert traffic(canary).rollout is None


def test_shadows_must_be_known_and_survive_a_rollout(stage: Stage) -> None:
    order = rollouts.Shadows(versions=(4,))
    with pytest.raises(NotFound, match="no version 4"):
        rollouts.set_shadows(stage.call, "flights", order, tables=stage.tables, log=stage.log)
    event = ModelVersionCreated(model="flights", version=4, source="s", artifact_key="k/")
    delivery = stage.delivery(event, consumer="rollout")
    rollouts.follow_version(stage.call, delivery, tables=stage.tables, log=stage.log)
    rollouts.set_shadows(stage.call, "flights", order, tables=stage.tables, log=stage.log)
    follow(stage, alias("challenger", 2))
    labels(stage, 0.05)
    assert traffic(stage).routes == (
        Route(version=1, role="champion", percent=100),
        Route(version=4, role="shadow", percent=0),
    )


def test_aborting_needs_a_rollout_and_a_reason(stage: Stage) -> None:
    with pytest.raises(NotFound, match="no active rollout"):
        rollouts.abort(stage.call, "flights", rollouts.Abort(reason="x"), tables=stage.tables, log=stage.log)
    follow(stage, alias("challenger", 2))
    with pytest.raises(InvalidInput, match="reason"):
        rollouts.abort(stage.call, "flights", rollouts.Abort(reason=" "), tables=stage.tables, log=stage.log)
    shown = rollouts.abort(stage.call, "flights", rollouts.Abort(reason="x"), tables=stage.tables, log=stage.log)
    assert shown["rollout"] is None


@pytest.mark.parametrize("steps", [(), (10,), (50, 10, 100), (0, 100), (10, 10, 100), (10, 200)])
def test_steps_that_do_not_rise_to_all_traffic_are_no_policy(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rise from at least 1 to 100"):
        RolloutPolicy(steps=steps)


def test_a_policy_without_canary_promotes_at_once() -> None:
    stage = Stage()
    project = Project.model_validate(
        {
            "name": "demo",
            "sources": {
                "labels": {
                    "prefix": "l/",
                    "columns": {"id": {"type": "string"}, "t": {"type": "timestamp"}},
                    "key": ["id"],
                    "event_time": "t",
                }
            },
            "models": {
                "flights": {
                    "id_column": "id",
                    "time_column": "t",
                    "request": {"id": "string", "t": "timestamp"},
                    "views": [],
                    "inputs": [],
                    "label": {"source": "labels", "column": "id", "above": 0},
                    "trainer": "a:b",
                    "rollout": {"steps": [100]},
                }
            },
        }
    )
    stage.apply(project)
    follow(stage, alias("champion", 1))
    follow(stage, alias("challenger", 2))
    assert traffic(stage).routes == (Route(version=2, role="champion", percent=100),)
    assert events(stage)[1:] == ["RolloutStarted", "RolloutPromoted", "RoutesChanged"]


def test_another_workspace_sees_nothing(canary: Stage) -> None:
    assert load_traffic(canary.tables, "other", "flights").v == 0
