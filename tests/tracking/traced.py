"""What ``mlflow.trace`` and its relatives do with the stock client; run by ``test_traces.py``."""

import contextlib
import time

import mlflow
import numpy as np
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

client = MlflowClient()
experiment = mlflow.set_experiment("traced").experiment_id
mlflow.sklearn.autolog(log_datasets=False, log_models=False)


@mlflow.trace
def add(x: int, y: int) -> int:
    with mlflow.start_span("inner", span_type="TOOL") as span:
        span.set_inputs({"x": x})
        span.set_outputs(y)
        span.set_attribute("numbers", [1, 2.5, {"ä": None}])
    return x + y


@mlflow.trace(name="fails")
def fail() -> None:
    raise ValueError("no")


@mlflow.trace(name="fits")
def fit() -> float:
    features = np.random.default_rng(0).normal(size=(40, 2))
    model = LogisticRegression().fit(features, features[:, 0] > 0)
    return float(model.score(features, features[:, 0] > 0))


assert add(1, 2) == 3
first = mlflow.get_last_active_trace_id()
assert first is not None
with contextlib.suppress(ValueError):
    fail()
with mlflow.start_run() as run:
    fit()
root = client.start_trace("manual", inputs={"a": 1}, tags={"team": "x"}, experiment_id=experiment)
child = client.start_span("child", root.trace_id, parent_id=root.span_id)
client.end_span(root.trace_id, child.span_id, outputs=5)
client.end_trace(root.trace_id, outputs="done")
mlflow.flush_trace_async_logging()


def names(**search: object) -> list[tuple[str, int]]:
    found = mlflow.search_traces(locations=[experiment], return_type="list", **search)
    return [(trace.info.tags["mlflow.traceName"], len(trace.data.spans)) for trace in found]


assert names() == [("manual", 2), ("fits", 1), ("fails", 1), ("add", 2)]
assert names(filter_string="status = 'ERROR'") == [("fails", 1)]
assert names(filter_string="tags.team = 'x'") == [("manual", 2)]
assert names(filter_string="trace.name IN ('add', 'fits') AND timestamp > 0") == [("fits", 1), ("add", 2)]
assert names(filter_string="tags.team IS NULL AND metadata.`mlflow.user` != ''", max_results=1) == [("fits", 1)]
assert names(run_id=run.info.run_id) == [("fits", 1)]
assert names(order_by=["timestamp_ms ASC"], include_spans=False) == [
    ("add", 0),
    ("fails", 0),
    ("fits", 0),
    ("manual", 0),
]
table = mlflow.search_traces(locations=[experiment])
assert list(table["trace_id"])[-1] == first

trace = mlflow.get_trace(first)
assert trace is not None
assert (str(trace.info.state), trace.info.request_preview, trace.info.response_preview) == (
    "OK",
    '{"x": 1, "y": 2}',
    "3",
)
outer, inner = trace.data.spans
assert (outer.name, outer.inputs, outer.outputs, outer.parent_id) == ("add", {"x": 1, "y": 2}, 3, None)
assert (inner.name, inner.span_type, inner.parent_id) == ("inner", "TOOL", outer.span_id)
assert inner.attributes["numbers"] == [1, 2.5, {"ä": None}]
failed = mlflow.search_traces(locations=[experiment], filter_string="name = 'fails'", return_type="list")[0]
assert [event.name for event in failed.data.spans[0].events] == ["exception"]

mlflow.set_trace_tag(first, "colour", "blue")
assert client.get_trace(first).info.tags["colour"] == "blue"
mlflow.delete_trace_tag(first, "colour")
assert "colour" not in client.get_trace(first).info.tags
assert mlflow.get_trace("tr-" + "0" * 32) is None

assert client.delete_traces(experiment, trace_ids=[first, "tr-unknown"]) == 1
assert client.delete_traces(experiment, max_timestamp_millis=int(time.time() * 1000) + 1000, max_traces=2) == 2
assert names() == [("manual", 2)]
