"""From the log to the bus: acknowledged only when taken, swept up when missed."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from governance.desk import Desk
from modelwright.adapters.eventbridge import ENTRIES, EventBridgeBus
from modelwright.events import AliasChanged, Delivery
from modelwright.governance.publishing import GRACE, publish, sweep
from modelwright.log import Happened, LogItem, stream_of
from modelwright.storage import Anything, Key, Put


class MemoryBus:
    """Takes what it does not refuse."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.taken: list[str] = []

    def publish(self, items: Sequence[LogItem]) -> frozenset[str]:
        taken = [item.envelope.id for item in items if item.envelope.id not in self.refused]
        self.taken += taken
        return frozenset(taken)


def acknowledged(desk: Desk, item: LogItem) -> str:
    stored = desk.tables.get("log", Key(item.envelope.stream, f"{item.envelope.sequence:012d}"))
    assert stored is not None
    said: str = stored["published"]
    return said


def test_what_the_bus_took_is_acknowledged_and_the_rest_is_told() -> None:
    desk = Desk()
    items = desk.happen("a", "b", "c")
    refused = items[1].envelope.id
    assert publish(items, bus=MemoryBus(refused), tables=desk.tables, wall=desk.wall) == {refused}
    assert [acknowledged(desk, item) for item in items] == [desk.wall.isoformat(), "", desk.wall.isoformat()]


def test_an_acknowledgement_changes_nothing_else() -> None:
    desk = Desk()
    (item,) = desk.happen("a")
    key = Key(item.envelope.stream, "000000000001")
    before = desk.tables.get("log", key)
    publish([item], bus=MemoryBus(), tables=desk.tables, wall=desk.wall)
    assert desk.tables.get("log", key) == {**(before or {}), "published": desk.wall.isoformat()}


def test_the_sweep_publishes_what_was_lost() -> None:
    desk = Desk()
    items = desk.happen("a", "b")
    desk.wait(hours=30)
    bus = MemoryBus()
    assert sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall) == 2
    assert sorted(bus.taken) == sorted(item.envelope.id for item in items)
    assert all(acknowledged(desk, item) for item in items)


def test_the_sweep_leaves_what_is_young_or_acknowledged() -> None:
    desk = Desk()
    done, lost = desk.happen("done", "lost")
    publish([done], bus=MemoryBus(), tables=desk.tables, wall=desk.wall)
    desk.wait(seconds=GRACE.total_seconds())
    desk.happen("young")
    bus = MemoryBus()
    assert sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall) == 0
    desk.wait(seconds=1)
    assert sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall) == 1
    assert bus.taken == [lost.envelope.id]


def test_the_sweep_believes_the_item_and_not_the_index_that_lags_behind() -> None:
    desk = Desk()
    (item,) = desk.happen("a")
    publish([item], bus=MemoryBus(), tables=desk.tables, wall=desk.wall)
    key = Key(item.envelope.stream, "000000000001")
    stored = desk.tables.get("log", key) or {}
    ghost = {**stored, "pk": "ghost", "published": ""}  # what the index still says
    desk.tables.write([Put("log", ghost, Anything())])
    desk.wait(minutes=5)
    bus = MemoryBus()
    assert sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall) == 0
    assert bus.taken == []


def test_what_the_sweep_cannot_publish_stays_for_the_next() -> None:
    desk = Desk()
    (item,) = desk.happen("a")
    desk.wait(minutes=5)
    sweep(bus=MemoryBus(item.envelope.id), tables=desk.tables, log=desk.log, wall=desk.wall)
    bus = MemoryBus()
    sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall)
    assert bus.taken == [item.envelope.id]


# --- EventBridge -------------------------------------------------------------------------


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.client(
        "events", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
    )
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def bus(stub: Stubber) -> EventBridgeBus:
    client: Any = stub.client
    return EventBridgeBus(client, "stack")


def accepted(count: int) -> dict[str, Any]:
    return {"FailedEntryCount": 0, "Entries": [{"EventId": str(n)} for n in range(count)]}


def test_an_entry_is_what_a_consumer_reads(stub: Stubber, bus: EventBridgeBus) -> None:
    (item,) = Desk().happen("a")
    sent: list[dict[str, Any]] = []
    stub.client.meta.events.register("provide-client-params.events.PutEvents", lambda params, **_: sent.append(params))
    stub.add_response("put_events", accepted(1))
    assert bus.publish([item]) == {item.envelope.id}
    (entry,) = sent[0]["Entries"]
    assert (entry["EventBusName"], entry["Source"]) == ("stack", "modelwright")
    assert entry["DetailType"] == "RegisteredModelCreated"
    assert Delivery.read("registry", json.loads(entry["Detail"])).envelope == item.envelope


def test_entries_that_failed_are_not_taken(stub: Stubber, bus: EventBridgeBus) -> None:
    items = Desk().happen("a", "b", "c")
    entries = [{"EventId": "1"}, {"ErrorCode": "ThrottlingException", "ErrorMessage": "slow"}, {"EventId": "3"}]
    stub.add_response("put_events", {"FailedEntryCount": 1, "Entries": entries})
    assert bus.publish(items) == {items[0].envelope.id, items[2].envelope.id}


def test_a_call_that_fails_as_a_whole_takes_nothing_and_hinders_no_other(stub: Stubber, bus: EventBridgeBus) -> None:
    items = Desk().happen(*map(str, range(ENTRIES + 2)))
    stub.add_client_error("put_events", "InternalException")
    stub.add_response("put_events", accepted(2))
    assert bus.publish(items) == {item.envelope.id for item in items[ENTRIES:]}


def test_a_call_holds_no_more_than_fits(stub: Stubber, bus: EventBridgeBus) -> None:
    desk = Desk()
    large = AliasChanged(model="a", alias="x", version=1, previous=None, reason="ü" * 200_000)
    items = desk.log.commit(desk.call, [Happened(stream_of("default", "MODEL", "a"), large)] * 5)
    for count in (2, 2, 1):
        stub.add_response("put_events", accepted(count))
    assert len(bus.publish(items)) == 5


def test_no_item_needs_no_call(bus: EventBridgeBus) -> None:
    assert bus.publish([]) == frozenset()
