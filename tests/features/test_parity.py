"""Online, offline and an oracle that looks at every row agree to the bit."""

import struct
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.feature_cases import PROJECT, START, Stack, oracle
from modelwright.features.frames import frame

HOURS = 60
ORIGINS, CARRIERS = ["JFK", "EWR", None], ["AA", "U|A", "B\\6"]


def bits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with floats as their bytes, so that equality is to the bit and 1 is not 1.0."""
    return [{n: struct.pack("<d", v) if isinstance(v, float) else v for n, v in row.items()} for row in rows]


minutes = st.integers(0, HOURS * 3 - 1).map(lambda m: START + timedelta(minutes=20 * m))
hourly = st.integers(0, 11).map(lambda h: START + timedelta(hours=5 * h))


@st.composite
def departures(draw: st.DrawFn) -> dict[str, Any]:
    number = draw(st.integers(0, 12))
    left = draw(minutes) + timedelta(seconds=number)  # no two flights at one time: the oracle knows of no order of keys
    lag = draw(st.sampled_from([0, 1, 40, 60, 600, 3000]))
    return {
        "flight_id": f"f{number}",
        "carrier": draw(st.sampled_from(CARRIERS)),
        "origin": draw(st.sampled_from(ORIGINS)),
        "left_at": left,
        "delay": draw(st.none() | st.integers(-20, 300)),
        "late": draw(st.none() | st.booleans()),
        "cancelled": draw(st.booleans()),
        "known_at": left + timedelta(minutes=lag),
    }


@st.composite
def weather(draw: st.DrawFn) -> dict[str, Any]:
    seen = draw(hourly)
    return {
        "origin": draw(st.sampled_from(ORIGINS[:2])),
        "observed_at": seen,
        "known_at": seen + timedelta(minutes=draw(st.sampled_from([0, 60, 90, 400]))),
        "temp": draw(st.none() | st.floats(-60, 130)),
        "sky": draw(st.none() | st.sampled_from(["clear", "rain"])),
    }


queries = st.builds(
    lambda n, carrier, origin, time: {"flight_id": n, "carrier": carrier, "origin": origin, "scheduled": time},
    st.text("ab", max_size=2),
    st.sampled_from([*CARRIERS, "ZZ"]),
    st.sampled_from([*ORIGINS, "LGA"]),
    minutes | st.just(START + timedelta(hours=HOURS + 3)),
)
rows_of = {"departures": st.lists(departures(), max_size=40), "weather": st.lists(weather(), max_size=30)}


@st.composite
def corrections(draw: st.DrawFn, rows: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """Return some of the rows again with other values, known at the same time, later or earlier."""
    fresh = {"departures": departures(), "weather": weather()}[source]
    found = []
    for row in draw(st.lists(st.sampled_from(rows), max_size=12)) if rows else []:
        new, key = draw(fresh), PROJECT.sources[source].key
        when = PROJECT.sources[source].event_time
        event = row[when] if when in key or draw(st.booleans()) else new[when].replace(second=row[when].second)
        known = row["known_at"] + timedelta(minutes=draw(st.sampled_from([-30, 0, 0, 1, 90])))
        found.append({**new, **{name: row[name] for name in key}, when: event, "known_at": known})
    return found


def distinct(rows: list[dict[str, Any]], key: tuple[str, ...]) -> list[dict[str, Any]]:
    return list({tuple(row[name] for name in key): row for row in rows}.values())


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(rows_of), st.lists(queries, min_size=1, max_size=12), st.data())
def test_files_with_overlaps_and_repeats_give_what_every_row_says(
    history: dict[str, list[dict[str, Any]]], asked: list[dict[str, Any]], data: st.DataObject
) -> None:
    stack, now = Stack(), START + timedelta(hours=HOURS)
    arrived: dict[str, list[dict[str, Any]]] = {"departures": [], "weather": []}
    deliveries = []
    sent: dict[str, list[list[dict[str, Any]]]] = {"departures": [], "weather": []}
    for source, rows in history.items():
        for n in range(data.draw(st.integers(0, 3))):
            part = rows if n == 0 else data.draw(corrections(rows, source)) + rows[n::2]
            when = now + timedelta(minutes=n)
            if part in sent[source]:
                continue  # the same upload twice changes nothing: the first one counts
            sent[source].append(part)
            arrived[source].extend(part)
            deliveries.append(stack.delivery(source, part, when))
    for delivery in data.draw(st.permutations(deliveries)):
        stack.deliver(delivery)
    expected = [oracle(arrived, row) for row in asked]
    assert bits(stack.offline(asked)) == bits(expected)
    for later in (now + timedelta(hours=n) for n in (1, 9, 30, 60)):
        found = stack.online([{**row, "scheduled": later} for row in asked], later)
        assert bits(found) == bits([oracle(arrived, {**row, "scheduled": later}) for row in asked])


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries(rows_of), st.lists(queries, min_size=1, max_size=6), st.data())
def test_rows_pushed_hour_by_hour_are_served_as_they_are_trained_on(
    history: dict[str, list[dict[str, Any]]], asked: list[dict[str, Any]], data: st.DataObject
) -> None:
    stack = Stack()
    history = {name: distinct(rows, PROJECT.sources[name].key) for name, rows in history.items()}
    served: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    for hour in range(0, HOURS + 60, 6):
        now = START + timedelta(hours=hour)
        for source, rows in history.items():
            known = [r for r in rows if r["known_at"] <= now]
            fresh = [r for r in known if r["known_at"] > now - timedelta(hours=6)]
            repeats = data.draw(st.lists(st.sampled_from(known), max_size=4)) if known else []
            for part in (fresh, repeats):
                act(stack, data.draw(st.sampled_from(["push", "push", "upload"])), source, part, now)
        if data.draw(st.booleans()):
            stack.fold(now)
        questions.extend({**row, "scheduled": now} for row in asked)
        served.extend(stack.online([{**row, "scheduled": now} for row in asked], now))
    stack.fold(START + timedelta(hours=HOURS + 60))
    everything = {
        name: [r for r in rows if r["known_at"] <= START + timedelta(hours=HOURS + 60)]
        for name, rows in history.items()
    }
    assert bits(served) == bits([oracle(everything, row) for row in questions])
    assert bits(stack.offline(questions)) == bits(served)
    left = frame(PROJECT, "flights", served)
    right = frame(PROJECT, "flights", stack.offline_table(questions))
    assert left.equals(right)
    assert list(left.columns) == list(PROJECT.models["flights"].inputs)


def act(stack: Stack, what: str, source: str, rows: list[dict[str, Any]], now: datetime) -> None:
    if what == "push":
        stack.push(source, rows, now)
    else:
        stack.upload(source, rows, now)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(rows_of), st.lists(queries, min_size=1, max_size=8), st.data())
def test_corrections_that_move_rows_are_served_once_they_are_folded(
    history: dict[str, list[dict[str, Any]]], asked: list[dict[str, Any]], data: st.DataObject
) -> None:
    stack, now = Stack(), START + timedelta(hours=data.draw(st.sampled_from([HOURS - 30, HOURS + 60])))
    arrived: dict[str, list[dict[str, Any]]] = {"departures": [], "weather": []}
    sent: list[tuple[str, str, list[dict[str, Any]]]] = []

    def send(what: str, source: str, part: list[dict[str, Any]], when: datetime) -> None:
        act(stack, what, source, part, when)
        if (what, source, part) not in sent:  # the same twice changes nothing: the first time counts
            sent.append((what, source, part))
            arrived[source].extend(part)

    for source, rows in history.items():
        for n, part in enumerate((rows, data.draw(corrections(rows, source)), data.draw(corrections(rows, source)))):
            when = now + timedelta(minutes=n)
            send(data.draw(st.sampled_from(["push", "upload"])), source, part, when)
            if data.draw(st.booleans()):
                stack.fold(when)
            if data.draw(st.booleans()):
                send("push", source, part[:3], when)
    late = now + timedelta(minutes=5)
    stack.fold(late)
    expected = bits([oracle(arrived, {**row, "scheduled": late}) for row in asked])
    assert bits(stack.online([{**row, "scheduled": late} for row in asked], late)) == expected
    assert bits(stack.offline(asked)) == bits([oracle(arrived, row) for row in asked])


@pytest.mark.parametrize("late_rows", [0, 7, 8, 9, 40])
def test_many_rows_that_are_not_known_yet_are_stepped_over(late_rows: int) -> None:
    stack = Stack()
    seen = [START + timedelta(minutes=n) for n in range(late_rows + 1)]
    known = [START, *[START + timedelta(days=9)] * late_rows]
    rows = [
        {"origin": "JFK", "observed_at": s, "known_at": k, "temp": float(n), "sky": None}
        for n, (s, k) in enumerate(zip(seen, known, strict=True))
    ]
    stack.upload("weather", rows, START + timedelta(days=10))
    asked = {"flight_id": "x", "carrier": "AA", "origin": "JFK", "scheduled": START + timedelta(hours=2)}
    assert stack.offline([asked])[0]["temp"] == 0.0
