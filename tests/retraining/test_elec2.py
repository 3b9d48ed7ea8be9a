"""The Australian electricity market, half-hours in order (Harries 1999): does the default policy pay?

Six weeks to learn from, then weekly blocks: predicted first, labelled after. What decides is the real code with
its shipped defaults: when the champion counts as degraded, what triggers, what the policy allows. Only the window
of six weeks is said, because it belongs to the question.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import cohen_kappa_score
from sklearn.naive_bayes import GaussianNB

from modelwright.events import (
    AliasChanged,
    ColumnDrift,
    DriftDetected,
    Estimate,
    Event,
    PerformanceDegraded,
    PerformanceMeasured,
    TrainingRequested,
    Window,
)
from modelwright.monitoring.degradation import Labelled, degradation_of
from modelwright.project import MonitoringPolicy
from modelwright.retraining import deciding, ending
from retraining.stage import WALL, Stage, project
from retraining.test_training import completed_event

WEEK = 48 * 7
FIRST = 6


@cache
def market() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    table = pq.read_table(Path(__file__).parent / "data/elec2.parquet")
    names = [name for name in table.column_names if name != "class"]
    rows = np.column_stack([table.column(name).to_numpy() / (47 if name == "period" else 1e6) for name in names])
    return rows, table.column("class").to_numpy(zero_copy_only=False).astype(np.int8)


@dataclass
class Trading:
    """Weeks of the market with a champion that is replaced whenever a training was granted."""

    policy: dict[str, Any]
    stage: Stage = field(default_factory=Stage)
    model: GaussianNB = field(default_factory=GaussianNB)
    windows: list[Labelled] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    trainings: int = 0
    version: int = 1

    def run(self) -> float:
        """Return the accuracy over all weeks after the first six."""
        rows, labels = market()
        self.stage.apply(project(window_days=7 * FIRST, budget=5.0, **self.policy))
        self.model.fit(rows[: FIRST * WEEK], labels[: FIRST * WEEK])
        self.champion()
        for start in range(FIRST * WEEK, len(rows), WEEK):
            week = slice(start, min(start + WEEK, len(rows)))
            scores = self.model.predict_proba(rows[week])[:, 1]
            self.said += [int(score > 0.5) for score in scores]
            days = np.arange(week.start, week.stop) // 48
            self.windows.append(Labelled(labels[week].astype(bool), scores, days))
            self.stage.pass_days(7)
            self.labels_come(len(scores))
            if len(self.requested()) > self.trainings:
                self.train(week.stop)
        return float(np.mean(np.array(self.said) == labels[FIRST * WEEK :]))

    def labels_come(self, count: int) -> None:
        known: dict[str, Any] = {"tables": self.stage.tables, "log": self.stage.log}
        asking: dict[str, Any] = {"wall": WALL, "triggers": deciding.trigger, **known}
        window = Window(start=self.stage.now - timedelta(days=7), end=self.stage.now)
        column = ColumnDrift(column="nswprice", detector="ks", effect=0.5, floor=0.1, p_value=0.0, drifted=True)
        drift = DriftDetected(source="weather", window=window, reference="before", columns=(column,))
        deciding.note_drift(self.stage.call, self.stage.delivery(drift), **known)
        measured = PerformanceMeasured(
            model="flights", window=window, labels_key="k", labels=count, joined=count,
            performances=(), comparisons=(), canary_comparisons=(),
        )  # fmt: skip
        deciding.follow_labels(self.stage.call, self.stage.delivery(measured), **asking)
        found = degradation_of(self.windows, MonitoringPolicy())
        if found is not None:
            degraded = PerformanceDegraded(
                model="flights", version=self.version, window=window, metric=found.metric,
                value=Estimate(value=0, low=0, high=0), reference=found.reference, reason=found.reason,
            )  # fmt: skip
            deciding.follow_degraded(self.stage.call, self.stage.delivery(degraded), **asking)

    def train(self, until: int) -> None:
        rows, labels = market()
        begin = until - FIRST * WEEK
        self.model = GaussianNB().fit(rows[begin:until], labels[begin:until])
        self.trainings += 1
        self.version += 1
        ended = completed_event(self.requested()[-1].training_id, cost=0.01)
        ending.settle(self.stage.call, self.stage.delivery(ended), tables=self.stage.tables, log=self.stage.log)
        self.windows.clear()
        self.champion()

    def champion(self) -> None:
        event: Event = AliasChanged(model="flights", alias="champion", version=self.version, previous=None, reason="")
        deciding.note_champion(
            self.stage.call, self.stage.delivery(event), tables=self.stage.tables, log=self.stage.log
        )

    def requested(self) -> list[TrainingRequested]:
        return [event for event in self.stage.happened() if isinstance(event, TrainingRequested)]


def test_knowing_the_last_half_hour_is_the_figure_to_compare_with() -> None:
    _, labels = market()
    assert np.mean(labels[1:] == labels[:-1]) == pytest.approx(0.8533, abs=5e-5)


def test_a_model_that_is_never_trained_again_gets_worse() -> None:
    static = Trading({"triggers": ("manual",)})
    assert static.run() == pytest.approx(0.678, abs=5e-4)
    assert static.trainings == 0


def test_the_default_policy_pays_with_few_trainings() -> None:
    ours = Trading({})
    accuracy = ours.run()
    _, labels = market()
    kappa = cohen_kappa_score(labels[FIRST * WEEK :], ours.said)
    assert accuracy >= 0.75, f"accuracy {accuracy:.4f}, kappa {kappa:.3f}, {ours.trainings} trainings"
    assert 0 < ours.trainings <= 60


def test_drift_of_the_inputs_every_week_trains_nothing() -> None:
    drifting = Trading({"triggers": ("drift",)})
    drifting.run()
    assert drifting.trainings == 0
