"""Every door is locked: each route of each handler, asked by nobody, by one without grants, and from elsewhere."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.http import Caller, handler_of, memory_wiring, payload

from modelwright.context import Call
from modelwright.http import Route
from modelwright.project import current_key
from modelwright.storage import Anything, Put
from modelwright.team import read_team
from modelwright.tracking.evaluation_entities import EvaluationDataset
from modelwright.tracking.evaluation_store import EvaluationStore
from modelwright.tracking.server import NO_TELEMETRY, TELEMETRY_REFUSED
from modelwright.wiring import Wiring

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
ROUTES = [(name, route) for name in NAMES for route in handler_of(name, memory_wiring()).routes]
IDS = [f"{name} {route.method} {route.path}" for name, route in ROUTES]
API = "/api/2.0/mlflow"
PRINCIPAL = {"arn": "arn:aws:iam::111122223333:role/eve", "grants": [{"role": "admin"}]}
RULE = {"claim": "groups", "value": "staff", "grants": [{"role": "admin"}]}
PROVIDER = {"issuer": "https://id.example.com", "audiences": ["modelwright"], "rules": [RULE]}
OPEN = {
    "console": {
        "/", "/console", "/health", "/version", "/login", "/logout", "/console/models", "/console/models/<name>",
        "/console/models/<name>/versions/<version>", "/console/models/<name>/requests/<request_id>",
        "/console/approvals",
    },
    "features": {"/health"},
    "tracking": {"/<api>/<api_version>/mlflow/server-info"},
}  # fmt: skip


@pytest.fixture(scope="module")
def project() -> str:
    return read_team(ROOT / "src" / "modelwright" / "demo" / "project").project.model_dump_json()


TRACE_INFO = {
    "trace_id": "flights", "request_time": "2026-01-01T00:00:00Z",
    "trace_location": {"mlflow_experiment": {"experiment_id": "0"}},
}  # fmt: skip
SPAN = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "name": "flights"}
TRACES = {
    f"{API}/traces": {"trace": {"trace_info": TRACE_INFO}},
    f"{API}/traces/search": {"locations": [TRACE_INFO["trace_location"]]},
    f"{API}/traces/link-to-run": {"trace_ids": ["flights"], "run_id": "r"},
    f"{API}/traces/batchGetInfos": {"trace_ids": ["flights"]},
    f"{API}/traces/delete-traces": {"experiment_id": "0", "request_ids": ["flights"]},
    "/v1/traces": {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]},
}
DATASET = f"{API}/datasets/flights"
DATASETS = {
    f"{API}/datasets/create": {"name": "flights", "experiment_ids": ["0"], "tags": "{}"},
    f"{DATASET}/tags": {"tags": '{"k": "1"}'},
    f"{DATASET}/records": {"records": '[{"inputs": {"question": "why"}}]'},
}
WEBHOOKS = {
    f"{API}/webhooks": {"name": "x", "url": "https://198.41.0.4/", "events": ["model_version.created"]},
    f"{API}/webhooks/flights": {"name": "x"},
    "/v1/webhooks/flights": {"name": "x"},
    "/v1/alerts/channels": {"name": "x", "notifier": "slack", "options": {"url": "https://198.41.0.4/"}},
    "/v1/alerts/silences": {"subject": "x", "until": "2026-01-02T00:00:00Z", "reason": "because"},
    "/v1/alerts/incidents/flights/close": {"reason": "because"},
}


def stack(project: str, *, populated: bool = True) -> Wiring:
    """Return a stack with two workspaces, in one of which the things that the requests name exist."""
    wiring = memory_wiring()
    for workspace in ("default", "other"):
        wiring.tables.write([Put("governance", {**current_key(workspace)._asdict(), "project": project}, Anything())])
        tracking = Caller(handler_of("tracking", wiring), workspace=workspace)
        tracking.ok("GET", f"{API}/experiments/get?experiment_id=0")
    if populated:
        tracking, registry = (Caller(handler_of(name, wiring)) for name in ("tracking", "registry"))
        tracking.ok("POST", f"{API}/experiments/create", {"name": "flights"})
        tracking.ok("POST", f"{API}/traces", TRACES[f"{API}/traces"])
        call = Call("default", "ann", datetime(2026, 1, 1, tzinfo=UTC), "c-1")
        dataset = EvaluationDataset(
            dataset_id="flights", name="flights", created_time=1, last_update_time=1, experiment_ids=("0",)
        )
        wiring.tables.write([EvaluationStore(wiring.tables, call, wiring.blobs).put(dataset)])
        tracking.ok("POST", f"{DATASET}/records", DATASETS[f"{DATASET}/records"])
        registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
        registry.ok("POST", f"{API}/model-versions/create", {"name": "flights", "source": "s3://x/y"})
    return wiring


@pytest.fixture
def wiring(project: str) -> Wiring:
    return stack(project)


def request(route: Route, project: str) -> tuple[str, str, Any]:
    """Return a request that gets as far as it can: it says everything that its route asks for."""
    values = {
        "api": "api", "api_version": "2.0", "path": "1/run/artifacts/file.txt", "kind": "model",
        "stream": "WS%23default%23MODEL%23flights", "version": "1", "content": "0" * 64,
        "source": "weather",
    }  # fmt: skip
    path = re.sub(r"<(?:path:)?(\w+)>", lambda found: values.get(found[1], "flights"), route.path)
    said = {
        "name": "flights", "version": "1", "experiment_id": "0", "experiment_name": "flights", "run_id": "r",
        "run_uuid": "r", "key": "k", "value": "1", "alias": "champion", "new_name": "x", "stage": "Production",
        "experiment_ids": ["0"], "source": "s3://x/y", "metric_key": "k", "model_id": "flights", "reason": "because",
        "timestamp": 1, "trace_id": "flights", "request_id": "flights",
        "status": "LOGGED_MODEL_READY", "path": "1/run/artifacts", "artifact_file_path": "file.txt",
        "run_ids": ["r"], "model_json": "{}", "dataset_record_ids": ["r"],
        "actor": "eve", "action": "models:read", "resource": "model/flights", "q": "weather",
    }  # fmt: skip
    own = {
        **TRACES,
        **DATASETS,
        **WEBHOOKS,
        "/v1/projects": {"project": json.loads(project)},
        "/v1/projects/plan": {"project": json.loads(project)},
        "/v1/access/tokens": {"actor": "eve", "grants": [{"role": "admin"}]},
        "/v1/access/principals": PRINCIPAL,
        "/v1/models/flights/arrivals": {"content": "0" * 64, "digest": "0" * 64},
        "/v1/access/providers": PROVIDER,
        "/v1/access/tokens/flights/rotate": {"grace_hours": 1},
        "/v1/quarantine/flights/repair": {"rule": "unit_change"},
        "/v1/quarantine/flights/revert": {"reason": "because"},
        f"{API}/artifacts/presigned-upload-url": {"run_id": "r", "path": "file.txt"},
    }
    if path.endswith("/upload-artifact"):
        return route.method, f"{path}?run_id=r&path=file.txt", said
    upload = {"path": "1/run/artifacts/file.txt", "num_parts": 1, "upload_id": "u", "parts": []}
    body = upload if "/mpu/" in path else own.get(path) or SAMPLES.get((route.method, path)) or said
    if route.method in ("GET", "DELETE"):
        query = "&".join(
            f"{k}={v if isinstance(v, str) else v[0]}" for k, v in said.items() if isinstance(v, str | list)
        )
        return route.method, f"{path}?{query}", None
    query = "?experiment_id=0" if path == "/v1/traces" else ""
    return ("POST" if route.method == "ANY" else route.method), path + query, body


def bodies() -> dict[tuple[str, str], Any]:
    found = {}
    for file in (ROOT / "events").glob("http-*.json"):
        sample = json.loads(file.read_text(encoding="utf-8"))
        if sample.get("body") and "json" in sample["headers"].get("content-type", ""):
            found[sample["requestContext"]["http"]["method"], sample["rawPath"]] = json.loads(sample["body"])
    return found


SAMPLES = bodies()


def everything(wiring: Wiring, prefix: str = "") -> str:
    """Return all that is stored, or all of a workspace, but for what says who was refused."""
    tables: Any = wiring._tables
    items = [(t, key, item) for t, found in tables._items.items() for key, item in found.items()]
    return repr([each for each in items if each[1].pk.startswith(prefix) and "#ACCESS#refused-" not in each[1].pk])


def test_only_these_routes_are_open() -> None:
    found: dict[str, set[str]] = {}
    for name, route in ROUTES:
        if route.open:
            found.setdefault(name, set()).add(route.path)
    assert found == OPEN


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=IDS)
def test_nobody_gets_past_a_route_that_is_not_open(name: str, route: Route, wiring: Wiring, project: str) -> None:
    before = everything(wiring)
    answer = handler_of(name, wiring)(payload(*request(route, project), signed_in=False))
    assert (answer["statusCode"] == 401) != route.open or route.path == "/login"
    assert everything(wiring) == before


CLOSED = [(name, route) for name, route in ROUTES if not route.open or route.path.startswith("/console")]
"""The pages themselves are open only to send who did not sign in to the form."""
CLOSED_IDS = [f"{name} {route.method} {route.path}" for name, route in CLOSED]
closed = pytest.mark.parametrize(("name", "route"), CLOSED, ids=CLOSED_IDS)


@closed
@pytest.mark.parametrize("workspace", ["default", "other"])
def test_who_was_granted_nothing_is_refused_and_changes_nothing(
    name: str, route: Route, workspace: str, wiring: Wiring, project: str
) -> None:
    before = everything(wiring)
    code, said = Caller(handler_of(name, wiring), grants=(), workspace=workspace)(*request(route, project))
    if code == 200 and route.path.startswith("/console"):
        assert "flights" not in said
    elif code == 200:  # a list of all that the caller may see
        assert [value for value in said.values() if value] == [] or said in (NO_TELEMETRY, TELEMETRY_REFUSED), said
    else:
        assert code in (400, 401, 403, 404), said
    assert everything(wiring) == before
    assert list(wiring.blobs.list("artifacts", "")) == []
    REFUSED.setdefault(f"{name} {route.method} {route.path}", set()).add(code)


REFUSED: dict[str, set[int]] = {}
"""What the test above got, route by route."""


def test_no_refusal_was_of_an_invalid_request_alone() -> None:
    """Guards the test above: that an invalid request is refused proves nothing."""
    assert [route for route, codes in REFUSED.items() if codes == {400}] == []


@closed
def test_an_administrator_of_another_workspace_sees_and_changes_nothing_of_this(
    name: str, route: Route, project: str
) -> None:
    full, bare = stack(project), stack(project, populated=False)
    before = everything(full, "WS#default")
    answers = [Caller(handler_of(name, each), workspace="other")(*request(route, project)) for each in (full, bare)]
    assert everything(full, "WS#default") == before
    assert answers[0][0] == answers[1][0]
    if route.method == "GET":
        assert without_times(answers[0][1]) == without_times(answers[1][1])


def without_times(said: Any) -> str:
    return re.sub(
        r"\d{4}-\d\d-\d\dT[^\"']*|\b1\d{12}\b|\b[0-9A-Z]{26}\b|\b[0-9a-f]{64}\b|\b[0-9a-f-]{36}\b", "...", repr(said)
    )
