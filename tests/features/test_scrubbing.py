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
from modelwright.features.erasing.naming import Names
from modelwright.features.erasing.scrubbing import Search, cleaned, packed_without
from modelwright.features.erasing.subjects import Ids, Subject
from modelwright.features.history import decoded, parquet

ANN = Subject(entity="person", columns={"person": "ann-1912"}, mark="erased-1")
SEVEN = Subject(entity="person", columns={"person": "7"}, mark="erased-1")
SHAPES = (frozenset({"person", "x"}), frozenset({"town", "rain"}))
PAIR = Subject(entity="pair", columns={"a": "x\\|y", "b": "12"}, mark="erased-1")


def without(name: str, body: bytes, subject: Subject = ANN, ids: Ids | None = None) -> bytes | None:
    """Return what is left of an object of ours."""
    found = cleaned(name, body, subject, ids or Ids(("id",)))
    return body if found is None else found.body


def unsent(body: bytes, subject: Subject = ANN, name: str = "a.csv") -> bytes | None:
    """Return what is left of a file that somebody sent."""
    found = cleaned(name, body, subject, Ids(("id",)), names=Names(shapes=SHAPES), sent=True)
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
    assert unsent(file.encode()) == (f"text, person{end}" + "".join(kept)).encode()


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
        ({"malformed": ["1,ann-1912", "2,bob"]}, {"malformed": ["2,bob"]}),
        ({"text": "joann-1912 and ann-19123 are others"}, {"text": "joann-1912 and ann-19123 are others"}),
    ],
)
def test_documents_lose_what_tells_of_the_subject(given: dict[str, Any], left: dict[str, Any]) -> None:
    said = json.dumps(given).encode()
    for name, body in (("a.json", said), ("a.json.gz", gzip.compress(said))):
        new = without(name, body)
        assert new is not None
        assert json.loads(gzip.decompress(new) if name.endswith(".gz") else new) == left
    packed = packed_without(zlib.compress(said), Search(ANN, Ids(())))
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


def test_a_profile_s_sketch_and_categories_keep_their_weight_and_not_the_key() -> None:
    points = {"1": [7.0, 9.0], "2": [7.0, 8.0]}
    profile = {"kind": "numbers", "low": 7.0, "high": 9.0, "sketch": {"error": 1, "points": points}, "top": {}}
    words = {"kind": "categories", "sketch": {"error": 0, "points": {}}, "top": {"ann-1912": 3, "bob": 2}, "other": 1}
    body = gzip.compress(json.dumps({"columns": {"person": profile}}).encode())
    (cleaned,) = json.loads(gzip.decompress(without("p.json", body, SEVEN) or b""))["columns"].values()
    assert cleaned == {**profile, "low": 8.0, "sketch": {"error": 1, "points": {"1": [8.0, 9.0], "2": [8.0, 8.0]}}}
    body = json.dumps({"columns": {"person": words}}).encode()
    (cleaned,) = json.loads(without("p.json", body) or b"")["columns"].values()
    assert cleaned == {**words, "top": {"bob": 2}, "other": 4}


def test_a_composite_key_needs_all_its_parts() -> None:
    rows = [{"a": "x|y", "b": 12}, {"a": "x|y", "b": 13}, {"a": "x", "b": 12}]
    body = without("a.parquet", parquet(pa.Table.from_pylist(rows)), PAIR)
    assert body is not None
    assert decoded(body).to_pylist() == rows[1:]
    said = json.dumps({"text": "x\\|y|12 and x|y|12 and x|y"}).encode()
    assert without("a.json", said, PAIR) == b'{"text":"erased-1 and erased-1 and x|y"}'


def test_what_cannot_be_read_goes_if_it_tells_of_the_subject_and_stays_if_not() -> None:
    for body in (b"PAR1 broken ann-1912 PAR1", b"\xff\x00 ann-1912", b"\x1f\x8b ann-1912", b"a letter on ann-1912"):
        assert unsent(body) is None
    for body in (b"PAR1 broken", b"\xff\x00", b"\x1f\x8b", b"a letter"):
        assert unsent(body) == body


def test_a_line_of_the_wrong_length_goes_if_it_tells_of_the_subject() -> None:
    assert unsent(b"person,x\nann-1912,1,2\nbob,1,2\nbob,1\n") == b"person,x\nbob,1,2\nbob,1\n"
    assert unsent(b"person,x\n7,1,2\nbob,1,2\nbob,1\n", SEVEN) == b"person,x\nbob,1,2\nbob,1\n"


@pytest.mark.parametrize("subject", [ANN, SEVEN])
def test_a_file_of_whatever_shape_loses_the_whole_record_however_short_the_key_is(subject: Subject) -> None:
    key = subject.name
    for file, left in (
        (f"id;person;x\n1;{key};5\n2;bob;6\n", "id;person;x\n2;bob;6\n"),
        (f"id|who|x\n1|{key}|5\n2|bob|6\n", "id|who|x\n2|bob|6\n"),
        (f'{{"person":"{key}","x":1}}\n{{"person": "bob","x":1}}\n', '{"person": "bob","x":1}\n'),
        (f'{{"who":"{key}","secret":1}}\n{{"who": "bob"}}\n', '{"who": "bob"}\n'),
        (f'[{{"who":"{key}","secret":1}},{{"who":"bob"}}]', '[{"who":"bob"}]'),
        (f'{{"rows":[["{key}",1],["bob",2]]}}', '{"rows":[["bob",2]]}'),
        (f'{{"who":["{key}","bob"],"n":[1,2]}}', '{"who":["bob"],"n":[2]}'),
    ):
        assert unsent(file.encode(), subject) == left.encode()
        assert unsent(gzip.compress(left.encode()), subject) == gzip.compress(left.encode())
    table = pa.table({"who": [key, "bob"], "n": [1, 2]})
    assert decoded(unsent(parquet(table), subject) or b"").to_pylist() == [{"who": "bob", "n": 2}]


def test_files_of_a_source_that_does_not_know_the_subject_stay_whatever_their_cells_are() -> None:
    for file in (
        b"town,rain\n7,7\nann-1912,1\n",
        b'{"town":"ann-1912","rain":7}\n{"town":7}\n',
        b'[{"town":7,"rain":7}]',
    ):
        for subject in (ANN, SEVEN):
            assert unsent(file, subject) == file
    body = parquet(pa.table({"town": ["ann-1912", "7"], "rain": [7, 8]}))
    assert unsent(body) == unsent(body, SEVEN) == body


def test_members_that_are_called_as_the_subject_stay_and_rows_of_others_too() -> None:
    for word in ("rows", "person", "x", "text", "top"):
        mine = Subject(entity="person", columns={"person": word}, mark="erased-1")
        document = {"rows": [{"person": "bob", "x": word}], "text": "fine", "top": {word: 1}, "x": {"rows": word}}
        assert json.loads(without("a.json", json.dumps(document).encode(), mine) or b"") == document
        rows = b'{"rows":[{"person":"bob","x":1}]}'
        assert unsent(rows, mine) == rows


def test_ids_of_one_model_are_not_those_of_another() -> None:
    ids = Ids(("id", "other"), {"happy": ["id"], "sad": ["other"]})
    ids.add({"id": ["41"]})
    body = parquet(pa.table({"prediction_id": ["41", "42"]}))
    assert without("predictions/default/sad/dt=2026-01-01/r.parquet", body, ANN, ids) == body
    left = without("predictions/default/happy/dt=2026-01-01/r.parquet", body, ANN, ids)
    assert decoded(left or b"").num_rows == 1


@pytest.mark.parametrize(
    ("key", "renamed"),
    [
        ("people/ann-1912.csv", "people/erased-1.csv"),
        ("people/ann-1912/2026/of ann-1912.csv.gz", "people/erased-1/2026/of erased-1.csv.gz"),
        ("people/x.ann-1912", "people/x.erased-1"),
        ("people/x.csv", "people/x.csv"),
        ("ann-1912/x.bin", "erased-1/x.bin"),
    ],
)
def test_of_an_objects_key_what_people_chose_is_changed(key: str, renamed: str) -> None:
    assert Names(("people/",)).renamed("landing", key, ANN) == renamed


def test_of_an_objects_key_what_is_ours_stays() -> None:
    for word in ("people", "csv", "gz", "bin", "quarantine", "default", "rows", "reasons", "offline"):
        mine = Subject(entity="person", columns={"person": word}, mark="erased-1")
        names = Names((f"{word}/", "people/"))
        for key in (f"{word}/x.csv.gz", "people/x.bin", "people/x.csv"):
            assert names.renamed("landing", key, mine) == key
        for key in (f"quarantine/default/{word}/{word}/rows.parquet", f"offline/{word}/{word}/00001/{word}.parquet"):
            assert names.renamed("lake", key, mine) == key
    assert Names().renamed("lake", "quarantine/default/people/1/ann-1912.csv", ANN).endswith("/1/erased-1.csv")
