"""Triggers that come while a training or a rollout is on wait for their turn, and money is spent once."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from support.http import handler_of, memory_wiring, payload

from modelwright.errors import PluginError, Refused
from modelwright.events import (
    SOURCE,
    AliasChanged,
    Delivery,
    Event,
    Judgement,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingQueued,
    TrainingRequested,
)
from modelwright.log import Happened, stream_of
from modelwright.retraining import attempts, deciding, ending, jobs, queue, store
from modelwright.retraining.trainers import Job, Trainer
from modelwright.runtime import Function
from retraining.hands import (
    Recorder,
    ask,
    completed,
    degraded,
    end,
    failed_quality,
    follow,
    measured,
    note,
    schedule,
    training,
)
from retraining.stage import WS, Stage, project

QUEUEING: dict[str, Any] = {
    "triggers": ("performance", "manual"),
    "queue": True,
    "cooldown_days": 0,
    "budget": 0.15,
    "reserve": 0.05,
}


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(project(**QUEUEING))
    note(made, deciding.note_champion, AliasChanged(model="flights", alias="champion", version=1, previous=None))
    made.pass_days(30)
    return made


def said(stage: Stage) -> list[str]:
    return [event.detail_type().removeprefix("Training") for event in stage.happened()]


def standing(stage: Stage) -> store.Standing:
    return store.load_standing(stage.tables, WS, "flights")


def ledger(stage: Stage) -> tuple[int, int]:
    found = store.load_ledger(stage.tables, WS, "flights", f"{stage.now:%Y-%m}")
    return found.reserved, found.spent


def retrain(stage: Stage) -> Function:
    return handler_of("retrain", memory_wiring(tables=stage.tables, blobs=stage.blobs))


def bus(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as EventBridge hands it to a function."""
    detail = delivery.envelope.model_dump(mode="json")
    return {"source": SOURCE, "detail-type": delivery.envelope.type, "detail": detail}


def wish(stage: Stage, number: int) -> dict[str, Any]:
    """Return a person's request as the gateway hands it to a function."""
    headers = {"x-modelwright-as-of": stage.now.isoformat()}
    return payload("POST", "/v1/retraining/flights", {"reason": f"wish {number}"}, headers=headers)


def trained(stage: Stage, costs: Iterator[float]) -> list[str]:
    """End each training that was requested, as soon as it was, and return their ids in order."""
    ids = []
    while standing(stage).training:
        running = training(stage)
        ids.append(running.training_id)
        ended = completed(running, next(costs))
        stage.tables.write([store.put_training(WS, running.having(status="completed"))])
        delivery = stage.delivery(ended)
        assert retrain(stage)(bus(delivery)) == {"outcome": "handled"}
        assert retrain(stage)(bus(delivery)) == {"outcome": "duplicate"}
    return ids


@pytest.mark.parametrize("at_once", [16, 100])
def test_of_100_triggers_at_once_a_budget_for_three_trains_three_one_after_the_other(
    stage: Stage, at_once: int
) -> None:
    wishes = [wish(stage, number) for number in range(at_once // 2)]
    falls = [bus(stage.delivery(degraded(stage))) for _ in range(at_once - len(wishes))]

    def by_one_of_many(event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = retrain(stage)(event)
        return answer

    with ThreadPoolExecutor(at_once) as threads:
        answers = list(threads.map(by_one_of_many, [*wishes, *falls]))
    statuses = Counter(answer.get("statusCode", answer.get("outcome")) for answer in answers)
    assert statuses == {200: len(wishes), "handled": len(falls)}, "none is told of a race"
    assert Counter(said(stage)) == {"Requested": 1, "Queued": at_once - 1}
    places = [event.place for event in stage.happened() if isinstance(event, TrainingQueued)]
    assert 1 == min(places) <= max(places) < at_once
    assert len(queue.ids(stage.tables, WS, "flights")) == at_once - 1

    costs = (0.04, 0.05, 0.03)
    ids = trained(stage, iter(costs))
    assert len(set(ids)) == 3
    assert Counter(said(stage)) == {"Requested": 3, "Queued": at_once - 1, "Declined": at_once - 3}
    assert ledger(stage) == (0, 120_000), "it equals the sum of what they cost"
    refusals = [event for event in stage.happened() if isinstance(event, TrainingDeclined)]
    assert all(event.reasons and event.queue_id for event in refusals)
    assert {
        "the budget of $0.15" in event.reasons[-1] or "no labels came" in event.reasons[0] for event in refusals
    } == {True}
    requests = [event for event in stage.happened() if isinstance(event, TrainingRequested)]
    decided: list[TrainingRequested | TrainingDeclined] = [*requests, *refusals]
    causes = [event.cause.id for event in decided if event.cause]
    assert len(set(causes)) == at_once, "each trigger has one outcome"
    assert queue.ids(stage.tables, WS, "flights") == ()


def test_of_100_triggers_at_once_without_queueing_one_trains_and_the_others_are_refused(stage: Stage) -> None:
    stage.apply(project(**{**QUEUEING, "queue": False}))
    wishes = [wish(stage, number) for number in range(100)]
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda event: retrain(stage)(event)["statusCode"], wishes))
    assert Counter(answers) == {200: 1, 409: 99}
    assert Counter(said(stage)) == {"Requested": 1, "Declined": 99}
    assert ledger(stage) == (50_000, 0)


def test_a_trigger_that_is_delivered_three_times_trains_once(stage: Stage) -> None:
    event, request = bus(stage.delivery(degraded(stage))), wish(stage, 1)
    with ThreadPoolExecutor(3) as threads:
        outcomes = list(threads.map(lambda e: retrain(stage)(e)["outcome"], [event] * 3))
    assert Counter(outcomes) == {"handled": 1, "duplicate": 2}
    answers = [json.loads(retrain(stage)(request)["body"]) for _ in range(3)]
    assert len({answer["queue_id"] for answer in answers}) == 1
    assert said(stage) == ["Requested", "Queued"]
    end(stage)
    assert said(stage) == ["Requested", "Queued", "Requested"]
    again = json.loads(retrain(stage)(request)["body"])
    assert again["training_id"] == training(stage).training_id, "by now it is a training"
    assert said(stage) == ["Requested", "Queued", "Requested"]


def test_who_asked_and_why_is_not_lost_in_the_queue(stage: Stage) -> None:
    ask(stage)
    told = ask(stage, "new features", replace(stage.call, actor="ann", correlation_id="hers"))
    assert told == {"model": "flights", "reason": "ann: new features", "queue_id": told["queue_id"], "place": 1}
    shown = deciding.show(stage.call, "flights", tables=stage.tables)
    assert [(one["actor"], one["reason"]) for one in shown["queue"]] == [("ann", "ann: new features")]
    end(stage)
    found = training(stage)
    assert (found.requested_by, found.correlation_id, found.reason) == ("ann", "hers", "ann: new features")
    assert deciding.show(stage.call, "flights", tables=stage.tables)["queue"] == []


def test_the_policy_is_asked_anew_when_the_turn_comes(stage: Stage) -> None:
    ask(stage)
    follow(stage, deciding.follow_degraded, degraded(stage))
    ask(stage, "a wish")
    note(stage, deciding.note_quarantine, failed_quality(stage))
    end(stage)
    declined = stage.happened()[-2:]
    assert [e.reasons for e in declined if isinstance(e, TrainingDeclined)] == [
        ("source weather is in quarantine (q1)",),
        ("source weather is in quarantine (q1)",),
    ]


def test_a_fall_of_a_version_that_is_champion_no_more_is_declined(stage: Stage) -> None:
    ask(stage)
    follow(stage, deciding.follow_degraded, degraded(stage))
    note(stage, deciding.note_champion, AliasChanged(model="flights", alias="champion", version=2, previous=1))
    end(stage)
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons == ("it no longer holds: worse",)


def test_a_trigger_that_the_policy_dropped_meanwhile_is_declined(stage: Stage) -> None:
    ask(stage)
    follow(stage, deciding.follow_degraded, degraded(stage))
    stage.apply(project(**{**QUEUEING, "triggers": ("manual",)}))
    end(stage)
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert "no longer takes the trigger performance" in declined.reasons[0]


def test_each_who_waits_is_told_the_place(stage: Stage) -> None:
    ask(stage)
    assert [ask(stage)["place"] for _ in range(3)] == [1, 2, 3]


def test_a_full_queue_refuses_with_all_reasons(stage: Stage) -> None:
    stage.apply(project(**QUEUEING, queue_limit=2))
    for _ in range(3):
        ask(stage)
    with pytest.raises(Refused, match=r"training \w+ is running; the queue is full: 2 triggers wait"):
        ask(stage)


def test_what_only_lasts_waits_once(stage: Stage) -> None:
    stage.apply(project(**{**QUEUEING, "triggers": ("schedule", "manual")}))
    ask(stage)
    for _ in range(5):
        stage.pass_days(1 / 24)
        schedule(stage)
    assert said(stage) == ["Requested", "Queued"]
    ask(stage, "a wish")
    end(stage)
    requested = stage.happened()[-1]
    assert isinstance(requested, TrainingRequested)
    assert requested.trigger == "manual", "what happened goes before what lasts"


def test_without_queueing_who_comes_too_early_is_refused(stage: Stage) -> None:
    stage.apply(project(**{**QUEUEING, "queue": False}))
    ask(stage)
    with pytest.raises(Refused, match="is running"):
        ask(stage)
    end(stage)
    assert said(stage) == ["Requested", "Declined"]


def rollout(kind: type[Event], **more: Any) -> Any:
    judgement = {} if kind is RolloutStarted else {"judgement": Judgement(rows=0, mean=0, low=-1, high=1)}
    return kind.model_validate(
        {"rollout_id": "r", "model": "flights", "challenger": 2, "champion": 1, **judgement, **more}
    )


def test_who_waits_for_a_rollout_goes_on_when_it_was_rolled_back(stage: Stage) -> None:
    note(stage, deciding.note_rollout, rollout(RolloutStarted, percent=10))
    ask(stage)
    assert said(stage) == ["Queued"]
    note(stage, deciding.note_rollout, rollout(RolloutRolledBack, reason="harm"))
    assert said(stage) == ["Queued", "Requested"]


@pytest.mark.parametrize("registry_first", [False, True])
def test_who_waits_for_a_promotion_goes_on_when_the_new_champion_is_known(stage: Stage, registry_first: bool) -> None:
    note(stage, deciding.note_rollout, rollout(RolloutStarted, percent=10))
    follow(stage, deciding.follow_degraded, degraded(stage))
    named = AliasChanged(model="flights", alias="champion", version=2, previous=1)
    ends = [(deciding.note_rollout, rollout(RolloutPromoted)), (deciding.note_champion, named)]
    for use_case, event in reversed(ends) if registry_first else ends:
        assert said(stage) == ["Queued"]
        note(stage, use_case, event)
    declined = stage.happened()[-1]
    assert isinstance(declined, TrainingDeclined)
    assert declined.reasons == ("it no longer holds: worse",), "it was about the champion of before"


def test_an_end_that_nobody_heard_is_booked_from_the_record_however_much_was_said_since(stage: Stage) -> None:
    ask(stage)
    running = training(stage).having(metric="auc", fall=0.1)
    ended = completed(running, cost=0.03, gain=0.05)
    write = store.put_training(WS, ending.over(running, ended, stage.now))
    stage.log.commit(stage.call, [Happened(stream_of(WS, "TRAINING", "flights"), ended)], [write])
    refused = TrainingDeclined(model="flights", trigger="manual", reasons=("busy",))
    for _ in range(7):
        happened = [Happened(stream_of(WS, "TRAINING", "flights"), refused) for _ in range(80)]
        stage.log.commit(stage.call, happened)
    schedule(stage)
    assert ledger(stage) == (0, 30_000)
    standing = store.load_standing(stage.tables, WS, "flights")
    assert (standing.training, standing.trained, standing.failures) == ("", running.requested, 0)
    assert standing.gains == (store.Gain(metric="auc", value=0.05, fall=0.1),)
    note(stage, ending.settle, ended)
    assert ledger(stage) == (0, 30_000), "and once only, should the event come after all"


def book(stage: Stage) -> None:
    """Book the running training, and nothing more."""
    running = training(stage)
    over = ending.over(running, completed(running), stage.now)
    ending._book(stage.call, over, "event", stage.tables, stage.log)


# --- killed half-way ---------------------------------------------------------------------


def test_a_training_that_never_ended_costs_what_its_attempts_took_where_that_is_more(
    stage: Stage,
) -> None:
    ask(stage)
    running = training(stage)
    for minutes in (0, 16, 33):
        began = running.requested_wall + timedelta(minutes=minutes)
        attempt = attempts.attempted(
            stage.tables,
            WS,
            running.training_id,
            owner="a",
            wall=partial(lambda then: then, began),
            left=900,
            rate=4e-5,
        )
        attempt.__enter__()  # and then the function is killed
    schedule(stage, hours=1.5)
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert failed.seconds == 2700
    assert failed.cost == pytest.approx(0.108)
    note(stage, ending.settle, failed)
    assert ledger(stage) == (0, 108_000)


def test_killed_after_the_reservation_the_training_fails_and_nothing_stays_reserved(stage: Stage) -> None:
    ask(stage)
    ask(stage, "the next")
    schedule(stage, hours=0.5)
    assert ledger(stage) == (50_000, 0)
    schedule(stage, hours=1.5)
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    note(stage, ending.settle, failed)
    assert ledger(stage) == (50_000, 50_000), "the first counts as reserved, and the next one runs"
    assert said(stage) == ["Requested", "Queued", "Failed", "Requested"]


def test_a_trainer_that_says_by_when_it_is_over_is_given_that_time(stage: Stage) -> None:
    ask(stage)
    running = training(stage)
    stage.tables.write([store.put_training(WS, running.having(ends_by=running.requested_wall + timedelta(hours=9)))])
    schedule(stage, hours=8)
    assert said(stage) == ["Requested"]
    schedule(stage, hours=9)
    assert said(stage) == ["Requested", "Failed"]


def test_killed_between_the_yes_of_the_trainer_and_the_commit_it_starts_the_same_training_again(stage: Stage) -> None:
    ask(stage)
    requested, recorder = stage.delivery(stage.happened()[0]), Recorder()
    recorder.start(store_job := Job(WS, training(stage).training_id, "flights", reserved=0.05))
    jobs.start(stage.call, requested, tables=stage.tables, log=stage.log, trainers=recorder.named)
    assert recorder.jobs == [store_job, store_job], "which trainers take as one"
    assert said(stage) == ["Requested", "Started"]


def test_a_training_whose_end_was_never_heard_is_booked_by_the_schedule(stage: Stage) -> None:
    ask(stage)
    running = training(stage)
    ended: TrainingCompleted = completed(running, cost=0.03)
    write = store.put_training(WS, ending.over(running, ended, stage.now))
    stage.log.commit(stage.call, [Happened(stream_of(WS, "TRAINING", "flights"), ended)], [write])
    assert ledger(stage) == (50_000, 0)
    schedule(stage)
    schedule(stage)
    assert ledger(stage) == (0, 30_000)
    assert standing(stage).training == ""
    note(stage, ending.settle, ended)
    assert ledger(stage) == (0, 30_000), "the late word is booked no second time"


def test_killed_between_the_booking_and_the_next_decision_the_delivery_goes_on_when_it_comes_again(
    stage: Stage,
) -> None:
    ask(stage)
    ask(stage, "the next")
    running = training(stage)
    book(stage)  # and then the process dies
    assert said(stage) == ["Requested", "Queued"]
    stage.tables.write([store.put_training(WS, training(stage).having(status="completed"))])
    event = bus(stage.delivery(completed(running)))
    assert [retrain(stage)(event)["outcome"] for _ in range(2)] == ["handled", "duplicate"]
    assert said(stage) == ["Requested", "Queued", "Requested"]


def test_those_who_wait_while_nothing_runs_are_decided_by_the_schedule(stage: Stage) -> None:
    ask(stage)
    ask(stage, "the next")
    book(stage)
    schedule(stage)
    assert said(stage) == ["Requested", "Queued", "Requested"]


def test_a_trainer_that_does_not_exist_fails_the_training_at_once(stage: Stage) -> None:
    ask(stage)

    def none(name: str) -> Trainer:
        raise PluginError(f"no plugin {name} of trainers")

    jobs.start(stage.call, stage.delivery(stage.happened()[0]), tables=stage.tables, log=stage.log, trainers=none)
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert (failed.reason, failed.cost) == ("no plugin lambda of trainers", 0.0)
    note(stage, ending.settle, failed)
    assert ledger(stage) == (0, 0)


def test_labels_that_come_while_a_training_runs_are_no_lost_write(stage: Stage) -> None:
    ask(stage)
    follow(stage, deciding.follow_labels, measured(stage, labels=7))
    end(stage)
    assert standing(stage).labels_since == 0
    follow(stage, deciding.follow_labels, measured(stage, labels=7))
    assert standing(stage).labels_since == 7
