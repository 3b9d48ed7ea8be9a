"""Every trigger of the template has a payload in ``events/``, and its function accepts that payload."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest
from botocore.stub import Stubber
from ministack.services import eventbridge
from support.http import handler_of, memory_wiring

from modelwright.adapters.dynamodb import from_stream
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, PluginError
from modelwright.events import SOURCE, RegisteredModelCreated
from modelwright.governance.access import Grant
from modelwright.governance.tokens import item_of as token_item
from modelwright.log import Happened, Log, LogItem
from modelwright.project import current_key
from modelwright.storage import Anything, Put
from modelwright.team import read_team
from modelwright.wiring import Wiring
from template.stack import ROOT, Stack, handlers, the_template

EVENTS = ROOT / "events"
SAMPLES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(EVENTS.glob("*.json"))}
STACK = Stack.of(the_template())
HANDLERS = {STACK.names[identity]: function for identity, function in handlers(STACK).items()}
WITHOUT_RULE = {"authorize": ("request",), "train": ("invocation",), "retrain": ("job",)}
"""Functions that are invoked by the API's authorizer, by ``retrain``, and by the rules of infra/training."""


def function_of(name: str, sample: dict[str, Any]) -> str:
    """Return the function that a sample is for: by its path, or by the name of its file."""
    if name.startswith("http-"):
        method, path = sample["requestContext"]["http"]["method"], sample["rawPath"]
        takers = [
            n for n, f in HANDLERS.items() for r in f.routes if r.method in (method, "ANY") and r.pattern.match(path)
        ]
        return takers[0] if takers else "nobody"
    return name.split("-", maxsplit=1)[0]


def triggers() -> set[tuple[str, str]]:
    """Return (function, kind of payload) of all triggers."""
    found = {(name, kind) for name, kinds in WITHOUT_RULE.items() for kind in kinds}
    for identity, name in STACK.names.items():
        for rule in STACK.triggers(identity, "EventBridgeRule").values():
            found |= {(name, kind) for kind in rule["Pattern"]["detail-type"]}
        found |= {(name, "stream") for _ in STACK.triggers(identity, "DynamoDB")}
        found |= {(name, "HTTP") for _ in STACK.triggers(identity, "HttpApi")}
    return found


def kind_of(name: str, sample: dict[str, Any]) -> str:
    if name.startswith("http-"):
        return "HTTP"
    return str(sample.get("detail-type") or name.split("-", 1)[1])


HAVE = {(function_of(name, sample), kind_of(name, sample)) for name, sample in SAMPLES.items()}


@pytest.mark.parametrize(("function", "kind"), sorted(triggers()))
def test_a_trigger_has_a_sample(function: str, kind: str) -> None:
    assert (function, kind) in HAVE, f"events/ has no payload for {function} and {kind}"


def test_no_sample_is_for_nobody() -> None:
    assert HAVE - triggers() == set()


@pytest.fixture(scope="module")
def project() -> str:
    return read_team(ROOT / "src" / "modelwright" / "demo" / "project").project.model_dump_json()


@pytest.fixture
def wiring(project: str, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    """A stack with the demo's project applied, whose clients of AWS answer what they would."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    wiring = memory_wiring()
    wiring.tables.write([Put("governance", {**current_key("default")._asdict(), "project": project}, Anything())])
    return wiring


WAITING = {
    "monitor-upload-accepted": "accepted/",
    "materialize-upload-accepted": "accepted/",
    "materialize-historical-features-requested": "there is no job",
    "maintain-erasure-requested": "there is no erasure",
    "retrain-training-requested": "there is no training",
    "retrain-training-completed": "there is no training",
    "retrain-training-failed": "there is no training",
    "retrain-training-paused": "there is no training",
}
"""Events about data that nobody put there: Lambda would try again."""

BY_RULE = [n for n in SAMPLES if not n.startswith(("http-", "train-", "authorize")) and "detail" in SAMPLES[n]]


@pytest.mark.parametrize("name", BY_RULE)
def test_an_event_is_one_that_a_rule_brings(name: str) -> None:
    function, sample = function_of(name, SAMPLES[name]), SAMPLES[name]
    identity = next(identity for identity, each in STACK.names.items() if each == function)
    patterns = [rule["Pattern"] for rule in STACK.triggers(identity, "EventBridgeRule").values()]
    assert any(
        pattern["source"] == [sample["source"]]
        and sample["detail-type"] in pattern["detail-type"]
        and sample["detail"].get("name") in [None, *pattern.get("detail", {}).get("name", [])]
        for pattern in patterns
    )


@pytest.mark.parametrize("name", [n for n in BY_RULE if not n.startswith("publish")])
def test_an_event_is_accepted(name: str, wiring: Wiring) -> None:
    function = handler_of(function_of(name, SAMPLES[name]), wiring)
    if name in WAITING:
        with pytest.raises((NotFound, PluginError, InvalidInput), match=WAITING[name]):
            function(SAMPLES[name])
    else:
        assert function(SAMPLES[name])["outcome"] not in ("duplicate", "not mine")


@pytest.mark.parametrize("name", [n for n in SAMPLES if n.startswith("http-")])
def test_a_request_is_answered(name: str, wiring: Wiring) -> None:
    answer = handler_of(function_of(name, SAMPLES[name]), wiring)(SAMPLES[name])
    said = answer["body"]
    # 401: the sign-in form's token is an example; 500: the team's code is not in this environment
    allowed = {"http-console-login": {401}, "http-materialize": {500}}.get(name, {200, 202, 400, 404, 409})
    assert answer["statusCode"] in allowed, said
    assert "ENDPOINT_NOT_FOUND" not in said


@pytest.mark.parametrize("name", [n for n, sample in SAMPLES.items() if sample.get("source") == SOURCE])
def test_an_event_is_of_its_schema(name: str) -> None:
    detail = SAMPLES[name]["detail"]
    assert SAMPLES[name]["detail-type"] == detail["type"]
    schema = json.loads((EVENTS / "schemas" / f"{detail['type']}.json").read_text())
    assert set(schema.get("required", [])) <= set(detail["data"]) <= set(schema["properties"])
    envelope = json.loads((EVENTS / "schemas" / "Envelope.json").read_text())
    assert set(detail) == set(envelope["properties"])


def test_the_authorizer_takes_its_request(wiring: Wiring) -> None:
    authorize = handler_of("authorize", wiring)
    sample = SAMPLES["authorize-request"]
    assert authorize(sample) == {"isAuthorized": False}
    now = datetime.now(UTC)
    item = token_item("default", "0123456789abcdef", "ann", "secret", (Grant(role="reader"),), now)
    wiring.tables.write([Put("governance", item, Anything())])
    assert authorize(sample)["context"]["actor"] == "ann"


def test_the_end_of_a_job_of_somebody_else_changes_nothing(wiring: Wiring) -> None:
    assert handler_of("retrain", wiring)(SAMPLES["retrain-job"]) == {"outcome": "not ours"}


def test_a_training_that_nobody_asked_for_is_named(wiring: Wiring) -> None:
    with pytest.raises(NotFound, match=SAMPLES["train-invocation"]["training_id"]):
        handler_of("train", wiring)(SAMPLES["train-invocation"])


def stored(wiring: Wiring, sample: dict[str, Any]) -> list[str]:
    """Put a stream's items into the log, as they were before the stream brought them; return their ids."""
    items = [from_stream(record["dynamodb"]["NewImage"]) for record in sample["Records"]]
    wiring.tables.write_many("log", items)
    return [str(item["sk"]) for item in items]


def published(wiring: Wiring) -> list[bool]:
    return [bool(item["published"]) for item in wiring.tables.query("log", "WS#default#MODEL#flights").items]


@pytest.mark.parametrize("refused", [(), (1,), (0, 1)])
def test_publish_reports_what_the_bus_did_not_take(wiring: Wiring, refused: tuple[int, ...]) -> None:
    sample = SAMPLES["publish-stream"]
    stored(wiring, sample)
    client = boto3.client("events")
    wiring.events = client
    entries = [{"ErrorCode": "ThrottlingException"} if n in refused else {"EventId": str(n)} for n in range(2)]
    with Stubber(client) as stub:
        stub.add_response("put_events", {"FailedEntryCount": len(refused), "Entries": entries})
        answer = handler_of("publish", wiring)(sample)
    numbers = [record["dynamodb"]["SequenceNumber"] for record in sample["Records"]]
    assert answer == {"batchItemFailures": [{"itemIdentifier": numbers[n]} for n in refused]}
    assert published(wiring) == [n not in refused for n in range(2)]


def test_publish_sweeps_up_what_the_stream_lost(wiring: Wiring) -> None:

    from modelwright.context import Call
    from modelwright.events import RegisteredModelCreated
    from modelwright.log import Happened

    earlier = datetime.now(UTC) - timedelta(hours=1)
    log = Log(wiring.tables, wall=lambda: earlier)
    event = Happened("WS#default#MODEL#flights", RegisteredModelCreated(model="flights"))
    log.commit(Call("default", "ann", earlier, "c"), [event])
    client = boto3.client("events")
    wiring.events = client
    with Stubber(client) as stub:
        stub.add_response("put_events", {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]})
        assert handler_of("publish", wiring)(SAMPLES["publish-schedule-due"]) == {"outcome": "done"}
    assert published(wiring) == [True]


def happened(wiring: Wiring, ago: timedelta, workspace: str = "default") -> LogItem:
    """Write something into the log some time ago."""
    then = datetime.now(UTC) - ago
    event = Happened(f"WS#{workspace}#MODEL#flights", RegisteredModelCreated(model="flights"))
    (item,) = Log(wiring.tables, wall=lambda: then).commit(Call(workspace, "ann", then, "c"), [event])
    return item


def exported(wiring: Wiring) -> list[str]:
    assert handler_of("maintain", wiring)(SAMPLES["maintain-schedule-due"]) == {"outcome": "done"}
    return [row.key for row in wiring.blobs.list("lake", "log/")]


def test_the_log_is_exported_by_workspace_and_hour(wiring: Wiring, tmp_path: Path) -> None:
    ago = timedelta(hours=30)
    item, _ = happened(wiring, ago), happened(wiring, ago, "other")
    hour = datetime.now(UTC) - ago
    wanted = [f"log/{workspace}/dt={hour:%Y-%m-%d}/{hour:%H}.parquet" for workspace in ("default", "other")]
    assert exported(wiring) == wanted
    file = tmp_path / "hour.parquet"
    file.write_bytes(wiring.blobs.get("lake", wanted[0]).body)
    (row,) = pq.read_table(file).to_pylist()
    assert (row["hash"], row["id"], json.loads(row["data"])) == (item.hash, item.envelope.id, item.envelope.data)


def test_hours_that_earlier_runs_missed_are_exported_and_others_left_alone(wiring: Wiring) -> None:
    happened(wiring, timedelta(hours=3))
    (first,) = exported(wiring)
    version = wiring.blobs.get("lake", first).version
    happened(wiring, timedelta(days=7))
    assert len(exported(wiring)) == 2
    assert wiring.blobs.get("lake", first).version == version


def test_an_hour_that_is_not_over_is_left_for_later(wiring: Wiring) -> None:
    happened(wiring, timedelta())
    assert exported(wiring) == []


@pytest.mark.parametrize(("pending", "brought"), [([], False), (["not_inferior"], True), (["a", "b"], True)])
@pytest.mark.parametrize("name", ["gates-transition-requested", "gates-transition-judged"])
def test_only_requests_that_wait_for_full_gates_are_brought_to_where_these_run(
    name: str, pending: list[str], brought: bool
) -> None:
    sample = SAMPLES[name]
    identity = next(identity for identity, each in STACK.names.items() if each == "gates")
    (rule,) = STACK.triggers(identity, "EventBridgeRule").values()
    detail = {**sample["detail"], "data": {**sample["detail"]["data"], "pending": pending}}
    event = {"Source": sample["source"], "DetailType": sample["detail-type"], "Detail": json.dumps(detail)}
    assert eventbridge._matches_pattern(json.dumps(rule["Pattern"]), event) is brought
