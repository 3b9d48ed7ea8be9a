"""Rows that came over HTTP, checked against what was declared and made plain Python values.

A value is a ``str``, ``int``, ``float`` (never NaN), ``bool``, an aware ``datetime``, or None. Missing is
None everywhere: NaN becomes None on the way in, in this module and for files in ``history``.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from modelwright.errors import InvalidInput
from modelwright.features.layout import micros, moment, row_key, spelled
from modelwright.project import Column, ColumnType, Service, Source, View

FAULTS = 10


class Unfit(ValueError):
    """A value is not what it must be.

    Args:
        text: for who sent it; may quote it.
        kind: the same for logs, which keep what they are told: without the value.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind or text

    def at(self, place: str) -> InvalidInput:
        """Return what a caller is told of a value at this place."""
        return InvalidInput(f"{place}: {self}", logged=f"{place}: {self.kind}")


class Row(NamedTuple):
    """A row of a source, with what its place in the store depends on.

    Attributes:
        key: 64 bits that name it.
        event: its event time.
        available: when it became known.
        arrival: when it came here; sorts.
        values: its columns.
    """

    key: int
    event: int
    available: int
    arrival: str
    values: Mapping[str, Any]

    def entity(self, view: View) -> str | None:
        """Return which entity of a view it is about; None when a join key is null."""
        values = [self.values[name] for name in view.entity]
        return None if None in values else spelled(values)


def columnar(frame: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Turn Feast's columnar form into rows; raises ``InvalidInput`` when columns differ in length."""
    for name, values in frame.items():
        if not isinstance(values, list):
            kind = type(values).__name__
            told = f"column {name} must be a list of values, it is a {kind}"
            raise InvalidInput(told, logged=f"a column is a {kind}, not a list of values")
    lengths = {name: len(values) for name, values in frame.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInput(
            f"columns differ in length: {', '.join(f'{n} has {k}' for n, k in lengths.items())}",
            logged="columns differ in length",
        )
    return [dict(zip(frame, row, strict=True)) for row in zip(*frame.values(), strict=True)]


def checked(source: Source, rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows with exactly the declared columns, in declared order and as plain values.

    Raises:
        InvalidInput: naming the row (from 0) and column of the first ten faults.
    """
    faults: list[InvalidInput] = []
    found = [_row(source, n, row, faults) for n, row in enumerate(rows) if len(faults) < FAULTS]
    if faults:
        raise all_of(faults)
    return found


def all_of(faults: Sequence[InvalidInput]) -> InvalidInput:
    """Return the first ten of some faults as one."""
    told = faults[:FAULTS]
    return InvalidInput("; ".join(map(str, told)), logged="; ".join(fault.logged for fault in told))


def placed(source: Source, values: Mapping[str, Any], *, now_us: int, arrival: str) -> Row:
    """Return a checked row with its key and times; it was available at ``now_us`` if it does not say when."""
    said = values[source.available_at] if source.available_at else None
    key = row_key([values[name] for name in source.key])
    return Row(key, micros(values[source.event_time]), now_us if said is None else micros(said), arrival, values)


def asked(service: Service, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return request rows with the service's request columns as plain values; others are left out.

    Raises:
        InvalidInput: a column is missing from all, or a value has another type.
    """
    types = service.request
    for name in types:
        if rows and not any(name in row for row in rows):
            raise InvalidInput(f"the request lacks the column {name}: it takes {', '.join(types)}")
    chosen = {name: READERS[kind] for name, kind in types.items()}
    return [{name: _read(chosen[name], row.get(name), n, name) for name in types} for n, row in enumerate(rows)]


def typed(kind: ColumnType, value: Any, place: str) -> Any:
    """Return one value as a declared type (None stays None); raises ``InvalidInput`` naming ``place``."""
    if value is None:
        return None
    try:
        return READERS[kind](value)
    except Unfit as error:
        raise error.at(place) from error


def packed(source: Source, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return checked rows as canonical JSON: the same rows are the same bytes."""
    columns = {name: [_said(row[name]) for row in rows] for name in source.columns}
    return json.dumps(columns, separators=(",", ":")).encode()


def unpacked(source: Source, body: bytes) -> list[dict[str, Any]]:
    """Return rows from their canonical JSON."""
    columns = json.loads(body)
    times = {name for name, column in source.columns.items() if column.type == "timestamp"}
    names = [name for name in source.columns if name in columns]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(columns[n] for n in names), strict=True)]
    return [{n: moment(v) if n in times and v is not None else v for n, v in row.items()} for row in rows]


def _row(source: Source, n: int, row: Any, faults: list[InvalidInput]) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        faults.append(InvalidInput(f"row {n} is a {type(row).__name__}, not an object"))
        return {}
    strange = [name for name in row if name not in source.columns]
    undeclared = f"row {n}: a column that is not declared"
    faults.extend(InvalidInput(f"row {n}, column {name}: not declared", logged=undeclared) for name in strange)
    needed = {*source.key, source.event_time}
    values = {}
    for name, column in source.columns.items():
        try:
            values[name] = _checked(column, row.get(name), required=name in needed)
        except Unfit as error:
            faults.append(error.at(f"row {n}, column {name}"))
    return values


def _checked(column: Column, value: Any, *, required: bool) -> Any:
    value = None if value is None else READERS[column.type](value)
    if value is None:
        if required or not column.nullable:
            raise Unfit("may not be missing")
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if column.low is not None and value < column.low:
            raise Unfit(f"{value} is below {column.low}", f"below {column.low}")
        if column.high is not None and value > column.high:
            raise Unfit(f"{value} is above {column.high}", f"above {column.high}")
    if column.values and str(value) not in column.values:
        known = f"none of {', '.join(column.values)}"
        raise Unfit(f"{value!r} is {known}", known)
    return value


def _read(reader: Callable[[Any], Any], value: Any, n: int, name: str) -> Any:
    if value is None:
        return None
    try:
        return reader(value)
    except Unfit as error:
        raise error.at(f"row {n}, column {name}") from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit(f"{value!r} is no string", "no string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Unfit("half of a surrogate pair is no text") from error
    return value


def _integer(value: Any) -> int | None:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(f"{value!r} is no integer", "no integer")
    if not -(2**63) <= value < 2**63:
        raise Unfit(f"{value} does not fit 64 bits", "does not fit 64 bits")
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        value = float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Unfit(f"{value!r} is no number", "no number")
    try:
        number = float(value)
    except OverflowError as error:
        raise Unfit("it is larger than any 64-bit number") from error
    return None if math.isnan(number) else number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"{value!r} is no boolean", "no boolean")
    return value


def _timestamp(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise Unfit(str(error), "no ISO 8601 time") from error
    if not isinstance(value, datetime):
        raise Unfit(f"{value!r} is no ISO 8601 time", "no ISO 8601 time")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise Unfit(f"{value} is outside the years 1 to 9999 in UTC", "outside the years 1 to 9999") from error


def _said(value: Any) -> Any:
    return micros(value) if isinstance(value, datetime) else value


READERS: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
"""What makes a plain value of JSON's, by declared type; raises ``Unfit``."""
