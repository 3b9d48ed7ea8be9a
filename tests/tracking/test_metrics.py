import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from support.mlflow_desk import API, Desk

from modelwright.storage import Write

POINT = {"key": "a", "value": 1, "timestamp": 1}


def test_a_batch_sent_again_is_one_item(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    for _ in range(2):
        desk.log_batch(run, metrics=[("a", 1.0, 1, 0), ("a", 2.0, 2, 1)])
    assert len(desk.tables.query("tracking", f"WS#default#RUN#{run}", prefix="POINTS#").items) == 1


def test_what_a_resend_brings_anew_is_kept(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    desk.log_batch(run, metrics=[("a", 1.0, 1, 0)])
    desk.log_batch(run, metrics=[("a", 1.0, 1, 0)], tags={"late": "yes"})
    assert {"key": "late", "value": "yes"} in desk.get_run(run)["data"]["tags"]


def test_params_never_change_and_a_changed_one_fails_the_whole_batch(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    assert desk.log_batch(run, params={"depth": "3"})[0] == 200
    assert desk.log_batch(run, params={"depth": "3", "rate": "1"})[0] == 200
    status, said = desk.log_batch(run, params={"depth": "4"}, metrics=[("a", 1.0, 1, 0)], tags={"t": "1"})
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Changing param values is not allowed" in said["message"]
    data = desk.get_run(run)["data"]
    assert data["metrics"] == []
    assert {p["key"]: p["value"] for p in data["params"]} == {"depth": "3", "rate": "1"}
    twice = [{"key": "x", "value": "1"}, {"key": "x", "value": "1"}]
    assert desk.tracking("POST", f"{API}/runs/log-batch", {"run_id": run, "params": twice})[0] == 400


@pytest.mark.parametrize(
    ("kind", "count"), [("metrics", 1001), ("params", 101), ("tags", 101)], ids=["metrics", "params", "tags"]
)
def test_a_batch_has_limits(desk: Desk, kind: str, count: int) -> None:
    run = desk.run(desk.experiment())
    one = {"key": "k", "value": "1" if kind != "metrics" else 1, "timestamp": 1}
    many = [{**one, "key": f"k{n}"} for n in range(count)]
    assert desk.tracking("POST", f"{API}/runs/log-batch", {"run_id": run, kind: many})[0] == 400
    assert desk.tracking("POST", f"{API}/runs/log-batch", {"run_id": run, kind: many[:-1]})[0] == 200


@pytest.mark.parametrize("key", ["", "a\nb", "a\n", "../a", "/a", "a//b", "a?", "k" * 251, "./a", "."])
def test_a_key_that_could_be_a_path_elsewhere_is_refused(desk: Desk, key: str) -> None:
    run = desk.run(desk.experiment())
    body = {"run_id": run, "key": key, "value": 1, "timestamp": 1}
    status, said = desk.tracking("POST", f"{API}/runs/log-metric", body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_point_in_time_that_no_clock_tells_is_refused(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    for wrong in ({"timestamp": -1}, {"timestamp": 2**63}, {"step": 2**63}, {"step": 0.5}, {"value": "much"}):
        status, said = desk.tracking("POST", f"{API}/runs/log-metric", {"run_id": run, **POINT, **wrong})
        assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), wrong
    for right in ({"timestamp": str(2**63 - 1)}, {"step": -(2**63)}, {"value": "Infinity"}):
        assert desk.tracking("POST", f"{API}/runs/log-metric", {"run_id": run, **POINT, **right})[0] == 200


def test_infinities_are_the_largest_numbers_there_are(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    desk.log_batch(run, metrics=[("up", "Infinity", 1, 0), ("down", "-Infinity", 1, 0), ("none", "NaN", 1, 0)])
    told = {m["key"]: m["value"] for m in desk.get_run(run)["data"]["metrics"]}
    assert told == {"up": sys.float_info.max, "down": -sys.float_info.max, "none": "NaN"}


def test_a_refused_batch_leaves_nothing_behind(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    before = desk.get_run(run)
    for wrong in ({"metrics": [("a", 1.0, 1, 0), ("/b", 1.0, 1, 0)]}, {"params": {"a": "1", "../b": "2"}},
                  {"metrics": [("a", 1.0, 1, 0)], "tags": {"t?": "1"}}):  # fmt: skip
        assert desk.log_batch(run, **wrong)[0] == 400
    assert desk.log_batch(run, params={"p": "1"}, metrics=[("m", 1.0, 1, 0)], tags={})[0] == 200
    changed = {"params": {"p": "2"}, "metrics": [("m", 2.0, 2, 2), ("n", 1.0, 1, 0)], "tags": {"t": "1"}}
    assert desk.log_batch(run, **changed)[0] == 400
    data = desk.get_run(run)["data"]
    assert [m["key"] for m in data["metrics"]] == ["m"]
    assert data["tags"] == before["data"]["tags"]


@pytest.mark.parametrize("width", [1, 30])
def test_sixteen_writers_of_one_run_lose_nothing(desk: Desk, width: int) -> None:
    run = desk.run(desk.experiment())
    failures: list[Any] = []

    def write(worker: int) -> None:
        for step in range(5):
            own = [(f"own {worker} {n}", float(step), step, step) for n in range(width)]
            for _ in range(2):
                status, said = desk.log_batch(run, metrics=[("shared", float(worker), step, step), *own])
                if status != 200:
                    failures.append(said)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    latest = {m["key"]: m["value"] for m in desk.get_run(run)["data"]["metrics"]}
    assert latest == {"shared": 15.0} | {f"own {worker} {n}": 4.0 for worker in range(16) for n in range(width)}
    history = desk.tracking.ok("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=shared")["metrics"]
    assert [(m["step"], m["value"]) for m in history] == [(step, float(n)) for step in range(5) for n in range(16)]


def test_a_race_between_reading_and_writing_is_run_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = desk.run(desk.experiment())
    original, races = desk.tables.write, [1]

    def raced(writes: Sequence[Write]) -> None:
        if races:
            races.pop()
            desk.log_batch(run, metrics=[("a", 7.0, 9, 9)], tags={"other": "1"})
        original(writes)

    monkeypatch.setattr(desk.tables, "write", raced)
    assert desk.log_batch(run, metrics=[("a", 1.0, 1, 1)], tags={"mine": "1"})[0] == 200
    data = desk.get_run(run)["data"]
    assert data["metrics"][0]["value"] == 7.0
    assert {"other", "mine"} <= {t["key"] for t in data["tags"]}
