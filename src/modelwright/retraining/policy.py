"""Everything that speaks against a training, at once.

Vetoes (data in quarantine, a broken reference, missing labels), cooldown, failures, what runs already, the budget, and
an expected gain that is too small. A reason has words and an identity: the words may count days, the identity stays
while the reason is the same, so that it is said once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from modelwright.events import Window
from modelwright.project import Model, Project, RetrainingPolicy
from modelwright.retraining.gain import Expected
from modelwright.retraining.store import MILLIONTHS, Ledger, Quarantine, Standing
from modelwright.retraining.triggers import Cause

Kind = Literal["quarantine", "reference", "labels", "cooldown", "failure", "busy", "budget", "gain", "queue", "trigger"]

LATE = 2.0
"""Labels are overdue when the newest are so many times as old as the last ones ever got before others came."""
_ARRIVALS = 3
"""So many arrivals tell how old labels get."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason not to train.

    Attributes:
        identity: the same as long as it is the same reason.
        text: for a person.
    """

    kind: Kind
    identity: str
    text: str


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a decision looks at besides the standing.

    Attributes:
        quarantines: open ones of the sources that feed the model.
        ledger: of this month.
        now: domain time.
        learned: the history on which the champion was trained; None where it is not known.
        gain: what a training is expected to bring.
        cause: what asks for it; None: nothing in particular.
    """

    quarantines: Sequence[Quarantine]
    ledger: Ledger
    now: datetime
    learned: Window | None
    gain: Expected
    cause: Cause | None = None

    @property
    def manual(self) -> bool:
        """Whether a person asks."""
        return self.cause is not None and self.cause.kind == "manual"


def sources_of(project: Project, model: Model) -> tuple[str, ...]:
    """Return the sources that feed a model, its labels' included, and those that their rows are made from."""
    named = [*(project.views[view].source for view in model.views), model.label.source]
    return tuple(dict.fromkeys(origin for source in named for origin in project.origins(source)))


def window_of(policy: RetrainingPolicy, now: datetime) -> Window:
    """Return the history that a training decided now would learn from."""
    return Window(start=now - timedelta(days=policy.window_days), end=now)


def millionths(dollars: float) -> int:
    """Return dollars as whole millionths."""
    return round(dollars * MILLIONTHS)


def cooldown_left(standing: Standing, policy: RetrainingPolicy, now: datetime) -> timedelta:
    """Return how long the newest training (or, before the first, the champion's making) still bars another."""
    since = standing.trained or standing.champion_since
    if since is None:
        return timedelta(0)
    return max(timedelta(0), since + timedelta(days=policy.cooldown_days) - now)


def retry_left(standing: Standing, policy: RetrainingPolicy, now: datetime) -> timedelta:
    """Return how long trainings that failed still bar another: each in a row doubles it, up to the cooldown."""
    if standing.failed is None:
        return timedelta(0)
    longest = max(policy.retry_hours, policy.cooldown_days * 24)
    wait = min(policy.retry_hours << (standing.failures - 1), longest)
    return max(timedelta(0), standing.failed + timedelta(hours=wait) - now)


def against(standing: Standing, policy: RetrainingPolicy, seen: Circumstances) -> tuple[Reason, ...]:
    """Return every reason not to train now; none means that training may begin.

    A person who asks need not wait after a failure, nor for new labels or a promise of gain: they may have changed what
    the figures of the past are about.
    """
    return (
        *_quarantines(standing, policy, seen),
        *_reference(standing, seen),
        *_labels(standing, seen),
        *_cooldown(standing, policy, seen.now),
        *([] if seen.manual else _failures(standing, policy, seen.now)),
        *_busy(standing),
        *_budget(policy, seen.ledger),
        *_gain(policy, seen),
    )


def _quarantines(standing: Standing, policy: RetrainingPolicy, seen: Circumstances) -> list[Reason]:
    if not policy.veto_on_quarantine:
        return []
    window = window_of(policy, seen.now)
    found = []
    for held in seen.quarantines:
        name = f"source {held.source} is in quarantine ({held.quarantine_id})"
        if held.window is not None and seen.learned is not None and _meet(held.window, seen.learned):
            text = f"{name}, and v{standing.champion} learned from the time of that data: the reference is broken"
            found.append(Reason("reference", held.quarantine_id, text))
        elif held.window is None or held.window.end > window.start:
            found.append(Reason("quarantine", held.quarantine_id, name))
    return found


def _reference(standing: Standing, seen: Circumstances) -> list[Reason]:
    compared = seen.cause is not None and seen.cause.kind in ("performance", "estimated")
    if not compared or standing.champion is not None:
        return []
    return [Reason("reference", "none", "there is no reference: no version is known to be champion")]


def _labels(standing: Standing, seen: Circumstances) -> list[Reason]:
    if standing.labels_until is None:
        return []
    newest, day = standing.labels_until.isoformat(), f"{standing.labels_until:%Y-%m-%d}"
    if standing.labels_until == standing.trained_labels_until and not seen.manual:
        text = f"no labels came since the last training: the newest are of {day}"
        return [Reason("labels", f"none since {newest}", text)]
    age, usual = _days(seen.now - standing.labels_until), max(standing.label_ages, default=0.0)
    if len(standing.label_ages) < _ARRIVALS or age <= LATE * max(usual, 1.0):
        return []
    text = f"labels are overdue: the newest are of {day}, {age:.1f} days old, and they never got older than {usual:.1f}"
    return [Reason("labels", f"overdue since {newest}", text)]


def _cooldown(standing: Standing, policy: RetrainingPolicy, now: datetime) -> list[Reason]:
    left = cooldown_left(standing, policy, now)
    if not left:
        return []
    text = f"the cooldown of {policy.cooldown_days} days ends in {_days(left):.1f} days"
    return [Reason("cooldown", (now + left).isoformat(), text)]


def _failures(standing: Standing, policy: RetrainingPolicy, now: datetime) -> list[Reason]:
    left = retry_left(standing, policy, now)
    if not left:
        return []
    times = f" {standing.failures} times in a row" if standing.failures > 1 else ""
    text = f"the last training failed{times}; the next may begin in {_days(left):.1f} days"
    return [Reason("failure", (now + left).isoformat(), text)]


def _busy(standing: Standing) -> list[Reason]:
    reasons = []
    if standing.training:
        reasons.append(Reason("busy", standing.training, f"training {standing.training} is running"))
    if standing.rollout:
        reasons.append(Reason("busy", standing.rollout, f"rollout {standing.rollout} is active"))
    return reasons


def _budget(policy: RetrainingPolicy, ledger: Ledger) -> list[Reason]:
    left = millionths(policy.budget) - ledger.bound
    if millionths(policy.reserve) <= left:
        return []
    text = (
        f"the budget of ${policy.budget:.2f} for {ledger.month} has ${left / MILLIONTHS:.4f} left, "
        f"a training needs ${policy.reserve:.4f}"
    )
    return [Reason("budget", ledger.month, text)]


def _gain(policy: RetrainingPolicy, seen: Circumstances) -> list[Reason]:
    value = seen.gain.value
    if not policy.min_gain or seen.manual or value is None or value >= policy.min_gain:
        return []
    text = f"the expected gain is less than {policy.min_gain}: {seen.gain.text}"
    return [Reason("gain", seen.gain.text, text)]


def _meet(one: Window, other: Window) -> bool:
    return one.start < other.end and other.start < one.end


def _days(span: timedelta) -> float:
    return span.total_seconds() / 86_400
