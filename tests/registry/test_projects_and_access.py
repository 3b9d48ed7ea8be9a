import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from support.mlflow_desk import Desk

from modelwright.errors import Unauthenticated
from modelwright.governance.access import Grant
from modelwright.governance.tokens import authenticate

CODE = b"PK a wheel"
DIGEST = hashlib.sha256(CODE).hexdigest()


def body(**project: Any) -> dict[str, Any]:
    return {"project": {"name": "demo", "sources": {}, **project}, "wheel": base64.b64encode(CODE).decode()}


def test_a_project_is_stored_under_the_digest_of_its_code(desk: Desk) -> None:
    applied = desk.registry.ok("POST", "/v1/projects", body(digest=DIGEST))
    assert (applied["digest"], applied["wheel"]) == (DIGEST, f"projects/default/{DIGEST}.whl")
    assert desk.blobs.get("artifacts", f"projects/default/{DIGEST}.whl").body == CODE
    assert desk.registry.ok("GET", "/v1/projects/current") == applied
    assert desk.wiring.project("default").digest == DIGEST
    assert desk.types("PROJECT", "demo") == ["ProjectApplied"]


def test_the_same_project_again_is_no_event(desk: Desk) -> None:
    for _ in range(2):
        desk.registry.ok("POST", "/v1/projects", body())
    assert desk.types("PROJECT", "demo") == ["ProjectApplied"]
    source = {"prefix": "a/", "columns": {"t": {"type": "timestamp"}}, "key": ["t"], "event_time": "t"}
    desk.registry.ok("POST", "/v1/projects", body(sources={"a": source}))
    assert desk.types("PROJECT", "demo") == ["ProjectApplied", "ProjectApplied"]


def test_a_project_needs_no_code(desk: Desk) -> None:
    applied = desk.registry.ok("POST", "/v1/projects", {"project": {"name": "demo", "sources": {}}})
    assert (applied["wheel"], len(applied["digest"])) == ("", 64)


@pytest.mark.parametrize(
    "change",
    [
        {"wheel": "no base64!"},
        {"project": {"name": "demo", "sources": {}, "digest": "0" * 64}},
        {"project": {"name": "Demo", "sources": {}}},
        {"surprise": 1},
    ],
)
def test_what_is_wrong_is_refused_and_nothing_applied(desk: Desk, change: dict[str, Any]) -> None:
    assert desk.registry("POST", "/v1/projects", {**body(), **change})[0] == 400
    assert desk.registry("GET", "/v1/projects/current")[0] == 404


def test_only_administrators_apply_projects_and_give_tokens(desk: Desk) -> None:
    contributor = desk.as_caller("registry", grants=(Grant(role="contributor"),))
    assert contributor("POST", "/v1/projects", body())[0] == 403
    assert contributor("POST", "/v1/access/tokens", {"actor": "bob", "grants": []})[0] == 403


def test_tokens_are_made_listed_and_revoked(desk: Desk) -> None:
    asked = {"actor": "bob", "grants": [{"role": "reader", "resources": "model/*"}]}
    token = desk.registry.ok("POST", "/v1/access/tokens", asked)["token"]
    assert authenticate(token, tables=desk.tables, wall=datetime.now(UTC)).actor == "bob"
    (listed,) = desk.registry.ok("GET", "/v1/access/tokens")["tokens"]
    assert (listed["actor"], listed["revoked"]) == ("bob", False)
    assert token.split(".")[3] not in str(listed)
    assert "hash" not in listed
    desk.registry.ok("DELETE", f"/v1/access/tokens/{listed['id']}")
    with pytest.raises(Unauthenticated):
        authenticate(token, tables=desk.tables, wall=datetime.now(UTC))
    assert desk.registry.ok("GET", "/v1/access/tokens")["tokens"][0]["revoked"] is True
    assert desk.registry("DELETE", "/v1/access/tokens/nobody")[0] == 404
    assert desk.types("ACCESS", "tokens") == ["AccessChanged", "AccessChanged"]
