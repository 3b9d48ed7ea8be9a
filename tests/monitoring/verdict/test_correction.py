import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.monitoring.verdict import adjusted, benjamini_hochberg, hierarchical
from modelwright.monitoring.verdict.correction import RATES, SHAPE, weights_of

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
RATE = st.sampled_from([0.01, 0.05, 0.1, 0.3])


def test_benjamini_hochberg_steps_up() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5], 0.05) == [True, False, False, False]
    assert benjamini_hochberg([0.01, 0.02, 0.03, 0.5], 0.05) == [True, True, True, False]
    assert benjamini_hochberg([], 0.05) == []


@given(P_VALUES, RATE)
def test_adjusted_p_values_are_below_a_rate_where_benjamini_hochberg_rejects(
    p_values: list[float], rate: float
) -> None:
    rejected = benjamini_hochberg(p_values, rate)
    for p, real in zip(adjusted(p_values), rejected, strict=True):
        assert (p <= rate * (1 + 1e-12)) == real or p == pytest.approx(rate, rel=1e-9)


@given(P_VALUES)
def test_adjusting_never_helps_and_keeps_the_order(p_values: list[float]) -> None:
    found = adjusted(p_values)
    assert (found >= np.array(p_values)).all()
    assert (np.diff(found[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_families_divide_the_rate_and_leave_it_to_others_where_they_are_not_there() -> None:
    assert weights_of([SHAPE, SHAPE, RATES, RATES]).tolist() == pytest.approx([1.6, 1.6, 0.4, 0.4])
    assert weights_of([SHAPE, RATES, RATES, RATES, RATES]).mean() == pytest.approx(1)
    assert weights_of([RATES, RATES]).tolist() == [1, 1]


@given(P_VALUES)
def test_one_group_is_plain_benjamini_hochberg(p_values: list[float]) -> None:
    (found,) = hierarchical([(p_values, [SHAPE] * len(p_values))], [1.0])
    assert found.tolist() == pytest.approx(adjusted(p_values).tolist())


@given(st.lists(P_VALUES, min_size=1, max_size=5), RATE)
def test_only_selected_groups_are_looked_into(groups: list[list[float]], rate: float) -> None:
    """The definition, step by step, at one rate: Simes, selection, and ``R / K`` of the rate within."""
    shares = [1 / len(groups)] * len(groups)
    found = hierarchical([(p, [SHAPE] * len(p)) for p in groups], shares)
    simes = [float(adjusted(p).min()) for p in groups]
    selected = benjamini_hochberg(simes, rate)
    for p_values, chosen, adjusted_ in zip(groups, selected, found, strict=True):
        within = rate * sum(selected) / len(groups)
        wanted = (
            [chosen and real for real in benjamini_hochberg(p_values, within)] if within else [False] * len(p_values)
        )
        for p, real in zip(adjusted_, wanted, strict=True):
            assert (p <= rate) == real or p == pytest.approx(rate, rel=1e-9)


def test_without_drift_all_groups_together_alarm_as_seldom_as_one() -> None:
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(2000):
        groups = [(rng.random(8).tolist(), [SHAPE] * 6 + [RATES] * 2) for _ in range(6)]
        found = hierarchical(groups, [0.5, *[0.1] * 5])
        alarms += any((p <= 0.05).any() for p in found)
    assert alarms <= 135  # of 100 expected; more than that by chance once in 3,000


def test_a_group_without_hypotheses_costs_the_others_nothing() -> None:
    alone = hierarchical([([0.01, 0.2], [SHAPE, SHAPE])], [1.0])[0]
    beside = hierarchical([([0.01, 0.2], [SHAPE, SHAPE]), ([], [])], [0.5, 0.5])[0]
    assert beside.tolist() == alone.tolist()
