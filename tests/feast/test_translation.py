"""What a registry of Feast's becomes: taken where there is an equal, changed and left where it is said so."""

from pathlib import Path
from typing import Any

import pytest

from feast.feast_cases import (
    applied,
    entity,
    feature,
    file,
    on_demand,
    reads,
    registry,
    service,
    takes,
    translated,
    view,
)
from modelwright.declarations import NO_ENTITY
from modelwright.errors import InvalidInput
from modelwright.feast.messages import new, read_registry
from modelwright.feast.translation import translate


def test_a_view_is_taken_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    said = {"owner": "ops", "description": 'Hourly "figures".', "tags": {"team": "ops"}}
    found = translated(
        entities=[entity("driver", description="who drives", owner="hr", tags={"pii": "yes"})],
        feature_views=[
            view("stats", {"rate": "float", "trips": "int32", "good": "bool", "note": "string", "left": "time"},
                 ttl={"seconds": 86_400}, **said)
        ],
    )  # fmt: skip
    project = applied(found, tmp_path / "p").project
    driver, stats, trips = project.entities["driver"], project.views["stats"], project.sources["trips"]
    assert (driver.join_keys, driver.description, driver.owner) == (("driver_id",), "who drives", "hr")
    assert (stats.entity, stats.source, stats.ttl) == (("driver_id",), "trips", "1d")
    assert (stats.owner, stats.description, stats.tags) == tuple(said.values())
    assert stats.features == ("rate", "trips", "good", "note", "left")
    assert {n: (c.type, c.nullable) for n, c in trips.columns.items()} == {
        "driver_id": ("integer", False), "at": ("timestamp", False), "rate": ("number", True),
        "trips": ("integer", True), "good": ("boolean", True), "note": ("string", True), "left": ("timestamp", True),
    }  # fmt: skip
    assert (trips.prefix, trips.key, trips.event_time, trips.available_at) == (
        "trips/",
        ("driver_id", "at"),
        "at",
        "",
    )
    assert not found.notes.changed
    assert not found.notes.left


def test_types_that_there_are_not_are_listed_and_left_out() -> None:
    found = translated(
        feature_views=[
            view("stats", {"rate": "double", "vector": "floats", "more": "map", "raw": "bytes", "doc": "json"}),
            view("vectors", {"vector": "floats"}),
        ]
    )
    assert found.views["stats"].features == ("rate", "doc")
    assert set(found.views) == {"stats"}
    assert found.notes.left == [
        "feature view stats: vector, of type Array(Float32)",
        "feature view stats: more, of type Map",
        "feature view stats: raw, of type Bytes",
        "feature view vectors: vector, of type Array(Float32)",
        "feature view vectors: none of its features has a type that there is",
    ]
    assert found.notes.changed == ["feature view stats: doc is the JSON as text"]


def test_a_column_for_when_a_row_was_created_is_when_it_became_known() -> None:
    found = translated(
        feature_views=[view("stats", {"rate": "double"}, batch_source=file(created_timestamp_column="made"))]
    )
    assert found.sources["trips"].available_at == "made"
    assert found.sources["trips"].columns["made"].nullable
    assert found.notes.changed == [
        "source trips: made is when a row became known; joins see it from then on, not before"
    ]


def test_a_push_source_and_its_batch_source_are_one_source() -> None:
    pushed = new("DataSource", name="trip_push", type=9, push_options={}, batch_source=file())
    found = translated(
        feature_views=[
            view("stats", {"rate": "float"}, stream_source=pushed, batch_source=file()),
            view("more", {"rate": "double", "fare": "int64"}),
        ]
    )
    assert {name: v.source for name, v in found.views.items()} == {"stats": "trip_push", "more": "trip_push"}
    assert set(found.sources["trip_push"].columns) == {"driver_id", "at", "rate", "fare"}
    assert found.notes.changed == [
        "source trips: is called trip_push, as what is pushed to it",
        "source trip_push: its rows are of more, stats; push whole rows, not one view's",
    ]


def test_a_push_source_alone_takes_no_files() -> None:
    pushed = new("DataSource", name="trip_push", type=9, push_options={})
    found = translated(feature_views=[view("stats", {"rate": "float"}, stream_source=pushed)])
    assert (found.sources["trip_push"].prefix, found.sources["trip_push"].event_time) == ("", "event_timestamp")
    assert not found.files


def test_a_column_of_several_types_gets_the_wider_one_and_none_is_said() -> None:
    found = translated(
        feature_views=[
            view("a", {"fare": "int64", "code": "string"}),
            view("b", {"fare": "double", "code": "int64"}),
        ]
    )
    columns = found.sources["trips"].columns
    assert (columns["fare"].type, columns["code"].type) == ("number", "string")
    assert found.notes.changed == ["column code: is a string in one view, a integer in b; it is declared a string"]


@pytest.mark.parametrize(
    ("seconds", "ttl", "changed"),
    [(0, "", []), (7200, "2h", []), (90, "2m", ["feature view stats: its ttl is a whole number of minutes, 2m"])],
)
def test_a_ttl_is_kept_in_whole_minutes(seconds: int, ttl: str, changed: list[str]) -> None:
    found = translated(feature_views=[view("stats", {"rate": "double"}, ttl={"seconds": seconds})])
    assert found.views["stats"].ttl == ttl
    assert found.notes.changed == changed


def test_names_that_do_not_fit_are_changed_and_said(tmp_path: Path) -> None:
    found = translated(
        entities=[entity("driver"), entity("class")],
        feature_views=[
            view("Driver-Stats", {"rate": "double"}, batch_source=file("data/Trips 2024.parquet")),
            view("driver", {"fare": "double"}, batch_source=file("data/trips_2024.csv")),
        ],
        feature_services=[service("driver v2", {"Driver-Stats": ["rate"], "driver": ["fare"]})],
    )
    project = applied(found, tmp_path / "p").project
    assert set(project.entities) == {"class_2", "driver_entity"}
    assert set(project.views) == {"driver_stats", "driver"}
    assert set(project.sources) == {"trips_2024", "trips_2024_2"}
    assert project.services["driver_v2"].inputs == ("rate", "fare")
    assert "feature view Driver-Stats: is called driver_stats" in found.notes.changed
    assert "feature service driver v2: is called driver_v2" in found.notes.changed


def test_features_of_no_entity_join_by_a_key_that_is_always_empty(tmp_path: Path) -> None:
    found = translated(feature_views=[view("everywhere", {"rate": "double"}, entities=["__dummy"], keys={})],
                       feature_services=[service("all", {"everywhere": ["rate"]})])  # fmt: skip
    project = applied(found, tmp_path / "p").project
    assert project.views["everywhere"].entity == (NO_ENTITY,)
    assert project.services["all"].request == {NO_ENTITY: "string", "event_timestamp": "timestamp"}
    assert found.notes.changed == [
        "feature view everywhere: has no entity; its rows have a column __dummy_id, always empty"
    ]


def test_sources_that_are_no_files_say_where_their_rows_were() -> None:
    table = new("DataSource", name="warehouse", type=8, timestamp_field="at", snowflake_options={"table": "RIDES"})
    stream = new("DataSource", name="bus", type=3, kafka_options={"topic": "rides"}, batch_source=table)
    found = translated(feature_views=[view("stats", {"rate": "double"}, batch_source=table, stream_source=stream)])
    assert found.sources["warehouse"].prefix == "warehouse/"
    assert found.notes.changed == [
        "source warehouse: nothing reads the stream rides; push its rows to /push",
        "source warehouse: was RIDES; unload its rows as Parquet below warehouse/",
    ]


def test_aggregations_of_a_stream_view_are_windows_under_our_names(tmp_path: Path) -> None:
    spec = view("stats", {"sum_fare_3600s": "double"})["spec"]
    aggregations = [
        {"column": "fare", "function": "sum", "time_window": {"seconds": 3600}},
        {"column": "fare", "function": "avg", "time_window": {"seconds": 86_400}},
    ]
    found = translated(stream_feature_views=[{"spec": {**spec, "aggregations": aggregations}}])
    stats = applied(found, tmp_path / "p").project.views["stats"]
    assert stats.feature_names() == ("sum_fare_1h", "avg_fare_1h", "sum_fare_1d", "avg_fare_1d")
    assert {a.function for a in stats.aggregates.values()} == {"sum", "mean"}
    assert found.notes.changed[0] == "feature view stats: sum_fare_3600s is called sum_fare_1h, of full tiles"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"disabled": True}, "it is disabled"),
        (
            {"feature_transformation": {"user_defined_function": {"name": "clean"}}},
            "its rows are made by clean; write it as a @derived source, and the view of that",
        ),
    ],
)
def test_views_that_have_no_equal_are_left_out_with_what_to_do(said: dict[str, Any], reason: str) -> None:
    found = translated(feature_views=[view("stats", {"rate": "double"}, **said)])
    assert not found.views
    assert not found.sources
    assert found.notes.left == [f"feature view stats: {reason}"]


def test_an_aggregation_that_there_is_not_is_named() -> None:
    spec = view("stats", {"x": "double"})["spec"]
    said = {"aggregations": [{"column": "fare", "function": "mode", "time_window": {"seconds": 3600}}]}
    found = translated(stream_feature_views=[{"spec": {**spec, **said}}])
    assert found.notes.left == ["feature view stats: there is no aggregation mode"]
    said = {"aggregations": [{"column": "fare", "function": "sum", "time_window": {"seconds": 90}}]}
    found = translated(stream_feature_views=[{"spec": {**spec, **said}}])
    assert found.notes.left == ["feature view stats: the window of 90 seconds is no whole number of minutes"]


def test_a_service_names_features_of_several_views_apart_and_says_what_is_left_of_it() -> None:
    found = translated(
        feature_views=[
            view("stats", {"rate": "double", "vector": "floats"}),
            view("fares", {"rate": "double", "fare": "double"}),
        ],
        feature_services=[
            service("both", {"stats": ["rate", "vector"], "fares": ["rate", "fare"], "gone": ["x"]}, owner="ds"),
            service("nothing", {"gone": ["x"]}),
        ],
    )
    both = found.services["both"]
    assert both.inputs == ("stats__rate", "fares__rate", "fare")
    assert (both.views, both.owner) == (("fares", "stats"), "ds")
    assert both.request == {"driver_id": "integer", "event_timestamp": "timestamp"}
    assert set(found.services) == {"both"}
    assert [line for line in found.notes.left if line.startswith("feature service")] == [
        "feature service both: stats:vector",
        "feature service both: gone, which is left out",
        "feature service nothing: gone, which is left out",
        "feature service nothing: nothing is left of it",
    ]


def test_a_view_that_a_service_joins_by_other_columns_is_left_out_of_it() -> None:
    part = {"feature_view_name": "stats", "feature_columns": [feature("rate")], "join_key_map": {"driver_id": "first"}}
    found = translated(
        feature_views=[view("stats", {"rate": "double"})],
        feature_services=[{"spec": {"name": "s", "project": "rides", "features": [part]}}],
    )
    assert found.notes.left[0] == "feature service s: stats joined by other columns (first for driver_id)"


def test_a_registry_of_several_projects_wants_one_named() -> None:
    found = registry(feature_views=[view("stats", {"rate": "double"})])
    other = found.feature_views.add()
    other.CopyFrom(found.feature_views[0])
    other.spec.project = "planes"
    with pytest.raises(InvalidInput, match="which project\\? the registry has planes, rides: say --project"):
        translate(found, "", {})
    with pytest.raises(InvalidInput, match="the registry has no project ships: it has planes, rides"):
        translate(found, "ships", {})
    assert translate(found, "rides", {}).project == "rides"


def test_the_order_of_a_registry_changes_nothing() -> None:
    views = [view("a", {"x": "double"}), view("b", {"y": "double"}), view("c", {"z": "string"})]
    forth, back = translated(feature_views=views), translated(feature_views=views[::-1])
    assert (forth.views, forth.sources, forth.notes) == (back.views, back.sources, back.notes)


def test_what_is_no_registry_is_said_to_be_none() -> None:
    with pytest.raises(InvalidInput, match=r"x\.db is no registry of Feast's"):
        read_registry(b"\xff\xff\xff", "x.db")
    with pytest.raises(InvalidInput, match=r"x\.db is no registry of Feast's: it does not say its version"):
        read_registry(b"", "x.db")


def test_what_else_a_registry_has_is_listed_as_left_out() -> None:
    found = translated(
        feature_views=[view("stats", {"rate": "double"})],
        data_sources=[file(), file("orphans")],
        label_views=[{"spec": {"name": "labels"}}],
    )
    assert found.notes.left == ["source orphans: no feature view reads it", "label views: labels"]


PLUS = """
@on_demand_feature_view(sources=[stats], schema=[], mode="python")
def plus(inputs: dict[str, Any]) -> dict[str, Any]:
    # the reason stays
    return {"plus": [math.floor(rate + val) for rate, val in zip(inputs["rate"], inputs["val"])]}
"""


def test_an_on_demand_function_is_copied_word_for_word_and_gives_what_it_gave(tmp_path: Path) -> None:
    found = translated(
        {"math": "import math"},
        feature_views=[view("stats", {"rate": "double"})],
        on_demand_feature_views=[
            on_demand("plus", PLUS, [reads("stats", {"rate": "double"}), takes({"val": "int64"})], {"plus": "double"},
                      owner="ds", description="More.", tags={"a": "b"})
        ],
        feature_services=[service("model", {"plus": ["plus"]})],
    )  # fmt: skip
    project = applied(found, tmp_path / "p").project
    declared = project.on_demand["plus"]
    assert (declared.inputs, declared.outputs, declared.request) == (("rate", "val"), ("plus",), {"val": "integer"})
    assert (declared.owner, declared.description, declared.tags) == ("ds", "More.", {"a": "b"})
    assert project.services["model"].views == ("stats",)
    assert project.services["model"].request["val"] == "integer"
    scope: dict[str, Any] = {}
    text = (tmp_path / "p" / "features.py").read_text()
    exec(text, scope)
    assert scope["plus"]({"rate": 1.5, "val": 2}) == {"plus": 3}
    assert "# the reason stays" in text


def test_a_singleton_takes_values(tmp_path: Path) -> None:
    text = "def plus(inputs):\n    return {'plus': inputs['rate'] + 1}\n"
    group = on_demand("plus", text, [reads("stats", {"rate": "double"})], {"plus": "double"}, singleton=True)
    found = translated(feature_views=[view("stats", {"rate": "double"})], on_demand_feature_views=[group])
    applied(found, tmp_path / "p")
    scope: dict[str, Any] = {}
    exec((tmp_path / "p" / "features.py").read_text(), scope)
    assert scope["plus"]({"rate": 1.5}) == {"plus": 2.5}


@pytest.mark.parametrize(
    ("text", "said", "reason"),
    [
        (PLUS, {"mode": "pandas"}, "it is in pandas mode: write it as a row function"),
        ("raw udf source", {}, "its source is not in the registry"),
        (
            "def f(x):\n    return {'p': np.log(x['rate'])}",
            {},
            "its function uses np (import numpy as np): on-demand functions",
        ),
        ("def f(x):\n    return help_me(x)", {}, "its function uses help_me, which is not in its source"),
        ("def f(x, y):\n    return x", {}, "its function takes more than one argument"),
        ('def f(x):\n    return {\'p\': len("""a\nb""")}', {}, "its function has lines that cannot be moved"),
        ("def f(x): return {'p': 1}", {}, "its function has lines that cannot be moved"),
        ("def f(x):\n    return {'p': x['vector']}", {}, "it reads stats:vector, which is left out"),
    ],
)
def test_a_function_that_cannot_be_taken_is_left_out_with_the_reason(
    text: str, said: dict[str, Any], reason: str
) -> None:
    columns = {"rate": "double", "vector": "floats"}
    found = translated(
        {"np": "import numpy as np"},
        feature_views=[view("stats", columns)],
        on_demand_feature_views=[on_demand("plus", text, [reads("stats", columns)], {"p": "double"}, **said)],
    )
    assert not found.on_demand
    assert found.notes.left[-1].startswith(f"on-demand feature view plus: {reason}")
