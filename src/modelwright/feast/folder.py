"""Writes a translated repository as a team's folder: ``modelwright.toml``, ``features.py``, ``FEAST.md``.

It is code that a person keeps and goes on with, so it is laid out as one would write it: sources in TOML beside the
project's name, all else in Python, formatted as ``ruff format`` does.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from modelwright.declarations import Described
from modelwright.definitions import Aggregate, Service, View
from modelwright.errors import InvalidInput
from modelwright.feast.functions import RowCode
from modelwright.feast.translation import Translation
from modelwright.sources import Column, Source
from modelwright.team import Team, read_team

_WIDTH = 120


def write(translation: Translation, folder: Path) -> Team:
    """Write a folder that does not exist yet, and return the project that it is read as.

    Raises:
        InvalidInput: there is such a folder, or what was written fits nothing (nothing is kept then).
    """
    if folder.exists():
        raise InvalidInput(f"{folder} exists already")
    files = {
        "modelwright.toml": settings(translation.project, translation.sources),
        "features.py": features(translation),
        "FEAST.md": f"# What became of the Feast repository\n\n```\n{translation.notes.told()}```\n",
    }
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    try:
        return read_team(folder)
    except InvalidInput:
        for name in files:
            (folder / name).unlink()
        folder.rmdir()
        raise


def settings(project: str, sources: Mapping[str, Source]) -> str:
    """Return the text of ``modelwright.toml``."""
    lines = ["[project]", f"name = {_text(project)}"]
    for name, source in sources.items():
        lines += ["", f"[sources.{name}]", *_settings_of(source), "", f"[sources.{name}.columns]"]
        lines += [f"{_key(column)} = {_inline(declared)}" for column, declared in source.columns.items()]
    return "\n".join(lines) + "\n"


def features(translation: Translation) -> str:
    """Return the text of ``features.py``."""
    described = f"Features of {translation.project}, as they were declared in Feast."
    blocks = [f'"""{described}"""', "\n".join(_imports(translation))]
    for name, entity in translation.entities.items():
        blocks.append(_assigned(name, "Entity", [("join_keys", _tuple(entity.join_keys)), *_told(entity)]))
    joined = {entity.join_keys: name for name, entity in translation.entities.items()}
    for name, view in translation.views.items():
        blocks.append(_assigned(name, "View", list(_view(view, joined))))
    functions = [_function(code) for code in translation.on_demand.values()]
    for name, service in translation.services.items():
        functions.append(_assigned(name, "Service", list(_service(service))))
    top = "\n\n".join(block for block in blocks if block)
    return "\n\n\n".join([top, *functions]) + "\n"


# --- TOML --------------------------------------------------------------------------------


def _settings_of(source: Source) -> Iterator[str]:
    for name in ("prefix", "description", "owner"):
        if value := getattr(source, name):
            yield f"{name} = {_text(value)}"
    if source.tags:
        yield f"tags = {{ {', '.join(f'{_text(name)} = {_text(value)}' for name, value in source.tags.items())} }}"
    yield f"key = [{', '.join(map(_text, source.key))}]"
    yield f"event_time = {_text(source.event_time)}"
    if source.available_at:
        yield f"available_at = {_text(source.available_at)}"


def _inline(column: Column) -> str:
    return f'{{ type = "{column.type}"{", nullable = true" if column.nullable else ""} }}'


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _text(name)


def _text(value: str) -> str:
    """Return a string as TOML and Python both spell it: as JSON, with escapes for all that does not print."""
    return "".join(c if c.isprintable() else _escaped(c) for c in json.dumps(value, ensure_ascii=False))


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- Python ------------------------------------------------------------------------------


def _string(value: str) -> str:
    """Return a string as Python spells it, in the quotes that need fewer escapes."""
    said = _text(value)
    if value.count('"') <= value.count("'"):
        return said
    inner = said[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{inner}'"


def _imports(translation: Translation) -> Iterator[str]:
    lines = {line for code in translation.on_demand.values() for line in code.copied.imports}
    lines |= {"from typing import Any"} if translation.on_demand else set()
    plain, named = ([x for x in sorted(lines) if x.startswith(start)] for start in ("import", "from"))
    yield from (*plain, *named, *([""] if lines else []))
    used = {
        "Aggregate": any(view.aggregates for view in translation.views.values()),
        "Entity": bool(translation.entities),
        "Service": bool(translation.services),
        "View": bool(translation.views),
        "on_demand": bool(translation.on_demand),
    }
    names = [name for name, needed in used.items() if needed]
    if names:
        yield f"from modelwright.project import {', '.join(names)}"


def _view(view: View, joined: Mapping[tuple[str, ...], str]) -> Iterator[tuple[str, str]]:
    yield "entity", joined.get(view.entity, _tuple(view.entity))
    yield "source", _string(view.source)
    if view.features:
        yield "features", _tuple(view.features)
    if view.aggregates:
        made = [_aggregated(name, aggregate) for name, aggregate in view.aggregates.items()]
        yield "aggregates", _lines("{", made, "}")
        yield "windows", _tuple(view.windows)
    if view.ttl:
        yield "ttl", _string(view.ttl)
    yield from _told(view)


def _aggregated(name: str, aggregate: Aggregate) -> str:
    given = [f"function={_string(aggregate.function)}", f"column={_string(aggregate.column)}"]
    line = f"{_string(name)}: Aggregate({', '.join(given)})"
    return line if len(line) < _WIDTH - 8 else _lines(f"{_string(name)}: Aggregate(", given, ")")


def _service(service: Service) -> Iterator[tuple[str, str]]:
    yield "request", _dict(service.request)
    yield "views", _tuple(service.views)
    if service.on_demand:
        yield "on_demand", _tuple(service.on_demand)
    yield "inputs", _tuple(service.inputs)
    yield from _told(service)


def _told(declared: Described) -> Iterator[tuple[str, str]]:
    for name in ("owner", "description"):
        if value := getattr(declared, name):
            yield name, _string(value)
    if declared.tags:
        yield "tags", _dict(declared.tags)


def _function(code: RowCode) -> str:
    """Return Feast's function under a name of its own, and the row function that calls it with one row."""
    kept = f"def _{code.name}({code.copied.parameter}):\n{textwrap.indent(code.copied.body, '    ')}"
    arguments = [("inputs", _tuple(tuple(code.inputs))), ("outputs", _tuple(code.outputs))]
    if code.request:
        arguments.append(("request", _dict(code.request)))
    if code.owner:
        arguments.append(("owner", _string(code.owner)))
    if code.tags:
        arguments.append(("tags", _dict(code.tags)))
    said = _text(code.description or f"What Feast's {code.name} gives, of one row.")[1:-1]
    one = "row[{}]" if code.singleton else "[row[{}]]"
    given = [f"{_string(known)}: {one.format(_string(name))}" for name, known in code.inputs.items()]
    answer = "answer[name]" if code.singleton else "answer[name][0]"
    lines = [
        _call("@on_demand", arguments),
        f"def {code.name}(row: dict[str, Any]) -> dict[str, Any]:",
        f'    """{said}"""',
        textwrap.indent(_taking(f"answer = _{code.name}", given), "    "),
        f"    return {{name: {answer} for name in {_tuple(code.outputs)}}}",
    ]
    return f"{kept}\n\n\n" + "\n".join(lines)


def _taking(start: str, pairs: list[str]) -> str:
    """Return a call with a dictionary, in as many lines as it needs below a function."""
    inner = f"{{{', '.join(pairs)}}}"
    if len(f"    {start}({inner})") <= _WIDTH:
        return f"{start}({inner})"
    if len(inner) > _WIDTH - 8:
        inner = _lines("{", pairs, "}")
    return f"{start}(\n{textwrap.indent(inner, '    ')}\n)"


def _assigned(name: str, kind: str, arguments: list[tuple[str, str]]) -> str:
    return _call(f"{name} = {kind}", arguments)


def _call(start: str, arguments: Iterable[tuple[str, str]]) -> str:
    given = [f"{name}={value}" for name, value in arguments]
    line = f"{start}({', '.join(given)})"
    return line if len(line) <= _WIDTH and "\n" not in line else _lines(f"{start}(", given, ")")


def _tuple(values: tuple[str, ...]) -> str:
    inner = ", ".join(map(_string, values))
    line = f"({inner},)" if len(values) == 1 else f"({inner})"
    return line if len(line) <= _WIDTH - 20 else _lines("(", map(_string, values), ")")


def _dict(values: Mapping[str, str]) -> str:
    pairs = [f"{_string(name)}: {_string(value)}" for name, value in values.items()]
    line = f"{{{', '.join(pairs)}}}"
    return line if len(line) <= _WIDTH - 20 else _lines("{", pairs, "}")


def _lines(start: str, parts: Iterable[str], end: str) -> str:
    return "\n".join([start, *(textwrap.indent(f"{part},", "    ") for part in parts), end])
