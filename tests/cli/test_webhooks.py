"""``modelwright webhooks`` against notify behind a loopback port."""

import json
from collections.abc import Callable, Iterator

import pytest
from insights.hooks import DOWN, NOON, URL, HookDesk
from support.http import serve
from typer.testing import CliRunner, Result

from modelwright.cli.webhooks import app
from modelwright.errors import InvalidInput, NotFound

Run = Callable[..., Result]


@pytest.fixture
def desk() -> HookDesk:
    desk = HookDesk()
    desk.hooks.ok("GET", "/v1/webhooks")  # so that its logger is bound to this process's stderr, not to a runner's
    return desk


@pytest.fixture
def run(desk: HookDesk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.delenv("MODELWRIGHT_WEBHOOK_SECRET", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "mw.default.0123456789abcdef.secret")
    with serve([desk.notify], desk.blobs) as url:
        yield lambda *arguments, **more: CliRunner().invoke(app, [*arguments, "--endpoint", url], **more)


def test_a_webhook_is_made_with_a_secret_that_is_shown_once_and_listed_without(run: Run, desk: HookDesk) -> None:
    done = run("create", "ci", URL, "--event", "model_version.created", "--event", "drift.detected")
    assert done.exit_code == 0, done.output
    identity, secret = done.output.splitlines()
    desk.hooks.ok("POST", f"/v1/webhooks/{identity}/test", {})
    assert "X-MLflow-Signature" in desk.outbound.sent[0][2]
    listed = run("list").output
    assert [*listed.split()[:4]] == [identity, "ACTIVE", "ci", URL]
    assert "model_version.created, drift.detected" in listed
    assert secret.rsplit(maxsplit=1)[-1] not in listed
    assert [webhook["webhook_id"] for webhook in json.loads(run("list", "--json").output)] == [identity]


def test_a_secret_of_ones_own_is_not_repeated_and_none_is_none(run: Run, desk: HookDesk) -> None:
    own = run("create", "ci", URL, "--event", "drift.detected", env={"MODELWRIGHT_WEBHOOK_SECRET": "mine"})
    bare = run("create", "ci", URL, "--event", "drift.detected", "--unsigned")
    assert (len(own.output.split()), len(bare.output.split())) == (1, 1)
    for done in (own, bare):
        desk.hooks.ok("POST", f"/v1/webhooks/{done.output.strip()}/test", {})
    assert ["X-MLflow-Signature" in headers for _, _, headers in desk.outbound.sent] == [True, False]
    both = run("create", "ci", URL, "--event", "x.y", "--unsigned", "--secret", "s")
    assert isinstance(both.exception, InvalidInput)


def test_a_trial_exits_as_the_endpoint_answers(run: Run, desk: HookDesk) -> None:
    identity = desk.hook("model_version.created")
    done = run("test", identity)
    assert (done.exit_code, done.output) == (0, "answered 200 ok\n")
    desk.outbound.replies[URL] = DOWN
    done = run("test", identity, "--event", "prompt.created")
    assert (done.exit_code, done.output) == (1, "answered 503 come back later\n")


def test_dead_letters_are_listed_and_sent_again(run: Run, desk: HookDesk) -> None:
    identity = desk.hook("registered_model.created")
    desk.outbound.replies[URL] = DOWN
    path = "/api/2.0/mlflow/registered-models/create"
    desk.registry("POST", path, {"name": "churn"}, x_modelwright_as_of=NOON.isoformat())
    desk.pump()
    assert "pending" in run("deliveries", identity).output
    assert "attempts: 1, next 2026-03-02 12:1" in run("deliveries", identity).output
    desk.sweeps(NOON, 30)
    said = run("deliveries", identity, "--status", "dead")
    assert "registered_model.created     dead" in said.output
    assert "attempts: 8; answered 503: come back later" in said.output
    assert run("deliveries", identity, "--status", "delivered").output == ""
    assert run("redeliver", identity, "--dead").exit_code == 1
    desk.sweeps(NOON, 60)
    desk.outbound.replies.clear()
    (dead,) = json.loads(run("deliveries", identity, "--json").output)
    done = run("redeliver", identity, dead["delivery_id"])
    assert (done.exit_code, done.output) == (0, f"{dead['delivery_id']} delivered: answered 200: ok\n")
    assert isinstance(run("redeliver", identity).exception, InvalidInput)


def test_a_deleted_webhook_is_gone(run: Run, desk: HookDesk) -> None:
    identity = desk.hook("drift.detected")
    assert run("delete", identity).exit_code == 0
    assert isinstance(run("delete", identity).exception, NotFound)
    assert run("list").output == ""
