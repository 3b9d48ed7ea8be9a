"""Writes the roots of the chains into the Object-Lock bucket."""

from datetime import UTC, datetime

from modelwright.context import Call
from modelwright.events import ScheduleDue
from modelwright.governance.anchoring import anchor
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def anchor_roots(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    anchor(call, wall=datetime.now(UTC), tables=wiring.tables, blobs=wiring.blobs, log=wiring.log)


handler = Function("anchor", table="governance", schedules={"anchor": anchor_roots})
