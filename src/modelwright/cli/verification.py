"""The whole log of a workspace over HTTP, for the verifier."""

from typing import Any

from modelwright.cli.client import Api


def full_name(stream: str, workspace: str = "default") -> str:
    """Return a stream's full name; ``MODEL#flights`` means that of the default workspace."""
    return stream if stream.startswith("WS#") else f"WS#{workspace}#{stream}"


def whole_log(api: Api) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return every item of every stream, and the workspace's part of the last root."""
    known = api.get("/v1/log")
    items = [item for stream in known["streams"] for item in api.stream(stream)]
    return items, known["root"]
