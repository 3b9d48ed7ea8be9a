"""The commands as a person types them, on one stack that lives from the first test to the last."""

import json
import os
import socket
import sys
import sysconfig
from pathlib import Path

import pytest
from e2e import shell

from cli.conftest import Home
from modelwright.local.stack import Stack

pytestmark = pytest.mark.e2e


def test_up_detach_says_where_it_is_and_how_to_use_it(home: Home) -> None:
    assert home.up.code == 0, home.up
    assert f"http://127.0.0.1:{home.port}" in home.up.out
    assert "workspace default" in home.up.out
    assert 'eval "$(modelwright env' in home.up.out
    assert f"http://127.0.0.1:{home.port}/ is MLflow's" in home.up.out
    assert f"http://127.0.0.1:{home.port}/console is ours" in home.up.out
    assert "sign in with the MLFLOW_TRACKING_TOKEN of `modelwright env`" in home.up.out


def test_a_second_up_changes_nothing(home: Home) -> None:
    before = home.run("env").out
    assert home.run("up", "--detach").code == 0
    assert home.run("env").out == before
    running = Stack(home.folder).status()
    assert running is not None
    assert not running.changed


def test_status_says_where_it_runs_to_people_and_to_programs(home: Home) -> None:
    people, programs = home.run("status"), home.run("status", "--json")
    assert (people.code, programs.code) == (0, 0)
    found = json.loads(programs.out)
    assert (found["running"], found["endpoint"]) == (True, f"http://127.0.0.1:{home.port}")
    assert found["endpoint"] in people.out
    assert found["LandingBucketName"]


def test_status_and_env_of_an_empty_folder_fail(tmp_path: Path) -> None:
    said = shell.run("status", "--json", folder=tmp_path)
    assert (said.code, json.loads(said.out)) == (1, {"running": False})
    assert "does not run: start it with `modelwright up`" in shell.run("env", folder=tmp_path).complaint


def test_env_makes_a_shell_in_which_stock_clients_work(home: Home) -> None:
    script = """
        eval "$(modelwright env)" &&
        curl -sSf -H "Authorization: Bearer $MLFLOW_TRACKING_TOKEN" "$MODELWRIGHT_ENDPOINT/v1/status" && echo &&
        mlflow experiments create --experiment-name 'of a shell' && mlflow experiments search
    """
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    said = shell.execute(
        "bash", "-c", script, folder=home.folder, variables={"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    )
    assert said.code == 0, said
    assert json.loads(said.lines[0])
    assert "of a shell" in said.out


def test_init_and_apply_make_a_project_take_effect(home: Home) -> None:
    assert home.run("init", "flights").code == 0
    assert "exists already" in home.run("init", "flights").complaint
    said = home.run("apply", "flights")
    assert said.code == 0, said
    assert said.out.startswith("flights ")
    assert "3 views" in said.out
    again = home.run("apply", "flights", "--plan")
    assert (again.code, again.lines[0].partition(": ")[2]) == (0, "declares nothing new")
    assert [line.split()[0] for line in home.run("features", "list").lines[1:]] == [
        "carrier_departures", "origin_departures", "weather_now"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda text: text.replace("[project]", "[project"), "is no TOML"),
        (lambda text: text.replace('label = { source = "arrivals"', 'label = { source = "arivals"'), "arivals"),
        (lambda text: text.replace('views = ["weather_now"', 'views = ["weather_then"'), "weather_then"),
        (lambda text: text.replace('"trainer:train"', '""'), "trainer"),
        (lambda text: text.replace('trainer = "trainer:train"', ""), "trainer"),
    ],
    ids=["syntax", "source", "view", "empty trainer", "no trainer"],
)
def test_apply_of_a_broken_folder_says_what_is_wrong_in_one_line(
    home: Home, request: pytest.FixtureRequest, break_it: object, named: str
) -> None:
    folder = home.folder / f"broken_{request.node.callspec.id.replace(' ', '_')}"
    assert home.run("init", str(folder)).code == 0
    file = folder / "modelwright.toml"
    assert callable(break_it)
    broken = break_it(file.read_text())
    assert broken != file.read_text()
    file.write_text(broken)
    assert named in home.run("apply", str(folder)).complaint


def test_apply_names_a_module_that_does_not_import_and_a_missing_file(home: Home) -> None:
    folder = home.folder / "unimportable"
    home.run("init", str(folder))
    (folder / "features.py").write_text("import nothing_of_that_name\n")
    assert "features.py does not import" in home.run("apply", str(folder)).complaint
    assert "holds no modelwright.toml" in home.run("apply", str(home.folder)).complaint


def test_logs_tell_what_functions_printed(home: Home) -> None:
    home.run("log", "verify")
    everything, one = home.run("logs"), home.run("logs", "registry")
    assert (everything.code, one.code) == (0, 0)
    assert any("authorize" in line for line in everything.lines)
    assert one.lines
    assert all(" registry " in line for line in one.lines)
    assert "POST /v1/projects" in one.out


def test_a_stream_of_the_log_is_printed_oldest_first(home: Home) -> None:
    create_model(home)
    said = home.run("log", "MODEL#flights")
    assert said.code == 0, said
    assert said.lines[0].split()[0] == "1"
    assert "ModelRegistered" in said.lines[0] or "Model" in said.lines[0]
    assert home.run("log", "show", "PROJECT#flights").code == 0
    assert "there is no stream WS#default#MODEL#nobody" in home.run("log", "MODEL#nobody").complaint


def test_the_log_verifies_here_and_where_only_the_standard_library_is(home: Home) -> None:
    create_model(home)
    here = home.run("log", "verify")
    assert here.code == 0, here
    assert "verified" in here.out
    assert home.run("log", "export", "log.jsonl").code == 0
    from modelwright.governance import verifier

    alone = shell.execute(sys.executable, "-I", "-S", str(Path(verifier.__file__)), "log.jsonl", folder=home.folder)
    assert alone.code == 0, alone
    assert alone.out.split(":")[0] == here.out.split(":")[0]
    module = shell.execute(sys.executable, "-m", "modelwright.governance.verifier", "log.jsonl", folder=home.folder)
    assert module.out == alone.out


def test_a_changed_item_is_found_with_its_stream_and_sequence(home: Home) -> None:
    create_model(home)
    running = Stack(home.folder).status()
    assert running is not None
    dynamodb, table = running.client("dynamodb"), running.outputs["LogTableName"]
    key = {"pk": {"S": "WS#default#MODEL#flights"}, "sk": {"S": f"{1:012d}"}}
    item = dynamodb.get_item(TableName=table, Key=key)["Item"]
    forged = {**item, "envelope": {"S": item["envelope"]["S"].replace("administrator", "administrat0r")}}
    assert forged != item
    dynamodb.put_item(TableName=table, Item=forged)
    try:
        said = home.run("log", "verify")
        assert said.code == 1
        assert "WS#default#MODEL#flights is broken at sequence 1: its content is not what was hashed" in said.out
        assert "BROKEN" in said.out
        assert home.run("log", "export", "forged.jsonl").code == 0
        assert home.run("log", "verify", "forged.jsonl").code == 1
    finally:
        dynamodb.put_item(TableName=table, Item=item)
    assert home.run("log", "verify").code == 0


def test_a_stack_is_reached_by_endpoint_from_any_folder(home: Home, tmp_path: Path) -> None:
    assert "which stack?" in shell.run("log", "MODEL#flights", folder=tmp_path).complaint
    endpoint = f"http://127.0.0.1:{home.port}"
    token = Stack(home.folder).env()["MLFLOW_TRACKING_TOKEN"]
    there = ("log", "show", "--endpoint", endpoint, "PROJECT#flights")
    assert shell.run(*there, folder=tmp_path, variables={"MLFLOW_TRACKING_TOKEN": token}).code == 0
    assert shell.run(*there, folder=tmp_path).code == 1
    gone = f"http://127.0.0.1:{shell.free_port()}"
    assert "does not answer" in shell.run("log", "show", "--endpoint", gone, "X#y", folder=tmp_path).complaint


def test_a_port_in_use_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = shell.run("up", "--detach", "--port", str(port), folder=tmp_path)
    assert f"port {port} is in use" in said.complaint


def test_another_port_is_refused_while_it_runs(home: Home) -> None:
    said = home.run("up", "--detach", "--port", str(shell.free_port()))
    assert f"runs on port {home.port}" in said.complaint


def test_down_stops_it_once_and_up_goes_on_where_it_was(home: Home) -> None:
    create_model(home)
    assert home.run("down").out == "stopped\n"
    assert home.run("down").out == "it did not run\n"
    assert home.run("status").code == 1
    assert home.run("up", "--detach").code == 0
    assert home.run("log", "MODEL#flights").code == 0
    assert home.run("log", "verify").code == 0


def create_model(home: Home) -> None:
    """Register the model ``flights`` unless it is."""
    if home.run("log", "MODEL#flights").code == 0:
        return
    from modelwright.local.stacks import connect

    connect("", home.folder).post("/api/2.0/mlflow/registered-models/create", {"name": "flights"})
