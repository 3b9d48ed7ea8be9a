import gzip
import random
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.client import needs_mlflow, run_client
from support.http import Caller, handler_of, payload
from support.mlflow_desk import API, Desk

from modelwright.context import Call
from modelwright.governance.access import Grant
from modelwright.tracking import spans
from modelwright.tracking.trace_store import TraceStore

V3 = "/api/3.0/mlflow"
OTLP = "/v1/traces"


def identity(number: int) -> str:
    return f"tr-{number:032x}"


def info(number: int, experiment_id: str, **more: Any) -> dict[str, Any]:
    at = f"2026-03-02T10:{number // 60:02d}:{number % 60:02d}.500Z"
    return {
        "trace_id": identity(number), "request_time": at, "state": "OK",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}},
        "execution_duration": "0.098s", **more,
    }  # fmt: skip


def start(desk: Desk, number: int, experiment_id: str, **more: Any) -> dict[str, Any]:
    said = desk.tracking.ok("POST", f"{V3}/traces", {"trace": {"trace_info": info(number, experiment_id, **more)}})
    told: dict[str, Any] = said["trace"]["trace_info"]
    return told


def span(number: int, name: str = "root", parent: int = 0, **more: Any) -> dict[str, Any]:
    own = {"parentSpanId": f"{parent:016x}"} if parent else {}
    at = 1_772_445_600_000_000_000
    times = {"startTimeUnixNano": at + number, "endTimeUnixNano": at + 5_000_000}
    return {"spanId": f"{number:016x}", "name": name, **times, **own, **more}


def text(value: str) -> dict[str, Any]:
    return {"stringValue": value}


def otlp(number: int, *each: dict[str, Any]) -> dict[str, Any]:
    told = [{"traceId": f"{number:032x}", **one} for one in each]
    return {"resourceSpans": [{"scopeSpans": [{"spans": told}]}]}


def send(desk: Desk, experiment_id: str, body: Any, **headers: str) -> tuple[int, Any]:
    return desk.tracking("POST", OTLP, body, x_mlflow_experiment_id=experiment_id, **headers)


def search(desk: Desk, experiment_id: str, filter_: str = "", **more: Any) -> list[int]:
    place = {"mlflow_experiment": {"experiment_id": experiment_id}}
    found = desk.tracking.ok("POST", f"{V3}/traces/search", {"locations": [place], "filter": filter_, **more})
    return [int(each["trace_id"][3:], 16) for each in found["traces"]]


def names(desk: Desk, number: int) -> list[str]:
    said = desk.tracking.ok("GET", f"{V3}/traces/batchGet?trace_ids={identity(number)}")
    return [each["name"] for trace in said["traces"] for each in trace["spans"]]


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_traces(desk: Desk, tmp_path: Path) -> None:
    desk.functions["console"] = handler_of("console", desk.wiring)  # whose version says that spans are taken
    run_client(desk, Path(__file__).with_name("traced.py"), tmp_path)
    assert [key.sk[:6] for key in desk.tables._items["tracking"] if "#TRACE#" in key.pk].count("INFO") == 1


def test_what_is_told_of_a_trace_comes_back(desk: Desk) -> None:
    experiment = desk.experiment()
    more = {"tags": {"mlflow.traceName": "add"}, "trace_metadata": {"mlflow.user": "ann"}, "request_preview": "{}"}
    told = start(desk, 1, experiment, **more)
    place = f"mlflow-artifacts:/{experiment}/traces/{identity(1)}/artifacts"
    assert told["tags"] == {"mlflow.traceName": "add", "mlflow.artifactLocation": place}
    assert told["trace_metadata"] == {"mlflow.user": "ann", "mlflow.trace.infoFinalized": "true"}
    assert (told["request_time"], told["execution_duration"]) == ("2026-03-02T10:00:01.500Z", "0.098s")
    assert desk.tracking.ok("GET", f"{V3}/traces/{identity(1)}") == {"trace": {"trace_info": told}}
    assert desk.tracking.ok("POST", f"{V3}/traces/batchGetInfos", {"trace_ids": [identity(1), "tr-no"]}) == {
        "trace_infos": [told]
    }
    older = desk.tracking.ok("GET", f"{API}/traces/{identity(1)}/info")["trace_info"]
    assert (older["request_id"], older["timestamp_ms"], older["status"]) == (identity(1), 1772445601500, "OK")
    assert desk.tracking("GET", f"{V3}/traces/{identity(2)}")[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "a/b"}, {"request_time": "yesterday"}, {"execution_duration": "long"}, {"state": "FINE"},
        {"request_time": "1960-01-01T00:00:00Z"}, {"trace_location": {"type": "INFERENCE_TABLE"}}, {"tags": {"a": 1}},
        {"trace_location": {"mlflow_experiment": {"experiment_id": "x"}}},
    ],
)  # fmt: skip
def test_a_trace_that_makes_no_sense_is_refused(desk: Desk, wrong: dict[str, Any]) -> None:
    body = {"trace": {"trace_info": {**info(1, "0"), **wrong}}}
    assert desk.tracking("POST", f"{V3}/traces", body)[0] == 400
    assert search(desk, "0") == []


@pytest.mark.parametrize("order", [("spans", "info"), ("info", "spans"), ("spans", "info", "spans", "info")])
def test_spans_and_what_is_told_of_a_trace_come_in_any_order_and_again(desk: Desk, order: tuple[str, ...]) -> None:
    experiment = desk.experiment()
    body = otlp(1, span(1, attributes=[{"key": "mlflow.spanInputs", "value": text("x")}]), span(2, "child", parent=1))
    for step in order:
        if step == "info":
            start(desk, 1, experiment, tags={"mlflow.traceName": "told"}, request_preview="told")
        else:
            assert send(desk, experiment, body) == (200, {})
    found = desk.tracking.ok("GET", f"{V3}/traces/get?trace_id={identity(1)}")["trace"]
    assert [each["name"] for each in found["spans"]] == ["root", "child"]
    assert (found["trace_info"]["request_preview"], found["trace_info"]["state"]) == ("told", "OK")
    assert found["trace_info"]["request_time"] == "2026-03-02T10:00:01.500Z"
    assert found["trace_info"]["tags"]["mlflow.trace.spansLocation"] == "TRACKING_STORE"
    assert search(desk, experiment) == [1]


def test_spans_alone_make_a_trace_that_its_root_tells(desk: Desk) -> None:
    experiment = desk.experiment()
    send(desk, experiment, otlp(7, span(2, "child", parent=1)))
    assert search(desk, experiment, "status = 'IN_PROGRESS'") == [7]
    attributes = [
        {"key": "mlflow.spanOutputs", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "3"}}]}}},
        {"key": "mlflow.traceTag.team", "value": text("x")},
        {"key": "mlflow.traceTag.mlflow.artifactLocation", "value": text("s3://elsewhere")},
    ]
    send(desk, experiment, otlp(7, span(1, "root", attributes=attributes, status={"code": 2, "message": "no"})))
    told = desk.tracking.ok("GET", f"{V3}/traces/{identity(7)}")["trace"]["trace_info"]
    assert (told["state"], told["response_preview"], told["execution_duration"]) == ("ERROR", '{"a": 3}', "0.005s")
    assert (told["tags"]["mlflow.traceName"], told["tags"]["team"]) == ("root", "x")
    assert told["tags"]["mlflow.artifactLocation"].startswith("mlflow-artifacts:/")
    assert names(desk, 7) == ["root", "child"]


def test_protobuf_says_the_same_as_json(desk: Desk) -> None:
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    experiment = desk.experiment()
    told = span(1, attributes=[{"key": "n", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}, {}]}}}])
    base64 = {"traceId": b64encode((9).to_bytes(16)).decode(), "spanId": b64encode((1).to_bytes(8)).decode()}
    message = json_format.ParseDict(otlp(9, {**told, **base64}), ExportTraceServiceRequest())
    raw = message.SerializeToString()
    for body, encoding in ((raw, ""), (gzip.compress(raw), "gzip")):
        headers = {"content_type": "application/x-protobuf", "content_encoding": encoding}
        assert send(desk, experiment, body, **headers)[0] == 200
    by_protobuf = desk.tracking.ok("GET", f"{V3}/traces/get?trace_id={identity(9)}")["trace"]["spans"]
    send(desk, experiment, otlp(10, told))
    by_json = desk.tracking.ok("GET", f"{V3}/traces/get?trace_id={identity(10)}")["trace"]["spans"]
    assert [{**each, "trace_id": ""} for each in by_json] == [{**each, "trace_id": ""} for each in by_protobuf]
    assert isinstance(by_json[0]["start_time_unix_nano"], int)


PROTO = {"content_type": "application/x-protobuf"}
SHORT = {"traceId": "01", "spanId": "0" * 16}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xff", PROTO),
        (b"", PROTO),
        (b"{", {}),
        (b"[]", {}),
        (b"{}", {}),
        (b"x", {"content_type": "text/plain"}),
        (b"x", {"content_encoding": "gzip"}),
        (b"x", {"content_encoding": "br"}),
        (otlp(1, {"spanId": "zz"}), {}),
        (otlp(1, {"name": "without an id"}), {}),
        ({"resourceSpans": [{"scopeSpans": [{"spans": [SHORT]}]}]}, {}),
    ],
)
def test_what_is_no_otlp_is_refused(desk: Desk, body: Any, headers: dict[str, str]) -> None:
    assert send(desk, "0", body, **headers)[0] == 400
    assert search(desk, "0") == []


@given(st.binary(max_size=200))
def test_any_bytes_are_spans_or_refused(body: bytes) -> None:
    from modelwright.errors import InvalidInput

    for media in (spans.PROTOBUF, spans.JSON):
        try:
            assert spans.received(body, media, "")
        except InvalidInput:
            continue


def test_a_compressed_request_that_is_too_long_is_refused(desk: Desk) -> None:
    assert send(desk, "0", gzip.compress(bytes(spans.LIMIT + 1)), content_encoding="gzip")[0] == 413


def test_traces_are_found_by_what_is_told_of_them(desk: Desk) -> None:
    experiment = desk.experiment()
    for number in (1, 2, 3, 4):
        state = "ERROR" if number == 3 else "OK"
        tags = {"mlflow.traceName": f"n{number}", "n": str(number)}
        more = {"trace_metadata": {"mlflow.sourceRun": "r1"}} if number == 2 else {}
        spent = {"execution_duration": f"{number}s", "client_request_id": f"c{number}"}
        start(desk, number, experiment, state=state, tags=tags, **spent, **more)
    assert search(desk, experiment) == [4, 3, 2, 1]
    assert search(desk, experiment, "status = 'ERROR'") == [3]
    assert search(desk, experiment, "trace.name LIKE 'n%' AND tags.n != '1' AND execution_time_ms < 4000") == [3, 2]
    assert search(desk, experiment, "run_id = 'r1'") == search(desk, experiment, "metadata.`mlflow.sourceRun` = 'r1'")
    assert search(desk, experiment, "attributes.client_request_id IN ('c1', 'c4')") == [4, 1]
    assert search(desk, experiment, "timestamp >= 1772445603500") == [4, 3]
    assert search(desk, experiment, order_by=["execution_time ASC"], max_results=2) == [1, 2]
    assert search(desk, experiment, order_by=["timestamp DESC"]) == [4, 3, 2, 1]
    older = desk.tracking.ok("GET", f"{API}/traces?experiment_ids={experiment}&max_results=2&order_by=timestamp_ms ASC")
    assert [each["request_id"] for each in older["traces"]] == [identity(1), identity(2)]
    for wrong in ("span.name = 'x'", "feedback.correct = 'yes'", "colour = 'x'", "name RLIKE 'x'"):
        body = {"locations": [{"mlflow_experiment": {"experiment_id": experiment}}], "filter": wrong}
        assert desk.tracking("POST", f"{V3}/traces/search", body)[0] == 400
    assert desk.tracking("POST", f"{V3}/traces/search", {"locations": [], "max_results": 501})[0] == 400


def test_traces_are_linked_to_runs_afterwards(desk: Desk) -> None:
    experiment = desk.experiment()
    start(desk, 1, experiment)
    start(desk, 2, experiment)
    for _ in range(2):
        desk.tracking.ok("POST", f"{API}/traces/link-to-run", {"trace_ids": [identity(1), "tr-no"], "run_id": "r1"})
    assert send(desk, experiment, otlp(3, span(1)), x_mlflow_run_id="r1")[0] == 200
    assert sorted(search(desk, experiment, "run_id = 'r1'")) == [1, 3]


@pytest.mark.parametrize("order", [[], ["execution_time DESC"]])
def test_pages_of_traces_hold_each_once_while_others_come(desk: Desk, order: list[str]) -> None:
    experiment, other = desk.experiment("a"), desk.experiment("b")
    for number in range(9):
        start(desk, number, (experiment, other)[number % 2], execution_duration=f"{number % 3}s")
    places = [{"mlflow_experiment": {"experiment_id": each}} for each in (experiment, other)]
    found, token, body = [], "", {"locations": places, "max_results": 2, "order_by": order}
    while True:
        said = desk.tracking.ok("POST", f"{V3}/traces/search", {**body, "page_token": token})
        found += [int(each["trace_id"][3:], 16) for each in said["traces"]]
        start(desk, 50 + len(found), experiment)
        if not (token := said.get("next_page_token", "")):
            break
    assert sorted(number for number in found if number < 50) == list(range(9))
    assert found[:9] == [8, 7, 6, 5, 4, 3, 2, 1, 0] or order
    assert desk.tracking("POST", f"{V3}/traces/search", {**body, "page_token": "e30="})[0] == 400


def test_no_library_of_filters_or_spans_is_loaded_before_it_is_needed() -> None:
    modules = "modelwright.tracking.traces, modelwright.tracking.search, modelwright.registry.search"
    script = f"import sys, {modules}; print({{'sqlparse', 'opentelemetry', 'google.protobuf'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_tags_come_and_go_but_for_those_of_the_server(desk: Desk) -> None:
    start(desk, 1, "0", tags={"mlflow.artifactLocation": "s3://elsewhere", "mlflow.trace.spansLocation": "x"})
    for version in ("2.0", "3.0"):
        path = f"/ajax-api/{version}/mlflow/traces/{identity(1)}/tags"
        desk.tracking.ok("PATCH", path, {"key": "a", "value": "b" * 9000})
        tags = desk.tracking.ok("GET", f"{V3}/traces/{identity(1)}")["trace"]["trace_info"]["tags"]
        assert (len(tags["a"]), len(tags), tags["mlflow.artifactLocation"][:17]) == (8000, 2, "mlflow-artifacts:")
        desk.tracking.ok("DELETE", path, {"key": "a"})
        assert desk.tracking("DELETE", f"{path}?key=a")[0] == 404
        assert desk.tracking("PATCH", path, {"key": "mlflow.artifactLocation", "value": "x"})[0] == 400
        assert desk.tracking("PATCH", path, {"key": "", "value": "x"})[0] == 400


def test_a_trace_is_whole_when_all_its_spans_came(desk: Desk) -> None:
    start(desk, 1, "0", trace_metadata={"mlflow.trace.sizeStats": '{"num_spans": 2}'})
    path = f"{V3}/traces/get?trace_id={identity(1)}"
    for number, code in ((1, 404), (2, 200)):
        send(desk, "0", otlp(1, span(number, f"s{number}", parent=number - 1)))
        assert desk.tracking("GET", path)[0] == code
        assert len(desk.tracking.ok("GET", f"{path}&allow_partial=True")["trace"]["spans"]) == number
        assert len(names(desk, 1)) == (2 if number == 2 else 0)


def test_a_span_that_came_before_its_end_counts_once(desk: Desk) -> None:
    begun = {key: value for key, value in span(1, "begun").items() if key != "endTimeUnixNano"}
    for each in (begun, span(1, "ended"), begun):
        send(desk, "0", otlp(1, each))
    assert names(desk, 1) == ["ended"]


def test_many_spans_lie_in_the_lake_and_go_with_their_trace(desk: Desk) -> None:
    noise = random.Random(0)
    long = [span(n + 1, noise.randbytes(9000).hex(), parent=n) for n in range(60)]
    assert send(desk, "0", otlp(1, *long))[0] == 200
    send(desk, "0", otlp(1, span(99, "short", parent=1)))
    kept = [line.key for line in desk.blobs.list("lake", "")]
    assert len(kept) == 1
    assert kept[0].startswith(f"tracking/default/traces/0/{identity(1)}/")
    assert len(names(desk, 1)) == 61
    assert desk.tracking.ok(
        "POST", f"{API}/traces/delete-traces", {"experiment_id": "0", "request_ids": [identity(1)]}
    ) == {"traces_deleted": 1}
    assert list(desk.blobs.list("lake", "")) == []
    assert [key for key in desk.tables._items["tracking"] if "TRACE#" in key.pk + key.sk] == []


def test_more_than_an_item_holds_is_not_told_of_a_trace(desk: Desk) -> None:
    told = {"trace": {"trace_info": info(1, "0", request_preview="x" * 300_000)}}
    assert desk.tracking("POST", f"{V3}/traces", told)[0] == 413
    assert (search(desk, "0"), list(desk.blobs.list("lake", ""))) == ([], [])


def test_traces_too_long_for_an_answer_say_so(desk: Desk) -> None:
    noise = random.Random(0)
    for batch in range(4):
        long = [span(60 * batch + n + 1, noise.randbytes(12_000).hex(), parent=n) for n in range(60)]
        assert send(desk, "0", otlp(1, *long))[0] == 200
    assert desk.tracking("GET", f"{V3}/traces/batchGet?trace_ids={identity(1)}")[0] == 413


def test_traces_are_deleted_up_to_a_time_the_oldest_first(desk: Desk) -> None:
    experiment = desk.experiment()
    for number in range(5):
        start(desk, number, experiment)
    start(desk, 9, "0")
    path = f"{API}/traces/delete-traces"
    until = {"experiment_id": experiment, "max_timestamp_millis": 1772445603500}
    assert desk.tracking.ok("POST", path, {**until, "max_traces": 1}) == {"traces_deleted": 1}
    assert search(desk, experiment) == [4, 3, 2, 1]
    assert desk.tracking.ok("POST", path, until) == {"traces_deleted": 3}
    assert (search(desk, experiment), search(desk, "0")) == ([4], [9])
    assert desk.tracking.ok("POST", path, {"experiment_id": experiment, "request_ids": [identity(9)]}) == {
        "traces_deleted": 0
    }
    for wrong in (
        {},
        {**until, "request_ids": ["tr-1"]},
        {"request_ids": ["tr-1"], "max_traces": 1},
        {**until, "max_traces": 0},
    ):
        assert desk.tracking("POST", path, {"experiment_id": experiment, **wrong})[0] == 400


def test_nothing_is_left_of_the_traces_of_an_experiment_that_is_collected(desk: Desk) -> None:
    experiment = desk.experiment()
    for number in range(3):
        start(desk, number, experiment)
        send(desk, experiment, otlp(number, span(1, random.Random(number).randbytes(400_000).hex())))
    assert len(list(desk.blobs.list("lake", ""))) == 3
    start(desk, 9, "0")
    call = Call("default", "platform", datetime.now(UTC), "c-1")
    for _ in range(2):
        TraceStore(desk.tables, call, desk.blobs).forget_all(experiment)
    assert (search(desk, experiment), search(desk, "0")) == ([], [9])
    assert list(desk.blobs.list("lake", "")) == []
    assert sorted({key.sk[:5] for key in desk.tables._items["tracking"] if "TRACE#" in key.pk + key.sk}) == [
        "INFO",
        "TRACE",
    ]


def test_a_trace_stays_in_its_experiment(desk: Desk) -> None:
    experiment = desk.experiment()
    start(desk, 1, experiment)
    assert desk.tracking("POST", f"{V3}/traces", {"trace": {"trace_info": info(1, "0")}})[0] == 400
    assert send(desk, "0", otlp(1, span(1)))[0] == 400
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": experiment})
    assert send(desk, experiment, otlp(2, span(1)))[0] == 400


def test_traces_need_rights_on_their_experiment(desk: Desk) -> None:
    experiment = desk.experiment()
    start(desk, 1, experiment)
    reader = desk.as_caller("tracking", grants=(Grant(role="reader", resources=f"experiment/{experiment}"),))
    stranger = desk.as_caller("tracking", grants=(Grant(role="admin", resources="experiment/0"),))
    place = {"locations": [{"mlflow_experiment": {"experiment_id": experiment}}]}
    told = {"trace": {"trace_info": info(2, experiment)}}

    def codes(caller: Caller) -> list[int]:
        return [
            caller("GET", f"{V3}/traces/{identity(1)}")[0], caller("POST", f"{V3}/traces/search", place)[0],
            caller("GET", f"{V3}/traces/batchGet?trace_ids={identity(1)}")[0], caller("POST", f"{V3}/traces", told)[0],
            caller("PATCH", f"{V3}/traces/{identity(1)}/tags", {"key": "a", "value": "b"})[0],
            caller("POST", OTLP, otlp(3, span(1)), x_mlflow_experiment_id=experiment)[0],
        ]  # fmt: skip

    assert codes(reader) == [200, 200, 200, 403, 403, 403]
    assert codes(stranger) == [403] * 6


def test_the_interface_gets_spans_as_a_file_holds_them_or_is_sent_to_the_file(desk: Desk) -> None:
    path = f"/ajax-api/3.0/mlflow/get-trace-artifact?request_id={identity(1)}"
    start(desk, 1, "0")
    answer = desk.functions["tracking"](payload("GET", path))
    place = f"/mlflow-artifacts/artifacts/0/traces/{identity(1)}/artifacts/traces.json"
    assert (answer["statusCode"], answer["headers"]["location"].endswith(place)) == (302, True)
    attributes = [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}, text("x")]}}}]
    send(desk, "0", otlp(1, span(1, attributes=attributes, events=[{"name": "e", "attributes": attributes}])))
    (told,) = desk.tracking.ok("GET", path)["spans"]
    assert told["attributes"] == {"a": '[1, "x"]'}
    assert told["events"] == [{"name": "e", "attributes": {"a": [1, "x"]}}]
    assert told["parent_span_id"] is None
