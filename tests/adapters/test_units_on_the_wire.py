"""The meter against a second opinion: units reckoned from what crosses the wire, by DynamoDB's documented rules."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.cloud import Cloud, KeptMeter, cloud
from support.http import handler_of, payload
from support.units import Auditor, Units

from modelwright.runtime import Function

pytestmark = pytest.mark.e2e
NOISE = random.Random(5)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@dataclass
class Desk:
    """The tracking function, and what its meter counted."""

    function: Function
    auditor: Auditor

    def ask(self, method: str, path: str, body: Any = None) -> tuple[Any, Units, Units]:
        """Return an answer, the units on the wire, and those of the meter."""
        self.auditor.take()
        answer = self.function(payload(method, f"/api/2.0/mlflow/{path}", body))
        assert answer["statusCode"] == 200, answer["body"]
        metered = Units(KeptMeter.last["write_units"], KeptMeter.last["read_units"])
        return json.loads(answer["body"]), self.auditor.take(), metered

    def experiment(self) -> str:
        name = f"units-{NOISE.random()}"
        return str(self.ask("POST", "experiments/create", {"name": name})[0]["experiment_id"])

    def run(self) -> str:
        made, _, _ = self.ask("POST", "runs/create", {"experiment_id": self.experiment()})
        return str(made["run"]["info"]["run_id"])


@pytest.fixture(scope="module")
def desk(emulator: Cloud) -> Iterator[Desk]:
    auditor = Auditor(client=emulator.client("dynamodb"))
    with auditor.on():
        yield Desk(handler_of("tracking", emulator.wiring()), auditor)


def points(*steps: tuple[str, int]) -> dict[str, Any]:
    return {"metrics": [{"key": k, "value": NOISE.random(), "timestamp": s, "step": s} for k, s in steps]}


LOGGED: dict[str, Callable[[], dict[str, Any]]] = {
    "one metric": lambda: points(("loss", 0)),
    "ten metrics": lambda: points(*((f"m{n}", 0) for n in range(10))),
    "a thousand points": lambda: points(*(("loss", n) for n in range(1000))),
    "a thousand metrics": lambda: points(*((f"m{n}", 0) for n in range(1000))),
    "long params": lambda: {"params": [{"key": f"p{n}", "value": "x" * 300} for n in range(100)]},
    "a long tag": lambda: {"tags": [{"key": "t", "value": "x" * 5000}]},
}


@pytest.mark.parametrize("what", LOGGED)
def test_what_is_logged_costs_what_the_meter_says(desk: Desk, what: str) -> None:
    run, writes = desk.run(), 0
    for _ in range(3):
        _, wire, metered = desk.ask("POST", "runs/log-batch", {"run_id": run, **LOGGED[what]()})
        writes += wire.writes
        assert metered.writes == wire.writes, wire
        assert metered.reads == wire.reads - wire.missing, wire
    assert writes > 0


def test_a_run_that_begins_and_ends_costs_what_the_meter_says(desk: Desk) -> None:
    made, wire, metered = desk.ask("POST", "runs/create", {"experiment_id": desk.experiment()})
    assert (metered.writes, metered.reads) == (wire.writes, wire.reads)
    ended = {"run_id": made["run"]["info"]["run_id"], "status": "FINISHED", "end_time": 1}
    _, wire, metered = desk.ask("POST", "runs/update", ended)
    assert metered.writes == wire.writes > 0, wire


def test_metrics_in_turn_cost_about_what_the_meter_says(desk: Desk) -> None:
    """When entries are folded, an item is written shorter than it was, of which the meter knows nothing."""
    run, costs = desk.run(), []
    for step in range(120):
        metric = points((f"metric_{step % 40}", step))["metrics"][0]
        costs.append(desk.ask("POST", "runs/log-metric", {"run_id": run, **metric})[1:])
    wire, metered = (sum(cost[side].writes for cost in costs) for side in (0, 1))
    assert metered <= wire <= metered * 1.03


def test_what_is_read_costs_what_the_meter_says_and_a_unit_for_each_item_that_is_not_there(desk: Desk) -> None:
    run = desk.run()
    for start in range(5):
        desk.ask(
            "POST", "runs/log-batch", {"run_id": run, **points(*(("loss", start * 1000 + n) for n in range(1000)))}
        )
    for path in (f"runs/get?run_id={run}", f"metrics/get-history?run_id={run}&metric_key=loss"):
        _, wire, metered = desk.ask("GET", path)
        assert metered.reads == wire.reads - wire.missing > 0, wire
        assert wire.missing <= 2


@dataclass
class Case:
    """A write, and how large the item is before and after it."""

    name: str
    request: dict[str, Any]


KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
LONG, SHORT = {**KEY, "x": {"S": "y" * 5000}}, {**KEY, "x": {"S": "y" * 100}}
SET = {"Key": KEY, "UpdateExpression": "SET z = :z", "ExpressionAttributeValues": {":z": {"N": "1"}}}
CASES = (
    Case("put_item", {"Item": LONG}),
    Case("put_item", {"Item": SHORT}),
    Case("put_item", {"Item": SHORT}),
    Case("put_item", {"Item": LONG}),
    Case("update_item", SET),
    Case("delete_item", {"Key": KEY}),
)


def test_the_second_opinion_is_the_emulators_own(emulator: Cloud) -> None:
    import boto3

    auditor = Auditor(client=emulator.client("dynamodb"))
    with auditor.on():
        client = boto3.client("dynamodb")
        for case in CASES:
            auditor.take()
            said = getattr(client, case.name)(TableName="test-registry", ReturnConsumedCapacity="TOTAL", **case.request)
            assert said["ConsumedCapacity"]["CapacityUnits"] == auditor.take().writes, case
        put: Any = {"Put": {"TableName": "test-registry", "Item": LONG}}
        auditor.take()
        said = client.transact_write_items(TransactItems=[put], ReturnConsumedCapacity="TOTAL")
        assert said["ConsumedCapacity"][0]["CapacityUnits"] == auditor.take().writes == 10
