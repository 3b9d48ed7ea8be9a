"""MLflow's search expressions: ``metrics.auc > 0.7 AND tags.team = 'x'`` as clauses, and order by.

What is accepted, and what it means, is what MLflow 3.18's SQL store accepts and means; like that, this reads
with ``sqlparse`` (``expressions``). Each kind of thing has a dialect: ``RUNS``, ``EXPERIMENTS``,
``LOGGED_MODELS``, ``REGISTERED_MODELS``, ``MODEL_VERSIONS``, ``TRACES``, ``EVALUATION_DATASETS``.

A thing that lacks the key matches no clause but ``IS NULL``; NaN matches ``!=`` alone. ``LIKE`` is
case-sensitive, ``ILIKE`` is not; ``%`` is any text and ``_`` any character. Quotes inside a value stay as
they are (``'it''s'`` has four letters and two quotes), and a comparison may follow another without ``AND``.

Differences, all on purpose:

- What MLflow answers with a server error is refused as invalid, such as ``run_id = ('a')`` or an unknown
  attribute of a logged model; other names of a logged model's attributes may have a prefix, though.
- A value or key of a logged model in double quotes is what stands between them; MLflow looks for the quotes too.
- Versions are not ordered by a tag's name.
- Traces are not found by their spans, assessments or issues, nor by ``RLIKE``, nor by times in quotes.
- ``ILIKE`` ignores the case of all letters, not only of English ones.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from modelwright.errors import InvalidInput
from modelwright.expressions import Comparison, Word, comparisons, is_quoted, members, order_words, unquoted

Actual = str | float | None
"""What a thing has under a key: text, a number, or nothing."""

NUMBER_OPERATORS: Final = ("=", "!=", "<", "<=", ">", ">=")
TEXT_OPERATORS: Final = ("=", "!=", "LIKE", "ILIKE")
LIST_OPERATORS: Final = ("IN", "NOT IN")
NULL_OPERATORS: Final = ("IS NULL", "IS NOT NULL")
_DATASET_KEYS = ("name", "digest", "context")
_CACHED_LENGTH = 10_000
"""Longer filters are read each time, so that the memory of them stays small."""
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {
        "=": operator.eq, "!=": operator.ne, "<": operator.lt,
        "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    }
)  # fmt: skip
_PREFIXES: Final = MappingProxyType(
    {
        "metric": "metrics", "metrics": "metrics",
        "param": "params", "params": "params", "parameter": "params", "parameters": "params",
        "tag": "tags", "tags": "tags",
        "attr": "attributes", "attribute": "attributes", "attributes": "attributes", "run": "attributes",
        "dataset": "datasets", "datasets": "datasets",
    }
)  # fmt: skip
"""What stands before the dot, for runs."""
_FEW_PREFIXES: Final = MappingProxyType(
    {"attribute": "attributes", "attributes": "attributes", "tag": "tags", "tags": "tags"}
)


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison: ``entity.key operator value`` (a tuple for IN, None for IS [NOT] NULL)."""

    entity: str
    key: str
    operator: str
    value: str | float | tuple[str, ...] | None

    def holds(self, actual: Actual) -> bool:
        """Say whether a thing that has ``actual`` under the key matches."""
        if self.operator == "IS NULL":
            return actual is None
        if self.operator == "IS NOT NULL" or actual is None:
            return actual is not None
        if isinstance(actual, str):
            return _texts(actual, self.operator, self.value)
        return isinstance(self.value, float) and _COMPARED[self.operator](actual, self.value)


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an ``order_by``."""

    entity: str
    key: str
    ascending: bool = True


@dataclass(frozen=True, eq=False)
class Searchable:
    """What can be searched for, and in which dialect.

    Attributes:
        what: how messages call it.
        texts: attributes with text.
        numbers: attributes with numbers.
        entities: of metrics, params, tags and datasets, those it has.
        synonyms: other names of attributes.
        prefixes: what stands before the dot of a key, and the entity that it means.
        lists: the attributes and entities that can be IN a list.
        nullable: the entities that can be asked for by IS [NOT] NULL.
        identities: attributes that are only ever equal or not, with how a value is read that a filter names.
        whole: numbers without a fraction.
        quoted_numbers: whether a number may stand in quotes.
        quoted_prefixes: whether a prefix may stand in backticks.
        quoted_attributes: whether an attribute may stand in quotes or backticks.
        bare_texts: whether a text may stand without quotes.
        order_prefixes: prefixes in an ``order_by``, if they are not those of a filter.
        order_names: names of attributes in an ``order_by``, if they are not those of a filter.
        quoted_orders: whether an attribute may stand in quotes or backticks in an ``order_by``.
        repeats: whether an ``order_by`` may name a field twice.
    """

    what: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    entities: tuple[str, ...] = ("tags",)
    synonyms: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=lambda: _PREFIXES)
    lists: tuple[str, ...] = ("datasets",)
    nullable: tuple[str, ...] = ("params", "tags")
    identities: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    quoted_numbers: bool = False
    quoted_prefixes: bool = False
    quoted_attributes: bool = True
    bare_texts: bool = False
    order_prefixes: Mapping[str, str] | None = None
    order_names: Mapping[str, str] | None = None
    quoted_orders: bool = True
    repeats: bool = False

    def parse(self, text: str) -> tuple[Clause, ...]:
        """Return the clauses of a filter, all of which must hold; raises ``InvalidInput``."""
        if len(text) > _CACHED_LENGTH:
            return tuple(self._clause(comparison) for comparison in comparisons(text))
        return _parsed(self, text)

    def order(self, text: str) -> Order:
        """Return one key of an ``order_by``: ``metrics.auc DESC``; raises ``InvalidInput``."""
        return _ordered(self, text)

    def orders(self, texts: Sequence[str]) -> tuple[Order, ...]:
        """Return the keys of an ``order_by`` list; raises ``InvalidInput``, for repeated ones too."""
        found = tuple(self.order(text) for text in texts)
        if not self.repeats and len({(order.entity, order.key) for order in found}) < len(found):
            raise InvalidInput(f"order_by contains duplicate fields: {', '.join(texts)}")
        return found

    def order_of_field(self, name: str, *, ascending: bool) -> Order:
        """Return the order by a field that is named as it is, without quotes (logged models); raises ``InvalidInput``.

        The fields are the attributes, and ``metrics.<key>``.
        """
        entity, dot, key = name.partition(".")
        if dot and entity == "metrics" and key:
            return Order("metrics", key, ascending)
        known = self.synonyms.get(name, name)
        if dot or known not in (*self.texts, *self.numbers):
            raise InvalidInput(f"Invalid order by field name: {name}: an attribute or metrics.<key> is one")
        return Order("attributes", known, ascending)

    def _clause(self, comparison: Comparison) -> Clause:
        entity, key = self._identifier(comparison.name)
        compared, word = comparison.operator, comparison.value
        if compared not in self._operators(entity, key):
            raise InvalidInput(f"invalid filter: {compared} does not go with {comparison.name} of {self.what}")
        if word is None:
            return Clause(entity, key, compared, None)
        if self._numeric(entity, key):
            return Clause(entity, key, compared, self._number(key, word))
        read = self.identities.get(key, str) if entity == "attributes" else str
        if compared in LIST_OPERATORS:
            return Clause(entity, key, compared, tuple(read(member) for member in members(word.text)))
        return Clause(entity, key, compared, read(self._text(word)))

    def _numeric(self, entity: str, key: str) -> bool:
        return entity == "metrics" or (entity == "attributes" and key in self.numbers)

    def _operators(self, entity: str, key: str) -> tuple[str, ...]:
        if self._numeric(entity, key):
            return NUMBER_OPERATORS
        if entity == "attributes" and key in self.identities:
            return ("=", "!=", *LIST_OPERATORS)
        listed = (key if entity == "attributes" else entity) in self.lists
        null = NULL_OPERATORS if entity in self.nullable else ()
        return (*TEXT_OPERATORS, *(LIST_OPERATORS if listed else ()), *null)

    def _number(self, key: str, word: Word) -> float:
        quoted = self.quoted_numbers and word.kind in ("text", "name")
        allowed = ("integer",) if key in self.whole else ("integer", "float")
        try:
            if quoted:
                return float(int(unquoted(word.text)))
            if word.kind in allowed:
                return float(word.text)
        except (ValueError, OverflowError) as error:
            raise InvalidInput(f"invalid filter: expected a number for {key}, not {word.text}") from error
        raise InvalidInput(f"invalid filter: expected {' or '.join(allowed)} for {key}, not {word.text}")

    def _text(self, word: Word) -> str:
        if word.kind in ("text", "name") and is_quoted(word.text, "'\""):
            return word.text[1:-1]
        if self.bare_texts and word.kind in ("name", "integer", "float"):
            return word.text
        raise InvalidInput(f"invalid filter: expected a string in quotes, not {word.text}")

    def _identifier(self, name: str) -> tuple[str, str]:
        names = {each: each for each in (*self.texts, *self.numbers)} | dict(self.synonyms)
        return self._found(name, self.prefixes, names, quoted=self.quoted_attributes)

    def _found(
        self, name: str, prefixes: Mapping[str, str], names: Mapping[str, str], *, quoted: bool
    ) -> tuple[str, str]:
        head, dot, rest = name.partition(".")
        prefix = head[1:-1] if self.quoted_prefixes and is_quoted(head, "`") else head
        entity = prefixes.get(prefix) if dot else "attributes"
        if entity is None or entity not in ("attributes", *self.entities):
            known = ", ".join(word for word, meant in prefixes.items() if meant in ("attributes", *self.entities))
            raise InvalidInput(f"{self.what} cannot be searched by {name}: before the dot stands one of {known}")
        key = rest if dot else head
        if quoted or entity != "attributes":
            key = unquoted(key)
        if entity == "datasets" and key not in _DATASET_KEYS:
            raise InvalidInput(f"invalid dataset key {key!r}: valid are {', '.join(_DATASET_KEYS)}")
        if entity == "attributes" and key not in names:
            raise InvalidInput(f"invalid attribute key {key!r}: valid are {', '.join(names)}")
        return entity, names[key] if entity == "attributes" else key

    def _order(self, text: str) -> Order:
        name, ascending = order_words(text)
        prefixes = self.prefixes if self.order_prefixes is None else self.order_prefixes
        names = self.order_names
        quoted = self.quoted_orders
        entity, key = self._identifier(name) if names is None else self._found(name, prefixes, names, quoted=quoted)
        if entity == "datasets":
            raise InvalidInput(f"invalid order_by {text!r}: {self.what} may read several datasets")
        return Order(entity, key, ascending)


def matches(clauses: Sequence[Clause], value: Callable[[str, str], Sequence[Actual]]) -> bool:
    """Say whether a thing matches all clauses.

    Args:
        clauses: what must hold.
        value: everything the thing has for (entity, key); one that has several (datasets) matches by any.
    """
    return all(any(clause.holds(actual) for actual in value(clause.entity, clause.key)) for clause in clauses)


def rank(actual: Actual, *, ascending: bool) -> tuple[int, float, tuple[int, ...]]:
    """Return the sort key of a value: values first, then NaN, then missing, in either direction."""
    if actual is None:
        return 2, 0.0, ()
    if isinstance(actual, str):
        codes = tuple(ord(character) for character in actual)
        return 0, 0.0, codes if ascending else (*(-code for code in codes), 1)
    if math.isnan(actual):
        return 1, 0.0, ()
    return 0, actual if ascending else -actual, ()


@lru_cache(maxsize=1024)
def _parsed(searchable: Searchable, text: str) -> tuple[Clause, ...]:
    return tuple(searchable._clause(comparison) for comparison in comparisons(text))


@lru_cache(maxsize=1024)
def _ordered(searchable: Searchable, text: str) -> Order:
    return searchable._order(text)


def _texts(actual: str, compared: str, wanted: object) -> bool:
    if isinstance(wanted, tuple):
        return (actual in wanted) == (compared == "IN")
    if not isinstance(wanted, str):
        return False
    if compared == "LIKE":
        return _pattern(wanted).fullmatch(actual) is not None
    if compared == "ILIKE":
        return _pattern(wanted.lower()).fullmatch(actual.lower()) is not None
    return (actual == wanted) == (compared == "=")


@lru_cache(maxsize=1024)
def _pattern(wanted: str) -> re.Pattern[str]:
    """Return a LIKE as a regular expression; what was matched up to a ``%`` is not tried again, so it is linear."""
    first, *others = ["".join("." if c == "_" else re.escape(c) for c in part) for part in wanted.split("%")]
    last = [f".*{others.pop()}"] if others else []
    return re.compile("".join([first, *(f"(?>.*?{part})" for part in others if part), *last]), re.DOTALL)


def _experiment(text: str) -> str:
    try:
        return str(int(text))
    except ValueError as error:
        raise InvalidInput(f"Invalid experiment ID: {text!r}: it is an integer") from error


def _model_status(text: str) -> str:
    known = {
        "UNSPECIFIED": "LOGGED_MODEL_STATUS_UNSPECIFIED", "PENDING": "LOGGED_MODEL_PENDING",
        "READY": "LOGGED_MODEL_READY", "FAILED": "LOGGED_MODEL_UPLOAD_FAILED",
    }  # fmt: skip
    if text not in known:
        raise InvalidInput(f"unknown status of a logged model {text!r}: known are {', '.join(known)}")
    return known[text]


def _same(*names: str, **others: str) -> dict[str, str]:
    return {name: name for name in names} | others


_RUN_TEXTS = ("run_id", "run_name", "user_id", "status", "artifact_uri")
_CREATED = MappingProxyType({"created": "start_time", "Created": "start_time"})

RUNS: Final = Searchable(
    "a run",
    _RUN_TEXTS,
    ("start_time", "end_time"),
    ("metrics", "params", "tags", "datasets"),
    {**_CREATED, "run name": "run_name", "Run name": "run_name", "Run Name": "run_name"},
    lists=("run_id", "datasets"),
    quoted_prefixes=True,
    order_names=_same(*_RUN_TEXTS, "start_time", "end_time", **_CREATED),
)
EXPERIMENTS: Final = Searchable(
    "an experiment",
    ("name", "experiment_id"),
    ("creation_time", "last_update_time"),
    prefixes=_FEW_PREFIXES,
    lists=(),
    nullable=("tags",),
    identities={"experiment_id": _experiment},
    whole=("creation_time", "last_update_time"),
    order_prefixes={"attribute": "attributes", "attributes": "attributes"},
    order_names=_same("name", "experiment_id", "creation_time", "last_update_time"),
    repeats=True,
)
LOGGED_MODELS: Final = Searchable(
    "a logged model",
    ("name", "model_id", "model_type", "status", "source_run_id", "experiment_id", "lifecycle_stage"),
    ("creation_timestamp_ms", "last_updated_timestamp_ms"),
    ("metrics", "params", "tags"),
    {
        "creation_time": "creation_timestamp_ms",
        "creation_timestamp": "creation_timestamp_ms",
        "last_updated_timestamp": "last_updated_timestamp_ms",
    },
    prefixes=_same("attributes", "metrics", "params", "tags"),
    lists=("name", "model_id", "model_type", "source_run_id", "lifecycle_stage", "params", "tags"),
    nullable=(),
    identities={"status": _model_status, "experiment_id": _experiment},
    bare_texts=True,
)
REGISTERED_MODELS: Final = Searchable(
    "a registered model",
    ("name",),
    prefixes={"attribute": "attributes", "tag": "tags", "tags": "tags"},
    lists=("name",),
    nullable=(),
    quoted_attributes=False,
    order_prefixes={},
    order_names=_same("name", "last_updated_timestamp", timestamp="last_updated_timestamp"),
    quoted_orders=False,
)
MODEL_VERSIONS: Final = Searchable(
    "a model version",
    ("name", "run_id", "source_path"),
    ("version_number",),
    prefixes={"attribute": "attributes", "tag": "tags", "tags": "tags"},
    lists=("name", "run_id"),
    nullable=(),
    whole=("version_number",),
    quoted_numbers=True,
    quoted_attributes=False,
    order_prefixes={"attribute": "attributes", "attributes": "attributes"},
    order_names=_same("name", "version_number", "creation_timestamp", "last_updated_timestamp"),
)
_TIMES = MappingProxyType(
    {"timestamp": "timestamp_ms", "execution_time": "execution_time_ms", "end_time": "end_time_ms"}
)
TRACES: Final = Searchable(
    "a trace",
    ("request_id", "status", "client_request_id", "name", "run_id"),
    ("timestamp_ms", "execution_time_ms", "end_time_ms"),
    ("tags", "metadata"),
    _TIMES,
    prefixes=_same("metadata", attribute="attributes", attributes="attributes", trace="attributes")
    | {"tag": "tags", "tags": "tags", "request_metadata": "metadata"},
    lists=("request_id", "status", "client_request_id", "name", "run_id"),
    nullable=("tags", "metadata"),
    quoted_prefixes=True,
    order_names=_same("experiment_id", "request_id", "status", "name", "run_id", *_TIMES.values(), **_TIMES),
)
EVALUATION_DATASETS: Final = Searchable(
    "an evaluation dataset",
    ("name", "created_by", "last_updated_by"),
    ("created_time", "last_update_time"),
    prefixes=_same("tags"),
    lists=("name",),
    nullable=(),
    whole=("created_time", "last_update_time"),
    order_prefixes={},
    order_names=_same("name", "created_time", "last_update_time"),
)
