"""Routes and rollouts: follows aliases, judges canaries on realised labels, steps, promotes, rolls back."""

from typing import Any

from modelwright.context import Call
from modelwright.events import AliasChanged, Delivery, ModelVersionCreated, PerformanceMeasured, ScheduleDue
from modelwright.http import Request, Route
from modelwright.rollout import rollouts
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def version(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    rollouts.follow_version(call, delivery, tables=wiring.tables, log=wiring.log)


def alias(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    rollouts.follow_alias(call, delivery, tables=wiring.tables, log=wiring.log)


def performance(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    rollouts.follow_performance(call, delivery, tables=wiring.tables, log=wiring.log, judges=rollouts.judge)


def show(request: Request, wiring: Wiring) -> dict[str, Any]:
    return rollouts.show(request.call, request.path["model"], tables=wiring.tables)


def abort(request: Request, wiring: Wiring) -> dict[str, Any]:
    model, order = request.path["model"], request.parse(rollouts.Abort)
    return rollouts.abort(request.call, model, order, tables=wiring.tables, log=wiring.log)


def shadows(request: Request, wiring: Wiring) -> dict[str, Any]:
    model, order = request.path["model"], request.parse(rollouts.Shadows)
    return rollouts.set_shadows(request.call, model, order, tables=wiring.tables, log=wiring.log)


def expire(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    rollouts.expire(call, tables=wiring.tables, log=wiring.log)


handler = Function(
    "rollout",
    table="rollout",
    routes=(
        Route("GET", "/v1/rollouts/<model>", show),
        Route("POST", "/v1/rollouts/<model>/abort", abort),
        Route("PUT", "/v1/rollouts/<model>/shadows", shadows),
    ),
    consumers={ModelVersionCreated: version, AliasChanged: alias, PerformanceMeasured: performance},
    schedules={"rollout": expire},
)
