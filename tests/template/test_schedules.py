"""A deployment that nobody has applied a project to: what is due finds nothing to do."""

import json

import boto3
import pytest
from botocore.stub import Stubber
from support.http import handler_of

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.events import SOURCE
from modelwright.wiring import Settings, Wiring
from template.stack import REGION, Stack, the_template

STACK = Stack.of(the_template())
SETTINGS = Settings(
    function="test", workspace="default", bus="bus", virtual_time=False, tables={}, buckets={}, environment={}
)


def due() -> list[tuple[str, str]]:
    """Return (function, what the scheduler sends) of every schedule and every function that a rule brings it to."""
    sent = [schedule["Target"]["Input"] for schedule in STACK.of_type("AWS::Scheduler::Schedule").values()]
    found = []
    for identity, function in STACK.names.items():
        for rule in STACK.triggers(identity, "EventBridgeRule").values():
            names = rule["Pattern"].get("detail", {}).get("name", [])
            found += [(function, text) for text in sent if json.loads(text)["name"] in names]
    return found


DUE = due()


def test_every_schedule_is_brought_to_somebody() -> None:
    assert {json.loads(text)["name"] for _, text in DUE} == {
        "anchor", "sweep", "materialize", "retrain", "rollout", "maintain", "expire", "parity", "estimate", "windows"
    }  # fmt: skip


@pytest.mark.parametrize(("function", "text"), DUE, ids=[function for function, _ in DUE])
def test_a_schedule_finds_nothing_to_do_where_no_project_was_applied(function: str, text: str) -> None:
    tables, blobs = MemoryTables(), MemoryBlobs()
    wiring = Wiring(SETTINGS, tables=tables, blobs=blobs)
    wiring.events = boto3.client("events", REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
    detail = json.loads(text.replace("<aws.scheduler.scheduled-time>", "2026-01-01T00:00:00Z"))
    event = {"id": "1", "detail-type": "ScheduleDue", "source": f"{SOURCE}.schedule", "detail": detail}
    with Stubber(wiring.events):
        for _ in range(2):
            assert handler_of(function, wiring)(event) == {"outcome": "done"}
    kept = {key.pk for items in tables._items.values() for key in items}
    assert kept <= {"SWEEP", "ROOT"}, "how far the sweeps got, and that there was nothing to anchor yet"
    assert not blobs._objects
