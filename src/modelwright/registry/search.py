"""Searches of registered models and of their versions, page by page.

A page's token names the last result by what it is ordered by, so that what is made or deleted meanwhile moves
nothing else from one page to another. The versions of a run, and the models of a name or of how it begins, are
found directly; every other search reads all models.

Prompts are models and versions with a tag, and hidden unless a filter asks for them, as MLflow does; a version
counts as a prompt by its own tag or its model's.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.filters import MODEL_VERSIONS, REGISTERED_MODELS, Clause, Order, matches, rank
from modelwright.log import Log
from modelwright.registry.entities import PROMPT, ModelVersion, RegisteredModel, is_name
from modelwright.registry.messages import Search
from modelwright.registry.models import readable
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables

_BY_NAME = Order("attributes", "name")
_BY_VERSION = Order("attributes", "version_number", ascending=False)
_NEWEST_FIRST = Order("attributes", "last_updated_timestamp", ascending=False)

T = TypeVar("T")
Place = tuple[Any, ...]
Found = tuple[RegisteredModel, ModelVersion]


def models(call: Call, message: Search, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the models that match and that the caller may read, by name unless ordered otherwise."""
    store = RegistryStore(tables, call)
    clauses, prompts = _without_prompts(REGISTERED_MODELS.parse(message.filter))
    orders = [*REGISTERED_MODELS.orders(message.order_by), _BY_NAME]
    found = (
        model
        for model in _models(store, clauses)
        if (prompts or not model.is_prompt) and matches(clauses, model.value) and readable(call, model)
    )
    place = _placed(orders, RegisteredModel.value)
    limit = message.limit(100, 1000)
    chosen, token = _page(found, place, limit, message, presorted=orders[0] == _BY_NAME)
    latest = store.latest(chosen)
    said = [model.answer(latest[model.model_id]) for model in chosen]
    return {"registered_models": said} | ({"next_page_token": token} if token else {})


def versions(call: Call, message: Search, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the versions that match and that the caller may read, newest first unless ordered otherwise."""
    store = RegistryStore(tables, call)
    clauses, prompts = _without_prompts(MODEL_VERSIONS.parse(message.filter))
    orders = [*(MODEL_VERSIONS.orders(message.order_by) or (_NEWEST_FIRST,)), _BY_NAME, _BY_VERSION]
    found = (
        (model, version)
        for model, version in _named(_versions(store, clauses, prompts=prompts))
        if (prompts or not (model.is_prompt or version.is_prompt))
        and matches(clauses, version.value)
        and readable(call, model)
    )
    chosen, token = _page(
        found,
        _placed(orders, lambda each, entity, key: each[1].value(entity, key)),
        message.limit(10_000, 200_000),
        message,
    )
    said = [version.answer(model) for model, version in chosen]
    return {"model_versions": said} | ({"next_page_token": token} if token else {})


def _models(store: RegistryStore, clauses: Sequence[Clause]) -> Iterator[RegisteredModel]:
    """Yield the models, by name, that a filter leaves possible."""
    for clause in clauses:
        if (clause.entity, clause.key) == ("attributes", "name"):
            if clause.operator in ("=", "IN"):
                names = sorted({clause.value} if isinstance(clause.value, str) else set(_texts(clause)))
                yield from (model for name in names if is_name(name) and (model := store.find(name)) is not None)
                return
            if clause.operator == "LIKE" and (prefix := _beginning(str(clause.value))):
                yield from store.models(prefix)
                return
    yield from store.models()


def _versions(store: RegistryStore, clauses: Sequence[Clause], *, prompts: bool) -> Iterator[Found]:
    """Yield the versions that a filter leaves possible."""
    for clause in clauses:
        run_ids = _texts(clause) if (clause.key, clause.operator) in (("run_id", "="), ("run_id", "IN")) else ()
        if run_ids and all(run_ids):
            yield from store.versions_of_runs(run_ids)
            return
    for model in _models(store, clauses):
        if prompts or not model.is_prompt:
            yield from ((model, version) for version in store.versions(model))


def _named(found: Iterable[Found]) -> Iterator[Found]:
    """Yield versions with the names that their models have now."""
    return ((model, version.model_copy(update={"model": model.name})) for model, version in found)


def _texts(clause: Clause) -> tuple[str, ...]:
    return clause.value if isinstance(clause.value, tuple) else (str(clause.value),)


def _beginning(pattern: str) -> str:
    """Return what all texts that are LIKE a pattern begin with."""
    return pattern[: min((pattern.index(wild) for wild in "%_" if wild in pattern), default=len(pattern))]


def _without_prompts(clauses: tuple[Clause, ...]) -> tuple[tuple[Clause, ...], bool]:
    """Return a filter's clauses, and whether prompts are shown: the first clause on their tag says so.

    Where they are not, clauses on the tag mean nothing more, because models that are no prompts lack it.
    """
    asked = [clause for clause in clauses if (clause.entity, clause.key) == ("tags", PROMPT)]
    shown = bool(asked) and (asked[0].operator, str(asked[0].value).lower()) in (("=", "true"), ("!=", "false"))
    return clauses if shown else tuple(clause for clause in clauses if clause not in asked), shown


def _placed(orders: Sequence[Order], value: Callable[[T, str, str], Sequence[Any]]) -> Callable[[T], Place]:
    """Return what gives the place of a thing among others: what sorts as the orders say."""

    def place(thing: T) -> Place:
        return tuple(rank(value(thing, o.entity, o.key)[0], ascending=o.ascending) for o in orders)

    return place


def _page(
    found: Iterable[T], place: Callable[[T], Place], limit: int, message: Search, *, presorted: bool = False
) -> tuple[list[T], str]:
    """Return the page that a search asks for and the next one's token; raises ``InvalidInput`` for a foreign token."""
    digest = hashlib.sha256(json.dumps([message.filter, message.order_by]).encode()).hexdigest()[:16]
    after = _after(message.page_token, digest)
    wanted = (pair for pair in ((place(thing), thing) for thing in found) if pair[0] > after)
    chosen = list(islice(wanted, limit + 1)) if presorted else sorted(wanted, key=lambda pair: pair[0])[: limit + 1]
    token = ""
    if len(chosen) > limit:
        token = urlsafe_b64encode(json.dumps([digest, chosen[limit - 1][0]], separators=(",", ":")).encode()).decode()
    return [thing for _, thing in chosen[:limit]], token


def _after(token: str, digest: str) -> Place:
    """Return the place where the page before ended; raises ``InvalidInput``."""
    if not token:
        return ()
    try:
        told, ranks = json.loads(urlsafe_b64decode(token))
        if told == digest:
            return tuple((int(kind), float(number), tuple(map(int, codes))) for kind, number, codes in ranks)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"Invalid page token {token[:200]!r}: it is not one of ours") from error
    raise InvalidInput(f"Invalid page token {token[:200]!r}: it is of another search")
