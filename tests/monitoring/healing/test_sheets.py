"""A file that is read and written again is the same to the byte, whatever its lines and quotes look like."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.monitoring.healing.sheets import BOM, Dialect, sheet_of
from modelwright.monitoring.reading import parquet_bytes, parquet_table

CELL = st.text(st.sampled_from('ab1.5 ;é"\n,\u2028'), max_size=6)
LINE = st.text(st.sampled_from('ab1,;"\n\ré\x0b\u2028 '), max_size=40)


@settings(max_examples=200, deadline=None)
@given(LINE)
def test_any_text_is_written_as_it_was_read(text: str) -> None:
    for body in (text.encode(), BOM + text.encode(), b"a,b\n" + text.encode(), b"a,b\r\n1,2\r\n" + text.encode()):
        try:
            sheet = sheet_of(body)
        except InvalidInput:
            continue
        assert sheet.body() == body


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), max_size=8))
def test_values_that_are_put_into_cells_are_read_there(rows: list[tuple[str, str]]) -> None:
    sheet = sheet_of(b"a,b\n" + b"1,2\n" * len(rows))
    for place, name in enumerate(("a", "b")):
        sheet = sheet.with_values(name, pa.array([row[place] for row in rows], pa.string()))
    again = sheet_of(sheet.body())
    if not again.gaps:  # a row of empty cells alone is an empty line
        assert [again.cells.column(0).to_pylist(), again.cells.column(1).to_pylist()] == [
            sheet.cells.column(0).to_pylist(), sheet.cells.column(1).to_pylist(),
        ]  # fmt: skip


def test_what_was_not_touched_keeps_its_quotes_and_ends() -> None:
    body = b'"a", b\r\n"1","x,""y"""\r\n\r\n2,NA\nodd\n3,z'
    sheet = sheet_of(body)
    assert sheet.names == ("a", "b")
    assert sheet.values("b").to_pylist() == ['x,"y"', None, "z"]
    assert (
        sheet.with_values("a", pa.array(["1", "2,5", "3"])).body()
        == b'"a", b\r\n"1","x,""y"""\r\n\r\n"2,5",NA\nodd\n3,z'
    )
    assert sheet.without(np.array([False, True, False])).body() == b'"a", b\r\n"1","x,""y"""\r\n\r\nodd\n3,z'
    assert sheet.renamed(["a", "c"]).body().startswith(b'"a",c\r\n')


def test_parquet_keeps_its_values_and_types() -> None:
    table = pa.table({"a": pa.array([1, None], pa.int32()), "b": pa.array(["x", "y"]).dictionary_encode()})
    sheet = sheet_of(parquet_bytes(table))
    assert sheet.values("b").to_pylist() == ["x", "y"]
    assert parquet_table(sheet.body()).equals(table)
    assert parquet_table(sheet.renamed(["a", "c"]).body()).column_names == ["a", "c"]


@pytest.mark.parametrize("body", [b"a,a\n1,2\n", b"\xff,b\n", b"PAR1 cut"])
def test_a_file_of_no_known_form_is_no_sheet(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        sheet_of(body)
    with pytest.raises(InvalidInput):
        sheet_of(body if body[:4] == b"PAR1" else b"\xff", Dialect(encoding="no such"))
