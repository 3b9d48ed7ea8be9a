"""Takes the log to the bus, and sweeps up what was missed."""

from datetime import UTC, datetime
from typing import Any

from modelwright.adapters.dynamodb import from_stream
from modelwright.adapters.eventbridge import EventBridgeBus
from modelwright.context import Call
from modelwright.events import ScheduleDue
from modelwright.governance import publishing
from modelwright.log import LogItem
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def take_stream(event: dict[str, Any], wiring: Wiring) -> dict[str, Any]:
    records = {r["dynamodb"]["SequenceNumber"]: from_stream(r["dynamodb"]["NewImage"]) for r in event["Records"]}
    items = {number: LogItem.read(item) for number, item in records.items()}
    refused = publishing.publish(
        list(items.values()),
        bus=EventBridgeBus(wiring.events, wiring.settings.bus),
        tables=wiring.tables,
        wall=datetime.now(UTC),
    )
    failed = [number for number, item in items.items() if item.envelope.id in refused]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


def sweep(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    bus = EventBridgeBus(wiring.events, wiring.settings.bus)
    publishing.sweep(bus=bus, tables=wiring.tables, log=wiring.log, wall=datetime.now(UTC))


handler = Function("publish", schedules={"sweep": sweep}, raw=take_stream)
