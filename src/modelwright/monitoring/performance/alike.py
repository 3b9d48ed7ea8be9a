"""When fairness is broken and restored: the champion's newest window, held against what is tolerated.

What is broken is remembered of the version that did it. Another champion begins anew, and so does a policy that asks
for something else: what was broken then is told as restored, so that nobody waits for the end of what is over.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from modelwright.events import Event, FairnessBroken, FairnessRestored, Window
from modelwright.monitoring.performance import records
from modelwright.monitoring.performance.fairness import Difference, difference_of
from modelwright.monitoring.performance.joining import days_of
from modelwright.monitoring.performance.records import Standing
from modelwright.monitoring.performance.segments import values_of
from modelwright.project import Fairness, MonitoringPolicy
from modelwright.storage import Tables, Write


def judged(
    model: str,
    version: int,
    newest: tuple[Window, pa.Table] | None,
    policy: MonitoringPolicy,
    place: tuple[Tables, str],
) -> tuple[list[Event], list[Write]]:
    """Return what changed: a difference that is new, and one that is tolerated again or asked for no more.

    Args:
        model: its name.
        version: the champion.
        newest: the window of the labels that completed its newest window, and that one's rows with all that was
            logged; None: it is not complete.
        policy: what is to be compared.
        place: the tables and the workspace.
    """
    tables, workspace = place
    before = records.standing_of(tables, workspace, model)
    asked = {f"{one.group} {one.metric}": one for one in policy.fairness}
    events = _over(model, version, before, asked)
    broken = set(before.broken) & set(asked) if before.version in (0, version) else set()
    if newest is not None:
        for name, one in asked.items():
            changed = _compared(model, version, newest, one, was=name in broken)
            broken = broken if changed is None else broken ^ {name}
            events += [] if changed is None else [changed]
    if not events:
        return [], []
    after = before.model_copy(update={"version": version, "broken": tuple(sorted(broken))})
    return events, [records.put_standing(workspace, model, after)]


def _compared(model: str, version: int, newest: tuple[Window, pa.Table], asked: Fairness, *, was: bool) -> Event | None:
    """Return whether what was broken, or was not, changed."""
    window, rows = newest
    found = _difference(asked, rows)
    if found is not None and not was and found.broken(asked.tolerance):
        return _broken(model, version, window, asked, found)
    if found is not None and was and found.restored(asked.tolerance):
        return FairnessRestored(model=model, group=asked.group, metric=asked.metric, version=version)
    return None


def _over(model: str, version: int, before: Standing, asked: Mapping[str, object]) -> list[Event]:
    """Return that what another champion did, or what nobody asks for any more, is over."""
    others = before.version not in (0, version)
    found: list[Event] = []
    for name in before.broken:
        if not others and name in asked:
            continue
        group, _, metric = name.rpartition(" ")
        reason = f"version {version} is the champion now" if others else "the policy does not compare it any more"
        found.append(FairnessRestored(model=model, group=group, metric=metric, version=before.version, reason=reason))
    return found


def _difference(asked: Fairness, rows: pa.Table) -> Difference | None:
    groups = values_of(asked.group, rows)
    if groups is None:
        return None
    labels, scores = (np.asarray(rows.column(name).to_numpy(), dtype=np.float64) for name in ("label", "score"))
    return difference_of(asked, groups.to_pylist(), labels, scores, days_of(rows))


def _broken(model: str, version: int, window: Window, asked: Fairness, found: Difference) -> FairnessBroken:
    sure = f"at least {found.difference.low:.3f} apart, whatever chance had to do with it"
    return FairnessBroken(
        model=model,
        version=version,
        window=window,
        group=asked.group,
        metric=asked.metric,
        worst=found.worst,
        best=found.best,
        difference=found.difference,
        tolerance=asked.tolerance,
        reason=f"{found.text}: {sure}, and {asked.tolerance:g} is tolerated",
    )
