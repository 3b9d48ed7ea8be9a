"""A training's version names the training's run, whichever of tracking and registry was first."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import permutations

import pytest
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright.adapters.memory import MemoryTables
from modelwright.adapters.registrations import RegisteredVersions
from modelwright.context import Call
from modelwright.events import TrainingRecorded
from modelwright.storage import Write
from modelwright.tracking.trainings import run_id_of

MV = f"{API}/model-versions"
COMPLETED = event_of("registry-training-completed.json")
ALIAS = run_id_of(COMPLETED.training_id)


class Meanwhile(MemoryTables):
    """Tables in which something else happens just before the next write."""

    def __init__(self) -> None:
        super().__init__()
        self.then: list[Callable[[], object]] = []

    def write(self, writes: Sequence[Write]) -> None:
        if self.then:
            self.then.pop()()
        super().write(writes)


def recorded(desk: Desk) -> TrainingRecorded:
    """Let tracking record the training, and return what it tells."""
    desk.tell("tracking", COMPLETED)
    stream = desk.stream("RUN", desk.get_run(ALIAS)["info"]["run_id"])
    (told,) = (item.envelope.data for item in stream if item.envelope.type == "TrainingRecorded")
    return TrainingRecorded.model_validate(told)


def found(desk: Desk, run_id: str) -> list[tuple[str, str]]:
    """Return the versions of a run, as its page asks for them."""
    said = desk.registry.ok("GET", f"{MV}/search?filter=run_id='{run_id}'")
    return [(v["version"], v["run_id"]) for v in said["model_versions"]]


@pytest.mark.parametrize("order", sorted(set(permutations("rrcc"))), ids="".join)
def test_a_trainings_version_is_found_by_its_run(desk: Desk, order: Sequence[str]) -> None:
    run = recorded(desk)
    for which in order:
        desk.tell("registry", run if which == "r" else COMPLETED)
    assert found(desk, run.run_id) == [("1", run.run_id)]
    assert found(desk, ALIAS) == []
    version = desk.registry.ok("GET", f"{MV}/get?name=flights&version=1")["model_version"]
    assert desk.get_run(version["run_id"])["info"]["run_id"] == run.run_id
    needed = RegisteredVersions(desk.tables).needed(Call("default", "ann", datetime(2026, 3, 2, tzinfo=UTC), "c"))
    assert needed.runs == {run.run_id: "flights v1"}
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"})
    assert not [key for key in desk.tables._items["registry"] if "#RUN#" in key.pk]


def test_until_tracking_has_told_a_version_names_its_run_by_the_id_that_everybody_can_work_out(desk: Desk) -> None:
    desk.tell("registry", COMPLETED)
    assert found(desk, ALIAS) == [("1", ALIAS)]


@pytest.mark.parametrize("first", ["run", "version"])
def test_neither_misses_the_other_when_both_come_at_once(first: str) -> None:
    tables = Meanwhile()
    desk = Desk(tables=tables)
    run = recorded(desk)
    one, other = (run, COMPLETED) if first == "run" else (COMPLETED, run)
    tables.then.append(lambda: desk.tell("registry", one))
    desk.tell("registry", other)
    assert tables.then == []
    assert found(desk, run.run_id) == [("1", run.run_id)]


def test_what_was_said_of_a_version_meanwhile_stays(desk: Desk) -> None:
    run = recorded(desk)
    desk.tell("registry", COMPLETED)
    desk.registry.ok("PATCH", f"{MV}/update", {"name": "flights", "version": "1", "description": "mine"})
    desk.tell("registry", run)
    said = desk.registry.ok("GET", f"{MV}/get?name=flights&version=1")["model_version"]
    assert (said["description"], said["run_id"], said["aliases"]) == ("mine", run.run_id, ["champion"])


def test_a_version_that_is_gone_does_not_come_back_with_its_run(desk: Desk) -> None:
    run = recorded(desk)
    desk.tell("registry", COMPLETED)
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "flights", "version": "1"})
    desk.tell("registry", run)
    desk.tell("registry", COMPLETED)
    assert found(desk, run.run_id) == found(desk, ALIAS) == []


def test_a_training_of_a_model_that_was_deleted_is_told_without_harm(desk: Desk) -> None:
    run = recorded(desk)
    desk.tell("registry", COMPLETED)
    desk.registry.ok("DELETE", f"{API}/registered-models/delete", {"name": "flights"})
    desk.tell("registry", run)
    assert found(desk, run.run_id) == []


def test_a_sample_payload_is_handled_once(desk: Desk) -> None:
    payload = sample("registry-training-recorded.json")
    assert desk.functions["registry"](payload) == {"outcome": "handled"}
    assert desk.functions["registry"](payload) == {"outcome": "duplicate"}
    desk.tell("registry", COMPLETED)
    run_id = payload["detail"]["data"]["run_id"]
    assert found(desk, run_id) == [("1", run_id)]
