"""What a function does on events, schedules and uploads, and what it reads and says of itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from support.http import memory_wiring

from modelwright import errors
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.events import Delivery, RegisteredModelCreated, RunEnded, ScheduleDue
from modelwright.log import Happened, Log, stream_of
from modelwright.runtime import Function, Upload
from modelwright.storage import Absent, Is, Item, Key, Put, Write
from modelwright.wiring import Settings, Wiring

NOW = datetime(2013, 5, 1, tzinfo=UTC)


@pytest.fixture
def wiring() -> Wiring:
    return memory_wiring()


# --- deliveries --------------------------------------------------------------------------


def sent(identity: str = "event-1", **more: Any) -> dict[str, Any]:
    event = RunEnded(run_id="r", experiment_id="1", status="FINISHED")
    detail = {
        "id": identity, "type": "RunEnded", "schema_version": 1, "workspace": "other", "stream": "WS#other#RUN#r",
        "sequence": 1, "at": "2013-05-01T00:00:00Z", "actor": "ann", "correlation_id": "c",
        "data": event.model_dump(mode="json"), **more,
    }  # fmt: skip
    return {"detail-type": detail["type"], "source": "modelwright", "detail": detail}


def counting(wiring: Wiring, **how: Any) -> tuple[Function, list[Call]]:
    calls: list[Call] = []

    def consume(delivery: Delivery, call: Call, wiring: Wiring) -> None:
        calls.append(call)
        key = Key("COUNT", "runs")
        known: Item = wiring.tables.get("registry", key) or {"n": 0}
        writes: list[Write] = [
            Put("registry", {**key._asdict(), "n": known["n"] + 1}, Is("n", known["n"]) if known["n"] else Absent())
        ]
        wiring.log.commit(call, [], writes, delivery=delivery, table="registry")

    return Function("count", table="registry", consumers={RunEnded: consume}, wiring=wiring, **how), calls


def counted(wiring: Wiring) -> int:
    return int((wiring.tables.get("registry", Key("COUNT", "runs")) or {"n": 0})["n"])


def test_a_consumer_acts_for_the_platform_in_the_events_workspace_at_the_events_time(wiring: Wiring) -> None:
    function, calls = counting(wiring)
    assert function(sent()) == {"outcome": "handled"}
    (call,) = calls
    assert (call.workspace, call.actor, call.now, call.correlation_id) == ("other", "platform", NOW, "c")
    call.authorise("anything:write", "whatever")


def test_a_duplicate_delivery_changes_nothing(wiring: Wiring) -> None:
    function, _ = counting(wiring)
    assert [function(sent(n))["outcome"] for n in ("a", "a", "b", "a")] == [
        "handled",
        "duplicate",
        "handled",
        "duplicate",
    ]
    assert counted(wiring) == 2


def test_a_duplicate_is_known_in_another_process_too(wiring: Wiring) -> None:
    counting(wiring)[0](sent())
    again = memory_wiring(tables=wiring._tables)  # type: ignore[arg-type]
    assert counting(again)[0](sent()) == {"outcome": "duplicate"}
    assert counted(again) == 1


def test_a_delivery_whose_consumer_writes_nothing_is_marked_too(wiring: Wiring) -> None:
    looks = Function("looks", table="registry", consumers={RunEnded: lambda d, c, w: None}, wiring=wiring)
    assert [looks(sent())["outcome"], looks(sent())["outcome"]] == ["handled", "duplicate"]
    marks = wiring.tables.query("registry", "WS#other#HANDLED#looks").items
    assert [mark["sk"] for mark in marks] == ["event-1"]


def test_an_event_that_nobody_consumes_here_is_an_error_so_that_it_is_dead_lettered(wiring: Wiring) -> None:
    function, _ = counting(wiring)
    data = RegisteredModelCreated(model="x").model_dump()
    with pytest.raises(errors.InvalidInput, match="count was sent RegisteredModelCreated"):
        function(sent(type="RegisteredModelCreated", data=data))
    with pytest.raises(errors.InvalidInput, match="unknown event type Nonsense"):
        function(sent(type="Nonsense"))


def test_an_event_of_newer_code_with_more_fields_is_understood(wiring: Wiring) -> None:
    function, _ = counting(wiring)
    data = {"run_id": "r", "experiment_id": "1", "status": "FINISHED", "since_version_2": True}
    assert function(sent(schema_version=2, data=data, more="x")) == {"outcome": "handled"}


def test_a_consumers_failure_is_lambdas_to_retry(wiring: Wiring) -> None:
    def fail(delivery: Delivery, call: Call, wiring: Wiring) -> None:
        raise errors.NotFound("no project yet")

    function = Function("fails", table="registry", consumers={RunEnded: fail}, wiring=wiring)
    with pytest.raises(errors.NotFound):
        function(sent())
    assert wiring.tables.query("registry", "WS#other#HANDLED#fails").items == ()


# --- schedules, uploads, the rest --------------------------------------------------------


def due(name: str = "tidy", **more: Any) -> dict[str, Any]:
    detail = {"name": name, "at": "2013-05-01T00:00:00Z", **more}
    return {"detail-type": "ScheduleDue", "source": "modelwright.schedule", "id": "s-1", "detail": detail}


@pytest.mark.parametrize("virtual", [True, False])
def test_a_schedule_says_what_time_it_is_only_where_that_is_allowed(*, virtual: bool) -> None:
    calls: list[tuple[ScheduleDue, Call]] = []
    function = Function(
        "tidy",
        schedules={"tidy": lambda due, call, wiring: calls.append((due, call))},
        wiring=memory_wiring(virtual_time=virtual),
    )
    assert function(due()) == {"outcome": "done"}
    assert function(due(workspace="other")) == {"outcome": "done"}
    assert function(due("sweep")) == {"outcome": "not mine"}
    assert [call.workspace for _, call in calls] == ["default", "other"]
    assert all((call.now == NOW) == virtual for _, call in calls)
    assert calls[0][1].correlation_id == "s-1"


def test_a_schedule_that_says_nothing_sensible_is_refused(wiring: Wiring) -> None:
    function = Function("tidy", schedules={"tidy": lambda due, call, wiring: None}, wiring=wiring)
    with pytest.raises(errors.InvalidInput, match="parameter 'at'"):
        function(due(at="soon"))


def test_an_upload_is_told_by_key_version_and_size(wiring: Wiring) -> None:
    uploads: list[Upload] = []

    def take(upload: Upload, call: Call, wiring: Wiring) -> str:
        uploads.append(upload)
        return "accepted"

    function = Function("monitor", uploads=take, wiring=wiring)
    thing = {"key": "weather/a b+c%20.csv", "version-id": "v1", "size": 3}
    event = {"detail-type": "Object Created", "source": "aws.s3", "detail": {"bucket": {"name": "x"}, "object": thing}}
    assert function(event) == {"outcome": "accepted"}
    assert uploads == [Upload("weather/a b+c%20.csv", "v1", 3)]  # EventBridge sends keys as they are


def test_a_payload_that_nobody_understands_is_an_error(wiring: Wiring) -> None:
    with pytest.raises(errors.InvalidInput, match=r"thing does not understand this payload: \['hello'\]"):
        Function("thing", wiring=wiring)({"hello": 1})
    assert Function("raw", raw=lambda event, _: event, wiring=wiring)({"hello": 1}) == {"hello": 1}


# --- settings and wiring -----------------------------------------------------------------


def test_settings_are_read_from_the_templates_names() -> None:
    settings = Settings.read(
        {
            "MODELWRIGHT_TABLE_LOG": "t", "MODELWRIGHT_BUCKET_LAKE": "b", "MODELWRIGHT_BUS": "bus",
            "MODELWRIGHT_WORKSPACE": "ws", "MODELWRIGHT_VIRTUAL_TIME": "allowed", "AWS_LAMBDA_FUNCTION_NAME": "f",
            "HOME": "/",
        }
    )  # fmt: skip
    assert (settings.tables, settings.buckets, settings.bus) == ({"log": "t"}, {"lake": "b"}, "bus")
    assert (settings.workspace, settings.virtual_time, settings.function) == ("ws", True, "f")
    assert "HOME" not in settings.environment


@pytest.mark.parametrize("said", ["", "refused", "ALLOWED", "true", "1"])
def test_only_one_word_allows_a_virtual_time(said: str) -> None:
    assert Settings.read({"MODELWRIGHT_VIRTUAL_TIME": said}).virtual_time is False


def test_a_name_that_no_table_has_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Settings.read({"MODELWRIGHT_TABLE_NONSENSE": "t"})


def test_an_invocation_is_one_line_with_what_it_cost(wiring: Wiring, caplog: pytest.LogCaptureFixture) -> None:
    function, _ = counting(wiring)
    function(sent())
    function(sent())
    lines = [vars(record) for record in caplog.records]
    assert [(line["msg"], line["outcome"]) for line in lines] == [("RunEnded", "handled"), ("RunEnded", "duplicate")]
    assert (lines[0]["correlation_id"], lines[0]["event"]) == ("c", "event-1")
    assert lines[0]["write_units"] > 0


def test_a_log_over_a_wiring_is_the_tables_own() -> None:
    tables = MemoryTables()
    wiring = memory_wiring(tables=tables, blobs=MemoryBlobs())
    stream = stream_of("default", "MODEL", "a")
    wiring.log.commit(Call("default", "a", NOW, "c"), [Happened(stream, RegisteredModelCreated(model="a"))])
    found: Sequence[Any] = list(Log(tables).read(stream))
    assert len(found) == 1
