"""The functions `rollout` and `predict`, from payload to state."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from support.http import Caller, handler_of, memory_wiring

from modelwright.flavors import mlmodel, pickled
from modelwright.governance.access import Grant
from modelwright.project import Project
from modelwright.rollout import predictions
from modelwright.rollout.store import load_traffic
from modelwright.runtime import Function
from rollout.stage import WS, Stage

EVENTS = Path(__file__).parents[2] / "events"
FRAME = pd.DataFrame({"distance": np.linspace(0, 3000, 100)})
PROJECT = Project.model_validate(
    {
        "name": "flights",
        "sources": {
            "arrivals": {
                "prefix": "arrivals/",
                "columns": {"flight_id": {"type": "string"}, "scheduled_departure": {"type": "timestamp"}},
                "key": ["flight_id"],
                "event_time": "scheduled_departure",
                "labels": True,
            }
        },
        "models": {
            "flights": {
                "id_column": "flight_id",
                "time_column": "scheduled_departure",
                "request": {
                    "flight_id": "string",
                    "carrier": "string",
                    "origin": "string",
                    "dest": "string",
                    "distance": "number",
                    "scheduled_departure": "timestamp",
                },
                "views": [],
                "inputs": ["distance"],
                "label": {"source": "arrivals", "column": "delay", "above": 15},
                "trainer": "trainer:train",
            }
        },
    }
)


def sample(name: str, **data: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    if data:
        event["detail"]["data"] |= data
        event["detail"]["id"] += "".join(str(value) for value in data.values())
    return event


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(PROJECT)
    for version in (1, 2):
        key = f"{WS}/m/{version}/"
        estimator = LogisticRegression().fit(FRAME, np.arange(100) % (version + 1) == 0)
        made.blobs.put("artifacts", key + "MLmodel", mlmodel("r", inputs=["distance"], training_id=""))
        made.blobs.put("artifacts", key + "model.pkl", pickled(estimator))
    return made


@pytest.fixture
def rollout(stage: Stage) -> Function:
    return handler_of("rollout", memory_wiring(tables=stage.tables, blobs=stage.blobs))


@pytest.fixture
def predict(stage: Stage, rollout: Function) -> Function:
    for version in (1, 2):
        rollout(
            sample("rollout-model-version-created", version=version, artifact_key=f"{WS}/m/{version}/", features=[])
        )
    champion = sample("rollout-alias-changed", alias="champion", version=1)
    champion["detail"]["sequence"] = 1
    rollout(champion)
    return handler_of("predict", memory_wiring(tables=stage.tables, blobs=stage.blobs))


def test_a_canary_from_alias_to_rollback_by_hand(stage: Stage, rollout: Function, predict: Function) -> None:
    assert rollout(sample("rollout-alias-changed")) == {"outcome": "handled"}
    before = load_traffic(stage.tables, WS, "flights")
    rollout(sample("rollout-alias-changed"))
    assert load_traffic(stage.tables, WS, "flights") == before
    measured = sample("rollout-performance-measured")
    measured["detail"]["data"]["window"]["end"] = "2013-03-11T05:00:00Z"
    assert rollout(measured) == {"outcome": "handled"}
    shown = json.loads(rollout(sample("http-rollout"))["body"])
    assert shown["rollout"]["judgement"]["rows"] == 6200
    assert [route["percent"] for route in shown["routes"]] == [50, 50, 0]
    assert rollout(sample("http-rollout-abort"))["statusCode"] == 200
    assert json.loads(rollout(sample("http-rollout"))["body"])["history"][0]["status"] == "rolled_back"
    assert rollout(sample("http-rollout-abort"))["statusCode"] == 404
    assert rollout(sample("rollout-schedule-due")) == {"outcome": "done"}


def test_shadows_are_set_over_http(rollout: Function, predict: Function) -> None:
    answer = rollout(sample("http-rollout-shadows"))
    assert json.loads(answer["body"])["routes"][1] == {"version": 2, "role": "shadow", "percent": 0}
    assert Caller(rollout)("PUT", "/v1/rollouts/flights/shadows", {"versions": [9]})[0] == 404
    assert Caller(rollout)("PUT", "/v1/rollouts/flights/shadows", {"versions": ["x"]})[0] == 400


def test_only_those_who_may_control_a_rollout(stage: Stage, rollout: Function, predict: Function) -> None:
    rollout(sample("rollout-alias-changed"))
    reader = Caller(rollout, grants=(Grant(role="reader"),))
    assert reader("GET", "/v1/rollouts/flights")[0] == 200
    assert reader("POST", "/v1/rollouts/flights/abort", {"reason": "x"})[0] == 403
    assert Caller(rollout, workspace="other")("GET", "/v1/rollouts/flights")[0] == 404
    assert load_traffic(stage.tables, WS, "flights").rollout is not None


def test_a_prediction_over_http(stage: Stage, predict: Function) -> None:
    answer = predict(sample("http-predict"))
    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    assert body["request_id"] == "first-flight"
    assert body["predictions"][0]["features"] == {"distance": 1400.0}
    assert [listed.key for listed in stage.blobs.list("lake", "predictions/")] == [
        "predictions/default/flights/dt=2013-03-04/first-flight.parquet"
    ]
    again = json.loads(predict(sample("http-predict"))["body"])
    assert again["predictions"][0]["score"] == body["predictions"][0]["score"]


def test_online_predictions_know_the_virtual_time(stage: Stage, predict: Function) -> None:
    row = json.loads(sample("http-predict")["body"])["rows"][0]
    headers = {"x_modelwright_as_of": "2013-05-06T07:00:00Z"}
    status, body = Caller(predict)("POST", "/v1/predict/flights", {"rows": [row]}, **headers)
    assert status == 200
    (key,) = (listed.key for listed in stage.blobs.list("lake", "predictions/"))
    assert "dt=2013-03-04" in key
    (line,) = predictions.read([key], blobs=stage.blobs)
    assert line.as_of.isoformat() == "2013-05-06T07:00:00+00:00"
    assert body["predictions"][0]["role"] == "champion"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/predict/boats", {"rows": []}, 404),
        ("/v1/predict/flights", b"{", 400),
        ("/v1/predict/flights", {"rows": [{"flight_id": 1}]}, 400),
        ("/v1/predict/flights", {"rows": [{}] * 5001}, 413),
    ],
)
def test_bad_requests_have_their_status(predict: Function, path: str, body: Any, status: int) -> None:
    assert Caller(predict)("POST", path, body)[0] == status


def test_a_champion_whose_file_was_overwritten_is_503_and_named_with_both_digests(
    stage: Stage, rollout: Function, predict: Function
) -> None:
    row, place, known = json.loads(sample("http-predict")["body"]), f"{WS}/m/3/", hashlib.sha256(b"trained").hexdigest()
    for file in ("MLmodel", "model.pkl"):
        stage.blobs.put("artifacts", place + file, stage.blobs.get("artifacts", f"{WS}/m/2/{file}").body)
    made = {"version": 3, "artifact_key": place, "features": [], "artifact_digest": known}
    rollout(sample("rollout-model-version-created", **made))
    rollout(sample("rollout-alias-changed", alias="champion", version=3))
    status, body = Caller(predict)("POST", "/v1/predict/flights", row)
    found = hashlib.sha256(stage.blobs.get("artifacts", place + "model.pkl").body).hexdigest()
    assert (status, all(said in str(body) for said in ("flights v3", known, found))) == (503, True)


def test_no_champion_is_409_no_model_503_and_a_reader_403(stage: Stage, rollout: Function, predict: Function) -> None:
    row = json.loads(sample("http-predict")["body"])
    assert Caller(predict, grants=(Grant(role="reader"),))("POST", "/v1/predict/flights", row)[0] == 403
    rollout(sample("rollout-alias-changed", alias="champion", version=7))
    assert Caller(predict)("POST", "/v1/predict/flights", row)[0] == 503
    withdrawn = sample("rollout-alias-changed", alias="champion", version=None)
    withdrawn["detail"]["sequence"] = 9
    rollout(withdrawn)
    assert Caller(predict)("POST", "/v1/predict/flights", row)[0] == 409
