"""IAM principals: who signs requests is admitted per workspace, by user or role."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput
from modelwright.governance.access import Grant, require
from modelwright.governance.principals import admit_principal, identify, principal_of
from modelwright.http import Request, Route
from modelwright.log import Log
from modelwright.runtime import Function
from modelwright.wiring import Settings, Wiring

ROLE = "arn:aws:iam::123456789012:role/trainer"
SESSION = "arn:aws:sts::123456789012:assumed-role/trainer/nightly"
CALL = Call("default", "admin", datetime(2026, 11, 1, tzinfo=UTC), "c")


def admitted(role: str = "reader") -> MemoryTables:
    tables = MemoryTables()
    admit_principal(CALL, ROLE, [Grant.model_validate({"role": role})], tables=tables, log=Log(tables))
    return tables


def test_a_session_of_an_admitted_role_is_the_role() -> None:
    identity = identify(SESSION, "default", tables=admitted())
    require(identity, "runs:read", "experiment/0")
    with pytest.raises(Forbidden, match="may not runs:write"):
        require(identity, "runs:write", "experiment/0")


def test_a_role_with_a_path_is_known_by_its_sessions() -> None:
    assert principal_of("arn:aws:iam::123456789012:role/teams/ml/trainer") == principal_of(SESSION) == ROLE


def test_the_log_names_a_pseudonym_and_not_the_arn() -> None:
    tables = admitted()
    texts = [item.envelope.model_dump_json() for item in Log(tables).read("WS#default#ACCESS#tokens")]
    assert len(texts) == 1
    assert "trainer" not in texts[0]


def test_a_principal_of_another_workspace_is_nobody_here() -> None:
    with pytest.raises(Forbidden, match="was not admitted to workspace other"):
        identify(ROLE, "other", tables=admitted())


@pytest.mark.parametrize("workspace", ["a#b", "x" * 3000])
def test_a_workspace_that_can_be_none_is_not_looked_up(workspace: str) -> None:
    with pytest.raises(InvalidInput, match="workspace"):
        identify(ROLE, workspace, tables=admitted())


def test_only_users_and_roles_are_admitted() -> None:
    with pytest.raises(InvalidInput, match="no ARN"):
        admit_principal(CALL, "arn:aws:s3:::bucket", [], tables=(tables := MemoryTables()), log=Log(tables))


def test_a_signed_request_is_answered_for_whom_it_was_signed() -> None:
    def whoami(request: Request, wiring: Wiring) -> dict[str, str]:
        request.call.authorise("runs:read", "experiment/0")
        return {"actor": request.call.actor, "workspace": request.call.workspace}

    wiring = Wiring(Settings.read({}), tables=admitted(), blobs=MemoryBlobs())
    function = Function("tracking", routes=(Route("GET", "/me", whoami),), wiring=wiring)

    def ask(arn: str, workspace: str) -> dict[str, Any]:
        context = {"http": {"method": "GET"}, "authorizer": {"iam": {"userArn": arn}}}
        headers = {"X-MLFLOW-WORKSPACE": workspace}
        answer: dict[str, Any] = function({"requestContext": context, "rawPath": "/me", "headers": headers})
        return answer

    assert json.loads(ask(SESSION, "default")["body"])["workspace"] == "default"
    assert ask(SESSION, "other")["statusCode"] == 403
    assert ask("arn:aws:iam::123456789012:user/eve", "default")["statusCode"] == 403
