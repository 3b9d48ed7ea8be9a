"""The functions `retrain` and `train`, from payload to state."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.http import Caller, handler_of, memory_wiring

from modelwright.errors import Unavailable
from modelwright.events import TrainingDeclined, TrainingFailed, TrainingRequested
from modelwright.governance.access import Grant
from modelwright.retraining import store
from modelwright.runtime import Function
from retraining.stage import WS, Stage, project

EVENTS = Path(__file__).parents[2] / "events"


def sample(name: str, **data: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    if data:
        event["detail"]["data"] |= data
    return event


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(project())
    return made


@pytest.fixture
def retrain(stage: Stage) -> Function:
    return handler_of("retrain", memory_wiring(tables=stage.tables, blobs=stage.blobs))


@pytest.mark.parametrize(
    "name",
    [
        "alias-changed",
        "drift-detected",
        "model-version-created",
        "performance-degraded",
        "performance-estimated",
        "performance-measured",
        "quality-failed",
        "quarantine-released",
        "rollout-promoted",
        "rollout-rolled-back",
        "rollout-started",
    ],
)
def test_each_sample_changes_something_once_at_most(stage: Stage, retrain: Function, name: str) -> None:
    assert retrain(sample(f"retrain-{name}")) == {"outcome": "handled"}
    before = (stage.happened(), store.load_standing(stage.tables, WS, "flights"))
    assert retrain(sample(f"retrain-{name}"))["outcome"] in ("duplicate", "handled")
    assert (stage.happened(), store.load_standing(stage.tables, WS, "flights")) == before


def test_degradation_requests_a_training_that_a_quarantine_vetoes(stage: Stage, retrain: Function) -> None:
    champion = sample("retrain-alias-changed")
    champion["detail"]["at"] = "2013-02-01T05:00:00Z"
    retrain(champion)
    for name in ("model-version-created", "quality-failed", "performance-degraded"):
        retrain(sample(f"retrain-{name}"))
    (declined,) = stage.happened()
    assert isinstance(declined, TrainingDeclined)
    retrain(sample("retrain-quarantine-released"))
    again = sample("retrain-performance-degraded")
    again["detail"]["id"] = "another"
    retrain(again)
    requested = stage.happened()[1]
    assert isinstance(requested, TrainingRequested)
    assert (requested.champion, requested.trigger) == (1, "performance")


def test_a_training_by_hand_from_request_to_its_end(stage: Stage, retrain: Function) -> None:
    answer = retrain(sample("http-retraining-request"))
    training_id = json.loads(answer["body"])["training_id"]
    shown = json.loads(retrain(sample("http-retraining"))["body"])
    assert shown["standing"]["training"] == training_id
    assert shown["decisions"][0]["reasons"] == ["ann: new features"]
    assert json.loads(retrain(sample("http-retraining-request"))["body"])["training_id"] == training_id
    another = sample("http-retraining-request")
    another["requestContext"]["requestId"] = "another"
    assert retrain(another)["statusCode"] == 409
    with pytest.raises(Unavailable, match="MODELWRIGHT_TRAIN_FUNCTION"):
        retrain(sample("retrain-training-requested", training_id=training_id))

    train = handler_of("train", memory_wiring(tables=stage.tables, blobs=stage.blobs))
    payload = {**sample("train-invocation"), "training_id": training_id}
    assert train(payload) == {"outcome": "failed"}
    assert train(payload) == {"outcome": "ended before"}
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert "label" in failed.reason
    assert retrain(sample("retrain-training-failed", training_id=training_id)) == {"outcome": "handled"}
    assert json.loads(retrain(sample("http-retraining"))["body"])["ledger"]["reserved"] == 0


def test_the_schedule_asks_every_model(stage: Stage, retrain: Function) -> None:
    stage.apply(project(triggers=("schedule",)))
    assert retrain(sample("retrain-schedule-due")) == {"outcome": "done"}
    assert [event.detail_type() for event in stage.happened()] == ["TrainingRequested"]


def test_who_may_ask_for_a_training(retrain: Function) -> None:
    reader = Caller(retrain, grants=(Grant(role="reader"),))
    assert reader("GET", "/v1/retraining/flights")[0] == 200
    assert reader("POST", "/v1/retraining/flights", {"reason": "x"})[0] == 403
    assert Caller(retrain)("POST", "/v1/retraining/flights", {})[0] == 400
    assert Caller(retrain)("POST", "/v1/retraining/boats", {"reason": "x"})[0] == 404
    assert Caller(retrain, workspace="other")("GET", "/v1/retraining/flights")[0] == 404
