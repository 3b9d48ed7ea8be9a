"""The drift verdict of a window: evidence that a source changed, never a reason to retrain by itself.

A column drifts when *all* hold: the effect is at least the detector's floor; it exceeds, by a
quarter, the largest effect that any accepted upload of the reference has against the reference
(weeks differ from each other, and rows of one hour are no independent draws, which no p-value knows);
the p-value survives Benjamini & Hochberg (JRSS-B 57, 1995) over all columns and detectors; the
window has ``MIN_ROWS`` rows; and ``AGREEING`` of the last ``WINDOWS`` windows say so.
"""

from collections.abc import Sequence
from typing import NamedTuple

from modelwright.events import ColumnDrift
from modelwright.monitoring.detectors import Detector, Effect
from modelwright.monitoring.profiles import Profile, Reference
from modelwright.monitoring.store import DriftVotes
from modelwright.project import Source

MIN_ROWS = 100
MIN_UPLOADS = 3
WINDOWS = 3
AGREEING = 2
FALSE_DISCOVERY = 0.05
BEYOND_NATURAL = 1.25


class _Compared(NamedTuple):
    column: str
    detector: Detector
    effect: Effect
    floor: float


def drift_of(
    profile: Profile, reference: Reference, source: Source, detectors: Sequence[Detector], votes: DriftVotes
) -> tuple[tuple[ColumnDrift, ...], DriftVotes]:
    """Compare an accepted file with the reference: the columns that drift, and the votes of the newest windows.

    A file of a window before the newest one is late and changes nothing.
    """
    if profile.rows < MIN_ROWS or len(reference.profiles) < MIN_UPLOADS or profile.end <= votes.newest:
        return (), votes
    compared = [
        one
        for column in profile.columns
        if column not in source.key
        for one in _compare(column, profile, reference, detectors)
    ]
    significant = benjamini_hochberg([one.effect.p_value for one in compared], FALSE_DISCOVERY)
    moved, drifts = {}, []
    for one, real in zip(compared, significant, strict=True):
        name = f"{one.column}|{one.detector.name}"
        now = real and one.effect.effect >= one.floor
        moved[name] = (*votes.votes.get(name, ()), now)[-WINDOWS:]
        if now and sum(moved[name]) >= AGREEING:
            drifts.append(_verdict(one))
    return tuple(drifts), votes.model_copy(update={"newest": profile.end, "votes": moved})


def benjamini_hochberg(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which hypotheses are rejected at a false discovery rate."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    last = max((rank for rank, i in enumerate(order, 1) if p_values[i] <= rate * rank / len(order)), default=0)
    rejected = set(order[:last])
    return [i in rejected for i in range(len(p_values))]


def _compare(column: str, profile: Profile, reference: Reference, detectors: Sequence[Detector]) -> list[_Compared]:
    now, usual = profile.columns[column], reference.pooled(column)
    if usual is None or now.kind == "times" or usual.kind != now.kind:
        return []
    parts = [p.columns[column] for p in reference.profiles if column in p.columns and p.rows >= MIN_ROWS]
    compared = []
    for detector in detectors:
        if now.kind not in detector.kinds:
            continue
        natural = max((detector.compare(usual, part).effect for part in parts), default=0.0)
        floor = max(detector.floor, BEYOND_NATURAL * natural)
        compared.append(_Compared(column, detector, detector.compare(usual, now), floor))
    return compared


def _verdict(one: _Compared) -> ColumnDrift:
    return ColumnDrift(
        column=one.column,
        detector=one.detector.name,
        effect=one.effect.effect,
        floor=one.floor,
        p_value=one.effect.p_value,
        drifted=True,
    )
