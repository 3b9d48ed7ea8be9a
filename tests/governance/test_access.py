"""Who may do what, and how callers prove who they are."""

import json
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http import handler_of, memory_wiring

from governance.desk import Desk
from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from modelwright.governance.access import (
    ACTIONS,
    COOKIE,
    Grant,
    Identity,
    Role,
    authenticate,
    bootstrap_token,
    decide,
    issue_token,
    list_tokens,
    require,
    revoke_token,
)
from modelwright.storage import Key

ROLES: tuple[Role, ...] = get_args(Role)

MAY: dict[str, set[str]] = {
    "runs:read": {"reader", "contributor", "approver", "service", "admin"},
    "log:read": {"reader", "contributor", "approver", "service", "admin"},
    "experiments:write": {"contributor", "admin"},
    "runs:write": {"contributor", "service", "admin"},
    "artifacts:write": {"contributor", "service", "admin"},
    "models:write": {"contributor", "admin"},
    "models:transition": {"contributor", "approver", "admin"},
    "models:approve": {"approver", "admin"},
    "features:push": {"contributor", "service", "admin"},
    "predict:call": {"contributor", "service", "admin"},
    "retraining:request": {"contributor", "admin"},
    "rollouts:control": {"approver", "admin"},
    "quarantine:write": {"approver", "admin"},
    "access:write": {"admin"},
    "projects:write": {"admin"},
    "nobody:thought-of-this": {"admin"},
}


@pytest.mark.parametrize(("action", "role"), list(product(MAY, ROLES)))
def test_each_role_may_do_what_its_row_says(action: str, role: Role) -> None:
    assert decide([Grant(role=role)], action, "model/flights") == (role in MAY[action])


def test_the_matrix_names_every_role_and_every_action_that_one_is_granted() -> None:
    assert set(ACTIONS) == set(ROLES)
    granted = {pattern for patterns in ACTIONS.values() for pattern in patterns}
    assert {pattern for pattern in granted if "*" not in pattern} <= set(MAY)


def test_who_has_no_grant_may_do_nothing() -> None:
    assert not any(decide([], action, "model/flights") for action in MAY)


def test_a_grant_holds_for_the_resources_it_names() -> None:
    grants = [Grant(role="contributor", resources="model/flights")]
    assert decide(grants, "models:write", "model/flights")
    assert not decide(grants, "models:write", "model/flights2")
    assert not decide(grants, "models:write", "MODEL/flights")
    assert decide([Grant(role="reader", resources="model/*")], "models:read", "model/other")
    assert not decide([Grant(role="reader", resources="model/*")], "runs:read", "run/1")


def test_a_deny_wins_over_every_allow() -> None:
    grants = [Grant(role="admin"), Grant(role="contributor", resources="model/flights", effect="deny")]
    assert not decide(grants, "models:write", "model/flights")
    assert decide(grants, "models:write", "model/other")
    assert decide(grants, "models:approve", "model/flights")


grant = st.builds(
    Grant,
    role=st.sampled_from(ROLES),
    resources=st.sampled_from(["*", "model/*", "model/flights", "run/*"]),
    effect=st.sampled_from(["allow", "deny"]),
)
asked = st.tuples(st.sampled_from(sorted(MAY)), st.sampled_from(["model/flights", "model/x", "run/1", "workspace"]))


@given(grants=st.lists(grant, max_size=5), asked=asked, more=grant)
def test_denies_only_take_away_and_order_does_not_matter(
    grants: list[Grant], asked: tuple[str, str], more: Grant
) -> None:
    before = decide(grants, *asked)
    after = decide([*grants, more], *asked)
    assert after == decide([more, *grants[::-1]], *asked)
    if more.effect == "deny":
        assert after <= before
    else:
        assert after >= before


def test_a_refusal_names_who_may_not_do_what() -> None:
    with pytest.raises(Forbidden, match=r"ann \(reader\) may not models:write on model/flights"):
        require(
            Identity(actor="ann", workspace="default", grants=(Grant(role="reader"),)), "models:write", "model/flights"
        )


# --- tokens ------------------------------------------------------------------------------


def issued(desk: Desk, *grants: Grant, actor: str = "ann") -> str:
    return issue_token(desk.call, grants or (Grant(role="reader"),), actor=actor, tables=desk.tables, log=desk.log)


def test_a_token_says_who_holds_it() -> None:
    desk = Desk()
    grants = (Grant(role="contributor", resources="model/*"), Grant(role="reader", effect="deny"))
    who = authenticate(issued(desk, *grants), tables=desk.tables)
    assert who == Identity(actor="ann", workspace="default", grants=grants)


def test_nothing_that_is_stored_lets_anyone_in() -> None:
    desk = Desk()
    token = issued(desk)
    secret = token.split(".", 3)[3]
    everything = repr(desk.tables._items)
    assert secret not in everything
    (item,) = desk.tables.query("governance", "WS#default#TOKEN").items
    for stolen in (item["hash"], ""):
        with pytest.raises(Unauthenticated):
            authenticate(f"mw.default.{item['sk']}.{stolen}", tables=desk.tables)


def test_tokens_are_never_the_same() -> None:
    desk = Desk()
    assert len({issued(desk) for _ in range(20)}) == 20


def test_a_revoked_token_is_worth_nothing_at_once() -> None:
    desk = Desk()
    token, other = issued(desk), issued(desk)
    identity = token.split(".")[2]
    revoke_token(desk.call, identity, tables=desk.tables, log=desk.log)
    with pytest.raises(Unauthenticated):
        authenticate(token, tables=desk.tables)
    assert authenticate(other, tables=desk.tables).actor == "ann"
    changes = [item.envelope.data["change"] for item in desk.log.read("WS#default#ACCESS#tokens")]
    assert changes == ["issued", "issued", "revoked"]


def test_a_token_that_is_not_there_cannot_be_revoked() -> None:
    desk = Desk()
    with pytest.raises(NotFound, match="no token x"):
        revoke_token(desk.call, "x", tables=desk.tables, log=desk.log)


def wrong(token: str) -> dict[str, str]:
    _, workspace, identity, secret = token.split(".", 3)
    return {
        "empty": "",
        "no token": "hello",
        "other kind": f"xx.{workspace}.{identity}.{secret}",
        "wrong secret": f"mw.{workspace}.{identity}.{secret[:-1]}",
        "longer secret": f"mw.{workspace}.{identity}.{secret}x",
        "no secret": f"mw.{workspace}.{identity}.",
        "no id": f"mw.{workspace}..{secret}",
        "unknown id": f"mw.{workspace}.nobody.{secret}",
        "no workspace": f"mw..{identity}.{secret}",
        "other workspace": f"mw.other.{identity}.{secret}",
        "too long": f"mw.{workspace}.{'x' * 5000}.{secret}",
        "not ascii": f"mw.{workspace}.{identity}.🙂",
    }


@pytest.mark.parametrize("kind", list(wrong("mw.a.b.c")))
def test_a_token_that_is_not_valid_lets_nobody_in(kind: str) -> None:
    desk = Desk()
    token = wrong(issued(desk))[kind]
    with pytest.raises(Unauthenticated, match=r"^the token is not valid$"):
        authenticate(token, tables=desk.tables)


def test_only_who_may_can_make_or_revoke_tokens() -> None:
    desk = Desk()

    def nobody(action: str, resource: str) -> None:
        raise Forbidden(f"{action} {resource}")

    call = Call("default", "eve", desk.wall, "c", nobody)
    with pytest.raises(Forbidden, match="access:write token/eve"):
        issue_token(call, [Grant(role="admin")], actor="eve", tables=desk.tables, log=desk.log)
    with pytest.raises(Forbidden, match="access:write token/x"):
        revoke_token(call, "x", tables=desk.tables, log=desk.log)
    with pytest.raises(Forbidden, match="access:read"):
        list_tokens(call, tables=desk.tables)
    assert desk.tables.query("governance", "WS#default#TOKEN").items == ()


def test_a_list_of_tokens_shows_no_hash_and_only_this_workspace() -> None:
    desk = Desk()
    issued(desk)
    bootstrap_token("other", tables=desk.tables, now=desk.wall)
    (shown,) = list_tokens(desk.call, tables=desk.tables)
    assert set(shown) == {"id", "actor", "grants", "issued", "revoked"}


def test_the_first_token_is_an_administrators() -> None:
    desk = Desk()
    who = authenticate(bootstrap_token("default", tables=desk.tables, now=desk.wall), tables=desk.tables)
    assert decide(who.grants, "access:write", "token/x")


@pytest.mark.parametrize("workspace", ["", "a.b", "a#b", "a b"])
def test_a_workspace_that_would_break_keys_is_refused(workspace: str) -> None:
    desk = Desk()
    with pytest.raises(InvalidInput, match="workspace"):
        bootstrap_token(workspace, tables=desk.tables, now=desk.wall)


# --- the authorizer ----------------------------------------------------------------------


@pytest.fixture
def desk() -> Desk:
    return Desk()


def answer(desk: Desk, **request: Any) -> Any:
    return handler_of("authorize", memory_wiring(tables=desk.tables))({"version": "2.0", **request})


def test_a_bearer_is_authorized_with_who_it_is(desk: Desk) -> None:
    said = answer(desk, headers={"Authorization": f"bearer {issued(desk)}"})
    assert said["isAuthorized"] is True
    assert (said["context"]["actor"], said["context"]["workspace"]) == ("ann", "default")
    assert json.loads(said["context"]["grants"]) == [Grant(role="reader").model_dump()]


@pytest.mark.parametrize(
    "others",
    [[], ["a=1", "b=2"], ["a,b/c=1"], ['x={"json": "a b"}'], ["novalue"], ["é=1"], [f"{COOKIE}2=x"], ["=;;="]],
    ids=str,
)
@pytest.mark.parametrize("as_header", [False, True])
def test_a_browser_is_authorized_by_its_cookie_whatever_other_cookies_it_has(
    desk: Desk, others: list[str], *, as_header: bool
) -> None:
    cookies = [*others, f"{COOKIE}={issued(desk)}"]
    request: dict[str, Any] = {"headers": {"cookie": "; ".join(cookies)}} if as_header else {"cookies": cookies}
    assert answer(desk, **request)["isAuthorized"] is True


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"headers": None},
        {"headers": {}},
        {"headers": {"authorization": "Basic YTpi"}},
        {"headers": {"authorization": "Bearer"}},
        {"headers": {"authorization": "Bearer mw.default.x.y"}},
        {"cookies": [f"{COOKIE}="]},
        {"cookies": []},
    ],
    ids=str,
)
def test_whoever_has_no_valid_token_is_not_authorized(desk: Desk, request_: dict[str, Any]) -> None:
    assert answer(desk, **request_) == {"isAuthorized": False}


def test_the_authorizer_writes_nothing(desk: Desk) -> None:
    token = issued(desk)
    before = repr(desk.tables._items)
    answer(desk, headers={"authorization": f"Bearer {token}"})
    assert repr(desk.tables._items) == before
    assert desk.tables.get("governance", Key("WS#default#TOKEN", token.split(".")[2])) is not None
