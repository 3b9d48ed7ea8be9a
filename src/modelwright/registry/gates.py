"""The gates we ship, as plugins of the group ``modelwright.gates``; see ``modelwright.plugins.Gate``."""

from modelwright.events import Estimate, GateResult
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy


class MetricFloor:
    """The version's own figure is at least the policy's floor (for a loss such as ``brier``: at most)."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        value = _figure(candidate, policy.metric)
        name = f"{candidate.model} v{candidate.version}"
        if value is None:
            hint = f"log it, or set the version's tag modelwright.metric.{policy.metric}"
            return GateResult(gate="metric_floor", passed=False, text=f"{policy.metric} of {name} is not known: {hint}")
        passed = value <= policy.floor if policy.metric in _LOSSES else value >= policy.floor
        sign = "at most" if policy.metric in _LOSSES else "at least"
        text = f"{policy.metric} of {name} is {value:.4f}; {sign} {policy.floor:.4f} is needed"
        return GateResult(gate="metric_floor", passed=passed, text=text)


class BeatsChampion:
    """On the same held-out rows the version is, with 95 % confidence, not worse than the champion beyond the tolerance.

    That is, the unfavourable end of the interval of the paired difference lies within the tolerance: the
    lower end for AUC, the upper end for a loss. A bare difference of two figures proves nothing.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        if candidate.champion is None:
            return GateResult(gate="beats_champion", passed=True, text=f"{candidate.model} has no champion to beat")
        if candidate.champion == candidate.version:
            return GateResult(gate="beats_champion", passed=True, text=f"v{candidate.version} is the champion itself")
        difference = _difference(candidate, policy.comparison)
        versus = f"v{candidate.version} against champion v{candidate.champion}"
        if difference is None:
            text = f"there is no paired evaluation of {versus} by {policy.comparison}"
            return GateResult(gate="beats_champion", passed=False, text=text)
        loss = policy.comparison in _LOSSES
        passed = difference.high <= policy.tolerance if loss else difference.low >= -policy.tolerance
        interval = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        limit = f"at most {policy.tolerance:+.4f}" if loss else f"at least {-policy.tolerance:+.4f}"
        end = "upper" if loss else "lower"
        text = f"{policy.comparison} of {versus} differs by {interval}; the {end} end must be {limit}"
        return GateResult(gate="beats_champion", passed=passed, text=text)


class DataKnown:
    """The digest of the training data is known, so that the version can be traced and made again."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        name = f"{candidate.model} v{candidate.version}"
        if candidate.dataset_digest:
            text = f"{name} was trained on {candidate.dataset_digest[:16]}"
            return GateResult(gate="data_known", passed=True, text=text)
        text = f"nobody said what {name} was trained on: set its tag modelwright.dataset_digest"
        return GateResult(gate="data_known", passed=False, text=text)


_LOSSES = ("brier", "log_loss", "loss")


def _figure(candidate: Candidate, metric: str) -> float | None:
    evaluation = candidate.evaluation
    if evaluation is not None and metric == "auc":
        return evaluation.challenger_auc.value
    if evaluation is not None and metric == "brier":
        return evaluation.challenger_brier
    return candidate.metrics.get(metric)


def _difference(candidate: Candidate, metric: str) -> Estimate | None:
    evaluation = candidate.evaluation
    if evaluation is None:
        return None
    return {"auc": evaluation.auc_difference, "brier": evaluation.brier_difference}.get(metric)
