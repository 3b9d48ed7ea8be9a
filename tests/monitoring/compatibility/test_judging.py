"""What the compatibility sets say of a window, as verdicts."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.events import ColumnDrift, DriftDetected, Window
from modelwright.monitoring.compatibility import judge
from modelwright.project import Column, ColumnType, DriftPolicy, Source
from monitoring.compatibility.parity import figures, is_number, table

TYPES: dict[str, ColumnType] = {
    "num": "number",
    "int": "integer",
    "cat": "string",
    "boo": "boolean",
    "dt_": "timestamp",
}
CONSTANT_WITH_INFINITY = "num_inf"

ROW = st.tuples(st.floats(-1e6, 1e6) | st.none(), st.sampled_from("abc") | st.none())


def source(types: Mapping[str, ColumnType] | None = None, drift: DriftPolicy | None = None) -> Source:
    named = types or {name: TYPES[name[:3]] for name in table("reference").column_names}
    columns = {name: Column(type=kind, nullable=True) for name, kind in named.items()}
    columns |= {"id": Column(type="integer"), "at": Column(type="timestamp")}
    return Source(columns=columns, key=("id",), event_time="at", drift=drift or DriftPolicy())


def by_column(found: tuple[ColumnDrift, ...], detector: str) -> dict[str, ColumnDrift]:
    return {one.column: one for one in found if one.detector.startswith(detector)}


def test_evidently_calls_the_columns_drifted_that_its_report_does() -> None:
    found = by_column(judge("evidently", table("reference"), table("current"), source()), "evidently:")
    report = figures("evidently")["pairs"]["medium"]["columns"]
    assert set(found) == set(report)
    for name, said in report.items():
        assert found[name].drifted == said["default"]["drifted"]
        assert found[name].effect == pytest.approx(said["default"]["score"], rel=1e-9)
        assert found[name].detector == f"evidently:{said['default']['method']}"


@pytest.mark.parametrize(
    ("values", "kind", "method"),
    [
        (["a", "b"], "string", "Z-test p_value"),
        (["a", "b", "c"], "string", "chi-square p_value"),
        ([1.0, 2.0, 3.0], "number", "chi-square p_value"),
        ([1.0, 2.0], "number", "Z-test p_value"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "number", "K-S p_value"),
    ],
)
def test_evidently_takes_a_test_up_to_a_thousand_rows(values: list[str | float], kind: ColumnType, method: str) -> None:
    rows = pa.table({"x": values * 20})
    (found,) = judge("evidently", rows, rows, source({"x": kind}))
    assert (found.detector, found.drifted) == (f"evidently:{method}", False)
    assert (found.effect, found.p_value) == (0.0, 1.0)


def test_evidently_calls_a_tenth_of_the_columns_without_drift_drifted() -> None:
    # its chi-square takes the reference as exact: 28 % false alarms at equal sizes
    random = np.random.default_rng(7)
    names = [f"c{number}" for number in range(200)]
    first, second = (pa.table({name: random.choice(list("abcd"), 500).tolist() for name in names}) for _ in range(2))
    found = judge("evidently", first, second, source(dict.fromkeys(names, "string")))
    assert 0.1 < sum(one.drifted for one in found) / len(names) < 0.4


def test_nannyml_alerts_where_its_calculator_does_and_an_infinity_stays_an_error() -> None:
    found = by_column(judge("nannyml", table("reference"), table("current"), source()), "nannyml:Jensen-Shannon")
    listed = figures("nannyml")["pairs"]["medium"]
    for name, said in listed.items():
        if name.startswith("__"):
            continue
        if "error" in said["jensen_shannon"]:
            assert said["jensen_shannon"]["error"] in found[name].text
            assert not found[name].drifted
            continue
        assert found[name].drifted == said["jensen_shannon"]["alert"]
        assert found[name].floor == pytest.approx(said["jensen_shannon"]["upper_threshold_10_ref_chunks"], rel=1e-9)


def test_nannyml_looks_at_missing_and_unseen_values_and_together_where_it_is_told_to() -> None:
    policy = DriftPolicy(multivariate=("pca_reconstruction",), ignore=("num_inf",))
    found = judge("nannyml", table("reference"), table("current"), source(drift=policy))
    missing, unseen = by_column(found, "nannyml:missing"), by_column(found, "nannyml:unseen")
    assert {name for name, one in missing.items() if one.drifted} == {"num_nan", "cat_nan"}
    assert {name for name, one in unseen.items() if one.drifted} == {"cat_new", "cat_new_and_missing", "cat_high_card"}
    (together,) = (one for one in found if "reconstruction" in one.detector)
    assert "num_shift" in together.column
    assert together.drifted


def test_sagemaker_looks_at_distance_completeness_and_domain() -> None:
    found = judge("sagemaker", table("reference"), table("current"), source())
    drifted = {(one.column, one.detector.split(":")[1]) for one in found if one.drifted}
    assert ("num_outside", "baseline_drift_check") in drifted
    assert ("num_nan", "completeness_check") in drifted
    assert ("cat_new", "categorical_values_check") in drifted
    assert ("num_same", "baseline_drift_check") not in drifted


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6) | st.none(), st.sampled_from("abc") | st.none()), min_size=1, max_size=60)
)
def test_what_is_the_reference_itself_has_not_drifted(rows: list[tuple[float | None, str | None]]) -> None:
    numbers, words = ([row[side] for row in rows] for side in (0, 1))
    same = pa.table({"x": pa.array(numbers, pa.float64()), "word": pa.array(words, pa.string())})
    kinds: dict[str, ColumnType] = {"x": "number", "word": "string"}
    assert not any(one.drifted for one in judge("evidently", same, same, source(kinds)))
    assert not any(one.drifted for one in judge("sagemaker", same, same, source(kinds)))


@pytest.mark.parametrize("tool", ["evidently", "nannyml", "sagemaker"])
def test_every_verdict_fits_into_an_event(tool: Literal["evidently", "nannyml", "sagemaker"]) -> None:
    found = judge(tool, table("reference"), table("current"), source())
    start = end = "2024-01-01T00:00:00Z"
    window = Window.model_validate({"start": start, "end": end})
    event = DriftDetected(source="medium", window=window, reference="all", columns=found)
    assert DriftDetected.model_validate_json(event.model_dump_json()) == event
    assert all(math.isfinite(one.effect) and one.text for one in found)


@pytest.mark.parametrize("tool", ["evidently", "nannyml", "sagemaker"])
def test_a_column_without_values_has_no_verdict(tool: Literal["evidently", "nannyml", "sagemaker"]) -> None:
    empty = pa.table({"x": pa.array([None] * 50, pa.float64()), "word": pa.array([None] * 50, pa.string())})
    full = pa.table({"x": np.arange(50.0), "word": ["a", "b"] * 25})
    kinds: dict[str, ColumnType] = {"x": "number", "word": "string"}
    for reference, window in ((empty, full), (full, empty), (empty, empty)):
        found = judge(tool, reference, window, source(kinds))
        distances = [one for one in found if "missing" not in one.detector and "completeness" not in one.detector]
        assert not any(one.drifted for one in distances if "unseen" not in one.detector)


def test_columns_that_nobody_looks_at_have_no_verdict() -> None:
    policy = DriftPolicy(ignore=("num_shift",))
    found = judge("evidently", table("reference"), table("current"), source(drift=policy))
    assert not {"num_shift", "dt_uniform", "id", "at"} & {one.column for one in found}
    assert any(is_number(one.column) for one in found)
