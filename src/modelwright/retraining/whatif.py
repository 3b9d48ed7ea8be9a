"""Recorded history, told once more to the same deciding code: under the policy that ran, or under another.

The log has what happened and what was decided, but not in which order the decider heard of it, nor when the schedule
was due. Both follow from the decisions. Each says what caused it, so that its cause was heard where the decision lies
in the log (a wish and a schedule that led to no decision changed nothing); and each says which events had changed what
is known of the model, in their order (``heard``; how many in all, ``standing``), so that just these were heard before
it. History is in this order from then on, whatever policy it is told to. The policies that ran are in the log, too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from modelwright.context import PLATFORM, Call
from modelwright.errors import AlreadyHandled, InvalidInput, NotFound, Refused
from modelwright.events import Delivery, TrainingCompleted
from modelwright.log import Log, stream_of
from modelwright.project import Model, Project, current_key
from modelwright.retraining import deciding, ending, store
from modelwright.retraining import policy as rules
from modelwright.retraining.decision import Triggers
from modelwright.retraining.store import Standing
from modelwright.storage import Anything, Put, Tables

DECISIONS = ("TrainingRequested", "TrainingQueued", "TrainingDeclined")
ENDS = ("TrainingCompleted", "TrainingFailed")
APPLIED = "ProjectApplied"
"""Tells of a policy; none that is older than such words is known from the log."""
_OF_SOURCES = ("QualityFailed", "QuarantineReleased", "DriftDetected")
_NOTED: Mapping[str, Callable[..., None]] = {
    "QualityFailed": deciding.note_quarantine,
    "QuarantineReleased": deciding.note_quarantine,
    "DriftDetected": deciding.note_drift,
    "ModelVersionCreated": deciding.note_version,
}
_FOLLOWED: Mapping[str, Callable[..., None]] = {
    "AliasChanged": deciding.note_champion,
    "RolloutStarted": deciding.note_rollout,
    "RolloutPromoted": deciding.note_rollout,
    "RolloutRolledBack": deciding.note_rollout,
    "PerformanceMeasured": deciding.follow_labels,
    "PerformanceDegraded": deciding.follow_degraded,
    "PerformanceEstimated": deciding.follow_estimated,
    "TrainingCompleted": ending.settle,
    "TrainingFailed": ending.settle,
}
_TIME = 10
"""So many characters of an id are its time."""
_WALL = datetime(2000, 1, 1, tzinfo=UTC)
"""Stands still, so that no training is given up in a replay: that it was is an event."""


@dataclass(frozen=True)
class Step:
    """One thing that the decider heard.

    Attributes:
        identity: of the event, the wish, or the schedule.
        at: domain time.
        delivery: the event, if it is one.
        text: why a person asks.
    """

    kind: Literal["event", "wish", "schedule"]
    identity: str
    at: datetime
    delivery: Delivery | None = None
    actor: str = PLATFORM
    correlation_id: str = ""
    text: str = ""

    @property
    def type(self) -> str:
        """The event's type; empty if it is none."""
        return self.delivery.envelope.type if self.delivery else ""


@dataclass(frozen=True)
class Past:
    """What the log tells of a model, as it was written.

    Attributes:
        deliveries: what retraining hears and says, in the order in which it was committed.
    """

    workspace: str
    model: str
    deliveries: tuple[Delivery, ...]

    @classmethod
    def read(cls, envelopes: Iterable[Mapping[str, Any]], project: Project, model: str) -> "Past":
        """Read the envelopes of a log, in any order.

        Raises:
            NotFound: the log says nothing of the model.
        """
        sources = rules.sources_of(project, project.model(model))
        wanted = {*_NOTED, *_FOLLOWED, *DECISIONS, APPLIED}
        chosen = [e for e in envelopes if e["type"] in wanted and _about(e, model, sources)]
        if not any(envelope["data"].get("model") == model for envelope in chosen):
            raise NotFound(f"the log says nothing of model {model}")
        deliveries = tuple(Delivery.read("retrain", dict(envelope)) for envelope in _in_order(chosen))
        return cls(deliveries[0].envelope.workspace, model, deliveries)

    def of(self, *kinds: str) -> list[Delivery]:
        """Return the events of some types."""
        return [delivery for delivery in self.deliveries if delivery.envelope.type in kinds]

    def recorded(self, applied: Delivery, project: Project) -> Project:
        """Return a project with the policies that the model was given then.

        Raises:
            InvalidInput: they are none any more.
        """
        declared = project.model(self.model)
        try:
            told = Model.model_validate({**declared.model_dump(), **applied.event.policies[self.model]})
        except ValidationError as error:
            when = f"{applied.envelope.at:%Y-%m-%d %H:%M}"
            raise InvalidInput(f"the policy of model {self.model} of {when} can no longer be read: {error}") from error
        return project.model_copy(update={"models": {**project.models, self.model: told}})

    @property
    def assumptions(self) -> set[str]:
        """What is taken to be so of the policies that ran."""
        first = next((one for one in self.deliveries if one.envelope.type in (*DECISIONS, APPLIED)), None)
        if first is None or first.envelope.type == APPLIED:
            return set()
        until = next((f"{one.envelope.at:%Y-%m-%d %H:%M}" for one in self.of(APPLIED)), "")
        before = f"before {until} " if until else ""
        return {f"{before}the project's policy ran: the log does not tell which did"}

    @property
    def causes(self) -> dict[str, str]:
        """What caused each recorded training: its id to the cause's."""
        asked = self.of("TrainingRequested")
        return {one.event.training_id: one.event.cause.id for one in asked if one.event.cause is not None}


def alone(project: Project, model: str) -> Project:
    """Return a project with one model of it."""
    return project.model_copy(update={"models": {model: project.model(model)}})


class World:
    """Tables of its own, in which one model is decided about.

    Args:
        past: what is told.
        project: with the policy that decides.
        tables: empty ones.
        triggers: as the decider has them.
    """

    def __init__(self, past: Past, project: Project, tables: Tables, triggers: Triggers = deciding.trigger) -> None:
        self._past = past
        self._project = project
        self._tables = tables
        self._log = Log(tables)
        self._triggers = triggers
        self._causes = past.causes
        self._read = 0
        self.trainings: dict[str, str] = {}
        self.said: list[Delivery] = []
        self.apply(project)

    def apply(self, project: Project) -> None:
        """Let another policy decide from here on."""
        key = current_key(self._past.workspace)
        text = alone(project, self._past.model).model_dump_json()
        self._tables.write([Put("governance", {"pk": key.pk, "sk": key.sk, "project": text}, Anything())])

    def recorded(self, applied: Delivery) -> Project:
        """Return the project with the policies that an event tells of."""
        return self._past.recorded(applied, self._project)

    @property
    def standing(self) -> Standing:
        """What is known of the model."""
        return store.load_standing(self._tables, self._past.workspace, self._past.model)

    def here(self, training_id: str) -> str:
        """Return the id that a recorded training has here; empty if it never was."""
        return self.trainings.get(self._causes.get(training_id, ""), "")

    def do(self, step: Step) -> list[Delivery]:
        """Tell a step, and return what was decided."""
        call = Call(self._past.workspace, step.actor, step.at, step.correlation_id, request=step.identity)
        stores: dict[str, Any] = {"tables": self._tables, "log": self._log}
        asking = {**stores, "wall": _WALL, "triggers": self._triggers}
        if step.kind == "schedule":
            ending.follow_schedule(call, step.identity, **asking)
        elif step.kind == "wish":
            self._wish(call, step, asking)
        elif step.delivery is not None:
            self._hear(call, step.delivery, stores, asking)
        return self._heard()

    def end(self, asked: Delivery, event: TrainingCompleted, at: datetime) -> list[Delivery]:
        """Tell the end of a training that the log does not know, and return what was decided."""
        envelope = asked.envelope.model_copy(update={"id": f"{asked.envelope.id}~", "type": event.detail_type()})
        delivery = Delivery(consumer="retrain", envelope=envelope, event=event)
        call = Call(self._past.workspace, PLATFORM, at, asked.envelope.correlation_id)
        asking: dict[str, Any] = {"tables": self._tables, "log": self._log, "wall": _WALL, "triggers": self._triggers}
        ending.settle(call, delivery, **asking)
        return self._heard()

    def _wish(self, call: Call, step: Step, asking: dict[str, Any]) -> None:
        reason = step.text.removeprefix(f"{step.actor}: ") or "as recorded"
        with suppress(Refused):  # it is in the log here, as it was there
            deciding.request(call, self._past.model, deciding.Order(reason=reason), **asking)

    def _hear(self, call: Call, delivery: Delivery, stores: dict[str, Any], asking: dict[str, Any]) -> None:
        kind = delivery.envelope.type
        if kind == APPLIED:
            return self.apply(self.recorded(delivery))
        own = self.here(getattr(delivery.event, "training_id", ""))
        if kind in ENDS and not own:
            return None
        if own:
            delivery = delivery.model_copy(update={"event": delivery.event.model_copy(update={"training_id": own})})
        with suppress(AlreadyHandled):
            if kind in _NOTED:
                _NOTED[kind](call, delivery, **stores)
            else:
                _FOLLOWED[kind](call, delivery, **asking)
        return None

    def _heard(self) -> list[Delivery]:
        """Return the decisions that were not seen yet, and remember which training came of which cause."""
        stream = stream_of(self._past.workspace, "TRAINING", self._past.model)
        items = list(self._log.read(stream, start=self._read + 1))
        self._read += len(items)
        fresh = [Delivery.read("retrain", item.envelope.model_dump(mode="json")) for item in items]
        fresh = [one for one in fresh if one.envelope.type in DECISIONS]
        for one in fresh:
            if one.envelope.type == "TrainingRequested":
                self.trainings[one.event.cause.id] = one.event.training_id
        self.said += fresh
        return fresh


@dataclass
class History:
    """History in the order in which it was heard.

    Attributes:
        steps: what was heard, and when the schedule was due as far as decisions tell.
        said: what the policy decides now that it is told the same.
        first_difference: where that is not what was decided then; empty: history is reproduced exactly.
        champions: by the id of an event, who was champion once it was heard.
    """

    past: Past
    steps: list[Step] = field(default_factory=list)
    said: list[Delivery] = field(default_factory=list)
    first_difference: str = ""
    champions: dict[str, int | None] = field(default_factory=dict)


def difference(recorded: Sequence[Delivery], replayed: Sequence[Delivery]) -> str:
    """Return the first place in which decisions differ, in words; empty if they are the same.

    Ids of trainings and places in the queue are new each time: what they stand for is compared.
    """
    ours, theirs = _plain(recorded), _plain(replayed)
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            return f"recorded was {one}, replayed is {other}"
    if len(ours) != len(theirs):
        longer, what = (ours, "recorded") if len(ours) > len(theirs) else (theirs, "replayed")
        return f"only {what} is {longer[min(len(ours), len(theirs))]}"
    return ""


def _plain(decisions: Sequence[Delivery]) -> list[str]:
    texts = told(decisions)
    return [
        f"{text} (on {one.event.cause.id if one.event.cause else ''}; {getattr(one.event, 'gain_text', '')})"
        for one, text in zip(decisions, texts, strict=True)
    ]


def told(decisions: Sequence[Delivery]) -> list[str]:
    """Return each decision in words; a training is named by when it was asked for."""
    asked = [one for one in decisions if one.envelope.type == "TrainingRequested"]
    names = {one.event.training_id: f"of {one.envelope.at:%Y-%m-%d %H:%M}" for one in asked}
    return [_sentence(one, names) for one in decisions]


def _sentence(one: Delivery, names: Mapping[str, str]) -> str:
    event, kind = one.event, one.envelope.type.removeprefix("Training").lower()
    text = "; ".join(event.reasons) if kind == "declined" else event.reason
    for identity, name in names.items():
        text = text.replace(identity, name)
    queued = " from the queue" if event.queue_id and kind != "queued" else ""
    return f"{one.envelope.at:%Y-%m-%d %H:%M} {kind}{queued} ({event.trigger}): {text}"


def _in_order(envelopes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return envelopes in the order in which they were committed: of a stream exactly, of several to the millisecond.

    Of one millisecond decisions come last: which of the others they had heard of, they say themselves.
    """
    reached: dict[str, str] = {}
    keys: dict[str, tuple[str, bool, str, int]] = {}
    for one in sorted(envelopes, key=lambda each: int(each["sequence"])):
        stream = str(one["stream"])
        reached[stream] = max(reached.get(stream, ""), str(one["id"])[:_TIME])
        keys[one["id"]] = (reached[stream], "#TRAINING#" in stream, stream, int(one["sequence"]))
    return sorted(envelopes, key=lambda each: keys[each["id"]])


def _about(envelope: Mapping[str, Any], model: str, sources: Sequence[str]) -> bool:
    if envelope["type"] == APPLIED:
        return model in envelope["data"].get("policies", {})
    if envelope["type"] in _OF_SOURCES:
        return str(envelope["data"].get("source")) in sources
    return str(envelope["data"].get("model")) == model
