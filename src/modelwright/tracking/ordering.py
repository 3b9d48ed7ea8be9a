"""The order of search results, and tokens of pages that stay true while others write.

A page's token names the last result by what it is ordered by, and not by how many came before it. What is
created, removed or changed meanwhile therefore moves nothing else from one page to another: a thing that
did not change comes once.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from modelwright.errors import InvalidInput
from modelwright.filters import Actual, Order, rank

T = TypeVar("T")
Key = tuple[Any, ...]
_INTEGER = 1 << 63


class Spot(NamedTuple):
    """Where a thing stands among others.

    Attributes:
        values: what it has under the keys of the order.
        time: the newer comes first among equals.
        identity: and the smaller among those of one time.
    """

    values: tuple[Actual, ...]
    time: int
    identity: str


@dataclass(frozen=True)
class Ordering:
    """An order, and the token of the page that is asked for.

    Attributes:
        orders: its keys.
        digest: of everything that the search says but the page; tokens of others are refused.
        after: where the page before ended.
    """

    orders: tuple[Order, ...]
    digest: str
    after: Spot | None = None

    @classmethod
    def of(cls, orders: Sequence[Order], said: Any, token: str, *, numbers: Sequence[str]) -> "Ordering":
        """Return the order of a search.

        Args:
            orders: its keys.
            said: what the search says, as JSON would say it.
            token: of the page, or empty.
            numbers: the attributes with numbers.

        Raises:
            InvalidInput: the token is none, or another search's.
        """
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
        after = _read(token, digest) if token else None
        if after is not None and len(after.values) != len(orders):
            raise InvalidInput(_foreign(token))
        for order, value in zip(orders, after.values if after else (), strict=False):
            numeric = order.entity == "metrics" or (order.entity == "attributes" and order.key in numbers)
            if value is not None and isinstance(value, str) == numeric:
                raise InvalidInput(_foreign(token))
        return cls(tuple(orders), digest, after)

    def key(self, spot: Spot) -> Key:
        """Return what sorts as the order says."""
        ranks = (rank(value, ascending=order.ascending) for order, value in zip(self.orders, spot.values, strict=True))
        return (*ranks, -spot.time, spot.identity)

    def token(self, spot: Spot) -> str:
        """Return the token of the page after a spot."""
        return urlsafe_b64encode(json.dumps([self.digest, *spot], separators=(",", ":")).encode()).decode()

    def rest(self, found: Sequence[T], spot: Callable[[T], Spot]) -> list[T]:
        """Return things in order, without those of the pages before."""
        keyed = sorted((self.key(spot(thing)), number) for number, thing in enumerate(found))
        after = self.key(self.after) if self.after else ()
        return [found[number] for key, number in keyed if key > after]


def _read(token: str, digest: str) -> Spot:
    try:
        told, values, time, identity = json.loads(urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(_foreign(token)) from error
    if told != digest:
        raise InvalidInput(f"{_foreign(token)} but of a search that asked for something else")
    fits = isinstance(values, list) and all(value is None or _is_value(value) for value in values)
    if not (fits and isinstance(identity, str) and isinstance(time, int) and _is_value(time)):
        raise InvalidInput(_foreign(token))
    return Spot(tuple(values), time, identity)


def _is_value(value: object) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and -_INTEGER <= value < _INTEGER
    return isinstance(value, str | float)


def _foreign(token: str) -> str:
    return f"Invalid page token {token[:200]!r}: it is not one of ours"
