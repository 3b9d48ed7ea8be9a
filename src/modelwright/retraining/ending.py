"""Trainings that end: what they cost is booked, whoever waits goes on; the schedule mends what was left half-done.

What is booked of a training stands on its record since it ended, so that a lost event loses nothing: a training that
ended and was not booked is booked when the schedule is due, one that never ends fails, and those that wait are decided.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from modelwright.context import Call
from modelwright.errors import ConditionFailed, ModelwrightError, PluginError, Unavailable
from modelwright.events import Delivery, TrainingCompleted, TrainingFailed
from modelwright.log import Happened, Log, stream_of
from modelwright.once import Once
from modelwright.retraining import attempts, gain, store
from modelwright.retraining import policy as rules
from modelwright.retraining.deciding import Order, deciding_of, models_of, trigger
from modelwright.retraining.decision import Triggers
from modelwright.retraining.store import GAINS_KEPT, MILLIONTHS, Standing, Training
from modelwright.retraining.triggers import Cause
from modelwright.storage import Tables

ABANDONED_AFTER = timedelta(hours=1)
"""Of wall time: four times what Lambda lets a function run. Who trains longer says by when it is over."""
_TRIES = 5


def over(training: Training, event: TrainingCompleted | TrainingFailed, at: datetime) -> Training:
    """Return the record of a training that ended, with all that is booked of it.

    Args:
        training: as it was.
        event: its end.
        at: domain time.
    """
    failed = isinstance(event, TrainingFailed)
    return training.having(
        status="failed" if failed else "completed",
        outcome=event.reason if isinstance(event, TrainingFailed) else "",
        ended=at,
        seconds=event.seconds,
        cost=rules.millionths(event.cost),
        gains=() if isinstance(event, TrainingFailed) else gain.brought(event, training.metric, training.fall),
    )


def settle(
    call: Call,
    delivery: Delivery,
    *,
    tables: Tables,
    log: Log,
    wall: datetime | None = None,
    triggers: Triggers = trigger,
) -> None:
    """Book what an ended training cost, release what was reserved, and decide who is next.

    Each part does nothing the second time, so that the delivery may come again until all are done.
    """
    event: TrainingCompleted | TrainingFailed = delivery.event
    training = store.load_training(tables, call.workspace, event.training_id)
    _book(call, over(training, event, call.now), delivery.envelope.id, tables, log)
    deciding_of(call, tables, log, triggers, wall).next(event.model)


def follow_schedule(call: Call, due: str, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers) -> None:
    """Mend what was left half-done, then ask the triggers of every model; without a project there is none.

    What goes wrong with one model keeps no other from its turn. The same schedule asks once, however often it comes.

    Raises:
        PluginError: of some models the triggers could not be asked; the text names each.
        Unavailable: some models should be asked again.
    """
    failed: dict[str, ModelwrightError] = {}
    for standing in store.all_standings(tables, call.workspace):
        with _apart(standing.model, failed):
            if standing.training:
                _recover(call, standing.training, wall, tables, log)
    named = replace(call, request=due)
    for name in models_of(call, tables):
        with _apart(name, failed):
            _ask(named, name, Cause("schedule", due, "the schedule is due"), wall, tables, log, triggers)
    if failed:
        text = "; ".join(f"model {name}: {error}" for name, error in sorted(failed.items()))
        kind = PluginError if any(isinstance(error, PluginError) for error in failed.values()) else Unavailable
        raise kind(f"the schedule {due} could not be followed for all: {text}") from next(iter(failed.values()))


def end_of(training_id: str) -> str:
    """Return what a standing that heard of the end of a training from its record calls that."""
    return f"end of {training_id}"


@contextmanager
def _apart(model: str, failed: dict[str, ModelwrightError]) -> Iterator[None]:
    try:
        yield
    except ModelwrightError as error:
        failed.setdefault(model, error)


def _ask(call: Call, model: str, cause: Cause, wall: datetime, tables: Tables, log: Log, triggers: Triggers) -> None:
    """Ask a model's triggers, anew where somebody else decided meanwhile."""
    once = Once.of(call, f"schedule of {model}", Order(reason=cause.text), "retraining")
    deciding = deciding_of(call, tables, log, triggers, wall)
    for left in reversed(range(_TRIES)):
        try:
            if once.made(tables) is None:
                deciding.decide(store.load_standing(tables, call.workspace, model), cause, once=once)
            deciding.next(model)
        except ConditionFailed:
            if not left:
                raise
        else:
            return


def _book(call: Call, training: Training, heard: str, tables: Tables, log: Log) -> None:
    """Book an ended training, unless that was done.

    Args:
        call: whose.
        training: as its end left it.
        heard: what told of that.
        tables: the store.
        log: to commit with.
    """
    if training.settled:
        return
    workspace, ended = call.workspace, training.ended or call.now
    cost = training.cost if training.billed is None else training.billed
    ledger = store.load_ledger(tables, workspace, training.model, training.month)
    booked = ledger.having(reserved=ledger.reserved - training.reserved, spent=ledger.spent + cost)
    standing = store.load_standing(tables, workspace, training.model)
    if standing.training == training.training_id:
        standing = standing.having(training="")
    if training.status == "failed":
        standing = standing.after_failure(ended)
    else:
        standing = _richer(standing.after(training), training.gains)
    writes = [
        store.put_training(workspace, training.having(settled=True, cost=cost)),
        store.put_ledger(workspace, booked),
        store.put_standing(workspace, standing.told(heard)),
    ]
    log.commit(call, (), writes)


def _richer(standing: Standing, gains: tuple[store.Gain, ...]) -> Standing:
    """Return a standing with what a training brought, and as many earlier ones per metric as are kept."""
    kept: Mapping[str, list[store.Gain]] = {}
    for one in (*standing.gains, *gains):
        kept = {**kept, one.metric: [*kept.get(one.metric, []), one][-GAINS_KEPT:]}
    return standing.having(gains=tuple(one for of_metric in kept.values() for one in of_metric))


def _recover(call: Call, training_id: str, wall: datetime, tables: Tables, log: Log) -> None:
    """Book a training whose end was not heard; fail one that never ended.

    Nobody knows what the latter cost, so that what was reserved counts, or what its attempts took, if that is more.
    """
    training = store.load_training(tables, call.workspace, training_id)
    if training.over:
        if training.ended is None:  # of before records told what is booked
            training = training.having(ended=training.requested, cost=training.reserved)
        return _book(call, training, end_of(training_id), tables, log)
    if wall < (training.ends_by or training.requested_wall + ABANDONED_AFTER):
        return None
    reason = f"did not end within {wall - training.requested_wall if training.ends_by else ABANDONED_AFTER}"
    tried = attempts.killed(tables, call.workspace, training_id, wall)
    failed = TrainingFailed(
        training_id=training_id,
        model=training.model,
        reason=reason,
        seconds=tried.seconds,
        cost=max(training.reserved / MILLIONTHS, tried.dollars),
    )
    write = store.put_training(call.workspace, over(training, failed, call.now))
    happened = [Happened(stream_of(call.workspace, "TRAINING", training.model), failed)]
    log.commit(call, happened, [write])
    return None
