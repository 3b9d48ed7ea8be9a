"""One window against one reference: effect and p-value of every column and detector, before anything is corrected."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelwright.monitoring.detectors import Detector, Effect
from modelwright.monitoring.profiles import ColumnProfile, Profile, Reference, pool
from modelwright.monitoring.verdict.correction import RATES, SHAPE
from modelwright.project import DriftPolicy, Source

MIN_UPLOADS = 3
"""Of a reference that slides; with fewer uploads nobody knows how much they differ."""
BEYOND_NATURAL = 1.75
"""A window must be so many times further from the reference than any accepted upload of it is."""
BY_CHANCE = 0.05
"""An upload of the reference differs from the others by nature if chance does it more seldom (over all uploads)."""
RATE_TESTS = frozenset({"missing", "infinite", "unseen", "range"})
OUTSIDE = frozenset({"unseen", "range"})
"""What no upload of a reference is against the whole of it."""
CERTAIN = frozenset({"type"})
"""What chance never does, so that no correction is for it."""


@dataclass(frozen=True)
class Compared:
    """A column of a window, as one detector sees it.

    Attributes:
        name: of the column.
        floor: the smallest effect that matters: the policy's or the detector's own.
        usual: the column in the reference.
        now: the column in the window.
        silent: whether nothing in these rows could have been significant, as where no value is missing in either:
            such a test counts for nothing (Tarone, Biometrics 46, 1990; Gilbert, JRSS-C 54, 2005).
    """

    name: str
    detector: Detector
    effect: Effect
    floor: float
    usual: ColumnProfile
    now: ColumnProfile
    silent: bool

    @property
    def family(self) -> str:
        """The family of tests that it belongs to."""
        return RATES if self.detector.name in RATE_TESTS else SHAPE

    @property
    def certain(self) -> bool:
        """Whether no chance is involved."""
        return self.detector.name in CERTAIN


def watched(source: Source, columns: Mapping[str, ColumnProfile]) -> tuple[str, ...]:
    """Return the columns that are looked at: neither key nor times nor what the policy ignores, in order of name."""
    ignored = {*source.key, *source.drift.ignore}
    return tuple(sorted(name for name, column in columns.items() if name not in ignored and column.kind != "times"))


def compared(
    profile: Profile, reference: Reference, source: Source, detectors: Sequence[Detector]
) -> tuple[Compared, ...]:
    """Return what every detector says of every column that it understands, in order of columns' names."""
    return tuple(
        one
        for name in watched(source, profile.columns)
        if (usual := reference.pooled(name)) is not None
        for one in _column(name, usual, profile.columns[name], source.drift, detectors)
    )


def natural_floor(one: Compared, reference: Reference, policy: DriftPolicy, since: datetime | None) -> float:
    """Return the floor, raised by how far accepted uploads of the reference are from it themselves.

    Weeks differ from each other, and rows of one hour are no independent draws, which no p-value knows. What an
    upload differs by chance does not count: that is the p-value's business. Nor do the windows that vote together with
    this one: a step would else be natural as soon as it was seen once.

    Args:
        one: the column.
        reference: of the window.
        policy: of the source.
        since: when the present run of windows in which it moved began, if there is one.
    """
    voters = reference.profiles[-(policy.windows - 1) :] if policy.windows > 1 and since is not None else ()
    parts = [
        column
        for upload, column in reference.by_upload(one.name)
        if upload.rows >= policy.min_rows
        if column.kind == one.usual.kind and not (since is not None and upload in voters and upload.start >= since)
    ]
    if len(parts) < 2 or one.certain:
        return one.floor
    inside = _inside(parts) if one.detector.name in OUTSIDE else [False] * len(parts)
    effects = (
        one.detector.compare(_beside(one, parts, number), part)
        for number, part in enumerate(parts)
        if not inside[number]
    )
    real = (effect.effect for effect in effects if effect.p_value < BY_CHANCE / len(parts))
    return max(one.floor, BEYOND_NATURAL * max(real, default=0.0))


def _inside(parts: Sequence[ColumnProfile]) -> list[bool]:
    """Say of each upload whether the others have all that it has: its range, or its categories."""
    lows = sorted(part.low for part in parts if part.low is not None)
    highs = sorted(part.high for part in parts if part.high is not None)
    words = Counter(word for part in parts for word in part.top)
    inside = []
    for part in parts:
        if part.low is None or part.high is None:
            inside.append(part.kind == "categories" and all(words[word] > 1 for word in part.top))
        else:
            inside.append(part.low >= lows[part.low == lows[0]] and part.high <= highs[-1 - (part.high == highs[-1])])
    return inside


def _beside(one: Compared, parts: Sequence[ColumnProfile], number: int) -> ColumnProfile:
    """Return what an upload of the reference is compared with: all of it, or the others, where it is never outside."""
    if one.detector.name not in OUTSIDE:
        return one.usual
    return pool([*parts[:number], *parts[number + 1 :]])


def _column(
    name: str, usual: ColumnProfile, now: ColumnProfile, policy: DriftPolicy, detectors: Sequence[Detector]
) -> Iterator[Compared]:
    if not usual.rows or not now.rows:
        return
    for detector in detectors:
        if now.kind not in detector.kinds or (usual.kind != now.kind and detector.name not in CERTAIN):
            continue
        floor = policy.floors.get(detector.name, detector.floor)
        effect = detector.compare(usual, now)
        yield Compared(name, detector, effect, floor, usual, now, _silent(detector.name, usual, now))


def _silent(detector: str, usual: ColumnProfile, now: ColumnProfile) -> bool:
    """Say whether no sharing of these very rows between reference and window could look like drift."""
    if detector == "missing":
        return usual.missing + now.missing in (0, usual.rows + now.rows)
    if detector == "infinite":
        return usual.infinite + now.infinite == 0
    if not usual.count or not now.count:
        return True
    if detector in RATE_TESTS:
        return False
    if now.kind == "numbers":
        return usual.low is not None and usual.low == usual.high == now.low == now.high
    return usual.distinct == now.distinct == 1 and usual.top.keys() == now.top.keys()
