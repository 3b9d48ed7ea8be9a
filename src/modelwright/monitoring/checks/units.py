"""A change of unit: the quantiles of a column are those of the reference in another unit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from modelwright.monitoring.checks.files import MIN_ROWS, MIN_UPLOADS, Fault, File, fault
from modelwright.monitoring.checks.spreads import chance_of, goes_on, scale_of
from modelwright.monitoring.profiles import ColumnProfile, Floats


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

    A column *leads* when as it stands it is further than ``far``, than uploads ever were from the one before, and than
    so few values may be by chance (``chance_of``), and a known change of unit brings it nearer than ``near`` and
    ``gain`` times nearer. Columns further than ``aside`` that a lead's change also brings nearer *follow* it, if their
    spread is ``alike`` up to that factor (so that they may have the lead's unit), because in winter a dew point in
    Celsius is a possible one in Fahrenheit, and only beside the temperature plainly wrong. In the weather of New York
    in 2013 no week leads as it is, and every week in Celsius does.

    Which unit: the nearest in distance and in spread; of several about as near the first of
    ``UNITS``, where the commonest stand first. A pure factor below ``small`` may be the world: it must
    bring the column nearer than ``surely``, needs three reference uploads, and only warns. What goes on from upload to
    upload (``goes_on``) has no unit that could change: the second thousand of serial numbers looks like the first one
    in Fahrenheit. While there are fewer than three, what rises or falls within the file is taken for such, and of whole
    numbers, which may be ids in any order, a change only warns.
    """

    learned: ClassVar[bool] = True
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

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        profile = file.judged
        columns = {
            name: uploads
            for name, now in profile.items()
            if now.kind == "numbers" and now.count >= MIN_ROWS and (uploads := _in_a_unit(file, name))
        }
        leads: dict[Unit, list[str]] = {}
        for name, uploads in columns.items():
            unit = self._change(profile[name], uploads)
            if unit is not None:
                leads.setdefault(unit, []).append(name)
        found: list[Fault] = []
        for unit in sorted(leads, key=UNITS.index):
            named = {name for one in found for name in one.finding.column.split(", ")}
            if left := [name for name in leads[unit] if name not in named]:
                surely = all(_is_measured(file, lead) for lead in left)
                found.append(self._finding(unit, left, profile, columns, surely=surely))
        return found

    def _change(self, now: ColumnProfile, uploads: list[ColumnProfile]) -> Unit | None:
        scale = scale_of(uploads)
        if scale == 0 or now.distinct == 1:
            return None
        newest = uploads[-self.compared :]
        before = [distance(b, [a], SAME, scale) for a, b in pairwise(uploads)]
        stands = distance(now, newest, SAME, scale)
        if stands < max(self.far, 1.2 * max(before, default=0.0), chance_of(now, newest) / scale):
            return None
        scores = [distance(now, newest, unit, scale) + _spread_off(now, unit, scale) for unit in UNITS]
        unit = next(unit for unit, score in zip(UNITS, scores, strict=True) if score <= min(scores) + self.tie)
        changed = distance(now, newest, unit, scale)
        near, uploads_needed = (self.surely, MIN_UPLOADS) if self._slight(unit) else (self.near, 1)
        believed = changed < near and changed * self.gain < stands and len(uploads) >= uploads_needed
        return unit if believed else None

    def _slight(self, unit: Unit) -> bool:
        return unit.offset == 0 and 1 / self.small < unit.slope < self.small

    def _finding(
        self,
        unit: Unit,
        leads: list[str],
        profile: dict[str, ColumnProfile],
        columns: dict[str, list[ColumnProfile]],
        *,
        surely: bool,
    ) -> Fault:
        scales = [scale_of(columns[lead]) for lead in leads]
        names = [
            name
            for name, uploads in columns.items()
            if name in leads or self._follows(profile[name], uploads, unit, scales)
        ]
        text = f"{', '.join(names)}: values look like {unit.formula} of the reference: {unit.text}"
        return fault(self.name, ", ".join(names), surely and not self._slight(unit), text)

    def _follows(self, now: ColumnProfile, uploads: list[ColumnProfile], unit: Unit, scales: list[float]) -> bool:
        scale = scale_of(uploads)
        if scale == 0 or unit.offset == 0 or now.distinct == 1:
            return False
        same_unit = any(lead / self.alike < scale < lead * self.alike for lead in scales)
        newest = uploads[-self.compared :]
        stands, changed = (distance(now, newest, one, scale) for one in (SAME, unit))
        return same_unit and stands > self.aside and changed < min(stands, self.near)


def restored(now: ColumnProfile, uploads: Sequence[ColumnProfile], compared: int = 4, score: float = 0.5) -> bool:
    """Say whether a change of unit makes a column what it was, in place and in spread together to within ``score``."""
    scale = scale_of(uploads)
    newest = uploads[-compared:]
    return scale > 0 and any(distance(now, newest, u, scale) + _spread_off(now, u, scale) < score for u in UNITS)


def _in_a_unit(file: File, column: str) -> list[ColumnProfile]:
    """Return the uploads that say in which unit a column is; none of what goes on."""
    uploads = file.reference.uploads(column)
    on_and_on = goes_on(uploads) if len(uploads) >= MIN_UPLOADS else file.runs(column)
    return [] if on_and_on else file.uploads(column)


def _is_measured(file: File, column: str) -> bool:
    """Say whether a column is no id whose uploads are too few to tell that it goes on."""
    return len(file.uploads(column)) >= MIN_UPLOADS or file.source.columns[column].type == "number"


def distance(now: ColumnProfile, uploads: Sequence[ColumnProfile], unit: Unit, scale: float) -> float:
    """Distance of a column, brought back from a unit, to the nearest upload."""
    back = (body_of(now.grid) - unit.offset) / unit.slope
    return min(float(np.mean(np.abs(back - body_of(upload.grid)))) for upload in uploads) / scale


def _spread_off(now: ColumnProfile, unit: Unit, scale: float) -> float:
    """How far a column's spread is from that of the reference in a unit, as the logarithm of their ratio."""
    spread = scale_of([now])
    return abs(math.log(spread / (unit.slope * scale))) if spread > 0 else math.inf


def body_of(grid: Floats) -> Floats:
    """Return quantiles without the 5 % at either end."""
    edge = grid.size // 20
    return grid[edge : grid.size - edge]
