from datetime import UTC, datetime
from typing import Any

from support.mlflow_desk import API, Desk

from modelwright.context import Call
from modelwright.governance.access import Grant
from modelwright.tracking import datasets

SEARCH = "/ajax-api/2.0/mlflow/experiments/search-datasets"


def read(desk: Desk, run: str, *uses: tuple[str, str, str]) -> None:
    """Say that a run read datasets: (name, digest, context)."""
    told = [
        {
            "dataset": {"name": name, "digest": digest, "source_type": "local", "source": "f"},
            "tags": [{"key": "mlflow.data.context", "value": context}] if context else [],
        }
        for name, digest, context in uses
    ]
    desk.tracking.ok("POST", f"{API}/runs/log-inputs", {"run_id": run, "datasets": told})


def test_the_uses_of_datasets_are_listed_once_however_many_runs_there_are(desk: Desk) -> None:
    churn, other = desk.experiment(), desk.experiment("other")
    for _ in range(3):
        read(desk, desk.run(churn), ("train", "d1", "training"), ("train", "d1", "test"), ("plain", "d2", ""))
    read(desk, desk.run(other), ("b#c", "d#", "a#b"))
    uses: list[dict[str, Any]] = desk.tracking.ok("POST", SEARCH, {"experiment_ids": [churn]})["dataset_summaries"]
    assert uses == [
        {"experiment_id": churn, "name": "plain", "digest": "d2"},
        {"experiment_id": churn, "name": "train", "digest": "d1", "context": "test"},
        {"experiment_id": churn, "name": "train", "digest": "d1", "context": "training"},
    ]
    both = desk.tracking.ok("POST", SEARCH, {"experiment_ids": [churn, other, churn]})["dataset_summaries"]
    assert both == [*uses, {"experiment_id": other, "name": "b#c", "digest": "d#", "context": "a#b"}]
    assert desk.tracking.ok("POST", SEARCH, {"experiment_ids": ["99"]}) == {"dataset_summaries": []}


def test_a_list_of_datasets_costs_one_query_of_an_experiment(desk: Desk) -> None:
    churn = desk.experiment()
    for _ in range(50):
        read(desk, desk.run(churn), ("train", "d1", "training"))
    call = Call("default", "ann", datetime.now(UTC), "c")
    message = datasets.SearchDatasets(experiment_ids=(churn,))
    desk.wiring.meter.take()
    datasets.search(call, message, tables=desk.wiring.tables, blobs=desk.wiring.blobs, log=desk.wiring.log)
    assert (counts := desk.wiring.meter.take())["table_calls"] == counts["read_units"] == 1


def test_wrong_searches_of_datasets_are_refused(desk: Desk) -> None:
    for body, text in (
        ({}, "must specify at least one experiment_id"),
        ({"experiment_ids": []}, "must specify at least one experiment_id"),
        ({"experiment_ids": [str(n) for n in range(21)]}, "cannot specify more than 20"),
        ({"experiment_ids": ["x"]}, "Invalid experiment ID"),
    ):
        status, said = desk.tracking("POST", SEARCH, body)
        assert (status, text in said["message"]) == (400, True), said
    reader = desk.as_caller("tracking", grants=(Grant(role="reader", resources="experiment/2"),))
    assert reader("POST", SEARCH, {"experiment_ids": ["1"]})[0] == 403
