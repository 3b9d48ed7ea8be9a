import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.http import handler_of, memory_wiring, payload

from modelwright.events import QualityFailed, UploadAccepted
from modelwright.governance.access import Grant
from modelwright.project import Project
from modelwright.runtime import Function
from monitoring.desk import Desk
from monitoring.year import PROJECT, SOURCES, START, csv_bytes

EVENTS = Path(__file__).parents[2] / "events"
PLAIN = Project(
    name="flights",
    sources={name: source.model_copy(update={"checks": (), "detectors": ()}) for name, source in SOURCES.items()},
    models=PROJECT.models,
)


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"monitor-{name}.json").read_text())
    return event


@pytest.fixture
def desk() -> Desk:
    return Desk(PLAIN)


@pytest.fixture
def monitor(desk: Desk) -> Function:
    return handler_of("monitor", memory_wiring(tables=desk.tables, blobs=desk.blobs))


def landed(desk: Desk, key: str, body: bytes) -> dict[str, Any]:
    event = sample("object-created")
    event["detail"]["object"] |= {"key": key, "version-id": desk.blobs.put("landing", key, body)}
    return event


def arrivals() -> bytes:
    flight = {"carrier": "UA", "origin": "EWR", "dest": "ORD", "distance": 7, "arr_delay": 3}
    times = [START + timedelta(hours=n) for n in range(5)]
    return csv_bytes([{"flight_id": f"f{t:%H}", **flight, "scheduled_departure": t, "known_at": t} for t in times])


def test_an_object_that_lands_is_judged_once(desk: Desk, monitor: Function) -> None:
    event = landed(desk, "arrivals/1.csv", arrivals())
    assert monitor(event) == {"outcome": "accepted 5 rows"}
    assert monitor(event) == {"outcome": "repeated delivery: accepted 5 rows"}
    assert len(desk.events(UploadAccepted, "arrivals")) == 1


def test_the_sample_payloads_are_understood(desk: Desk, monitor: Function) -> None:
    assert monitor(sample("object-created")) == {"outcome": "gone before it was read"}
    for heard in ("alias-changed", "training-completed", "model-version-created"):
        assert monitor(sample(heard)) == {"outcome": "handled"}
    monitor(landed(desk, "arrivals/1.csv", arrivals()))
    (accepted,) = desk.events(UploadAccepted, "arrivals")
    event = sample("upload-accepted")
    event["detail"]["data"] = accepted.model_dump(mode="json")
    assert monitor(event) == {"outcome": "handled"}
    assert monitor(event) == {"outcome": "duplicate"}
    answer = monitor(payload("GET", "/v1/monitoring/flights"))
    assert json.loads(answer["body"])["windows"][0]["joined"] == 0
    assert json.loads(answer["body"])["champion"] == 2


def test_a_schedule_looks_at_what_has_no_labels_yet(desk: Desk, monitor: Function) -> None:
    assert monitor(sample("schedule-due")) == {"outcome": "done"}
    monitor(sample("alias-changed"))
    assert monitor(sample("schedule-due")) == {"outcome": "done"}
    assert json.loads(monitor(payload("GET", "/v1/monitoring/flights"))["body"])["estimates"] == []


def test_people_see_and_discard_quarantines(desk: Desk, monitor: Function) -> None:
    monitor(landed(desk, "nowhere/1.csv", b"a\n1\n"))
    (failed,) = desk.events(QualityFailed, "unknown")
    answer = json.loads(monitor(payload("GET", "/v1/quarantine"))["body"])
    assert [one["id"] for one in answer["quarantines"]] == [failed.quarantine_id]
    assert "nowhere/1.csv" in answer["quarantines"][0]["findings"][0]["text"]
    path = f"/v1/quarantine/{failed.quarantine_id}/discard"
    assert monitor(payload("POST", path, grants=[Grant(role="reader")]))["statusCode"] == 403
    assert monitor(payload("POST", path, grants=[Grant(role="approver")]))["statusCode"] == 200
    assert monitor(payload("POST", path))["statusCode"] == 404
    assert json.loads(monitor(payload("GET", "/v1/quarantine"))["body"]) == {"quarantines": []}
    assert monitor(payload("GET", "/v1/monitoring/ships"))["statusCode"] == 404
    assert monitor(payload("GET", "/v1/quarantine", signed_in=False))["statusCode"] == 401
