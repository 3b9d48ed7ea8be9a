"""Checks of times: in the future, of mixed zones, and files that come late."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.monitoring.checks.files import MIN_UPLOADS, Fault, File, fault, held, mask_of, plain
from modelwright.monitoring.reading import Mask

_ZONE = r"([Zz]|[+-]\d\d:?(\d\d)?)$"
_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class FutureDates:
    """Rows are from after the file landed, by more than clocks and time zones explain.

    Attributes:
        hours: how far ahead a row may be, where rows of the future are no fault: schedules, forecasts.
    """

    learned: ClassVar[bool] = False
    name: str = "future_dates"
    hours: float = 26.0

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        latest = pa.scalar(file.landed + timedelta(hours=self.hours), pa.timestamp("us", tz="UTC"))
        found = []
        for column in filter(None, dict.fromkeys((file.source.event_time, file.source.available_at))):
            ahead = mask_of(pc.greater(file.column(column), latest))
            if ahead.any():
                found.append(held(self.name, column, ahead, "in the future of when the file landed"))
        return found


@dataclass(frozen=True)
class TimeZones:
    """Times of one column are of several zones.

    Three signs: texts with a zone among texts without one, of which the fewer are held; texts of several offsets from
    UTC that do not follow one another as summer time does, which only warns, for each says which time it is; and rows
    that became known a whole number of hours earlier or later after their event than nearly all others, which are held:
    by the same hours (or two that are one apart, as summer time makes them), and before their event or by two hours or
    more. Other delays of whole hours are those of what runs every hour, or tries again an hour later.
    """

    learned: ClassVar[bool] = False
    name: str = "time_zones"
    share: float = 0.03

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        found: list[Fault] = []
        for column, declared in file.source.columns.items():
            texts = plain(file.rows.raw.column(column))
            if declared.type == "timestamp" and pa.types.is_string(texts.type) and len(texts):
                found.extend(self._written(file, column, texts))
        return found or self._shifted(file)

    def _written(self, file: File, column: str, texts: pa.Array) -> Sequence[Fault]:
        trimmed = pc.utf8_trim_whitespace(texts)
        # a date alone has no zone, and its day looks like one
        timed = mask_of(pc.and_(pc.greater(pc.utf8_length(trimmed), 10), file.column(column).is_valid()))
        zoned = mask_of(pc.match_substring_regex(trimmed, _ZONE)) & timed
        naive = timed & ~zoned
        if naive.any() and zoned.any():
            fewer, told = (zoned, "with a zone among times without") if zoned.sum() < naive.sum() else (naive, "")
            text = f"times {told or 'without a zone among times with one'}: mixed time zones"
            return [held(self.name, column, fewer, text)]
        return self._offsets(file, column, trimmed, zoned)

    def _offsets(self, file: File, column: str, texts: pa.Array, zoned: Mask) -> Sequence[Fault]:
        if not zoned.any():
            return ()
        ends = pc.utf8_slice_codeunits(texts.filter(pa.array(zoned)), -6)
        if pc.count_distinct(ends).as_py() == 1:
            return ()
        offsets = np.array([_offset(end) for end in ends.to_pylist()])
        when = file.column(column).filter(pa.array(zoned)).cast(pa.int64()).to_numpy(zero_copy_only=False)
        different = np.unique(offsets)
        changes = int(np.count_nonzero(np.diff(offsets[np.argsort(when, kind="stable")])))
        if len(different) == 1 or changes < len(different):
            return ()
        told = ", ".join(f"{offset / 60:+g} h" for offset in different[:5])
        return [fault(self.name, column, False, f"{column}: times of several time zones ({told})")]

    def _shifted(self, file: File) -> Sequence[Fault]:
        source = file.source
        if not source.available_at or file.count < 10:
            return ()
        lag = _lags(file)
        known = lag[~np.isnan(lag)]
        if not len(known):
            return ()
        lags, counts = np.unique(known, return_counts=True)
        usual = lags[np.argmax(counts)]
        apart = lag - usual
        whole = (np.abs(apart) > 0) & (np.abs(apart) <= 14 * _HOUR_US) & (apart % _HOUR_US == 0)
        if not _of_a_zone(usual, apart[whole]):
            return ()
        same = apart == 0
        if (
            whole.sum() < self.share * file.count
            or (whole | same).sum() < 0.95 * len(known)
            or whole.sum() > same.sum()
        ):
            return ()
        text = f"known whole hours before or after the others' {usual / 6e7:g} minutes: mixed time zones"
        return [held(self.name, source.event_time, whole, text)]


def _of_a_zone(usual: float, apart: npt.NDArray[np.float64]) -> bool:
    """Say whether delays that differ by whole hours from the usual one come from another zone, and from nothing else.

    Args:
        usual: delay, in microseconds.
        apart: how much longer others are.
    """
    if not len(apart) or usual % _HOUR_US == 0 or np.ptp(apart) > _HOUR_US:
        return False
    return bool(np.all((usual + apart < 0) | (apart >= 2 * _HOUR_US)))


def _lags(file: File) -> npt.NDArray[np.float64]:
    """Return how long after its event each row became known, in microseconds."""
    event, known = (file.column(name).cast(pa.int64()) for name in (file.source.event_time, file.source.available_at))
    # some are centuries: of them the last microseconds say nothing
    lags = pc.subtract(known, event).cast(pa.float64(), safe=False)
    return np.asarray(lags.to_numpy(zero_copy_only=False), dtype=np.float64)


def _offset(text: str) -> int:
    """Return the offset from UTC at the end of a text, in minutes."""
    found = re.search(r"([+-])(\d\d):?(\d\d)?$", text)
    if found is None:
        return 0
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


@dataclass(frozen=True)
class LateFile:
    """All of a file is of a time of which later rows were accepted already, and it corrects nothing.

    It warns: the rows are true. But where they say that they were known at the time, features made of them are others
    than those that were served. A source on which that matters makes it block (``severity``), and the repair
    ``late_file`` says when they became known.
    """

    learned: ClassVar[bool] = True
    name: str = "late_file"

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        if file.newest is None or file.expected or file.profile.end >= file.newest:
            return []
        behind = _told(file.newest - file.profile.end)
        text = f"the file is late: rows up to {behind} after its last one were accepted already"
        return [fault(self.name, "", False, text)]


@dataclass(frozen=True)
class Freshness:
    """A file lands longer after its last event than files before it ever did.

    By more than ``hours``, and more than the shortest and the longest usual delay differ. It warns.
    """

    learned: ClassVar[bool] = True
    name: str = "freshness"
    hours: float = 24.0

    def check(self, file: File) -> Sequence[Fault]:
        """See ``Check``."""
        usual = [one.landed - one.end for one in file.reference.profiles if one.landed is not None]
        if len(usual) < MIN_UPLOADS or file.expected:
            return []
        now, longest = file.landed - file.profile.end, max(usual)
        if now - longest <= max(timedelta(hours=self.hours), longest - min(usual)):
            return []
        text = f"the file is stale: its last row is {_told(now)} old, usually at most {_told(longest)}"
        return [fault(self.name, file.source.event_time, False, text)]


def _told(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
