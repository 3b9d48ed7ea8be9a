"""Training sets: labels and features as they were known then, the same bytes for the same question, told about."""

import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from features.feature_cases import PROJECT, START, Stack
from modelwright.errors import Forbidden, InvalidInput
from modelwright.features import datasets, saved
from modelwright.features.datasets import LABEL, TrainingSetQuery

DAY = timedelta(days=1)


def hours(number: float) -> datetime:
    return START + timedelta(hours=number)


def landed(flight: str, scheduled_h: float, delay: float | None, known_h: float, **other: Any) -> dict[str, Any]:
    row = {"flight_id": flight, "carrier": "AA", "origin": "JFK", "scheduled": hours(scheduled_h)}
    return {**row, "arr_delay": delay, "known_at": hours(known_h), **other}


def weather(hour: float, temp: float, known_h: float) -> dict[str, Any]:
    return {"origin": "JFK", "observed_at": hours(hour), "known_at": hours(known_h), "temp": temp, "sky": None}


@pytest.fixture
def stack() -> Stack:
    stack = Stack()
    stack.upload("weather", [weather(n, float(n), n) for n in range(12)], hours(12))
    stack.upload("arrivals", [landed("a", 2, 30.0, 5), landed("b", 3, 0.0, 6), landed("c", 4, None, 7)], hours(12))
    return stack


def rows(stack: Stack, known_h: float, **options: Any) -> dict[str, list[Any]]:
    """Return labels and temperatures, by flight, as they were known at an hour."""
    stores: dict[str, Any] = {"blobs": stack.blobs, "tables": stack.tables, "workspace": stack.workspace}
    table = datasets.training_rows(
        PROJECT, "flights", START, START + DAY, known_by=hours(known_h), cache=stack.cache, **stores, **options
    )
    return {row["flight_id"]: [row[LABEL], row["temp"]] for row in table.to_pylist()}


def test_labels_are_those_that_were_known_then(stack: Stack) -> None:
    assert rows(stack, 5.5) == {"a": [1, 2.0]}
    assert rows(stack, 6) == {"a": [1, 2.0], "b": [0, 3.0]}


def test_a_corrected_label_is_the_one_of_its_time(stack: Stack) -> None:
    stack.upload("arrivals", [landed("a", 2, 1.0, 20)], hours(21))
    assert rows(stack, 19) == {"a": [1, 2.0], "b": [0, 3.0]}
    assert rows(stack, 20) == {"a": [0, 2.0], "b": [0, 3.0]}


def test_a_label_that_was_withdrawn_is_no_example_any_more_but_was_one(stack: Stack) -> None:
    stack.upload("arrivals", [landed("a", 2, None, 20)], hours(21))
    assert rows(stack, 19) == {"a": [1, 2.0], "b": [0, 3.0]}
    assert rows(stack, 20) == {"b": [0, 3.0]}


def test_a_corrected_feature_is_the_one_of_the_time_of_asking(stack: Stack) -> None:
    stack.upload("weather", [weather(2, 100.0, 20)], hours(21))
    assert rows(stack, 21) == {"a": [1, 2.0], "b": [0, 3.0]}


def built(stack: Stack, now: datetime, as_of: datetime | None = None) -> datasets.TrainingSet:
    query = TrainingSetQuery(model="flights", start=START, end=START + DAY, as_of=as_of)
    return datasets.build(stack.call(now), query, **stack.everything())


def test_the_same_question_as_of_the_same_time_gives_the_same_bytes_after_corrections(stack: Stack) -> None:
    first = built(stack, hours(13))
    stack.upload("arrivals", [landed("a", 2, 1.0, 20), landed("d", 5, 1.0, 20)], hours(21))
    stack.upload("weather", [weather(2, 100.0, 20)], hours(21))
    assert built(stack, hours(30), as_of=hours(13)).digest == first.digest
    assert built(stack, hours(30)).digest != first.digest


def test_a_training_set_is_told_about_with_its_profile_and_what_made_it(stack: Stack) -> None:
    made = built(stack, hours(13))
    about = saved.show(stack.call(hours(14)), made.digest, blobs=stack.blobs)
    assert (about["digest"], about["rows"], about["key"]) == (made.digest, 2, made.key)
    assert about["query"] == json.loads(
        TrainingSetQuery(model="flights", start=START, end=START + DAY, as_of=hours(13)).model_dump_json()
    )
    assert about["views"] == {"weather": 1, "by_origin": 1, "by_route": 1}
    assert about["features"] == list(PROJECT.models["flights"].inputs)
    columns = {column.pop("name"): column for column in about["columns"]}
    assert columns["temp"] == {"type": "double", "n": 2, "nulls": 0, "min": 2.0, "max": 3.0, "mean": 2.5}
    assert columns[LABEL] == {"type": "int8", "n": 2, "nulls": 0, "min": 0, "max": 1, "mean": 0.5}
    assert columns["flight_id"] == {"type": "string", "n": 2, "nulls": 0}


def test_infinite_features_are_profiled_as_json_can_say(stack: Stack) -> None:
    stack.upload("weather", [weather(2, float("inf"), 2)], hours(12.5))
    made = built(stack, hours(13))
    about = saved.show(stack.call(hours(14)), made.digest, blobs=stack.blobs)
    assert next(c["max"] for c in about["columns"] if c["name"] == "temp") == "inf"


def test_a_window_without_labels_leaves_nothing(stack: Stack) -> None:
    query = TrainingSetQuery(model="flights", start=START - DAY, end=START)
    with pytest.raises(InvalidInput, match="flights has no labelled rows"):
        datasets.build(stack.call(hours(13)), query, **stack.everything())
    assert not list(stack.blobs.list("lake", "datasets/"))


def test_labels_in_many_weeks_are_read_as_they_were_known(stack: Stack) -> None:
    late = [landed(f"x{n}", n % 24, float(n), 24 + n * 30) for n in range(60)]
    stack.upload("arrivals", late, hours(3000))
    for known_h in (24, 500, 1900):
        expected = {row["flight_id"]: int(row["arr_delay"] > 15) for row in late if row["known_at"] <= hours(known_h)}
        found = {flight: label for flight, (label, _) in rows(stack, known_h).items() if flight.startswith("x")}
        assert found == expected


def test_the_digest_is_of_the_bytes(stack: Stack) -> None:
    made = built(stack, hours(13))
    assert hashlib.sha256(stack.blobs.get("lake", made.key).body).hexdigest() == made.digest


@pytest.mark.parametrize("denied", ["model/flights", "view/weather", "view/by_origin", "source/arrivals"])
def test_a_training_set_is_made_for_who_may_read_all_that_it_is_made_of(stack: Stack, denied: str) -> None:
    def authority(action: str, resource: str) -> None:
        if (action, resource) == ("features:read", denied):
            raise Forbidden(f"no {action} on {resource}")

    query = TrainingSetQuery(model="flights", start=START, end=START + DAY)
    with pytest.raises(Forbidden, match=denied):
        datasets.build(replace(stack.call(hours(13)), authority=authority), query, **stack.everything())
    assert not list(stack.blobs.list("lake", "datasets/"))
