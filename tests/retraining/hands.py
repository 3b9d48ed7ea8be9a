"""What others send retrain and what people ask of it, for tests on a ``Stage``."""

from datetime import timedelta
from typing import Any

from modelwright.context import Call
from modelwright.events import (
    Estimate,
    Evaluation,
    Event,
    Finding,
    PerformanceDegraded,
    PerformanceMeasured,
    QualityFailed,
    TrainingCompleted,
    TrainingDeclined,
    TrainingFailed,
    TrainingRequested,
    Window,
)
from modelwright.retraining import deciding, ending, store, triggers
from modelwright.retraining.store import Training
from modelwright.retraining.trainers import Job, Trainer
from modelwright.retraining.triggers import Trigger
from retraining.stage import WALL, WS, Stage

TRIGGERS: dict[str, Trigger] = {
    "performance": triggers.PerformanceTrigger(),
    "estimated_performance": triggers.EstimatedTrigger(),
    "drift_evidence": triggers.DriftEvidence(),
    "schedule": triggers.ScheduleTrigger(),
    "age": triggers.AgeTrigger(),
    "new_data": triggers.NewDataTrigger(),
    "manual": triggers.ManualTrigger(),
}


class Recorder:
    """A trainer that keeps what it was given."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def start(self, job: Job) -> str:
        self.jobs.append(job)
        return f"job-{len(self.jobs)}"

    def named(self, name: str) -> Trainer:
        assert name == "lambda"
        return self


def week(stage: Stage) -> Window:
    return Window(start=stage.now - timedelta(days=7), end=stage.now)


def degraded(stage: Stage, version: int = 1) -> PerformanceDegraded:
    value = Estimate(value=0.2, low=0.19, high=0.21)
    return PerformanceDegraded(
        model="flights",
        version=version,
        window=week(stage),
        metric="brier",
        value=value,
        reference=0.15,
        reason="worse",
    )


def failed_quality(stage: Stage, source: str = "weather", identity: str = "q1", **more: Any) -> QualityFailed:
    finding = Finding(check="range", severity="block", text="too hot")
    return QualityFailed(
        source=source,
        upload_key="k",
        upload_version="v",
        quarantine_id=identity,
        quarantine_key="q",
        rows=3,
        findings=(finding,),
        **more,
    )


def measured(stage: Stage, labels: int = 100) -> PerformanceMeasured:
    return PerformanceMeasured(
        model="flights",
        window=week(stage),
        labels_key=f"l{stage.now}",
        labels=labels,
        joined=labels,
        performances=(),
        comparisons=(),
        canary_comparisons=(),
    )


def note(stage: Stage, use_case: Any, event: Event, sequence: int = 0) -> None:
    use_case(stage.call, stage.delivery(event, sequence=sequence), tables=stage.tables, log=stage.log)


def follow(stage: Stage, use_case: Any, event: Event) -> None:
    use_case(
        stage.call, stage.delivery(event), wall=WALL, tables=stage.tables, log=stage.log, triggers=TRIGGERS.__getitem__
    )


def ask(stage: Stage, reason: str = "new code", call: Call | None = None) -> dict[str, Any]:
    return deciding.request(
        call or stage.call,
        "flights",
        deciding.Order(reason=reason),
        wall=WALL,
        tables=stage.tables,
        log=stage.log,
        triggers=TRIGGERS.__getitem__,
    )


def schedule(stage: Stage, *, hours: float = 0) -> None:
    ending.follow_schedule(
        stage.call,
        f"retrain/{stage.now}",
        wall=WALL + timedelta(hours=hours),
        tables=stage.tables,
        log=stage.log,
        triggers=TRIGGERS.__getitem__,
    )


def training(stage: Stage) -> Training:
    events = [event for event in stage.happened() if isinstance(event, TrainingRequested)]
    return store.load_training(stage.tables, WS, events[-1].training_id)


def completed(running: Training, cost: float = 0.02, gain: float | None = None) -> TrainingCompleted:
    """Return how a training ends well; ``gain``: by how much the AUC of its model is above the champion's."""
    figure = Estimate(value=0.7, low=0.65, high=0.75)
    difference = None if gain is None else Estimate(value=gain, low=gain - 0.01, high=gain + 0.01)
    return TrainingCompleted(
        training_id=running.training_id,
        model="flights",
        trigger=running.trigger,
        artifact_key="default/trainings/",
        artifact_digest="a",
        features=("temp", "hour"),
        dataset_digest="d",
        dataset_key="k",
        rows=1000,
        window=running.window,
        parameters={},
        metrics={"auc": 0.7},
        evaluation=Evaluation(
            rows=100, window=running.window, challenger_auc=figure, challenger_brier=0.15, auc_difference=difference
        ),
        project_digest="p",
        seconds=1.0,
        cost=cost,
    )


def end(stage: Stage, *, cost: float = 0.02, failed: bool = False, gain: float | None = None) -> None:
    """End the running training as ``train`` does, and let retrain settle it."""
    running = training(stage)
    event: Event = completed(running, cost, gain)
    if failed:
        event = TrainingFailed(training_id=running.training_id, model="flights", reason="no labels", cost=cost)
    status = "failed" if failed else "completed"
    stage.tables.write([store.put_training(WS, running.having(status=status))])
    note(stage, ending.settle, event)


def refusals(stage: Stage) -> tuple[str, ...]:
    """Let the champion get worse, and return what speaks against a training."""
    before = len(stage.happened())
    follow(stage, deciding.follow_degraded, degraded(stage))
    (event,) = stage.happened()[before:]
    return event.reasons if isinstance(event, TrainingDeclined) else ()
