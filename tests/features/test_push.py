"""Rows pushed over HTTP: what is taken, what is refused, and what is served at once."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from features.online_cases import NOW, PROJECT, Shop, profile, sale
from modelwright.features import writing
from modelwright.features.layout import micros, row_key
from modelwright.features.rows import Row
from modelwright.governance.access import Grant


@pytest.fixture
def shop() -> Shop:
    return Shop()


def stored(shop: Shop, prefix: str = "") -> list[str]:
    """Return the sort keys of what is in the table of features, and the lake's keys."""
    keys = [key.sk for key in shop.tables._items.get("features", {})]
    return sorted(key for key in [*keys, *(one.key for one in shop.blobs.list("lake", ""))] if key.startswith(prefix))


def body(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in row.items()} for row in rows]
    return {"source": "profiles", "rows": given, **more}


def test_every_fault_is_listed_with_its_row_and_column_and_nothing_is_written(shop: Shop) -> None:
    rows: list[Any] = [profile(1), profile(2, age=200), {"customer": "x", "at": "soon"}, profile(3, colour="red"), 7]
    status, error = shop.post("/push", {"source": "profiles", "rows": body(*rows[:4])["rows"]})
    assert (status, error["class"]) == (400, "ValueError")
    for fault in ("row 1, column age: 200 is above 150", "row 2, column customer: 'x' is no integer",
                  "row 2, column at: ", "row 3, column colour: not declared"):  # fmt: skip
        assert fault in error["message"]
    assert stored(shop) == []
    assert shop.post("/push", {"source": "profiles", "rows": rows[4:]})[0] == 400


def test_a_number_that_cannot_be_added_up_is_refused_where_a_view_adds_it(shop: Shop) -> None:
    rows = [{n: v.isoformat() if isinstance(v, datetime) else v for n, v in sale("a").items()}]
    for amount in ("Infinity", 1e300):
        status, error = shop.post("/push", {"source": "sales", "rows": [rows[0], {**rows[0], "amount": amount}]})
        assert (status, "row 1, column amount:" in error["message"]) == (400, True)
    assert stored(shop) == []


@pytest.mark.parametrize(
    ("to", "online", "offline"),
    [("online", True, False), ("offline", False, True), ("online_and_offline", True, True)],
)
def test_a_push_goes_where_it_is_told(shop: Shop, to: str, online: bool, offline: bool) -> None:
    for repeated in (False, True):
        pushed = shop.push("profiles", [profile(1)], to=to)
        assert (pushed["rows"], pushed["repeated"]) == (1, repeated)
    assert (shop.asked({"customer": [1]}, features=["profile:age"])["age"][0][1] == "PRESENT") is online
    assert bool(stored(shop, "PENDING#")) is offline
    assert stored(shop, "pushed/")  # who erases a subject has to find its rows


def test_the_same_push_changes_nothing_whatever_its_time(shop: Shop) -> None:
    first = shop.push("profiles", [profile(1), profile(2)])
    again = shop.push("profiles", [profile(1), profile(2)], now=NOW + timedelta(minutes=5))
    assert (first["online_items"], again["online_items"]) == (2, 0)
    assert first["digest"] == again["digest"]


def test_sources_that_are_made_of_the_pushed_one_are_told_and_take_no_rows_themselves(shop: Shop) -> None:
    assert shop.push("sales", [sale("a")])["derived"] == ["large_sales"]
    assert shop.push("profiles", [profile(1)])["derived"] == []
    status, error = shop.post("/push", {"source": "large_sales", "rows": []})
    assert (status, "made of those of sales" in error["message"]) == (400, True)


def test_a_correction_is_served_and_reads_as_of_before_it_stay(shop: Shop) -> None:
    first: dict[str, Any] = {"at": NOW - timedelta(hours=5), "known": NOW - timedelta(hours=4)}
    shop.push("sales", [sale("a", amount=1.0, **first)])
    shop.push("sales", [sale("a", amount=2.0, **{**first, "known": NOW - timedelta(hours=2)})])
    asked: dict[str, Any] = {"features": ["visit:amount", "spent:sum_1d"]}
    for hours, amount in ((3, 1.0), (1, 2.0), (0, 2.0)):
        now = NOW - timedelta(hours=hours)
        found = shop.asked({"customer": [1], "shop": ["A"]}, now=now, **asked)
        assert [found[name][0][0] for name in ("amount", "sum_1d")] == [amount, amount]


def test_versions_of_one_row_in_one_push_end_one_another(shop: Shop) -> None:
    event = NOW - timedelta(hours=5)
    versions = [
        sale("a", at=event, known=NOW - timedelta(hours=hours), amount=amount)
        for hours, amount in ((1, 3.0), (4, 1.0), (2, 2.0), (1, 4.0))
    ]
    shop.push("sales", versions)
    for hours, amount in ((3, 1.0), (2, 2.0), (0, 4.0)):
        found = shop.asked(
            {"customer": [1], "shop": ["A"]}, features=["visit:amount"], now=NOW - timedelta(hours=hours)
        )
        assert found["amount"] == [(amount, "PRESENT")]


# --- Feast's own writes ------------------------------------------------------------------


def written(shop: Shop, view: str, frame: dict[str, Any]) -> tuple[int, Any]:
    """Write as the stock client does."""
    return shop.post("/write-to-online-store", {"feature_view_name": view, "df": frame, "allow_registry_cache": False})


def test_rows_in_the_form_of_a_view_are_rows_of_its_source(shop: Shop) -> None:
    at = (NOW - timedelta(hours=1)).replace(tzinfo=None).isoformat()
    frame = {"customer": [1, 2], "age": [30, 31], "score": [0.5, None], "city": ["Rome", None], "vip": [True, None],
             "since": [1767225600, None], "event_timestamp": [at, at], "created": [None, None]}  # fmt: skip
    status, answer = written(shop, "profile", frame)
    assert (status, answer["source"], answer["rows"]) == (200, "profiles", 2)
    found = shop.asked({"customer": [1, 2]}, features=["profile:age", "profile:score", "profile:since"])
    assert found["age"] == [(30, "PRESENT"), (31, "PRESENT")]
    assert found["score"] == [(0.5, "PRESENT"), (None, "NULL_VALUE")]
    assert found["since"][0] == ("2026-01-01T00:00:00Z", "PRESENT")


def test_a_join_key_that_is_written_twice_is_tolerated(shop: Shop) -> None:
    at = [(NOW - timedelta(hours=n)).isoformat() for n in (1, 2)]
    frame = {"customer": [1, 1, 2, 2], "shop": ["A", "A", "B", "B"], "sale": ["x", "y"], "amount": [1.5, 2.5],
             "event_timestamp": at, "created": at}  # fmt: skip
    assert written(shop, "visit", frame)[0] == 200
    found = shop.asked({"customer": [1, 2], "shop": ["A", "B"]}, features=["visit:amount"])
    assert [value for value, _ in found["amount"]] == [1.5, 2.5]


def test_rows_that_do_not_say_when_they_became_known_are_known_now(shop: Shop) -> None:
    at = (NOW - timedelta(hours=1)).isoformat()
    frame = {"customer": [1, 2], "shop": ["A", "A"], "sale": ["x", "y"], "amount": [1.0, 2.0],
             "event_timestamp": [at, at], "created": [None, at]}  # fmt: skip
    assert written(shop, "visit", frame)[0] == 200
    (pushed,) = list(shop.blobs.list("lake", "pushed/"))
    assert (
        f'"known":[{micros(NOW)},{micros(NOW - timedelta(hours=1))}]'.encode()
        in shop.blobs.get("lake", pushed.key).body
    )


@pytest.mark.parametrize(
    ("view", "frame", "status", "said"),
    [
        ("people", {}, 404, "there is no feature view people"),
        ("profile", {"customer": [1], "age": [1, 2]}, 400, "columns differ in length"),
        ("profile", {"customer": "one"}, 400, "must be a list"),
        ("profile", {"customer": [1]}, 400, "row 0, column at: may not be missing"),
    ],
)
def test_a_faulty_write_is_refused_with_its_fault(
    shop: Shop, view: str, frame: dict[str, Any], status: int, said: str
) -> None:
    answer = written(shop, view, frame)
    assert (answer[0], said in answer[1]["message"]) == (status, True), answer
    assert stored(shop) == []


# --- many writers ------------------------------------------------------------------------


def test_16_writers_with_shuffled_repeated_and_late_rows_serve_what_all_rows_say() -> None:
    rng = random.Random(5)
    shop = Shop()
    source, hour = PROJECT.sources["sales"], timedelta(hours=1)
    rows = []
    for n in range(60):
        event = NOW - hour * rng.randrange(1, 40)
        for version in range(rng.choice([1, 1, 2, 3])):
            known = min(NOW, event + timedelta(minutes=rng.randrange(0, 500)))
            values = sale(f"s{n}", n % 3, "A", at=event, known=known, amount=float(rng.randrange(1000)))
            key = row_key([values[name] for name in source.key])
            rows.append(Row(key, micros(event), micros(known), f"{version}", values))
    options: dict[str, Any] = {"now": NOW, "tables": shop.tables, "workspace": "default"}

    def writes(seed: int) -> None:
        mine = random.Random(seed)
        parts = mine.sample(rows, len(rows))
        for first in range(0, len(parts), 9):
            writing.push(PROJECT, "sales", parts[first : first + 9], **options)

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(writes, seed) for seed in range(16)]:
            done.result()
    for ago in (0, 1, 5, 12, 23):
        now = NOW - hour * ago
        asked: dict[str, Any] = {"features": ["visit:sale", "visit:amount", "spent:n_1d", "spent:sum_1d"], "now": now}
        found = shop.asked({"customer": [0, 1, 2], "shop": ["A"] * 3}, **asked)
        assert [tuple(found[name][c][0] for name in ("sale", "amount", "n_1d", "sum_1d")) for c in range(3)] == [
            oracle([row for row in rows if row.values["customer"] == c], now) for c in range(3)
        ]


def oracle(rows: list[Row], now: datetime) -> tuple[Any, ...]:
    """Return what is served of a customer, by looking at every version."""
    time, tile = micros(now), 3_600_000_000
    newest: dict[int, Row] = {}
    for row in sorted(rows, key=lambda row: (row.available, row.arrival)):
        if row.available <= time:
            newest[row.key] = row
    seen = [row for row in newest.values() if row.event <= time]
    best = max(seen, key=lambda row: (row.event, row.available, row.arrival, row.key), default=None)
    inside = []
    for versions in ([r for r in rows if r.key == key] for key in {r.key for r in rows}):
        before = [r for r in versions if r.available // tile < time // tile]  # corrections end at tile boundaries
        last = max(before, key=lambda r: (r.available, r.arrival), default=None)
        if last is not None and time // tile - 24 <= last.available // tile:
            inside.append(last.values["amount"])
    latest = (best.values["sale"], best.values["amount"]) if best else (None, None)
    return (*latest, len(inside), float(sum(inside)))


def test_the_log_line_of_a_refused_push_says_where_it_is_wrong_and_quotes_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "jo@example.org"
    rows: list[Any] = [
        {"customer": secret, "at": secret, "age": secret, "score": secret, "vip": secret, "city": 7, secret: 1},
        {"customer": 1, "at": NOW.isoformat(), "age": 4711},
    ]
    status, error = shop.post("/push", {"source": "profiles", "rows": rows})
    assert (status, secret in error["message"], "4711" in error["message"]) == (400, True, True)
    assert shop.post("/push", {"source": "profiles", "rows": secret})[0] == 400
    assert shop.post("/push", {"source": "profiles", "df": {secret: secret}})[0] == 400
    assert shop.post("/push", {"source": "profiles", "df": {secret: [1], "at": []}})[0] == 400
    sold = {**{n: v.isoformat() if isinstance(v, datetime) else v for n, v in sale("a").items()}, "amount": 4.711e300}
    assert "4.711" in shop.post("/push", {"source": "sales", "rows": [sold]})[1]["message"]
    asked = {"entities": {"customer": [secret]}, "features": ["profile:age"]}
    assert shop.post("/get-online-features", asked)[0] == 400
    outcomes = [vars(record)["outcome"] for record in caplog.records]
    assert len(outcomes) == 6
    assert not any(secret in outcome or "4711" in outcome or "4.711" in outcome for outcome in outcomes)
    for fault in ("row 0, column customer: no integer", "row 0, column at: no ISO 8601 time",
                  "row 0: a column that is not declared", "row 1, column age: above 150"):  # fmt: skip
        assert fault in outcomes[0]
    assert "parameter 'rows" in outcomes[1]
    assert "row 0, column amount: too large to be added up" in outcomes[4]
    assert "row 0, column customer: no integer" in outcomes[5]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"source": ""}, "a push names a source"),
        ({"To": "offline"}, "To"),
        ({"rows": None}, "a push needs rows"),
    ],
)
def test_a_push_that_is_not_clear_is_refused(shop: Shop, change: dict[str, Any], text: str) -> None:
    status, error = shop.post("/push", {**body(profile(1)), **change})
    assert (status, text in error["message"]) == (400, True)
    assert stored(shop) == []


def test_a_push_as_feasts_client_sends_it_is_taken(shop: Shop) -> None:
    given = {name: [value.isoformat() if isinstance(value, datetime) else value] for name, value in profile(1).items()}
    more = {"to": "online", "allow_registry_cache": True, "transform_on_write": True}
    assert shop.post("/push", {"push_source_name": "profiles", "df": given, **more})[0] == 200


def test_a_source_that_is_none_is_told_with_those_that_the_caller_may_push(shop: Shop) -> None:
    grants = [Grant(role="contributor"), Grant(role="contributor", resources="source/sales", effect="deny")]
    status, error = shop.post("/push", {"source": "nothing", "rows": []}, grants=grants)
    assert (status, error["message"]) == (404, "there is no source nothing: there are profiles, large_sales")
    only = [Grant(role="contributor", resources="source/profiles")]
    assert shop.post("/push", {"source": "nothing", "rows": []}, grants=only)[0] == 403
    hidden = [Grant(role="contributor"), Grant(role="contributor", resources="view/spent", effect="deny")]
    status, error = shop.post("/write-to-online-store", {"feature_view_name": "nothing", "df": {}}, grants=hidden)
    assert (status, error["message"]) == (404, "there is no feature view nothing: there are profile, visit")
