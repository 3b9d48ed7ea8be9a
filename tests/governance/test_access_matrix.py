"""Role x action x resource, asked of every route: the answers are what the policy says, and nothing else.

What a route asks of its caller is written down in ``actions.txt``; what a role may do is ``access.ACTIONS``, which is
the policy. Each route is asked by each role, granted on everything, on the very resource, on another one, and taken
away again; the answer is 403 exactly where the policy says no, and then, and only then, it is in the log.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from template.stack import Stack, handlers, the_template

from governance.estate import CLOSED, Estate
from modelwright.governance.access import ACTIONS, Grant, Role, decide

ROLES: tuple[Role, ...] = get_args(Role)
ELSEWHERE = "nothing/at-all"


@dataclass(frozen=True)
class Asked:
    """What a route asks of its caller.

    Attributes:
        needs: actions and resources, each of which is refused alone.
        lists: what its answer has if the caller may see it, or, after ``!``, if not; it is not refused but left out.
    """

    needs: tuple[tuple[str, str], ...] = ()
    lists: str = ""

    @classmethod
    def read(cls, text: str) -> "Asked":
        """Read a line's right side."""
        if text == "anyone":
            return cls()
        text, _, lists = text.removeprefix("lists ").partition(" : ")
        return cls(tuple((each.split(" ")[0], each.split(" ")[1]) for each in text.split(" + ")), lists)

    def shown_in(self, said: Any) -> bool:
        """Say whether an answer has what it lists."""
        text = self.lists.removeprefix("!")
        return (text in json.dumps(said)) != self.lists.startswith("!")


def table() -> dict[str, Asked]:
    """Return what every route asks, as it is written down."""
    lines = (Path(__file__).parent / "actions.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split(" => ") for line in lines if not line.startswith("#")]
    return {key: Asked.read(asked) for key, asked in parts}


TABLE = table()


def held(resource: str) -> Iterator[tuple[str, tuple[Grant, ...]]]:
    """Yield every way in which a role may be held, and what to call it."""
    for role in ROLES:
        yield f"{role} on *", (Grant(role=role),)
        yield f"{role} on {resource}", (Grant(role=role, resources=resource),)
        yield f"{role} on {ELSEWHERE}", (Grant(role=role, resources=ELSEWHERE),)
        taken = Grant(role=role, resources=resource, effect="deny")
        yield f"{role} on * but {resource}", (Grant(role=role), taken)
        yield f"admin on * but not {role} on {resource}", (Grant(role="admin"), taken)
    yield "nothing", ()


@pytest.fixture(scope="module")
def estate() -> Estate:
    return Estate()


def test_every_route_says_what_it_asks_and_no_other_does() -> None:
    missing = sorted(set(CLOSED) - set(TABLE))
    assert not missing, f"add to {Path(__file__).parent / 'actions.txt'}: {missing}"
    assert sorted(set(TABLE) - set(CLOSED)) == [], "these are no routes (any more)"


@pytest.mark.parametrize("key", sorted(set(TABLE) & set(CLOSED)))
def test_a_route_answers_each_role_as_the_policy_says(key: str, estate: Estate) -> None:
    asked = TABLE[key]
    needs = tuple((action, resource.format(**estate.held)) for action, resource in asked.needs)
    for name, grants in held(needs[0][1] if needs else "*"):
        allowed = all(decide(grants, action, resource) for action, resource in needs)
        if allowed and key.endswith("/rotate") and any(grant.effect == "deny" for grant in grants):
            continue  # the token is not bound by that deny: see test_access_tokens
        status, said = estate.ask(key, grants, actor="bob" if key.endswith("/withdraw") else "ann")
        if asked.lists:
            assert status == 200, (name, status, said)
            assert asked.shown_in(said) == allowed, (name, said)
        else:
            assert (status == 403) != allowed, (name, status, said)
            assert allowed or refused(said, needs, grants), (name, said)
        denied = {action for action, resource in needs if not decide(grants, action, resource)}
        assert [bool(correlation) for _, correlation in estate.refusals] == [True] * (status == 403), name
        assert {action for action, _ in estate.refusals} <= denied, (name, estate.refusals)


def refused(said: Any, needs: Sequence[tuple[str, str]], grants: Sequence[Grant]) -> bool:
    """Say whether a refusal names the action and the resource that were denied."""
    text = json.dumps(said)
    denied = [(action, resource) for action, resource in needs if not decide(grants, action, resource)]
    return any((f"{action} on " in text and resource in text) or "may not give" in text for action, resource in denied)


def test_each_role_is_allowed_something_and_refused_something() -> None:
    """Guards the test above: a matrix of one kind of answer alone could hide anything."""
    needed = {need for asked in TABLE.values() for need in asked.needs}
    for role in ROLES:
        answers = {decide((Grant(role=role),), *need) for need in needed}
        assert answers == ({True} if role == "admin" else {True, False}), role


def test_every_action_that_a_role_is_granted_is_one_that_some_route_asks() -> None:
    asked = {action for each in TABLE.values() for action, _ in each.needs}
    named = {action for actions in ACTIONS.values() for action in actions if "*" not in action}
    assert named <= asked


# --- every door has a lock ---------------------------------------------------------------

OPEN = {"GET /", "GET /health", "GET /version", "GET /login", "POST /login", "POST /logout"}
"""Login, health and version, and where the root leads to."""
PAGES = {"GET /console", "GET /console/{proxy+}"}
"""These send who did not sign in to the form, and are in the matrix for who did."""


def test_the_gateway_asks_for_a_token_everywhere_but_at_the_way_in() -> None:
    stack = Stack.of(the_template())
    found = set()
    for identity in handlers(stack):
        for trigger in stack.triggers(identity, "HttpApi").values():
            if trigger.get("Auth", {}).get("Authorizer") == "NONE":
                assert trigger["ApiId"] == {"Ref": "Api"}, "nothing is open where requests are signed"
                found.add(f"{trigger['Method']} {trigger['Path']}")
    assert found <= OPEN | PAGES
    assert "GET /health" in found


def test_the_gateway_keeps_no_answer_of_the_authorizer() -> None:
    """What expires or is revoked ends at once, not when a cache forgets it."""
    api = the_template()["Resources"]["Api"]["Properties"]["Auth"]
    assert api["DefaultAuthorizer"] == "Bearer"
    assert api["Authorizers"]["Bearer"]["Identity"]["ReauthorizeEvery"] == 0
    assert "Headers" not in api["Authorizers"]["Bearer"]["Identity"]
    assert the_template()["Resources"]["SignedApi"]["Properties"]["Auth"]["DefaultAuthorizer"] == "AWS_IAM"
