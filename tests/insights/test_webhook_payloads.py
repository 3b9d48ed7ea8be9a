"""What webhooks are told is what MLflow would tell, signed as MLflow signs; what is ours is as in the log."""

import base64
import hashlib
import hmac
import importlib.util
import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http import deliver
from support.mlflow_desk import API, envelope_of

from insights.hooks import HookDesk, happen
from modelwright.events import (
    AliasChanged,
    ModelVersionChanged,
    ModelVersionDeleted,
    RegisteredModelChanged,
    TransitionRequested,
)

PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}


@pytest.fixture
def desk() -> HookDesk:
    return HookDesk()


# --- what is sent ------------------------------------------------------------------------


def test_a_model_is_told_as_mlflow_tells_it(desk: HookDesk) -> None:
    desk.hook("registered_model.created")
    desk.model("churn", description="late?", tags=[{"key": "team", "value": "ops"}])
    desk.pump()
    (body,) = desk.bodies()
    at = desk.log()[-1].envelope.at
    assert body == {
        "entity": "registered_model", "action": "created", "timestamp": at.isoformat(), "workspace": "default",
        "data": {"name": "churn", "tags": {"team": "ops"}, "description": "late?"},
    }  # fmt: skip


def test_versions_tags_and_aliases_are_told_as_mlflow_tells_them(desk: HookDesk) -> None:
    desk.hook(
        "model_version.created", "model_version_tag.set", "model_version_tag.deleted", "model_version_alias.created",
        "model_version_alias.deleted",
    )  # fmt: skip
    desk.model()
    source = {"name": "churn", "source": "s3://x/y", "description": "first", "tags": [{"key": "k", "value": "v"}]}
    desk.registry.ok("POST", f"{API}/model-versions/create", source)
    desk.registry.ok("POST", f"{API}/registered-models/alias", {"name": "churn", "alias": "blue", "version": "1"})
    desk.registry.ok("DELETE", f"{API}/registered-models/alias?name=churn&alias=blue")
    desk.pump()
    said = {"name": "churn", "version": "1"}
    assert [(name, body["data"]) for name, body in zip(desk.told(), desk.bodies(), strict=True)] == [
        (
            "model_version.created",
            {**said, "source": "s3://x/y", "run_id": None, "tags": {"k": "v"}, "description": "first"},
        ),
        ("model_version_alias.created", {**said, "alias": "blue"}),
        ("model_version_alias.deleted", {"name": "churn", "alias": "blue"}),
    ]
    stream = desk.log()[-1].envelope.stream
    for change in ("tag_set", "tag_deleted"):
        event = ModelVersionChanged(model="churn", version=1, change=change, key="k")
        deliver(desk.notify, envelope_of(event).model_copy(update={"stream": stream}))
    assert [body["data"] for body in desk.bodies()[3:]] == [{**said, "key": "k", "value": "v"}, {**said, "key": "k"}]


def test_prompts_are_told_as_prompts(desk: HookDesk) -> None:
    hook = desk.hook(
        *(f"prompt{part}.{verb}" for part in ("_tag", "_version_tag") for verb in ("set", "deleted")),
        "prompt.created", "prompt_version.created", "prompt_alias.created", "prompt_alias.deleted",
        "registered_model.created", "model_version.created", "model_version_tag.set", "model_version_alias.created",
    )  # fmt: skip
    assert hook
    desk.model("greet", tags=[PROMPT, {"key": "team", "value": "ops"}])
    text = {"key": "mlflow.prompt.text", "value": "Hello {{name}}!"}
    body = {"name": "greet", "source": "prompt-template", "tags": [PROMPT, text, {"key": "k", "value": "v"}]}
    desk.registry.ok("POST", f"{API}/model-versions/create", body)
    desk.pump()
    stream = "WS#default#MODEL#greet"
    for event in (
        RegisteredModelChanged(model="greet", change="tag_set", key="team"),
        RegisteredModelChanged(model="greet", change="tag_deleted", key="team"),
        RegisteredModelChanged(model="greet", change="description"),
        ModelVersionChanged(model="greet", version=1, change="tag_set", key="k"),
        ModelVersionChanged(model="greet", version=1, change="tag_deleted", key="k"),
        ModelVersionChanged(model="greet", version=1, change="description"),
        AliasChanged(model="greet", alias="blue", version=1, previous=None),
        AliasChanged(model="greet", alias="blue", version=None, previous=1),
    ):
        deliver(desk.notify, envelope_of(event).model_copy(update={"stream": stream}))
    name, version = {"name": "greet"}, {"name": "greet", "version": "1"}
    assert [(told, body["data"]) for told, body in zip(desk.told(), desk.bodies(), strict=True)] == [
        ("prompt.created", {**name, "tags": {"team": "ops"}, "description": ""}),
        (
            "prompt_version.created",
            {**version, "template": "Hello {{name}}!", "tags": {"k": "v"}, "description": None},
        ),
        ("prompt_tag.set", {**name, "key": "team", "value": "ops"}),
        ("prompt_tag.deleted", {**name, "key": "team"}),
        ("prompt_version_tag.set", {**version, "key": "k", "value": "v"}),
        ("prompt_version_tag.deleted", {**version, "key": "k"}),
        ("prompt_alias.created", {**version, "alias": "blue"}),
        ("prompt_alias.deleted", {**name, "alias": "blue"}),
    ]


def test_what_is_ours_is_told_as_it_is_in_the_log(desk: HookDesk) -> None:
    desk.hook("transition.requested", "model_version.deleted", "registered_model.renamed", "incident.opened")
    asked = TransitionRequested(request_id="r", model="churn", version=2, alias="champion", reason="better")
    renamed = RegisteredModelChanged(model="churn", change="renamed", new_name="leave")
    for event in (asked, ModelVersionDeleted(model="churn", version=1), renamed):
        deliver(desk.notify, envelope_of(event))
    assert [body["data"] for body in desk.bodies()] == [
        asked.model_dump(mode="json"), {"model": "churn", "version": 1}, renamed.model_dump(mode="json")
    ]  # fmt: skip
    assert desk.told() == ["transition.requested", "model_version.deleted", "registered_model.renamed"]


def test_a_model_that_is_gone_meanwhile_is_told_with_what_the_event_says(desk: HookDesk) -> None:
    desk.hook("model_version_tag.set", "registered_model.created", "model_version.created")
    event = ModelVersionChanged(model="gone", version=7, change="tag_set", key="k")
    deliver(desk.notify, envelope_of(event).model_copy(update={"stream": "WS#default#MODEL#gone"}))
    (body,) = desk.bodies()
    assert body["data"] == {"name": "gone", "version": "7", "key": "k", "value": ""}


# --- the signature -----------------------------------------------------------------------


def test_a_receiver_that_checks_mlflows_signatures_checks_ours(desk: HookDesk) -> None:
    hook = desk.hook("registered_model.created", secret="whsec_ü")
    event = happen(desk)
    ((_, body, headers),) = desk.outbound.sent
    assert headers["X-MLflow-Delivery-Id"] == f"{hook}-{event}"
    signed = headers["X-MLflow-Delivery-Id"] + "." + headers["X-MLflow-Timestamp"] + "." + body.decode()
    digest = hmac.new("whsec_ü".encode(), signed.encode(), hashlib.sha256).digest()
    assert headers["X-MLflow-Signature"] == "v1," + base64.b64encode(digest).decode()
    assert abs(int(headers["X-MLflow-Timestamp"]) - datetime.now().timestamp()) < 60, "of the wall, not of the event"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.peers
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the mlflow client is not installed")
@settings(deadline=None)
@given(secret=st.text(min_size=1, max_size=20), name=st.text(max_size=20))
def test_mlflow_itself_signs_the_same(secret: str, name: str) -> None:
    from mlflow.webhooks.delivery import _generate_hmac_signature

    from modelwright.insights.webhook_requests import signature

    body = json.dumps({"name": name})
    if secret.isprintable():
        assert signature(secret, "d-1", "1", body.encode()) == _generate_hmac_signature(secret, "d-1", "1", body)


def test_without_a_secret_nothing_is_signed(desk: HookDesk) -> None:
    desk.hook("registered_model.created")
    happen(desk)
    ((_, _, headers),) = desk.outbound.sent
    assert "X-MLflow-Signature" not in headers
