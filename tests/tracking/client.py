"""What a data scientist does with the stock client; run by ``test_client.py``."""

import math
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

client = MlflowClient()
experiment = mlflow.set_experiment("churn")
assert mlflow.set_experiment("churn").experiment_id == experiment.experiment_id

with mlflow.start_run(run_name="first", tags={"team": "growth"}) as run:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1})
    for step in range(5):
        mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
    mlflow.log_metrics({"auc": 0.75, "odd": float("nan")}, step=4)
    pending = mlflow.log_metric("later", 2.0, synchronous=False)
    assert pending is not None
    pending.wait()  # type: ignore[no-untyped-call]
    mlflow.set_tags({"a": "b"})
    mlflow.log_text("hello", "notes/n.txt")
    mlflow.log_dict({"a": 1}, "d.json")
    Path("big.bin").write_bytes(b"x" * 300_000)
    Path("empty.bin").write_bytes(b"")
    mlflow.log_artifact("big.bin")
    mlflow.log_artifact("empty.bin", "folder")
    mlflow.log_input(from_pandas(pd.DataFrame({"x": [1, 2]}), source="file.csv", name="train"), context="training")
run_id = run.info.run_id

found = client.get_run(run_id)
assert (found.info.status, found.info.run_name) == ("FINISHED", "first")
assert (found.data.params, found.data.tags["team"]) == ({"depth": "3", "rate": "0.1"}, "growth")
assert (found.data.metrics["loss"], found.data.metrics["auc"], found.data.metrics["later"]) == (0.2, 0.75, 2.0)
assert math.isnan(found.data.metrics["odd"])
assert found.inputs is not None
assert found.inputs.dataset_inputs[0].dataset.name == "train"
assert [(m.step, m.value) for m in client.get_metric_history(run_id, "loss")] == [(n, 1.0 / (n + 1)) for n in range(5)]

assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/n.txt") == "hello"
assert mlflow.artifacts.load_dict(f"runs:/{run_id}/d.json") == {"a": 1}
assert Path(client.download_artifacts(run_id, "big.bin", ".")).read_bytes() == b"x" * 300_000
assert {f.path for f in client.list_artifacts(run_id)} == {"notes", "d.json", "big.bin", "folder"}
assert [(f.path, f.file_size) for f in client.list_artifacts(run_id, "folder")] == [("folder/empty.bin", 0)]

with mlflow.start_run(run_name="parent") as parent, mlflow.start_run(run_name="child", nested=True) as child:
    mlflow.log_metric("auc", 0.5)
above = mlflow.get_parent_run(child.info.run_id)
assert above is not None
assert above.info.run_id == parent.info.run_id

client.log_batch(run_id, [Metric("z", 1.0, 1, 0)], [Param("zz", "1")], [RunTag("tt", "1")])
with pytest.raises(MlflowException, match="Changing param values is not allowed"):
    client.log_param(run_id, "depth", 4)
client.update_run(run_id, name="renamed")
client.delete_tag(run_id, "tt")

frame = mlflow.search_runs(["1"], "metrics.auc > 0.6 and params.depth = '3'", order_by=["metrics.auc DESC"])
assert list(frame["run_id"]) == [run_id]
assert list(frame["tags.mlflow.runName"]) == ["renamed"]
assert len(mlflow.search_runs(experiment_names=["churn"])) == 3
client.delete_run(run_id)
assert len(client.search_runs(["1"], run_view_type=ViewType.DELETED_ONLY)) == 1
client.restore_run(run_id)

client.set_experiment_tag("1", "e", "1")
client.rename_experiment("1", "attrition")
assert client.get_experiment("1").tags == {"e": "1"}
client.delete_experiment("1")
client.restore_experiment("1")
assert [e.name for e in client.search_experiments(filter_string="name ILIKE 'ATT%'")] == ["attrition"]
