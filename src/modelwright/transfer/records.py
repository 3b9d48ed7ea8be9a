"""What is copied, as either side tells it, in one form that can be compared."""

import hashlib
import math
import struct
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MARKS = "modelwright.import."
"""What the tags begin with that a copy puts on what it makes; they are never copied themselves."""
SOURCE, PREFIX, EXPERIMENT_ID, RUN_ID, MODEL_ID, CREATED, PLACEHOLDER = (
    MARKS + word for word in ("source", "prefix", "experiment_id", "run_id", "model_id", "created", "placeholder")
)
PROMPT = "mlflow.prompt.is_prompt"


def unmarked(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags without those that a copy made."""
    return {key: value for key, value in tags.items() if not key.startswith(MARKS)}


Place = tuple[int, int, bool, float]
"""Timestamp, step, whether it is NaN, and the value."""


class Point(NamedTuple):
    """One value of a metric; ``timestamp`` is in milliseconds."""

    timestamp: int
    step: int
    value: float

    @property
    def place(self) -> Place:
        """What makes two points the same: databases hold NaN once, infinities as the largest double, and no -0.0."""
        if math.isnan(self.value):
            return self.timestamp, self.step, True, 0.0
        value = math.copysign(sys.float_info.max, self.value) if math.isinf(self.value) else self.value
        return self.timestamp, self.step, False, value + 0.0


class History(NamedTuple):
    """What is remembered of a metric's points: how many places, and a digest of them."""

    points: int
    digest: str

    @classmethod
    def of(cls, points: Iterable[Point]) -> "History":
        """Return the history of points, in whatever order and however often they come."""
        places = sorted({point.place for point in points})
        digest = hashlib.sha256()
        for place in places:
            digest.update(struct.pack("<qq?d", *place))
        return cls(len(places), digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named group of runs."""

    experiment_id: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A dataset that a run read, and how; ``tags`` are sorted."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema: str = ""
    profile: str = ""
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One execution.

    Attributes:
        start: milliseconds; 0 if it is not known.
        end: milliseconds, or None.
        metrics: the keys; the points are asked for by key.
        model_inputs: ids of the logged models that it read.
        model_outputs: ids of the logged models that it made, with the step.
    """

    run_id: str
    experiment_id: str
    name: str = ""
    user: str = ""
    status: str = "RUNNING"
    start: int = 0
    end: int | None = None
    deleted: bool = False
    artifact_uri: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: frozenset[str] = frozenset()
    datasets: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[str, ...] = ()
    model_outputs: tuple[tuple[str, int], ...] = ()

    def shell(self) -> "Run":
        """Return what making it takes, which is little enough to be kept for a million runs."""
        return replace(self, params={}, tags={}, metrics=frozenset(), datasets=(), model_inputs=(), model_outputs=())


class ModelPoint(NamedTuple):
    """A point that a run logged of a model, and on which dataset."""

    run_id: str
    key: str
    point: Point
    dataset_name: str = ""
    dataset_digest: str = ""

    @property
    def line(self) -> tuple[str, str, str, str]:
        """What it is a point of: the run, the metric and the dataset."""
        return self.run_id, self.key, self.dataset_name, self.dataset_digest

    @property
    def place(self) -> tuple[str, str, int, int, str, str, float]:
        """What makes two the same; databases hold NaN as 0.0 here, and nothing tells that from zero."""
        timestamp, step, _, value = self.point.place
        return self.run_id, self.key, timestamp, step, self.dataset_name, self.dataset_digest, value


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model that a run made; ``status`` is PENDING, READY or UPLOAD_FAILED."""

    model_id: str
    experiment_id: str
    name: str
    model_type: str = ""
    run_id: str = ""
    status: str = "PENDING"
    created: int = 0
    artifact_uri: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: tuple[ModelPoint, ...] = ()

    @property
    def newest(self) -> list[ModelPoint]:
        """The newest point of each run, metric and dataset, which is what the platform keeps of a model."""
        found: dict[tuple[str, str, str, str], ModelPoint] = {}
        for point in sorted(self.points, key=_rank):
            found[point.line] = point
        return list(found.values())


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name for a line of versions, or of prompts."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_prompt(self) -> bool:
        """Whether this is an entry of the prompt registry."""
        return self.tags.get(PROMPT, "").lower() == "true"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    model: str
    number: int
    source: str = ""
    run_id: str = ""
    run_link: str = ""
    model_id: str = ""
    description: str = ""
    stage: str = "None"
    created: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_placeholder(self) -> bool:
        """Whether a copy made it only to get past its number."""
        return PLACEHOLDER in self.tags


class Entry(NamedTuple):
    """A line of a folder's listing; ``path`` begins at the root that was listed, ``size`` is None if it is not told."""

    path: str
    is_folder: bool
    size: int | None = None


def _rank(point: ModelPoint) -> tuple[int, int, float]:
    timestamp, step, _, value = point.point.place
    return step, timestamp, value
