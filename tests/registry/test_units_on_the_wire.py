"""What a transition and a look-up cost on the wire, by DynamoDB's documented rules, for versions small and large."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.cloud import Cloud, cloud
from support.http import deliver, handler_of, payload
from support.mlflow_desk import API, envelope_of, event_of
from support.units import Auditor, Units

from modelwright.runtime import Function

pytestmark = pytest.mark.e2e


@dataclass
class Desk:
    """The registry over an emulator."""

    function: Function
    auditor: Auditor

    def ask(self, method: str, path: str, body: Any = None) -> tuple[Any, Units]:
        """Return an answer, and its cost."""
        self.auditor.take()
        answer = self.function(payload(method, path, body, actor="user-01KJP8TRM3V9Q2S7"))
        assert answer["statusCode"] == 200, answer["body"]
        return json.loads(answer["body"]), self.auditor.take()

    def trained(self) -> None:
        """Let a training end, whose version is large: it knows how it did in each slice of the data."""
        event = event_of("registry-training-completed.json", training_id="t1")
        slices = [
            {"column": "carrier", "value": f"carrier {n}", "rows": 1000, "positives": 200, "auc": 0.7, "brier": 0.15}
            for n in range(60)
        ]
        evaluation = {**event.evaluation.model_dump(mode="json"), "slices": slices}
        deliver(
            self.function, envelope_of(type(event).model_validate({**event.model_dump(), "evaluation": evaluation}))
        )


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as running:
        yield running


@pytest.fixture(scope="module")
def desk(emulator: Cloud) -> Iterator[Desk]:
    auditor = Auditor(client=emulator.client("dynamodb"))
    with auditor.on():
        yield Desk(handler_of("registry", emulator.wiring()), auditor)


def test_a_request_is_applied_in_four_calls_and_twenty_units_however_large_the_version_is(desk: Desk) -> None:
    for name in ("small", "flights"):
        desk.ask("POST", f"{API}/registered-models/create", {"name": name})
        for _ in range(3):
            desk.ask("POST", f"{API}/model-versions/create", {"name": name, "source": "s3://elsewhere/x"})
        desk.ask("POST", f"/v1/models/{name}/transitions", {"version": 1, "alias": "champion"})
    desk.trained()
    for name, version in (("small", 2), ("flights", 4)):
        body = {"version": version, "alias": "blue", "reason": "better on Mondays, says the notebook of last week"}
        _, cost = desk.ask("POST", f"/v1/models/{name}/transitions", body)
        assert len(cost.operations) <= 4
        assert cost.writes <= 20
        found, cost = desk.ask("GET", f"{API}/registered-models/alias?name={name}&alias=blue")
        assert found["model_version"]["version"] == str(version)
        assert cost.operations == ["BatchGetItem"]
    body = {"version": 4, "alias": "champion", "reason": "it was the challenger, and that alias goes"}
    _, cost = desk.ask("POST", "/v1/models/flights/transitions", body)
    assert len(cost.operations) <= 4
    assert cost.writes <= 20
