"""Across workspaces nothing leaks: what another one holds is as if it were not there.

Every route is asked by an administrator of another workspace with the ids of things that the first one holds, once
where they are and once where the first workspace is empty. Status, body, headers and every single call to tables and
buckets (which stand for the time that an answer takes) are the same.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pytest
from support.http import Caller, payload
from support.mlflow_desk import API

from governance.estate import CLOSED, Estate
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.governance.access import Grant
from modelwright.storage import Page

ADMIN = (Grant(role="admin"),)
OTHER = "other"
_PASSING = re.compile(
    r"\d{4}-\d\d-\d\dT[^\"'\s]*|\b1\d{12}\b|\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b[0-9A-HJKMNP-TV-Z]{26}\b|\b[0-9a-f]{8,64}\b"
    r"|[\w-]{43}|\b[a-z]+-[a-z]+-\d+\b|upload[\w-]*\d+"
)
"""Times, ids, names and secrets that are made anew by each request."""


class Watched:
    """Stores whose every call is noted: which, of what, and how many came back.

    But for what all workspaces share, the log's index by the hour and the roots of its chains: what is in them tells
    how busy the whole stack is, and nothing of what anybody asks for.
    """

    def __init__(self, store: Any, calls: list[str]) -> None:
        self._store = store
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name.startswith("_") or not callable(found):
            return found

        def noted(*arguments: Any, **options: Any) -> Any:
            text = steady(f"{name} {arguments} {sorted(options.items())}")
            self._calls.append(text[:50] if "'ROOT'" in text or "'roots/" in text else text)
            answer = found(*arguments, **options)
            if isinstance(answer, Page) and not str(arguments[1]).startswith("HOUR#"):
                self._calls.append(f"{len(answer.items)} items")
            return answer

        return noted


def steady(text: str) -> str:
    return _PASSING.sub("...", text)


class Neighbour:
    """An estate that somebody of another workspace asks."""

    def __init__(self, *, populated: bool) -> None:
        self.estate = Estate()
        if not populated:
            self._empty()
        self.calls: list[str] = []
        wiring: Any = self.estate.wiring
        wiring._tables, wiring._blobs = Watched(wiring._tables, self.calls), Watched(wiring._blobs, self.calls)
        for made in ("tables", "blobs", "log"):
            vars(wiring).pop(made, None)

    def _empty(self) -> None:
        """Take away all that the first workspace holds, as if it had never been."""
        tables: MemoryTables = self.estate.wiring._tables  # type: ignore[assignment]
        blobs: MemoryBlobs = self.estate.wiring._blobs  # type: ignore[assignment]
        for table, items in tables._items.items():
            mine = [key for key in items if key.pk.startswith(("WS#default#", "HOUR#"))]
            tables.delete_many(table, mine)
        for bucket in ("artifacts", "lake"):
            blobs.delete_many(bucket, [each.key for each in blobs.list(bucket, "") if "default" in each.key])
        self.estate.remember()

    def ask(self, request: tuple[str, str, Any], name: str, **headers: str) -> dict[str, Any]:
        """Return the answer to a request of the other workspace, with the calls that it took."""
        self.calls.clear()
        event = payload(
            *request, workspace=OTHER, grants=ADMIN, actor="zoe", headers={"x-correlation-id": "c", **headers}
        )
        event["requestContext"]["requestId"] = "r-1"
        answer: Mapping[str, Any] = self.estate.functions[name](event)
        self.estate.restore()
        text = answer["body"]
        body = base64.b64decode(text).decode(errors="replace") if answer.get("isBase64Encoded") else text
        said = {**answer, "body": steady(body), "headers": steady(json.dumps(answer["headers"], sort_keys=True))}
        return {**said, "calls": list(self.calls)}


@pytest.fixture(scope="module")
def full() -> Neighbour:
    return Neighbour(populated=True)


@pytest.fixture(scope="module")
def bare() -> Neighbour:
    return Neighbour(populated=False)


def test_what_the_first_workspace_holds_is_there_in_one_estate_and_not_in_the_other(
    full: Neighbour, bare: Neighbour
) -> None:
    """Guards the tests below: two empty estates would answer alike, too."""

    def of(neighbour: Neighbour, workspace: str) -> int:
        tables: MemoryTables = neighbour.estate.stores[0]
        keys = [key for items in tables._items.values() for key in items]
        return sum(key.pk.startswith(f"WS#{workspace}#") for key in keys)

    assert of(full, "default") > 30
    assert of(bare, "default") == 0
    assert of(full, OTHER) == of(bare, OTHER) > 0


@pytest.mark.parametrize("key", sorted(CLOSED))
def test_another_workspaces_things_are_as_if_they_were_not_there(key: str, full: Neighbour, bare: Neighbour) -> None:
    request, name = full.estate.request(key), CLOSED[key][0]
    with_them, without = full.ask(request, name), bare.ask(request, name)
    assert with_them == without
    assert with_them["calls"] or "calls" in without


@pytest.mark.parametrize("key", sorted(CLOSED))
def test_a_header_that_names_another_workspace_changes_nothing_for_a_token(key: str, full: Neighbour) -> None:
    request, name = full.estate.request(key), CLOSED[key][0]
    header = {"x-mlflow-workspace": "default"}
    assert full.ask(request, name) == full.ask(request, name, **header)


# --- page tokens -------------------------------------------------------------------------

PAGED: Sequence[tuple[str, str, Any, str]] = (
    ("registry", "GET /api/2.0/mlflow/registered-models/search?max_results=1", None, "next_page_token"),
    ("tracking", "POST /api/2.0/mlflow/experiments/search", {"max_results": 1}, "next_page_token"),
    ("tracking", "POST /api/2.0/mlflow/runs/search", {"experiment_ids": ["0"], "max_results": 1}, "next_page_token"),
    (
        "tracking",
        "POST /api/2.0/mlflow/logged-models/search",
        {"experiment_ids": ["0"], "max_results": 1},
        "next_page_token",
    ),
    ("registry", "GET /api/2.0/mlflow/model-versions/search?max_results=1", None, "next_page_token"),
    (
        "tracking",
        "POST /api/2.0/mlflow/datasets/search",
        {"experiment_ids": ["0"], "max_results": 1},
        "next_page_token",
    ),
    ("registry", "GET /v1/approvals?max_results=1", None, "next_page_token"),
)


def several(estate: Estate) -> None:
    """Make more of everything than fits on a page."""
    tracking, registry = (Caller(estate.functions[name]) for name in ("tracking", "registry"))
    for name in ("z0", "z1", "z2"):
        tracking.ok("POST", f"{API}/experiments/create", {"name": name})
        tracking.ok("POST", f"{API}/runs/create", {"experiment_id": "0", "start_time": 5, "run_name": name})
        tracking.ok("POST", f"{API}/logged-models", {"experiment_id": "0", "name": name})
        tracking.ok("POST", f"{API}/datasets/create", {"name": name, "experiment_ids": ["0"]})
        registry.ok("POST", f"{API}/registered-models/create", {"name": name})
        registry.ok("POST", f"{API}/model-versions/create", {"name": name, "source": "s3://x/y"})
    bob = Caller(estate.functions["registry"], actor="bob")
    assert bob("POST", "/v1/models/flights/transitions", {"alias": "challenger", "version": 1})[0] == 202


@pytest.mark.parametrize(("name", "line", "body", "field"), PAGED, ids=[line for _, line, _, _ in PAGED])
def test_a_page_token_of_another_workspace_gives_nothing_of_it(name: str, line: str, body: Any, field: str) -> None:
    estate = Estate()
    several(estate)
    method, path = line.split(" ")
    first, other = Caller(estate.functions[name]), Caller(estate.functions[name], workspace=OTHER)
    token = first.ok(method, path, body)[field]
    again = (f"{path}&page_token={quote(token)}", None) if method == "GET" else (path, {**body, "page_token": token})
    held = re.compile(r"\bz\d\b|flights")
    status, said = first(method, *again)
    assert (status, bool(held.search(json.dumps(said)))) == (200, True), said
    status, said = other(method, *again)
    assert status in (200, 400), said
    assert not held.search(json.dumps(said)), said


def test_a_cursor_of_another_workspaces_stream_is_refused_or_gives_nothing_of_it() -> None:
    estate = Estate()
    first = Caller(estate.functions["console"])
    other = Caller(estate.functions["console"], workspace=OTHER)
    for stream in first.ok("GET", "/v1/log")["streams"]:
        asked = f"/v1/log/{quote(stream, safe='')}"
        assert first(*("GET", asked))[0] == 200
        status, said = other("GET", asked)
        assert (status, said["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
