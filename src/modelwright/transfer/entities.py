"""The stock client's entities as records, and back. MLflow is imported when one is made."""

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.transfer.records import (
    DatasetInput,
    Experiment,
    LoggedModel,
    ModelPoint,
    Point,
    RegisteredModel,
    Run,
    Version,
)

_FAILED = "UPLOAD_FAILED"


def experiment_of(experiment: Any) -> Experiment:
    """Return an experiment."""
    deleted = experiment.lifecycle_stage == "deleted"
    return Experiment(str(experiment.experiment_id), experiment.name, dict(experiment.tags), deleted)


def run_of(run: Any) -> Run:
    """Return a run."""
    info, data = run.info, run.data
    datasets = run.inputs.dataset_inputs if run.inputs else ()
    inputs = run.inputs.model_inputs if run.inputs else ()
    outputs = run.outputs.model_outputs if run.outputs else ()
    return Run(
        run_id=info.run_id,
        experiment_id=str(info.experiment_id),
        name=info.run_name or "",
        user=info.user_id or "",
        status=info.status,
        start=int(info.start_time or 0),
        end=int(info.end_time) if info.end_time else None,
        deleted=info.lifecycle_stage == "deleted",
        artifact_uri=info.artifact_uri or "",
        params={key: value or "" for key, value in data.params.items()},
        tags={key: value or "" for key, value in data.tags.items()},
        metrics=frozenset(data.metrics),
        datasets=tuple(_dataset_of(dataset) for dataset in datasets),
        model_inputs=tuple(model.model_id for model in inputs or ()),
        model_outputs=tuple((model.model_id, int(model.step or 0)) for model in outputs or ()),
    )


def logged_model_of(model: Any) -> LoggedModel:
    """Return a logged model."""
    status = str(model.status.value)
    return LoggedModel(
        model_id=model.model_id,
        experiment_id=str(model.experiment_id),
        name=model.name,
        model_type=model.model_type or "",
        run_id=model.source_run_id or "",
        status=_FAILED if status == "FAILED" else status,
        created=int(model.creation_timestamp or 0),
        artifact_uri=model.artifact_location or "",
        params=dict(model.params or {}),
        tags=dict(model.tags or {}),
        points=tuple(
            ModelPoint(
                m.run_id or "",
                m.key,
                Point(int(m.timestamp), int(m.step or 0), float(m.value)),
                m.dataset_name or "",
                m.dataset_digest or "",
            )
            for m in model.metrics or ()
        ),
    )


def registered_model_of(model: Any) -> RegisteredModel:
    """Return a registered model; its public ``tags`` keep silent about what makes it a prompt."""
    aliases = {alias: int(version) for alias, version in dict(model.aliases or {}).items()}
    return RegisteredModel(model.name, model.description or "", dict(model._tags or {}), aliases)


def version_of(version: Any) -> Version:
    """Return a version."""
    return Version(
        model=version.name,
        number=int(version.version),
        source=version.source or "",
        run_id=version.run_id or "",
        run_link=version.run_link or "",
        model_id=version.model_id or "",
        description=version.description or "",
        stage=version.current_stage or "None",
        created=int(version.creation_timestamp or 0),
        tags=dict(version.tags or {}),
    )


def metric(point: ModelPoint, model: str) -> Any:
    """Return a point of a run, and of a logged model if one is named."""
    from mlflow.entities import Metric

    dataset = (point.dataset_name or None, point.dataset_digest or None)
    return Metric(point.key, point.point.value, point.point.timestamp, point.point.step, model or None, *dataset)


def pairs(kind: str, given: Mapping[str, str]) -> list[Any]:
    """Return tags or params as entities of a kind, such as ``RunTag``."""
    import mlflow.entities
    import mlflow.entities.model_registry

    found = getattr(mlflow.entities, kind, None) or getattr(mlflow.entities.model_registry, kind)
    return [found(key, value) for key, value in given.items()]


def dataset_inputs(given: Sequence[DatasetInput]) -> list[Any]:
    """Return datasets that a run read."""
    from mlflow.entities import Dataset, InputTag
    from mlflow.entities import DatasetInput as Theirs

    return [
        Theirs(
            Dataset(d.name, d.digest, d.source_type, d.source, d.schema or None, d.profile or None),
            [InputTag(key, value) for key, value in d.tags],
        )
        for d in given
    ]


def model_inputs(given: Sequence[str]) -> list[Any]:
    """Return logged models that a run read."""
    from mlflow.entities import LoggedModelInput

    return [LoggedModelInput(identity) for identity in given]


def model_outputs(given: Sequence[tuple[str, int]]) -> list[Any]:
    """Return logged models that a run made."""
    from mlflow.entities import LoggedModelOutput

    return [LoggedModelOutput(identity, step) for identity, step in given]


def run_status(status: str) -> int:
    """Return a run's status."""
    from mlflow.entities import RunStatus

    return int(RunStatus.from_string(status))


def model_status(status: str) -> Any:
    """Return a logged model's status."""
    from mlflow.entities import LoggedModelStatus

    return LoggedModelStatus.FAILED if status == _FAILED else LoggedModelStatus(status)


def _dataset_of(given: Any) -> DatasetInput:
    dataset = given.dataset
    tags = tuple(sorted((tag.key, tag.value) for tag in given.tags or ()))
    return DatasetInput(
        dataset.name,
        dataset.digest,
        dataset.source_type or "",
        dataset.source or "",
        dataset.schema or "",
        dataset.profile or "",
        tags,
    )
