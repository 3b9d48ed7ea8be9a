"""Jobs elsewhere: started once, watched, billed; whatever dies there fails its training with what it cost."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.http import handler_of, memory_wiring

from modelwright.errors import InvalidInput, PluginError, Unavailable
from modelwright.events import TrainingBilled, TrainingFailed, TrainingPaused, TrainingStarted
from modelwright.log import Happened, stream_of
from modelwright.retraining import deciding, ending, jobs, store
from modelwright.retraining.store import Training
from modelwright.retraining.trainers import Job, Status, Trainer
from retraining.stage import START, WALL, WS, Stage, project
from retraining.test_training import completed_event

OPTIONS = {"image": "i", "price": 0.36}


@dataclass
class Elsewhere:
    """A service that runs jobs, and says what it is told to say of them."""

    said: Status = field(default_factory=lambda: Status("running"))
    started: list[Job] = field(default_factory=list)
    refusal: Exception | None = None

    def named(self, name: str) -> Trainer:
        assert name == "elsewhere"
        return self

    def start(self, job: Job) -> str:
        if self.refusal is not None:
            raise self.refusal
        self.started.append(job)
        return f"job-{job.training_id}"

    def limit_s(self, job: Job) -> float:
        return 1800

    def price_per_hour(self, job: Job) -> float | None:
        return job.options.get("price")

    def status(self, job: Job, handle: str) -> Status:
        assert handle == f"job-{job.training_id}"
        return self.said


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(project(trainer="elsewhere", trainer_options=OPTIONS))
    return made


def ask(stage: Stage) -> str:
    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "triggers": deciding.trigger}
    order = deciding.Order(reason="because")
    made: str = deciding.request(stage.call, "flights", order, wall=WALL, **options)["training_id"]
    return made


def started(stage: Stage, there: Elsewhere, wall: datetime | None = WALL) -> str:
    identity = ask(stage)
    delivery = stage.delivery(stage.happened()[0])
    jobs.start(stage.call, delivery, tables=stage.tables, log=stage.log, trainers=there.named, wall=wall)
    return identity


def watch(stage: Stage, identity: str, there: Elsewhere) -> str:
    return jobs.watch(stage.call, identity, tables=stage.tables, log=stage.log, trainers=there.named, wall=WALL)


def end(stage: Stage, identity: str, cost: float) -> None:
    """The training itself says that it came to a model."""
    call, event = stage.call, completed_event(identity, cost)
    training = store.load_training(stage.tables, WS, identity)
    stage.log.commit(
        call,
        [Happened(stream_of(WS, "TRAINING", "flights"), event)],
        [store.put_training(WS, training.having(status="completed"))],
    )


def settle(stage: Stage) -> None:
    last = stage.delivery(stage.happened()[-1])
    ending.settle(stage.call, last, tables=stage.tables, log=stage.log)


def training(stage: Stage, identity: str) -> Training:
    return store.load_training(stage.tables, WS, identity)


def ledger(stage: Stage) -> tuple[int, int]:
    known = store.load_ledger(stage.tables, WS, "flights", "2013-03")
    return known.spent, known.reserved


def test_a_job_is_told_the_policys_options_and_what_it_may_cost(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    assert there.started == [Job(WS, identity, "flights", OPTIONS, 0.05)]
    known = training(stage, identity)
    assert (known.job, known.options, known.status) == (f"job-{identity}", OPTIONS, "started")
    assert known.ends_by == WALL + timedelta(minutes=30) + jobs.GRACE
    assert isinstance(stage.happened()[-1], TrainingStarted)


def test_what_no_trainer_will_ever_take_fails_at_once_and_costs_nothing(stage: Stage) -> None:
    for refusal in (InvalidInput("trainer_options.role: Field required"), PluginError("no plugin elsewhere")):
        made = Stage()
        made.apply(project(trainer="elsewhere"))
        started(made, Elsewhere(refusal=refusal))
        failed = made.happened()[-1]
        assert isinstance(failed, TrainingFailed)
        assert (failed.reason, failed.cost) == (str(refusal), 0)
        settle(made)
        assert ledger(made) == (0, 0)


def test_what_cannot_be_taken_now_is_tried_again(stage: Stage) -> None:
    with pytest.raises(Unavailable):
        started(stage, Elsewhere(refusal=Unavailable("later")))
    assert training(stage, stage.happened()[0].model_dump()["training_id"]).status == "requested"


def test_a_job_that_runs_is_let_run(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    assert watch(stage, identity, there) == "running"
    assert training(stage, identity).status == "started"


def test_a_job_that_died_fails_its_training_once_with_what_it_cost(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    there.said = Status("failed", "out of memory", seconds=100)
    assert watch(stage, identity, there) == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert (failed.reason, failed.seconds) == ("out of memory", 100)
    assert failed.cost == pytest.approx(0.01)
    assert watch(stage, identity, there) == "nothing to ask"
    settle(stage)
    assert ledger(stage) == (10_000, 0)


def test_a_job_that_ended_and_left_nothing_fails_its_training(stage: Stage) -> None:
    there = Elsewhere(Status("ended"))
    identity = started(stage, there)
    assert watch(stage, identity, there) == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert "left no model and no reason" in failed.reason
    assert failed.cost == 0.05, "nobody knows what it cost, so what was reserved counts"


@pytest.mark.parametrize("settled_first", [True, False])
def test_what_the_service_bills_is_booked_once_whoever_speaks_first(stage: Stage, *, settled_first: bool) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    end(stage, identity, cost=0.002)
    there.said = Status("ended", seconds=120)
    completed = stage.delivery(stage.happened()[-1])
    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log}
    deeds: list[Callable[[], Any]] = [
        lambda: ending.settle(stage.call, completed, **options),
        lambda: watch(stage, identity, there),
    ]
    for deed in deeds if settled_first else reversed(deeds):
        deed()
    assert watch(stage, identity, there) == "nothing to ask"
    assert ledger(stage) == (12_000, 0)
    (billed,) = [event for event in stage.happened() if isinstance(event, TrainingBilled)]
    assert billed.seconds == 120
    assert billed.cost == pytest.approx(0.012)


def test_a_service_that_bills_nothing_leaves_what_the_training_said(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    end(stage, identity, cost=0.002)
    settle(stage)
    there.said = Status("ended")
    assert watch(stage, identity, there) == "over"
    assert ledger(stage) == (2_000, 0)


def test_a_job_that_its_service_knows_of_is_not_given_up_however_long_it_waits(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    for hours in range(1, 12):
        wall = WALL + timedelta(hours=hours)
        options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "wall": wall}
        jobs.watch_all(stage.call, trainers=there.named, **options)
        ending.follow_schedule(stage.call, f"retrain/{hours}", triggers=deciding.trigger, **options)
    assert training(stage, identity).status == "started"
    wall += timedelta(hours=3)
    ending.follow_schedule(
        stage.call, "retrain/late", wall=wall, tables=stage.tables, log=stage.log, triggers=deciding.trigger
    )
    assert training(stage, identity).status == "failed", "of which nobody says any more that it runs"


def test_a_job_whose_limit_is_over_is_stopped_and_no_other(stage: Stage) -> None:
    stopped: list[str] = []

    class Stoppable(Elsewhere):
        def stop(self, job: Job, handle: str, reason: str) -> None:
            stopped.append(f"{handle}: {reason}")

    there = Stoppable()
    identity = started(stage, there)
    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "trainers": there.named}
    late = WALL + timedelta(hours=3)
    assert jobs.watch(stage.call, identity, wall=late, **options) == "running", "it waited for a machine"
    there.said = Status("running", began=late - timedelta(minutes=30))
    assert jobs.watch(stage.call, identity, wall=late, **options) == "running"
    there.said = Status("running", began=late - timedelta(minutes=40))
    assert jobs.watch(stage.call, identity, wall=late, **options) == "stopped"
    there.said = Status("running")
    assert jobs.watch(stage.call, identity, wall=WALL + timedelta(days=2), **options) == "stopped"
    assert stopped == [f"job-{identity}: 0:30:00 are over", f"job-{identity}: it waited for 1 day, 0:00:00"]


def test_the_schedule_asks_for_jobs_whose_end_nobody_told(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    there.said = Status("failed", "gone", seconds=0)
    jobs.watch_all(stage.call, tables=stage.tables, log=stage.log, trainers=there.named)
    assert training(stage, identity).status == "failed"


def test_a_service_that_does_not_answer_the_schedule_is_asked_next_time(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)

    def silent(name: str) -> Trainer:
        raise Unavailable("no answer")

    jobs.watch_all(stage.call, tables=stage.tables, log=stage.log, trainers=silent)
    assert training(stage, identity).status == "started"


def test_a_training_that_paused_is_started_again_and_has_time_anew(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    paused = stage.delivery(TrainingPaused(training_id=identity, model="flights", done=3, seconds=9.0))
    later = WALL + timedelta(hours=5)
    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "trainers": there.named}
    jobs.resume(stage.call, paused, wall=later, **options)
    assert [job.training_id for job in there.started] == [identity] * 2
    assert training(stage, identity).ends_by == later + jobs.GRACE
    end(stage, identity, cost=0.01)
    again = stage.delivery(TrainingPaused(training_id=identity, model="flights", done=4, seconds=9.0))
    jobs.resume(stage.call, again, wall=later, **options)
    assert len(there.started) == 2


def test_one_pause_that_is_delivered_three_times_starts_its_training_once_more(stage: Stage) -> None:
    there = Elsewhere()
    identity = started(stage, there)
    paused = stage.delivery(TrainingPaused(training_id=identity, model="flights", done=3, seconds=9.0))
    options: dict[str, Any] = {"tables": stage.tables, "log": stage.log, "trainers": there.named}
    for _ in range(3):
        jobs.resume(stage.call, paused, wall=WALL, **options)
    assert len(there.started) == 2


def test_a_training_whose_record_changes_while_it_is_started_is_not_started_again(stage: Stage) -> None:
    class Racing(Elsewhere):
        def start(self, job: Job) -> str:
            training = store.load_training(stage.tables, WS, job.training_id)
            stage.tables.write([store.put_training(WS, training.having(done=7))])
            return super().start(job)

    there = Racing()
    identity = started(stage, there)
    paused = stage.delivery(TrainingPaused(training_id=identity, model="flights", done=3, seconds=9.0))
    jobs.resume(stage.call, paused, tables=stage.tables, log=stage.log, trainers=there.named, wall=WALL)
    assert len(there.started) == 2
    assert (training(stage, identity).status, training(stage, identity).done) == ("started", 7)


def test_retrain_is_told_the_end_of_a_job_by_its_name() -> None:
    stage = Stage(now=START)
    retrain = handler_of("retrain", memory_wiring(tables=stage.tables, blobs=stage.blobs))
    assert retrain({"job": "somebody-elses"}) == {"outcome": "not ours"}
    with pytest.raises(InvalidInput, match="end of a job by its name"):
        retrain({"job": "x"})
    stage.apply(project())
    identity = ask(stage)
    assert retrain({"job": f"{WS}-{identity}"}) == {"outcome": "nothing to ask"}
