"""What a data scientist does in the demo, with the stock mlflow client and plain HTTP.

They take a training set from the feature store, fit a model, log it, register it, and ask for an
alias. The planted challenger is made the same way, with its labels shuffled, and pushed past the
gates by force.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import requests
from sklearn.metrics import brier_score_loss, roc_auc_score

from modelwright.client import Api
from modelwright.demo.clock import AS_OF_VARIABLE
from modelwright.demo.project import trainer
from modelwright.flavors import single_thread
from modelwright.project import Model

HOLDOUT = pd.Timedelta(days=7)
_SEED = 20130101


@dataclass(frozen=True)
class Examples:
    """A saved training set.

    Attributes:
        digest: its identity.
        frame: features and ``label``, a row per flight.
    """

    digest: str
    frame: pd.DataFrame


def training_set(api: Api, model: str, start: datetime, end: datetime) -> Examples:
    """Ask the feature store for examples and download them."""
    answer = api.post("/v1/training-sets", {"model": model, "start": start.isoformat(), "end": end.isoformat()})
    body = requests.get(answer["url"], timeout=60)
    body.raise_for_status()
    return Examples(answer["digest"], pq.read_table(io.BytesIO(body.content)).to_pandas())


def log_model(
    api: Api, name: str, model: Model, examples: Examples, *, token: str, experiment: str, shuffled: bool = False
) -> int:
    """Fit a model on examples, log and register it with the stock mlflow client; return its version.

    Args:
        api: the stack.
        name: the registered model.
        model: its declaration.
        examples: what it is fitted on; the newest week is held out for its figures.
        token: of the one who logs.
        experiment: where its run goes.
        shuffled: whether its labels are shuffled: the planted fault.
    """
    import mlflow

    frame = examples.frame
    held_out = frame[model.time_column] >= frame[model.time_column].max() - HOLDOUT
    labels = frame["label"].to_numpy(copy=True)
    if shuffled:
        np.random.default_rng(_SEED).shuffle(labels)
    inputs = list(model.inputs)
    with _client(api, token), single_thread()():
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name="shuffled labels" if shuffled else "January"):
            early = trainer.train(frame.loc[~held_out, inputs], labels[~held_out], model.parameters)
            figures = _figures(early, frame.loc[held_out, inputs], frame["label"].to_numpy()[held_out])
            fitted = trainer.train(frame[inputs], labels, model.parameters)
            mlflow.log_params(dict(model.parameters))
            mlflow.log_metrics(figures)
            mlflow.set_tag("modelwright.dataset_digest", examples.digest)
            logged = mlflow.sklearn.log_model(
                fitted,
                name="model",
                registered_model_name=name,
                serialization_format="cloudpickle",
                pip_requirements=["scikit-learn"],
            )
            version = int(logged.registered_model_version)
            client = mlflow.MlflowClient()
            for key, value in {**figures, "dataset_digest": examples.digest}.items():
                tag = f"modelwright.{key}" if key == "dataset_digest" else f"modelwright.metric.{key}"
                client.set_model_version_tag(name, str(version), tag, str(value))
    return version


def make_champion(api: Api, name: str, version: int, *, token: str) -> None:
    """Ask for the alias ``champion`` with the stock mlflow client: its gates run."""
    import mlflow

    with _client(api, token):
        mlflow.MlflowClient().set_registered_model_alias(name, "champion", str(version))


def _figures(fitted: Any, frame: pd.DataFrame, labels: Any) -> dict[str, float]:
    scores = fitted.predict_proba(frame)[:, 1]
    return {"auc": float(roc_auc_score(labels, scores)), "brier": float(brier_score_loss(labels, scores))}


@contextmanager
def _client(api: Api, token: str) -> Iterator[None]:
    """Point the mlflow client at a stack, quietly."""
    import logging
    import os

    import mlflow

    told = {
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        AS_OF_VARIABLE: api.as_of.isoformat() if api.as_of else "",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    for name in ("mlflow", "mlflow.tracking._model_registry.fluent"):
        logging.getLogger(name).setLevel(logging.ERROR)
    mlflow.set_tracking_uri(api.endpoint)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
