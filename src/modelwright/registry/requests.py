"""How requests that versions take aliases are kept, and what each of their steps writes.

=================  =============================  ==========================  =====================================
entity             pk                             sk                          access pattern
=================  =============================  ==========================  =====================================
request            ``WS#<ws>#MODEL#<model id>``   ``REQUEST#<request id>``    get; the mark of the call that asked
place in time      ``WS#<ws>#MODEL#<model id>``   ``ASKED#<time>#<id>``       a model's requests, newest first
open request       ``WS#<ws>#WAITING``            ``<request id>``            what is not decided in a workspace
known workspace    ``WORKSPACES``                 ``<ws>``                    workspaces that ever had open requests
=================  =============================  ==========================  =====================================

The model names its open requests too, by alias and version, so that there is one at a time of each, and that whoever
changes the model (deletes it, say) knows them without looking for them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import AliasChanged, Event
from modelwright.registry.entities import CHALLENGER, CHAMPION, ModelVersion, RegisteredModel, existing
from modelwright.registry.store import TABLE, RegistryStore, load_document, put_document, version_sk
from modelwright.registry.workflow import TransitionRequest, happened
from modelwright.storage import Anything, Delete, Item, Key, Put, Tables, Write, every

_WORKSPACES = "WORKSPACES"


class Asked(NamedTuple):
    """What a request is about, and itself if it came before."""

    model: RegisteredModel
    version: ModelVersion | None
    request: TransitionRequest | None


class Waiting(NamedTuple):
    """The line of an open request."""

    request_id: str
    model_id: str
    version: int
    expires: datetime


class Page(NamedTuple):
    """Requests, and where the next page begins (empty at the end)."""

    requests: list[TransitionRequest]
    cursor: str


class RequestStore(RegistryStore):
    """The registry's store, with requests."""

    def asked(self, name: str, number: int, request_id: str) -> Asked:
        """Return a model, a version, and the request of this id: all in one call. Raises ``NotFound`` for no model."""
        request_sk, number_sk = _request_sk(request_id), version_sk(number)
        place = self.look_up(name, number_sk, request_sk)
        model, items = existing(place.model, name), place.items
        version = load_document(ModelVersion, items[number_sk]) if number_sk in items else None
        return Asked(model, version, _request(model, items, request_sk))

    def request(self, name: str, request_id: str) -> tuple[RegisteredModel, TransitionRequest]:
        """Return a model and one of its requests; raises ``NotFound``."""
        place = self.look_up(name, _request_sk(request_id))
        model = existing(place.model, name)
        request = _request(model, place.items, _request_sk(request_id))
        if request is None:
            raise NotFound(f"{name} has no request {request_id}")
        return model, request

    def requests(self, model_id: str, request_ids: Iterable[str]) -> list[TransitionRequest]:
        """Return requests of a model, as far as they are there."""
        keys = self._keys_of(model_id, [_request_sk(request_id) for request_id in request_ids])
        found = self._tables.batch_get(TABLE, keys) if keys else {}
        return [load_document(TransitionRequest, found[key]) for key in keys if key in found]

    def newest_requests(self, model: RegisteredModel, limit: int, cursor: str = "") -> Page:
        """Return a page of a model's requests, newest first."""
        page = self._tables.query(
            TABLE, self._pk("MODEL", model.model_id), prefix="ASKED#", reverse=True, limit=limit, cursor=cursor
        )
        ids = [str(item["request_id"]) for item in page.items]
        return Page([_named(model, each) for each in self.requests(model.model_id, ids)], page.cursor)

    def line(self, request_id: str) -> Waiting | None:
        """Return the line of a request, if it is open."""
        item = self._tables.get(TABLE, Key(self._pk("WAITING"), request_id))
        return _waiting(item) if item else None

    def lines(self, limit: int, cursor: str = "") -> tuple[list[Waiting], str]:
        """Return a page of the workspace's open requests, and where the next begins."""
        page = self._tables.query(TABLE, self._pk("WAITING"), limit=limit, cursor=cursor)
        return [_waiting(item) for item in page.items], page.cursor

    def of_lines(self, lines: Sequence[Waiting]) -> list[tuple[RegisteredModel, TransitionRequest]]:
        """Return the open requests of lines with their models, in one call for a hundred."""
        wanted = {line: self._keys_of(line.model_id, ["META", _request_sk(line.request_id)]) for line in lines}
        keys = list(dict.fromkeys(key for each in wanted.values() for key in each))
        found = self._tables.batch_get(TABLE, keys) if keys else {}
        return [
            (model, _named(model, load_document(TransitionRequest, found[request])))
            for meta, request in wanted.values()
            if meta in found and request in found
            for model in [load_document(RegisteredModel, found[meta])]
        ]

    def put_request(
        self, model: RegisteredModel, before: TransitionRequest | None, request: TransitionRequest
    ) -> list[Write]:
        """Return the writes of a request that is new (``before`` None: fails when it is not), or went a step."""
        (key,) = self._keys_of(model.model_id, [_request_sk(request.request_id)])
        writes: list[Write] = [put_document(key, request)]
        line = {"pk": self._pk("WAITING"), "sk": request.request_id}
        if before is None:
            at = f"{request.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
            place = {"pk": key.pk, "sk": f"ASKED#{at}#{request.request_id}", "request_id": request.request_id}
            writes.append(Put(TABLE, place, Anything()))
        if request.open and before is None:
            about = {"model_id": model.model_id, "version": request.version, "expires": request.expires.isoformat()}
            writes.append(Put(TABLE, {**line, **about}, Anything()))
            writes.append(Put(TABLE, {"pk": _WORKSPACES, "sk": self._workspace}, Anything()))
        if before is not None and before.open and not request.open:
            writes.append(Delete(TABLE, Key(line["pk"], line["sk"]), Anything()))
        return writes


def workspaces(tables: Tables) -> list[str]:
    """Return the workspaces that ever had open requests."""
    return [str(item["sk"]) for item in every(tables, TABLE, _WORKSPACES)]


@dataclass(frozen=True, slots=True)
class Change:
    """What steps of requests make of a model: the model as it is then, the events, and the requests' own writes."""

    model: RegisteredModel
    events: tuple[Event, ...] = ()
    writes: tuple[Write, ...] = ()

    def then(self, step: "Callable[[RegisteredModel], Change]") -> "Change":
        """Return this change and one more step."""
        after = step(self.model)
        return Change(after.model, (*self.events, *after.events), (*self.writes, *after.writes))


def moved(
    call: Call,
    store: RequestStore,
    model: RegisteredModel,
    before: TransitionRequest | None,
    request: TransitionRequest,
) -> Change:
    """Return what a request's step changes; one that is applied moves its alias."""
    request = _named(model, request)
    events, writes = happened(before, request), tuple(store.put_request(model, before, request))
    elsewhere = {place: each for place, each in model.open.items() if each != request.request_id}
    left = {**elsewhere, request.place: request.request_id} if request.open else elsewhere
    change = Change(model.model_copy(update={"open": left}), events, writes)
    decided = request.state == "applied" and (before is None or before.open)
    return change.then(lambda settled: _applied(call, settled, request)) if decided else change


def superseded(
    call: Call,
    tables: Tables,
    model: RegisteredModel,
    reason: str,
    *,
    version: int = 0,
    alias: str = "",
    actor: str = "",
) -> Change:
    """Return how open requests of a model end because something else was decided (``reason``).

    Commit its events and writes together with that, and its model instead of the one that was given.

    Args:
        call: whose decision that is.
        tables: where the requests are.
        model: the model, as changed so far.
        reason: what the log says.
        version: only those that are about this version.
        alias: only those that are about this alias.
        actor: only those of this actor.
    """
    named = {tuple(place.rsplit(" ", 1)): each for place, each in model.open.items()}
    ids = [each for (a, v), each in named.items() if alias in ("", a) and version in (0, int(v))]
    store, change = RequestStore(tables, call), Change(model)
    for request in store.requests(model.model_id, ids):
        if request.open and actor in ("", request.actor):
            ended = request.ended("superseded", call.now, call.actor, reason)
            change = change.then(lambda left, was=request, now=ended: moved(call, store, left, was, now))  # type: ignore[misc]
    return change


def without_challenger(call: Call, model: RegisteredModel, version: int, reason: str) -> Change:
    """Return the model without the alias challenger, and that as an event, if this version held it."""
    if model.aliases.get(CHALLENGER) != version:
        return Change(model)
    event = AliasChanged(model=model.name, alias=CHALLENGER, version=None, previous=version, reason=reason)
    return Change(model.pointing(CHALLENGER, None, call.now), (event,))


def _applied(call: Call, model: RegisteredModel, request: TransitionRequest) -> Change:
    previous = model.aliases.get(request.alias)
    if previous == request.version:  # somebody else pointed it there meanwhile
        return Change(model)
    changed = AliasChanged(
        model=model.name,
        alias=request.alias,
        version=request.version,
        previous=previous,
        request_id=request.request_id,
        results=request.results,
        forced=request.reason if request.forced else "",
        reason=request.reason,
        requested_by="" if request.actor == call.actor else request.actor,
        approved_by=tuple(approval.actor for approval in request.approvals),
    )
    change = Change(model.pointing(request.alias, request.version, call.now), (changed,))
    if request.alias != CHAMPION:
        return change
    reason = f"v{request.version} became champion"
    return change.then(lambda pointed: without_challenger(call, pointed, request.version, reason))


def _request(model: RegisteredModel, items: "dict[str, Item]", sk: str) -> TransitionRequest | None:
    return _named(model, load_document(TransitionRequest, items[sk])) if sk in items else None


def _named(model: RegisteredModel, request: TransitionRequest) -> TransitionRequest:
    """Return a request with its model's name as it is now."""
    return request.model_copy(update={"model": model.name})


def _request_sk(request_id: str) -> str:
    return f"REQUEST#{request_id}"


def _waiting(item: Item) -> Waiting:
    expires = datetime.fromisoformat(str(item["expires"]))
    return Waiting(str(item["sk"]), str(item["model_id"]), int(item["version"]), expires)
