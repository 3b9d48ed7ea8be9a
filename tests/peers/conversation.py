"""The same requests to two servers, and their answers made comparable.

A step's path and body may name what earlier answers told (``{run}``); each server is told its own ids. Answers are
compared without what must differ: ids, times, the order of what has none, and what is empty or the default.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import requests

_TIMEOUT_S = 60
_TIMES = ("creation_time", "last_update_time", "start_time", "end_time", "creation_timestamp", "last_updated_timestamp")
_TIMES_MS = ("creation_timestamp_ms", "last_updated_timestamp_ms", "creationTime", "lastUpdateTime")
_DEFAULTS: tuple[Any, ...] = ("", [], {}, None)
_OF_LATER_RELEASES = {"sqlstate", "error_class"}


@dataclass(frozen=True)
class Step:
    """One request.

    Attributes:
        name: a sentence, for the test's name.
        body: JSON, or bytes that are sent as they are.
        keep: what the answer tells for later steps: the name, and the path to it (``run.info.run_id``).
        known: why the answers differ, for a difference that is meant; nothing is compared then.
        headers: besides those of JSON.
    """

    name: str
    method: str
    path: str
    body: Any = None
    keep: Mapping[str, str] = field(default_factory=dict)
    known: str = ""
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Said:
    """A comparable answer: of an error only its status and code, and which parameters it is about."""

    status: int
    body: Any

    def without(self, others: "Said", extras: Set[str]) -> "Said":
        """Return the answer without fields that may be more than others say, where they do not say them."""
        return replace(self, body=_without(self.body, others.body, extras))


def _without(ours: Any, theirs: Any, extras: Set[str]) -> Any:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {k: _without(v, theirs.get(k), extras) for k, v in ours.items() if k in theirs or k not in extras}
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [_without(*pair, extras) for pair in zip(ours, theirs, strict=True)]
    return ours


def talk(url: str, steps: Sequence[Step], headers: Mapping[str, str]) -> dict[str, Said]:
    """Send all requests to a server and return its answers by the names of the steps."""
    told: dict[str, str] = {}
    said = {}
    with requests.Session() as session:
        session.headers.update(headers)
        for step in steps:
            answer = _send(session, url, step, told)
            said[step.name] = _comparable(answer, told)
    return said


def _send(session: requests.Session, url: str, step: Step, told: dict[str, str]) -> requests.Response:
    path, headers = _filled(step.path, told), dict(step.headers or {})
    if isinstance(step.body, bytes):
        body: bytes | None = step.body
    else:
        body = None if step.body is None else json.dumps(_filled(step.body, told)).encode()
        headers = {"content-type": "application/json", **headers} if step.headers is None and body else headers
    answer = session.request(step.method, url + path, data=body, headers=headers, timeout=_TIMEOUT_S)
    for name, where in step.keep.items():
        found: Any = answer.json()
        for part in where.split("."):
            found = found[int(part)] if part.isdigit() else found[part]
        told[name] = str(found)
    return answer


def _filled(value: Any, told: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: told.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [_filled(part, told) for part in value]
    return {key: _filled(part, told) for key, part in value.items()} if isinstance(value, dict) else value


def _comparable(answer: requests.Response, told: Mapping[str, str]) -> Said:
    text = answer.text
    for name, identity in sorted(told.items(), key=lambda item: -len(item[1])):
        text = text.replace(identity, f"<{name}>") if len(identity) > 8 else text
    if "json" not in answer.headers.get("content-type", "") or not text:
        return Said(answer.status_code, text if answer.ok and "<html" not in text else "")
    body = json.loads(text)
    if not answer.ok:
        parameters = re.findall(r"parameter '([\w.\[\]]+)'", body["message"])
        return Said(answer.status_code, {"error_code": body["error_code"], **dict.fromkeys(parameters, "is wrong")})
    return Said(answer.status_code, _bare(body))


def _bare(value: Any) -> Any:
    """Return a value without what is empty or a time, lists of things with keys in the order of those."""
    if isinstance(value, list):
        parts = [_bare(part) for part in value]
        named = all(isinstance(part, dict) and {"key", "path"} & set(part) for part in parts)
        return sorted(parts, key=lambda part: json.dumps(part, sort_keys=True)) if named else parts
    if not isinstance(value, dict):
        return value
    told = {k: _bare(v) for k, v in value.items() if k not in _OF_LATER_RELEASES}
    told = {k: "T" if v and k in (*_TIMES, *_TIMES_MS) else v for k, v in told.items()}
    return {k: v for k, v in told.items() if v not in _DEFAULTS}
