"""Figures by task, segment and group, from the log of answers and labels that land."""

import io
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    ndcg_score,
    r2_score,
    root_mean_squared_error,
)

from modelwright.events import FairnessBroken, FairnessRestored, PerformanceDegraded
from modelwright.monitoring import performance
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from monitoring.performance.stage import MODEL, START, Shop, project


def fairness(**more: object) -> dict[str, object]:
    return {"fairness": [{"group": "shop", "metric": "demographic_parity", **more}]}


def test_numbers_are_measured_as_numbers() -> None:
    shop = Shop(project())
    rows = shop.rows(0)
    said, truth = 3 * rows.size, 3 * rows.size + shop.rng.normal(0.2, 1, rows.count)
    shop.answer(rows, [float(s) for s in said])
    (found,) = shop.label(rows, [float(y) for y in truth]).performances
    assert (found.auc, found.brier, found.positives, found.calibration) == (None, None, 0, ())
    figures = {name: one.value for name, one in found.metrics.items()}
    assert figures == pytest.approx(
        {
            "mae": mean_absolute_error(truth, said),
            "rmse": root_mean_squared_error(truth, said),
            "r2": r2_score(truth, said),
            "mape": mean_absolute_percentage_error(truth, said),
            "bias": float(np.mean(said - truth)),
        }
    )
    assert all(one.low < one.value < one.high for one in found.metrics.values())
    assert found.metrics["bias"].high < 0


def test_two_versions_of_numbers_are_compared_once_earlier_labels_tell_the_unit() -> None:
    shop = Shop(project())
    for week, compared in ((0, False), (7, True)):
        rows = shop.rows(week)
        shop.answer(rows, [float(s) for s in 3 * rows.size])
        shop.answer(rows, [float(s) for s in 3 * rows.size + 2], version=2, role="shadow")
        labels = 3 * rows.size + shop.rng.normal(0, 1, rows.count)
        labels[0] = 1e9  # one label that is out of all bounds decides nothing
        measured = shop.label(rows, [float(y) for y in labels])
        assert bool(measured.comparisons) is compared
    (pair,) = measured.comparisons
    assert (pair.challenger, pair.champion, pair.rows) == (2, 1, 700)
    assert 0 < pair.total < 700
    assert pair.squares <= 700


def test_lists_are_measured_as_orders() -> None:
    shop = Shop(project("ranking"))
    rows = shop.rows(0, count=300)
    rows.shops = [f"list {n // 10}" for n in range(300)]
    relevance = shop.rng.integers(0, 4, 300).astype(float)
    relevance[:10] = 0
    said = relevance + shop.rng.normal(0, 1, 300)
    shop.answer(rows, [float(s) for s in said])
    (found,) = shop.label(rows, [float(y) for y in relevance]).performances
    lists = [slice(n, n + 10) for n in range(10, 300, 10)]
    expected = np.mean([ndcg_score([relevance[one]], [said[one]], k=10) for one in lists])
    assert found.metrics["ndcg@10"].value == pytest.approx(expected)
    assert set(found.metrics) == {"ndcg@10", "map", "mrr"}


def test_forecasts_are_measured_against_the_naive_one() -> None:
    shop = Shop(project("forecasting", season=7))
    rows = shop.rows(0, days=28, count=28)
    rows.times = [START + timedelta(days=n) for n in range(28)]
    week = np.tile([5.0, 6, 7, 6, 5, 9, 10], 4) + np.repeat([0.0, 1, 2, 3], 7)
    shop.answer(rows, [float(s) for s in week + 0.5])
    (found,) = shop.label(rows, [float(y) for y in week]).performances
    assert found.metrics["mase"].value == pytest.approx(0.5)
    assert set(found.metrics) == {"mae", "rmse", "bias", "smape", "mase"}


def test_classes_have_a_curve_and_all_their_figures() -> None:
    shop = Shop(project("classification"))
    (found,) = shop.classified(0).performances
    assert found.auc == found.metrics["auc"]
    assert found.brier == found.metrics["brier"]
    assert {"log_loss", "accuracy", "precision", "recall", "f1", "average_precision", "ece"} <= set(found.metrics)
    assert sum(point.rows for point in found.calibration) == 700
    assert [p.score for p in found.calibration] == sorted(p.score for p in found.calibration)
    assert all(abs(p.score - p.rate) < 0.25 for p in found.calibration)


def test_segments_have_figures_of_their_own_where_they_have_enough_rows() -> None:
    shop = Shop(project("classification", monitoring={"segments": ["shop", "size > 0", "sale"]}))
    measured = shop.classified(0)
    found = {one.segment: one for one in measured.segments}
    assert set(found) == {"shop = north", "shop = south", "shop = east", "size > 0 = true", "size > 0 = false"}
    assert sum(one.rows for name, one in found.items() if name.startswith("shop")) == 700
    positive = found["size > 0 = true"]
    assert positive.mean_score > measured.performances[0].mean_score
    assert positive.metrics["brier"] == positive.brier


def test_logs_of_before_rows_were_kept_are_still_joined() -> None:
    shop = Shop(project("classification", monitoring={"segments": ["shop"]}))
    rows = shop.rows(0)
    shop.answer(rows, [0.5] * rows.count)
    old = ("prediction_id", "as_of", "version", "role", "score", "request_id", "mode", "asked_at")
    for listed in list(shop.desk.blobs.list("lake", f"predictions/default/{MODEL}/")):
        table = pq.read_table(io.BytesIO(shop.desk.blobs.get("lake", listed.key).body)).select(list(old))
        shop.desk.blobs.put("lake", listed.key, parquet_bytes(table))
    measured = shop.label(rows, [1.0] * rows.count)
    assert (measured.joined, measured.segments) == (700, ())


def test_labelled_files_of_small_integers_are_still_read() -> None:
    shop = Shop(project("classification"))
    shop.champion()
    for week in range(3):
        key = shop.classified(7 * week).labelled_key
        table = parquet_table(shop.desk.blobs.get("lake", key).body)
        assert table.schema.field("label").type == pa.float64()
        place = table.column_names.index("label")
        small = table.set_column(place, "label", table.column("label").cast(pa.int8()))
        shop.desk.blobs.put("lake", key, parquet_bytes(small))
    shop.classified(21, lying=1.0)
    (event,) = shop.desk.events(PerformanceDegraded, MODEL, "PERFORMANCE")
    assert event.metric == "auc"


def test_numbers_degrade_when_the_error_rises_and_not_when_it_stays() -> None:
    shop = Shop(project())
    shop.champion()
    for week in range(5):
        shop.valued(7 * week)
    assert shop.desk.events(PerformanceDegraded, MODEL, "PERFORMANCE") == []
    shop.valued(35, noise=1.4)
    (event,) = shop.desk.events(PerformanceDegraded, MODEL, "PERFORMANCE")
    assert event.metric == "mae"
    assert event.value.low > event.reference


def test_orders_degrade_when_they_get_worse() -> None:
    shop = Shop(project("ranking"))
    shop.champion()
    for week, noise in enumerate((0.5, 0.5, 0.5, 5.0)):
        rows = shop.rows(7 * week, count=700)
        rows.shops = [f"list {week} {n // 10}" for n in range(700)]
        relevance = shop.rng.integers(0, 4, 700).astype(float)
        shop.answer(rows, [float(s) for s in relevance + shop.rng.normal(0, noise, 700)])
        shop.label(rows, [float(y) for y in relevance])
        degraded = shop.desk.events(PerformanceDegraded, MODEL, "PERFORMANCE")
        assert len(degraded) == (week == 3)
    assert degraded[0].metric == "1 - ndcg@10"


def test_fairness_is_broken_once_and_restored_once() -> None:
    shop = Shop(project("classification", monitoring=fairness(min_rows=100)))
    shop.champion()
    for week, extra in enumerate((0.0, 0.6, 0.6, 0.0)):
        shop.classified(7 * week, shop="south", extra=extra, count=1500)
    broken = shop.desk.events(FairnessBroken, MODEL, "PERFORMANCE")
    restored = shop.desk.events(FairnessRestored, MODEL, "PERFORMANCE")
    assert [(one.best, one.metric) for one in broken] == [("south", "demographic_parity")]
    assert broken[0].difference.low > broken[0].tolerance
    assert "rate of positive answers" in broken[0].reason
    assert [(one.group, one.metric) for one in restored] == [("shop", "demographic_parity")]
    assert performance.history(shop.desk.call(), MODEL, tables=shop.desk.tables)["unfair"] == []


def test_small_groups_break_no_fairness() -> None:
    shop = Shop(project("classification", monitoring=fairness(min_rows=1000)))
    shop.champion()
    shop.classified(0, shop="south", extra=0.6, count=1500)
    assert shop.desk.events(FairnessBroken, MODEL, "PERFORMANCE") == []


@pytest.mark.parametrize(
    ("task", "monitoring", "said"),
    [
        ("regression", fairness(), "fairness"),
        ("regression", {"estimators": ["cbpe"]}, "cbpe"),
        ("ranking", {"estimators": ["dle"]}, "ranking"),
        ("classification", {"segments": ["colour"]}, "colour"),
        ("classification", {"segments": ["size >"]}, "size >"),
        ("classification", {"fairness": [{"group": "colour"}]}, "colour"),
    ],
)
def test_what_cannot_be_measured_is_refused_when_it_is_declared(
    task: str, monitoring: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        project(task, monitoring=monitoring)


def test_forecasts_of_one_season_a_file_are_measured_against_the_season_before() -> None:
    shop = Shop(project("forecasting", season=24))
    for day in range(3):
        rows = shop.rows(day, days=1, count=24)
        rows.times = [START + timedelta(days=day, hours=hour) for hour in range(24)]
        truth = np.sin(np.arange(24)) + 2.0 * day
        shop.answer(rows, [float(s) for s in truth + 0.5])
        (found,) = shop.label(rows, [float(y) for y in truth]).performances
        assert ("mase" in found.metrics) is (day > 0)
    assert found.metrics["mase"].value == pytest.approx(0.25)


def test_another_champion_that_is_unfair_too_is_told_anew_and_what_nobody_asks_any_more_ends() -> None:
    shop = Shop(project("classification", monitoring=fairness()))
    shop.champion()
    shop.classified(0, shop="south", extra=0.6, count=1500)
    shop.champion(2, day=7)
    rows = shop.rows(7, count=1500)
    truth = 1 / (1 + np.exp(-2 * rows.size))
    said = np.clip(truth + np.where(np.array(rows.shops) == "south", 0.6, 0.0), 0, 1)
    shop.answer(rows, [float(s) for s in said], version=2)
    shop.label(rows, [float(shop.rng.uniform() < p) for p in truth])
    broken = shop.desk.events(FairnessBroken, MODEL, "PERFORMANCE")
    restored = shop.desk.events(FairnessRestored, MODEL, "PERFORMANCE")
    assert [one.version for one in broken] == [1, 2]
    assert [(one.version, one.reason) for one in restored] == [(1, "version 2 is the champion now")]
    shop.desk.apply(project("classification"))
    shop.classified(14, count=1500)
    (_, last) = shop.desk.events(FairnessRestored, MODEL, "PERFORMANCE")
    assert (last.version, last.reason) == (2, "the policy does not compare it any more")
    assert performance.history(shop.desk.call(), MODEL, tables=shop.desk.tables)["unfair"] == []
