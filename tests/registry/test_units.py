"""What the registry's busiest doors cost, in DynamoDB's request units and in calls: figures that must not rise."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from support.mlflow_desk import API

from modelwright import plugins
from registry import panel
from registry.panel import MODELS, Panel

RM = f"{API}/registered-models"


class Cost(NamedTuple):
    calls: int
    writes: int
    reads: int


@pytest.fixture(autouse=True)
def installed_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package under test may run from its source tree, which has no entry points."""
    monkeypatch.setattr(plugins, "entry_points", panel.entry_points)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Panel:
    """A model like one that people have: texts, tags, a version that is served, and a history."""
    desk = Panel()
    body = {"name": "flights", "description": "Is a flight more than 15 minutes late? Owned by the delays team."}
    desk.ok(desk.said("PATCH", f"{RM}/update", body, "eve"))
    for version in "123":
        named = {"name": "flights", "version": version}
        desk.ok(desk.said("PATCH", f"{API}/model-versions/update", {**named, "description": "trained on 2026"}, "eve"))
        for key, value in {"modelwright.dataset_digest": "d" * 64, "modelwright.metric.auc": "0.7512"}.items():
            tag = {**named, "key": key, "value": value}
            desk.ok(desk.said("POST", f"{API}/model-versions/set-tag", tag, "eve"))
    desk.ask(1)
    desk.ask(3, "challenger")
    return desk


def cost(desk: Panel, event: dict[str, Any], status: int = 200) -> Cost:
    taken: list[dict[str, int]] = []
    take = desk.wiring.meter.take
    reading: Callable[..., None] = lambda *_, **__: taken.append(take())  # noqa: E731
    take()
    desk.registry._line = reading  # type: ignore[method-assign]
    assert desk.send(event)[0] == status
    del desk.registry._line
    return Cost(taken[0]["table_calls"], taken[0]["write_units"], taken[0]["read_units"])


def test_a_request_is_applied_in_four_calls_and_twenty_units(desk: Panel) -> None:
    found = cost(desk, desk.asks(2, reason="better on Mondays, says the notebook of last week"))
    assert found.calls <= 4
    assert found.writes <= 20


def test_mlflows_own_call_costs_no_more(desk: Panel) -> None:
    event = desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "champion", "version": "2"})
    found = cost(desk, event)
    assert found.calls <= 4
    assert found.writes <= 20


def test_an_alias_is_looked_up_in_one_call(desk: Panel) -> None:
    found = cost(desk, desk.said("GET", f"{RM}/alias?name=flights&alias=champion"))
    assert found == Cost(calls=1, writes=0, reads=3)


def test_an_approval_costs_as_much(desk: Panel) -> None:
    desk.declare(approvals=2)
    request = desk.ask(2)["request_id"]
    one = cost(desk, desk.does("approve", request, "bob"))
    last = cost(desk, desk.does("approve", request, "cid"))
    assert one.calls <= 3
    assert last.calls <= 5, "the policy is read anew"
    assert max(one.writes, last.writes) <= 24


def test_the_same_request_again_is_one_call(desk: Panel) -> None:
    event = desk.asks(2)
    desk.ok(event)
    assert cost(desk, event) == Cost(calls=1, writes=0, reads=4)


def test_requests_are_listed_in_three_calls_however_many_there_are(desk: Panel) -> None:
    for version in (2, 3) * 30:
        desk.ask(version)
    assert cost(desk, desk.said("GET", MODELS)).calls <= 3
    assert len(desk.document("META")["open"]) == 0
