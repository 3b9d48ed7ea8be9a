"""What callers of ``predict`` send, checked: every fault names its row and column."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from modelwright.errors import InvalidInput, TooLarge
from modelwright.project import ColumnType, Model

ROW_LIMIT = 5_000
_FAULTS_SHOWN = 5

Mode = Literal["online", "point_in_time"]


class Body(BaseModel):
    """The body of a prediction request.

    Attributes:
        rows: one object per prediction, with the model's request columns.
        mode: features as of now from the online store, or as of each row's own time from the offline store.
        dry_run: answer without logging.
        return_features: whether the answer holds what the model was fed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    rows: list[dict[str, Any]]
    mode: Mode = "online"
    dry_run: bool = False
    return_features: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A checked request.

    Attributes:
        rows: with timestamps as UTC datetimes.
        ids: prediction ids, in the order of rows.
        times: the time column of each row.
        request_id: the caller's key or, without one, the body's digest and the time at which it was asked.
        body_digest: SHA-256 of the body as it was sent.
    """

    body: Body
    rows: tuple[dict[str, Any], ...]
    ids: tuple[str, ...]
    times: tuple[datetime, ...]
    request_id: str
    body_digest: str
    keyed: bool


def read(raw: bytes, idempotency_key: str, name: str, model: Model, now: datetime) -> Asked:
    """Check a request.

    Args:
        raw: the body.
        idempotency_key: the caller's name for the request; empty: body and time name it.
        name: the model's name.
        model: its declaration.
        now: domain time.

    Raises:
        InvalidInput: it is no JSON, has no rows, or some are wrong; the text names row and column.
        TooLarge: more than ``ROW_LIMIT`` rows.
    """
    try:
        body = Body.model_validate_json(raw or b"{}")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'body'}: {f['msg']}" for f in error.errors()[:10])
        raise InvalidInput(faults) from error
    if len(body.rows) > ROW_LIMIT:
        raise TooLarge(f"{len(body.rows)} rows are more than {ROW_LIMIT}: send several requests")
    if not body.rows:
        raise InvalidInput("rows: at least one is needed")
    if any(part in idempotency_key for part in "/\\#") or len(idempotency_key) > 200:
        raise InvalidInput("the header Idempotency-Key takes up to 200 characters without / \\ and #")
    rows = _checked(body.rows, name, model)
    ids = tuple(str(row[model.id_column]) for row in rows)
    _no_twins(ids, model.id_column)
    digest = hashlib.sha256(raw).hexdigest()
    times = tuple(row[model.time_column] for row in rows)
    request_id = idempotency_key or f"{digest}-{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}"
    return Asked(body, rows, ids, times, request_id, digest, bool(idempotency_key))


def _checked(rows: Sequence[Mapping[str, Any]], name: str, model: Model) -> tuple[dict[str, Any], ...]:
    columns = [(column, kind, _READERS[kind]) for column, kind in model.request.items()]
    faults: list[str] = []
    checked = []
    for number, row in enumerate(rows):
        if row.keys() != model.request.keys():
            faults.append(_keys_fault(number, row, name, model))
            continue
        values: dict[str, Any] = {}
        for column, kind, reader in columns:
            value = reader(row[column])
            if value is None:
                faults.append(f"row {number}, column {column}: {row[column]!r} is no {kind}")
            values[column] = value
        checked.append(values)
        if len(faults) >= _FAULTS_SHOWN:
            break
    if faults:
        raise InvalidInput("; ".join(faults[:_FAULTS_SHOWN]))
    return tuple(checked)


def _keys_fault(number: int, row: Mapping[str, Any], name: str, model: Model) -> str:
    missing = [f"column {column} is missing" for column in model.request if column not in row]
    unknown = [f"column {column} is not one that {name} takes" for column in row if column not in model.request]
    return f"row {number}: {', '.join([*missing, *unknown][:_FAULTS_SHOWN])}"


def _no_twins(ids: Sequence[str], column: str) -> None:
    first: dict[str, int] = {}
    for number, identity in enumerate(ids):
        if first.setdefault(identity, number) != number:
            raise InvalidInput(f"row {number}, column {column}: {identity!r} is asked in row {first[identity]} already")


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if fits else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _timestamp(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_READERS: dict[ColumnType, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
}
