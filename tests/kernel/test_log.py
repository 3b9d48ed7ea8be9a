"""The log: chains, commits that are all or nothing, deliveries that are handled once."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.errors import AlreadyHandled, ConditionFailed, Conflict
from modelwright.events import AliasChanged, Delivery, RegisteredModelCreated, RunEnded
from modelwright.governance.verifier import verify
from modelwright.log import GENESIS, SHARDS, Happened, Log, new_id, stream_of, time_of
from modelwright.storage import Absent, Is, Item, Key, Page, Put, TableName, Tables, Write, every

NOW = datetime(2013, 1, 1, tzinfo=UTC)
FLIGHTS = stream_of("default", "MODEL", "flights")
CALL = Call("default", "ann", NOW, "correlation")


def happened(name: str = "flights") -> Happened:
    return Happened(stream_of("default", "MODEL", name), RegisteredModelCreated(model=name))


def delivery(identity: str = "event-1", consumer: str = "registry") -> Delivery:
    event = RunEnded(run_id="r", experiment_id="1", status="FINISHED")
    envelope = {
        "id": identity, "type": "RunEnded", "schema_version": 1, "workspace": "default", "stream": "WS#default#RUN#r",
        "sequence": 1, "at": NOW, "actor": "ann", "correlation_id": "c", "data": event.model_dump(mode="json"),
    }  # fmt: skip
    return Delivery.read(consumer, envelope)


def stored(tables: Tables, stream: str = FLIGHTS) -> list[Item]:
    return list(every(tables, "log", stream))


def test_an_event_is_read_as_it_was_committed() -> None:
    log = Log(MemoryTables())
    event = AliasChanged(model="flights", alias="champion", version=2, previous=None, reason="besser — größer 🙂")
    (committed,) = log.commit(CALL, [Happened(FLIGHTS, event)])
    (read,) = log.read(FLIGHTS)
    assert read == committed
    assert AliasChanged.model_validate(read.envelope.data) == event
    assert (read.envelope.actor, read.envelope.at, read.envelope.correlation_id) == ("ann", NOW, "correlation")
    assert read.envelope.schema_version == AliasChanged.schema_version


def test_each_item_follows_the_one_before_it() -> None:
    log = Log(MemoryTables())
    items = [*log.commit(CALL, [happened(), happened()]), *log.commit(CALL, [happened()])]
    assert [item.envelope.sequence for item in items] == [1, 2, 3]
    assert [item.previous for item in items] == [GENESIS, items[0].hash, items[1].hash]
    assert list(log.read(FLIGHTS)) == items
    assert list(log.read(FLIGHTS, start=2)) == items[1:]
    assert log.head(FLIGHTS) == items[2]


def test_a_stream_that_is_not_there_has_no_head() -> None:
    assert Log(MemoryTables()).head(FLIGHTS) is None


def test_one_commit_may_write_to_several_streams() -> None:
    tables = MemoryTables()
    Log(tables).commit(CALL, [happened("a"), happened("b"), happened("a")])
    lengths = [len(stored(tables, stream_of("default", "MODEL", name))) for name in ("a", "b")]
    assert lengths == [2, 1]


def test_what_was_written_in_an_hour_is_found_in_all_shards() -> None:
    tables = MemoryTables()
    wall = datetime(2026, 5, 1, 9, 59, tzinfo=UTC)
    log = Log(tables, wall=lambda: wall)
    log.commit(CALL, [happened(str(n)) for n in range(20)])
    wall += timedelta(minutes=1)
    log.commit(CALL, [happened("later")])
    assert {item.envelope.stream for item in log.hour(wall)} == {stream_of("default", "MODEL", "later")}
    earlier = list(log.hour(wall - timedelta(hours=1)))
    assert len(earlier) == 20
    shards = {item["by_hour_pk"] for n in range(20) for item in stored(tables, stream_of("default", "MODEL", str(n)))}
    assert 1 < len(shards) <= SHARDS


def test_ids_sort_by_time_and_tell_it() -> None:
    times = [NOW + timedelta(milliseconds=n) for n in range(50)]
    ids = [new_id(time) for time in times]
    assert ids == sorted(ids)
    assert [time_of(identity) for identity in ids] == times
    assert len({new_id(NOW) for _ in range(1000)}) == 1000


def test_ids_of_one_millisecond_sort_as_they_were_made_whatever_times_come_between() -> None:
    ids = [(new_id(NOW), new_id(NOW - timedelta(days=number)))[0] for number in range(200)]
    assert ids == sorted(ids)


# --- all or nothing ----------------------------------------------------------------------


def state(v: int, *, was: int | None = None) -> Put:
    item = {"pk": "WS#default#MODEL", "sk": "flights", "v": v}
    return Put("registry", item, Absent() if was is None else Is("v", was))


def test_state_and_event_are_written_together() -> None:
    tables = MemoryTables()
    Log(tables).commit(CALL, [happened()], [state(1)])
    assert tables.get("registry", Key("WS#default#MODEL", "flights")) is not None
    assert len(stored(tables)) == 1


def test_when_the_state_is_not_as_expected_nothing_is_written() -> None:
    tables = MemoryTables()
    log = Log(tables)
    other = Put("registry", {"pk": "WS#default#MODEL", "sk": "other"}, Absent())
    with pytest.raises(ConditionFailed) as refused:
        log.commit(CALL, [happened()], [other, state(2, was=1)], delivery=delivery(), table="registry")
    assert refused.value.failed == (1,)
    assert stored(tables) == []
    assert tables.get("registry", Key("WS#default#MODEL", "other")) is None
    assert not log.handled("registry", delivery())


class Overtaken(MemoryTables):
    """Tables in which somebody else appends to the stream just before the first writes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def write(self, writes: Sequence[Write]) -> None:
        if self.times:
            self.times -= 1
            left, self.times = self.times, 0
            Log(self).commit(CALL, [happened()])
            self.times = left
        super().write(writes)


class Counted(MemoryTables):
    """Tables that count queries."""

    queries = 0

    def query(self, *args: Any, **options: Any) -> Page:
        self.queries += 1
        return super().query(*args, **options)


def test_the_end_of_a_fresh_stream_is_not_read_unless_there_is_one_after_all() -> None:
    tables = Counted()
    fresh = Happened(happened().stream, happened().event, fresh=True)
    Log(tables).commit(CALL, [fresh])
    assert tables.queries == 0
    (item,) = Log(tables).commit(CALL, [fresh])
    assert (item.envelope.sequence, tables.queries) == (2, 1)
    assert verify(stored(tables)) == ([], 1, 2)


def test_when_only_the_stream_moved_the_events_are_chained_anew() -> None:
    tables = Overtaken(3)
    (item,) = Log(tables).commit(CALL, [happened()], [state(1)])
    assert item.envelope.sequence == 4
    assert verify(stored(tables)) == ([], 1, 4)


def test_a_stream_that_never_stands_still_is_a_conflict_and_nothing_is_written() -> None:
    tables = Overtaken(100)
    with pytest.raises(Conflict, match="MODEL#flights are too busy"):
        Log(tables).commit(CALL, [happened()], [state(1)])
    assert tables.get("registry", Key("WS#default#MODEL", "flights")) is None


def test_concurrent_appends_leave_one_whole_chain() -> None:
    tables = MemoryTables()
    refused = []

    def append(name: str) -> None:
        log = Log(tables)
        for n in range(25):
            mine = Put("registry", {"pk": f"WS#default#{name}", "sk": str(n)}, Absent())
            try:
                log.commit(CALL, [happened(), happened()], [mine])
            except Conflict:
                refused.append((name, n))

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = sum(len(tables.query("registry", f"WS#default#{name}").items) for name in "abcd")
    assert written == 100 - len(refused)
    assert verify(stored(tables)) == ([], 1, 2 * written)


# --- deliveries --------------------------------------------------------------------------


def test_a_delivery_is_handled_once() -> None:
    tables = MemoryTables()
    log = Log(tables)
    log.commit(CALL, [happened()], [state(1)], delivery=delivery(), table="registry")
    with pytest.raises(AlreadyHandled, match="registry handled event-1 before"):
        log.commit(CALL, [happened()], [state(2, was=1)], delivery=delivery(), table="registry")
    assert len(stored(tables)) == 1
    assert tables.get("registry", Key("WS#default#MODEL", "flights")) == {
        "pk": "WS#default#MODEL", "sk": "flights", "v": 1,
    }  # fmt: skip


def test_a_delivery_that_came_before_is_told_even_when_the_state_moved_on() -> None:
    log = Log(MemoryTables())
    log.commit(CALL, [], [state(1)], delivery=delivery(), table="registry")
    with pytest.raises(AlreadyHandled):
        log.commit(CALL, [], [state(1)], delivery=delivery(), table="registry")


def test_a_delivery_without_effect_is_marked_too() -> None:
    log = Log(MemoryTables())
    assert not log.handled("registry", delivery())
    log.commit(CALL, [], delivery=delivery(), table="registry")
    assert log.handled("registry", delivery())
    with pytest.raises(AlreadyHandled):
        log.commit(CALL, [], delivery=delivery(), table="registry")


def test_two_consumers_handle_the_same_event() -> None:
    log = Log(MemoryTables())
    for consumer in ("registry", "tracking"):
        log.commit(CALL, [happened()], delivery=delivery(consumer=consumer), table="registry")
    assert len(list(log.read(FLIGHTS))) == 2


def test_a_delivery_needs_a_table() -> None:
    with pytest.raises(ValueError, match="consumer's table"):
        Log(MemoryTables()).commit(CALL, [], delivery=delivery())


def test_of_two_threads_with_one_delivery_one_handles_it() -> None:
    tables = MemoryTables()
    outcomes = []

    def handle(table: TableName) -> None:
        try:
            Log(tables).commit(CALL, [happened()], delivery=delivery(), table=table)
            outcomes.append("handled")
        except AlreadyHandled:
            outcomes.append("duplicate")

    threads = [threading.Thread(target=handle, args=("registry",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["duplicate"] * 7 + ["handled"]
    assert len(stored(tables)) == 1
