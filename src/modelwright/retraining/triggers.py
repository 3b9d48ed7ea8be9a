"""What may cause a training: plugins of the group ``modelwright.triggers``.

A trigger is told what came (a ``Cause``) and what is known of the model, and says why to train, or
nothing. Whether a training then happens is the policy's business (``policy``). Drift of inputs is no
reason by itself (weekly tests on a real stream alarm every week, and retraining on a broken feed makes
models worse): it is kept as evidence and told with whatever reason comes later.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from modelwright.project import RetrainingPolicy
from modelwright.retraining.store import Standing

GROUP = "modelwright.triggers"

CauseKind = Literal["performance", "estimated", "drift", "labels", "schedule", "manual"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What came.

    Attributes:
        identity: the event's id, or the name and time of the schedule; the same cause twice has the same.
        text: for a person.
        version: the model version it is about, if it is about one.
        metric: in which that version got worse.
        fall: by how much it did, whichever way the metric runs.
    """

    kind: CauseKind
    identity: str
    text: str = ""
    version: int | None = None
    metric: str = ""
    fall: float | None = None

    @property
    def lasting(self) -> bool:
        """Whether it only is an occasion to look at what lasts (age, labels that lie there), and comes again."""
        return self.kind in ("labels", "schedule")


class Trigger(Protocol):
    """Says why to train; made without arguments, keeps no state."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """Return the reason, or nothing."""
        ...


class PerformanceTrigger:
    """The champion got worse on realised labels."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        about_champion = standing.champion in (None, cause.version)
        return cause.text if cause.kind == "performance" and about_champion else ""


class EstimatedTrigger:
    """The champion got worse by an estimate, before its labels came."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        about_champion = standing.champion in (None, cause.version)
        return cause.text if cause.kind == "estimated" and about_champion else ""


class DriftEvidence:
    """Drift never trains; this trigger only says so, by name, in a policy."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        return ""


class ScheduleTrigger:
    """Whenever the schedule is due."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        return cause.text if cause.kind == "schedule" else ""


class AgeTrigger:
    """When the newest training (or else the champion) is older than allowed; asked by schedule and labels."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        since = standing.trained or standing.champion_since
        if cause.kind not in ("schedule", "labels") or since is None or (now - since).days < policy.max_age_days:
            return ""
        return f"nothing was trained for {(now - since).days} days (at most {policy.max_age_days})"


class NewDataTrigger:
    """When enough labels came since the newest training."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        if cause.kind != "labels" or standing.labels_since < policy.min_new_labels:
            return ""
        return f"{standing.labels_since} labels came since the last training"


class ManualTrigger:
    """When a person asks."""

    def fires(self, cause: Cause, standing: Standing, policy: RetrainingPolicy, now: datetime) -> str:
        """See ``Trigger``."""
        return cause.text if cause.kind == "manual" else ""
