"""The feature store's functions over memory behind a loopback port, for Feast's stock client."""

import base64
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelwright.events import Envelope, Event, ProjectApplied, UploadAccepted, Window
from modelwright.features.jobs import job_stream
from modelwright.http import Route
from modelwright.log import new_id
from modelwright.project import Project, current_key
from modelwright.runtime import Function
from modelwright.storage import Anything, Put
from modelwright.team import Team
from support.http import Exchange, ServedBlobs, deliver, handler_of, memory_wiring, payload, serve

TOKEN = "mw.default.0123456789abcdef.secret"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACKAGE = Path(__file__).parents[2] / "src"


class FeastDesk:
    """``features`` and ``materialize``; a job for historical features is done as soon as it was asked for."""

    def __init__(self, team: Team) -> None:
        """Apply a project.

        Args:
            team: its definitions and code.
        """
        self.blobs = ServedBlobs()
        self.wiring = memory_wiring(blobs=self.blobs, virtual_time=False)
        self.features = handler_of("features", self.wiring)
        self.materialize = handler_of("materialize", self.wiring)
        key = f"projects/default/{team.digest}.whl"
        self.blobs.put("artifacts", key, team.wheel)
        self.project: Project = team.project.model_copy(update={"wheel": key})
        stored = {"project": self.project.model_dump_json(), "applied": NOW.isoformat()}
        self.wiring.tables.write([Put("governance", {**current_key("default")._asdict(), **stored}, Anything())])
        self.seen: list[Exchange] = []

    def upload(self, source: str, body: bytes) -> None:
        """Store an accepted file, as ``monitor`` does, and tell ``materialize`` of it."""
        digest = hashlib.sha256(body).hexdigest()
        key = f"accepted/default/{source}/{digest}.parquet"
        self.blobs.put("lake", key, body)
        event = UploadAccepted(
            source=source, upload_key=f"{source}/x.parquet", upload_version="1", digest=digest, key=key, rows=1,
            bad_rows=0, window=Window(start=NOW, end=NOW), profile_key="",
        )  # fmt: skip
        assert deliver(self.materialize, _envelope("UploadAccepted", event)) == {"outcome": "handled"}

    def applied(self) -> None:
        """Tell ``materialize`` that the project was applied."""
        event = ProjectApplied(
            project=self.project.name,
            digest=self.project.digest,
            models=(),
            sources=(),
            views=tuple(self.project.views),
        )
        assert deliver(self.materialize, _envelope("ProjectApplied", event)) == {"outcome": "handled"}

    def registry(self) -> bytes:
        """Return the registry that ``features`` answers."""
        answer = self.features(payload("GET", "/v1/features/registry.db"))
        assert answer["statusCode"] == 200, answer
        return base64.b64decode(answer["body"])

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve the functions while the block runs, and give their URL."""
        with serve((_WithJobs(self),), self.blobs, self.seen) as url:
            yield url

    def run(self, python: str, script: str, folder: Path, **more: str) -> str:
        """Run a script with the stock client and return what it printed; what it asserts must hold."""
        with self.served() as url:
            environment = {
                **os.environ, "MODELWRIGHT_ENDPOINT": url, "MODELWRIGHT_TOKEN": TOKEN, "PYTHONPATH": str(PACKAGE),
                "FEAST_USAGE": "False", "PYTHONWARNINGS": "ignore", "OMP_WAIT_POLICY": "PASSIVE", **more,
            }  # fmt: skip
            done = subprocess.run(
                [python, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
                check=False,
            )  # fmt: skip
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
        return done.stdout


def _envelope(kind: str, event: Event) -> Envelope:
    return Envelope(
        id=new_id(), type=kind, schema_version=1, workspace="default", stream="s", sequence=1, at=datetime.now(UTC),
        actor="a", correlation_id="c", data=event.model_dump(mode="json"),
    )  # fmt: skip


class _WithJobs(Function):
    """``features``, and behind it the bus: what was asked of ``materialize`` is done before the answer goes out."""

    def __init__(self, desk: FeastDesk) -> None:
        super().__init__("features", routes=desk.features.routes)
        self.routes: tuple[Route, ...] = desk.features.routes
        self._desk = desk
        self._done: set[str] = set()

    def __call__(self, event: dict[str, Any], context: object = None) -> Any:
        """Handle a request."""
        answer = self._desk.features(event)
        if event["rawPath"] == "/v1/historical-features" and answer["statusCode"] == 202:
            for item in self._desk.wiring.tables.query("features", "WS#default#JOBS").items:
                self._work(item["sk"])
        return answer

    def _work(self, job: str) -> None:
        if job not in self._done:
            self._done.add(job)
            (asked,) = self._desk.wiring.log.read(job_stream("default", job))
            assert deliver(self._desk.materialize, asked.envelope) == {"outcome": "handled"}


def asked(desk: FeastDesk, method: str, path: str, body: Any = None) -> Any:
    """Return the answer of ``features`` to a request."""
    return desk.features(payload(method, path, body))
