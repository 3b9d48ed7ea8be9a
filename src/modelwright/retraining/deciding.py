"""The use cases of retraining: what came is noted, triggers are asked, trainings start, and what they cost is booked.

How a decision is made stands in ``decision``. Whatever is killed half-way goes on when its delivery comes again, or
when the schedule is due: a training that ended and was not booked is booked, one that never ends fails, and those that
wait are decided.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from modelwright import plugins
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.events import (
    AliasChanged,
    Delivery,
    DriftDetected,
    ModelVersionCreated,
    PerformanceDegraded,
    PerformanceEstimated,
    PerformanceMeasured,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
)
from modelwright.log import Log
from modelwright.once import Once
from modelwright.project import Model, load_current
from modelwright.retraining import gain, queue, store
from modelwright.retraining import policy as rules
from modelwright.retraining.decision import Deciding, Desk, Triggers, circumstances
from modelwright.retraining.store import AGES_KEPT, EVIDENCE_KEPT, MILLIONTHS, Quarantine, Standing
from modelwright.retraining.triggers import Cause, Trigger
from modelwright.storage import Tables, Write

_NAMES, _NAME_LENGTH = 10, 100
"""Of the columns that drifted, so many are named as evidence, which becomes part of the reason to train."""
_SEARCHED = 500
"""How many decisions are looked through for what came of a request."""


class Order(BaseModel):
    """A person's wish to train."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    reason: str


@lru_cache(maxsize=64)
def trigger(name: str) -> Trigger:
    """Return the installed trigger of that name; raises ``PluginError``."""
    made: Trigger = plugins.load("triggers", name)()
    return made


# --- what came ---------------------------------------------------------------------------


def note_quarantine(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember that a quarantine began or ended, in whichever order the words arrive.

    A repair that is taken back begins another quarantine, with an id of its own. The standing of each model that the
    source feeds counts such words: a decision that did not see this one fails, and is made anew.
    """
    event: QualityFailed | QuarantineReleased = delivery.event
    if isinstance(event, QualityFailed) and event.scope == "rows":
        return
    known = store.load_quarantine(tables, call.workspace, event.source, event.quarantine_id)
    if isinstance(event, QualityFailed):
        if known is not None:
            return
        fresh = Quarantine(source=event.source, quarantine_id=event.quarantine_id, open=True, window=event.window)
        writes = store.begin_quarantine(call.workspace, fresh)
    else:
        if known is not None and not known.open:
            return
        writes = store.end_quarantine(call.workspace, event.source, event.quarantine_id, known)
    identity = delivery.envelope.id
    counted = [s.told(identity, quarantines=s.quarantines + 1) for s in _fed(call, event.source, tables)]
    writes += [store.put_standing(call.workspace, standing) for standing in counted]
    log.commit(call, (), writes, delivery=delivery, table="retraining")


def note_version(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember where a version's artifacts lie; a decision that did not see this fails, and is made anew."""
    event: ModelVersionCreated = delivery.event
    writes: list[Write] = [store.put_version(call.workspace, event)]
    if event.model in models_of(call, tables):
        standing = store.load_standing(tables, call.workspace, event.model)
        writes.append(store.put_standing(call.workspace, standing.told(delivery.envelope.id)))
    log.commit(call, (), writes, delivery=delivery, table="retraining")


def note_champion(
    call: Call,
    delivery: Delivery,
    *,
    tables: Tables,
    log: Log,
    wall: datetime | None = None,
    triggers: Triggers = trigger,
) -> None:
    """Remember who is champion, unless a later word came before; whoever waits for the end of its rollout goes on."""
    event: AliasChanged = delivery.event
    if event.alias != "champion":
        return
    standing = store.load_standing(tables, call.workspace, event.model)
    word = f"{delivery.envelope.stream}#{delivery.envelope.sequence:012}"
    if word > standing.champion_word:
        changed = standing.told(
            delivery.envelope.id, champion=event.version, champion_word=word, champion_since=call.now
        )
        log.commit(call, (), [store.put_standing(call.workspace, changed)])
    deciding_of(call, tables, log, triggers, wall).next(event.model)


def note_rollout(
    call: Call,
    delivery: Delivery,
    *,
    tables: Tables,
    log: Log,
    wall: datetime | None = None,
    triggers: Triggers = trigger,
) -> None:
    """Remember whether a rollout is on, unless a later word came before; when it ends, whoever waits goes on.

    After a promotion they go on once the registry has said who is champion.
    """
    event: RolloutStarted | RolloutPromoted | RolloutRolledBack = delivery.event
    standing = store.load_standing(tables, call.workspace, event.model)
    sequence = delivery.envelope.sequence
    if sequence > standing.rollout_sequence:
        active = event.rollout_id if isinstance(event, RolloutStarted) else ""
        standing = standing.told(delivery.envelope.id, rollout=active, rollout_sequence=sequence)
        log.commit(call, (), [store.put_standing(call.workspace, standing)])
    promoted = isinstance(event, RolloutPromoted) and standing.champion != event.challenger
    if not promoted:
        deciding_of(call, tables, log, triggers, wall).next(event.model)


def note_drift(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Keep drift as evidence for the models that its source feeds; it starts nothing."""
    event: DriftDetected = delivery.event
    columns = _some(column.column for column in event.columns if column.drifted)
    text = f"{event.source} drifted in {event.window.start:%Y-%m-%d}/{event.window.end:%Y-%m-%d}: {columns}"
    writes: list[Write] = []
    for standing in _fed(call, event.source, tables):
        kept = (*standing.evidence, text)[-EVIDENCE_KEPT:]
        writes.append(store.put_standing(call.workspace, standing.told(delivery.envelope.id, evidence=kept)))
    log.commit(call, (), writes, delivery=delivery, table="retraining")


def follow_labels(
    call: Call, delivery: Delivery, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> None:
    """Count labels that came for predictions, and ask the triggers whether there are enough."""
    event: PerformanceMeasured = delivery.event
    before = store.load_standing(tables, call.workspace, event.model)
    standing = _labelled(before, event.window.end, call.now)
    standing = standing.told(delivery.envelope.id, labels_since=before.labels_since + event.joined)
    cause = Cause("labels", delivery.envelope.id)
    deciding_of(call, tables, log, triggers, wall).decide(standing, cause, delivery)


def follow_degraded(
    call: Call, delivery: Delivery, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> None:
    """The champion got worse: ask the triggers. Labels say so, which may be heard of before they are counted."""
    event: PerformanceDegraded = delivery.event
    before = store.load_standing(tables, call.workspace, event.model)
    fall = gain.fall_of(event.metric, event.value.value, event.reference)
    cause = Cause("performance", delivery.envelope.id, event.reason, event.version, event.metric, fall)
    standing = _labelled(before, event.window.end, call.now)
    if standing != before:
        standing = standing.told(delivery.envelope.id)
    deciding_of(call, tables, log, triggers, wall).decide(standing, cause, delivery)


def follow_estimated(
    call: Call, delivery: Delivery, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> None:
    """By an estimate the champion got worse, before labels came: ask the triggers."""
    event: PerformanceEstimated = delivery.event
    if not event.degraded:
        return
    standing = store.load_standing(tables, call.workspace, event.model)
    fall = gain.fall_of(event.metric, event.value.value, event.reference)
    text = f"{event.metric} {event.value.value:.3f} after {event.reference:.3f}, as {event.estimator} estimates"
    cause = Cause("estimated", delivery.envelope.id, text, event.version, event.metric, fall)
    deciding_of(call, tables, log, triggers, wall).decide(standing, cause, delivery)


def request(
    call: Call, model: str, order: Order, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> dict[str, Any]:
    """Train because a person asks; what people need not wait for stands in ``policy.against``.

    The same request again gets the same training, or the same place in the queue.

    Raises:
        NotFound: there is no such model.
        Refused: the policy says no; the refusal is in the log with every reason.
    """
    call.authorise("retraining:request", f"model/{model}")
    load_current(tables, call.workspace).model(model)
    if not order.reason.strip():
        raise InvalidInput("reason: say why to train")
    once = Once.of(call, f"training of {model}", order, "retraining")
    if (made := once.made(tables)) is not None:
        return {"model": model, **_asked_before(call, model, made, tables)}
    standing = store.load_standing(tables, call.workspace, model)
    cause = Cause("manual", call.request or call.correlation_id, f"{call.actor}: {order.reason}")
    decision = deciding_of(call, tables, log, triggers, wall).decide(standing, cause, once=once)
    if decision is None:
        raise Refused(f"the policy of model {model} does not take the trigger manual")
    if decision.outcome == "declined":
        raise Refused(f"no training of {model}: {'; '.join(decision.reasons)}")
    said: dict[str, Any] = {"model": model, "reason": "; ".join(decision.reasons)}
    if decision.outcome == "queued":
        return {**said, "queue_id": decision.queue_id, "place": decision.place}
    expects = {"expected_gain": decision.expected_gain, "gain_text": decision.gain_text}
    return {**said, "training_id": decision.training_id, **expects}


def _asked_before(call: Call, model: str, made: str, tables: Tables) -> dict[str, Any]:
    """Return what came of a request: a training, or a place in the queue and perhaps a training by now."""
    known = [
        d
        for d in store.decisions(tables, call.workspace, model, limit=_SEARCHED)
        if made in (d.training_id, d.queue_id)
    ]
    trained = next((d.training_id for d in known if d.training_id), "")
    reasons = "; ".join(known[-1].reasons) if known else ""
    return {"reason": reasons, **({"training_id": trained} if trained else {"queue_id": made})}


def show(call: Call, model: str, *, tables: Tables) -> dict[str, Any]:
    """Return a model's standing, decisions, queue, ledger, expected gain and what bars a training now.

    Raises:
        NotFound: there is no such model.
    """
    call.authorise("retraining:read", f"model/{model}")
    project = load_current(tables, call.workspace)
    declared = project.model(model)
    standing = store.load_standing(tables, call.workspace, model)
    seen, terms = circumstances(call, standing, project, declared, tables), declared.retraining
    return {
        "standing": standing.model_dump(mode="json", exclude={"refusals", "quarantines", "heard"}),
        "against": tuple(reason.text for reason in rules.against(standing, terms, seen)),
        "cooldown_left_s": rules.cooldown_left(standing, terms, call.now).total_seconds(),
        "expected_gain": {"metric": seen.gain.metric, "value": seen.gain.value, "text": seen.gain.text},
        "ledger": {
            "month": seen.ledger.month,
            "budget": terms.budget,
            "spent": seen.ledger.spent / MILLIONTHS,
            "reserved": seen.ledger.reserved / MILLIONTHS,
        },
        "queue": [
            one.model_dump(mode="json", include={"queue_id", "trigger", "reason", "came", "actor"})
            for one in queue.first(tables, call.workspace, model, terms.queue_limit)
        ],
        "decisions": [d.model_dump(mode="json") for d in store.decisions(tables, call.workspace, model)],
        "policy": terms.model_dump(mode="json"),
        "sources": rules.sources_of(project, declared),
    }


# --- parts -------------------------------------------------------------------------------


def deciding_of(call: Call, tables: Tables, log: Log, triggers: Triggers, wall: datetime | None) -> Deciding:
    """Return what decides for a call; ``wall``: see ``Desk``."""
    return Deciding(call, Desk(tables, log, triggers, wall or datetime.now(UTC)))


def _some(columns: Iterable[str]) -> str:
    """Return the first of many names, each cut to a length, and how many more there are."""
    names = sorted(set(columns))
    told = [name if len(name) <= _NAME_LENGTH else f"{name[:_NAME_LENGTH]}..." for name in names[:_NAMES]]
    return ", ".join(told) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _labelled(standing: Standing, until: datetime, now: datetime) -> Standing:
    """Return a standing that knows of labels up to a time, and how old those before them had got."""
    before = standing.labels_until
    if before is None or until > before:
        age = [] if before is None else [(now - before) / timedelta(days=1)]
        ages = (*standing.label_ages, *age)[-AGES_KEPT:]
        return standing.having(labels_until=until, label_ages=ages)
    return standing


def models_of(call: Call, tables: Tables) -> Mapping[str, Model]:
    """Return the models of the project; without one there are none."""
    try:
        return load_current(tables, call.workspace).models
    except NotFound:
        return {}


def _fed(call: Call, source: str, tables: Tables) -> list[Standing]:
    """Return the standings of the models that a source feeds; without a project there are none."""
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return []
    fed = [name for name, model in project.models.items() if source in rules.sources_of(project, model)]
    return [store.load_standing(tables, call.workspace, name) for name in fed]
