"""SQL expressions as they are written: comparisons of a filter and keys of an order, read with ``sqlparse``.

What they mean, ``filters`` knows. ``sqlparse`` is imported when the first expression comes, because most
requests have none.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from modelwright.errors import InvalidInput

if TYPE_CHECKING:
    from sqlparse.sql import Token, TokenList


class Word(NamedTuple):
    """A value as it was written: text in single quotes, a name (perhaps in others), a number or a list."""

    kind: Literal["text", "name", "integer", "float", "list", "other"]
    text: str


class Comparison(NamedTuple):
    """A comparison as it was written; the value is None where the operator takes none."""

    name: str
    operator: str
    value: Word | None


def comparisons(text: str) -> Iterator[Comparison]:
    """Yield the comparisons of a filter; raises ``InvalidInput`` when it is more than comparisons and AND."""
    from sqlparse import sql

    if not text:
        return
    tokens = [token for token in _statement(text) if not token.is_whitespace]
    while tokens:
        token = tokens.pop(0)
        if isinstance(token, sql.Comparison):
            yield _compared(token)
        elif isinstance(token, sql.Identifier):
            yield _told_by_words(token, tokens)
        elif _is_timestamp(token):
            yield _of_timestamp(token, tokens)
        elif not token.is_keyword or token.normalized != "AND":
            raise InvalidInput(f"invalid clause in filter: {str(token)[:200]!r}: comparisons are joined by AND alone")


def members(text: str) -> tuple[str, ...]:
    """Return the members of a list, which are written as Python's strings; raises ``InvalidInput``."""
    import ast
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about backslashes, which callers may write
            read = ast.literal_eval(text)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise InvalidInput(f"invalid list in filter: {text[:200]}: {error}") from error
    found = read if isinstance(read, tuple) else (read,)
    if not found or not all(isinstance(member, str) for member in found):
        raise InvalidInput(f"invalid list in filter: {text[:200]}: IN takes strings in quotes")
    return found


def order_words(text: str) -> tuple[str, bool]:
    """Return the key of an order, and whether it ascends; raises ``InvalidInput``."""
    import shlex

    said = _order_text(text)
    try:
        words = shlex.split(said.replace("`", '"'))
    except ValueError as error:
        raise InvalidInput(f"invalid order_by {text[:200]!r}: {error}") from error
    if len(words) == 2 and words[1].lower() in ("asc", "desc"):
        return words[0].strip(), words[1].lower() == "asc"
    if len(words) > 1:
        raise InvalidInput(f"invalid order_by {text[:200]!r}: it reads `<key> [ASC|DESC]`")
    return said.strip(), True


def is_quoted(text: str, quotes: str) -> bool:
    """Say whether a text stands in two of the same of these quotes."""
    return len(text) >= 2 and text[0] == text[-1] and text[0] in quotes


def unquoted(text: str) -> str:
    """Return a key or number without its quotes, and without the backticks inside them."""
    text = text[1:-1] if is_quoted(text, "'\"") else text
    return text[1:-1] if is_quoted(text, "`") else text


def _statement(text: str) -> "list[Token]":
    """Return the tokens of the one statement that a text is; raises ``InvalidInput``."""
    import sqlparse
    from sqlparse.exceptions import SQLParseError

    try:
        statements = sqlparse.parse(text)
    except SQLParseError as error:
        raise InvalidInput(f"invalid expression {text[:200]!r}: {error}") from error
    if len(statements) != 1:
        raise InvalidInput(f"invalid expression {text[:200]!r}: comparisons are joined by AND, without semicolons")
    return list(statements[0].tokens)


def _compared(comparison: "TokenList") -> Comparison:
    from sqlparse import sql

    parts = [token for token in comparison.tokens if not token.is_whitespace]
    if len(parts) != 3 or not isinstance(parts[0], sql.Identifier):
        raise InvalidInput(f"invalid comparison {str(comparison)[:200]!r}: it reads `<key> <operator> <value>`")
    return Comparison(parts[0].value, parts[1].value.upper(), _word(parts[2]))


def _is_timestamp(token: "Token") -> bool:
    """Say whether a token is ``timestamp``, which is a word of SQL, and a name all the same."""
    from sqlparse import tokens as kinds

    return token.ttype is kinds.Name.Builtin and token.value == "timestamp"


def _of_timestamp(name: "Token", following: "list[Token]") -> Comparison:
    """Take the operator and the number after ``timestamp``, which sqlparse leaves apart."""
    from sqlparse import tokens as kinds

    told = [token.ttype for token in following[:2]]
    if told != [kinds.Operator.Comparison, kinds.Number.Integer]:
        raise InvalidInput("invalid clause in filter: 'timestamp' is followed by a comparison and an integer")
    comparison = Comparison(name.value, following[0].value.upper(), _word(following[1]))
    del following[:2]
    return comparison


def _told_by_words(name: "Token", following: "list[Token]") -> Comparison:
    """Take the words of ``IN (...)``, ``NOT IN (...)`` or ``IS [NOT] NULL``, which are no operators to sqlparse."""
    from sqlparse import sql

    words = [token.value.upper() for token in following[:2]]
    if words in (["IS", "NULL"], ["IS", "NOT NULL"]):
        del following[:2]
        return Comparison(name.value, " ".join(words), None)
    length = 1 if words[:1] == ["IN"] else 2 if words == ["NOT", "IN"] else 0
    if length == 0 or not isinstance(next(iter(following[length:]), None), sql.Parenthesis):
        raise InvalidInput(f"invalid clause in filter: {name.value!r} is followed by a comparison and a value")
    listed = following[length]
    del following[: length + 1]
    return Comparison(name.value, " ".join(words[:length]), Word("list", listed.value))


def _word(token: "Token") -> Word:
    from sqlparse import sql
    from sqlparse import tokens as kinds

    if isinstance(token, sql.Identifier):
        return Word("name", token.value)
    if token.ttype is kinds.String.Single:
        return Word("text", token.value)
    if token.ttype is kinds.Number.Integer:
        return Word("integer", token.value)
    return Word("float" if token.ttype is kinds.Number.Float else "other", token.value)


def _order_text(text: str) -> str:
    """Return the one name that an order is, with its direction."""
    from sqlparse import sql
    from sqlparse import tokens as kinds

    tokens = _statement(text)
    first, last = tokens[0], tokens[-1]
    if not (isinstance(first, sql.Identifier) or _is_timestamp(first)):
        raise InvalidInput(f"invalid order_by {text[:200]!r}: it reads `<key> [ASC|DESC]`")
    if len(tokens) == 1:
        return str(first.value)
    if (
        _is_timestamp(first)
        and last.ttype is kinds.Keyword.Order
        and all(token.is_whitespace for token in tokens[1:-1])
    ):
        return f"{first.value} {last.value}"
    raise InvalidInput(f"invalid order_by {text[:200]!r}: it reads `<key> [ASC|DESC]`")
