"""Freshness, expectations and statistics of features: what is known of them, and when somebody is told."""

import json
import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from support.http import ServedBlobs, deliver, handler_of, memory_wiring

from features.feature_cases import PROJECT, START, Stack
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import BackfillRequested, Delivery, Envelope, ProjectApplied
from modelwright.features import adoption, catalogue, freshness, refilling
from modelwright.features.layout import partition_path, summary_path
from modelwright.features.summaries import summarised
from modelwright.log import new_id
from modelwright.project import Expected, Project, Source, View, current_key
from modelwright.storage import Anything, Put

HOUR = timedelta(hours=1)


def project(view: str = "weather", **changes: Any) -> Project:
    """Return the project with a view that says more."""
    changed = View.model_validate({**PROJECT.views[view].model_dump(), **changes})
    return PROJECT.model_copy(update={"views": {**PROJECT.views, view: changed}})


def weather(hour: float, temp: float | None = 40.0, origin: str = "JFK", sky: str | None = "clear") -> dict[str, Any]:
    seen = START + timedelta(hours=hour)
    return {"origin": origin, "observed_at": seen, "known_at": seen + HOUR, "temp": temp, "sky": sky}


def departure(n: int, delay: int | None, hour: float = 0) -> dict[str, Any]:
    left = START + timedelta(hours=hour)
    return {
        "flight_id": f"f{n}", "carrier": "AA", "origin": "JFK", "left_at": left, "delay": delay,
        "late": None, "cancelled": False, "known_at": left + timedelta(minutes=1),
    }  # fmt: skip


def happened(stack: Stack, view: str = "weather") -> list[dict[str, Any]]:
    stream = stack.log.read(f"WS#{stack.workspace}#VIEW#{view}")
    return [{"type": item.envelope.type, **item.envelope.data} for item in stream]


def check(stack: Stack, hours: float, source: str = "") -> None:
    at = stack.call(START + timedelta(hours=hours))
    freshness.check(at, project=stack.project, tables=stack.tables, log=stack.log, source=source)


# --- freshness -------------------------------------------------------------------------------


def test_a_view_that_waits_too_long_is_told_once_and_again_when_rows_come() -> None:
    stack = Stack(project(fresh_within="3h"))
    stack.upload("weather", [weather(0)], START + HOUR)
    for hours in (1.0, 4.0):
        check(stack, hours)
    assert happened(stack) == []
    for hours in (4.01, 5.0, 6.0):
        check(stack, hours)
    (broken,) = happened(stack)
    newest = "2013-02-01T01:00:00Z"
    assert broken == {"type": "FreshnessBroken", "view": "weather", "newest": newest, "limit": "3h"}
    stack.upload("weather", [weather(5)], START + 6 * HOUR)
    check(stack, 6.5, source="departures")
    assert len(happened(stack)) == 1
    check(stack, 6.5, source="weather")
    assert happened(stack)[1:] == [{"type": "FreshnessRestored", "view": "weather", "newest": "2013-02-01T06:00:00Z"}]
    check(stack, 12)
    assert [event["type"] for event in happened(stack)] == ["FreshnessBroken", "FreshnessRestored", "FreshnessBroken"]


def test_a_view_that_never_had_a_row_waits_from_when_it_is_first_watched() -> None:
    stack = Stack(project(fresh_within="2h"))
    check(stack, 10)
    check(stack, 12)
    assert happened(stack) == []
    check(stack, 12.1)
    assert [(e["type"], e["newest"]) for e in happened(stack)] == [("FreshnessBroken", None)]


def test_a_view_that_is_not_watched_any_more_does_not_wait() -> None:
    stack = Stack(project(fresh_within="2h"))
    check(stack, 0)
    check(stack, 5)
    stack.project = PROJECT
    check(stack, 6)
    check(stack, 7)
    assert [(e["type"], e["newest"]) for e in happened(stack)] == [
        ("FreshnessBroken", None), ("FreshnessRestored", None)
    ]  # fmt: skip


def test_rows_of_a_source_are_news_to_the_views_of_those_derived_from_it() -> None:
    document = project().model_dump(mode="json")
    made = {"source": "weather", "function": "features.feature_cases:calendar"}
    document["sources"]["cold"] = {**document["sources"]["weather"], "prefix": "", "derived": made}
    document["views"]["cold"] = {"entity": ["origin"], "source": "cold", "features": ["temp"], "fresh_within": "1h"}
    stack = Stack(Project.model_validate(document))
    check(stack, 0)
    check(stack, 2, source="departures")
    assert happened(stack, "cold") == []
    check(stack, 2, source="weather")
    assert [event["type"] for event in happened(stack, "cold")] == ["FreshnessBroken"]


def test_the_schedule_and_uploads_look_after_freshness() -> None:
    stack = Stack(project(fresh_within="3h"))
    blobs = stack.blobs = ServedBlobs()
    item = {**current_key("default")._asdict(), "project": stack.project.model_dump_json()}
    stack.tables.write([Put("governance", item, Anything())])
    function = handler_of("materialize", memory_wiring(tables=stack.tables, blobs=blobs))

    def due(hours: int) -> None:
        at = (START + timedelta(hours=hours)).isoformat()
        detail = {"name": "materialize", "at": at, "workspace": "default"}
        assert function({"detail-type": "ScheduleDue", "detail": detail}) == {"outcome": "done"}

    for hours in (0, 3, 4, 5):
        due(hours)
    assert [event["type"] for event in happened(stack)] == ["FreshnessBroken"]
    came = stack.delivery("weather", [weather(5)], START + 6 * HOUR)
    assert deliver(function, came.envelope) == {"outcome": "handled"}
    assert [event["type"] for event in happened(stack)] == ["FreshnessBroken", "FreshnessRestored"]
    assert deliver(function, came.envelope) == {"outcome": "duplicate"}
    assert deliver(function, applied(stack).envelope) == {"outcome": "handled"}
    assert [source for source, _, _ in requests(stack)] == ["weather"]


def test_where_nothing_is_watched_nothing_is_written() -> None:
    stack = Stack()
    check(stack, 1)
    assert not stack.tables.query("features", "WS#default#FRESHNESS").items


# --- expectations -----------------------------------------------------------------------------


def test_a_feature_that_is_not_as_expected_is_told_once_until_it_is_so_again() -> None:
    stack = Stack(project(expected={"temp": Expected(low=-10, high=100), "sky": Expected(missing=0.5)}))
    stack.upload("weather", [weather(0), weather(1, None, sky=None)], START + 2 * HOUR)
    assert happened(stack) == []
    stack.upload("weather", [weather(2, 101.0), weather(3, 120.0), weather(4), weather(5, None)], START + 6 * HOUR)
    (broken,) = happened(stack)
    assert broken == {
        "type": "ExpectationBroken", "view": "weather", "feature": "temp",
        "text": "2 of 4 are above 100, up to 120",
        "window": {"start": "2013-02-01T02:00:00Z", "end": "2013-02-01T05:00:00.000001Z"},
    }  # fmt: skip
    stack.push("weather", [weather(6, -20.0)], START + 7 * HOUR)
    stack.fold(START + 7 * HOUR)
    assert len(happened(stack)) == 1
    found = described(stack, "weather", 8)["features"]
    assert [f["expectation_broken"] for f in found] == ["1 of 1 are below -10, down to -20", ""]
    stack.upload("weather", [weather(7, 50.0, sky=None)], START + 8 * HOUR)
    assert [(e["type"], e["feature"], e.get("text")) for e in happened(stack)[1:]] == [
        ("ExpectationMet", "temp", None),
        ("ExpectationBroken", "sky", "100.0% of 1 are missing, 50.0% may be"),
    ]
    stack.project = PROJECT
    stack.upload("weather", [weather(9)], START + 10 * HOUR)
    assert [(e["type"], e["feature"]) for e in happened(stack)[3:]] == [("ExpectationMet", "sky")]


def test_the_same_rows_again_are_not_judged_again() -> None:
    stack = Stack(project(expected={"temp": Expected(high=100)}))
    delivery = stack.delivery("weather", [weather(0, 120.0)], START + HOUR)
    stack.deliver(delivery)
    stack.project = project(expected={"temp": Expected(high=130)})
    stack.upload("weather", [weather(0, 120.0)], START + HOUR)
    assert [e["type"] for e in happened(stack)] == ["ExpectationBroken"]


def test_an_aggregation_is_judged_by_what_its_entities_are_served() -> None:
    stack = Stack(project("by_origin", expected={"delay_2h": Expected(high=30, missing=0.5), "n_2h": Expected(low=2)}))
    stack.upload("departures", [departure(1, 10), departure(2, 20)], START + timedelta(minutes=30))
    assert happened(stack, "by_origin") == []
    stack.upload("departures", [departure(n, 90, 0.5) for n in (3, 4, 5)], START + timedelta(minutes=40))
    (broken,) = happened(stack, "by_origin")
    assert (broken["type"], broken["feature"]) == ("ExpectationBroken", "delay_2h")
    assert broken["text"] == "1 of 1 are above 30, up to 60"
    stack.upload("departures", [departure(6, None, 9)], START + 10 * HOUR)
    told = [(e["type"], e["feature"], e.get("text")) for e in happened(stack, "by_origin")[1:]]
    assert told == [("ExpectationBroken", "n_2h", "1 of 1 are below 2, down to 1")]


# --- statistics and descriptions ------------------------------------------------------------------


def described(stack: Stack, view: str, hours: float = 24) -> dict[str, Any]:
    at = stack.call(START + timedelta(hours=hours))
    return catalogue.view(at, view, project=stack.project, tables=stack.tables, log=stack.log)


def statistics(stack: Stack, view: str = "weather", start: str = "", end: str = "") -> dict[str, Any]:
    stores: dict[str, Any] = {"project": stack.project, "tables": stack.tables, "blobs": stack.blobs}
    return catalogue.statistics(stack.call(START), view, start=start, end=end, **stores)


def test_statistics_are_of_the_days_on_which_rows_became_known() -> None:
    stack = Stack()
    first = [weather(n, None if n == 3 else float(n), sky="rain" if n else "clear") for n in range(10)]
    stack.upload("weather", first, START + timedelta(days=1))
    stack.upload("weather", [weather(24 + n, 50.0) for n in range(5)], START + timedelta(days=3))
    found = statistics(stack)
    assert [(day["day"], day["rows"]) for day in found["days"]] == [("2013-02-01", 10), ("2013-02-02", 5)]
    temp, sky = (found["days"][0]["columns"][name] for name in ("temp", "sky"))
    assert (temp["missing"], temp["least"], temp["most"], temp["mean"]) == (1, 0.0, 9.0, pytest.approx(42 / 9))
    assert temp["std"] == pytest.approx(3.1622, abs=1e-3)
    assert (temp["q05"] < temp["median"] < temp["q95"], abs(temp["median"] - 5)) == (True, pytest.approx(0, abs=1))
    assert sky == {"missing": 0, "distinct": 2}
    assert found["columns"] == {"temp": "temp", "sky": "sky"}
    assert [day["day"] for day in statistics(stack, start="2013-02-02", end="2013-02-28")["days"]] == ["2013-02-02"]
    assert statistics(stack, end="2013-01-31")["days"] == []
    assert statistics(stack, start="2013-02-03")["days"] == []
    assert statistics(stack, start="2013-02-02", end="2013-02-02")["days"] == found["days"][1:]


def test_quantiles_of_many_values_are_close_and_the_rest_is_exact() -> None:
    values = random.Random(1).choices(range(1_000_000), k=50_000)
    rows = pa.table({"v": pa.array(values)})
    declared = Source.model_validate(
        {"columns": {"v": {"type": "integer"}, "t": {"type": "timestamp"}}, "key": ["v"], "event_time": "t"}
    )
    told = json.loads(summarised(declared, rows.append_column("t", pa.nulls(50_000)), pa.chunked_array([[0] * 50_000])))
    found = told["0"]["columns"]["v"]
    assert (found["least"], found["most"], found["mean"]) == (min(values), max(values), sum(values) / 50_000)
    for name, q in (("q05", 0.05), ("median", 0.5), ("q95", 0.95)):
        assert abs(sum(value <= found[name] for value in values) / 50_000 - q) < 0.015
    assert told["0"]["columns"]["t"] == {"missing": 50_000}


def test_statistics_of_aggregations_are_of_the_columns_that_go_into_them() -> None:
    stack = Stack()
    stack.upload("departures", [departure(1, 10), departure(2, None)], START + HOUR)
    found = statistics(stack, "by_origin")
    assert found["columns"]["delay_2h"] == found["columns"]["delay_1d"] == "delay"
    assert found["of"] == "column"
    told = {feature["name"]: feature["statistics_of"] for feature in described(stack, "by_origin")["features"]}
    assert (told["delay_2h"], told["n_2h"]) == ("delay", "")
    assert "n_2h" not in found["columns"]
    assert found["days"][0]["columns"]["delay"]["missing"] == 1
    assert set(found["days"][0]["columns"]) == {"delay", "late", "cancelled"}


def test_a_row_that_comes_again_or_is_corrected_is_counted_as_the_store_has_it() -> None:
    stack = Stack()
    for _ in range(2):
        stack.upload("weather", [weather(0, 10.0), weather(1, 20.0)], START + 3 * HOUR)
    stack.push("weather", [weather(0, 10.0)], START + 3 * HOUR)
    stack.fold(START + 3 * HOUR)
    (day,) = statistics(stack)["days"]
    assert (day["rows"], day["columns"]["temp"]["mean"]) in ((2, 15.0), (3, pytest.approx(40 / 3)))


def test_statistics_say_what_they_do_not_know() -> None:
    stack = Stack()
    stack.upload("weather", [weather(0), weather(1)], START + HOUR)
    item = stack.tables.query("features", "WS#default#SOURCE#weather", prefix="MANIFEST").items[0]
    (partition,) = json.loads(item["partitions"])
    path = partition_path("default", "weather", partition["week"], partition["digest"])
    stack.blobs.delete("lake", summary_path(path))
    found = statistics(stack)
    assert (found["days"], found["rows_without"]) == ([], 2)


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("yesterday", "", "from=yesterday is no day: write it as 2026-03-01"),
        ("", "2013-02-30", "to=2013-02-30 is no day"),
        ("2013-01-01", "2013-12-31", "365 days are more than 92"),
        ("2013-02-03", "2013-02-01", "from 2013-02-03 to 2013-02-01 there is no day: the first is after the last"),
    ],
)
def test_days_that_are_none_too_many_or_the_wrong_way_round_are_refused(start: str, end: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        statistics(Stack(), start=start, end=end)


def test_a_view_is_described_with_its_freshness_and_its_users() -> None:
    stack = Stack(project(fresh_within="3h", owner="ops", tags={"tier": "1"}, description="The sky."))
    before = described(stack, "weather")
    assert (before["freshness"]["newest_available"], before["last_materialized"]) == (None, None)
    assert before["freshness"]["fresh"] is None
    stack.upload("weather", [weather(0), weather(1)], START + 3 * HOUR)
    found = described(stack, "weather", 4)
    assert (found["owner"], found["tags"], found["description"]) == ("ops", {"tier": "1"}, "The sky.")
    assert [(f["name"], f["type"]) for f in found["features"]] == [("temp", "number"), ("sky", "string")]
    assert found["freshness"] == {
        "rows": 2, "newest_available": "2013-02-01T02:00:00+00:00", "newest_event": "2013-02-01T01:00:00+00:00",
        "fresh_within": "3h", "fresh": True, "event_time": "observed_at",
    }  # fmt: skip
    assert described(stack, "weather", 6)["freshness"]["fresh"] is False
    assert found["last_materialized"]["at"].startswith("2013-02-01T03:00:00")
    assert found["last_materialized"]["rows"] == 2
    assert found["used_by"] == [{"kind": "model", "name": "flights", "features": ["sky", "temp"]}]
    rolled = {f["name"]: f for f in described(stack, "by_origin")["features"]}
    assert (rolled["delay_2h"]["type"], rolled["delay_2h"]["window_s"]) == ("number", 7200)
    assert rolled["late_1d"]["aggregate"] == {"function": "mean", "column": "late", "where": "cancelled"}
    with pytest.raises(NotFound, match="there is no feature view wether: there are weather, by_origin, by_route"):
        described(stack, "wether")


def found_by(stack: Stack, words: str) -> list[tuple[str, str]]:
    said = catalogue.search(stack.call(START), words=words, project=stack.project)["found"]
    return [(each["kind"], each["name"]) for each in said]


def test_a_search_finds_all_words_in_names_descriptions_owners_tags_and_columns() -> None:
    stack = Stack(project(owner="Operations", tags={"domain": "sky-lab"}, description="The newest observation."))
    assert found_by(stack, "weather")[:2] == [("view", "weather"), ("source", "weather")]
    assert found_by(stack, "OPERATIONS newest") == [("view", "weather")]
    assert found_by(stack, "sky-lab temp") == [("view", "weather")]
    assert found_by(stack, "delay_2h") == [("view", "by_origin"), ("model", "flights")]
    assert found_by(stack, "calendar") == [("on_demand", "calendar")]
    assert found_by(stack, "zebra") == []
    with pytest.raises(InvalidInput, match="say what to look for"):
        found_by(stack, " ")


# --- applied projects ------------------------------------------------------------------------------


def applied(stack: Stack, number: int = 1) -> Delivery:
    event = ProjectApplied(project="flights", digest="d", models=(), sources=(), views=())
    envelope = Envelope(
        id=new_id(), type="ProjectApplied", schema_version=1, workspace=stack.workspace, stream="s", sequence=number,
        at=START, actor="a", correlation_id="c", data=event.model_dump(mode="json"),
    )  # fmt: skip
    return Delivery(consumer="materialize", envelope=envelope, event=event)


def adopt(stack: Stack, now: datetime = START) -> list[tuple[str, tuple[str, ...]]]:
    """Apply the stack's project, and return the backfills that were asked for by that."""
    before = set(requests(stack))
    adoption.follow_project(applied(stack), stack.call(now), project=stack.project, tables=stack.tables, log=stack.log)
    return sorted((source, views) for source, views, _ in set(requests(stack)) - before)


def requests(stack: Stack) -> list[tuple[str, tuple[str, ...], str]]:
    return [
        (source, tuple(item.envelope.data["views"]), item.envelope.id)
        for source in stack.project.sources
        for item in stack.log.read(f"WS#default#SOURCE#{source}")
        if item.envelope.type == "BackfillRequested"
    ]


def test_views_that_are_new_or_computed_otherwise_are_filled_from_the_rows_that_there_are() -> None:
    stack = Stack()
    assert adopt(stack) == []
    stack.upload("weather", [weather(0)], START + HOUR)
    assert adopt(stack) == []
    stack.project = project(version=2)
    assert adopt(stack) == [("weather", ("weather",))]
    assert adopt(stack) == []
    stack.project = project(version=2, description="other words", ttl="9h", owner="ann", fresh_within="1h")
    assert adopt(stack) == []
    stack.project = project("by_origin", windows=("2h",))
    stack.upload("departures", [departure(1, 1)], START + HOUR)
    assert adopt(stack) == [("departures", ("by_origin",)), ("weather", ("weather",))]
    assert adopt(stack) == []


def test_rows_that_were_stored_before_a_column_became_wider_are_read_as_it_is_now() -> None:
    stack = Stack()
    stack.upload("departures", [departure(1, 10)], START + HOUR)
    document = PROJECT.model_dump(mode="json")
    document["sources"]["departures"]["columns"]["delay"]["type"] = "number"
    document["views"]["by_route"]["version"] = document["views"]["by_origin"]["version"] = 2
    stack.project, stack.cache = Project.model_validate(document), {}
    stack.upload("departures", [departure(2, 20)], START + HOUR)
    row = {"flight_id": "x", "carrier": "AA", "origin": "JFK", "scheduled": START + 3 * HOUR}
    (found,) = stack.offline([row])
    assert (found["by_route__delay"], found["route_delay_12h"]) == (20.0, 30.0)
    assert isinstance(found["by_route__delay"], float)


def test_views_of_a_new_derived_source_are_filled_from_the_rows_that_it_is_derived_from() -> None:
    stack = Stack()
    stack.upload("weather", [weather(0)], START + HOUR)
    adopt(stack)
    document = PROJECT.model_dump(mode="json")
    for name, origin in (("cold", "weather"), ("frost", "cold")):
        made = {"source": origin, "function": "features.feature_cases:calendar"}
        document["sources"][name] = {**document["sources"]["weather"], "prefix": "", "derived": made}
    document["views"]["frost"] = {"entity": ["origin"], "source": "frost", "features": ["temp"]}
    stack.project = Project.model_validate(document)
    assert adopt(stack) == [("cold", ())]
    document["views"]["cold"] = {"entity": ["origin"], "source": "cold", "features": ["temp"]}
    stack.project = Project.model_validate(document)
    assert adopt(stack) == [("cold", ("cold",))]


def test_a_view_of_a_new_version_serves_what_it_did_once_its_backfill_is_over() -> None:
    stack = Stack()
    now = START + 4 * HOUR
    stack.upload("weather", [weather(n, 40.0 + n) for n in range(3)], now)
    stack.upload("departures", [departure(n, n, n / 10) for n in range(9)], now)
    adopt(stack)
    row = {"flight_id": "x", "carrier": "AA", "origin": "JFK", "scheduled": now}
    before = stack.online([row], now)
    document = PROJECT.model_dump(mode="json")
    for view in document["views"].values():
        view["version"] = 2
    stack.project = Project.model_validate(document)
    assert stack.online([row], now)[0]["temp"] is None
    assert adopt(stack, now) == [("departures", ("by_origin", "by_route")), ("weather", ("weather",))]
    for source in ("departures", "weather"):
        asked = list(stack.log.read(f"WS#default#SOURCE#{source}"))[-1].envelope
        delivery = Delivery(consumer="materialize", envelope=asked, event=BackfillRequested.model_validate(asked.data))
        refilling.follow_request(delivery, stack.call(now), **stack.everything())
    assert stack.online([row], now) == before == stack.offline([row])
    assert before[0]["temp"] == 42.0
