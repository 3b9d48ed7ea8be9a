"""Every route of the MLflow side, with the message that it takes, found in the route tables themselves."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from pkgutil import resolve_name
from types import ModuleType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import BaseModel
from support.http import handler_of, memory_wiring

from fuzz.words import FLOATS, KINDS, NUMBERS, Name, anything, mostly, text
from modelwright.http import Route

FUNCTIONS = ("tracking", "artifacts", "registry")


@dataclass(frozen=True)
class Target:
    """A route of a function, and what callers say to it, where that is known."""

    function: str
    route: Route
    message: type[BaseModel] | None

    def __repr__(self) -> str:
        return f"{self.function} {self.route.method} {self.route.path}"


def targets() -> tuple[Target, ...]:
    """Return all routes of the three functions."""
    wiring = memory_wiring()
    return tuple(
        Target(name, route, _message(route)) for name in FUNCTIONS for route in handler_of(name, wiring).routes
    )


@dataclass(frozen=True)
class Said:
    """A request; ``path`` has its parameters still in it, and a ``Name`` may stand anywhere."""

    function: str
    method: str
    path: str
    parameters: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    headers: Mapping[str, str]

    def named(self, known: Mapping[str, Sequence[str]]) -> "Said":
        """Return the request with the names of what exists in place."""
        values = {name: str(_resolved(value, known)) or "x" for name, value in self.parameters.items()}
        path = re.sub(r"<(?:path:)?(\w+)>", lambda found: values[found[1]], self.path)
        query, body = _resolved(self.query, known), _resolved(self.body, known)
        return replace(self, path=path, parameters={}, query=query, body=body)


@cache
def requests(target: Target) -> st.SearchStrategy[Said]:
    """Return requests to a route: mostly well-formed, sometimes not at all."""
    fields = (
        _object(target.message)
        if target.message
        else st.fixed_dictionaries({}, optional={name: _value(name, str) for name in _FREE})
    )
    names = re.findall(r"<(?:path:)?(\w+)>", target.route.path)
    return st.builds(
        partial(_said, target),
        fields,
        mostly(st.just({}), st.dictionaries(st.text(max_size=4), anything(), max_size=2), 15),
        st.fixed_dictionaries({name: _PARAMETERS[name] if name in _PARAMETERS else text(name) for name in names}),
        st.sampled_from(("body",) * 18 + ("query", "raw")),
        st.sampled_from(({}, {}, {}, {"idempotency-key": "k"}, {"content-type": "text/plain"})),
        st.one_of(st.binary(max_size=20), anything(), st.sampled_from((b"{", b"[]", b'"x"', b"\xff", b"nul"))),
    )


_FREE = ("query", "operationName", "variables", "path", "name", "run_id", "run_uuid", "metric_key", "run_ids", "wheel")
_PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "api": st.sampled_from(("api",) * 30 + ("ajax-api",) * 9 + ("apis",)),
    "path": text("<path>"),
    "api_version": st.sampled_from(("2.0",) * 30 + ("3.0",) * 9 + ("1.0",)),
}


def _said(
    target: Target,
    fields: Mapping[str, Any],
    odd: Mapping[str, Any],
    values: Mapping[str, Any],
    form: str,
    headers: Mapping[str, str],
    raw: Any,
) -> Said:
    method = target.route.method if target.route.method != "ANY" else ("GET" if form == "query" else "POST")
    parts = {**values, **{name: fields[name] for name in values if isinstance(fields.get(name), Name)}}
    told = {name: value for name, value in {**fields, **odd}.items() if name not in values}
    query = told if method == "GET" or form == "query" else {}
    body = raw if form == "raw" else {} if query else told
    return Said(target.function, method, target.route.path, parts, query, body, headers)


def _resolved(value: Any, known: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(value, Name):
        return value.among(known)
    if isinstance(value, dict):
        return {key: _resolved(part, known) for key, part in value.items()}
    return [_resolved(part, known) for part in value] if isinstance(value, list) else value


def _object(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Return what a message may be; now and then something that it must have is missing."""
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    fields = {name: _value(name, field.annotation) for name, field in known.items()}
    required = {name for name, field in known.items() if field.is_required() or name in KINDS or name == "name"}
    sound = st.fixed_dictionaries(
        {name: value for name, value in fields.items() if name in required},
        optional={name: value for name, value in fields.items() if name not in required},
    )
    return mostly(sound, st.fixed_dictionaries({}, optional=fields), 15)


def _value(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """Return values of a field; now and then something of another type."""
    return mostly(_right(name, annotation), anything(), 50)


def _right(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return st.one_of(*(_right(name, part) for part in arguments))
    if get_origin(annotation) is Literal:
        return st.sampled_from(arguments)
    if get_origin(annotation) in (tuple, list, Sequence):
        return st.lists(_value(name, arguments[0]), max_size=4)
    if get_origin(annotation) is dict:
        return st.dictionaries(st.text(max_size=5), _right(name, arguments[1]), max_size=3)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return _object(annotation)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: mostly(st.integers(1, 5), st.sampled_from((*NUMBERS, *map(str, NUMBERS[:4]))), 6),
        float: mostly(st.floats(0, 1), st.sampled_from(FLOATS) | st.floats(), 3),
        str: text(name),
        type(None): st.none(),
    }
    return simple.get(annotation, anything())


def _message(route: Route) -> type[BaseModel] | None:
    """Return the message that a route's handler validates: told to it by class or name, or named in its code."""
    if isinstance(route.handler, partial):
        told = [resolve_name(v) if n == "message" else v for n, v in route.handler.keywords.items()]
        return next((value for value in told if _is_message(value)), None)
    nonlocals = inspect.getclosurevars(route.handler).nonlocals.values()
    names = {**route.handler.__globals__, **_imported_late(route.handler)}
    places = [names, *(vars(value) for value in names.values() if isinstance(value, ModuleType))]
    candidates = [place[name] for name in route.handler.__code__.co_names for place in places if name in place]
    return next((found for found in (*nonlocals, *candidates) if _is_message(found)), None)


def _is_message(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseModel)


def _imported_late(handler: Callable[..., Any]) -> dict[str, Any]:
    """Return what a handler imports when it is called."""
    nodes = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(handler))))
    late = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {a.asname or a.name: _member(str(node.module), a.name) for node in late for a in node.names}


def _member(module: str, name: str) -> Any:
    found = import_module(module)
    return getattr(found, name) if hasattr(found, name) else import_module(f"{module}.{name}")
