import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk

from modelwright.storage import Write
from modelwright.tracking.entities import Point, newest
from modelwright.tracking.points import content_id, distinct, pack, unpack

values = st.floats(allow_infinity=False)
points = st.lists(
    st.builds(
        Point, st.sampled_from(["a", "b/c", "ü"]), values, st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62)
    ),
    max_size=40,
)


def spelled(found: Sequence[Point]) -> list[str]:
    return [repr(p) for p in found]


@given(points)
def test_packing_keeps_every_point_to_the_bit(some: list[Point]) -> None:
    assert spelled(list(unpack(pack(some)))) == spelled(distinct(some))


@given(points, st.randoms())
def test_the_same_points_in_any_order_are_the_same_batch(some: list[Point], random: Any) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    if len(distinct(some)) == len(some):
        assert content_id(pack(some)) == content_id(pack(shuffled))


@given(points, st.randoms())
def test_the_latest_value_does_not_depend_on_order_or_repetition(some: list[Point], random: Any) -> None:
    again = [*some, *some]
    random.shuffle(again)
    assert {k: repr(v.rank) for k, v in newest({}, some).items()} == {
        k: repr(v.rank) for k, v in newest({}, again).items()
    }


def test_the_latest_is_the_highest_by_step_then_timestamp_then_value_where_nan_is_zero() -> None:
    def latest(*some: tuple[float, int, int]) -> float:
        return newest({}, [Point("k", *point) for point in some])["k"].value

    assert latest((1.0, 5, 2), (9.0, 9, 1)) == 1.0
    assert latest((1.0, 5, 2), (2.0, 6, 2)) == 2.0
    assert latest((3.0, 5, 2), (2.0, 5, 2)) == 3.0
    assert math.isnan(latest((-1.0, 5, 2), (math.nan, 5, 2)))
    assert latest((1.0, 5, 2), (math.nan, 5, 2)) == 1.0


def test_a_history_is_told_in_order_once_per_point_and_in_pages(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    batch = [("loss", 0.5, 10, 0), ("loss", 0.25, 20, 1), ("acc", "NaN", 10, 0), ("loss", "-Infinity", 20, 1)]
    for _ in range(3):
        assert desk.log_batch(run, metrics=batch) == (200, {})
    assert desk.log_batch(run, metrics=batch[:1]) == (200, {})
    first = desk.tracking.ok("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=loss&max_results=2")
    rest = desk.tracking.ok(
        "GET", f"{API}/metrics/get-history?run_id={run}&metric_key=loss&page_token={first['next_page_token']}"
    )
    told = [(m["timestamp"], m["step"], m["value"]) for m in first["metrics"] + rest["metrics"]]
    assert told == [(10, 0, 0.5), (20, 1, -1.7976931348623157e308), (20, 1, 0.25)]
    assert {m["key"]: m["value"] for m in desk.get_run(run)["data"]["metrics"]} == {"loss": 0.25, "acc": "NaN"}


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


@pytest.mark.parametrize("key", ["", "a\nb", "../a", "/a", "a//b", "a?", "k" * 251, "./a", "."])
def test_a_key_that_could_be_a_path_elsewhere_is_refused(desk: Desk, key: str) -> None:
    run = desk.run(desk.experiment())
    body = {"run_id": run, "key": key, "value": 1, "timestamp": 1}
    status, said = desk.tracking("POST", f"{API}/runs/log-metric", body)
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_metric_costs_one_read_and_one_write(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = desk.run(desk.experiment())
    calls: list[str] = []
    for name in ("get", "batch_get", "query", "write", "write_many"):
        original = getattr(desk.tables, name)

        def counted(*args: Any, original: Any = original, name: str = name, **kwargs: Any) -> Any:
            calls.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(desk.tables, name, counted)
    body = {"run_id": run, "key": "a", "value": 1, "timestamp": 1}
    desk.tracking.ok("POST", f"{API}/runs/log-metric", body)
    assert calls == ["get", "write"]


def test_sixteen_writers_of_one_run_lose_nothing(desk: Desk) -> None:
    run = desk.run(desk.experiment())
    failures: list[Any] = []

    def write(worker: int) -> None:
        for step in range(5):
            status, said = desk.log_batch(
                run, metrics=[("shared", float(worker), step, step), (f"own{worker}", float(step), step, step)]
            )
            if status != 200:
                failures.append(said)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    latest = {m["key"]: m["value"] for m in desk.get_run(run)["data"]["metrics"]}
    assert latest == {"shared": 15.0} | {f"own{n}": 4.0 for n in range(16)}
    history = desk.tracking.ok("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=shared")["metrics"]
    assert len(history) == 80


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
