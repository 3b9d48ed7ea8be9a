"""Runs the gates that need numpy or the model itself, and lets the requests that wait for them go on."""

from modelwright.context import Call
from modelwright.events import Delivery, TransitionJudged, TransitionRequested
from modelwright.plugins import full_gate
from modelwright.registry.transitions import judge_rest
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def judge(delivery: Delivery, call: Call, w: Wiring) -> None:
    tier = w.settings.tier
    judge_rest(call, delivery, tables=w.tables, log=w.log, blobs=w.blobs, gates=full_gate, tier=tier)


handler = Function(
    "gates",
    table="registry",
    consumers={TransitionRequested: judge, TransitionJudged: judge},
)
