"""A stack in memory with monitoring's function on it."""

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeVar

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, Envelope, Event, kinds
from modelwright.log import Log, stream_of
from modelwright.monitoring import checks, detectors, uploads
from modelwright.plugins import installed, load
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put

NOW = datetime(2014, 1, 1, tzinfo=UTC)
CHECKS: dict[str, checks.Check] = {name: load("checks", name)() for name in installed("checks")}
DETECTORS: dict[str, detectors.Detector] = {name: load("detectors", name)() for name in installed("detectors")}

E = TypeVar("E", bound=Event)


class Desk:
    def __init__(self, project: Project | None, workspace: str = "default") -> None:
        self.tables, self.blobs, self.workspace = MemoryTables(), MemoryBlobs(), workspace
        self.log = Log(self.tables)
        self._numbers = itertools.count(1)
        if project is not None:
            self.apply(project)

    def apply(self, project: Project) -> None:
        key = current_key(self.workspace)
        item = {"pk": key.pk, "sk": key.sk, "project": project.model_dump_json()}
        self.tables.write([Put("governance", item, Anything())])

    def call(self, now: datetime = NOW) -> Call:
        return Call(self.workspace, "platform", now, "test")

    def land(self, key: str, body: bytes, metadata: Mapping[str, str] | None = None) -> str:
        return self.receive(key, self.blobs.put("landing", key, body, metadata=metadata))

    def receive(self, key: str, version: str) -> str:
        return uploads.receive(
            self.call(), key, version, tables=self.tables, log=self.log, blobs=self.blobs,
            check=CHECKS.__getitem__, detector=DETECTORS.__getitem__, virtual_time=True,
        )  # fmt: skip

    def events(self, kind: type[E], identity: str, stream: str = "SOURCE") -> list[E]:
        items = self.log.read(stream_of(self.workspace, stream, identity))
        return [kind.model_validate(i.envelope.data) for i in items if kinds()[i.envelope.type] is kind]

    def delivery(self, event: Event, stream: str, at: datetime = NOW, sequence: int = 0) -> Delivery:
        number = next(self._numbers)
        envelope = Envelope(
            id=f"event-{number}", type=event.detail_type(), schema_version=1, workspace=self.workspace, stream=stream,
            sequence=sequence or number, at=at, actor="test", correlation_id="test", data=event.model_dump(mode="json"),
        )  # fmt: skip
        return Delivery(consumer="monitor", envelope=envelope, event=event)
