"""Backfills: what they fill, how far they are, and that they go on wherever they are killed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.interruptions import Interrupted, Killed

from features.feature_cases import Stack
from features.test_derived import project as plant
from features.test_derived import reading, served
from features.window_cases import PROJECT, START, Till, sale
from modelwright.errors import InvalidInput, NotFound, Unavailable
from modelwright.events import BackfillCompleted, BackfillRequested, Delivery, Envelope, Window
from modelwright.features import backfill, refilling
from modelwright.features.materialization import Store
from modelwright.log import Log, new_id
from modelwright.project import Project

NOW = START + timedelta(hours=8)


def without(*views: str) -> Project:
    return PROJECT.model_copy(update={"views": {n: v for n, v in PROJECT.views.items() if n not in views}})


def delivery(source: str = "sales", views: tuple[str, ...] = (), window: Window | None = None) -> Delivery:
    event = BackfillRequested(backfill_id=f"b-{source}", source=source, views=views, window=window)
    envelope = Envelope(
        id=new_id(), type="BackfillRequested", schema_version=1, workspace="default", stream="s", sequence=1,
        at=NOW, actor="a", correlation_id="c", data=event.model_dump(mode="json"),
    )  # fmt: skip
    return Delivery(consumer="materialize", envelope=envelope, event=event)


def follow(stack: Stack, given: Delivery) -> None:
    refilling.follow_request(given, stack.call(NOW), **stack.everything())


def progress(stack: Stack, backfill_id: str = "b-sales") -> dict[str, Any]:
    return backfill.show(stack.call(NOW), backfill_id, tables=stack.tables)


def filled(*views: str) -> Till:
    """Return a store whose rows came before some of its views did."""
    till = Till(without(*views))
    rows = [sale(f"s{n}", 7 * n, lag=11, amount=n / 4, pieces=n) for n in range(40)]
    till.upload(rows, START + timedelta(hours=5))
    till.upload([sale("s7", 50, lag=400, amount=99.0)], START + timedelta(hours=7))
    till.declare(PROJECT)
    return till


def test_views_that_come_after_their_rows_are_filled() -> None:
    till = filled("hours", "blocks", "events", "visit")
    assert till.served(["ann"], NOW) != till.expected(["ann"], NOW)
    follow(till.stack, delivery(views=("hours", "blocks", "events", "visit")))
    assert till.served(["ann"], NOW) == till.expected(["ann"], NOW)
    told = progress(till.stack)
    assert (told["state"], told["steps"], told["online_items"]) == ("completed", 4, 4)
    over = [
        i.envelope for i in till.stack.log.read("WS#default#SOURCE#sales") if i.envelope.type == "BackfillCompleted"
    ]
    assert [BackfillCompleted.model_validate(one.data).reason for one in over] == [""]


def test_a_view_that_was_changed_is_not_served_wrongly_before_it_is_filled() -> None:
    changed = PROJECT.views["hours"]
    fewer = changed.model_copy(update={"aggregates": {"n": changed.aggregates["n"]}})
    till = filled()
    till.stack.project = PROJECT.model_copy(update={"views": {**PROJECT.views, "hours": fewer}})
    till.upload([sale("later", 100)], NOW)
    till.stack.project = PROJECT
    with pytest.raises(Unavailable, match="view hours was changed"):
        till.served(["ann"], NOW)
    till.push([sale("pushed", 101)], NOW)
    follow(till.stack, delivery(views=("hours",)))
    till.fold(NOW)
    assert till.served(["ann"], NOW) == till.expected(["ann"], NOW)


def test_a_derived_source_is_made_of_rows_from_before_it_was_declared() -> None:
    whole = plant()
    early = whole.model_copy(update={"sources": {"readings": whole.sources["readings"]}, "views": {}})
    stack, now = Stack(early), datetime(2026, 1, 5, 12, tzinfo=UTC)
    stack.upload("readings", [reading(3.0), reading(4.0, hours_ago=400, known=390, sensor="b")], now)
    stack.project = whole
    follow(stack, delivery("levels"))
    assert (served(stack, "level:level"), served(stack, "level:level", sensor="b")) == (6.0, 8.0)
    assert served(stack, "echo:twice") == 6.0
    assert progress(stack, "b-levels")["state"] == "completed"


def test_a_backfill_goes_on_where_it_was_killed() -> None:
    kills = 0
    while True:
        till = filled("hours", "events", "visit")
        tables = Interrupted()
        tables._items, tables._order = till.stack.tables._items, till.stack.tables._order
        till.stack.tables, till.stack.log = tables, Log(tables)
        given, tables.dies_before = delivery(views=("hours", "events", "visit")), kills
        try:
            follow(till.stack, given)
        except Killed:
            tables.dies_before = -1
            follow(till.stack, given)
            kills += 1
            assert till.served(["ann"], NOW) == till.expected(["ann"], NOW)
            assert progress(till.stack)["state"] == "completed"
            continue
        break
    assert kills > 15


class Overtaken:
    """Tables on which an upload is committed just before the first read of items of one kind."""

    def __init__(self, till: Till, what: str, rows: Sequence[dict[str, Any]]) -> None:
        self._till, self._tables, self._what, self._rows = till, till.stack.tables, what, rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tables, name)

    def batch_get(self, table: Any, keys: Any, attributes: Any = ()) -> Any:
        if self._what and any(key.sk == self._what for key in keys):
            self._what = ""
            self._till.upload(self._rows, NOW)
        return self._tables.batch_get(table, keys, attributes)


LONG_AGO = -3 * 24 * 60


@pytest.mark.parametrize(
    ("view", "what", "rows"),
    [
        ("hours", "WINDOWS", [sale("late", 300, amount=7.0), sale("s9", 63, lag=90, amount=8.0)]),
        ("visit", "LATEST", [sale("old", LONG_AGO, lag=60, customer="bob")]),
    ],
)
def test_rows_that_are_folded_in_while_a_step_runs_count(view: str, what: str, rows: list[dict[str, Any]]) -> None:
    visit = PROJECT.views["visit"].model_copy(update={"ttl": ""})
    declared = PROJECT.model_copy(update={"views": {**PROJECT.views, "visit": visit}})
    till = Till(declared.model_copy(update={"views": {n: v for n, v in declared.views.items() if n != view}}))
    many = [sale(f"s{n}", 7 * n, lag=11, amount=n / 4, pieces=n) for n in range(40)] if what == "WINDOWS" else []
    till.upload([*many, sale("old", LONG_AGO), sale("older", 2 * LONG_AGO, amount=3.0)], START)
    till.declare(declared)
    stack = till.stack
    query = backfill.BackfillQuery(source="sales", views=(view,))
    asked = backfill.request(stack.call(NOW), query, project=declared, tables=stack.tables, log=stack.log)
    tables: Any = Overtaken(till, what, rows)
    store = Store.of(stack.call(NOW), declared, tables=tables, blobs=stack.blobs, cache={})
    refilling.run(store, asked["backfill_id"], stack.log)
    assert progress(stack, asked["backfill_id"])["state"] == "completed"
    assert till.served(["ann", "bob"], NOW) == till.expected(["ann", "bob"], NOW)


def test_what_is_not_done_in_time_is_left_to_a_new_event() -> None:
    till = filled("hours", "events")
    stack = till.stack
    store = Store.of(stack.call(NOW), PROJECT, tables=stack.tables, blobs=stack.blobs, cache=stack.cache)
    asked = backfill.request(
        stack.call(NOW), backfill.BackfillQuery(source="sales"), project=PROJECT, tables=stack.tables, log=stack.log
    )
    refilling.run(store, asked["backfill_id"], stack.log, budget_s=0)
    events = [item.envelope for item in stack.log.read("WS#default#SOURCE#sales")]
    again = [BackfillRequested.model_validate(e.data) for e in events if e.type == "BackfillRequested"]
    assert [one.backfill_id for one in again] == [asked["backfill_id"]] * 2


def test_the_schedule_goes_on_with_what_nobody_is_at_any_more() -> None:
    till = filled("hours", "events")
    stack = till.stack
    query = backfill.BackfillQuery(source="sales")
    made = backfill.request(stack.call(NOW), query, project=PROJECT, tables=stack.tables, log=stack.log)
    assert refilling.resume(stack.call(NOW + timedelta(minutes=10)), **stack.everything()) == []
    later = stack.call(NOW + timedelta(minutes=30))
    assert refilling.resume(later, **stack.everything()) == [made["backfill_id"]]
    assert refilling.resume(stack.call(NOW + timedelta(hours=2)), **stack.everything()) == []
    assert till.served(["ann"], NOW + timedelta(hours=2)) == till.expected(["ann"], NOW + timedelta(hours=2))
    assert [one["state"] for one in backfill.listed(stack.call(NOW), tables=stack.tables)["backfills"]] == ["completed"]


def test_a_backfill_of_what_is_gone_fails_and_says_why() -> None:
    till = filled()
    till.stack.project = PROJECT.model_copy(update={"sources": {}, "views": {}})
    follow(till.stack, delivery())
    assert progress(till.stack)["state"] == "failed"
    assert progress(till.stack)["reason"] == "project till has no source sales any more"


def test_only_entities_with_rows_in_the_window_are_filled() -> None:
    till = filled("hours")
    till.declare(without("hours"))
    till.upload([sale("old", -2000, customer="bob")], START)
    till.declare(PROJECT)
    follow(till.stack, delivery(views=("hours",), window=Window(start=START, end=NOW)))
    assert progress(till.stack)["online_items"] == 1


@pytest.mark.parametrize(
    ("query", "error", "text"),
    [
        ({"source": "nothing"}, NotFound, "there is no source nothing: there are sales"),
        ({"source": "sales", "views": ["x"]}, NotFound, "source sales has no view x: it has hours, "),
        ({"source": "sales", "window": {"start": NOW, "end": START}}, InvalidInput, "the window ends at"),
    ],
)
def test_a_request_that_cannot_be_is_refused(query: dict[str, Any], error: type[Exception], text: str) -> None:
    stack = Till().stack
    asked = backfill.BackfillQuery.model_validate(query)
    with pytest.raises(error, match=text):
        backfill.request(stack.call(NOW), asked, project=PROJECT, tables=stack.tables, log=stack.log)
