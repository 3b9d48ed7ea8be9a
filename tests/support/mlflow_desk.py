"""What tests of tracking and registry share: the functions over one memory, events, and sample payloads."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelwright.adapters.memory import MemoryTables
from modelwright.events import Delivery, Envelope, Event
from modelwright.log import LogItem, new_id
from modelwright.runtime import Function
from modelwright.wiring import Wiring
from support.http import Caller, ServedBlobs, deliver, handler_of, memory_wiring

API = "/api/2.0/mlflow"
EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str) -> dict[str, Any]:
    """Return a payload of ``events/``."""
    payload: dict[str, Any] = json.loads((EVENTS / name).read_text())
    return payload


@dataclass
class Desk:
    """One workspace's tracking, artifacts and registry."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: ServedBlobs = field(default_factory=ServedBlobs)

    def __post_init__(self) -> None:
        self.wiring: Wiring = memory_wiring(tables=self.tables, blobs=self.blobs)
        self.functions: dict[str, Function] = {
            name: handler_of(name, self.wiring) for name in ("tracking", "artifacts", "registry")
        }
        self.tracking = Caller(self.functions["tracking"])
        self.artifacts = Caller(self.functions["artifacts"])
        self.registry = Caller(self.functions["registry"])

    def as_caller(self, function: str, **identity: Any) -> Caller:
        """Return a caller with another identity."""
        return Caller(self.functions[function], **identity)

    def experiment(self, name: str = "churn") -> str:
        """Make an experiment and return its id."""
        identity: str = self.tracking.ok("POST", f"{API}/experiments/create", {"name": name})["experiment_id"]
        return identity

    def run(self, experiment_id: str, **more: Any) -> str:
        """Begin a run and return its id."""
        body = {"experiment_id": experiment_id, "start_time": 1000, **more}
        identity: str = self.tracking.ok("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"]
        return identity

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run."""
        run: dict[str, Any] = self.tracking.ok("GET", f"{API}/runs/get?run_id={run_id}")["run"]
        return run

    def log_batch(self, run_id: str, **batch: Any) -> tuple[int, Any]:
        """Log a batch; metrics are (key, value, timestamp, step)."""
        metrics = [dict(zip(("key", "value", "timestamp", "step"), m, strict=True)) for m in batch.get("metrics", ())]
        pairs = {
            kind: [{"key": key, "value": value} for key, value in batch.get(kind, {}).items()]
            for kind in ("params", "tags")
        }
        return self.tracking("POST", f"{API}/runs/log-batch", {"run_id": run_id, "metrics": metrics, **pairs})

    def stream(self, kind: str, identity: str, workspace: str = "default") -> list[LogItem]:
        """Return a stream of the log."""
        return list(self.wiring.log.read(f"WS#{workspace}#{kind}#{identity}"))

    def types(self, kind: str, identity: str) -> list[str]:
        """Return the types of a stream's events."""
        return [item.envelope.type for item in self.stream(kind, identity)]

    def tell(
        self, function: str, event: Event, *, identity: str = "", at: datetime | None = None, sequence: int = 1
    ) -> Any:
        """Send an event to a function as the bus would."""
        return deliver(self.functions[function], envelope_of(event, identity=identity, at=at, sequence=sequence))


def envelope_of(event: Event, *, identity: str = "", at: datetime | None = None, sequence: int = 1) -> Envelope:
    """Wrap an event."""
    return Envelope(
        id=identity or new_id(), type=event.detail_type(), schema_version=1, workspace="default",
        stream="WS#default#TEST#1", sequence=sequence, at=at or datetime(2026, 3, 2, tzinfo=UTC), actor="platform",
        correlation_id="c-1", data=event.model_dump(mode="json"),
    )  # fmt: skip


def event_of(name: str, **changes: Any) -> Any:
    """Return the event of a sample payload, changed."""
    event = Delivery.read("test", sample(name)["detail"]).event
    return type(event).model_validate({**event.model_dump(), **changes})
