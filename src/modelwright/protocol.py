"""What both halves of MLflow's protocol share: messages, lists, searches and pages of answers."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from modelwright.errors import InvalidInput

T = TypeVar("T")
_FAULTS_TOLD = 10
_LONGEST_VALUE_TOLD = 200
_DEEPEST = 100
"""No message has so many levels; what is written as JSON again may not have many more."""
_NO_BRACKETS = bytes(set(range(256)).difference(b"[]{}"))


class Message(BaseModel):
    """Base of all requests; words that are not known are ignored, as MLflow does."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list that may come as a repeated query parameter, or as a single one."""


def without_nulls(value: Any, depth: int = 0) -> Any:
    """Return JSON without what is null, which means what is not said; raises ``InvalidInput`` if it is too deep."""
    if depth > _DEEPEST:
        raise InvalidInput(f"the request is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        return {key: without_nulls(part, depth + 1) for key, part in value.items() if part is not None}
    return [without_nulls(part, depth + 1) for part in value] if isinstance(value, list) else value


def check_depth(raw: bytes, value: Any) -> None:
    """Raise ``InvalidInput`` if JSON is too deep; its brackets alone tell quickly of nearly all that it is not."""
    brackets = raw.translate(None, _NO_BRACKETS)
    if len(brackets.replace(b"{}", b"").replace(b"[]", b"")) > 2 * _DEEPEST:
        without_nulls(value)


def faults(error: ValidationError, *, quoting: bool = True) -> str:
    """Return what is wrong with a message, in the words that MLflow's clients and tests look for.

    Args:
        error: what pydantic says.
        quoting: whether values are quoted; logs, which keep what they are told, are told none.
    """
    return " ".join(_fault(fault, quoting) for fault in error.errors(include_url=False)[:_FAULTS_TOLD])


def _fault(fault: Any, quoting: bool) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".") or "body"
    if fault["type"] == "missing":
        return f"Missing value for required parameter '{where}'."
    if not quoting:
        return f"Invalid value for parameter '{where}': {fault['type']}."
    told = json.dumps(fault["input"], default=str, separators=(",", ":"))[:_LONGEST_VALUE_TOLD]
    return f"Invalid value {told} for parameter '{where}' supplied: {fault['msg']}."


class Search(Message):
    """What all searches say."""

    filter: str = ""
    max_results: int | None = None
    page_token: str = ""

    def limit(self, default: int, highest: int) -> int:
        """Return how many results are wanted; raises ``InvalidInput`` outside 1..``highest``."""
        wanted = default if self.max_results is None else self.max_results
        if not 0 < wanted <= highest:
            raise InvalidInput(
                f"Invalid value {wanted} for parameter 'max_results' supplied: it must be 1 to {highest}"
            )
        return wanted


def page(found: Sequence[T], limit: int, token: str) -> tuple[Sequence[T], str]:
    """Return one page and the token of the next (empty at the end); raises ``InvalidInput`` for a foreign token."""
    start = _offset(token) if token else 0
    end = start + limit
    more = urlsafe_b64encode(json.dumps({"offset": end}).encode()).decode() if end < len(found) else ""
    return found[start:end], more


def _offset(token: str) -> int:
    try:
        return max(0, int(json.loads(urlsafe_b64decode(token))["offset"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"Invalid page token {token!r}: it is not one of ours") from error
