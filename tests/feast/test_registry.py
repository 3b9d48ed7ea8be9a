"""A project as Feast's registry: what goes out comes back in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.feast.messages import read_registry
from modelwright.feast.registry import registry
from modelwright.feast.translation import translate
from modelwright.project import Project
from modelwright.team import read_team

AT = datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)
DEMO = Path(__file__).parents[2] / "src" / "modelwright" / "demo" / "project"
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "timestamp"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Return a project of latest views; Feast has no windows."""
    keys = {"driver_id": draw(TYPES), "city": draw(TYPES)}
    sources: dict[str, Any] = {}
    views: dict[str, Any] = {}
    for n in range(draw(st.integers(1, 3))):
        columns = {f"x_{name}": draw(TYPES) for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))}
        entity = draw(st.sampled_from([("driver_id",), ("city",), ("driver_id", "city"), ("__dummy_id",)]))
        known = {"created": {"type": "timestamp", "nullable": True}} if draw(st.booleans()) else {}
        sources[f"source_{n}"] = {
            "prefix": f"source_{n}/", "key": [*entity, "at"], "event_time": "at",
            "available_at": "created" if known else "",
            "columns": {
                **{key: {"type": {**keys, "__dummy_id": "string"}[key]} for key in entity}, "at": {"type": "timestamp"},
                **known, **{name: {"type": kind, "nullable": True} for name, kind in columns.items()},
            },
            "owner": draw(TEXT), "description": draw(TEXT), "tags": draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        }  # fmt: skip
        views[f"view_{n}"] = {
            "entity": entity, "source": f"source_{n}", "features": list(columns),
            "ttl": draw(st.sampled_from(["", "5m", "2h", "3d"])),
            "owner": draw(TEXT), "description": draw(TEXT), "tags": draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        }  # fmt: skip
    return Project.model_validate({"name": "rides", "digest": "d", "sources": sources, "views": views})


@settings(max_examples=150, deadline=None)
@given(project=projects())
def test_a_project_comes_back_from_its_registry_as_it_was(project: Project) -> None:
    back = translate(read_registry(registry(project, AT), "it"), "", {})
    assert back.views == project.views
    assert back.sources == project.sources


def test_the_same_project_gives_the_same_bytes() -> None:
    project = read_team(DEMO).project
    assert registry(project, AT) == registry(Project.model_validate_json(project.model_dump_json()), AT)


def test_a_model_is_a_feature_service_of_the_stored_features_that_it_needs() -> None:
    project = read_team(DEMO).project
    found = read_registry(registry(project, AT), "it")
    (service,) = found.feature_services
    weather = next(part for part in service.spec.features if part.feature_view_name == "weather_now")
    assert (service.spec.name, weather.timestamp_field) == ("flights", "observed_at")
    assert [column.name for column in weather.feature_columns] == list(project.views["weather_now"].features)
    assert found.last_updated.ToDatetime(tzinfo=UTC) == AT


def test_every_feature_has_its_type_and_every_key_an_entity() -> None:
    project = read_team(DEMO).project
    found = read_registry(registry(project, AT), "it")
    carriers = next(view.spec for view in found.feature_views if view.spec.name == "carrier_departures")
    types = {column.name: column.value_type for column in carriers.features}
    assert types["carrier_flights_2h"] == 4
    assert types["carrier_delay_12h"] == 5
    entities = {name: entity.join_keys[0] for name, entity in project.entities.items()}
    assert {one.spec.name: one.spec.join_key for one in found.entities} == entities
    assert [one.name for one in found.data_sources][:2] == ["departures_rows", "departures"]
