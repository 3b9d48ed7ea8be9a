"""What moved and by how much, in words and figures; never in values of rows, since verdicts go into the log."""

from modelwright.monitoring.profiles import ColumnProfile
from modelwright.monitoring.verdict.comparing import Compared

_LITTLE = 0.05
_SPREAD = 1.25


def explained(detector: str, effect: float, floor: float, compared: Compared | None) -> str:
    """Return what a detector found, in words.

    Args:
        detector: its name.
        effect: what it found.
        floor: what it takes.
        compared: the column; None where several were looked at together.
    """
    measured = f"{detector} {effect:.3g}, of which {floor:.3g} matters"
    if compared is None:
        return f"these columns together: {measured}"
    told = _TOLD.get(detector, _shape)(compared.usual, compared.now)
    return f"{told} ({measured})" if told else measured


def _missing(usual: ColumnProfile, now: ColumnProfile) -> str:
    return f"{now.missing_rate:.1%} missing instead of {usual.missing_rate:.1%}"


def _infinite(usual: ColumnProfile, now: ColumnProfile) -> str:
    return f"{now.infinite / max(1, now.rows):.1%} infinite instead of {usual.infinite / max(1, usual.rows):.1%}"


def _unseen(usual: ColumnProfile, now: ColumnProfile) -> str:
    new = [count for value, count in now.top.items() if value not in usual.top]
    return f"{sum(new) / max(1, now.count):.1%} of values were never seen before, {len(new)} different ones"


def _range(usual: ColumnProfile, now: ColumnProfile) -> str:
    low, high = _deviations(usual, now.low), _deviations(usual, now.high)
    ends = [f"{abs(low):.1f} below" if low < 0 else "", f"{high:.1f} above" if high > 0 else ""]
    return f"values outside all that was seen: {' and '.join(filter(None, ends))} the mean, in standard deviations"


def _type(usual: ColumnProfile, now: ColumnProfile) -> str:
    return f"stored as {now.type} instead of {usual.type}"


def _shape(usual: ColumnProfile, now: ColumnProfile) -> str:
    return _numbers(usual, now) if now.kind == "numbers" else _categories(usual, now)


def _numbers(usual: ColumnProfile, now: ColumnProfile) -> str:
    if not usual.deviation:
        return "values differ where all were the same"
    shift, ratio = _deviations(usual, now.mean), now.deviation / usual.deviation
    parts = []
    if abs(shift) >= _LITTLE:
        parts.append(f"mean {abs(shift):.2f} standard deviations {'higher' if shift > 0 else 'lower'}")
    if not 1 / _SPREAD < ratio < _SPREAD:
        parts.append(f"spread {ratio:.2f} times as wide")
    return ", ".join(parts) or "another shape with the same mean and spread"


def _categories(usual: ColumnProfile, now: ColumnProfile) -> str:
    names = {*usual.top, *now.top}
    before = {name: usual.top.get(name, 0) / max(1, usual.count) for name in names}
    after = {name: now.top.get(name, 0) / max(1, now.count) for name in names}
    most = max(sorted(names), key=lambda name: abs(after[name] - before[name]), default="")
    moved = sum(abs(after[name] - before[name]) for name in names) / 2
    if not most:
        return ""
    return f"one category has {after[most]:.1%} instead of {before[most]:.1%}, {moved:.1%} of values changed category"


def _deviations(usual: ColumnProfile, value: float | None) -> float:
    if value is None or not usual.deviation:
        return 0.0
    return (value - usual.mean) / usual.deviation


_TOLD = {"missing": _missing, "infinite": _infinite, "unseen": _unseen, "range": _range, "type": _type}
