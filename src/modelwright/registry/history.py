"""The time machine: what happened to a model, and what was so at a time.

Both are told by the log alone: a model's stream, and (for shares of traffic) the stream of the rollouts of the name
that it had. ``fold`` says which items count as of a time. A name belongs to one model after another: as of a time it
means the model whose stream says that it was called so then; the registry keeps which models ever had a name (see
``store``), so that no other stream is read.

One question reads the model's stream and the one of its rollouts once: 10,000 events of 1 KB are some 10 MB, 2,500
read units ($0.0003) and about a second; nothing but what stood is kept in memory.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.log import Log, LogItem, stream_of
from modelwright.registry.entities import CHALLENGER, CHAMPION, STAGES, RegisteredModel, checked_name
from modelwright.registry.fold import Standing, Traffic, standing, traffic
from modelwright.registry.messages import ReadAsOf, ReadHistory
from modelwright.registry.models import readable
from modelwright.registry.store import Naming, RegistryStore
from modelwright.registry.words import words
from modelwright.storage import Tables

PAGE_BYTES = 3_000_000
"""A page of a history ends here at the latest: Lambda answers with 6 MB at most."""


def history(call: Call, message: ReadHistory, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return what happened to a model, oldest first, page by page.

    A name that is free now means the model that had it last.
    """
    call.authorise("models:read", f"model/{message.name}")
    since, until = _moment(message.since), _moment(message.until)
    model = _last_of(call, checked_name(message.name), RegistryStore(tables, call))
    stream = stream_of(call.workspace, "MODEL", model.model_id)
    told: list[dict[str, Any]] = []
    token, size = "", 0
    for item in log.read(stream, start=_start(message.page_token)):
        if not _wanted(item, message.type, since, until):
            continue
        one = _told(item)
        size += len(json.dumps(one))
        if told and (len(told) == message.max_results or size > PAGE_BYTES):
            token = _token(item.envelope.sequence)
            break
        told.append(one)
    return {"model": model.name, "stream": stream, "events": told} | ({"next_page_token": token} if token else {})


def as_of(call: Call, message: ReadAsOf, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return what was so at a time, now if none is said.

    Raises:
        NotFound: no model had the name then; the text says when one took it or gave it up.
        InvalidInput: what is said is no time.
    """
    call.authorise("models:read", f"model/{message.name}")
    at = _moment(message.time) or call.now
    name = checked_name(message.name)
    model_id, stood = _had(call, name, at, RegistryStore(tables, call), log)
    if message.version and message.version not in stood.versions:
        raise NotFound(f"{name} had no version {message.version} at {_text(at)}")
    since = stood.named_at[0] or at
    split = traffic(log.read(stream_of(call.workspace, "ROLLOUT", name)), since, at)
    return {"model": name, "model_id": model_id, "as_of": at.isoformat()} | _answer(stood, split, message.version)


def _answer(stood: Standing, split: Traffic, asked: int) -> dict[str, Any]:
    holds: dict[int, list[str]] = {}
    for alias, holding in sorted(stood.aliases.items()):
        holds.setdefault(int(holding.event.version or 0), []).append(alias)
    routed = {route.version for route in split.routes if route.percent or route.role == "shadow"}
    staged = {number for number, version in stood.versions.items() if version.stage != STAGES[0]}
    mattered = {*holds, *routed, *staged} | ({asked} if asked else set())
    aliases = {alias: holding.answer() for alias, holding in sorted(stood.aliases.items())}
    return {
        "born": stood.born.isoformat() if stood.born else None,
        "described": stood.described,
        "tags": sorted(stood.tags),
        "champion": aliases.get(CHAMPION, {}).get("version"),
        "challenger": aliases.get(CHALLENGER, {}).get("version"),
        "aliases": aliases,
        "traffic": [route.model_dump() for route in split.routes],
        "traffic_since": split.since.isoformat() if split.since else None,
        "versions": [
            {
                **(stood.versions[number].answer() if number in stood.versions else {"version": number}),
                "aliases": holds.get(number, []),
                "percent": sum(route.percent for route in split.routes if route.version == number),
            }
            for number in sorted(mattered)
        ],
        "others": len(set(stood.versions) - mattered),
        "waiting": [waiting.answer() for _, waiting in sorted(stood.waiting.items())],
        "events": stood.count,
    }


def _had(call: Call, name: str, at: datetime, store: RegistryStore, log: Log) -> tuple[str, Standing]:
    """Return the model that had a name, as it stood; should two say so, it is the one that took the name later."""
    namings = _readable_namings(call, name, store)
    candidates = dict.fromkeys(naming.model_id for naming in namings if naming.at <= at)
    found = {model_id: standing(_stream(call, model_id, log), at) for model_id in candidates}
    having = [(model_id, stood) for model_id, stood in found.items() if stood.there and stood.name == name]
    if having:
        return max(having, key=lambda pair: (pair[1].named_at[0] or at, pair[1].named_at[1]))
    raise NotFound(f"no model was called {name} at {_text(at)}: {_why(call, name, at, namings, log)}")


def _readable_namings(call: Call, name: str, store: RegistryStore) -> list[Naming]:
    """Return who ever had a name, but for models whose name of today the caller may not read."""
    namings = store.named(name)
    models = store.by_id(list(dict.fromkeys(naming.model_id for naming in namings)))
    seen = [naming for naming in namings if naming.model_id in models and readable(call, models[naming.model_id])]
    if not seen:
        raise NotFound(f"Registered Model with name={name} not found")
    return seen


def _why(call: Call, name: str, at: datetime, namings: Sequence[Naming], log: Log) -> str:
    """Return when a name was taken or given up, whichever is next to a time."""
    later = next((naming for naming in namings if naming.at > at and naming.taken), None)
    before = [naming for naming in namings if naming.at <= at and not naming.taken]
    if before:
        return f"the model of that name gave it up at {_text(before[-1].at)}"
    if later is None:
        return "none has taken that name since"
    stood = standing(_stream(call, later.model_id, log), at)
    if stood.there and _may_read(call, stood.name):
        return f"the model that took the name at {_text(later.at)} was called {stood.name} then"
    return f"it was born at {_text(later.at)}"


def _may_read(call: Call, name: str) -> bool:
    try:
        call.authorise("models:read", f"model/{name}")
    except Forbidden:
        return False
    return True


def _last_of(call: Call, name: str, store: RegistryStore) -> RegisteredModel:
    """Return the model that has a name, or else the one that had it last; raises ``NotFound``."""
    if (model := store.find(name)) is not None:
        return model
    last = _readable_namings(call, name, store)[-1].model_id
    return store.by_id([last])[last]


def _stream(call: Call, model_id: str, log: Log) -> Iterator[LogItem]:
    return log.read(stream_of(call.workspace, "MODEL", model_id))


def _wanted(item: LogItem, kinds: Sequence[str], since: datetime | None, until: datetime | None) -> bool:
    at = item.envelope.at
    named = not kinds or item.envelope.type in kinds
    return named and (since is None or since <= at) and (until is None or at < until)


def _told(item: LogItem) -> dict[str, Any]:
    envelope = item.envelope
    return envelope.model_dump(mode="json") | {"hash": item.hash, "text": words(envelope.type, envelope.data)}


def _moment(text: str) -> datetime | None:
    """Return a time (without a zone: UTC), None for no text; a plus that a URL made a blank counts as one."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{text[:100]!r} is no time: say it like 2026-03-01T12:00Z") from error


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _token(sequence: int) -> str:
    return urlsafe_b64encode(f"from {sequence}".encode()).decode()


def _start(token: str) -> int:
    """Return the place in the stream that a token names; raises ``InvalidInput``."""
    if not token:
        return 1
    try:
        word, _, number = urlsafe_b64decode(token).decode().partition(" ")
        if word == "from" and 0 < int(number) < 10**12:
            return int(number)
    except ValueError as error:
        raise InvalidInput(f"Invalid page token {token[:200]!r}: it is not one of ours") from error
    raise InvalidInput(f"Invalid page token {token[:200]!r}: it is not one of ours")
