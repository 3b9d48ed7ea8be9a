"""Rows served once more are those that training saw: to the bit, whatever the history is."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from features.feature_cases import PROJECT, START, WORKSPACE, Stack
from features.test_parity import HOURS, bits, queries, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.adapters.replay import Replay
from modelwright.errors import InvalidInput
from modelwright.features.history import History
from modelwright.project import Project

NOW = START + timedelta(hours=HOURS + 60)


def replay(stack: Stack, project: Project = PROJECT) -> Replay:
    history = History(blobs=stack.blobs, tables=stack.tables, workspace=WORKSPACE, cache={})
    return Replay(project, "flights", history=history, load=stack.load)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(rows_of), st.lists(queries, min_size=1, max_size=8))
def test_rows_of_any_time_are_served_as_they_were_trained_on(
    history: dict[str, list[dict[str, Any]]], asked: list[dict[str, Any]]
) -> None:
    stack = Stack()
    for source, rows in history.items():
        stack.upload(source, rows, NOW)
    assert bits(replay(stack).served(asked)) == bits(stack.offline(asked))


def weather(minute: int, temp: float, *, known: int | None = None) -> dict[str, Any]:
    seen = START + timedelta(minutes=minute)
    known_at = START + timedelta(minutes=minute if known is None else known)
    return {"origin": "JFK", "observed_at": seen, "known_at": known_at, "temp": temp, "sky": None}


def query(at: datetime) -> dict[str, Any]:
    return {"flight_id": "x", "carrier": "AA", "origin": "JFK", "scheduled": at}


def test_many_rows_and_forecasts_hide_nothing() -> None:
    stack = Stack()
    rows = [weather(minute, float(minute)) for minute in range(300)]
    rows += [weather(400 + minute, -1.0, known=0) for minute in range(300)]
    stack.upload("weather", rows, NOW)
    asked = [query(START + timedelta(minutes=299)), query(START + timedelta(minutes=10))]
    served = replay(stack).served(asked)
    assert [row["temp"] for row in served] == [299.0, 10.0]
    assert bits(served) == bits(stack.offline(asked))


def test_what_serving_would_say_otherwise_is_seen() -> None:
    """The proof is of the code that serves: history that it is not given is missed."""
    stack = Stack()
    stack.upload("weather", [weather(0, 5.0)], NOW)
    asked = [query(START + timedelta(minutes=30))]
    assert stack.offline(asked)[0]["temp"] == 5.0
    stack.upload("weather", [weather(0, 7.0, known=20)], NOW + timedelta(hours=1))
    assert replay(stack).served(asked)[0]["temp"] == stack.offline(asked)[0]["temp"] == 7.0


def test_a_key_of_another_type_in_the_request_is_an_error() -> None:
    model = PROJECT.models["flights"]
    odd = model.model_copy(update={"request": {**model.request, "origin": "integer"}})
    stack = Stack()
    stack.upload("weather", [weather(0, 5.0)], NOW)
    with pytest.raises(InvalidInput, match="origin is of another type"):
        replay(stack, PROJECT.model_copy(update={"models": {"flights": odd}})).served([{**query(NOW), "origin": 3}])
