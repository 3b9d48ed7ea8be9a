"""Metric points, packed: a batch is one item, whose id is made of its content.

The form is ``zlib(JSON list of keys, newline, columns)``, the columns being the key's index (u16),
the value (f64), the timestamp and the step (i64) of every point, little-endian, in the order
of (key, timestamp, step, value). A batch that is sent again therefore packs to the same bytes.
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator

from modelwright.tracking.entities import Point


def distinct(points: Iterable[Point]) -> list[Point]:
    """Return the points in order, each once (all NaN at one place are the same point)."""
    places = {
        (p.key, p.timestamp, p.step, math.isnan(p.value), 0.0 if math.isnan(p.value) else p.value): p for p in points
    }
    return [places[place] for place in sorted(places)]


def pack(points: Iterable[Point]) -> bytes:
    """Return the packed form of up to 65,536 keys."""
    rows = distinct(points)
    keys = sorted({point.key for point in rows})
    index = {key: n for n, key in enumerate(keys)}
    columns = (
        struct.pack(f"<{len(rows)}H", *(index[p.key] for p in rows)),
        struct.pack(f"<{len(rows)}d", *(p.value for p in rows)),
        struct.pack(f"<{len(rows)}q", *(p.timestamp for p in rows)),
        struct.pack(f"<{len(rows)}q", *(p.step for p in rows)),
    )
    return zlib.compress(json.dumps(keys).encode() + b"\n" + b"".join(columns), 6)


def unpack(packed: bytes) -> Iterator[Point]:
    """Yield the points of a packed batch."""
    header, _, columns = zlib.decompress(packed).partition(b"\n")
    keys = json.loads(header)
    count = len(columns) // 26
    index = struct.unpack_from(f"<{count}H", columns)
    values = struct.unpack_from(f"<{count}d", columns, 2 * count)
    timestamps = struct.unpack_from(f"<{count}q", columns, 10 * count)
    steps = struct.unpack_from(f"<{count}q", columns, 18 * count)
    for row in zip(index, values, timestamps, steps, strict=True):
        yield Point(keys[row[0]], *row[1:])


def content_id(packed: bytes) -> str:
    """Return the id of a packed batch."""
    return hashlib.sha256(packed).hexdigest()[:32]
