import json
import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import ConditionFailed
from modelwright.filters import RUNS, Actual, Clause, rank
from modelwright.tracking.columns import (
    Column,
    Names,
    Numbers,
    Packed,
    Texts,
    grouped,
    missing,
    texts_of,
    ungrouped,
    unpacked,
)
from modelwright.tracking.entities import Input, Latest, Run
from modelwright.tracking.messages import Dataset, ModelInput, ModelOutput
from modelwright.tracking.parts import Encoded, Row, answer_of, encode, lines_of, row_of
from modelwright.tracking.reading import BLOCK, NEAR, Cache, Place, Reader, Span, near

INTEGERS = st.integers(-(2**63), 2**63 - 1)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
COMPARISONS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])


@st.composite
def number_columns(draw: st.DrawFn) -> tuple[Numbers, list[float | None]]:
    """A column of numbers as it comes out of a part, and what went in."""
    odd, plain = st.sampled_from([0.5, math.nan, math.inf, -math.inf]), st.sampled_from([0.5, 1.0])
    value = draw(st.sampled_from([odd | st.floats(), plain | st.floats(-9, 9), INTEGERS]))
    given_: list[float | None] = draw(st.lists(st.none() | value, min_size=1, max_size=30))
    if draw(st.booleans()):
        given_ = [0 if one is None else one for one in given_]
    rows = [row for row, one in enumerate(given_) if one is not None]
    packed = Packed()
    if rows:
        packed.add_numbers(("metrics", "m"), rows, [one for one in given_ if one is not None], len(given_))
    column = column_of(packed, "metrics", len(given_))
    assert isinstance(column, Numbers)
    return column, given_


@st.composite
def text_columns(draw: st.DrawFn) -> tuple[Texts, list[str | None]]:
    """A column of texts as it comes out of a part, and what went in."""
    given_ = draw(st.lists(st.none() | WORDS | st.sampled_from(["a", "b"]), min_size=1, max_size=30))
    rows = [row for row, one in enumerate(given_) if one is not None]
    packed = Packed()
    if rows:
        packed.add_texts(("tags", "m"), rows, [one for one in given_ if one is not None], len(given_))
    column = column_of(packed, "tags", len(given_))
    assert isinstance(column, Texts)
    return column, given_


def column_of(packed: Packed, entity: str, size: int) -> Column:
    if not packed.entries:
        return missing(entity, "m", RUNS.numbers, size)
    return unpacked(packed.entries[entity, "m"], packed.streams[0], size)


def same(one: Actual, other: Actual) -> bool:
    return one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )


@given(number_columns() | text_columns())
def test_a_column_gives_back_what_it_was_given(pair: tuple[Column, list[Actual]]) -> None:
    column, actuals = pair
    assert all(same(column.actual(row), actual) for row, actual in enumerate(actuals))
    assert column.weight > 0


@given(number_columns(), COMPARISONS, st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.5, 1.0]))
def test_numbers_match_a_clause_row_by_row(
    pair: tuple[Numbers, list[float | None]], operator: str, wanted: float
) -> None:
    column, actuals = pair
    for clause in (Clause("metrics", "m", operator, wanted), Clause("metrics", "m", "IS NULL", None)):
        assert list(column.mask(clause)) == [clause.holds(actual) for actual in actuals]


@given(
    text_columns(),
    st.sampled_from(["=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]),
    WORDS | st.sampled_from(["a", "%", "A%", "_"]),
)
def test_texts_match_a_clause_row_by_row(pair: tuple[Texts, list[str | None]], operator: str, wanted: str) -> None:
    column, actuals = pair
    value = (wanted, "b") if operator.endswith("IN") else None if operator.startswith("IS") else wanted
    clause = Clause("tags", "m", operator, value)
    assert list(column.mask(clause)) == [clause.holds(actual) for actual in actuals]


@given(number_columns() | text_columns(), st.booleans(), st.data())
def test_keys_of_a_column_order_as_values_do(
    pair: tuple[Column, list[Actual]], ascending: bool, data: st.DataObject
) -> None:
    column, actuals = pair
    keys = list(zip(*column.keys(None, ascending=ascending), strict=True))
    other = WORDS if isinstance(column, Texts) else st.sampled_from([math.nan, math.inf]) | st.floats() | INTEGERS
    asked = data.draw(st.none() | other | st.sampled_from(actuals))
    bound = tuple(column.key_of(asked, ascending=ascending))
    limit = rank(asked, ascending=ascending)
    for key, actual in zip(keys, actuals, strict=True):
        here = rank(actual, ascending=ascending)
        assert [key < bound, key > bound] == [here < limit, here > limit]
    places = sorted(range(len(keys)), key=keys.__getitem__)
    assert places == sorted(range(len(keys)), key=lambda row: rank(actuals[row], ascending=ascending))


@given(number_columns() | text_columns(), st.data())
def test_keys_of_a_mask_are_those_of_its_rows(pair: tuple[Column, list[Actual]], data: st.DataObject) -> None:
    column, actuals = pair
    mask = bytes(data.draw(st.lists(st.booleans(), min_size=len(actuals), max_size=len(actuals))))
    keys = list(zip(*column.keys(None, ascending=True), strict=True))
    assert list(zip(*column.keys(mask, ascending=True), strict=True)) == [
        keys[row] for row, one in enumerate(mask) if one
    ]


@pytest.mark.parametrize("count", [255, 256, 65_536])
def test_a_column_has_room_for_any_number_of_texts(count: int) -> None:
    words = [str(number) for number in range(count)]
    column = texts_of([*words, None])
    assert [column.actual(0), column.actual(count - 1), column.actual(count)] == ["0", str(count - 1), None]
    mask = column.mask(Clause("tags", "m", "=", str(count - 1)))
    assert (mask.index(1), mask.count(1)) == (count - 1, 1)


@given(st.lists(INTEGERS), st.sampled_from(["q", "d"]))
def test_grouped_bytes_are_the_same_numbers(numbers: list[int], letter: str) -> None:
    packed = array(letter, numbers)
    assert ungrouped(grouped(packed), letter) == packed


@given(st.lists(WORDS.filter(lambda word: word and not word.endswith("\0")), min_size=1, unique=True), st.data())
def test_names_are_found_wherever_they_are(names: list[str], data: st.DataObject) -> None:
    packed = Packed()
    packed.add_names(("head", "run"), names)
    length = packed.entries["head", "run"].detail
    column = Names(b"".join(name.encode().ljust(length, b"\0") for name in names), length)
    assert [column[row] for row in range(len(column))] == names
    asked = data.draw(st.sampled_from(names) | st.text("ab", min_size=1))
    for clause in (
        Clause("attributes", "run_id", "=", asked),
        Clause("attributes", "run_id", "IN", (asked, names[0])),
        Clause("attributes", "run_id", "!=", asked),
        Clause("attributes", "run_id", "LIKE", f"{asked}%"),
    ):
        assert list(column.mask(clause)) == [clause.holds(name) for name in names]
    assert [column.texts().actual(row) for row in range(len(names))] == names


def test_a_name_is_no_piece_of_two_others() -> None:
    column = Names(b"xabcyyabc", 3)
    assert [column.row(name) for name in ("xab", "abc", "bcy", "\ud800", "longer")] == [0, 2, -1, -1, -1]


# --- parts -------------------------------------------------------------------------------


def run_of(number: int, **more: Any) -> Run:
    what: dict[str, Any] = {
        "run_id": f"{number:032x}", "experiment_id": "1", "run_name": f"r{number}", "status": "FINISHED",
        "start_time": 1000 + number, "artifact_uri": "x:/y", **more,
    }  # fmt: skip
    return Run(**what)


TABLE = Dataset.model_validate({"name": "table", "digest": "d1", "schema": '{"a": "long"}', "source": "s"})
DATASETS = {("table", "d1"): TABLE}
READ = Input(name="table", digest="d1", tags={"mlflow.data.context": "training"})
RUN_LIST = [
    run_of(1, params={"p": 'é\n"x"'}, tags={"t": "1"}, metrics={"m": Latest(math.nan, 5, 1), "n": Latest(0.1, 5, 1)}),
    run_of(2, end_time=7, datasets=(READ,), model_inputs=(ModelInput(model_id="m-1"),)),
    run_of(3, datasets=(READ, Input(name="gone", digest="d2")), model_outputs=(ModelOutput(model_id="m-2", step=3),)),
    run_of(4, lifecycle_stage="deleted", epoch=2, user_id="ann"),
    run_of(5, start_time=1001),
]


def kept(encoded: Encoded) -> tuple[MemoryBlobs, Place]:
    blobs = MemoryBlobs()
    blobs.put("lake", encoded.part.key("default", "1", "columns"), encoded.columns)
    blobs.put("lake", encoded.part.key("default", "1", "rows"), encoded.rows)
    return blobs, Place("1", encoded.part)


def rows_of(runs: Sequence[Run]) -> list[Row]:
    return [row_of(run, DATASETS) for run in runs]


def test_a_part_gives_back_its_rows_newest_first() -> None:
    rows = rows_of(RUN_LIST)
    blobs, place = kept(encode(rows))
    read = list(Reader(blobs, "default").rows(place))
    assert [row.run_id[-1] for row in read] == ["4", "3", "2", "1", "5"]
    for row in rows:
        (found,) = [one for one in read if one.run_id == row.run_id]
        assert {key: str(value) for key, value in found.numbers.items()} == {k: str(v) for k, v in row.numbers.items()}
        assert [getattr(found, name) for name in ("start", "stage", "texts", "lines", "datasets")] == [
            getattr(row, name) for name in ("start", "stage", "texts", "lines", "datasets")
        ]
    assert (place.part.newest, place.part.oldest, place.part.active) == (1004, 1001, False)


def test_a_part_is_the_same_for_the_same_rows_and_for_rows_that_were_read() -> None:
    rows = rows_of(RUN_LIST)
    encoded = encode(rows)
    blobs, place = kept(encoded)
    assert encode(reversed(rows)) == encoded == encode(Reader(blobs, "default").rows(place))
    assert encode(rows[1:]).part.id != encoded.part.id
    long, place = kept(wide(300))
    assert place.part.bytes_rows > 2 * BLOCK
    assert encode(Reader(long, "default").rows(place)).part == place.part
    with pytest.raises(ValueError, match="has rows"):
        encode([])


def test_a_settled_run_is_answered_as_an_open_one() -> None:
    for run in RUN_LIST:
        row = row_of(run, DATASETS)
        assert json.loads(answer_of(run.lifecycle_stage, row.lines, row.datasets)) == run.answer(DATASETS)


def test_a_dataset_is_kept_once_however_many_runs_read_it() -> None:
    long = {("table", "d1"): TABLE.model_copy(update={"profile": "".join(chr(65 + n * n % 57) for n in range(50_000))})}
    one = encode([row_of(run_of(1, datasets=(READ,)), long)])
    many = encode(row_of(run_of(number, datasets=(READ,)), long) for number in range(50))
    assert many.part.bytes_rows < one.part.bytes_rows + 50 * 60
    blobs, place = kept(many)
    (head,) = (reader := Reader(blobs, "default")).heads([place])
    ((record, dataset),) = reader.records([(place, head, [7, 50])])
    assert lines_of(record)[1] == (0,)
    assert json.loads(dataset) == long["table", "d1"].answer()


# --- reading -----------------------------------------------------------------------------


class CountedBlobs(MemoryBlobs):
    """Remembers the ranges that were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

    def get_range(self, bucket: Any, key: str, start: int, length: int) -> bytes:
        self.asked.append((key.rpartition(".")[2], length))
        return super().get_range(bucket, key, start, length)


def wide(count: int) -> Encoded:
    """A part with many columns and long records."""
    noise = [random.Random(number).randbytes(500).hex() for number in range(count)]
    metrics = {f"m{key}": Latest(key / 7, 1, 1) for key in range(40)}
    return encode(row_of(run_of(number, metrics=metrics, tags={"t": noise[number]}), {}) for number in range(count))


def test_a_part_is_read_in_pieces_and_each_once() -> None:
    encoded = wide(300)
    blobs = CountedBlobs()
    for kind, body in (("columns", encoded.columns), ("rows", encoded.rows)):
        blobs.put("lake", encoded.part.key("default", "1", kind), body)
    place, reader = Place("1", encoded.part), Reader(blobs, "default")
    for _ in range(2):
        (head,) = reader.heads([place])
        (columns,) = reader.columns([(place, head, [("metrics", "m3"), ("metrics", "m4"), ("metrics", "none")])])
        ((record,),) = reader.records([(place, head, [299])])
        assert [columns["metrics", key].actual(5) for key in ("m3", "m4", "none")] == [3 / 7, 4 / 7, None]
        assert '"r0"' in record
    kinds = [kind for kind, _ in blobs.asked]
    assert kinds == ["columns", "columns", "rows"]
    assert blobs.asked[0][1] == encoded.part.directory
    assert blobs.asked[1][1] < len(encoded.columns) / 10
    assert blobs.asked[2][1] <= BLOCK < encoded.part.bytes_rows


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10**7), st.integers(1, 10**5)), max_size=20))
def test_near_spans_are_read_together_and_none_is_left_out(raw: list[tuple[str, int, int]]) -> None:
    spans = [Span(key, start, start + size) for key, start, size in raw]
    groups = near(spans)
    assert sorted(span for group in groups for span in group) == sorted(set(spans))
    for group in groups:
        end = group[0].end
        for span in group:
            assert span.key == group[0].key
            assert span.start <= end + NEAR
            end = max(end, span.end)


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = Cache(limit=100)
    for name in "abc":
        cache.put((name,), name, 30)
    assert cache.get(("a",)) == "a"
    cache.put(("d",), "d", 30)
    assert [cache.get((name,)) for name in "abcd"] == ["a", None, "c", "d"]
    cache.put(("c",), "C", 40)
    assert (cache.get(("c",)), cache.weight) == ("C", 100)
    cache.put(("large",), "x", 101)
    assert (cache.get(("large",)), cache.weight) == (None, 100)


def test_a_process_has_one_cache() -> None:
    process: dict[str, Any] = {}
    assert Cache.of(process) is Cache.of(process)


def test_a_part_that_was_removed_meanwhile_is_a_lost_race() -> None:
    blobs, place = kept(encode(rows_of(RUN_LIST)))
    (head,) = (reader := Reader(blobs, "default")).heads([place])
    blobs.delete("lake", place.part.key("default", "1", "rows"))
    with pytest.raises(ConditionFailed, match="replaced"):
        reader.records([(place, head, [0])])


def test_a_part_can_be_read_with_no_cache_at_all() -> None:
    rows = rows_of(RUN_LIST)
    blobs, place = kept(encode(rows))
    assert len(list(Reader(blobs, "default", Cache(limit=0)).rows(place))) == len(rows)
