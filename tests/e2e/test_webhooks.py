"""Webhooks of a deployed stack: told at once, again by the schedule, and never to addresses of its own network."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from insights.receiver import SECRET, receiver

from e2e import shell
from modelwright.client import TOKEN, Api
from modelwright.demo.observer import Observer
from modelwright.errors import InvalidInput
from modelwright.local import stacks
from modelwright.local.packaging import Sources
from modelwright.local.stack import Running

pytestmark = pytest.mark.e2e

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOOKS, CREATE = "/v1/webhooks", "/api/2.0/mlflow/registered-models/create"


def up(folder: Path, *, private: bool) -> Running:
    running = stacks.up(
        folder, port=0 if (folder / ".modelwright").exists() else shell.free_port(), workspace="default", detach=True,
        virtual_time=True, private_webhooks=private, say=lambda _: None,
    )  # fmt: skip
    assert running is not None
    return running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("webhooks")
    yield folder
    stacks.stack(folder).down()


def sweep(running: Running, at: datetime) -> None:
    detail = json.dumps({"name": "sweep", "at": at.isoformat()})
    entry = {"Source": "modelwright.schedule", "DetailType": "ScheduleDue", "Detail": detail}
    running.client("events").put_events(Entries=[{**entry, "EventBusName": running.outputs["BusName"]}])


def test_what_happens_is_told_and_told_again(folder: Path) -> None:
    running = up(folder, private=True)
    api = Api(running.url, running.extra[TOKEN], as_of=NOON)
    observer = Observer(running, Sources.find().template.read_text(encoding="utf-8"))
    with receiver(away=1) as (url, got):
        asked = {"name": "ci", "url": url, "events": ["registered_model.created"], "secret": SECRET}
        hook = api.post(HOOKS, asked)["webhook"]["webhook_id"]
        api.post(CREATE, {"name": "churn"})
        observer.settle()

        def delivery() -> dict[str, Any]:
            (found,) = api.get(f"{HOOKS}/{hook}/deliveries")["deliveries"]
            return dict(found)

        assert (delivery()["status"], delivery()["attempts"], got) == ("pending", 1, [])
        sweep(running, NOON + timedelta(minutes=15))
        deadline = time.monotonic() + 60
        while delivery()["status"] == "pending":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert [said["data"]["name"] for said in got] == ["churn"]
        again = api.post(f"{HOOKS}/{hook}/deliveries/{delivery()['delivery_id']}/redeliver", {})
        assert again["delivery"]["status"] == "delivered"
        assert got[0] == got[1]
        assert api.post(f"/ajax-api/2.0/mlflow/webhooks/{hook}/test", {})["result"]["success"]


def test_unless_allowed_nothing_is_sent_to_this_machine(folder: Path) -> None:
    running = up(folder, private=False)
    api = Api(running.url, running.extra[TOKEN])
    for url in (running.url, "https://localhost/", "https://127.0.0.1:8443/", "https://169.254.169.254/latest/"):
        with pytest.raises(InvalidInput):
            api.post(HOOKS, {"name": "ci", "url": url, "events": ["drift.detected"]})
    for webhook in api.get(HOOKS)["webhooks"]:  # those that were made while it was allowed
        result = api.post(f"{HOOKS}/{webhook['webhook_id']}/test", {})["result"]
        assert (result["success"], "scheme" in result["error_message"]) == (False, True)
