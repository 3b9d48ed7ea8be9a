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
Long = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number of 64 bits, or its digits."""


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

    new_name: str


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
    start_time: Long | None = None
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
    end_time: Long | None = None
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
    timestamp: Annotated[Long, Field(ge=0)]
    step: Long = 0
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

    name: str = Field(max_length=500)
    digest: str = Field(max_length=36)
    source_type: str = ""
    source: str = Field(default="", max_length=65_535)
    schema_: str = Field(default="", alias="schema", max_length=1_048_575)
    profile: str = Field(default="", max_length=16_777_215)

    def answer(self) -> dict[str, Any]:
        """Return the protocol's form."""
        return {k: v for k, v in self.model_dump(by_alias=True).items() if v}


class InputTag(Message):
    """A tag of how a dataset was used."""

    key: str = Field(max_length=255)
    value: str = Field(default="", max_length=500)


class DatasetInput(Message):
    """A dataset, and how it was used (the tag ``mlflow.data.context``)."""

    dataset: Dataset
    tags: tuple[InputTag, ...] = ()


class ModelInput(Message):
    """A logged model that a run read."""

    model_id: str


class ModelOutput(Message):
    """A logged model that a run made."""

    model_id: str
    step: Long = 0


class LogInputs(OfRun):
    """``runs/log-inputs``."""

    datasets: tuple[DatasetInput, ...] = ()
    models: tuple[ModelInput, ...] = ()


class LogOutputs(OfRun):
    """``runs/outputs``."""

    models: tuple[ModelOutput, ...] | None = None


class LogModel(OfRun):
    """``runs/log-model`` (clients before 3.0)."""

    model_json: str


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


class GetHistories(Message):
    """``metrics/get-history-bulk``."""

    run_id: Texts = ()
    metric_key: str = ""
    max_results: int = 25_000


class SampleHistories(Message):
    """``metrics/get-history-bulk-interval``: up to so many points of each run."""

    run_ids: Texts = Field(min_length=1)
    metric_key: str
    start_step: Long | None = None
    end_step: Long | None = None
    max_results: int = 2500


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
    page_token: str = ""


class OfDataset(Message):
    """Names a dataset; without a digest, all of that name."""

    dataset_name: str = ""
    dataset_digest: str = ""


class OrderField(OfDataset):
    """One key of an order of logged models; a metric may be that on a dataset."""

    field_name: str
    ascending: bool = True


class SearchLoggedModels(Search):
    """``logged-models/search``."""

    experiment_ids: Texts = ()
    datasets: tuple[OfDataset, ...] = ()
    order_by: tuple[OrderField, ...] = ()


def pairs(items: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags or params in the protocol's form."""
    return [{"key": key, "value": value} for key, value in items.items()]
