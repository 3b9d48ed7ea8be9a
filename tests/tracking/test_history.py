import json
import math
import sqlite3
from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk

from modelwright.tracking.history import sampled


@pytest.fixture
def run(desk: Desk) -> str:
    return desk.run(desk.experiment())


def told(desk: Desk, run: str, key: str = "loss", **more: Any) -> Any:
    query = "".join(f"&{name}={quote(str(value))}" for name, value in more.items())
    return desk.tracking.ok("GET", f"{API}/metrics/get-history?run_id={run}&metric_key={quote(key)}{query}")


def places(answer: Any) -> list[tuple[int, int, Any]]:
    return [(m["timestamp"], m["step"], m["value"]) for m in answer["metrics"]]


def test_a_history_is_told_in_order_once_per_point_and_in_pages(desk: Desk, run: str) -> None:
    batch = [("loss", 0.5, 10, 0), ("loss", 0.25, 20, 1), ("acc", "NaN", 10, 0), ("loss", "-Infinity", 20, 1)]
    for _ in range(3):
        assert desk.log_batch(run, metrics=batch) == (200, {})
    assert desk.log_batch(run, metrics=batch[:1]) == (200, {})
    first = told(desk, run, max_results=2)
    rest = told(desk, run, page_token=first["next_page_token"])
    assert places(first) + places(rest) == [(10, 0, 0.5), (20, 1, -1.7976931348623157e308), (20, 1, 0.25)]
    assert "next_page_token" not in rest
    assert first["metrics"][0] == {"key": "loss", "value": 0.5, "timestamp": 10, "step": 0}
    assert {m["key"]: m["value"] for m in desk.get_run(run)["data"]["metrics"]} == {"loss": 0.25, "acc": "NaN"}


def test_nan_comes_where_zero_comes(desk: Desk, run: str) -> None:
    desk.log_batch(run, metrics=[("loss", value, 1, 0) for value in (1.0, "NaN", -1.0, 0.0, "NaN")])
    assert [value for _, _, value in places(told(desk, run))] == [-1.0, 0.0, "NaN", 1.0]
    first = told(desk, run, max_results=3)
    assert places(told(desk, run, page_token=first["next_page_token"])) == [(1, 0, 1.0)]


def test_pages_tell_nothing_twice_and_miss_nothing_while_others_log(desk: Desk, run: str) -> None:
    desk.log_batch(run, metrics=[("loss", float(n), n, n) for n in range(0, 20, 2)])
    answer, seen = told(desk, run, max_results=3), []
    while True:
        seen += [m["step"] for m in answer["metrics"]]
        desk.log_batch(run, metrics=[("loss", 0.5, seen[0], seen[0])])  # before what is told
        if "next_page_token" not in answer:
            break
        answer = told(desk, run, max_results=3, page_token=answer["next_page_token"])
    assert seen == list(range(0, 20, 2))


def test_a_page_ends_before_the_answer_is_too_long(desk: Desk, run: str) -> None:
    key = "k" * 250
    for first in range(0, 13_000, 1000):
        desk.log_batch(run, metrics=[(key, 0.1 + n, n, n) for n in range(first, first + 1000)])
    first_page = told(desk, run, key)
    assert len(json.dumps(first_page)) < 4_600_000
    rest = told(desk, run, key, page_token=first_page["next_page_token"])
    assert [m["step"] for m in first_page["metrics"] + rest["metrics"]] == list(range(13_000))


TOKENS = ["x", "e30=", "ä" * 8, *(urlsafe_b64encode(t).decode() for t in (b'[1,2,"x",0]', b"[1,2,3]", b"[[],2,3,4]"))]


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_that_is_not_ours_is_refused(desk: Desk, run: str, token: str) -> None:
    desk.log_batch(run, metrics=[("loss", 1.0, 1, 0)])
    path = f"{API}/metrics/get-history?run_id={run}&metric_key=loss&page_token={quote(token)}"
    assert desk.tracking("GET", path)[0] == 400


def test_a_metric_that_was_never_logged_has_an_empty_history_and_a_run_that_is_not_there_none(
    desk: Desk, run: str
) -> None:
    assert told(desk, run) == {"metrics": []}
    nobody = "0" * 31 + "1"
    assert desk.tracking("GET", f"{API}/metrics/get-history?run_id={nobody}&metric_key=loss")[0] == 404
    assert desk.tracking("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=loss&max_results=0")[0] == 400


def test_histories_of_some_runs_come_by_run(desk: Desk) -> None:
    experiment = desk.experiment()
    several = sorted(desk.run(experiment) for _ in range(3))
    for run in several:
        desk.log_batch(run, metrics=[("loss", 1.0, 2, 0), ("loss", 2.0, 1, 1), ("acc", 1.0, 1, 0)])
    asked = "&".join(f"run_id={run}" for run in reversed(several))
    bulk = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
    found = desk.tracking.ok("GET", f"{bulk}?{asked}&metric_key=loss&max_results=5")["metrics"]
    assert [(m["run_id"], m["value"]) for m in found] == [
        (run, value) for run in several for value in (2.0, 1.0)
    ][:5]  # fmt: skip
    assert desk.tracking("GET", f"{bulk}?metric_key=loss")[0] == 400
    assert desk.tracking("GET", f"{bulk}?run_id={several[0]}")[0] == 400
    assert desk.tracking("GET", f"{bulk}?metric_key=loss&" + "&".join(["run_id=r"] * 101))[0] == 400


def interval(desk: Desk, *runs: str, key: str = "loss", **more: Any) -> tuple[int, Any]:
    asked = "".join(f"&run_ids={run}" for run in runs) + "".join(f"&{k}={v}" for k, v in more.items())
    return desk.tracking("GET", f"{API}/metrics/get-history-bulk-interval?metric_key={key}{asked}")


def test_a_chart_gets_evenly_spread_points_of_each_run_with_first_and_last(desk: Desk) -> None:
    experiment = desk.experiment()
    long, short = desk.run(experiment), desk.run(experiment)
    desk.log_batch(long, metrics=[("loss", float(n), 1000 - n, n) for n in range(1000)])
    desk.log_batch(short, metrics=[("loss", float(n), n, n) for n in range(3)])
    status, said = interval(desk, long, short, max_results=11)
    assert status == 200
    steps = {run: [m["step"] for m in said["metrics"] if m["run_id"] == run] for run in (long, short)}
    assert steps == {long: [0, 91, 182, 273, 364, 455, 546, 637, 728, 819, 999], short: [0, 1, 2]}
    _, within = interval(desk, long, max_results=4, start_step=10, end_step=13)
    assert [m["step"] for m in within["metrics"]] == [10, 11, 12, 13]
    assert interval(desk, long, key="none") == (200, {"metrics": []})


@pytest.mark.parametrize("more", [{"max_results": 0}, {"max_results": 2501}, {"start_step": 1}, {"end_step": 1},
                                  {"start_step": 2, "end_step": 1}, {"max_results": "many"}])  # fmt: skip
def test_a_chart_that_makes_no_sense_is_refused(desk: Desk, run: str, more: dict[str, Any]) -> None:
    status, said = interval(desk, run, **more)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert interval(desk)[0] == interval(desk, *[run] * 101)[0] == 400


@given(st.integers(0, 300), st.integers(1, 60))
def test_samples_are_those_of_sqls_ntile(size: int, count: int) -> None:
    rows = [(n, n, float(n), False) for n in range(size)]
    query = "WITH RECURSIVE r(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM r WHERE n + 1 < ?) \
        SELECT MIN(n) FROM (SELECT n, NTILE(?) OVER (ORDER BY n) AS bucket FROM r) GROUP BY bucket ORDER BY bucket"
    with sqlite3.connect(":memory:") as base:
        wanted = [n for (n,) in base.execute(query, (size, count))] if size else []
    base.close()
    if wanted and wanted[-1] != size - 1:
        wanted[-1] = size - 1
    found = [row[0] for row in sampled(rows, count)]
    assert found == wanted
    assert len(found) <= count
    assert not found or math.isclose(found[-1], size - 1)
