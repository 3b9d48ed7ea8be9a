"""The words that the platform names things by, and what it stores without the sentences in it."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from features.erasure_cases import World, contents, decoded

TOLD = ("closed", "last_text", "malformed", "outcome", "quoting", "reason", "reasons", "text")
"""Members of documents, and attributes of items, that are sentences."""


def own_words(world: World) -> list[str]:
    """Return all words of three letters and more in names: of folders, files, keys, members, attributes, columns."""
    found: set[str] = set()
    for place, content in contents(world):
        if not place.startswith("log "):
            found |= {*re.split(r"[/#@ .|=]+", place), *_members(content)}
    return sorted(word for word in found if re.fullmatch(r"[A-Za-z_]{3,}", word))


def _members(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        yield from map(str, content)
        for one in content.values():
            yield from _members(one)
    elif isinstance(content, list | tuple):
        for one in content:
            yield from _members(one)
    elif isinstance(content, str) and content[:1] == "{":
        yield from _members(decoded(content))


def silent(world: World) -> dict[str, Any]:
    """Return all that is stored but sentences, the log, and what erasures and manifests count."""
    kept: dict[str, Any] = {}
    for where, content in contents(world):
        place = where
        if "/" in where.split()[0]:
            place = where.rpartition(" ")[0]  # an object whose sentences changed is another version
            assert place not in kept, f"{place} has more than one version"
        if not place.startswith("log ") and "erasures/" not in place and "#ERASURE" not in place:
            kept[place] = _silent(content, place)
    return kept


def _silent(content: Any, place: str) -> Any:
    if isinstance(content, Mapping):
        dropped = {*TOLD, *(("v",) if "MANIFEST" in place else ())}
        return {name: _silent(one, place) for name, one in content.items() if name not in dropped}
    if isinstance(content, list | tuple):
        return [_silent(one, place) for one in content]
    if isinstance(content, str) and content[:1] == "{":
        try:
            return _silent(json.loads(content), place)
        except ValueError:
            return content
    return content
