"""Decides whether to train: triggers, vetoes, cooldown, budget, queue; starts trainers and settles what they cost."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from modelwright import events, plugins
from modelwright.context import PLATFORM, Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Delivery, ScheduleDue
from modelwright.http import Request, Route
from modelwright.retraining import deciding, ending, jobs
from modelwright.retraining.trainers import Trainer, job_named
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def note(use_case: Any, delivery: Delivery, call: Call, wiring: Wiring) -> None:
    use_case(call, delivery, tables=wiring.tables, log=wiring.log)


def follow(use_case: Any, delivery: Delivery, call: Call, wiring: Wiring) -> None:
    use_case(call, delivery, **_deciding(wiring))


def start(use_case: Any, delivery: Delivery, call: Call, wiring: Wiring) -> None:
    use_case(call, delivery, wall=datetime.now(UTC), **_jobs(wiring))


def job_is_over(payload: dict[str, Any], wiring: Wiring) -> dict[str, str]:
    # The rules of infra/training say which job of which service it is; all else is asked there.
    workspace, training_id = job_named(str(payload.get("job", "")))
    if not training_id:
        raise InvalidInput(f"retrain is told the end of a job by its name, not by {sorted(payload)}")
    call = Call(workspace, PLATFORM, datetime.now(UTC), f"job {training_id}")
    try:
        return {"outcome": jobs.watch(call, training_id, wall=datetime.now(UTC), **_jobs(wiring))}
    except NotFound:
        return {"outcome": "not ours"}


def schedule(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    jobs.watch_all(call, wall=datetime.now(UTC), **_jobs(wiring))
    ending.follow_schedule(call, f"{due.name}/{due.at.isoformat()}", **_deciding(wiring))


def request(asked: Request, wiring: Wiring) -> dict[str, Any]:
    order = asked.parse(deciding.Order)
    return deciding.request(asked.call, asked.path["model"], order, **_deciding(wiring))


def show(asked: Request, wiring: Wiring) -> dict[str, Any]:
    return deciding.show(asked.call, asked.path["model"], tables=wiring.tables)


def _jobs(wiring: Wiring) -> dict[str, Any]:
    def trainer(name: str) -> Trainer:
        made: Trainer = plugins.load("trainers", name)(wiring.settings.environment)
        return made

    return {"tables": wiring.tables, "log": wiring.log, "trainers": trainer}


def _deciding(wiring: Wiring) -> dict[str, Any]:
    # How long a training may hang is a matter of wall time, on a virtual clock too.
    return {"wall": datetime.now(UTC), "tables": wiring.tables, "log": wiring.log, "triggers": deciding.trigger}


handler = Function(
    "retrain",
    table="retraining",
    routes=(
        Route("GET", "/v1/retraining/<model>", show),
        Route("POST", "/v1/retraining/<model>", request),
    ),
    consumers={
        events.QualityFailed: partial(note, deciding.note_quarantine),
        events.QuarantineReleased: partial(note, deciding.note_quarantine),
        events.ModelVersionCreated: partial(note, deciding.note_version),
        events.AliasChanged: partial(follow, deciding.note_champion),
        events.RolloutStarted: partial(follow, deciding.note_rollout),
        events.RolloutPromoted: partial(follow, deciding.note_rollout),
        events.RolloutRolledBack: partial(follow, deciding.note_rollout),
        events.DriftDetected: partial(note, deciding.note_drift),
        events.PerformanceMeasured: partial(follow, deciding.follow_labels),
        events.PerformanceDegraded: partial(follow, deciding.follow_degraded),
        events.PerformanceEstimated: partial(follow, deciding.follow_estimated),
        events.TrainingRequested: partial(start, jobs.start),
        events.TrainingPaused: partial(start, jobs.resume),
        events.TrainingCompleted: partial(follow, ending.settle),
        events.TrainingFailed: partial(follow, ending.settle),
    },
    schedules={"retrain": schedule},
    raw=job_is_over,
)
