"""A creation that is asked for again, by the same gateway's request or the same key, happens once."""

from typing import Any

import pytest
from support.http import Caller, payload
from support.mlflow_desk import API, Desk

MAKES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "experiment": ("tracking", "experiments/create", {"name": "a"}, {"name": "a", "artifact_location": "s3://b/x"}),
    "another experiment": ("tracking", "experiments/create", {"name": "a"}, {"name": "b"}),
    "run": ("tracking", "runs/create", {"experiment_id": "0"}, {"experiment_id": "0", "user_id": "x"}),
    "run elsewhere": ("tracking", "runs/create", {"experiment_id": "0"}, {"experiment_id": "1"}),
    "logged model": ("tracking", "logged-models", {"experiment_id": "0"}, {"experiment_id": "0", "name": "n"}),
    "registered model": ("registry", "registered-models/create", {"name": "r"}, {"name": "r", "description": "x"}),
    "another registered model": ("registry", "registered-models/create", {"name": "r"}, {"name": "s"}),
    "version": (
        "registry",
        "model-versions/create",
        {"name": "old", "source": "s3://a/b"},
        {"name": "old", "source": "s3://a/c"},
    ),
}
makes = pytest.mark.parametrize(("function", "path", "body", "other"), MAKES.values(), ids=MAKES)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.experiment()
    desk.tracking.ok("GET", f"{API}/experiments/get?experiment_id=0")
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "old"})
    return desk


def identity(said: Any) -> Any:
    """Return what tells the made thing apart, wherever an answer has it."""
    if "experiment_id" in said:
        return said["experiment_id"]
    (thing,) = said.values()
    info = thing.get("info", thing)
    return info.get("run_id") or info.get("model_id") or (info["name"], info.get("version"))


@makes
def test_the_same_key_makes_the_same_thing(
    desk: Desk, function: str, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    ask = Caller(desk.functions[function])
    said = [ask("POST", f"{API}/{path}", body, idempotency_key="k1") for _ in range(3)]
    assert [status for status, _ in said] == [200, 200, 200]
    assert len({repr(identity(answer)) for _, answer in said}) == 1


@makes
def test_a_key_with_another_body_is_refused_and_makes_nothing(
    desk: Desk, function: str, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    ask = Caller(desk.functions[function])
    assert ask("POST", f"{API}/{path}", body, idempotency_key="k1")[0] == 200
    before = repr(desk.tables._items)
    status, said = ask("POST", f"{API}/{path}", other, idempotency_key="k1")
    assert (status, said["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Idempotency-Key" in said["message"]
    assert repr(desk.tables._items) == before


@makes
def test_other_keys_other_callers_and_requests_without_a_key_make_other_things(
    desk: Desk, function: str, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    ask, guest = Caller(desk.functions[function]), Caller(desk.functions[function], actor="bob")
    first = ask("POST", f"{API}/{path}", body, idempotency_key="k1")
    rest = [
        ask("POST", f"{API}/{path}", body, idempotency_key="k2"),
        guest("POST", f"{API}/{path}", body, idempotency_key="k1"),
        ask("POST", f"{API}/{path}", body),
        ask("POST", f"{API}/{path}", body),
    ]
    if path in ("experiments/create", "registered-models/create"):
        assert [(status, said["error_code"]) for status, said in rest] == [(400, "RESOURCE_ALREADY_EXISTS")] * 4
    else:
        assert len({repr(identity(said)) for _, said in [first, *rest]}) == 5


@makes
def test_the_gateways_own_id_does_the_same(
    desk: Desk, function: str, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    event = payload("POST", f"{API}/{path}", body)
    answers = [desk.functions[function](event) for _ in range(2)]
    assert [answer["statusCode"] for answer in answers] == [200, 200]
    assert answers[0]["body"].split('"creation')[0] == answers[1]["body"].split('"creation')[0]
    assert desk.functions[function](payload("POST", f"{API}/{path}", body))["body"] != answers[0]["body"]


def test_a_run_that_is_made_again_is_told_as_it_is_by_now(desk: Desk) -> None:
    body = {"experiment_id": "0", "run_name": "first"}
    made = desk.tracking("POST", f"{API}/runs/create", body, idempotency_key="k1")[1]["run"]["info"]["run_id"]
    desk.tracking.ok("POST", f"{API}/runs/update", {"run_id": made, "run_name": "renamed", "status": "FINISHED"})
    again = desk.tracking("POST", f"{API}/runs/create", body, idempotency_key="k1")[1]["run"]
    assert (again["info"]["run_id"], again["info"]["run_name"], again["info"]["status"]) == (
        made,
        "renamed",
        "FINISHED",
    )
    assert desk.types("RUN", made) == ["RunCreated", "RunEnded"]
