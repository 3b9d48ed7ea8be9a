"""Judges of canaries: is the challenger worse than the champion by more than the margin?

A judge is a plugin of the group ``modelwright.judges``: an object with ``judge``. It sees the sums
of all paired differences (Brier loss of the challenger minus that of the champion on the same row,
in [-1, 1]) since the rollout began, is asked again whenever labels arrive, and keeps no state.

The sums are those of a betting test. The capital of a bettor on harm,
``K = prod_i (1 + l (x_i - margin) / (1 + margin))``, is a test martingale if the mean difference is
at most the margin, so it passes ``1 / alpha`` with probability at most ``alpha`` however often one looks
(Ville 1939; Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting",
JRSS-B 86, 2024, sec. 4). With ``z >= -1`` and ``0 <= l < 1``, ``log(1 + l z) >= l z + z^2 (log(1 - l) + l)``
(Fan, Grama & Liu, EJP 20, 2015, lemma 4.1), so a count, a sum and a sum of squares bound the capital from
below: the test stays valid and loses little. A mean over several bets is a martingale too, so there is
nothing to tune.

The bound on alpha **assumes** that, given the rows before it, a row's mean difference is at most the margin.
Rows of one day are not like that: a storm moves all of a day's differences together. A day effect is no mean
difference, but in the sums it looks like one. In simulation, with day effects of the Brier difference of
standard deviation .02, a challenger as good as the champion is rolled back in 19 % of rollouts at margin 0,
not in 5 %. The default margin of .005 pays for that: a day's luck must then be worse than what is tolerated
anyway; the price is that harm below the margin is never seen. Whoever sets a margin of 0 for a model whose
rows move together by day must not read alpha as the rate of false alarms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, Protocol

from modelwright.events import Judgement
from modelwright.project import RolloutPolicy

GROUP = "modelwright.judges"
BETS = tuple(2.0**-k for k in range(1, 9))
"""Fractions of the largest bet that cannot go broke."""

_BISECTIONS = 40
_CLOSEST = 1e-6
_STRIDE = 1.2


@dataclass(frozen=True, slots=True)
class Sums:
    """Paired differences: how many, their sum, and the sum of their squares."""

    rows: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """The mean difference; zero where there is none."""
        return self.total / self.rows if self.rows else 0.0

    def mirrored(self) -> "Sums":
        """Return the sums with challenger and champion exchanged."""
        return Sums(self.rows, -self.total, self.squares)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says, and the evidence for the log.

    Attributes:
        decision: ``harm`` ends the rollout, ``pass`` allows the next step, ``wait`` asks for more labels.
        text: why, for a person.
    """

    decision: Literal["harm", "pass", "wait"]
    judgement: Judgement
    text: str


class Judge(Protocol):
    """Says what evidence means."""

    def judge(self, evidence: Sums, *, step_rows: int, looks: int, policy: RolloutPolicy) -> Verdict:
        """Return the verdict.

        Args:
            evidence: all differences since the rollout began.
            step_rows: how many of them came at the present step.
            looks: how many steps the plan looks at (all but 100 %).
            policy: alpha, margin and the rows that a step needs.
        """
        ...


class PairedConfidenceSequence:
    """Anytime-valid and one-sided: looking after each label file costs nothing."""

    def judge(self, evidence: Sums, *, step_rows: int, looks: int, policy: RolloutPolicy) -> Verdict:
        """See ``Judge``."""
        judgement = Judgement(
            rows=evidence.rows,
            mean=evidence.mean,
            low=lower_bound(evidence, policy.alpha),
            high=-lower_bound(evidence.mirrored(), policy.alpha),
        )
        harm = log_evidence(evidence, policy.margin) >= math.log(1 / policy.alpha)
        return _verdict(harm, judgement, step_rows, policy)


class FixedSample:
    """A z-test at the end of each step, its alpha shared among them (Bonferroni); it may look no oftener."""

    def judge(self, evidence: Sums, *, step_rows: int, looks: int, policy: RolloutPolicy) -> Verdict:
        """See ``Judge``."""
        if evidence.rows < 2:
            return _verdict(False, Judgement(rows=evidence.rows, mean=evidence.mean, low=-1, high=1), step_rows, policy)
        variance = max(0.0, evidence.squares - evidence.rows * evidence.mean**2) / (evidence.rows - 1)
        half = NormalDist().inv_cdf(1 - policy.alpha / max(1, looks)) * math.sqrt(variance / evidence.rows)
        low, high = evidence.mean - half, evidence.mean + half
        judgement = Judgement(rows=evidence.rows, mean=evidence.mean, low=low, high=high)
        return _verdict(step_rows >= policy.min_rows and low > policy.margin, judgement, step_rows, policy)


def log_evidence(evidence: Sums, margin: float) -> float:
    """Return the log of the e-value against "the mean difference is at most ``margin``" (above -1)."""
    scale = 1.0 + margin
    z = (evidence.total - evidence.rows * margin) / scale
    spread = evidence.squares - 2 * margin * evidence.total + evidence.rows * margin**2
    zz = max(0.0, spread) / scale**2
    return _log_mean_exp([bet * z + zz * (math.log1p(-bet) + bet) for bet in BETS])


def lower_bound(evidence: Sums, alpha: float) -> float:
    """Return the lower end of the one-sided confidence sequence: the largest margin that is rejected, else -1.

    To reject a margin is to reject every smaller one, so the largest counts; it is looked for from the mean downwards.
    """
    threshold = math.log(1 / alpha)
    accepted = evidence.mean
    distance = _CLOSEST
    while evidence.rows and evidence.mean - distance > -1.0 + _CLOSEST:
        rejected = evidence.mean - distance
        if log_evidence(evidence, rejected) >= threshold:
            return _edge(evidence, rejected, accepted, threshold)
        accepted, distance = rejected, distance * _STRIDE
    return -1.0


def _edge(evidence: Sums, rejected: float, accepted: float, threshold: float) -> float:
    for _ in range(_BISECTIONS):
        middle = (rejected + accepted) / 2
        if log_evidence(evidence, middle) >= threshold:
            rejected = middle
        else:
            accepted = middle
    return rejected


def _verdict(harm: bool, judgement: Judgement, step_rows: int, policy: RolloutPolicy) -> Verdict:
    figures = f"mean Brier difference {judgement.mean:+.4f} [{judgement.low:+.4f}, {judgement.high:+.4f}]"
    if harm:
        text = f"the challenger does harm: {figures} on {judgement.rows} rows, more than {policy.margin:g} is tolerated"
        return Verdict("harm", judgement, text)
    if step_rows < policy.min_rows:
        return Verdict("wait", judgement, f"{step_rows} of {policy.min_rows} labelled rows at this step; {figures}")
    return Verdict("pass", judgement, f"no harm: {figures} on {judgement.rows} rows")


def _log_mean_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values) / len(values))
