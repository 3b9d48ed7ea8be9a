"""Whatever strangers say to any route of the MLflow side, the answer is JSON and none of 5xx."""

import base64
import gzip
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support.cloud import cloud
from support.http import Caller, handler_of, payload
from support.mlflow_desk import API, Desk

from fuzz.routes import FUNCTIONS, Said, Target, requests, targets
from modelwright.runtime import Function
from modelwright.storage import Blobs

TARGETS = targets()
LONG_S = float(os.environ.get("MODELWRIGHT_FUZZ_S", "600"))
_STEPS = 6
_QUIET = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)


@contextmanager
def silence() -> Iterator[None]:
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


@dataclass(frozen=True)
class Place:
    """Functions over one storage."""

    functions: Mapping[str, Function]
    blobs: Blobs


def in_memory() -> Place:
    desk = Desk()
    return Place(desk.functions, desk.blobs)


class World:
    """A workspace with a little of everything, and the names of it."""

    def __init__(self, place: Place, workspace: str) -> None:
        self.place, self.workspace = place, workspace
        self.known: dict[str, list[str]] = {"experiments": ["0"], "runs": [], "models": [], "tokens": [""], "paths": []}
        tracking, registry = (Caller(place.functions[name], workspace=workspace) for name in ("tracking", "registry"))
        experiment = tracking.ok("POST", f"{API}/experiments/create", {"name": "churn"})["experiment_id"]
        self.known["experiments"].append(experiment)
        for number in range(2):
            body = {"experiment_id": experiment, "start_time": 1000, "tags": [{"key": "team", "value": "a"}]}
            run = tracking.ok("POST", f"{API}/runs/create", body)["run"]["info"]["run_id"]
            metrics = [{"key": "acc", "value": 0.5 + number, "timestamp": 1000, "step": 0}]
            metrics.append({"key": "loss", "value": "NaN", "timestamp": 1, "step": 1})
            batch = {"run_id": run, "metrics": metrics, "params": [{"key": "lr", "value": "0.1"}]}
            tracking.ok("POST", f"{API}/runs/log-batch", batch)
            self.known["runs"].append(run)
            self.known["paths"].append(f"{experiment}/{run}/artifacts/model/MLmodel")
            place.blobs.put("artifacts", f"{workspace}/{self.known['paths'][-1]}", b"a: 1")
        body = {"experiment_id": experiment, "name": "m", "source_run_id": self.known["runs"][0]}
        model = tracking.ok("POST", f"{API}/logged-models", body)["model"]["info"]["model_id"]
        self.known["models"].append(model)
        registry.ok("POST", f"{API}/registered-models/create", {"name": "churn"})
        registry.ok("POST", f"{API}/model-versions/create", {"name": "churn", "source": "s3://b/k"})
        tracking.ok("POST", f"{API}/runs/update", {"run_id": self.known["runs"][1], "status": "FINISHED"})

    def send(self, said: Said) -> tuple[int, Any]:
        """Send a request and return status and JSON; fails if the answer is not as it must be."""
        target = quote(said.path, safe="/%:") + ("?" + _query(said.query) if said.query else "")
        body = said.body if isinstance(said.body, bytes) else json.dumps(said.body).encode("utf-8", "surrogatepass")
        event = payload(said.method, target, body, workspace=self.workspace, headers=dict(said.headers))
        answer = self.place.functions[said.function](event)
        text = answer["body"]
        raw = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        raw = gzip.decompress(raw) if answer["headers"].get("content-encoding") == "gzip" else raw
        status = answer["statusCode"]
        assert status < 500, (said, status, raw[:500])
        if status >= 400:
            self._is_error(said, answer["headers"], raw)
        is_json = answer["headers"].get("content-type") == "application/json"
        return status, json.loads(raw, parse_constant=_no_json) if is_json else None

    def learn(self, answer: Any) -> None:
        """Remember the page tokens of an answer."""
        token = answer.get("next_page_token") if isinstance(answer, dict) else None
        self.known["tokens"] += [token] if isinstance(token, str) else []

    @staticmethod
    def _is_error(said: Said, headers: dict[str, str], raw: bytes) -> None:
        assert headers["content-type"] == "application/json", (said, headers)
        error = json.loads(raw)
        assert isinstance(error["error_code"], str), (said, error)
        assert error["message"], (said, error)


def _no_json(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def _query(fields: Any) -> str:
    told = {k: [_plain(x) for x in v] if isinstance(v, list) else _plain(v) for k, v in fields.items()}
    return urlencode(told, doseq=True, errors="replace")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def visit(data: st.DataObject, first: Target, place: Place, workspace: str = "default") -> None:
    """Send a few requests, the first of them to a given route."""
    with silence():
        world = World(place, workspace)
        chosen = [first, *data.draw(st.lists(st.sampled_from(TARGETS), max_size=_STEPS - 1))]
        for target in chosen:
            _, answer = world.send(data.draw(requests(target)).named(world.known))
            world.learn(answer)


@pytest.mark.parametrize("target", TARGETS, ids=repr)
def test_a_route_answers_in_json_whatever_it_is_told(target: Target) -> None:
    @settings(_QUIET, max_examples=6)
    @given(st.data())
    def visits(data: st.DataObject) -> None:
        visit(data, target, in_memory())

    visits()


@pytest.fixture(scope="module")
def emulated() -> Iterator[Place]:
    with cloud() as running:
        wiring = running.wiring()
        yield Place({name: handler_of(name, wiring) for name in FUNCTIONS}, wiring.blobs)


@pytest.mark.fuzz
@pytest.mark.parametrize("where", ["memory", "aws"])
def test_ten_minutes_of_anything_find_no_fault(where: str, request: pytest.FixtureRequest) -> None:
    """Half of the time over memory, half over an emulator with DynamoDB's and S3's own limits."""
    emulated: Place | None = request.getfixturevalue("emulated") if where == "aws" else None
    workspaces = count()
    deadline, numbers = time.monotonic() + LONG_S / 2, count(time.time_ns())
    while time.monotonic() < deadline:

        @seed(next(numbers))
        @settings(_QUIET, max_examples=100, database=None)
        @given(st.data())
        def visits(data: st.DataObject) -> None:
            workspace = f"w{next(workspaces)}"
            visit(data, data.draw(st.sampled_from(TARGETS)), emulated or in_memory(), workspace)

        visits()


def test_the_messages_of_nearly_all_routes_are_found() -> None:
    unknown = {repr(target) for target in TARGETS if target.message is None}
    assert len(unknown) < len(TARGETS) / 4, sorted(unknown)
