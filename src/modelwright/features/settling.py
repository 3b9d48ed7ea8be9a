"""Many items written, each alone under its version: who writes one of them meanwhile costs this one a second try."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from modelwright.errors import ConditionFailed, Unavailable
from modelwright.features import windows
from modelwright.features.layout import entity_key
from modelwright.features.windows import Change
from modelwright.project import View
from modelwright.storage import Anything, Delete, Item, Key, Tables

T = TypeVar("T")
ENTITIES = 100
"""How many entities' items are read at once."""
AT_ONCE_ROWS = 500_000
_ATTEMPTS = 12
_THREADS = 8


@dataclass(frozen=True)
class Online:
    """What it takes to write items.

    Attributes:
        tables: where they are.
        workspace: whose.
        now_us: domain time.
        wall: the same moment's wall time, which DynamoDB goes by.
        at_once: rows of the offline store that are held at once to make items of window views.
    """

    tables: Tables
    workspace: str
    now_us: int
    wall: datetime
    at_once: int = AT_ONCE_ROWS


def settle(
    name: str,
    view: View,
    what: str,
    rows: Mapping[str, T],
    change: Callable[[Key, Item | None, Mapping[Key, Item], T], Change | None],
    online: Online,
) -> int:
    """Write the items of entities, as ``change`` says of what is there; of those that others wrote meanwhile, again."""
    waiting = {entity_key(online.workspace, name, view, entity, what): given for entity, given in rows.items()}
    written = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in range(_ATTEMPTS):
            lost: dict[Key, T] = {}
            keys = list(waiting)
            for first in range(0, len(keys), ENTITIES):
                mine = keys[first : first + ENTITIES]
                changes = _changes(mine, waiting, change, online, lost)
                done = list(pool.map(partial(_write, online.tables), changes.values()))
                lost |= {key: waiting[key] for key, won in zip(changes, done, strict=True) if not won}
                written += sum(done)
            if not lost:
                return written
            waiting = lost
    raise Unavailable("the online store is too busy: others write the same entities all the time")


def _changes(
    keys: Sequence[Key],
    rows: Mapping[Key, T],
    change: Callable[[Key, Item | None, Mapping[Key, Item], T], Change | None],
    online: Online,
    lost: dict[Key, T],
) -> dict[Key, Change]:
    items = online.tables.batch_get("features", keys)
    wanted = [part for key in keys for part in windows.parts_of(key, items.get(key))]
    beside = online.tables.batch_get("features", wanted) if wanted else {}
    found = {}
    for key in keys:
        try:
            made = change(key, items.get(key), beside, rows[key])
        except ConditionFailed:
            lost[key] = rows[key]
            continue
        if made is not None:
            found[key] = made
    return found


def _write(tables: Tables, change: Change) -> bool:
    """Write an item and what is beside it; False if others wrote it meanwhile."""
    for put in change.before:
        tables.write([put])
    try:
        tables.write([change.head])
    except ConditionFailed:
        return False
    for key in change.after:
        tables.write([Delete("features", key, Anything())])
    return True
