"""A data scientist's afternoon with nothing but mlflow and scikit-learn; run by ``test_mlflow.py``."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

NAME = "scientist"
client = MlflowClient()
rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
labels = (frame["a"] + rng.normal(size=200) > 0).astype(int)

mlflow.set_experiment("afternoon")
for strength in (0.1, 1.0):
    with mlflow.start_run(run_name=f"C={strength}") as run:
        fitted = LogisticRegression(C=strength).fit(frame, labels)
        mlflow.log_params({"C": strength, "solver": "lbfgs"})
        for step in range(3):
            mlflow.log_metric("accuracy", fitted.score(frame, labels) + step, step=step)
        mlflow.set_tag("team", "flights")
        mlflow.log_text("what I thought", "notes/idea.txt")
        mlflow.log_dict({"c": strength}, "notes/settings.json")
        logged = mlflow.sklearn.log_model(
            fitted,
            name="model",
            registered_model_name=NAME,
            serialization_format="cloudpickle",
            pip_requirements=["scikit-learn"],
        )
    client.set_model_version_tag(NAME, str(logged.registered_model_version), "modelwright.metric.auc", "0.7")

found = mlflow.search_runs(
    experiment_names=["afternoon"], filter_string="params.C = '0.1' and tags.team = 'flights' and metrics.accuracy > 2"
)
assert list(found["params.C"]) == ["0.1"]
ordered = mlflow.search_runs(experiment_names=["afternoon"], order_by=["params.C DESC"], output_format="list")
assert [each.data.params["C"] for each in ordered] == ["1.0", "0.1"]
assert [point.step for point in client.get_metric_history(run.info.run_id, "accuracy")] == [0, 1, 2]

assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"notes"}
assert {file.path for file in client.list_artifacts(run.info.run_id, "notes")} == {
    "notes/idea.txt",
    "notes/settings.json",
}
assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/notes/idea.txt") == "what I thought"
folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="notes", dst_path="down"))
assert sorted(path.name for path in folder.iterdir()) == ["idea.txt", "settings.json"]

assert sorted(int(version.version) for version in client.search_model_versions(f"name='{NAME}'")) == [1, 2]
client.set_registered_model_alias(NAME, "favourite", "2")
assert client.get_model_version_by_alias(NAME, "favourite").version == "2"
loaded = mlflow.sklearn.load_model(f"models:/{NAME}@favourite")
assert np.array_equal(loaded.predict_proba(frame), fitted.predict_proba(frame))
assert mlflow.pyfunc.load_model(f"models:/{NAME}/1").predict(frame).shape == (200,)
client.delete_registered_model_alias(NAME, "favourite")
with pytest.raises(MlflowException, match="favourite"):
    client.get_model_version_by_alias(NAME, "favourite")
Path("done").touch()
