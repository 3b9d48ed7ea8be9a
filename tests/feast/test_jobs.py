"""Feast's ``/materialize`` and ``/materialize-incremental``, as its client sends them."""

import json
from typing import Any

import pytest
from features.feature_cases import PROJECT
from support.http import Caller, handler_of, memory_wiring

from modelwright.feast.messages import read_registry
from modelwright.governance.access import Grant
from modelwright.log import stream_of
from modelwright.project import current_key
from modelwright.storage import Anything, Put

BODY = {"start_ts": "2026-01-01T00:00:00", "end_ts": "2026-02-01T01:00:00+01:00", "full_feature_names": False}
READER = (Grant(role="reader"),)


class Desk:
    """``features`` with a project."""

    def __init__(self, **options: Any) -> None:
        self.wiring = memory_wiring()
        item = {**current_key("default")._asdict(), "project": PROJECT.model_dump_json()}
        self.wiring.tables.write([Put("governance", item, Anything())])
        self.ask = Caller(handler_of("features", self.wiring), **options)

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        """Return status and what was said, out of Feast's double JSON where it is an error."""
        status, said = self.ask("POST", path, body)
        return status, json.loads(said) if isinstance(said, str) else said

    def asked(self, source: str) -> list[Any]:
        """Return the backfills that were asked for."""
        return [item.envelope.data for item in self.wiring.log.read(stream_of("default", "SOURCE", source))]


def test_a_window_is_a_backfill_of_each_source() -> None:
    desk = Desk()
    status, said = desk.post("/materialize", **BODY, feature_views=None)
    assert (status, said["status"], said["feature_views"]) == (200, "accepted", ["weather", "by_origin", "by_route"])
    (weather,), (departures,) = desk.asked("weather"), desk.asked("departures")
    assert [weather["backfill_id"], departures["backfill_id"]] == said["backfills"]
    assert (weather["views"], departures["views"]) == (["weather"], ["by_origin", "by_route"])
    assert weather["window"] == {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


def test_only_the_views_that_are_named_are_meant() -> None:
    desk = Desk()
    _, said = desk.post("/materialize", **BODY, feature_views=["by_route", "by_route"])
    assert said["feature_views"] == ["by_route"]
    assert desk.asked("departures")[0]["views"] == ["by_route"]
    assert desk.asked("weather") == []


def test_without_event_times_all_of_them_are_meant() -> None:
    desk = Desk()
    status, _ = desk.post("/materialize", feature_views=["weather"], disable_event_timestamp=True)
    assert status == 200
    assert desk.asked("weather")[0]["window"] is None


def test_incremental_materialization_says_that_nothing_is_left_to_do() -> None:
    desk = Desk()
    status, said = desk.post("/materialize-incremental", end_ts=BODY["end_ts"], feature_views=["weather"])
    assert (status, said["feature_views"]) == (200, ["weather"])
    assert said["told"] == "rows are served from the moment they arrive"
    assert desk.asked("weather") == []


@pytest.mark.parametrize("path", ["/materialize", "/materialize-incremental"])
def test_who_does_not_wait_is_told_that_it_was_accepted(path: str) -> None:
    assert Desk().post(f"{path}?async=true", **BODY)[0] == 202


@pytest.mark.parametrize("path", ["/materialize", "/materialize-incremental"])
@pytest.mark.parametrize(
    ("change", "status", "name", "text"),
    [
        (
            {"feature_views": ["wether"]},
            404,
            "KeyError",
            "no feature view wether: there are weather, by_origin, by_route",
        ),
        ({"feature_views": ["weather"], "version": "v2"}, 404, "KeyError", "weather has no version v2: it has v1"),
        ({"version": "v1"}, 400, "ValueError", "a version is of one view, and 3 are named"),
        ({"end_ts": "soon"}, 400, "ValueError", "end_ts is no ISO 8601 time: 'soon'"),
        ({"end_ts": "9999-12-31T23:59:59-10:00"}, 400, "ValueError", "end_ts is no ISO 8601 time"),
        ({"feature_views": []}, 400, "ValueError", "feature_views names none: leave it out for all"),
    ],
)
def test_what_cannot_be_is_an_error_in_feasts_form_and_asks_for_nothing(
    path: str, change: dict[str, Any], status: int, name: str, text: str
) -> None:
    desk = Desk()
    found, said = desk.post(path, **{**BODY, **change})
    assert (found, said["class"]) == (status, name)
    assert text in said["message"]
    assert desk.asked("weather") == desk.asked("departures") == []


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    status, said = Desk().post("/materialize", start_ts=BODY["end_ts"], end_ts=BODY["start_ts"])
    assert (status, said["class"]) == (400, "ValueError")
    assert "must be before end_ts" in said["message"]


def test_who_may_only_read_asks_for_no_backfill() -> None:
    desk = Desk(grants=READER)
    assert desk.post("/materialize", **BODY)[0] == 403
    assert desk.asked("weather") == []


def test_a_view_in_its_version_is_meant() -> None:
    assert Desk().post("/materialize", **BODY, feature_views=["weather"], version="v1")[0] == 200


def test_the_registry_is_there_for_who_may_read_the_project() -> None:
    status, body = Desk(grants=READER).ask("GET", "/v1/features/registry.db")
    assert status == 200
    assert b"flights" in body
    assert Desk(grants=()).ask("GET", "/v1/features/registry.db")[0] == 403


def test_incremental_materialization_tells_of_pushes_that_wait() -> None:
    desk = Desk()
    row = {
        "origin": "JFK",
        "observed_at": "2026-01-01T00:00:00Z",
        "known_at": "2026-01-01T00:00:00Z",
        "temp": 1.0,
        "sky": None,
    }
    for to in ("offline", "online"):
        status, said = desk.post("/push", source="weather", rows=[{**row, "temp": len(to)}], to=to)
        assert status == 200, said
    _, said = desk.post("/materialize-incremental", end_ts=BODY["end_ts"])
    assert (said["status"], said["waiting"]) == ("waiting", {"weather": 1})
    assert "wait to be folded in" in said["told"]
    _, said = desk.post("/materialize-incremental", end_ts=BODY["end_ts"], feature_views=["by_route"])
    assert (said["status"], said["waiting"]) == ("materialized", {})


DENIED = (Grant(role="admin"), Grant(role="admin", resources="view/weather", effect="deny"))


def test_a_view_that_is_none_is_told_with_those_that_the_caller_may_read() -> None:
    status, said = Desk(grants=DENIED).post("/materialize", **BODY, feature_views=["x"])
    assert (status, said["message"]) == (404, "there is no feature view x: there are by_origin, by_route")


def test_the_registry_leaves_out_what_the_caller_may_not_read() -> None:
    whole, left = (
        read_registry(Desk(grants=grants).ask("GET", "/v1/features/registry.db")[1], "it")
        for grants in (READER, DENIED)
    )
    assert [view.spec.name for view in whole.feature_views] == ["weather", "by_origin", "by_route"]
    assert [view.spec.name for view in left.feature_views] == ["by_origin", "by_route"]
    assert "weather" in {source.name for source in whole.data_sources}
    assert {source.name for source in left.data_sources} == {"departures", "departures_rows"}
    assert len(whole.feature_services) > len(left.feature_services) == 0
