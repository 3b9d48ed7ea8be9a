"""A small stage: memory tables and buckets, and the deliveries that others would send."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import AliasChanged, Comparison, Delivery, Envelope, Event, PerformanceMeasured, Window
from modelwright.log import Log, stream_of
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put

START = datetime(2013, 3, 1, tzinfo=UTC)
WS = "default"


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

    def delivery(self, event: Event, *, consumer: str, sequence: int = 0, kind: str = "MODEL") -> Delivery:
        number = next(self.ids)
        envelope = Envelope(
            id=f"event-{number:05}",
            type=event.detail_type(),
            schema_version=1,
            workspace=WS,
            stream=stream_of(WS, kind, "flights"),
            sequence=sequence or number,
            at=self.now,
            actor="platform",
            correlation_id="correlation",
            data=event.model_dump(mode="json"),
        )
        return Delivery(consumer=consumer, envelope=envelope, event=event)

    def apply(self, project: Project) -> None:
        key = current_key(WS)
        item = {"pk": key.pk, "sk": key.sk, "project": project.model_dump_json()}
        self.tables.write([Put("governance", item, Anything())])

    def happened(self, kind: str, model: str = "flights") -> list[Event]:
        items = self.log.read(stream_of(WS, kind, model))
        return [Delivery.read("test", item.envelope.model_dump()).event for item in items]


def alias(name: str, version: int | None, previous: int | None = None) -> AliasChanged:
    return AliasChanged(model="flights", alias=name, version=version, previous=previous)


def performance(
    stage: Stage, mean: float, *, rows: int = 5000, challenger: int = 2, champion: int = 1, key: str = ""
) -> PerformanceMeasured:
    pair = Comparison(
        challenger=challenger, champion=champion, rows=rows, total=mean * rows, squares=(0.01 + mean**2) * rows
    )
    return PerformanceMeasured(
        model="flights",
        window=Window(start=stage.now - timedelta(days=7), end=stage.now),
        labels_key=key or f"labelled/{stage.now:%Y%m%d}",
        labels=rows,
        joined=rows,
        performances=(),
        comparisons=(pair,),
        canary_comparisons=(pair.model_copy(update={"rows": rows // 10}),),
    )
