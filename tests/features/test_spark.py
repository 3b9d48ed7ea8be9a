"""The engine ``spark`` gives what the engine ``arrow`` gives, and an oracle that looks at every version, to the bit."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions

from features import test_historical as every
from features.offline_cases import EPOCH, Offline
from features.spark_cases import FEATURES, HOURS, PROJECT, STORED, bits, ratings, requests, sales
from modelwright import teamcode
from modelwright.adapters import spark as adapter
from modelwright.adapters import spark_join
from modelwright.adapters.spark import SparkEngine
from modelwright.errors import InvalidInput
from modelwright.features.engines import Engine
from modelwright.features.history import History
from modelwright.features.layout import micros
from modelwright.features.plan import service_of
from modelwright.testing import ENGINE_CHECKS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.usefixtures("spark")


def filled(uploads: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> Offline:
    store = Offline(PROJECT)
    for n, (source, rows) in enumerate(uploads):
        store.put(source, rows, f"{n:03d}", EPOCH + timedelta(hours=HOURS // 2, minutes=n))
    return store


def both(store: Offline, asked: pa.Table, features: Sequence[str], **options: Any) -> pa.Table:
    """Return what Spark says, with a few rows a file and a bucket, which is what Arrow says."""
    expected = store.asked(asked, features, engine="arrow", **options)
    known_by = options.pop("known_by", None)
    history = History(
        blobs=store.blobs, tables=store.tables, workspace="w", cache={}, known_by=known_by and micros(known_by)
    )
    service, load = service_of(store.project, features), teamcode.loader(store.project, blobs=store.blobs)
    engine = SparkEngine(file_rows=40, bucket_rows=90)
    said = engine.historical(store.project, service, asked, history=history, workspace="w", load=load, **options)
    assert said.schema.equals(expected.schema)
    assert bits(said.to_pylist()) == bits(expected.to_pylist())
    return said


@settings(max_examples=4, deadline=None)
@given(
    st.lists(
        st.tuples(st.just("sales"), st.lists(sales(), min_size=1, max_size=60))
        | st.tuples(st.just("ratings"), st.lists(ratings, max_size=20)),
        max_size=4,
    ),
    st.lists(requests, max_size=60),
    st.booleans(),
)
def test_views_of_several_keys_and_sources_are_the_same_by_both_engines_and_the_oracle(
    uploads: list[tuple[str, list[dict[str, Any]]]], rows: list[dict[str, Any]], available: bool
) -> None:
    store = filled(uploads)
    said = both(store, store.request(rows, FEATURES), FEATURES, available=available)
    assert bits(said.select(STORED).to_pylist()) == bits(store.oracle(rows, STORED, available=available))


@settings(max_examples=4, deadline=None)
@given(every.files, every.queries, st.booleans())
def test_every_aggregation_of_every_kind_of_window_is_the_same_by_both_engines_and_the_oracle(
    parts: list[list[dict[str, Any]]], rows: list[dict[str, Any]], available: bool
) -> None:
    features = [*every.LATEST, *(name for view in every.SHAPES for name in every.aggregated(view))]
    store = every.filled(parts)
    said = both(store, store.request(rows, features), features, available=available)
    assert bits(said.select(features).to_pylist()) == bits(store.oracle(rows, features, available=available))


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_the_engine_passes_the_checks_for_authors(check: Callable[[Callable[[], Engine]], None]) -> None:
    check(SparkEngine)


def test_rows_of_many_files_come_back_in_their_order() -> None:
    hour = timedelta(hours=1)
    rows = [{"shop": f"s{n % 9}", "at": EPOCH + n * hour, "stars": n / 8} for n in range(60)]
    store, features = filled([("ratings", rows)]), ["rating:stars"]
    asked = [
        {"shop": f"s{n % 11}" if n % 5 else None, "event_timestamp": EPOCH + (90 + n * 17 % 50) * hour}
        for n in range(100)
    ]
    said = both(store, store.request(asked, features), features)
    assert said["shop"].to_pylist() == [row["shop"] for row in asked]
    assert len(set(said["rating:stars"].to_pylist())) > 5


def test_what_became_known_after_a_bound_is_not_seen() -> None:
    store = filled([("ratings", [{"shop": "north", "at": EPOCH, "stars": 1.0}])])
    later = EPOCH + timedelta(hours=HOURS // 2 + 2)
    store.put("ratings", [{"shop": "north", "at": EPOCH, "stars": 5.0}], "z", later)
    asked = store.request([{"shop": "north", "event_timestamp": later + timedelta(hours=1)}], ["rating:stars"])
    for bound, stars in ((None, 5.0), (later, 5.0), (later - timedelta(hours=1), 1.0)):
        assert both(store, asked, ["rating:stars"], known_by=bound)["rating:stars"].to_pylist() == [stars]


def test_on_demand_features_of_request_columns_alone_need_no_spark() -> None:
    project = PROJECT.model_copy(
        update={"on_demand": {"ratio": PROJECT.on_demand["ratio"].model_copy(update={"inputs": ("amount",)})}}
    )
    service = {"request": {"amount": "number", "event_timestamp": "timestamp"}, "views": (), "on_demand": ("ratio",)}
    declared = type(project).model_validate(
        {**project.model_dump(), "services": {"alone": {**service, "inputs": ["share"]}}}
    )
    asked = pa.table({"amount": [2.0], "event_timestamp": pa.array([EPOCH], pa.timestamp("us", tz="UTC"))})
    load = {"features.spark_cases:ratio": lambda row: {"share": row["amount"] / 8, "day": None}}.__getitem__
    found = SparkEngine().historical(
        declared, declared.services["alone"], asked, history=Offline(declared).history(), workspace="w", load=load
    )
    assert found["share"].to_pylist() == [0.25]


def test_buckets_are_put_into_as_many_partitions(spark: "SparkSession") -> None:
    for count in (1, 5, 64):
        places = spark_join.even_places(spark, count)
        assert len(set(places)) == count
        partition = functions.pmod(functions.hash("id"), functions.lit(count))
        chosen = spark.range(0, max(places) + 1, 1, 1).where(functions.col("id").isin(list(places)))
        assert chosen.select(partition.alias("p")).distinct().count() == count


def test_the_settings_of_the_session_are_left_as_they_are(spark: "SparkSession") -> None:
    before = spark.conf.get("spark.sql.adaptive.enabled")
    store = filled([("ratings", [{"shop": "north", "at": EPOCH, "stars": 1.0}])])
    both(store, store.request([{"shop": "north", "event_timestamp": EPOCH}], ["rating:stars"]), ["rating:stars"])
    assert spark.conf.get("spark.sql.adaptive.enabled") == before


def test_a_session_on_a_cluster_is_refused_since_its_workers_do_not_see_the_files_of_this_machine() -> None:
    adapter.require_local("local[4]")
    with pytest.raises(InvalidInput, match=r"runs on yarn: .* submit the job in infra/spark"):
        adapter.require_local("yarn")


def test_without_java_the_engine_says_what_to_install() -> None:
    program = "from modelwright.adapters.spark import session; session()"
    environment = {"PATH": os.environ["PATH"], "JAVA_HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert (
        "PluginError: the engine spark does not start: install modelwright[spark], and Java 17 or later" in done.stderr
    )


def test_a_session_that_the_engine_starts_itself_is_on_this_machine() -> None:
    program = (
        "from modelwright.adapters.spark import session as s; print(s().range(3).count(), s().sparkContext.master)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3", "local[*]"], done.stderr
