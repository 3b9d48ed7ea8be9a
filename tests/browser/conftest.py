"""A gallery of runs in a workspace of its own, on the stack that all tests share, and a browser before it."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from e2e import shell
from e2e.desk import Desk, token_of_workspace
from playwright.sync_api import Browser, StorageState, expect, sync_playwright

from browser.visitor import PATIENCE_MS, Visitor
from modelwright.client import TOKEN

WORKSPACE = "gallery"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Gallery:
    """What is there to be looked at.

    Attributes:
        experiment: its id; it is called vineyard.
        runs: ids of barrel-0 to barrel-9.
        bottled: id of the run with a model, files and a data set.
        model: id of the logged model.
    """

    url: str
    token: str
    experiment: str
    runs: list[str]
    bottled: str
    model: str

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Return what the API says."""
        headers = {"authorization": f"Bearer {self.token}"}
        answer = requests.request(method, f"{self.url}/api/2.0/mlflow/{path}", headers=headers, timeout=60, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def experiment_with(self, name: str, *runs: str) -> str:
        """Return a new experiment's id; its runs started one after the other."""
        experiment = str(self.ask("POST", "experiments/create", json={"name": name})["experiment_id"])
        for start, run in enumerate(runs, 1):
            body = {"experiment_id": experiment, "run_name": run, "start_time": start}
            self.ask("POST", "runs/create", json=body)
        return experiment


@pytest.fixture(scope="package")
def gallery(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """The runs of ``gallery_script.py``."""
    token = token_of_workspace(desk.running, WORKSPACE)
    script = str(Path(__file__).with_name("gallery_script.py"))
    variables = {**desk.running.env(), TOKEN: token, **QUIET}
    folder = tmp_path_factory.mktemp("gallery")
    said = shell.execute(sys.executable, script, folder=folder, variables=variables)
    assert said.code == 0, said.err[-3000:]
    return Gallery(desk.running.url, token, **json.loads(said.lines[-1]))


@pytest.fixture(scope="package")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures are kept; pytest keeps the folders of its last runs, and ``--basetemp`` says where."""
    return tmp_path_factory.mktemp("screenshots", numbered=False)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def visiting(browser: Browser, url: str, shots: Path, state: StorageState | None = None) -> Iterator[Visitor]:
    """Yield a visitor of a stack, who must not have met a fault in the end."""
    context = browser.new_context(viewport={"width": 1500, "height": 950}, storage_state=state)
    visitor = Visitor(context.new_page(), url, shots)
    yield visitor
    context.close()
    assert visitor.faults == []


@pytest.fixture
def stranger(browser: Browser, gallery: Gallery, shots: Path) -> Iterator[Visitor]:
    """A visitor who has not signed in."""
    yield from visiting(browser, gallery.url, shots)


@pytest.fixture(scope="package")
def signed_in(browser: Browser, gallery: Gallery) -> StorageState:
    """The cookies of a browser in which somebody signed in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{gallery.url}/login?to=/health")
    page.get_by_label("Token").fill(gallery.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{gallery.url}/health")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def visitor(browser: Browser, gallery: Gallery, shots: Path, signed_in: StorageState) -> Iterator[Visitor]:
    """A visitor who has signed in."""
    yield from visiting(browser, gallery.url, shots, signed_in)
