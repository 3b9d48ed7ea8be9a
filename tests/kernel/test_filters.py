import math
import re
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.errors import InvalidInput
from modelwright.filters import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODEL_VERSIONS,
    REGISTERED_MODELS,
    RUNS,
    Clause,
    Order,
    Searchable,
    matches,
    rank,
)

ALL = (RUNS, EXPERIMENTS, LOGGED_MODELS, REGISTERED_MODELS, MODEL_VERSIONS)
kinds = pytest.mark.parametrize("searchable", ALL, ids=lambda searchable: searchable.what)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("metrics.auc > 0.7", Clause("metrics", "auc", ">", 0.7)),
        ("metric.`my auc` >= -1e-3", Clause("metrics", "my auc", ">=", -0.001)),
        ("params.\"a.b\" = 'x'", Clause("params", "a.b", "=", "x")),
        ("params.`a/b`='x'", Clause("params", "a/b", "=", "x")),
        ("parameters.a.b ILIKE '%X_'", Clause("params", "a.b", "ILIKE", "%X_")),
        ('tags.`mlflow.parentRunId` != "it\'s"', Clause("tags", "mlflow.parentRunId", "!=", "it's")),
        ("tag.a = 'it''s'", Clause("tags", "a", "=", "it''s")),
        ("run_id IN ('A', \"B\")", Clause("attributes", "run_id", "IN", ("A", "B"))),
        ("attributes.run_id not in ('A')", Clause("attributes", "run_id", "NOT IN", ("A",))),
        ("`attributes`.`created` < 5", Clause("attributes", "start_time", "<", 5.0)),
        ("attributes.`Run name` like 'x'", Clause("attributes", "run_name", "LIKE", "x")),
        ("tags.x is not null", Clause("tags", "x", "IS NOT NULL", None)),
        ("dataset.name LIKE 'a%'", Clause("datasets", "name", "LIKE", "a%")),
        ("datasets.context IN ('a')", Clause("datasets", "context", "IN", ("a",))),
        ("params.a='and'", Clause("params", "a", "=", "and")),
    ],
)
def test_a_comparison_of_runs_is_read(text: str, clause: Clause) -> None:
    assert RUNS.parse(text) == (clause,)


@pytest.mark.parametrize(
    ("searchable", "text", "clause"),
    [
        (EXPERIMENTS, "experiment_id IN ('1', '02')", Clause("attributes", "experiment_id", "IN", ("1", "2"))),
        (EXPERIMENTS, "attributes.last_update_time > 5", Clause("attributes", "last_update_time", ">", 5.0)),
        (LOGGED_MODELS, "creation_time > 5", Clause("attributes", "creation_timestamp_ms", ">", 5.0)),
        (LOGGED_MODELS, "status = 'READY'", Clause("attributes", "status", "=", "LOGGED_MODEL_READY")),
        (LOGGED_MODELS, 'name = "clf"', Clause("attributes", "name", "=", "clf")),
        (LOGGED_MODELS, "params.depth = 5", Clause("params", "depth", "=", "5")),
        (REGISTERED_MODELS, "name NOT IN ('a')", Clause("attributes", "name", "NOT IN", ("a",))),
        (MODEL_VERSIONS, "version_number = '7'", Clause("attributes", "version_number", "=", 7.0)),
        (MODEL_VERSIONS, "source_path LIKE 's3:%'", Clause("attributes", "source_path", "LIKE", "s3:%")),
    ],
)
def test_other_things_have_their_own_dialects(searchable: Searchable, text: str, clause: Clause) -> None:
    assert searchable.parse(text) == (clause,)


def test_comparisons_are_joined_by_and_which_may_be_left_out() -> None:
    both = (Clause("metrics", "a", ">", 1.0), Clause("params", "b", "=", "x"))
    for text in ("metrics.a > 1 AND params.b = 'x'", "metrics.a>1\nand  params.b='x'"):
        assert RUNS.parse(text) == both
    assert RUNS.parse("params.b = 'x' metrics.a > 1 AND") == both[::-1]
    assert RUNS.parse("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "metrics.a > 1 OR metrics.b > 1", "metrics.a > '1'", "params.a > 'x'", "params.a = 1", "nobody.a = 'x'",
        "metrics.a", "metrics.a >", "= 1", "colour = 'x'", "run_id IN ()", "run_id IN ('x'", "run_id IN (1)",
        "status IN ('x')", "run_id = ('x')", "tags.a IN ('x')", "(metrics.a > 1)", "metrics.a LIKE 'x'",
        "datasets.colour = 'x'", "a;b", "metrics.a > 1;metrics.a > 2", "metrics.a <> 1", "metrics.a == 1",
        "metrics.a IS NULL", "status IS NULL", "start_time = 'x'", "Params.a = 'x'", "params.a = `x`", "params.a = x",
        "params.a NOT LIKE 'x'", "metrics.a > 1e+3", "metrics.a > nan", "5 < metrics.a", " ",
        "params.a/b = 'x'",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        RUNS.parse(text)


@pytest.mark.parametrize(
    ("searchable", "text"),
    [
        (EXPERIMENTS, "creation_time > 5.5"), (EXPERIMENTS, "experiment_id = 'x'"), (EXPERIMENTS, "metrics.a > 1"),
        (EXPERIMENTS, "experiment_id LIKE '1'"), (EXPERIMENTS, "name IN ('a')"), (EXPERIMENTS, "name IS NULL"),
        (LOGGED_MODELS, "status = 'DONE'"), (LOGGED_MODELS, "tags.a IS NULL"), (LOGGED_MODELS, "param.a = 'x'"),
        (LOGGED_MODELS, "name = f(x)"), (LOGGED_MODELS, "colour = 'x'"),
        (REGISTERED_MODELS, "`name` = 'a'"), (REGISTERED_MODELS, "attributes.name = 'a'"),
        (REGISTERED_MODELS, "tags.a IS NULL"), (REGISTERED_MODELS, "last_updated_timestamp > 1"),
        (MODEL_VERSIONS, "version_number = 'x'"), (MODEL_VERSIONS, "version_number > 1.5"),
        (MODEL_VERSIONS, "source_path IN ('a')"), (MODEL_VERSIONS, "creation_timestamp > 1"),
    ],
)  # fmt: skip
def test_what_another_dialect_does_not_know_is_refused(searchable: Searchable, text: str) -> None:
    with pytest.raises(InvalidInput):
        searchable.parse(text)


@kinds
@given(text=st.text(max_size=60) | st.text(alphabet="name tags.x=<>'\"`()IN,;%1", max_size=40))
def test_any_text_is_read_or_refused(searchable: Searchable, text: str) -> None:
    for read in (searchable.parse, searchable.order):
        try:
            read(text)
        except InvalidInput:
            continue


@pytest.mark.parametrize("text", ["run_id IN " + "(" * 500 + "'x'" + ")" * 500, "(" * 20_000])
def test_a_filter_of_ill_will_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RUNS.parse(text)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("metrics.auc DESC", Order("metrics", "auc", ascending=False)),
        ("metrics.`my auc` asc", Order("metrics", "my auc")),
        ('params."a b"', Order("params", "a b")),
        ("attributes.start_time", Order("attributes", "start_time")),
        ("Created DESC", Order("attributes", "start_time", ascending=False)),
        ("tags.mlflow.x", Order("tags", "mlflow.x")),
    ],
)
def test_an_order_is_read(text: str, order: Order) -> None:
    assert RUNS.order(text) == order


@pytest.mark.parametrize(
    "text",
    ["", "metrics.a SIDEWAYS", "metrics.a b c", "datasets.name", "colour", "metrics.a; DESC", "metrics.a, b", "1"],
)
def test_an_order_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        RUNS.order(text)


def test_a_field_is_ordered_by_once_but_for_experiments() -> None:
    with pytest.raises(InvalidInput, match="duplicate fields"):
        RUNS.orders(["start_time", "created DESC"])
    assert len(EXPERIMENTS.orders(["name", "name DESC"])) == 2
    assert REGISTERED_MODELS.order("timestamp DESC") == Order("attributes", "last_updated_timestamp", ascending=False)


def test_logged_models_are_ordered_by_fields_as_they_are_named() -> None:
    assert LOGGED_MODELS.order_of_field("metrics.my auc", ascending=False) == Order(
        "metrics", "my auc", ascending=False
    )
    assert LOGGED_MODELS.order_of_field("creation_time", ascending=True).key == "creation_timestamp_ms"
    for name in ("params.a", "colour", "metrics.", ""):
        with pytest.raises(InvalidInput):
            LOGGED_MODELS.order_of_field(name, ascending=True)


@given(st.text(max_size=20), st.text(max_size=20))
def test_like_without_wildcards_is_equality(pattern: str, actual: str) -> None:
    plain = pattern.replace("%", "").replace("_", "")
    assert Clause("tags", "k", "LIKE", plain).holds(actual) == (plain == actual)


@given(st.text(alphabet="ab%_\n.", max_size=10), st.text(alphabet="ab\n.", max_size=12))
def test_like_is_what_its_plain_translation_says(pattern: str, actual: str) -> None:
    plain = "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in pattern)
    expected = re.fullmatch(plain, actual, re.DOTALL) is not None
    assert Clause("tags", "k", "LIKE", pattern).holds(actual) == expected
    assert Clause("tags", "k", "ILIKE", pattern.upper()).holds(actual) == expected


def test_like_takes_no_longer_for_many_wildcards() -> None:
    """A pattern that a backtracking search would try for longer than anybody lives."""
    assert not Clause("tags", "k", "LIKE", "%a" * 30 + "b").holds("a" * 5000)


@given(st.lists(st.none() | st.floats()), st.booleans())
def test_numbers_come_before_nan_and_nan_before_nothing_in_both_directions(
    values: list[float | None], ascending: bool
) -> None:
    ordered = sorted(values, key=lambda value: rank(value, ascending=ascending))
    ranks = [2 if v is None else 1 if math.isnan(v) else 0 for v in ordered]
    assert ranks == sorted(ranks)
    numbers = [v for v in ordered if v is not None and not math.isnan(v)]
    assert numbers == sorted(numbers, reverse=not ascending)


@given(st.lists(st.text(max_size=4)), st.booleans())
def test_texts_are_ordered_by_their_characters(values: list[str], ascending: bool) -> None:
    assert sorted(values, key=lambda value: rank(value, ascending=ascending)) == sorted(values, reverse=not ascending)


@pytest.mark.parametrize("operator", ["=", "!=", "<", "<=", ">", ">="])
def test_nan_matches_unequal_alone_and_what_lacks_a_key_nothing(operator: str) -> None:
    clause = RUNS.parse(f"metrics.a {operator} 1")
    assert matches(clause, lambda *_: (math.nan,)) == (operator == "!=")
    assert not matches(clause, lambda *_: (None,))
    assert not matches(RUNS.parse("tags.a != 'x'"), lambda *_: (None,))
    assert matches(RUNS.parse("tags.a IS NULL"), lambda *_: (None,))


def test_a_filter_is_read_once_and_no_library_is_loaded_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    read = RUNS.parse("metrics.read_once > 1")
    monkeypatch.setitem(sys.modules, "sqlparse", None)
    assert RUNS.parse("metrics.read_once > 1") is read
    with pytest.raises(ImportError):
        RUNS.parse("metrics.never_read_before > 1")


@pytest.mark.bench
def test_a_usual_filter_is_read_in_a_millisecond() -> None:
    texts = [f"metrics.m{n} > 0.7 AND tags.team = 'x' AND params.lr ILIKE '%a%'" for n in range(200)]
    RUNS.parse("metrics.a > 1")
    began = time.perf_counter()
    for text in texts:
        RUNS.parse(text)
    spent_ms = (time.perf_counter() - began) / len(texts) * 1000
    sys.stdout.write(f"{spent_ms:.2f} ms\n")
    assert spent_ms < 1
