"""Where trainings run: jobs are started, taken up again when they paused, watched where they run elsewhere, and billed.

A job elsewhere does the very training that the function does and says itself how it ended. What it cannot say is that
it died, and what its service bills: the service's word on that comes as an event, or is asked for when the schedule is
due, and the same word may come any number of times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, PluginError, Unavailable
from modelwright.events import (
    Delivery,
    Event,
    TrainingBilled,
    TrainingFailed,
    TrainingPaused,
    TrainingRequested,
    TrainingStarted,
)
from modelwright.log import Happened, Log, stream_of
from modelwright.project import load_current
from modelwright.retraining import policy as rules
from modelwright.retraining import store
from modelwright.retraining.ending import over
from modelwright.retraining.store import MILLIONTHS, Training
from modelwright.retraining.trainers import Job, OutsideTrainer, Status, StoppableTrainer, Trainer, Trainers
from modelwright.storage import Tables, Write

WAITS = timedelta(days=1)
"""So long a job may wait for a machine."""
LATE = timedelta(minutes=5)
"""So long a service may take to stop a job by itself."""
_COMMITS = 5
GRACE = timedelta(hours=1)
"""Of wall time, beyond what a service lets a job take: its own queue, and its word that the job is over."""


def start(
    call: Call, delivery: Delivery, *, tables: Tables, log: Log, trainers: Trainers, wall: datetime | None = None
) -> None:
    """Hand a requested training to its trainer; what no trainer will ever take fails at once.

    If this dies between the trainer's yes and the commit, the retry starts the job again under the same
    training id, which trainers and ``train`` take as the same.
    """
    event: TrainingRequested = delivery.event
    training = store.load_training(tables, call.workspace, event.training_id)
    if training.status != "requested":
        return
    commit = partial(_commit, call, event.model, delivery=delivery, log=log)
    try:
        job, trainer = job_of(call, training, tables), trainers(event.trainer)
        handle, ends_by = trainer.start(job), _ends_by(trainer, job, wall)
    except (PluginError, InvalidInput) as error:
        failed = TrainingFailed(training_id=event.training_id, model=event.model, reason=str(error))
        commit(failed, [store.put_training(call.workspace, over(training, failed, call.now))])
        return
    changes = {"status": "started", "job": handle, "options": dict(job.options), "ends_by": ends_by}
    started = TrainingStarted(training_id=event.training_id, model=event.model, trainer=event.trainer, job=handle)
    _note(call, event.training_id, changes, [started], delivery, tables, log)


def resume(call: Call, delivery: Delivery, *, tables: Tables, log: Log, trainers: Trainers, wall: datetime) -> None:
    """Start a training again that paused; whoever does it next goes on where it was.

    Of deliveries that come at once each may start it: then one of those started does the work (``search.begin``).
    """
    event: TrainingPaused = delivery.event
    training = store.load_training(tables, call.workspace, event.training_id)
    if training.over or log.handled("retraining", delivery):
        return
    trainers(training.trainer).start(job_of(call, training, tables))
    _note(call, event.training_id, {"ends_by": wall + GRACE}, [], delivery, tables, log)


def watch(
    call: Call, training_id: str, *, tables: Tables, log: Log, trainers: Trainers, wall: datetime | None = None
) -> str:
    """Ask how a job elsewhere does, and return what was made of it.

    One that died fails its training; of one that is over it is booked what its service bills. One that runs has more
    time to say how it ended, until its limit is over: then it is stopped.

    Raises:
        NotFound: there is no such training.
        Unavailable: the service does not answer.
    """
    training = store.load_training(tables, call.workspace, training_id)
    if not training.job or training.billed is not None:
        return "nothing to ask"
    trainer, job = trainers(training.trainer), job_of(call, training, tables)
    if not isinstance(trainer, OutsideTrainer):
        return "nothing to ask"
    status = trainer.status(job, training.job)
    if status.state == "running":
        return _running(call, training, status, trainer, job, wall or datetime.now(UTC), tables, log)
    bill = _billed(trainer, job, status)
    if not training.over:
        return _fail(call, training, status, bill, tables, log)
    return "over" if bill is None else _bill(call, training, bill, tables, log)


def watch_all(call: Call, *, tables: Tables, log: Log, trainers: Trainers, wall: datetime | None = None) -> None:
    """Ask how every training does that runs elsewhere, should its service's word have been lost."""
    for standing in store.all_standings(tables, call.workspace):
        if standing.training:
            try:
                watch(call, standing.training, tables=tables, log=log, trainers=trainers, wall=wall)
            except (Unavailable, InvalidInput, NotFound, PluginError):
                continue  # the others are asked all the same; this one ends by its time at the latest


def job_of(call: Call, training: Training, tables: Tables) -> Job:
    """Return the job of a training: with the options that it was started with, or else those of today's policy."""
    options = training.options
    if not training.job:
        options = load_current(tables, call.workspace).model(training.model).retraining.trainer_options
    return Job(call.workspace, training.training_id, training.model, options, training.reserved / MILLIONTHS)


@dataclass(frozen=True)
class _Bill:
    seconds: float
    dollars: float


def _billed(trainer: OutsideTrainer, job: Job, status: Status) -> _Bill | None:
    price = trainer.price_per_hour(job)
    if price is None or status.seconds is None:
        return None
    return _Bill(status.seconds, status.seconds / 3600 * price)


def _running(
    call: Call,
    training: Training,
    status: Status,
    trainer: OutsideTrainer,
    job: Job,
    wall: datetime,
    tables: Tables,
    log: Log,
) -> str:
    """Stop a job whose limit is over; let any other run, for it must not be given up while its service knows of it."""
    limit = timedelta(seconds=trainer.limit_s(job))
    last = training.requested_wall + WAITS if status.began is None else status.began + limit + LATE
    if limit and wall > last:
        if isinstance(trainer, StoppableTrainer):
            trainer.stop(job, training.job, f"it waited for {WAITS}" if status.began is None else f"{limit} are over")
            return "stopped"
        return "running"
    if not training.over and (training.ends_by or training.requested_wall) < wall + GRACE:
        changes = {"ends_by": wall + 2 * GRACE}
        log.commit(call, (), [store.put_training(call.workspace, training.having(**changes))])
    return "running"


def _fail(call: Call, training: Training, status: Status, bill: _Bill | None, tables: Tables, log: Log) -> str:
    """Fail a training whose job is over and said nothing; where nobody knows what it cost, what was reserved counts."""
    reason = status.reason or f"the job {training.job} came to its end and left no model and no reason"
    cost = training.reserved / MILLIONTHS if bill is None else bill.dollars
    seconds = 0.0 if bill is None else bill.seconds
    failed = TrainingFailed(
        training_id=training.training_id, model=training.model, reason=reason, seconds=seconds, cost=cost
    )
    ended = over(training, failed, call.now).having(billed=None if bill is None else rules.millionths(cost))
    _commit(call, training.model, failed, [store.put_training(call.workspace, ended)], delivery=None, log=log)
    return "failed"


def _bill(call: Call, training: Training, bill: _Bill, tables: Tables, log: Log) -> str:
    """Book what the service bills instead of what the training said of itself."""
    cost = rules.millionths(bill.dollars)
    changed = training.having(billed=cost, cost=cost if training.settled else training.cost)
    writes = [store.put_training(call.workspace, changed)]
    if training.settled:
        ledger = store.load_ledger(tables, call.workspace, training.model, training.month)
        writes.append(store.put_ledger(call.workspace, ledger.having(spent=ledger.spent + cost - training.cost)))
    said = TrainingBilled(
        training_id=training.training_id, model=training.model, seconds=bill.seconds, cost=bill.dollars
    )
    _commit(call, training.model, said, writes, delivery=None, log=log)
    return "billed"


def _note(
    call: Call,
    training_id: str,
    changes: Mapping[str, Any],
    events: Sequence[Event],
    delivery: Delivery,
    tables: Tables,
    log: Log,
) -> None:
    """Commit that a job was started, against the newest record: to lose that race must not start it again."""
    for left in reversed(range(_COMMITS)):
        now = store.load_training(tables, call.workspace, training_id)
        writes: list[Write] = [] if now.over else [store.put_training(call.workspace, now.having(**changes))]
        happened = [Happened(stream_of(call.workspace, "TRAINING", now.model), event) for event in events]
        try:
            log.commit(call, happened, writes, delivery=delivery, table="retraining")
        except ConditionFailed as error:
            if not left:
                raise Unavailable(f"the record of training {training_id} is too busy") from error
        else:
            return


def _ends_by(trainer: Trainer, job: Job, wall: datetime | None) -> datetime | None:
    if wall is None or not isinstance(trainer, OutsideTrainer) or not (limit := trainer.limit_s(job)):
        return None
    return wall + timedelta(seconds=limit) + GRACE


def _commit(
    call: Call, model: str, event: Event, writes: Sequence[Write], *, delivery: Delivery | None, log: Log
) -> None:
    happened = [Happened(stream_of(call.workspace, "TRAINING", model), event)]
    log.commit(call, happened, writes, delivery=delivery, table="retraining")
