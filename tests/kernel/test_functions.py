"""Functions know the package and nothing of each other."""

import ast
from functools import partial
from inspect import isfunction
from pathlib import Path
from pkgutil import resolve_name

import pytest
from pydantic import BaseModel
from support.http import handler_of, memory_wiring

HANDLERS = sorted((Path(__file__).parents[2] / "functions").glob("*/handler.py"))
NAMES = {path.parent.name for path in HANDLERS}


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: str(path.parent.name))
def test_a_handler_imports_no_sibling(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} & NAMES == set()


@pytest.mark.parametrize("name", ["registry", "tracking"])
def test_what_routes_name_until_a_call_comes_is_there(name: str) -> None:
    handlers = [route.handler for route in handler_of(name, memory_wiring()).routes]
    late = [handler.keywords for handler in handlers if isinstance(handler, partial) and "message" in handler.keywords]
    assert late
    assert all(issubclass(resolve_name(names["message"]), BaseModel) for names in late)
    assert all(isfunction(resolve_name(names["use_case"])) for names in late)
