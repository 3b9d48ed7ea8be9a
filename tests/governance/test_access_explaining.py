"""Why somebody may do something: the answer is the very decision that a request would get."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import Desk as Doors

from governance.desk import Desk
from governance.identity import IdentityProvider, provider
from modelwright.errors import Forbidden
from modelwright.governance import federation
from modelwright.governance.access import ACTIONS, Grant, Identity, Role, decide
from modelwright.governance.explaining import explain, matrix
from modelwright.governance.principals import admit_principal, principal_id
from modelwright.governance.tokens import issue_token, revoke_token
from modelwright.runtime import acting

grants = st.builds(
    Grant,
    role=st.sampled_from(get_args(Role)),
    resources=st.sampled_from(["*", "model/*", "model/flights", "run/*"]),
    effect=st.sampled_from(["allow", "deny"]),
)
actions = st.sampled_from(["models:write", "models:approve", "runs:read", "access:write"])


@given(held=st.lists(st.lists(grants, max_size=4), max_size=3), action=actions)
def test_what_is_explained_is_what_is_decided(held: list[list[Grant]], action: str) -> None:
    desk = Desk()
    for each in held:
        issue_token(desk.call, each, actor="bob", tables=desk.tables, log=desk.log)
    told = explain(desk.call, "bob", action, "model/flights", tables=desk.tables)
    assert told["allowed"] == any(decide(each, action, "model/flights") for each in held)
    assert [each["allowed"] for each in told["credentials"]].count(True) == sum(
        decide(each, action, "model/flights") for each in held
    )


def why(desk: Desk, action: str, resource: str = "model/flights") -> str:
    told = explain(desk.call, "bob", action, resource, tables=desk.tables)
    return str(told["why"])


def test_the_grants_that_decided_are_named() -> None:
    desk = Desk()
    token = issue_token(
        desk.call,
        [Grant(role="contributor"), Grant(role="contributor", resources="model/secret", effect="deny")],
        actor="bob",
        tables=desk.tables,
        log=desk.log,
    ).split(".")[2]
    assert why(desk, "models:write") == f"token {token}: allow contributor on *"
    assert why(desk, "models:write", "model/secret") == (
        f"token {token}: deny contributor on model/secret wins over allow contributor on *"
    )
    assert "no grant covers models:approve on model/flights: that takes approver or admin" in why(
        desk, "models:approve"
    )


def test_a_revoked_or_expired_token_allows_nothing_and_is_said_to_be_so() -> None:
    desk = Desk()
    until = desk.wall + timedelta(days=1)
    expired = issue_token(
        desk.call, [Grant(role="admin")], actor="bob", tables=desk.tables, log=desk.log, expires=until
    )
    revoked = issue_token(desk.call, [Grant(role="admin")], actor="bob", tables=desk.tables, log=desk.log)
    revoke_token(desk.call, revoked.split(".")[2], tables=desk.tables, log=desk.log)
    desk.wait(days=2)
    told = explain(desk.call, "bob", "models:write", "model/x", tables=desk.tables)
    assert told["allowed"] is False
    assert "2 that are revoked or expired" in told["why"]
    states = {each["id"]: each["state"] for each in told["credentials"]}
    assert states == {expired.split(".")[2]: "expired", revoked.split(".")[2]: "revoked"}


def test_principals_are_known_by_arn_and_people_by_pseudonym() -> None:
    desk, idp = Desk(), IdentityProvider()
    arn = "arn:aws:iam::123456789012:role/trainer"
    admit_principal(desk.call, arn, [Grant(role="service")], tables=desk.tables, log=desk.log)
    session = "arn:aws:sts::123456789012:assumed-role/trainer/nightly"
    told = explain(desk.call, session, "runs:write", "run/1", tables=desk.tables)
    assert (told["actor"], told["allowed"], told["credentials"][0]["kind"]) == (principal_id(arn), True, "principal")
    assert "trainer" not in str(told), "readers may ask, and are not told whose a pseudonym is"
    federation.trust(desk.call, provider(), tables=desk.tables, log=desk.log)
    who = federation.authenticate(idp.token(), "default", tables=desk.tables, keys=idp.keys, wall=desk.wall)
    told = explain(desk.call, who.actor, "models:approve", "model/x", tables=desk.tables)
    assert (told["allowed"], told["credentials"][0]["kind"]) == (True, "person")
    federation.authenticate(idp.token(groups=[]), "default", tables=desk.tables, keys=idp.keys, wall=desk.wall)
    assert explain(desk.call, who.actor, "models:approve", "model/x", tables=desk.tables)["allowed"] is False


def test_everybody_may_ask_about_themselves_and_about_others_who_may_read_access() -> None:
    desk = Desk()
    issue_token(desk.call, [], actor="bob", tables=desk.tables, log=desk.log)
    bob = acting(Identity(actor="bob", workspace="default"))
    assert explain(bob, "bob", "models:read", "model/x", tables=desk.tables)["allowed"] is False
    with pytest.raises(Forbidden, match="access:read"):
        explain(bob, "ann", "models:read", "model/x", tables=desk.tables)
    reader = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="reader"),)))
    assert explain(reader, "bob", "models:read", "model/x", tables=desk.tables)["credentials"]


def test_a_person_of_another_workspace_is_nobody_here() -> None:
    desk = Desk()
    issue_token(desk.call, [Grant(role="admin")], actor="bob", tables=desk.tables, log=desk.log)
    other = acting(Identity(actor="ann", workspace="other", grants=(Grant(role="admin"),)))
    told = explain(other, "bob", "models:read", "model/x", tables=desk.tables)
    assert told == {**explain(other, "nobody", "models:read", "model/x", tables=desk.tables), "actor": "bob"}


def test_the_matrix_is_what_decisions_are_made_of() -> None:
    assert matrix() == {role: list(allowed) for role, allowed in ACTIONS.items()}


def test_it_is_asked_over_http() -> None:
    doors = Doors()
    doors.registry.ok("POST", "/v1/access/tokens", {"actor": "bob", "grants": [{"role": "approver"}]})
    query = "actor=bob&action=models:approve&resource=model/flights"
    assert doors.registry.ok("GET", f"/v1/access/explain?{query}")["allowed"] is True
    for missing in ("actor=bob", "actor=bob&action=approve&resource=x", "action=a:b&resource=x"):
        assert doors.registry("GET", f"/v1/access/explain?{missing}")[0] == 400
    assert doors.registry.ok("GET", "/v1/access/roles")["roles"] == matrix()
