"""From a fitted model to production with the stock client; run by ``test_client.py``."""

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.ensemble import RandomForestClassifier

client = MlflowClient()
mlflow.set_experiment("flights")
features, labels = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 2
fitted = RandomForestClassifier(n_estimators=3, random_state=0).fit(features, labels)
how = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}

with mlflow.start_run() as run:
    info = mlflow.sklearn.log_model(fitted, name="clf", registered_model_name="flights", **how)
    mlflow.log_metric("auc", 0.75, model_id=info.model_id)

version = client.get_model_version("flights", "1")
assert (version.source, version.status) == (f"models:/{info.model_id}", "READY")
second = mlflow.register_model(f"runs:/{run.info.run_id}/clf", "flights", tags={"modelwright.metric.auc": "0.75"})
third = mlflow.register_model(info.model_uri, "flights")
assert [second.version, third.version] == ["2", "3"]

client.set_registered_model_alias("flights", "champion", "1")
client.set_registered_model_alias("flights", "blue", "2")
assert client.get_model_version_by_alias("flights", "champion").version == "1"
for uri in ("models:/flights@champion", "models:/flights/2", info.model_uri, f"runs:/{run.info.run_id}/clf"):
    loaded = mlflow.sklearn.load_model(uri)
    assert np.array_equal(loaded.predict_proba(features), fitted.predict_proba(features)), uri

client.update_registered_model("flights", description="late?")
client.update_model_version("flights", "1", description="first")
client.set_registered_model_tag("flights", "t", "1")
client.set_model_version_tag("flights", "1", "modelwright.dataset_digest", "d1")
client.delete_registered_model_tag("flights", "t")
client.delete_model_version_tag("flights", "1", "modelwright.dataset_digest")
client.transition_model_version_stage("flights", "1", "Staging")
copied = client.copy_model_version("models:/flights@champion", "flights-prod")
assert mlflow.sklearn.load_model("models:/flights-prod/1").n_estimators == 3

assert [m.name for m in client.search_registered_models("name LIKE 'flights%'")] == ["flights", "flights-prod"]
assert sorted(v.version for v in client.search_model_versions("name='flights'")) == ["1", "2", "3"]
assert client.get_model_version_download_uri("flights", "1").endswith(f"/models/{info.model_id}/artifacts")
client.rename_registered_model("flights-prod", "flights-live")
client.delete_registered_model_alias("flights", "blue")
client.delete_model_version("flights", "3")
client.delete_registered_model("flights-live")
with pytest.raises(MlflowException, match="RESOURCE_DOES_NOT_EXIST"):
    client.get_model_version("flights", "3")

assert [m.model_id for m in mlflow.search_logged_models(experiment_ids=["1"], output_format="list")] == [info.model_id]
metrics = mlflow.get_logged_model(info.model_id).metrics
assert metrics is not None
assert metrics[0].value == 0.75
