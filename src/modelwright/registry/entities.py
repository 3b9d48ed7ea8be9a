"""Registered models and their versions: state, rules, and MLflow's form of them."""

import json
import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwright.errors import AlreadyExists, InvalidInput, NotFound
from modelwright.events import Evaluation, Window
from modelwright.plugins import Candidate

if TYPE_CHECKING:
    from modelwright.filters import Actual

CHAMPION, CHALLENGER = "champion", "challenger"
STAGES = ("None", "Staging", "Production", "Archived")
PROMPT = "mlflow.prompt.is_prompt"
UNPINNED_TAG = "modelwright.unpinned"
"""Why it is not known what a version's file must be."""
METRIC_TAG, DIGEST_TAG, EVALUATION_TAG = "modelwright.metric.", "modelwright.dataset_digest", "modelwright.evaluation"
_NAME_LENGTH, _ALIAS_LENGTH, KEY_LENGTH, TAG_LENGTH = 256, 255, 250, 100_000
_MOST_SKIPPED = 100_000
_NUMBER_DIGITS = 9
"""By which the keys of versions sort."""
_TOLD = {
    "model", "version", "created", "updated", "user_id", "stage", "description", "source", "run_id", "run_link",
    "model_id", "tags",
}  # fmt: skip
_SUFFIX = re.compile("~[0-9A-Z]{26}$")
_ALIAS = re.compile(r"^[\w\-]+$")


def is_name(name: str) -> bool:
    """Say whether a registered model may be called so."""
    return 0 < len(name) <= _NAME_LENGTH and not {"/", ":"} & set(name) and name not in (".", "..")


def checked_name(name: str) -> str:
    """Return a registered model's name; raises ``InvalidInput``."""
    if not name:
        raise InvalidInput("Missing value for required parameter 'name'.")
    if not is_name(name):
        raise InvalidInput(
            f"Invalid model name {name!r}: 1 to {_NAME_LENGTH} characters, neither '/' nor ':' among them"
        )
    return name


def checked_alias(alias: str) -> str:
    """Return an alias; raises ``InvalidInput``: ``latest`` and ``v<digits>`` mean something else."""
    if not _ALIAS.match(alias) or len(alias) > _ALIAS_LENGTH:
        raise InvalidInput(f"Invalid alias name {alias!r}: letters, digits, dashes and underscores")
    if alias.lower() == "latest" or re.match(r"^[vV]\d+$", alias):
        raise InvalidInput(f"{alias!r} alias name is reserved: it names a version by itself")
    return alias


def is_number(text: str) -> bool:
    """Say whether a text is a version's number: ASCII digits, as many as one can have."""
    return text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS


def checked_tag(key: str, value: str) -> dict[str, str]:
    """Return a tag as a mapping; raises ``InvalidInput``."""
    if not key or len(key) > KEY_LENGTH or len(value) > TAG_LENGTH:
        raise InvalidInput(
            f"the tag {key[:50]!r} needs a key of 1 to {KEY_LENGTH} characters, its value at most {TAG_LENGTH}"
        )
    return {key: value}


def checked_stage(stage: str) -> str:
    """Return a stage in its usual spelling; raises ``InvalidInput``."""
    for known in STAGES:
        if known.lower() == stage.lower():
            return known
    raise InvalidInput(f"Invalid Model Version stage: {stage}. Value must be one of {', '.join(STAGES)}.")


class Document(BaseModel):
    """What is kept as one JSON document; ``v`` counts its versions (0: not stored yet)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants", defer_build=True)
    v: int = Field(default=0, exclude=True)


class Training(Document):
    """What is known of a training: its run, and the version it gave; either may be first.

    Attributes:
        run_id: its run in tracking; empty until tracking tells.
        model_id: the registered model of its version; empty until there is one.
        version: the version's number.
    """

    run_id: str = ""
    model_id: str = ""
    version: int = 0


class RegisteredModel(Document):
    """A name for a line of versions.

    Attributes:
        model_id: stays when the name changes; its stream in the log.
        newest: the highest version number ever given.
        latest: the newest version that is in each stage.
        alias_at: domain time at which each alias changed last, so that late events do not undo newer ones.
        salt: random, made at birth; the log proves texts that people write with it, and does not tell them.
        open: ids of requests that are not decided yet, by alias and version (``champion 3``).
    """

    model_id: str
    name: str
    created: int
    updated: int
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    aliases: dict[str, int] = Field(default_factory=dict)
    alias_at: dict[str, datetime] = Field(default_factory=dict)
    newest: int = 0
    latest: dict[str, int] = Field(default_factory=dict)
    open: dict[str, str] = Field(default_factory=dict)
    deleted: bool = False
    salt: str = ""

    @property
    def resource(self) -> str:
        """What grants name."""
        return f"model/{self.name}"

    @property
    def born_as(self) -> str:
        """Its first name."""
        return _SUFFIX.sub("", self.model_id)

    @property
    def is_prompt(self) -> bool:
        """Whether this is an entry of the prompt registry."""
        return self.tags.get(PROMPT) == "true"

    def grown(self, at: int, number: int = 0) -> "RegisteredModel":
        """Return the model with one more version, whose number is ``newest``: the next, or a higher one that is told.

        Raises:
            AlreadyExists: the number was given before, or a higher one was.
            InvalidInput: it skips so many that few would be left.
        """
        number = number or self.newest + 1
        if number > self.newest + _MOST_SKIPPED:
            raise InvalidInput(f"{self.name} v{number} cannot be made: v{self.newest} was the last")
        if number <= self.newest:
            raise AlreadyExists(f"{self.name} v{number} cannot be made: the next version is v{self.newest + 1}")
        return self.model_copy(update={"newest": number, "latest": {**self.latest, STAGES[0]: number}, "updated": at})

    def holding(self, versions: Iterable["ModelVersion"], at: int) -> "RegisteredModel":
        """Return the model with what is newest in each stage, told from all its versions."""
        latest = {version.stage: version.version for version in sorted(versions, key=lambda v: v.version)}
        return self.model_copy(update={"latest": latest, "updated": at})

    def pointing(self, alias: str, version: int | None, at: datetime) -> "RegisteredModel":
        """Return the model with an alias on a version, or (None) without it."""
        aliases = {k: v for k, v in self.aliases.items() if k != alias} | ({} if version is None else {alias: version})
        return self.model_copy(update={"aliases": aliases, "alias_at": {**self.alias_at, alias: at}})

    def aliases_of(self, version: int) -> list[str]:
        """Return the aliases that point to a version, in order."""
        return sorted(alias for alias, number in self.aliases.items() if number == version)

    def version_of(self, alias: str) -> int:
        """Return the version that an alias points to; raises ``InvalidInput``, as MLflow does."""
        if alias not in self.aliases:
            raise InvalidInput(f"Registered model alias {alias} not found.")
        return self.aliases[alias]

    def value(self, entity: str, key: str) -> "tuple[Actual]":
        """Return what a filter sees."""
        if entity == "tags":
            return (self.tags.get(key),)
        return (self.updated if key == "last_updated_timestamp" else self.name,)

    def answer(self, latest: "list[ModelVersion]") -> dict[str, Any]:
        """Return the protocol's form."""
        said = {
            "name": self.name,
            "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated,
            "description": self.description,
            "latest_versions": [v.answer(self) for v in latest],
            "tags": [{"key": k, "value": v} for k, v in self.tags.items()],
            "aliases": [{"alias": a, "version": str(v)} for a, v in sorted(self.aliases.items())],
        }
        return {k: v for k, v in said.items() if v not in ("", [])}


class ModelVersion(Document):
    """One version: where its files lie, and what is known of how it came about.

    Attributes:
        artifact_digest: SHA-256 of ``model.pkl`` when the version was made; nothing else is ever served.
        code: the digest of the project, or the commit, that it was made with.
        datasets: digests of the data that its run was given.
        environment_digest: SHA-256 of the file that locks its libraries.
        size: bytes of all its files when it was made; None where they lie elsewhere.
        signature: columns and types it takes and gives, as its ``MLmodel`` file says; empty when it has none.
        parity: SHA-256 of the proof that its features are the same in training and serving (``artifacts.PARITY``).
        predictions: SHA-256 of what it and the champion said of held-out rows (``artifacts.PREDICTIONS``).
        origin: the version of another environment that it is a copy of.
        copied_from: the version here that it is a copy of.
        trigger: why the platform trained it; empty where it did not.
        rows: of the data that the platform trained it on.
        window: of these rows.
    """

    model: str
    version: int
    created: int
    updated: int
    source: str
    artifact_key: str = ""
    artifact_digest: str = ""
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    user_id: str = ""
    description: str = ""
    stage: str = "None"
    tags: dict[str, str] = Field(default_factory=dict)
    training_id: str = ""
    features: tuple[str, ...] = ()
    metrics: dict[str, float] = Field(default_factory=dict)
    evaluation: Evaluation | None = None
    dataset_digest: str = ""
    code: str = ""
    datasets: tuple[str, ...] = ()
    environment_digest: str = ""
    size: int | None = None
    signature: str = ""
    parity: str = ""
    predictions: str = ""
    origin: str = ""
    copied_from: str = ""
    trigger: str = ""
    rows: int | None = None
    window: Window | None = None

    @property
    def is_prompt(self) -> bool:
        """Whether this is an entry of the prompt registry."""
        return self.tags.get(PROMPT) == "true"

    @property
    def data(self) -> tuple[str, ...]:
        """Digests of the data it was made of, as its training and its run say; where both are silent, as a tag does."""
        known = dict.fromkeys(digest for digest in (self.dataset_digest, *self.datasets) if digest)
        return tuple(known) or tuple(digest for digest in (self.tags.get(DIGEST_TAG, ""),) if digest)

    def candidate(self, alias: str, model: RegisteredModel) -> Candidate:
        """Return what gates see; a client says figures, digest and evaluation by tags."""
        told = {k.removeprefix(METRIC_TAG): _number(k, v) for k, v in self.tags.items() if k.startswith(METRIC_TAG)}
        return Candidate(
            model=model.name,
            version=self.version,
            alias=alias,
            metrics={**told, **self.metrics},
            evaluation=self.evaluation or self._told_evaluation(),
            dataset_digest=self.dataset_digest or self.tags.get(DIGEST_TAG, ""),
            champion=model.aliases.get(CHAMPION),
        )

    def said(self) -> str:
        """Return the part of its document that answers tell."""
        return self.model_dump_json(include=_TOLD, exclude_defaults=True)

    def value(self, entity: str, key: str) -> "tuple[Actual]":
        """Return what a filter sees."""
        if entity == "tags":
            return (self.tags.get(key),)
        known: dict[str, Actual] = {
            "name": self.model, "run_id": self.run_id, "source_path": self.source, "version_number": self.version,
            "creation_timestamp": self.created, "last_updated_timestamp": self.updated,
        }  # fmt: skip
        return (known[key],)

    def answer(self, model: RegisteredModel) -> dict[str, Any]:
        """Return the protocol's form."""
        said = {
            "name": model.name,
            "version": str(self.version),
            "creation_timestamp": self.created,
            "last_updated_timestamp": self.updated,
            "user_id": self.user_id,
            "current_stage": self.stage,
            "description": self.description,
            "source": self.source,
            "run_id": self.run_id,
            "run_link": self.run_link,
            "model_id": self.model_id,
            "status": "READY",
            "tags": [{"key": k, "value": v} for k, v in self.tags.items()],
            "aliases": model.aliases_of(self.version),
        }
        return {k: v for k, v in said.items() if v not in ("", [])}

    def _told_evaluation(self) -> Evaluation | None:
        if EVALUATION_TAG not in self.tags:
            return None
        try:
            return Evaluation.model_validate_json(self.tags[EVALUATION_TAG])
        except ValidationError as error:
            raise InvalidInput(
                f"the tag {EVALUATION_TAG} of {self.model} v{self.version} is no evaluation: {error}"
            ) from error


def existing(model: RegisteredModel | None, name: str) -> RegisteredModel:
    """Return the model; raises ``NotFound`` when there is none."""
    if model is None or model.deleted:
        raise NotFound(f"Registered Model with name={name} not found")
    return model


def _number(key: str, text: str) -> float:
    try:
        value = float(json.loads(text))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"the tag {key} must be a number, it is {text!r}") from error
    if not math.isfinite(value):
        raise InvalidInput(f"the tag {key} must be a finite number, it is {text!r}")
    return value
