"""What is known of a person is nowhere in the log, so erasing it breaks nothing that the log proves."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.mlflow_desk import API, Desk

from modelwright.context import Call
from modelwright.governance.access import Grant
from modelwright.governance.anchoring import anchor, newest_root
from modelwright.governance.people import pseudonym_of
from modelwright.governance.verifier import root_faults, verify
from modelwright.storage import Item, Key

PERSON = "Jane Roe <jane.roe@example.com>"
MARKS = ("Jane", "jane.roe", "Roe")
ARN = "arn:aws:iam::111122223333:user/jane.roe"
RM, MV = f"{API}/registered-models", f"{API}/model-versions"
CARD = "/v1/models/churn/versions/1/card"


def told_everywhere(desk: Desk) -> str:
    """Let people write a person's name wherever a text of theirs goes; return the person's pseudonym."""
    tags = [{"key": "contact", "value": PERSON}]
    experiment = desk.experiment("churn")
    desk.tracking.ok(
        "POST", f"{API}/experiments/set-experiment-tag", {"experiment_id": experiment, "key": "k", "value": PERSON}
    )
    run = desk.run(experiment, run_name=PERSON, user_id=PERSON, tags=tags)
    assert desk.log_batch(run, params={"who": PERSON}, tags={"note": PERSON})[0] == 200
    desk.tracking.ok("POST", f"{API}/runs/update", {"run_id": run, "status": "FINISHED", "end_time": 2000})
    desk.registry.ok("POST", f"{RM}/create", {"name": "churn", "description": PERSON, "tags": tags})
    desk.registry.ok(
        "POST",
        f"{MV}/create",
        {"name": "churn", "source": "mlflow-artifacts:/1/x", "description": PERSON, "tags": tags},
    )
    desk.registry.ok("PATCH", f"{RM}/update", {"name": "churn", "description": f"ask {PERSON}"})
    desk.registry.ok("PATCH", f"{MV}/update", {"name": "churn", "version": "1", "description": f"ask {PERSON}"})
    desk.registry.ok("POST", f"{RM}/set-tag", {"name": "churn", "key": "owner", "value": PERSON})
    desk.registry.ok("POST", f"{MV}/set-tag", {"name": "churn", "version": "1", "key": "owner", "value": PERSON})
    desk.registry.ok("PUT", CARD, {"sections": {"contact": PERSON, "limitations": f"ask {PERSON}"}})
    desk.registry.ok("POST", "/v1/access/principals", {"arn": ARN, "grants": [{"role": "reader"}]})
    given: dict[str, Any] = {"tables": desk.tables, "wall": datetime.now(UTC)}
    return pseudonym_of("default", "https://idp.example.com", PERSON, (Grant(role="reader"),), **given)


def stored(desk: Desk, table: Any) -> list[Item]:
    return list(desk.tables._items.get(table, {}).values())


def proven(desk: Desk) -> tuple[int, int]:
    """Verify the whole log against the newest root; return its streams and items."""
    root = newest_root(tables=desk.tables, blobs=desk.blobs)
    assert root is not None
    items = sorted(stored(desk, "log"), key=lambda item: (item["pk"], item["sk"]))
    breaks, streams, count = verify(items, [root])
    assert (breaks, root_faults([root])) == ([], [])
    return streams, count


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nothing_that_people_wrote_of_a_person_is_in_the_log(desk: Desk) -> None:
    told_everywhere(desk)
    elsewhere = repr([stored(desk, table) for table in ("tracking", "registry", "governance")])
    assert all(mark in elsewhere for mark in MARKS), "or this test could not fail"
    log = repr(stored(desk, "log"))
    assert len(stored(desk, "log")) > 8
    assert [mark for mark in MARKS if mark in log] == []


def test_erasing_it_leaves_all_that_was_anchored_verifiable(desk: Desk) -> None:
    pseudonym = told_everywhere(desk)
    call = Call("default", "platform", datetime.now(UTC), "c")
    given: dict[str, Any] = {"tables": desk.tables, "blobs": desk.blobs, "log": desk.wiring.log}
    anchor(call, wall=datetime.now(UTC), **given)
    before = proven(desk)
    desk.registry.ok("PATCH", f"{RM}/update", {"name": "churn", "description": ""})
    desk.registry.ok("DELETE", f"{RM}/delete-tag", {"name": "churn", "key": "owner"})
    desk.registry.ok("DELETE", f"{MV}/delete", {"name": "churn", "version": "1"})
    desk.registry.ok("DELETE", f"/v1/access/people/{pseudonym}")
    desk.registry.ok("DELETE", f"/v1/access/principals/{ARN}")
    after = proven(desk)
    assert after[1] > before[1], "that it was erased is in the log"
    for table in ("tracking", "registry", "governance"):  # and however it is erased, the log proves what it proved
        for item in stored(desk, table):
            if item["pk"] != "ROOT":
                desk.tables.delete_many(table, [Key(item["pk"], item["sk"])])
    assert proven(desk) == after
    assert "Jane" not in repr(desk.tables._items)
