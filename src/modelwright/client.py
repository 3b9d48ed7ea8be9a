"""HTTP to a stack, local or deployed, as the commands use it; inside the account features are read without it."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from modelwright import errors
from modelwright.reader import OnlineFeatures

__all__ = ["AS_OF", "ENDPOINT", "TOKEN", "Api", "OnlineFeatures", "full_name", "whole_log"]
ENDPOINT = "MODELWRIGHT_ENDPOINT"
TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable
AS_OF = "x-modelwright-as-of"
_TIMEOUT_S = 60
_KINDS: Mapping[int, type[errors.ModelwrightError]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Refused,
    413: errors.TooLarge,
    429: errors.Unavailable,
    501: errors.NotImplementedHere,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}


class Api:
    """A stack's HTTP API.

    Args:
        endpoint: its base URL.
        token: the bearer token.
        as_of: the time to be told in every request, on a stack that allows a virtual time.
    """

    def __init__(self, endpoint: str, token: str, as_of: datetime | None = None) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.token = token
        self.as_of = as_of
        self._session = requests.Session()
        self._session.headers["authorization"] = f"Bearer {token}"

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON answer of a GET."""
        return self.send("GET", path, query=query)

    def post(self, path: str, body: Any, **headers: str) -> Any:
        """Return the JSON answer of a POST."""
        return self.send("POST", path, body=body, headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """Return the JSON answer of a PUT."""
        return self.send("PUT", path, body=body)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON answer.

        Raises:
            ModelwrightError: of the kind that the status tells, with the server's message.
            Unavailable: the stack does not answer.
        """
        answer = self._answer(method, path, body=body, query=query, headers=headers)
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def download(self, path: str) -> bytes:
        """Return the body of a GET as it is. Raises as ``send``."""
        return self._answer("GET", path).content

    def _answer(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        told = {**(headers or {}), **({AS_OF: self.as_of.isoformat()} if self.as_of else {})}
        try:
            answer = self._session.request(
                method, self.endpoint + path, json=body, params=query, headers=told, timeout=_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise errors.Unavailable(f"{self.endpoint} does not answer: {error}") from error
        if answer.ok:
            return answer
        raise _KINDS.get(answer.status_code, errors.ModelwrightError)(_message(answer))

    def stream(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield a log stream's items as they are stored."""
        cursor = ""
        while True:
            page = self.get(f"/v1/log/{quote(name, safe='')}", cursor=cursor)
            yield from page["items"]
            if not (cursor := page["next"]):
                return


def full_name(stream: str, token: str) -> str:
    """Return a stream's full name; ``MODEL#flights`` means that of the token's workspace."""
    if stream.startswith("WS#"):
        return stream
    parts = token.split(".")
    workspace = parts[1] if len(parts) > 1 else "default"
    return f"WS#{workspace}#{stream}"


def whole_log(api: Api) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return every item of every stream, and the workspace's part of the last root."""
    known = api.get("/v1/log")
    items = [item for stream in known["streams"] for item in api.stream(stream)]
    return items, known["root"]


def _message(answer: requests.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.text[:200]}"
    if isinstance(body, str) and body.startswith("{"):  # Feast's form of an error: JSON in JSON
        body = json.loads(body)
    return str(body.get("message", body)) if isinstance(body, dict) else str(body)
