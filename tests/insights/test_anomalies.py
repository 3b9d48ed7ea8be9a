"""Figures that leave the band that their own past makes likely."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright import taskmetrics
from modelwright.adapters.cloudwatch import FunctionMetrics, count_alert
from modelwright.adapters.memory import MemoryTables
from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import AnomalyDetected, AnomalyEnded, Estimate, Performance, PerformanceMeasured, Window
from modelwright.insights.anomalies import FEWEST, KEPT, Figure, OfSeries, band, load, show, take, watch
from modelwright.insights.measured import FLOORS, MOST_METRICS, figures_of
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
        call = Call("default", "platform", start + len(figures) * step, "c")
        happened, writes = take(call, figures, tables=self.tables)
        self.tables.write(writes)
        return [one.event for one in happened]


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


def test_a_time_that_has_not_come_is_no_figures_and_one_that_is_kept_hides_none_that_follows() -> None:
    past = Past()
    past.take([0.8] * 12, step=WEEK)
    far = Figure(series="s", at=datetime(2099, 1, 1, tzinfo=UTC), value=0.8)
    now = Call("default", "platform", START + 12 * WEEK, "c")
    assert take(now, [far], tables=past.tables) == ([], [])
    then = Call("default", "platform", far.at, "c")
    past.tables.write(take(then, [far], tables=past.tables)[1])
    (found,) = past.take([0.1], START + 12 * WEEK, WEEK)
    assert isinstance(found, AnomalyDetected)


# --- which figures -----------------------------------------------------------------------


def of_window(names: Iterable[str], value: float = 0.1) -> dict[str, float]:
    """What is followed of a window in which a version had such figures."""
    metrics = {name: Estimate(value=value, low=0, high=1) for name in names}
    few = Performance(version=2, rows=5, positives=1, mean_score=0.2, metrics={"other": metrics[next(iter(metrics))]})
    many = Performance(version=1, rows=500, positives=90, mean_score=0.2, metrics=metrics)
    measured = PerformanceMeasured(
        model="m", window=Window(start=START, end=START + WEEK), labels_key="k", labels=1000, joined=505,
        performances=(few, many), comparisons=(), canary_comparisons=(),
    )  # fmt: skip
    return {figure.series.removeprefix("model/m/"): figure.value for figure in figures_of(measured, START)}


def test_every_figure_of_every_task_is_followed_of_the_version_with_most_rows() -> None:
    rng = np.random.default_rng(6)
    labels, scores = rng.uniform(size=80) < 0.5, rng.uniform(size=80)
    tasks = (
        taskmetrics.classification(labels, scores),
        taskmetrics.regression(scores + 1, scores),
        taskmetrics.forecasting(scores + 1, scores, naive=1.0),
        taskmetrics.ranking(labels, scores, np.arange(80) // 8),
    )
    for figures in tasks:
        assert of_window(figures) == {**dict.fromkeys(figures, 0.1), "joined_share": 0.505}
        assert set(figures) <= set(FLOORS), "each has its floor"


def test_so_many_figures_of_a_window_are_followed_at_most() -> None:
    followed = of_window(f"mine_{place:02}" for place in range(100))
    assert len(followed) == MOST_METRICS + 1


# --- the platform itself -----------------------------------------------------------------


class Counters:
    """CloudWatch: errors by the minute, which it tells by the hour as far as they are known."""

    def __init__(self) -> None:
        self.minutes: dict[datetime, float] = {}
        self.asked: list[tuple[datetime, datetime]] = []

    def figures(self, since: datetime, until: datetime) -> list[Figure]:
        """See ``PlatformMetrics``."""
        self.asked.append((since, until))
        hours = [since.replace(minute=0) + place * HOUR for place in range(int((until - since) / HOUR) + 1)]
        sums = {
            hour: sum(count for at, count in self.minutes.items() if hour <= at < min(hour + HOUR, until))
            for hour in hours
            if since <= hour < until
        }
        return [Figure(series="function/predict/errors", at=at, value=v, floor=3.0) for at, v in sums.items()]


def test_what_happens_after_the_look_of_a_day_is_seen_by_the_next_one() -> None:
    tables, counters = MemoryTables(), Counters()
    first = START + timedelta(hours=3, minutes=5)
    counters.minutes[first + timedelta(days=35, minutes=15)] = 5000
    for day in range(37):
        now = first + timedelta(days=day)
        watch(Call("default", "platform", now, "c"), counters, tables=tables, log=Log(tables))
    series = load(tables, "default", "function/predict/errors")
    kept = {datetime.fromtimestamp(when, UTC): value for when, value in series.points}
    assert kept[START + timedelta(days=35, hours=3)] == 5000
    (found,) = [item.envelope.data for item in Log(tables).hour(datetime.now(UTC)) if "Detected" in item.envelope.type]
    assert found["value"] == 5000
    assert len(kept) == 37 * 24, "no hour is missing, and none is twice"


def test_a_look_that_did_not_come_for_days_is_made_up_for_within_bounds() -> None:
    tables, counters = MemoryTables(), Counters()
    for day in (0, 3, 60):
        call = Call("default", "platform", START + timedelta(days=day), "c")
        watch(call, counters, tables=tables, log=Log(tables))
    (_, one), (two, three), (four, five) = counters.asked
    assert (two, three - two) == (one, timedelta(days=3))
    assert five - four == timedelta(days=14)
    assert watch(call, counters, tables=tables, log=Log(tables)) == 0
    assert len(counters.asked) == 3, "the same hour costs no second question"


def test_the_platforms_own_figures_come_from_one_search_each() -> None:
    client = boto3.client("cloudwatch", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    results = [
        {"Id": "m0", "Label": "stack-PredictFunction-1A2B", "Timestamps": [START], "Values": [7.0]},
        {"Id": "m1", "Label": "other-PredictFunction-1A2B", "Timestamps": [START], "Values": [9.0]},
    ]
    tables = MemoryTables()
    call = Call("default", "platform", START + 2 * HOUR, "c")
    with Stubber(client) as stub:
        stub.add_response("get_metric_data", {"MetricDataResults": results})
        assert watch(call, FunctionMetrics("stack", client), tables=tables, log=Log(tables)) == 1
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
