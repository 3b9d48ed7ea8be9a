"""Paired tests against scipy and brute force, and the gate that picks among them."""

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelwright.errors import InvalidInput
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry.comparisons import accuracy_difference, loss_difference, loss_per_row, mcnemar
from modelwright.registry.fullgates import NotInferior
from modelwright.statistics import auc_difference, delong_components

RNG = np.random.default_rng(11)
ROWS = 800
Y = (RNG.random(ROWS) < 0.3).astype(int)
A = np.clip(0.3 + 0.25 * (Y - 0.3) + RNG.normal(0, 0.15, ROWS), 0.01, 0.99)
B = np.clip(A + 0.05 * (Y - 0.3) + RNG.normal(0, 0.03, ROWS), 0.01, 0.99)
DAYS = np.arange(ROWS) // 20
LOSSES = ("brier", "log_loss", "mae", "rmse")


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_of_few_rows_and_its_mid_p_of_many(only_a: int, only_b: int) -> None:
    n, k = only_a + only_b, min(only_a, only_b)
    exact = float(stats.binomtest(k, n, 0.5).pvalue) if n else 1.0
    expected = exact if n < 25 or only_a == only_b else exact - float(stats.binom.pmf(k, n, 0.5))
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_delongs_components_are_those_of_every_pair(ties: bool) -> None:
    scores = np.round(B, 1) if ties else B
    positive, negative = scores[Y == 1], scores[Y == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    aucs, of_positives, of_negatives = delong_components(Y, scores)
    assert aucs[0] == pytest.approx(wins.mean(), abs=1e-12)
    assert of_positives[0] == pytest.approx(wins.mean(axis=1), abs=1e-12)
    assert of_negatives[0] == pytest.approx(wins.mean(axis=0), abs=1e-12)
    u = stats.mannwhitneyu(positive, negative).statistic
    assert aucs[0] == pytest.approx(u / (len(positive) * len(negative)), abs=1e-12)


@pytest.mark.parametrize("metric", LOSSES)
def test_the_paired_bootstrap_is_scipys_bca(metric: str) -> None:
    def figure(rows: Any, axis: int) -> Any:
        return np.sqrt(np.mean(rows, axis=axis)) if metric == "rmse" else np.mean(rows, axis=axis)

    sides = loss_per_row(Y, A, metric), loss_per_row(Y, B, metric)
    found = loss_difference(Y, A, B, metric, draws=20_000)
    theirs = stats.bootstrap(
        sides, lambda a, b, axis: figure(b, axis) - figure(a, axis), paired=True, n_resamples=20_000, method="BCa",
        rng=np.random.default_rng(1),
    )  # fmt: skip
    width = found.high - found.low
    assert found.value == pytest.approx(float(figure(sides[1], 0) - figure(sides[0], 0)), abs=1e-12)
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


@pytest.mark.parametrize("metric", LOSSES)
@pytest.mark.parametrize("clusters", [None, DAYS, DAYS // 8])
def test_the_same_rows_give_the_same_bits_and_no_difference_is_none(metric: str, clusters: Any) -> None:
    first, again = (loss_difference(Y, A, B, metric, clusters, draws=300, seed=5) for _ in range(2))
    assert first == again
    assert first.low < first.value < first.high
    same = loss_difference(Y, A, A, metric, clusters, draws=300)
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("metric", LOSSES)
def test_the_other_way_round_the_sign_turns(metric: str) -> None:
    there, back = loss_difference(Y, A, B, metric), loss_difference(Y, B, A, metric)
    assert back.value == pytest.approx(-there.value)
    assert back.low == pytest.approx(-there.high, abs=0.1 * (there.high - there.low))


def test_a_row_that_is_told_twenty_times_says_no_more_than_once() -> None:
    labels, left, right = (np.repeat(each[:40], 20) for each in (Y, A, B))
    once = loss_difference(Y[:40], A[:40], B[:40], "brier")
    twenty = loss_difference(labels, left, right, "brier", DAYS)
    careless = loss_difference(labels, left, right, "brier")
    assert twenty.high - twenty.low == pytest.approx(once.high - once.low, rel=0.1)
    assert careless.high - careless.low < 0.3 * (once.high - once.low)
    few = loss_difference(labels[:300], left[:300], right[:300], "brier", DAYS[:300])
    assert few.high - few.low > once.high - once.low


def test_an_interval_holds_its_level() -> None:
    """Of 200 comparisons of equally good versions about ten are called different, for few days and for many."""
    for rows, days in ((400, 7), (400, 40)):
        missed = 0
        for seed in range(200):
            rng = np.random.default_rng(seed)
            clusters = np.arange(rows) * days // rows
            y = (rng.random(rows) < 0.3).astype(int)
            left, right = (
                np.clip(0.3 + rng.normal(0, 0.05, days)[clusters] + rng.normal(0, 0.05, rows), 0.01, 0.99)
                for _ in range(2)
            )
            found = loss_difference(y, left, right, "brier", clusters, draws=300)
            missed += not found.low <= 0 <= found.high
        assert missed <= 24, f"{missed} of 200 at {days} days"


def test_accuracies_differ_by_what_one_gets_right_and_the_other_does_not() -> None:
    labels = np.array([1] * 50 + [0] * 50)
    a = np.where(np.arange(100) < 20, 0.1, labels * 0.8 + 0.1)
    b = np.where(np.arange(100) >= 95, 0.9, labels * 0.8 + 0.1)
    found = accuracy_difference(labels, a, b)
    assert found.value == pytest.approx(0.15)
    assert found.p_value == pytest.approx(mcnemar(5, 20))
    assert 0 < found.low < 0.15 < found.high
    assert accuracy_difference(labels, a, a).p_value == 1.0


@pytest.mark.parametrize("compare", [accuracy_difference, lambda y, a, b: loss_difference(y, a, b, "mae")])
def test_one_row_is_too_few(compare: Any) -> None:
    with pytest.raises(InvalidInput, match="two rows, here are 1"):
        compare([1], [0.5], [0.6])


# --- the gate ----------------------------------------------------------------------------


def kept(champion: str = "1", **columns: Any) -> bytes:
    said = {"label": Y, "challenger": B, "champion": A} | columns
    table = pa.table({name: pa.array(values) for name, values in said.items() if values is not None})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"modelwright.champion": champion} if champion else None), sink)
    return sink.getvalue()


def asks(body: bytes | None = None, **policy: Any) -> tuple[bool, str]:
    found = kept() if body is None else body
    candidate = Candidate("churn", 2, "champion", champion=1, scored=lambda: found or None)
    result = NotInferior().check(candidate, GatePolicy.model_validate(policy))
    return result.passed, result.text


@pytest.mark.parametrize(
    ("metric", "test"),
    [("auc", "DeLong"), ("accuracy", "McNemar"), *((loss, "paired bootstrap") for loss in LOSSES)],
)
def test_a_better_version_is_not_inferior_by_the_test_that_fits(metric: str, test: str) -> None:
    passed, text = asks(comparison=metric, tolerance=0.03)
    assert passed, text
    for figure in (f"{metric} of v2 against champion v1 on 800 held-out rows", test, "p = ", "0.0300"):
        assert figure in text


@pytest.mark.parametrize("metric", ["auc", "accuracy", *LOSSES])
def test_a_worse_version_is_refused_with_its_figures(metric: str) -> None:
    worse = np.clip(A + 0.35 * (0.5 - Y), 0.01, 0.99)
    passed, text = asks(kept(challenger=worse), comparison=metric)
    assert not passed
    assert " differs by " in text


def test_the_tolerance_decides_between_proven_and_not() -> None:
    difference = auc_difference(Y, A, np.round(A, 1))
    edge = -difference.low
    assert asks(kept(challenger=np.round(A, 1)), comparison="auc", tolerance=edge + 1e-6)[0]
    assert not asks(kept(challenger=np.round(A, 1)), comparison="auc", tolerance=edge - 1e-6)[0]


def test_days_are_clusters() -> None:
    assert "over 40 clusters" in asks(kept(cluster=DAYS), comparison="brier")[1]
    assert "DeLong over 40 clusters" in asks(kept(cluster=DAYS), comparison="auc")[1]
    assert "clusters" not in asks(kept(cluster=np.zeros(ROWS, int)), comparison="auc")[1]


@pytest.mark.parametrize(
    ("body", "metric", "said"),
    [
        (b"", "auc", "nothing was kept"),
        (b"no Parquet", "auc", "cannot be read"),
        (kept(label=None), "auc", "cannot be read"),
        (kept(label=["x"] * ROWS), "auc", "cannot be read"),
        (kept("7"), "auc", "was compared with 7, which champion v1 is not"),
        (kept(challenger=[math.nan] * ROWS), "auc", "lacks labels or scores"),
        (kept(champion=""), "auc", "does not say by modelwright.champion what it met"),
        (kept(label=Y * 2), "brier", "labels of 0 and 1"),
        (kept(label=np.zeros(ROWS)), "auc", "needs two rows of each class"),
        (kept(), "f1", "rows cannot be compared by f1: choose auc, accuracy"),
    ],
)
def test_what_proves_nothing_is_refused_with_what_to_do(body: bytes, metric: str, said: str) -> None:
    passed, text = asks(body, comparison=metric)
    assert not passed
    assert said in text


def test_there_is_nothing_to_compare_without_a_champion() -> None:
    alone = Candidate("churn", 2, "champion")
    assert NotInferior().check(alone, GatePolicy()).passed
    assert NotInferior().check(replace(alone, champion=2), GatePolicy()).passed
