"""Whom an erasure is about: one entity, and how its traces are recognised in rows, documents and names.

A subject is the values of an entity's join keys, each in its one spelling (``layout.spelled``), so that it is found in
whatever type a column has. A row is the subject's when all join keys are there and all have its values; a text
tells of it when its spelling stands in it as a word. Predictions know no join keys, only the id of what was asked:
ids that rows of the subject had are its own too.
"""

import hashlib
import hmac
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelwright.errors import InvalidInput, NotFound
from modelwright.features.layout import spelled
from modelwright.features.rows import READERS
from modelwright.project import ColumnType, Project

PREDICTION = "prediction_id"
"""The column of the prediction log that holds the id of what was asked."""
_ASKED = ("predictions", "labelled")
"""Folders of the lake in which each model has one of its own."""
_SHORTEST, _SHORTEST_NUMBER = 3, 6
"""Spellings that are shorter are not looked for in texts: there, 7 is seldom customer 7."""
_NOTHING = re.compile(r"(?!)")


class Subject(BaseModel):
    """One entity.

    Attributes:
        entity: its entity's name, or the join keys, with commas.
        columns: the spelling of its value, by join key, in order.
        mark: what stands in texts and names where its spelling stood.
    """

    model_config = ConfigDict(frozen=True)
    entity: str
    columns: dict[str, str] = Field(repr=False)
    mark: str = "erased"

    @property
    def name(self) -> str:
        """Its spelling as a whole, as online items are named."""
        return "|".join(self.columns.values())

    @property
    def short(self) -> bool:
        """Whether its spelling is so short that in texts it means anything."""
        return len(self.name) < (_SHORTEST_NUMBER if self.name.isdigit() else _SHORTEST)

    @cached_property
    def spelling(self) -> re.Pattern[str]:
        """What finds its spelling in a text, as a word; nothing, where it is short."""
        return _NOTHING if self.short else self.word

    @cached_property
    def word(self) -> re.Pattern[str]:
        """What finds its spelling as a word, however short it is."""
        plain = "|".join(part.replace("\\|", "|").replace("\\\\", "\\") for part in self.columns.values())
        names = "|".join(re.escape(name) for name in sorted({self.name, plain}, key=len, reverse=True))
        return re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")

    def has(self, row: Mapping[str, Any]) -> bool:
        """Say whether a row, that may lack join keys, is the subject's."""
        return all(name in row and self.is_value(name, row[name]) for name in self.columns)

    def among(self, values: Iterable[Any]) -> bool:
        """Say whether a record of which nobody knows what its cells are called is the subject's: it has its values."""
        cells = list(values)
        return all(any(self.is_value(name, cell) for cell in cells) for name in self.columns)

    def is_value(self, column: str, value: Any) -> bool:
        """Say whether a value of a join key is the subject's, as itself or as the text of a file."""
        if value is None or isinstance(value, list | dict):
            return False
        wanted = self.columns[column]
        if spelled([value]) == wanted or (isinstance(value, str) and spelled([value.strip()]) == wanted):
            return True
        whole = isinstance(value, float) and value.is_integer()
        return (whole and spelled([int(value)]) == wanted) or (isinstance(value, str) and _time(value) == wanted)

    def sealed(self, salt: str) -> str:
        """Return what stands for the subject where it must not be told: HMAC-SHA256 of its spelling."""
        told = "\n".join((self.entity, self.name)).encode()
        return hmac.new(bytes.fromhex(salt), told, hashlib.sha256).hexdigest()


class Ids:
    """The ids under which things of a subject were asked for predictions, by the column that named them.

    Args:
        columns: that hold ids.
        models: which of them name what each model is asked about; what other models call so is something else.
    """

    def __init__(self, columns: Iterable[str], models: Mapping[str, Iterable[str]] | None = None) -> None:
        self.columns = tuple(dict.fromkeys(columns))
        self.found: dict[str, set[str]] = {}
        self._models = {name: frozenset(mine) for name, mine in (models or {}).items()}

    def add(self, other: Mapping[str, Iterable[str]]) -> None:
        """Take ids in."""
        for name, ids in other.items():
            self.found.setdefault(name, set()).update(ids)

    def of(self, key: str) -> frozenset[str]:
        """Return the ids that name the subject in an object of the lake (``predictions/<ws>/<model>/...``)."""
        parts = key.split("/")
        asked = len(parts) > 2 and parts[0] in _ASKED
        columns = self._models.get(parts[2], frozenset()) if asked else frozenset(self.found)
        return frozenset(one for name in columns for one in self.found.get(name, ()))


def subject_of(project: Project, entity: str, key: Any) -> Subject:
    """Return the entity that somebody names.

    Args:
        project: declares entities and views.
        entity: the name of an entity, or join keys of a view, with commas.
        key: the value of the join key, a list of the values of all, or the values by name; text will do for any type.

    Raises:
        NotFound: there is no such entity; the text says which there are.
        InvalidInput: the key does not fit the join keys.
    """
    join_keys = _join_keys(project, entity)
    values = _values(entity, join_keys, key)
    kinds = {
        name: {source.columns[name].type for source in project.sources.values() if name in source.columns}
        for name in join_keys
    }
    columns = {}
    for name, value in zip(join_keys, values, strict=True):
        try:
            columns[name] = _spelled(kinds[name], value)
        except ValueError as error:
            told = f"{name} of {entity}"
            raise InvalidInput(f"{told}: {error}", logged=f"{told} is not of its type") from error
    return Subject(entity=entity, columns=columns)


def entities(project: Project) -> dict[str, tuple[str, ...]]:
    """Return what can be erased: the join keys by entity, and those of views that no entity declares."""
    found = {name: entity.join_keys for name, entity in project.entities.items()}
    undeclared = {",".join(view.entity): view.entity for view in project.views.values()}
    return found | {name: keys for name, keys in undeclared.items() if keys not in found.values()}


def _join_keys(project: Project, entity: str) -> tuple[str, ...]:
    known = entities(project)
    if entity in known:
        return known[entity]
    for keys in (*known.values(), *(view.entity for view in project.views.values())):
        if ",".join(keys) == entity:
            return keys
    raise NotFound(f"there is no entity {entity}: there are {', '.join(known) or 'none'}")


def _values(entity: str, join_keys: Sequence[str], key: Any) -> list[Any]:
    if isinstance(key, Mapping):
        if set(key) != set(join_keys):
            raise InvalidInput(f"a key of {entity} names {', '.join(join_keys)}, not {', '.join(map(str, key))}")
        key = [key[name] for name in join_keys]
    values = list(key) if isinstance(key, list | tuple) else [key]
    if len(values) != len(join_keys):
        raise InvalidInput(f"a key of {entity} has {len(join_keys)} parts, {', '.join(join_keys)}, not {len(values)}")
    if any(value is None or value == "" for value in values):
        raise InvalidInput(f"a part of the key of {entity} is empty: nobody is named so")
    if not all(isinstance(value, str | int | float) for value in values) or any(map(_nan, values)):
        raise InvalidInput(f"the parts of a key of {entity} are texts, numbers, or true and false")
    return values


def _spelled(kinds: set[ColumnType], value: Any) -> str:
    """Return the spelling of a value in the type that the columns of a join key have."""
    kind: ColumnType = next(iter(kinds)) if len(kinds) == 1 else "string"
    if kind == "string":
        return spelled([value if isinstance(value, str) else str(value)])
    if isinstance(value, str) and kind in ("integer", "number"):
        value = (int if kind == "integer" else float)(value)
    if isinstance(value, str) and kind == "boolean":
        value = {"true": True, "false": False}.get(value.lower(), value)
    return spelled([READERS[kind](value)])


def _nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _time(text: str) -> str | None:
    if "-" not in text or ":" not in text:
        return None
    try:
        return spelled([datetime.fromisoformat(text)])
    except ValueError:
        return None
