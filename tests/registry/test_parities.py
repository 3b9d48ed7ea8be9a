"""What a gate knows of the parity of a version's feature service, from the feature store's events."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.mlflow_desk import Desk, event_of

from modelwright.events import ParityDifference, ParityFailed, ParityProven, Window
from modelwright.project import GatePolicy, Project, current_key
from modelwright.registry import parities
from modelwright.registry.gates import ParityProven as Gate
from modelwright.storage import Anything, Put
from registry.test_evidence import PROJECT, Gathered, proof

WEEK = Window(start=datetime(2013, 2, 25, tzinfo=UTC), end=datetime(2013, 3, 4, tzinfo=UTC))
FED = ("hour", "temp")


def told(digest: str, *causes: str, project: str = "p1", features: tuple[str, ...] = FED) -> Any:
    """Return the event of a proof, or of its failure for these causes."""
    said: dict[str, Any] = {
        "service": "flights", "digest": digest, "key": f"proofs/default/{digest}.json", "rows": 500, "values": 1000,
        "window": WEEK, "project": project, "features": features,
    }  # fmt: skip
    if not causes:
        return ParityProven(**said)
    differences = tuple(ParityDifference(feature="temp", cause=cause, count=3) for cause in causes)
    return ParityFailed(**said, differences=differences)


def declare(desk: Desk, digest: str = "p1") -> None:
    project = Project.model_validate({**PROJECT, "digest": digest})
    item = {**current_key("default")._asdict(), "project": project.model_dump_json()}
    desk.tables.write([Put("governance", item, Anything())])


@pytest.fixture
def desk() -> Desk:
    """A version that is fed ``hour`` and ``temp``, without a proof of its training."""
    made = Desk()
    declare(made)
    made.tell("registry", event_of("registry-training-completed.json", training_id="t1", features=FED))
    return made


def verdict(desk: Desk) -> tuple[bool, str]:
    result = Gate().check(Gathered(desk, "parity_proven").candidate, GatePolicy())
    return result.passed, result.text


def test_without_a_proof_the_gate_says_how_to_get_one(desk: Desk) -> None:
    passed, text = verdict(desk)
    assert not passed
    assert "modelwright features prove flights" in text
    assert "POST /v1/retraining/flights" in text


def test_a_proof_of_the_service_passes_the_gate(desk: Desk) -> None:
    desk.tell("registry", told("d" * 64))
    passed, text = verdict(desk)
    assert passed
    assert text == f"500 served rows are equal to what is trained on, to the bit (proof {'d' * 16})"


def test_a_failed_proof_names_what_differs(desk: Desk) -> None:
    desk.tell("registry", told("d" * 64, "time zone"))
    passed, text = verdict(desk)
    assert not passed
    assert "flights v1 is served otherwise than it is trained: temp in 3 rows (time zone): mend it" in text


def test_a_failed_proof_outweighs_the_trainings_own(desk: Desk) -> None:
    digest = hashlib.sha256(proof()).hexdigest()
    desk.blobs.put("artifacts", "default/trainings/t2/model/parity.json", proof())
    more = {"training_id": "t2", "artifact_key": "default/trainings/t2/model/", "parity_digest": digest}
    desk.tell("registry", event_of("registry-training-completed.json", features=FED, **more))
    gate, policy = Gate(), GatePolicy()

    def checked() -> Any:
        return gate.check(Gathered(desk, "parity_proven", number=2).candidate, policy)

    assert checked().text.startswith("16 rows were computed again as they are served")
    desk.tell("registry", told("d" * 64, "float width"))
    assert not checked().passed
    desk.tell("registry", told("e" * 64))
    assert checked().text.startswith("500 served rows")


def test_data_that_came_late_is_nothing_that_a_version_could_mend(desk: Desk) -> None:
    desk.tell("registry", told("d" * 64))
    desk.tell("registry", told("e" * 64, "late data"))
    assert verdict(desk)[0]
    desk.tell("registry", told("f" * 64, "late data", "null fill"))
    assert not verdict(desk)[0]


def test_a_proof_is_about_one_project_and_the_features_that_it_compared(desk: Desk) -> None:
    desk.tell("registry", told("d" * 64, features=("temp",)))
    assert not verdict(desk)[0]
    desk.tell("registry", told("e" * 64, project="p2"))
    assert not verdict(desk)[0]
    declare(desk, "p2")
    assert verdict(desk)[0]
    declare(desk, "p3")
    assert not verdict(desk)[0]


def test_request_columns_need_no_proof() -> None:
    parity = parities.Parity("d", 1, ("temp",))
    assert parity.covers(("temp", "id"), {"id": "string"})
    assert not parity.covers(("temp", "id"), ())


def test_the_newest_proof_counts_in_whichever_order_they_are_told(desk: Desk) -> None:
    first, second = told("d" * 64, "time zone"), told("e" * 64)
    at = datetime(2013, 3, 4, tzinfo=UTC)
    desk.tell("registry", second, identity="01BQRDQH900000000000000200", at=at + timedelta(hours=1))
    desk.tell("registry", first, identity="01BQRDQH900000000000000100", at=at)
    assert verdict(desk)[0]
    assert desk.tell("registry", first, identity="01BQRDQH900000000000000100", at=at) == {"outcome": "duplicate"}
