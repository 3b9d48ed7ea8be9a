"""One stack, started once: what the template promises, and what a laptop does to it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from modelwright.errors import LocalStackError
from modelwright.local.packaging import Sources
from modelwright.local.stack import Running, Stack

pytestmark = pytest.mark.e2e

RIGHT = {"Authorization": "Bearer right"}


def eventually(found: Callable[[], Any], limit_s: float = 15.0) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := found()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Table:
    """The project's table, where its functions note what they saw."""

    running: Running

    def put(self, pk: str, sk: str) -> None:
        item = {"pk": {"S": pk}, "sk": {"S": sk}}
        self.running.client("dynamodb").put_item(TableName=self.running.outputs["Table"], Item=item)

    def seen(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return ``{id: event}`` of the events of one detail type that ``worker`` saw."""
        items = self._query(f"SEEN#{kind}")
        return {each["sk"]["S"]: json.loads(each["event"]["S"]) for each in items}

    def workers(self, kind: str) -> set[str]:
        return {each["pid"]["N"] for each in self._query(f"SEEN#{kind}")}

    def _query(self, pk: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.running.client("dynamodb").query(
            TableName=self.running.outputs["Table"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )["Items"]
        return found


@pytest.fixture
def table(running: Running) -> Table:
    return Table(running)


def publish(running: Running, detail_type: str, *, source: str = "modelwright", **detail: Any) -> str:
    identity = detail.setdefault("id", uuid.uuid4().hex)
    entry = {
        "EventBusName": running.outputs["Bus"],
        "Source": source,
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
    }
    assert running.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    return str(identity)


def letters(running: Running, queue: str) -> list[dict[str, Any]]:
    found = running.client("sqs").receive_message(QueueUrl=running.outputs[queue], MaxNumberOfMessages=10)
    return [json.loads(each["Body"]) for each in found.get("Messages", ())]


def test_it_listens_on_loopback_alone(running: Running, stack: Stack) -> None:
    pid = (stack.home / "emulator.lock").read_text()
    listening = subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout.splitlines()
    addresses = [line.split()[4] for line in listening if f"pid={pid}," in line]
    assert addresses == [f"127.0.0.1:{running.port}"]


@pytest.mark.parametrize("path", ["/health", "/login"])
def test_open_routes_need_no_token(running: Running, path: str) -> None:
    answer = requests.get(running.url + path, timeout=20)
    assert (answer.status_code, answer.json()["path"]) == (200, path)


def test_the_authorizer_refuses_and_admits(running: Running) -> None:
    assert requests.get(f"{running.url}/x", timeout=20).status_code == 403
    answer = requests.get(f"{running.url}/x/y?a=1&a=2", headers={**RIGHT, "Cookie": "a=b; c=d"}, timeout=20)
    event = answer.json()["event"]
    assert event["rawPath"] == "/x/y"
    assert event["rawQueryString"] == "a=1&a=2"
    assert event["requestContext"]["authorizer"]["lambda"] == {"actor": "ada"}
    assert event["cookies"] == ["a=b", "c=d"]
    assert event["headers"]["host"] == f"127.0.0.1:{running.port}"
    assert "cookie" not in event["headers"]


def test_an_image_function_answers(running: Running) -> None:
    answer = requests.post(f"{running.url}/v1/predict/churn", headers=RIGHT, json={}, timeout=20)
    assert answer.text == "pydantic"


def test_a_function_has_its_roles_rights_and_no_more(running: Running) -> None:
    put = requests.post(f"{running.url}/put", headers=RIGHT, json={"pk": "A", "sk": "1"}, timeout=20)
    assert put.status_code == 200
    scan = requests.get(f"{running.url}/forbidden", headers=RIGHT, timeout=20)
    assert "AccessDeniedException" in scan.text


def test_a_presigned_url_of_a_function_works_and_is_verified(running: Running) -> None:
    running.client("s3").put_object(Bucket=running.outputs["Landing"], Key="hello.txt", Body=b"hi")
    url = requests.get(f"{running.url}/presign", headers=RIGHT, timeout=20).json()["url"]
    assert requests.get(url, timeout=20).text == "hi"
    assert requests.get(url.replace("hello", "other"), timeout=20).status_code == 403


def test_rules_match_patterns(running: Running, table: Table) -> None:
    for refused in ({"detail_type": "Ignored"}, {"detail_type": "Did", "source": "other"}):
        publish(running, **refused)
    wanted = publish(running, "Did")
    eventually(lambda: wanted in table.seen("Did"))
    assert list(table.seen("Did")) == [wanted]
    assert table.seen("Ignored") == {}


def test_a_failed_event_is_retried_and_then_dead_lettered(running: Running) -> None:
    failed = publish(running, "Failed", fail=True)
    (letter,) = eventually(lambda: letters(running, "DeadLetters"))
    assert letter["requestPayload"]["detail"]["id"] == failed
    assert letter["responsePayload"]["errorMessage"] == "told to fail"


def test_a_burst_of_events_is_queued_and_none_is_lost(running: Running, table: Table) -> None:
    wanted = {publish(running, "Burst", sleep_s=0.02) for _ in range(30)}
    eventually(lambda: set(table.seen("Burst")) == wanted)
    assert len(table.workers("Burst")) <= max(2, min(4, os.cpu_count() or 2))


def test_an_upload_is_an_event_with_its_version(running: Running, table: Table) -> None:
    bucket = running.outputs["Landing"]
    version = running.client("s3").put_object(Bucket=bucket, Key="rows.csv", Body=b"1")["VersionId"]

    def found() -> bool:
        objects = [event["detail"]["object"] for event in table.seen("Object Created").values()]
        return any(each.get("version-id") == version and each["key"] == "rows.csv" for each in objects)

    eventually(found)


def test_the_stream_publishes_new_log_items_only(running: Running, table: Table) -> None:
    table.put("OTHER", "unseen")
    table.put("LOG#1", "first")
    eventually(lambda: "first" in table.seen("Published"))
    assert "unseen" not in table.seen("Published")


def test_one_bad_record_of_a_stream_goes_to_its_queue_and_the_rest_arrives(running: Running, table: Table) -> None:
    for sk in ("before", "poison", "after"):
        table.put("LOG#2", sk)
    eventually(lambda: {"before", "after"} <= set(table.seen("Published")))
    letter = eventually(lambda: letters(running, "StreamDeadLetters"))[0]
    assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"


def test_a_schedule_sends_its_own_event(running: Running, table: Table) -> None:
    schedules = running.client("scheduler")
    target = schedules.get_schedule(Name="modelwright-tick")["Target"]
    assert target["EventBridgeParameters"] == {"DetailType": "ScheduleDue", "Source": "modelwright.schedule"}
    at = datetime.now(UTC) + timedelta(seconds=1)
    schedules.create_schedule(
        Name="once",
        ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={**target, "Input": '{"id": "tick", "at": "<aws.scheduler.scheduled-time>"}'},
    )
    event = eventually(lambda: table.seen("ScheduleDue"))["tick"]
    assert event["source"] == "modelwright.schedule"
    assert datetime.fromisoformat(event["detail"]["at"]) - at < timedelta(minutes=1)


def test_entry_points_are_found_inside_functions(running: Running, table: Table) -> None:
    wanted = publish(running, "Did")
    eventually(lambda: wanted in table.seen("Did"))
    item = running.client("dynamodb").get_item(
        TableName=running.outputs["Table"], Key={"pk": {"S": "SEEN#Did"}, "sk": {"S": wanted}}
    )["Item"]
    assert item["groups"]["N"] == "1"


def test_a_locked_object_cannot_be_deleted(running: Running) -> None:
    objects, bucket = running.client("s3"), running.outputs["Audit"]
    version = objects.put_object(Bucket=bucket, Key="root", Body=b"1")["VersionId"]
    with pytest.raises(ClientError, match="object lock"):
        objects.delete_object(Bucket=bucket, Key="root", VersionId=version)


def test_logs_tell_what_functions_printed(running: Running, stack: Stack) -> None:
    requests.get(f"{running.url}/health", timeout=20)
    lines = list(stack.logs("echo"))
    assert lines[-1].endswith("INFO    echoed  c-1")
    assert not [line for line in lines if "authorize " in line]


def test_the_environment_is_what_clients_take(running: Running, stack: Stack) -> None:
    env = stack.env()
    assert env["MLFLOW_TRACKING_URI"] == env["AWS_ENDPOINT_URL"] == running.url
    assert stat.S_IMODE((stack.home / "stack.json").stat().st_mode) == 0o600
    assert (stack.home / ".gitignore").read_text() == "*\n"


def test_a_second_up_deploys_only_what_changed(running: Running, stack: Stack, project: Path) -> None:
    assert not deployed(stack, workspace="first").changed
    handler = project / "functions" / "echo" / "handler.py"
    before = handler.read_text()
    handler.write_text(before.replace('{"path": path,', '{"path": path, "new": True,'))
    try:
        assert deployed(stack, workspace="first").changed
        assert requests.get(f"{running.url}/health", timeout=20).json()["new"] is True
    finally:
        handler.write_text(before)
    assert deployed(stack, workspace="second").changed
    event_env = running.client("lambda").get_function_configuration(FunctionName=running.resources["EchoFunction"])
    assert event_env["Environment"]["Variables"]["WORKSPACE"] == "second"


def deployed(stack: Stack, **given: Any) -> Running:
    running = stack.up(**given)
    assert running is not None
    return running


def test_bootstrap_runs_after_each_deploy_and_is_remembered(stack: Stack) -> None:
    def token(running: Running) -> dict[str, str]:
        return {"MLFLOW_TRACKING_TOKEN": running.extra.get("MLFLOW_TRACKING_TOKEN", "first") + "+"}

    assert deployed(stack, bootstrap=token).extra == {"MLFLOW_TRACKING_TOKEN": "first+"}
    assert deployed(stack, bootstrap=token).extra == {"MLFLOW_TRACKING_TOKEN": "first++"}
    assert stack.env()["MLFLOW_TRACKING_TOKEN"] == "first++"


def test_a_parameter_the_template_lacks_is_named(stack: Stack) -> None:
    with pytest.raises(LocalStackError, match="no parameter Colour"):
        stack.up(parameters={"Colour": "red"})


def test_a_failing_resource_is_named_with_its_reason_and_mended_by_the_next_up(stack: Stack, project: Path) -> None:
    template = project / "template.yaml"
    before = template.read_text()
    broken = "Resources:\n  Wrong: {Type: AWS::SSM::Parameter, Properties: {Type: SecureString, Value: x}}\n"
    template.write_text(before.replace("Resources:\n", broken, 1))
    try:
        with pytest.raises(
            LocalStackError, match=r"stack modelwright: Wrong \(AWS::SSM::Parameter\) failed: .*SecureString"
        ):
            stack.up(workspace="third")
    finally:
        template.write_text(before)
    assert deployed(stack, workspace="third").changed


def test_a_first_up_that_failed_is_mended_by_the_next(tmp_path: Path, project: Path, sources: Sources) -> None:
    wrong = tmp_path / "template.yaml"
    wrong.write_text(
        "Resources:\n  Wrong: {Type: AWS::SSM::Parameter, Properties: {Type: SecureString, Value: x}}\n"
        "Parameters: {Workspace: {Type: String}}\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LocalStackError, match="Wrong"):
        Stack(tmp_path, replace(sources, template=wrong)).up(port=port)
    mended = Stack(tmp_path, sources)
    try:
        assert deployed(mended).outputs["Table"]
    finally:
        mended.reset()


def test_a_taken_port_is_named(tmp_path: Path, sources: Sources, running: Running) -> None:
    with pytest.raises(LocalStackError, match=f"port {running.port} is in use"):
        Stack(tmp_path, sources).up(port=running.port)


def test_a_running_stack_keeps_its_port(stack: Stack) -> None:
    with pytest.raises(LocalStackError, match="stop it with `modelwright down`"):
        stack.up(port=1)


def test_a_stack_goes_on_where_it_was(running: Running, stack: Stack, table: Table) -> None:
    before = table.seen("Did")
    up = deployed(stack, workspace="third")
    assert stack.down()
    assert not stack.down()
    assert stack.status() is None
    with pytest.raises(LocalStackError, match="does not run"):
        stack.env()
    assert workers_of(stack) == []
    again = deployed(stack, workspace="third")
    assert not again.changed
    assert again.outputs == up.outputs
    assert table.seen("Did") == before
    wanted = publish(running, "Did")
    eventually(lambda: wanted in table.seen("Did"))


def workers_of(stack: Stack) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(stack.home) in line]


def test_a_killed_emulator_leaves_no_stale_pid_and_starts_again(running: Running, stack: Stack) -> None:
    os.kill(int((stack.home / "emulator.lock").read_text()), signal.SIGKILL)
    eventually(lambda: stack.status() is None)
    eventually(lambda: workers_of(stack) == [])
    deployed(stack, workspace="third")
    assert requests.get(f"{running.url}/health", timeout=20).status_code == 200


FOREGROUND = """
import sys
from pathlib import Path
from modelwright.local.packaging import Sources
from modelwright.local.stack import Stack
root = Path(sys.argv[1])
Stack(Path(sys.argv[2]), Sources.at(root, root / "src" / "modelwright")).up(
    port=int(sys.argv[3]), detach=False, say=lambda line: print(line, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_shows_outcomes_and_ends_cleanly(project: Path, tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", FOREGROUND, str(project), str(tmp_path), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as shown:
        assert shown.stdout is not None
        assert shown.stdout.readline() == f"http://127.0.0.1:{port} is ready; Ctrl-C stops it\n"
        time.sleep(0.5)
        requests.get(f"http://127.0.0.1:{port}/health", timeout=20)
        assert "echo         echoed" in shown.stdout.readline()
        shown.send_signal(number)
        assert shown.communicate(timeout=60)[0] == "stopping, and saving what it holds\n"
    assert shown.returncode == 0
    assert workers_of(Stack(tmp_path)) == []
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
