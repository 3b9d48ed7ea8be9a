"""Figures of tasks beside scikit-learn's, and how often their intervals hold."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from modelwright import taskmetrics

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
SCORES = np.round(RNG.uniform(0, 1, 3000), 2)
LABELS = (RNG.uniform(size=3000) < SCORES**1.3).astype(np.int64)


def test_figures_of_classes_are_those_of_scikit_learn() -> None:
    found = {name: one.value for name, one in taskmetrics.classification(LABELS, SCORES).items()}
    said = SCORES >= 0.5
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(LABELS, SCORES))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(LABELS, np.clip(SCORES, 1e-15, 1)))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS, said))
    assert found["precision"] == pytest.approx(metrics.precision_score(LABELS, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(LABELS, said))
    assert found["f1"] == pytest.approx(metrics.f1_score(LABELS, said))
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(LABELS, SCORES))


def test_orders_are_measured_as_scikit_learn_does() -> None:
    lists = np.repeat(np.arange(50), 20)
    relevance = RNG.integers(0, 4, 1000) * (RNG.uniform(size=1000) < 0.4)
    scores = np.round(relevance + RNG.normal(size=1000), 1)
    found = taskmetrics.ranking_by_list(relevance, scores, lists)
    parts = [slice(20 * n, 20 * n + 20) for n in range(50)]
    assert found["ndcg@10"] == pytest.approx(
        [metrics.ndcg_score([relevance[p]], [scores[p]], k=10) for p in parts if relevance[p].any()]
    )
    distinct = relevance + RNG.normal(size=1000)
    found = taskmetrics.ranking_by_list(relevance, distinct, lists)
    kept = [p for p in parts if relevance[p].any()]
    assert found["map"] == pytest.approx([metrics.average_precision_score(relevance[p] > 0, distinct[p]) for p in kept])
    first = [1 / (1 + np.argmax(relevance[p][np.argsort(-distinct[p])] > 0)) for p in kept]
    assert found["mrr"] == pytest.approx(first)


def test_a_model_that_says_the_same_of_all_gains_nothing_by_it() -> None:
    found = taskmetrics.ranking_by_list([1, 0, 0, 0], [0.5] * 4, ["l"] * 4)
    assert found["map"] == pytest.approx([0.25])
    assert found["mrr"] == pytest.approx([0.25])
    assert found["ndcg@10"] < 0.7


COVERED = ("auc", "average_precision", "brier", "log_loss", "accuracy", "precision", "recall", "f1", "calibration_gap")


def test_intervals_hold_nineteen_times_out_of_twenty_though_days_differ() -> None:
    def drawn(rows: int, days: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        day = rng.integers(0, days, rows)
        x = rng.normal(size=rows)
        odds = 1.2 * x - 0.5 + rng.normal(0, 0.5, days)[day]
        labels = rng.uniform(size=rows) < 1 / (1 + np.exp(-odds))
        return labels, 1 / (1 + np.exp(-(1.5 * x - 0.4))), day

    rng = np.random.default_rng(7)
    truth = taskmetrics.classification(*drawn(200_000, 2000, rng))
    hits = dict.fromkeys(COVERED, 0)
    for _ in range(50):
        found = taskmetrics.classification(*drawn(900, 30, rng))
        for name in COVERED:
            hits[name] += found[name].low <= truth[name].value <= found[name].high
    assert min(hits.values()) >= 42
    assert sum(hits.values()) >= 45 * len(COVERED)


@settings(max_examples=50, deadline=None)
@example(rows=[(False, 0.0), (False, 0.0), (True, 1.0), (True, 1.0), (True, 0.5)])
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=40))
def test_figures_lie_within_their_intervals_and_ranges(rows: list[tuple[bool, float]]) -> None:
    labels, scores = np.array([y for y, _ in rows]), np.array([p for _, p in rows])
    for name, found in taskmetrics.classification(labels, scores).items():
        assert found.low <= found.value + 1e-12, name
        assert found.value <= found.high + 1e-12, name
        if name not in ("log_loss", "calibration_gap"):
            assert -1e-12 <= found.low <= found.high <= 1 + 1e-12, name


def test_an_answer_that_is_always_right_is_not_certain_to_be() -> None:
    found = taskmetrics.classification([1, 0] * 20, [0.9, 0.1] * 20)["accuracy"]
    assert found.value == found.high == 1
    assert 0.85 < found.low < 0.95


def test_the_naive_forecast_is_that_of_each_series_a_season_ago() -> None:
    labels, times, series = [1.0, 10, 3, 20, 7, 40], [0, 0, 1, 1, 2, 2], ["a", "b"] * 3
    assert taskmetrics.seasonal_naive(labels, times, series, 1) == pytest.approx((2 + 10 + 4 + 20) / 4)
    assert taskmetrics.seasonal_naive(labels, times, series, 2) == pytest.approx((6 + 30) / 2)
    assert np.isnan(taskmetrics.seasonal_naive(labels, times, series, 3))


def test_what_rows_do_not_allow_is_left_out() -> None:
    assert "auc" not in taskmetrics.classification([1, 1, 1], [0.2, 0.4, 0.6])
    assert "r2" not in taskmetrics.regression([1, 1, 1], [0.2, 0.4, 0.6])
    assert "mape" not in taskmetrics.regression([0, 0, 1], [0.2, 0.4, 0.6])
    assert taskmetrics.ranking([0, 0], [1, 2], ["a", "b"]) == {}
