"""Actors that take turns at every call of the tables, in an order that the test chooses, some of which fail.

``play`` runs each actor in a thread of its own, but lets one go on at a time: up to its next call of the tables. So
every interleaving of calls can be played, again and again the same. A call may be refused before it had its effect,
or its answer may be lost after it had.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Literal

from modelwright.adapters.memory import MemoryTables
from modelwright.errors import Unavailable
from modelwright.storage import Is, Item, Key, Page, Raised, TableName, Write

Fault = Literal["", "refused", "lost"]
Actor = Callable[[], None]


@dataclass
class Stage:
    """Whose turn it is."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[int, bool] = field(default_factory=dict)
    playing: int | None = None
    faults: list[Fault] = field(default_factory=list)
    actors: dict[int, int] = field(default_factory=dict)

    def wait_for_turn(self) -> Fault:
        """Wait until it is this thread's turn, and learn what goes wrong with its call; others are not held up."""
        actor = self.actors.get(threading.get_ident())
        if actor is None:
            return ""
        with self.changed:
            self.waiting[actor] = True
            self.playing = None
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.playing == actor)
            self.waiting[actor] = False
            return self.faults.pop() if self.faults else ""


class TurnTables(MemoryTables):
    """``MemoryTables`` whose every call waits for its turn."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self._inner = threading.local()

    def _take_turn(self, call: Callable[[], Any]) -> Any:
        if getattr(self._inner, "within", False):
            return call()
        fault = self.stage.wait_for_turn()
        if fault == "refused":
            raise Unavailable("the table did not answer")
        self._inner.within = True
        try:
            answer = call()
        finally:
            self._inner.within = False
        if fault == "lost":
            raise Unavailable("the answer was lost")
        return answer

    def get(self, table: TableName, key: Key) -> Item | None:
        """See ``Tables``."""
        found: Item | None = self._take_turn(lambda: MemoryTables.get(self, table, key))
        return found

    def batch_get(self, table: TableName, keys: Sequence[Key], attributes: Sequence[str] = ()) -> dict[Key, Item]:
        """See ``Tables``; the items may be of different times."""
        found = {}
        for key in keys:
            if (item := self.get(table, key)) is not None:
                found[key] = item
        return found

    def query(self, table: TableName, pk: str, **options: Any) -> Page:
        """See ``Tables``."""
        page: Page = self._take_turn(lambda: MemoryTables.query(self, table, pk, **options))
        return page

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Tables``."""
        self._take_turn(lambda: MemoryTables.write(self, writes))

    def raise_entries(
        self, table: TableName, key: Key, attribute: str, entries: Mapping[str, bytes], *, guard: Is, counter: str
    ) -> Raised:
        """See ``Tables``."""
        raised: Raised = self._take_turn(
            lambda: MemoryTables.raise_entries(self, table, key, attribute, entries, guard=guard, counter=counter)
        )
        return raised


def play(tables: TurnTables, actors: Sequence[Actor], turns: Sequence[int], faults: Sequence[Fault] = ()) -> None:
    """Let actors play to their ends; a turn goes to the one with that number (modulo how many wait).

    Args:
        tables: what the actors call.
        actors: what they do.
        turns: who comes next; when they are used up, one after the other.
        faults: what goes wrong with the calls, in their order; nothing with later ones.

    Raises:
        BaseExceptionGroup: actors failed.
    """
    stage, failures = tables.stage, list[BaseException]()
    stage.faults = list(reversed(faults))

    def run(number: int, actor: Actor) -> None:
        with stage.changed:
            stage.actors[threading.get_ident()] = number
        try:
            stage.wait_for_turn()
            actor()
        except BaseException as error:  # noqa: BLE001 - told to the test, below
            failures.append(error)
        finally:
            with stage.changed:
                del stage.actors[threading.get_ident()]
                stage.waiting.pop(number)
                stage.playing = None
                stage.changed.notify_all()

    stage.waiting = dict.fromkeys(range(len(actors)), False)
    threads = [threading.Thread(target=run, args=each) for each in enumerate(actors)]
    for thread in threads:
        thread.start()
    order = chain(turns, count())
    while True:
        with stage.changed:
            stage.changed.wait_for(lambda: stage.playing is None and all(stage.waiting.values()))
            if not stage.waiting:
                break
            ready = sorted(stage.waiting)
            stage.playing = ready[next(order) % len(ready)]
            stage.changed.notify_all()
    for thread in threads:
        thread.join()
    if failures:
        raise BaseExceptionGroup("actors failed", failures)
