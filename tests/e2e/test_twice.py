"""Every event once more, in another order: nothing changes."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest

from e2e.desk import Desk, parquet, wait
from modelwright.client import TOKEN
from modelwright.demo import scientist
from modelwright.demo.data import YEAR, Flights
from modelwright.demo.observer import consumers, takers
from modelwright.local.packaging import Sources

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:.*Any type hint")]

WEEK = pd.Timedelta(days=7)


@pytest.fixture(scope="module")
def lived(desk: Desk) -> Desk:
    """A stack in which uploads, labels, predictions, a champion, a training and what follows from it happened."""
    for held in desk.api().get("/v1/quarantine")["quarantines"]:  # of other tests: they would veto the training
        desk.api().post(f"/v1/quarantine/{held['id']}/discard", {})
    desk.observer.settle()
    flights = Flights()
    for start in (YEAR, YEAR + WEEK):
        land(desk, flights, start)
    end = (YEAR + 2 * WEEK).to_pydatetime()
    api = desk.api(end)
    model = desk.team.project.models["flights"]
    examples = scientist.training_set(api, "flights", YEAR.to_pydatetime(), end)
    token = desk.running.extra[TOKEN]
    version = scientist.log_model(api, "flights", model, examples, token=token, experiment="twice")
    scientist.make_champion(api, "flights", version, token=token)
    desk.observer.wait_for("routes", lambda item: item.envelope.type == "RoutesChanged")
    rows = flights.scheduled(YEAR + 2 * WEEK, YEAR + 3 * WEEK).head(1_000)
    asked = [{**row, "scheduled_departure": row["scheduled_departure"].isoformat()} for row in rows.to_dict("records")]
    api.post("/v1/predict/flights", {"rows": asked, "mode": "point_in_time"})
    land(desk, flights, YEAR + 2 * WEEK)
    order = desk.api(datetime(2013, 3, 1, tzinfo=UTC))
    order.post("/v1/retraining/flights", {"reason": "to have one"})
    desk.observer.settle()
    return desk


def land(desk: Desk, flights: Flights, start: pd.Timestamp) -> None:
    end = start + WEEK
    for source, table in (
        ("departures", flights.departures_known(start, end)),
        ("weather", flights.weather_known(start, end)),
        ("arrivals", flights.arrivals_known(start, end)),
    ):
        outcome = desk.land(f"{source}/{start:%Y-%m-%d}.parquet", parquet(table), end.to_pydatetime())
        assert outcome.startswith("accepted"), outcome


def test_every_event_delivered_twice_and_in_disorder_changes_nothing(lived: Desk) -> None:
    items = lived.events()
    seen = {item.envelope.type for item in items}
    assert {"UploadAccepted", "AliasChanged", "PerformanceMeasured", "TrainingCompleted", "ModelVersionCreated"} <= seen
    before = state(lived)
    rules = consumers(Sources.find().template.read_text(encoding="utf-8"))
    due = {(function, item.envelope.id) for item in items for function in takers(rules, item.envelope)}
    entries = [entry(lived, item.envelope) for item in items]
    random.Random(2).shuffle(entries)
    lived.outcomes.look()
    heard = len(lived.outcomes.lines)
    events = lived.running.client("events")
    for first in range(0, len(entries), 10):
        assert events.put_events(Entries=entries[first : first + 10])["FailedEntryCount"] == 0

    def again() -> set[tuple[str, str]]:
        lines = lived.outcomes.lines[heard:]
        return {(line["service"], line["event"]) for line in lines if "event" in line}

    wait(lambda: due <= again(), "all deliveries", limit_s=90, look=lived.outcomes.look)
    lived.observer.settle()
    anew = [line for line in lived.outcomes.lines[heard:] if "event" in line and line["outcome"] != "duplicate"]
    assert anew == []
    after = state(lived)
    assert after.keys() == before.keys()
    for name in before:
        assert after[name] == before[name], name


def entry(desk: Desk, envelope: Any) -> dict[str, str]:
    detail = json.dumps(envelope.model_dump(mode="json"))
    bus = desk.running.outputs["BusName"]
    return {"Source": "modelwright", "DetailType": envelope.type, "Detail": detail, "EventBusName": bus}


def state(desk: Desk) -> dict[str, Any]:
    """Return every table's items and every bucket's keys with their content's tag; without what says when."""
    found: dict[str, Any] = {}
    dynamodb, s3 = desk.running.client("dynamodb"), desk.running.client("s3")
    for output, name in desk.running.outputs.items():
        if output.endswith("TableName"):
            pages = dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
            items = [item for page in pages for item in page["Items"]]
            for item in items:
                item.pop("published", None)
            found[output] = {(item["pk"]["S"], item["sk"]["S"]): item for item in items}
        if output.endswith("BucketName"):
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
            found[output] = {row["Key"]: row["ETag"] for page in pages for row in page.get("Contents", ())}
    return found
