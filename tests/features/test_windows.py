"""Window views online: whatever comes in whatever order, what is served is what every version says, to the bit."""

import json
import random
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.window_cases import PROJECT, START, Till, sale
from modelwright.adapters.metering import item_size
from modelwright.errors import InvalidInput
from modelwright.features import online, windows
from modelwright.features.aggregates import SKETCH
from modelwright.features.layout import entity_key
from modelwright.project import Project
from modelwright.storage import Item, Key, every

CUSTOMERS = ["ann", "b|b", None, "never"]


@st.composite
def sales(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(0, 7))
    known = draw(st.none() | st.integers(-300, 1200))
    row = sale(
        f"s{number}",
        draw(st.integers(-60, 240)) * 5,
        customer=CUSTOMERS[number % 3],
        amount=draw(st.none() | st.sampled_from([0.0, -0.0, 1e9]) | st.floats(-100, 100)),
        pieces=draw(st.none() | st.integers(-3, 3)),
        shop=draw(st.none() | st.sampled_from(["north", "south", "a|b"])),
        good=draw(st.none() | st.booleans()),
    )
    return {**row, "known": None if known is None else START + timedelta(minutes=known)}


acts = st.tuples(
    st.sampled_from(["push", "push", "upload", "fold", "again"]),
    st.lists(sales(), min_size=1, max_size=5),
    st.sampled_from([0, 1, 7, 30, 61, 200]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(acts, max_size=10))
def test_any_order_of_rows_gives_what_every_version_says(steps: list[tuple[str, list[dict[str, Any]], int]]) -> None:
    till, now, sent = Till(), START, list[tuple[str, list[dict[str, Any]]]]()
    for kind, rows, minutes in steps:
        now += timedelta(minutes=minutes)
        if kind == "fold":
            till.fold(now)
        elif kind == "again" and sent:
            act(till, *sent[0], now)
        elif kind != "again":
            sent.append((kind, rows))
            act(till, kind, rows, now)
        assert till.served(CUSTOMERS, now) == till.expected(CUSTOMERS, now)
    till.fold(now)
    for later in (0, 3, 59, 400):
        now += timedelta(minutes=later)
        assert till.served(CUSTOMERS, now) == till.expected(CUSTOMERS, now)


def act(till: Till, kind: str, rows: list[dict[str, Any]], now: Any) -> None:
    (till.push if kind == "push" else till.upload)(rows, now)


@pytest.mark.parametrize("pushed", [False, True])
def test_a_corrected_row_counts_to_the_end_of_its_tile(pushed: bool) -> None:
    till, now = Till(), START + timedelta(minutes=100)
    till.upload([sale("a", 0, amount=5.0), sale("b", 1, amount=1.0, lag=2)], now)
    correction = sale("a", 0, amount=2.0, lag=95)
    act(till, "push" if pushed else "upload", [correction], now)
    for minute in range(100, 300, 5):
        when = START + timedelta(minutes=minute)
        assert till.served(["ann"], when) == till.expected(["ann"], when)


# --- what an item holds ------------------------------------------------------------------


def test_an_item_that_outgrows_dynamodb_is_kept_in_parts() -> None:
    chance, till = random.Random(5), Till(project("last", window="12h"))
    rows = [sale(f"s{n}", n, shop="".join(chance.choices("abcdefghij0123456789", k=1500))) for n in range(700)]
    now = START + timedelta(minutes=700)
    till.upload(rows[:-1], now)
    till.push([*rows[-1:], sale("s3", 3, lag=600, shop="corrected")], now)
    assert all(item_size(item) < 400_000 for item in items(till))
    assert {item["sk"].partition("#")[0] for item in items(till)} == {"WINDOWS", "FOLDED", "PART"}
    for minute in (0, 1, 30, 400):
        assert served(till, now + timedelta(minutes=minute)) == expected(till, now + timedelta(minutes=minute))
    till.fold(now)
    assert served(till, now) == expected(till, now)
    named = {name for item in items(till) for name in json.loads(item.get("parts", "[]"))}
    assert {item["sk"] for item in items(till) if item["sk"].startswith("PART")} == named


def test_hashes_that_no_window_needs_are_dropped_and_come_back_with_a_correction() -> None:
    till = Till(project("distinct", window="2h"))
    rows = [sale(f"s{n}", n / 20, shop=f"shop {n}") for n in range(2000)]
    now = START + timedelta(minutes=101)
    till.upload(rows, now)
    (item,) = (item for item in items(till) if item["sk"] == "WINDOWS")
    tiles = windows.read(Key(item["pk"], item["sk"]), till.project.views["v"], item, {})
    assert sum(len(state or ()) for state in tiles.states[0]) < 1.8 * SKETCH
    for minute in (150, 215):
        when = START + timedelta(minutes=minute)
        assert served(till, when) == expected(till, when)
    till.push([sale(f"s{n}", n / 20, lag=150, shop="one") for n in range(1500, 2000)], now)
    for minute in (185, 240):
        when = START + timedelta(minutes=minute)
        assert served(till, when) == expected(till, when)


def test_rows_that_stay_in_full_chunks_are_not_written_again() -> None:
    till = Till(project("sum", window="12h", column="amount"))
    till.upload([sale(f"s{n}", n / 5) for n in range(2000)], START + timedelta(minutes=400))
    before = {item["sk"] for item in items(till)}
    till.upload([sale(f"t{n}", 401) for n in range(3)], START + timedelta(minutes=405))
    after = {item["sk"] for item in items(till)}
    assert len(after & before) >= len(before) - 1
    assert served(till, START + timedelta(minutes=410)) == expected(till, START + timedelta(minutes=410))


def test_items_expire_when_no_read_can_need_them_any_more() -> None:
    till, now = Till(project("sum", window="12h", column="amount")), START + timedelta(minutes=10)
    till.upload([sale("a", 5)], now)
    expires = {item["sk"].partition("#")[0]: item["expires"] for item in items(till)}
    left = timedelta(seconds=expires["WINDOWS"] - time.time())
    assert timedelta(hours=11) < left - timedelta(hours=windows.SLACK_H) < timedelta(hours=14)
    assert expires["FOLDED"] > expires["WINDOWS"]


def test_a_time_before_what_is_kept_is_refused() -> None:
    till = Till(project("sum", window="12h", column="amount"))
    till.upload([sale("a", 9 * 24 * 60 - 60)], START + timedelta(days=9))
    with pytest.raises(InvalidInput, match="ask point in time"):
        served(till, START + timedelta(days=6))


def project(function: str, *, window: str, column: str = "shop") -> Project:
    view = {"entity": ["customer"], "source": "sales", "windows": [window],
            "aggregates": {"x": {"function": function, "column": column}}}  # fmt: skip
    if function == "last":
        view["tile"] = "1m"
    return Project.model_validate({**PROJECT.model_dump(), "views": {"v": view}})


def feature(till: Till) -> str:
    (name,) = till.project.views["v"].feature_names()
    return name


def served(till: Till, now: datetime) -> Any:
    found = online.lookup(
        till.project, {"v": [feature(till)]}, [{"customer": "ann"}], as_of=now, tables=till.stack.tables,
        workspace="default",
    )  # fmt: skip
    return found["v"].features[feature(till)].values[0]


def expected(till: Till, now: datetime) -> Any:
    name = f"v:{feature(till)}"
    return till.seen.oracle([{"customer": "ann", "event_timestamp": now}], [name])[0][name]


def items(till: Till) -> list[Item]:
    pk = entity_key("default", "v", till.project.views["v"], "ann", "").pk
    return list(every(till.stack.tables, "features", pk))


def test_an_older_version_that_comes_late_is_not_counted_though_the_newer_one_lies_in_no_window() -> None:
    till, now = Till(), START + timedelta(minutes=30)
    newer = {**sale("a", 0), "at": START - timedelta(days=2), "known": now - timedelta(minutes=5)}
    older = {**sale("a", 0), "at": now - timedelta(minutes=40), "known": now - timedelta(minutes=20)}
    till.push([newer], now)
    till.push([older], now)
    for minutes in (0, 65, 130):
        then = now + timedelta(minutes=minutes)
        assert till.served(["ann"], then) == till.expected(["ann"], then)
