"""MLflow's JSON as records, and what a request says."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from modelwright.errors import InvalidInput
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

_STATUS = "LOGGED_MODEL_"


def pairs(mapping: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags or params as the protocol says them."""
    return [{"key": key, "value": value} for key, value in mapping.items()]


def mapping(said_pairs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags or params by key; an empty value may have been left out."""
    return {pair["key"]: pair.get("value", "") for pair in said_pairs}


def said(value: float) -> float | str:
    """Return a number as the protocol says it."""
    if math.isnan(value):
        return "NaN"
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


def quoted(text: str) -> str:
    """Return a text as a filter says it; raises ``InvalidInput`` for one that it cannot say."""
    for quote_ in ("'", '"'):
        if quote_ not in text:
            return f"{quote_}{text}{quote_}"
    raise InvalidInput(f"the name {text} has both kinds of quotes, and no search can name it")


def experiment_of(answer: Mapping[str, Any]) -> Experiment:
    """Return an experiment."""
    deleted = answer.get("lifecycle_stage") == "deleted"
    return Experiment(str(answer["experiment_id"]), answer["name"], mapping(answer.get("tags", ())), deleted)


def run_of(answer: Mapping[str, Any]) -> Run:
    """Return a run."""
    info, data = answer["info"], answer.get("data", {})
    inputs, outputs = answer.get("inputs", {}), answer.get("outputs", {})
    return Run(
        run_id=info["run_id"],
        experiment_id=str(info["experiment_id"]),
        name=info.get("run_name", ""),
        user=info.get("user_id", ""),
        status=info["status"],
        start=int(info.get("start_time") or 0),
        end=int(info["end_time"]) if info.get("end_time") else None,
        deleted=info.get("lifecycle_stage") == "deleted",
        artifact_uri=info.get("artifact_uri", ""),
        params=mapping(data.get("params", ())),
        tags=mapping(data.get("tags", ())),
        metrics=frozenset(metric["key"] for metric in data.get("metrics", ())),
        datasets=tuple(_dataset_of(d) for d in inputs.get("dataset_inputs", ())),
        model_inputs=tuple(m["model_id"] for m in inputs.get("model_inputs", ())),
        model_outputs=tuple((m["model_id"], int(m.get("step", 0))) for m in outputs.get("model_outputs", ())),
    )


def logged_model_of(answer: Mapping[str, Any]) -> LoggedModel:
    """Return a logged model."""
    info, data = answer["info"], answer.get("data", {})
    return LoggedModel(
        model_id=info["model_id"],
        experiment_id=str(info["experiment_id"]),
        name=info["name"],
        model_type=info.get("model_type", ""),
        run_id=info.get("source_run_id", ""),
        status=str(info["status"]).removeprefix(_STATUS),
        created=int(info.get("creation_timestamp_ms") or 0),
        artifact_uri=info.get("artifact_uri", ""),
        params=mapping(data.get("params", ())),
        tags=mapping(info.get("tags", ())),
        points=tuple(
            ModelPoint(
                m.get("run_id", ""),
                m["key"],
                Point(int(m["timestamp"]), int(m.get("step", 0)), float(m["value"])),
                m.get("dataset_name", ""),
                m.get("dataset_digest", ""),
            )
            for m in data.get("metrics", ())
        ),
    )


def registered_model_of(answer: Mapping[str, Any]) -> RegisteredModel:
    """Return a registered model."""
    aliases = {a["alias"]: int(a["version"]) for a in answer.get("aliases", ())}
    return RegisteredModel(answer["name"], answer.get("description", ""), mapping(answer.get("tags", ())), aliases)


def version_of(answer: Mapping[str, Any]) -> Version:
    """Return a version."""
    return Version(
        model=answer["name"],
        number=int(answer["version"]),
        source=answer.get("source", ""),
        run_id=answer.get("run_id", ""),
        run_link=answer.get("run_link", ""),
        model_id=answer.get("model_id", ""),
        description=answer.get("description", ""),
        stage=answer.get("current_stage", "None"),
        created=int(answer.get("creation_timestamp") or 0),
        tags=mapping(answer.get("tags", ())),
    )


def _dataset_of(answer: Mapping[str, Any]) -> DatasetInput:
    dataset = answer["dataset"]
    return DatasetInput(
        dataset["name"],
        dataset["digest"],
        dataset.get("source_type", ""),
        dataset.get("source", ""),
        dataset.get("schema", ""),
        dataset.get("profile", ""),
        tuple(sorted(mapping(answer.get("tags", ())).items())),
    )
