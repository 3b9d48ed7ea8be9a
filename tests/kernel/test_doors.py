"""Every door is locked: each route of each handler, asked by nobody, by one without grants, and from elsewhere."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.http import Caller, handler_of, memory_wiring, payload

from modelwright.project import current_key
from modelwright.runtime import Function, Route, Wiring
from modelwright.storage import Anything, Put
from modelwright.team import read_team

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
ROUTES = [(name, route) for name in NAMES for route in handler_of(name, memory_wiring()).routes]
IDS = [f"{name} {route.method} {route.path}" for name, route in ROUTES]
API = "/api/2.0/mlflow"
OPEN = {
    "console": {"/health", "/version", "/login"},
    "features": {"/health"},
    "tracking": {"/health", "/version", "/<api>/<api_version>/mlflow/server-info"},
}
ANSWERED_BY_NOBODY = {401}
"""Statuses of a request without a caller."""


@pytest.fixture(scope="module")
def project() -> str:
    return read_team(ROOT / "src" / "modelwright" / "demo" / "project").project.model_dump_json()


@pytest.fixture
def wiring(project: str) -> Wiring:
    """A stack in which the things that the requests name exist."""
    wiring = memory_wiring()
    for workspace in ("default", "other"):
        wiring.tables.write([Put("governance", {**current_key(workspace)._asdict(), "project": project}, Anything())])
    tracking, registry = (Caller(handler_of(name, wiring)) for name in ("tracking", "registry"))
    tracking.ok("POST", f"{API}/experiments/create", {"name": "flights"})
    registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    registry.ok("POST", f"{API}/model-versions/create", {"name": "flights", "source": "s3://x/y"})
    return wiring


def request(route: Route) -> tuple[str, str, Any]:
    """Return a request that gets as far as it can: it says everything that any route asks for."""
    values = {
        "api": "api",
        "api_version": "2.0",
        "path": "1/run/artifacts/file.txt",
        "stream": "WS%23default%23MODEL%23flights",
    }
    path = re.sub(r"<(?:path:)?(\w+)>", lambda found: values.get(found[1], "flights"), route.path)
    said = {
        "name": "flights", "version": "1", "experiment_id": "0", "experiment_name": "flights", "run_id": "r",
        "run_uuid": "r", "key": "k", "value": "1", "alias": "champion", "new_name": "x", "stage": "Production",
        "experiment_ids": ["0"], "source": "s3://x/y", "metric_key": "k", "model_id": "flights", "reason": "because",
    }  # fmt: skip
    sample = SAMPLES.get((route.method, path))
    body = sample if sample is not None else said
    if route.method in ("GET", "DELETE"):
        query = "&".join(f"{k}={v if isinstance(v, str) else v[0]}" for k, v in said.items() if k != "stage")
        return route.method, f"{path}?{query}", None
    return ("POST" if route.method == "ANY" else route.method), path, body


def bodies() -> dict[tuple[str, str], Any]:
    found = {}
    for file in (ROOT / "events").glob("http-*.json"):
        sample = json.loads(file.read_text(encoding="utf-8"))
        if sample.get("body") and "json" in sample["headers"].get("content-type", ""):
            found[sample["requestContext"]["http"]["method"], sample["rawPath"]] = json.loads(sample["body"])
    return found


SAMPLES = bodies()


def everything(wiring: Wiring) -> str:
    tables: Any = wiring._tables
    return repr(tables._items)


def status(function: Function, **event: Any) -> int:
    answer: dict[str, Any] = function(event)
    return int(answer["statusCode"])


def test_only_these_routes_are_open() -> None:
    found: dict[str, set[str]] = {}
    for name, route in ROUTES:
        if route.open:
            found.setdefault(name, set()).add(route.path)
    assert found == OPEN


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=IDS)
def test_nobody_gets_past_a_route_that_is_not_open(name: str, route: Route, wiring: Wiring) -> None:
    before = everything(wiring)
    method, path, body = request(route)
    answer = handler_of(name, wiring)(payload(method, path, body, signed_in=False))
    if route.open:
        assert answer["statusCode"] != 403
    else:
        assert answer["statusCode"] in ANSWERED_BY_NOBODY
    assert everything(wiring) == before


@pytest.mark.parametrize(
    ("name", "route"),
    [r for r in ROUTES if not r[1].open],
    ids=[i for i, r in zip(IDS, ROUTES, strict=True) if not r[1].open],
)
@pytest.mark.parametrize("workspace", ["default", "other"])
def test_who_was_granted_nothing_is_refused_and_changes_nothing(
    name: str, route: Route, workspace: str, wiring: Wiring
) -> None:
    before, objects = everything(wiring), [row.key for row in wiring.blobs.list("artifacts", "")]
    method, path, body = request(route)
    code, said = Caller(handler_of(name, wiring), grants=(), workspace=workspace)(method, path, body)
    assert code in (400, 401, 403, 404), said
    assert everything(wiring) == before
    assert [row.key for row in wiring.blobs.list("artifacts", "")] == objects
    REFUSED.setdefault(f"{name} {route.method} {route.path}", set()).add(code)


REFUSED: dict[str, set[int]] = {}


def test_most_refusals_are_for_want_of_a_grant_and_not_of_a_valid_request() -> None:
    """Guards the test above: a request that is refused as invalid proves nothing."""
    if REFUSED:
        unproven = sorted(route for route, codes in REFUSED.items() if codes == {400})
        assert len(unproven) <= len(REFUSED) // 5, unproven
