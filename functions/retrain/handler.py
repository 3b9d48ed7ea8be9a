"""Decides whether to train: triggers, vetoes, cooldown, budget; starts trainers and settles what they cost."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from modelwright import events, plugins
from modelwright.context import Call
from modelwright.events import Delivery, ScheduleDue
from modelwright.http import Request, Route
from modelwright.retraining import deciding
from modelwright.retraining.trainers import Trainer
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def note(use_case: Any, delivery: Delivery, call: Call, wiring: Wiring) -> None:
    use_case(call, delivery, tables=wiring.tables, log=wiring.log)


def follow(use_case: Any, delivery: Delivery, call: Call, wiring: Wiring) -> None:
    use_case(call, delivery, **_deciding(wiring))


def start(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    def trainer(name: str) -> Trainer:
        made: Trainer = plugins.load("trainers", name)(wiring.settings.environment)
        return made

    deciding.start(call, delivery, tables=wiring.tables, log=wiring.log, trainers=trainer)


def schedule(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    deciding.follow_schedule(call, f"{due.name}/{due.at.isoformat()}", **_deciding(wiring))


def request(asked: Request, wiring: Wiring) -> dict[str, Any]:
    order = asked.parse(deciding.Order)
    return deciding.request(asked.call, asked.path["model"], order, **_deciding(wiring))


def show(asked: Request, wiring: Wiring) -> dict[str, Any]:
    return deciding.show(asked.call, asked.path["model"], tables=wiring.tables)


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
        events.AliasChanged: partial(note, deciding.note_champion),
        events.RolloutStarted: partial(note, deciding.note_rollout),
        events.RolloutPromoted: partial(note, deciding.note_rollout),
        events.RolloutRolledBack: partial(note, deciding.note_rollout),
        events.DriftDetected: partial(note, deciding.note_drift),
        events.PerformanceMeasured: partial(follow, deciding.follow_labels),
        events.PerformanceDegraded: partial(follow, deciding.follow_degraded),
        events.TrainingRequested: start,
        events.TrainingCompleted: partial(note, deciding.settle),
        events.TrainingFailed: partial(note, deciding.settle),
    },
    schedules={"retrain": schedule},
)
