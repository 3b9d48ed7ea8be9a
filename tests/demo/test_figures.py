"""What the predictions table says, checked against plain computations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from demo.made import WEEKS, predictions
from modelwright.demo.figures import Figures, cover, measure, measure_week
from modelwright.errors import InvalidInput

TABLE = predictions(200)
IDS = sorted(TABLE["flight_id"].unique())


@pytest.fixture(scope="module")
def measured() -> Figures:
    return measure(pa.Table.from_pandas(TABLE), IDS)


def _known(route: Sequence[str] | None = None) -> pd.DataFrame:
    chosen = TABLE["route"].isin(route) if route else TABLE["version"] == 1
    return TABLE[TABLE["label"].notna() & chosen]


def test_static_is_version_1_whatever_its_route(measured: Figures) -> None:
    rows = _known()
    assert measured.static.auc == pytest.approx(roc_auc_score(rows["label"], rows["score"]), abs=1e-12)
    assert measured.static.brier == pytest.approx(brier_score_loss(rows["label"], rows["score"]), abs=1e-12)


def test_the_loop_is_the_row_that_answered(measured: Figures) -> None:
    rows = _known(("champion", "canary"))
    assert measured.loop.auc == pytest.approx(roc_auc_score(rows["label"], rows["score"]), abs=1e-12)
    assert measured.loop.brier == pytest.approx(brier_score_loss(rows["label"], rows["score"]), abs=1e-12)


def test_no_information_is_the_spread_of_the_same_labels(measured: Figures) -> None:
    assert measured.no_information_brier == pytest.approx(_known()["label"].var(ddof=0))


def test_the_interval_is_around_the_difference_and_of_whole_weeks(measured: Figures) -> None:
    found = measured.difference
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(measured.loop.auc - measured.static.auc, abs=1e-12)
    assert measured.resampled == "weeks"


def test_few_weeks_are_resampled_by_days() -> None:
    few = TABLE[TABLE["week"] <= 6]
    assert measure(few, few["flight_id"].unique()).resampled == "days"


def test_weeks_name_who_answered(measured: Figures) -> None:
    fifth, seventh = measured.weeks[4], measured.weeks[6]
    assert (fifth.champion, fifth.canary, round(fifth.canary_share, -1)) == (1, 2, 10)
    assert (seventh.champion, seventh.canary, seventh.canary_share) == (2, None, 0)
    assert len(measured.weeks) == len(WEEKS)
    assert measured.weeks[0].static == measured.weeks[0].loop


def test_a_week_alone_is_the_same_week(measured: Figures) -> None:
    assert measure_week(TABLE, 12) == measured.weeks[11]
    with pytest.raises(InvalidInput, match="week 99"):
        measure_week(TABLE, 99)


def test_a_week_without_labels_has_no_figures() -> None:
    row = measure_week(TABLE[TABLE["week"] == 3].assign(label=np.nan), 3)
    assert (row.flights, row.labelled, row.late_share, row.loop, row.loop_brier) == (200, 0, None, None, None)


def test_every_flight_exactly_once_has_no_fault() -> None:
    coverage = cover(TABLE, IDS)
    assert coverage.expected == coverage.predicted == len(IDS)
    assert coverage.labelled == _known()["flight_id"].nunique()
    assert coverage.faults == ()


def test_what_is_wrong_is_named() -> None:
    first, second, third, fourth = IDS[:4]
    answers = TABLE["route"] != "shadow"
    broken = TABLE[(TABLE["flight_id"] != first)]
    broken = broken[~((broken["flight_id"] == third) & (broken["version"] == 1))]
    again = TABLE[answers & (TABLE["flight_id"] == second)].assign(version=77)
    coverage = cover(pd.concat([broken, again]), [name for name in IDS if name != fourth])
    assert (coverage.missing, coverage.duplicates, coverage.unexpected) == ((first, third), (second,), (fourth,))
    assert coverage.predicted == coverage.expected - 3
    assert f"2 flights were not predicted: {first}, {third}" in coverage.faults


def test_a_flight_scored_twice_by_a_shadow_is_named_too() -> None:
    shadow = TABLE[TABLE["route"] == "shadow"].head(1)
    coverage = cover(pd.concat([TABLE, shadow]), IDS)
    assert coverage.duplicates == tuple(shadow["flight_id"])


def test_flights_without_the_first_versions_score_are_named() -> None:
    late = IDS[-1]
    coverage = cover(TABLE[~((TABLE["flight_id"] == late) & (TABLE["version"] == 1))], IDS)
    assert coverage.without_static == (late,)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="route"):
        measure(TABLE.drop(columns="route"), IDS)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    shuffled = TABLE.sample(frac=1, random_state=seed)
    assert cover(shuffled, IDS) == cover(TABLE, IDS)
    ours, theirs = measure_week(shuffled, 20), measure_week(TABLE, 20)
    assert ours.loop_brier == pytest.approx(theirs.loop_brier)
    assert (ours.champion, ours.canary, ours.flights) == (theirs.champion, theirs.canary, theirs.flights)
