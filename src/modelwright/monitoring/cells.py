"""Cells in the canonical types of what a source declares.

These are ``timestamp[us, UTC]`` (naive means UTC), ``int64``, ``float64`` (NaN is missing), ``string`` and ``bool``. A
cell that cannot be what its column declares becomes null and is told apart: it is *broken*. So is an infinite number.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from modelwright.project import ColumnType

Mask = npt.NDArray[np.bool_]

UTC_TIME = pa.timestamp("us", tz="UTC")
ARROW: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": UTC_TIME,
}
_TRUE, _FALSE = ("true", "t", "1", "yes"), ("false", "f", "0", "no")
_EXACT_INTEGER = 2.0**53
_INTEGERS = (-(2**63), 2**63 - 1)
_YEARS_S = (-62_135_596_800, 253_402_300_800)
"""The years 1 to 9999, in seconds since 1970."""


def typed_array(column: pa.ChunkedArray, kind: ColumnType) -> tuple[pa.Array, Mask | None]:
    """Return a column in its canonical type, and which cells could not be it (None: all could)."""
    array = _plain(column)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), ARROW[kind]), None
    if pa.types.is_string(array.type) and kind != "string":
        return _from_text(array, kind)
    return _TYPED[kind](array)


def infinite_of(column: pa.ChunkedArray, broken: Mask) -> pa.Array | None:
    """Return those of the broken cells of a column that are infinite numbers, null elsewhere; None: none is."""
    array = _plain(column)
    if pa.types.is_string(array.type):
        values, _ = _one_by_one(pc.if_else(pa.array(broken), array, pa.scalar(None, pa.string())), _real, pa.float64())
    elif pa.types.is_floating(array.type):
        values = array.cast(pa.float64(), safe=False)
    else:
        return None
    infinite = pc.is_inf(values)
    return pc.if_else(infinite, values, pa.scalar(None, pa.float64())) if pc.any(infinite).as_py() else None


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece, texts as such."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_large_string(array.type) or _is_view(array.type) else array


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind))


def _from_text(array: pa.Array, kind: ColumnType) -> tuple[pa.Array, Mask | None]:
    if kind == "boolean":
        return _boolean_text(array)
    try:
        return _TYPED[kind](_AT_ONCE[kind](array))
    except pa.ArrowInvalid:
        converted, broken = _one_by_one(array, _PARSED[kind], ARROW[kind])
        typed, more = _TYPED[kind](converted)
        return typed, broken if more is None else broken | more


def _integers_of_text(array: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring(array, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("hexadecimal numbers, which are texts to people")
    return array.cast(pa.int64())


def _timestamps_of_text(array: pa.Array) -> pa.Array:
    zoned = pc.match_substring_regex(array, r"(Z|[+-]\d\d:?\d\d)$")
    if pc.all(zoned).as_py():
        return array.cast(UTC_TIME)
    if pc.any(zoned).as_py():
        raise pa.ArrowInvalid("zoned and naive times in one column")
    return pc.assume_timezone(array.cast(pa.timestamp("us")), "UTC")


def _instant(text: str) -> datetime:
    from datetime import UTC

    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _real(text: str) -> float:
    """Return the number that people mean by a text; Python's own have more ways to be written."""
    if "_" in text or not text.isascii():
        raise ValueError("no number")
    return float(text)


def _whole(text: str) -> int | None:
    """Return the integer of a text, exactly; what is written as a fraction counts where a float is exact."""
    number = _real(text)
    try:
        whole = int(text)
    except ValueError:
        if math.isnan(number):
            return None
        if abs(number) > _EXACT_INTEGER or not number.is_integer():
            raise
        return int(number)
    if not _INTEGERS[0] <= whole <= _INTEGERS[1]:
        raise ValueError("too large")
    return whole


_AT_ONCE: dict[ColumnType, Callable[[pa.Array], pa.Array]] = {
    "integer": _integers_of_text,
    "number": lambda array: array.cast(pa.float64()),
    "timestamp": _timestamps_of_text,
}
_PARSED: dict[ColumnType, Callable[[str], Any]] = {"integer": _whole, "number": _real, "timestamp": _instant}


def _one_by_one(array: pa.Array, parse: Callable[[str], Any], target: pa.DataType) -> tuple[pa.Array, Mask]:
    """Parse distinct texts one by one: slow, and only for columns in which some cell is broken."""
    coded = array.dictionary_encode()
    values: list[Any] = []
    faults: list[bool] = []
    for text in coded.dictionary.to_pylist():
        try:
            values.append(parse(text.strip()))
            faults.append(False)
        except ValueError:
            values.append(None)
            faults.append(True)
    typed = pa.array(values, target).take(coded.indices)
    broken = pa.array(faults, pa.bool_()).take(coded.indices).fill_null(False)
    return typed, _mask(broken)


def _boolean_text(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    lower = pc.utf8_lower(pc.utf8_trim_whitespace(array))
    true = pc.is_in(lower, pa.array(_TRUE))
    known = pc.or_(true, pc.is_in(lower, pa.array(_FALSE)))
    typed = pc.if_else(pc.and_(known, pc.is_valid(array)), true, pa.scalar(None, pa.bool_()))
    broken = _mask(pc.and_(pc.invert(known), pc.is_valid(array)))
    return typed, broken


def _number(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_boolean(array.type) or not _numeric(array.type):
        return _all_broken(array, pa.float64())
    values = array.cast(pa.float64(), safe=False)
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    infinite = _mask(pc.is_inf(values).fill_null(False))
    if infinite.any():
        return pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), values), infinite
    return values, None


def _integer(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_integer(array.type):
        return _signed(array)
    if pa.types.is_decimal(array.type):
        try:
            return array.cast(pa.int64()), None
        except pa.ArrowInvalid:  # some have fractions
            pass
    values, broken = _number(array)
    numbers = values.fill_null(0.0).to_numpy(zero_copy_only=False)
    fraction = (numbers != np.floor(numbers)) | (np.abs(numbers) > _EXACT_INTEGER)
    if fraction.any():
        values = pc.if_else(pa.array(fraction), pa.scalar(None, pa.float64()), values)
        broken = fraction if broken is None else broken | fraction
    return values.cast(pa.int64()), broken


def _signed(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if not pa.types.is_uint64(array.type):
        return array.cast(pa.int64()), None
    beyond = pc.greater(array, pa.scalar(_INTEGERS[1], pa.uint64())).fill_null(False)
    signed = pc.if_else(beyond, pa.scalar(None, pa.uint64()), array).cast(pa.int64())
    return signed, _mask(beyond)


def _string(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_string(array.type):
        return array, None
    if pa.types.is_integer(array.type):
        return array.cast(pa.string()), None
    return _all_broken(array, pa.string())


def _boolean(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_boolean(array.type):
        return array, None
    if not _numeric(array.type):
        return _all_broken(array, pa.bool_())
    values, _ = _number(array)
    broken = _mask(pc.invert(pc.is_in(values, pa.array([0.0, 1.0]))))
    broken &= _mask(pc.is_valid(array))
    return pc.if_else(pa.array(broken), pa.scalar(None, pa.bool_()), pc.equal(values, 1.0)), broken


def _timestamp(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"), safe=False)
    if not pa.types.is_timestamp(array.type):
        return _all_broken(array, UTC_TIME)
    times = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    return _within_years(pc.assume_timezone(times, "UTC") if array.type.tz is None else times.cast(UTC_TIME), array)


def _within_years(times: pa.Array, array: pa.Array) -> tuple[pa.Array, Mask | None]:
    """Return times, without those outside the years 1 to 9999, which nothing in Python can name.

    Args:
        times: in microseconds; what does not fit into them comes out as another time.
        array: the same in its own unit.
    """
    a_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit]
    said = array.cast(pa.int64())
    low, high = (max(-(2**63), min(year * a_second, 2**63 - 1)) for year in _YEARS_S)
    beyond = pc.fill_null(pc.or_(pc.less(said, low), pc.greater_equal(said, high)), False)
    if a_second == 10**9 or not pc.any(beyond).as_py():
        return times, None
    return pc.if_else(beyond, pa.scalar(None, UTC_TIME), times), _mask(beyond)


_TYPED: dict[ColumnType, Callable[[pa.Array], tuple[pa.Array, Mask | None]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _all_broken(array: pa.Array, target: pa.DataType) -> tuple[pa.Array, Mask]:
    return pa.nulls(len(array), target), _mask(pc.is_valid(array))


def _mask(array: Any) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask.astype(bool)
