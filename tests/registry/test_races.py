"""Two people (or functions) at once: whichever of their calls comes first, there is one end, and each is told of it."""

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import deliver
from support.interruptions import Interrupted
from support.mlflow_desk import API, envelope_of, event_of
from tracking.interleaving import Stage, TurnTables, play

from modelwright import plugins
from registry import panel
from registry.panel import Panel

Deed = Callable[[Panel, str], Any]


@pytest.fixture(autouse=True, scope="module")
def installed_gates() -> Iterator[None]:
    """The package under test may run from its source tree, which has no entry points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "entry_points", panel.entry_points)
        yield


def does(verb: str, actor: str, **body: Any) -> Deed:
    return lambda desk, request: desk.do(verb, request, actor, **body)


def asks(version: int, actor: str = "dot", **more: Any) -> Deed:
    return lambda desk, request: desk.send(desk.asks(version, actor=actor, **more))


def asks_the_same(desk: Panel, request: str) -> Any:
    event = desk.said("POST", panel.MODELS, {"version": 3, "alias": "champion"}, "dot", idempotency_key="k")
    return desk.send(event)


def schedule(desk: Panel, request: str) -> Any:
    return desk.registry(desk.due())


def deletes(desk: Panel, request: str) -> Any:
    body = {"name": "flights", "version": "1"}
    return desk.send(desk.said("DELETE", f"{API}/model-versions/delete", body, "eve"))


def trains(desk: Panel, request: str) -> Any:
    return deliver(desk.registry, envelope_of(event_of("registry-training-completed.json"), at=desk.now))


def judges(desk: Panel, request: str) -> Any:
    asked = next(item for item in desk.events() if item.envelope.data.get("request_id") == request)
    return deliver(desk.gates, asked.envelope)


def tags(desk: Panel, request: str) -> Any:
    body = {"name": "flights", "version": "1", "key": "k", "value": "v"}
    return desk.send(desk.said("POST", f"{API}/model-versions/set-tag", body, "eve"))


WAITING: dict[str, tuple[dict[str, Any], dict[str, Deed]]] = {
    "one approval is needed": (
        {"approvals": 1, "waits_days": 2},
        {
            "bob approves": does("approve", "bob"),
            "cid approves": does("approve", "cid"),
            "cid rejects": does("reject", "cid", reason="no"),
            "ann withdraws": does("withdraw", "ann"),
            "the version is deleted": deletes,
            "the version is tagged": tags,
            "eve overrides": asks(1, "eve", force=True, reason="outage"),
            "eve overrides otherwise": asks(2, "eve", force=True, reason="outage"),
            "dot asks for another": asks(3),
        },
    ),
    "two approvals are needed": (
        {"approvals": 2},
        {
            "bob approves": does("approve", "bob"),
            "cid approves": does("approve", "cid"),
            "dot approves": does("approve", "dot"),
            "cid rejects": does("reject", "cid", reason="no"),
        },
    ),
    "it is overdue": (
        {"approvals": 1, "waits_days": 2},
        {
            "bob approves": does("approve", "bob"),
            "the schedule comes": schedule,
            "it comes again": schedule,
            "ann withdraws": does("withdraw", "ann"),
            "dot asks for the same": asks(1),
        },
    ),
    "gates are still to be run": (
        {"gates": ["compares", "slow"], "approvals": 1, "approve": ["challenger"]},
        {
            "it is judged": judges,
            "it is judged by another": judges,
            "ann withdraws": does("withdraw", "ann"),
            "the version is deleted": deletes,
            "the same is asked": asks_the_same,
            "the same is asked again": asks_the_same,
            "a training ends": trains,
            "the champion changes": asks(2, "eve", force=True, reason="outage"),
        },
    ),
}
CASES = [(state, one, other) for state, (_, deeds) in WAITING.items() for one, other in permutations(deeds, 2)]


def arranged(state: str, tables: Any) -> tuple[Panel, str]:
    desk = Panel(tables=tables, policy=WAITING[state][0])
    request = desk.ask(1)["request_id"]
    desk.pass_days(3 if state == "it is overdue" else 0.1)
    return desk, request


@pytest.mark.parametrize(("state", "one", "other"), CASES)
def test_all_of_the_other_between_any_two_calls_of_the_one(state: str, one: str, other: str) -> None:
    deeds = WAITING[state][1]
    position, reached = 0, True
    while reached:
        tables = Interrupted()
        desk, request = arranged(state, tables)
        tables.plan[tables.calls + position] = lambda d=desk, r=request: deeds[other](d, r)  # type: ignore[misc]
        deeds[one](desk, request)
        reached, position = not tables.plan, position + 1
        for late in list(tables.plan.values()):
            tables.plan.clear()
            late()
        ended(desk, request, (one, other))


@pytest.mark.parametrize("state", WAITING)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_two_in_any_order_of_their_calls(state: str, data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(WAITING[state][1])))[:2]
    turns = data.draw(st.lists(st.integers(0, 1), max_size=24))
    tables = TurnTables(Stage())
    desk, request = arranged(state, tables)
    deeds = [WAITING[state][1][name] for name in names]
    play(tables, [lambda deed=deed: deed(desk, request) for deed in deeds], turns)  # type: ignore[misc]
    ended(desk, request, tuple(names))


@settings(max_examples=100, deadline=None)
@given(turns=st.lists(st.integers(0, 2), max_size=40))
def test_three_approvers_of_two_that_are_needed(turns: list[int]) -> None:
    tables = TurnTables(Stage())
    desk, request = arranged("two approvals are needed", tables)
    answers: list[int] = []
    people = ("bob", "cid", "dot")
    play(tables, [lambda p=p: answers.append(desk.do("approve", request, p)[0]) for p in people], turns)  # type: ignore[misc]
    assert sorted(answers) == [200, 200, 409]  # who was too late is told so
    assert len(desk.shown(request)["approvals"]) == 2
    ended(desk, request, people)


def ended(desk: Panel, request: str, deeds: tuple[str, ...]) -> None:
    """Assert that there is one end, and that it is the one that the deeds lead to."""
    desk.publish()
    desk.check()
    found = desk.document(f"REQUEST#{request}")
    if {"bob approves", "cid approves"} <= set(deeds):
        assert (found["state"], desk.aliases) == ("applied", {"champion": 1})
    if {"the schedule comes", "it comes again"} & set(deeds):
        assert found["why"] == "expired"
    if "the version is deleted" in deeds:
        assert desk.aliases.get("champion") != 1
        assert found["state"] in ("applied", "refused")
    if {"the same is asked", "the same is asked again"} <= set(deeds):
        assert len(desk.documents("REQUEST#")) == 2
