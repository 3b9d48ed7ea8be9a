"""The emulator as a process of its own with our tables and buckets in it, and every call to it seen on the wire.

Handlers run in the test's own process over the real adapters, with boto3 as Lambda has it; nothing
is deployed. ``Wire`` sits where botocore sends: it can note what was sent and when, and lose it.
"""

import os
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.httpsession import URLLib3Session
from e2e.shell import free_port

from modelwright.adapters.metering import Meter
from modelwright.local.emulator import REGION, Credentials, Emulator
from modelwright.wiring import Settings, Wiring

TABLES = ("log", "tracking", "registry", "governance", "features")
BUCKETS = ("artifacts", "lake")
_KEYS = ("pk", "sk")
_INDEX = ("by_hour_pk", "by_hour_sk")


@dataclass(frozen=True)
class Cloud:
    """A running emulator.

    Attributes:
        environment: what Lambda would put into a function's environment, and where its AWS is.
    """

    environment: Mapping[str, str]

    def wiring(self) -> Wiring:
        """Return a function's collaborators, as ``Function`` makes them of its environment; their meter is kept."""
        made = Wiring(Settings.read(self.environment))
        made.meter = KeptMeter()
        return made

    def client(self, service: str) -> Any:
        """Return a client of the test's own, of a session that no wire is on."""
        session = boto3.Session()
        config = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "max_attempts": 5})
        return session.client(service, config=config)  # type: ignore[call-overload]


class KeptMeter(Meter):
    """A meter that still tells what it counted when its log line took the counts away."""

    last: ClassVar[Mapping[str, int]] = {}

    def take(self) -> dict[str, int]:
        """Return the counts, keep them for the test, and begin anew."""
        counts = super().take()
        KeptMeter.last = counts
        return counts


@contextmanager
def cloud() -> Iterator[Cloud]:
    """Run an emulator while the block runs; this process's environment points to it."""
    folder = Path(tempfile.mkdtemp(prefix="modelwright-cloud-"))
    emulator = Emulator(folder, free_port(), Credentials("TESTROOT", "test-secret"))
    try:
        emulator.start()
        environment = _environment(emulator)
        with _set(environment):
            made = Cloud(environment)
            _make(made)
            yield made
    finally:
        emulator.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _environment(emulator: Emulator) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": emulator.endpoint,
        "AWS_ACCESS_KEY_ID": emulator.credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": emulator.credentials.secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MODELWRIGHT_VIRTUAL_TIME": "refused",
        **{f"MODELWRIGHT_TABLE_{name.upper()}": f"test-{name}" for name in TABLES},
        **{f"MODELWRIGHT_BUCKET_{name.upper()}": f"test-{name}" for name in BUCKETS},
    }


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _make(made: Cloud) -> None:
    dynamodb, s3 = made.client("dynamodb"), made.client("s3")
    for name in TABLES:
        index = {"IndexName": "by_hour", "KeySchema": _schema(_INDEX), "Projection": {"ProjectionType": "ALL"}}
        named = (*_KEYS, *_INDEX) if name == "log" else _KEYS
        dynamodb.create_table(
            TableName=f"test-{name}",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=_schema(_KEYS),
            AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in named],
            **({"GlobalSecondaryIndexes": [index]} if name == "log" else {}),
        )
    for name in BUCKETS:
        s3.create_bucket(Bucket=f"test-{name}")


def _schema(keys: Sequence[str]) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(keys, ("HASH", "RANGE"), strict=True)]


@dataclass(frozen=True)
class Sent:
    """One HTTP request to AWS: what it was, and when it was under way (``time.perf_counter`` seconds)."""

    operation: str
    request: bytes
    response: bytes
    start: float
    end: float


def _quick_session() -> URLLib3Session:
    """Return botocore's session without the 40 ms that loopback waits between the two halves of a request."""
    at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    return URLLib3Session(max_pool_connections=32, socket_options=cast(Any, at_once))


@dataclass
class Wire:
    """Notes each HTTP request of the clients that are made while it is on.

    Attributes:
        sent: what was sent since ``sent`` was last cleared.
        bodies: whether to keep bodies, which streams do not outlive.
    """

    sent: list[Sent] = field(default_factory=list)
    bodies: bool = False
    _session: URLLib3Session = field(default_factory=_quick_session)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse:
        """Send a request and note it."""
        start = time.perf_counter()
        response = self.send(request)
        end = time.perf_counter()
        answered = response.content if self.bodies and not request.stream_output else b""
        asked = _bytes(request.body) if self.bodies else b""
        with self._lock:
            self.sent.append(Sent(event_name.partition("before-send.")[2], asked, answered, start, end))
        return response

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request."""
        response: AWSResponse = self._session.send(request)
        return response

    @contextmanager
    def on(self) -> Iterator[None]:
        """Be between every client that boto3 makes in the block and the network."""
        boto3.setup_default_session()
        session = boto3.DEFAULT_SESSION
        assert session is not None
        session.events.register("before-send", cast(Any, self))
        try:
            yield
        finally:
            boto3.DEFAULT_SESSION = None
            self._session.close()


class Lossy(Wire):
    """A wire that loses requests before they arrive, and answers after what was asked is done.

    Args:
        share: of the requests that meet one or the other.
        seed: of what is lost.
    """

    def __init__(self, share: float, seed: object) -> None:
        super().__init__()
        self._share = share
        self._random = random.Random(str(seed))
        self.lost = 0

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request, or not, or forget its answer."""
        with self._lock:
            fate = self._random.random()
            self.lost += fate < self._share
        if fate < self._share / 4:
            return _refusal(request, 500, "InternalServerError")
        if fate < self._share / 2:
            raise _gone(request)
        response = super().send(request)
        if fate < self._share:
            raise _gone(request)
        return response


def _gone(request: AWSPreparedRequest) -> Exception:
    from botocore.exceptions import ReadTimeoutError

    return ReadTimeoutError(endpoint_url=request.url)


def _refusal(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    text = f'{{"__type": "{code}", "message": "lost by the test"}}'.encode()
    if ".s3." in request.url or "x-amz-target" not in {name.lower() for name in request.headers}:
        text = f"<Error><Code>{code}</Code><Message>lost by the test</Message></Error>".encode()
    return AWSResponse(request.url, status, cast(Any, {"content-type": "text/plain"}), _Read(text))


class _Read:
    """A body that is there already."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield the body."""
        yield self._text


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body or b"")


def rounds(sent: Sequence[Sent]) -> int:
    """Return how many round trips must have followed one another: the most that do not overlap."""
    count, free = 0, float("-inf")
    for one in sorted(sent, key=lambda s: s.end):
        if one.start >= free:
            count, free = count + 1, one.end
    return count
