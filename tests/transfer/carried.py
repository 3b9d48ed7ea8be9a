"""Two stacks over memory with a version at one of them, and ways that break."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from support.http import ServedBlobs, serve
from support.mlflow_desk import API, Desk

from modelwright.promotion.stack import Reference, StackSource
from modelwright.runtime import Function
from modelwright.storage import BucketName, Stored
from modelwright.transfer.ours import Ours

FILES = {
    "MLmodel": b"flavors: {}\n",
    "model.pkl": b"not really a pickle",
    "code/empty": b"",
    "data/\xc3\xa9t\xc3\xa9 1.txt".encode("latin-1").decode(): b"leaves " * 1000,
}
FOLDER = "artifacts/model"


def made(desk: Desk, name: str = "churn", files: dict[str, bytes] | None = None, **more: Any) -> str:
    """Make a version of a fresh run with these files and return the prefix of its files."""
    experiment = desk.experiment(f"{name} {len(list(desk.blobs.list('artifacts', '')))}")
    run = desk.run(experiment)
    prefix = f"default/{experiment}/{run}/{FOLDER}/"
    for path, body in (FILES if files is None else files).items():
        desk.blobs.put("artifacts", prefix + path, body)
    if desk.registry("GET", f"{API}/registered-models/get?name={name}")[0] != 200:
        desk.registry.ok("POST", f"{API}/registered-models/create", {"name": name})
    tags = [{"key": "modelwright.metric.auc", "value": "0.81"}, {"key": "team", "value": "growth"}]
    said = {"name": name, "source": f"runs:/{run}/model", "run_id": run, "description": "how long they stay"}
    desk.registry.ok("POST", f"{API}/model-versions/create", {"tags": tags, **said, **more})
    return prefix


@contextmanager
def stack(desk: Desk, functions: Sequence[Any] = (), blobs: ServedBlobs | None = None) -> Iterator[Ours]:
    """Serve a desk; what gets no answer is not asked again."""
    served = blobs or desk.blobs
    with serve(cast(Sequence[Function], functions or tuple(desk.functions.values())), served) as url:
        desk.blobs.base = url
        yield Ours(url, "mw.default.0123456789abcdef.secret", pauses_s=())


def source(ours: Ours, text: str = "churn/1") -> StackSource:
    """Return a version at a stack."""
    return StackSource(ours, Reference.read(text), "prod")


@dataclass
class Dying:
    """Functions that die at a request, before or after they did what was asked, and stay dead.

    Attributes:
        at: the number of the request, from 1, over all functions that share it; 0: none.
        effective: whether only its answer is lost.
        seen: every request.
    """

    at: int = 0
    effective: bool = False
    seen: list[str] = field(default_factory=list)

    def over(self, desk: Desk) -> list[Any]:
        """Return a desk's functions, dying."""
        return [_Dying(function, self) for function in desk.functions.values()]


@dataclass
class _Dying:
    function: Function
    fate: Dying

    @property
    def routes(self) -> Any:
        return self.function.routes

    def __call__(self, event: dict[str, Any]) -> Any:
        self.fate.seen.append(f"{event['requestContext']['http']['method']} {event['rawPath']}")
        number, at = len(self.fate.seen), self.fate.at
        answer = self.function(event) if not at or number < at or (number == at and self.fate.effective) else None
        if answer is not None and (not at or number < at):
            return answer
        body = '{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "dead"}'
        return {"statusCode": 503, "headers": {"content-type": "application/json"}, "body": body}


class Flipping(ServedBlobs):
    """A bucket of whose object one byte flips on its way out."""

    def __init__(self, desk: Desk, name: str) -> None:
        super().__init__()
        self._real, self._name = desk.blobs, name

    def get(self, bucket: BucketName, key: str, version: str = "") -> Stored:
        """See ``Blobs``."""
        stored = self._real.get(bucket, key, version)
        if not key.endswith(self._name):
            return stored
        return Stored(flipped(stored.body), stored.version, stored.etag, stored.metadata)


class FlippingParts(ServedBlobs):
    """A bucket to which every file comes with a flipped byte, but for manifests."""

    def take_part(self, upload: str, number: int, body: bytes) -> str:
        """Keep a part and return its etag."""
        return super().take_part(upload, number, body if b'"proof"' in body else flipped(body))


def flipped(body: bytes) -> bytes:
    """Return bytes with one bit of the middle one changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body
