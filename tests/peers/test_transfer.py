"""``modelwright import`` and ``export`` against real MLflow databases, folders and servers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from e2e import shell
from support.client import needs_mlflow
from support.http import serve
from support.mlflow_desk import API, Desk

from modelwright.runtime import Function

pytestmark = [pytest.mark.peers, needs_mlflow]

SCRIPT = Path(__file__).parents[1] / "transfer" / "mlflow_store.py"
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "OMP_NUM_THREADS": "1",
}


def session(folder: Path, url: str, *steps: str) -> shell.Said:
    """Do steps in one interpreter, with a stack of ours at ``url``."""
    token = "mw.default.0123456789abcdef.secret"
    ours = {"MODELWRIGHT_ENDPOINT": url, "MODELWRIGHT_TOKEN": token, "PYTHONWARNINGS": "ignore"}
    return shell.execute(sys.executable, str(SCRIPT), *steps, folder=folder, limit_s=300, variables={**QUIET, **ours})


@dataclass
class Filled:
    """A database of MLflow's with something of everything, and all that it says."""

    folder: Path
    uri: str
    said: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("filled")
    found = Filled(folder, f"sqlite:///{folder}/a.db")
    made = session(folder, "", f"fill|{found.uri}|7", f"dump|{found.uri}|a.json")
    assert made.code == 0, made.err[-3000:]
    found.said = json.loads((folder / "a.json").read_text())
    return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_database_comes_back_whole_from_us_and_copying_twice_is_copying_once(
    filled: Filled, desk: Desk, tmp_path: Path
) -> None:
    with serve(tuple(desk.functions.values()), desk.blobs) as url:
        said = session(
            tmp_path,
            url,
            f"modelwright|import|mlflow|{filled.uri}|--deleted",
            f"modelwright|import|mlflow|{filled.uri}|--deleted",
            "modelwright|export|mlflow|sqlite:///b.db|--deleted",
            "dump|sqlite:///b.db|b.json",
        )
    assert said.out.count("exit status 0") == 3, said.out + said.err[-3000:]
    assert said.out.count("verified: all of it is there") == 3
    assert json.loads((tmp_path / "b.json").read_text()) == filled.said


def test_a_folder_goes_over_us_to_a_server(desk: Desk, tmp_path: Path) -> None:
    source = tmp_path / "mlruns"
    with serve(tuple(desk.functions.values()), desk.blobs) as url, server(tmp_path) as theirs:
        said = session(
            tmp_path,
            url,
            f"fill|{source}|3",
            f"dump|{source}|a.json",
            f"modelwright|import|mlflow|{source}|--deleted",
            f"modelwright|export|mlflow|{theirs}|--deleted",
            f"dump|{theirs}|b.json",
        )
    assert said.out.count("exit status 0") == 2, said.out + said.err[-3000:]
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    for dump in (before, after):
        for experiment in dump["experiments"].values():
            for run in experiment["runs"].values():
                run["latest"] = sorted(run["latest"])  # a folder orders the values of one step in its own way
            for model in experiment["models"].values():
                model["tags"].pop("mlflow.modelVersions", None)  # which a server writes by itself
    assert after == before


def test_a_killed_import_goes_on_without_doubles(filled: Filled, desk: Desk, tmp_path: Path) -> None:
    killer = Killer()
    functions = cast(Sequence[Function], [killer.watching(function) for function in desk.functions.values()])
    with serve(functions, desk.blobs) as url:
        variables = {**shell.environment(QUIET), "MODELWRIGHT_ENDPOINT": url, "MODELWRIGHT_TOKEN": "mw.default.0.s"}
        command = [shell.COMMAND, "import", "mlflow", filled.uri, "--deleted"]
        for requests_answered in (60, 120):
            with killer.aiming(requests_answered):
                process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL)
                killer.process = process
                assert process.wait(120) == -signal.SIGKILL
        done = session(tmp_path, url, f"modelwright|import|mlflow|{filled.uri}|--deleted")
    assert "verified: all of it is there" in done.out, done.out + done.err[-3000:]
    runs = [run for experiment in filled.said["experiments"].values() for run in experiment["runs"]]
    ids = [str(n) for n in range(len(filled.said["experiments"]))]
    asked = {"experiment_ids": ids, "run_view_type": "ALL"}
    found = desk.tracking.ok("POST", f"{API}/runs/search", asked)["runs"]
    assert sorted(run["info"]["run_name"] for run in found) == sorted(runs)


def test_what_lies_broken_at_the_source_is_named_and_the_rest_goes_on(
    filled: Filled, desk: Desk, tmp_path: Path
) -> None:
    lost = next(path for path in sorted((filled.folder / "mlruns" / "1").rglob("*")) if path.name == "model.pkl")
    kept = lost.rename(lost.with_name("kept"))
    lost.symlink_to("nowhere")
    with serve(tuple(desk.functions.values()), desk.blobs) as url:
        said = session(
            tmp_path,
            url,
            f"modelwright|import|mlflow|{filled.uri}|--experiment|chrun",
            f"modelwright|import|mlflow|{filled.uri}|--experiment|churn|--dry-run",
            f"modelwright|import|mlflow|{filled.uri}|--experiment|churn",
        )
    lost.unlink()
    kept.rename(lost)
    assert [line[-1] for line in said.lines if line.startswith("exit status")] == ["1", "0", "1"], said
    assert "there is no experiment chrun; there are: Default, churn" in said.err
    counted, copied = said.out.split("exit status 0")
    assert "nothing copied" in counted
    (line,) = [line for line in said.lines if "cannot be copied" in line]
    model = lost.relative_to(filled.folder / "mlruns" / "1" / "models").parts[0]
    assert line.startswith(f"DIFFERS: model {model}")
    assert "the file model.pkl cannot be copied: " in line
    for kind in ("runs", "metric points", "logged models", "files", "bytes"):
        assert numbers(copied, kind)[0] == numbers(counted, kind)[0], kind
    assert numbers(copied, "runs")[0] == numbers(copied, "runs")[1]
    assert numbers(copied, "files")[1] == numbers(copied, "files")[0] - 1
    assert "NOT all of it is there" in copied


def numbers(table: str, kind: str) -> list[int]:
    """Return the numbers of a line of a table."""
    (line,) = [line for line in table.splitlines() if line[:18].strip() == kind]
    return [int(word.replace(",", "")) for word in line[18:].split() if word[0].isdigit()]


@dataclass
class Killer:
    """Kills a process at the moment when a request of its was answered, but has not got the answer yet."""

    left: int = 0
    process: subprocess.Popen[bytes] | None = None

    def watching(self, function: Function) -> "Watching":
        return Watching(function, self)

    @contextmanager
    def aiming(self, after: int) -> Iterator[None]:
        self.left, self.process = after, None
        yield

    def answered(self) -> None:
        self.left -= 1
        if self.left == 0:
            assert self.process is not None
            self.process.kill()


@dataclass
class Watching:
    """A function whose answers are counted."""

    function: Function
    killer: Killer

    @property
    def routes(self) -> Any:
        return self.function.routes

    def __call__(self, event: dict[str, Any]) -> Any:
        answer = self.function(event)
        self.killer.answered()
        return answer


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run ``mlflow server`` over an empty database, and give its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db",
        "--artifacts-destination", str(folder / "served"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=shell.environment(QUIET), stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
