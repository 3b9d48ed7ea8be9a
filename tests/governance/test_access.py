"""Who may do what, and how callers prove who they are."""

import json
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http import handler_of, memory_wiring

from governance.desk import Desk
from modelwright.errors import Forbidden, InvalidInput
from modelwright.governance.access import (
    ACTIONS,
    Grant,
    Identity,
    Role,
    checked_actor,
    checked_workspace,
    decide,
    governs,
    passed_on,
    require,
    roles_for,
)
from modelwright.governance.tokens import COOKIE, issue_token
from modelwright.runtime import acting
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
    "models:receive": {"approver", "admin"},
    "features:push": {"contributor", "service", "admin"},
    "features:prove": {"contributor", "admin"},
    "predict:call": {"contributor", "service", "admin"},
    "retraining:request": {"contributor", "admin"},
    "rollouts:control": {"approver", "admin"},
    "quarantine:write": {"approver", "admin"},
    "access:write": {"admin"},
    "access:identify": {"admin"},
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


def test_who_is_denied_something_reads_no_log_which_tells_of_it_too() -> None:
    grants = [Grant(role="reader"), Grant(role="contributor", resources="model/secret", effect="deny")]
    assert decide(grants[:1], "log:read", "stream/WS#default#MODEL#7")
    for resource in ("workspace", "stream/WS#default#MODEL#7"):
        assert not decide(grants, "log:read", resource)
    assert decide(grants, "models:read", "model/flights")


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


# --- giving some of it to others ----------------------------------------------------------

RESOURCES = [
    "*",
    "model/*",
    "model/a*",
    "model/*a",
    "model/flights",
    "run/*",
    "model/?",
    "model/[ab]*",
    "*ab*",
    "*[ab]*",
]
held_grant = st.builds(
    Grant, role=st.sampled_from(ROLES), resources=st.sampled_from(RESOURCES), effect=st.sampled_from(["allow", "deny"])
)
names = st.from_regex(r"(model|run)/[ab*?]{0,3}", fullmatch=True)


@given(held=st.lists(held_grant, max_size=4), wanted=st.lists(held_grant, max_size=3), resource=names)
def test_nobody_gives_away_more_than_they_hold(held: list[Grant], wanted: list[Grant], resource: str) -> None:
    call = acting(Identity(actor="ann", workspace="default", grants=tuple(held)))
    try:
        given_away = passed_on(call, wanted)
    except Forbidden:
        return
    for action in MAY:
        assert decide(given_away, action, resource) <= decide(held, action, resource)


def test_who_is_admin_of_some_resources_gives_grants_on_those_alone() -> None:
    held = [Grant(role="admin", resources="model/a*")]
    assert governs(held, "model/ants")
    assert governs(held, "model/ab*")
    assert not governs(held, "model/*")
    assert not governs(held, "*")
    assert not governs([Grant(role="contributor")], "model/ants")
    assert not governs([*held, Grant(role="admin", resources="model/*", effect="deny")], "model/ants")


def test_other_wildcards_than_a_star_prove_nothing() -> None:
    assert governs([Grant(role="admin", resources="model/?")], "model/?")
    assert not governs([Grant(role="admin", resources="model/?")], "model/*")
    assert not governs([Grant(role="admin", resources="model/[*a]")], "model/*")
    assert not governs([Grant(role="admin", resources="*churn*")], "*[churn]*"), "the text alone fits"


def test_ones_own_denies_go_with_what_one_gives() -> None:
    deny = Grant(role="admin", resources="model/secret*", effect="deny")
    call = acting(Identity(actor="ann", workspace="default", grants=(Grant(role="admin"), deny)))
    assert passed_on(call, [Grant(role="contributor")]) == (Grant(role="contributor"), deny)


@given(grant)
def test_a_grant_survives_being_said_in_words(each: Grant) -> None:
    assert Grant.read(each.text) == each


def test_a_grant_of_a_resource_with_spaces_survives_too() -> None:
    each = Grant(role="reader", resources="model/two words on top")
    assert Grant.read(each.text) == each


def test_the_roles_that_may_do_an_action_are_those_of_the_matrix() -> None:
    for action, roles in MAY.items():
        assert set(roles_for(action)) == roles


@pytest.mark.parametrize(
    "actor", ["", "a b", "a#b", "#", "-x", "platform", "anonymous", "x" * 129, "é", "a\n", "iam-0123", "oidc-x"]
)
def test_an_actor_that_streams_and_logs_could_not_tell_is_refused(actor: str) -> None:
    with pytest.raises(InvalidInput, match="the actor"):
        checked_actor(actor)
    assert checked_actor("ann.lee@example.org") == "ann.lee@example.org"


@pytest.mark.parametrize("workspace", ["projects", "Projects", "PROJECTS"])
def test_no_workspace_is_called_as_another_prefix_of_the_bucket(workspace: str) -> None:
    with pytest.raises(InvalidInput, match="no workspace can be called"):
        checked_workspace(workspace)


# --- the authorizer ----------------------------------------------------------------------


def issued(desk: Desk, *grants: Grant, actor: str = "ann") -> str:
    return issue_token(desk.call, grants or (Grant(role="reader"),), actor=actor, tables=desk.tables, log=desk.log)


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
