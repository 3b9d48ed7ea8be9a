"""MLflow's search expressions: ``metrics.auc > 0.7 AND tags.team = 'x'`` as clauses, and order by.

Clauses are joined by AND alone. A key may stand in backticks or double quotes, a value is a
number or a string in single (or double) quotes. A thing that lacks the key matches no clause
but ``IS NULL``; NaN matches ``!=`` alone. ``LIKE`` is case-sensitive, ``ILIKE`` is not; ``%`` is
any text and ``_`` any character. What this does not know is refused, never ignored.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from modelwright.errors import InvalidInput

Actual = str | float | None
"""What a thing has under a key: text, a number, or nothing."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^']|'')*'|"(?:[^"]|"")*")(?!\s*\.)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    | (?P<operator><=|>=|!=|<>|=|<|>)
    | (?P<punctuation>[(),])
    | (?P<name>(?:`[^`]*`|"[^"]*"|[\w/\-]+)(?:\.(?:`[^`]*`|"[^"]*"|[\w/\-]+))*)
    )""",
    re.VERBOSE,
)
_PART = re.compile(r"`([^`]*)`|\"([^\"]*)\"")
_DATASET_KEYS = ("name", "digest", "context")
_NUMBER_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_TEXT_OPERATORS = ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL")
_ENTITIES = {
    "metric": "metrics", "metrics": "metrics",
    "param": "params", "params": "params", "parameter": "params", "parameters": "params",
    "tag": "tags", "tags": "tags",
    "attr": "attributes", "attribute": "attributes", "attributes": "attributes", "run": "attributes",
    "dataset": "datasets", "datasets": "datasets",
}  # fmt: skip


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
        return isinstance(self.value, float) and _numbers(float(actual), self.operator, self.value)


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an ``order_by``."""

    entity: str
    key: str
    ascending: bool = True


@dataclass(frozen=True, slots=True)
class Searchable:
    """What can be searched for: its entities, and the attributes by their type.

    Attributes:
        what: how messages call it.
        texts: attributes with text.
        numbers: attributes with numbers.
        entities: of metrics, params, tags and datasets, those it has.
        synonyms: other names of attributes.
    """

    what: str
    texts: tuple[str, ...]
    numbers: tuple[str, ...] = ()
    entities: tuple[str, ...] = ("tags",)
    synonyms: Mapping[str, str] = field(default_factory=dict)

    def parse(self, text: str) -> tuple[Clause, ...]:
        """Return the clauses of a filter, all of which must hold; raises ``InvalidInput``."""
        tokens = _tokens(text)
        clauses = []
        while tokens:
            clauses.append(self._clause(tokens, text))
            if tokens and (_upper(tokens.pop(0)) != "AND" or not tokens):
                raise InvalidInput(f"invalid filter {text!r}: comparisons are joined by AND alone")
        return tuple(clauses)

    def order(self, text: str) -> Order:
        """Return one key of an ``order_by``: ``metrics.auc DESC``; raises ``InvalidInput``."""
        words = [token for _, token in _tokens(text)]
        direction = words.pop().upper() if len(words) > 1 else "ASC"
        if len(words) != 1 or direction not in ("ASC", "DESC"):
            raise InvalidInput(f"invalid order_by {text!r}: it reads `<key> [ASC|DESC]`")
        entity, key = self._identifier(words[0])
        return Order(entity, key, direction == "ASC")

    def orders(self, texts: Sequence[str]) -> tuple[Order, ...]:
        """Return the keys of an ``order_by`` list; raises ``InvalidInput``, for repeated ones too."""
        found = tuple(self.order(text) for text in texts)
        if len({(order.entity, order.key) for order in found}) < len(found):
            raise InvalidInput(f"order_by contains duplicate fields: {', '.join(texts)}")
        return found

    def _clause(self, tokens: list[tuple[str, str]], text: str) -> Clause:
        kind, name = tokens.pop(0)
        if kind not in ("name", "string"):
            raise InvalidInput(f"invalid filter {text!r}: {name} is no key")
        entity, key = self._identifier(name)
        operator = _operator(tokens, text)
        numeric = entity == "metrics" or (entity == "attributes" and key in self.numbers)
        if operator not in (_NUMBER_OPERATORS if numeric else _TEXT_OPERATORS):
            raise InvalidInput(f"invalid filter {text!r}: {operator} does not go with {name}")
        if operator in ("IS NULL", "IS NOT NULL"):
            return Clause(entity, key, operator, None)
        if operator in ("IN", "NOT IN"):
            return Clause(entity, key, operator, _list(tokens, text))
        return Clause(entity, key, operator, _value(tokens, text, numeric=numeric))

    def _identifier(self, name: str) -> tuple[str, str]:
        head, dot, rest = name.partition(".")
        entity = _ENTITIES.get(_unquoted(head).lower()) if dot else "attributes"
        if entity is None or entity not in ("attributes", *self.entities):
            raise InvalidInput(
                f"{self.what} cannot be searched by {name}: it has attributes, {', '.join(self.entities)}"
            )
        key = _unquoted(rest if dot else head)
        if entity == "datasets" and key not in _DATASET_KEYS:
            raise InvalidInput(f"invalid dataset key {key!r}: valid are {', '.join(_DATASET_KEYS)}")
        if entity == "attributes":
            key = self.synonyms.get(key.lower() if key.lower() in self.synonyms else key, key)
            if key not in (*self.texts, *self.numbers):
                raise InvalidInput(
                    f"invalid attribute key {key!r}: valid are {', '.join((*self.texts, *self.numbers))}"
                )
        return entity, key


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


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidInput(f"invalid filter {text!r} at {text[position : position + 20]!r}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def _operator(tokens: list[tuple[str, str]], text: str) -> str:
    words = [_upper(token) for token in tokens[:3]]
    for known in ("IS NOT NULL", "IS NULL", "NOT IN", "IN", "LIKE", "ILIKE", *_NUMBER_OPERATORS, "<>"):
        if words[: len(known.split())] == known.split():
            del tokens[: len(known.split())]
            return "!=" if known == "<>" else known
    raise InvalidInput(f"invalid filter {text!r}: a key is followed by a comparison and a value")


def _value(tokens: list[tuple[str, str]], text: str, *, numeric: bool) -> str | float:
    kind, token = tokens.pop(0) if tokens else ("nothing", "nothing")
    if numeric and kind == "number":
        return float(token)
    if not numeric and kind == "string":
        return _string(token)
    wanted = "a number" if numeric else "a string in quotes"
    raise InvalidInput(f"invalid filter {text!r}: expected {wanted}, not {token}")


def _list(tokens: list[tuple[str, str]], text: str) -> tuple[str, ...]:
    members: list[str] = []
    opening = tokens.pop(0)[1] if tokens else ""
    while opening == "(" and tokens:
        kind, token = tokens.pop(0)
        closing = tokens.pop(0)[1] if tokens else ""
        if kind != "string" or closing not in (",", ")"):
            break
        members.append(_string(token))
        if closing == ")":
            return tuple(members)
    raise InvalidInput(f"invalid filter {text!r}: IN takes a list of strings in parentheses")


def _texts(actual: str, operator: str, wanted: object) -> bool:
    if isinstance(wanted, tuple):
        return (actual in wanted) == (operator == "IN")
    if not isinstance(wanted, str):
        return False
    if operator in ("LIKE", "ILIKE"):
        pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in wanted)
        return re.fullmatch(pattern, actual, re.DOTALL | (re.IGNORECASE if operator == "ILIKE" else 0)) is not None
    return (actual == wanted) == (operator == "=")


def _numbers(actual: float, operator: str, wanted: float) -> bool:
    comparisons = {
        "=": actual == wanted, "!=": actual != wanted, "<": actual < wanted,
        "<=": actual <= wanted, ">": actual > wanted, ">=": actual >= wanted,
    }  # fmt: skip
    return comparisons[operator]


def _unquoted(name: str) -> str:
    return _PART.sub(lambda match: match[1] if match[1] is not None else match[2], name)


def _string(token: str) -> str:
    return token[1:-1].replace(token[0] * 2, token[0])


def _upper(token: tuple[str, str]) -> str:
    kind, text = token
    return text.upper() if kind in ("name", "operator") else text
