"""Trainings of models that predict numbers: compared by their errors, on rows that neither has seen."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from modelwright.errors import PluginError
from modelwright.events import Evaluation, TrainingFailed, Window
from modelwright.flavors import Numbers, Sklearn, pickled
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy, Project
from modelwright.registry.gates import BeatsChampion, MetricFloor
from modelwright.retraining.beside import files
from modelwright.retraining.comparing import evaluate
from modelwright.retraining.training import train
from modelwright.retraining.workshop import Examples
from retraining.stage import WS, Stage, project
from retraining.test_training import Sets, champion, completed, requested, shop

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"x": RNG.normal(size=600)})
LABELS = 3 * FRAME["x"].to_numpy() + RNG.normal(size=600)
TIMES = np.arange("2026-01-01T00:00", "2026-01-13T12:00", 30, dtype="datetime64[m]").astype("datetime64[us]")
HELD = Examples(FRAME, LABELS, TIMES, "", "")
GOOD, BAD = [float(v) for v in 3 * FRAME["x"]], [float(v) for v in 2 * FRAME["x"]]


def evaluated() -> Evaluation:
    return evaluate(HELD, GOOD, BAD)


def test_errors_of_both_are_told_and_their_difference_is_paired() -> None:
    found = evaluated()
    assert (found.challenger_auc, found.challenger_brier, found.rows) == (None, None, 600)
    assert found.metrics["mae"].value == pytest.approx(mean_absolute_error(LABELS, GOOD))
    assert found.metrics["r2"].value == pytest.approx(r2_score(LABELS, GOOD))
    expected = root_mean_squared_error(LABELS, GOOD) - root_mean_squared_error(LABELS, BAD)
    assert found.differences["rmse"].value == pytest.approx(expected)
    assert found.differences["mae"].high < 0


def test_gates_read_errors_of_numbers() -> None:
    policy = GatePolicy(metric="mae", floor=1.0, comparison="rmse", tolerance=0.0)
    candidate = Candidate(model="m", version=2, alias="challenger", champion=1, evaluation=evaluated())
    assert MetricFloor().check(candidate, policy).passed
    assert BeatsChampion().check(candidate, policy).passed
    worse = Candidate(model="m", version=2, alias="challenger", champion=1, evaluation=evaluate(HELD, BAD, GOOD))
    assert not MetricFloor().check(worse, policy).passed
    assert not BeatsChampion().check(worse, policy).passed


def test_what_lies_beside_the_model_holds_the_numbers() -> None:
    body = files(HELD, GOOD, BAD, "r")["predictions.parquet"]
    assert pq.read_table(io.BytesIO(body))["label"].to_pylist() == LABELS.tolist()


def test_estimators_without_classes_give_numbers_and_those_with_classes_need_probabilities() -> None:
    regression = Sklearn().load(lambda _: pickled(LinearRegression().fit(FRAME, LABELS)), {})
    assert isinstance(regression, Numbers)
    assert np.allclose(regression(FRAME), LinearRegression().fit(FRAME, LABELS).predict(FRAME))
    classes = Sklearn().load(lambda _: pickled(LogisticRegression().fit(FRAME, LABELS > 0)), {})
    assert not isinstance(classes, Numbers)
    with pytest.raises(PluginError, match="a Perceptron has no predict_proba"):
        Sklearn().load(lambda _: pickled(Perceptron().fit(FRAME, LABELS > 0)), {})
    constant = Sklearn().load(lambda _: pickled(DummyRegressor().fit(FRAME, LABELS)), {})
    assert constant(FRAME)[:2] == [LABELS.mean()] * 2


class Minutes(Sets):
    """Examples whose label is a number of minutes."""

    def examples(self, model: str, window: Window, *, as_of: Any, labels_until: Any) -> Examples:
        minutes = 10 * self.frame["temp"].to_numpy() + np.random.default_rng(1).normal(size=len(self.frame))
        return replace(super().examples(model, window, as_of=as_of, labels_until=labels_until), labels=minutes)


def of_task(task: str, **more: Any) -> Project:
    said = project().model_dump()
    model = said["models"]["flights"]
    model |= {"task": task, **more}
    model["label"]["above"] = None
    return Project.model_validate(said)


def test_a_model_of_numbers_is_trained_and_compared_with_the_champion() -> None:
    stage = Stage()
    frame = pd.DataFrame({"temp": RNG.normal(size=300), "hour": RNG.integers(0, 24, 300).astype(float)})
    old = champion(stage, DummyRegressor().fit(frame, frame["temp"]))
    work = replace(
        shop(stage, Minutes(), lambda rows, labels, _: LinearRegression().fit(rows, labels)),
        project=of_task("regression"),
    )
    assert train(WS, requested(stage, **old), work) == "completed"
    event = completed(stage)
    assert event.metrics["rmse"] == pytest.approx(1, abs=0.15)
    assert event.metrics["mae_difference"] < -5
    assert (event.evaluation.slices, event.evaluation.challenger_auc) == ((), None)
    assert event.evaluation.differences["rmse"].high < 0


def test_a_ranking_is_trained_elsewhere() -> None:
    stage = Stage()
    work = replace(shop(stage, Minutes()), project=of_task("ranking", rank_by="origin"))
    assert train(WS, requested(stage), work) == "failed"
    (event,) = [one for one in stage.happened() if isinstance(one, TrainingFailed)]
    assert event.reason == "ranking has no built-in training: train elsewhere and register the version"
