"""Stored bytes without a subject: what goes, and what stays to the bit."""

import gzip
import json
import zlib
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.erasure_cases import decoded_object, stands
from modelwright.features.history import decoded, parquet
from modelwright.features.scrubbing import cleaned, packed_without
from modelwright.features.subjects import Ids, Subject

ANN = Subject(entity="person", columns={"person": "ann-1912"}, mark="erased-1")
SEVEN = Subject(entity="person", columns={"person": "7"}, mark="erased-1")
PAIR = Subject(entity="pair", columns={"a": "x\\|y", "b": "12"}, mark="erased-1")


def without(name: str, body: bytes, subject: Subject = ANN, ids: Ids | None = None) -> bytes | None:
    found = cleaned(name, body, subject, ids or Ids(("id",)))
    return body if found is None else found.body


names = st.sampled_from(["ann-1912", "bob", "ann-19123", "x ann-1912", "", "é|ü"])


@given(st.lists(st.tuples(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.floats(-9, 9))))
def test_rows_of_others_stay_to_the_bit_in_parquet(rows: list[tuple[str, str, float]]) -> None:
    table = pa.table({"person": [r[0] for r in rows], "text": [r[1] for r in rows], "x": [r[2] for r in rows]})
    left = without("a.parquet", parquet(table.cast(pa.schema([("person", "string"), ("text", "string"), ("x", "f8")]))))
    assert left is not None
    assert decoded(left).to_pylist() == [row for row in table.to_pylist() if row["person"] != "ann-1912"]


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') or text[:1] == " " else text


@given(st.lists(st.tuples(names, st.text(st.sampled_from('ab",\n\r;é '), max_size=5))), st.sampled_from(["\n", "\r\n"]))
def test_records_of_others_keep_every_byte_in_csv(rows: list[tuple[str, str]], end: str) -> None:
    lines = [f"{_cell(text)},{_cell(name)}{end}" for name, text in rows]
    file = f"text, person{end}" + "".join(lines)
    kept = [line for line, (name, _) in zip(lines, rows, strict=True) if name != "ann-1912"]
    assert without("a.csv", file.encode()) == (f"text, person{end}" + "".join(kept)).encode()


def test_a_table_without_the_join_keys_and_one_without_the_subject_are_left_alone() -> None:
    for table in (pa.table({"friend": ["ann-1912"]}), pa.table({"person": ["bob"]})):
        assert cleaned("a.parquet", parquet(table), ANN, Ids(())) is None


def test_values_are_found_in_whatever_type_a_column_has() -> None:
    for values in ([7, 8], [7.0, 8.0], ["7", "8"], [" 7", "8"], pa.array(["7", "8"]).dictionary_encode()):
        body = without("a.parquet", parquet(pa.table({"person": values, "n": [1, 2]})), SEVEN)
        assert body is not None
        assert decoded(body)["n"].to_pylist() == [2]


def test_a_dictionary_keeps_no_value_of_rows_that_are_gone() -> None:
    table = pa.table({"person": pa.array(["ann-1912", "bob", "bob"]).dictionary_encode(), "n": [1, 2, 3]})
    body = without("a.parquet", parquet(table))
    assert body is not None
    assert b"ann-1912" not in body
    assert not stands(decoded_object("a.parquet", body), ["ann-1912"], [])


def test_ids_of_the_subject_are_noted_and_found_again_in_the_prediction_log() -> None:
    found = cleaned("a.parquet", parquet(pa.table({"person": ["ann-1912", "bob"], "id": [41, 42]})), ANN, Ids(("id",)))
    assert found is not None
    ids = Ids(("id",))
    ids.add(found.ids)
    left = without("p.parquet", parquet(pa.table({"prediction_id": ["41", "42"], "score": [0.1, 0.2]})), ANN, ids)
    assert left is not None
    assert decoded(left).to_pylist() == [{"prediction_id": "42", "score": 0.2}]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"rows": [{"person": "ann-1912", "x": 1}, {"person": "bob", "x": 2}]}, {"rows": [{"person": "bob", "x": 2}]}),
        ({"person": ["bob", "ann-1912"], "x": [1, 2], "y": [3]}, {"person": ["bob"], "x": [1], "y": [3]}),
        ({"text": "seen ann-1912, once", "n": 1912}, {"text": "seen erased-1, once", "n": 1912}),
        ({"top": {"ann-1912": 3, "bob": 2}}, {"top": {"bob": 2}}),
        ({"text": "joann-1912 and ann-19123 are others"}, {"text": "joann-1912 and ann-19123 are others"}),
    ],
)
def test_documents_lose_what_tells_of_the_subject(given: dict[str, Any], left: dict[str, Any]) -> None:
    said = json.dumps(given).encode()
    for name, body in (("a.json", said), ("a.json.gz", gzip.compress(said))):
        new = without(name, body)
        assert new is not None
        assert json.loads(gzip.decompress(new) if name.endswith(".gz") else new) == left
    packed = packed_without(zlib.compress(said), ANN, Ids(()))
    assert packed is None if given == left else json.loads(zlib.decompress(packed or b"")) == left


def test_a_document_that_is_a_row_of_the_subject_goes_as_a_whole() -> None:
    assert without("a.json", b'{"person": "ann-1912", "x": 1}') is None


def test_a_short_number_is_looked_for_in_rows_and_not_in_texts() -> None:
    said = json.dumps({"text": "7 rows were held", "rows": [{"person": 7}, {"person": 8}]}).encode()
    new = without("a.json", said, SEVEN)
    assert new is not None
    assert json.loads(new) == {"text": "7 rows were held", "rows": [{"person": 8}]}


def test_a_profile_of_a_numeric_key_keeps_its_shape_and_not_the_key() -> None:
    profile = {"kind": "numbers", "low": 7.0, "high": 9.0, "quantiles": [7.0, 7.0, 8.0, 9.0], "top": {}}
    new = without("p.json", json.dumps({"columns": {"person": profile, "other": profile}}).encode(), SEVEN)
    assert new is not None
    columns = json.loads(new)["columns"]
    assert columns["person"] == {**profile, "low": 8.0, "quantiles": [8.0, 8.0, 8.0, 9.0]}
    assert columns["other"] == profile


def test_a_composite_key_needs_all_its_parts() -> None:
    rows = [{"a": "x|y", "b": 12}, {"a": "x|y", "b": 13}, {"a": "x", "b": 12}]
    body = without("a.parquet", parquet(pa.Table.from_pylist(rows)), PAIR)
    assert body is not None
    assert decoded(body).to_pylist() == rows[1:]
    assert without("a.html", b"<p>x\\|y|12 and x|y|12 and x|y</p>", PAIR) == b"<p>erased-1 and erased-1 and x|y</p>"


def test_what_cannot_be_read_goes_if_it_tells_of_the_subject_and_stays_if_not() -> None:
    assert without("x.parquet", b"PAR1 broken ann-1912 PAR1") is None
    assert without("x.bin", b"\xff\xfe ann-1912") is None
    assert without("x.gz", b"\x1f\x8b ann-1912") is None
    for body in (b"PAR1 broken", b"\xff\xfe", b"\x1f\x8b"):
        assert without("x", body) == body


def test_a_line_of_the_wrong_length_goes_if_it_tells_of_the_subject() -> None:
    assert without("a.csv", b"person,x\nann-1912,1,2\nbob,1,2\nbob,1\n") == b"person,x\nbob,1,2\nbob,1\n"
