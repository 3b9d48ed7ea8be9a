"""What callers of MLflow's trace protocol say."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from modelwright.protocol import Message, Search, Texts

TRACE_TAGS_REFUSED = (
    "mlflow.artifactLocation", "mlflow.trace.spansLocation",
    "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure",
)  # fmt: skip
"""Tags that the server alone sets."""
LAST_TIME = 253_402_300_799_999
"""The end of the year 9999, in milliseconds."""
_ID = re.compile(r"[A-Za-z0-9_\-]{1,128}")
_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")


def _instant(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    at = datetime.fromisoformat(value)
    return int((at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp() * 1000)


def _duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is no duration like 0.098s")
    return int(Decimal(value.removesuffix("s")) * 1000)


def _identity(value: Any) -> Any:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("a trace's id has 1 to 128 letters, digits, dashes and underscores")
    return value


TraceId = Annotated[str, BeforeValidator(_identity)]
Instant = Annotated[int, BeforeValidator(_instant), Field(ge=0, le=LAST_TIME)]
"""Milliseconds, said as an ISO 8601 time."""
Duration = Annotated[int, BeforeValidator(_duration)]
"""Milliseconds, said as seconds."""
State = Literal["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"]


class _InExperiment(Message):
    experiment_id: str


class Location(Message):
    """Where traces are: in an experiment."""

    mlflow_experiment: _InExperiment


class TraceInfo(Message):
    """What is told of a trace besides its spans."""

    trace_id: TraceId
    trace_location: Location
    request_time: Instant
    execution_duration: Duration | None = None
    state: State = "STATE_UNSPECIFIED"
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    assessments: tuple[dict[str, Any], ...] = ()


class _Trace(Message):
    trace_info: TraceInfo


class StartTrace(Message):
    """``POST traces``: said when a trace is at its end, in spite of the name."""

    trace: _Trace


class OfTrace(Message):
    """Names a trace."""

    trace_id: TraceId


class OfRequest(Message):
    """Names a trace, as older clients do."""

    request_id: TraceId


class GetTrace(OfTrace):
    """``traces/get``."""

    allow_partial: bool = False


class BatchGet(Message):
    """``traces/batchGet`` and ``traces/batchGetInfos``."""

    trace_ids: Texts = Field(default=(), max_length=1000)


class SearchTraces(Search):
    """``traces/search``."""

    locations: tuple[Location, ...]
    order_by: Texts = ()


class OlderSearch(Search):
    """``GET traces``, as older clients search."""

    experiment_ids: Texts = ()
    order_by: Texts = ()

    def newer(self) -> SearchTraces:
        """Return the same search as newer clients say it."""
        places = tuple(Location(mlflow_experiment=_InExperiment(experiment_id=each)) for each in self.experiment_ids)
        return SearchTraces(locations=places, **self.model_dump(exclude={"experiment_ids"}))


class TagTrace(OfTrace):
    """``PATCH traces/<id>/tags``."""

    key: str
    value: str = ""


class UntagTrace(OfTrace):
    """``DELETE traces/<id>/tags``."""

    key: str


class DeleteTraces(Message):
    """``traces/delete-traces``: by ids, or up to a time."""

    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: Texts = ()


class LinkTraces(Message):
    """``traces/link-to-run``."""

    trace_ids: Texts = Field(max_length=100)
    run_id: str
