"""How often the drift verdict cries wolf, and what it finds: windows without drift, and with one column shifted.

``python -m bench.power`` (in ``tests``) prints the table of the README: windows of 30 columns (normal, heavy tails,
lognormal, whole numbers with ties, constants, few values, categories with rare levels, 5 % missing, booleans), against
eight accepted uploads of as many rows each, judged as an upload is, before windows have to agree. Beside it stands
what the Kolmogorov-Smirnov test and Benjamini-Hochberg find alone, with one test for each column on the values that
are there (categories as numbers, the most frequent first), and for categories what scipy's chi-square test of
contingency finds in its place, which has not the level that it says where few are expected.

Every window is judged as it is and, with one column shifted, once for each shift. References are drawn anew as often
as time allows, since windows that share one are not independent.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from modelwright.events import Window
from modelwright.monitoring import columns, detectors
from modelwright.monitoring.columns import ColumnProfile
from modelwright.monitoring.profiles import Floats, Profile, Reference
from modelwright.monitoring.verdict import Seen, benjamini_hochberg, judge
from modelwright.monitoring.votes import DriftVotes
from modelwright.project import Column, DriftPolicy, Source

UPLOADS = 8
SIZES = (50, 200, 1_000, 10_000)
WINDOWS = 2_000
SHIFTED = 400
"""Of the windows, how many are judged with each shift too."""
REFERENCES = {50: 500, 200: 400, 1_000: 200, 10_000: 40}
START = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 0.05

Draw = Callable[[np.random.Generator, int], Floats]
RARE = np.array([0.4, 0.25, 0.15, 0.1, 0.05, 0.03, 0.01, 0.006, 0.003, 0.001])
ZIPF = (1 / np.arange(1, 31)) / np.sum(1 / np.arange(1, 31))
EVEN = np.full(6, 1 / 6)


def missing(draw: Draw, share: float) -> Draw:
    """Return a column of which a share is missing."""

    def drawn(rng: np.random.Generator, rows: int) -> Floats:
        values = draw(rng, rows)
        values[rng.random(rows) < share] = np.nan
        return values

    return drawn


def levels(shares: Floats) -> Draw:
    """Return a column of categories with these shares, as numbers."""
    return lambda rng, rows: rng.choice(len(shares), rows, p=shares / shares.sum()).astype(np.float64)


def whole(mean: float) -> Draw:
    """Return a column of counts."""
    return lambda rng, rows: rng.poisson(mean, rows).astype(np.float64)


NUMBERS: dict[str, Draw] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "normal_2": lambda rng, rows: rng.normal(1e6, 1e-2, rows),
    "normal_3": lambda rng, rows: rng.normal(-5, 100, rows),
    "uniform": lambda rng, rows: rng.random(rows),
    "exponential": lambda rng, rows: rng.exponential(size=rows),
    "gamma": lambda rng, rows: rng.gamma(0.5, size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(size=rows),
    "lognormal_2": lambda rng, rows: rng.lognormal(3, 2, rows),
    "student": lambda rng, rows: rng.standard_t(3, rows),
    "cauchy": lambda rng, rows: rng.standard_cauchy(rows),
    "counts": whole(3),
    "counts_2": whole(0.2),
    "counts_3": whole(40),
    "rounded": lambda rng, rows: np.round(rng.normal(size=rows), 1),
    "few": levels(np.array([0.6, 0.3, 0.1])),
    "constant": lambda rng, rows: np.full(rows, 7.0),
    "missing": missing(lambda rng, rows: rng.normal(size=rows), 0.05),
    "missing_2": missing(lambda rng, rows: rng.lognormal(size=rows), 0.05),
    "missing_3": missing(whole(10), 0.05),
    "missing_4": missing(lambda rng, rows: rng.standard_t(3, rows), 0.3),
}
CATEGORIES: dict[str, Draw] = {
    "rare": levels(RARE),
    "rare_2": levels(ZIPF),
    "rare_3": levels(np.array([0.97, 0.02, 0.01])),
    "even": levels(EVEN),
    "constant_level": levels(np.ones(1)),
    "missing_level": missing(levels(RARE), 0.05),
    "missing_level_2": missing(levels(EVEN), 0.05),
    "yes": levels(np.array([0.5, 0.5])),
    "seldom": levels(np.array([0.95, 0.05])),
    "never": levels(np.array([0.998, 0.002])),
}


class Shift(NamedTuple):
    """A shift of one column.

    Attributes:
        text: for the table.
        above: whether it is above the documented floors.
    """

    text: str
    column: str
    above: bool
    move: Callable[[Floats, np.random.Generator], Floats]


def _some(share: float, value: float) -> Callable[[Floats, np.random.Generator], Floats]:
    return lambda values, rng: np.where(rng.random(len(values)) < share, value, values)


def _cauchy(values: Floats, rng: np.random.Generator) -> Floats:
    return rng.standard_cauchy(len(values))


SHIFTS = (
    Shift("mean + 0.2 sd", "normal", True, lambda v, _: v + 0.2),
    Shift("mean + 0.3 sd", "normal", True, lambda v, _: v + 0.3),
    Shift("mean + 0.5 sd", "normal", True, lambda v, _: v + 0.5),
    Shift("normal becomes Cauchy", "normal", True, _cauchy),
    Shift("missing 5 % to 15 %", "missing", True, _some(0.1 / 0.95, np.nan)),
    Shift("a new category, 5 %", "rare", True, _some(0.05, 99.0)),
    Shift("mean + 0.05 sd", "normal", False, lambda v, _: v + 0.05),
    Shift("mean + 0.1 sd", "normal", False, lambda v, _: v + 0.1),
    Shift("missing 5 % to 8 %", "missing", False, _some(0.03 / 0.95, np.nan)),
    Shift("a new category, 0.5 %", "rare", False, _some(0.005, 99.0)),
)
DETECTORS: tuple[detectors.Detector, ...] = (
    *(detectors.KolmogorovSmirnov(), detectors.ChiSquare(), detectors.MissingRateShift()),
    *(detectors.InfiniteRateShift(), detectors.UnseenCategories(), detectors.OutOfRange(), detectors.TypeChange()),
)


class Counted(NamedTuple):
    """What was counted at one size.

    Attributes:
        windows: without drift, how many.
        alarms: how many of these alarm.
        alone: in how many of these KS and BH alone do; then with chi-square for categories.
        shifted: windows with each shift.
        found: by shift, how often the shifted column is among those that moved.
        found_alone: the same, of KS and BH alone; then with chi-square for categories.
    """

    rows: int
    windows: int
    alarms: int
    alone: tuple[int, int]
    shifted: int
    found: tuple[int, ...]
    found_alone: tuple[tuple[int, ...], tuple[int, ...]]

    def plus(self, other: "Counted") -> "Counted":
        """Return the sum of two."""
        return Counted(
            rows=self.rows,
            windows=self.windows + other.windows,
            alarms=self.alarms + other.alarms,
            alone=(self.alone[0] + other.alone[0], self.alone[1] + other.alone[1]),
            shifted=self.shifted + other.shifted,
            found=_sums(self.found, other.found),
            found_alone=(
                _sums(self.found_alone[0], other.found_alone[0]),
                _sums(self.found_alone[1], other.found_alone[1]),
            ),
        )

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval of the share that alarms (Clopper & Pearson, Biometrika 26, 1934)."""
        return clopper_pearson(self.alarms, self.windows)[0]


def clopper_pearson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    found = stats.binomtest(count, of).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class _Group:
    """One reference and its windows.

    Attributes:
        shifted: how many of the windows are shifted too.
        beside: whether to count too what others find.
    """

    rows: int
    windows: int
    shifted: int
    seed: tuple[int, ...]
    beside: bool = True


def counted(group: _Group) -> Counted:
    """Judge the windows of one reference."""
    rng = np.random.default_rng(group.seed)
    source, judges = made_source(group.rows), [_Remembering(one) for one in DETECTORS]
    uploads = [drawn(rng, group.rows) for _ in range(UPLOADS)]
    reference = Reference(tuple(profiled(values, number) for number, values in enumerate(uploads)))
    usual = {name: np.sort(_there(np.concatenate([upload[name] for upload in uploads]))) for name in uploads[0]}
    alarms, alone = 0, [0, 0]
    found, found_alone = np.zeros(len(SHIFTS), int), np.zeros((2, len(SHIFTS)), int)
    for number in range(group.windows):
        values = drawn(rng, group.rows)
        profile = profiled(values, UPLOADS)
        p_values = _alone(usual, values) if group.beside else {}
        alarms += bool(_moved(profile, reference, source, judges))
        for way in (0, 1):
            alone[way] += any(benjamini_hochberg([p[way] for p in p_values.values()], RATE))
        for place, shift in enumerate(SHIFTS if number < group.shifted else ()):
            there = shift.move(values[shift.column], rng)
            column = column_of(shift.column, there)
            changed = profile.model_copy(update={"columns": {**profile.columns, shift.column: column}})
            found[place] += shift.column in _moved(changed, reference, source, judges)
            p_shifted = p_values | _alone(usual, {shift.column: there})
            for way in (0, 1):
                rejected = benjamini_hochberg([p[way] for p in p_shifted.values()], RATE)
                found_alone[way, place] += rejected[list(p_shifted).index(shift.column)]
        for judging in judges:
            judging.forget()
    return Counted(
        rows=group.rows,
        windows=group.windows,
        alarms=alarms,
        alone=(alone[0], alone[1]),
        shifted=group.shifted,
        found=tuple(found.tolist()),
        found_alone=(tuple(found_alone[0].tolist()), tuple(found_alone[1].tolist())),
    )


def study(
    sizes: Sequence[int],
    windows: int,
    shifted: int,
    *,
    references: int = 0,
    beside: bool = True,
    seed: int = 6,
    jobs: int = 2,
) -> Iterator[Counted]:
    """Yield what was counted at each size.

    Args:
        sizes: rows of a window.
        windows: windows without drift.
        shifted: how many of them are judged with each shift too.
        references: how many are drawn; 0: as many as there is time for.
        beside: whether to count what others find; needed with shifts.
        seed: the same numbers come again with it.
        jobs: processes; 1: this one.
    """
    for rows in sizes:
        count = min(references or REFERENCES[rows], windows)
        groups = [
            _Group(rows, windows // count, _share_of(shifted, count, number), (seed, rows, number), beside)
            for number in range(count)
        ]
        if jobs == 1:
            parts = [counted(group) for group in groups]
        else:
            with ProcessPoolExecutor(jobs) as pool:
                parts = list(pool.map(counted, groups, chunksize=4))
        yield functools.reduce(Counted.plus, parts)


def drawn(rng: np.random.Generator, rows: int) -> dict[str, Floats]:
    """Return a window's values."""
    return {name: draw(rng, rows) for name, draw in (NUMBERS | CATEGORIES).items()}


def profiled(values: dict[str, Floats], number: int) -> Profile:
    """Return a window's profile."""
    start = START + timedelta(days=number)
    rows = len(values["normal"])
    made = {name: column_of(name, column) for name, column in values.items()}
    return Profile(
        source="rows", digest=str(number), rows=rows, start=start, end=start + timedelta(hours=23), columns=made
    )


def column_of(name: str, values: Floats) -> ColumnProfile:
    """Return the profile of a column."""
    there = _there(values)
    gone = len(values) - len(there)
    if name in NUMBERS:
        return columns.numbers(np.sort(there), rows=len(values), missing=gone, type="double")
    known, counts = np.unique(there, return_counts=True)
    top = {f"level {value:g}": int(count) for value, count in zip(known, counts, strict=True)}
    return columns.categories(top, rows=len(values), missing=gone, type="string")


def made_source(rows: int) -> Source:
    """Return the declaration of the columns; windows of any size are judged."""
    declared = {name: Column(type="number", nullable=True) for name in NUMBERS}
    declared |= {name: Column(type="string", nullable=True) for name in CATEGORIES}
    return Source(
        columns={**declared, "at": Column(type="timestamp")}, key=("at",), event_time="at",
        drift=DriftPolicy(min_rows=rows),
    )  # fmt: skip


def table(results: Sequence[Counted]) -> str:
    """Return the results as Markdown."""
    sizes = [f"n = {one.rows:,}" for one in results]
    lines = [f"| | {' | '.join(sizes)} |", "|---|" + "---|" * len(results)]

    def line(title: str, cells: Sequence[str]) -> None:
        lines.append(f"| {title} | {' | '.join(cells)} |")

    line("windows without drift that alarm", [f"{one.alarms / one.windows:.1%}" for one in results])
    line("its 95 % interval", ["{:.1%} to {:.1%}".format(*clopper_pearson(o.alarms, o.windows)) for o in results])
    line("the same, KS + BH alone", [f"{one.alone[0] / one.windows:.1%}" for one in results])
    line("the same, of categories chi-square", [f"{one.alone[1] / one.windows:.1%}" for one in results])
    for above, title in ((True, "above the floors: found (KS + BH alone)"), (False, "below them: found (the same)")):
        line(f"*{title}*", [""] * len(results))
        for place, shift in enumerate(SHIFTS):
            if shift.above == above:
                line(shift.text, [_cell(one, place, shift) for one in results])
    return "\n".join(lines)


def main() -> int:
    """Print the table; the exit status says whether the bounds hold."""
    began, results = time.perf_counter(), []
    for one in study(SIZES, WINDOWS, SHIFTED):
        results.append(one)
        print(f"n = {one.rows}: {one.alarms} of {one.windows}", file=sys.stderr)  # noqa: T201
    print(table(results))  # noqa: T201
    print(f"\n{WINDOWS} windows, {SHIFTED} of each shift; {time.perf_counter() - began:.0f} s")  # noqa: T201
    return 0 if all(one.low <= RATE for one in results) else 1


# --- private -----------------------------------------------------------------------------


@dataclass
class _Remembering:
    """A detector that is asked about the same two columns once, since shifts change one column of many."""

    detector: detectors.Detector
    known: dict[tuple[int, int], tuple[ColumnProfile, detectors.Effect]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.detector.name

    @property
    def floor(self) -> float:
        return self.detector.floor

    @property
    def kinds(self) -> tuple[Literal["numbers", "categories"], ...]:
        return self.detector.kinds

    def compare(self, reference: ColumnProfile, window: ColumnProfile) -> detectors.Effect:
        key = (id(reference), id(window))
        if key not in self.known:
            # the window is kept, lest another one is given its identity
            self.known[key] = (window, self.detector.compare(reference, window))
        return self.known[key][1]

    def forget(self) -> None:
        self.known.clear()


def _moved(profile: Profile, reference: Reference, source: Source, judges: Sequence[detectors.Detector]) -> set[str]:
    window = Window(start=profile.start, end=profile.end + timedelta(microseconds=1))
    verdict = judge(Seen(profile, reference), window, source, judges, DriftVotes())
    return {one.column for one, moved in zip(verdict.columns, verdict.moved, strict=True) if moved}


def _cell(one: Counted, place: int, shift: Shift) -> str:
    ks, chi_square = (found[place] / one.shifted for found in one.found_alone)
    beside = f"{ks:.0%}" if shift.column in NUMBERS else f"{ks:.0%}; chi-square {chi_square:.0%}"
    return f"{one.found[place] / one.shifted:.0%} ({beside})"


def _sums(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _there(values: Floats) -> Floats:
    kept: Floats = values[~np.isnan(values)]
    return kept


def _alone(usual: dict[str, Floats], values: dict[str, Floats]) -> dict[str, tuple[float, float]]:
    """Return p-values of columns: of KS, and of what is used where it is meant for numbers only."""
    found = {}
    for name, column in values.items():
        now = np.sort(_there(column))
        ks = _ks(usual[name], now) if len(now) else 1.0
        found[name] = (ks, ks if name in NUMBERS or not len(now) else _chi_square(usual[name], now))
    return found


def _ks(usual: Floats, now: Floats) -> float:
    """What ``scipy.stats.ks_2samp`` gives with ``method="asymp"``, of samples in order."""
    points, counts = np.unique(now, return_counts=True)
    heights = np.concatenate([[0.0], np.cumsum(counts) / len(now)])
    below, upto = (np.searchsorted(usual, points, side=side) / len(usual) for side in ("left", "right"))
    distance = max(np.max(np.abs(below - heights[:-1])), np.max(np.abs(upto - heights[1:])))
    return float(stats.kstwo.sf(distance, round(len(usual) * len(now) / (len(usual) + len(now)))))


def _chi_square(usual: Floats, now: Floats) -> float:
    known = np.union1d(usual, now)
    counts = [np.bincount(np.searchsorted(known, side), minlength=len(known)) for side in (usual, now)]
    return float(stats.chi2_contingency(counts, correction=False).pvalue) if len(known) > 1 else 1.0


def _share_of(total: int, parts: int, number: int) -> int:
    return total * (number + 1) // parts - total * number // parts


if __name__ == "__main__":
    sys.exit(main())
