from typing import Any

import pytest
from support.mlflow_desk import API, Desk, event_of, sample

from modelwright.artifacts import experiment_of
from modelwright.events import RunCreated
from modelwright.governance.access import Grant
from modelwright.tracking.trainings import run_id_of


def made(desk: Desk, **more: Any) -> tuple[str, str]:
    experiment = desk.experiment()
    model = desk.tracking.ok("POST", f"{API}/logged-models", {"experiment_id": experiment, "name": "clf", **more})[
        "model"
    ]
    return experiment, model["info"]["model_id"]


def test_a_logged_model_lies_in_its_experiment(desk: Desk) -> None:
    experiment, model_id = made(desk, params=[{"key": "p", "value": "1"}])
    info = desk.tracking.ok("GET", f"{API}/logged-models/{model_id}")["model"]["info"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment}/models/{model_id}/artifacts"
    assert info["status"] == "LOGGED_MODEL_PENDING"
    done = desk.tracking.ok(
        "PATCH", f"{API}/logged-models/{model_id}", {"model_id": model_id, "status": "LOGGED_MODEL_READY"}
    )
    assert done["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    assert desk.types("MODEL", model_id) == ["LoggedModelCreated", "LoggedModelChanged"]
    assert desk.tracking("PATCH", f"{API}/logged-models/{model_id}", {"status": "DONE"})[0] == 400


def test_tags_and_params_come_and_go(desk: Desk) -> None:
    _, model_id = made(desk)
    desk.tracking.ok("PATCH", f"{API}/logged-models/{model_id}/tags", {"tags": [{"key": "a/b", "value": "1"}]})
    desk.tracking.ok("POST", f"{API}/logged-models/{model_id}/params", {"params": [{"key": "p", "value": "2"}]})
    model = desk.tracking.ok("GET", f"{API}/logged-models/{model_id}")["model"]
    assert (model["info"]["tags"], model["data"]["params"]) == (
        [{"key": "a/b", "value": "1"}],
        [{"key": "p", "value": "2"}],
    )
    desk.tracking.ok("DELETE", f"{API}/logged-models/{model_id}/tags/a/b")
    assert desk.tracking("DELETE", f"{API}/logged-models/{model_id}/tags/a/b")[0] == 404


def test_a_deleted_one_is_gone(desk: Desk) -> None:
    experiment, model_id = made(desk)
    desk.tracking.ok("DELETE", f"{API}/logged-models/{model_id}")
    assert desk.tracking("GET", f"{API}/logged-models/{model_id}")[0] == 404
    found = desk.tracking.ok("POST", f"{API}/logged-models/search", {"experiment_ids": [experiment]})
    assert found["models"] == []


def test_metrics_of_a_model_are_its_own_too(desk: Desk) -> None:
    experiment, model_id = made(desk)
    run = desk.run(experiment)
    for step in (1, 0):
        body = {
            "run_id": run,
            "key": "auc",
            "value": 0.5 + step / 4,
            "timestamp": 9,
            "step": step,
            "model_id": model_id,
        }
        desk.tracking.ok("POST", f"{API}/runs/log-metric", body)
    (metric,) = desk.tracking.ok("GET", f"{API}/logged-models/{model_id}")["model"]["data"]["metrics"]
    assert (metric["value"], metric["run_id"], metric["model_id"]) == (0.75, run, model_id)


def test_they_are_found_by_run_and_ordered(desk: Desk) -> None:
    experiment, first = made(desk, source_run_id="r1")
    body = {"experiment_id": experiment, "name": "b", "source_run_id": "r2"}
    second = desk.tracking.ok("POST", f"{API}/logged-models", body)["model"]["info"]["model_id"]

    def search(**what: Any) -> list[str]:
        found = desk.tracking.ok("POST", f"{API}/logged-models/search", {"experiment_ids": [experiment], **what})
        return [m["info"]["model_id"] for m in found["models"]]

    assert search(filter="source_run_id = 'r1'") == [first]
    assert search(order_by=[{"field_name": "name", "ascending": True}]) == [second, first]
    assert desk.tracking("POST", f"{API}/logged-models/search", {})[0] == 400


def test_a_training_becomes_a_finished_run_once(desk: Desk) -> None:
    event = event_of("tracking-training-completed.json")
    payload = sample("tracking-training-completed.json")
    assert desk.functions["tracking"](payload) == {"outcome": "handled"}
    assert desk.functions["tracking"](payload) == {"outcome": "duplicate"}
    desk.tell("tracking", event)
    run = desk.get_run(run_id_of(event.training_id))
    assert run == desk.get_run(run["info"]["run_id"])
    assert (run["info"]["status"], run["info"]["artifact_uri"]) == (
        "FINISHED",
        f"mlflow-artifacts:/trainings/{event.training_id}",
    )
    assert {m["key"]: m["value"] for m in run["data"]["metrics"]} == {"auc": 0.752, "brier": 0.158, "train_auc": 0.79}
    tags = {t["key"]: t["value"] for t in run["data"]["tags"]}
    assert tags["modelwright.dataset_digest"] == event.dataset_digest
    assert (tags["modelwright.trigger"], tags["modelwright.training_id"]) == ("performance", event.training_id)
    assert desk.types("RUN", run["info"]["run_id"]) == ["RunCreated", "TrainingRecorded", "RunEnded"]
    experiment = desk.tracking.ok("GET", f"{API}/experiments/get-by-name?experiment_name=flights")["experiment"]
    found = desk.tracking.ok("POST", f"{API}/runs/search", {"experiment_ids": [experiment["experiment_id"]]})["runs"]
    assert len(found) == 1
    first = RunCreated.model_validate(desk.stream("RUN", run["info"]["run_id"])[0].envelope.data)
    assert first.training_id == event.training_id


def test_a_trainings_run_is_found_and_written_to_under_the_id_that_everybody_can_work_out(desk: Desk) -> None:
    desk.functions["tracking"](sample("tracking-training-completed.json"))
    alias = run_id_of(event_of("tracking-training-completed.json").training_id)
    own = desk.get_run(alias)["info"]["run_id"]
    assert experiment_of(own) == desk.get_run(alias)["info"]["experiment_id"]
    desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_id": alias, "key": "k", "value": "v"})
    assert desk.log_batch(alias, metrics=[("late", 1.0, 1, 0)])[0] == 200
    assert {"key": "late", "value": 1.0, "timestamp": 1, "step": 0} in desk.get_run(own)["data"]["metrics"]
    for identity in (alias, own):
        told = desk.tracking.ok("GET", f"{API}/metrics/get-history?run_id={identity}&metric_key=late")
        assert [m["value"] for m in told["metrics"]] == [1.0]


def test_a_grant_on_what_an_alias_seems_to_name_opens_nothing(desk: Desk) -> None:
    desk.functions["tracking"](sample("tracking-training-completed.json"))
    alias = run_id_of(event_of("tracking-training-completed.json").training_id)
    seeming = Grant(role="contributor", resources=f"experiment/{experiment_of(alias)}")
    guest = desk.as_caller("tracking", grants=(seeming,))
    point = {"run_id": alias, "key": "a", "value": 1, "timestamp": 1}
    assert guest("POST", f"{API}/runs/log-metric", point)[0] == 403
    assert guest("POST", f"{API}/runs/set-tag", {"run_id": alias, "key": "k", "value": "v"})[0] == 403
    assert guest("GET", f"{API}/runs/get?run_id={alias}")[0] == 403
    assert guest("GET", f"{API}/metrics/get-history?run_id={alias}&metric_key=auc")[0] == 403


def test_an_event_it_does_not_consume_is_refused(desk: Desk) -> None:
    with pytest.raises(Exception, match="does not consume"):
        desk.tell("tracking", event_of("registry-rollout-promoted.json"))
