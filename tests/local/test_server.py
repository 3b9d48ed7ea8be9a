import asyncio
from typing import Any

import pytest

from modelwright.local.server import front_door

ROOT = "LOCALROOT"


def ask(path: str, *, authorization: str = "", query: str = "") -> tuple[str | None, int]:
    """Return the path that the emulator was asked for, and the status."""
    asked: list[str] = []
    sent: list[dict[str, Any]] = []

    async def emulator(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["raw_path"].decode())
        await send({"type": "http.response.start", "status": 200})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"authorization", authorization.encode())] if authorization else []
    scope = {
        "type": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }

    async def request() -> None:
        await front_door(emulator, ROOT)(scope, None, send)

    asyncio.run(request())
    return (asked[0] if asked else None), sent[0]["status"]


API = "/_aws/execute-api/modelwright/$default"


@pytest.mark.parametrize("path", ["/", "/health", "/login", "/_ministack/reset", "/_ministack/config", "/a%20b"])
def test_unsigned_requests_reach_the_api(path: str) -> None:
    assert ask(path) == (API + path, 200)


def test_a_bearer_token_is_no_signature() -> None:
    assert ask("/x", authorization="Bearer AWS4") == (API + "/x", 200)


@pytest.mark.parametrize("key", [ROOT, "ASIA0123", "AKIA0123"])
def test_signed_requests_reach_aws(key: str) -> None:
    signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, Signature=0"
    assert ask("/bucket/key", authorization=signed) == ("/bucket/key", 200)
    assert ask("/bucket/key", query=f"X-Amz-Credential={key}%2F20260101&X-Amz-Signature=0") == ("/bucket/key", 200)
    assert ask("/bucket/key", query=f"AWSAccessKeyId={key}&Signature=0") == ("/bucket/key", 200)


@pytest.mark.parametrize("key", ["test", "", "000000000000", "LOCALROOTX"])
def test_nobody_becomes_root_by_guessing(key: str) -> None:
    signed = f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/s3/aws4_request, Signature=0"
    assert ask("/", authorization=signed) == (None, 403)
    assert ask("/", query=f"Action=CreateUser&X-Amz-Credential={key}%2F2026") == (None, 403)
    assert ask("/", authorization="AWS nonsense") == (None, 403)


@pytest.mark.parametrize("path", ["/_ministack/health", "/_aws/execute-api/other/stage/x"])
def test_the_emulators_own_paths_pass(path: str) -> None:
    assert ask(path) == (path, 200)
