"""The latest value of each metric of a run: small items that many writers raise without taking turns.

A metric's newest value is an *entry*: 25 bytes that sort as MLflow ranks values (by step, then timestamp, then
value; NaN counts as zero and wins a tie with it). The newest is the largest entry, so it depends
neither on the order of writes nor on how often they come.

================  ==============  ================================================================================
item              attribute       meaning
================  ==============  ================================================================================
``METRICS``       ``stage``       ``open``: may be written to; ``closed``, ``settled`` or ``full``: not before a look
                  ``n``           counts the item's changes
                  ``m``           metric -> entry, of the newest writes (about 1 KB at most)
                  ``folds``       how often ``m`` was folded into the shards
``METRICS#<nn>``  ``n``           counts the item's changes
                  ``packed``      the entries folded so far, compressed
                  ``folds``       the folds it has seen (in shard 0)
                  ``shards``      1, or 16 when one item became too long (in shard 0)
================  ==============  ================================================================================

A metric's newest value is the larger of its entry in ``m`` and in its shard (CRC-32 of the metric, modulo the number of
shards). Folding writes the shards before it empties ``m``: what is interrupted in between is
merely there twice. A reader who sees more folds in ``METRICS`` than in shard 0 read them in between, and reads again.
``settle`` changes ``n`` of all items, so that no write that was on its way before it can come after it.

A run is ``full`` when it has as many metrics as an answer can hold, or when its writers never let ``m`` be folded. Then
all writes go to the shards, where new metrics are refused if there is no room for them.
"""

import json
import math
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from modelwright.errors import ConditionFailed, TooLarge
from modelwright.storage import Absent, Is, Item, Key, Put, Tables, Update, Write, every
from modelwright.tracking.answers import METRICS_BYTES
from modelwright.tracking.entities import Latest, Point
from modelwright.tracking.points import deflated
from modelwright.tracking.records import TABLE

OPEN, CLOSED, SETTLED, FULL = "open", "closed", "settled", "full"
METRICS: Final = "METRICS"
FEW = 16
"""So many metrics are raised without reading anything."""
SHARDS = 16
_ENTRY = struct.Struct(">QQQB")
_PARTS = slice(0, 18), slice(18, 24), slice(24, 25)
"""Bytes of entries that are alike, those that are like chance (the lowest of the value), and the last one."""
_FLOAT, _BITS = struct.Struct(">d"), struct.Struct(">Q")
_SIGN, _ALL = 1 << 63, (1 << 64) - 1
_CROWDED, _FULL = 1024, 64 * 1024
"""Bytes of ``METRICS`` beyond which each write costs a unit more, and ``m`` is folded; and beyond which it must be."""
_OVERHEAD = 60
_SPLIT = 64 * 1024
_ANSWERED = 95
"""Bytes of a metric in an answer, besides its name."""
_RACES = 3

Entries = Mapping[str, bytes]


def entry_of(value: float, timestamp: int, step: int) -> bytes:
    """Return a value's entry."""
    nan = math.isnan(value)
    (bits,) = _BITS.unpack(_FLOAT.pack(0.0 if nan else value + 0.0))
    ordered = bits ^ (_ALL if bits & _SIGN else _SIGN)
    return _ENTRY.pack(step + _SIGN, timestamp + _SIGN, ordered, nan)


def latest_of(entry: bytes) -> Latest:
    """Return the value that an entry tells."""
    step, timestamp, ordered, nan = _ENTRY.unpack(entry)
    (value,) = _FLOAT.unpack(_BITS.pack(ordered ^ (_SIGN if ordered & _SIGN else _ALL)))
    return Latest(float("nan") if nan else value, timestamp - _SIGN, step - _SIGN)


def entries_of(points: Iterable[Point]) -> dict[str, bytes]:
    """Return the largest entry of each metric."""
    newest: dict[str, tuple[int, int, float, bool]] = {}
    for key, value, timestamp, step in points:
        nan = math.isnan(value)
        rank = (step, timestamp, 0.0 if nan else value + 0.0, nan)
        if key not in newest or rank > newest[key]:
            newest[key] = rank
    return {key: entry_of(math.nan if nan else value, at, step) for key, (step, at, value, nan) in newest.items()}


def merged(known: Entries, more: Entries) -> dict[str, bytes]:
    """Return the larger entry of each metric."""
    found = dict(known)
    for key, entry in more.items():
        if entry > found.get(key, b""):
            found[key] = entry
    return found


def pack_entries(entries: Entries) -> bytes:
    """Return entries in a compressed form."""
    keys = sorted(entries)
    rows = b"".join(entries[key] for key in keys)
    columns = [rows[byte :: _ENTRY.size] for byte in range(_ENTRY.size)]
    header = json.dumps(keys, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return deflated(header, *(b"".join(columns[part]) for part in _PARTS))


def unpack_entries(packed: bytes) -> dict[str, bytes]:
    """Undo ``pack_entries``."""
    if not packed:
        return {}
    header, _, columns = zlib.decompress(packed).partition(b"\n")
    keys = json.loads(header)
    rows = bytearray(len(columns))
    for byte in range(_ENTRY.size):
        rows[byte :: _ENTRY.size] = columns[byte * len(keys) : (byte + 1) * len(keys)]
    whole = bytes(rows)
    return {key: whole[n * _ENTRY.size : (n + 1) * _ENTRY.size] for n, key in enumerate(keys)}


@dataclass(frozen=True, slots=True)
class Standing:
    """The items of a run's latest metrics, as they were read.

    Attributes:
        hot: ``METRICS``.
        shards: ``METRICS#<nn>`` in order; empty as long as nothing was folded.
    """

    hot: Item = field(default_factory=dict)
    shards: Sequence[Item] = ()

    @property
    def stage(self) -> str:
        """Whether the run may be written to without looking further; empty if there is no such run."""
        return str(self.hot.get("stage", ""))

    @property
    def torn(self) -> bool:
        """Whether the items were read while others folded: then they say nothing."""
        first: Item = self.shards[0] if self.shards else {"shards": 0}
        return len(self.shards) < int(first["shards"]) or _folds(self.hot) > _folds(first)

    def entries(self) -> dict[str, bytes]:
        """Return the newest entry of each metric."""
        found: dict[str, bytes] = {}
        for shard in self.shards:
            found.update(unpack_entries(shard["packed"]))
        return merged(found, self.hot["m"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a write.

    Attributes:
        stage: empty when all was written (or had been before); else the stage that refused it.
        size: bytes of the hot item afterwards.
    """

    stage: str = ""
    size: int = 0

    @property
    def crowded(self) -> bool:
        """Whether the hot item should be folded."""
        return self.size > _CROWDED


class LatestMetrics:
    """Reads and writes the latest metrics of one run.

    Args:
        tables: where they lie.
        pk: the run's partition.
    """

    def __init__(self, tables: Tables, pk: str) -> None:
        self._tables = tables
        self._pk = pk
        self._hot = Key(pk, METRICS)

    def read(self) -> Standing:
        """Return the items in one reading, the hot one first (there may be none)."""
        items = list(every(self._tables, TABLE, self._pk, prefix=METRICS))
        return Standing(items[0], items[1:]) if items else Standing()

    def raise_entries(self, entries: Entries) -> Outcome:
        """Raise a few entries; those that are not newer are left as they are."""
        rest = dict(entries)
        while rest:
            raised = self._tables.raise_entries(TABLE, self._hot, "m", rest, guard=Is("stage", OPEN), counter="n")
            item = raised.item or {}
            if raised.done:
                return Outcome(size=self._size(item))
            if item.get("stage") != OPEN:
                return Outcome(stage=str(item.get("stage", CLOSED)))
            rest = {key: entry for key, entry in rest.items() if entry > item["m"].get(key, b"")}
        return Outcome()

    def merge(self, entries: Entries) -> Outcome:
        """Write any number of entries into the shards; raises ``TooLarge``.

        Who loses the race for the shards a few times raises the entries a few at a time instead: for that there is
        no race.
        """
        for _ in range(_RACES):
            standing = self.read()
            if standing.stage not in (OPEN, FULL):
                return Outcome(stage=standing.stage or CLOSED)
            try:
                self._write(standing, entries)
            except ConditionFailed:
                continue
            return Outcome()
        return self._raise_in_slices(entries)

    def fold(self, size: int) -> None:
        """Move what the hot item (of this size) holds into the shards, unless others are quicker."""
        for _ in range(_RACES):
            standing = self.read()
            if standing.stage != OPEN or not standing.hot["m"]:
                return
            try:
                self._fold(standing, {})
            except ConditionFailed:
                continue
            return
        if size > _FULL:
            self._fill()

    def begin(self, entries: Entries) -> list[Write]:
        """Return the writes of a new run's metrics."""
        few = len(entries) <= FEW
        hot = {**self._hot._asdict(), "stage": OPEN, "n": 1, "m": dict(entries) if few else {}}
        shards = [] if few else _Shards.of(Standing()).grown(entries).puts(self._pk, 0)
        return [Put(TABLE, hot, Absent()), *shards]

    def open(self, standing: Standing) -> Update:
        """Return the write after which metrics are raised again; fails if anything changed meanwhile."""
        return self._in_stage(OPEN, standing)

    def close(self, standing: Standing) -> Update:
        """Return the write after which metrics are not raised any more; what is raised meanwhile does not hinder it."""
        if standing.stage == OPEN:
            return Update(TABLE, self._hot, {"stage": CLOSED}, Is("stage", OPEN))
        return self._in_stage(CLOSED, standing)

    def settle(self, standing: Standing) -> list[Write]:
        """Return the writes after which nothing can be written that was on its way before."""
        fences: list[Write] = [
            Update(TABLE, Key(shard["pk"], shard["sk"]), {"n": int(shard["n"]) + 1}, Is("n", int(shard["n"])))
            for shard in standing.shards
        ]
        return [self._in_stage(SETTLED, standing), *(fences or _Shards.of(standing).puts(self._pk, 0))]

    def _in_stage(self, stage: str, standing: Standing) -> Update:
        n = int(standing.hot["n"])
        return Update(TABLE, self._hot, {"stage": stage, "n": n + 1}, Is("n", n))

    def _write(self, standing: Standing, entries: Entries) -> None:
        """Merge entries into the shards; where the hot item is full, its own too."""
        if standing.torn:
            raise ConditionFailed("others fold the metrics", ())
        if standing.stage == FULL:
            self._fold(standing, entries)
        else:
            self._put(_Shards.of(standing).admitting(entries).puts(self._pk, _folds(standing.hot)))

    def _fold(self, standing: Standing, entries: Entries) -> None:
        """Empty the hot item, and open it if it was full (but for a run that has all the metrics it can have)."""
        n, folds = int(standing.hot["n"]), _folds(standing.hot) + 1
        shards = _Shards.of(standing).grown(standing.hot["m"]).admitting(entries)
        self._put(shards.puts(self._pk, folds))
        opened = {"stage": OPEN} if standing.stage == FULL and not shards.over else {}
        self._tables.write([Update(TABLE, self._hot, {"m": {}, "folds": folds, "n": n + 1, **opened}, Is("n", n))])
        if standing.stage == OPEN and shards.over:
            self._fill()

    def _fill(self) -> None:
        """Let nobody raise entries without a look at the shards, unless the run is closed by now."""
        with suppress(ConditionFailed):
            self._tables.write([Update(TABLE, self._hot, {"stage": FULL}, Is("stage", OPEN))])

    def _put(self, puts: Sequence[Put]) -> None:
        """Write shards: those that come into being together, so that there are never some of them."""
        if len(puts) == SHARDS and isinstance(puts[-1].condition, Absent):
            self._tables.write(puts)
            return
        for put in puts:
            self._tables.write([put])

    def _raise_in_slices(self, entries: Entries) -> Outcome:
        keys, outcome = list(entries), Outcome()
        for first in range(0, len(keys), FEW):
            outcome = self.raise_entries({key: entries[key] for key in keys[first : first + FEW]})
            if outcome.stage:
                break
        return outcome

    def _size(self, hot: Item) -> int:
        rows = sum(len(key.encode()) + _ENTRY.size + 1 for key in hot["m"])
        return _OVERHEAD + len(self._pk.encode()) + rows


@dataclass(frozen=True)
class _Shards:
    """What the shards hold, or are to hold."""

    items: Sequence[Item]
    parts: Sequence[dict[str, bytes]]

    @classmethod
    def of(cls, standing: Standing) -> "_Shards":
        return cls(standing.shards, [unpack_entries(item["packed"]) for item in standing.shards] or [{}])

    @cached_property
    def packed(self) -> list[bytes]:
        return [pack_entries(part) for part in self.parts]

    @property
    def over(self) -> bool:
        """Whether there are more metrics than an answer can hold."""
        return sum(len(key.encode()) + _ANSWERED for part in self.parts for key in part) > METRICS_BYTES

    def grown(self, entries: Entries) -> "_Shards":
        """Return the shards with entries, split when one would become too long."""
        rows = list(map(merged, self.parts, _parted(entries, len(self.parts))))
        found = _Shards(self.items, rows)
        if len(rows) == 1 and len(found.packed[0]) > _SPLIT:
            return _Shards(self.items, _parted(rows[0], SHARDS))
        return found

    def admitting(self, entries: Entries) -> "_Shards":
        """Return the shards with a caller's entries; raises ``TooLarge`` when some are new and there is no room."""
        found = self.grown(entries)
        count, before = (sum(map(len, shards.parts)) for shards in (found, self))
        if count > before and found.over:
            raise TooLarge(
                f"the run has too many metrics: of {count} names not all values fit into one answer any more; "
                "log them to more than one run"
            )
        return found

    def puts(self, pk: str, folds: int) -> list[Put]:
        """Return the writes of the shards that differ from what is stored."""
        stored = [(int(i["n"]), bytes(i["packed"]), _folds(i), int(i["shards"])) for i in self.items]
        stored += [(0, b"", 0, 0)] * (len(self.parts) - len(stored))
        count, puts = len(self.parts), []
        for number, ((n, old, seen, shards), packed) in enumerate(zip(stored, self.packed, strict=True)):
            if old != packed or shards != count or (number == 0 and seen < folds):
                item = {"pk": pk, "sk": f"{METRICS}#{number:02d}", "n": n + 1, "packed": packed}
                item |= {"folds": max(folds, seen), "shards": count}
                puts.append(Put(TABLE, item, Is("n", n) if n else Absent()))
        return puts


def _folds(item: Item) -> int:
    return int(item.get("folds", 0))


def _parted(entries: Entries, count: int) -> list[dict[str, bytes]]:
    if count == 1:
        return [dict(entries)]
    parts: list[dict[str, bytes]] = [{} for _ in range(count)]
    for key, entry in entries.items():
        parts[zlib.crc32(key.encode()) % count][key] = entry
    return parts
