"""Reading parts: by ranges of their objects, in parallel, and not twice while the process lives.

What was read is kept by the part's id and never goes stale, because parts do not change: heads and
columns as they are used, records as blocks of their object. The cache is bounded by bytes; what was not
used for longest goes first.
"""

import json
import struct
import threading
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from operator import neg
from typing import Any, Final, NamedTuple

from modelwright.errors import ConditionFailed, NotFound
from modelwright.filters import RUNS
from modelwright.storage import Blobs
from modelwright.tracking import columns as c
from modelwright.tracking import parts as p
from modelwright.tracking.columns import Column, Entry, Name, Names, Part, Texts
from modelwright.tracking.entities import ACTIVE

BUCKET: Final = "lake"
CACHE_BYTES: Final = 256 * 1024 * 1024
"""A quarter of the function's memory."""
BLOCK: Final = 64 * 1024
NEAR: Final = 128 * 1024
"""Bytes that are rather read in vain than asked around."""
_LONGEST = 8 * 1024 * 1024
_THREADS = 16
_NAME = "tracking.parts"
_INDEX = struct.Struct("<I")
_PER_ENTRY = 500
_AT_ONCE = 1000


class Cache:
    """What this process read lately, up to so many bytes; safe to share between threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.weight = 0

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Cache":
        """Return the one cache among the things that a process keeps."""
        found: Cache = kept.setdefault(_NAME, cls())
        return found

    def get(self, key: tuple[Any, ...]) -> Any:
        """Return what was kept, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: tuple[Any, ...], value: Any, weight: int) -> None:
        """Keep a value that takes about ``weight`` bytes, unless it is larger than the whole cache."""
        if weight > self._limit:
            return
        with self._lock:
            self.weight += weight - self._kept.pop(key, (None, 0))[1]
            self._kept[key] = (value, weight)
            while self.weight > self._limit:
                _, (_, gone) = self._kept.popitem(last=False)
                self.weight -= gone


class Place(NamedTuple):
    """A part, and the experiment whose snapshot it is of."""

    experiment_id: str
    part: Part


class Span(NamedTuple):
    """Some bytes of an object."""

    key: str
    start: int
    end: int


@dataclass(frozen=True)
class Head:
    """The head of a part.

    Attributes:
        starts: the start time of each run.
        runs: the id of each run.
        stages: the stage of each run; None if all are active.
        ends: where each record ends; first those of the runs, then those of the datasets.
        dictionary: what the records were deflated with.
        entries: where the columns lie.
        begin: where that is counted from.
    """

    starts: "array[int]"
    runs: Names
    stages: Texts | None
    ends: "array[int]"
    dictionary: bytes
    entries: Mapping[Name, Entry]
    begin: int

    @classmethod
    def read(cls, data: bytes) -> "Head":
        """Read the first bytes of a part's columns."""
        (length,) = _INDEX.unpack_from(data)
        begin = _INDEX.size + length
        index = json.loads(zlib.decompress(data[_INDEX.size : begin]))
        entries = {(entity, key): Entry(*entry) for entity, key, *entry in index["columns"]}
        size = index["rows"]

        def stream(name: Name) -> bytes:
            entry = entries[name]
            return data[begin + entry.start : begin + entry.start + entry.size]

        starts = c.unpacked(entries[p.START], stream(p.START), size)
        stages = c.unpacked(entries[p.STAGE], stream(p.STAGE), size) if p.STAGE in entries else None
        assert isinstance(starts, c.Numbers)
        assert stages is None or isinstance(stages, Texts)
        return cls(
            starts.values,
            Names(zlib.decompress(stream(p.RUN_ID)), entries[p.RUN_ID].detail),
            stages,
            array("Q", accumulate(c.ungrouped(zlib.decompress(stream(p.SIZES)), "I"))),
            zlib.decompress(stream(p.DICTIONARY)),
            entries,
            begin,
        )

    @property
    def weight(self) -> int:
        """About how many bytes this takes."""
        return 8 * len(self.starts) + self.runs.weight + 8 * len(self.ends) + _PER_ENTRY * len(self.entries)

    def find(self, start: int, run_id: str) -> tuple[int, bool]:
        """Return the row of a run, or before which it would be, and whether it is there."""
        first = bisect_left(self.starts, -start, key=neg)
        last = bisect_right(self.starts, -start, lo=first, key=neg)
        row = bisect_left(self.runs, run_id, lo=first, hi=last)
        return row, row < last and self.runs[row] == run_id

    def bounds(self, record: int) -> tuple[int, int]:
        """Return where a record begins and ends."""
        return (self.ends[record - 1] if record else 0), self.ends[record]


Wanted = tuple[Place, Head, Iterable[Name]]
WantedRecords = tuple[Place, Head, Sequence[int]]


@dataclass
class Reader:
    """Reads the parts of one workspace. What a part no longer has, because it was replaced, is ``ConditionFailed``."""

    blobs: Blobs
    workspace: str
    cache: Cache = field(default_factory=Cache)

    def heads(self, places: Sequence[Place]) -> list[Head]:
        """Return the heads of parts."""
        known: dict[str, Head] = {}
        for place in places:
            if (head := self.cache.get((place.part.id, "head"))) is not None:
                known[place.part.id] = head
        wanted = [place for place in places if place.part.id not in known]
        spans = [Span(self._key(place, "columns"), 0, place.part.directory) for place in wanted]
        for place, data in zip(wanted, self._read(spans), strict=True):
            head = known[place.part.id] = Head.read(data)
            self.cache.put((place.part.id, "head"), head, head.weight)
        return [known[place.part.id] for place in places]

    def columns(self, wanted: Sequence[Wanted]) -> list[dict[Name, Column]]:
        """Return columns of parts, by name; one that a part does not have is there and empty."""
        found: list[dict[Name, Column]] = [{} for _ in wanted]
        asked: list[tuple[int, Name, Entry]] = []
        for number, (place, head, names) in enumerate(wanted):
            for name in names:
                if (column := self._known(place, head, name)) is not None:
                    found[number][name] = column
                else:
                    asked.append((number, name, head.entries[name]))
        spans = []
        for number, _, entry in asked:
            place, head, _ = wanted[number]
            start = head.begin + entry.start
            spans.append(Span(self._key(place, "columns"), start, start + entry.size))
        for (number, name, entry), stream in zip(asked, self._read(spans), strict=True):
            part = wanted[number][0].part
            column = found[number][name] = c.unpacked(entry, stream, part.rows)
            self.cache.put((part.id, name), column, column.weight)
        return found

    def records(self, wanted: Sequence[WantedRecords]) -> list[list[str]]:
        """Return records of parts, by number: first those of the runs, then those of the datasets."""
        blocks = self._blocks(wanted)
        return [
            [p.inflated(_cut(blocks, place.part.id, *head.bounds(record)), head.dictionary) for record in records]
            for place, head, records in wanted
        ]

    def rows(self, place: Place) -> Iterator[p.Row]:
        """Yield all rows of a part as they were encoded, for parts that are made of others."""
        (head,) = self.heads([place])
        (found,) = self.columns([(place, head, [name for name in head.entries if name[0] != p.HEAD])])
        size = place.part.rows
        (datasets,) = self.records([(place, head, range(size, len(head.ends)))])
        for first in range(0, size, _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, size))
            (records,) = self.records([(place, head, rows)])
            for row, record in zip(rows, records, strict=True):
                lines, used = p.lines_of(record)
                actual = {name: column.actual(row) for name, column in found.items()}
                yield p.Row(
                    run_id=head.runs[row],
                    start=head.starts[row],
                    stage=str(head.stages.actual(row)) if head.stages else ACTIVE,
                    numbers={name: value for name, value in actual.items() if isinstance(value, int | float)},
                    texts={name: value for name, value in actual.items() if isinstance(value, str)},
                    lines=lines,
                    datasets=tuple(datasets[number] for number in used),
                )

    def _known(self, place: Place, head: Head, name: Name) -> Column | None:
        """Return a column that need not be read."""
        if name == ("attributes", "start_time"):
            return c.Numbers(head.starts)
        if (column := self.cache.get((place.part.id, name))) is not None:
            return column  # type: ignore[no-any-return]
        if name == ("attributes", "run_id"):
            texts = head.runs.texts()
            self.cache.put((place.part.id, name), texts, texts.weight)
            return texts
        return None if name in head.entries else c.missing(*name, RUNS.numbers, place.part.rows)

    def _blocks(self, wanted: Sequence[WantedRecords]) -> dict[tuple[str, int], bytes]:
        found: dict[tuple[str, int], bytes] = {}
        asked: list[tuple[Place, int]] = []
        for place, head, records in wanted:
            for number in sorted({number for record in records for number in _touched(*head.bounds(record))}):
                if (block := self.cache.get((place.part.id, number))) is not None:
                    found[place.part.id, number] = block
                else:
                    asked.append((place, number))
        spans = [
            Span(self._key(place, "rows"), number * BLOCK, min((number + 1) * BLOCK, place.part.bytes_rows))
            for place, number in asked
        ]
        for (place, number), block in zip(asked, self._read(spans), strict=True):
            found[place.part.id, number] = block
            self.cache.put((place.part.id, number), block, len(block))
        return found

    def _read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return the bytes of spans: near ones are read together, and all at once."""
        groups = near(spans)
        wholes = [Span(group[0].key, group[0].start, max(span.end for span in group)) for group in groups]
        if len(wholes) <= 1:
            read = list(map(self._get, wholes))
        else:
            with ThreadPoolExecutor(min(_THREADS, len(wholes))) as pool:
                read = list(pool.map(self._get, wholes))
        found = {
            span: data[span.start - whole.start : span.end - whole.start]
            for group, whole, data in zip(groups, wholes, read, strict=True)
            for span in group
        }
        return [found[span] for span in spans]

    def _get(self, span: Span) -> bytes:
        try:
            return self.blobs.get_range(BUCKET, span.key, span.start, span.end - span.start)
        except NotFound as error:
            raise ConditionFailed("the snapshot was replaced while it was read", ()) from error

    def _key(self, place: Place, kind: str) -> str:
        return place.part.key(self.workspace, place.experiment_id, kind)


def near(spans: Iterable[Span]) -> list[list[Span]]:
    """Return spans in groups that are worth one request each."""
    groups: list[list[Span]] = []
    end = 0
    for span in sorted(set(spans)):
        first = groups[-1][0] if groups else None
        if first and first.key == span.key and span.start <= end + NEAR and span.end - first.start <= _LONGEST:
            groups[-1].append(span)
            end = max(end, span.end)
        else:
            groups.append([span])
            end = span.end
    return groups


def _touched(start: int, end: int) -> range:
    return range(start // BLOCK, (end - 1) // BLOCK + 1)


def _cut(blocks: Mapping[tuple[str, int], bytes], part: str, start: int, end: int) -> bytes:
    touched = _touched(start, end)
    data = blocks[part, touched[0]] if len(touched) == 1 else b"".join(blocks[part, number] for number in touched)
    return data[start - touched[0] * BLOCK : end - touched[0] * BLOCK]
