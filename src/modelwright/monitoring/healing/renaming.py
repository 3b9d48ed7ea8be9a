"""Columns under the wrong name: renamed by whoever sends the file, or with their contents swapped."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations, islice, product

import numpy as np

from modelwright.monitoring.healing.past import numbers_of
from modelwright.monitoring.healing.repairs import Damaged, Proposal
from modelwright.monitoring.healing.sheets import Sheet

_BROKEN = 0.05
"""Share of cells that may not be of the type of the column for which another is taken."""
_ALIKE = 0.6
_BEGINNING = 3
_MOST = 16
_BETTER = 2.5


@dataclass(frozen=True)
class RenamedColumn:
    """A declared column is missing, and one that nobody declared is it.

    An undeclared column *fits* when its cells are of the missing column's type and its values look like those that were
    accepted before: numbers by their quantiles (``Past.distance``), words by which are known, names by how they are
    written. Where nothing was accepted, or the values are times, the names must be alike: the same but for case and
    signs, one the beginning of the other, or at least 0.6 by Ratcliff & Obershelp (1988).

    It is *sure* when nothing else fits, and the names are alike or the words are known: a column that was dropped, and
    another one that came and looks like it, are no renaming. Two columns that fit are two proposals, neither sure.
    """

    name: str = "renamed_column"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or not damaged.missing or not damaged.undeclared:
            return ()
        fitting = {name: [one for one in damaged.undeclared if _fits(damaged, one, name)] for name in damaged.missing}
        told = {name: columns for name, columns in fitting.items() if columns}
        each_of = (each for each in product(*told.values()) if len(set(each)) == len(each)) if told else ()
        chosen = list(islice(each_of, _MOST))
        return [self._renamed(damaged, dict(zip(each, told, strict=True)), alone=len(chosen) == 1) for each in chosen]

    def _renamed(self, damaged: Damaged, new: dict[str, str], *, alone: bool) -> Proposal:
        assert damaged.sheet is not None
        sheet = damaged.sheet.renamed([new.get(name, name) for name in damaged.sheet.names])
        declared = ", ".join(new.values())
        number = "an undeclared column is" if len(new) == 1 else f"{len(new)} undeclared columns are"
        places = ", ".join(str(damaged.sheet.place(name) + 1) for name in new)
        sure = alone and all(_sure(damaged, name, declared) for name, declared in new.items())
        return Proposal(sheet, f"{number} {declared} (columns {places} of the file)", sure=sure)


def _fits(damaged: Damaged, name: str, declared: str) -> bool:
    if _bare(name) == _bare(declared):  # whatever else is wrong with it
        return True
    values, broken = damaged.typed(name, declared)
    column = damaged.source.columns[declared]
    if broken is not None and broken.sum() > _BROKEN * len(broken):
        return False
    if values.null_count == len(values) or (not column.nullable and values.null_count > _BROKEN * len(values)):
        return False
    looks = damaged.past.fits(declared, values)
    return looks is True or (looks is None and (_alike(name, declared) or column.type == "timestamp"))


def _sure(damaged: Damaged, name: str, declared: str) -> bool:
    known = damaged.source.columns[declared].type == "string" and damaged.past.known
    return known or _alike(name, declared)


def _alike(name: str, declared: str) -> bool:
    short, long = sorted((_bare(name), _bare(declared)), key=len)
    begins = len(short) >= _BEGINNING and long.startswith(short)
    return begins or SequenceMatcher(None, short, long).ratio() >= _ALIKE


def _bare(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


@dataclass(frozen=True)
class SwappedColumns:
    """Two columns of one type stand under each other's names.

    One at least is blamed. Neither looks like what was accepted of it before, and each looks like the other; or one
    does not, and swapped both together are two and a half times nearer to that. Swapped back are their names
    where the file has its columns in another order than declared, which that puts right, else their contents.
    """

    name: str = "swapped_columns"
    version: int = 1

    def propose(self, damaged: Damaged) -> Sequence[Proposal]:
        """See ``Repair``."""
        if damaged.sheet is None or damaged.missing or not damaged.past.known:
            return ()
        pairs = [pair for pair in _of_a_type(damaged) if _swapped(damaged, *pair)]
        whole = [some for some in _disjoint(pairs) if len(some) == len(max(_disjoint(pairs), key=len))]
        return [self._back(damaged, some) for some in whole[:_MOST]]

    def _back(self, damaged: Damaged, pairs: Sequence[tuple[str, str]]) -> Proposal:
        sheet = damaged.sheet
        assert sheet is not None
        for one, two in pairs:
            sheet = _exchanged(sheet, one, two, tuple(damaged.source.columns))
        told = " and ".join(f"{one} with {two}" for one, two in pairs)
        return Proposal(sheet, f"swaps {told}")


def _of_a_type(damaged: Damaged) -> Iterator[tuple[str, str]]:
    kinds = {"integer": "number"}
    columns = damaged.source.columns
    for one, two in combinations(columns, 2):
        if kinds.get(columns[one].type, columns[one].type) == kinds.get(columns[two].type, columns[two].type):
            yield one, two


def _swapped(damaged: Damaged, one: str, two: str) -> bool:
    kind = damaged.source.columns[one].type
    if kind == "timestamp" or not {one, two} & damaged.blamed:
        return False
    own = [_looks(damaged, one, one), _looks(damaged, two, two)]
    others = [_looks(damaged, one, two), _looks(damaged, two, one)]
    if False not in own or others != [True, True]:
        return False
    return True not in own or (kind in ("integer", "number") and _gain(damaged, one, two))


def _gain(damaged: Damaged, one: str, two: str) -> bool:
    """Say whether two columns of numbers, of which one looks like itself, are together much nearer if swapped."""
    return _apart(damaged, (one, two), (two, one)) * _BETTER < _apart(damaged, (one, two), (one, two))


def _apart(damaged: Damaged, names: tuple[str, str], declared: tuple[str, str]) -> float:
    told = zip(names, declared, strict=True)
    return sum(damaged.past.distance(of, numbers_of(damaged.typed(name, of)[0])) or 0.0 for name, of in told)


def _looks(damaged: Damaged, name: str, declared: str) -> bool | None:
    values, broken = damaged.typed(name, declared)
    if broken is not None and broken.sum() > _BROKEN * len(broken):
        return False
    return damaged.past.fits(declared, values)


def _disjoint(pairs: Sequence[tuple[str, str]]) -> list[tuple[tuple[str, str], ...]]:
    """Return the sets of pairs in which no column is twice."""
    sets = (some for size in range(1, len(pairs) + 1) for some in combinations(pairs[:6], size))
    return [some for some in sets if len({name for pair in some for name in pair}) == 2 * len(some)]


def _exchanged(sheet: Sheet, one: str, two: str, declared: tuple[str, ...]) -> Sheet:
    other = {one: two, two: one}
    names = tuple(other.get(name, name) for name in sheet.names)
    order = [names.index(name) for name in declared]
    if bool(np.all(np.diff(order) > 0)):
        return sheet.renamed(names)
    places = {one: sheet.place(one), two: sheet.place(two)}
    cells = sheet.cells
    for name, place in places.items():
        cells = cells.set_column(place, str(place), sheet.cells.column(places[other[name]]))
    return replace(sheet, cells=cells)
