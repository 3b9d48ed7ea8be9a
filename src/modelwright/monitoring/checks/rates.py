"""Checks of how much there is: values, different values, known values, rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.checks.files import MIN_ROWS, MIN_UPLOADS, Fault, File, fault, judged_columns, mask_of
from modelwright.monitoring.profiles import ColumnProfile, Profile


@dataclass(frozen=True)
class MissingRate:
    """More values are missing than ever in the accepted weeks.

    The rate must exceed the highest of the reference uploads (of those with ``MIN_ROWS`` rows, and of all together) by
    a floor and by three binomial standard errors of both sides, and to block also by how much these uploads differ
    among themselves (while they are fewer than ``MIN_UPLOADS``, their highest rate, and six standard errors). A quarter
    of a column is more than the world takes: in the year 2013 of New York the worst is a blizzard week, whose cancelled
    flights make 16 % of the delays missing after at most 4 %.

    Of a column that was as good as never without a value (``rare``), less blocks, and the rows without one are
    what is wrong. Where some are missing as a rule, nobody knows which should be there: the file is held.
    """

    learned: ClassVar[bool] = True
    name: str = "missing_rate"
    block: float = 0.25
    warn: float = 0.05
    rare: float = 0.005
    block_rare: float = 0.1

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column, now in file.judged.items():
            before = [p.columns[column] for p in file.reference.profiles if column in p.columns]
            rates = _missing_rates(before)
            if not rates:
                continue
            usual, highest = float(np.median(rates)), max(rates)
            excess = now.missing_rate - highest
            chance = _chance(now, before, highest)
            if excess <= max(self.warn, chance):
                continue
            text = f"{column}: {now.missing_rate:.0%} missing, usually {usual:.1%} (at most {highest:.1%})"
            enough = len(before) >= MIN_UPLOADS
            if enough and highest <= self.rare:
                nulls = mask_of(file.column(column).is_null())
                found.append(fault(self.name, column, excess > self.block_rare, text, nulls))
            else:
                differ = highest - min(rates) if enough else max(highest, 2 * chance)
                found.append(fault(self.name, column, excess > max(self.block, differ), text))
        return found


def _missing_rates(before: Sequence[ColumnProfile]) -> list[float]:
    """Return the rates of uploads that are large enough to have one, and of all together."""
    rows = sum(one.rows for one in before)
    together = [sum(one.missing for one in before) / rows] if rows else []
    return [one.missing_rate for one in before if one.rows >= MIN_ROWS] + together


def _chance(now: ColumnProfile, before: Sequence[ColumnProfile], highest: float) -> float:
    """Return by how much a rate may exceed the highest before by chance: three standard errors."""
    rows = sum(one.rows for one in before)
    missing = (now.missing + sum(one.missing for one in before)) / (now.rows + rows)
    mine = max(highest * (1 - highest), 1 / now.rows) / now.rows
    return 3 * math.sqrt(mine + missing * (1 - missing) / rows)


@dataclass(frozen=True)
class ConstantColumn:
    """A number that always varied has one value only.

    Only where in no reference upload (of ``MIN_ROWS`` values) a single one took over half of the rows: in dry weeks
    rain is zero.
    """

    learned: ClassVar[bool] = True
    name: str = "constant_column"
    usual_share: float = 0.5

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column, now in file.judged.items():
            uploads = file.uploads(column)
            if now.kind == "times" or now.count < MIN_ROWS or now.distinct != 1 or not uploads:
                continue
            if max(upload.mode_share for upload in uploads) <= self.usual_share:
                least = min(upload.distinct for upload in uploads)
                text = f"{column}: one value in all {now.count} rows, usually at least {least} different ones"
                found.append(fault(self.name, column, now.kind == "numbers", text))
        return found


@dataclass(frozen=True)
class Volume:
    """Rows per hour of event time are far from those of the reference.

    Too many block (something was multiplied) where ``MIN_UPLOADS`` were counted; too few only warn: rows that are
    there are no worse for others' absence, and a correction may hold a few rows.
    """

    learned: ClassVar[bool] = True
    name: str = "volume"
    block: float = 5.0
    warn: float = 2.0

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        usual = [_density(p) for p in file.reference.profiles if p.rows >= MIN_ROWS]
        now = _density(file.profile)
        if not usual or (min(usual) / self.warn <= now <= max(usual) * self.warn):
            return []
        text = f"{now:.3g} rows per hour, usually {min(usual):.3g} to {max(usual):.3g}"
        many = len(usual) >= MIN_UPLOADS and now > max(usual) * self.block
        return [fault(self.name, "", many, text)]


@dataclass(frozen=True)
class UnknownCategories:
    """Most values of a column with few known values are new: it was coded anew. A new value now and then is life.

    How many are new as a rule is told by the reference: the share of its values that came once (Good, 1953, "The
    population frequencies of species", section 2), and what of each upload those before did not know, on average. The
    share that is new must exceed the larger of these. So nothing is said of names, ids and dates, that are always new.
    With fewer than ``MIN_UPLOADS`` nobody knows this, and it warns.
    """

    learned: ClassVar[bool] = True
    name: str = "unknown_categories"
    block: float = 0.5
    warn: float = 0.05
    most: int = 50

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column, now in file.judged.items():
            seen = file.reference.pooled(column)
            if now.kind != "categories" or not now.count or seen is None or not self._few(seen):
                continue
            values = file.column(column).cast(pa.string())
            new = mask_of(pc.and_(values.is_valid(), pc.invert(pc.is_in(values, pa.array(list(seen.top))))))
            unknown, uploads = float(new.sum()) / now.count, file.reference.uploads(column)
            excess = unknown - _usually_new(seen, uploads)
            if excess > self.warn:
                text = f"{column}: {unknown:.0%} of values were never seen before"
                known = len(uploads) >= MIN_UPLOADS
                found.append(fault(self.name, column, known and excess > self.block, text, new))
        return found

    def _few(self, seen: ColumnProfile) -> bool:
        return bool(seen.top) and seen.distinct < self.most and seen.count >= MIN_ROWS


def _usually_new(seen: ColumnProfile, uploads: Sequence[ColumnProfile]) -> float:
    """Return the share of new values that an upload has as a rule; see ``UnknownCategories``."""
    known: set[str] = set(uploads[0].top)
    shares = []
    for upload in uploads[1:]:
        shares.append(sum(count for value, count in upload.top.items() if value not in known) / upload.count)
        known |= set(upload.top)
    once = sum(count for count in seen.top.values() if count == 1) / seen.count
    return max(once, float(np.mean(shares)) if shares else 0.0)


@dataclass(frozen=True)
class Uniqueness:
    """A text or whole number that was different in every row comes several times; a key does so in no case.

    Only warns: that values were always different does not say that they must be. ``Column.unique`` says so.
    """

    learned: ClassVar[bool] = True
    name: str = "uniqueness"
    warn: float = 0.01

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found = []
        for column in judged_columns(file.source):
            declared = file.source.columns[column]
            uploads = file.uploads(column)
            if declared.type not in ("string", "integer") or declared.unique or len(uploads) < MIN_UPLOADS:
                continue
            now = file.profile.columns[column]
            if any(one.distinct < one.count for one in uploads) or not now.count:
                continue
            again = 1 - now.distinct / now.count
            if again > self.warn:
                text = f"{column}: {again:.0%} of values come again, and were always different before"
                found.append(fault(self.name, column, False, text))
        return found


def _density(profile: Profile) -> float:
    hours = (profile.end - profile.start).total_seconds() / 3600 + 1
    return profile.rows / hours
