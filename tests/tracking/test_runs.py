import pytest
from support.mlflow_desk import API, Desk

from modelwright.storage import Key


def test_a_run_gets_a_name_a_place_and_a_beginning_in_the_log(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment, tags=[{"key": "mlflow.user", "value": "ann"}])
    info, data = desk.get_run(run)["info"], desk.get_run(run)["data"]
    assert info["artifact_uri"] == f"mlflow-artifacts:/{experiment}/{run}/artifacts"
    assert info["run_uuid"] == info["run_id"] == run
    assert {"key": "mlflow.runName", "value": info["run_name"]} in data["tags"]
    assert desk.types("RUN", run) == ["RunCreated"]


def test_the_name_and_its_tag_are_one(desk: Desk) -> None:
    run = desk.run(desk.experiment(), run_name="first")
    desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_uuid": run, "key": "mlflow.runName", "value": "second"})
    assert desk.get_run(run)["info"]["run_name"] == "second"
    desk.tracking.ok("POST", f"{API}/runs/update", {"run_id": run, "run_name": "third"})
    assert {"key": "mlflow.runName", "value": "third"} in desk.get_run(run)["data"]["tags"]


def test_an_end_is_told_once(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    for _ in range(2):
        desk.tracking.ok("POST", f"{API}/runs/update", {"run_id": run, "status": "FINISHED", "end_time": "2000"})
    assert desk.get_run(run)["info"]["end_time"] == 2000
    assert desk.types("RUN", run) == ["RunCreated", "RunEnded"]
    assert desk.tracking("POST", f"{API}/runs/update", {"run_id": run, "status": "DONE"})[0] == 400


def test_a_deleted_run_takes_nothing_until_it_is_restored(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    desk.tracking.ok("POST", f"{API}/runs/delete", {"run_id": run})
    assert desk.log_batch(run, metrics=[("a", 1.0, 1, 0)])[0] == 400
    assert desk.tracking("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "k", "value": "v"})[0] == 400
    search = {"experiment_ids": [experiment]}
    assert desk.tracking.ok("POST", f"{API}/runs/search", search)["runs"] == []
    assert len(desk.tracking.ok("POST", f"{API}/runs/search", {**search, "run_view_type": "DELETED_ONLY"})["runs"]) == 1
    desk.tracking.ok("POST", f"{API}/runs/restore", {"run_id": run})
    assert desk.log_batch(run, metrics=[("a", 1.0, 1, 0)])[0] == 200
    assert desk.types("RUN", run) == ["RunCreated", "RunChanged", "RunChanged"]


def test_tags_come_and_go(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "k", "value": "v" * 9000})
    assert {"key": "k", "value": "v" * 8000} in desk.get_run(run)["data"]["tags"]
    desk.tracking.ok("POST", f"{API}/runs/delete-tag", {"run_id": run, "key": "k"})
    assert desk.tracking("POST", f"{API}/runs/delete-tag", {"run_id": run, "key": "k"})[0] == 404


def test_datasets_and_models_are_remembered_once(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    dataset = {"name": "train", "digest": "d1", "source_type": "local", "source": "{}", "schema": "{}"}
    inputs = {
        "run_id": run,
        "datasets": [{"dataset": dataset, "tags": [{"key": "mlflow.data.context", "value": "training"}]}],
        "models": [{"model_id": "m-1"}],
    }
    for _ in range(2):
        desk.tracking.ok("POST", f"{API}/runs/log-inputs", inputs)
        desk.tracking.ok("POST", f"{API}/runs/outputs", {"run_id": run, "models": [{"model_id": "m-2", "step": 3}]})
    found = desk.get_run(run)
    assert found["inputs"]["dataset_inputs"] == inputs["datasets"]
    assert found["inputs"]["model_inputs"] == inputs["models"]
    assert found["outputs"]["model_outputs"] == [{"model_id": "m-2", "step": 3}]


@pytest.mark.parametrize("path", ["runs/get?run_id=nobody", "runs/get?run_uuid=nobody"])
def test_a_run_that_is_not_there_is_not_found(desk: Desk, path: str) -> None:
    assert desk.tracking("GET", f"{API}/{path}")[0] == 404


def test_a_run_without_an_id_is_a_fault_of_the_caller(desk: Desk) -> None:
    assert desk.tracking("GET", f"{API}/runs/get")[0] == 400


def test_a_run_is_kept_under_its_workspace(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    assert desk.tables.get("tracking", Key(f"WS#default#RUN#{run}", "SUMMARY")) is not None
