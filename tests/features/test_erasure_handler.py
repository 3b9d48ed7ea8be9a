"""Erasure at its doors: asked over HTTP, done on its event, shown when it is over."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.http import Caller, deliver, handler_of, memory_wiring

from features.erasure_cases import ANN, World, keys_of, places_with, populated
from modelwright.events import Envelope
from modelwright.governance.access import Grant
from modelwright.log import stream_of
from modelwright.runtime import Function
from modelwright.wiring import Wiring


@pytest.fixture
def world() -> World:
    return populated(World())


@pytest.fixture
def wiring(world: World) -> Wiring:
    return memory_wiring(tables=world.tables, blobs=world.blobs)


@pytest.fixture
def maintain(wiring: Wiring) -> Function:
    return handler_of("maintain", wiring)


def asked(world: World, erasure_id: str) -> Envelope:
    return next(iter(world.log.read(stream_of("default", "ERASURE", erasure_id)))).envelope


def test_it_is_asked_for_done_and_shown(world: World, maintain: Function) -> None:
    caller = Caller(maintain)
    status, said = caller("POST", "/v1/erasures", {"entity": "passenger", "key": ANN})
    assert (status, said["status"]) == (202, "erasing")
    assert ANN not in str(said)
    assert caller.ok("GET", f"/v1/erasures/{said['erasure_id']}")["receipt"] is None
    envelope = asked(world, said["erasure_id"])
    assert ANN not in envelope.model_dump_json()
    assert deliver(maintain, envelope) == {"outcome": "handled"}
    assert deliver(maintain, envelope) == {"outcome": "duplicate"}
    shown = caller.ok("GET", f"/v1/erasures/{said['erasure_id']}")
    assert shown["receipt"]["rows"]["offline"] > 0
    assert places_with(world, [ANN], keys_of(ANN)) == []


def test_the_versions_that_were_trained_on_the_subject_are_named(
    world: World, wiring: Wiring, maintain: Function
) -> None:
    digest = next(iter(world.blobs.list("lake", "datasets/"))).key.rpartition("/")[2].partition(".")[0]
    registry = Caller(handler_of("registry", wiring))
    registry.ok("POST", "/api/2.0/mlflow/registered-models/create", {"name": "happy"})
    for known in (digest, "0" * 64):
        tags = [{"key": "modelwright.dataset_digest", "value": known}]
        version = {"name": "happy", "source": "s3://x/y", "tags": tags}
        registry.ok("POST", "/api/2.0/mlflow/model-versions/create", version)
    _, said = Caller(maintain)("POST", "/v1/erasures", {"entity": "passenger", "key": ANN})
    deliver(maintain, asked(world, said["erasure_id"]))
    assert Caller(maintain).ok("GET", f"/v1/erasures/{said['erasure_id']}")["receipt"]["models"] == ["happy/1"]


def test_what_was_left_over_is_swept(world: World, maintain: Function) -> None:
    _, said = Caller(maintain)("POST", "/v1/erasures", {"entity": "passenger", "key": ANN})
    due = {"name": "maintain", "at": datetime.now(UTC).isoformat()}
    assert maintain({"detail-type": "ScheduleDue", "detail": due}) == {"outcome": "done"}
    assert Caller(maintain).ok("GET", f"/v1/erasures/{said['erasure_id']}")["status"] == "erased"
    assert deliver(maintain, asked(world, said["erasure_id"])) == {"outcome": "duplicate"}


def test_only_administrators_erase_and_see_receipts(maintain: Function) -> None:
    for role in ("reader", "contributor", "approver", "service"):
        caller = Caller(maintain, grants=(Grant(role=role),))
        assert caller("POST", "/v1/erasures", {"entity": "passenger", "key": ANN})[0] == 403
        assert caller("GET", "/v1/erasures/x")[0] == 403
    assert Caller(maintain)("GET", "/v1/erasures/x")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"entity": "nobody", "key": "x"}, 404),
        ({"entity": "passenger"}, 400),
        ({"entity": "passenger", "key": None}, 400),
        ({"entity": "passenger", "key": {"x": 1}}, 400),
        ({"entity": "passenger", "key": [[1]]}, 400),
        ({"key": "x"}, 400),
        ({"entity": 3, "key": "x"}, 400),
    ],
)
def test_what_cannot_be_meant_is_refused(maintain: Function, body: dict[str, Any], status: int) -> None:
    assert Caller(maintain)("POST", "/v1/erasures", body)[0] == status


def test_a_dataset_that_held_a_subject_is_gone(world: World, wiring: Wiring, maintain: Function) -> None:
    _, said = Caller(maintain)("POST", "/v1/erasures", {"entity": "passenger", "key": ANN})
    deliver(maintain, asked(world, said["erasure_id"]))
    (dataset,) = Caller(maintain).ok("GET", f"/v1/erasures/{said['erasure_id']}")["receipt"]["datasets"]
    features = Caller(handler_of("features", wiring))
    status, told = features("GET", f"/v1/features/datasets/{dataset['digest']}")
    assert status == 410
    assert dataset["replaced_by"] in str(told)
    assert features("GET", f"/v1/features/datasets/{dataset['replaced_by']}")[0] == 200
