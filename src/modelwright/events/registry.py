"""Events of registered models, their versions, and who said what of them."""

from typing import Literal

from pydantic import Field

from modelwright.events.envelope import Event, Value


class RegisteredModelCreated(Event):
    """A registered model exists.

    Attributes:
        description: salted hash of the description it was born with; empty without one.
        tags: salted hashes of the values of the tags it was born with, by key.
    """

    model: str
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


class RegisteredModelChanged(Event):
    """A registered model was renamed or deleted, or what is said of it changed.

    Attributes:
        key: of a tag.
        proof: salted hash of the value that was set, which itself is kept where it can be erased.
    """

    model: str
    change: Literal["renamed", "deleted", "description", "tag_set", "tag_deleted"]
    new_name: str = ""
    key: str = ""
    proof: str = ""


class ModelVersionCreated(Event):
    """A version of a registered model exists.

    Attributes:
        artifact_digest: SHA-256 of its ``model.pkl``; empty when it has none, or one too large to be read.
        dataset_digest: of the data it was trained on, where the platform trained it.
        code: the digest of the project, or the commit, that it was made with; empty when nobody said.
        environment_digest: SHA-256 of the file that locks its libraries; empty when it has none.
        origin: the version of another environment that this one copies, ``<stack>/<workspace>/<model>/<version>``.
        copied_from: the version here that this one is a copy of, ``<model>/<version>``.
        manifest: SHA-256 of the manifest that it came with, where it has an origin.
        datasets: of the data that its run was given, where that is known by now.
        metrics: figures of the platform's own training.
        description: salted hash of the description it was born with; empty without one.
        tags: salted hashes of the values of the tags it was born with, by key.
        told: values of those that gates read, when they are figures or digests, by key.
    """

    model: str
    version: int
    source: str
    artifact_key: str
    run_id: str = ""
    training_id: str = ""
    features: tuple[str, ...] = ()
    artifact_digest: str = ""
    dataset_digest: str = ""
    code: str = ""
    environment_digest: str = ""
    origin: str = ""
    copied_from: str = ""
    manifest: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    told: dict[str, str] = Field(default_factory=dict)


class ModelVersionTraced(Event):
    """Tracking said what run a version came out of: what the run was then.

    Attributes:
        code: the commit (or the entry point) that the run was started from.
        datasets: digests of the datasets that it was given.
        metrics: its newest figures.
    """

    model: str
    version: int
    run_id: str
    code: str = ""
    datasets: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)


class ModelVersionChanged(Event):
    """What is said of a version changed.

    Attributes:
        key: of a tag; the stage's name, of a stage.
        value: of a tag that gates read, when it is a figure or a digest.
        proof: salted hash of the value that was set, which itself is kept where it can be erased.
    """

    model: str
    version: int
    change: Literal["description", "tag_set", "tag_deleted", "stage"]
    key: str = ""
    value: str = ""
    proof: str = ""


class ModelVersionDeleted(Event):
    """A version was deleted."""

    model: str
    version: int


class ModelVersionExported(Event):
    """A version was packed to be carried to another environment.

    Attributes:
        digest: SHA-256 of the bundle's manifest.
        target: where it is carried, if that was said.
    """

    model: str
    version: int
    digest: str
    target: str = ""


class CardChanged(Event):
    """People wrote sections of a version's model card.

    Attributes:
        revision: the card's revision after it.
        sections: those that changed.
        digest: SHA-256 of all sections with a random salt, which is kept with their texts.
    """

    model: str
    version: int
    revision: int
    sections: tuple[str, ...]
    digest: str


class GateResult(Value):
    """What one gate said."""

    gate: str
    passed: bool
    text: str


class TransitionRequested(Event):
    """Somebody asked that a version take an alias.

    Attributes:
        pending: gates that are still to be run, where their libraries are.
        approvals: how many people have to approve.
        results: what the other gates said.
    """

    request_id: str
    model: str
    version: int
    alias: str
    reason: str = ""
    pending: tuple[str, ...] = ()
    approvals: int = 0
    results: tuple[GateResult, ...] = ()


class TransitionJudged(Event):
    """The gates that were still to be run (again) said what they say.

    Attributes:
        champion: the version that was champion then.
        pending: gates that are still to be run, where their libraries are.
    """

    request_id: str
    model: str
    version: int
    alias: str
    results: tuple[GateResult, ...]
    champion: int | None = None
    pending: tuple[str, ...] = ()


class TransitionApproved(Event):
    """Somebody approved a request; the envelope's actor is who.

    Attributes:
        approvals: how many there are by now.
        needed: how many there must be.
    """

    request_id: str
    model: str
    version: int
    alias: str
    approvals: int
    needed: int


class TransitionRefused(Event):
    """A request ended without its alias: gates said no (all reasons at once), or people did, or it waited too long.

    Attributes:
        why: what ended it.
        reason: what a person wrote.
    """

    request_id: str
    model: str
    version: int
    alias: str
    results: tuple[GateResult, ...]
    why: Literal["gates", "rejected", "withdrawn", "expired", "superseded"] = "gates"
    reason: str = ""


class AliasChanged(Event):
    """An alias points to another version (or, with ``version`` None, to none any more).

    Attributes:
        forced: why the gates' no was overridden, if it was.
        requested_by: who asked, where that is not the envelope's actor.
        approved_by: who approved, in order.
    """

    model: str
    alias: str
    version: int | None
    previous: int | None
    request_id: str = ""
    results: tuple[GateResult, ...] = ()
    forced: str = ""
    reason: str = ""
    requested_by: str = ""
    approved_by: tuple[str, ...] = ()
