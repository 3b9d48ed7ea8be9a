"""The two functions, asked as Lambda asks them: sample payloads, Feast's protocol, errors, workspaces."""

import base64
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.http import Caller, handler_of, payload

from features.feature_cases import PROJECT, START, Stack, oracle
from modelwright.errors import ConditionFailed, NotFound, TooLarge
from modelwright.events import BackfillRequested, FeaturesMaterialized, TrainingSetSaved
from modelwright.features import backfill, datasets
from modelwright.governance.access import Grant
from modelwright.log import Log
from modelwright.project import current_key
from modelwright.runtime import Function
from modelwright.storage import Anything, Delete, Put
from modelwright.wiring import Settings, Wiring

EVENTS = Path(__file__).parents[2] / "events"
NOON = "2013-02-01T13:00:00+00:00"


class Desk:
    """Both functions over one stack in memory."""

    def __init__(self) -> None:
        self.stack = Stack()
        for workspace in ("default", "other"):
            item = {**current_key(workspace)._asdict(), "project": PROJECT.model_dump_json()}
            self.stack.tables.write([Put("governance", item, Anything())])
        settings = Settings(
            function="test", workspace="default", bus="", virtual_time=True, tables={}, buckets={}, environment={}
        )
        self.wiring = Wiring(settings, tables=self.stack.tables, blobs=self.stack.blobs)
        self.features: Function = handler_of("features", self.wiring)
        self.materialize: Function = handler_of("materialize", self.wiring)

    def post(self, path: str, body: Any, now: str = NOON, **options: Any) -> tuple[int, Any]:
        function = self.materialize if path.startswith("/v1/training") else self.features
        headers = {"x-modelwright-as-of": now}
        answer = function(payload("POST", path, body, headers=headers, **options))
        text = answer["body"]
        status: int = answer["statusCode"]
        found = json.loads(base64.b64decode(text) if answer.get("isBase64Encoded") else text)
        return status, json.loads(found) if isinstance(found, str) else found

    def sample(self, function: Function, name: str) -> Any:
        return function(json.loads((EVENTS / f"{name}.json").read_text()))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def weather(hour: int, temp: float | None = 40.0, origin: str = "JFK") -> dict[str, Any]:
    seen = START + timedelta(hours=hour)
    return {"origin": origin, "observed_at": seen, "known_at": seen + timedelta(hours=1), "temp": temp, "sky": "clear"}


def test_samples_are_answered(desk: Desk) -> None:
    for name in ("push", "write", "get", "views"):
        assert desk.sample(desk.features, f"http-features-{name}")["statusCode"] == 200
    found = json.loads(desk.sample(desk.features, "http-features-get")["body"])
    assert found["metadata"]["feature_names"] == ["origin", "temp"]
    assert found["results"][1]["values"] == [37.94, 39.02]
    event = json.loads((EVENTS / "materialize-upload-accepted.json").read_text())
    delivery = desk.stack.delivery("weather", [weather(n) for n in range(30)], START + timedelta(days=7))
    desk.stack.blobs.copy(("lake", delivery.event.key, ""), ("lake", event["detail"]["data"]["key"]))
    assert desk.materialize(event) == {"outcome": "handled"}
    assert desk.materialize(event) == {"outcome": "duplicate"}
    assert desk.sample(desk.materialize, "materialize-schedule-due") == {"outcome": "done"}
    stream = [item.envelope.type for item in desk.stack.log.read("WS#default#SOURCE#weather")]
    assert stream == ["FeaturesMaterialized", "FeaturesMaterialized"]
    assert desk.sample(desk.materialize, "http-materialize")["statusCode"] == 400


def test_statuses_are_feasts_and_a_row_over_its_age_is_not_served(desk: Desk) -> None:
    desk.stack.push("weather", [weather(0), weather(10, None, "EWR")], START + timedelta(hours=12))
    query = {"features": ["weather:temp", "by_origin:n_2h"], "entities": {"origin": ["JFK", "EWR", "LGA", None]}}
    status, found = desk.post("/get-online-features", query)
    assert status == 200
    assert found["metadata"]["feature_names"] == ["origin", "temp", "n_2h"]
    assert found["results"][1]["values"] == [None, None, None, None]
    assert found["results"][1]["statuses"] == ["OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND", "NOT_FOUND"]
    assert found["results"][1]["event_timestamps"][0] == "2013-02-01T00:00:00Z"
    assert found["results"][2]["values"] == [0, 0, 0, None]
    _, earlier = desk.post("/get-online-features", query, now="2013-02-01T12:00:00Z")
    assert earlier["results"][1]["statuses"][1] == "NULL_VALUE"
    full = {**query, "full_feature_names": True}
    assert desk.post("/get-online-features", full)[1]["metadata"]["feature_names"][1] == "weather__temp"


def test_a_feature_service_is_a_models_inputs(desk: Desk) -> None:
    desk.stack.push("weather", [weather(11, 39.0)], START + timedelta(hours=12))
    entities = {"origin": ["JFK"], "carrier": ["AA"], "scheduled": [NOON], "flight_id": ["x"]}
    status, found = desk.post("/get-online-features", {"feature_service": "flights", "entities": entities})
    assert status == 200
    values = {n: r["values"][0] for n, r in zip(found["metadata"]["feature_names"], found["results"], strict=True)}
    assert values["temp"] == 39.0
    assert values["warm"] == 13.0
    assert values["hour"] == 13.0
    assert "scheduled" not in values
    assert set(values) == {"origin", *PROJECT.models["flights"].inputs}


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"features": ["weather:tmp"], "entities": {"origin": ["JFK"]}}, 404, "it has temp, sky"),
        ({"features": ["wether:temp"], "entities": {"origin": ["JFK"]}}, 404, "there are weather, by_origin, by_route"),
        ({"feature_service": "ships", "entities": {"origin": ["JFK"]}}, 404, "there are flights"),
        ({"features": ["weather"], "entities": {"origin": ["JFK"]}}, 400, "write view:feature"),
        ({"features": ["weather:temp"], "entities": {"carrier": ["AA"]}}, 400, "view weather needs origin"),
        ({"features": ["weather:temp"], "entities": {"origin": ["JFK"], "carrier": []}}, 400, "differ in length"),
        ({"features": ["weather:temp"], "entities": {"origin": [7]}}, 400, "row 0, column origin: 7 is no string"),
        ({"feature_service": "flights", "entities": {"origin": ["JFK"]}}, 400, "feature service flights needs carrier"),
        ({"features": ["weather:temp"]}, 400, "entities"),
    ],
)
def test_errors_are_clear_and_what_feasts_client_raises(
    desk: Desk, query: dict[str, Any], status: int, text: str
) -> None:
    found, error = desk.post("/get-online-features", query)
    assert found == status
    assert text in error["message"]
    assert (error["module"], error["class"]) == ("builtins", {404: "KeyError", 400: "ValueError"}[status])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temp": "cold"}, "row 1, column temp: 'cold' is no number"),
        ({"temp": 200.0}, "row 1, column temp: 200.0 is above 130"),
        ({"temp": -61}, "row 1, column temp: -61.0 is below -60"),
        ({"sky": "fog"}, "row 1, column sky: 'fog' is none of clear, rain"),
        ({"origin": None}, "row 1, column origin: may not be missing"),
        ({"known_at": None}, "row 1, column known_at: may not be missing"),
        ({"observed_at": "noon"}, "row 1, column observed_at"),
        ({"pilot": "x"}, "row 1, column pilot: not declared"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(desk: Desk, change: dict[str, Any], text: str) -> None:
    rows = [{**weather(n), "observed_at": f"2013-02-01T0{n}:00:00", "known_at": NOON} for n in range(2)]
    rows[1] |= change
    before = len(list(desk.stack.blobs.list("lake", "")))
    status, error = desk.post("/push", {"source": "weather", "rows": rows})
    assert status == 400
    assert text in error["message"]
    assert len(list(desk.stack.blobs.list("lake", ""))) == before
    assert desk.stack.fold(START) == {"departures": 0, "weather": 0, "arrivals": 0}


def test_a_push_sent_twice_changes_nothing_and_says_so(desk: Desk) -> None:
    now = START + timedelta(hours=12)
    first = desk.stack.push("weather", [weather(0)], now)
    again = desk.stack.push("weather", [weather(0)], now + timedelta(hours=1))
    assert (first.repeated, first.online_items) == (False, 1)
    assert (again.repeated, again.online_items) == (True, 0)
    assert desk.stack.fold(now)["weather"] == 1
    assert desk.stack.push("weather", [weather(0)], now).online_items == 0
    assert desk.stack.fold(now)["weather"] == 0


def test_feasts_form_of_a_write_is_taken_with_its_quirks(desk: Desk) -> None:
    frame = {
        "origin": ["JFK", "JFK", "EWR", "EWR"], "temp": [41.0, "NaN"], "sky": [None, "rain"],
        "event_timestamp": ["2013-02-01T12:00:00"] * 2, "created": [None, None],
    }  # fmt: skip
    status, pushed = desk.post("/write-to-online-store", {"feature_view_name": "weather", "df": frame})
    assert (status, pushed["rows"]) == (200, 2)
    query = {"features": ["weather:temp", "weather:sky"], "entities": {"origin": ["JFK", "EWR"]}}
    _, found = desk.post("/get-online-features", query)
    assert [column["values"] for column in found["results"][1:]] == [[41.0, None], [None, "rain"]]
    status, error = desk.post("/write-to-online-store", {"feature_view_name": "wether", "df": frame})
    assert (status, error["class"]) == (404, "KeyError")


def test_a_second_workspace_sees_nothing_of_the_first(desk: Desk) -> None:
    desk.stack.push("weather", [weather(11)], START + timedelta(hours=12))
    query = {"features": ["weather:temp"], "entities": {"origin": ["JFK"]}}
    assert desk.post("/get-online-features", query)[1]["results"][1]["values"] == [40.0]
    assert desk.post("/get-online-features", query, workspace="other")[1]["results"][1]["values"] == [None]


def test_a_reader_may_read_and_not_push(desk: Desk) -> None:
    reader = (Grant(role="reader"),)
    query = {"features": ["weather:temp"], "entities": {"origin": ["JFK"]}}
    assert desk.post("/get-online-features", query, grants=reader)[0] == 200
    assert desk.post("/push", {"source": "weather", "rows": []}, grants=reader)[0] == 403
    assert desk.post("/get-online-features", query, grants=())[0] == 403
    assert desk.post("/get-online-features", query, signed_in=False)[0] == 401
    assert Caller(desk.features, grants=()).ok("GET", "/v1/features/views") == {"views": []}
    assert Caller(desk.features).ok("GET", "/health") == {"status": "ok"}


def arrivals(n: int, delay: float | None) -> dict[str, Any]:
    when = START + timedelta(hours=n)
    return {
        "flight_id": f"f{n}", "carrier": "AA", "origin": "JFK", "scheduled": when, "arr_delay": delay,
        "known_at": when + timedelta(hours=6),
    }  # fmt: skip


def test_a_training_set_is_saved_once_under_its_content(desk: Desk) -> None:
    delays = [20.0, 15.0, None, 16.0, -3.0]
    desk.stack.upload("weather", [weather(n, 40.0 + n) for n in range(4)], START + timedelta(days=1))
    desk.stack.upload("arrivals", [arrivals(n, d) for n, d in enumerate(delays)], START + timedelta(days=1))
    query = {"model": "flights", "start": "2013-02-01T00:00:00Z", "end": "2013-02-01T04:00:00Z"}
    status, saved = desk.post("/v1/training-sets", query)
    assert (status, saved["rows"]) == (200, 3)
    assert desk.post("/v1/training-sets", query)[1] == saved
    table = pq.read_table(io.BytesIO(desk.stack.blobs.get("lake", saved["key"]).body))
    assert table["label"].to_pylist() == [1, 0, 1]
    assert table["temp"].to_pylist() == [None, 40.0, 42.0]
    events = [item.envelope for item in desk.stack.log.read("WS#default#TRAINING#flights")]
    assert [TrainingSetSaved.model_validate(e.data).digest for e in events] == [saved["digest"]]
    assert desk.post("/v1/training-sets", {**query, "end": query["start"]})[0] == 400
    assert desk.post("/v1/training-sets", {**query, "model": "ships"})[0] == 404


def test_a_training_set_holds_the_labels_that_were_known_as_of_its_time(desk: Desk) -> None:
    desk.stack.upload("arrivals", [arrivals(n, 20.0) for n in range(5)], START + timedelta(days=1))
    query = {"model": "flights", "start": "2013-02-01T00:00:00Z", "end": "2013-02-02T00:00:00Z"}
    for said, rows in (("2013-02-01T07:59:59Z", 2), ("2013-02-01T08:00:00Z", 3), ("2013-02-01T09:00:00+01:00", 3)):
        status, saved = desk.post("/v1/training-sets", {**query, "as_of": said})
        assert (status, saved["rows"]) == (200, rows)
        assert datetime.fromisoformat(saved["as_of"]) == datetime.fromisoformat(said)
    assert desk.post("/v1/training-sets", query, now="2013-02-01T08:30:00Z")[1]["digest"] == saved["digest"]
    ahead = desk.post("/v1/training-sets", {**query, "as_of": "2013-03-01T00:00:00Z"}, now="2013-02-01T08:30:00Z")[1]
    assert (ahead["rows"], ahead["as_of"]) == (3, "2013-02-01T08:30:00Z")
    assert desk.post("/v1/training-sets", {**query, "as_of": "2013-02-01T08:00:00"})[0] == 400
    events = [item.envelope.data for item in desk.stack.log.read("WS#default#TRAINING#flights")]
    assert [TrainingSetSaved.model_validate(data).as_of for data in events] == [
        START + timedelta(hours=8, seconds=-1),
        START + timedelta(hours=8),
    ]


def test_labels_of_a_source_that_does_not_say_when_are_known_when_they_came() -> None:
    sources = dict(PROJECT.sources)
    sources["arrivals"] = sources["arrivals"].model_copy(update={"available_at": None})
    stack = Stack(PROJECT.model_copy(update={"sources": sources}))
    stack.upload("arrivals", [arrivals(0, 20.0)], START + timedelta(days=1))
    stack.upload("arrivals", [arrivals(1, 20.0)], START + timedelta(days=2))
    query = datasets.TrainingSetQuery(model="flights", start=START, end=START + timedelta(days=1))
    for days, rows in ((1, 1), (2, 2)):
        assert datasets.build(stack.call(START + timedelta(days=days)), query, **stack.everything()).rows == rows


def test_a_training_set_too_large_for_a_caller_who_waits_is_refused_before_anything_is_joined() -> None:
    stack, now = Stack(), START + timedelta(days=60)
    rows = [arrivals(n, None if n % 10 == 0 else 20.0) for n in range(24 * 40)]
    stack.upload("arrivals", rows, now)
    query = datasets.TrainingSetQuery(model="flights", start=START, end=now)
    with pytest.raises(TooLarge, match=r"more than 863 labelled rows of arrivals: .*/v1/retraining/<model>, which"):
        datasets.build(stack.call(now), query, **stack.everything(), most=863)
    assert list(stack.blobs.list("lake", "datasets/")) == []
    assert datasets.build(stack.call(now), query, **stack.everything(), most=864).rows == 864
    assert datasets.MOST_ROWS == 400_000


def test_uploads_and_pushes_at_the_same_time_lose_nothing() -> None:
    rows = [weather(n, 40.0 + n, origin) for n in range(48) for origin in ("JFK", "EWR")]
    now, stack = START + timedelta(days=3), Stack()
    deliveries = [stack.delivery("weather", rows[n::6], now) for n in range(4)]

    def upload(n: int) -> None:
        own = Stack()
        own.tables, own.blobs, own.log = stack.tables, stack.blobs, Log(stack.tables)
        while True:
            try:
                own.deliver(deliveries[n])
            except ConditionFailed:
                continue
            return

    def push(n: int) -> None:
        stack.push("weather", rows[n::6], now)

    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(upload, n) for n in range(4)]
        work += [pool.submit(push, n) for n in (4, 5)]
        for done in work:
            done.result()
    asked = [
        {"flight_id": "x", "carrier": "AA", "origin": o, "scheduled": now - timedelta(hours=n)}
        for n in range(20, 26)
        for o in ("JFK", "EWR")
    ]
    stack.fold(now)
    assert stack.offline(asked) == [oracle({"weather": rows, "departures": []}, row) for row in asked]
    late = [{**row, "scheduled": now} for row in asked]
    assert stack.online(late, now) == stack.offline(late)


def test_an_upload_says_what_it_changed(desk: Desk) -> None:
    now = START + timedelta(days=1)
    delivery = desk.stack.delivery("weather", [weather(n) for n in range(4)], now)
    desk.stack.deliver(delivery)
    again = desk.stack.delivery("weather", [weather(n) for n in range(4)], now)
    desk.stack.deliver(again)
    stream = desk.stack.log.read("WS#default#SOURCE#weather")
    events = [FeaturesMaterialized.model_validate(item.envelope.data) for item in stream]
    assert [(e.rows, e.online_items, e.views) for e in events] == [(4, 1, ("weather",)), (0, 0, ("weather",))]


def test_the_light_function_needs_no_heavy_library() -> None:
    code = (
        "import sys; sys.argv=['x']; exec(open('functions/features/handler.py').read());"
        "print(sorted({'numpy','pandas','pyarrow','scipy','sklearn'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def departures(n: int) -> dict[str, Any]:
    left = START + timedelta(hours=n)
    return {
        "flight_id": f"f{n}", "carrier": "AA", "origin": "JFK", "left_at": left, "delay": 5, "late": False,
        "cancelled": False, "known_at": left + timedelta(minutes=1),
    }  # fmt: skip


def due(desk: Desk, now: datetime) -> Any:
    detail = {"name": "materialize", "at": now.isoformat(), "workspace": "default"}
    return desk.materialize({"detail-type": "ScheduleDue", "detail": detail})


@pytest.mark.parametrize(("body", "error"), [(None, NotFound), (b"scribble", ValueError)])
def test_what_is_wrong_with_one_source_keeps_a_round_from_nothing_else_and_is_raised_at_its_end(
    desk: Desk, body: bytes | None, error: type[Exception]
) -> None:
    now = START + timedelta(hours=12)
    assert next(iter(PROJECT.sources)) == "departures"
    watched = PROJECT.views["weather"].model_copy(update={"fresh_within": "1h"})
    project = PROJECT.model_copy(update={"views": {**PROJECT.views, "weather": watched}})
    item = {**current_key("default")._asdict(), "project": project.model_dump_json()}
    desk.stack.tables.write([Put("governance", item, Anything())])
    desk.stack.push("departures", [departures(n) for n in range(3)], now)
    desk.stack.push("weather", [weather(n) for n in range(5)], now)
    (broken,) = desk.stack.blobs.list("lake", "pushed/default/departures/")
    desk.stack.blobs.delete("lake", broken.key)
    if body is not None:
        desk.stack.blobs.put("lake", broken.key, body)
    asked = BackfillRequested(backfill_id="b-left", source="weather", views=(), window=None)
    desk.stack.tables.write(backfill.Backfill.started(asked, now - timedelta(hours=1)).writes("default", 0))
    with pytest.raises(error):
        due(desk, now)
    told = [item.envelope.type for item in desk.stack.log.read("WS#default#SOURCE#weather")]
    assert told == ["FeaturesMaterialized", "BackfillCompleted"]
    assert [i.envelope.type for i in desk.stack.log.read("WS#default#VIEW#weather")] == ["FreshnessBroken"]


def test_a_backfill_that_cannot_be_done_keeps_no_other_from_going_on(desk: Desk) -> None:
    now = START + timedelta(hours=12)
    desk.stack.upload("weather", [weather(n) for n in range(5)], now)
    for name in ("b-1", "b-2"):
        asked = BackfillRequested(backfill_id=name, source="weather", views=(), window=None)
        desk.stack.tables.write(backfill.Backfill.started(asked, now - timedelta(hours=1)).writes("default", 0))
    desk.stack.tables.write([Delete("features", backfill.backfill_key("default", "b-1"), Anything())])
    with pytest.raises(NotFound, match="b-1"):
        due(desk, now)
    assert backfill.show(desk.stack.call(now), "b-2", tables=desk.stack.tables)["state"] == "completed"
