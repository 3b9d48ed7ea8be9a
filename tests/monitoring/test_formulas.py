"""Expressions over columns: what rules, segments and groups are written in."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.monitoring import formulas
from modelwright.project import Column

TABLE = pa.table(
    {
        "n": pa.array([1, 2, None]),
        "x": pa.array([1.5, None, 0.0]),
        "s": pa.array(["a", "b", None]),
        "at": pa.array([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 2, tzinfo=UTC), None]).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "before": pa.array([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC), None]).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "ok": pa.array([True, False, None]),
        "the name": pa.array([7, 8, 9]),
        "index": pa.array([5, 6, 7]),
    }
)
COLUMNS = {"n": Column(type="integer"), "s": Column(type="string"), "at": Column(type="timestamp")}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("n", [1, 2, None]),
        ("s", ["a", "b", None]),
        ("`the name`", [7, 8, 9]),
        ("n > 1", [False, True, None]),
        ("not n > 1", [True, False, None]),
        ("n % 2 == 0", [False, True, None]),
        ("n // 2", [0, 1, None]),
        ("-n", [-1, -2, None]),
        ("0 < n <= 1", [True, False, None]),
        ("s == 'a'", [True, False, None]),
        ("s != 'a'", [False, True, None]),
        ("s in ['a', 'c']", [True, False, None]),
        ("s not in ('a',)", [False, True, None]),
        ("at > '2020-01-15'", [False, True, None]),
        ("at > before", [False, True, None]),
        ("(n > 1) & (`the name` == 8)", [False, True, None]),
        ("n > 1 & `the name` == 8", [False, True, None]),
        ("n > 1 or index == 5", [True, True, None]),
        ("n == 1 or x > 1", [True, None, None]),
        ("ok", [True, False, None]),
        ("ok == True", [True, False, None]),
        ("not ok", [False, True, None]),
        ("x / n", [1.5, None, None]),
    ],
)
def test_an_expression_has_one_value_per_row_and_none_where_a_column_is_missing(
    expression: str, values: list[object]
) -> None:
    assert formulas.evaluate(expression, TABLE).to_pylist() == values


def test_a_table_without_rows_gives_no_values() -> None:
    assert len(formulas.evaluate("n > 1", TABLE.slice(0, 0))) == 0
    assert len(formulas.evaluate("n", TABLE.slice(0, 0))) == 0


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("m > 1", "names m, which is no column: there are n, x, s"),
        ("`the other` > 1", "names the other"),
        ("__import__('os')", "has a Call"),
        ("s.str.len() > 1", "has a"),
        ("n.__class__", "has a Attribute"),
        ("@n > 1", "no expression"),
        ("n = 1", "no expression"),
        ("(n := 1)", "has a NamedExpr"),
        ("[n for n in s]", "has a ListComp"),
        ("lambda: n", "has a Lambda"),
        ("n[0]", "has a Subscript"),
        ("n ** 9", "has a Pow"),
        ("f'{n}'", "has a JoinedStr"),
        ("n > None", "has the constant None"),
        ("1 > 0", "names no column"),
        ("", "no expression"),
        ("n >", "no expression"),
        ("n > 1; s", "no expression"),
        ("n" * 1001, "at most 1000 characters"),
        ("(" * 400 + "n" + ")" * 400, "no expression"),
        ("s > n", "cannot be evaluated"),
    ],
)
def test_what_is_no_expression_over_columns_is_refused_and_named(expression: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        formulas.evaluate(expression, TABLE)
    assert text in str(refused.value)


def test_an_expression_is_checked_before_there_are_rows() -> None:
    formulas.check("n > 1", ["n"])
    formulas.check("n > 1 and s == 'a' and at > '2020-01-01'", COLUMNS, is_rule=True)
    with pytest.raises(InvalidInput, match="names m, which is no column: there are n"):
        formulas.check("m > 1", ["n"])
    with pytest.raises(InvalidInput, match="cannot be evaluated"):
        formulas.check("s > n", COLUMNS)
    with pytest.raises(InvalidInput, match="neither true nor false"):
        formulas.check("n + 1", COLUMNS, is_rule=True)
    assert formulas.columns_of("s == 'n' or `the name` > n") == ("s", "the name", "n")


@given(st.text(alphabet="nsx @.()[]'\"`_<>=!&|~+-*/%0123456789{}:;,\\\n#", max_size=40))
def test_no_text_does_anything_but_give_values_or_be_refused(expression: str) -> None:
    try:
        values = formulas.evaluate(expression, TABLE)
    except InvalidInput:
        return
    assert len(values) == 3
