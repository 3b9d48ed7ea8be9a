"""Puts a report together from profiles, verdicts and earlier windows."""

import math
from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np

from modelwright.events import ColumnDrift, Finding
from modelwright.monitoring.distributions import Distribution, Floats
from modelwright.monitoring.profiles import ColumnProfile, Profile, Reference
from modelwright.monitoring.report.contents import ColumnReport, PastWindow, Shape, Side, WindowReport

BINS = 40
CATEGORIES = 12
HISTORY = 30
STRONGEST = 1e9
"""Multiples of a floor above this are shown as this: a constant that changed is infinitely many deviations away."""
_BODY = (0.005, 0.995)
_DIGITS = 6


def report_of(
    profile: Profile,
    reference: Reference,
    verdicts: Sequence[ColumnDrift],
    *,
    workspace: str,
    source: str,
    made: datetime,
    text: str = "",
    findings: Sequence[Finding] = (),
    history: Sequence[PastWindow] = (),
    share: float | None = None,
    dataset: bool | None = None,
    policy: str = "",
    left_out: Collection[str] = (),
) -> WindowReport:
    """Return the report of a window.

    Args:
        profile: the window.
        reference: what it was compared with.
        verdicts: of every column, detector and segment that was compared, drifted or not.
        workspace: the source's.
        source: its name.
        made: the time of the verdict; the same window is given the same report again.
        text: the reference in words.
        findings: what the quality checks found in the window's files.
        history: earlier windows; the newest ``HISTORY`` are shown.
        share: see ``WindowReport``.
        dataset: see ``WindowReport``.
        policy: see ``WindowReport``.
        left_out: columns that the report does not show: keys, whose values name people.
    """
    shown = {name: now for name, now in profile.columns.items() if name not in left_out}
    columns = [_column(name, now, reference.pooled(name), verdicts) for name, now in shown.items()]
    before = sorted((one for one in history if one.end <= profile.end), key=lambda one: one.end)
    return WindowReport(
        workspace=workspace,
        source=source,
        digest=profile.digest,
        start=profile.start,
        end=profile.end,
        rows=profile.rows,
        made=made,
        reference=text,
        reference_rows=reference.rows,
        columns=tuple(sorted(columns, key=lambda one: (not one.drifted, -one.strength, one.name))),
        verdicts=tuple(sorted(verdicts, key=lambda one: (not one.drifted, -strength(one), one.column, one.detector))),
        findings=tuple(findings),
        history=tuple(before[-HISTORY:]),
        share=share,
        dataset=dataset,
        policy=policy,
    )


def strength(verdict: ColumnDrift) -> float:
    """Return an effect in multiples of its floor, so that detectors can be ranked together; at most ``STRONGEST``."""
    if verdict.floor > 0:
        return min(STRONGEST, max(0.0, verdict.effect / verdict.floor))
    return STRONGEST if verdict.effect > 0 else 0.0


def _column(
    name: str, now: ColumnProfile, usual: ColumnProfile | None, verdicts: Sequence[ColumnDrift]
) -> ColumnReport:
    own = [one for one in verdicts if one.column == name]
    return ColumnReport(
        name=name,
        kind=now.kind,
        window=_side(now),
        reference=_side(usual) if usual is not None else None,
        shape=_shape(now, usual),
        strength=_rounded(max((strength(one) for one in own if not one.segment), default=0.0)),
        drifted=any(one.drifted for one in own),
    )


def _side(profile: ColumnProfile) -> Side:
    counted = profile.kind == "numbers" and profile.count > 0
    grid = profile.grid
    return Side(
        rows=profile.rows,
        missing=profile.missing,
        infinite=profile.infinite,
        distinct=profile.distinct,
        mean=_finite(profile.mean) if counted else None,
        deviation=_finite(profile.deviation) if counted else None,
        low=_finite(profile.low) if counted else None,
        high=_finite(profile.high) if counted else None,
        median=_finite(float(grid[grid.size // 2])) if counted and grid.size else None,
    )


def _shape(now: ColumnProfile, usual: ColumnProfile | None) -> Shape | None:
    if now.kind == "times" or (usual is not None and usual.kind != now.kind):
        return None
    return _numbers(now, usual) if now.kind == "numbers" else _categories(now, usual)


def _numbers(now: ColumnProfile, usual: ColumnProfile | None) -> Shape | None:
    sides = [Distribution.of([]) if one is None else one.distribution for one in (usual, now)]
    filled = [side for side in sides if len(side.points)]
    if not filled:
        return None
    ends = np.concatenate([side.quantiles(_BODY) for side in filled])
    low, high = float(ends.min()), float(ends.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = [_binned(side.below(edges[1:-1])) if len(side.points) else () for side in sides]
    return Shape(edges=tuple(_rounded(edge) for edge in edges), reference=shares[0], window=shares[1])


def _binned(below: Floats) -> tuple[float, ...]:
    return tuple(_rounded(share) for share in np.diff(np.concatenate([[0.0], below, [1.0]])))


def _categories(now: ColumnProfile, usual: ColumnProfile | None) -> Shape | None:
    sides = [usual, now]
    largest: dict[str, float] = {}
    for side in sides:
        if side is not None and side.count:
            for value, count in side.top.items():
                largest[value] = max(largest.get(value, 0.0), count / side.count)
    if not largest:
        return None
    names = sorted(largest, key=lambda value: (-largest[value], value))[:CATEGORIES]
    shares = [_counted(side, names) for side in sides]
    others = any(side and side[-1] > 0 for side in shares)
    kept = [side if others else side[:-1] for side in shares]
    return Shape(names=(*names, *(["all others"] if others else [])), reference=kept[0], window=kept[1])


def _counted(side: ColumnProfile | None, names: Sequence[str]) -> tuple[float, ...]:
    if side is None or not side.count:
        return ()
    shares = [side.top.get(name, 0) / side.count for name in names]
    return tuple(_rounded(share) for share in (*shares, max(0.0, 1 - math.fsum(shares))))


def _finite(value: float | None) -> float | None:
    return _rounded(value) if value is not None and math.isfinite(value) else None


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
