"""The use cases of retraining: what came is noted, triggers are asked, the policy decides, trainers start.

The item of a training, the reservation of its cost, the standing of the model and the event
``TrainingRequested`` are one transaction, so that two deciders cannot both start one, nor spend the same
money. A refusal is an event too, with every reason; the same refusal of the same cause is said once.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
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
    PerformanceMeasured,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.project import Model, Project, load_current
from modelwright.retraining import policy as rules
from modelwright.retraining import store
from modelwright.retraining.store import EVIDENCE_KEPT, MILLIONTHS, Decision, Quarantine, Standing, Training
from modelwright.retraining.trainers import Job, Trainers
from modelwright.retraining.triggers import Cause, Trigger
from modelwright.storage import Tables, Write

ABANDONED_AFTER = timedelta(hours=1)
"""Of wall time: four times what Lambda lets a function run."""

Triggers = Callable[[str], Trigger]
"""Returns a trigger by name; raises ``PluginError``."""


class Order(BaseModel):
    """A person's wish to train."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    reason: str


def trigger(name: str) -> Trigger:
    """Return the installed trigger of that name; raises ``PluginError``."""
    made: Trigger = plugins.load("triggers", name)()
    return made


# --- what came ---------------------------------------------------------------------------


def note_quarantine(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember that a quarantine began or ended, in whichever order the two arrive."""
    event: QualityFailed | QuarantineReleased = delivery.event
    if isinstance(event, QualityFailed) and event.scope == "rows":
        return
    known = store.load_quarantine(tables, call.workspace, event.source, event.quarantine_id)
    began = isinstance(event, QualityFailed)
    if known is not None and (began or not known.open):
        return
    window = event.window if isinstance(event, QualityFailed) else None
    quarantine = Quarantine(source=event.source, quarantine_id=event.quarantine_id, open=began, window=window)
    write = store.put_quarantine(call.workspace, quarantine, known=known is not None)
    log.commit(call, (), [write], delivery=delivery, table="retraining")


def note_version(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember where a version's artifacts lie."""
    event: ModelVersionCreated = delivery.event
    write = store.put_version(call.workspace, event)
    log.commit(call, (), [write], delivery=delivery, table="retraining")


def note_champion(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember who is champion, unless a later word came before."""
    event: AliasChanged = delivery.event
    standing = store.load_standing(tables, call.workspace, event.model)
    word = f"{delivery.envelope.stream}#{delivery.envelope.sequence:012}"
    if event.alias != "champion" or word <= standing.champion_word:
        return
    changed = standing.having(champion=event.version, champion_word=word, champion_since=call.now)
    _save(call, changed, delivery, log)


def note_rollout(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember whether a rollout is on, unless a later word came before."""
    event: RolloutStarted | RolloutPromoted | RolloutRolledBack = delivery.event
    standing = store.load_standing(tables, call.workspace, event.model)
    sequence = delivery.envelope.sequence
    if sequence <= standing.rollout_sequence:
        return
    active = event.rollout_id if isinstance(event, RolloutStarted) else ""
    _save(call, standing.having(rollout=active, rollout_sequence=sequence), delivery, log)


def note_drift(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Keep drift as evidence for the models that its source feeds; it starts nothing."""
    event: DriftDetected = delivery.event
    project = load_current(tables, call.workspace)
    columns = ", ".join(column.column for column in event.columns if column.drifted)
    text = f"{event.source} drifted in {event.window.start:%Y-%m-%d}/{event.window.end:%Y-%m-%d}: {columns}"
    writes: list[Write] = []
    for name, model in project.models.items():
        if event.source in rules.sources_of(project, model):
            standing = store.load_standing(tables, call.workspace, name)
            kept = (*standing.evidence, text)[-EVIDENCE_KEPT:]
            writes.append(store.put_standing(call.workspace, standing.having(evidence=kept)))
    log.commit(call, (), writes, delivery=delivery, table="retraining")


def follow_labels(
    call: Call, delivery: Delivery, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> None:
    """Count labels that came, and ask the triggers whether there are enough."""
    event: PerformanceMeasured = delivery.event
    before = store.load_standing(tables, call.workspace, event.model)
    until = max(event.window.end, before.labels_until or event.window.end)
    standing = before.having(labels_until=until, labels_since=before.labels_since + event.labels)
    cause = Cause("labels", delivery.envelope.id)
    _Deciding(call, tables, log, triggers, wall).decide(standing, cause, delivery)


def follow_degraded(
    call: Call, delivery: Delivery, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> None:
    """The champion got worse: ask the triggers."""
    event: PerformanceDegraded = delivery.event
    standing = store.load_standing(tables, call.workspace, event.model)
    cause = Cause("performance", delivery.envelope.id, event.reason, event.version)
    _Deciding(call, tables, log, triggers, wall).decide(standing, cause, delivery)


def follow_schedule(call: Call, due: str, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers) -> None:
    """Fail trainings that never ended, then ask the triggers of every model; without a project there is none."""
    for standing in store.all_standings(tables, call.workspace):
        if standing.training:
            _abandon(call, standing.training, wall, tables, log)
    try:
        models = load_current(tables, call.workspace).models
    except NotFound:
        return
    for name in models:
        standing = store.load_standing(tables, call.workspace, name)
        cause = Cause("schedule", due, "the schedule is due")
        _Deciding(call, tables, log, triggers, wall).decide(standing, cause)


def request(
    call: Call, model: str, order: Order, *, wall: datetime, tables: Tables, log: Log, triggers: Triggers
) -> dict[str, Any]:
    """Train because a person asks; what holds for every trigger holds for people too, but the wait after a failure.

    Raises:
        NotFound: there is no such model.
        Refused: the policy says no; the refusal is in the log with every reason.
    """
    call.authorise("retraining:request", f"model/{model}")
    load_current(tables, call.workspace).model(model)
    if not order.reason.strip():
        raise InvalidInput("reason: say why to train")
    standing = store.load_standing(tables, call.workspace, model)
    cause = Cause("manual", call.correlation_id, f"{call.actor}: {order.reason}")
    decision = _Deciding(call, tables, log, triggers, wall).decide(standing, cause)
    if decision is None:
        raise Refused(f"the policy of model {model} does not take the trigger manual")
    if decision.outcome == "declined":
        raise Refused(f"no training of {model}: {'; '.join(decision.reasons)}")
    return {"training_id": decision.training_id, "model": model, "reason": "; ".join(decision.reasons)}


def show(call: Call, model: str, *, tables: Tables) -> dict[str, Any]:
    """Return a model's standing, decisions, ledger and what bars a training now; raises ``NotFound``."""
    call.authorise("retraining:read", f"model/{model}")
    project = load_current(tables, call.workspace)
    declared = project.model(model)
    standing = store.load_standing(tables, call.workspace, model)
    ledger = store.load_ledger(tables, call.workspace, model, f"{call.now:%Y-%m}")
    quarantines = store.open_quarantines(tables, call.workspace, rules.sources_of(project, declared))
    terms = declared.retraining
    return {
        "standing": standing.model_dump(mode="json", exclude={"declined"}),
        "against": rules.against(standing, terms, quarantines, ledger, call.now),
        "cooldown_left_s": rules.cooldown_left(standing, terms, call.now).total_seconds(),
        "ledger": {
            "month": ledger.month,
            "budget": terms.budget,
            "spent": ledger.spent / MILLIONTHS,
            "reserved": ledger.reserved / MILLIONTHS,
        },
        "decisions": [d.model_dump(mode="json") for d in store.decisions(tables, call.workspace, model)],
    }


# --- trainings ---------------------------------------------------------------------------


def start(call: Call, delivery: Delivery, *, tables: Tables, log: Log, trainers: Trainers) -> None:
    """Hand a requested training to its trainer.

    If this dies between the trainer's yes and the commit, the retry starts the job again under the same
    training id, which trainers and ``train`` take as the same.
    """
    event: TrainingRequested = delivery.event
    training = store.load_training(tables, call.workspace, event.training_id)
    if training.status != "requested":
        return
    job = trainers(event.trainer).start(Job(call.workspace, event.training_id, event.model))
    now = store.load_training(tables, call.workspace, event.training_id)
    writes = [] if now.over else [store.put_training(call.workspace, now.having(status="started", job=job))]
    started = TrainingStarted(training_id=event.training_id, model=event.model, trainer=event.trainer, job=job)
    _commit(call, event.model, [started], writes, delivery, log)


def settle(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Book what an ended training cost, release what was reserved, and make room for the next."""
    event: TrainingCompleted | TrainingFailed = delivery.event
    training = store.load_training(tables, call.workspace, event.training_id)
    if training.settled:
        return
    cost = rules.millionths(event.cost)
    ledger = store.load_ledger(tables, call.workspace, event.model, training.month)
    booked = ledger.having(reserved=ledger.reserved - training.reserved, spent=ledger.spent + cost)
    standing = store.load_standing(tables, call.workspace, event.model)
    if standing.training == training.training_id:
        standing = standing.having(training="")
    failed = isinstance(event, TrainingFailed)
    standing = standing.after_failure(call.now) if failed else standing.after(training)
    writes = [
        store.put_training(call.workspace, training.having(settled=True)),
        store.put_ledger(call.workspace, booked),
        store.put_standing(call.workspace, standing),
    ]
    log.commit(call, (), writes, delivery=delivery, table="retraining")


def _abandon(call: Call, training_id: str, wall: datetime, tables: Tables, log: Log) -> None:
    """Fail a training that never ended; nobody knows what it cost, so that what was reserved counts."""
    training = store.load_training(tables, call.workspace, training_id)
    if training.over or wall - training.requested_wall < ABANDONED_AFTER:
        return
    reason = f"did not end within {ABANDONED_AFTER}"
    cost = training.reserved / MILLIONTHS
    failed = TrainingFailed(training_id=training_id, model=training.model, reason=reason, cost=cost)
    write = store.put_training(call.workspace, training.having(status="failed", outcome=reason))
    _commit(call, training.model, [failed], [write], None, log)


# --- deciding ----------------------------------------------------------------------------


class _Deciding:
    """Asks the triggers about one cause, then the policy."""

    def __init__(self, call: Call, tables: Tables, log: Log, triggers: Triggers, wall: datetime) -> None:
        self.call = call
        self.tables = tables
        self.log = log
        self.triggers = triggers
        self.wall = wall

    def decide(self, standing: Standing, cause: Cause, delivery: Delivery | None = None) -> Decision | None:
        """Commit what follows from a cause, and return the decision if a trigger fired."""
        known = self._declared(standing.model)
        name, reason = self._fired(known[1], cause, standing) if known else ("", "")
        if known is None or not reason:
            self._nothing(standing, delivery)
            return None
        project, model = known
        quarantines = store.open_quarantines(self.tables, self.call.workspace, rules.sources_of(project, model))
        ledger = store.load_ledger(self.tables, self.call.workspace, standing.model, f"{self.call.now:%Y-%m}")
        manual = cause.kind == "manual"
        reasons = rules.against(standing, model.retraining, quarantines, ledger, self.call.now, manual=manual)
        if reasons:
            return self._decline(standing, cause, name, reasons, delivery)
        return self._request(standing, name, reason, model, ledger, delivery)

    def _declared(self, model: str) -> tuple[Project, Model] | None:
        try:
            project = load_current(self.tables, self.call.workspace)
            return project, project.model(model)
        except NotFound:
            return None

    def _fired(self, model: Model, cause: Cause, standing: Standing) -> tuple[str, str]:
        for name in model.retraining.triggers:
            reason = self.triggers(name).fires(cause, standing, model.retraining, self.call.now)
            if reason:
                return name, reason
        return "", ""

    def _nothing(self, standing: Standing, delivery: Delivery | None) -> None:
        before = store.load_standing(self.tables, self.call.workspace, standing.model)
        if standing != before:
            writes = [store.put_standing(self.call.workspace, standing)]
            _commit(self.call, standing.model, [], writes, delivery, self.log)

    def _decline(
        self, standing: Standing, cause: Cause, name: str, reasons: Sequence[str], delivery: Delivery | None
    ) -> Decision:
        decision = Decision(at=self.call.now, trigger=name, outcome="declined", reasons=tuple(reasons))
        identity = "\x1f".join([cause.identity, name, *reasons])
        if standing.declined == identity:
            self._nothing(standing, delivery)
            return decision
        event = TrainingDeclined(model=standing.model, trigger=name, reasons=tuple(reasons))
        writes = [
            store.put_standing(self.call.workspace, standing.having(declined=identity)),
            store.put_decision(self.call.workspace, standing.model, new_id(self.call.now), decision),
        ]
        _commit(self.call, standing.model, [event], writes, delivery, self.log)
        return decision

    def _request(
        self,
        standing: Standing,
        name: str,
        reason: str,
        model: Model,
        ledger: store.Ledger,
        delivery: Delivery | None,
    ) -> Decision:
        call, terms = self.call, model.retraining
        evidence = f" (evidence: {'; '.join(standing.evidence)})" if standing.evidence else ""
        training = Training(
            training_id=new_id(call.now),
            model=standing.model,
            trigger=name,
            reason=reason + evidence,
            trainer=terms.trainer,
            window=rules.window_of(terms, call.now),
            champion=standing.champion,
            labels_until=standing.labels_until,
            requested=call.now,
            requested_wall=self.wall,
            correlation_id=call.correlation_id,
            requested_by=call.actor,
            month=ledger.month,
            reserved=rules.millionths(terms.reserve),
        )
        if standing.champion is not None:
            key, digest, features = store.load_version(self.tables, call.workspace, standing.model, standing.champion)
            training = training.having(champion_key=key, champion_digest=digest, champion_features=features)
        decision = Decision(
            at=call.now,
            trigger=name,
            outcome="requested",
            reasons=(training.reason,),
            training_id=training.training_id,
        )
        event = TrainingRequested(
            training_id=training.training_id,
            model=standing.model,
            trigger=name,
            reason=training.reason,
            trainer=terms.trainer,
            window=training.window,
            champion=standing.champion,
            reserved=terms.reserve,
        )
        writes = [
            store.put_training(call.workspace, training),
            store.put_ledger(call.workspace, ledger.having(reserved=ledger.reserved + training.reserved)),
            store.put_standing(call.workspace, standing.having(training=training.training_id)),
            store.put_decision(call.workspace, standing.model, training.training_id, decision),
        ]
        _commit(call, standing.model, [event], writes, delivery, self.log)
        return decision


def _save(call: Call, standing: Standing, delivery: Delivery, log: Log) -> None:
    log.commit(call, (), [store.put_standing(call.workspace, standing)], delivery=delivery, table="retraining")


def _commit(
    call: Call,
    model: str,
    events: Sequence[TrainingRequested | TrainingDeclined | TrainingStarted | TrainingFailed],
    writes: Sequence[Write],
    delivery: Delivery | None,
    log: Log,
) -> None:
    happened = [Happened(stream_of(call.workspace, "TRAINING", model), event) for event in events]
    log.commit(call, happened, writes, delivery=delivery, table="retraining")
