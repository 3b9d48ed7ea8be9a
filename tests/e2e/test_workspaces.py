"""What one workspace holds, another does not see, whichever way it asks."""

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
import requests

from e2e.desk import OTHER, Desk
from modelwright.local.packaging import Sources

pytestmark = pytest.mark.e2e

MARK = "zebrafish"
ML = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Held:
    """What the first workspace holds, by what names it."""

    experiment: str
    run: str
    logged_model: str
    quarantine: str
    token_id: str
    trace: str
    dataset: str
    webhook: str
    file: str

    @property
    def secrets(self) -> set[str]:
        ids = {self.run, self.logged_model, self.quarantine, self.token_id, self.trace, self.dataset, self.webhook}
        return {MARK, *ids}


@pytest.fixture(scope="module")
def held(desk: Desk) -> Held:
    def made(path: str, body: dict[str, Any]) -> Any:
        answer = desk.ask("POST", path, json=body)
        assert answer.ok, (path, answer.text)
        return answer.json()

    experiment = made(f"{ML}/experiments/create", {"name": f"{MARK} experiment"})["experiment_id"]
    run = made(f"{ML}/runs/create", {"experiment_id": experiment, "run_name": f"{MARK} run", "start_time": 1})
    run_id = run["run"]["info"]["run_id"]
    metric = {"key": MARK, "value": 1.0, "timestamp": 1, "step": 0}
    made(f"{ML}/runs/log-batch", {"run_id": run_id, "metrics": [metric], "params": [{"key": "p", "value": MARK}]})
    logged = made(
        f"{ML}/logged-models", {"experiment_id": experiment, "name": f"{MARK}-model", "source_run_id": run_id}
    )
    model_id = logged["model"]["info"]["model_id"]
    made(f"{ML}/registered-models/create", {"name": MARK, "description": MARK})
    source = f"mlflow-artifacts:/{experiment}/{run_id}/artifacts/model"
    made(f"{ML}/model-versions/create", {"name": MARK, "source": source, "run_id": run_id})
    made(f"{ML}/registered-models/alias", {"name": MARK, "alias": "blue", "version": "1"})
    trace = f"tr-{7:032x}"
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": place, "request_time": "2026-03-02T10:00:00Z", "state": "OK"}
    made("/api/3.0/mlflow/traces", {"trace": {"trace_info": {**info, "tags": {"t": MARK}}}})
    asked = {"name": f"{MARK} questions", "experiment_ids": [experiment]}
    dataset = made("/api/3.0/mlflow/datasets/create", asked)["dataset"]["dataset_id"]
    hook = {"name": MARK, "url": f"https://198.41.0.4/{MARK}", "events": ["model_version.created"]}
    webhook = made("/v1/webhooks", {**hook, "status": "DISABLED"})["webhook"]["webhook_id"]
    file = f"{experiment}/{run_id}/artifacts/{MARK}.txt"
    assert desk.ask("PUT", f"{FILES}/{file}", data=MARK.encode()).ok
    desk.land(f"nowhere/{MARK}.csv", b"1", datetime(2012, 7, 1, tzinfo=UTC))
    found = desk.ask("GET", "/v1/quarantine").json()["quarantines"]
    quarantine = next(one["id"] for one in found if MARK in one["upload_key"])
    grants = [{"role": "reader"}]
    token = made("/v1/access/tokens", {"actor": MARK, "grants": grants})["token"]
    return Held(experiment, run_id, model_id, quarantine, token.split(".")[2], trace, dataset, webhook, file)


def get_routes() -> Iterator[str]:
    """Yield the path of every route of every function that answers GET to callers with a token."""
    for file in sorted(Sources.find().functions.glob("*/handler.py")):
        spec = importlib.util.spec_from_file_location(f"routes_of_{file.parent.name}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        asked = [route for route in module.handler.routes if route.method in ("GET", "ANY")]
        yield from (each.path for each in asked if not each.open or each.path.startswith("/console/"))


def test_every_get_route_keeps_the_first_workspace_to_itself(desk: Desk, held: Held) -> None:
    shown, paths = "", sorted(set(get_routes()))
    assert len(paths) > 20
    for path in paths:
        for asked in requests_for(path, held):
            mine, theirs = desk.ask("GET", asked), desk.ask("GET", asked, token=desk.other)
            assert mine.status_code < 500, (asked, mine.text)
            assert theirs.status_code < 500, (asked, theirs.text)
            shown += mine.text + mine.headers.get("location", "")
            found = {secret for secret in held.secrets if secret in without_echo(theirs, asked)}
            assert not found, (asked, theirs.text)
    unseen = {secret for secret in held.secrets if secret not in shown}
    assert not unseen, "the first workspace was not shown these itself, so the test could not have failed"


def requests_for(path: str, held: Held) -> list[str]:
    """Return a path with every parameter filled with what the first workspace holds."""
    streams = [f"WS#default#MODEL#{MARK}", f"WS#default#RUN#{held.run}", f"WS#default#EXPERIMENT#{held.experiment}"]
    values = {
        "api": ["api"],
        "api_version": ["2.0"],
        "model": [MARK, "flights"],
        "name": [MARK],
        "kind": ["model", "feature", "dataset"],
        "model_id": [held.logged_model],
        "version": ["1"],
        "stream": [quote(stream, safe="") for stream in streams],
        "path": [held.file, f"../default/{held.file}", quote(f"../default/{held.file}", safe="")],
        "id": [held.quarantine],
        "source": ["weather"],
        "training_id": ["x"],
        "request_id": [held.trace],
        "trace_id": [held.trace],
        "dataset_id": [held.dataset],
        "content": ["0" * 64],
        "webhook_id": [held.webhook],
        "service": ["flights"],
        "proof_id": ["x"],
        "export": ["x"],
        "backfill_id": ["x"],
        "erasure_id": ["x"],
        "job_id": ["x"],
        "digest": ["0" * 64],
    }
    filled = [path]
    for name in re.findall(r"<(?:path:)?(\w+)>", path):
        parts = [f"<path:{name}>", f"<{name}>"]
        filled = [each.replace(parts[0], value).replace(parts[1], value) for each in filled for value in values[name]]
    told = {
        "experiment_id": held.experiment,
        "experiment_name": f"{MARK} experiment",
        "run_id": held.run,
        "run_uuid": held.run,
        "name": MARK,
        "alias": "blue",
        "version": "1",
        "metric_key": MARK,
        "path": f"{MARK}.txt" if path.endswith("get-artifact") else f"{held.experiment}/{held.run}/artifacts",
        "max_results": "10",
        "run_ids": held.run,
        "trace_id": held.trace,
        "trace_ids": held.trace,
        "request_id": held.trace,
        "experiment_ids": held.experiment,
        "artifact_file_path": f"{MARK}.txt",
        "actor": "administrator",
        "action": "models:read",
        "resource": "model/x",
        "q": MARK,
    }
    wanted = {
        "experiments/get": ["experiment_id"],
        "experiments/get-by-name": ["experiment_name"],
        "experiments/search": ["max_results"],
        "runs/get": ["run_id"],
        "metrics/get-history": ["run_id", "metric_key"],
        "metrics/get-history-bulk": ["run_id", "metric_key"],
        "metrics/get-history-bulk-interval": ["run_ids", "metric_key", "max_results"],
        "artifacts/files": ["artifact_file_path"],
        "model-versions/get-artifact": ["name", "version", "path"],
        "/get-artifact": ["run_id", "path"],
        "get-trace-artifact": ["request_id"],
        "mlflow/traces": ["experiment_ids"],
        "traces/batchGet": ["trace_ids"],
        "traces/get": ["trace_id"],
        "artifacts/list": ["run_id"],
        "registered-models/get": ["name"],
        "registered-models/search": ["max_results"],
        "registered-models/get-latest-versions": ["name"],
        "registered-models/alias": ["name", "alias"],
        "model-versions/get": ["name", "version"],
        "model-versions/get-download-uri": ["name", "version"],
        "model-versions/search": ["max_results"],
        "mlflow-artifacts/artifacts": ["path"],
        "access/explain": ["actor", "action", "resource"],
        "features/search": ["q"],
    }
    names = next((parts for end, parts in wanted.items() if path.endswith(end)), [])
    query = "&".join(f"{name}={quote(told[name])}" for name in names)
    rooted = [each if each.startswith("/") else f"/{each}" for each in filled]
    return [f"{each}?{query}" if query else each for each in rooted]


def without_echo(answer: requests.Response, asked: str) -> str:
    """Return what an answer tells; a refusal may repeat what was asked for, and signed URLs name what was asked."""
    if answer.status_code in (400, 404, 409):
        return ""
    told = answer.text + answer.headers.get("location", "")
    urls = re.findall(r"https?://[^\"\s]+", told)
    for url in urls:
        assert f"/default/{MARK}" not in url
        assert "/default/" not in url, url
        assert requests.get(url, timeout=20).status_code in (403, 404), url
        told = told.replace(url, "")
    return told


def test_lists_of_another_workspace_hold_nothing_of_the_first(desk: Desk, held: Held) -> None:
    def theirs(method: str, path: str, **more: Any) -> Any:
        answer = desk.ask(method, path, token=desk.other, **more)
        assert answer.ok, (path, answer.text)
        return answer.json()

    assert theirs("POST", f"{ML}/runs/search", json={"experiment_ids": [held.experiment, "0"]}).get("runs", []) == []
    experiments = theirs("POST", f"{ML}/experiments/search", json={"max_results": 100}).get("experiments", [])
    assert not [each for each in experiments if each["name"] != "Default"]
    assert theirs("GET", f"{ML}/registered-models/search").get("registered_models", []) == []
    assert theirs("GET", "/v1/quarantine")["quarantines"] == []
    assert theirs("GET", "/v1/incidents")["incidents"] == []
    assert theirs("GET", "/v1/webhooks")["webhooks"] == []
    streams = theirs("GET", "/v1/log")["streams"]
    assert all(stream.startswith(f"WS#{OTHER}#") for stream in streams)
    models = theirs("POST", f"{ML}/logged-models/search", json={"experiment_ids": [held.experiment]})
    assert models.get("models", []) == []
    tokens = theirs("GET", "/v1/access/tokens")["tokens"]
    assert held.token_id not in {one["id"] for one in tokens}


def test_another_workspace_changes_nothing_of_the_first(desk: Desk, held: Held) -> None:
    before, last = desk.keys("ArtifactsBucketName"), desk.newest()
    file = desk.body(f"default/{held.file}", "ArtifactsBucketName")
    metric = {"run_id": held.run, "key": "x", "value": 1, "timestamp": 1, "step": 0}
    refused: list[tuple[str, str, Any]] = [
        ("POST", f"{ML}/runs/log-metric", metric),
        ("POST", f"{ML}/runs/set-tag", {"run_id": held.run, "key": "x", "value": "y"}),
        ("POST", f"{ML}/runs/delete", {"run_id": held.run}),
        ("POST", f"{ML}/runs/create", {"experiment_id": held.experiment, "start_time": 1}),
        ("POST", f"{ML}/experiments/update", {"experiment_id": held.experiment, "new_name": "mine"}),
        ("POST", f"{ML}/experiments/delete", {"experiment_id": held.experiment}),
        ("PATCH", f"{ML}/registered-models/update", {"name": MARK, "description": "mine"}),
        ("DELETE", f"{ML}/registered-models/delete", {"name": MARK}),
        ("POST", f"{ML}/registered-models/alias", {"name": MARK, "alias": "champion", "version": "1"}),
        ("POST", f"/v1/models/{MARK}/transitions", {"version": 1, "alias": "champion"}),
        ("POST", f"/v1/quarantine/{held.quarantine}/discard", None),
        ("POST", f"/v1/quarantine/{held.quarantine}/repair", {"rule": "as_it_is"}),
        ("POST", f"/v1/quarantine/{held.quarantine}/revert", {}),
        ("DELETE", f"/v1/access/tokens/{held.token_id}", None),
        ("DELETE", f"{ML}/logged-models/{held.logged_model}", None),
        ("PATCH", f"{ML}/webhooks/{held.webhook}", {"status": "ACTIVE"}),
        ("DELETE", f"/v1/webhooks/{held.webhook}", None),
        ("POST", f"/v1/webhooks/{held.webhook}/test", {}),
    ]
    for method, path, body in refused:
        answer = desk.ask(method, path, token=desk.other, **({"json": body} if body is not None else {}))
        assert answer.status_code in (400, 403, 404), (path, answer.status_code, answer.text)
    for path in (held.file, f"../default/{held.file}", quote(f"../default/{held.file}", safe="")):
        desk.ask("PUT", f"{FILES}/{path}", token=desk.other, data=b"mine")
        desk.ask("DELETE", f"{FILES}/{path}", token=desk.other)
    assert desk.body(f"default/{held.file}", "ArtifactsBucketName") == file
    assert {key for key in desk.keys("ArtifactsBucketName") ^ before if not key.startswith(f"{OTHER}/")} == set()
    assert desk.events(after=last) == []
    run = desk.ask("GET", f"{ML}/runs/get?run_id={held.run}").json()["run"]
    assert run["info"]["lifecycle_stage"] == "active"
    assert "x" not in json.dumps(run["data"].get("tags", []))


def test_a_foreign_workspace_in_a_path_is_refused_or_means_ones_own(desk: Desk, held: Held) -> None:
    for path in (f"../default/{held.file}", f"..%2Fdefault%2F{quote(held.file, safe='')}", f"/default/{held.file}"):
        session = requests.Session()
        prepared = requests.Request("GET", "http://x", headers={"authorization": f"Bearer {desk.other}"}).prepare()
        prepared.url = f"{desk.running.url}{FILES}/{path}"  # as it stands: requests would tidy the dots away
        answer = session.send(prepared, timeout=30, allow_redirects=True)
        assert MARK not in answer.text or answer.status_code >= 400, answer.text
        assert answer.status_code in (400, 403, 404), (path, answer.status_code)
