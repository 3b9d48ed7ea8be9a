"""What an online item keeps, drops and refuses."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from features.feature_cases import PROJECT, START, Stack
from modelwright.errors import InvalidInput
from modelwright.features import online

NOW = START + timedelta(days=5)


def departure(name: str, hours_ago: float, *, known_h: float, **values: Any) -> dict[str, Any]:
    row = {"flight_id": name, "carrier": "AA", "origin": "JFK", "delay": 1, "late": False, "cancelled": False}
    times = {"left_at": NOW - timedelta(hours=hours_ago), "known_at": NOW - timedelta(hours=known_h)}
    return {**row, **times, **values}


def served(stack: Stack, as_of: datetime = NOW) -> dict[str, Any]:
    row = {"flight_id": "x", "carrier": "AA", "origin": "JFK", "scheduled": as_of}
    return stack.online([row], as_of)[0]


def test_an_older_version_of_a_folded_row_changes_nothing() -> None:
    stack = Stack()
    stack.push("departures", [departure("a", 5, known_h=4, delay=10)], NOW)
    stack.fold(NOW)
    stack.push("departures", [departure("a", 5, known_h=4.5, delay=99)], NOW)
    assert (served(stack)["n_1d"], served(stack)["delay_1d"]) == (1, 10.0)


def test_a_row_is_kept_as_long_as_its_successor_is_not_known() -> None:
    stack = Stack()
    rows = [departure("a", 40, known_h=39, delay=1), departure("b", 30, known_h=2, delay=2)]
    stack.upload("departures", [departure("old", 90, known_h=90), *rows], NOW)
    assert served(stack, NOW - timedelta(hours=10))["by_route__delay"] == 1
    assert served(stack)["by_route__delay"] == 2


def test_a_row_that_becomes_anothers_leaves_the_one_before_it() -> None:
    stack = Stack()
    rows = [departure("a", 60, known_h=60, delay=1), departure("b", 50, known_h=50, delay=2)]
    stack.upload("departures", rows, NOW)
    assert served(stack)["by_route__delay"] == 2
    stack.upload("departures", [departure("b", 50, known_h=1, carrier="UA")], NOW)
    assert served(stack)["by_route__delay"] == 1


def test_no_rows_have_no_features() -> None:
    stack = Stack()
    stack.upload("departures", [departure("a", 60, known_h=60)], NOW)
    assert stack.online([], NOW) == []
    wanted = {"by_route": PROJECT.views["by_route"].feature_names()}
    found = online.lookup(PROJECT, wanted, [], as_of=NOW, tables=stack.tables, workspace=stack.workspace)["by_route"]
    assert {name: list(found.of_rows(column.values)) for name, column in found.features.items()} == {
        name: [] for name in wanted["by_route"]
    }


def test_a_time_further_back_than_is_kept_is_refused_not_guessed() -> None:
    stack = Stack()
    stack.upload("departures", [departure("a", 60, known_h=60)], NOW)
    with pytest.raises(InvalidInput, match="ask point in time"):
        served(stack, NOW - timedelta(days=4))
