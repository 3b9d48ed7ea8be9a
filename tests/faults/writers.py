"""A writer in a process of its own: the function, an AWS that loses a tenth of the calls, and a patient client."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from support.cloud import Lossy
from support.http import handler_of, payload

from faults.plan import Request, requests
from modelwright.adapters.dynamodb import DynamoTables
from modelwright.adapters.s3 import S3Blobs
from modelwright.runtime import Function
from modelwright.wiring import Settings, Wiring

LOST = 0.1
RESENT = frozenset({408, 429, 500, 502, 503, 504})
"""What the stock client sends again."""
CREATED = 2
"""How many runs, and models, each writer makes."""
_PATIENCE = 40


@dataclass(frozen=True)
class Job:
    """What a writer is told.

    Attributes:
        runs: ids by place.
        retrying: whether boto3 tries again by itself, as in Lambda; otherwise each loss is the function's to bear.
    """

    writer: int
    environment: Mapping[str, str]
    experiment_id: str
    runs: Sequence[str]
    retrying: bool


@dataclass
class Told:
    """What came of it.

    Attributes:
        runs: for each run that was made, all ids that the resends were told; so with ``models``.
        resent: requests that were sent again because of an answer of 5xx.
        lost: AWS calls that were lost.
        refused: answers that were neither success nor to be resent.
    """

    runs: list[set[str]]
    models: list[set[str]]
    sent: int = 0
    resent: int = 0
    lost: int = 0
    refused: tuple[str, ...] = ()


def write(job: Job) -> Told:
    """Log all that a writer has to log, each request twice, and make runs and models, each time thrice."""
    os.environ.update(job.environment)
    wire = Lossy(LOST, job.writer)
    with wire.on(), Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        client = _Client(handler_of("tracking", _wiring(job)))
        late: list[Request] = []
        for number, request in enumerate(requests(job.writer)):
            client.log(request, job.runs)
            if number % 3:
                client.log(request, job.runs)
            else:
                late.append(request)
        for request in late:
            client.log(request, job.runs)
        client.make(job)
    client.told.lost = wire.lost
    return client.told


def keep(job: Job, finished: Path) -> int:
    """Settle what has ended, again and again over the same bad line, until a file says that the writers are done.

    Returns how many runs were settled; some of them were opened again and settled again.
    """
    os.environ.update(job.environment)
    settled = 0
    with Lossy(LOST, "keeper").on(), Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        client = _Client(handler_of("maintain", _wiring(job)))
        while not finished.exists():
            answer = client.ask("POST", f"/v1/experiments/{job.experiment_id}/compact", {})
            settled += answer.get("settled", 0)
    assert not client.told.refused, client.told.refused
    return settled


class _Client:
    """Sends as the stock client does."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.told = Told([], [])

    def log(self, request: Request, runs: Sequence[str]) -> None:
        """Send a request of the logging kind until it is taken."""
        self._say(f"runs/{request.path}", {"run_id": runs[request.place], **request.body})

    def make(self, job: Job) -> None:
        """Make runs and models, each under a key of its own that comes three times."""
        for number in range(CREATED):
            key = {"idempotency-key": f"writer {job.writer}, number {number}"}
            body = {"experiment_id": job.experiment_id}
            run = [self._say("runs/create", {**body, "start_time": 1000}, key) for _ in range(3)]
            self.told.runs.append({answer["run"]["info"]["run_id"] for answer in run})
            model = [self._say("logged-models", {**body, "name": "m"}, key) for _ in range(3)]
            self.told.models.append({answer["model"]["info"]["model_id"] for answer in model})

    def _say(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        return self.ask("POST", f"/api/2.0/mlflow/{path}", body, headers)

    def ask(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        """Send until the answer is none of those that are sent again, and return it."""
        status, answer = 0, ""
        for _ in range(_PATIENCE):
            self.told.sent += 1
            status, answer = self._answer(payload(method, path, body, headers=headers))
            if status not in RESENT:
                break
            self.told.resent += 1
        if status != 200:
            self.told.refused += (f"{path} {body}: {status} {answer}"[:500],)
        return answer

    def _answer(self, event: dict[str, Any]) -> tuple[int, Any]:
        """Return status and JSON; what AWS did to the function is 502, as API Gateway says it."""
        try:
            answer = self._function(event)
        except (BotoCoreError, ClientError) as error:
            return 502, str(error)
        return answer["statusCode"], json.loads(answer["body"])


def _wiring(job: Job) -> Wiring:
    settings = Settings.read(job.environment)
    if job.retrying:
        return Wiring(settings)
    once = Config(retries={"mode": "standard", "total_max_attempts": 1}, s3={"addressing_style": "path"})
    return Wiring(
        settings,
        tables=DynamoTables(boto3.client("dynamodb", config=once), settings.tables),
        blobs=S3Blobs(boto3.client("s3", config=once), settings.buckets),
    )
