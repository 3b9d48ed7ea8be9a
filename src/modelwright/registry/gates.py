"""The gates we ship that need no heavy libraries, as plugins of the group ``modelwright.gates``.

Each is a ``modelwright.plugins.Gate``: a pure function of what is known of a version and of the policy. A verdict names
the figures it rests on and, where it is a no, what to do about it. Those that need numpy or the model itself
are in ``fullgates``.
"""

from collections.abc import Iterable

from modelwright.events import Estimate, GateResult
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry.signatures import Signature, incompatibilities

LOSSES = frozenset({"brier", "log_loss", "loss", "rmse", "mse", "mae"})
"""Figures of which less is better."""
_SHOWN = 10


class MetricFloor:
    """The version's own figure is at least the policy's floor (for a loss such as ``brier``: at most)."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        value, name = _figure(candidate, policy.metric), named(candidate)
        if value is None:
            hint = f"log it, or set the version's tag modelwright.metric.{policy.metric}"
            return no("metric_floor", f"{policy.metric} of {name} is not known: {hint}")
        loss = policy.metric in LOSSES
        passed = value <= policy.floor if loss else value >= policy.floor
        sign = "at most" if loss else "at least"
        text = f"{policy.metric} of {name} is {value:.4f}; {sign} {policy.floor:.4f} is needed"
        return GateResult(gate="metric_floor", passed=passed, text=text)


class BeatsChampion:
    """On the same held-out rows the version is, with 95 % confidence, not worse than the champion beyond the tolerance.

    That is, the unfavourable end of the interval of the paired difference, which the evaluation says, lies within the
    tolerance: the lower end for AUC, the upper end for a loss. A bare difference of two figures proves nothing, and so
    does a comparison with a version that is champion no more.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        if unrivalled := without_rival(candidate):
            return yes("beats_champion", unrivalled)
        difference, metric = _difference(candidate, policy.comparison), policy.comparison
        versus = f"v{candidate.version} against champion v{candidate.champion}"
        if difference is None:
            hint = "train it again, or set its tag modelwright.evaluation, or let the gate not_inferior compare rows"
            return no("beats_champion", f"there is no paired evaluation of {versus} by {metric}: {hint}")
        compared = candidate.evaluation.champion if candidate.evaluation else ""
        if compared and not candidate.is_champion(compared):
            text = (
                f"its evaluation is against {compared[:16]}, which champion v{candidate.champion} is not: train again"
            )
            return no("beats_champion", text)
        passed, text = within(difference, metric, policy.tolerance)
        return GateResult(gate="beats_champion", passed=passed, text=f"{metric} of {versus} differs by {text}")


class DataKnown:
    """The digest of the training data is known, so that the version can be traced and made again."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        name = named(candidate)
        if candidate.dataset_digest:
            return yes("data_known", f"{name} was trained on {candidate.dataset_digest[:16]}")
        hint = "log its data set by mlflow.log_input, or set the version's tag modelwright.dataset_digest"
        return no("data_known", f"nobody said what {name} was trained on: {hint}")


class SignatureCompatible:
    """Whoever calls the champion can call the version: it takes what the champion takes, and gives the same.

    Columns it may do without may come and go. A new one that it requires, one of another type, and another
    output break its callers. A new feature that the project serves does not: callers of the platform never say it.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "signature_compatible", named(candidate)
        if unrivalled := without_rival(candidate):
            return yes(gate, unrivalled)
        champion = f"champion v{candidate.champion}"
        theirs = Signature.read(candidate.champion_signature)
        if theirs is None:
            return yes(gate, f"{champion} has no signature, so nothing was promised to its callers")
        ours = Signature.read(candidate.signature)
        if ours is None:
            return no(gate, f"{name} has no signature, {champion} has: log it with one (mlflow.models.infer_signature)")
        if faults := incompatibilities(ours, theirs, served=candidate.known_features):
            return no(gate, f"callers of {champion} cannot call {name}: {_listed(faults)}")
        takes, gives = len(ours.inputs), len(ours.outputs)
        return yes(gate, f"{name} takes what {champion} takes and gives the same ({takes} inputs, {gives} outputs)")


class FeaturesKnown:
    """Every feature that the version is fed comes from the project: a request column, a view, an on-demand group."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "features_known", named(candidate)
        if not candidate.features:
            return no(gate, f"nobody said what {name} is fed: log it with a signature")
        unknown = [feature for feature in candidate.features if feature not in candidate.known_features]
        if unknown:
            hint = "declare them in the project and apply it, or train without them"
            return no(gate, f"the project serves no {_listed(unknown)}, which {name} is fed: {hint}")
        return yes(gate, f"all {len(candidate.features)} features of {name} come from the project")


class ParityProven:
    """Its features are the same in serving and in training, to the bit.

    Either its feature service was proven so under the project as it is (``modelwright features prove``), or, where that
    was not tried, training computed some of its rows again by the serving path.
    """

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "parity_proven", named(candidate)
        if candidate.parity_faults:
            hint = f"mend it and prove it again: modelwright features prove {candidate.model}"
            return no(gate, f"{name} is served otherwise than it is trained: {candidate.parity_faults}: {hint}")
        if not candidate.parity:
            hint = f"modelwright features prove {candidate.model}, or train by POST /v1/retraining/{candidate.model}"
            return no(gate, f"nothing proves that {name} is fed in serving what it was trained on: {hint}")
        how = "served rows are equal" if candidate.parity_served else "rows were computed again as they are served"
        end = " to what is trained on, to the bit" if candidate.parity_served else ", and are equal to the bit"
        rows = f"{candidate.parity_rows} {how}{end}"
        return yes(gate, f"{rows} (proof {candidate.parity[:16]})")


class SizeBudget:
    """All of the version's files together are no larger than the policy allows."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "size_budget", named(candidate)
        if candidate.size is None:
            hint = "register it from files in this stack's artifacts"
            return no(gate, f"how large the files of {name} are is not known: {hint}")
        text = f"the files of {name} have {candidate.size:,} bytes; at most {policy.max_bytes:,} are allowed"
        if candidate.size > policy.max_bytes:
            return no(gate, f"{text}: make the model smaller, or raise max_bytes in the project")
        return yes(gate, text)


class CardComplete:
    """People wrote the sections of the model card that the policy wants."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate, name = "card_complete", named(candidate)
        if missing := [section for section in policy.card if section not in candidate.card]:
            hint = f"write or confirm them: PUT /v1/models/{candidate.model}/versions/{candidate.version}/card"
            return no(gate, f"the card of {name} lacks {_listed(missing)}: {hint}")
        return yes(gate, f"the card of {name} has {_listed(policy.card) or 'all that is wanted, which is nothing'}")


class NoQuarantine:
    """None of the data that feeds the model is in quarantine."""

    def check(self, candidate: Candidate, policy: GatePolicy) -> GateResult:
        """See ``Gate``."""
        gate = "no_quarantine"
        if candidate.quarantined:
            held = f"data that feeds {candidate.model} is in quarantine: {_listed(candidate.quarantined)}"
            return no(gate, f"{held}; repair it and send it again, or release it")
        return yes(gate, f"nothing that feeds {candidate.model} is in quarantine")


# --- what full gates share with these ----------------------------------------------------


def yes(gate: str, text: str) -> GateResult:
    """Return a verdict that is a yes."""
    return GateResult(gate=gate, passed=True, text=text)


def no(gate: str, text: str) -> GateResult:
    """Return a verdict that is a no."""
    return GateResult(gate=gate, passed=False, text=text)


def named(candidate: Candidate) -> str:
    """Return a version as people write it."""
    return f"{candidate.model} v{candidate.version}"


def without_rival(candidate: Candidate) -> str:
    """Say why there is no champion to compare with; empty when there is one."""
    if candidate.champion is None:
        return f"{candidate.model} has no champion to beat"
    return f"v{candidate.version} is the champion itself" if candidate.champion == candidate.version else ""


def within(difference: Estimate, metric: str, tolerance: float) -> tuple[bool, str]:
    """Say whether a paired difference (version minus champion) is, at its worse end, within the tolerance, and why."""
    loss = metric in LOSSES
    passed = difference.high <= tolerance if loss else difference.low >= -tolerance
    interval = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    end, limit = ("upper", f"at most {tolerance:+.4f}") if loss else ("lower", f"at least {-tolerance:+.4f}")
    return passed, f"{interval}; the {end} end must be {limit}"


def _figure(candidate: Candidate, metric: str) -> float | None:
    evaluation = candidate.evaluation
    if evaluation is not None and metric == "auc" and evaluation.challenger_auc is not None:
        return evaluation.challenger_auc.value
    if evaluation is not None and metric == "brier" and evaluation.challenger_brier is not None:
        return evaluation.challenger_brier
    if evaluation is not None and metric in evaluation.metrics:
        return evaluation.metrics[metric].value
    return candidate.metrics.get(metric)


def _difference(candidate: Candidate, metric: str) -> Estimate | None:
    evaluation = candidate.evaluation
    if evaluation is None:
        return None
    known = {**evaluation.differences, "auc": evaluation.auc_difference, "brier": evaluation.brier_difference}
    return known.get(metric)


def _listed(names: Iterable[str]) -> str:
    all_of_them = list(names)
    more = len(all_of_them) - _SHOWN
    return ", ".join(all_of_them[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
