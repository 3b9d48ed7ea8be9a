"""A stack in memory with a team's project applied: files land, features are made, a model is trained and registered."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from modelwright import plugins
from modelwright.adapters.featurestore import FeatureStore
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.adapters.planning import knowledge_of
from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.events import Delivery, TrainingCompleted, TrainingFailed, UploadAccepted, Window
from modelwright.features import materialization
from modelwright.features.history import History
from modelwright.governance import projects
from modelwright.log import Log, LogItem, new_id, stream_of
from modelwright.monitoring import uploads
from modelwright.project import Project
from modelwright.registry import bundles, reactions
from modelwright.registry.manifests import Manifest
from modelwright.registry.store import RegistryStore
from modelwright.retraining.store import Training, put_training
from modelwright.retraining.training import train
from modelwright.retraining.workshop import Workshop
from modelwright.team import Team
from modelwright.teamcode import loader

WORKSPACE: Final = "trial"
_MEMORY_MB = 2048
MOMENT = timedelta(microseconds=1)


@dataclass
class Stage:
    """The stack.

    Attributes:
        now: domain time of all that happens.
        cache: as a function keeps it between calls.
    """

    team: Team
    tables: MemoryTables = field(default_factory=MemoryTables)
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    cache: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = Log(self.tables)
        wheel = base64.b64encode(self.team.wheel).decode()
        message = projects.ApplyProject(project=self.team.project, wheel=wheel)
        known = knowledge_of(self.call, tables=self.tables, log=self.log)
        self.project: Project = projects.apply(self.call, message, knowledge=known, **self.stores)

    @property
    def call(self) -> Call:
        """A call of the platform's own."""
        return Call(WORKSPACE, "trial", self.now, "trial")

    @property
    def stores(self) -> dict[str, Any]:
        """What most use cases are told."""
        return {"tables": self.tables, "log": self.log, "blobs": self.blobs}

    def land(self, data: Path) -> tuple[str, ...]:
        """Let every file of a sample land, and return what quality checks held back, with the reason.

        Raises:
            InvalidInput: no file lies below a source's prefix.
        """
        files = {path.relative_to(data).as_posix(): path for path in sorted(data.rglob("*")) if path.is_file()}
        prefixes = tuple(source.prefix for source in self.project.sources.values())
        landing = {key: path for key, path in files.items() if key.startswith(prefixes)}
        if not landing:
            raise InvalidInput(f"{data} holds no file below {', '.join(prefixes)}: that is where a sample's files lie")
        return tuple(held for key, path in landing.items() for held in self._land(key, path.read_bytes()))

    def window(self, name: str) -> Window | None:
        """Return from when to when there are labels of a model; None where none was accepted."""
        labels = self._partitions(self.project.model(name).label.source)
        if not labels:
            return None
        low, high = min(part.event_low for part in labels), max(part.event_high for part in labels)
        return Window(start=_time(low), end=_time(high) + MOMENT)

    def train(
        self, name: str, window: Window, champion: Manifest | None = None, champion_key: str = ""
    ) -> TrainingCompleted | TrainingFailed:
        """Train a model on what landed, compared with a champion if there is one, and register it."""
        known = [part.available_high for source in self.project.sources for part in self._partitions(source)]
        self.now = max(self.now, _time(max(known)) + MOMENT)
        facts = champion.facts if champion else {}
        training = Training(
            training_id=new_id(),
            model=name,
            trigger="check",
            reason="a sample",
            trainer=self.project.model(name).retraining.trainer,
            window=window,
            champion=champion.origin.version if champion else None,
            champion_key=champion_key,
            champion_digest=champion.artifact_digest if champion else "",
            champion_features=tuple(facts.get("features", ())),
            requested=self.now,
            requested_wall=self.now,
            correlation_id="trial",
            month=f"{self.now:%Y-%m}",
            reserved=0,
        )
        self.tables.write([put_training(WORKSPACE, training)])
        train(WORKSPACE, training.training_id, self._workshop())
        last = list(self.log.read(stream_of(WORKSPACE, "TRAINING", name)))[-1]
        ended: TrainingCompleted | TrainingFailed = self._delivery(last, "trial").event
        if isinstance(ended, TrainingCompleted):
            delivery = self._delivery(last, "registry")
            reactions.register(self.call, delivery, **self.stores, gates=plugins.gate, tier=WORKSPACE)
        return ended

    def _land(self, key: str, body: bytes) -> Iterator[str]:
        version = self.blobs.put("landing", key, body)
        judges: dict[str, Any] = {"check": plugin("checks"), "detector": plugin("detectors")}
        outcome = uploads.receive(self.call, key, version, **self.stores, **judges)
        stream = stream_of(WORKSPACE, "SOURCE", self.project.source_of(key))
        accepted = [item for item in self.log.read(stream) if item.envelope.type == UploadAccepted.detail_type()]
        mine = [item for item in accepted if item.envelope.data["upload_key"] == key]
        for item in mine:
            delivery = self._delivery(item, "materialize")
            materialization.follow_upload(delivery, self.call, project=self.project, cache=self.cache, **self.stores)
        if not mine:
            yield f"{key}: {outcome}"

    def _partitions(self, source: str) -> Any:
        history = History(blobs=self.blobs, tables=self.tables, workspace=WORKSPACE, cache=self.cache)
        return history.manifest(source).partitions

    def _workshop(self) -> Workshop:
        stores: dict[str, Any] = {"tables": self.tables, "blobs": self.blobs}
        return Workshop(
            project=self.project,
            log=self.log,
            sets=FeatureStore(self.project, WORKSPACE, cache=self.cache, **stores),
            flavors=plugin("flavors"),
            load=loader(self.project, blobs=self.blobs),
            clock=time.perf_counter,
            memory_mb=_MEMORY_MB,
            **stores,
        )

    def _delivery(self, item: LogItem, consumer: str) -> Delivery:
        """Return what a consumer would be sent of an item of the log."""
        return Delivery.read(consumer, item.envelope.model_dump(mode="json"))


class StageSource:
    """The newest version of a model on a stage, as a ``promotion.carrying.Source``.

    Args:
        stage: the stage.
        name: the model.
    """

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        store = RegistryStore(stage.tables, stage.call)
        model = store.model(name)
        self._version = store.version(model, model.newest)

    def manifest(self) -> Manifest:
        """See ``Source``."""
        asked = bundles.ExportVersion(name=self._version.model, version=str(self._version.version))
        said = bundles.manifest(self._stage.call, asked, **self._stage.stores, budget=self._version.size or 1 << 40)
        return Manifest.model_validate(said["manifest"])

    def fetch(self, path: str, folder: Path) -> Path:
        """See ``Source``."""
        file = folder / "file"
        file.write_bytes(self._stage.blobs.get("artifacts", self._version.artifact_key + path).body)
        return file


def plugin(kind: plugins.Kind) -> Any:
    """Return what makes an installed plugin of a kind by its name."""
    return partial(_made, kind)


@cache
def _made(kind: plugins.Kind, name: str) -> Any:
    return plugins.load(kind, name)()


def _time(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
