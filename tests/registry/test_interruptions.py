"""The process is killed at every call of a request's way, before it and after it, and then asked the same again."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest
from support.http import deliver
from support.interruptions import Interrupted, Killed
from support.mlflow_desk import API, envelope_of, event_of

from modelwright import plugins
from registry import panel
from registry.panel import MODELS, START, Panel

Moment = Literal["before", "after"]
Step = Callable[[Panel], Any]
"""Does something that can be repeated, and returns what was answered."""


@pytest.fixture(autouse=True)
def installed_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package under test may run from its source tree, which has no entry points."""
    monkeypatch.setattr(plugins, "entry_points", panel.entry_points)


def asks(version: int, alias: str = "champion", actor: str = "ann", **more: Any) -> Callable[[Panel], Step]:
    return lambda desk: sends(desk.asks(version, alias, actor, **more))


def does(verb: str, actor: str, **body: Any) -> Callable[[Panel], Step]:
    """About the newest request."""

    def prepared(desk: Panel) -> Step:
        newest = desk.ok(desk.said("GET", MODELS))["transitions"][0]["request_id"]
        return sends(desk.does(verb, newest, actor, **body))

    return prepared


def sends(event: dict[str, Any]) -> Step:
    return lambda desk: desk.send(event)


def published(desk: Panel) -> Step:
    return lambda desk: desk.publish()


def due(days: float) -> Callable[[Panel], Step]:
    def prepared(desk: Panel) -> Step:
        desk.pass_days(days)
        event = desk.due()
        return lambda desk: desk.registry(event)

    return prepared


def trained(training: str, days: int) -> Callable[[Panel], Step]:
    event, at = event_of("registry-training-completed.json", training_id=training), START + timedelta(days=days)
    envelope = envelope_of(event, at=at)
    return lambda _: lambda desk: deliver(desk.registry, envelope)


def promoted(challenger: int) -> Callable[[Panel], Step]:
    event = event_of("registry-rollout-promoted.json", challenger=challenger)
    envelope = envelope_of(event, at=START)
    return lambda _: lambda desk: deliver(desk.registry, envelope)


def deletes(version: int) -> Callable[[Panel], Step]:
    body = {"name": "flights", "version": str(version)}
    return lambda desk: sends(desk.said("DELETE", f"{API}/model-versions/delete", body, "eve"))


STORIES: dict[str, tuple[dict[str, Any], list[Callable[[Panel], Step]]]] = {
    "applied at once": ({}, [asks(1), asks(2), asks(3, "challenger"), asks(3)]),
    "refused at once": ({"gates": ["light"]}, [asks(7)]),
    "overridden": ({"gates": ["light"], "approvals": 1}, [
        asks(7), asks(1), asks(1, actor="eve", force=True, reason="x"),
    ]),
    "approved": ({"approvals": 2}, [asks(1), does("approve", "bob"), does("approve", "cid")]),
    "rejected": ({"approvals": 2}, [asks(1), does("approve", "bob"), does("reject", "cid", reason="no")]),
    "withdrawn": ({"approvals": 1}, [asks(1), does("withdraw", "ann")]),
    "judged elsewhere": ({"gates": ["light", "slow"]}, [asks(1), published, asks(8), published, asks(9), published]),
    "judged and approved": ({"gates": ["slow"], "approvals": 1}, [asks(1), published, does("approve", "bob")]),
    "judged anew": (
        {"gates": ["compares", "slow"], "approvals": 1, "approve": ["challenger"]},
        [asks(2), published, asks(3, "challenger"), published, asks(4), published, asks(6, "challenger"), published,
         asks(1), published, does("approve", "bob")],
    ),
    "judged anew, with a no": (
        {"gates": ["compares"], "approvals": 1, "approve": ["challenger"]},
        [asks(3, "challenger"), asks(1), due(0), does("approve", "bob")],
    ),
    "expired": ({"approvals": 1, "waits_days": 2}, [asks(1), asks(2), due(1), due(1), asks(1)]),
    "too late": ({"approvals": 1, "waits_days": 2}, [asks(1), due(1), due(3), does("approve", "bob")]),
    "trained": ({"approvals": 1, "approve": ["challenger"]}, [
        trained("t1", 1), trained("t2", 2), trained("t3", 3), does("approve", "bob"),
    ]),
    "promoted": ({"approvals": 1, "approve": ["champion"]}, [asks(2, "challenger"), asks(2), promoted(2)]),
    "deleted": ({"approvals": 1}, [asks(1), asks(2), deletes(1)]),
}  # fmt: skip


def told(story: str, killed_at: tuple[int, int, Moment] | None = None) -> tuple[Any, list[int]]:
    """Tell a story, every step twice, and return all that came of it, and how many calls each step took at first.

    Args:
        story: whose policy and steps.
        killed_at: the step, its call, and when, at which the process dies once.
    """
    policy, steps = STORIES[story]
    tables = Interrupted()
    desk = Panel(tables=tables, policy=policy, versions=9)
    answers, calls = [], []
    for number, prepare in enumerate(steps):
        step, first = prepare(desk), tables.calls
        if killed_at is not None and killed_at[0] == number:
            setattr(tables, f"dies_{killed_at[2]}", first + killed_at[1])
            with pytest.raises(Killed):
                step(desk)
            tables.dies_before = tables.dies_after = -1
        step(desk)
        calls.append(tables.calls - first)
        answers.append(step(desk))
    desk.check()
    model = {key: value for key, value in desk.document("META").items() if key != "salt"}
    return (answers, desk.told(), desk.documents("REQUEST#"), model), calls


def moments(story: str) -> Iterator[tuple[int, int, Moment]]:
    for number, calls in enumerate(told(story)[1]):
        for call in range(calls):
            yield number, call, "before"
            yield number, call, "after"


@pytest.mark.parametrize("story", STORIES)
def test_wherever_the_process_is_killed_the_same_comes_of_it(story: str) -> None:
    wanted, _ = told(story)
    count = 0
    for moment in moments(story):
        found, _ = told(story, moment)
        assert normalised(found) == normalised(wanted), moment
        count += 1
    assert count >= 10


def normalised(found: Any) -> str:
    """Leave out what is random: ids of the platform's own requests, and what is hashed with the salt of the model."""
    ids: dict[str, str] = {}
    return re.sub(r"\b(?:01[0-9A-Z]{24}|[0-9a-f]{64})\b", lambda m: ids.setdefault(m[0], f"id {len(ids)}"), repr(found))
