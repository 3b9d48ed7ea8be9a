"""Ten runs with curves, one with a model, files and a data set, by the stock client; run by ``conftest.py``.

Prints what the tests look for as one JSON line.
"""

import json
import math
import sys
import time

import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import Metric, Param, RunTag
from sklearn.linear_model import LogisticRegression

mpl.use("Agg")
client = MlflowClient()
experiment = client.create_experiment("vineyard", tags={"mlflow.note.content": "which grape is it"})
start = int(time.time() * 1000) - 60_000
runs = []
for number in range(10):
    run = client.create_run(experiment, run_name=f"barrel-{number}", start_time=start + number * 1000)
    metrics = [
        Metric(key, value, start + step, step)
        for step in range(20)
        for key, value in (("loss", math.exp(-step / (number + 3))), ("auc", 0.5 + 0.02 * step + 0.001 * number))
    ]
    params = [Param("depth", str(number)), Param("family", "linear" if number % 2 else "tree")]
    client.log_batch(run.info.run_id, metrics=metrics, params=params, tags=[RunTag("team", "cellar")])
    client.set_terminated(run.info.run_id, end_time=start + number * 1000 + 500)
    runs.append(run.info.run_id)

rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(60, 2)), columns=["alcohol", "malic_acid"])
labels = (frame["alcohol"] > 0).astype(int)
mlflow.set_experiment(experiment_id=experiment)
with mlflow.start_run(run_name="bottled") as bottled:
    mlflow.log_param("family", "linear")
    mlflow.log_metric("auc", 0.93)
    mlflow.log_input(from_pandas(frame, name="cellar-book"), context="training")
    mlflow.log_text("a hint of oak", "notes/taste.txt")
    mlflow.log_text("<p>by hand</p><script>document.body.innerHTML += 'by script'</script>", "report.html")
    figure = Figure()
    figure.subplots().plot([1, 2, 3])
    mlflow.log_figure(figure, "curve.png")
    logged = mlflow.sklearn.log_model(
        LogisticRegression().fit(frame, labels),
        name="nose",
        registered_model_name="sommelier",
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
        input_example=frame.head(2),
    )
    mlflow.log_metric("recall", 0.8, model_id=logged.model_id)
client.set_registered_model_alias("sommelier", "best", "1")
client.update_registered_model("sommelier", "tells grapes apart")

found = {"experiment": experiment, "runs": runs, "bottled": bottled.info.run_id, "model": logged.model_id}
sys.stdout.write(json.dumps(found) + "\n")
