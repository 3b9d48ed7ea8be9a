"""Columns of plain values as few bytes, and back to the bit.

Integers that fit 64 bits and numbers are packed as such, little-endian as Lambda's machines are, everything else as
JSON; the whole is compressed. Equal columns are equal bytes.
"""

import json
import math
import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

_HEAD = struct.Struct("<cI")
_SIGNED, _UNSIGNED, _FLOAT, _JSON = b"q", b"Q", b"d", b"j"


def pack(columns: Iterable[Sequence[Any]]) -> bytes:
    """Return columns, of any lengths, as bytes; a float that is NaN comes back as None."""
    return zlib.compress(b"".join(_packed(column) for column in columns), 1)


def unpack(body: bytes) -> list[Sequence[Any]]:
    """Return the columns."""
    raw = zlib.decompress(body)
    columns, start = [], 0
    while start < len(raw):
        kind, size = _HEAD.unpack_from(raw, start)
        start += _HEAD.size
        columns.append(_unpacked(kind, raw[start : start + size]))
        start += size
    return columns


def _packed(column: Sequence[Any]) -> bytes:
    kind = _kind(column)
    if kind == _JSON:
        body = json.dumps(list(column), separators=(",", ":")).encode()
    elif kind == _FLOAT:
        body = array("d", [math.nan if value is None else value for value in column]).tobytes()
    else:
        body = array(kind.decode(), column).tobytes()
    return _HEAD.pack(kind, len(body)) + body


def _kind(column: Sequence[Any]) -> bytes:
    types = set(map(type, column))
    if types <= {int}:
        low, high = min(column, default=0), max(column, default=0)
        if low >= -(2**63) and high < 2**63:
            return _SIGNED
        return _UNSIGNED if low >= 0 and high < 2**64 else _JSON
    return _FLOAT if float in types and types <= {float, type(None)} else _JSON


def _unpacked(kind: bytes, body: bytes) -> Sequence[Any]:
    if kind == _JSON:
        found: list[Any] = json.loads(body)
        return found
    values: array[Any] = array(kind.decode(), body)
    return [None if math.isnan(value) else value for value in values] if kind == _FLOAT else values
