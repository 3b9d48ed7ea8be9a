"""Tokens: made, listed, rotated, revoked; what is kept of them lets nobody in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.mlflow_desk import Desk as Doors

from governance.desk import Desk
from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.errors import (
    AlreadyExists,
    ConditionFailed,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
)
from modelwright.governance.access import Grant, Identity, decide
from modelwright.governance.tokens import (
    authenticate,
    bootstrap_token,
    issue_token,
    list_tokens,
    revoke_token,
    rotate_token,
)
from modelwright.runtime import acting
from modelwright.storage import Item, Key, TableName


def issued(desk: Desk, *grants: Grant, actor: str = "ann") -> str:
    return issue_token(desk.call, grants or (Grant(role="reader"),), actor=actor, tables=desk.tables, log=desk.log)


def test_a_token_says_who_holds_it() -> None:
    desk = Desk()
    grants = (Grant(role="contributor", resources="model/*"), Grant(role="reader", effect="deny"))
    who = authenticate(issued(desk, *grants), tables=desk.tables, wall=desk.wall)
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
            authenticate(f"mw.default.{item['sk']}.{stolen}", tables=desk.tables, wall=desk.wall)


def test_tokens_are_never_the_same() -> None:
    desk = Desk()
    assert len({issued(desk) for _ in range(20)}) == 20


def test_a_revoked_token_is_worth_nothing_at_once() -> None:
    desk = Desk()
    token, other = issued(desk), issued(desk)
    identity = token.split(".")[2]
    revoke_token(desk.call, identity, tables=desk.tables, log=desk.log)
    with pytest.raises(Unauthenticated):
        authenticate(token, tables=desk.tables, wall=desk.wall)
    assert authenticate(other, tables=desk.tables, wall=desk.wall).actor == "ann"
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
        authenticate(token, tables=desk.tables, wall=desk.wall)


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
    assert set(shown) == {"id", "actor", "grants", "issued", "expires", "rotated", "revoked", "shown_to"}


def test_a_list_says_to_whom_a_tokens_secrets_were_shown() -> None:
    """They could come by its actor's name: an auditor of four eyes asks who they are."""
    desk = Desk()
    made = issued(desk, actor="bob")
    sue = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin"),)))
    for _ in range(2):
        rotate_token(sue, made.split(".")[2], tables=desk.tables, log=desk.log)
    (shown,) = list_tokens(desk.call, tables=desk.tables)
    assert shown["shown_to"] == ["platform", "sue"]


def test_the_first_token_is_an_administrators() -> None:
    desk = Desk()
    who = authenticate(
        bootstrap_token("default", tables=desk.tables, now=desk.wall), tables=desk.tables, wall=desk.wall
    )
    assert decide(who.grants, "access:write", "token/x")


def test_an_administrators_token_that_a_deployer_makes_is_in_the_log() -> None:
    desk = Desk()
    token = bootstrap_token("team-b", tables=desk.tables, now=desk.wall, log=desk.log)
    (item,) = desk.log.read("WS#team-b#ACCESS#tokens")
    assert (item.envelope.actor, item.envelope.data["change"]) == ("platform", "issued")
    assert (item.envelope.data["actor"], item.envelope.data["token_id"]) == ("administrator", token.split(".")[2])


@pytest.mark.parametrize("workspace", ["", "a.b", "a#b", "a b", "projects"])
def test_a_workspace_that_would_break_keys_is_refused(workspace: str) -> None:
    desk = Desk()
    with pytest.raises(InvalidInput, match="workspace"):
        bootstrap_token(workspace, tables=desk.tables, now=desk.wall)


# --- expiry ------------------------------------------------------------------------------


def test_a_token_is_good_until_it_expires_and_no_longer() -> None:
    desk = Desk()
    until = desk.wall + timedelta(days=7)
    token = issue_token(desk.call, [Grant(role="reader")], actor="ann", tables=desk.tables, log=desk.log, expires=until)
    assert authenticate(token, tables=desk.tables, wall=until - timedelta(seconds=1)).actor == "ann"
    for late in (until, until + timedelta(days=1)):
        with pytest.raises(Unauthenticated, match=r"^the token is not valid$"):
            authenticate(token, tables=desk.tables, wall=late)
    (item,) = desk.log.read("WS#default#ACCESS#tokens")
    assert item.envelope.data["expires"] == until.isoformat()


def test_a_token_that_would_have_expired_already_is_not_made() -> None:
    desk = Desk()
    with pytest.raises(InvalidInput, match="would have expired already"):
        issue_token(desk.call, [], actor="ann", tables=desk.tables, log=desk.log, expires=desk.wall)
    assert desk.tables.query("governance", "WS#default#TOKEN").items == ()


def test_the_log_says_who_got_what_from_whom() -> None:
    desk = Desk()
    issued(desk, Grant(role="approver", resources="model/a*"), actor="bob")
    (item,) = desk.log.read("WS#default#ACCESS#tokens")
    assert item.envelope.actor == "platform"
    assert (item.envelope.data["actor"], item.envelope.data["grants"]) == ("bob", ["allow approver on model/a*"])


def test_the_same_request_makes_no_second_token() -> None:
    desk = Desk()
    call = Call("default", "ann", desk.wall, "c", request="key once")
    token = issue_token(call, [Grant(role="reader")], actor="bob", tables=desk.tables, log=desk.log)
    with pytest.raises(AlreadyExists, match=f"made token {token.split('.')[2]} before"):
        issue_token(call, [Grant(role="reader")], actor="bob", tables=desk.tables, log=desk.log)
    assert len(list_tokens(desk.call, tables=desk.tables)) == 1


# --- rotation ----------------------------------------------------------------------------


def rotated(desk: Desk, token: str, **grace: float) -> str:
    identity = token.split(".")[2]
    return rotate_token(desk.call, identity, tables=desk.tables, log=desk.log, grace=timedelta(**grace))


def valid(desk: Desk, token: str) -> bool:
    try:
        return authenticate(token, tables=desk.tables, wall=desk.wall).actor == "ann"
    except Unauthenticated:
        return False


def test_rotating_gives_a_new_secret_to_the_same_token() -> None:
    desk = Desk()
    old = issued(desk, Grant(role="contributor"))
    new = rotated(desk, old)
    assert new.split(".")[:3] == old.split(".")[:3]
    assert (valid(desk, old), valid(desk, new)) == (False, True)
    assert authenticate(new, tables=desk.tables, wall=desk.wall).grants == (Grant(role="contributor"),)
    assert [i.envelope.data["change"] for i in desk.log.read("WS#default#ACCESS#tokens")] == ["issued", "rotated"]


def test_the_old_secret_is_good_until_the_grace_is_over() -> None:
    desk = Desk()
    old = issued(desk)
    new = rotated(desk, old, hours=2)
    assert (valid(desk, old), valid(desk, new)) == (True, True)
    desk.wait(hours=2)
    assert (valid(desk, old), valid(desk, new)) == (False, True)


def test_a_rotation_whose_answer_was_lost_does_not_lock_the_first_secret_out() -> None:
    desk = Desk()
    old = issued(desk)
    lost, new = rotated(desk, old, hours=2), rotated(desk, old, hours=1)
    assert [valid(desk, each) for each in (old, lost, new)] == [True, True, True]
    desk.wait(hours=1)
    assert [valid(desk, each) for each in (old, lost, new)] == [True, False, True]


def test_only_a_few_former_secrets_are_kept() -> None:
    desk = Desk()
    first = token = issued(desk)
    for _ in range(5):
        token = rotated(desk, token, hours=24)
    assert (valid(desk, first), valid(desk, token)) == (False, True)
    (item,) = desk.tables.query("governance", "WS#default#TOKEN").items
    assert len(item["former"]) == 4


def test_revoking_ends_every_secret_of_a_token_and_twice_is_once() -> None:
    desk = Desk()
    old = issued(desk)
    new = rotated(desk, old, hours=24)
    for _ in range(2):
        revoke_token(desk.call, new.split(".")[2], tables=desk.tables, log=desk.log)
    assert (valid(desk, old), valid(desk, new)) == (False, False)
    changes = [i.envelope.data["change"] for i in desk.log.read("WS#default#ACCESS#tokens")]
    assert changes == ["issued", "rotated", "revoked"]
    with pytest.raises(Conflict, match="make a new one"):
        rotated(desk, new)


class Racing(MemoryTables):
    """Tables in which something happens between the first look at a token and what is written of it."""

    between: Callable[[], None] | None = None

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        found = super().get(table, key)
        if (happens := self.between) is not None:
            self.between = None
            happens()
        return found


def test_a_rotation_that_meets_a_revocation_brings_no_token_back_to_life() -> None:
    tables = Racing()
    desk = Desk(tables)
    token = issued(desk)
    identity = token.split(".")[2]
    tables.between = lambda: revoke_token(desk.call, identity, tables=tables, log=desk.log)
    with pytest.raises(ConditionFailed):
        rotated(desk, token, hours=1)
    (item,) = tables.query("governance", "WS#default#TOKEN").items
    assert (item["revoked"], item["hash"], item["former"]) == (1, "", [])
    assert not valid(desk, token)


@pytest.mark.parametrize("grace", [timedelta(hours=25), timedelta(seconds=-1)])
def test_a_grace_of_more_than_a_day_is_refused(grace: timedelta) -> None:
    desk = Desk()
    token = issued(desk)
    with pytest.raises(InvalidInput, match="0 to 24 hours"):
        rotate_token(desk.call, token.split(".")[2], tables=desk.tables, log=desk.log, grace=grace)
    assert valid(desk, token)


# --- administrators of some resources ------------------------------------------------------


def scoped(*grants: Grant) -> Call:
    return acting(
        Identity(actor="sue", workspace="default", grants=grants or (Grant(role="admin", resources="model/a*"),))
    )


def test_who_is_admin_of_some_models_lets_others_at_those() -> None:
    desk = Desk()
    given = [Grant(role="contributor", resources="model/ants"), Grant(role="reader", resources="model/a*")]
    token = issue_token(scoped(), given, actor="bob", tables=desk.tables, log=desk.log, wall=desk.wall)
    assert authenticate(token, tables=desk.tables, wall=desk.wall).grants == tuple(given)
    identity = token.split(".")[2]
    token = rotate_token(scoped(), identity, tables=desk.tables, log=desk.log, wall=desk.wall)
    revoke_token(scoped(), identity, tables=desk.tables, log=desk.log)
    assert not valid(desk, token)


@pytest.mark.parametrize("resources", ["*", "model/*", "model/b", "run/1", "token/bob"])
def test_and_at_nothing_else(resources: str) -> None:
    desk = Desk()
    with pytest.raises(Forbidden):
        issue_token(
            scoped(), [Grant(role="reader", resources=resources)], actor="bob", tables=desk.tables, log=desk.log
        )
    assert desk.tables.query("governance", "WS#default#TOKEN").items == ()


def test_a_deny_on_access_wins_over_being_admin_of_what_is_given() -> None:
    desk = Desk()
    call = scoped(Grant(role="admin"), Grant(role="admin", resources="token/bob", effect="deny"))
    with pytest.raises(Forbidden, match="access:write on token/bob"):
        issue_token(call, [Grant(role="reader")], actor="bob", tables=desk.tables, log=desk.log)
    assert issue_token(call, [Grant(role="reader")], actor="eve", tables=desk.tables, log=desk.log)


def test_who_may_make_tokens_still_gives_no_more_than_they_hold() -> None:
    desk = Desk()
    call = scoped(Grant(role="admin", resources="token/*"))
    with pytest.raises(Forbidden, match="may not give `allow admin on \\*`"):
        issue_token(call, [Grant(role="admin")], actor="sue", tables=desk.tables, log=desk.log)


def test_nobody_rotates_or_revokes_a_token_that_holds_more_than_they_do() -> None:
    desk = Desk()
    identity = issued(desk, Grant(role="admin")).split(".")[2]
    with pytest.raises(Forbidden):
        rotate_token(scoped(), identity, tables=desk.tables, log=desk.log)
    with pytest.raises(Forbidden):
        revoke_token(scoped(), identity, tables=desk.tables, log=desk.log)
    for unknown in (revoke_token, rotate_token):
        with pytest.raises(Forbidden):
            unknown(scoped(), "nobody", tables=desk.tables, log=desk.log)


def test_who_is_denied_something_rotates_no_token_that_is_free_of_that() -> None:
    """They would be shown its secret, and could do with it what they are denied."""
    desk = Desk()
    deny = Grant(role="admin", resources="model/secret", effect="deny")
    call = acting(Identity(actor="sue", workspace="default", grants=(Grant(role="admin"), deny)))
    free = issued(desk, Grant(role="admin"))
    with pytest.raises(Forbidden, match="not bound by `deny admin on model/secret`"):
        rotate_token(call, free.split(".")[2], tables=desk.tables, log=desk.log)
    assert authenticate(free, tables=desk.tables, wall=desk.wall).actor == "ann"
    bound = issue_token(call, [Grant(role="admin")], actor="ben", tables=desk.tables, log=desk.log)
    turned = rotate_token(call, bound.split(".")[2], tables=desk.tables, log=desk.log)
    assert deny in authenticate(turned, tables=desk.tables, wall=desk.wall).grants


# --- over HTTP ---------------------------------------------------------------------------


@pytest.fixture
def doors() -> Doors:
    return Doors()


def test_a_token_is_made_for_some_days_rotated_and_explained(doors: Doors) -> None:
    asked: dict[str, Any] = {"actor": "bob", "grants": [{"role": "reader"}], "days": 30}
    made = doors.registry.ok("POST", "/v1/access/tokens", asked)
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    new = doors.registry.ok("POST", f"/v1/access/tokens/{made['id']}/rotate", {"grace_hours": 1})["token"]
    wall = datetime.now(UTC)
    assert {authenticate(each, tables=doors.tables, wall=wall).actor for each in (new, made["token"])} == {"bob"}
    (listed,) = doors.registry.ok("GET", "/v1/access/tokens")["tokens"]
    assert listed["expires"] == made["expires"]
    assert listed["rotated"]
    assert not [token for token in (new, made["token"]) if token.split(".")[3] in str(listed)]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"days": 1, "expires": "2030-01-01"}, "not both"),
        ({"days": 0}, "days"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expired already"),
        ({"expires": "9999-12-31T23:59:59-14:00"}, "is no time of the years"),
        ({"actor": "a#b"}, "the actor"),
        ({"grants": [{"role": "king"}]}, "role"),
        ({"surprise": 1}, "surprise"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named_and_makes_no_token(doors: Doors, said: dict[str, Any], fault: str) -> None:
    status, told = doors.registry("POST", "/v1/access/tokens", {"actor": "bob", "grants": [], **said})
    assert status == 400
    assert fault in told["message"]
    assert doors.registry.ok("GET", "/v1/access/tokens")["tokens"] == []
