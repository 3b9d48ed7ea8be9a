"""Figures by category, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from modelwright.retraining.slices import LONGEST, MISSING, by_category


def drawn(rows: int = 3000) -> tuple[pd.DataFrame, NDArray[np.int8], NDArray[np.float64]]:
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"carrier": rng.choice(list("ABCD"), rows), "origin": rng.choice(["EWR", "JFK"], rows)})
    scores = np.round(rng.random(rows), 2)  # ties
    return frame, (rng.random(rows) < scores).astype(np.int8), scores


def test_each_figure_is_scikit_learns() -> None:
    frame, labels, scores = drawn()
    found = by_category(frame, ("origin", "carrier"), labels, scores)
    assert [one.column for one in found] == ["origin"] * 2 + ["carrier"] * 4
    for one in found:
        rows = (frame[one.column] == one.value).to_numpy()
        assert (one.rows, one.positives) == (rows.sum(), labels[rows].sum())
        assert one.auc == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)
        assert one.brier == pytest.approx(brier_score_loss(labels[rows], scores[rows]), abs=1e-12)


def test_a_category_of_one_class_has_no_auc() -> None:
    labels, scores = np.zeros(100, dtype=np.int8), np.full(100, 0.25)
    (one,) = by_category({"carrier": ["A"] * 100}, ("carrier",), labels, scores)
    assert (one.auc, one.brier, one.positives) == (None, 0.0625, 0)


def test_one_positive_row_is_enough_for_an_auc() -> None:
    labels, scores = np.eye(1, 60, 3, dtype=np.int8)[0], np.arange(60) / 60
    (one,) = by_category({"carrier": ["A"] * 60}, ("carrier",), labels, scores)
    assert one.auc == pytest.approx(roc_auc_score(labels, scores))


def test_the_largest_categories_come_first_and_small_ones_not_at_all() -> None:
    values = ["a"] * 60 + ["b"] * 80 + ["c"] * 49 + ["d"] * 60
    labels, scores = np.arange(len(values)) % 2, np.full(len(values), 0.5)
    found = by_category({"x": values}, ("x", "nowhere"), labels, scores)
    assert [(one.value, one.rows) for one in found] == [("b", 80), ("a", 60), ("d", 60)]
    assert [one.value for one in by_category({"x": values}, ("x",), labels, scores, most=1)] == ["b"]


@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_missing_values_are_a_category(dtype: str) -> None:
    column = pd.Series(["A", None] * 60, dtype=dtype)
    found = by_category({"x": column}, ("x",), np.arange(120) % 3 == 0, np.full(120, 0.5))
    assert {one.value: one.rows for one in found} == {"A": 60, MISSING: 60}


def test_numbers_are_categories_too_and_long_texts_are_cut() -> None:
    found = by_category({"x": [1] * 60 + ["y" * 500] * 60}, ("x",), np.arange(120) % 2, np.full(120, 0.5))
    assert {one.value for one in found} == {"1", "y" * LONGEST}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 1)), min_size=1, max_size=60))
@settings(deadline=None)
def test_slices_of_all_rows_add_up_to_the_whole(rows: list[tuple[str, bool, float]]) -> None:
    values, labels, scores = zip(*rows, strict=True)
    found = by_category({"x": values}, ("x",), labels, scores, min_rows=1)
    assert sum(one.rows for one in found) == len(rows)
    assert sum(one.positives for one in found) == sum(labels)
    whole = float(np.mean((np.array(scores) - np.array(labels)) ** 2))
    assert sum(one.brier * one.rows for one in found) / len(rows) == pytest.approx(whole)


def test_nothing_to_slice_by_gives_no_slices() -> None:
    assert by_category({"x": ["a"]}, (), [1], [0.5]) == ()
