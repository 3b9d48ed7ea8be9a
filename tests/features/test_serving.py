"""Feast's protocol and ours, asked of the function as API Gateway asks it."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from support.http import payload

from features.online_cases import NOW, PROJECT, Shop, profile, sale
from modelwright.adapters.memory import MemoryTables
from modelwright.errors import InvalidInput
from modelwright.features import offline
from modelwright.features.latest import blocks_of
from modelwright.features.serving import ENTITIES
from modelwright.features.windows import ATTRIBUTES
from modelwright.governance.access import Grant
from modelwright.project import Project
from modelwright.storage import Item, Key, TableName

EPOCH = "1970-01-01T00:00:00Z"


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_entity_columns_come_first_then_features_in_the_order_asked(shop: Shop) -> None:
    shop.push("profiles", [profile(1)])
    answer = shop.ok(
        "/get-online-features", {"features": ["profile:city", "profile:age"], "entities": {"customer": [1]}}
    )
    assert answer["metadata"]["feature_names"] == ["customer", "city", "age"]
    event = (NOW - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert answer["results"] == [
        {"values": [1], "statuses": ["PRESENT"], "event_timestamps": [EPOCH]},
        {"values": ["Rome"], "statuses": ["PRESENT"], "event_timestamps": [event]},
        {"values": [30], "statuses": ["PRESENT"], "event_timestamps": [event]},
    ]


def test_each_value_has_the_status_that_it_deserves(shop: Shop) -> None:
    rows = [profile(1), profile(2, score=None), profile(3, ago=timedelta(days=31))]
    shop.push("profiles", rows, now=NOW - timedelta(minutes=1))
    found = shop.asked({"customer": [1, 2, 3, 4, None]}, features=["profile:score"])
    assert found["score"] == [
        (0.5, "PRESENT"), (None, "NULL_VALUE"), (None, "OUTSIDE_MAX_AGE"), (None, "NOT_FOUND"), (None, "NOT_FOUND")
    ]  # fmt: skip


def test_a_ttl_is_applied_when_features_are_read_and_includes_its_last_moment(shop: Shop) -> None:
    shop.push("profiles", [profile(1, ago=timedelta())])
    for later, status in ((timedelta(days=30), "PRESENT"), (timedelta(days=30, microseconds=1), "OUTSIDE_MAX_AGE")):
        assert shop.asked({"customer": [1]}, features=["profile:age"], now=NOW + later)["age"][0][1] == status


def test_composite_keys_are_joined_by_all_of_their_columns(shop: Shop) -> None:
    shop.push("sales", [sale("a", 1, "A", amount=1.5), sale("b", 1, "B", amount=2.5), sale("c", 12, "", amount=3.5)])
    entities: dict[str, list[Any]] = {"shop": ["B", "A", "A", ""], "customer": [1, 1, 2, 12]}
    found = shop.asked(entities, features=["visit:amount", "visit:sale"])
    assert [value for value, _ in found["amount"]] == [2.5, 1.5, None, 3.5]
    assert [value for value, _ in found["sale"]] == ["b", "a", None, "c"]


def test_windows_of_an_entity_never_seen_are_empty_and_those_of_no_entity_are_unknown(shop: Shop) -> None:
    shop.push("sales", [sale("a", 1, minutes=50, amount=1.25), sale("b", 1, minutes=45, amount=2.0)])
    found = shop.asked({"customer": [1, 2, None]}, features=["spent:sum_1d", "spent:n_1h", "spent:mean_1h"])
    assert found["sum_1d"] == [(3.25, "PRESENT"), (0.0, "PRESENT"), (None, "NOT_FOUND")]
    assert found["n_1h"] == [(2, "PRESENT"), (0, "PRESENT"), (None, "NOT_FOUND")]
    assert found["mean_1h"] == [(1.625, "PRESENT"), (None, "NULL_VALUE"), (None, "NOT_FOUND")]


def test_a_service_takes_request_columns_and_gives_its_stored_and_on_demand_features(shop: Shop) -> None:
    shop.push("profiles", [profile(1, score=2.0)])
    shop.push("sales", [sale("a", 1, "A", amount=7.0)])
    entities: dict[str, list[Any]] = {"customer": [1, 9], "shop": ["A", "A"], "price": [1.5, 2.5]}
    found = shop.asked(entities, feature_service="checkout")
    assert list(found) == ["customer", "shop", "age", "score", "visit__amount", "sum_1h", "n_1d", "worth", "word"]
    assert found["worth"] == [(3.0, "PRESENT"), (None, "NULL_VALUE")]
    assert [value for value, _ in found["word"]] == ["known", "new"]
    assert found["visit__amount"] == [(7.0, "PRESENT"), (None, "NOT_FOUND")]


def test_on_demand_features_are_asked_for_by_their_group(shop: Shop) -> None:
    shop.push("profiles", [profile(1, score=2.0)])
    found = shop.asked({"customer": [1], "price": [4]}, features=["basket:worth", "profile:age"])
    assert list(found) == ["customer", "worth", "age"]
    assert found["worth"] == [(8.0, "PRESENT")]
    full = shop.asked({"customer": [1], "price": [4]}, features=["basket:worth"], full_feature_names=True)
    assert list(full) == ["customer", "basket__worth"]


def test_what_entities_lack_is_named(shop: Shop) -> None:
    status, error = shop.post("/get-online-features", {"entities": {"customer": [1]}, "feature_service": "checkout"})
    assert (status, error["class"]) == (400, "ValueError")
    assert "checkout needs price, shop" in error["message"]
    status, error = shop.post("/get-online-features", {"entities": {"shop": ["A"]}, "features": ["visit:sale"]})
    assert (status, "view visit needs customer" in error["message"]) == (400, True)


def test_the_time_column_is_now_when_it_is_left_out() -> None:
    service = PROJECT.services["hourly"].model_copy(update={"on_demand": ("clock",), "inputs": ("when",)})
    clock = PROJECT.on_demand["basket"].model_copy(
        update={"function": "features.test_serving:clock", "inputs": ("event_timestamp",), "outputs": ("when",)}
    )
    shop = Shop(PROJECT.model_copy(update={"services": {"hourly": service}, "on_demand": {"clock": clock}}))
    now = shop.asked({"customer": [1]}, feature_service="hourly")
    assert now["when"] == [(NOW.timestamp(), "PRESENT")]
    said = shop.asked({"customer": [1], "event_timestamp": ["2026-01-01"]}, feature_service="hourly")
    assert said["when"] == [(1767225600.0, "PRESENT")]


def clock(row: dict[str, Any]) -> dict[str, Any]:
    return {"when": row["event_timestamp"].timestamp()}


def test_features_of_several_views_with_one_name_need_full_names() -> None:
    views = {**PROJECT.views, "again": PROJECT.views["profile"]}
    shop = Shop(PROJECT.model_copy(update={"views": views, "services": {}}))
    body = {"entities": {"customer": [1]}, "features": ["profile:age", "again:age"]}
    status, error = shop.post("/get-online-features", body)
    assert (status, "full_feature_names" in error["message"]) == (400, True)
    found = shop.asked({"customer": [1]}, features=body["features"], full_feature_names=True)
    assert list(found) == ["customer", "profile__age", "again__age"]


def test_infinities_and_nan_travel_as_strings(shop: Shop) -> None:
    values = ["Infinity", "-Infinity", "NaN"]
    shop.push("profiles", [profile(n, score=value) for n, value in enumerate(values)])
    found = shop.asked({"customer": [0, 1, 2]}, features=["profile:score"])
    assert found["score"] == [("Infinity", "PRESENT"), ("-Infinity", "PRESENT"), (None, "NULL_VALUE")]


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**53, 1 / 3])
def test_numbers_come_back_to_the_bit(shop: Shop, value: float) -> None:
    shop.push("profiles", [profile(1, score=value)])
    ((found, _),) = shop.asked({"customer": [1]}, features=["profile:score"])["score"]
    assert repr(found) == repr(float(value))


def test_text_and_times_and_flags_come_back_as_they_were(shop: Shop) -> None:
    shop.push("profiles", [profile(1, city='"null", \u2603 \\', vip=False, since="2026-01-01T00:00:00.000001+02:00")])
    found = shop.asked({"customer": [1]}, features=["profile:city", "profile:vip", "profile:since"])
    assert [found[name][0][0] for name in ("city", "vip", "since")] == [
        '"null", \u2603 \\', False, "2025-12-31T22:00:00.000001Z"
    ]  # fmt: skip


def test_an_older_row_of_an_item_with_several_is_served_as_of_its_time(shop: Shop) -> None:
    late: dict[str, Any] = {"at": NOW - timedelta(hours=3), "known": NOW + timedelta(hours=2)}
    shop.push("sales", [sale("a", minutes=600, amount=1.0), sale("b", amount=2.0, **late), sale("c", minutes=700)])
    assert shop.asked({"customer": [1], "shop": ["A"]}, features=["visit:amount"])["amount"] == [(1.0, "PRESENT")]
    later = NOW + timedelta(hours=2)
    found = shop.asked({"customer": [1], "shop": ["A"]}, features=["visit:amount"], now=later)
    assert found["amount"] == [(2.0, "PRESENT")]


def test_a_thousand_entities_are_answered_and_more_are_not(shop: Shop) -> None:
    shop.push("profiles", [profile(n, age=n % 100) for n in range(ENTITIES)])
    found = shop.asked({"customer": list(range(ENTITIES))}, features=["profile:age"])
    assert [value for value, _ in found["age"]] == [n % 100 for n in range(ENTITIES)]
    for size in (0, ENTITIES + 1):
        body = {"entities": {"customer": list(range(size))}, "features": ["profile:age"]}
        status, error = shop.post("/get-online-features", body)
        assert (status, str(ENTITIES) in error["message"]) == (400, True)


class Counted(MemoryTables):
    """Tables that remember what was read in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[list[Key], tuple[str, ...]]] = []
        self.gets = 0

    def get(self, table: TableName, key: Key) -> Item | None:
        self.gets += table == "governance"
        return super().get(table, key)

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        self.batches.append((list(keys), tuple(attributes)))
        return super().batch_get(table, keys, attributes)


def test_all_views_are_read_in_one_batch_with_the_attributes_of_the_features_asked_for_alone() -> None:
    tables = Counted()
    shop = Shop(tables=tables)
    shop.push("profiles", [profile(1)])
    shop.asked({"customer": [1]}, features=["profile:age"])
    tables.batches.clear()
    tables.gets = 0
    entities: dict[str, list[Any]] = {"customer": [1, 1, 2, 1], "shop": ["A", "A", "A", "B"]}
    shop.asked(entities, features=["profile:age", "profile:city", "visit:amount", "spent:n_1h"])
    ((keys, attributes),) = tables.batches
    assert (len(keys), len(set(keys))) == (7, 7), "two customers in two views, three visitors, each once"
    blocks = {*blocks_of(PROJECT.views["profile"].features), *blocks_of(PROJECT.views["visit"].features)}
    assert set(attributes) == {"times", *blocks, *ATTRIBUTES}
    assert tables.gets == 0, "the project is known"


def test_of_a_wide_view_only_the_blocks_of_the_features_asked_for_are_read() -> None:
    names = [f"x{n}" for n in range(100)]
    columns = {"customer": {"type": "integer"}, "at": {"type": "timestamp"}, **{n: {"type": "number"} for n in names}}
    wide = {
        "name": "wide",
        "sources": {"wide": {"columns": columns, "key": ["customer"], "event_time": "at"}},
        "views": {"wide": {"entity": ["customer"], "source": "wide", "features": names}},
    }
    tables = Counted()
    shop = Shop(Project.model_validate(wide), tables=tables)
    shop.push("wide", [{"customer": 1, "at": NOW, **{name: n for n, name in enumerate(names)}}])
    tables.batches.clear()
    found = shop.asked({"customer": [1]}, features=["wide:x97", "wide:x3"])
    assert (found["x97"], found["x3"]) == ([(97.0, "PRESENT")], [(3.0, "PRESENT")])
    ((_, attributes),) = tables.batches
    assert len(attributes) == 3, "the times and two of seven blocks"


def test_duplicates_and_order_of_entities_are_kept(shop: Shop) -> None:
    shop.push("profiles", [profile(1, age=11), profile(2, age=22)])
    found = shop.asked({"customer": [2, 1, 2, None, 1]}, features=["profile:age", "spent:n_1h"])
    assert [value for value, _ in found["age"]] == [22, 11, 22, None, 11]
    assert [status for _, status in found["n_1h"]] == ["PRESENT", "PRESENT", "PRESENT", "NOT_FOUND", "PRESENT"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/octet-stream", "application/json"])
def test_the_content_type_does_not_matter(shop: Shop, content_type: str) -> None:
    event = payload("POST", "/get-online-features", {"entities": {"customer": [1]}, "features": ["profile:age"]})
    event["headers"] = {"content-type": content_type} if content_type else {}
    assert shop.function(event)["statusCode"] == 200


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"features": ["profile:height"]}, "it has age, score, city, vip, since"),
        ({"features": ["person:age"]}, "there are profile, visit, spent"),
        ({"features": ["basket:weight"]}, "they give worth, word"),
        ({"feature_service": "payment"}, "there are checkout, hourly"),
    ],
)
def test_a_wrong_name_is_a_key_error_that_says_what_there_is(shop: Shop, query: dict[str, Any], said: str) -> None:
    event = payload("POST", "/get-online-features", {"entities": {"customer": [1]}, **query})
    answer = shop.function(event)
    assert (answer["statusCode"], answer["headers"]["content-type"]) == (404, "application/json")
    error = json.loads(json.loads(answer["body"]))
    assert (error["module"], error["class"]) == ("builtins", "KeyError")
    assert said in error["message"]


def test_who_may_not_read_a_view_is_refused(shop: Shop) -> None:
    only = [Grant(role="reader", resources="view/profile")]
    body = {"entities": {"customer": [1], "shop": ["A"]}, "features": ["profile:age"]}
    assert shop.post("/get-online-features", body, grants=only)[0] == 200
    status, error = shop.post("/get-online-features", {**body, "features": ["visit:sale"]}, grants=only)
    assert (status, error["class"]) == (403, "PermissionError")


def test_what_was_applied_since_is_known_at_once(shop: Shop) -> None:
    body = {"entities": {"customer": [1]}, "features": ["again:age"]}
    assert shop.post("/get-online-features", body)[0] == 404
    shop.apply(PROJECT.model_copy(update={"views": {**PROJECT.views, "again": PROJECT.views["profile"]}}))
    assert shop.post("/get-online-features", body)[0] == 200


def test_our_own_route_takes_rows_and_gives_rows(shop: Shop) -> None:
    shop.push("profiles", [profile(1, score=2.0, age=None)])
    rows = [{"customer": 1, "price": 3, "shop": "A"}, {"customer": 7, "price": 3, "shop": "A"}]
    body = {"features": ["profile:age", "basket:worth", "profile:since"], "rows": rows, "statuses": True}
    since = NOW.isoformat().replace("+00:00", "Z")
    assert shop.ok("/v1/features/online", body) == {
        "rows": [{"age": None, "worth": 6.0, "since": since}, {"age": None, "worth": None, "since": None}],
        "statuses": [
            {"age": "NULL_VALUE", "worth": "PRESENT", "since": "PRESENT"},
            {"age": "NOT_FOUND", "worth": "NULL_VALUE", "since": "NOT_FOUND"},
        ],
    }
    found = shop.ok("/v1/features/online", {"service": "checkout", "rows": rows, "full_feature_names": True})
    assert list(found) == ["rows"]
    assert list(found["rows"][0]) == [
        "profile__age", "profile__score", "visit__amount", "spent__sum_1h", "spent__n_1d", "basket__worth",
        "basket__word",
    ]  # fmt: skip


def test_a_row_function_that_keeps_no_promise_is_told_to_the_caller(shop: Shop) -> None:
    group = PROJECT.on_demand["basket"].model_copy(update={"outputs": ("worth", "colour")})
    shop.apply(PROJECT.model_copy(update={"on_demand": {"basket": group}, "services": {}}))
    body = {"entities": {"customer": [1], "price": [1]}, "features": ["basket:colour"]}
    status, error = shop.post("/get-online-features", body)
    assert (status, "gave no colour" in error["message"]) == (400, True)


def broken(row: dict[str, Any]) -> dict[str, Any]:
    """A row function that takes no 0, and gives what is no number for 1."""
    if row["price"] == 0:
        raise ValueError(f"{row} is secret")
    return {"worth": 10**400 if row["price"] == 1 else 1e308 * row["price"], "word": "x"}


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (0, "on-demand features basket failed for row 1: ValueError"),
        (1, "on-demand features basket gave an integer as worth that fits no number"),
    ],
)
def test_a_row_function_that_fails_is_the_same_error_in_every_way(shop: Shop, price: float, said: str) -> None:
    group = PROJECT.on_demand["basket"].model_copy(update={"function": "features.test_serving:broken"})
    project = PROJECT.model_copy(update={"on_demand": {"basket": group}, "services": {}})
    shop.apply(project)
    body = {"entities": {"customer": [1, 1], "price": [2, price]}, "features": ["basket:worth"]}
    status, error = shop.post("/get-online-features", body)
    assert (status, error["message"]) == (400, said)
    times = pa.array([NOW, NOW], pa.timestamp("us", tz="UTC"))
    rows = pa.table({"customer": [1, 1], "price": [2.0, float(price)], "event_timestamp": times})
    stores: dict[str, Any] = {"blobs": shop.blobs, "tables": shop.tables, "workspace": "default", "cache": {}}
    with pytest.raises(InvalidInput, match=f"^{said}$"):
        offline.get_historical_features(project, rows, ["basket:worth"], **stores)


def test_an_infinity_of_a_row_function_is_served(shop: Shop) -> None:
    group = PROJECT.on_demand["basket"].model_copy(update={"function": "features.test_serving:broken"})
    shop.apply(PROJECT.model_copy(update={"on_demand": {"basket": group}, "services": {}}))
    found = shop.asked({"customer": [1], "price": [2]}, features=["basket:worth"])
    assert found["worth"] == [("Infinity", "PRESENT")]


def test_a_feature_that_was_declared_since_is_null_until_a_row_has_it(shop: Shop) -> None:
    views = {**PROJECT.views, "profile": PROJECT.views["profile"].model_copy(update={"features": ("age",)})}
    bare = Project.model_validate({**PROJECT.model_dump(), "views": views, "services": {}, "on_demand": {}})
    shop.apply(bare)
    shop.push("profiles", [profile(1)])
    shop.apply(PROJECT)
    assert shop.asked({"customer": [1]}, features=["profile:score"])["score"] == [(None, "NULL_VALUE")]


def test_a_name_that_is_none_is_told_with_those_that_the_caller_may_know(shop: Shop) -> None:
    hidden = [Grant(role="reader"), Grant(role="reader", resources="view/visit", effect="deny")]
    for query, said in (
        ({"features": ["person:age"]}, "there is no feature view person: there are profile, spent"),
        ({"features": ["visit:nothing"]}, "there is no feature view visit: there are profile, spent"),
        ({"feature_service": "payment"}, "there is no feature service payment: there are hourly"),
    ):
        body = {"entities": {"customer": [1]}, **query}
        status, error = shop.post("/get-online-features", body, grants=hidden)
        assert (status, error["message"]) == (404, said)


def test_features_are_named_one_by_one_or_by_a_service(shop: Shop) -> None:
    both = {"features": ["profile:age"], "feature_service": "checkout"}
    assert shop.post("/get-online-features", {"entities": {"customer": [1]}, **both})[0] == 400
    both = {"features": ["profile:age"], "service": "checkout"}
    assert shop.post("/v1/features/online", {"rows": [{"customer": 1}], **both})[0] == 400
