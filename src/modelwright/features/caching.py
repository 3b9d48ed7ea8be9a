"""What a function keeps between calls, within a limit of bytes: only things that never go stale."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

LIMIT_BYTES = 96 * 2**20
"""How much of one kind is kept."""


class Kept:
    """Values by key; over the limit the oldest are dropped.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._total = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """Return a value, or None."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of so many bytes; one that takes more than half of the limit would drive all others out."""
        if size > self._limit // 2 or key in self._values:
            return
        self._values[key] = (value, size)
        self._total += size
        while self._total > self._limit:
            self._total -= self._values.popitem(last=False)[1][1]


def kept(cache: dict[str, Any], name: str) -> Kept:
    """Return a named part of a function's cache (``wiring.cache``)."""
    part: Kept = cache.setdefault(name, Kept())
    return part
