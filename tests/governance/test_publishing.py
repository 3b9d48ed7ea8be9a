"""From the log to the bus: acknowledged only when taken, swept up when missed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from governance.desk import Desk, Mortal
from modelwright.adapters.eventbridge import ENTRIES, EventBridgeBus
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import ConditionFailed, Unavailable
from modelwright.events import AliasChanged, Delivery
from modelwright.governance.publishing import GRACE, WATERMARK, Watermark, publish, sweep
from modelwright.log import SHARDS, Happened, LogItem, stream_of
from modelwright.storage import Anything, Key, Page, Put, TableName


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


# --- how far the sweeps got --------------------------------------------------------------


class Counted(MemoryTables):
    """Tables that count what is asked of the log."""

    queries = 0

    def query(self, table: TableName, *args: Any, **options: Any) -> Page:
        self.queries += table == "log"
        return super().query(table, *args, **options)


def swept(desk: Desk, bus: MemoryBus | None = None) -> list[str]:
    """Sweep, and return what was published."""
    bus = bus or MemoryBus()
    sweep(bus=bus, tables=desk.tables, log=desk.log, wall=desk.wall)
    return bus.taken


def watermark(desk: Desk) -> datetime:
    found = Watermark.read(desk.tables.get("governance", WATERMARK))
    assert found is not None
    return found.hour


def quarters(desk: Desk, count: int) -> Iterator[None]:
    for _ in range(count):
        desk.wait(minutes=15)
        yield


def test_a_day_of_sweeps_asks_a_thirtieth_of_what_it_asked() -> None:
    """It was 169 hours of 4 shards each time, that is 676 queries, 96 times a day."""
    tables = Counted()
    desk = Desk(tables=tables)
    swept(desk)
    tables.queries = 0
    most = 0
    for _ in quarters(desk, 96):
        before = tables.queries
        publish(desk.happen("a"), bus=MemoryBus(), tables=tables, wall=desk.wall)
        swept(desk)
        most = max(most, tables.queries - before)
    assert most == 169 * SHARDS + 1, "once a day all of the week, and the end of the stream that something happened to"
    assert tables.queries <= 169 * SHARDS + 95 * 4 * SHARDS + 96
    assert tables.queries * 29 < 96 * 169 * SHARDS


def test_what_the_stream_lost_two_days_ago_is_published_once(desk_of_days: Desk) -> None:
    desk = desk_of_days
    (lost,) = desk.happen("lost")  # written while nobody swept and the stream brought nothing
    desk.wait(days=2)
    bus = MemoryBus()
    for _ in quarters(desk, 8):
        swept(desk, bus)
    assert bus.taken == [lost.envelope.id]
    assert acknowledged(desk, lost)


@pytest.fixture
def desk_of_days() -> Desk:
    """A desk at which things happen and are swept, so that the watermark stands where it does on a running stack."""
    desk = Desk()
    for _ in quarters(desk, 20):
        publish(desk.happen("a"), bus=MemoryBus(), tables=desk.tables, wall=desk.wall)
        swept(desk)
    return desk


def test_what_nobody_took_is_tried_again_until_the_week_is_over(desk_of_days: Desk) -> None:
    desk = desk_of_days
    (lost,) = desk.happen("lost")
    hour = desk.wall.replace(minute=0)
    for _ in quarters(desk, 4 * 24 * 3):
        assert swept(desk, MemoryBus(lost.envelope.id)) == []
        assert watermark(desk) <= hour
    assert swept(desk) == [lost.envelope.id]
    swept(desk)
    assert watermark(desk) > hour


def test_what_nobody_took_for_a_week_is_given_up(desk_of_days: Desk) -> None:
    desk = desk_of_days
    (lost,) = desk.happen("lost")
    for _ in range(8):
        desk.wait(days=1)
        swept(desk, MemoryBus(lost.envelope.id))
    assert swept(desk) == []
    assert desk.wall - watermark(desk) < timedelta(hours=4)


@pytest.mark.parametrize("late_h", [1, 2, 30, 24 * 6])
def test_what_a_clock_that_was_wrong_wrote_into_an_old_hour_is_published_within_a_day(
    desk_of_days: Desk, late_h: int
) -> None:
    desk = desk_of_days
    desk.wait(days=7)
    swept(desk)
    desk.wait(hours=1)
    desk.wall -= timedelta(hours=late_h)
    (lost,) = desk.happen("lost")
    desk.wall += timedelta(hours=late_h)
    bus = MemoryBus()
    for _ in quarters(desk, 96):
        swept(desk, bus)
    assert bus.taken == [lost.envelope.id]


def test_a_sweep_that_is_killed_at_any_call_loses_nothing() -> None:
    for calls in range(400):
        tables = Mortal()
        desk = Desk(tables=tables)
        swept(desk)
        lost = [item.envelope.id for item in desk.happen("a", "b")]
        desk.wait(hours=5)
        lost += [item.envelope.id for item in desk.happen("c")]
        desk.wait(minutes=10)
        bus = MemoryBus()
        tables.left = calls
        with suppress(Unavailable):
            swept(desk, bus)
        done = tables.left >= 0
        tables.left = 10**9
        swept(desk, bus)
        assert sorted(set(bus.taken)) == sorted(lost), calls
        assert len(bus.taken) <= len(lost) + 2, "those published and not acknowledged come twice"
        if done:
            return
    raise AssertionError("the sweep makes more calls than this test kills")


def test_of_two_sweeps_at_once_neither_moves_the_watermark_past_what_is_not_done() -> None:
    tables = MemoryTables()
    desk = Desk(tables=tables)
    swept(desk)
    (lost,) = desk.happen("lost")
    desk.wait(hours=6)

    class Meeting(MemoryBus):
        """A bus that takes nothing, while another sweep runs whose bus takes nothing either."""

        def publish(self, items: Sequence[LogItem]) -> frozenset[str]:
            if items:
                swept(desk, MemoryBus(lost.envelope.id))
            return frozenset()

    with suppress(ConditionFailed):
        swept(desk, Meeting())
    assert swept(desk) == [lost.envelope.id]


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
