"""Experiments, runs and logged models: their state, their rules, and MLflow's form of them."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import Conflict, InvalidInput, NotFound
from modelwright.tracking.messages import Dataset, DatasetInput, ModelInput, ModelOutput, pairs

if TYPE_CHECKING:
    from modelwright.filters import Actual

ACTIVE, DELETED = "active", "deleted"
FINAL = ("FINISHED", "FAILED", "KILLED")
STATUSES = ("RUNNING", "SCHEDULED", *FINAL)
RUN_NAME = "mlflow.runName"
VIEWS = {"ACTIVE_ONLY": (ACTIVE,), "DELETED_ONLY": (DELETED,), "ALL": (ACTIVE, DELETED)}


class Point(NamedTuple):
    """One value of a metric; ``timestamp`` is in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int


class Latest(NamedTuple):
    """The newest value of a metric."""

    value: float
    timestamp: int
    step: int

    @property
    def rank(self) -> tuple[int, int, float, bool]:
        """MLflow's order: by step, then timestamp, then value, where NaN counts as zero (but wins a tie with it)."""
        nan = math.isnan(self.value)
        return self.step, self.timestamp, 0.0 if nan else self.value, nan


def newest(known: dict[str, Latest], points: Iterable[Point]) -> dict[str, Latest]:
    """Return the newest value per metric; the same whatever the order and however often points come."""
    merged = dict(known)
    for point in points:
        value = Latest(point.value, point.timestamp, point.step)
        if point.key not in merged or value.rank > merged[point.key].rank:
            merged[point.key] = value
    return merged


class Document(BaseModel):
    """What is kept as one JSON document; ``v`` counts its versions (0: not stored yet)."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants", defer_build=True)
    v: int = Field(default=0, exclude=True)


class Staged(Protocol):
    """A run's own stage, and its experiment's epoch when it got there."""

    @property
    def lifecycle_stage(self) -> str:
        """The stage."""
        ...

    @property
    def epoch(self) -> int:
        """The epoch."""
        ...


class Experiment(Document):
    """A named group of runs.

    Attributes:
        epoch: how often it was restored; that brings back all runs that were deleted before.
    """

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str = ACTIVE
    creation_time: int
    last_update_time: int
    tags: dict[str, str] = Field(default_factory=dict)
    epoch: int = 0

    def stage_of(self, run: "Staged") -> str:
        """Return the stage in which callers see a run: its experiment's, or its own if that is newer."""
        return self.own_stage_of(run) if self.lifecycle_stage == ACTIVE else self.lifecycle_stage

    def own_stage_of(self, run: "Staged") -> str:
        """Return the stage in which a run is, wherever its experiment may be."""
        return run.lifecycle_stage if run.epoch == self.epoch else ACTIVE

    def seen(self, run: "Run") -> "Run":
        """Return a run as callers see it."""
        stage = self.stage_of(run)
        return run if stage == run.lifecycle_stage else run.model_copy(update={"lifecycle_stage": stage})

    def in_stage(self, stage: str) -> "Experiment":
        """Return the experiment if it is in a stage; raises ``NotFound``."""
        if self.lifecycle_stage != stage:
            raise NotFound(f"No {stage} experiment with id={self.experiment_id} exists: it is {self.lifecycle_stage}")
        return self

    def writable(self) -> "Experiment":
        """Return the experiment; raises ``InvalidInput`` when it is deleted."""
        if self.lifecycle_stage != ACTIVE:
            raise InvalidInput(f"The experiment {self.experiment_id} must be in the 'active' state: it is deleted")
        return self

    def value(self, entity: str, key: str) -> "tuple[Actual]":
        """Return what a filter sees."""
        return (self.tags.get(key) if entity == "tags" else getattr(self, key),)

    def answer(self) -> dict[str, Any]:
        """Return the protocol's form."""
        return {
            **self.model_dump(exclude={"tags", "epoch"}),
            "tags": pairs(self.tags),
            "workspace": "default",
        }


class Input(Document):
    """A dataset that a run read: the dataset itself lies in its experiment."""

    name: str
    digest: str
    tags: dict[str, str] = Field(default_factory=dict)


class Run(Document):
    """One execution: params, the latest metrics, tags, and what it read and made.

    Attributes:
        lifecycle_stage: the run's own, unless ``Experiment.seen`` made it the one that callers see.
        epoch: its experiment's, when the run was deleted.
        settled: whether it is told by a part of its experiment's snapshot.
    """

    run_id: str
    experiment_id: str
    run_name: str
    user_id: str = ""
    status: str = "RUNNING"
    start_time: int
    end_time: int | None = None
    lifecycle_stage: str = ACTIVE
    epoch: int = 0
    settled: bool = Field(default=False, exclude=True)
    artifact_uri: str
    params: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Latest] = Field(default_factory=dict, exclude=True)
    datasets: tuple[Input, ...] = ()
    model_inputs: tuple[ModelInput, ...] = ()
    model_outputs: tuple[ModelOutput, ...] = ()

    @property
    def resource(self) -> str:
        """What grants name: a run belongs to its experiment."""
        return f"experiment/{self.experiment_id}"

    def writable(self) -> "Run":
        """Return the run; raises ``InvalidInput`` when it is deleted."""
        if self.lifecycle_stage != ACTIVE:
            raise InvalidInput(f"The run {self.run_id} must be in the 'active' state: it is deleted")
        return self

    def with_params(self, params: dict[str, str]) -> "Run":
        """Return the run with more params; raises ``InvalidInput`` where one had another value."""
        changed = [(k, self.params[k], v) for k, v in params.items() if self.params.get(k, v) != v]
        if changed:
            was = "; ".join(f"{key!r} was {old!r}, attempted new value {new!r}" for key, old, new in changed)
            raise InvalidInput(f"Changing param values is not allowed. Params of run {self.run_id}: {was}")
        return self.model_copy(update={"params": {**self.params, **params}})

    def with_tags(self, tags: dict[str, str]) -> "Run":
        """Return the run with tags set; the tag of its name renames it, if it says a name."""
        told = {key: value for key, value in tags.items() if value or key != RUN_NAME}
        name = told.get(RUN_NAME, self.run_name)
        return self.model_copy(update={"tags": {**self.tags, **told}, "run_name": name})

    def with_inputs(self, datasets: Sequence[DatasetInput], models: Sequence[ModelInput]) -> "Run":
        """Return the run with more inputs; one it had already stays as it was."""
        known = {(d.name, d.digest) for d in self.datasets}
        new = {(d.dataset.name, d.dataset.digest): d for d in datasets}
        more = tuple(
            Input(name=k[0], digest=k[1], tags={t.key: t.value for t in d.tags})
            for k, d in new.items()
            if k not in known
        )
        inputs = tuple(dict.fromkeys((*self.model_inputs, *models)))
        return self.model_copy(update={"datasets": (*self.datasets, *more), "model_inputs": inputs})

    def value(self, entity: str, key: str) -> "tuple[Actual, ...]":
        """Return everything that a filter or order sees under a key."""
        if entity == "metrics":
            return (self.metrics[key].value if key in self.metrics else None,)
        if entity == "datasets":
            context = "mlflow.data.context"
            return tuple(d.tags.get(context) if key == "context" else getattr(d, key) for d in self.datasets)
        if entity in ("params", "tags"):
            return (getattr(self, entity).get(key),)
        return (getattr(self, key),)

    def info(self) -> dict[str, Any]:
        """Return the protocol's ``RunInfo``."""
        fields = ("run_id", "run_name", "experiment_id", "user_id", "status", "start_time", "end_time")
        info = {name: getattr(self, name) for name in (*fields, "artifact_uri", "lifecycle_stage")}
        return {k: v for k, v in info.items() if v not in (None, "")} | {"run_uuid": self.run_id}

    def answer(self, datasets: dict[tuple[str, str], Dataset]) -> dict[str, Any]:
        """Return the protocol's form; ``datasets`` by name and digest."""
        data = {"metrics": figures(self.metrics), "params": pairs(self.params), "tags": pairs(self.tags)}
        read = [
            {"dataset": datasets[(d.name, d.digest)].answer(), "tags": pairs(d.tags)}
            for d in self.datasets
            if (d.name, d.digest) in datasets
        ]
        inputs = {"dataset_inputs": read, "model_inputs": [m.model_dump() for m in self.model_inputs]}
        outputs = {"model_outputs": [m.model_dump() for m in self.model_outputs]}
        return {"info": self.info(), "data": data, "inputs": inputs, "outputs": outputs}


class ModelMetric(NamedTuple):
    """A metric of a logged model: on which dataset, in which run."""

    key: str
    value: float
    timestamp: int
    step: int
    run_id: str
    dataset_name: str
    dataset_digest: str


class LoggedModel(Document):
    """A model that a run made: a folder of files and what is known of it."""

    model_id: str
    experiment_id: str
    name: str
    artifact_uri: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    status: str = "LOGGED_MODEL_PENDING"
    model_type: str = ""
    source_run_id: str = ""
    lifecycle_stage: str = ACTIVE
    params: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: tuple[ModelMetric, ...] = ()

    @property
    def resource(self) -> str:
        """What grants name: a logged model belongs to its experiment."""
        return f"experiment/{self.experiment_id}"

    def with_metrics(self, metrics: Sequence[ModelMetric]) -> "LoggedModel":
        """Return the model with the newest value per metric, run and dataset."""
        merged = {(m.key, m.run_id, m.dataset_name, m.dataset_digest): m for m in self.metrics}
        for metric in metrics:
            place = (metric.key, metric.run_id, metric.dataset_name, metric.dataset_digest)
            known = merged.get(place)
            if known is None or Latest(*metric[1:4]).rank > Latest(*known[1:4]).rank:
                merged[place] = metric
        return self.model_copy(update={"metrics": tuple(merged.values())})

    def finalized(self, status: str, now: int) -> "LoggedModel":
        """Return the model as ready or failed; raises ``InvalidInput`` or ``Conflict``."""
        known = {"LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"}
        if status not in known:
            raise InvalidInput(f"invalid status {status!r}: a logged model becomes {' or '.join(sorted(known))}")
        if self.lifecycle_stage != ACTIVE:
            raise Conflict(f"the logged model {self.model_id} is deleted")
        return self.model_copy(update={"status": status, "last_updated_timestamp_ms": now})

    def value(self, entity: str, key: str) -> "tuple[Actual, ...]":
        """Return everything that a filter or order sees under a key."""
        if entity == "metrics":
            return tuple(m.value for m in self.metrics if m.key == key) or (None,)
        if entity in ("params", "tags"):
            return (getattr(self, entity).get(key),)
        return (getattr(self, key) or None,)

    def answer(self) -> dict[str, Any]:
        """Return the protocol's form."""
        hidden = {"params", "tags", "metrics", "lifecycle_stage"}
        info = self.model_dump(exclude=hidden) | {"tags": pairs(self.tags)}
        metrics = [
            {**{k: v for k, v in m._asdict().items() if v != ""}, "value": said(m.value), "model_id": self.model_id}
            for m in self.metrics
        ]
        data = {"params": pairs(self.params), "metrics": metrics}
        return {"info": {k: v for k, v in info.items() if v != ""}, "data": data}


def said(value: float) -> float | str:
    """Return a number as the protocol says it: NaN is a word."""
    return "NaN" if math.isnan(value) else value


def figures(metrics: dict[str, Latest]) -> list[dict[str, Any]]:
    """Return the latest metrics in the protocol's form."""
    return [
        {"key": key, "value": said(m.value), "timestamp": m.timestamp, "step": m.step} for key, m in metrics.items()
    ]


def stages(view_type: str) -> tuple[str, ...]:
    """Return the lifecycle stages that a view type shows; raises ``InvalidInput``."""
    if view_type not in VIEWS:
        raise InvalidInput(f"invalid view type {view_type!r}: there are {', '.join(VIEWS)}")
    return VIEWS[view_type]
