"""Checks of whole files against what was accepted before; each is a plugin of ``modelwright.checks``.

A check looks at a file's profile and at the reference, and says in words what is wrong. *block*
means that nothing of the file can be believed; *warn* goes along with the accepted file. The
bounds are learned: a value is out of bounds when it is further from the accepted uploads of
the last weeks than these are from each other, by more than a floor, so that seasons pass. No
check speaks on fewer than ``MIN_ROWS`` rows or before anything was accepted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from modelwright.events import Finding
from modelwright.monitoring.profiles import ColumnProfile, Floats, Profile, Reference
from modelwright.project import Source

MIN_ROWS = 30
MIN_UPLOADS = 3
"""With fewer accepted uploads nobody knows how much they differ."""


class Check(Protocol):
    """A plugin that judges a whole file; made without arguments, keeps no state."""

    @property
    def name(self) -> str:
        """How configuration and findings call it."""
        ...

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """Return what is wrong with a file of at least ``MIN_ROWS`` rows, given a reference that is not empty."""
        ...


def check_file(profile: Profile, reference: Reference, source: Source, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """Run all checks on a file; too few rows or no reference: nothing is said."""
    if profile.rows < MIN_ROWS or not reference.profiles:
        return ()
    return tuple(finding for check in checks for finding in check.check(profile, reference, source))


@dataclass(frozen=True)
class MissingRate:
    """More values are missing than ever in the accepted weeks.

    The rate must exceed the highest of the reference uploads by a floor and by three binomial standard
    errors, and to block also by how much these uploads differ among themselves (their highest rate, while
    they are fewer than three). A quarter of a column is more than the world takes: in the year 2013 of New
    York the worst is a blizzard week, whose cancelled flights make 16 % of the delays missing after at most 4 %.
    """

    name: str = "missing_rate"
    block: float = 0.25
    warn: float = 0.05

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        found = []
        for column, now in profile.columns.items():
            rates = [p.columns[column].missing_rate for p in reference.profiles if column in p.columns]
            if not rates:
                continue
            usual, highest = float(np.median(rates)), max(rates)
            spread = 3 * math.sqrt(max(highest * (1 - highest), 1 / now.rows) / now.rows)
            excess = now.missing_rate - highest
            if excess > max(self.warn, spread):
                text = f"{column}: {now.missing_rate:.0%} missing, usually {usual:.1%} (at most {highest:.1%})"
                differ = highest - min(rates) if len(rates) >= MIN_UPLOADS else highest
                found.append(_finding(self.name, column, excess > max(self.block, differ), text))
        return found


class Unit(NamedTuple):
    """A change of unit: ``value = slope * reference + offset``, and how it is written."""

    text: str
    formula: str
    slope: float
    offset: float


UNITS = (
    Unit("Celsius instead of Fahrenheit", "(x-32)*5/9", 5 / 9, -160 / 9),
    Unit("Fahrenheit instead of Celsius", "x*9/5+32", 1.8, 32),
    Unit("Kelvin instead of Celsius", "x+273.15", 1, 273.15),
    Unit("Celsius instead of Kelvin", "x-273.15", 1, -273.15),
    Unit("Kelvin instead of Fahrenheit", "(x+459.67)*5/9", 5 / 9, 459.67 * 5 / 9),
    Unit("metres per second instead of miles per hour", "x*0.44704", 0.44704, 0),
    Unit("miles per hour instead of metres per second", "x/0.44704", 1 / 0.44704, 0),
    Unit("feet instead of metres", "x/0.3048", 1 / 0.3048, 0),
    Unit("metres instead of feet", "x*0.3048", 0.3048, 0),
    Unit("metres per second instead of kilometres per hour", "x/3.6", 1 / 3.6, 0),
    Unit("kilometres per hour instead of metres per second", "x*3.6", 3.6, 0),
    Unit("kilometres instead of miles", "x*1.609344", 1.609344, 0),
    Unit("miles instead of kilometres", "x/1.609344", 1 / 1.609344, 0),
    Unit("millimetres instead of inches", "x*25.4", 25.4, 0),
    Unit("inches instead of millimetres", "x/25.4", 1 / 25.4, 0),
    Unit("inches of mercury instead of hectopascal", "x*0.02953", 0.02953, 0),
    Unit("hectopascal instead of inches of mercury", "x/0.02953", 1 / 0.02953, 0),
    Unit("a factor of 1000", "x*1000", 1000, 0),
    Unit("a factor of 1/1000", "x/1000", 1 / 1000, 0),
    Unit("percent instead of a share (or cents)", "x*100", 100, 0),
    Unit("a share instead of percent", "x/100", 1 / 100, 0),
    Unit("a factor of 60 (seconds, minutes, hours)", "x*60", 60, 0),
    Unit("a factor of 1/60 (seconds, minutes, hours)", "x/60", 1 / 60, 0),
)
SAME = Unit("", "x", 1, 0)


@dataclass(frozen=True)
class UnitChange:
    """The quantiles of a column are those of the reference in another unit.

    Distances are mean absolute differences of the 5 % to 95 % quantiles, in units of the typical
    spread of one upload (75 % minus 25 % quantile), to the nearest of the newest ``compared`` uploads.

    A column *leads* when as it stands it is further than ``far``, and than uploads ever were from the
    one before, and a known change of unit brings it nearer than ``near`` and ``gain`` times nearer.
    Columns further than ``aside`` that a lead's change also brings nearer *follow* it, if their spread is
    ``alike`` up to that factor (so that they may have the lead's unit), because in winter a dew point in
    Celsius is a possible one in Fahrenheit, and only beside the temperature plainly wrong. In the
    weather of New York in 2013 no week leads as it is, and every week in Celsius does.

    Which unit: the nearest in distance and in spread; of several about as near the first of
    ``UNITS``, where the commonest stand first. A pure factor below ``small`` may be the world: it must
    bring the column nearer than ``surely``, needs three reference uploads, and only warns.
    """

    name: str = "unit_change"
    far: float = 1.5
    near: float = 1.75
    gain: float = 2.5
    compared: int = 4
    small: float = 2.5
    surely: float = 0.2
    tie: float = 0.75
    aside: float = 0.5
    alike: float = 3.0

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        columns = {
            name: uploads
            for name, now in profile.columns.items()
            if now.kind == "numbers" and now.count >= MIN_ROWS and (uploads := reference.uploads(name))
        }
        leads: dict[Unit, list[str]] = {}
        for name, uploads in columns.items():
            unit = self._change(profile.columns[name], uploads)
            if unit is not None:
                leads.setdefault(unit, []).append(name)
        found: list[Finding] = []
        for unit in sorted(leads, key=UNITS.index):
            named = {name for finding in found for name in finding.column.split(", ")}
            if left := [name for name in leads[unit] if name not in named]:
                found.append(self._finding(unit, left, profile, columns))
        return found

    def _change(self, now: ColumnProfile, uploads: list[ColumnProfile]) -> Unit | None:
        scale = _scale(uploads)
        if scale == 0 or now.distinct == 1:
            return None
        newest = uploads[-self.compared :]
        before = [_distance(b, [a], SAME, scale) for a, b in pairwise(uploads)]
        stands = _distance(now, newest, SAME, scale)
        if stands < max(self.far, 1.2 * max(before, default=0.0)):
            return None
        scores = [_distance(now, newest, unit, scale) + _spread_off(now, unit, scale) for unit in UNITS]
        unit = next(unit for unit, score in zip(UNITS, scores, strict=True) if score <= min(scores) + self.tie)
        changed = _distance(now, newest, unit, scale)
        near, uploads_needed = (self.surely, MIN_UPLOADS) if self._slight(unit) else (self.near, 1)
        believed = changed < near and changed * self.gain < stands and len(uploads) >= uploads_needed
        return unit if believed else None

    def _slight(self, unit: Unit) -> bool:
        return unit.offset == 0 and 1 / self.small < unit.slope < self.small

    def _finding(
        self, unit: Unit, leads: list[str], profile: Profile, columns: dict[str, list[ColumnProfile]]
    ) -> Finding:
        scales = [_scale(columns[lead]) for lead in leads]
        names = [
            name
            for name, uploads in columns.items()
            if name in leads or self._follows(profile.columns[name], uploads, unit, scales)
        ]
        text = f"{', '.join(names)}: values look like {unit.formula} of the reference: {unit.text}"
        return _finding(self.name, ", ".join(names), not self._slight(unit), text)

    def _follows(self, now: ColumnProfile, uploads: list[ColumnProfile], unit: Unit, scales: list[float]) -> bool:
        scale = _scale(uploads)
        if scale == 0 or unit.offset == 0 or now.distinct == 1:
            return False
        same_unit = any(lead / self.alike < scale < lead * self.alike for lead in scales)
        newest = uploads[-self.compared :]
        stands, changed = (_distance(now, newest, one, scale) for one in (SAME, unit))
        return same_unit and stands > self.aside and changed < min(stands, self.near)


@dataclass(frozen=True)
class ConstantColumn:
    """A number that always varied has one value only.

    Only where in no reference upload a single value took over half of the rows: in dry weeks rain is zero.
    """

    name: str = "constant_column"
    usual_share: float = 0.5

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        found = []
        for column, now in profile.columns.items():
            uploads = reference.uploads(column)
            if now.kind == "times" or now.count < MIN_ROWS or now.distinct != 1 or not uploads:
                continue
            if max(upload.mode_share for upload in uploads) <= self.usual_share:
                least = min(upload.distinct for upload in uploads)
                text = f"{column}: one value in all {now.count} rows, usually at least {least} different ones"
                found.append(_finding(self.name, column, now.kind == "numbers", text))
        return found


@dataclass(frozen=True)
class Volume:
    """Rows per hour of event time are far from those of the reference.

    Too many block (something was multiplied); too few only warn: rows that are there are no worse
    for others' absence, and a correction may hold a few rows.
    """

    name: str = "volume"
    block: float = 5.0
    warn: float = 2.0

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        usual = [_density(p) for p in reference.profiles if p.rows >= MIN_ROWS]
        now = _density(profile)
        if not usual or (min(usual) / self.warn <= now <= max(usual) * self.warn):
            return []
        text = f"{now:.3g} rows per hour, usually {min(usual):.3g} to {max(usual):.3g}"
        return [_finding(self.name, "", now > max(usual) * self.block, text)]


@dataclass(frozen=True)
class LearnedRange:
    """Values lie beyond all that was seen, by more than the whole width of what was seen.

    A quarter of the values blocks; one in a hundred warns (storms and long delays are rare and real).
    """

    name: str = "range"
    block: float = 0.25
    warn: float = 0.01

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        found = []
        for column, now in profile.columns.items():
            seen = reference.pooled(column)
            if now.kind != "numbers" or not now.count or seen is None or seen.low is None or seen.high is None:
                continue
            width = seen.high - seen.low
            if width == 0 or seen.count < MIN_ROWS:
                continue
            outside = np.mean((now.grid < seen.low - width) | (now.grid > seen.high + width))
            if outside > self.warn:
                text = f"{column}: {outside:.0%} of values far outside {seen.low:.4g} to {seen.high:.4g}"
                found.append(_finding(self.name, column, bool(outside > self.block), text))
        return found


@dataclass(frozen=True)
class UnknownCategories:
    """Most values of a column with few known values are new: it was coded anew. A new value now and then is life."""

    name: str = "unknown_categories"
    block: float = 0.5
    warn: float = 0.05
    most: int = 50

    def check(self, profile: Profile, reference: Reference, source: Source) -> Sequence[Finding]:
        """See ``Check``."""
        found = []
        for column, now in profile.columns.items():
            seen = reference.pooled(column)
            if now.kind != "categories" or not now.count or seen is None or not seen.top or seen.distinct >= self.most:
                continue
            known = sum(count for value, count in now.top.items() if value in seen.top)
            unknown = 1 - known / now.count
            if unknown > self.warn:
                text = f"{column}: {unknown:.0%} of values were never seen before"
                found.append(_finding(self.name, column, unknown > self.block, text))
        return found


def _finding(check: str, column: str, block: bool, text: str) -> Finding:
    return Finding(check=check, column=column, severity="block" if block else "warn", text=text)


def _scale(uploads: Sequence[ColumnProfile]) -> float:
    """Typical spread of one upload."""
    last = uploads[0].grid.size - 1
    return float(np.median([u.grid[3 * last // 4] - u.grid[last // 4] for u in uploads]))


def _distance(now: ColumnProfile, uploads: Sequence[ColumnProfile], unit: Unit, scale: float) -> float:
    """Distance of a column, brought back from a unit, to the nearest upload."""
    back = (_body(now.grid) - unit.offset) / unit.slope
    return min(float(np.mean(np.abs(back - _body(upload.grid)))) for upload in uploads) / scale


def _spread_off(now: ColumnProfile, unit: Unit, scale: float) -> float:
    """How far a column's spread is from that of the reference in a unit, as the logarithm of their ratio."""
    spread = _scale([now])
    return abs(math.log(spread / (unit.slope * scale))) if spread > 0 else math.inf


def _body(grid: Floats) -> Floats:
    edge = grid.size // 20
    return grid[edge : grid.size - edge]


def _density(profile: Profile) -> float:
    hours = (profile.end - profile.start).total_seconds() / 3600 + 1
    return profile.rows / hours
