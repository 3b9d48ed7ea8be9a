import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk

from modelwright.errors import InvalidInput
from modelwright.filters import Clause, Searchable, rank

RUNS = Searchable(
    "a run", ("status",), ("start_time",), ("metrics", "params", "tags", "datasets"), {"created": "start_time"}
)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("metrics.auc > 0.7", Clause("metrics", "auc", ">", 0.7)),
        ("metric.`my auc` >= -1e-3", Clause("metrics", "my auc", ">=", -0.001)),
        ("params.\"a.b\" = 'x'", Clause("params", "a.b", "=", "x")),
        ("parameters.a.b ILIKE '%X_'", Clause("params", "a.b", "ILIKE", "%X_")),
        ("tags.`mlflow.parentRunId` != \"it''s\"", Clause("tags", "mlflow.parentRunId", "!=", "it''s")),
        ("tag.a = 'it''s'", Clause("tags", "a", "=", "it's")),
        ("status IN ('A', 'B')", Clause("attributes", "status", "IN", ("A", "B"))),
        ("attributes.status not in ('A')", Clause("attributes", "status", "NOT IN", ("A",))),
        ("created < 5", Clause("attributes", "start_time", "<", 5.0)),
        ("tags.x is not null", Clause("tags", "x", "IS NOT NULL", None)),
        ("dataset.name LIKE 'a%'", Clause("datasets", "name", "LIKE", "a%")),
        ("params.a='and'", Clause("params", "a", "=", "and")),
    ],
)
def test_a_comparison_is_read(text: str, clause: Clause) -> None:
    assert RUNS.parse(text) == (clause,)


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a > 1 OR metrics.b > 1", "metrics.a > '1'", "params.a > 'x'", "params.a = 1", "nobody.a = 'x'",
        "metrics.a", "metrics.a >", "= 1", "metrics.a > 1 AND", "AND", "colour = 'x'", "tags.a IN ()", "tags.a IN ('x'",
        "metrics.a > 1 metrics.b > 2", "(metrics.a > 1)", "metrics.a LIKE 'x'", "datasets.colour = 'x'", "a;b",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        RUNS.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        RUNS.parse(text)
    except InvalidInput:
        return


@given(st.text(max_size=20), st.text(max_size=20))
def test_like_without_wildcards_is_equality(pattern: str, actual: str) -> None:
    plain = pattern.replace("%", "").replace("_", "")
    assert Clause("tags", "k", "LIKE", plain).holds(actual) == (plain == actual)


@given(st.lists(st.none() | st.floats()), st.booleans())
def test_numbers_come_before_nan_and_nan_before_nothing_in_both_directions(
    values: list[float | None], ascending: bool
) -> None:
    ordered = sorted(values, key=lambda value: rank(value, ascending=ascending))
    kinds = [2 if v is None else 1 if math.isnan(v) else 0 for v in ordered]
    assert kinds == sorted(kinds)
    numbers = [v for v in ordered if v is not None and not math.isnan(v)]
    assert numbers == sorted(numbers, reverse=not ascending)


@pytest.fixture
def names(desk: Desk) -> Any:
    """Five runs; returns a search that gives their names."""
    experiment = desk.experiment()
    metrics: dict[str, Any] = {"a": 1.0, "b": 3.0, "c": "NaN", "e": 2.0}
    for n, name in enumerate("abcde"):
        run = desk.run(experiment, run_name=name, start_time=n)
        if name in metrics:
            desk.log_batch(run, metrics=[("auc", metrics[name], 1, 0)])
        desk.log_batch(run, params={"depth": str(n)}, tags={"Team": "Ab" if n % 2 else "aB"})

    def search(filter_: str = "", *order_by: str, **more: Any) -> str:
        body = {"experiment_ids": [experiment], "filter": filter_, "order_by": order_by, **more}
        return "".join(r["info"]["run_name"] for r in desk.tracking.ok("POST", f"{API}/runs/search", body)["runs"])

    return search


def test_runs_are_filtered_as_mlflow_does(names: Any) -> None:
    assert names() == "edcba"
    assert names("metrics.auc > 1") == "eb"
    assert names("metrics.auc != 1") == "ecb"
    assert names("metrics.auc <= 3 AND params.depth = '4'") == "e"
    assert names("params.nothing != 'x'") == ""
    assert names("tags.Team LIKE 'A%'") == "db"
    assert names("tags.Team ILIKE 'A%'") == "edcba"
    assert names("tags.nothing IS NULL and attributes.start_time >= 3") == "ed"
    assert names("run_name IN ('a', 'c')") == "ca"
    assert names("attributes.status = 'RUNNING' and `Run name` = 'a'") == "a"


def test_runs_are_ordered_as_mlflow_does(names: Any) -> None:
    assert names("", "metrics.auc DESC") == "beacd"
    assert names("", "metrics.auc") == "aebcd"
    assert names("", "tags.Team DESC", "params.depth ASC") == "acebd"
    assert names("", "start_time ASC") == "abcde"


def test_runs_come_in_pages(desk: Desk) -> None:
    experiment = desk.experiment()
    for n in range(5):
        desk.run(experiment, run_name=str(n), start_time=n)
    token, seen = "", ""
    for _ in range(3):
        body = {"experiment_ids": [experiment], "max_results": 2, "page_token": token}
        answer = desk.tracking.ok("POST", f"{API}/runs/search", body)
        seen += "".join(r["info"]["run_name"] for r in answer["runs"])
        token = answer.get("next_page_token", "")
    assert (seen, token) == ("43210", "")


@pytest.mark.parametrize("change", [{"max_results": 50_001}, {"max_results": -1}, {"run_view_type": "SOME"},
                                    {"order_by": ["metrics.a", "metrics.a DESC"]}, {"order_by": ["metrics.a SIDEWAYS"]},
                                    {"experiment_ids": ["x"]}, {"filter": "a or b"}])  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused(desk: Desk, change: dict[str, Any]) -> None:
    body = {"experiment_ids": ["0"], **change}
    assert desk.tracking("POST", f"{API}/runs/search", body)[0] == 400


def test_a_search_reads_no_points(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = desk.experiment()
    desk.log_batch(desk.run(experiment), metrics=[("a", 1.0, 1, 0)])
    original, partitions = desk.tables.query, []

    def query(table: Any, pk: str, **options: Any) -> Any:
        partitions.append(pk)
        return original(table, pk, **options)

    monkeypatch.setattr(desk.tables, "query", query)
    desk.tracking.ok("POST", f"{API}/runs/search", {"experiment_ids": [experiment], "filter": "metrics.a = 1"})
    assert partitions == [f"WS#default#EXPERIMENT#{experiment}"]
