"""What a source's drift policy would find and how often it would cry wolf, from its reference alone.

Windows are drawn from the reference's own distributions, column by column, and so is the reference that they are
compared with (the bootstrap: Efron, Ann. Stat. 7, 1979), seeded, so that the same plan comes again. Columns are drawn
independently of each other. What accepted uploads differ by nature raises the floors here as it does in verdicts.

A plan has to be ready within the half minute that a gateway waits, however many columns there are. So of wide sources
fewer windows are drawn, which the interval shows, and of columns that are alike (``likeness``) one is planned for all,
which a note says.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from modelwright.events import Window
from modelwright.monitoring.columns import ColumnProfile, categories, numbers
from modelwright.monitoring.detectors import Detector
from modelwright.monitoring.documents import Profile, Reference
from modelwright.monitoring.profiles import Floats
from modelwright.monitoring.verdict.comparing import Compared, compared, natural_floor, watched
from modelwright.monitoring.verdict.correction import weights_of
from modelwright.monitoring.verdict.judging import Seen, judge
from modelwright.monitoring.verdict.likeness import leaders, spread_of
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import Source

POWER = 0.8
MOST_ROWS = 5_000
"""Larger windows are planned as if they had so many rows: no smaller shift is above the floors."""
SHIFTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0)
SHARES = (0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_REFERENCE_ROWS = 20_000
COMPARISONS = 10_000
_WINDOWS = (20, 300)
_EACH = (10, 25)
_TRIALS = 1_000
_TRIALS_SHARED = 100
_MOST_PLANNED = 40
_SHARED = 10
_BEFORE = 4
_START = datetime(2000, 1, 1, tzinfo=UTC)


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Said):
    """A share of windows and its 95 % interval (Clopper & Pearson, Biometrika 26, 1934)."""

    value: float
    low: float
    high: float


class ColumnPlan(_Said):
    """The smallest shifts of one column that are found in 80 % of windows; None: none of those that were tried.

    Attributes:
        mean: of numbers, in standard deviations (interquartile range / 1.349, where that is not 0).
        missing: share of rows that are missing besides.
        category: of categories, share of rows that go from the most frequent to the next.
        unseen: share of rows with a category that was never seen.
    """

    column: str
    kind: str
    mean: float | None = None
    missing: float | None = None
    category: float | None = None
    unseen: float | None = None


class Plan(_Said):
    """What can be expected of a source's drift policy at a number of rows.

    Attributes:
        reference: in words.
        reference_rows: of it.
        windows: how many were drawn.
        false_alarms: share of windows without drift in which some column moves.
        after_agreement: the same, after ``agreeing`` of ``windows`` windows have to agree.
        columns: in order of name.
        mean: the smallest shift that is found in every column of numbers.
        missing: the same, of missing values in all columns.
        category: the same, of categories.
        notes: what has to be said besides.
    """

    source: str
    rows: int
    reference: str
    reference_rows: int
    windows: int
    power: float = POWER
    false_alarms: Share
    after_agreement: Share
    columns: tuple[ColumnPlan, ...]
    mean: float | None = None
    missing: float | None = None
    category: float | None = None
    notes: tuple[str, ...] = ()


class _Change(NamedTuple):
    """What is done to a column of a window: at most one of these."""

    mean: float = 0.0
    missing: float = 0.0
    category: float = 0.0
    unseen: float = 0.0


def plan(
    name: str,
    source: Source,
    reference: Reference,
    detectors: Sequence[Detector],
    rows: int,
    seed: int = 6,
    comparisons: int = COMPARISONS,
) -> Plan:
    """Return what can be expected at a number of rows.

    Args:
        name: of the source.
        source: its declaration.
        reference: with at least one upload.
        detectors: those that it names.
        rows: of a window.
        seed: the same plan comes again with it.
        comparisons: so many columns of windows without drift are drawn, which is what it takes time for.
    """
    drawn = min(rows, MOST_ROWS)
    study = _Study(source, reference, tuple(detectors), drawn, np.random.default_rng([seed, rows]))
    alarms, agreed, count = study.null(comparisons)
    alike, apart = study.alike
    planned = {one: study.column(one) for one in sorted(set(alike.values()))}
    columns = tuple(planned[alike[one]].model_copy(update={"column": one}) for one in study.columns)
    notes = [f"planned as {MOST_ROWS} rows: more find nothing smaller"] if rows > MOST_ROWS else []
    if len(planned) < len(columns):
        told = f"{len(planned)} of {len(columns)} columns were planned, each for those that are like it"
        notes.append(f"{told} (distributions that differ by {apart:.0%} of rows at most)")
    if rows < source.drift.min_rows:
        notes.append(f"windows of less than {source.drift.min_rows} rows have no verdict (min_rows)")
    return Plan(
        source=name,
        rows=rows,
        reference=reference.text,
        reference_rows=reference.rows,
        windows=count,
        false_alarms=_share(alarms, count),
        after_agreement=_share(agreed, count),
        columns=columns,
        mean=_largest([one.mean for one in columns if one.kind == "numbers"]),
        missing=_largest([one.missing for one in columns]),
        category=_largest([one.category for one in columns if study.varies(one.column)]),
        notes=tuple(notes),
    )


# --- private -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Study:
    source: Source
    reference: Reference
    detectors: tuple[Detector, ...]
    rows: int
    rng: np.random.Generator
    thresholds: dict[str, float] = field(default_factory=dict)
    floors: dict[tuple[str, str], float] = field(default_factory=dict)
    befores: dict[str, list[ColumnProfile]] = field(default_factory=dict)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        known = {name: column for one in self.reference.profiles for name, column in one.columns.items()}
        pooled = {name: self.reference.pooled(name) for name in watched(self.source, known)}
        return tuple(name for name, column in pooled.items() if column is not None and column.rows)

    @cached_property
    def alike(self) -> tuple[Mapping[str, str], float]:
        """By column the one that is planned for it, and how far they are apart at most."""
        return leaders(self.columns, self.reference, _MOST_PLANNED)

    @cached_property
    def trials(self) -> int:
        """How many windows each change is looked for in; of what stands for many columns more."""
        least, most = _EACH
        planned = len(set(self.alike[0].values()))
        return max(least, min(most if planned == len(self.columns) else _TRIALS_SHARED, _TRIALS // max(1, planned)))

    def floor(self, name: str, detector: str) -> float:
        """Return a floor as nature raises it; 0 of what no detector says of a column."""
        if (name, detector) not in self.floors:
            profile = self._profile({name: self._usual(name)})
            raised = (
                natural_floor(one, self.reference, self.source.drift, None)
                for one in compared(profile, self.reference, self.source, self.detectors)
                if one.detector.name == detector
            )
            self.floors[name, detector] = next(raised, 0.0)
        return self.floors[name, detector]

    def null(self, comparisons: int) -> tuple[int, int, int]:
        """Return how many windows without drift alarm, how many do when windows have to agree, and of how many."""
        policy = self.source.drift
        least, most = _WINDOWS
        count = max(least, min(most, comparisons // max(1, len(self.columns))))
        ballots: dict[tuple[str, str], list[bool]] = {}
        alarms = agreed = 0
        reference = self._drawn_reference()
        for number in range(count):
            if number % _SHARED == 0:
                reference = self._drawn_reference()
            window = self._profile({name: self._drawn(name, self.rows) for name in self.columns})
            span = Window(start=window.start, end=window.end)
            verdict = judge(Seen(window, reference), span, self.source, self.detectors, DriftVotes())
            any_, enough = False, False
            for one, moved in zip(verdict.columns, verdict.moved, strict=True):
                key = (one.column, one.detector)
                now = moved and one.effect >= self.floor(*key)
                ballot = ballots.setdefault(key, [])
                ballot.append(now)
                any_ |= now
                enough |= now and sum(ballot[-policy.windows :]) >= policy.agreeing
            alarms, agreed = alarms + any_, agreed + enough
        return alarms, agreed, count

    def varies(self, name: str) -> bool:
        """Say whether a column has several categories, so that some can become more frequent than others."""
        usual = self._usual(name)
        return usual.kind == "categories" and usual.distinct > 1

    def column(self, name: str) -> ColumnPlan:
        """Return the smallest shifts of a column that are found."""
        usual = self._usual(name)
        said: dict[str, float | None] = {"missing": self._smallest(name, SHARES, lambda x: _Change(missing=x))}
        if usual.kind == "numbers":
            said["mean"] = self._smallest(name, SHIFTS, lambda x: _Change(mean=x))
        else:
            said["category"] = self._smallest(name, SHARES, lambda x: _Change(category=x))
            said["unseen"] = self._smallest(name, SHARES, lambda x: _Change(unseen=x))
        return ColumnPlan(column=name, kind=usual.kind, **said)

    def _smallest(self, name: str, sizes: Sequence[float], change: Callable[[float], _Change]) -> float | None:
        """Return the smallest of some sizes that is found often enough; what finds it finds larger ones too."""
        low, high = 0, len(sizes)
        while low < high:
            middle = (low + high) // 2
            if self._found(name, change(sizes[middle])) >= POWER:
                high = middle
            else:
                low = middle + 1
        return sizes[low] if low < len(sizes) else None

    def _found(self, name: str, change: _Change) -> float:
        """Return the share of windows in which a change of one column is found, all others being as they were."""
        return sum(self._seen(name, change, number) for number in range(self.trials)) / self.trials

    def _seen(self, name: str, change: _Change, number: int) -> bool:
        """Say whether a change is seen against one of a few references that were drawn."""
        drawn = self.befores.setdefault(name, [])
        if len(drawn) < _BEFORE:
            drawn.append(self._drawn(name, self._reference_rows()))
        before = self._profile({name: drawn[number % len(drawn)]})
        window = self._profile({name: self._drawn(name, self.rows, change)})
        found = compared(window, Reference((before,)), self.source, self.detectors)
        return any(
            one.effect.p_value <= self._level(one) and one.effect.effect >= self.floor(name, one.detector.name)
            for one in found
        )

    def _level(self, one: Compared) -> float:
        """Return the p-value that one column alone needs among all, as the correction has it."""
        if one.certain:
            return 1.0
        if not self.thresholds:
            profile = self._profile({name: self._drawn(name, self.rows) for name in self.columns})
            tests = [
                test
                for test in compared(profile, self.reference, self.source, self.detectors)
                if not test.silent and not test.certain
            ]
            families = [test.family for test in tests]
            weights = weights_of(families)
            for family, weight in zip(families, weights.tolist(), strict=True):
                self.thresholds[family] = self.source.drift.false_discovery * weight / len(tests)
        return self.thresholds.get(one.family, self.source.drift.false_discovery / max(1, len(self.columns)))

    # --- drawing -------------------------------------------------------------------------

    def _usual(self, name: str) -> ColumnProfile:
        usual = self.reference.pooled(name)
        assert usual is not None
        return usual

    def _reference_rows(self) -> int:
        return min(self.reference.rows, _REFERENCE_ROWS)

    def _drawn_reference(self) -> Reference:
        rows = self._reference_rows()
        return Reference((self._profile({name: self._drawn(name, rows) for name in self.columns}),))

    def _profile(self, columns: dict[str, ColumnProfile]) -> Profile:
        rows = max((column.rows for column in columns.values()), default=0)
        return Profile(
            source="", digest="", rows=rows, start=_START, end=_START + timedelta(hours=1), columns=columns
        )  # fmt: skip

    def _drawn(self, name: str, rows: int, change: _Change = _Change()) -> ColumnProfile:  # noqa: B008 - it is frozen
        usual = self._usual(name)
        missing = int(self.rng.binomial(rows, min(1.0, usual.missing_rate + change.missing)))
        if usual.kind == "numbers":
            return self._numbers(name, usual, rows, missing, change)
        return self._categories(usual, rows, missing, change)

    def _numbers(self, name: str, usual: ColumnProfile, rows: int, missing: int, change: _Change) -> ColumnProfile:
        there = usual.rows - usual.missing
        infinite = int(self.rng.binomial(rows - missing, usual.infinite / there if there else 0.0))
        counted = {"rows": rows, "missing": missing, "infinite": infinite, "type": usual.type}
        count = rows - missing - infinite
        if not usual.count or not count:
            return ColumnProfile(kind="numbers", **{**counted, "missing": rows - infinite})
        points, weights = usual.distribution.points, usual.distribution.weights
        if count < len(points):
            ends = np.cumsum(weights)
            values = points[np.searchsorted(ends, np.sort(self.rng.random(count)) * ends[-1], side="right")]
        else:
            values = np.repeat(points, self.rng.multinomial(count, weights / weights.sum()))
        if change.mean:
            values = np.sort(self._moved(name, values, change.mean * spread_of(usual)))
        return numbers(values, **counted)

    def _moved(self, name: str, values: Floats, by: float) -> Floats:
        """Return values that are larger on average, whole numbers where they were."""
        if self.source.columns[name].type != "integer":
            return values + by
        whole = np.floor(by)
        moved: Floats = values + whole + (self.rng.random(len(values)) < by - whole)
        return moved

    def _categories(self, usual: ColumnProfile, rows: int, missing: int, change: _Change) -> ColumnProfile:
        count = rows - missing
        if not usual.count or not count:
            return ColumnProfile(kind="categories", rows=rows, missing=rows, type=usual.type)
        names = list(usual.top)
        shares = np.array([*usual.top.values(), usual.other], dtype=np.float64) / usual.count
        if change.category:
            moved = min(change.category, shares[0])
            shares[0] -= moved
            shares[1 if len(names) > 1 else 0] += moved
        new = change.unseen
        drawn = self.rng.multinomial(count, np.append(shares * (1 - new), new) / (shares.sum() * (1 - new) + new))
        top = {name: int(n) for name, n in zip(names, drawn[: len(names)], strict=True) if n}
        if drawn[-1]:
            top[_new_name(names)] = int(drawn[-1])
        other = int(drawn[len(names)])
        distinct = usual.distinct if other else 0
        return categories(top, other=other, distinct=distinct, rows=rows, missing=missing, type=usual.type)


def _new_name(names: Sequence[str]) -> str:
    return max(names, default="") + "+"


def _share(count: int, of: int) -> Share:
    from scipy.stats import binomtest

    ends = binomtest(count, of).proportion_ci(0.95, "exact")
    return Share(value=count / of, low=float(ends.low), high=float(ends.high))


def _largest(found: Sequence[float | None]) -> float | None:
    """Return the largest; None where there is none, or one is larger than all that were tried."""
    known = [one for one in found if one is not None]
    return max(known) if known and len(known) == len(found) else None
