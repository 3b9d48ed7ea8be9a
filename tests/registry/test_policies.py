"""Nobody steps around a policy by taking away, deleting or renaming what it guards."""

from typing import Any

import pytest
from support.mlflow_desk import API

from modelwright import plugins
from registry import panel
from registry.panel import Panel

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "the alias is deleted": ("DELETE", f"{RM}/alias", {"alias": "champion"}),
    "its version is deleted": ("DELETE", f"{MV}/delete", {"version": "1"}),
    "the model is deleted": ("DELETE", f"{RM}/delete", {}),
    "the model is renamed": ("POST", f"{RM}/rename", {"new_name": "old"}),
}


@pytest.fixture(autouse=True)
def installed_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package under test may run from its source tree, which has no entry points."""
    monkeypatch.setattr(plugins, "entry_points", panel.entry_points)


def crowned(**policy: Any) -> Panel:
    """Return a model whose first version is champion."""
    desk = Panel(policy=policy)
    request = desk.ask(1)
    if request["state"] == "waiting":
        desk.do("approve", request["request_id"], "bob")
    assert desk.aliases == {"champion": 1}
    return desk


def said(desk: Panel, way: str, actor: str) -> tuple[int, Any]:
    method, path, body = WAYS[way]
    return desk.send(desk.said(method, path, {"name": "flights", **body}, actor))


@pytest.mark.parametrize("policy", [{"approvals": 1}, {"gates": ["light"]}], ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_a_champion_that_was_judged_or_approved_is_not_taken_away_by_one_contributor(
    way: str, policy: dict[str, Any]
) -> None:
    desk = crowned(**policy)
    before = desk.types()
    status, answer = said(desk, way, "ann")
    assert (status, answer["error_code"]) == (403, "PERMISSION_DENIED")
    assert (
        "ann may not take champion from the version of flights that holds it: its policy lets admin"
        in (answer["message"])
    )
    assert (desk.types(), desk.aliases) == (before, {"champion": 1})
    desk.check()


@pytest.mark.parametrize("way", WAYS)
def test_who_may_override_may_take_it_away(way: str) -> None:
    desk = crowned(approvals=1)
    assert said(desk, way, "eve")[0] == 200
    assert ("champion" in desk.document("META")["aliases"]) == (way == "the model is renamed")


@pytest.mark.parametrize("way", WAYS)
def test_where_nothing_is_judged_or_approved_everybody_may(way: str) -> None:
    assert said(crowned(), way, "ann")[0] == 200


def test_a_challenger_and_free_aliases_go_as_they_came() -> None:
    desk = Panel(policy={"gates": ["light"]})
    desk.ask(1, "challenger")
    desk.ok(desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "1"}))
    desk.ok(desk.said("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"}))
    assert desk.aliases == {}
    desk.check()


def test_a_deleted_model_gives_up_what_serving_follows() -> None:
    desk = crowned()
    desk.ask(2, "challenger")
    desk.ok(desk.said("POST", f"{RM}/alias", {"name": "flights", "alias": "blue", "version": "1"}))
    assert said(desk, "the model is deleted", "eve")[0] == 200
    told = [(kind, data.get("alias"), data.get("version")) for kind, _, data in desk.told()[-3:]]
    assert told == [
        ("AliasChanged", "challenger", None),
        ("AliasChanged", "champion", None),
        ("RegisteredModelChanged", None, None),
    ]


# --- names that a project declares --------------------------------------------------------


def model(desk: Panel, name: str, *, versions: int = 1, champion: bool = False) -> None:
    desk.ok(desk.said("POST", f"{RM}/create", {"name": name}))
    for _ in range(versions):
        desk.ok(desk.said("POST", f"{MV}/create", {"name": name, "source": "s3://elsewhere/x"}))
    if champion:
        desk.ok(desk.said("POST", f"{RM}/alias", {"name": name, "alias": "champion", "version": "1"}))


def renamed(desk: Panel, name: str, new_name: str) -> tuple[int, Any]:
    return desk.send(desk.said("POST", f"{RM}/rename", {"name": name, "new_name": new_name}, "eve"))


@pytest.mark.parametrize(("versions", "champion"), [(1, True), (1, False), (0, False)])
def test_a_model_that_grew_up_elsewhere_does_not_take_a_declared_name(versions: int, *, champion: bool) -> None:
    desk = Panel(policy={"approvals": 1})
    assert renamed(desk, "flights", "gone")[0] == 200
    model(desk, "mine", versions=versions, champion=champion)
    status, answer = renamed(desk, "mine", "flights")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "mine cannot be renamed to flights, which a project declares: create flights and copy" in answer["message"]
    assert desk.send(desk.said("GET", f"{RM}/get?name=flights"))[0] == 404


def test_a_model_takes_the_name_back_that_it_was_born_with() -> None:
    desk = Panel(policy={"approvals": 1})
    assert renamed(desk, "flights", "gone")[0] == 200
    assert renamed(desk, "gone", "flights")[0] == 200
    assert desk.ask(1)["state"] == "waiting"
