"""The order in which a history was heard, found by telling it to the policies that ran: see ``whatif``."""

from collections.abc import Sequence
from dataclasses import replace

from modelwright.context import PLATFORM
from modelwright.events import Delivery, TrainingCause
from modelwright.project import Project
from modelwright.retraining import deciding, ending
from modelwright.retraining.decision import Triggers
from modelwright.retraining.whatif import APPLIED, DECISIONS, ENDS, History, Past, Step, World, difference
from modelwright.storage import Tables


def history_of(past: Past, project: Project, tables: Tables, triggers: Triggers = deciding.trigger) -> History:
    """Find the order in which a history was heard, by telling it to the policy that ran.

    Args:
        past: the history.
        project: with the policy that ran.
        tables: empty ones.
        triggers: as the decider has them.
    """
    return _Ordering(past, World(past, project, tables, triggers)).run()


class _Ordering:
    def __init__(self, past: Past, world: World) -> None:
        self._past = past
        self._world = world
        self._pending: list[Step] = []
        self._changes = sorted(map(_event, past.of(APPLIED)), key=lambda step: step.identity)
        self._named = {name for one in past.of(*DECISIONS) for name in (*one.event.heard, _cause_of(one))}
        self._found = History(past)

    def run(self) -> History:
        for delivery in self._past.deliveries:
            if delivery.envelope.type in DECISIONS:
                self._place(delivery)
            elif delivery.envelope.type != APPLIED:
                self._pending.append(_event(delivery))
        while self._pending:
            self._take(self._pending[0])
        for change in self._changes:
            self._tell(change)
        self._found.said = self._world.said
        self._found.first_difference = difference(self._past.of(*DECISIONS), self._world.said)
        return self._found

    def _place(self, decision: Delivery) -> None:
        """Tell the cause of a decision, after the events that it had heard of."""
        cause, event = decision.event.cause, decision.event
        if cause is None:  # of before causes were told: as it was written
            while self._pending:
                self._take(self._pending[0])
            return
        turn = bool(event.queue_id) and decision.envelope.type != "TrainingQueued"
        own = None if turn else _asked(decision, cause) or self._waiting(cause.id)
        self._catch_up(event.standing, event.heard, but=own, by=decision if turn else None)
        if own is not None:
            self._apply_before(decision.envelope.id)
            self._take(own)

    def _catch_up(self, known: int, heard: Sequence[str], but: Step | None, by: Delivery | None) -> None:
        """Tell what was heard in its order; before that, of what is not named, as many as changed something.

        By the last of these a trigger that waited had its turn, if one had (``by``): under the policy of that decision.
        """
        named = [step for identity in heard if (step := self._waiting(identity)) is not None and step is not but]
        for step in [step for step in self._pending if step not in named and step is not but]:
            if self._world.standing.v + len(named) < known:
                self._take(step)
        for step in named:
            if by is not None and step is named[-1]:
                self._apply_before(by.envelope.id)
            self._take(step)

    def _apply_before(self, identity: str) -> None:
        """Apply the policies that the log tells of before an event; a policy is taken to rule as late as it can.

        What came before them, and no decision names, was heard before them.
        """
        while self._changes and self._changes[0].identity < identity:
            change = self._changes.pop(0)
            older = [step for step in self._pending if step.identity < change.identity]
            for step in (step for step in older if not self._named & _names_of(step)):
                self._tell(step)
            self._tell(change)

    def _waiting(self, identity: str) -> Step | None:
        return next((step for step in self._pending if identity in _names_of(step)), None)

    def _take(self, step: Step) -> None:
        if step.kind == "event":
            self._apply_before(step.identity)
        self._tell(step)

    def _tell(self, step: Step) -> None:
        if step in self._pending:
            self._pending.remove(step)
        self._found.steps.append(step)
        self._world.do(step)
        self._found.champions[step.identity] = self._world.standing.champion


def _event(delivery: Delivery) -> Step:
    envelope = delivery.envelope
    return Step("event", envelope.id, envelope.at, delivery, correlation_id=envelope.correlation_id)


def _names_of(step: Step) -> set[str]:
    """Return what decisions call a step that they had heard of."""
    if step.delivery is None or step.type not in ENDS:
        return {step.identity}
    return {step.identity, ending.end_of(step.delivery.event.training_id)}


def _cause_of(decision: Delivery) -> str:
    return str(decision.event.cause.id) if decision.event.cause else ""


def _asked(decision: Delivery, cause: TrainingCause) -> Step | None:
    """Return the wish or the schedule that a decision was about; None if it was an event."""
    envelope = decision.envelope
    step = Step("wish", cause.id, envelope.at, None, envelope.actor, envelope.correlation_id, cause.text)
    if cause.kind == "manual":
        return step
    return replace(step, kind="schedule", actor=PLATFORM, text="") if cause.kind == "schedule" else None
