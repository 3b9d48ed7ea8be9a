"""Features read from the tables directly are those that HTTP answers, on whatever is asked."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from features.online_cases import NOW, PROJECT, Shop, profile, sale
from modelwright.client import OnlineFeatures
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, Unavailable
from modelwright.storage import Item, Key, TableName

REFERENCES = [
    *(f"{name}:{feature}" for name, view in PROJECT.views.items() for feature in view.feature_names()),
    "basket:worth", "basket:word", "basket:colour", "visit:height", "nobody:age",
]  # fmt: skip
asked = st.one_of(
    st.lists(st.sampled_from(REFERENCES), min_size=1, max_size=5, unique=True),
    st.sampled_from(["checkout", "hourly", "payment"]),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "customer": st.none() | st.integers(0, 6) | st.just("one"),
    "shop": st.none() | st.sampled_from(["A", "B", ""]),
    "price": st.none() | st.floats(-10, 10) | st.integers(0, 9),
    "event_timestamp": st.sampled_from(["2026-01-01", "2026-01-01T00:00:00+02:00", "today"]),
}


@st.composite
def entities(draw: st.DrawFn) -> dict[str, list[Any]]:
    size = draw(st.integers(0, 5))
    likely = st.sets(st.sampled_from([*VALUES]), min_size=1) | st.just({"customer", "shop", "price"})
    return {name: draw(st.lists(VALUES[name], min_size=size, max_size=size)) for name in sorted(draw(likely))}


def filled() -> Shop:
    shop = Shop()
    shop.push("profiles", [profile(n, age=n or None, score=n / 3, ago=timedelta(days=10 * n)) for n in range(5)])
    shop.push("sales", [sale(f"s{n}", n % 3, "AB"[n % 2], minutes=20 * n, amount=n / 7) for n in range(30)])
    return shop


@pytest.fixture(scope="module")
def shop() -> Shop:
    return filled()


@pytest.fixture(scope="module")
def direct(shop: Shop) -> OnlineFeatures:
    return OnlineFeatures(shop.tables, shop.blobs)


def told(ask: Callable[[], Any]) -> tuple[int, Any]:
    """Return the status that HTTP would have, and the answer or the error's message."""
    try:
        return 200, ask()
    except NotFound as error:
        return 404, str(error)
    except InvalidInput as error:
        return 400, str(error)


@settings(max_examples=200, deadline=None)
@given(asked, entities(), st.booleans(), st.integers(0, 40 * 24))
def test_columns_are_the_same(
    shop: Shop, direct: OnlineFeatures, features: Any, given_: dict[str, list[Any]], full: bool, hours: int
) -> None:
    now = NOW + timedelta(hours=hours)
    key = "feature_service" if isinstance(features, str) else "features"
    body = {key: features, "entities": given_, "full_feature_names": full}
    status, answer = shop.post("/get-online-features", body, now=now)
    found = told(lambda: direct.get_online_features(features, given_, full_feature_names=full, as_of=now))
    assert (status, answer.get("message", answer)) == found


@settings(max_examples=100, deadline=None)
@given(asked, entities(), st.booleans())
def test_rows_are_the_same(
    shop: Shop, direct: OnlineFeatures, features: Any, given_: dict[str, list[Any]], statuses: bool
) -> None:
    rows = [dict(zip(given_, row, strict=True)) for row in zip(*given_.values(), strict=True)]
    body = {"service" if isinstance(features, str) else "features": features, "rows": rows, "statuses": statuses}
    status, answer = shop.post("/v1/features/online", body)
    found = told(lambda: direct.rows(features, rows, statuses=statuses, as_of=NOW))
    assert (status, answer.get("message", answer)) == found


def test_rows_may_be_given_instead_of_columns(direct: OnlineFeatures) -> None:
    rows = [{"customer": 1}, {"customer": 2}]
    found = direct.get_online_features(["profile:age"], rows, as_of=NOW)
    assert found == direct.get_online_features(["profile:age"], {"customer": [1, 2]}, as_of=NOW)
    with pytest.raises(InvalidInput, match="row 0 lacks columns that others have: they are customer, shop"):
        direct.get_online_features(["profile:age"], [{"customer": 1}, {"customer": 2, "shop": "A"}])


def test_the_project_is_read_once(shop: Shop) -> None:
    read: list[Key] = []

    class Seen:
        def get(self, table: TableName, key: Key) -> Item | None:
            read.append(key)
            return shop.tables.get(table, key)

        def __getattr__(self, name: str) -> Any:
            return getattr(shop.tables, name)

    tables: Any = Seen()
    direct = OnlineFeatures(tables, shop.blobs)
    for _ in range(3):
        direct.rows(["profile:age"], [{"customer": 1}], as_of=NOW)
    assert [key.sk for key in read] == ["CURRENT"]


def test_items_that_change_all_the_time_are_no_absence(shop: Shop) -> None:
    class Torn:
        def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
            raise ConditionFailed("the item was written anew since it was read", ())

        def __getattr__(self, name: str) -> Any:
            return getattr(shop.tables, name)

    tables: Any = Torn()
    with pytest.raises(Unavailable, match="try again"):
        OnlineFeatures(tables, shop.blobs).rows(["spent:n_1h"], [{"customer": 1}])


@mock_aws
def test_it_reads_the_tables_of_a_stack_with_a_session_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    client = session.client("dynamodb")
    for name in ("stack-features", "stack-governance"):
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
        )
    shop = filled()
    direct = OnlineFeatures.connect("stack-features", "stack-governance", session=session)
    tables: Any = direct._wiring.tables
    for table in ("features", "governance"):
        tables.write_many(table, list(shop.tables._items[table].values()))
    entities: dict[str, list[Any]] = {"customer": [1, 2, 9], "shop": ["A", "B", "A"], "price": [1.0, 2.0, 3.0]}
    body = {"feature_service": "checkout", "entities": entities}
    assert direct.get_online_features("checkout", entities, as_of=NOW) == shop.ok("/get-online-features", body)
