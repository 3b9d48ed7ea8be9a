"""A column in another unit than before."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from modelwright.monitoring.checks import MIN_ROWS, UNITS, Unit
from modelwright.monitoring.healing.numerals import Style, decimals_of, written
from modelwright.monitoring.healing.past import numbers_of
from modelwright.monitoring.healing.repairs import Damaged, Proposal

Floats = npt.NDArray[np.float64]

_NEARLY = 0.99
_RARE = 0.1


@dataclass(frozen=True)
class UnitChange:
    """Brings columns back whose values are those of another unit (``checks.units.UNITS``).

    A unit *fits* a column that as it stands is further than ``far`` from all that was accepted (``Past.distance``)
    when without it the column is nearer than ``near``, ``gain`` times nearer than before, and as spread as ever up to a
    factor of ``alike``. That alone does not tell another unit from another world: a cold week in Fahrenheit is a
    possible one in Celsius. A fit is *sure* when

    - what was accepted is written in few decimals, and without the unit every value again is, which values that were
      not calculated so would not be: their neighbours, one unit in the last place away, mostly are not, or nine in ten
      are values that were there before, of which there are fewer than one in ten of those that could be written, or
      what was there before was converted from that unit itself: in it, it has no more decimals than the file, or
    - as it stands the column is further than ``beyond`` spreads from all that was accepted, and no other unit fits,

    and the values follow exactly, because the file has as many decimals as that takes. Of several units those count
    that fit about as well as the best (distance, and logarithm of how far the spread is off, up to ``tie``), and of
    these those after which every value is written as before, if there are any; several are several proposals.
    """

    name: str = "unit_change"
    version: int = 1
    far: float = 1.5
    near: float = 1.75
    gain: float = 2.5
    alike: float = 3.0
    beyond: float = 10.0
    tie: float = 0.75

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        blamed = damaged.found("unit_change", "range", "low", "high")
        columns = [name for name in damaged.source.columns if name in blamed]
        numeric = [n for n in columns if damaged.source.columns[n].type in ("integer", "number")]
        if damaged.sheet is None or damaged.missing or not numeric:
            return ()
        there = [_Column(self, damaged, name) for name in numeric]
        leads = [one for one in there if one.stands > self.far]
        possible = [unit for unit in UNITS if leads and all(one.fits(unit) for one in leads)]
        off = {unit: max(one.off(unit) for one in leads) for unit in possible}
        fits = [unit for unit in possible if off[unit] <= min(off.values()) + self.tie]
        exact = [unit for unit in fits if all(one.restored(unit) for one in leads)]
        return [self._back(damaged, there, leads, unit, alone=len(fits) == 1) for unit in exact or fits]

    def _back(
        self, damaged: Damaged, there: Sequence["_Column"], leads: Sequence["_Column"], unit: Unit, *, alone: bool
    ) -> Proposal:
        sheet = damaged.sheet
        assert sheet is not None
        along = [one for one in there if one in leads or one.nearer(unit)]
        for one in along:
            sheet = sheet.with_values(one.name, one.back(unit))
        names = ", ".join(one.name for one in along)
        known = all(one.restored(unit) or (alone and one.stands > self.beyond) for one in leads)
        sure = known and all(one.exact(unit) for one in along)
        text = f"brings {names} back by the inverse of {unit.formula} ({unit.text})"
        return Proposal(sheet, text, sure=sure, forward={one.name: unit.formula for one in along})


class _Column:
    """One column that may be in another unit."""

    def __init__(self, rule: UnitChange, damaged: Damaged, name: str) -> None:
        self.rule, self.damaged, self.name, self.past = rule, damaged, name, damaged.past
        self.typed, _ = damaged.typed(name)
        self.values: Floats = numbers_of(self.typed)
        self.stands = self._distance(self.values)
        self.decimals = self.past.decimals(name)

    def fits(self, unit: Unit) -> bool:
        """Say whether the column looks as ever without a unit."""
        back = _without(self.values, unit)
        near = self._distance(back)
        spread = self.past.spread(self.name)
        now = _spread(back)
        return (
            near < self.rule.near
            and near * self.rule.gain < self.stands
            and min(now, spread) > 0
            and abs(math.log(now / spread)) < math.log(self.rule.alike)
        )

    def off(self, unit: Unit) -> float:
        """Return how far the column is without a unit from what it was, in place and in spread."""
        back = _without(self.values, unit)
        return self._distance(back) + abs(math.log(_spread(back) / self.past.spread(self.name)))

    def nearer(self, unit: Unit) -> bool:
        """Say whether a column that is blamed beside others comes nearer with them."""
        return self._distance(_without(self.values, unit)) < self.stands

    def restored(self, unit: Unit) -> bool:
        """Say whether all values are written as ever without a unit, which others would not be."""
        back = _without(self.values, unit)
        if not back.size or not bool(np.mean(written(back, self.decimals)) >= _NEARLY):
            return False
        last = decimals_of(self.values)
        step = 10.0**-last if last < 15 else 1e-4
        beside = [_without(self.values + step * n, unit) for n in (-2, -1, 1, 2)]
        few = float(np.mean([written(each, self.decimals) for each in beside])) < 0.5
        return few or self._seen(back) or self._came_from(unit, last)

    def _came_from(self, unit: Unit, last: int) -> bool:
        """Say whether what was there before is written as shortly as the file in the unit, unlike its neighbours."""
        known = np.unique(np.concatenate(self.past.numbers(self.name)))
        step = 10.0**-self.decimals
        beside = [written(_within(known + step * n, unit), last) for n in (-2, -1, 1, 2)]
        own = float(np.mean(written(_within(known, unit), last)))
        return last < 15 and own >= _NEARLY and float(np.mean(beside)) < 0.5

    def _seen(self, back: Floats) -> bool:
        """Say whether values are nearly all ones that were there before, where few of those that could be were."""
        known = np.unique(np.round(np.concatenate(self.past.numbers(self.name)), self.decimals))
        inside = np.round(back[(back >= known[0]) & (back <= known[-1])], self.decimals)
        possible = (known[-1] - known[0]) * 10.0**self.decimals
        rare = len(known) < _RARE * possible
        return rare and inside.size >= MIN_ROWS and float(np.mean(np.isin(inside, known))) >= 1 - _RARE

    def exact(self, unit: Unit) -> bool:
        """Say whether the file has enough decimals for the value that was there to follow."""
        coarse = 10.0 ** -decimals_of(self.values) / abs(unit.slope)
        return self.restored(unit) or coarse <= 10.0**-self.decimals * (1 + 1e-9)

    def back(self, unit: Unit) -> pa.Array:
        """Return the column without the unit, as the file writes its numbers."""
        assert self.damaged.sheet is not None
        values = self.damaged.sheet.values(self.name)
        numbers = np.round(_without(_filled(self.typed), unit), self.decimals)
        there = self.typed.is_valid().to_pylist()
        if self.damaged.sheet.dialect is None:
            return _like(values.type, numbers, there)
        style = self._style(list(_texts(self.damaged, self.name)))
        old = values.to_pylist()
        told = zip(numbers.tolist(), there, old, strict=True)
        return pa.array([style.write(number) if known else was for number, known, was in told], pa.string())

    def _style(self, own: Sequence[str]) -> Style:
        others = [
            text
            for name, column in self.damaged.source.columns.items()
            if column.type == "number" and name != self.name and name in self.damaged.sheet.names  # type: ignore[union-attr]
            for text in _texts(self.damaged, name)
        ]
        mine = Style.of(own)
        decimals = None if self.decimals >= 15 else self.decimals
        integer = self.damaged.source.columns[self.name].type == "integer"
        point = False if integer else Style.of(others or own).point
        return Style(decimals=decimals, padded=mine.padded and bool(decimals), point=point)

    def _distance(self, values: Floats) -> float:
        found = self.past.distance(self.name, values) if values.size >= MIN_ROWS else None
        return 0.0 if found is None else found


def _without(values: Floats, unit: Unit) -> Floats:
    return (values - unit.offset) / unit.slope


def _spread(values: Floats) -> float:
    return float(np.subtract(*np.quantile(values, [0.75, 0.25]))) if values.size else 0.0


def _within(values: Floats, unit: Unit) -> Floats:
    return values * unit.slope + unit.offset


def _filled(typed: pa.Array) -> Floats:
    filled = typed.cast(pa.float64(), safe=False).fill_null(0.0)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.float64)


def _like(kind: pa.DataType, numbers: Floats, there: Sequence[bool]) -> pa.Array:
    values = [number if known else None for number, known in zip(numbers.tolist(), there, strict=True)]
    if pa.types.is_string(kind):
        return pa.array([None if value is None else repr(value) for value in values], kind)
    whole = pa.types.is_integer(kind) and all(value is None or value == int(value) for value in values)
    return pa.array([None if v is None else int(v) for v in values], kind) if whole else pa.array(values, pa.float64())


def _texts(damaged: Damaged, name: str) -> Iterator[str]:
    assert damaged.sheet is not None
    for text in damaged.sheet.values(name).to_pylist():
        if text is not None:
            yield str(text)
