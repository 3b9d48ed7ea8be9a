"""What webhooks may listen to, and how each event is told.

Names are ``<entity>.<action>``. Those in ``MLFLOW`` are MLflow's own, told as MLflow tells them; the others
are ours (its client knows no other names, so that webhooks of ours are made by ``/v1/webhooks``) and carry
the event as it is in the log.

Events hold no descriptions and no values of tags, because the log keeps them for ever. What MLflow's
payloads have of these is read from the registry when the delivery is queued: a tag that was set twice
quickly may be told twice with its newer value, one that was removed meanwhile with none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelwright.events import (
    AliasChanged,
    Delivery,
    DriftDetected,
    Event,
    IncidentClosed,
    IncidentOpened,
    ModelVersionChanged,
    ModelVersionCreated,
    ModelVersionDeleted,
    PerformanceDegraded,
    QualityFailed,
    RegisteredModelChanged,
    RegisteredModelCreated,
    RolloutPromoted,
    RolloutRolledBack,
    RolloutStarted,
    RolloutStepped,
    TrainingCompleted,
    TrainingFailed,
    TransitionApproved,
    TransitionRefused,
    TransitionRequested,
)

PROMPT_TEXT = "mlflow.prompt.text"
_PROMPT_TAGS = (PROMPT_TEXT, "mlflow.prompt.is_prompt", "_mlflow_prompt_type")

MLFLOW: Mapping[str, Mapping[str, Any]] = {
    "registered_model.created": {
        "name": "example_model",
        "tags": {"example_key": "example_value"},
        "description": "An example registered model",
    },
    "model_version.created": {
        "name": "example_model",
        "version": "1",
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        "tags": {"example_key": "example_value"},
        "description": "An example model version",
    },
    "model_version_tag.set": {"name": "example_model", "version": "1", "key": "example_key", "value": "example_value"},
    "model_version_tag.deleted": {"name": "example_model", "version": "1", "key": "example_key"},
    "model_version_alias.created": {"name": "example_model", "alias": "example_alias", "version": "1"},
    "model_version_alias.deleted": {"name": "example_model", "alias": "example_alias"},
    "prompt.created": {
        "name": "example_prompt",
        "tags": {"example_key": "example_value"},
        "description": "An example prompt",
    },
    "prompt_version.created": {
        "name": "example_prompt",
        "version": "1",
        "template": "Hello {{name}}!",
        "tags": {"example_key": "example_value"},
        "description": "An example prompt version",
    },
    "prompt_tag.set": {"name": "example_prompt", "key": "example_key", "value": "example_value"},
    "prompt_tag.deleted": {"name": "example_prompt", "key": "example_key"},
    "prompt_version_tag.set": {
        "name": "example_prompt",
        "version": "1",
        "key": "example_key",
        "value": "example_value",
    },
    "prompt_version_tag.deleted": {"name": "example_prompt", "version": "1", "key": "example_key"},
    "prompt_alias.created": {"name": "example_prompt", "alias": "example_alias", "version": "1"},
    "prompt_alias.deleted": {"name": "example_prompt", "alias": "example_alias"},
}
"""MLflow's names, each with the ``data`` that a test delivery carries (MLflow's own examples, which receivers know)."""

NEVER = {"budget_policy.exceeded": "budgets are of MLflow's AI gateway, which is not here"}
"""What MLflow's client may ask for and what does not happen here."""

_OURS: Mapping[type[Event], str] = {
    DriftDetected: "drift.detected",
    IncidentClosed: "incident.closed",
    IncidentOpened: "incident.opened",
    ModelVersionDeleted: "model_version.deleted",
    PerformanceDegraded: "performance.degraded",
    QualityFailed: "quality.failed",
    RolloutPromoted: "rollout.promoted",
    RolloutRolledBack: "rollout.rolled_back",
    RolloutStarted: "rollout.started",
    RolloutStepped: "rollout.stepped",
    TrainingCompleted: "training.completed",
    TrainingFailed: "training.failed",
    TransitionApproved: "transition.approved",
    TransitionRefused: "transition.refused",
    TransitionRequested: "transition.requested",
}
OURS = frozenset([*_OURS.values(), "registered_model.deleted", "registered_model.renamed", "model_version.staged"])


@dataclass(frozen=True, slots=True)
class Subject:
    """What the registry says of a model or version by now."""

    prompt: bool = False
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class Registry(Protocol):
    """Says what an event does not."""

    def model(self, workspace: str, model_id: str) -> Subject:
        """Return what is said of a model; nothing of one that is not there."""
        ...

    def version(self, workspace: str, model_id: str, number: int) -> Subject:
        """Return what is said of a version; nothing of one that is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """An event as receivers hear of it."""

    name: str
    data: Mapping[str, Any]


def tell(delivery: Delivery, registry: Registry) -> Told | None:
    """Return how an event is told; None for one that nobody can listen to."""
    event = delivery.event
    teller = _TELLERS.get(type(event))
    if teller is not None:
        return teller(event, _Asked(delivery, registry))
    name = _OURS.get(type(event))
    return Told(name, delivery.envelope.data) if name else None


def example(name: str) -> Mapping[str, Any]:
    """Return the data of a test delivery."""
    return MLFLOW.get(name, {"example": name})


# --- private -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """The registry, asked about the model that an event is about: its stream names the model's id."""

    delivery: Delivery
    registry: Registry

    @property
    def model_id(self) -> str:
        return self.delivery.envelope.stream.split("#", 3)[-1]

    def model(self) -> Subject:
        return self.registry.model(self.delivery.envelope.workspace, self.model_id)

    def version(self, number: int) -> Subject:
        return self.registry.version(self.delivery.envelope.workspace, self.model_id, number)

    def kind(self, prompt: str, model: str) -> str:
        return prompt if self.model().prompt else model


def _model_created(event: RegisteredModelCreated, asked: _Asked) -> Told:
    subject = asked.model()
    data = {"name": event.model, "tags": dict(subject.tags), "description": subject.description}
    if subject.prompt:
        return Told("prompt.created", {**data, "tags": _own(subject.tags)})
    return Told("registered_model.created", data)


def _model_changed(event: RegisteredModelChanged, asked: _Asked) -> Told | None:
    if event.change in ("renamed", "deleted"):
        return Told(f"registered_model.{event.change}", asked.delivery.envelope.data)
    subject = asked.model()
    if event.change not in _TAG_ACTIONS or not subject.prompt:
        return None  # MLflow tells of no other changes
    return _tag("prompt_tag", {"name": event.model}, event, subject)


def _version_created(event: ModelVersionCreated, asked: _Asked) -> Told:
    subject = asked.version(event.version)
    said = {"name": event.model, "version": str(event.version)}
    told = {"description": subject.description or None}
    if subject.prompt:
        template = subject.tags.get(PROMPT_TEXT)
        return Told("prompt_version.created", {**said, "template": template, "tags": _own(subject.tags), **told})
    made = {"source": event.source, "run_id": event.run_id or None, "tags": dict(subject.tags)}
    return Told("model_version.created", {**said, **made, **told})


def _version_changed(event: ModelVersionChanged, asked: _Asked) -> Told | None:
    if event.change == "stage":
        return Told("model_version.staged", asked.delivery.envelope.data)
    if event.change not in _TAG_ACTIONS:
        return None
    kind = asked.kind("prompt_version_tag", "model_version_tag")
    said = {"name": event.model, "version": str(event.version)}
    return _tag(kind, said, event, asked.version(event.version) if event.change == "tag_set" else Subject())


def _alias_changed(event: AliasChanged, asked: _Asked) -> Told:
    kind = asked.kind("prompt_alias", "model_version_alias")
    said = {"name": event.model, "alias": event.alias}
    if event.version is None:
        return Told(f"{kind}.deleted", said)
    return Told(f"{kind}.created", {**said, "version": str(event.version)})


_TAG_ACTIONS = {"tag_set": "set", "tag_deleted": "deleted"}


def _tag(
    kind: str, said: Mapping[str, str], event: RegisteredModelChanged | ModelVersionChanged, subject: Subject
) -> Told:
    value = {"value": subject.tags.get(event.key, "")} if event.change == "tag_set" else {}
    return Told(f"{kind}.{_TAG_ACTIONS[event.change]}", {**said, "key": event.key, **value})


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without those that make a prompt of a model."""
    return {key: value for key, value in tags.items() if key not in _PROMPT_TAGS}


_TELLERS: Mapping[type[Event], Callable[[Any, _Asked], Told | None]] = {
    AliasChanged: _alias_changed,
    ModelVersionChanged: _version_changed,
    ModelVersionCreated: _version_created,
    RegisteredModelChanged: _model_changed,
    RegisteredModelCreated: _model_created,
}
LISTENABLE: tuple[type[Event], ...] = (*_TELLERS, *_OURS)
"""Every event that a webhook may be told of."""
