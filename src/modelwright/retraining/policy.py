"""Everything that speaks against a training, at once: veto, labels, cooldown, failures, concurrency, budget."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from modelwright.events import Window
from modelwright.project import Model, Project, RetrainingPolicy
from modelwright.retraining.store import MILLIONTHS, Ledger, Quarantine, Standing


def sources_of(project: Project, model: Model) -> tuple[str, ...]:
    """Return the sources that feed a model, its labels' included."""
    return tuple(dict.fromkeys([*(project.views[view].source for view in model.views), model.label.source]))


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


def against(
    standing: Standing,
    policy: RetrainingPolicy,
    quarantines: Sequence[Quarantine],
    ledger: Ledger,
    now: datetime,
    *,
    manual: bool = False,
) -> tuple[str, ...]:
    """Return every reason not to train now; none means that training may begin.

    Args:
        standing: what is known of the model.
        policy: the model's.
        quarantines: open ones of the sources that feed it.
        ledger: of this month.
        now: domain time.
        manual: whether a person asks, who need not wait after a failure.
    """
    return (
        *_vetoes(policy, quarantines, now),
        *_labels(standing),
        *_cooldown(standing, policy, now),
        *([] if manual else _failures(standing, policy, now)),
        *_busy(standing),
        *_budget(policy, ledger),
    )


def _vetoes(policy: RetrainingPolicy, quarantines: Sequence[Quarantine], now: datetime) -> list[str]:
    window = window_of(policy, now)
    open_ones = [q for q in quarantines if q.window is None or q.window.end > window.start]
    if not policy.veto_on_quarantine:
        return []
    return [f"source {q.source} is in quarantine ({q.quarantine_id})" for q in open_ones]


def _labels(standing: Standing) -> list[str]:
    if standing.labels_until is None or standing.labels_until != standing.trained_labels_until:
        return []
    return [f"no labels came since the last training: the newest are of {standing.labels_until:%Y-%m-%d}"]


def _cooldown(standing: Standing, policy: RetrainingPolicy, now: datetime) -> list[str]:
    left = cooldown_left(standing, policy, now)
    if not left:
        return []
    return [f"the cooldown of {policy.cooldown_days} days ends in {_days(left)} days"]


def _failures(standing: Standing, policy: RetrainingPolicy, now: datetime) -> list[str]:
    left = retry_left(standing, policy, now)
    if not left:
        return []
    times = f" {standing.failures} times in a row" if standing.failures > 1 else ""
    return [f"the last training failed{times}; the next may begin in {_days(left)} days"]


def _busy(standing: Standing) -> list[str]:
    reasons = [f"training {standing.training} is running"] if standing.training else []
    return reasons + ([f"rollout {standing.rollout} is active"] if standing.rollout else [])


def _days(left: timedelta) -> str:
    return f"{left.total_seconds() / 86_400:.1f}"


def _budget(policy: RetrainingPolicy, ledger: Ledger) -> list[str]:
    left = millionths(policy.budget) - ledger.bound
    if millionths(policy.reserve) <= left:
        return []
    return [
        f"the budget of ${policy.budget:.2f} for {ledger.month} has ${left / MILLIONTHS:.4f} left, "
        f"a training needs ${policy.reserve:.4f}"
    ]
