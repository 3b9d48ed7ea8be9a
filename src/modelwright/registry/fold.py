"""What was so at a time: a model's stream of the log, folded.

The rule, for every time T: an item counts if its domain time (``at``) is not after T, and the items that count are
applied in the order of their sequence numbers. So late deliveries, whose domain time is before that of items that
were committed earlier, count from their domain time on; and as of any time that is after all items, what the fold
gives is what the registry's table holds, because the registry writes no event that did not take effect
(``reactions.promote``, for one, leaves an alias that changed later as it is). A version, or the model itself, is
there from the domain time of its creation on: what is said of it by items that count before is passed over, but
for an alias, which points to the version's number even then.

The fold keeps what stands, not what happened: its memory grows with models and versions, not with events.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from modelwright.events import (
    AliasChanged,
    CardChanged,
    Envelope,
    Event,
    ModelVersionChanged,
    ModelVersionCreated,
    ModelVersionDeleted,
    ModelVersionTraced,
    RegisteredModelChanged,
    RegisteredModelCreated,
    Route,
    RoutesChanged,
    TransitionApproved,
    TransitionRefused,
    TransitionRequested,
)
from modelwright.log import LogItem
from modelwright.registry.entities import DIGEST_TAG, METRIC_TAG, STAGES

_AS_BORN = (
    "source", "training_id", "artifact_key", "artifact_digest", "environment_digest", "origin", "copied_from",
)  # fmt: skip
"""What never changes of a version."""


@dataclass(slots=True)
class Version:
    """A version as it stood.

    Attributes:
        born: what the log says of its creation.
        at: when it was made.
        by: who made it.
        tags: values of tags that are told, by key; the empty text for those that are only proven.
        card: the revision of its model card; 0: nobody wrote one.
    """

    born: ModelVersionCreated
    at: datetime
    by: str
    run_id: str
    code: str
    described: bool
    tags: dict[str, str]
    stage: str = STAGES[0]
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    card: int = 0

    @classmethod
    def of(cls, event: ModelVersionCreated, envelope: Envelope) -> Self:
        """Return a version that was just made."""
        tags = dict.fromkeys(event.tags, "") | event.told
        described = bool(event.description)
        made = cls(event, envelope.at, envelope.actor, event.run_id, event.code, described, tags)
        made.datasets = event.datasets
        return made

    @property
    def data(self) -> tuple[str, ...]:
        """Digests of the data it was made of."""
        known = dict.fromkeys(digest for digest in (self.born.dataset_digest, *self.datasets) if digest)
        return tuple(known) or tuple(digest for digest in (self.tags.get(DIGEST_TAG, ""),) if digest)

    @property
    def figures(self) -> dict[str, float]:
        """What the platform's training, its run and its tags say; the first that says a figure counts."""
        tagged = {
            key.removeprefix(METRIC_TAG): _number(v) for key, v in self.tags.items() if key.startswith(METRIC_TAG)
        }
        said = {key: value for key, value in tagged.items() if value is not None}
        return {**said, **self.metrics, **self.born.metrics}

    def trace(self, event: ModelVersionTraced) -> None:
        """Take over what tracking said of its run."""
        self.run_id = event.run_id or self.run_id
        self.code = self.code or event.code
        self.datasets = event.datasets or self.datasets
        self.metrics = dict(event.metrics) or self.metrics

    def answer(self) -> dict[str, Any]:
        """Return what people ask for."""
        return {
            "version": self.born.version,
            "created": self.at.isoformat(),
            "created_by": self.by,
            "run_id": self.run_id,
            "code": self.code,
            "data": list(self.data),
            "features": list(self.born.features),
            "metrics": self.figures,
            "stage": self.stage,
            "described": self.described,
            "tags": self.tags,
            "card": self.card,
            **{name: getattr(self.born, name) for name in _AS_BORN},
        }


@dataclass(frozen=True, slots=True)
class Holding:
    """Which version an alias pointed to, and who made it so."""

    event: AliasChanged
    at: datetime
    by: str

    def answer(self) -> dict[str, Any]:
        """Return what people ask for; without a request who set it asked for it."""
        return {
            "version": self.event.version,
            "previous": self.event.previous,
            "since": self.at.isoformat(),
            "set_by": self.by,
            "request_id": self.event.request_id,
            "requested_by": self.event.requested_by or self.by,
            "approved_by": list(self.event.approved_by),
            "gates": [result.model_dump() for result in self.event.results],
            "forced": self.event.forced,
            "reason": self.event.reason,
        }


@dataclass(slots=True)
class Waiting:
    """A request that was not decided yet."""

    event: TransitionRequested
    at: datetime
    by: str
    approved_by: list[str] = field(default_factory=list)

    def answer(self) -> dict[str, Any]:
        """Return what people ask for."""
        asked = {"request_id": self.event.request_id, "version": self.event.version, "alias": self.event.alias}
        who = {"requested_by": self.by, "since": self.at.isoformat(), "approved_by": self.approved_by}
        return {**asked, **who, "approvals": self.event.approvals}


@dataclass(slots=True)
class Standing:
    """A model as it stood.

    Attributes:
        name: what it was called; empty before it was born.
        named_at: when it took the name, and the id of the event that says so.
        born: when it was born.
        gone: when it was deleted.
        count: how many items counted.
    """

    name: str = ""
    named_at: tuple[datetime | None, str] = (None, "")
    born: datetime | None = None
    gone: datetime | None = None
    described: bool = False
    tags: set[str] = field(default_factory=set)
    aliases: dict[str, Holding] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    count: int = 0

    @property
    def there(self) -> bool:
        """Whether it was born, and not deleted yet."""
        return self.born is not None and self.gone is None

    def apply(self, envelope: Envelope) -> None:
        """Take an item in."""
        self.count += 1
        kind = _KINDS.get(envelope.type)
        if kind is not None:
            _APPLY[kind](self, kind.model_validate(envelope.data), envelope)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How traffic was split, and since when."""

    routes: tuple[Route, ...] = ()
    since: datetime | None = None


def standing(items: Iterable[LogItem], until: datetime) -> Standing:
    """Return a model as it stood, from its stream."""
    found = Standing()
    for item in items:
        if item.envelope.at <= until:
            found.apply(item.envelope)
    return found


def traffic(items: Iterable[LogItem], since: datetime, until: datetime | None = None) -> Traffic:
    """Return how traffic was split among a model's versions, from the stream of the rollouts of its name.

    Rollouts know models by name: what was split before a model had the name was not its traffic.
    """
    found = Traffic()
    for item in items:
        at = item.envelope.at
        if item.envelope.type == RoutesChanged.detail_type() and since <= at and (until is None or at <= until):
            found = Traffic(RoutesChanged.model_validate(item.envelope.data).routes, at)
    return found


def _born(model: Standing, event: RegisteredModelCreated, envelope: Envelope) -> None:
    model.born, model.name, model.named_at = envelope.at, event.model, (envelope.at, envelope.id)
    model.described, model.tags = bool(event.description), set(event.tags)


def _changed(model: Standing, event: RegisteredModelChanged, envelope: Envelope) -> None:
    match event.change:
        case "renamed":
            model.name, model.named_at = event.new_name, (envelope.at, envelope.id)
        case "deleted":
            model.gone, model.aliases, model.waiting = envelope.at, {}, {}
        case "description":
            model.described = bool(event.proof)
        case "tag_set":
            model.tags.add(event.key)
        case "tag_deleted":
            model.tags.discard(event.key)


def _version_born(model: Standing, event: ModelVersionCreated, envelope: Envelope) -> None:
    model.versions[event.version] = Version.of(event, envelope)


def _version_traced(model: Standing, event: ModelVersionTraced, _: Envelope) -> None:
    if event.version in model.versions:
        model.versions[event.version].trace(event)


def _version_changed(model: Standing, event: ModelVersionChanged, _: Envelope) -> None:
    version = model.versions.get(event.version)
    if version is None:
        return
    match event.change:
        case "description":
            version.described = bool(event.proof)
        case "tag_set":
            version.tags[event.key] = event.value
        case "tag_deleted":
            version.tags.pop(event.key, None)
        case "stage":
            version.stage = event.key


def _version_gone(model: Standing, event: ModelVersionDeleted, _: Envelope) -> None:
    model.versions.pop(event.version, None)


def _card(model: Standing, event: CardChanged, _: Envelope) -> None:
    if event.version in model.versions:
        model.versions[event.version].card = event.revision


def _pointed(model: Standing, event: AliasChanged, envelope: Envelope) -> None:
    model.waiting.pop(event.request_id, None)
    if event.version is None:
        model.aliases.pop(event.alias, None)
    else:
        model.aliases[event.alias] = Holding(event, envelope.at, envelope.actor)


def _requested(model: Standing, event: TransitionRequested, envelope: Envelope) -> None:
    model.waiting[event.request_id] = Waiting(event, envelope.at, envelope.actor)


def _approved(model: Standing, event: TransitionApproved, envelope: Envelope) -> None:
    if event.request_id in model.waiting:
        model.waiting[event.request_id].approved_by.append(envelope.actor)


def _refused(model: Standing, event: TransitionRefused, _: Envelope) -> None:
    model.waiting.pop(event.request_id, None)


_APPLY: Mapping[type[Event], Callable[[Standing, Any, Envelope], None]] = {
    RegisteredModelCreated: _born,
    RegisteredModelChanged: _changed,
    ModelVersionCreated: _version_born,
    ModelVersionTraced: _version_traced,
    ModelVersionChanged: _version_changed,
    ModelVersionDeleted: _version_gone,
    CardChanged: _card,
    AliasChanged: _pointed,
    TransitionRequested: _requested,
    TransitionApproved: _approved,
    TransitionRefused: _refused,
}
_KINDS = {kind.detail_type(): kind for kind in _APPLY}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
