"""What a search tried is runs within its training's run, as the stock client shows them."""

from typing import Any

import pytest
from mlflow import MlflowClient
from support.http import handler_of, memory_wiring, serve
from support.interruptions import Interrupted, Killed
from support.mlflow_desk import Desk, sample

from modelwright.adapters.memory import MemoryTables


def searched(count: int = 5) -> dict[str, Any]:
    event = sample("tracking-training-completed.json")
    tried = [
        {
            "name": f"linear-{n:02}",
            "parameters": {"kind": "linear", "strength": f"{n}.5"},
            "rung": 1 if n < 2 else 0,
            "rows": 900 if n < 2 else 300,
            "metric": 0.1 + n / 100,
            "seconds": 2.0,
        }
        for n in range(count)
    ]
    tried.append({"name": "knn-99", "parameters": {"kind": "neighbours"}, "rung": 0, "rows": 300, "text": "it broke"})
    event["detail"]["data"] |= {"candidates": tried, "searched_by": "brier"}
    return event


def test_the_stock_client_finds_the_leaderboard_below_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.functions["tracking"](searched())
    with serve(tuple(desk.functions.values()), desk.blobs) as url:
        client = MlflowClient(tracking_uri=url)
        experiment = client.get_experiment_by_name("flights")
        assert experiment is not None
        everything = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in everything if "mlflow.parentRunId" not in run.data.tags]
        nested = client.search_runs(
            [experiment.experiment_id],
            filter_string=f"tags.mlflow.parentRunId = '{parent.info.run_id}'",
            order_by=["metrics.brier ASC"],
        )
    assert len(everything) == 7
    assert [run.info.run_name for run in nested][:5] == [f"linear-{n:02}" for n in range(5)]
    assert nested[0].data.params == {"kind": "linear", "strength": "0.5"}
    assert nested[0].data.metrics == {"brier": pytest.approx(0.1), "rung": 1.0, "rows": 900.0}
    assert nested[0].info.end_time - nested[0].info.start_time == 2000
    assert [(run.info.status, run.data.tags.get("modelwright.reason")) for run in nested][-1] == ("FAILED", "it broke")


def test_a_leaderboard_whose_recording_is_killed_anywhere_is_whole_and_there_once() -> None:
    def recorded(tables: MemoryTables) -> int:
        desk = Desk(tables=tables)
        return len(desk.tracking.ok("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]})["runs"])

    whole = Interrupted()
    handler_of("tracking", memory_wiring(tables=whole))(searched(2))
    for number in range(0, whole.calls, 2):
        tables = Interrupted()
        setattr(tables, "dies_before" if number % 4 else "dies_after", number)
        track = handler_of("tracking", memory_wiring(tables=tables))
        with pytest.raises(Killed):
            track(searched(2))
        tables.dies_before = tables.dies_after = -1
        track(searched(2))
        assert recorded(tables) == 4, number
        assert track(searched(2)) == {"outcome": "duplicate"}
