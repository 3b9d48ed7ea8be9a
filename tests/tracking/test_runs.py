import json

import pytest
from support.mlflow_desk import API, Desk

from modelwright.governance.access import Grant
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
    desk.tracking.ok("POST", f"{API}/runs/set-tag", {"run_id": run, "key": "mlflow.runName", "value": ""})
    assert desk.get_run(run)["info"]["run_name"] == "third"
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


@pytest.mark.parametrize("wrong", [{"name": "n" * 501}, {"digest": "d" * 37}, {"source": "s" * 65_536},
                                   {"schema": "s" * 1_048_576}])  # fmt: skip
def test_a_dataset_has_limits(desk: Desk, wrong: dict[str, str]) -> None:
    run = desk.run(desk.experiment())
    dataset = {"name": "train", "digest": "d1", "source_type": "local", "source": "{}", **wrong}
    body = {"run_id": run, "datasets": [{"dataset": dataset}]}
    assert desk.tracking("POST", f"{API}/runs/log-inputs", body)[0] == 400
    assert desk.get_run(run)["inputs"]["dataset_inputs"] == []


def test_datasets_whose_names_and_digests_read_alike_are_told_apart(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    named = [{"name": "a#b", "digest": "c", "source": "1"}, {"name": "a", "digest": "b#c", "source": "2"}]
    body = {"run_id": run, "datasets": [{"dataset": dataset} for dataset in named]}
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", body)
    assert [i["dataset"] for i in desk.get_run(run)["inputs"]["dataset_inputs"]] == named


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


def test_a_run_is_kept_under_its_workspace_and_experiment(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    assert desk.tables.get("tracking", Key(f"WS#default#EXPERIMENT#{experiment}", f"OPEN#{run}")) is not None
    assert desk.tables.get("tracking", Key(f"WS#default#RUN#{run}", "METRICS")) is not None


def test_what_is_read_of_a_run_and_what_is_written_to_it_needs_a_grant_on_its_experiment(desk: Desk) -> None:
    mine, other = desk.experiment("mine"), desk.experiment("other")
    run, theirs = desk.run(mine), desk.run(other)
    guest = desk.as_caller("tracking", grants=(Grant(role="contributor", resources=f"experiment/{mine}"),))
    point = {"key": "a", "value": 1, "timestamp": 1}
    for identity, status in ((run, 200), (theirs, 403)):
        assert guest("POST", f"{API}/runs/log-metric", {"run_id": identity, **point})[0] == status
        assert guest("POST", f"{API}/runs/set-tag", {"run_id": identity, "key": "k", "value": "v"})[0] == status
        assert guest("GET", f"{API}/metrics/get-history?run_id={identity}&metric_key=a")[0] == status
        assert guest("GET", f"{API}/metrics/get-history-bulk?run_id={identity}&metric_key=a")[0] == status
        assert guest("GET", f"{API}/runs/get?run_id={identity}")[0] == status


def test_a_run_deleted_by_itself_comes_back_with_its_experiment(desk: Desk) -> None:
    experiment = desk.experiment()
    run, other = desk.run(experiment), desk.run(experiment)
    desk.tracking.ok("POST", f"{API}/runs/delete", {"run_id": run})
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": experiment})
    desk.tracking.ok("POST", f"{API}/experiments/restore", {"experiment_id": experiment})
    assert {desk.get_run(each)["info"]["lifecycle_stage"] for each in (run, other)} == {"active"}
    desk.tracking.ok("POST", f"{API}/runs/delete", {"run_id": run})
    assert [desk.get_run(each)["info"]["lifecycle_stage"] for each in (run, other)] == ["deleted", "active"]
    assert desk.log_batch(other, metrics=[("a", 1.0, 1, 0)])[0] == 200
    assert desk.log_batch(run, metrics=[("a", 1.0, 1, 0)])[0] == 400


def test_a_run_of_a_deleted_experiment_takes_nothing(desk: Desk) -> None:
    experiment = desk.experiment()
    run = desk.run(experiment)
    desk.tracking.ok("POST", f"{API}/experiments/delete", {"experiment_id": experiment})
    for request in ({"metrics": [("a", 1.0, 1, 0)]}, {"params": {"a": "1"}}, {"tags": {"a": "1"}}):
        status, said = desk.log_batch(run, **request)
        assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert desk.tracking("POST", f"{API}/runs/update", {"run_id": run, "status": "FINISHED"})[0] == 400


def test_a_model_of_an_older_client_is_recorded_in_a_tag(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    flavors = {"sklearn": {"version": "1.9", "config": {"secret": 1}}, "python_function": "x"}
    model = {"run_id": run, "artifact_path": "model", "utc_time_created": "now", "flavors": flavors, "signature": {}}
    for _ in range(2):
        desk.tracking.ok("POST", f"{API}/runs/log-model", {"run_id": run, "model_json": json.dumps(model)})
    tags = {t["key"]: t["value"] for t in desk.get_run(run)["data"]["tags"]}
    known = {"sklearn": {"version": "1.9"}, "python_function": "x"}
    told = {"run_id": run, "utc_time_created": "now", "artifact_path": "model", "flavors": known}
    assert json.loads(tags["mlflow.log-model.history"]) == [told, told]


@pytest.mark.parametrize("model", ["{", "[]", "7", '{"run_id": "r"}', json.dumps(dict.fromkeys(
    ("artifact_path", "flavors", "utc_time_created", "run_id"), "x"))])  # fmt: skip
def test_a_model_that_is_none_is_refused(desk: Desk, model: str) -> None:
    run = desk.run(desk.experiment())
    status, said = desk.tracking("POST", f"{API}/runs/log-model", {"run_id": run, "model_json": model})
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
