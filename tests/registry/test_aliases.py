"""What lies with an alias, so that one read answers for it, is never older than the version."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from support.http import deliver
from support.interruptions import Interrupted
from support.mlflow_desk import API, envelope_of, event_of

from modelwright.adapters.memory import MemoryTables
from modelwright.events import TrainingRecorded
from modelwright.runtime import Function
from registry.panel import Panel

RM, MV = f"{API}/registered-models", f"{API}/model-versions"
Deed = Callable[[Panel], Any]


def said(method: str, path: str, **body: Any) -> Deed:
    return lambda desk: desk.send(desk.said(method, path, {"name": "flights", **body}, "eve"))


def held(desk: Panel, alias: str = "blue") -> Any:
    return desk.ok(desk.said("GET", f"{RM}/alias?name=flights&alias={alias}"))["model_version"]


def calls(desk: Panel, event: dict[str, Any]) -> int:
    desk.wiring.meter.take()
    counted: list[int] = []
    take = desk.wiring.meter.take
    desk.registry._line = lambda *_, **__: counted.append(take()["table_calls"])  # type: ignore[method-assign]
    desk.ok(event)
    del desk.registry._line
    return counted[0]


DEEDS: dict[str, Deed] = {
    "point": said("POST", f"{RM}/alias", alias="blue", version="1"),
    "point elsewhere": said("POST", f"{RM}/alias", alias="blue", version="2"),
    "point another": said("POST", f"{RM}/alias", alias="green", version="1"),
    "take away": said("DELETE", f"{RM}/alias", alias="blue"),
    "describe": said("PATCH", f"{MV}/update", version="1", description="mine"),
    "tag": said("POST", f"{MV}/set-tag", version="1", key="k", value="v"),
    "untag": said("DELETE", f"{MV}/delete-tag", version="1", key="k"),
    "stage": said("POST", f"{MV}/transition-stage", version="1", stage="Production"),
    "stage instead": said(
        "POST", f"{MV}/transition-stage", version="2", stage="Production", archive_existing_versions=True
    ),
    "delete": said("DELETE", f"{MV}/delete", version="1"),
    "transition": lambda desk: desk.send(desk.asks(1)),
}


def test_every_change_of_a_version_is_seen_by_its_alias() -> None:
    desk = Panel()
    for name in ("point", "point another", "transition", "tag", "describe", "stage", "stage instead"):
        DEEDS[name](desk)
        desk.check()
    assert held(desk) == held(desk, "champion") == held(desk, "green")
    seen = desk.ok(desk.said("GET", f"{MV}/get?name=flights&version=1"))["model_version"]
    assert held(desk) == seen
    assert (seen["description"], seen["current_stage"], seen["tags"]) == (
        "mine", "Archived", [{"key": "k", "value": "v"}],
    )  # fmt: skip
    assert seen["aliases"] == ["blue", "champion", "green"]


def test_an_alias_is_looked_up_in_one_call() -> None:
    desk = Panel()
    DEEDS["point"](desk)
    lookup = desk.said("GET", f"{RM}/alias?name=flights&alias=blue")
    assert calls(desk, lookup) == 1


def test_an_alias_of_a_model_that_was_renamed_or_born_again_is_looked_up_in_two() -> None:
    desk = Panel()
    said("POST", f"{RM}/rename", new_name="delays")(desk)
    body = {"name": "flights", "source": "s3://elsewhere/x"}
    for path in (f"{RM}/create", f"{MV}/create"):
        desk.ok(desk.said("POST", path, body, "eve"))
    DEEDS["point"](desk)
    desk.ok(desk.said("POST", f"{RM}/alias", {"name": "delays", "alias": "red", "version": "2"}))
    assert (held(desk)["version"], held(desk)["source"]) == ("1", "s3://elsewhere/x")
    for name, alias in (("flights", "blue"), ("delays", "red")):
        assert calls(desk, desk.said("GET", f"{RM}/alias?name={name}&alias={alias}")) == 2
    assert desk.send(desk.said("GET", f"{RM}/alias?name=flights&alias=red"))[0] == 400


def test_an_alias_of_a_model_that_is_gone_is_not_found() -> None:
    desk = Panel()
    DEEDS["point"](desk)
    said("DELETE", f"{RM}/delete")(desk)
    assert desk.send(desk.said("GET", f"{RM}/alias?name=flights&alias=blue"))[0] == 404


def test_a_trainings_version_has_its_run_under_its_alias_too() -> None:
    desk = Panel(versions=0)
    completed = event_of("registry-training-completed.json")
    tell(desk.registry, completed)
    tell(desk.registry, TrainingRecorded(training_id=completed.training_id, run_id="f" * 32, experiment_id="1"))
    assert held(desk, "champion")["run_id"] == "f" * 32
    desk.check()


def tell(function: Function, event: Any) -> None:
    deliver(function, envelope_of(event))


@pytest.mark.parametrize(("first", "meanwhile"), list(product(DEEDS, DEEDS)))
def test_a_copy_is_never_stale_whatever_comes_in_between(first: str, meanwhile: str) -> None:
    """Between every two calls of one deed, all of another one."""
    for before in ((), ("point",), ("point elsewhere", "tag")):
        position, reached = 0, True
        while reached:
            tables = Interrupted()
            desk = Panel(tables=tables)
            for name in before:
                DEEDS[name](desk)
            tables.plan[tables.calls + position] = lambda desk=desk: DEEDS[meanwhile](desk)  # type: ignore[misc]
            DEEDS[first](desk)
            reached, position = not tables.plan, position + 1
            tables.plan.clear()
            desk.check()


def test_the_copies_are_looked_at() -> None:
    """Guards the test above: a copy that is stale is found."""
    desk = Panel()
    DEEDS["point"](desk)
    tables: Any = desk.tables
    (copy,) = (item for key, item in tables._items["registry"].items() if key.sk == "ALIAS#blue")
    copy["doc"] = copy["doc"].replace("elsewhere", "nowhere")
    with pytest.raises(AssertionError):
        desk.check()
    assert isinstance(desk.tables, MemoryTables)
