"""What callers of MLflow's protocol of evaluation datasets say: tags and records are JSON in a string."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from modelwright.protocol import Message, Search, Texts, without_nulls

EXPERIMENTS_AT_ONCE = 100


def _spoken(value: Any) -> Any:
    """Return what a string of JSON says; no letter may be half of one, and no level too deep."""
    if not isinstance(value, str):
        raise ValueError("it must be JSON in a string")  # noqa: TRY004 - pydantic tells of ValueErrors
    try:
        said = json.loads(value)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    without_nulls(said)
    json.dumps(said, ensure_ascii=False).encode()
    return said


def _spoken_tags(value: Any) -> Any:
    return {} if value == "" else _spoken(value)


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _some(value: Any) -> Any:
    return {} if value is None else value


Tags = Annotated[dict[str, Any], BeforeValidator(_spoken_tags)]
Data = Annotated[dict[str, Any], BeforeValidator(_some)]
SourceType = Literal["UNSPECIFIED", "TRACE", "HUMAN", "DOCUMENT", "CODE"]
ExperimentIds = Annotated[Texts, Field(max_length=EXPERIMENTS_AT_ONCE)]


class Source(Message):
    """Where a record comes from."""

    source_type: Annotated[SourceType, BeforeValidator(_upper)]
    source_data: Data = Field(default_factory=dict)


class GivenRecord(Message):
    """A record as it is told: one with the same inputs is changed, else it is new."""

    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: Any = None
    expectations: Data = Field(default_factory=dict)
    tags: Data = Field(default_factory=dict)
    source: Source | None = None


class CreateDataset(Message):
    """``datasets/create``."""

    name: str
    tags: Tags = Field(default_factory=dict)
    experiment_ids: ExperimentIds = ()


class OfDataset(Message):
    """Names an evaluation dataset."""

    dataset_id: str


class SearchEvaluationDatasets(Search):
    """``datasets/search``."""

    filter_string: str = ""
    order_by: Texts = ()
    experiment_ids: Texts = ()


class SetDatasetTags(OfDataset):
    """``PATCH datasets/<id>/tags``: tags that are null stay as they are."""

    tags: Tags


class DeleteDatasetTag(OfDataset):
    """``DELETE datasets/<id>/tags/<key>``."""

    key: str


class UpsertRecords(OfDataset):
    """``POST datasets/<id>/records``."""

    records: Annotated[tuple[GivenRecord, ...], BeforeValidator(_spoken)]


class GetRecords(Search, OfDataset):
    """``GET datasets/<id>/records``."""


class DeleteRecords(OfDataset):
    """``DELETE datasets/<id>/records``."""

    dataset_record_ids: Texts


class OfExperiments(OfDataset):
    """``add-experiments`` and ``remove-experiments``."""

    experiment_ids: ExperimentIds = ()
