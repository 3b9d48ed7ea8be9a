"""Figures that leave the band that their own past makes likely."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.cloudwatch import FunctionMetrics, count_alert
from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import AnomalyDetected, AnomalyEnded, Estimate, Performance, PerformanceMeasured, Window
from modelwright.insights.anomalies import FEWEST, KEPT, Figure, OfSeries, band, figures_of, load, show, take, watch
from modelwright.log import Log

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(weeks=1)


class Past:
    """A series over memory."""

    def __init__(self, floor: float = 0.0) -> None:
        self.tables, self.floor = MemoryTables(), floor
        self.events: list[Any] = []

    def take(self, values: Any, start: datetime = START, step: timedelta = HOUR) -> list[Any]:
        figures = [
            Figure(series="s", at=start + place * step, value=float(value), floor=self.floor)
            for place, value in enumerate(values)
        ]
        happened, writes = take(self.call, figures, tables=self.tables)
        self.tables.write(writes)
        return [one.event for one in happened]

    @property
    def call(self) -> Call:
        return Call("default", "platform", START + WEEK, "c")


def test_a_figure_outside_opens_and_the_next_inside_ends() -> None:
    rng = np.random.default_rng(1)
    past = Past()
    assert past.take(rng.normal(100, 2, 96)) == []
    opened, ended = past.take([160, 170, 101], START + 96 * HOUR)
    assert isinstance(opened, AnomalyDetected)
    assert (opened.value, opened.high < 160) == (160, True)
    assert "s is 160" in opened.text
    assert isinstance(ended, AnomalyEnded)


def test_a_season_is_no_anomaly_and_its_absence_is_one() -> None:
    rng = np.random.default_rng(2)
    nights = [20 if place % 24 < 6 else 100 for place in range(24 * 28)]
    past = Past()
    assert past.take(np.array(nights) + rng.normal(0, 1, len(nights))) == []
    (found,) = past.take([100], START + 24 * 28 * HOUR)
    assert "hour of the" in found.text


def test_too_little_is_known_to_say_anything() -> None:
    assert Past().take([1.0] * (FEWEST - 1) + [1e9], step=WEEK) == []
    assert Past().take([1.0] * (24 * 3) + [1e9]) == [], "hours of three days have no season yet"
    assert len(Past().take([1.0] * FEWEST + [1e9], step=WEEK)) == 1


def test_a_series_that_stood_still_does_not_alarm_at_the_first_breath() -> None:
    assert Past().take([100.0] * 30 + [101.9], step=WEEK) == []
    assert Past(floor=5.0).take([0.0] * 30 + [4.0], step=WEEK) == []
    assert len(Past().take([100.0] * 30 + [103.0], step=WEEK)) == 1


def test_one_outlier_of_the_past_does_not_widen_the_band() -> None:
    rng = np.random.default_rng(3)
    points = [(int((START + place * WEEK).timestamp()), float(v)) for place, v in enumerate(rng.normal(10, 1, 60))]
    at = START + 60 * WEEK
    clean, dirty = band(points, at), band([(points[0][0], 1e9), *points[1:]], at)
    assert clean is not None
    assert dirty is not None
    assert abs(dirty.high - clean.high) < 1.0


def test_what_stays_becomes_usual() -> None:
    rng = np.random.default_rng(4)
    past = Past()
    past.take(rng.normal(10, 1, 40), step=WEEK)
    events = past.take(rng.normal(30, 1, 200), START + 40 * WEEK, WEEK)
    assert isinstance(events[0], AnomalyDetected)
    assert isinstance(events[-1], AnomalyEnded)


def test_the_same_figures_again_and_older_ones_change_nothing() -> None:
    past = Past()
    past.take([1.0] * 20)
    before = load(past.tables, "default", "s")
    assert past.take([9.0] * 20) == []
    assert load(past.tables, "default", "s").points == before.points


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=FEWEST, max_size=60), st.floats(0, 10))
def test_a_band_holds_the_median_and_is_as_wide_as_its_floor(values: list[float], floor: float) -> None:
    points = [(place * 604_800, value) for place, value in enumerate(values)]
    found = band(points, datetime.fromtimestamp(len(values) * 604_800, UTC), floor)
    assert found is not None
    assert found.low <= found.high
    assert found.high - found.low >= 2 * floor * (1 - 1e-9) - 1e-6


def test_quiet_series_are_seldom_called_strange() -> None:
    rng = np.random.default_rng(5)
    alarms = sum(len(Past().take(rng.normal(0, 1, 300), step=step)) for step in (HOUR, WEEK) for _ in range(5))
    assert alarms <= 6, "openings and endings, in 3,000 figures"


def test_a_series_keeps_so_many_figures_at_most() -> None:
    past = Past()
    past.take(np.ones(KEPT + 50))
    assert len(load(past.tables, "default", "s").points) == KEPT


def test_figures_of_a_window_are_of_the_version_with_most_rows() -> None:
    brier, auc = Estimate(value=0.1, low=0, high=1), Estimate(value=0.8, low=0, high=1)
    few = Performance(version=2, rows=5, positives=1, mean_score=0.2, brier=brier)
    many = Performance(version=1, rows=500, positives=90, mean_score=0.2, brier=brier, auc=auc)
    measured = PerformanceMeasured(
        model="m", window=Window(start=START, end=START + WEEK), labels_key="k", labels=1000, joined=505,
        performances=(few, many), comparisons=(), canary_comparisons=(),
    )  # fmt: skip
    told = {figure.series: figure.value for figure in figures_of(measured, START)}
    assert told == {"model/m/auc": 0.8, "model/m/brier": 0.1, "model/m/joined_share": 0.505}


def test_the_platforms_own_figures_come_from_one_search_each() -> None:
    client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    results = [
        {"Id": "m0", "Label": "stack-PredictFunction-1A2B", "Timestamps": [START], "Values": [7.0]},
        {"Id": "m1", "Label": "other-PredictFunction-1A2B", "Timestamps": [START], "Values": [9.0]},
    ]
    tables = MemoryTables()
    call = Call("default", "platform", START + HOUR, "c")
    with Stubber(client) as stub:
        stub.add_response("get_metric_data", {"MetricDataResults": results})
        assert watch(call, FunctionMetrics("stack", client), START, tables=tables, log=Log(tables)) == 1
    shown = show(call, OfSeries(), tables=tables)["series"]
    assert [(one["name"], one["value"]) for one in shown] == [("function/predict/errors", 7.0)]
    assert len(show(call, OfSeries(name="function/predict/errors"), tables=tables)["points"]) == 1
    with pytest.raises(NotFound, match="no series x"):
        show(call, OfSeries(name="x"), tables=tables)


def test_a_roll_up_is_one_metric_per_severity() -> None:
    lines: list[str] = []
    count_alert("critical", write=lines.append)
    assert '"severity": "critical"' in lines[0]
    assert '"Name": "Alerts"' in lines[0]
