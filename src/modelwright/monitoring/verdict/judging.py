"""The verdict on a window: which columns moved, whether windows agree, and whether the data set as a whole drifts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelwright.events import ColumnDrift, Window
from modelwright.monitoring.detectors import Detector, Effect
from modelwright.monitoring.profiles import Profile, Reference
from modelwright.monitoring.verdict.comparing import CERTAIN, MIN_UPLOADS, Compared, compared, natural_floor, watched
from modelwright.monitoring.verdict.correction import SHAPE, hierarchical
from modelwright.monitoring.verdict.explaining import explained
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import DriftPolicy, Source

ALL_ROWS_SHARE = 0.5
"""Of the rate of false alarms, what is all rows' own where segments are looked at too."""

_NAMED = 30


@dataclass(frozen=True)
class Together:
    """What a detector says of several columns at once."""

    columns: tuple[str, ...]
    detector: str
    effect: Effect
    floor: float


@dataclass(frozen=True)
class Seen:
    """A window, and what it is compared with.

    Attributes:
        profile: all rows of the window.
        reference: all rows of the reference.
        segments: by name such as ``carrier = UA``, the same of the rows of a segment.
        together: what detectors say of several columns at once.
        notes: what has to be said besides, such as that a segment stands for several values.
    """

    profile: Profile
    reference: Reference
    segments: Mapping[str, tuple[Profile, Reference]] = field(default_factory=dict)
    together: tuple[Together, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is said of a window.

    Attributes:
        columns: of every column, detector and segment that was compared.
        moved: of each of them, whether it moved in this very window.
        share: of the importance of all columns, how much drifts.
        dataset: whether that is enough for the data set as a whole.
        votes: of this window and the newest before it.
        notes: see ``Seen``.
    """

    window: Window
    rows: int
    reference: str
    columns: tuple[ColumnDrift, ...]
    moved: tuple[bool, ...]
    share: float
    dataset: bool
    votes: DriftVotes
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that drift."""
        return tuple(one for one in self.columns if one.drifted)


@dataclass(frozen=True)
class _Test:
    """One hypothesis on its way to a verdict."""

    column: str
    detector: str
    segment: str
    effect: Effect
    floor: float
    compared: Compared | None
    reference: Reference
    p_adjusted: float | None = None

    @property
    def name(self) -> str:
        """How votes are kept."""
        return "|".join((self.column, self.detector, *([self.segment] if self.segment else [])))


def judge(seen: Seen, window: Window, source: Source, detectors: Sequence[Detector], votes: DriftVotes) -> Verdict:
    """Return the verdict on a window.

    A column drifts when *all* of these hold: the effect is at least the floor, which is the detector's (or the
    policy's) and is raised where accepted uploads of the reference differ more by nature; the p-value survives the
    correction over all columns, families of tests and segments; window and reference have rows enough; and
    ``agreeing`` of the newest ``windows`` windows say so. Of a type no chance is to be ruled out.
    """
    policy = source.drift
    tests = _corrected(_tests(seen, source, detectors))
    moved = tuple(_moves(test, policy) for test in tests)
    floors = tuple(_raised(test, policy, votes) if now else test.floor for test, now in zip(tests, moved, strict=True))
    moved = tuple(now and test.effect.effect >= floor for test, now, floor in zip(tests, moved, floors, strict=True))
    voted = _voted(votes, [test.name for test in tests], moved, window, policy)
    columns = tuple(
        _column(test, floor, voted, policy, seen.reference.text) for test, floor in zip(tests, floors, strict=True)
    )
    share = _share({one.column for one in columns if one.drifted and not one.segment}, seen.profile, source)
    return Verdict(
        window=window,
        rows=seen.profile.rows,
        reference=seen.reference.text,
        columns=columns,
        moved=moved,
        share=share,
        dataset=share >= policy.share,
        votes=voted,
        notes=seen.notes,
    )


def enough(profile: Profile, reference: Reference, policy: DriftPolicy) -> bool:
    """Say whether window and reference have so much that a verdict is possible.

    A reference that slides needs ``MIN_UPLOADS``, since with fewer nobody knows how much they differ; one that
    somebody chose is what it is.
    """
    uploads = MIN_UPLOADS if policy.reference.kind in ("sliding", "seasonal") else 1
    return (
        profile.rows >= policy.min_rows
        and len(reference.profiles) >= uploads
        and reference.rows >= min(policy.min_rows, profile.rows)
    )


# --- private -----------------------------------------------------------------------------


def _tests(seen: Seen, source: Source, detectors: Sequence[Detector]) -> list[list[_Test]]:
    """Return the hypotheses: of all rows, then of each segment."""
    everywhere = [_test(one, "", seen.reference) for one in compared(seen.profile, seen.reference, source, detectors)]
    for one in seen.together:
        name = _called(one.columns)
        everywhere.append(_Test(name, one.detector, "", one.effect, one.floor, None, seen.reference))
    groups = [everywhere]
    for segment, (profile, reference) in sorted(seen.segments.items()):
        if enough(profile, reference, source.drift):
            found = compared(profile, reference, source, detectors)
            groups.append([_test(one, segment, reference) for one in found])
    return groups


def _called(columns: Sequence[str]) -> str:
    """Return how several columns are called together; not all of hundreds are named."""
    more = len(columns) - _NAMED
    return ", ".join(columns) if more <= 0 else f"{', '.join(columns[:_NAMED])} and {more} more"


def _test(one: Compared, segment: str, reference: Reference) -> _Test:
    return _Test(one.name, one.detector.name, segment, one.effect, one.floor, one, reference)


def _corrected(groups: Sequence[Sequence[_Test]]) -> list[_Test]:
    """Return all hypotheses with their adjusted p-values, in order."""
    counted = [[test for test in group if _counts(test)] for group in groups]
    segments = len(groups) - 1
    own = ALL_ROWS_SHARE if segments else 1.0
    shares = [own, *([(1 - own) / max(1, segments)] * segments)]
    p_values = hierarchical(
        [([t.effect.p_value for t in group], [_family(t) for t in group]) for group in counted], shares
    )
    pairs = (pair for group, found in zip(counted, p_values, strict=True) for pair in zip(group, found, strict=True))
    adjusted = {id(test): float(p) for test, p in pairs}
    return [_with(test, adjusted.get(id(test))) for group in groups for test in group]


def _counts(test: _Test) -> bool:
    """Say whether a hypothesis takes part in the correction."""
    return test.compared is None or not (test.compared.silent or test.compared.certain)


def _family(test: _Test) -> str:
    return SHAPE if test.compared is None else test.compared.family


def _with(test: _Test, p_adjusted: float | None) -> _Test:
    if p_adjusted is None:
        p_adjusted = test.effect.p_value if test.detector in CERTAIN else 1.0
    return _Test(
        test.column, test.detector, test.segment, test.effect, test.floor, test.compared, test.reference, p_adjusted
    )


def _moves(test: _Test, policy: DriftPolicy) -> bool:
    assert test.p_adjusted is not None
    return test.effect.effect >= test.floor and test.p_adjusted <= policy.false_discovery


def _raised(test: _Test, policy: DriftPolicy, votes: DriftVotes) -> float:
    if test.compared is None:
        return test.floor
    return natural_floor(test.compared, test.reference, policy, votes.since.get(test.name))


def _voted(
    votes: DriftVotes, names: Sequence[str], moved: Sequence[bool], window: Window, policy: DriftPolicy
) -> DriftVotes:
    """Return the votes with those of a window, and since when each that moved in any of them does."""
    cast = {name: (*votes.votes.get(name, ()), now)[-policy.windows :] for name, now in zip(names, moved, strict=True)}
    since: dict[str, datetime | None] = {}
    for name, newest in cast.items():
        if any(votes.votes.get(name, ())[-policy.windows + 1 :] if policy.windows > 1 else ()):
            since[name] = votes.since.get(name)  # unknown in documents from before it was kept
        elif newest[-1]:
            since[name] = window.start
    known = {name: start for name, start in since.items() if start is not None}
    return votes.model_copy(update={"newest": window.end, "votes": cast, "since": known})


def _column(test: _Test, floor: float, votes: DriftVotes, policy: DriftPolicy, reference: str) -> ColumnDrift:
    ballot = votes.votes[test.name]
    drifted = ballot[-1] and sum(ballot) >= policy.agreeing
    return ColumnDrift(
        column=test.column,
        detector=test.detector,
        effect=test.effect.effect,
        floor=floor,
        p_value=test.effect.p_value,
        drifted=drifted,
        p_adjusted=test.p_adjusted,
        since=votes.since.get(test.name) if ballot[-1] else None,
        segment=test.segment,
        reference=test.reference.text or reference,
        weight=policy.importance.get(test.column, 1.0),
        text=explained(test.detector, test.effect.effect, floor, test.compared) if ballot[-1] else "",
    )


def _share(drifted: set[str], profile: Profile, source: Source) -> float:
    """Return the share of importance of the columns that drift in all rows."""
    weights = {name: source.drift.importance.get(name, 1.0) for name in watched(source, profile.columns)}
    total = sum(weights.values())
    return sum(weight for name, weight in weights.items() if name in drifted) / total if total > 0 else 0.0
