"""Metric points, packed: a batch is one item, whose id is made of its content.

The form is a JSON list ``[keys, points of each key]``, a newline, and the columns (values as f64, timestamps and
steps as i64), all in zlib. The points of a key stand together, by (timestamp, step, value); its timestamps
and steps are told as differences to the point before. Each column is shuffled: first the lowest bytes of
all its numbers, then the next ones, so that what hardly changes lies together and costs next to nothing. A thousand
points of one metric take some 7 bytes each, nearly all of them for their values.

A batch that is sent again packs to the same bytes, whatever the order of its points.
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from operator import sub
from typing import NamedTuple

from modelwright.tracking.entities import Point

_WIDTH = 8
_NOISE = 6
"""The lowest bytes of a value, which mostly are like chance."""
_LOWEST, _HIGHEST, _ROUND = -(2**63), 2**63 - 1, 2**64


class Columns(NamedTuple):
    """Points of one metric, column by column."""

    timestamps: Sequence[int]
    steps: Sequence[int]
    values: Sequence[float]

    @classmethod
    def of(cls, points: Iterable[Point]) -> "Columns":
        """Return the columns of points."""
        rows = list(points)
        return cls([p.timestamp for p in rows], [p.step for p in rows], [p.value for p in rows])


def distinct(points: Iterable[Point]) -> list[Point]:
    """Return the points by (key, timestamp, step, value), each once.

    As in MLflow, all NaN at one place are the same point, and come where zero comes; both zeros are one.
    """
    return [
        Point(key, math.nan if nan else value, timestamp, step)
        for key, rows in _by_key(points)
        for timestamp, step, value, nan in rows
    ]


def pack(points: Iterable[Point]) -> bytes:
    """Return the packed form."""
    keys, counts, rows = [], [], []
    for key, of_key in _by_key(points):
        keys.append(key)
        counts.append(len(of_key))
        rows += of_key
    timestamps, steps, values, nans = zip(*rows, strict=True) if rows else ((), (), (), ())
    known = [math.nan if nan else value for value, nan in zip(values, nans, strict=True)] if any(nans) else values
    header = json.dumps([keys, counts], ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    shuffled = _shuffled(struct.pack(f"<{len(rows)}d", *known))
    differences = (_packed(_differences(column, counts)) for column in (timestamps, steps))
    noise, rough = _NOISE * len(rows), (_NOISE + 1) * len(rows)
    rest = b"".join([shuffled[rough:], *map(_shuffled, differences)])
    return deflated(header, shuffled[:noise], shuffled[noise:rough], rest)


def unpack(packed: bytes, key: str | None = None) -> Iterator[Point]:
    """Yield the points of a packed batch, or those of one key."""
    for name, columns in unpack_columns(packed, key):
        yield from map(Point, repeat(name), columns.values, columns.timestamps, columns.steps)


def unpack_columns(packed: bytes, key: str | None = None) -> Iterator[tuple[str, Columns]]:
    """Yield the keys of a packed batch (or one of them) and the columns of each; other keys are not decoded."""
    header, _, body = zlib.decompress(packed).partition(b"\n")
    keys, counts = json.loads(header)
    length = sum(counts) * _WIDTH
    columns = [memoryview(body)[place : place + length] for place in range(0, 3 * length, length or 1)]
    first = 0
    for name, count in zip(keys, counts, strict=True):
        if key in (None, name):
            values, timestamps, steps = (_restored(column, first, count) for column in columns)
            whole = f"<{count}q"
            numbers = struct.unpack(f"<{count}d", values)
            yield name, Columns(_sums(struct.unpack(whole, timestamps)), _sums(struct.unpack(whole, steps)), numbers)
        first += count


def deflated(*parts: bytes) -> bytes:
    """Return parts as one stream in which each is coded for itself, as what is all noise spoils what is not."""
    stream = zlib.compressobj(6)
    coded = [piece for part in parts for piece in (stream.compress(part), stream.flush(zlib.Z_BLOCK))]
    return b"".join([*coded, stream.flush()])


def content_id(packed: bytes) -> str:
    """Return the id of a packed batch."""
    return hashlib.sha256(packed).hexdigest()[:32]


def _by_key(points: Iterable[Point]) -> list[tuple[str, list[tuple[int, int, float, bool]]]]:
    """Return what orders the points of each key and tells them apart: timestamp, step, value, and whether it is NaN."""
    found: dict[str, list[tuple[int, int, float, bool]]] = {}
    for key, value, timestamp, step in points:
        nan = math.isnan(value)
        found.setdefault(key, []).append((timestamp, step, 0.0 if nan else value + 0.0, nan))
    return [(key, sorted(set(rows)) if len(rows) > 1 else rows) for key, rows in sorted(found.items())]


def _shuffled(column: bytes) -> bytes:
    return b"".join(column[byte::_WIDTH] for byte in range(_WIDTH))


def _restored(column: memoryview, first: int, count: int) -> bytes:
    """Return ``count`` numbers of a shuffled column."""
    total = len(column) // _WIDTH
    numbers = bytearray(count * _WIDTH)
    for byte in range(_WIDTH):
        place = byte * total + first
        numbers[byte::_WIDTH] = column[place : place + count]
    return bytes(numbers)


def _differences(numbers: Sequence[int], counts: Iterable[int]) -> Sequence[int]:
    """Return each number's difference to the one before it of the same key."""
    found = [*numbers[:1], *map(sub, numbers[1:], numbers)]
    first = 0
    for count in counts:
        found[first] = numbers[first]
        first += count
    return found


def _sums(differences: Sequence[int]) -> Sequence[int]:
    """Undo ``_differences``; what left the range of i64 came back into it at its other end."""
    found = list(accumulate(differences))
    if found and (max(found) > _HIGHEST or min(found) < _LOWEST):
        return [_wrapped(number) for number in found]
    return found


def _packed(differences: Sequence[int]) -> bytes:
    form = f"<{len(differences)}q"
    try:
        return struct.pack(form, *differences)
    except struct.error:
        return struct.pack(form, *map(_wrapped, differences))


def _wrapped(number: int) -> int:
    return (number - _LOWEST) % _ROUND + _LOWEST
