"""The functions behind a loopback port, over one in-memory wiring, as API Gateway would put them.

``serve(functions)`` gives a base URL that stock clients can use. Signed URLs of the bucket are
served by the same port below ``/-/bucket/``; multipart uploads keep their bytes.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit
from uuid import uuid4

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.events import Envelope
from modelwright.governance.access import Grant
from modelwright.runtime import Function
from modelwright.storage import BucketName, TableName
from modelwright.wiring import Settings, Wiring

ADMIN = (Grant(role="admin"),)
_BUCKET_PATH = "/-/bucket/"


class ServedBlobs(MemoryBlobs):
    """``MemoryBlobs`` whose signed URLs a loopback server answers, and whose uploads keep their parts."""

    def __init__(self) -> None:
        super().__init__()
        self.base = "http://127.0.0.1:0"
        self._parts: dict[tuple[str, int], bytes] = {}

    def presigned_get(self, bucket: BucketName, key: str, *, expires_s: int = 900, filename: str = "") -> str:
        """See ``Blobs``."""
        return f"{self.base}{_BUCKET_PATH}{bucket}/{quote(key)}"

    def presigned_put(self, bucket: BucketName, key: str, *, expires_s: int = 900) -> str:
        """See ``Blobs``."""
        return self.presigned_get(bucket, key)

    def start_upload(self, bucket: BucketName, key: str, parts: int) -> tuple[str, tuple[str, ...]]:
        """See ``Blobs``."""
        upload, _ = super().start_upload(bucket, key, parts)
        url = self.presigned_get(bucket, key)
        return upload, tuple(f"{url}?upload={upload}&part={number}" for number in range(1, parts + 1))

    def take_part(self, upload: str, number: int, body: bytes) -> str:
        """Keep a part and return its etag."""
        self._parts[upload, number] = body
        return hashlib.md5(body, usedforsecurity=False).hexdigest()

    def _put_parts(self, bucket: BucketName, key: str, upload: str, parts: Sequence[tuple[int, str]]) -> None:
        self.put(bucket, key, b"".join(self._parts.pop((upload, number)) for number, _ in parts))


def memory_wiring(
    *,
    tables: MemoryTables | None = None,
    blobs: MemoryBlobs | None = None,
    virtual_time: bool = True,
    environment: dict[str, str] | None = None,
) -> Wiring:
    """Return a wiring over memory."""
    names: tuple[TableName, ...] = ("log", "tracking", "registry", "governance")
    settings = Settings(
        function="test", workspace="default", bus="bus", virtual_time=virtual_time,
        tables={name: name for name in names}, buckets={"artifacts": "artifacts"}, environment=environment or {},
    )  # fmt: skip
    return Wiring(settings, tables=tables or MemoryTables(), blobs=blobs or ServedBlobs())


def handler_of(name: str, wiring: Wiring) -> Function:
    """Return a fresh ``handler`` of ``functions/<name>`` over a wiring."""
    path = Path(__file__).parents[2] / "functions" / name / "handler.py"
    scope: dict[str, Any] = {"__name__": f"functions.{name}.handler"}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    function: Function = scope["handler"]
    function._given = wiring
    return function


def payload(
    method: str,
    path: str,
    body: Any = None,
    *,
    actor: str = "ann",
    workspace: str = "default",
    grants: Sequence[Grant] = ADMIN,
    headers: dict[str, str] | None = None,
    signed_in: bool = True,
) -> dict[str, Any]:
    """Return an HTTP API payload (format 2.0) as a function receives it behind the authorizer."""
    target = urlsplit(f"/{path.lstrip('/')}")
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    identity = {
        "actor": actor,
        "workspace": workspace,
        "grants": json.dumps([grant.model_dump() for grant in grants]),
    }
    return {
        "version": "2.0",
        "rawPath": unquote(target.path),
        "rawQueryString": target.query,
        "headers": {"content-type": "application/json", **(headers or {})},
        "requestContext": {
            "requestId": str(uuid4()),
            "http": {"method": method, "path": target.path},
            "authorizer": {"lambda": identity} if signed_in else {},
        },
        "body": base64.b64encode(raw).decode(),
        "isBase64Encoded": True,
    }


@dataclass
class Caller:
    """Calls a function with HTTP payloads and returns status and JSON."""

    function: Function
    actor: str = "ann"
    workspace: str = "default"
    grants: Sequence[Grant] = ADMIN

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Send a request."""
        event = payload(
            method, path, body, actor=self.actor, workspace=self.workspace, grants=self.grants,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )  # fmt: skip
        answer = self.function(event)
        text = base64.b64decode(answer["body"]) if answer.get("isBase64Encoded") else answer["body"]
        is_json = answer["headers"]["content-type"] == "application/json"
        return answer["statusCode"], json.loads(text) if is_json else text

    def ok(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request that must succeed and return its JSON."""
        status, said = self(method, path, body, **headers)
        assert status == 200, (status, said)
        return said


def deliver(function: Function, envelope: Envelope) -> Any:
    """Send an event as the bus would."""
    return function({"detail-type": envelope.type, "source": "modelwright", "detail": envelope.model_dump(mode="json")})


class Exchange(NamedTuple):
    """A request that was served: by a function, or by the bucket (a path below ``/-/bucket/``)."""

    method: str
    path: str
    status: int
    sent: int
    got: int

    @property
    def of_bucket(self) -> bool:
        """Whether bytes went between client and bucket."""
        return self.path.startswith(_BUCKET_PATH)


@contextmanager
def serve(functions: Sequence[Function], blobs: ServedBlobs, seen: list[Exchange] | None = None) -> Iterator[str]:
    """Serve functions on a loopback port while the block runs, and give its URL; what was served goes to ``seen``."""
    attributes = {"functions": tuple(functions), "blobs": blobs, "seen": [] if seen is None else seen}
    handler = type("Handler", (_Handler,), attributes)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    blobs.base = url
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the client's delayed ACK of its headers
    functions: tuple[Function, ...]
    blobs: ServedBlobs
    seen: list[Exchange]
    received = 0

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.received = len(body)
        if self.path.startswith(_BUCKET_PATH):
            self._bucket(body)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        event = {**payload(self.command, self.path, body), "headers": headers}
        path = event["rawPath"]
        answering = (f for f in self.functions if any(r.path[0] == "/" and r.pattern.match(path) for r in f.routes))
        answer = next(answering, self.functions[0])(event)
        text = answer["body"]
        raw = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
        self._send(answer["statusCode"], raw, answer["headers"])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - http.server's names

    def _bucket(self, body: bytes) -> None:
        target = urlsplit(self.path)
        name, _, key = unquote(target.path.removeprefix(_BUCKET_PATH)).partition("/")
        bucket: BucketName = "lake" if name == "lake" else "artifacts"
        assert bucket == name
        query = parse_qs(target.query)
        if self.command == "PUT" and "upload" in query:
            etag = self.blobs.take_part(query["upload"][0], int(query["part"][0]), body)
            self._send(200, b"", {"ETag": f'"{etag}"'})
        elif self.command == "PUT":
            self.blobs.put(bucket, key, body)
            self._send(200, b"", {})
        else:
            self._get(self.blobs.get(bucket, key).body)

    def _get(self, whole: bytes) -> None:
        span = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("range", ""))
        if span is None:
            self._send(200, whole, {})
        else:
            first, last = int(span[1]), min(int(span[2]), len(whole) - 1)
            self._send(206, whole[first : last + 1], {"content-range": f"bytes {first}-{last}/{len(whole)}"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.seen.append(Exchange(self.command, self.path, status, self.received, len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""
