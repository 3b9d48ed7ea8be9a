"""What happened in a year, folded from the log: trainings, rollouts, quarantines, and all of it in plain words.

Events are joined by the ids they carry, never by their order, so that the fold of a shuffled log, or
of one with items twice, is the same; an event whose cause is not in the log leaves gaps and breaks nothing.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypedDict, TypeVar

from modelwright.demo.data import Week
from modelwright.events import (
    AliasChanged,
    DriftDetected,
    Event,
    Finding,
    IncidentClosed,
    IncidentOpened,
    ModelVersionCreated,
    PerformanceDegraded,
    QualityFailed,
    QuarantineReleased,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingRequested,
    TransitionRefused,
    kinds,
)
from modelwright.log import LogItem

E = TypeVar("E", bound=Event)


class Retraining(TypedDict):
    """A training that was decided.

    Attributes:
        rows: labelled rows it learned from; None until it is complete.
        outcome: ``running``, ``failed``, ``trained`` (no version yet), ``registered``, ``refused`` (by a gate),
            ``waiting`` (challenger, no rollout yet), ``canary``, ``promoted``, ``rolled_back`` or ``champion``
            (the first, without a rollout).
    """

    training_id: str
    at: str
    week: int
    trigger: str
    reason: str
    rows: int | None
    version: int | None
    outcome: str
    seconds: float | None


class Step(TypedDict):
    """A canary's share from a time on."""

    percent: int
    at: str


class Rollout(TypedDict):
    """A challenger's way.

    Attributes:
        outcome: ``promoted``, ``rolled_back`` or ``running``.
        forced: why the gates' no was overridden; empty if it was not.
    """

    rollout_id: str
    challenger: int
    champion: int
    started: str | None
    ended: str | None
    steps: list[Step]
    outcome: str
    forced: str


class Rollback(TypedDict):
    """A challenger sent back."""

    at: str
    challenger: int
    reason: str


class Quarantine(TypedDict):
    """An upload, or rows of one, held back.

    Attributes:
        scope: ``file`` or ``rows``.
        rows: held back.
        released: when it was closed; None while it is open.
    """

    at: str
    source: str
    upload: str
    scope: str
    rows: int
    reasons: list[str]
    released: str | None


class Declined(TypedDict):
    """A trigger that no training followed."""

    at: str
    trigger: str
    reasons: list[str]


class Incident(TypedDict):
    """What needed a person's eye; ``closed`` is None while it does."""

    at: str
    severity: str
    subject: str
    text: str
    closed: str | None


class Happening(TypedDict):
    """One thing that happened, in plain words.

    Attributes:
        kind: ``retraining``, ``rollout``, ``step``, ``promotion``, ``rollback``, ``quarantine``, ``release``,
            ``refused``, ``failed``, ``champion``, ``degraded``, ``declined`` or ``drift``.
    """

    at: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Seen(Generic[E]):
    """An event and its domain time."""

    at: datetime
    event: E

    @property
    def when(self) -> str:
        """The time in ISO 8601."""
        return self.at.isoformat()


class Chronicle:
    """The log of one model and its data, readable by kind of event.

    Args:
        items: in any order, repeated or not.
        model: events of other models are left out.
    """

    def __init__(self, items: Iterable[LogItem], model: str) -> None:
        known, self._seen = kinds(), list[Seen[Any]]()
        unique = {item.envelope.id: item.envelope for item in items}
        for envelope in sorted(unique.values(), key=lambda e: (e.at, e.id[:10], e.stream, e.sequence, e.id)):
            if envelope.type in known:
                event = known[envelope.type].model_validate(envelope.data)
                if getattr(event, "model", model) == model:
                    self._seen.append(Seen(envelope.at, event))

    def of(self, kind: type[E]) -> Iterator[Seen[E]]:
        """Yield what was seen of one kind, in order of domain time."""
        return (seen for seen in self._seen if isinstance(seen.event, kind))

    def retrainings(self, weeks: Sequence[Week]) -> list[Retraining]:
        """Return the trainings that were decided, each with what became of it."""
        completed = {seen.event.training_id: seen.event for seen in self.of(TrainingCompleted)}
        return [
            Retraining(
                training_id=(identity := seen.event.training_id),
                at=seen.when,
                week=week_of(seen.at, weeks),
                trigger=seen.event.trigger,
                reason=seen.event.reason,
                rows=completed[identity].rows if identity in completed else None,
                version=self.versions.get(identity),
                outcome=self._outcome(identity),
                seconds=completed[identity].seconds if identity in completed else None,
            )
            for seen in self.of(TrainingRequested)
        ]

    @cached_property
    def rollouts(self) -> list[Rollout]:
        """Every rollout that began or ended in the log."""
        pairs: dict[str, tuple[int, int]] = {}
        begun: dict[str, str] = {}
        ended: dict[str, tuple[str, str]] = {}
        steps: dict[str, list[Step]] = {}
        for seen in self._seen:
            event = seen.event
            if isinstance(event, RolloutStarted | RolloutPromoted | RolloutRolledBack):
                pairs[event.rollout_id] = event.challenger, event.champion
            if isinstance(event, RolloutStarted):
                begun[event.rollout_id] = seen.when
            if isinstance(event, RolloutStarted | RolloutStepped):
                steps.setdefault(event.rollout_id, []).append(Step(percent=event.percent, at=seen.when))
            if isinstance(event, RolloutPromoted):
                ended[event.rollout_id] = seen.when, "promoted"
                steps.setdefault(event.rollout_id, []).append(Step(percent=100, at=seen.when))
            if isinstance(event, RolloutRolledBack):
                ended[event.rollout_id] = seen.when, "rolled_back"
        found = [
            Rollout(
                rollout_id=identity,
                challenger=challenger,
                champion=champion,
                started=begun.get(identity),
                ended=ended.get(identity, (None, ""))[0],
                steps=sorted(steps.get(identity, []), key=lambda step: (step["at"], step["percent"])),
                outcome=ended.get(identity, ("", "running"))[1],
                forced=self.forced.get(challenger, ""),
            )
            for identity, (challenger, champion) in pairs.items()
        ]
        return sorted(found, key=lambda rollout: (rollout["started"] or rollout["ended"] or "", rollout["rollout_id"]))

    def rollbacks(self) -> list[Rollback]:
        """Return every challenger that was sent back."""
        return [
            Rollback(at=seen.when, challenger=seen.event.challenger, reason=seen.event.reason)
            for seen in self.of(RolloutRolledBack)
        ]

    def quarantines(self) -> list[Quarantine]:
        """Return what was held back, and when it was released."""
        released = {seen.event.quarantine_id: seen.when for seen in self.of(QuarantineReleased)}
        return [
            Quarantine(
                at=seen.when,
                source=seen.event.source,
                upload=seen.event.upload_key,
                scope=seen.event.scope,
                rows=seen.event.rows,
                reasons=_reasons(seen.event.findings),
                released=released.get(seen.event.quarantine_id),
            )
            for seen in self.of(QualityFailed)
        ]

    def declined(self) -> list[Declined]:
        """Return the triggers that no training followed."""
        return [
            Declined(at=seen.when, trigger=seen.event.trigger, reasons=list(seen.event.reasons))
            for seen in self.of(TrainingDeclined)
        ]

    def incidents(self) -> list[Incident]:
        """Return all incidents, open and closed."""
        closed = {seen.event.incident_id: seen.when for seen in self.of(IncidentClosed)}
        return [
            Incident(
                at=seen.when,
                severity=seen.event.severity,
                subject=seen.event.subject,
                text=seen.event.text,
                closed=closed.get(seen.event.incident_id),
            )
            for seen in self.of(IncidentOpened)
        ]

    def happenings(self) -> list[tuple[datetime, Happening]]:
        """Return everything worth telling, in order of time."""
        told = []
        for seen in self._seen:
            if type(seen.event) in _TOLD:
                kind, words = _TOLD[type(seen.event)]
                if text := words(self, seen.event):
                    told.append((seen.at, Happening(at=seen.when, kind=kind, text=text)))
        return told

    @cached_property
    def versions(self) -> dict[str, int]:
        """Version by training."""
        return {s.event.training_id: s.event.version for s in self.of(ModelVersionCreated) if s.event.training_id}

    @cached_property
    def forced(self) -> dict[int, str]:
        """Why gates were overridden, by version."""
        changes = (seen.event for seen in self.of(AliasChanged))
        return {e.version: e.forced for e in changes if e.forced and e.version is not None}

    def challenger(self, rollout_id: str) -> str:
        """Return the name of a rollout's challenger."""
        versions = (r["challenger"] for r in self.rollouts if r["rollout_id"] == rollout_id)
        return next((f"v{version}" for version in versions), "The canary")

    # --- private -------------------------------------------------------------------------

    @cached_property
    def _fates(self) -> dict[int | None, str]:
        """What became of each version; later lines are stronger, however the events came."""
        changes = [seen.event for seen in self.of(AliasChanged)]
        fates: dict[int | None, str] = {seen.event.version: "refused" for seen in self.of(TransitionRefused)}
        fates |= {change.version: "waiting" for change in changes if change.alias == "challenger"}
        fates |= {change.version: "champion" for change in changes if change.alias == "champion"}
        for rollout in self.rollouts:
            fates[rollout["challenger"]] = "canary" if rollout["outcome"] == "running" else rollout["outcome"]
        return fates

    def _outcome(self, training_id: str) -> str:
        if training_id in self.versions:
            return self._fates.get(self.versions[training_id], "registered")
        if any(seen.event.training_id == training_id for seen in self.of(TrainingFailed)):
            return "failed"
        done = any(seen.event.training_id == training_id for seen in self.of(TrainingCompleted))
        return "trained" if done else "running"


def week_of(at: datetime, weeks: Sequence[Week]) -> int:
    """Return the number of the week that a time lies in; before the first and after the last, of that one."""
    position = bisect_right([week.start for week in weeks], at) - 1
    return weeks[max(position, 0)].number


def _reasons(findings: Iterable[Finding]) -> list[str]:
    """Return what blocked; all findings where none is said to have."""
    every = list(findings)
    return [f.text for f in every if f.severity == "block"] or [f.text for f in every]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) or not text else f"{text}."


def _requested(chronicle: Chronicle, event: TrainingRequested) -> str:
    version = chronicle.versions.get(event.training_id)
    gave = f" It gave v{version}." if version else ""
    return f"Retraining, trigger {event.trigger}: {_sentence(event.reason)}{gave}"


def _refused(_: Chronicle, event: TransitionRefused) -> str:
    reasons = "; ".join(result.text for result in event.results if not result.passed)
    return f"v{event.version} was refused as {event.alias}: {_sentence(reasons)}"


def _started(chronicle: Chronicle, event: RolloutStarted) -> str:
    forced = chronicle.forced.get(event.challenger, "")
    by_force = f" It was pushed past the gates: {_sentence(forced)}" if forced else ""
    return f"v{event.challenger} begins as canary with {event.percent} % of flights.{by_force}"


def _held(_: Chronicle, event: QualityFailed) -> str:
    what = event.upload_key if event.scope == "file" else f"{event.rows} rows of {event.upload_key}"
    return f"{what} went to quarantine: {_sentence('; '.join(_reasons(event.findings)))}"


def _drifted(_: Chronicle, event: DriftDetected) -> str:
    return f"{event.source} drifted: {', '.join(c.column for c in event.columns if c.drifted)}."


def _first(_: Chronicle, event: AliasChanged) -> str:
    first = event.alias == "champion" and event.previous is None and event.version is not None
    return f"v{event.version} is the first champion." if first else ""


_TOLD: dict[type[Event], tuple[str, Callable[[Chronicle, Any], str]]] = {
    TrainingRequested: ("retraining", _requested),
    TrainingFailed: ("failed", lambda _, e: f"A training failed: {_sentence(e.reason)}"),
    TrainingDeclined: ("declined", lambda _, e: f"No retraining on {e.trigger}: {_sentence('; '.join(e.reasons))}"),
    TransitionRefused: ("refused", _refused),
    RolloutStarted: ("rollout", _started),
    RolloutStepped: ("step", lambda c, e: f"{c.challenger(e.rollout_id)} did no harm and now gets {e.percent} %."),
    RolloutPromoted: ("promotion", lambda _, e: f"v{e.challenger} takes over from v{e.champion}."),
    RolloutRolledBack: ("rollback", lambda _, e: f"v{e.challenger} was rolled back: {_sentence(e.reason)}"),
    QualityFailed: ("quarantine", _held),
    QuarantineReleased: ("release", lambda _, e: f"A quarantine of {e.source} was closed: {_sentence(e.reason)}"),
    PerformanceDegraded: ("degraded", lambda _, e: f"v{e.version} got worse: {_sentence(e.reason)}"),
    DriftDetected: ("drift", _drifted),
    AliasChanged: ("champion", _first),
}
"""What is told of an event: its kind, and its words (none: nothing is told)."""
