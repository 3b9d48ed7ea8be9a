"""A quick look at what ``bench.power`` measures in full."""

import pytest
from bench import power
from scipy import stats


@pytest.mark.parametrize("rows", [50, 200])
def test_without_drift_few_windows_alarm(rows: int) -> None:
    """Of 300 windows that alarm with chance 5 % more than this alarm once in 10,000 times."""
    most = int(stats.binom.isf(1e-4, 300, 0.05))
    (found,) = power.study([rows], 300, 0, references=30, beside=False, jobs=1)
    assert found.alarms <= most
    assert most == 31


def test_what_is_above_the_floors_is_found_and_what_is_below_is_left_alone() -> None:
    (found,) = power.study([1_000], 20, 20, seed=7, jobs=1)
    shares = {shift.text: count / found.shifted for shift, count in zip(power.SHIFTS, found.found, strict=True)}
    alone = {s.text: count / found.shifted for s, count in zip(power.SHIFTS, found.found_alone[0], strict=True)}
    for shift in power.SHIFTS:
        assert (shares[shift.text] >= 0.9) == shift.above, shift.text
    assert alone["missing 5 % to 15 %"] == 0, "what is missing is seen by no distance of what is there"
    assert power.table([found]).count("\n") == 17
