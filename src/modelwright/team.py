"""Reads a team's folder: ``modelwright.toml``, ``features.py``, a trainer - one project and one wheel.

The folder's modules become the package ``team_<project>``, so that they meet no other module of a
function, and the package becomes a wheel whose bytes depend on nothing but the files: the same
folder gives the same digest anywhere.
"""

import ast
import hashlib
import importlib.util
import inspect
import io
import re
import sys
import textwrap
import tomllib
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from modelwright.declarations import Described
from modelwright.definitions import Entity, OnDemand, Service, View
from modelwright.errors import InvalidInput
from modelwright.features.soundness import require_sound
from modelwright.project import Project
from modelwright.sources import Source

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE = "modelwright.toml"
_NAME = re.compile("[a-z][a-z0-9_]{0,62}")
_DECLARATIONS: Mapping[str, type[Described]] = {
    "entities": Entity,
    "sources": Source,
    "views": View,
    "on_demand": OnDemand,
    "services": Service,
}


@dataclass(frozen=True)
class Team:
    """A team's declarations and code.

    Attributes:
        wheel: the code as a wheel.
        digest: SHA-256 of the wheel.
    """

    project: Project
    wheel: bytes
    digest: str


def read_team(folder: Path) -> Team:
    """Read a team's folder.

    Raises:
        InvalidInput: a file is missing, is no TOML, does not import, or declares what does not fit together.
    """
    document = _document(folder)
    name = document.get("project", {}).get("name", "")
    package = f"team_{name}"
    wheel = _wheel(package, {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))})
    digest = hashlib.sha256(wheel).hexdigest()
    declared = _declared(folder, package)
    models = {
        key: _within(model, package, f"{folder / _FILE}: models.{key}") for key, model in document["models"].items()
    }
    try:
        project = Project.model_validate(
            {
                "name": name,
                "digest": digest,
                **declared,
                "sources": {**document.get("sources", {}), **declared["sources"]},
                "models": models,
            }
        )
    except ValidationError as error:
        raise InvalidInput(f"{folder / _FILE}: {_faults(error)}") from error
    try:
        require_sound(project)
        _require_checkable(project)
    except InvalidInput as error:
        raise InvalidInput(f"{folder}: {error}") from error
    return Team(project, wheel, digest)


def _require_checkable(project: Project) -> None:
    """Check what is said of quality; what looks at it is imported only where something is said."""
    plain = Source.model_fields["checks"].default
    said = (
        source.check_options or source.severity or source.rules or source.checks != plain or source.drift.segments
        for source in project.sources.values()
    )  # fmt: skip
    if any(said):
        from modelwright.monitoring.declared import require_checkable
        from modelwright.plugins import load

        require_checkable(project, lambda name: load("checks", name)())


def _within(model: Any, package: str, place: str) -> dict[str, Any]:
    """Return a model's declaration with its trainer as the functions will import it."""
    trainer = str(model.get("trainer", "")) if isinstance(model, dict) else ""
    if isinstance(model, dict) and not trainer:
        return model  # the model says whether it needs one
    module, _, function = trainer.partition(":")
    if not module or not function:
        raise InvalidInput(f"{place}: trainer must be module:function, such as trainer:train, not {trainer!r}")
    return {**model, "trainer": f"{package}.{trainer}"}


def _document(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"{folder} holds no {_FILE}: start one with `modelwright init`") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is no TOML: {error}") from error
    return {"models": {}, **document}


def _declared(folder: Path, package: str) -> dict[str, dict[str, Described]]:
    """Return what ``features.py`` declares, by the name of the project's field and its own."""
    found: dict[str, dict[str, Described]] = {field: {} for field in _DECLARATIONS}
    for name, value in _members(folder, package):
        if name.startswith("_"):  # a part of other declarations
            continue
        for declaration in (value, getattr(value, "on_demand", None), getattr(value, "source", None)):
            for field, kind in _DECLARATIONS.items():
                if type(declaration) is kind:
                    found[field][_checked(folder, field, name)] = _with_code(declaration, value)
    return found


def _checked(folder: Path, field: str, name: str) -> str:
    if not _NAME.fullmatch(name):
        kind = _DECLARATIONS[field].__name__.lower()
        raise InvalidInput(
            f"{folder / 'features.py'}: {kind} {name} is called what nothing may be: "
            "names are lower-case letters, digits and underscores, and begin with a letter"
        )
    return name


def _with_code(declaration: Described, value: Any) -> Described:
    """Return a declaration that is made by a function with the function's digest."""
    if isinstance(declaration, OnDemand):
        return declaration.model_copy(update={"code": _digest(value)})
    if isinstance(declaration, Source) and declaration.derived:
        derived = declaration.derived.model_copy(update={"code": _digest(value)})
        return declaration.model_copy(update={"derived": derived})
    return declaration


def _digest(function: Any) -> str:
    """Return a digest of what a function does: not of its layout and comments, nor of what is said beside it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # made otherwise than by a statement of its own
        return ""
    for defined in tree.body:
        if isinstance(defined, ast.FunctionDef | ast.AsyncFunctionDef):
            defined.decorator_list = []
            if ast.get_docstring(defined) is not None:
                defined.body = defined.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _faults(error: ValidationError) -> str:
    places = ((".".join(map(str, f["loc"])), f["msg"].removeprefix("Value error, ")) for f in error.errors())
    return "; ".join(f"{place}: {text}" if place else text for place, text in places)


def _members(folder: Path, package: str) -> Iterator[tuple[str, Any]]:
    path = folder / "features.py"
    if path.exists():
        module = _load(path, f"{package}.features")
        yield from sorted(vars(module).items())


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except ValidationError as error:
        line = next(f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path))
        raise InvalidInput(f"{path}, line {line}: {error.title}: {_faults(error)}") from error
    except (ImportError, SyntaxError, NameError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"{path} does not import: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = written
    return module


def _wheel(package: str, files: Mapping[str, bytes]) -> bytes:
    """Return a wheel of a package (PEP 427), with fixed times and order."""
    info = f"{package}-0.dist-info"
    members = {f"{package}/{name}": body for name, body in files.items()}
    members.setdefault(f"{package}/__init__.py", b"")
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {package}\nVersion: 0\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: modelwright\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(
        f"{name},sha256={hashlib.sha256(body).hexdigest()},{len(body)}\n" for name, body in members.items()
    )
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, members[name])
    return target.getvalue()
