"""Applying a project: what changes is told first, and what would break who reads features is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mlflow_desk import API, Desk, event_of

from modelwright.events import ProjectApplied, TrainingCompleted
from modelwright.features.soundness import reads, require_sound
from modelwright.governance import planning
from modelwright.governance.access import Grant
from modelwright.governance.planning import Knowledge, Use
from modelwright.project import Aggregate, Service, Source, View
from modelwright.project import Project as Declared
from modelwright.team import read_team

DEMO = Path(__file__).parents[2] / "src" / "modelwright" / "demo" / "project"
Project = dict[str, Any]
Edit = Callable[[Project], object]
PREFIX = "views.origin_departures"


@pytest.fixture
def project() -> Project:
    document = read_team(DEMO).project.model_dump(mode="json")
    document["entities"] = {"airport": {"join_keys": ["origin"]}}
    return {**document, "digest": ""}


@pytest.fixture
def applied(desk: Desk, project: Project) -> Project:
    """The demo's project is applied."""
    desk.registry.ok("POST", "/v1/projects", {"project": project})
    return project


def edited(project: Project, path: str, value: Any) -> Project:
    """Return a project with a value at a place such as ``views.weather_now.ttl``; None takes it away."""
    document: Project = json.loads(json.dumps(project))
    place = document
    *places, last = path.split(".")
    for each in places:
        place = place[each]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


def without_model(project: Project) -> Project:
    return edited(edited(project, "models", {}), "on_demand", {})


def plan(desk: Desk, project: Project) -> dict[str, Any]:
    found: dict[str, Any] = desk.registry.ok("POST", "/v1/projects/plan", {"project": project})
    return found


def of(planned: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for c in planned["changes"] if (c["kind"], c["name"]) == (kind, name))
    return found


def test_the_first_plan_adds_everything_and_changes_nothing_by_itself(desk: Desk, project: Project) -> None:
    found = plan(desk, project)
    assert (found["first"], found["refused"], found["affected"]) == (True, [], [])
    assert {(c["kind"], c["name"]) for c in found["changes"] if c["change"] == "added"} >= {
        ("source", "weather"), ("entity", "airport"), ("view", "weather_now"), ("on_demand", "calendar"),
        ("model", "flights"),
    }  # fmt: skip
    assert found["backfills"] == ["carrier_departures", "origin_departures", "weather_now"]
    assert desk.registry("GET", "/v1/projects/current")[0] == 404


def test_the_same_project_changes_nothing(desk: Desk, applied: Project) -> None:
    found = plan(desk, applied)
    assert (found["changes"], found["affected"], found["backfills"], found["refused"]) == ([], [], [], [])


def test_what_is_added_changed_and_removed_is_told_to_people_and_in_the_event(desk: Desk, applied: Project) -> None:
    more = {"entity": ["origin"], "source": "weather", "features": ["temp"]}
    after = edited(edited(applied, "views.cold", more), "views.weather_now.description", "Now.")
    after = edited(after, "entities", {})
    found = plan(desk, after)
    assert of(found, "view", "cold")["details"] == ["features temp"]
    assert of(found, "view", "weather_now")["details"] == ["description is said otherwise"]
    assert of(found, "entity", "airport")["change"] == "removed"
    assert (found["affected"], found["refused"], found["backfills"]) == ([], [], ["cold"])
    desk.registry.ok("POST", "/v1/projects", {"project": after})
    event = ProjectApplied.model_validate(desk.stream("PROJECT", "flights")[-1].envelope.data)
    assert (event.added_views, event.changed_views, event.removed_views) == (("cold",), ("weather_now",), ())
    desk.registry.ok("POST", "/v1/projects", {"project": applied | {"entities": {}}})
    event = ProjectApplied.model_validate(desk.stream("PROJECT", "flights")[-1].envelope.data)
    assert (event.added_views, event.removed_views) == ((), ("cold",))


BREAKING: list[tuple[str, Any, str]] = [
    ("views.weather_now.features", ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip",
     "pressure"], "no longer serves visib"),
    ("views.weather_now.ttl", "3h", "rows are served for 3h, it was 6h"),
    (f"{PREFIX}.windows", ["12h"], "no longer serves origin_flights_2h, origin_delay_2h"),
    (f"{PREFIX}.aggregates.origin_delay.function", "sum", "origin_delay_2h is the sum of dep_delay (integer), it was "
     "the mean of dep_delay (integer)"),
    (f"{PREFIX}.aggregates.origin_delay.column", "late", "origin_delay_2h is the mean of late (boolean), it was"),
    (f"{PREFIX}.aggregates.origin_delay.where", "late", "the mean of dep_delay (integer) where late, it was"),
    (f"{PREFIX}.tumbling", True, "has tumbling windows by availability in tiles of 60 minutes, it had sliding"),
    (f"{PREFIX}.by", "event_time", "has sliding windows by event_time in tiles of 60 minutes"),
    (f"{PREFIX}.tile", "5m", "in tiles of 5 minutes, it had sliding windows by availability in tiles of 60"),
    (f"{PREFIX}.entity", ["origin", "dest"], "joins by origin (string), dest (string), it joined by origin (string)"),
    ("sources.departures.columns.dep_delay.type", "number", "origin_delay_2h is the mean of dep_delay (number) in 6 "
     "decimals, it was the mean of dep_delay (integer)"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "text"), BREAKING)
def test_a_change_of_what_readers_get_needs_a_new_version_of_the_view(
    desk: Desk, applied: Project, path: str, value: Any, text: str
) -> None:
    after = edited(applied, path, value)
    gone = {feature for feature, _ in _served(applied)} - {feature for feature, _ in _served(after)}
    inputs = [name for name in applied["models"]["flights"]["inputs"] if name not in gone]
    after = edited(after, "models.flights.inputs", inputs)
    views = [name for name in after["views"] if path.startswith(f"views.{name}.")]
    views = views or ["carrier_departures", "origin_departures"]  # the path is of their source
    found = plan(desk, after)
    assert [said.split(": ")[0] for said in found["refused"]] == [f"view {view}" for view in views]
    assert text in "; ".join(found["refused"])
    assert all(said.endswith("that breaks its readers, so give it version=2") for said in found["refused"])
    assert [(a["kind"], a["name"]) for a in found["affected"]] == [("model", "flights")]
    before = desk.registry.ok("GET", "/v1/projects/current")
    status, said = desk.registry("POST", "/v1/projects", {"project": after})
    assert (status, "give it version=2" in said["message"]) == (409, True)
    assert desk.registry.ok("GET", "/v1/projects/current") == before
    for view in views:
        after = edited(after, f"views.{view}.version", 2)
    found = plan(desk, after)
    assert (found["refused"], found["backfills"]) == ([], views)
    assert text in "; ".join(told for view in views for told in of(found, "view", view)["breaking"])
    assert found["affected"][0]["features"]
    desk.registry.ok("POST", "/v1/projects", {"project": after})


def _served(project: Project) -> list[tuple[str, str]]:
    known = Declared.model_validate(project).views
    return [(feature, name) for name, view in known.items() for feature in view.feature_names()]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("views.weather_now.ttl", "12h"),
        ("views.weather_now.ttl", ""),
        ("views.weather_now.expected", {"temp": {"high": 120}}),
        ("views.weather_now.fresh_within", "3h"),
        ("views.weather_now.owner", "ann"),
        (f"{PREFIX}.windows", ["2h", "12h", "24h"]),
        (f"{PREFIX}.aggregates.more", {"function": "max", "column": "dep_delay"}),
        (f"{PREFIX}.version", 2),
        ("sources.weather.columns.temp.high", 140),
        ("sources.weather.columns.fog", {"type": "boolean", "nullable": True}),
        ("sources.weather.prefix", "sky/"),
    ],
)
def test_what_only_adds_or_describes_is_applied_as_it_is(desk: Desk, applied: Project, path: str, value: Any) -> None:
    after = edited(applied, path, value)
    found = plan(desk, after)
    assert (found["refused"], len(found["changes"])) == ([], 1)
    assert found["changes"][0]["details"]
    assert found["changes"][0]["breaking"] == []
    desk.registry.ok("POST", "/v1/projects", {"project": after})


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("sources.weather.key", ["origin"], "source weather has another key: the rows that it has are kept by what it"),
        ("sources.weather.event_time", "known_at", "source weather has another event_time"),
        ("sources.weather.available_at", "", "declare a source of another name and let new versions of its views read"),
        (
            "sources.weather.columns.temp",
            {"type": "string"},
            "column temp of source weather is a string, it was a number",
        ),
    ],
)
def test_rows_are_kept_as_their_source_was_so_that_takes_another_source(
    desk: Desk, applied: Project, path: str, value: Any, text: str
) -> None:
    after = edited(edited(applied, path, value), "views.weather_now.version", 2)
    found = plan(desk, after)
    assert text in "; ".join(found["refused"])
    assert desk.registry("POST", "/v1/projects", {"project": after})[0] == 409


def test_a_version_never_becomes_lower(desk: Desk, applied: Project) -> None:
    desk.registry.ok("POST", "/v1/projects", {"project": edited(applied, "views.weather_now.version", 3)})
    status, said = desk.registry("POST", "/v1/projects", {"project": edited(applied, "views.weather_now.version", 2)})
    assert (status, said["message"]) == (
        409,
        "view weather_now has version 3: 2 is older, and readers know newer values",
    )


def test_a_project_that_is_not_sound_is_refused_by_the_server(desk: Desk, project: Project) -> None:
    wrong = edited(project, "views.weather_now.features", ["tmp"])
    for path in ("/v1/projects", "/v1/projects/plan"):
        status, said = desk.registry("POST", path, {"project": wrong})
        assert (status, "view weather_now serves tmp, which source weather does not declare" in said["message"]) == (
            400,
            True,
        )
    status, said = desk.registry("POST", "/v1/projects", {"project": edited(project, "views.weather_now", None)})
    assert (status, "model flights uses view weather_now, which is not declared" in said["message"]) == (400, True)


def test_a_feature_service_that_reads_what_changes_is_named(desk: Desk, project: Project) -> None:
    request = {"origin": "string", "event_timestamp": "timestamp"}
    services = {
        "sky": {"request": request, "views": ["weather_now"], "inputs": ["temp"]},
        "sea": {"request": request, "views": ["weather_now"], "inputs": ["pressure"]},
        "calm": {"request": {**request, "carrier": "string"}, "views": ["carrier_departures"],
                 "inputs": ["carrier_flights_2h"]},
    }  # fmt: skip
    before = without_model(edited(project, "services", services))
    desk.registry.ok("POST", "/v1/projects", {"project": before})
    features = [name for name in before["views"]["weather_now"]["features"] if name != "temp"]
    after = edited(edited(before, "views.weather_now.features", features), "services.sky", None)
    assert plan(desk, after)["affected"] == []
    after = edited(after, "views.weather_now.version", 2)
    found = plan(desk, after)["affected"]
    assert [(a["kind"], a["name"], a["features"]) for a in found] == [("service", "sea", ["weather_now:pressure"])]


def test_versions_that_are_fed_what_changes_are_named_and_a_view_that_feeds_the_champion_stays(
    desk: Desk, applied: Project
) -> None:
    event: TrainingCompleted = event_of(
        "registry-training-completed.json", training_id="01TRAINING000001", features=("temp", "hour")
    )
    desk.tell("registry", event)
    without = edited(without_model(applied), "views.weather_now", None)
    found = plan(desk, without)
    champion = [("flights/1", "champion", ["weather_now:temp", "calendar:hour"])]
    assert [(a["name"], a["deployed"], a["features"]) for a in found["affected"]] == champion
    assert found["refused"] == [
        "view weather_now feeds flights/1 (champion): keep it until no deployed version needs it",
        "on-demand features calendar no longer give hour, which feeds flights/1 (champion): keep it while it does",
        "model flights is removed while flights/1 (champion) is served: take its aliases and its traffic away first",
    ]
    assert desk.registry("POST", "/v1/projects", {"project": without})[0] == 409
    desk.registry.ok("DELETE", f"{API}/registered-models/alias", {"name": "flights", "alias": "champion"})
    found = plan(desk, without)
    assert (found["refused"], found["affected"][0]["deployed"]) == ([], "")
    desk.registry.ok("POST", "/v1/projects", {"project": without})


@pytest.fixture
def champion(desk: Desk, applied: Project) -> Project:
    """The applied project, whose champion is fed temp, a window, and an on-demand feature."""
    features = ("temp", "origin_delay_2h", "hour")
    desk.tell(
        "registry", event_of("registry-training-completed.json", training_id="01TRAINING000001", features=features)
    )
    return applied


def dropped(project: Project, view: str, feature: str) -> Project:
    """Return the project with a new version of a view, without a column that the model does not read any more."""
    kept = [name for name in project["views"][view]["features"] if name != feature]
    inputs = [name for name in project["models"]["flights"]["inputs"] if name != feature]
    raised = edited(edited(project, f"views.{view}.features", kept), f"views.{view}.version", 2)
    return edited(raised, "models.flights.inputs", inputs)


def test_a_new_version_of_a_view_keeps_what_a_deployed_version_is_fed(desk: Desk, champion: Project) -> None:
    after = dropped(champion, "weather_now", "temp")
    refused, of_model = plan(desk, after)["refused"]
    assert refused == (
        "version 2 of view weather_now no longer serves temp, and flights/1 (champion) is fed it as number: keep it so "
        "in the new version, or declare a new view beside this one, move the model over, and then remove it"
    )
    assert of_model.startswith("model flights no longer has the inputs temp as they are fed to flights/1 (champion): ")
    assert desk.registry("POST", "/v1/projects", {"project": after})[0] == 409
    assert plan(desk, dropped(champion, "weather_now", "visib"))["refused"] == []
    desk.registry.ok("DELETE", f"{API}/registered-models/alias", {"name": "flights", "alias": "champion"})
    assert plan(desk, after)["refused"] == []


def test_a_new_version_of_a_view_keeps_the_types_of_what_a_deployed_version_is_fed(
    desk: Desk, champion: Project
) -> None:
    aggregate = {"function": "last", "column": "late"}
    after = edited(champion, f"{PREFIX}.aggregates.origin_delay", aggregate)
    refused = plan(desk, edited(after, f"{PREFIX}.version", 2))["refused"]
    assert "version 2 of view origin_departures serves origin_delay_2h as boolean" in refused[0]
    assert "flights/1 (champion) is fed it as number" in refused[0]


def test_a_new_version_that_means_something_else_is_taken_and_names_the_deployed_versions(
    desk: Desk, champion: Project
) -> None:
    after = edited(edited(champion, f"{PREFIX}.aggregates.origin_delay.where", "late"), f"{PREFIX}.version", 2)
    found = plan(desk, after)
    assert found["refused"] == []
    assert [(a["name"], a["deployed"], a["features"]) for a in found["affected"] if a["kind"] == "version"] == [
        ("flights/1", "champion", ["origin_departures:origin_delay_2h"])
    ]
    desk.registry.ok("POST", "/v1/projects", {"project": after})


def test_a_model_moves_over_to_a_new_view_that_serves_what_its_champion_is_fed(desk: Desk, champion: Project) -> None:
    views = champion["views"]
    beside = edited(champion, "views.sky", views["weather_now"])
    desk.registry.ok("POST", "/v1/projects", {"project": beside})
    moved = ["sky" if name == "weather_now" else name for name in beside["models"]["flights"]["views"]]
    over = edited(beside, "models.flights.views", moved)
    assert plan(desk, over)["refused"] == []
    desk.registry.ok("POST", "/v1/projects", {"project": over})
    desk.registry.ok("POST", "/v1/projects", {"project": edited(over, "views.weather_now", None)})


def test_a_model_and_its_inputs_stay_while_it_is_served(desk: Desk, champion: Project) -> None:
    inputs = champion["models"]["flights"]["inputs"]
    without = edited(champion, "models.flights.inputs", [name for name in inputs if name not in ("hour", "temp")])
    (refused,) = plan(desk, without)["refused"]
    assert refused.startswith(
        "model flights no longer has the inputs hour, temp as they are fed to flights/1 (champion)"
    )
    unread = edited(champion, "models.flights.inputs", [name for name in inputs if name != "visib"])
    assert plan(desk, unread)["refused"] == []
    gone = edited(champion, "models", {})
    assert plan(desk, gone)["refused"] == [
        "model flights is removed while flights/1 (champion) is served: take its aliases and its traffic away first"
    ]
    assert desk.registry("POST", "/v1/projects", {"project": gone})[0] == 409
    desk.registry.ok("DELETE", f"{API}/registered-models/alias", {"name": "flights", "alias": "champion"})
    desk.registry.ok("POST", "/v1/projects", {"project": gone})


def test_a_version_that_is_fed_what_is_computed_of_a_feature_is_fed_that_feature(desk: Desk, project: Project) -> None:
    feels = {"function": "code:feels", "inputs": ["temp"], "outputs": ["feels_like"]}
    model = project["models"]["flights"]
    before = edited(project, "on_demand.feels", feels)
    before = edited(before, "models.flights.inputs", [*model["inputs"], "feels_like"])
    before = edited(before, "models.flights.on_demand", [*model["on_demand"], "feels"])
    desk.registry.ok("POST", "/v1/projects", {"project": before})
    changes = {"training_id": "01TRAINING000001", "features": ("feels_like",)}
    desk.tell("registry", event_of("registry-training-completed.json", **changes))
    found = plan(desk, edited(without_model(before), "views.weather_now", None))
    assert [(a["name"], a["features"]) for a in found["affected"]] == [
        ("flights/1", ["weather_now:temp", "feels:feels_like"])
    ]
    assert "view weather_now feeds flights/1 (champion)" in found["refused"][0]


def test_a_derived_source_whose_function_is_another_touches_who_reads_its_views(desk: Desk, project: Project) -> None:
    made = {"source": "weather", "function": "code:cold", "code": "1"}
    derived = {**project["sources"]["weather"], "prefix": "", "derived": made}
    before = edited(project, "sources.cold", derived)
    before = edited(before, "views.weather_now.source", "cold")
    desk.registry.ok("POST", "/v1/projects", {"project": before})
    found = plan(desk, edited(before, "sources.cold.derived.code", "2"))
    assert of(found, "source", "cold")["details"] == [
        "derived: its function does something else; rows that there are stay as they were made"
    ]
    assert (found["refused"], [a["name"] for a in found["affected"]]) == ([], ["flights"])
    assert "weather_now:temp" in found["affected"][0]["features"]
    refused = plan(desk, edited(before, "sources.cold.derived.source", "departures"))["refused"]
    assert refused[0].startswith("source cold has another derived: the rows that it has are kept by what it was")


def test_a_reader_may_plan_and_not_apply(desk: Desk, project: Project) -> None:
    reader = desk.as_caller("registry", grants=(Grant(role="reader"),))
    assert reader("POST", "/v1/projects/plan", {"project": project})[0] == 200
    assert reader("POST", "/v1/projects", {"project": project})[0] == 403
    assert desk.as_caller("registry", grants=())("POST", "/v1/projects/plan", {"project": project})[0] == 403


# --- laws ------------------------------------------------------------------------------------

COLUMNS = {
    "id": "string", "k": "string", "l": "integer", "a": "number", "b": "integer", "flag": "boolean", "at": "timestamp"
}  # fmt: skip
SOURCE = Source.model_validate(
    {"columns": {name: {"type": kind} for name, kind in COLUMNS.items()}, "key": ["id"], "event_time": "at"}
)
NOTHING_ELSE = Knowledge(require_sound=require_sound, reads=reads, uses=lambda _: (), deployed=lambda _: ())
aggregates = st.builds(
    Aggregate, function=st.sampled_from(["count", "sum", "max", "distinct"]), column=st.sampled_from(["a", "b"]),
    where=st.sampled_from(["", "flag"]),
)  # fmt: skip


@st.composite
def views(draw: st.DrawFn) -> View:
    rolled = draw(st.dictionaries(st.sampled_from(["x", "y"]), aggregates, max_size=2))
    features = draw(st.lists(st.sampled_from(["a", "b", "flag"]), unique=True, min_size=0 if rolled else 1))
    windows = draw(st.lists(st.sampled_from(["1h", "2h", "30m"]), unique=True, min_size=1)) if rolled else []
    return View(
        entity=draw(st.sampled_from([("k",), ("l",), ("k", "l")])),
        source="rows",
        features=tuple(features),
        aggregates=rolled,
        windows=tuple(windows),
        tumbling=draw(st.booleans()),
        by=draw(st.sampled_from(["availability", "event_time"])),
        ttl=draw(st.sampled_from(["", "1h", "2d"])),
        owner=draw(st.sampled_from(["", "ann"])),
    )


def declared(view: View) -> Declared:
    return Declared(name="x", sources={"rows": SOURCE}, views={"v": view})


@given(view=views())
def test_what_is_applied_already_changes_nothing(view: View) -> None:
    found = planning.plan(declared(view), declared(view), NOTHING_ELSE)
    assert (found.changes, found.backfills, found.refused) == ((), (), ())


@given(before=views(), after=views())
def test_a_view_of_the_same_version_serves_readers_what_it_served_or_is_refused(before: View, after: View) -> None:
    found = planning.plan(declared(before), declared(after), NOTHING_ELSE)
    if found.refused:
        return
    assert (after.entity, set(before.feature_names()) - set(after.feature_names())) == (before.entity, set())
    kinds = after.types(SOURCE)
    assert all(kinds[name] == kind for name, kind in before.types(SOURCE).items())
    assert after.ttl_us == 0 or 0 < before.ttl_us <= after.ttl_us
    if before.aggregates:
        assert (after.tumbling, after.by, after.tile_us) == (before.tumbling, before.by, before.tile_us)
        assert all(after.aggregates[name] == aggregate for name, aggregate in before.aggregates.items())


@given(before=views(), after=views())
def test_a_new_version_of_a_view_is_always_taken_and_computed(before: View, after: View) -> None:
    raised = after.model_copy(update={"version": 2})
    found = planning.plan(declared(before), declared(raised), NOTHING_ELSE)
    assert (found.refused, found.backfills) == ((), ("v",))


@given(before=views(), after=views())
def test_a_new_version_of_a_view_is_taken_if_and_only_if_it_serves_what_deployed_versions_are_fed(
    before: View, after: View
) -> None:
    fed = tuple(f"v:{feature}" for feature in before.feature_names())
    for deployed in ("100 % of the traffic", ""):
        use = Use("m", 1, deployed, fed)
        known = replace(NOTHING_ELSE, uses=lambda _: [use])  # noqa: B023 - called before the next turn
        raised = after.model_copy(update={"version": 2})
        found = planning.plan(declared(before), declared(raised), known)
        kept = before.types(SOURCE).items() <= after.types(SOURCE).items()
        assert (not found.refused) == (kept or not deployed)
        assert [each.name for each in found.affected] == ["m/1"]


@pytest.mark.parametrize(
    ("after", "refused"),
    [
        ({}, ["feature service s is removed while s/2 (5 % of the traffic) is served: take its aliases and its traffic "
              "away first"]),
        ({"inputs": ("b", "l")}, ["feature service s no longer has the inputs a as they are fed to s/2 (5 % of the "
                                  "traffic): keep them until no deployed version needs them; to train one without, "
                                  "declare a model of another name beside it"]),
        ({"inputs": ("a", "l")}, []),
        ({"inputs": ("l", "b", "a")}, []),
    ],
)  # fmt: skip
def test_a_feature_service_keeps_what_the_deployed_versions_of_its_model_are_fed(
    after: dict[str, Any], refused: list[str]
) -> None:
    view = View(entity=("l",), source="rows", features=("a", "b"))
    service = Service(request={"l": "integer", "at": "timestamp"}, time_column="at", views=("v",), inputs=("a", "b"))
    then = declared(view).model_copy(update={"services": {"s": service.model_copy(update=after)} if after else {}})
    known = replace(NOTHING_ELSE, deployed=lambda _: [Use("s", 2, "5 % of the traffic", ("a", "other"))])
    before = declared(view).model_copy(update={"services": {"s": service}})
    assert list(planning.plan(before, then, known).refused) == refused


def test_each_word_of_a_view_and_a_source_is_known_to_break_readers_or_not_to() -> None:
    """Guards the laws above against words to come: whoever adds one decides."""
    breaking = {"entity", "source", "features", "aggregates", "windows", "tumbling", "by", "tile", "ttl"}
    assert set(View.model_fields) - breaking == {
        "expected", "fresh_within", "version", "owner", "description", "tags"
    }  # fmt: skip
    assert set(Aggregate.model_fields) == {"function", "column", "where", "q"}
    fixed = {"key", "event_time", "available_at", "derived", "columns"}
    assert set(Source.model_fields) - fixed == {
        "prefix", "labels", "reference_days", "checks", "detectors", "owner", "description", "tags",
        "check_options", "severity", "rules", "drift", "healing",
    }  # fmt: skip
