"""Cells that say the right thing in the wrong type: numbers, booleans and times as somebody's program wrote them."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import islice, product

import numpy as np
import pyarrow as pa

from modelwright.monitoring.healing.repairs import Damaged, Proposal
from modelwright.monitoring.healing.timestyles import TimeStyle
from modelwright.monitoring.reading import Mask, typed_array

Reading = Callable[[str], str | None]
"""Returns what a cell means, as a program would write it; None where it cannot mean that."""

_MOST = 8
_ENOUGH = 10
_POINTS = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")
_COMMAS = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?")
_SPACES = re.compile(r"[+-]?\d{1,3}([ '\u2019\u00a0\u202f]\d{3})*([.,]\d+)?")
_PERCENT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*%")
_YES, _NO = ("y", "on", "true", "t", "yes", "1.0"), ("n", "off", "false", "f", "no", "0.0")
_EPOCHS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAYS = re.compile(r"(\d{1,2})([/.\-])(\d{1,2})\2(\d{4})([ T]\d{2}:\d{2}(?::\d{2})?)?")
_YEARS = range(1990, 2100)


@dataclass(frozen=True)
class TypeCoercion:
    """Reads cells that are not of their column's type as what was surely meant.

    Numbers with thousands separators or decimal commas, percentages, booleans in other words and as numbers, seconds
    to nanoseconds since 1970 as times, and dates whose day stands before or after the month. A reading must make sense
    of every cell of a column that is broken. Of several readings, those count after which these cells look like what
    was accepted before (``Past.fits``); what is then left between is proposed side by side: ``1,234`` may be one or a
    thousand, ``03/04/2013`` March or April.
    """

    name: str = "type_coercion"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or damaged.missing:
            return ()
        readings = {name: _readings(damaged, name) for name in damaged.source.columns}
        told = {name: ways for name, ways in readings.items() if ways}
        return [self._read(damaged, dict(zip(told, ways, strict=True))) for ways in _combined(told)]

    def _read(self, damaged: Damaged, ways: dict[str, tuple[str, pa.Array]]) -> Proposal:
        sheet = damaged.sheet
        assert sheet is not None
        for name, (_, values) in ways.items():
            sheet = sheet.with_values(name, values)
        return Proposal(sheet, "; ".join(f"reads {name} as {how}" for name, (how, _) in ways.items()))


def _combined(told: dict[str, list[tuple[str, pa.Array]]]) -> Iterator[tuple[tuple[str, pa.Array], ...]]:
    return islice(product(*told.values()), _MOST) if told else iter(())


def _readings(damaged: Damaged, name: str) -> list[tuple[str, pa.Array]]:
    """Return the ways to read a column whose cells are not all of its type, each with what they then are."""
    assert damaged.sheet is not None
    values, (_, broken) = damaged.sheet.values(name), damaged.typed(name)
    kind = damaged.source.columns[name].type
    if broken is None or not broken.any():
        return []
    if not pa.types.is_string(values.type):
        return list(_of_values(values, kind))
    cells = values.to_pylist()
    found: dict[tuple[str | None, ...], str] = {}
    for how, reading, everywhere in _WAYS[kind](damaged) if kind in _WAYS else ():
        new = _applied(cells, broken, reading, everywhere=everywhere)
        if new is not None:
            found.setdefault(tuple(new), how)
    ways = [(how, pa.array(new, pa.string())) for new, how in found.items()]
    read = pa.array(broken if broken.sum() >= _ENOUGH else np.ones(len(broken), dtype=bool))
    fits = [(way, damaged.past.fits(name, _as(damaged, name, way[1]).filter(read))) for way in ways]
    likely = [way for way, looks in fits if looks is True]
    return likely or [way for way, looks in fits if looks is None or len(ways) > 1] or ways


def _as(damaged: Damaged, name: str, values: pa.Array) -> pa.Array:
    return typed_array(pa.chunked_array([values]), damaged.source.columns[name].type)[0]


def _applied(
    cells: Sequence[str | None], broken: Mask, reading: Reading, *, everywhere: bool
) -> list[str | None] | None:
    """Return the cells, read anew where they are broken or everywhere; None if one has no such meaning."""
    new: list[str | None] = []
    for cell, bad in zip(cells, broken.tolist(), strict=True):
        meant = reading(cell.strip()) if cell is not None and (bad or everywhere) else cell
        if cell is not None and meant is None:
            return None
        new.append(meant)
    return new


# --- numbers and booleans ----------------------------------------------------------------


def _separated(pattern: re.Pattern[str], point: str, cell: str) -> str | None:
    if not pattern.fullmatch(cell):
        return None
    whole, separator, decimals = cell.rpartition(point)
    whole, decimals = (whole, f".{decimals}") if separator else (cell, "")
    return re.sub(r"[^\d+-]", "", whole) + decimals


def _spaced(cell: str) -> str | None:
    return _separated(_SPACES, "," if "," in cell else ".", cell)


def _percent(power: int, cell: str) -> str | None:
    found = _PERCENT.fullmatch(cell)
    try:
        return None if found is None else f"{Decimal(found[1]).scaleb(power):f}"
    except InvalidOperation:
        return None


def _bit(cell: str) -> str | None:
    return {"true": "1", "false": "0"}.get(cell.lower())


def _numbers(damaged: Damaged) -> Sequence[tuple[str, Reading, bool]]:
    points, commas = partial(_separated, _POINTS, "."), partial(_separated, _COMMAS, ",")
    return (
        ("numbers with commas between thousands", points, False),
        ("numbers with decimal commas", commas, False),
        ("numbers with decimal commas", commas, True),
        ("numbers with spaces between thousands", _spaced, False),
        ("percentages, as they are", partial(_percent, 0), False),
        ("percentages, as shares", partial(_percent, -2), False),
        ("booleans, one and zero", _bit, False),
    )


def _booleans(damaged: Damaged) -> Sequence[tuple[str, Reading, bool]]:
    def meant(cell: str) -> str | None:
        lower = cell.lower()
        return "true" if lower in _YES else "false" if lower in _NO else None

    return (("booleans in other words", meant, False),)


def _of_values(values: pa.Array, kind: str) -> Iterator[tuple[str, pa.Array]]:
    """Yield what values of Parquet that are no text may be."""
    if kind in ("integer", "number") and pa.types.is_boolean(values.type):
        yield "booleans, one and zero", values.cast(pa.int64())
    if kind == "string" and pa.types.is_floating(values.type):
        numbers = np.asarray(values.fill_null(0.0).to_numpy(zero_copy_only=False))
        if bool(np.all(numbers == np.floor(numbers))):
            yield "whole numbers that became floats", values.cast(pa.int64()).cast(pa.string())
    if kind == "timestamp" and pa.types.is_integer(values.type):
        for unit, per_second in _EPOCHS.items():
            seconds = [None if value is None else value // per_second for value in values.to_pylist()]
            if all(value is None or _in_years(value) for value in seconds):
                yield f"{unit} since 1970", values.cast(pa.int64()).cast(pa.timestamp(unit, "UTC"))


# --- times -------------------------------------------------------------------------------


def _times(damaged: Damaged) -> Sequence[tuple[str, Reading, bool]]:
    style = TimeStyle.of_file(damaged)
    epochs = [(f"{unit} since 1970", partial(_epoch, per, style), False) for unit, per in _EPOCHS.items()]
    return (
        *epochs,
        ("dates, the day first", partial(_date, 0, style), False),
        ("dates, the month first", partial(_date, 1, style), False),
    )


def _epoch(per_second: int, style: TimeStyle, cell: str) -> str | None:
    try:
        microseconds = int(Decimal(cell) * 10**6 / per_second) if re.fullmatch(r"\d{9,19}(\.\d+)?", cell) else -1
    except InvalidOperation:
        return None
    if not _in_years(microseconds // 10**6):
        return None
    return style.write(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds))


def _in_years(seconds: int) -> bool:
    first, last = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (_YEARS.start, _YEARS.stop))
    return first <= seconds < last


def _date(month: int, style: TimeStyle, cell: str) -> str | None:
    found = _DAYS.fullmatch(cell)
    if found is None:
        return None
    numbers = (int(found[3]), int(found[1])) if month == 0 else (int(found[1]), int(found[3]))
    hour, minute, second = (*map(int, (found[5] or " 00:00")[1:].split(":")), 0)[:3]
    try:
        return style.write(datetime(int(found[4]), *numbers, hour, minute, second, tzinfo=UTC))
    except ValueError:
        return None


_WAYS: dict[str, Callable[[Damaged], Sequence[tuple[str, Reading, bool]]]] = {
    "number": _numbers,
    "integer": _numbers,
    "boolean": _booleans,
    "timestamp": _times,
}
