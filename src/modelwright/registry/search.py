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

_ANSWER_BYTES = 5_000_000
"""Lambda takes 6 MB with the body as a JSON string, in which quotes and backslashes count twice."""

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
    chosen = _page(found, place, limit, message, presorted=orders[0] == _BY_NAME)
    latest = store.latest([model for _, model in chosen[:limit]])
    said = [model.answer(latest[model.model_id]) for _, model in chosen[:limit]]
    return _answer("registered_models", said, chosen, message)


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
    limit = message.limit(10_000, 200_000)
    chosen = _page(found, _placed(orders, lambda each, entity, key: each[1].value(entity, key)), limit, message)
    said = [version.answer(model) for _, (model, version) in chosen[:limit]]
    return _answer("model_versions", said, chosen, message)


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
) -> list[tuple[Place, T]]:
    """Return a search's page, and one thing more if there is; raises ``InvalidInput`` for a foreign token."""
    after = _after(message.page_token, _digest(message))
    wanted = (pair for pair in ((place(thing), thing) for thing in found) if pair[0] > after)
    return list(islice(wanted, limit + 1)) if presorted else sorted(wanted, key=lambda pair: pair[0])[: limit + 1]


def _answer(
    name: str, said: Sequence[dict[str, Any]], chosen: Sequence[tuple[Place, Any]], message: Search
) -> dict[str, Any]:
    """Return as much of a page as fits, and the token of the next if there is more."""
    fits = len(fitting(said))
    if len(chosen) <= fits:
        return {name: said}
    token = json.dumps([_digest(message), chosen[fits - 1][0]], separators=(",", ":"))
    return {name: said[:fits], "next_page_token": urlsafe_b64encode(token.encode()).decode()}


def fitting(said: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Return as many things, from the first on, as an answer holds; at least one, if there is one."""
    size = 0
    for place, one in enumerate(said):
        text = json.dumps(one)
        size += len(text) + text.count('"') + text.count("\\")
        if size > _ANSWER_BYTES:
            return said[: max(place, 1)]
    return said


def _digest(message: Search) -> str:
    return hashlib.sha256(json.dumps([message.filter, message.order_by]).encode()).hexdigest()[:16]


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
