"""SageMaker's documents, written from profiles, read back, and checked against."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modelwright.cli.commands import app
from modelwright.errors import InvalidInput
from modelwright.monitoring.compatibility import documents, sagemaker
from modelwright.monitoring.compatibility.documents import Constraints, Statistics
from modelwright.monitoring.detectors.numbers import KolmogorovSmirnov
from modelwright.monitoring.profiles import ColumnProfile, Reference, column_profile
from monitoring.compatibility.parity import table

# Written after the developer guide's schema, as a baseline job of the service leaves it.
FOREIGN = {
    "version": 0.0,
    "dataset": {"item_count": 8},
    "features": [
        {
            "name": "distance",
            "inferred_type": "Fractional",
            "numerical_statistics": {
                "common": {"num_present": 7, "num_missing": 1},
                "mean": 4.0, "sum": 28.0, "std_dev": 2.0, "min": 1.0, "max": 7.0,
                "distribution": {"kll": {
                    "buckets": [{"lower_bound": 1.0, "upper_bound": 4.0, "count": 3.0},
                                {"lower_bound": 4.0, "upper_bound": 7.0, "count": 4.0}],
                    "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": [[1.0, 7.0, 4.0], [2.0, 6.0]]},
                }},
            },
        },
        {
            "name": "carrier",
            "inferred_type": "String",
            "string_statistics": {
                "common": {"num_present": 8, "num_missing": 0},
                "distinct_count": 2.0,
                "distribution": {"categorical": {
                    "buckets": [{"value": "AA", "count": 5}, {"value": "UA", "count": 3}],
                }},
            },
            "our_own": {"anything": 1},
        },
    ],
}  # fmt: skip


def profiled(**columns: Any) -> dict[str, ColumnProfile]:
    arrays = {name: pa.chunked_array([pa.array(values)]) for name, values in columns.items()}
    return {
        name: column_profile(array, "string" if pa.types.is_string(array.type) else "number")
        for name, array in arrays.items()
    }


def awkward(side: str) -> dict[str, ColumnProfile]:
    found = table(side)
    kinds = {"num": "number", "int": "integer", "cat": "string", "boo": "boolean", "dt_": "timestamp"}
    return {name: column_profile(found.column(name), kinds[name[:3]]) for name in found.column_names}  # type: ignore[arg-type]


def violated(constraints: Constraints, baseline: Statistics | None, **columns: Any) -> set[tuple[str, str]]:
    found = sagemaker.violations_of(sagemaker.judgements(constraints, baseline, profiled(**columns)))
    return {(one.feature_name, one.constraint_check_type) for one in found.violations}


def test_documents_of_all_awkward_columns_survive_being_written_and_read() -> None:
    columns = awkward("reference")
    statistics, constraints = documents.statistics_of(columns, 5000), documents.constraints_of(columns)
    assert documents.read(Statistics, documents.written(statistics), "s") == statistics
    assert documents.read(Constraints, documents.written(constraints), "c") == constraints
    again = documents.columns_of(statistics)
    assert set(columns) - set(again) == {"dt_uniform"}
    for name, column in again.items():
        before = columns[name]
        assert (column.count, column.top, column.low) == (before.count, before.top, before.low)
        assert column.deviation == pytest.approx(before.deviation, rel=1e-12)
        assert np.array_equal(column.distribution.points, before.distribution.points)
        assert column.m4 == pytest.approx(before.m4, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9) | st.none(), min_size=1, max_size=200))
def test_a_baseline_never_violates_its_own_constraints(values: list[float | None]) -> None:
    columns = profiled(x=pa.array(values, pa.float64()))
    statistics, constraints = documents.statistics_of(columns, len(values)), documents.constraints_of(columns)
    read = documents.read(Statistics, documents.written(statistics), "s")
    assert not sagemaker.violations_of(sagemaker.judgements(constraints, read, columns)).violations


def test_a_document_of_the_service_is_a_reference() -> None:
    statistics = documents.read(Statistics, json.dumps(FOREIGN).encode(), "statistics.json")
    day = datetime(2024, 1, 1, tzinfo=UTC)
    profile = documents.profile_of(statistics, "flights", "d", day, day)
    assert (profile.rows, profile.columns["distance"].missing, profile.columns["carrier"].top["AA"]) == (8, 1, 5)
    # numbers of the second level stand for two values each
    assert profile.columns["distance"].distribution.weights.tolist() == [1.0, 2.0, 1.0, 2.0, 1.0]
    pooled = Reference((profile,)).pooled("distance")
    assert pooled is not None
    assert KolmogorovSmirnov().compare(pooled, profiled(x=[70.0, 80.0])["x"]).effect == 1.0
    assert b"our_own" in documents.written(statistics)


def test_buckets_alone_are_read_too() -> None:
    text = json.dumps(FOREIGN).replace('"data": [[1.0, 7.0, 4.0], [2.0, 6.0]]', '"data": []')
    column = documents.columns_of(documents.read(Statistics, text.encode(), "s"))["distance"]
    assert column.distribution.points.tolist() == [2.5, 5.5]
    assert column.distribution.weights.tolist() == [3.0, 4.0]


def test_each_check_finds_what_it_is_for() -> None:
    random = np.random.default_rng(3)
    usual = profiled(x=random.normal(0, 1, 2000), n=[float(i % 9) for i in range(2000)], word=["a", "b"] * 1000)
    baseline, constraints = documents.statistics_of(usual, 2000), documents.constraints_of(usual)
    same = {"x": random.normal(0, 1, 2000), "n": [float(i % 9) for i in range(2000)], "word": ["a", "b"] * 1000}
    assert violated(constraints, baseline, **same) == set()
    shifted = {**same, "x": random.normal(0.5, 1, 2000)}
    assert violated(constraints, baseline, **shifted) == {("x", "baseline_drift_check")}
    missing = {**same, "n": [None, *(float(i % 9) for i in range(1999))]}
    assert violated(constraints, baseline, **missing) == {("n", "completeness_check")}
    halves = {**same, "n": [float(i % 9) for i in range(1999)] + [0.5]}
    assert violated(constraints, baseline, **halves) == {("n", "data_type_check")}
    words = {**same, "word": ["a", "b"] * 999 + ["a", "c"]}
    assert violated(constraints, baseline, **words) == {("word", "categorical_values_check")}
    text = {**same, "x": ["1"] * 2000}
    assert violated(constraints, baseline, **text) == {("x", "data_type_check")}
    renamed = {"y": same["x"], "n": same["n"], "word": same["word"]}
    assert violated(constraints, baseline, **renamed) == {("x", "missing_column_check"), ("y", "extra_column_check")}


def test_robust_takes_off_what_few_rows_explain_and_simple_does_not() -> None:
    random = np.random.default_rng(1)
    usual, now = profiled(x=random.normal(0, 1, 5000))["x"], profiled(x=random.normal(0, 1, 60))["x"]
    simple, robust = sagemaker.distance(usual, now, "Simple"), sagemaker.distance(usual, now)
    bound = 1.8 * np.sqrt((5000 + 60) / (5000 * 60))
    assert (simple > 0.05, robust) == (True, max(0.0, simple - bound))
    words, others = profiled(w=["a"] * 60 + ["b"] * 40)["w"], profiled(w=["a"] * 30 + ["b"] * 70)["w"]
    assert sagemaker.distance(words, others, "Simple") == pytest.approx(0.3)


def test_constraints_can_be_turned_off_and_loosened() -> None:
    usual = profiled(word=["a", "b"] * 50)
    baseline, constraints = documents.statistics_of(usual, 100), documents.constraints_of(usual)
    config = constraints.monitoring_config
    other = {"word": ["c"] * 100}
    off = constraints.model_copy(
        update={"monitoring_config": config.model_copy(update={"evaluate_constraints": "Disabled"})}
    )
    assert violated(off, baseline, **other) == set()
    loose = constraints.model_copy(
        update={"monitoring_config": config.model_copy(update={"domain_content_threshold": 0.0})}
    )
    assert violated(loose, baseline, **other) == {("word", "baseline_drift_check")}
    rule = config.distribution_constraints.model_copy(update={"categorical_drift_method": "ChiSquared"})
    squared = constraints.model_copy(
        update={"monitoring_config": config.model_copy(update={"distribution_constraints": rule})}
    )
    with pytest.raises(InvalidInput, match="ChiSquared is not supported here: say LInfinity"):
        violated(squared, baseline, **other)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"version": 0}', b'{"dataset": {"item_count": -1}, "features": []}'])
def test_what_is_no_document_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"base\.json is no statistics\.json of SageMaker"):
        documents.read(Statistics, body, "base.json")


PROJECT = """
[project]
name = "trips"

[sources.trips]
prefix = "trips/"
key = ["id"]
event_time = "at"

[sources.trips.columns]
id = { type = "integer" }
at = { type = "timestamp" }
distance = { type = "number", nullable = true }
carrier = { type = "string" }
"""


def rows(carriers: list[str], distance: float | None) -> pa.Table:
    times = pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * len(carriers), pa.timestamp("us", "UTC"))
    return pa.table({
        "id": list(range(len(carriers))), "at": times, "carrier": carriers,
        "distance": pa.array([distance] * len(carriers), pa.float64()),
    })  # fmt: skip


def test_a_baseline_is_written_printed_as_columns_and_checked_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "modelwright.toml").write_text(PROJECT)
    pq.write_table(rows(["AA", "UA"] * 20, 3.5), tmp_path / "good.parquet")
    pq.write_table(rows(["AA", "ZZ"] * 20, None), tmp_path / "bad.parquet")
    base, good, bad = (str(tmp_path / name) for name in ("base", "good.parquet", "bad.parquet"))
    run = CliRunner()
    wrote = run.invoke(app, ["export", "sagemaker", str(tmp_path), "trips", good, "--to", base])
    assert wrote.exit_code == 0, wrote.output
    assert "3 columns, 40 rows" in wrote.output
    shown = run.invoke(app, ["import", "sagemaker", base])
    assert '"carrier" = { type = "string", values = ["AA", "UA"] }' in shown.output
    assert '"distance" = { type = "number", low = 0 }' in shown.output
    check = ["import", "sagemaker", base, "--project", str(tmp_path), "--source", "trips"]
    assert run.invoke(app, [*check, good]).output == "no constraint is violated\n"
    found = run.invoke(app, [*check, bad, "--json"])
    assert found.exit_code == 1
    kinds = {(one["feature_name"], one["constraint_check_type"]) for one in json.loads(found.output)["violations"]}
    assert {("distance", "completeness_check"), ("carrier", "categorical_values_check")} <= kinds
