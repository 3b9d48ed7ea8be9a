"""The emulator's process: MiniStack with our amendments, behind a front door.

One loopback port serves both halves. A request that is signed (SigV4, or a presigned URL) is for
AWS; any other is for the HTTP API, which so has a plain base URL, ``http://127.0.0.1:PORT``, that
the stock ``mlflow`` client and a browser can use. (MiniStack alone serves an API below
``/_aws/execute-api/<id>/`` or a host name that needs DNS, and answers ``/health`` and ``/login``
itself. Drop the front door when it can serve an API at its root.)

Where mlflow is installed, the door also does what CloudFront does in AWS: it gives out MLflow's web
interface at ``/`` (to who has signed in; others are sent to the form) and its files below
``/static-files/``. Where it is not, ``/`` is the API's, which leads to the console.

MiniStack takes the access key ``test``, twelve digits, or none at all for root, unverified. The
door refuses those: a web page that guesses the port must not become root of the local account.

Run by ``modelwright.local.emulator``; becomes a process of its own that holds the given lock.
"""

import asyncio
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from modelwright.local import amendments
from modelwright.local.ui import PAGE, SECURITY_HEADERS, Build, File, installed

PUBLIC_API = "modelwright"
HOST = "127.0.0.1"
FORM, CONSOLE = "/login", "/console"
"""Where one signs in, and our own page."""
INTERFACE_HEADER = b"x-modelwright-interface"
"""By which our own page learns that there is another."""

Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Scope, Any, Any], Awaitable[None]]

_EMULATOR_PATHS = (
    "/_ministack/health",
    "/_ministack/lambda-code/",
    "/_ministack/cfn-",
    "/_aws/",
)
_SIGNED_QUERY = re.compile(rb"(?:^|&)(?:X-Amz-Credential|AWSAccessKeyId)=([^&%/]*)")
_SIGNED_HEADER = re.compile(rb"Credential=([^/,]*)|^AWS ([^:]*):")
_VERIFIED = (b"ASIA", b"AKIA")  # keys of roles and users, whose signatures MiniStack checks


def front_door(emulator: App, root_key: str, build: Build | None = None) -> App:
    """Return an application that sends unsigned requests to the public HTTP API.

    Args:
        emulator: MiniStack.
        root_key: the one access key that may be root.
        build: MLflow's web interface, if there is one.
    """
    objects = build.files if build is not None else {}

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await emulator(scope, receive, send)
            return
        key = _access_key(scope)
        if key is not None and key != root_key.encode() and not key.startswith(_VERIFIED):
            await _refuse(send)
        elif key is not None or scope["path"].startswith(_EMULATOR_PATHS):
            await emulator(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD") and (name := scope["path"][1:] or PAGE) in objects:
            if name == PAGE and not await _admitted(emulator, scope):
                await _send(send, 303, {"location": FORM, "cache-control": "no-store"})
            else:
                await _give(scope, send, objects[name])
        else:
            await emulator(_for_api(scope, objects), receive, send)

    return app


def once_started(app: App, started: Callable[[], None]) -> App:
    """Return an application that calls ``started`` as soon as ``app`` says that it has started."""

    async def told(scope: Scope, receive: Any, send: Any) -> None:
        async def tell(message: Scope) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                started()

        await app(scope, receive, tell if scope["type"] == "lifespan" else send)

    return told


async def _asked_to_stop(stopping: threading.Event) -> None:
    """Return when the process is asked to end, after saying so to whoever fails because of it."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()
    stopping.set()


def _access_key(scope: Scope) -> bytes | None:
    """Return the access key that an AWS request names (empty when it names none), else None."""
    for name, value in scope["headers"]:
        if name.lower() == b"authorization" and value.startswith(b"AWS"):
            found = _SIGNED_HEADER.search(value)
            return (found[1] or found[2] or b"") if found else b""
    queried = _SIGNED_QUERY.search(scope.get("query_string", b""))
    return queried[1] if queried else None


async def _refuse(send: Any) -> None:
    body = b'{"__type": "InvalidClientTokenId", "message": "this access key is not of the local stack"}'
    await _send(send, 403, {"content-type": "application/json"}, body)


async def _admitted(emulator: App, scope: Scope) -> bool:
    """Say whether who asks has signed in, by what the console says to the same browser.

    A cookie alone proves little here: browsers share the cookies of 127.0.0.1 among all ports, so it
    may be of another stack.
    """
    said: list[int] = []

    async def nothing() -> Scope:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def note(message: Scope) -> None:
        if message["type"] == "http.response.start":
            said.append(message["status"])

    asked = {**scope, "method": "GET", "path": CONSOLE, "raw_path": CONSOLE.encode(), "query_string": b""}
    await emulator(_for_api(asked, {}), nothing, note)
    return 303 not in said


async def _give(scope: Scope, send: Any, file: File) -> None:
    body = await asyncio.to_thread(file.path.read_bytes)
    headers = {"content-type": file.content_type, "cache-control": file.cache_control, **SECURITY_HEADERS}
    await _send(send, 200, headers, body, bare=scope["method"] == "HEAD")


async def _send(send: Any, status: int, headers: Mapping[str, str], body: bytes = b"", *, bare: bool = False) -> None:
    """Answer; a ``bare`` answer tells the length of its body without having it."""
    lines = {**headers, "content-length": str(len(body))}
    encoded = [(name.encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": b"" if bare else body})


def _for_api(scope: Scope, objects: Mapping[str, File]) -> Scope:
    """Return the request as MiniStack's HTTP API takes it; it tells whether ``/`` is MLflow's interface.

    Slashes at the beginning count once, as for MLflow's own server.
    """
    prefix = f"/_aws/execute-api/{PUBLIC_API}/$default/"
    raw = scope.get("raw_path") or scope["path"].encode()
    headers = [*scope["headers"], (INTERFACE_HEADER, b"/")] if objects else scope["headers"]
    path, raw = prefix + scope["path"].lstrip("/"), prefix.encode() + raw.lstrip(b"/")
    return {**scope, "path": path, "raw_path": raw, "headers": headers}


def serve() -> None:
    """Serve until SIGTERM or SIGINT; MiniStack saves its state on the way out."""
    import hypercorn.asyncio
    from hypercorn.config import Config

    emulator = importlib.import_module("ministack.app").app
    stopping = threading.Event()
    resume = amendments.apply(
        concurrency=int(os.environ["MODELWRIGHT_CONCURRENCY"]),
        log=Path(os.environ["MODELWRIGHT_INVOCATIONS"]),
        stopping=stopping,
    )
    config = Config()
    config.bind = [f"{HOST}:{os.environ['GATEWAY_PORT']}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    app: Any = once_started(front_door(emulator, os.environ["AWS_ACCESS_KEY_ID"], installed()), resume)
    stopped: Any = partial(_asked_to_stop, stopping)
    try:
        asyncio.run(hypercorn.asyncio.serve(app, config, shutdown_trigger=stopped))
    finally:
        importlib.import_module("ministack.core.lambda_runtime").reset()


def main() -> None:
    """Leave the caller's process tree, write the pid into the inherited lock, and serve."""
    lock = int(sys.argv[1])
    if child := os.fork():
        os.write(lock, str(child).encode())  # before this process ends, for its caller reads it then
        return
    os.setsid()
    serve()


if __name__ == "__main__":
    main()
