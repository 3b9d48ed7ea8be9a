"""When fairness is broken and restored: the champion's newest window, held against what is tolerated."""

import numpy as np
import pyarrow as pa

from modelwright.events import Event, FairnessBroken, FairnessRestored, Window
from modelwright.monitoring.performance import records
from modelwright.monitoring.performance.fairness import Difference, difference_of
from modelwright.monitoring.performance.joining import days_of
from modelwright.monitoring.performance.segments import values_of
from modelwright.project import Fairness, MonitoringPolicy
from modelwright.storage import Tables, Write


def judged(
    model: str, version: int, window: Window, rows: pa.Table, policy: MonitoringPolicy, place: tuple[Tables, str]
) -> tuple[list[Event], list[Write]]:
    """Return what changed: a difference that is new, and one that is tolerated again.

    Args:
        model: its name.
        version: the champion.
        window: of the labels that completed its newest window.
        rows: of that window, with all that was logged.
        policy: what is to be compared.
        place: the tables and the workspace.
    """
    tables, workspace = place
    before = records.standing_of(tables, workspace, model)
    broken = set(before.broken)
    events: list[Event] = []
    for asked in policy.fairness:
        found, name = _difference(asked, rows), f"{asked.group} {asked.metric}"
        if found is not None and name not in broken and found.broken(asked.tolerance):
            broken.add(name)
            events.append(_broken(model, version, window, asked, found))
        elif found is not None and name in broken and found.restored(asked.tolerance):
            broken.discard(name)
            events.append(FairnessRestored(model=model, group=asked.group, metric=asked.metric))
    if broken == set(before.broken):
        return events, []
    after = before.model_copy(update={"broken": tuple(sorted(broken))})
    return events, [records.put_standing(workspace, model, after)]


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
