"""Lets in whoever sends the right token."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    token = event["headers"].get("authorization", "").removeprefix("Bearer ")
    print('{"level": "INFO", "message": "authorized"}')  # noqa: T201
    return {"isAuthorized": token == "right", "context": {"actor": "ada"}}
