"""A small history: everything is in the log, and retrain hears of it late, in disorder, and twice."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from support.http import handler_of, memory_wiring, payload

from modelwright.context import Call
from modelwright.events import (
    SOURCE,
    AliasChanged,
    Estimate,
    Event,
    ModelVersionCreated,
    Performance,
    PerformanceDegraded,
    PerformanceMeasured,
    ProjectApplied,
    TrainingFailed,
    TrainingRequested,
    Window,
)
from modelwright.governance.projects import policies_of
from modelwright.log import Happened, Log, LogItem, stream_of
from modelwright.project import Project
from modelwright.retraining import store
from modelwright.runtime import Function
from retraining.hands import completed
from retraining.stage import WS, Stage


@dataclass
class Diary:
    """A stage whose events are logged before they are heard.

    Attributes:
        seed: of the disorder.
        late: the chance that retrain hears of an event only later.
        unlucky: the chance that a training fails.
    """

    declared: Project
    seed: int = 0
    late: float = 0.5
    stage: Stage = field(default_factory=Stage)
    cost: float = 0.02
    gain: float | None = 0.03
    unlucky: float = 0.0
    champion: int = 0
    versions: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.applied: Project | None = None
        self.apply(self.declared)
        self.mail: list[LogItem] = []
        self.fates: dict[str, bool] = {}

    @cached_property
    def retrain(self) -> Function:
        return handler_of("retrain", memory_wiring(tables=self.stage.tables, blobs=self.stage.blobs))

    @property
    def log(self) -> Log:
        return self.stage.log

    def apply(self, declared: Project) -> None:
        """Let another project take effect, as governance does it."""
        policies = policies_of(self.applied, declared)
        event = ProjectApplied(project="demo", digest="d", models=(), sources=(), views=(), policies=policies)
        self.stage.apply(declared)
        call = Call(WS, "ann", self.stage.now, "c")
        self.log.commit(call, [Happened(stream_of(WS, "PROJECT", "demo"), event)])
        self.applied = self.declared = declared
        self.changed = self.stage.now

    def envelopes(self) -> list[dict[str, Any]]:
        hour = datetime.now(UTC)
        items = [item for back in (1, 0) for item in self.log.hour(hour - timedelta(hours=back))]
        return [item.envelope.model_dump(mode="json") for item in items]

    def happens(self, *events: tuple[str, Event]) -> None:
        """Log events of one transaction, each in its stream, and bring some of the mail."""
        call = Call(WS, "platform", self.stage.now, "c")
        self.mail += self.log.commit(call, [Happened(stream_of(WS, *stream.split("#")), e) for stream, e in events])
        self.bring(all_of_it=False)

    def bring(self, *, all_of_it: bool = True) -> None:
        """Let retrain hear of what happened, some of it twice; in the end trainings go on, too."""
        self.random.shuffle(self.mail)
        while self.mail and (all_of_it or self.random.random() > self.late):
            self._hear(self.mail.pop())
        if all_of_it and self._train():
            self.bring()

    def _hear(self, item: LogItem) -> None:
        detail = item.envelope.model_dump(mode="json")
        event = {"source": SOURCE, "detail-type": item.envelope.type, "detail": detail}
        for _ in range(self.random.choice((1, 1, 2))):
            self.retrain(event)

    def _train(self) -> bool:
        """End the training that runs, if one does; its model is made champion."""
        standing = store.load_standing(self.stage.tables, WS, "flights")
        if not standing.training or standing.training in self.fates:
            return False
        running = store.load_training(self.stage.tables, WS, standing.training)
        failed = self.random.random() < self.unlucky
        self.fates[standing.training] = failed
        ended: Event = completed(running, self.cost, self.gain)
        if failed:
            ended = TrainingFailed(training_id=running.training_id, model="flights", reason="bad luck", cost=0.01)
        write = store.put_training(WS, running.having(status="failed" if failed else "completed"))
        call = Call(WS, "platform", running.requested, running.correlation_id)
        self.mail += self.log.commit(call, [Happened(stream_of(WS, "TRAINING", "flights"), ended)], [write])
        if not failed:
            self.new_champion(running.training_id)
        return True

    def new_champion(self, training_id: str = "") -> None:
        self.versions += 1
        made = ModelVersionCreated(
            model="flights", version=self.versions, source="s", artifact_key="default/m/", training_id=training_id
        )
        named = AliasChanged(model="flights", alias="champion", version=self.versions, previous=self.champion or None)
        self.champion = self.versions
        call = Call(WS, "platform", self.stage.now, "c")
        happened = [Happened(stream_of(WS, "MODEL", "flights"), event) for event in (made, named)]
        self.mail += self.log.commit(call, happened)

    def labels_come(self, auc: float, *, degraded: bool = False, rows: int = 500) -> None:
        """Measure a week of the champion, and perhaps say that it got worse."""
        window = Window(start=self.stage.now - timedelta(days=7), end=self.stage.now)
        figure = Estimate(value=auc, low=auc - 0.002, high=auc + 0.002)
        said = Performance(version=self.champion, rows=rows, positives=100, mean_score=0.2, auc=figure)
        measured = PerformanceMeasured(
            model="flights", window=window, labels_key=f"l{self.stage.now}", labels=rows, joined=rows,
            performances=(said,), comparisons=(), canary_comparisons=(),
        )  # fmt: skip
        events: list[tuple[str, Event]] = [("PERFORMANCE#flights", measured)]
        if degraded:
            worse = PerformanceDegraded(
                model="flights", version=self.champion, window=window, metric="auc", value=figure, reference=0.72,
                reason=f"AUC {auc:.3f} after 0.720",
            )  # fmt: skip
            events.append(("PERFORMANCE#flights", worse))
        self.happens(*events)

    def due(self) -> None:
        """The schedule is due."""
        detail = {"name": "retrain", "at": self.stage.now.isoformat(), "workspace": WS}
        self.retrain({"source": "modelwright.schedule", "detail-type": "ScheduleDue", "detail": detail})

    def wish(self, number: int) -> int:
        headers = {"x-modelwright-as-of": self.stage.now.isoformat()}
        asked = payload("POST", "/v1/retraining/flights", {"reason": f"wish {number}"}, headers=headers)
        return int(self.retrain(asked)["statusCode"])

    def requested(self) -> list[TrainingRequested]:
        return [event for event in self.stage.happened() if isinstance(event, TrainingRequested)]
