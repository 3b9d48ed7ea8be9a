"""The door of the local stack: who is let through to what, and MLflow's interface at its root."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from modelwright.local.server import front_door
from modelwright.local.ui import Build

ROOT = "LOCALROOT"


@dataclass
class Asked:
    """What became of a request: what the emulator was asked for, and what the asker got."""

    paths: list[str] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    status: int = 0
    answered: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def request(
    path: str,
    *,
    method: str = "GET",
    authorization: str = "",
    query: str = "",
    build: Build | None = None,
    console_says: int = 200,
) -> Asked:
    """Send a request through the door; the emulator answers 200, but the console what it is told to."""
    seen = Asked()

    async def emulator(scope: Any, receive: Any, send: Any) -> None:
        seen.paths.append(scope["raw_path"].decode())
        seen.headers = dict(scope["headers"])
        status = console_says if scope["path"].endswith("/console") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"of the API"})

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.answered = {name.decode(): value.decode() for name, value in message.get("headers", ())}
        seen.body += message.get("body", b"")

    headers = [(b"authorization", authorization.encode())] if authorization else []
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }

    async def served() -> None:
        await front_door(emulator, ROOT, build)(scope, None, send)

    asyncio.run(served())
    return seen


def ask(path: str, *, authorization: str = "", query: str = "") -> tuple[str | None, int]:
    """Return the path that the emulator was asked for, and the status."""
    seen = request(path, authorization=authorization, query=query)
    return (seen.paths[0] if seen.paths else None), seen.status


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


# --- MLflow's interface ------------------------------------------------------------------


@pytest.fixture
def build(tmp_path: Path) -> Build:
    (tmp_path / "secret.txt").write_text("not of the build")
    folder = tmp_path / "build"
    (folder / "static" / "js").mkdir(parents=True)
    (folder / "index.html").write_text("the page")
    (folder / "static" / "js" / "main.c2f5f8d4.js").write_text("the script")
    return Build.of(folder)


def test_who_signed_in_gets_the_page(build: Build) -> None:
    seen = request("/", build=build)
    assert (seen.status, seen.body) == (200, b"the page")
    assert seen.answered["content-type"] == "text/html; charset=utf-8"
    assert seen.answered["cache-control"] == "no-cache"
    assert "default-src 'self'" in seen.answered["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/index.html"])
def test_who_did_not_is_sent_to_the_form(path: str, build: Build) -> None:
    seen = request(path, build=build, console_says=303)
    assert (seen.status, seen.answered["location"], seen.body) == (303, "/login", b"")
    assert seen.paths == [API + "/console"]


def test_who_may_not_see_the_console_may_see_the_page(build: Build) -> None:
    assert request("/", build=build, console_says=403).body == b"the page"


def test_its_files_are_below_static_files(build: Build) -> None:
    seen = request("/static-files/static/js/main.c2f5f8d4.js", build=build, console_says=303)
    assert (seen.status, seen.body, seen.paths) == (200, b"the script", [])
    assert seen.answered["content-type"] == "text/javascript; charset=utf-8"
    assert seen.answered["cache-control"] == "public, max-age=31536000, immutable"
    assert seen.answered["content-length"] == "10"


def test_a_head_has_no_body(build: Build) -> None:
    seen = request("/static-files/index.html", method="HEAD", build=build)
    assert (seen.status, seen.answered["content-length"], seen.body) == (200, "8", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/static-files/", "/static-files", "/static-files/static", "/static-files/none.js", "/static-files//index.html",
        "/static-files/../secret.txt", "/static-files/%2e%2e/secret.txt", "/static-files/..%2fsecret.txt",
        "/static-files/static/../../../secret.txt", "/static-files/%2fetc/passwd", "//etc/passwd", "/secret.txt",
        "/static-files/index.html%00", "/static-files/INDEX.html", "/ajax-api/2.0/mlflow/runs/search",
    ],
)  # fmt: skip
def test_whatever_is_no_file_of_the_build_is_the_apis(path: str, build: Build) -> None:
    seen = request(path, build=build)
    assert (seen.paths, seen.body) == ([f"{API}/{path.lstrip('/')}"], b"of the API")


def test_nothing_can_be_written_there(build: Build) -> None:
    assert request("/", method="POST", build=build).body == b"of the API"


def test_without_mlflow_the_root_is_the_apis_and_leads_to_the_console() -> None:
    seen = request("/")
    assert (seen.paths, b"x-modelwright-interface" in seen.headers) == ([API + "/"], False)


def test_the_api_learns_that_the_interface_is_there(build: Build) -> None:
    assert request("/console", build=build).headers[b"x-modelwright-interface"] == b"/"
