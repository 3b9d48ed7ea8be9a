"""No request makes a route of the function ``features`` fail: whatever it is told, it answers, in JSON, below 500."""

import contextlib
import copy
import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
from features.online_cases import NOW, Shop, profile, sale
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from support.http import payload

LONG_S = 120.0
_QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck))
AT = NOW.isoformat()
GOOD: dict[str, list[dict[str, Any]]] = {
    "/get-online-features": [
        {"features": ["profile:age", "visit:amount", "spent:mean_1d"], "entities": {"customer": [1], "shop": ["A"]}},
        {"feature_service": "checkout", "entities": {"customer": [1, 2], "shop": ["A", "B"], "price": [1.5, None]}},
        {"features": ["basket:worth"], "entities": {"customer": [1], "price": [2]}, "full_feature_names": True},
    ],
    "/v1/features/online": [
        {"service": "hourly", "rows": [{"customer": 1, "price": 2.5, "event_timestamp": AT}], "statuses": True},
        {"features": ["profile:since", "spent:n_1h"], "rows": [{"customer": 1}, {"customer": None}]},
    ],
    "/push": [
        {"source": "profiles", "rows": [{"customer": 1, "at": AT, "age": 5, "score": 0.5, "city": "x", "since": AT}]},
        {"push_source_name": "sales", "to": "online", "df": {
            "sale": ["a"], "customer": [1], "shop": ["A"], "at": [AT], "known": [None], "amount": [1.5]}},
    ],
    "/write-to-online-store": [
        {"feature_view_name": "visit", "df": {
            "customer": [1, 1], "shop": ["A"], "sale": ["a"], "amount": [1.0], "created": [AT],
            "event_timestamp": [AT]}},
    ],
}  # fmt: skip
ODD: list[Any] = [
    None, True, 0, -1, 2**63, 10**400, -0.0, 1e308, float("inf"), float("nan"), "", "\x00", "\ud800", "NaN", "Infinity",
    "x" * 3000, "profile:age", "profile:", ":", "a:b:c", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    [], {}, [[]], {"": None}, ["profile:age"] * 300, {"customer": {}}, "checkout", "🦜|\\",
]  # fmt: skip
odd = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all that is inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield (*path, key)
        yield from places(part, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, path: str) -> Any:
    """A good body of which some parts are something else, or missing, or there twice."""
    body = copy.deepcopy(draw(st.sampled_from(GOOD[path])))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(body))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        holder = body
        for step in way:
            holder = holder[step]
        action = draw(st.sampled_from(["replace", "remove", "rename", "repeat"]))
        if action == "replace":
            holder[last] = copy.deepcopy(draw(anything))  # what is drawn is drawn again
        elif action == "remove":
            del holder[last]
        elif action == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["customer", "shop", "rows", "df", "features", "entities", "é"]))] = holder[
                last
            ]
        elif isinstance(holder, list):
            holder.extend([holder[last]] * draw(st.integers(1, 5)))
    return body


@st.composite
def requests(draw: st.DrawFn, shop: Shop) -> tuple[str, str, bytes]:
    """A method, a path and a body."""
    if draw(st.integers(0, 5)) == 0:
        route = draw(st.sampled_from(shop.function.routes))
        names = st.sampled_from(["profile", "checkout", "spent", "nothing", "%00", "é", "x" * 300])
        parts = [draw(names) if part.startswith("<") else part for part in route.path.split("/")]
        query = draw(st.sampled_from(["", "?q=%ff", "?from=x&to=y", "?q=", "?from=2026-01-01"]))
        return route.method, quote("/".join(parts), safe="/%") + query, _raw(draw(anything))
    path = draw(st.sampled_from(list(GOOD)))
    body = draw(mutated(path) | anything | st.binary(max_size=30))
    return "POST", path, body if isinstance(body, bytes) else _raw(body)


def _raw(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def filled() -> Shop:
    shop = Shop()
    shop.push("profiles", [profile(1), profile(2, score=None)], now=NOW - timedelta(minutes=5))
    shop.push("sales", [sale("a"), sale("b", shop="B")], now=NOW - timedelta(minutes=5))
    return shop


def ask(shop: Shop, request: tuple[str, str, bytes]) -> None:
    """Send a request and check what has to be so of any answer."""
    method, path, raw = request
    answer = shop.function(payload(method, path, raw, headers={"x-modelwright-as-of": AT}))
    status, body = answer["statusCode"], answer["body"]
    assert status < 500, (request, status, body)
    if answer["headers"]["content-type"] != "application/json":
        assert status == 200, (request, status, body)
        return
    said = json.loads(body, parse_constant=_no_json)
    if status >= 400:
        error = json.loads(said)
        assert {"module", "class", "message"} <= set(error), request
        assert error["message"], request


def _no_json(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep the log lines of thousands of requests to ourselves."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@settings(_QUIET, max_examples=250)
@given(st.data())
def test_a_bad_request_is_the_callers_fault(data: st.DataObject) -> None:
    with silence():
        shop = filled()
        for _ in range(3):
            ask(shop, data.draw(requests(shop)))


def test_good_requests_are_good() -> None:
    """Or the mutations would be of nothing."""
    shop = filled()
    assert [shop.post(path, body)[0] for path, bodies in GOOD.items() for body in bodies] == [200] * 8


@pytest.mark.fuzz
def test_two_minutes_of_bad_requests_find_no_fault() -> None:
    deadline, numbers = time.monotonic() + LONG_S, count(time.time_ns())
    while time.monotonic() < deadline:

        @seed(next(numbers))
        @settings(_QUIET, max_examples=200, database=None)
        @given(st.data())
        def visits(data: st.DataObject) -> None:
            with silence():
                shop = filled()
                for _ in range(5):
                    ask(shop, data.draw(requests(shop)))

        visits()
