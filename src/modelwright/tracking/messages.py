"""What callers of MLflow's tracking protocol say."""

import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modelwright.errors import InvalidInput
from modelwright.protocol import Message, Search, Texts


def _clamped(value: float) -> float:
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


Figure = Annotated[float, AfterValidator(_clamped)]
"""A number, or "NaN"; infinities become the largest double, as in MLflow's own store."""


class Nothing(Message):
    """A call without arguments."""


class Pair(Message):
    """A tag or param."""

    key: str
    value: str = ""


class SetTag(Message):
    """A tag to be set on whatever else is named."""

    key: str
    value: str = ""


# --- experiments -------------------------------------------------------------------------


class CreateExperiment(Message):
    """``experiments/create``."""

    name: str
    artifact_location: str = ""
    tags: tuple[Pair, ...] = ()


class OfExperiment(Message):
    """Names an experiment."""

    experiment_id: str


class ExperimentByName(Message):
    """``experiments/get-by-name``."""

    experiment_name: str


class UpdateExperiment(OfExperiment):
    """``experiments/update``."""

    new_name: str = ""


class SetExperimentTag(OfExperiment, SetTag):
    """``experiments/set-experiment-tag``."""


class DeleteExperimentTag(OfExperiment):
    """``experiments/delete-experiment-tag``."""

    key: str


class SearchExperiments(Search):
    """``experiments/search``."""

    order_by: Texts = ()
    view_type: str = "ACTIVE_ONLY"


# --- runs --------------------------------------------------------------------------------


class CreateRun(Message):
    """``runs/create``."""

    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: tuple[Pair, ...] = ()


class OfRun(Message):
    """Names a run, by either word."""

    run_id: str = ""
    run_uuid: str = ""

    @property
    def run(self) -> str:
        """The run's id; raises ``InvalidInput`` when there is none."""
        if identity := self.run_id or self.run_uuid:
            return identity
        raise InvalidInput("Missing value for required parameter 'run_id'.")


class UpdateRun(OfRun):
    """``runs/update``."""

    status: str = ""
    end_time: int | None = None
    run_name: str = ""


class SetRunTag(OfRun, SetTag):
    """``runs/set-tag``."""


class DeleteRunTag(OfRun):
    """``runs/delete-tag``."""

    key: str


class Measured(Message):
    """One metric point."""

    key: str
    value: Figure
    timestamp: int
    step: int = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class LogMetric(OfRun, Measured):
    """``runs/log-metric``."""


class LogParameter(OfRun, Pair):
    """``runs/log-parameter``."""


class LogBatch(OfRun):
    """``runs/log-batch``."""

    metrics: tuple[Measured, ...] = ()
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class Dataset(Message):
    """A dataset that a run read; ``schema`` and ``profile`` are JSON in text."""

    name: str
    digest: str
    source_type: str = ""
    source: str = ""
    schema_: str = Field(default="", alias="schema")
    profile: str = ""

    def answer(self) -> dict[str, Any]:
        """Return the protocol's form."""
        return {k: v for k, v in self.model_dump(by_alias=True).items() if v}


class DatasetInput(Message):
    """A dataset, and how it was used (the tag ``mlflow.data.context``)."""

    dataset: Dataset
    tags: tuple[Pair, ...] = ()


class ModelInput(Message):
    """A logged model that a run read."""

    model_id: str


class ModelOutput(Message):
    """A logged model that a run made."""

    model_id: str
    step: int = 0


class LogInputs(OfRun):
    """``runs/log-inputs``."""

    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()


class LogOutputs(OfRun):
    """``runs/outputs``."""

    models: tuple[ModelOutput, ...] = ()


class SearchRuns(Search):
    """``runs/search``."""

    experiment_ids: Texts = ()
    run_view_type: str = "ACTIVE_ONLY"
    order_by: Texts = ()


class GetHistory(OfRun):
    """``metrics/get-history``."""

    metric_key: str
    max_results: int = 25_000
    page_token: str = ""


class ListArtifacts(OfRun):
    """``artifacts/list``."""

    path: str = ""
    page_token: str = ""


# --- logged models -----------------------------------------------------------------------


class CreateLoggedModel(Message):
    """``logged-models``."""

    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: tuple[Pair, ...] = ()
    tags: tuple[Pair, ...] = ()


class OfLoggedModel(Message):
    """Names a logged model."""

    model_id: str


class FinalizeLoggedModel(OfLoggedModel):
    """``PATCH logged-models/<id>``."""

    status: str


class TagLoggedModel(OfLoggedModel):
    """``PATCH logged-models/<id>/tags``."""

    tags: tuple[Pair, ...] = ()


class UntagLoggedModel(OfLoggedModel):
    """``DELETE logged-models/<id>/tags/<key>``."""

    key: str


class LogModelParams(OfLoggedModel):
    """``POST logged-models/<id>/params``."""

    params: tuple[Pair, ...] = ()


class ModelFiles(OfLoggedModel):
    """``logged-models/<id>/artifacts/directories``."""

    artifact_directory_path: str = ""


class OrderField(Message):
    """One key of an order of logged models."""

    field_name: str
    ascending: bool = True


class SearchLoggedModels(Search):
    """``logged-models/search``."""

    experiment_ids: Texts = ()
    order_by: tuple[OrderField, ...] = ()


def pairs(items: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags or params in the protocol's form."""
    return [{"key": key, "value": value} for key, value in items.items()]
