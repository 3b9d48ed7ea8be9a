"""The engine in this process equals a loop over every version of every row, to the bit."""

import math
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.offline_cases import EPOCH, Offline
from modelwright.errors import InvalidInput, PluginError
from modelwright.features.arrow import ArrowEngine
from modelwright.features.encoding import Entities
from modelwright.features.engines import Engine
from modelwright.features.layout import micros
from modelwright.features.rollup import Windows
from modelwright.project import Project
from modelwright.testing import ENGINE_CHECKS

COLUMNS = {
    "row": {"type": "integer"},
    "who": {"type": "integer", "nullable": True},
    "where": {"type": "string", "nullable": True},
    "at": {"type": "timestamp", "nullable": True},
    "created": {"type": "timestamp"},
    "amount": {"type": "number", "nullable": True, "decimals": 2},
    "fine": {"type": "number", "nullable": True, "decimals": 12},
    "items": {"type": "integer", "nullable": True},
    "good": {"type": "boolean", "nullable": True},
    "kind": {"type": "string", "nullable": True},
    "due": {"type": "timestamp", "nullable": True},
}
EVERY = {
    "rows": {"function": "count"},
    "good_rows": {"function": "count", "where": "good"},
    "amounts": {"function": "count", "column": "amount", "where": "good"},
    "total": {"function": "sum", "column": "amount"},
    "fine": {"function": "sum", "column": "fine"},
    "items": {"function": "sum", "column": "items", "where": "good"},
    "goods": {"function": "sum", "column": "good"},
    "mean": {"function": "mean", "column": "amount"},
    "mean_items": {"function": "mean", "column": "items"},
    "std": {"function": "std", "column": "amount"},
    "std_fine": {"function": "std", "column": "fine"},
    "std_items": {"function": "std", "column": "items"},
    "least": {"function": "min", "column": "amount"},
    "most": {"function": "max", "column": "items", "where": "good"},
    "all_good": {"function": "min", "column": "good"},
    "last": {"function": "last", "column": "amount"},
    "last_kind": {"function": "last", "column": "kind", "where": "good"},
    "last_due": {"function": "last", "column": "due"},
    "kinds": {"function": "distinct", "column": "kind"},
    "amounts_apart": {"function": "distinct", "column": "amount"},
    "dues": {"function": "distinct", "column": "due", "where": "good"},
    "median": {"function": "quantile", "column": "amount", "q": 0.5},
    "low_items": {"function": "quantile", "column": "items", "q": 0.1},
    "top": {"function": "quantile", "column": "amount", "q": 1.0, "where": "good"},
}
SHAPES: dict[str, dict[str, Any]] = {
    "sliding": {"windows": ["1h", "3h", "2d"]},
    "by_event": {"windows": ["1h", "3h"], "by": "event_time"},
    "tumbling": {"windows": ["2h", "1d"], "tumbling": True},
    "tumbling_by_event": {"windows": ["2h"], "tumbling": True, "by": "event_time"},
    "minutes": {"windows": ["15m", "1h"], "tile": "5m"},
    "long_tiles": {"windows": ["1d"], "tile": "12h", "by": "event_time"},
}
PROJECT = Project.model_validate(
    {
        "name": "shop",
        "sources": {
            "sales": {"columns": COLUMNS, "key": ["row"], "event_time": "at", "available_at": "created"},
        },
        "views": {
            "newest": {"entity": ["who"], "source": "sales", "features": ["amount", "kind", "due", "good"]},
            "fresh": {"entity": ["where", "who"], "source": "sales", "features": ["items"], "ttl": "3h"},
            **{
                name: {"entity": ["who"], "source": "sales", "aggregates": EVERY, **shape}
                for name, shape in SHAPES.items()
            },
        },
    }
)
LATEST = ["newest:amount", "newest:kind", "newest:due", "newest:good", "fresh:items"]


def aggregated(view: str) -> list[str]:
    return [f"{view}:{name}" for name, _, _ in PROJECT.views[view].aggregated()]


def bits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with floats as their bytes and the types of all values, so that 1 is not 1.0 and -0.0 not 0.0."""
    return [
        {n: (type(v).__name__, struct.pack("<d", v) if isinstance(v, float) else v) for n, v in row.items()}
        for row in rows
    ]


def minutes(number: float) -> datetime:
    return EPOCH + timedelta(minutes=number)


moments = st.integers(-90, 5 * 60).map(minutes) | st.sampled_from([0, 60, 120, 180]).map(minutes)
numbers = st.sampled_from([0.0, -0.0, 0.005, 0.015, 2.675, -7.1, 1e6]) | st.floats(-100, 100)
EVENT_AND_CREATED = st.tuples(moments, st.sampled_from([0, 0, 1, 30, 60, 200])) | st.tuples(
    st.none(), st.integers(0, 300)
)


@st.composite
def sales(draw: st.DrawFn) -> dict[str, Any]:
    at, lag = draw(EVENT_AND_CREATED)
    return {
        "row": draw(st.integers(0, 8)),
        "who": draw(st.sampled_from([1, 2, None])),
        "where": draw(st.sampled_from(["a|b", "a", None])),
        "at": at,
        "created": (at or EPOCH) + timedelta(minutes=lag),
        "amount": draw(st.none() | numbers),
        "fine": draw(st.none() | st.sampled_from([9007.199254740991, -9007.1, 3e-12, 0.5])),
        "items": draw(st.none() | st.integers(-3, 3) | st.sampled_from([2**60, -(2**60), 2**53 + 1])),
        "good": draw(st.none() | st.booleans()),
        "kind": draw(st.none() | st.sampled_from(["x", "y", ""])),
        "due": draw(st.none() | moments),
    }


files = st.lists(st.lists(sales(), max_size=14), max_size=4)
queries = st.lists(
    st.builds(
        lambda who, where, time: {"who": who, "where": where, "event_timestamp": time},
        st.sampled_from([1, 2, 3, None]),
        st.sampled_from(["a|b", "a", "zz", None]),
        st.none() | moments | st.integers(5 * 60, 60 * 60).map(minutes),
    ),
    min_size=1,
    max_size=12,
)


def filled(parts: list[list[dict[str, Any]]]) -> Offline:
    store = Offline(PROJECT)
    for number, rows in enumerate(parts):
        store.put("sales", rows, f"{number}")
    return store


@settings(max_examples=100, deadline=None)
@given(files, queries, st.booleans())
def test_latest_views_equal_a_loop_over_every_version(
    parts: list[list[dict[str, Any]]], asked: list[dict[str, Any]], available: bool
) -> None:
    store = filled(parts)
    expected = bits(store.oracle(asked, LATEST, available=available))
    assert bits(store.ask(asked, LATEST, available=available)) == expected


@pytest.mark.parametrize("view", SHAPES)
@settings(max_examples=30, deadline=None)
@given(files, queries, st.booleans())
def test_every_aggregation_of_every_kind_of_window_equals_a_loop_over_every_version(
    view: str, parts: list[list[dict[str, Any]]], asked: list[dict[str, Any]], available: bool
) -> None:
    store, features = filled(parts), aggregated(view)
    expected = bits(store.oracle(asked, features, available=available))
    assert bits(store.ask(asked, features, available=available)) == expected


def crowded(seed: int) -> list[list[dict[str, Any]]]:
    """Return files full of ties, of corrections, and of rows that move, all at full tens of minutes."""
    random = Random(seed)
    found = []
    for _ in range(6):
        rows = []
        for _ in range(22):
            at = minutes(60 * random.randrange(6) + random.choice([0, 0, 20, 40]))
            rows.append(
                {
                    "row": random.randrange(30),
                    "who": random.choice([1, 1, 2]),
                    "where": random.choice(["a", "a|b"]),
                    "at": random.choice([at, at, at, at, None]),
                    "created": at + timedelta(minutes=random.choice([0, 0, 20, 60, 130])),
                    "amount": random.choice([None, 0.5, 1.25, -3.0, 7.75, 100.0]),
                    "fine": random.choice([None, 0.5, 3e-12]),
                    "items": random.choice([None, 1, 2, 3, 50]),
                    "good": random.choice([None, True, True, False]),
                    "kind": random.choice([None, "x", "y", "z"]),
                    "due": random.choice([None, minutes(1), minutes(2)]),
                }
            )
        found.append(rows)
    return found


CROWD = [
    {"who": who, "where": "a", "event_timestamp": minutes(10 * n) + timedelta(microseconds=shift)}
    for n in range(66)
    for who, shift in ((1, 0), (2, -1 if n % 2 else 0))
]


@pytest.mark.parametrize("available", [True, False], ids=["by availability", "by event time"])
@pytest.mark.parametrize("view", SHAPES)
def test_windows_over_a_crowd_of_versions_equal_a_loop(view: str, available: bool) -> None:
    store, features, asked = filled(crowded(1)), aggregated(view), CROWD if view == "sliding" else CROWD[::3]
    expected = bits(store.oracle(asked, features, available=available))
    assert bits(store.ask(asked, features, available=available)) == expected


@pytest.mark.parametrize("available", [True, False], ids=["by availability", "by event time"])
@pytest.mark.parametrize("seed", range(6))
def test_the_latest_of_a_crowd_of_versions_is_that_of_a_loop(seed: int, available: bool) -> None:
    store = filled(crowded(seed))
    assert bits(store.ask(CROWD, LATEST, available=available)) == bits(store.oracle(CROWD, LATEST, available=available))


@settings(max_examples=40, deadline=None)
@given(files, queries)
def test_features_do_not_depend_on_what_else_is_asked(
    parts: list[list[dict[str, Any]]], asked: list[dict[str, Any]]
) -> None:
    store = filled(parts)
    together = [*LATEST, *aggregated("sliding"), *aggregated("tumbling_by_event")]
    found = store.ask(asked, together)
    for feature in ("newest:due", "fresh:items", "sliding:std_3h", "tumbling_by_event:last_kind_2h"):
        alone = [row for query in asked for row in store.ask([query], [feature])]
        assert bits(alone) == bits([{feature: row[feature]} for row in found])


@settings(max_examples=40, deadline=None)
@given(files, st.lists(sales(), max_size=10), queries)
def test_what_becomes_known_later_changes_no_answer_as_of_before(
    parts: list[list[dict[str, Any]]], late: list[dict[str, Any]], asked: list[dict[str, Any]]
) -> None:
    store, features = filled(parts), [*LATEST, *aggregated("sliding"), *aggregated("by_event")]
    end = max((q["event_timestamp"] for q in asked if q["event_timestamp"]), default=EPOCH)
    before = store.ask(asked, features)
    store.put("sales", [{**row, "created": end + timedelta(minutes=1 + n)} for n, row in enumerate(late)], "late")
    assert bits(store.ask(asked, features)) == bits(before)


def test_gathering_in_chunks_gives_what_gathering_at_once_gives() -> None:
    rows = [
        {
            "row": n,
            "who": n % 3,
            "at": minutes(n * 7 % 240),
            "created": minutes(n * 7 % 240 + n % 50),
            "amount": n % 17 / 4,
            "items": n % 13,
            "kind": f"{n % 5}",
            "good": n % 2 == 0,
        }
        for n in range(300)
    ]
    store = filled([rows])
    view, source = PROJECT.views["sliding"], PROJECT.sources["sales"]
    versions = pa.concat_tables(store.history().rows(source, "sales", store.history().manifest("sales").partitions))
    entities = Entities.of([versions["who"]])
    codes, times = entities.find([pa.array([n % 4 for n in range(120)])]), np.arange(120) * 180_000_000 + micros(EPOCH)
    names = [name for name, _, _ in view.aggregated()]
    found = [
        Windows(view, source, versions, entities.codes, available=True, chunk=chunk).at(
            codes, times, np.ones(120, dtype=bool), names
        )
        for chunk in (2**20, 40, 1)
    ]
    asked = [{"who": n % 4, "event_timestamp": minutes(n * 3)} for n in range(120)]
    expected = store.oracle(asked, [f"sliding:{name}" for name in names])
    for each in found:
        given = [
            dict(zip(names, row, strict=True)) for row in zip(*(plain_values(each[n]) for n in names), strict=True)
        ]
        assert bits(given) == bits([{n: row[f"sliding:{n}"] for n in names} for row in expected])


def plain_values(column: Any) -> list[Any]:
    return list(column.to_pylist())


def test_more_different_values_than_are_counted_exactly_are_estimated_as_the_oracle_does() -> None:
    rows = [
        {"row": n, "who": 1, "at": EPOCH, "created": EPOCH, "amount": float(n), "kind": f"k{n}"} for n in range(2500)
    ]
    store = filled([rows])
    features = ["sliding:kinds_1h", "sliding:amounts_apart_1h"]
    asked = [{"who": 1, "event_timestamp": minutes(61)}]
    found = store.ask(asked, features)
    assert found == store.oracle(asked, features)
    for value in found[0].values():
        assert 2500 * 0.85 < value < 2500 * 1.15
        assert value != 2500


def test_sums_beyond_64_bits_are_exact_or_refused() -> None:
    rows = [{"row": n, "who": 1, "at": EPOCH, "created": EPOCH, "items": 2**62, "fine": 9007.1} for n in range(3000)]
    store, asked = filled([rows]), [{"who": 1, "event_timestamp": minutes(61)}]
    features = [
        "sliding:mean_items_1h",
        "sliding:std_items_1h",
        "sliding:fine_1h",
        "sliding:std_fine_1h",
        "sliding:low_items_1h",
    ]
    assert bits(store.ask(asked, features)) == bits(store.oracle(asked, features))
    store.put("sales", [{**row, "row": -1 - n, "good": True} for n, row in enumerate(rows[:3])], "good")
    with pytest.raises(InvalidInput, match="a sum of items_1h does not fit into 64 bits"):
        store.ask(asked, ["sliding:items_1h"])


def test_a_number_too_large_to_be_added_up_is_named() -> None:
    store = filled([[{"row": 1, "who": 1, "at": EPOCH, "created": EPOCH, "amount": math.inf}]])
    asked = [{"who": 1, "event_timestamp": minutes(61)}]
    assert store.ask(asked, ["newest:amount", "sliding:most_1h"]) == [
        {"newest:amount": math.inf, "sliding:most_1h": None}
    ]
    assert bits(store.ask(asked, ["sliding:median_1h"])) == bits(store.oracle(asked, ["sliding:median_1h"]))
    with pytest.raises(InvalidInput, match="inf is too large to be added up in 2 decimals: declare fewer for amount"):
        store.ask(asked, ["sliding:total_1h"])


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_the_engine_passes_the_checks_for_authors(check: Callable[[Callable[[], Engine]], None]) -> None:
    check(ArrowEngine)


def test_an_engine_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(PluginError, match="no plugin hadoop of engines: installed are arrow"):
        filled([]).ask([{"who": 1, "event_timestamp": EPOCH}], ["newest:kind"], engine="hadoop")


def test_weeks_of_which_some_are_kept_whole_and_some_are_not_are_joined() -> None:
    rows = [
        {"row": n, "who": 1, "at": EPOCH, "created": minutes(n * 7 * 24 * 60), "amount": float(n)} for n in range(3)
    ]
    store = filled([rows])
    features = ["newest:amount", "sliding:last_2d"]
    asked = [{"who": 1, "event_timestamp": minutes((n * 7 * 24 + 1) * 60)} for n in range(4)]
    expected = store.oracle(asked, features)
    partitions = store.history().manifest("sales").partitions
    assert len(partitions) == 3
    for whole in (partitions[:0], partitions[:1], partitions[1:], partitions):
        store.cache = {}
        store.history(store.cache).rows(PROJECT.sources["sales"], "sales", whole)
        assert bits(store.ask(asked, features)) == bits(expected)


def test_answers_do_not_depend_on_what_is_kept_between_calls() -> None:
    store, asked = filled([]), [{"who": 1, "event_timestamp": minutes(90)}]
    features = ["newest:amount", "sliding:total_1h"]
    for n, amount in enumerate((1.0, 2.0, 3.0)):
        at = minutes(n)
        store.put("sales", [{"row": n, "who": 1, "at": at, "created": at, "amount": amount}], f"{n}")
        assert store.ask(asked, features) == store.oracle(asked, features)
        store.ask(asked, features)
