"""Tables in which something else happens, or the process dies, between any two calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelwright.adapters.memory import MemoryTables
from modelwright.storage import Is, Item, Key, Page, Raised, TableName, Write


class Killed(BaseException):
    """The process was killed; nothing in it can do anything about that."""


class Interrupted(MemoryTables):
    """``MemoryTables`` that do something else before one of their calls, or die at it.

    Attributes:
        calls: how many there were so far.
        plan: what happens before the call of a number.
        dies_before: the number of the call that is never made.
        dies_after: the number of the call whose answer nobody hears.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.plan: dict[int, Callable[[], None]] = {}
        self.backwards = False
        self.dies_before = self.dies_after = -1
        self._within = False

    def _call(self, call: Callable[[], Any]) -> Any:
        if self._within:
            return call()
        number, self.calls = self.calls, self.calls + 1
        if deed := self.plan.pop(number, None):
            deed()
        if number == self.dies_before:
            raise Killed
        self._within = True
        try:
            answer = call()
        finally:
            self._within = False
        if number == self.dies_after:
            raise Killed
        return answer

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        found: Item | None = self._call(lambda: MemoryTables.get(self, table, key))
        return found

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``; the items may be of different times."""
        found = {key: self.get(table, key) for key in (reversed(keys) if self.backwards else keys)}
        return {key: item for key, item in found.items() if item is not None}

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        """See ``Tables``."""
        page: Page = self._call(lambda: MemoryTables.query(self, table, pk, **options))
        return page

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        self._call(lambda: MemoryTables.write(self, writes))

    def raise_entries(
        self, table: TableName, key: Key, attribute: str, entries: Mapping[str, bytes], *, guard: Is, counter: str
    ) -> Raised:
        """See ``Tables``."""
        raised: Raised = self._call(
            lambda: MemoryTables.raise_entries(self, table, key, attribute, entries, guard=guard, counter=counter)
        )
        return raised

    def write_many(self, table: TableName, items: Sequence[Item]) -> None:
        """See ``Tables``."""
        self._call(lambda: MemoryTables.write_many(self, table, items))

    def delete_many(self, table: TableName, keys: Sequence[Key]) -> None:
        """See ``Tables``."""
        self._call(lambda: MemoryTables.delete_many(self, table, keys))
