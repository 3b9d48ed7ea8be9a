"""What a team does with the stock client from the first run to a registered model; run by ``test_workflow.py``.

Each step says its name before it begins, so that the one that failed is known.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

client = MlflowClient()
X, y = load_iris(return_X_y=True, as_frame=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is being done."""
    print(f"step: {name}", flush=True)  # noqa: T201 - the test shows it when a step fails
    yield


with step("experiments"):
    experiment = mlflow.set_experiment("flights")
    assert mlflow.set_experiment("flights").experiment_id == experiment.experiment_id
    client.set_experiment_tag(experiment.experiment_id, "team", "growth")
    with pytest.raises(MlflowException, match="already exists"):
        client.create_experiment("flights")

with step("params, metrics, tags"), mlflow.start_run(run_name="basic", tags={"team": "growth"}) as basic:
    mlflow.log_param("depth", 3)
    mlflow.log_params({"rate": 0.1, "long": "x" * 7000})
    for number in range(3):
        mlflow.log_metric("loss", 1.0 / (number + 1), step=number)
    mlflow.log_metrics({"auc": 0.75, "odd": float("nan"), "far": float("inf")}, step=2)
    mlflow.set_tags({"a": "b", "c": "d"})
    mlflow.set_tag("mlflow.note.content", "a *note*")
run_id = basic.info.run_id

with step("files"), mlflow.start_run(run_id=run_id):
    mlflow.log_text("hello", "notes/ü 100%.txt")
    mlflow.log_dict({"a": 1}, "d.json")
    Path("folder/below").mkdir(parents=True)
    Path("folder/big.bin").write_bytes(b"x" * 3_000_000)
    Path("folder/below/empty.bin").write_bytes(b"")
    mlflow.log_artifact("folder/big.bin")
    mlflow.log_artifacts("folder", "all")
    mlflow.log_table({"question": ["a", "b"], "score": [1, 2]}, "table.json")
    mlflow.log_table({"question": ["c"], "score": [3]}, "table.json")
    mlflow.log_image(np.zeros((8, 8, 3), dtype=np.uint8), key="img", step=0)
    mlflow.log_input(from_pandas(X, source="s3://b/iris.csv", name="iris"), context="training")

with step("files come back"):
    assert {f.path for f in client.list_artifacts(run_id)} >= {
        "notes",
        "d.json",
        "big.bin",
        "all",
        "table.json",
        "images",
    }
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/ü 100%.txt") == "hello"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/d.json") == {"a": 1}
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="all"))
    assert (folder / "big.bin").read_bytes() == b"x" * 3_000_000
    assert (folder / "below" / "empty.bin").read_bytes() == b""
    assert list(mlflow.load_table("table.json", run_ids=[run_id])["score"]) == [1, 2, 3]
    assert len(list(Path(client.download_artifacts(run_id, "images", ".")).iterdir())) == 2

with step("a run comes back"):
    found = mlflow.get_run(run_id)
    assert (found.info.status, found.info.run_name, found.data.params["rate"]) == ("FINISHED", "basic", "0.1")
    assert len(found.data.params["long"]) == 6000
    assert (found.data.metrics["loss"], found.data.metrics["far"]) == (1 / 3, 1.7976931348623157e308)
    assert math.isnan(found.data.metrics["odd"])
    assert found.inputs is not None
    assert found.inputs.dataset_inputs[0].dataset.name == "iris"
    assert [m.value for m in client.get_metric_history(run_id, "loss")] == [1.0, 0.5, 1 / 3]

with step("nested runs"), mlflow.start_run(run_name="parent") as parent:
    for number in range(2):
        with mlflow.start_run(run_name=f"child {number}", nested=True) as child:
            mlflow.log_metric("auc", number)
    above = mlflow.get_parent_run(child.info.run_id)
    assert above is not None
    assert above.info.run_id == parent.info.run_id

with step("asynchronous logging"), mlflow.start_run(run_name="later") as later:
    for number in range(50):
        mlflow.log_metric("late", number, step=number, synchronous=False)
    mlflow.flush_async_logging()
    assert len(client.get_metric_history(later.info.run_id, "late")) == 50

with step("autologging"):
    mlflow.sklearn.autolog(log_datasets=True, serialization_format="cloudpickle")
    with mlflow.start_run(run_name="auto") as auto:
        model = LogisticRegression(max_iter=200).fit(X, y)
        model.score(X, y)
    with mlflow.start_run(run_name="grid"):
        GridSearchCV(LogisticRegression(max_iter=200), {"C": [0.5, 1.0]}, cv=2).fit(X, y)
    mlflow.sklearn.autolog(disable=True)
    logged = mlflow.get_run(auto.info.run_id)
    assert logged.data.metrics["training_accuracy_score"] > 0.9
    assert logged.data.params["max_iter"] == "200"
    assert len(client.search_runs([experiment.experiment_id], "tags.`mlflow.parentRunId` LIKE '%'")) >= 4

with step("log a model"), mlflow.start_run(run_name="model") as made:
    info = mlflow.sklearn.log_model(model, name="clf", input_example=X.head(2))
    mlflow.log_metric("val", 0.7, model_id=info.model_id)
with step("log and register a model"), mlflow.start_run():
    mlflow.sklearn.log_model(model, name="clf", registered_model_name="delays")
with step("log a model outside of a run"):
    alone = mlflow.sklearn.log_model(model, name="alone")
    client.delete_logged_model(alone.model_id)
    with pytest.raises(MlflowException, match="not found"):
        mlflow.get_logged_model(alone.model_id)
with step("logged models"):
    mlflow.set_logged_model_tags(info.model_id, {"q": "1"})
    assert mlflow.get_logged_model(info.model_id).tags["q"] == "1"
    mlflow.delete_logged_model_tag(info.model_id, "q")
    ready = mlflow.search_logged_models([experiment.experiment_id], "name = 'clf'", output_format="list")
    assert {m.model_id for m in ready} >= {info.model_id}
    assert str(mlflow.get_logged_model(info.model_id).status) == "READY"

with step("register"):
    version = mlflow.register_model(f"runs:/{made.info.run_id}/clf", "delays")
    assert (version.name, int(version.version)) == ("delays", 2)
    assert int(mlflow.register_model(info.model_uri, "delays").version) == 3
    client.update_registered_model("delays", description="d")
    client.update_model_version("delays", "1", description="first")
    client.set_registered_model_alias("delays", "best", "2")
    assert int(client.get_model_version_by_alias("delays", "best").version) == 2
    client.set_registered_model_tag("delays", "t", "1")
    client.set_model_version_tag("delays", "1", "t", "1")
    client.delete_registered_model_tag("delays", "t")
    client.delete_model_version_tag("delays", "1", "t")
with step("load models, however they are named"):
    for uri in ("models:/delays@best", "models:/delays/3", f"runs:/{made.info.run_id}/clf", info.model_uri):
        assert list(mlflow.pyfunc.load_model(uri).predict(X.head(2))) == [0, 0]
with step("stages, copies, searches"):
    with pytest.warns(FutureWarning):
        client.transition_model_version_stage("delays", "1", "Staging")
    client.copy_model_version("models:/delays/2", "delays-prod")
    assert list(mlflow.pyfunc.load_model("models:/delays-prod/1").predict(X.head(1))) == [0]
    assert [m.name for m in client.search_registered_models("name = 'delays'")] == ["delays"]
    assert len(client.search_model_versions("name = 'delays'")) == 3
    assert [v.version for v in client.search_model_versions(f"run_id = '{made.info.run_id}'")]
    client.rename_registered_model("delays-prod", "delays-live")
    assert client.get_registered_model("delays-live").name == "delays-live"
    client.delete_registered_model_alias("delays", "best")
    client.delete_model_version("delays", "1")
    client.delete_registered_model("delays-live")
    assert int(client.get_model_version("delays", "3").version) == 3
    assert client.get_model_version_download_uri("delays", "3").endswith(f"models/{info.model_id}/artifacts")

with step("search runs"):
    frame = mlflow.search_runs(
        [experiment.experiment_id], "metrics.loss < 1 and params.depth = '3'", order_by=["metrics.loss DESC"]
    )
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["run_id"]) == [run_id]
    assert len(mlflow.search_runs(experiment_names=["flights"])) >= 9
    assert [e.name for e in client.search_experiments(filter_string="tags.team = 'growth'")] == ["flights"]
with step("change runs"):
    client.log_batch(run_id, [Metric("z", 1.0, 1, 0)], [Param("zz", "1")], [RunTag("tt", "1")])
    client.update_run(run_id, name="renamed")
    client.delete_tag(run_id, "a")
    assert mlflow.get_run(run_id).info.run_name == "renamed"
    with pytest.raises(MlflowException, match="Changing param values"):
        client.log_param(run_id, "depth", 4)
    client.delete_run(run_id)
    with pytest.raises(MlflowException, match="active"):
        client.log_metric(run_id, "loss", 1)
    assert len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)) == 1
    client.restore_run(run_id)
with step("change experiments"):
    client.rename_experiment(experiment.experiment_id, "departures")
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(MlflowException):
        client.create_run(experiment.experiment_id)
    client.restore_experiment(experiment.experiment_id)
    assert client.get_experiment(experiment.experiment_id).tags["team"] == "growth"

with step("evaluate a model"), mlflow.start_run(run_name="evaluated"):
    data = X.assign(target=y)
    mlflow.models.evaluate(  # type: ignore[no-untyped-call]
        info.model_uri,
        data,
        targets="target",
        model_type="classifier",
        evaluator_config={"log_model_explainability": False},
    )
with step("prompts"):
    mlflow.genai.register_prompt("greeting", "hi {{name}}")
    assert mlflow.genai.load_prompt("prompts:/greeting/1").format(name="ann") == "hi ann"
    mlflow.genai.set_prompt_alias("greeting", "live", 1)
    assert mlflow.genai.load_prompt("prompts:/greeting@live").version == 1
    assert [m.name for m in client.search_registered_models()] == ["delays"]
with step("a place of one's own"):
    own = client.create_experiment("own", artifact_location="s3://theirs/mlflow")
    mine = client.create_run(own)
    assert mine.info.artifact_uri == f"s3://theirs/mlflow/{mine.info.run_id}/artifacts"
Path("done").touch()
