"""One decision: what came is put to the triggers, then to the policy, and the outcome is one transaction.

The item of a training, the reservation of its cost, the standing of the model and the event
``TrainingRequested`` are one transaction, conditional on the version of the standing, so that two deciders cannot both
start one, nor spend the same money; who loses the race decides anew. A refusal is an event too, with every reason; the
same refusal of the same cause is said once. While a training or a rollout is on, triggers wait (``queue``), if the
policy says so; the policy is asked anew when their turn comes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from modelwright.context import Call
from modelwright.errors import NotFound, PluginError
from modelwright.events import (
    Delivery,
    TrainingCause,
    TrainingDeclined,
    TrainingQueued,
    TrainingRequested,
)
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.once import Once
from modelwright.project import Model, Project, load_current
from modelwright.retraining import gain, queue, store
from modelwright.retraining import policy as rules
from modelwright.retraining.policy import Circumstances, Reason
from modelwright.retraining.queue import Waiting
from modelwright.retraining.store import Decision, Ledger, Standing, Training
from modelwright.retraining.triggers import Cause, Trigger
from modelwright.storage import Tables, Write

Triggers = Callable[[str], Trigger]
"""Returns a trigger by name; raises ``PluginError``."""
Said = TrainingRequested | TrainingQueued | TrainingDeclined


@dataclass(frozen=True)
class Desk:
    """What decisions are made with.

    Attributes:
        wall: wall time, since a process that hangs does so in real time.
    """

    tables: Tables
    log: Log
    triggers: Triggers
    wall: datetime


@dataclass(frozen=True)
class Fired:
    """A trigger that fired.

    Attributes:
        waited: its place in the queue, if it comes from there.
    """

    cause: Cause
    trigger: str
    reason: str
    waited: Waiting | None = None

    @property
    def told(self) -> TrainingCause:
        """The cause, as events tell it."""
        cause = self.cause
        return TrainingCause(
            kind=cause.kind,
            id=cause.identity,
            text=cause.text,
            version=cause.version,
            metric=cause.metric,
            fall=cause.fall,
        )

    @property
    def queue_id(self) -> str:
        """Of the trigger that waited for its turn; empty if it did not."""
        return self.waited.queue_id if self.waited else ""


@dataclass(frozen=True)
class _Draft:
    """What a decision writes, before it is written."""

    standing: Standing
    decision: Decision
    events: tuple[Said, ...] = ()
    writes: tuple[Write, ...] = ()


class Deciding:
    """Decides about one model at a time, for a call."""

    def __init__(self, call: Call, desk: Desk) -> None:
        self.call = call
        self.desk = desk

    def decide(
        self, standing: Standing, cause: Cause, delivery: Delivery | None = None, once: Once | None = None
    ) -> Decision | None:
        """Commit what follows from a cause, and return the decision if a trigger fired.

        Args:
            standing: of the model, as it was read, with what the cause itself tells.
            cause: what came.
            delivery: the event that it came by.
            once: the request that it came by.

        Raises:
            ConditionFailed: somebody else decided meanwhile; nothing was written.
        """
        known = self._declared(standing.model)
        fired = self._fired(known[1], cause, standing) if known else None
        if known is None or fired is None:
            self.keep(standing, delivery)
            return None
        draft = self._judged(standing, fired, *known)
        marks = once.mark(draft.decision.training_id or draft.decision.queue_id) if once else []
        if draft.decision.outcome == "declined":
            marks = []
        if draft.events:
            self._commit([draft], delivery, marks)
        else:
            self.keep(standing, delivery)
        return draft.decision

    def keep(self, standing: Standing, delivery: Delivery | None = None) -> None:
        """Commit a standing that changed, and nothing else."""
        before = store.load_standing(self.desk.tables, self.call.workspace, standing.model)
        if standing != before:
            writes = [store.put_standing(self.call.workspace, standing)]
            self.desk.log.commit(self.call, (), writes, delivery=delivery, table="retraining")

    def next(self, model: str) -> None:
        """Decide about those that wait, in their order, until one trains or none is left.

        Raises:
            ConditionFailed: somebody else decided meanwhile; call it again.
        """
        while self._next(model):
            pass

    def _next(self, model: str) -> bool:
        standing = store.load_standing(self.desk.tables, self.call.workspace, model)
        waiting = () if standing.busy else queue.first(self.desk.tables, self.call.workspace, model)
        if not waiting:
            return False
        drafts: list[_Draft] = []
        for one in waiting:
            drafts.append(self._turn(drafts[-1].standing if drafts else standing, one))
            if drafts[-1].decision.training_id:
                break
        last = max(self.call.now, *(one.came for one in waiting[: len(drafts)]))
        Deciding(replace(self.call, now=last), self.desk)._commit(drafts)
        return not drafts[-1].decision.training_id

    def _turn(self, standing: Standing, one: Waiting) -> _Draft:
        """Decide about one that waited: as of when it came, if that was later."""
        now = max(self.call.now, one.came)
        call = replace(self.call, now=now, actor=one.actor, correlation_id=one.correlation_id)
        fired = Fired(one.cause, one.trigger, one.reason, one)
        draft = Deciding(call, self.desk)._again(standing, fired)
        dropped = queue.drop(self.call.workspace, standing.model, one)
        return replace(draft, writes=(*draft.writes, dropped))

    def _again(self, standing: Standing, fired: Fired) -> _Draft:
        known = self._declared(standing.model)
        taken = known is not None and fired.trigger in known[1].retraining.triggers
        if known is None or not taken:
            text = f"the policy of model {standing.model} no longer takes the trigger {fired.trigger}"
            return self._decline(standing, fired, [Reason("trigger", fired.trigger, text)])
        if not self._said(fired.trigger, fired.cause, standing, known[1]):
            text = f"it no longer holds: {fired.reason}"
            return self._decline(standing, fired, [Reason("trigger", fired.trigger, text)])
        return self._judged(standing, fired, *known)

    def _declared(self, model: str) -> tuple[Project, Model] | None:
        try:
            project = load_current(self.desk.tables, self.call.workspace)
            return project, project.model(model)
        except NotFound:
            return None

    def _fired(self, model: Model, cause: Cause, standing: Standing) -> Fired | None:
        for name in model.retraining.triggers:
            reason = self._said(name, cause, standing, model)
            if reason:
                return Fired(cause, name, reason)
        return None

    def _said(self, name: str, cause: Cause, standing: Standing, model: Model) -> str:
        trigger = self.desk.triggers(name)
        try:
            return trigger.fires(cause, standing, model.retraining, self.call.now)
        except Exception as error:  # a plugin may raise anything, and no other model must suffer for it
            raise PluginError(f"the trigger {name} failed: {type(error).__name__}: {error}") from error

    def _judged(self, standing: Standing, fired: Fired, project: Project, model: Model) -> _Draft:
        policy = model.retraining
        seen = circumstances(self.call, standing, project, model, self.desk.tables, fired.cause)
        reasons = rules.against(standing, policy, seen)
        if not reasons:
            return self._request(standing, fired, model, seen)
        if not policy.queue or all(reason.kind != "busy" for reason in reasons):
            return self._decline(standing, fired, reasons)
        waiting = queue.ids(self.desk.tables, self.call.workspace, standing.model)
        if len(waiting) >= policy.queue_limit:
            full = Reason("queue", "full", f"the queue is full: {len(waiting)} triggers wait")
            return self._decline(standing, fired, [*reasons, full])
        return self._wait(standing, fired, waiting)

    def _decline(self, standing: Standing, fired: Fired, reasons: Sequence[Reason]) -> _Draft:
        texts = tuple(reason.text for reason in reasons)
        decision = Decision(
            at=self.call.now, trigger=fired.trigger, outcome="declined", reasons=texts, queue_id=fired.queue_id
        )
        refused = standing
        if fired.cause.lasting:
            identity = "\x1f".join(f"{reason.kind} {reason.identity}" for reason in reasons)
            if standing.refusals.get(fired.trigger) == identity and fired.waited is None:
                return _Draft(standing, decision)
            refused = standing.having(refusals={**standing.refusals, fired.trigger: identity})
        event = TrainingDeclined(
            model=standing.model,
            trigger=fired.trigger,
            reasons=texts,
            cause=fired.told,
            queue_id=fired.queue_id,
            standing=standing.v,
            heard=standing.heard,
        )
        write = store.put_decision(self.call.workspace, standing.model, new_id(self.call.now), decision)
        return _Draft(refused, decision, (event,), (write,))

    def _wait(self, standing: Standing, fired: Fired, before: Sequence[str]) -> _Draft:
        call, place = self.call, len(before) + 1
        queue_id = fired.trigger if fired.cause.lasting else queue.next_id(before, call.now)
        decision = Decision(
            at=call.now,
            trigger=fired.trigger,
            outcome="queued",
            reasons=(fired.reason,),
            queue_id=queue_id,
            place=place,
        )
        if queue_id in before:
            return _Draft(standing, decision)
        cause = fired.cause
        waiting = Waiting(
            queue_id=queue_id,
            trigger=fired.trigger,
            reason=fired.reason,
            came=call.now,
            kind=cause.kind,
            identity=cause.identity,
            text=cause.text,
            version=cause.version,
            metric=cause.metric,
            fall=cause.fall,
            actor=call.actor,
            correlation_id=call.correlation_id,
        )
        event = TrainingQueued(
            model=standing.model,
            trigger=fired.trigger,
            reason=fired.reason,
            queue_id=queue_id,
            place=place,
            cause=fired.told,
            standing=standing.v,
            heard=standing.heard,
        )
        writes: list[Write] = [
            queue.put(call.workspace, standing.model, waiting),
            store.put_decision(call.workspace, standing.model, new_id(call.now), decision),
        ]
        return _Draft(standing, decision, (event,), tuple(writes))

    def _request(self, standing: Standing, fired: Fired, model: Model, seen: Circumstances) -> _Draft:
        call, ledger = self.call, seen.ledger
        training = self._training(standing, fired, model, ledger.month)
        decision = Decision(
            at=call.now,
            trigger=fired.trigger,
            outcome="requested",
            reasons=(training.reason,),
            training_id=training.training_id,
            queue_id=fired.queue_id,
            expected_gain=seen.gain.value,
            gain_text=seen.gain.text,
        )
        event = TrainingRequested(
            training_id=training.training_id,
            model=standing.model,
            trigger=fired.trigger,
            reason=training.reason,
            trainer=training.trainer,
            window=training.window,
            champion=standing.champion,
            reserved=model.retraining.reserve,
            expected_gain=seen.gain.value,
            gain_text=seen.gain.text,
            cause=fired.told,
            queue_id=fired.queue_id,
            standing=standing.v,
            heard=standing.heard,
        )
        writes: list[Write] = [
            store.put_training(call.workspace, training),
            store.put_ledger(call.workspace, ledger.having(reserved=ledger.reserved + training.reserved)),
            store.put_decision(call.workspace, standing.model, training.training_id, decision),
        ]
        return _Draft(standing.having(training=training.training_id), decision, (event,), tuple(writes))

    def _training(self, standing: Standing, fired: Fired, model: Model, month: str) -> Training:
        call, terms = self.call, model.retraining
        evidence = f" (evidence: {'; '.join(standing.evidence)})" if standing.evidence else ""
        training = Training(
            training_id=new_id(call.now),
            model=standing.model,
            trigger=fired.trigger,
            reason=fired.reason + evidence,
            trainer=terms.trainer,
            window=rules.window_of(terms, call.now),
            champion=standing.champion,
            labels_until=standing.labels_until,
            requested=call.now,
            requested_wall=self.desk.wall,
            correlation_id=call.correlation_id,
            requested_by=call.actor,
            month=month,
            reserved=rules.millionths(terms.reserve),
            options=terms.trainer_options,
            metric=fired.cause.metric,
            fall=fired.cause.fall,
        )
        if standing.champion is None:
            return training
        place = store.load_version(self.desk.tables, call.workspace, standing.model, standing.champion)
        key, digest, features = place
        return training.having(champion_key=key, champion_digest=digest, champion_features=features)

    def _commit(self, drafts: Sequence[_Draft], delivery: Delivery | None = None, marks: Sequence[Write] = ()) -> None:
        standing = drafts[-1].standing
        stream = stream_of(self.call.workspace, "TRAINING", standing.model)
        happened = [Happened(stream, event) for draft in drafts for event in draft.events]
        writes = [write for draft in drafts for write in draft.writes]
        writes += self._held(standing, drafts)
        self.desk.log.commit(self.call, happened, [*writes, *marks], delivery=delivery, table="retraining")

    def _held(self, standing: Standing, drafts: Sequence[_Draft]) -> list[Write]:
        """Return the write of the standing, if it changed; of who only waits, the condition to wait for.

        So a hundred who come at once, and have to wait or are refused, need not wait for one another.
        """
        if standing != store.load_standing(self.desk.tables, self.call.workspace, standing.model):
            return [store.put_standing(self.call.workspace, standing)]
        waits = any(draft.decision.outcome == "queued" for draft in drafts)
        return [store.still_busy(self.call.workspace, standing)] if waits else []


def circumstances(
    call: Call, standing: Standing, project: Project, model: Model, tables: Tables, cause: Cause | None = None
) -> Circumstances:
    """Return what the policy looks at besides the standing."""
    ledger: Ledger = store.load_ledger(tables, call.workspace, standing.model, f"{call.now:%Y-%m}")
    return Circumstances(
        quarantines=store.open_quarantines(tables, call.workspace, rules.sources_of(project, model)),
        ledger=ledger,
        now=call.now,
        learned=store.learned_by(tables, call.workspace, standing.model, standing.champion),
        gain=gain.expected(standing.gains, cause),
        cause=cause,
    )
