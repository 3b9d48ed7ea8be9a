"""Expressions over the columns of a table, as rules, segments and groups are written: ``distance > 1000``.

What pandas' ``DataFrame.eval`` understands of comparisons, arithmetic, ``in``, ``and``, ``or`` and ``not`` is
allowed, and nothing else: no calls, attributes or names that are not columns. A column whose name is no Python
name is written in backticks. Times are UTC and compare with texts: ``at >= '2026-01-31 12:00'``.

A row in which one of the columns that are named is missing has no answer (null), whatever the others say.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from modelwright.errors import InvalidInput
from modelwright.project import Column

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 1000
_ALLOWED = (
    *(ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple),
    *(ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Invert),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
)
_CONSTANTS = (str, int, float, bool)
_QUOTED = re.compile("`([^`]+)`")


def evaluate(expression: str, table: "pa.Table") -> "pa.Array":
    """Return the value of an expression in each row; a column's name alone gives its values.

    Args:
        expression: as the module says.
        table: its columns of canonical types.

    Raises:
        InvalidInput: it is no such expression, names a column that is not there, or compares what cannot be compared.
    """
    import pandas as pd
    import pyarrow as pa

    written, names = _read(expression)
    _refuse_unknown(expression, names, table.column_names)
    if len(names) == 1 and written == _placeholder(0):
        column = table.column(names[0]).combine_chunks()
        return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
    frame = _frame(table, names)
    try:
        values = frame.eval(written, engine="python")
        found = pa.Array.from_pandas(pd.Series(values, index=frame.index))
    except (TypeError, ValueError, NotImplementedError, KeyError, OverflowError, pa.ArrowException) as error:
        raise InvalidInput(f"{expression!r} cannot be evaluated: {_spoken(error, names)}") from error
    return _where_known(found, table, names)


def holds(expression: str, table: "pa.Table") -> "pa.Array":
    """Return whether an expression holds in each row, null where it has no answer; raises like ``evaluate``."""
    import pyarrow as pa

    found = evaluate(expression, table)
    if not pa.types.is_boolean(found.type):
        raise InvalidInput(f"{expression!r} is neither true nor false: it gives {found.type}")
    return found


def check(expression: str, columns: Iterable[str] | Mapping[str, Column], *, is_rule: bool = False) -> None:
    """Check an expression before there are any rows.

    Args:
        expression: as the module says.
        columns: names of the columns there are, or these with their declarations, so that types are checked too.
        is_rule: whether it has to be true or false; only with declarations.

    Raises:
        InvalidInput: it is no such expression, names a column that is not there, or compares what cannot be compared.
    """
    _, names = _read(expression)
    _refuse_unknown(expression, names, list(columns))
    if isinstance(columns, Mapping):
        (holds if is_rule else evaluate)(expression, _one_row(columns))


def columns_of(expression: str) -> tuple[str, ...]:
    """Return the columns that an expression names, in order; raises ``InvalidInput`` when it is none."""
    return _read(expression)[1]


@lru_cache(maxsize=256)
def _read(expression: str) -> tuple[str, tuple[str, ...]]:
    """Return an expression with placeholders for its columns, and these."""
    if len(expression) > LONGEST:
        raise InvalidInput(f"an expression has at most {LONGEST} characters, not {len(expression)}")
    quoted: list[str] = []
    marked = _QUOTED.sub(lambda found: f"__quoted_{_add(quoted, found[1])}__", expression)
    try:
        tree = ast.parse(marked.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidInput(f"{expression!r} is no expression over columns: {error}") from error
    names: list[str] = []
    for node in ast.walk(tree):
        _refuse_strange(expression, node)
    for node in sorted((n for n in ast.walk(tree) if isinstance(n, ast.Name)), key=lambda n: n.col_offset):
        name = node.id.removeprefix("__quoted_").removesuffix("__") if node.id.startswith("__quoted_") else ""
        node.id = _placeholder(_add(names, quoted[int(name)] if name.isdigit() else node.id))
    if not names:
        raise InvalidInput(f"{expression!r} names no column")
    return ast.unparse(tree), tuple(names)


def _add(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)


def _placeholder(number: int) -> str:
    return f"column_{number}"


def _refuse_strange(expression: str, node: ast.AST) -> None:
    if not isinstance(node, _ALLOWED):
        raise InvalidInput(f"{expression!r} has a {type(node).__name__}: columns, constants, comparisons are allowed")
    if isinstance(node, ast.Constant) and not isinstance(node.value, _CONSTANTS):
        raise InvalidInput(f"{expression!r} has the constant {node.value!r}: texts and numbers are allowed")


def _refuse_unknown(expression: str, names: Iterable[str], there: list[str]) -> None:
    if unknown := [name for name in names if name not in there]:
        told = ", ".join(there[:20])
        raise InvalidInput(f"{expression!r} names {', '.join(unknown)}, which is no column: there are {told}")


def _frame(table: "pa.Table", names: tuple[str, ...]) -> Any:
    import pandas as pd
    import pyarrow as pa

    kinds: dict[pa.DataType, Any] = {
        pa.int64(): pd.Int64Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype("pyarrow"),
    }
    columns = [table.column(name) for name in names]
    # pandas makes naive times of texts
    naive = [c.cast(pa.timestamp("us")) if pa.types.is_timestamp(c.type) else c for c in columns]
    renamed = pa.table(naive, names=[_placeholder(number) for number in range(len(names))])
    return renamed.to_pandas(types_mapper=kinds.get)


def _where_known(found: "pa.Array", table: "pa.Table", names: tuple[str, ...]) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.chunked_array([pa.array([True] * table.num_rows, pa.bool_())])
    for name in names:
        known = pc.and_(known, table.column(name).is_valid())
    if pa.types.is_timestamp(found.type) and found.type.tz is None:
        found = pc.assume_timezone(found, "UTC")
    masked = pc.if_else(known, found, pa.scalar(None, found.type)).combine_chunks()
    return masked if isinstance(masked, pa.Array) else pa.concat_arrays(masked.chunks)


def _spoken(error: Exception, names: tuple[str, ...]) -> str:
    text = str(error).split("\n", 1)[0][:200]
    for number, name in reversed(list(enumerate(names))):
        text = text.replace(_placeholder(number), name)
    return text


def _one_row(columns: Mapping[str, Column]) -> "pa.Table":
    """Return a row of some values, of which only the types matter."""
    import pyarrow as pa

    kinds = {
        "string": pa.array(["a"]),
        "integer": pa.array([1], pa.int64()),
        "number": pa.array([1.0]),
        "boolean": pa.array([True]),
        "timestamp": pa.array([0], pa.int64()).cast(pa.timestamp("us", tz="UTC")),
    }
    return pa.table({name: kinds[column.type] for name, column in columns.items()})
