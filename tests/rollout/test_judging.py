"""The judges, from sums alone."""

import math
import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.project import RolloutPolicy
from modelwright.rollout.judging import (
    BETS,
    FixedSample,
    Judge,
    PairedConfidenceSequence,
    Sums,
    log_evidence,
    lower_bound,
)

POLICY = RolloutPolicy(min_rows=200, alpha=0.05, margin=0.005)
differences = st.lists(st.floats(-1, 1), min_size=1, max_size=200)


def sums(values: list[float]) -> Sums:
    return Sums(len(values), math.fsum(values), math.fsum(v * v for v in values))


def exact_log_capital(values: list[float], margin: float) -> float:
    logs = [math.fsum(math.log1p(bet / (1 + margin) * (v - margin)) for v in values) for bet in BETS]
    return max(logs) + math.log(sum(math.exp(x - max(logs)) for x in logs) / len(logs))


@given(differences, st.sampled_from([0.0, 0.005, 0.1]))
def test_sums_never_claim_more_evidence_than_the_rows_hold(values: list[float], margin: float) -> None:
    assert log_evidence(sums(values), margin) <= exact_log_capital(values, margin) + 1e-9


@given(differences)
def test_the_interval_holds_the_mean_and_harm_is_a_lower_end_above_the_margin(values: list[float]) -> None:
    evidence = sums(values)
    verdict = PairedConfidenceSequence().judge(evidence, step_rows=len(values), looks=2, policy=POLICY)
    assert verdict.judgement.low <= evidence.mean + 1e-9
    assert verdict.judgement.high >= evidence.mean - 1e-9
    if abs(verdict.judgement.low - POLICY.margin) > 1e-6:
        assert (verdict.decision == "harm") == (verdict.judgement.low > POLICY.margin)


@pytest.mark.parametrize("judge", [PairedConfidenceSequence(), FixedSample()])
def test_no_evidence_means_wait(judge: Judge) -> None:
    assert judge.judge(Sums(0, 0.0, 0.0), step_rows=0, looks=2, policy=POLICY).decision == "wait"


@pytest.mark.parametrize("judge", [PairedConfidenceSequence(), FixedSample()])
def test_clear_harm_is_seen_and_clear_gain_passes(judge: Judge) -> None:
    rng = random.Random(1)
    harmful = sums([rng.gauss(0.03, 0.1) for _ in range(3000)])
    assert judge.judge(harmful, step_rows=3000, looks=2, policy=POLICY).decision == "harm"
    assert judge.judge(harmful.mirrored(), step_rows=3000, looks=2, policy=POLICY).decision == "pass"


def test_looking_after_every_batch_seldom_rolls_back_an_equal_challenger() -> None:
    rng = random.Random(2)
    policy, alarms = POLICY.model_copy(update={"margin": 0.0}), 0
    for _ in range(200):
        batches = [[max(-1.0, min(1.0, rng.gauss(0, 0.1))) for _ in range(50)] for _ in range(40)]
        states = accumulate(
            (sums(batch) for batch in batches),
            lambda a, b: Sums(a.rows + b.rows, a.total + b.total, a.squares + b.squares),
        )
        alarms += any(log_evidence(state, policy.margin) >= math.log(1 / policy.alpha) for state in states)
    assert alarms <= 0.05 * 200


def test_the_lower_bound_rises_with_evidence() -> None:
    bounds = [lower_bound(Sums(n, 0.05 * n, 0.02 * n), 0.05) for n in (10, 100, 1000, 10_000)]
    assert bounds == sorted(bounds)
    assert 0.03 < bounds[-1] < 0.05
