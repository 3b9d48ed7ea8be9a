"""A stack that is up and applied to, and what a test does at its doors."""

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import requests

import modelwright.demo
from e2e import shell
from modelwright.adapters.dynamodb import DynamoTables
from modelwright.client import TOKEN, Api
from modelwright.demo.observer import Observer
from modelwright.demo.outcomes import Outcomes
from modelwright.governance.tokens import bootstrap_token
from modelwright.local import stacks
from modelwright.local.packaging import Sources
from modelwright.local.stack import Running
from modelwright.log import LogItem
from modelwright.storage import TableName
from modelwright.team import Team, read_team

OTHER = "other"


@dataclass
class Desk:
    """A running stack.

    Attributes:
        other: an administrator's token of the workspace ``other``.
    """

    running: Running
    team: Team
    observer: Observer
    outcomes: Outcomes
    other: str

    @property
    def token(self) -> str:
        return self.running.extra[TOKEN]

    def api(self, now: datetime | None = None, token: str = "") -> Api:
        return Api(self.running.url, token or self.token, as_of=now)

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> requests.Response:
        """Send a request as a stranger's program would; with an empty token, without one."""
        bearer = self.token if token is None else token
        headers = {**({"authorization": f"Bearer {bearer}"} if bearer else {}), **more.pop("headers", {})}
        return requests.request(
            method, self.running.url + path, headers=headers, timeout=60, allow_redirects=False, **more
        )

    def tables(self) -> DynamoTables:
        names: dict[TableName, str] = {
            "log": self.running.outputs["LogTableName"],
            "governance": self.running.outputs["GovernanceTableName"],
        }
        return DynamoTables(self.running.client("dynamodb"), names)

    def land(self, key: str, body: bytes, at: datetime | None = None) -> str:
        """Upload a file and return what became of it, in the words of ``monitor``."""
        metadata = {"as-of": at.isoformat()} if at else {}
        bucket = self.running.outputs["LandingBucketName"]
        self.outcomes.look()
        before = len(self._verdicts(key))
        self.running.client("s3").put_object(Bucket=bucket, Key=key, Body=body, Metadata=metadata)
        wait(lambda: len(self._verdicts(key)) > before, f"the verdict on {key}", look=self.outcomes.look)
        self.observer.settle()
        return str(self._verdicts(key)[-1]["outcome"])

    def due(self, name: str, at: datetime) -> None:
        """Send a schedule's event and wait until it was dealt with."""
        detail = {"name": name, "at": at.isoformat(), "workspace": self.running.workspace}
        entry = {"Source": "modelwright.schedule", "DetailType": "ScheduleDue", "Detail": json.dumps(detail)}
        bus = {"EventBusName": self.running.outputs["BusName"]}
        answer = self.running.client("events").put_events(Entries=[{**entry, **bus}])
        self.outcomes.wait_for(answer["Entries"][0]["EventId"], f"the schedule {name}")

    def events(self, *kinds: str, after: str = "") -> list[LogItem]:
        """Return what happened after an event."""
        self.observer.look()
        return [item for item in self.observer.events(*kinds) if item.envelope.id > after]

    def newest(self) -> str:
        self.observer.look()
        return max((item.envelope.id for item in self.observer.events()), default="")

    def keys(self, output: str = "LakeBucketName") -> set[str]:
        """Return what lies in a bucket, but for registries of Feast: they come some time after a project is applied."""
        pages = self.running.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.running.outputs[output])
        rows = (row for page in pages for row in page.get("Contents", ()))
        return {row["Key"] for row in rows if not row["Key"].startswith("feast/")}

    def body(self, key: str, output: str = "LakeBucketName") -> bytes:
        answer = self.running.client("s3").get_object(Bucket=self.running.outputs[output], Key=key)
        return bytes(answer["Body"].read())

    def _verdicts(self, key: str) -> list[dict[str, Any]]:
        return [line for line in self.outcomes.lines if line["message"] == f"upload {key}"]


def wait(found: Callable[[], Any], what: str, limit_s: float = 30, look: Callable[[], None] = lambda: None) -> Any:
    """Return the first true answer of ``found``."""
    deadline = time.monotonic() + limit_s
    while True:
        look()
        if answer := found():
            return answer
        assert time.monotonic() < deadline, f"waited {limit_s} s for {what}"
        time.sleep(0.05)


def parquet(table: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    return sink.getvalue()


def made(folder: Path) -> Desk:
    """Start a stack in a folder and apply the demo's project to both of its workspaces."""
    running = stacks.up(
        folder, port=shell.free_port(), workspace="default", detach=True, virtual_time=True, say=lambda _: None
    )
    assert running is not None
    team = read_team(Path(modelwright.demo.__file__).parent / "project")
    other = token_of_workspace(running, OTHER)
    for token in (running.extra[TOKEN], other):
        stacks.apply(team, Api(running.url, token))
    observer = Observer(running, Sources.find().template.read_text(encoding="utf-8"))
    return Desk(running, team, observer, Outcomes(folder / ".modelwright" / "invocations.jsonl"), other)


def token_of_workspace(running: Running, workspace: str) -> str:
    """Return a new administrator's token of any workspace on the same stack."""
    names: dict[TableName, str] = {"governance": running.outputs["GovernanceTableName"]}
    tables = DynamoTables(running.client("dynamodb"), names)
    return bootstrap_token(workspace, tables=tables, now=datetime.now(UTC))
