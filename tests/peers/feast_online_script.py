"""What a team does online with the stock Feast client; run by an interpreter that has it. Prints what it got as JSON.

PYTHON feast_online_script.py URL FOLDER
"""

import json
import sys
import warnings
from datetime import datetime, timedelta, timezone

warnings.simplefilter("ignore")

import pandas as pd  # noqa: E402
from feast import (  # noqa: E402
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.data_source import PushMode  # noqa: E402
from feast.on_demand_feature_view import on_demand_feature_view  # noqa: E402
from feast.types import Bool, Float64, Int64, String, UnixTimestamp  # noqa: E402

URL, FOLDER = sys.argv[1:]
FACTS = [("age", Int64), ("score", Float64), ("city", String), ("vip", Bool), ("since", UnixTimestamp)]
NOW = datetime.now(timezone.utc)  # noqa: UP017 - of the interpreter's own age


def source(name):
    """Return a source of nothing, which rows are pushed to."""
    batch = FileSource(name=f"{name}_batch", path=f"{FOLDER}/{name}.parquet", timestamp_field="event_timestamp")
    return PushSource(name=name, batch_source=batch)


def view(name, of, entities, keys, columns):
    """Return a view."""
    schema = [Field(name=n, dtype=dtype) for n, dtype in [*keys, *columns]]
    return FeatureView(name=name, entities=entities, ttl=timedelta(days=30), schema=schema, source=of)


customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
profile = view("profile", source("profiles"), [customer], [("customer", Int64)], FACTS)
keys = [("customer", Int64), ("shop", String)]
visit = view("visit", source("sales"), [customer, shop], keys, [("sale", String), ("amount", Float64)])


@on_demand_feature_view(
    sources=[profile, RequestSource(name="asked", schema=[Field(name="price", dtype=Float64)])],
    schema=[Field(name="worth", dtype=Float64)],
    mode="python",
)
def basket(inputs):
    """The price times the score; computed by the server."""
    return {"worth": inputs["price"]}


checkout = FeatureService(name="checkout", features=[profile[["age", "score"]], visit, basket])
unknown = FeatureService(name="payment", features=[profile[["age"]]])
store = FeatureStore(
    config=RepoConfig(
        project="shop",
        provider="local",
        registry=f"{FOLDER}/registry.db",
        entity_key_serialization_version=3,
        online_store={"type": "remote", "path": URL},
    )
)
store.apply([customer, shop, profile, visit, basket, checkout])


def wrong(ask):
    """Return what the client raises."""
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return [type(error).__name__, getattr(error, "__overridden_message__", str(error))]
    return None


def frame(**columns):
    """Return rows of an hour ago."""
    size = len(next(iter(columns.values())))
    return pd.DataFrame({**columns, "event_timestamp": [NOW - timedelta(hours=1)] * size})


def get(features, rows):
    """Return features as the client tells them."""
    return store.get_online_features(features=features, entity_rows=rows).to_dict()


facts = {"age": [30, 31], "score": [0.5, 2.0], "city": ["Rome", "Oslo"], "vip": [True, False], "since": [NOW, NOW]}
store.push("profiles", frame(customer=[1, 2], **facts), to=PushMode.ONLINE)
store.write_to_online_store("visit", frame(customer=[1, 1], shop=["A", "B"], sale=["x", "y"], amount=[1.5, 2.5]))
rows = [{"customer": 2}, {"customer": 1}, {"customer": 9}]
pairs = [{"customer": 1, "shop": "B"}, {"customer": 1, "shop": "A"}, {"customer": 2, "shop": "A"}]
old = {**{name: values[:1] for name, values in facts.items()}, "age": [200]}
sys.stdout.write(
    json.dumps(
        {
            "list": get(["profile:age", "profile:city", "profile:vip"], rows),
            "composite": get(["visit:amount", "visit:sale"], pairs),
            "service": get(checkout, [{**pair, "price": 3.0} for pair in pairs]),
            "no_feature": wrong(lambda: get(["profile:height"], rows)),
            "no_view": wrong(lambda: get(["person:age"], rows)),
            "no_service": wrong(lambda: get(unknown, rows)),
            "no_key": wrong(lambda: get(["visit:sale"], rows)),
            "bad_row": wrong(lambda: store.push("profiles", frame(customer=[1], **old))),
        }
    )
)
