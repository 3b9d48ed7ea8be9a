"""NannyML's figures, its choices and its faults."""

import math
import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.stats

from modelwright.monitoring.compatibility import multivariate, nannyml
from modelwright.monitoring.compatibility.binning import Values
from modelwright.monitoring.compatibility.cells import present
from modelwright.monitoring.compatibility.nannyml import Judged
from monitoring.compatibility.parity import attempt, compare, figures, is_number, raw, table

LEFT_OUT = {
    "/versions/*": "which releases gave the figures",
    "/pairs/medium/num_inf/note": "a remark",
}


def _said(found: Judged) -> dict[str, Any]:
    said: dict[str, Any] = {
        "value": found.value,
        "alert": found.alert,
        "upper_threshold_10_ref_chunks": found.thresholds.upper,
    }
    return said if found.p_value is None else {**said, "pvalue": found.p_value}


def _judged(method: nannyml.Method, reference: Values, window: Values) -> dict[str, Any]:
    return _said(nannyml.judged(method, reference, window, present))


def _column(name: str) -> dict[str, Any]:
    reference, window = raw("reference", name), raw("current", name)
    methods = nannyml.NUMBERS if is_number(name) else nannyml.CATEGORIES
    computed: dict[str, Any] = {
        title: attempt(partial(_judged, method, reference, window)) for title, method in methods.items()
    }
    return (
        computed
        if is_number(name)
        else {
            **computed,
            "chi2": _said(nannyml.chi_square(present(reference), present(window))),
        }
    )


def _missing(name: str) -> dict[str, Any]:
    absent = [table(side).column(name).is_null(nan_is_null=True).to_numpy() for side in ("reference", "current")]
    parts = [nannyml.missing_rates(absent[0], chunk) for chunk in nannyml.chunks(absent[1])]
    return {
        "alerts": sum(part.alert for part in parts),
        "analysis_chunks": [part.value for part in parts],
        "upper_threshold": parts[0].thresholds.upper,
    }


def _unseen(name: str) -> dict[str, Any]:
    parts = [
        nannyml.unseen_rate(present(raw("reference", name)), present(chunk), len(chunk))
        for chunk in nannyml.chunks(raw("current", name))
    ]
    return {"alerts": sum(part.alert for part in parts), "analysis_chunks": [part.value for part in parts]}


TOGETHER = (
    "num_same", "num_shift", "num_scale", "num_nan", "int_ties", "int_rounded",
    "cat_shift", "cat_new", "cat_high_card", "cat_nan",
)  # fmt: skip
"""The columns that were looked at together; the figures do not say, but no other set of columns gives them."""


def _rows(side: str) -> list[dict[str, Any]]:
    columns = {name: raw(side, name) for name in TOGETHER}
    return [dict(zip(TOGETHER, part, strict=True)) for part in zip(*map(nannyml.chunks, columns.values()), strict=True)]


def _whole() -> dict[str, Any]:
    return {name: raw("reference", name) for name in TOGETHER}


def _reconstruction() -> dict[str, Any]:
    parts = [multivariate.reconstruction(_whole(), chunk) for chunk in _rows("current")]
    bounds = parts[0].thresholds
    values = [part.value for part in parts]
    return {"analysis_chunks": values, "lower_threshold": bounds.lower, "upper_threshold": bounds.upper}


def _classified() -> dict[str, Any]:
    assert multivariate.boosted_by() == "LightGBM"
    parts = [multivariate.domain_classifier(_whole(), chunk, multivariate.boosted_trees) for chunk in _rows("current")]
    bounds = parts[0].thresholds
    values = [part.value for part in parts]
    return {"analysis_chunks": values, "lower_threshold": bounds.lower, "upper_threshold": bounds.upper}


def test_every_figure_of_nannyml_comes_out_and_its_errors_stay_errors() -> None:
    expected = figures("nannyml")
    listed = expected["pairs"]["medium"]
    computed = {
        "pairs": {
            "medium": {
                **{name: _column(name) for name in listed if not name.startswith("__")},
                "__missing_values__": {name: _missing(name) for name in listed["__missing_values__"]},
                "__pca_reconstruction__": _reconstruction(),
                "__domain_classifier__": _classified(),
                "__unseen_values__": {name: _unseen(name) for name in listed["__unseen_values__"]},
            }
        }
    }
    found = compare(expected, computed, left_out=LEFT_OUT)
    assert not found.wrong
    assert not found.passed_over
    assert not found.idle
    assert (found.reproduced, len(found.left_out)) == (374, 5)


def test_large_references_are_compared_in_bins_and_an_infinity_leaves_none() -> None:
    random = np.random.default_rng(5)
    reference, window = random.normal(0, 1, 20_000), random.normal(0.2, 1, 2_000)
    exact = scipy.stats.ks_2samp(reference, window).statistic
    assert nannyml.kolmogorov_smirnov(reference, window) == pytest.approx(exact, abs=1e-3)
    assert nannyml.kolmogorov_smirnov(np.append(reference, np.inf), window + 5) == 0.0
    assert nannyml.kolmogorov_smirnov(reference[: nannyml.ESTIMATED_ROWS - 1], window) != pytest.approx(exact, abs=1e-9)


def test_the_binned_wasserstein_distance_counts_one_value_too_many_below_the_reference() -> None:
    random = np.random.default_rng(6)
    reference = random.normal(0, 1, 20_000)
    inside, above, below = random.normal(0.2, 0.5, 1_000), np.full(1_000, 9.0), np.full(1_000, -9.0)
    for window in (inside, above):
        exact = scipy.stats.wasserstein_distance(reference, window)
        assert nannyml.wasserstein(reference, window) == pytest.approx(exact, abs=2e-3)
    exact = scipy.stats.wasserstein_distance(reference, below)
    too_much = (reference.max() - reference.min()) / len(below)
    assert nannyml.wasserstein(reference, below) == pytest.approx(exact + too_much, abs=2e-3)


def test_thresholds_are_constants_or_deviations_within_limits() -> None:
    assert nannyml.constant(0.45, 0.65).alert(0.7)
    assert nannyml.constant(0.45, 0.65).alert(0.4)
    assert not nannyml.constant(upper=0.0).alert(0.0)
    values = [0.1, 0.2, 0.3]
    spread = float(np.std(values))
    found = nannyml.standard_deviation(values)
    assert found.lower == pytest.approx(0.2 - 3 * spread)
    assert found.upper == pytest.approx(0.2 + 3 * spread)
    assert nannyml.standard_deviation(values, least=0.0, most=0.3) == nannyml.Thresholds(0.0, 0.3)
    assert nannyml.standard_deviation([*values, math.nan], below=None).upper == pytest.approx(0.2 + 3 * spread)
    assert not nannyml.standard_deviation(values).alert(math.nan)


def test_rows_that_are_left_over_make_one_more_chunk() -> None:
    assert [len(chunk) for chunk in nannyml.chunks(np.arange(1_005))] == [100] * 10 + [5]
    assert [len(chunk) for chunk in nannyml.chunks(np.arange(3))] == [1, 1, 1]


def test_without_lightgbm_boosted_trees_of_scikit_learn_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert multivariate.boosted_by() == "scikit-learn"
    random = np.random.default_rng(2)
    reference, same, other = ({"x": random.normal(shift, 1, 200), "y": random.normal(0, 1, 200)} for shift in (0, 0, 2))
    assert multivariate.domain_classifier(reference, other, multivariate.boosted_trees).value > 0.85
    assert multivariate.domain_classifier(reference, same, multivariate.boosted_trees).value < 0.6
