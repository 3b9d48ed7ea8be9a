"""The base of all declarations, and the words that they share: names, types of columns, times and spans of time.

Spans of time are written as a number and ``m``, ``h``, ``d`` or ``w``.
"""

import ast
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ColumnType = Literal["string", "integer", "number", "boolean", "timestamp"]
MINUTE_US = 60_000_000
NO_ENTITY = "__dummy_id"
"""The join key of features that are about everything, as Feast calls it; its one value is the empty string."""
_SPANS = {"m": MINUTE_US, "h": 60 * MINUTE_US, "d": 24 * 60 * MINUTE_US, "w": 7 * 24 * 60 * MINUTE_US}


def _span(text: str) -> str:
    if not re.fullmatch("[1-9][0-9]*[mhdw]", text):
        raise ValueError(f"{text!r} is no span of time: write it as 30m, 2h, 7d or 1w")
    return text


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_utc)]
"""A time in UTC, which one without a zone is meant to be."""
Span = Annotated[str, AfterValidator(_span)]
SpanOrNone = Annotated[str, AfterValidator(lambda text: text and _span(text))]
"""Empty where there is none."""


@lru_cache(maxsize=1024)
def span_us(span: str) -> int:
    """Return a span such as ``30m``, ``2h``, ``7d`` or ``1w`` in microseconds; 0 if it is empty."""
    return int(span[:-1]) * _SPANS[span[-1]] if span else 0


def spoken(span: int) -> str:
    """Return a span of microseconds in the longest unit that says it: ``1d`` for 24 hours, never weeks."""
    unit = next(unit for unit in "dhm" if span % _SPANS[unit] == 0)
    return f"{span // _SPANS[unit]}{unit}"


class Declared(BaseModel):
    """Base of all declarations: frozen, and a word that is not known is an error (validators are built when used)."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class Described(Declared):
    """What people say of a declaration.

    Attributes:
        owner: who answers for it.
        tags: by name.
    """

    owner: str = ""
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)


def columns_of(expression: str) -> frozenset[str]:
    """Return the columns that an expression names; in backticks any, else such as Python could name.

    Raises:
        ValueError: it is no expression.
    """
    quoted = set(re.findall("`([^`]+)`", expression))
    try:
        tree = ast.parse(re.sub("`[^`]+`", "0", expression).strip(), mode="eval")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{expression!r} is no expression over columns: {error}") from error
    return frozenset(quoted | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
