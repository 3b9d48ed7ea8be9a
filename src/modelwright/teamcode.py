"""The team's own code: functions by reference, out of the wheel that came with the project.

The wheel is content-addressed: its digest is checked before anything of it runs, and it is kept beside
other digests, so that a process that meets two versions of a team's code runs each for its own project.
"""

import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from modelwright.errors import PluginError
from modelwright.project import Project
from modelwright.storage import Blobs

_loaded: dict[tuple[str, str], Callable[..., Any]] = {}
_installed: dict[str, Path] = {}


def load(project: Project, reference: str, *, blobs: Blobs) -> Callable[..., Any]:
    """Return the function that ``module:function`` names in the project's code.

    A project without a wheel takes what is importable already.

    Raises:
        PluginError: the wheel is not what its key says, or has no such function.
        NotFound: the wheel is not in the artifacts bucket.
    """
    known = _loaded.get((project.wheel, reference))
    if known is not None:
        return known
    name, found, attribute = reference.partition(":")
    if not (found and name and attribute):
        raise PluginError(f"{reference!r} is no reference of the form module:function")
    wheel = install(project, blobs=blobs) if project.wheel else None
    function = getattr(_module(project, name, wheel), attribute, None)
    if not callable(function):
        raise PluginError(f"the module {name} of project {project.name} has no function {attribute}")
    _loaded[project.wheel, reference] = function
    return function  # type: ignore[no-any-return]


def loader(project: Project, *, blobs: Blobs) -> Callable[[str], Callable[..., Any]]:
    """Return ``load`` for one project."""
    return partial(load, project, blobs=blobs)


def install(project: Project, *, blobs: Blobs) -> Path:
    """Put the project's wheel onto the import path and return where it lies; for unpickling models too.

    Raises:
        PluginError: the object is not the wheel that its key names.
    """
    path = _installed.get(project.wheel)
    if path is None:
        path = _installed[project.wheel] = _fetched(project, blobs)
    place = str(path)
    if not sys.path or sys.path[0] != place:
        if place in sys.path:
            sys.path.remove(place)
        sys.path.insert(0, place)
        _forget(path)
    return path


def _fetched(project: Project, blobs: Blobs) -> Path:
    body = blobs.get("artifacts", project.wheel).body
    digest = hashlib.sha256(body).hexdigest()
    if digest != project.digest and digest not in project.wheel:
        raise PluginError(f"{project.wheel} holds a wheel of digest {digest}, which is not the project's")
    path = Path(tempfile.gettempdir()) / f"{digest}.whl"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        Path(temporary).replace(path)
    return path


def _module(project: Project, name: str, wheel: Path | None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        where = f"its wheel {wheel.name}" if wheel else "this environment"
        raise PluginError(f"the module {name} of project {project.name} does not load from {where}: {error}") from error


def _forget(wheel: Path) -> None:
    """Drop modules that came from other wheels, whose names this one may use for its own."""
    others = tuple(str(path) for path in _installed.values() if path != wheel)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(others) and others:
            del sys.modules[name]
    importlib.invalidate_caches()
