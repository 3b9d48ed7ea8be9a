"""Functions know the package and nothing of each other."""

import ast
from pathlib import Path

import pytest

HANDLERS = sorted((Path(__file__).parents[2] / "functions").glob("*/handler.py"))
NAMES = {path.parent.name for path in HANDLERS}


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: str(path.parent.name))
def test_a_handler_imports_no_sibling(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} & NAMES == set()
