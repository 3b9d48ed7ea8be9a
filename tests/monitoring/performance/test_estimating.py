"""The schedule that looks at predictions without labels: estimates, what a model rests on, each window once."""

import io
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from modelwright.errors import PluginError, Unavailable
from modelwright.events import AttributionDrifted, ModelVersionCreated, PerformanceEstimated
from modelwright.flavors import Sklearn, mlmodel, open_model, pickled
from modelwright.monitoring import performance
from modelwright.monitoring.performance import estimating
from modelwright.monitoring.performance.attribution import attribution, ndcg
from modelwright.monitoring.performance.records import Artifact
from modelwright.monitoring.reading import parquet_bytes
from modelwright.plugins import load
from modelwright.retraining.beside import files
from modelwright.retraining.workshop import Examples
from monitoring.performance.stage import MODEL, START, Rows, Shop, project

KEY = "default/models/m-1/"


class Estimating(Shop):
    """A shop whose schedule can be due."""

    def due(self, day: int, opener: estimating.Opener | None = None) -> None:
        desk = self.desk

        def opened(name: str, artifact: Artifact) -> estimating.Scores:
            return open_model(name, artifact.key, digest="", blobs=desk.blobs, flavors=lambda _: Sklearn())

        tools = estimating.Tools(
            desk.tables, desk.log, desk.blobs, lambda name: load("estimators", name)(), opener or opened
        )
        estimating.estimate(desk.call(START + timedelta(days=day)), tools)

    def estimated(self) -> list[PerformanceEstimated]:
        return self.desk.events(PerformanceEstimated, MODEL, "PERFORMANCE")

    def shown(self) -> Any:
        return performance.history(self.desk.call(), MODEL, tables=self.desk.tables)["estimates"]

    def unlabelled(self, day: int, *, squeezed: float = 0.0, count: int = 700) -> Rows:
        """A week of answers; squeezed ones are nearer to a half, so that they are right less often."""
        rows = self.rows(day, count=count)
        said = 1 / (1 + np.exp(-2 * (1 - squeezed) * rows.size))
        self.answer(rows, [float(s) for s in said])
        return rows


def make(task: str = "classification", **monitoring: Any) -> Estimating:
    shop = Estimating(project(task, monitoring={"min_rows": 500, "estimators": ["cbpe"], **monitoring}))
    shop.champion()
    return shop


def test_what_waits_for_labels_is_estimated_once() -> None:
    shop = make()
    shop.classified(0)
    shop.unlabelled(7)
    shop.due(14)
    shop.due(14)
    shop.due(15)
    (one,) = shop.estimated()
    assert set(one.metrics) == {"auc", "accuracy", "precision", "recall", "f1", "brier"}
    assert (one.metric, one.metrics["auc"]) == ("auc", one.value)
    assert (one.version, one.estimator, one.rows >= 500, one.degraded) == (1, "cbpe", True, False)
    assert one.value.low < one.reference < one.value.high
    assert "no concept drift" in one.assumes
    assert one.window.start == START
    assert one.window.end <= START + timedelta(days=14)
    assert [len(window["estimates"]) for window in shop.shown()] == [1]


def test_a_model_that_is_less_sure_of_itself_is_estimated_to_be_worse() -> None:
    shop = make()
    shop.classified(0, count=2000)
    shop.unlabelled(7, squeezed=0.8, count=2000)
    shop.due(14)
    found = {one.metric: one for one in shop.estimated()}
    assert found["auc"].degraded
    assert found["auc"].value.high < found["auc"].reference - 0.02


def test_days_that_are_not_over_or_too_small_wait() -> None:
    shop = make()
    shop.classified(0)
    shop.unlabelled(7, count=400)
    shop.due(14)
    assert shop.estimated() == []
    shop.unlabelled(14, count=400)
    shop.due(14)
    assert shop.estimated() == []
    shop.due(21)
    assert {one.rows for one in shop.estimated()} <= set(range(500, 801))
    assert len(shop.estimated()) == 1


def test_what_was_labelled_meanwhile_is_measured_and_not_estimated() -> None:
    shop = make()
    shop.classified(0)
    rows = shop.unlabelled(7)
    shop.label(rows, [1.0] * rows.count)
    shop.due(14)
    assert shop.estimated() == []


def test_without_labels_to_learn_from_it_is_said_what_lacks() -> None:
    shop = make()
    shop.unlabelled(0)
    shop.due(7)
    assert shop.estimated() == []
    assert shop.shown()[0]["text"] == "0 labelled rows of version 1 are too few to learn from"


def test_a_new_champion_is_estimated_from_its_own_labels_alone() -> None:
    shop = make()
    shop.classified(0)
    shop.champion(2, day=7)
    rows = shop.rows(7)
    shop.answer(rows, [0.5] * rows.count, version=2)
    shop.due(14)
    assert [(one["version"], one["estimates"]) for one in shop.shown()] == [(2, [])]


def test_errors_of_numbers_are_estimated_from_the_features() -> None:
    shop = make("regression", estimators=["dle"])
    shop.valued(0)
    rows = shop.rows(7)
    shop.answer(rows, [float(s) for s in 3 * rows.size])
    shop.due(14)
    (found,) = shop.estimated()
    assert set(found.metrics) == {"mae", "rmse"}
    assert found.metrics["rmse"].low < 1.0 < found.metrics["rmse"].high


def labelled(shop: Estimating, rows: Rows) -> None:
    shop.label(rows, [float(shop.rng.uniform() < p) for p in 1 / (1 + np.exp(-2 * rows.size))])


def test_a_bad_estimate_is_taken_back_when_its_labels_come() -> None:
    shop = make()
    shop.classified(0, count=2000)
    rows = shop.unlabelled(7, squeezed=0.8, count=2000)
    shop.due(14)
    assert {one.degraded for one in shop.estimated()} == {True}
    count = len(shop.estimated())
    shop.due(14)
    labelled(shop, rows)
    shop.due(15)
    shop.due(16)
    (last,) = shop.estimated()[count:]
    assert (last.estimator, last.metric, last.degraded, last.rows > 500) == ("cbpe", "auc", False, True)
    assert "labels came" in last.assumes
    assert last.value.value == pytest.approx(0.88, abs=0.03)


def test_a_bad_estimate_is_taken_back_when_labels_are_prompt_again() -> None:
    shop = make()
    shop.classified(0, count=2000)
    shop.unlabelled(7, squeezed=0.8, count=2000)
    shop.due(14)
    before = [one.estimator for one in shop.estimated() if one.degraded]
    shop.classified(14, count=2000)
    shop.due(21)
    assert [one.degraded for one in shop.estimated()[len(before) :]] == [False]


def test_a_bad_estimate_of_another_champion_or_that_nobody_asks_for_is_taken_back() -> None:
    shop = make()
    shop.classified(0, count=2000)
    shop.unlabelled(7, squeezed=0.8, count=2000)
    shop.due(14)
    shop.champion(2, day=14)
    shop.due(15)
    last = shop.estimated()[-1]
    assert (last.version, last.degraded, last.assumes) == (1, False, "version 2 is the champion now")
    other = make()
    other.classified(0, count=2000)
    other.unlabelled(7, squeezed=0.8, count=2000)
    other.due(14)
    other.desk.apply(project("classification", monitoring={"min_rows": 500}))
    other.due(15)
    last = other.estimated()[-1]
    assert (last.degraded, last.assumes) == (False, "the policy does not name cbpe any more")


# --- attribution -------------------------------------------------------------------------


def trained(shop: Estimating) -> None:
    """Version 1 rests on size while sizes vary, and a little on kind."""
    rows = shop.rows(-7, count=2000)
    truth = (shop.rng.uniform(size=2000) < 1 / (1 + np.exp(-2 * rows.size - 0.8 * (rows.kind == "a")))).astype(np.int8)
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough"), LogisticRegression()
    ).fit(rows.frame, truth)
    times = np.array([t.replace(tzinfo=None) for t in rows.times], dtype="datetime64[us]")
    beside = files(Examples(rows.frame, truth, times, "", ""), [0.5] * 2000, None, "")
    for name, body in {**beside, "model.pkl": pickled(model)}.items():
        shop.desk.blobs.put("artifacts", KEY + name, body)
    shop.desk.blobs.put("artifacts", KEY + "MLmodel", mlmodel("r", inputs=("size", "kind"), training_id="t"))
    made(shop)


def made(shop: Estimating) -> None:
    event = ModelVersionCreated(model=MODEL, version=1, source="s", artifact_key=KEY, features=("size", "kind"))
    delivery = shop.desk.delivery(event, f"WS#default#MODEL#{MODEL}")
    performance.follow_version(delivery, shop.desk.call(), tables=shop.desk.tables)


def test_a_model_that_rests_on_another_feature_than_in_training_is_told() -> None:
    shop = make(estimators=[], min_rows=700)
    trained(shop)
    usual, narrow = shop.rows(0), shop.rows(7)
    narrow.size = narrow.size * 0.02
    for week, rows in enumerate((usual, narrow), 1):
        shop.answer(rows, [0.5] * rows.count)
        shop.due(7 * week)
        assert len(shop.desk.events(AttributionDrifted, MODEL, "PERFORMANCE")) == week - 1
    (event,) = shop.desk.events(AttributionDrifted, MODEL, "PERFORMANCE")
    assert event.ndcg < event.floor == 0.9
    assert event.features[0].startswith(("size: ", "kind: "))
    assert [round(one["attribution"]["ndcg"], 2) for one in shop.shown()] == [round(event.ndcg, 2), 1.0]


def test_a_model_that_cannot_be_asked_is_no_drift_but_said() -> None:
    shop = make(estimators=[])
    made(shop)
    rows = shop.rows(0)
    shop.answer(rows, [0.5] * rows.count)
    shop.due(7)
    assert shop.shown()[0]["attribution"]["text"] == "beside version 1 lies no sample.parquet of its training"

    def broken(name: str, artifact: Artifact) -> estimating.Scores:
        raise Unavailable(f"{name} does not load")

    trained(shop)
    later = shop.rows(7)
    shop.answer(later, [0.5] * later.count)
    shop.due(14, broken)
    assert shop.shown()[0]["attribution"]["text"] == f"{MODEL} v1 does not load"

    def unknown(name: str, artifact: Artifact) -> estimating.Scores:
        raise PluginError(f"the wheel of {name} is not what its key says")

    newest = shop.rows(14)
    shop.answer(newest, [0.5] * newest.count)
    shop.due(21, unknown)
    assert shop.shown()[0]["attribution"]["text"].startswith(f"the wheel of {MODEL} v1")


def test_shapley_values_of_a_sum_are_those_of_its_parts() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(size=500), "c": rng.normal(size=500)})
    found = attribution(lambda rows: (3 * rows["a"] + rows["b"]).tolist(), frame, 0)
    assert found[2] == 0
    assert found[0] == pytest.approx(3 * found[1], rel=0.15)
    # of a standard normal the mean size of x minus the mean of four others
    assert found[1] == pytest.approx(np.sqrt(2 / np.pi * (1 + 1 / 4)), rel=0.1)


def test_the_agreement_of_two_orders_is_that_of_their_gains() -> None:
    then = np.array([0.5, 0.3, 0.2])
    assert ndcg(then, np.array([9.0, 8.0, 7.0])) == 1.0
    swapped = 0.3 + 0.5 / np.log2(3) + 0.2 / 2
    assert ndcg(then, np.array([8.0, 9.0, 7.0])) == pytest.approx(swapped / (0.5 + 0.3 / np.log2(3) + 0.2 / 2))
    assert ndcg(np.zeros(3), then) == 1.0


def test_logs_without_features_have_no_attribution() -> None:
    shop = make(estimators=[])
    made(shop)
    rows = shop.unlabelled(0)
    for listed in list(shop.desk.blobs.list("lake", f"predictions/default/{MODEL}/")):
        table = pq.read_table(io.BytesIO(shop.desk.blobs.get("lake", listed.key).body))
        plain = table.drop_columns(["feature_size", "feature_kind"])
        shop.desk.blobs.put("lake", listed.key, parquet_bytes(plain))
    shop.due(7)
    assert rows.count == 700
    assert [one["attribution"] for one in shop.shown()] == [None]
