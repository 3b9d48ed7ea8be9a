"""Times as a file writes them, and times whose zone is stated in words or not at all."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from modelwright.monitoring.healing.repairs import Damaged, Proposal

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?P<between>[T ])\d{2}:\d{2}(?::\d{2}(?:\.(?P<part>\d+))?)?(?P<zone>Z|\+00:?00)?")
_STATED = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*([A-Za-z][\w/+-]*|[+-]\d{2}:?\d{0,2})")
_NAIVE = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?$"
_HOURS = {
    "UTC": (0,), "GMT": (0,), "Z": (0,), "EST": (-5,), "EDT": (-4,), "CDT": (-5,), "MST": (-7,), "MDT": (-6,),
    "PST": (-8,), "PDT": (-7,), "CET": (1,), "CEST": (2,), "EET": (2,), "EEST": (3,), "JST": (9,),
    "CST": (-6, 8), "BST": (1, 6), "IST": (5.5, 2, 1),
}  # fmt: skip
"""Hours ahead of UTC of the names of zones that are in use; some names are those of several."""


@dataclass(frozen=True)
class TimeStyle:
    """How a file writes times in UTC.

    Attributes:
        between: what stands between date and time.
        zone: what stands at the end.
        part: how many digits of a second's fraction; -1: as many as it takes.
    """

    between: str = "T"
    zone: str = "+00:00"
    part: int = -1

    @classmethod
    def of_file(cls, damaged: "Damaged") -> "TimeStyle":
        """Return how most times of a file are written that are as they should be."""
        assert damaged.sheet is not None
        found: dict[tuple[str, str, int], int] = {}
        for name, column in damaged.source.columns.items():
            if column.type != "timestamp" or not pa.types.is_string(damaged.sheet.values(name).type):
                continue
            for text in damaged.sheet.values(name).to_pylist():
                if text and (match := _ISO.fullmatch(text)) and match["zone"]:
                    key = (match["between"], match["zone"], len(match["part"] or ""))
                    found[key] = found.get(key, 0) + 1
        if not found:
            return cls()
        between, zone, part = max(found, key=lambda key: found[key])
        return cls(between, zone, part if len({key[2] for key in found}) == 1 and part else -1)

    def write(self, time: datetime) -> str:
        """Return a time as text."""
        utc = time.astimezone(UTC).replace(tzinfo=None)
        text = utc.isoformat(self.between, "auto" if self.part < 0 else "microseconds")
        whole, _, part = text.partition(".")
        digits = part if self.part < 0 else part[: self.part]
        return f"{whole}.{digits}{self.zone}" if digits else f"{whole}{self.zone}"


@dataclass(frozen=True)
class TimeZones:
    """Times of several zones in one column become times in UTC.

    Where the zone is stated in a cell, as an offset or by a name that has one meaning, the time follows; a name of
    several zones (``CST``, ``BST``, ``IST``) is a proposal for each. Times without a zone among others that have one
    may be anybody's: they are proposed as UTC, and as what would make them as far from the file's other times as ever,
    and left to a person.
    """

    name: str = "time_zones"
    version: int = 1

    def propose(self, damaged: "Damaged") -> "Sequence[Proposal]":
        """See ``Repair``."""
        if damaged.sheet is None or damaged.missing:
            return ()
        from modelwright.monitoring.healing.repairs import Proposal

        style = TimeStyle.of_file(damaged)
        found: list[Proposal] = []
        for name, column in damaged.source.columns.items():
            values = damaged.sheet.values(name)
            if column.type != "timestamp" or not pa.types.is_string(values.type):
                continue
            for text, new, sure in (*_stated(values, damaged, name, style), *_naive(values, damaged, name, style)):
                sheet = damaged.sheet.with_values(name, new)
                found.append(Proposal(sheet, f"{name}: {text}", sure=sure))
        return found


Way = tuple[str, pa.Array, bool]


def _stated(values: pa.Array, damaged: "Damaged", name: str, style: TimeStyle) -> Iterator[Way]:
    """Yield the column with all stated zones turned into UTC, for each meaning of a name that has several."""
    _, broken = damaged.typed(name)
    blamed = name in damaged.found("time_zones")
    if not blamed and (broken is None or not broken.any()):
        return
    cells = values.to_pylist()
    told = [cells]
    for meaning in range(max(map(len, _HOURS.values()))):
        new = [None if cell is None else _in_utc(cell, meaning, style) for cell in cells]
        if any(cell is not None and meant is None for cell, meant in zip(cells, new, strict=True)):
            return
        if new not in told:
            told.append(new)
            yield "turns the zones that the cells state into UTC", pa.array(new, pa.string()), True


def _in_utc(cell: str, meaning: int, style: TimeStyle) -> str | None:
    """Return a time with a stated zone in UTC; None if it states none."""
    try:
        time = datetime.fromisoformat(cell)
    except ValueError:
        found = _STATED.fullmatch(cell)
        zone = None if found is None else _zone(found[2], meaning)
        return None if found is None or zone is None else style.write(_local(found[1], zone))
    if time.tzinfo is None:
        return None
    return cell if time.utcoffset() == timedelta(0) else style.write(time)


def _local(text: str, zone: timezone | ZoneInfo) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def _zone(text: str, meaning: int) -> timezone | ZoneInfo | None:
    hours = _HOURS.get(text.upper())
    if hours is not None:
        return timezone(timedelta(hours=hours[min(meaning, len(hours) - 1)]))
    if re.fullmatch(r"[+-]\d{2}:?\d{0,2}", text):
        digits = text[1:].replace(":", "").ljust(4, "0")
        ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        return timezone(-ahead if text[0] == "-" else ahead)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        return None


def _naive(values: pa.Array, damaged: "Damaged", name: str, style: TimeStyle) -> Iterator[Way]:
    """Yield the column with times that state no zone in the zones that they may be of."""
    naive = pc.match_substring_regex(values, _NAIVE).fill_null(False)
    if name not in damaged.found("time_zones") or not pc.any(naive).as_py():
        return
    places = naive.to_pylist()
    offsets = dict.fromkeys([timedelta(0), *_offsets(damaged, name, places)])
    for offset in offsets:
        told = [
            style.write(_local(cell, timezone(offset))) if bare else cell
            for cell, bare in zip(values.to_pylist(), places, strict=True)
        ]
        sign = "-" if offset < timedelta(0) else "+"
        hours, rest = divmod(abs(offset) // timedelta(minutes=1), 60)
        yield f"takes times without a zone as UTC{sign}{hours:02d}:{rest:02d}", pa.array(told, pa.string()), False


def _offsets(damaged: "Damaged", name: str, places: Sequence[bool]) -> Iterator[timedelta]:
    """Yield the offset that makes times without a zone as far from another column's as they always were."""
    typed = damaged.typed(name)[0].cast(pa.int64())
    for other, column in damaged.source.columns.items():
        mine, theirs = damaged.past.column(name), damaged.past.column(other)
        if other == name or column.type != "timestamp" or mine is None or theirs is None:
            continue
        usual = _median(theirs.cast(pa.int64()), mine.cast(pa.int64()))
        bare = pa.array(list(places))
        now = _median(damaged.typed(other)[0].cast(pa.int64()).filter(bare), typed.filter(bare))
        if usual is not None and now is not None:
            quarters = round((now - usual) / (15 * 60 * 10**6))
            if -56 <= quarters <= 48:
                yield timedelta(minutes=-15 * quarters)


def _median(one: "pa.Array | pa.ChunkedArray", two: "pa.Array | pa.ChunkedArray") -> float | None:
    apart = pc.subtract(one, two).drop_null()
    return float(np.median(apart.to_numpy())) if len(apart) else None
