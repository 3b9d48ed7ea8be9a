"""How rows are materialized when they are more than fit into memory, and when the same come again."""

from datetime import UTC, datetime, timedelta

import pytest

from features.feature_cases import Stack
from features.online_cases import NOW as SHOP_NOW
from features.online_cases import PROJECT as SHOP
from features.online_cases import profile
from features.online_cases import sale as shop_sale
from features.test_backfill import without
from features.window_cases import PROJECT, START, Till, sale
from modelwright.events import ExpectationBroken, RowsHeld
from modelwright.features.history import History, empty
from modelwright.features.layout import micros
from modelwright.features.refreshing import roll
from modelwright.features.settling import Online
from modelwright.project import Project

CUSTOMERS = [f"c{n}" for n in range(12)]
NOW = START + timedelta(hours=6)


def test_items_made_of_few_rows_at_a_time_are_those_made_of_all() -> None:
    till = Till(without("hours"))
    rows = [sale(f"s{n}", 5 * (n % 60), lag=n % 40, customer=CUSTOMERS[n % 12], amount=n / 8) for n in range(150)]
    till.upload(rows, NOW)
    till.declare(PROJECT)
    stack, source, view = till.stack, PROJECT.sources["sales"], PROJECT.views["hours"]
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    partitions = history.manifest("sales").partitions
    (touched,) = history.rows(source, "sales", partitions)
    online = Online(stack.tables, "default", micros(NOW), datetime.now(UTC), at_once=20)
    assert roll("hours", view, source, touched, partitions, empty(source), history, online) == 12
    assert till.served(CUSTOMERS, NOW) == till.expected(CUSTOMERS, NOW)
    assert roll("hours", view, source, touched, partitions, empty(source), history, online) == 0


def test_the_same_rows_in_another_file_are_counted_once() -> None:
    till = Till()
    rows = [sale(f"s{n}", n) for n in range(5)]
    till.upload(rows, NOW)
    till.upload([*rows, sale("bob", 3, customer="bob")], NOW)
    assert till.served(["ann", "bob"], NOW) == till.expected(["ann", "bob"], NOW)


def test_a_derived_source_whose_function_does_not_load_does_not_keep_its_parent_from_being_stored() -> None:
    declared = SHOP.model_dump(mode="json")
    declared["sources"]["large_sales"]["derived"]["function"] = "features.online_cases:nosuch"
    stack = Stack(Project.model_validate(declared))
    stack.upload("sales", [shop_sale("a", amount=700.0), shop_sale("b")], SHOP_NOW)
    history = History(blobs=stack.blobs, tables=stack.tables, workspace="default", cache={})
    assert [partition.rows for partition in history.manifest("sales").partitions] == [2]
    found = [one.envelope for one in stack.log.read("WS#default#SOURCE#large_sales")]
    (told,) = [RowsHeld.model_validate(one.data) for one in found if one.type == "RowsHeld"]
    assert told.rows == 2
    assert told.reasons[0].startswith("the function cannot be loaded: the module features.online_cases of project shop")


@pytest.mark.parametrize(
    ("feature", "expected", "text"),
    [
        ("vip", {"low": 0.5}, "1 of 2 are below 0.5, down to 0"),
        ("vip", {"high": 0.5}, "1 of 2 are above 0.5, up to 1"),
        ("city", {"low": 0}, "a string is neither low nor high: expect numbers only of numbers"),
        ("since", {"high": 0}, "a timestamp[us, tz=UTC] is neither low nor high: expect numbers only of numbers"),
    ],
)
def test_no_expectation_keeps_rows_from_being_materialized(feature: str, expected: dict[str, float], text: str) -> None:
    declared = SHOP.model_dump(mode="json")
    declared["views"]["profile"]["expected"] = {feature: expected}
    stack = Stack(Project.model_validate(declared))
    stack.upload("profiles", [profile(1), profile(2, vip=False)], SHOP_NOW)
    found = [one.envelope for one in stack.log.read("WS#default#VIEW#profile")]
    assert [ExpectationBroken.model_validate(one.data).text for one in found] == [text]
