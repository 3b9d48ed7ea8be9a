import numpy as np
import pytest

from modelwright.monitoring.profiles import Reference
from modelwright.monitoring.verdict.sensitivity import MOST_ROWS, SHARES, SHIFTS, Plan, plan
from modelwright.project import DriftPolicy
from monitoring.verdict.windows import USED, drawn, moved, profile, reference, source_of, verdict


def planned(rows: int, usual: Reference | None = None, policy: DriftPolicy | None = None) -> Plan:
    return plan("rows", source_of(policy), usual or reference(), USED, rows)


@pytest.fixture(scope="module")
def small() -> Plan:
    return planned(150)


@pytest.fixture(scope="module")
def large() -> Plan:
    return planned(2_000)


def test_a_plan_says_how_often_it_would_cry_wolf(small: Plan) -> None:
    assert small.windows == 300
    assert small.false_alarms.low <= 0.05
    assert small.after_agreement.value <= small.false_alarms.value
    assert (small.reference, small.reference_rows, small.rows) == ("8 uploads", 4_000, 150)
    assert planned(150) == small, "the same plan comes again"


def test_more_rows_find_smaller_shifts_down_to_the_floor(small: Plan, large: Plan) -> None:
    assert small.mean is not None
    assert large.mean is not None
    assert large.mean < small.mean
    by_name = {one.column: one for one in large.columns}
    assert by_name["x"].mean in (0.15, 0.2)  # a floor of .06 is a shift of .15
    assert by_name["x"].missing == pytest.approx(0.07, abs=0.021)  # a floor of .05
    assert by_name["word"].unseen in SHARES
    assert (by_name["word"].mean, by_name["x"].category) == (None, None)


def test_what_a_plan_promises_is_found(small: Plan) -> None:
    """The shift that is found in 80 % of windows is found in about as many when windows are judged."""
    shift = next(one.mean for one in small.columns if one.column == "x")
    assert shift in SHIFTS
    policy, usual = DriftPolicy(windows=1, agreeing=1), reference()
    found = [verdict(profile(drawn(n, 150, shift=shift)), usual, policy) for n in range(40)]
    assert np.mean([bool({("x", "ks"), ("x", "range")} & moved(one)) for one in found]) >= 0.6


def test_restless_references_and_high_floors_make_plans_blind() -> None:
    restless = Reference(tuple(profile(drawn(n, shift=1.5 * (-1) ** n), n) for n in range(6)))
    shift = next(one.mean for one in planned(500, restless).columns if one.column == "x")
    assert shift is None or shift >= 1
    blind = planned(500, policy=DriftPolicy(floors=dict.fromkeys(("ks", "range", "missing"), 0.99)))
    assert (blind.columns[0].column, blind.mean, blind.missing) == ("word", None, None)


def test_what_a_plan_cannot_know_it_says() -> None:
    one = Reference((profile({"x": drawn(1)["x"]}),))
    assert planned(50, one).notes == ("windows of less than 100 rows have no verdict (min_rows)",)
    assert planned(1_000_000, one).notes == (f"planned as {MOST_ROWS} rows: more find nothing smaller",)
