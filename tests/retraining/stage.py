"""A small stage: memory tables and buckets, a project of one model, and the deliveries that others would send."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, Envelope, Event
from modelwright.log import Log, stream_of
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put

START = datetime(2013, 3, 4, tzinfo=UTC)
WALL = datetime(2026, 1, 1, tzinfo=UTC)
WS = "default"


def project(**retraining: Any) -> Project:
    times = {"t": {"type": "timestamp"}, "known_at": {"type": "timestamp"}}
    return Project.model_validate(
        {
            "name": "demo",
            "digest": "d1",
            "sources": {
                "weather": {
                    "prefix": "weather/",
                    "columns": {"origin": {"type": "string"}, "temp": {"type": "number"}, **times},
                    "key": ["origin"],
                    "event_time": "t",
                },
                "arrivals": {
                    "prefix": "arrivals/",
                    "columns": {"flight_id": {"type": "string"}, "delay": {"type": "integer"}, **times},
                    "key": ["flight_id"],
                    "event_time": "t",
                    "labels": True,
                },
                "boats": {
                    "prefix": "boats/",
                    "columns": {"id": {"type": "string"}, **times},
                    "key": ["id"],
                    "event_time": "t",
                },
            },
            "views": {"weather": {"entity": ["origin"], "source": "weather", "features": ["temp"]}},
            "models": {
                "flights": {
                    "id_column": "flight_id",
                    "time_column": "t",
                    "request": {"flight_id": "string", "origin": "string", "t": "timestamp"},
                    "views": ["weather"],
                    "inputs": ["temp", "hour"],
                    "label": {"source": "arrivals", "column": "delay", "above": 15},
                    "trainer": "team:train",
                    "parameters": {"depth": 3.0},
                    "retraining": {"budget": 0.12, "cooldown_days": 21, **retraining},
                }
            },
        }
    )


@dataclass
class Stage:
    """Tables, buckets, a log, and a clock that only ``pass_days`` moves."""

    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    now: datetime = START
    ids: Any = field(default_factory=lambda: count(1))

    @property
    def log(self) -> Log:
        return Log(self.tables)

    @property
    def call(self) -> Call:
        return Call(WS, "tester", self.now, "correlation")

    def pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)

    def apply(self, declared: Project) -> None:
        key = current_key(WS)
        item = {"pk": key.pk, "sk": key.sk, "project": declared.model_dump_json()}
        self.tables.write([Put("governance", item, Anything())])

    def delivery(self, event: Event, *, sequence: int = 0) -> Delivery:
        number = next(self.ids)
        envelope = Envelope(
            id=f"event-{number:05}",
            type=event.detail_type(),
            schema_version=1,
            workspace=WS,
            stream=stream_of(WS, "ANY", "flights"),
            sequence=sequence or number,
            at=self.now,
            actor="platform",
            correlation_id="correlation",
            data=event.model_dump(mode="json"),
        )
        return Delivery(consumer="retrain", envelope=envelope, event=event)

    def happened(self) -> list[Event]:
        items = self.log.read(stream_of(WS, "TRAINING", "flights"))
        return [Delivery.read("test", item.envelope.model_dump()).event for item in items]
