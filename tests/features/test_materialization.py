"""How rows are materialized when they are more than fit into memory, and when the same come again."""

from datetime import UTC, datetime, timedelta

from features.test_backfill import without
from features.window_cases import PROJECT, START, Till, sale
from modelwright.features.history import History, empty
from modelwright.features.layout import micros
from modelwright.features.refreshing import roll
from modelwright.features.settling import Online

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
