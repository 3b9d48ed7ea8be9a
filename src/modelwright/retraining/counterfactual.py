"""What another policy would have done with recorded history, what that would have cost, and what is not known of it.

A training that history had too, for the same cause, ends as it did there. One that history never had costs what the
others cost on average, takes as long as they did, and gives a model of which nothing is known. One that history had and
this policy does not want never was, nor was its version, its rollout, or its turn as champion. Whatever is taken to be
so without being known is among the assumptions, in words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import fmean, median
from typing import Any, Literal

from modelwright.events import Delivery, Estimate, Evaluation, Performance, TrainingCompleted
from modelwright.log import time_of
from modelwright.project import Model, Project
from modelwright.retraining import deciding, gain, rejudging
from modelwright.retraining.decision import Triggers
from modelwright.retraining.whatif import APPLIED, ENDS, History, Past, Step, World
from modelwright.storage import Tables

HOUR = timedelta(hours=1)
LASTING = frozenset({"age", "new_data", "schedule"})
"""Triggers for which it matters when the schedule is due."""
_SHORTEST = timedelta(minutes=1)
_RECIPE = ("window_days", "holdout_days", "trainer", "trainer_options")

AS_THE_OTHERS = "a training that never was costs and takes what the recorded ones did on average"
ALARMS_OF_HISTORY = (
    "where another model is in charge than was in history, it has the alarms that the one of history had there"
)
NEVER_WAS = "a model that never was goes live when its training ends"
GAIN_AS_BEFORE = "each training more or less changes the figure by what recorded trainings gained on average"
OTHER_RECIPE = "the trainer is told otherwise, so that nothing is known of any of its models"


@dataclass(frozen=True)
class Window:
    """Labels that came, and who was in charge then.

    Attributes:
        champion: None where nobody knows, or the model never was.
        trained: how many trainings of the period had ended by then.
    """

    identity: str
    champion: int | None
    trained: int
    performances: tuple[Performance, ...]


@dataclass
class Run:
    """What a policy did from a time until another.

    Attributes:
        decisions: as events.
        alarms: causes that told of a fall: time and words.
        spent: US dollars, of trainings that were requested in the period.
        imagined: how many of these never were.
        windows: in which labels came.
        assumptions: what had to be taken to be so.
    """

    decisions: list[Delivery] = field(default_factory=list)
    alarms: list[tuple[datetime, str]] = field(default_factory=list)
    spent: float = 0.0
    imagined: int = 0
    windows: list[Window] = field(default_factory=list)
    assumptions: set[str] = field(default_factory=set)

    def count(self, kind: Literal["Requested", "Queued", "Declined"]) -> int:
        """Return how many decisions were of a kind."""
        return sum(one.envelope.type == f"Training{kind}" for one in self.decisions)


@dataclass(frozen=True)
class Usual:
    """What recorded trainings of a model were like.

    Attributes:
        costs: by training id.
        lasted: median of wall time.
        gains: mean difference to the champion, by metric.
    """

    costs: dict[str, float]
    lasted: timedelta
    gains: dict[str, float]

    @classmethod
    def of(cls, past: Past) -> "Usual":
        """Look at what the log tells."""
        begun = {one.event.training_id: one.envelope.id for one in past.of("TrainingRequested")}
        ended = past.of(*ENDS)
        told = [(begun[one.event.training_id], one.envelope.id) for one in ended if one.event.training_id in begun]
        spans = [(time_of(last) - time_of(first)).total_seconds() for first, last in told]
        brought = [gain.brought(one.event) for one in past.of("TrainingCompleted")]
        by_metric: dict[str, list[float]] = {}
        for each in (each for some in brought for each in some):
            by_metric.setdefault(each.metric, []).append(each.value)
        return cls(
            {one.event.training_id: one.event.cost for one in ended},
            max(timedelta(seconds=median(spans)), _SHORTEST) if spans else _SHORTEST,
            {metric: fmean(values) for metric, values in by_metric.items()},
        )

    def cost(self, reserve: float) -> float:
        """Return what a training costs on average, or else what is reserved for one."""
        return fmean(self.costs.values()) if self.costs else reserve


def schedule_of(
    history: History,
    before: Project,
    after: Project,
    tables: Tables,
    until: datetime,
    triggers: Triggers = deciding.trigger,
) -> tuple[list[Step], str]:
    """Return when the schedule was due besides, and how that is known.

    The template's schedule is hourly. That it was so in this history is taken to be known if the policy that ran, told
    of every hour, decides what it did; else (a demo's clock jumps) only times that decisions tell of are known.
    """
    known = [step for step in history.steps if step.kind == "schedule"]
    ran = [before, *(history.past.recorded(one, before) for one in history.past.of(APPLIED))]
    name = history.past.model
    lasting = [
        LASTING & {each for project in projects for each in project.model(name).retraining.triggers}
        for projects in (ran, [after])
    ]
    if not history.steps or not any(lasting):
        return [], "to neither policy it matters when the schedule was due"
    minute = known[0].at - known[0].at.replace(minute=0, second=0, microsecond=0) if known else timedelta(0)
    at = min(step.at for step in history.steps).replace(minute=0, second=0, microsecond=0) + minute
    until = min(until, max(step.at for step in history.steps))
    hours: list[Step] = []
    while at < until:
        if all(abs(step.at - at) > HOUR / 2 for step in known):
            hours.append(Step("schedule", f"retrain/{at.isoformat()}", at))
        at += HOUR
    if not lasting[0] or history.first_difference:
        return hours, "the schedule is taken to be due hourly, as the template says"
    if _hourly(history, World(history.past, before, tables, triggers), hours):
        return hours, "the schedule was due hourly: the policy that ran, told so, decides what it did"
    return [], f"the schedule was not due hourly in this history; {len(known)} times at which it was are known"


def _hourly(history: History, world: World, hours: Sequence[Step]) -> bool:
    """Say whether history is decided as it was if the schedule is due at these times besides."""
    due = [_key(one) for one in history.said]
    for step in merged(history.steps, hours):
        world.do(step)
        said = [_key(one) for one in world.said]
        if said != due[: len(said)]:
            return False
    return len(world.said) == len(due)


def merged(steps: Sequence[Step], hours: Sequence[Step]) -> Iterator[Step]:
    """Yield steps in their order with the hours between them; events may tell of an earlier time than those before."""
    rest, reached = list(reversed(hours)), None
    for step in steps:
        reached = step.at if reached is None else max(reached, step.at)
        while rest and rest[-1].at < reached:
            yield rest.pop()
        yield step
    yield from reversed(rest)


def run(
    history: History,
    before: Project,
    after: Project | None,
    period: tuple[datetime, datetime],
    hours: Sequence[Step],
    tables: Tables,
    triggers: Triggers = deciding.trigger,
) -> Run:
    """Tell history to the policies that ran, and from the period's start on to another.

    Args:
        history: in the order in which it was heard.
        before: with the policy that ran before the log tells of any.
        after: with the other one; None: the policies that ran go on.
        period: from when until when.
        hours: when the schedule was due besides.
        tables: empty ones.
        triggers: as the decider has them.
    """
    world = World(history.past, before, tables, triggers)
    return _Telling(history, world, before, after, period).run(hours)


class _Telling:
    """One telling of history.

    Attributes:
        old: the model's declaration that ran at the time that is told.
        changed: whether the period began.
        unknown: whether nobody knows who is in charge.
        different: recorded trainings that this policy asks for, too, but in another way.
    """

    def __init__(
        self,
        history: History,
        world: World,
        before: Project,
        after: Project | None,
        period: tuple[datetime, datetime],
    ) -> None:
        self.history, self.world, self.after = history, world, after
        self.since, self.until = period
        self.old = before.model(history.past.model)
        self.usual = Usual.of(history.past)
        self.recorded = {cause: training for training, cause in history.past.causes.items()}
        self.born = {one.event.version: one.event.training_id for one in history.past.of("ModelVersionCreated")}
        self.running: list[tuple[datetime, Delivery]] = []
        self.different: set[str] = set()
        self.changed = False
        self.unknown = False
        self.ended = 0
        self.found = Run()

    @property
    def new(self) -> Model:
        """The model's declaration that decides."""
        return self.old if self.after is None else self.after.model(self.history.past.model)

    @property
    def same_recipe(self) -> bool:
        """Whether it trains as the one did that ran."""
        return all(getattr(self.old.retraining, part) == getattr(self.new.retraining, part) for part in _RECIPE)

    def run(self, hours: Sequence[Step]) -> Run:
        for step in merged(self.history.steps, hours):
            if step.at >= self.until:
                continue
            if not self.changed and step.at >= self.since:
                self.changed = True
                if self.after is not None:
                    self.world.apply(self.after)
            self._end_imagined(step.at)
            self._tell(step)
        return self.found

    def _tell(self, step: Step) -> None:
        if step.delivery is not None and step.type == APPLIED:
            self.old = self.world.recorded(step.delivery).model(self.history.past.model)
            if self.after is None or not self.changed:
                self.world.do(step)
            return
        if self._never_was(step):
            self.found.assumptions.add(NEVER_WAS) if step.type == "AliasChanged" else None
            return
        for told in self._alarms(step):
            self._alarm(told)
            self._decided(self.world.do(told), told.at)
        if step.type in ENDS and self.changed:
            self.ended += 1
        if step.type == "AliasChanged":
            self.unknown = False
        if step.type == "PerformanceMeasured" and self.changed:
            self._measured(step)

    def _never_was(self, step: Step) -> bool:
        """Say whether a step came of a training that this policy did not want."""
        if step.delivery is None:
            return False
        event = step.delivery.event
        training = getattr(event, "training_id", "")
        version = getattr(event, "challenger", None) if step.type.startswith("Rollout") else None
        if step.type == "AliasChanged":
            version = event.version
        training = training or self.born.get(version, "")
        return training in self.history.past.causes and not self._is_recorded(training)

    def _is_recorded(self, training: str) -> bool:
        """Say whether a recorded training is one here, and the same."""
        return bool(self.world.here(training)) and training not in self.different

    def _alarms(self, step: Step) -> list[Step]:
        """Return a step as this policy hears it: an alarm perhaps not, and perhaps one more after labels."""
        if not self.changed or self.old.monitoring == self.new.monitoring:
            return [self._by_who_is_in_charge(step)]
        self.found.assumptions |= rejudging.assumed(self.old.monitoring, self.new.monitoring)
        steps, rests_on = rejudging.heard(
            step, self.old.monitoring, self.new.monitoring, self.history, self._champion()
        )
        self.found.assumptions |= rests_on
        return [self._by_who_is_in_charge(one) if one is step else one for one in steps]

    def _by_who_is_in_charge(self, step: Step) -> Step:
        if step.type not in ("PerformanceDegraded", "PerformanceEstimated") or step.delivery is None:
            return step
        champion, event = self._champion(), step.delivery.event
        if self.unknown:
            self.found.assumptions.add(ALARMS_OF_HISTORY)
        if champion in (None, event.version) or event.version != self.history.champions.get(step.identity):
            return step
        self.found.assumptions.add(ALARMS_OF_HISTORY)
        return _with(step, event.model_copy(update={"version": champion}), step.identity)

    def _champion(self) -> int | None:
        return self.world.standing.champion

    def _alarm(self, step: Step) -> None:
        if not self.changed or step.delivery is None:
            return
        event = step.delivery.event
        if step.type == "PerformanceDegraded":
            self.found.alarms.append((step.at, event.reason))
        elif step.type == "PerformanceEstimated" and event.degraded:
            self.found.alarms.append((step.at, f"{event.metric} {event.value.value:.3f} by {event.estimator}"))

    def _decided(self, said: Sequence[Delivery], at: datetime) -> None:
        """Count what was decided, and let a training that never was end in its time."""
        for one in said:
            if not self.changed:
                continue
            self.found.decisions.append(one)
            if one.envelope.type != "TrainingRequested":
                continue
            training = self.recorded.get(one.event.cause.id, "")
            ended = training in self.usual.costs
            self.found.spent += self.usual.costs[training] if ended else self.usual.cost(one.event.reserved)
            if ended and self.same_recipe:
                continue
            if training and not self.same_recipe:
                self.different.add(training)
            if not training or not self.same_recipe:
                self.found.imagined += 1
                self.found.assumptions |= {AS_THE_OTHERS, NEVER_WAS} | (set() if self.same_recipe else {OTHER_RECIPE})
                self.running.append((max(at, one.envelope.at) + self.usual.lasted, one))

    def _end_imagined(self, until: datetime) -> None:
        while self.running and self.running[0][0] <= until:
            at, asked = self.running.pop(0)
            self.unknown = True
            self.ended += 1
            said = self.world.end(asked, _imagined(asked, self.usual.cost(asked.event.reserved)), at)
            self._decided(said, at)

    def _measured(self, step: Step) -> None:
        assert step.delivery is not None
        champion = None if self.unknown else self._champion()
        window = Window(step.identity, champion, self.ended, step.delivery.event.performances)
        self.found.windows.append(window)


def _with(step: Step, event: Any, identity: str) -> Step:
    assert step.delivery is not None
    envelope = step.delivery.envelope.model_copy(update={"id": identity, "type": event.detail_type()})
    return replace(step, identity=identity, delivery=Delivery(consumer="retrain", envelope=envelope, event=event))


def _imagined(asked: Delivery, cost: float) -> TrainingCompleted:
    """Return the end of a training that never was, of which nothing is known but a usual price."""
    event = asked.event
    nothing = Estimate(value=0.0, low=0.0, high=0.0)
    return TrainingCompleted(
        training_id=event.training_id,
        model=event.model,
        trigger=event.trigger,
        artifact_key="",
        artifact_digest="",
        features=(),
        dataset_digest="",
        dataset_key="",
        rows=0,
        window=event.window,
        parameters={},
        metrics={},
        evaluation=Evaluation(rows=0, window=event.window, challenger_auc=nothing, challenger_brier=0.0),
        project_digest="",
        seconds=0.0,
        cost=cost,
    )


def _key(one: Delivery) -> tuple[Any, ...]:
    event = one.event
    return one.envelope.type, one.envelope.at, event.trigger, event.cause.id if event.cause else ""
