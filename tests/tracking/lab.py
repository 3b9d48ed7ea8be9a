"""A run in an experiment, with use cases around it that several tests let race with each other."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.errors import ModelwrightError, NotFound
from modelwright.log import Log
from modelwright.tracking import experiments, history, logging, runs
from modelwright.tracking import messages as m
from modelwright.tracking.columns import Part
from modelwright.tracking.entities import Latest, Point, newest
from modelwright.tracking.store import TrackingStore

PART = Part(id="", rows=1, bytes_columns=1, bytes_rows=1, directory=1, active=True, newest=0, oldest=0)
CALL = Call("default", "ann", datetime(2026, 3, 2, tzinfo=UTC), "c-1")
Batch = list[Point]
Actor = Callable[[], None]


@dataclass
class Lab:
    """A run in an experiment, and what there is of the platform around it."""

    tables: MemoryTables
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    parts: dict[str, dict[str, Latest]] = field(default_factory=dict)
    accepted: list[Point] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = Log(self.tables)
        made = self.use(experiments.create, m.CreateExperiment(name="churn"))
        self.experiment_id: str = made["experiment_id"]
        run = self.use(runs.create, m.CreateRun(experiment_id=self.experiment_id))
        self.run_id: str = run["run"]["info"]["run_id"]

    def use(self, use_case: Callable[..., Any], message: Any) -> Any:
        return use_case(CALL, message, tables=self.tables, blobs=self.blobs, log=self.log)

    def stubborn(self, use_case: Callable[..., Any], message: Any) -> None:
        """Ask until it is done (or was, by a call whose answer was lost), as clients do."""
        while True:
            try:
                self.use(use_case, message)
            except NotFound:
                return
            except ModelwrightError:
                continue
            return

    @property
    def store(self) -> TrackingStore:
        return TrackingStore(self.tables, CALL, self.blobs)

    def logs(self, several: Sequence[Batch]) -> Actor:
        """Log batches, each twice."""

        def act() -> None:
            for batch in several:
                metrics = tuple(m.Measured(**point._asdict()) for point in batch)
                for _ in range(2):
                    self.stubborn(logging.log_batch, m.LogBatch(run_id=self.run_id, metrics=metrics))
                    self.accepted += batch

        return act

    def logs_until_refused(self, several: Sequence[Batch]) -> Actor:
        """Log batches until the run takes no more."""

        def act() -> None:
            for batch in several:
                metrics = tuple(m.Measured(**point._asdict()) for point in batch)
                with suppress(ModelwrightError):
                    self.use(logging.log_batch, m.LogBatch(run_id=self.run_id, metrics=metrics))

        return act

    def settles(self) -> None:
        """Take the run into a snapshot, as far as nobody hinders it, twice."""
        for _ in range(2):
            with suppress(ModelwrightError):
                overview = self.store.overview(self.experiment_id)
                for held in overview.held:
                    part = PART.model_copy(update={"id": str(len(self.parts))})
                    self.parts[part.id] = held.run.metrics
                    self.tables.write([self.store.put_parts(self.experiment_id, [part], overview.v)])
                    self.tables.write(self.store.settling(held))

    def reads(self) -> None:
        """Read the run as searches and as callers do: what was taken before is there."""
        for _ in range(3):
            floor = newest({}, self.accepted)
            with suppress(ModelwrightError):
                for found in (self.searched(), self.store.run(self.run_id).metrics):
                    assert all(found[key].rank >= latest.rank for key, latest in floor.items())

    def searched(self) -> dict[str, Latest]:
        """Return the run's metrics as a search sees them."""
        overview = self.store.overview(self.experiment_id)
        return dict(overview.open[0].metrics if overview.open else self.parts[overview.parts[0].id])

    def tags(self) -> None:
        self.stubborn(runs.set_tag, m.SetRunTag(run_id=self.run_id, key="k", value="v"))

    def deletes_and_restores_the_run(self) -> None:
        self.stubborn(runs.delete, m.OfRun(run_id=self.run_id))
        self.stubborn(runs.restore, m.OfRun(run_id=self.run_id))

    def deletes_and_restores_the_experiment(self) -> None:
        experiment = m.OfExperiment(experiment_id=self.experiment_id)
        self.stubborn(experiments.delete, experiment)
        self.stubborn(experiments.restore, experiment)

    def told(self, key: str) -> list[tuple[int, int, str]]:
        told = self.use(history.history, m.GetHistory(run_id=self.run_id, metric_key=key))
        return [(p["timestamp"], p["step"], repr(float(p["value"]))) for p in json.loads(told)["metrics"]]

    def check(self, points: Sequence[Point]) -> None:
        """Hold the run to the points that were logged to it."""
        placed = self.store.placed(self.run_id)
        wanted = {key: repr(latest.rank) for key, latest in newest({}, points).items()}
        assert {key: repr(latest.rank) for key, latest in placed.run.metrics.items()} == wanted
        for key in wanted:
            known = {(p.timestamp, p.step, repr(p.value)) for p in points if p.key == key}
            assert sorted(self.told(key)) == sorted(known)
        assert {key: repr(latest.rank) for key, latest in self.searched().items()} == wanted
        assert (placed.standing.stage == "settled") >= placed.run.settled
