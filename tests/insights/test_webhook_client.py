"""The stock client makes webhooks, and a receiver that MLflow's documentation describes takes what comes."""

from pathlib import Path

import pytest
from support.client import needs_mlflow, run_client

from insights.hooks import HookDesk
from insights.receiver import SECRET, receiver
from modelwright.adapters.outbound import PinnedHttp


@pytest.mark.peers
@needs_mlflow
def test_the_stock_client_makes_webhooks_that_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = HookDesk()
    desk.wiring.cache["outbound"] = PinnedHttp(private=True)
    with receiver() as (url, got):
        monkeypatch.setenv("HOOK_URL", url)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        run_client(desk, Path(__file__).with_name("webhook_client.py"), tmp_path)
        assert [f"{said['entity']}.{said['action']}" for said in got] == [
            "registered_model.created", "prompt_alias.deleted"
        ]  # fmt: skip
        desk.pump()
    told = [(f"{said['entity']}.{said['action']}", said["data"]) for said in got[2:]]
    assert told == [
        ("registered_model.created", {"name": "flights", "tags": {"team": "ops"}, "description": "late?"}),
        (
            "model_version.created",
            {
                "name": "flights", "version": "1", "source": "s3://x/y", "run_id": None, "tags": {},
                "description": None,
            },
        ),
        ("model_version_alias.created", {"name": "flights", "alias": "blue", "version": "1"}),
    ]  # fmt: skip


@needs_mlflow
def test_examples_and_fields_are_mlflows() -> None:
    from mlflow.webhooks.types import EVENT_TO_PAYLOAD_CLASS

    from modelwright.insights.webhook_events import MLFLOW, NEVER

    theirs = {f"{entity.value}.{action.value}": kind for (entity, action), kind in EVENT_TO_PAYLOAD_CLASS.items()}
    assert set(theirs) == {*MLFLOW, *NEVER}
    for name, example in MLFLOW.items():
        assert set(example) == set(theirs[name].__annotations__), name
