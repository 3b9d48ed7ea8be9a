"""A request whose gates need a model and numpy: asked over HTTP, judged where the libraries are, under that role."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from e2e.desk import Desk, token_of_workspace, wait
from modelwright.flavors import mlmodel, pickled

pytestmark = pytest.mark.e2e

WORKSPACE = "gated"
ML = "/api/2.0/mlflow"
ASKED = "/v1/models/flights/transitions"
TIME = {"type": "timestamp"}
PROJECT = {
    "name": "gated",
    "sources": {
        "arrivals": {
            "prefix": "gated/", "key": ["id"], "event_time": "t", "labels": True,
            "columns": {"id": {"type": "string"}, "t": TIME, "late": {"type": "integer"}},
        }
    },
    "models": {
        "flights": {
            "id_column": "id", "time_column": "t", "request": {"id": "string", "t": "timestamp"}, "views": [],
            "inputs": ["t"], "label": {"source": "arrivals", "column": "late", "above": 15}, "trainer": "code:fit",
            "gates": {
                "gates": ["size_budget", "not_inferior", "latency_budget"], "comparison": "auc",
                "max_latency_ms": 10_000,
            },
        }
    },
}  # fmt: skip


def folder(shift: float) -> dict[str, bytes]:
    """Return a model, what it said of held-out rows, and how much better than the champion that was."""
    frame = pd.DataFrame({"age": np.arange(60.0)})
    label = np.arange(400) % 2
    champion = label / 5 + np.sin(np.arange(400))
    table = pa.table({"label": label, "champion": champion, "challenger": champion + shift * label})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"modelwright.champion": "1"}), sink)
    signature = {"inputs": json.dumps([{"name": "age", "type": "double"}])}
    return {
        "model.pkl": pickled(LogisticRegression().fit(frame, np.arange(60) // 30)),
        "MLmodel": mlmodel("r", inputs=["age"], training_id="", signature=signature),
        "predictions.parquet": sink.getvalue(),
    }


def test_a_request_waits_for_its_full_gates_and_goes_its_way(desk: Desk) -> None:
    token = token_of_workspace(desk.running, WORKSPACE)

    def said(method: str, path: str, body: Any = None) -> Any:
        answer = desk.ask(method, path, token=token, json=body)
        assert answer.ok, answer.text
        return answer.json()

    said("POST", "/v1/projects", {"project": PROJECT})
    said("POST", f"{ML}/registered-models/create", {"name": "flights"})
    bucket = desk.running.outputs["ArtifactsBucketName"]
    for number, shift in enumerate((0.0, -0.5, 0.5), start=1):
        for name, content in folder(shift).items():
            key = f"{WORKSPACE}/1/v{number}/{name}"
            desk.running.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
        said("POST", f"{ML}/model-versions/create", {"name": "flights", "source": f"mlflow-artifacts:/1/v{number}"})

    def decided(number: int) -> dict[str, Any]:
        asked = said("POST", ASKED, {"version": number, "alias": "champion"})["transition"]

        def found() -> Any:
            now: dict[str, Any] = said("GET", f"{ASKED}/{asked['request_id']}")["transition"]
            return now if now["state"] in ("applied", "refused") else None

        assert asked["state"] == "judging"
        result: dict[str, Any] = wait(found, f"the gates of v{number}", limit_s=120)
        return result

    assert decided(1)["state"] == "applied"
    worse = decided(2)
    assert worse["state"] == "refused"
    (no,) = (result for result in worse["results"] if not result["passed"])
    assert no["gate"] == "not_inferior"
    assert "auc of v2 against champion v1 on 400 held-out rows differs by -0." in no["text"]
    better = decided(3)
    assert better["state"] == "applied", better
    timed = next(result["text"] for result in better["results"] if result["gate"] == "latency_budget")
    assert "flights v3 scores one row in " in timed
