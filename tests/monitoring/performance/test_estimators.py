"""What estimates performance without labels: right where its assumptions hold, wrong where it says that it would be."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.monitoring.performance.cbpe import Binned, ConfidenceBased, calibration
from modelwright.monitoring.performance.dle import DirectLoss
from modelwright.monitoring.performance.estimators import Answers, design_effect, within_day
from modelwright.plugins import installed, load
from modelwright.testing import ESTIMATOR_CHECKS, EstimatorCheck
from monitoring.performance.worlds import classes, covered, numbers, realised

NANNYML = json.loads((Path(__file__).parent / "nannyml_cbpe.json").read_text())
"""Of the rows below in chunks of 1,000, as NannyML 0.13.1 estimates them."""


@pytest.mark.parametrize("name", installed("estimators"))
@pytest.mark.parametrize("check", ESTIMATOR_CHECKS, ids=lambda check: check.__name__)
def test_what_we_ship_keeps_the_contract(name: str, check: EstimatorCheck) -> None:
    check(load("estimators", name))


def rows(seed: int, count: int, shift: float) -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"]:
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, count)
    rng.choice(["a", "b"], count)
    right = 1 / (1 + np.exp(-(1.2 * x - 0.3)))
    labels = (rng.uniform(size=count) < right).astype(np.float64)
    return {"score": right, "over": 1 / (1 + np.exp(-(2.2 * x - 0.3))), "labels": labels}


@pytest.mark.parametrize("name", ["score", "over"])
def test_expected_figures_are_those_of_nannyml_with_the_same_calibration(name: str) -> None:
    known, fresh = rows(1, 5000, 0.0), rows(2, 4000, 0.4)
    calibrated = calibration("isotonic", known[name], known["labels"])
    for chunk in range(4):
        found = Binned.of(fresh[name][1000 * chunk : 1000 * (chunk + 1)], calibrated).expected()
        for metric in ("accuracy", "precision", "recall", "f1"):
            assert found[metric] == pytest.approx(NANNYML[name][metric][chunk], abs=1e-9)
        assert found["auc"] == pytest.approx(NANNYML[name]["auc"][chunk], abs=2e-4)  # theirs has ties by trapezium


def test_confidence_covers_what_happens_while_its_assumptions_hold() -> None:
    assert min(covered(ConfidenceBased(), 15, 2000, 500, {"shift": 0.4}).values()) >= 0.8


def test_confidence_is_wrong_when_the_concept_drifts_and_says_that_it_would_be() -> None:
    found = covered(ConfidenceBased(), 8, 2000, 500, {"concept": 0.8})
    assert max(found["auc"], found["brier"], found["f1"]) <= 0.2
    assert "no concept drift" in ConfidenceBased().assumes


def test_losses_are_covered_while_the_assumptions_hold() -> None:
    assert min(covered(DirectLoss(), 5, 1500, 500).values()) >= 0.8


def test_losses_are_wrong_when_the_concept_drifts_and_the_statement_says_so() -> None:
    found = covered(DirectLoss(), 2, 1500, 500, {"concept": 1.0})
    assert max(found.values()) <= 0.2
    assert "no concept drift" in DirectLoss().assumes


def test_harder_inputs_are_seen_in_the_estimate() -> None:
    rng = np.random.default_rng(3)
    known, fresh = numbers(rng, 3000), numbers(rng, 2000, shift=1.0)
    found = DirectLoss().estimate(known, Answers(fresh.scores, fresh.days, fresh.features), 0)
    assert found["mae"].low > 1.2 * realised(known)["mae"]
    assert found["mae"].value == pytest.approx(realised(fresh)["mae"], rel=0.15)


def test_losses_of_probabilities_are_estimated_too() -> None:
    rng = np.random.default_rng(4)
    known, fresh = classes(rng, 3000), classes(rng, 1000, shift=0.5)
    found = DirectLoss().estimate(known, Answers(fresh.scores, fresh.days, fresh.features), 0)
    assert found["brier"].low <= realised(fresh)["brier"] <= found["brier"].high


def test_what_does_not_suffice_is_refused() -> None:
    known = classes(np.random.default_rng(0), 60)
    one_class = Answers(known.scores, known.days, known.features, np.ones(60))
    with pytest.raises(InvalidInput, match="60 of 60 labelled rows are positive"):
        ConfidenceBased().estimate(one_class, known, 0)
    with pytest.raises(InvalidInput, match="not logged alike"):
        DirectLoss().estimate(known, Answers(known.scores, known.days, pd.DataFrame({"other": known.scores})), 0)


def test_days_that_go_together_widen_what_is_said_of_few_of_them() -> None:
    rng = np.random.default_rng(5)
    days = np.repeat(np.arange(400), 50)
    alone, together = rng.normal(size=20_000), rng.normal(size=20_000) + np.repeat(rng.normal(size=400), 50)
    assert within_day(alone, days) < 0.02
    assert within_day(together, days) == pytest.approx(0.5, abs=0.05)
    assert design_effect(0.5, days) == pytest.approx(1 + 0.5 * 49)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.integers(0, 100))
def test_expected_figures_of_certain_labels_are_the_figures(scores: list[float], seed: int) -> None:
    p = np.array(scores)
    labels = np.random.default_rng(seed).integers(0, 2, len(p)).astype(np.float64)
    lookup = dict(zip(p.tolist(), labels.tolist(), strict=True))  # of equal scores the last label
    truth = np.array([lookup[value] for value in p.tolist()])
    found = Binned.of(p, lambda s: np.array([lookup[value] for value in s.tolist()])).expected()
    assert found["brier"] == pytest.approx(float(np.mean((p - truth) ** 2)), abs=1e-9)
    assert found["accuracy"] == pytest.approx(float(np.mean((p >= 0.5) == truth)))
