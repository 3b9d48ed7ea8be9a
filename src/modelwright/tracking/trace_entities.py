"""Traces: what is known of them besides their spans, and MLflow's forms of it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from modelwright.filters import Actual
from modelwright.tracking import spans as s
from modelwright.tracking.entities import Document
from modelwright.tracking.messages import pairs
from modelwright.tracking.trace_messages import LAST_TIME, TRACE_TAGS_REFUSED, State, TraceInfo
from modelwright.tracking.validation import KEY_LENGTH, TAG_LENGTH

NAME, RUN, STATS, LOCATION, FINAL = (
    "mlflow.traceName", "mlflow.sourceRun", "mlflow.trace.sizeStats",
    "mlflow.trace.spansLocation", "mlflow.trace.infoFinalized",
)  # fmt: skip
"""Tags and metadata that mean something to the server."""
_PREVIEW_LENGTH = 1000


class Trace(Document):
    """One request to a program, as its spans tell it.

    Attributes:
        request_time: when it began, in milliseconds.
        execution_ms: how long it took; None while that is not known.
        runs: the runs that it was linked to afterwards.
    """

    trace_id: str
    experiment_id: str
    request_time: int
    execution_ms: int | None = None
    state: State = "IN_PROGRESS"
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    assessments: tuple[dict[str, Any], ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """What grants name: a trace belongs to its experiment."""
        return f"experiment/{self.experiment_id}"

    @property
    def in_store(self) -> bool:
        """Whether the spans came to the server; else they are in a file among the artifacts."""
        return LOCATION in self.tags

    @property
    def expected(self) -> int:
        """How many spans it has, by what its client says; 0 when that is not known."""
        try:
            count = json.loads(self.trace_metadata.get(STATS, "{}")).get("num_spans", 0)
        except (ValueError, AttributeError):
            return 0
        return count if isinstance(count, int) else 0

    def told(self, info: TraceInfo) -> "Trace":
        """Return the trace with what its client says at its end, which counts more than what spans said."""
        changed = {
            "request_time": info.request_time,
            "execution_ms": info.execution_duration,
            "state": info.state,
            "client_request_id": info.client_request_id,
            "request_preview": self.request_preview if info.request_preview is None else info.request_preview,
            "response_preview": self.response_preview if info.response_preview is None else info.response_preview,
            "trace_metadata": {**self.trace_metadata, **info.trace_metadata, FINAL: "true"},
            "tags": {**self.tags, **allowed(info.tags)},
            "assessments": info.assessments or self.assessments,
        }
        return self.model_copy(update=changed)

    def with_spans(self, spans: Sequence[s.Span]) -> "Trace":
        """Return the trace with what spans tell: until its client said it all, the root tells how it went."""
        located = self.model_copy(update={"tags": {**self.tags, LOCATION: "TRACKING_STORE"}})
        root = next((span for span in spans if "parent_span_id" not in span), None)
        if root is None or FINAL in self.trace_metadata:
            return located
        known = s.attributes(root)
        began, ended = begin_ms([root]), int(root.get("end_time_unix_nano", 0)) // 1_000_000
        failed = root.get("status", {}).get("code") == "STATUS_CODE_ERROR"
        own = {k.removeprefix(s.TAG_PREFIX): str(v) for k, v in known.items() if k.startswith(s.TAG_PREFIX)}
        changed = {
            "request_time": began,
            "execution_ms": max(0, ended - began) if ended else None,
            "state": ("ERROR" if failed else "OK") if ended else "IN_PROGRESS",
            "request_preview": _preview(known.get(s.INPUTS)),
            "response_preview": _preview(known.get(s.OUTPUTS)),
            "tags": {NAME: str(root.get("name", ""))[:TAG_LENGTH], **located.tags, **allowed(own)},
        }
        return located.model_copy(update=changed)

    def value(self, entity: str, key: str) -> tuple[Actual, ...]:
        """Return everything that a filter or order sees under a key."""
        if entity in ("tags", "metadata"):
            return ((self.tags if entity == "tags" else self.trace_metadata).get(key),)
        if key == "run_id":
            return (self.trace_metadata.get(RUN), *self.runs)
        known: dict[str, Actual] = {
            "request_id": self.trace_id, "experiment_id": self.experiment_id, "status": self.state,
            "timestamp_ms": self.request_time, "execution_time_ms": self.execution_ms,
            "end_time_ms": self.request_time + (self.execution_ms or 0), "name": self.tags.get(NAME),
            "client_request_id": self.client_request_id,
        }  # fmt: skip
        return (known[key],)

    def info(self) -> dict[str, Any]:
        """Return the protocol's form."""
        said = {
            "trace_id": self.trace_id,
            "client_request_id": self.client_request_id,
            "trace_location": {
                "type": "MLFLOW_EXPERIMENT",
                "mlflow_experiment": {"experiment_id": self.experiment_id},
            },
            "request_preview": self.request_preview,
            "response_preview": self.response_preview,
            "request_time": _said_time(self.request_time),
            "execution_duration": None if self.execution_ms is None else f"{self.execution_ms / 1000:.3f}s",
            "state": self.state,
            "trace_metadata": self.trace_metadata,
            "tags": self.tags,
            "assessments": list(self.assessments),
        }
        return {key: value for key, value in said.items() if value not in (None, [])}

    def older_info(self) -> dict[str, Any]:
        """Return the form of the protocol's second version."""
        return {
            "request_id": self.trace_id,
            "experiment_id": self.experiment_id,
            "timestamp_ms": self.request_time,
            "execution_time_ms": self.execution_ms or 0,
            "status": "TRACE_STATUS_UNSPECIFIED" if self.state == "STATE_UNSPECIFIED" else self.state,
            "request_metadata": pairs(self.trace_metadata),
            "tags": pairs(self.tags),
        }


def allowed(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that callers may set, values cut."""
    return {k: v[:TAG_LENGTH] for k, v in tags.items() if k not in TRACE_TAGS_REFUSED and 0 < len(k) <= KEY_LENGTH}


def begin_ms(spans: Sequence[s.Span]) -> int:
    """Return when the first of spans began, in milliseconds."""
    return min(LAST_TIME, min(int(span.get("start_time_unix_nano", 0)) for span in spans) // 1_000_000)


def _preview(value: Any) -> str | None:
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value))[:_PREVIEW_LENGTH]


def _said_time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
