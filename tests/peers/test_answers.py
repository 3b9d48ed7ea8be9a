"""Our answers beside those of MLflow's own server: the same requests, call by call, errors included."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.client import needs_mlflow
from support.http import handler_of, serve
from support.mlflow_desk import Desk

from peers.conversation import Said, Step, talk
from peers.requests_to_both import STEPS

pytestmark = [pytest.mark.peers, needs_mlflow]
START_LIMIT_S = 120
TOKEN = "mw.default.0123456789abcdef.secret"
Answers = dict[str, Said]
MORE = {"user_id", "aliases", "version"}
"""What we say where MLflow does not: who made a version, all its aliases, and that a version is no number."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server, on SQLite and a folder."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            await_health(url, server, folder / "log")
            yield url
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def await_health(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    pytest.fail(f"mlflow's server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def answers(reference: str) -> tuple[Answers, Answers]:
    """What both said: theirs and ours."""
    desk = Desk()
    with serve((*desk.functions.values(), handler_of("console", desk.wiring)), desk.blobs) as url:
        ours = talk(url, STEPS, {"authorization": f"Bearer {TOKEN}"})
    return talk(reference, STEPS, {}), ours


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.replace(" ", "_"))
def test_an_answer_is_that_of_mlflow(step: Step, answers: tuple[Answers, Answers]) -> None:
    theirs, ours = (side[step.name] for side in answers)
    if step.known:
        assert theirs != ours, f"they no longer differ: {step.known}"
        assert ours.status < 500
    else:
        assert ours.without(theirs, MORE) == theirs


UNKNOWN = (
    ("GET", "/api/2.0/mlflow/nope"),
    ("GET", "/ajax-api/2.0/mlflow/users/current"),
    ("POST", "/api/3.0/mlflow/scorers/list"),
    ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
    ("GET", "/api/2.0/mlflow/webhooks"),
    ("GET", "/graphql"),
    ("DELETE", "/api/2.0/mlflow/runs/get"),
    ("GET", "/nope"),
    ("PATCH", "/"),
    ("POST", "/api/1.0/mlflow/runs/get"),
)


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_what_we_do_not_have_is_told_in_the_protocols_form(method: str, path: str) -> None:
    desk = Desk()
    with serve((*desk.functions.values(), handler_of("console", desk.wiring)), desk.blobs) as url:
        answer = requests.request(method, url + path, timeout=30)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
