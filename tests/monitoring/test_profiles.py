"""A profile says of a file what its rows say, whether they are read at once, in pieces or merged."""

import gzip
import json
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modelwright.errors import InvalidInput
from modelwright.monitoring import counting
from modelwright.monitoring.profiles import (
    TOP,
    ColumnProfile,
    Floats,
    Profile,
    Reference,
    column_profile,
    merged,
    pool,
    profile_file,
    profile_of,
)
from modelwright.monitoring.reading import ARROW, parquet_bytes, schema_of
from modelwright.project import ColumnType, Source

SOURCE = Source.model_validate(
    {
        "prefix": "rows/",
        "columns": {
            "id": {"type": "integer"},
            "at": {"type": "timestamp"},
            "x": {"type": "number", "nullable": True},
            "n": {"type": "integer"},
            "word": {"type": "string"},
            "yes": {"type": "boolean"},
        },
        "key": ["id", "word"],
        "event_time": "at",
    }
)
START = datetime(2026, 3, 2, tzinfo=UTC)
QUICK = settings(max_examples=25, deadline=None)


def rows(size: int, seed: int = 0, start: datetime = START, words: int = 5) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "id": rng.integers(0, 2**40, size),
        "at": pa.array([start + timedelta(seconds=n) for n in range(size)], pa.timestamp("us", tz="UTC")),
        "x": pa.array(rng.standard_normal(size), mask=rng.random(size) < 0.1),
        "n": rng.poisson(30, size),
        "word": [f"w{n:04}" for n in rng.integers(0, words, size)],
        "yes": rng.random(size) < 0.3,
    }
    return pa.table({name: columns[name] for name in SOURCE.columns}, schema=schema_of(SOURCE))


def profiled(table: pa.Table, digest: str = "d") -> Profile:
    return profile_of(table, "rows", SOURCE, digest)


def column(
    values: Sequence[Any] | Floats, kind: ColumnType = "number", stored: pa.DataType | None = None
) -> ColumnProfile:
    return column_profile(pa.chunked_array([pa.array(values, stored)]), kind)


def bare(profile: Profile) -> dict[str, Any]:
    return profile.model_dump(exclude={"digest"})


# --- what a column says ------------------------------------------------------------------


@QUICK
@given(st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=1, max_size=300))
def test_numbers_are_counted_and_measured_without_those_that_are_none(values: list[float | None]) -> None:
    found = column(values, stored=pa.float64())
    there = np.array([v for v in values if v is not None and np.isfinite(v)], dtype=np.float64)
    given_numbers = np.array([v for v in values if v is not None])
    assert (found.rows, found.count) == (len(values), len(there))
    assert found.missing == len(values) - len(given_numbers) + int(np.isnan(given_numbers.astype(float)).sum())
    assert (found.infinite, found.negative_infinite) == (
        sum(np.isinf(given_numbers.astype(float))),
        sum(np.isneginf(given_numbers.astype(float))),
    )
    if len(there):
        assert (found.low, found.high, found.distinct) == (there.min(), there.max(), len(set(there)))
        assert found.grid == pytest.approx(np.quantile(there, np.linspace(0, 1, 1001)))
        assert found.mode_share == max(np.unique(there, return_counts=True)[1]) / len(there)


def test_moments_are_those_of_textbooks() -> None:
    values = np.random.default_rng(1).gamma(2, size=5000) + 1000
    found = column(values)
    assert (found.mean, found.deviation) == pytest.approx((values.mean(), values.std()), rel=1e-12)
    assert found.skewness == pytest.approx(stats.skew(values), rel=1e-9)
    assert found.kurtosis == pytest.approx(stats.kurtosis(values, fisher=False), rel=1e-9)


@pytest.mark.parametrize("values", [[1.7e308, 1.6e308, -1.7e308] * 50, [1e200, 3e200], [5e-324, 0.0, 1e-320]])
def test_a_document_has_no_infinite_number_however_large_the_values_are(values: list[float]) -> None:
    def refused(constant: str) -> float:
        raise AssertionError(constant)

    for profile in (column(values), pool([column(values), column(values[::-1])]), pool([column(values * 3000)] * 2)):
        told = profile.model_dump_json()
        json.loads(told, parse_constant=refused)
        assert ColumnProfile.model_validate_json(told) == profile


def test_categories_are_the_most_frequent_and_the_rest() -> None:
    counts = {f"w{n:05}": 1 + n % 7 for n in range(2 * TOP)}
    values = [word for word, count in counts.items() for _ in range(count)]
    found = column([*values, None], "string")
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
    assert list(found.top.items()) == most
    assert found.other == len(values) - sum(count for _, count in most)
    assert (found.missing, found.distinct, found.mode_share) == (1, 2 * TOP, 7 / len(values))


@QUICK
@given(st.integers(1, 4), st.integers(1, 3000), st.sampled_from([1.2, 2.0, 50.0]), st.integers(0, 1000))
def test_more_categories_than_fit_into_memory_are_counted_by_their_hashes(
    pieces: int, size: int, skew: float, seed: int
) -> None:
    words = pa.array([f"ü{n}" if n % 50 else None for n in np.random.default_rng(seed).zipf(skew, size).clip(1, 9**9)])
    if skew == 50.0:
        words = pa.array([f"id {n}" for n in range(size)])
    chunked = pa.chunked_array([words.slice(n * size // pieces, (n + 1) * size // pieces) for n in range(pieces)])
    words = pa.concat_arrays(chunked.chunks)
    said: dict[str, Any] = {"rows": len(words), "type": "string"}
    plain = counting.counted(lambda: [words], lambda: [words], **said)
    assert counting.counted(lambda: chunked.chunks, lambda: chunked.chunks, many=TOP, **said) == plain
    if plain.distinct > TOP:
        assert min(plain.top.values(), default=2) > 1


def test_texts_have_lengths_in_characters() -> None:
    found = column(["", "größer", "a", "a", None], "string")
    assert found.lengths is not None
    assert (found.lengths.low, found.lengths.high, found.mean_length) == (0, 6, 2.0)
    assert column([True, False, True], "boolean").top == {"true": 2, "false": 1}
    assert column([True], "boolean").lengths is None


@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean", "timestamp"])
def test_a_column_without_values_has_a_profile(kind: ColumnType) -> None:
    stored = ARROW[kind]
    for size in (0, 3):
        found = column([None] * size, kind, stored)
        assert (found.rows, found.missing, found.count, found.low) == (size, size, 0, None)
        assert pool([found, found]).rows == 2 * size
        assert not len(found.distribution.points)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (pa.float32(), "number"), (pa.int16(), "number"), (pa.decimal128(23, 2), "number"), (pa.string(), "number"),
        (pa.dictionary(pa.int8(), pa.string()), "string"), (pa.large_string(), "string"), (pa.int32(), "string"),
    ],
)  # fmt: skip
def test_a_column_stored_otherwise_says_the_same(stored: pa.DataType, kind: ColumnType) -> None:
    values = pa.chunked_array([pa.array([1, 2, 2, None]), pa.array([3, 2])])
    plain = column_profile(values.cast(pa.float64() if kind == "number" else pa.string()), kind)
    other = values.cast(pa.string()).cast(stored) if kind == "string" else values.cast(stored)
    assert column_profile(other, kind) == plain


# --- files -------------------------------------------------------------------------------


def test_a_file_is_profiled_as_its_rows_are_whatever_pieces_it_has(tmp_path: Path) -> None:
    table = rows(20_000, words=900)
    path = tmp_path / "rows.parquet"
    pq.write_table(table.take(pa.array(np.random.default_rng(1).permutation(20_000))), path, row_group_size=3_000)
    types = {name: str(kind) for name, kind in zip(table.schema.names, table.schema.types, strict=True)}
    expected = profile_of(table, "rows", SOURCE, "d", types)
    assert profile_file(path, "rows", SOURCE, "d") == expected
    assert profile_file(path.read_bytes(), "rows", SOURCE, "d").packed() == expected.packed()
    assert profile_file(path, "rows", SOURCE).digest == profile_file(path.read_bytes(), "rows", SOURCE).digest
    assert expected.columns["n"].type == "int64"


def test_a_file_s_infinite_values_are_counted() -> None:
    table = rows(100).set_column(2, "x", pa.array([np.inf, -np.inf, np.nan, *range(97)], pa.float64()))
    found = profile_file(parquet_bytes(table), "rows", SOURCE).columns["x"]
    assert (found.missing, found.infinite, found.negative_infinite, found.count, found.high) == (1, 2, 1, 97, 96.0)


def test_a_file_that_cannot_be_profiled_says_why() -> None:
    untimed = rows(2).set_column(1, "at", pa.nulls(2, pa.timestamp("us", tz="UTC")))
    for body, text in (
        (b"PAR1 and no more", "no Parquet"),
        (parquet_bytes(rows(3).drop_columns(["x", "yes"])), "no column x, yes"),
        (parquet_bytes(untimed), "no row has an event time"),
    ):
        with pytest.raises(InvalidInput, match=text):
            profile_file(body, "rows", SOURCE)


def test_rows_with_the_key_of_another_are_counted() -> None:
    table = rows(1000)
    assert profiled(table).duplicates == 0
    assert profiled(pa.concat_tables([table, table.slice(0, 7), table.slice(0, 3)])).duplicates == 10
    twice = pa.concat_tables([table, table.slice(5, 1)])
    half = twice.set_column(4, "word", pa.array(["one", *twice["word"].to_pylist()[1:-1], "two"]))
    assert profiled(half).duplicates == 0
    keyless = SOURCE.model_copy(update={"key": ()})
    assert profile_of(table, "rows", keyless, "d").duplicates is None


# --- several files -----------------------------------------------------------------------


@QUICK
@given(st.lists(st.integers(1, 150), min_size=1, max_size=24), st.integers(0, 1000), st.randoms())
def test_a_day_is_the_sum_of_its_hours_to_the_bit(sizes: list[int], seed: int, random: Any) -> None:
    hours = [rows(size, seed + n, START + timedelta(hours=n)) for n, size in enumerate(sizes)]
    profiles = [profiled(hour, f"{n}") for n, hour in enumerate(hours)]
    random.shuffle(profiles)
    assert bare(merged(profiles)) == bare(profiled(pa.concat_tables(hours)))


def test_a_day_of_large_hours_is_their_sum_within_the_sketch_s_error() -> None:
    hours = [rows(9_000, n, START + timedelta(hours=n), words=400) for n in range(6)]
    day, whole = merged([profiled(hour) for hour in hours]), profiled(pa.concat_tables(hours))
    exactly = {"sketch", "mean", "m2", "m3", "m4", "distinct", "mode_share"}
    for name, found in day.columns.items():
        expected = whole.columns[name]
        assert found.model_dump(exclude=exactly) == expected.model_dump(exclude=exactly)
        for moment in ("mean", "m2", "m3", "m4"):
            assert getattr(found, moment) == pytest.approx(getattr(expected, moment), rel=1e-9, abs=1e-6)
        if found.kind == "numbers":
            apart = np.max(np.abs(found.cumulative(expected.grid) - expected.cumulative(expected.grid)))
            assert apart <= (found.sketch.error + expected.sketch.error) / found.count < 0.003
    assert (day.rows, day.start, day.end, day.duplicates) == (whole.rows, whole.start, whole.end, 0)


def test_a_pool_with_more_categories_than_are_kept_loses_no_row() -> None:
    parts = [column([f"w{n}" for n in range(start, start + TOP)], "string") for start in (0, 300)]
    together = pool(parts)
    assert sum(together.top.values()) + together.other == together.count == 2 * TOP
    assert (len(together.top), together.distinct, together.other) == (TOP - 300, TOP + 300, 600)
    assert set(together.top.values()) == {2}


def test_a_column_that_became_another_kind_is_that_of_the_newest() -> None:
    words, numbers = column(["a"], "string"), column([1.0, 2.0])
    assert pool([words, numbers]) == numbers
    assert pool([numbers, words]) == words
    assert pool([numbers, column([None], stored=pa.float64())]).missing == 1


def test_a_reference_pools_what_its_uploads_have() -> None:
    profiles = tuple(profiled(rows(200, n), f"{n}") for n in range(3))
    less = profiles[0].model_copy(update={"columns": {"n": profiles[0].columns["n"]}})
    reference = Reference((less, *profiles[1:]))
    pooled, few = reference.pooled("n"), reference.pooled("x")
    assert pooled is not None
    assert few is not None
    assert (reference.rows, pooled.rows, few.rows, len(reference.uploads("x"))) == (600, 600, 400, 2)
    assert reference.pooled("y") is None
    assert Reference(()).pooled("n") is None


# --- documents ---------------------------------------------------------------------------


def test_a_profile_is_the_same_bytes_again_and_is_read_back() -> None:
    table = rows(6_000)
    packed = profiled(table).packed()
    assert profiled(table.take(pa.array(range(5_999, -1, -1)))).packed() == packed
    assert Profile.unpacked(packed) == profiled(table)
    assert Profile.unpacked(gzip.decompress(packed)) == profiled(table)


def test_the_profile_of_a_hundred_thousand_rows_with_twenty_columns_is_below_a_hundred_kilobytes() -> None:
    rng = np.random.default_rng(3)
    columns: dict[str, Any] = {f"x{n}": rng.standard_normal(100_000) for n in range(16)}
    columns |= {f"s{n}": [f"category {k}" for k in rng.integers(0, 100, 100_000)] for n in range(4)}
    columns["at"] = pa.array(np.arange(100_000), pa.timestamp("us", tz="UTC"))
    kinds = {"x": "number", "s": "string", "a": "timestamp"}
    declared = Source.model_validate(
        {"columns": {name: {"type": kinds[name[0]]} for name in columns}, "key": [], "event_time": "at"}
    )
    assert len(profile_of(pa.table(columns), "rows", declared, "d").packed()) < 100_000


def test_documents_of_before_are_still_read() -> None:
    values = np.random.default_rng(4).standard_normal(1000)
    number = {
        "kind": "numbers", "rows": 1100, "missing": 100, "infinite": 0, "distinct": 1000, "mode_share": 0.001,
        "mean": values.mean(), "deviation": values.std(), "low": values.min(), "high": values.max(), "top": {},
        "quantiles": np.quantile(values, np.linspace(0, 1, 201)).tolist(),
    }  # fmt: skip
    words = {
        "kind": "categories", "rows": 10, "missing": 1, "distinct": 3, "mode_share": 0.5, "top": {"a": 5, "b": 2},
        "mean": 0.0, "deviation": 0.0, "low": None, "high": None, "quantiles": [],
    }  # fmt: skip
    times = {**words, "kind": "times", "top": {}, "low": 5.0, "high": 7.0, "distinct": 0, "mode_share": 0.0}
    document = {
        "profile_version": 1, "source": "rows", "digest": "d", "rows": 1100, "start": START.isoformat(),
        "end": START.isoformat(), "columns": {"x": number, "word": words, "at": times},
    }  # fmt: skip
    before = Profile.unpacked(zlib.compress(json.dumps(document).encode()))
    x, now = before.columns["x"], column(values)
    assert (x.count, x.mean, x.low, x.high) == (1000, values.mean(), values.min(), values.max())
    assert (x.deviation, x.kurtosis) == pytest.approx((now.deviation, now.kurtosis), rel=0.1)
    assert np.max(np.abs(x.cumulative(now.grid) - now.cumulative(now.grid))) < 0.01
    assert (before.columns["word"].other, before.columns["word"].count) == (2, 9)
    assert before.columns["at"].high == 7.0
    assert Profile.unpacked(before.packed()) == before
    assert before.profile_version == profiled(rows(1)).profile_version
    assert pool([x, now]).count == 2000
