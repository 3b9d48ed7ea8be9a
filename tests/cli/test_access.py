"""``modelwright access`` as a person types it, against the functions behind a loopback port."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.http import ServedBlobs, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.adapters.memory import MemoryTables
from modelwright.cli.commands import app
from modelwright.client import ENDPOINT, TOKEN
from modelwright.errors import InvalidInput, Unauthenticated
from modelwright.governance.access import Grant
from modelwright.governance.tokens import authenticate

PROVIDER = """
issuer = "https://id.example.com"
audiences = ["modelwright"]

[[rules]]
claim = "groups"
value = "ml-approvers"
grants = [{role = "approver", resources = "model/*"}]
"""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryTables]:
    tables, blobs = MemoryTables(), ServedBlobs()
    wiring = memory_wiring(tables=tables, blobs=blobs)
    with serve([handler_of("registry", wiring)], blobs) as url:
        monkeypatch.setenv(ENDPOINT, url)
        monkeypatch.setenv(TOKEN, "whoever")
        yield tables


def run(*arguments: str, code: int = 0) -> str:
    """Run a command and return what it prints."""
    result: Result = CliRunner().invoke(app, ["access", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout.strip()


def test_a_token_is_issued_listed_rotated_and_revoked(tables: MemoryTables) -> None:
    token = run("tokens", "issue", "bob", "--grant", "reader", "--grant", "approver:model/*", "--expires", "30")
    who = authenticate(token, tables=tables, wall=datetime.now(UTC))
    assert who.grants == (Grant(role="reader"), Grant(role="approver", resources="model/*"))
    identity, listed = token.split(".")[2], run("tokens", "list")
    assert token.split(".")[3] not in listed
    (row,) = [line for line in listed.splitlines() if line.startswith(identity)]
    assert "bob" in row
    assert "valid" in row
    assert "allow reader on *; allow approver on model/*" in row
    new = run("tokens", "rotate", identity, "--grace", "1")
    assert [authenticate(each, tables=tables, wall=datetime.now(UTC)).actor for each in (token, new)] == ["bob"] * 2
    assert run("tokens", "revoke", identity) == "revoked"
    for each in (token, new):
        with pytest.raises(Unauthenticated):
            authenticate(each, tables=tables, wall=datetime.now(UTC))
    (found,) = json.loads(run("tokens", "list", "--json"))
    assert found["revoked"] is True


def test_a_time_to_expire_may_be_said_as_a_day(tables: MemoryTables) -> None:
    run("tokens", "issue", "bob", "--grant", "reader", "--expires", "2126-01-01")
    assert "2126-01-01 00:00" in run("tokens", "list")
    with pytest.raises(InvalidInput, match="expires"):
        run("tokens", "issue", "bob", "--grant", "reader", "--expires", "soon")


def test_a_role_that_is_none_is_named(tables: MemoryTables) -> None:
    with pytest.raises(InvalidInput, match="role"):
        run("tokens", "issue", "bob", "--grant", "king")


def test_it_is_explained_why_somebody_may_and_may_not(tables: MemoryTables) -> None:
    token = run("tokens", "issue", "bob", "--grant", "contributor", "--deny", "contributor:model/secret*")
    yes = run("explain", "bob", "models:write", "model/churn")
    assert "bob: models:write on model/churn is allowed" in yes
    assert f"token {token.split('.')[2]}: allow contributor on *" in yes
    no = run("explain", "bob", "models:write", "model/secret-7", code=1)
    assert "NOT allowed" in no
    assert "deny contributor on model/secret* wins over allow contributor on *" in no
    missing = run("explain", "bob", "models:approve", "model/churn", code=1)
    assert "no grant covers models:approve on model/churn: that takes approver or admin" in missing
    assert "there is no valid token, principal or person" in run("explain", "eve", "models:read", "model/x", code=1)
    told = json.loads(run("explain", "bob", "models:write", "model/churn", "--json"))
    assert told["allowed"] is True


def test_the_matrix_is_the_policys_own(tables: MemoryTables) -> None:
    printed = run("matrix").splitlines()
    assert printed[0].split() == ["action", "reader", "contributor", "approver", "service", "admin"]
    (approve,) = [line for line in printed if line.startswith("models:approve")]
    assert approve.count("x") == 1
    assert json.loads(run("matrix", "--json"))["admin"] == ["*"]


def test_principals_are_admitted_listed_and_dismissed(tables: MemoryTables) -> None:
    arn = "arn:aws:iam::123456789012:role/trainer"
    said = run("principals", "admit", "arn:aws:sts::123456789012:assumed-role/trainer/x", "--grant", "service")
    assert said.startswith(f"admitted {arn} as iam-")
    assert "allow service on *" in run("principals", "list")
    assert f"{said.split()[-1]}: runs:write on experiment/0 is allowed" in run(
        "explain", arn, "runs:write", "experiment/0"
    )
    assert run("principals", "dismiss", arn) == "dismissed"
    assert json.loads(run("principals", "list", "--json")) == []


def test_an_identity_provider_is_trusted_as_a_file_says(tables: MemoryTables, tmp_path: Path) -> None:
    file = tmp_path / "provider.toml"
    file.write_text(PROVIDER)
    identity = run("trust", str(file)).split()[-1]
    assert "https://id.example.com" in run("providers")
    assert run("people", "list").split() == ["id", "subject", "issuer", "first", "seen"]
    assert run("distrust", identity) == "distrusted"
    assert json.loads(run("providers", "--json")) == []
    file.write_text(PROVIDER.replace("https", "http"))
    with pytest.raises(InvalidInput, match="https"):
        run("trust", str(file))
    with pytest.raises(InvalidInput, match="cannot be read"):
        run("trust", str(tmp_path / "nothing.toml"))
