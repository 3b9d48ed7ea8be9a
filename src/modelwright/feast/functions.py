"""The source of an on-demand function of Feast's, as a row function of ours.

A function in Feast's ``python`` mode takes a dictionary of columns (or, as a *singleton*, of values) and gives one; it
is kept word for word and called with the one row. What is copied is text: Feast's pickled function is never
loaded. A function that needs more than the standard library is not taken, since ``features`` has nothing else.
"""

import ast
import builtins
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modelwright.declarations import ColumnType

_ELSEWHERE = {"site-packages", "node_modules", ".git", ".venv", "venv"}
"""Folders whose modules are not the repository's own."""


class Copied(NamedTuple):
    """A function's text.

    Attributes:
        parameter: the name of its one parameter.
        body: its body, without indentation.
        imports: what it imports from the standard library.
    """

    parameter: str
    body: str
    imports: tuple[str, ...]


@dataclass(frozen=True)
class RowCode:
    """An on-demand feature group, and the text of its function.

    Attributes:
        inputs: what it reads, by our name: the name by which the function knows it.
        request: types of those inputs that are request columns.
        views: whose stored features it reads.
        outputs: the features.
        singleton: whether the function takes values instead of columns.
    """

    name: str
    copied: Copied
    inputs: Mapping[str, str]
    request: Mapping[str, ColumnType]
    views: tuple[str, ...]
    outputs: tuple[str, ...]
    singleton: bool
    owner: str
    description: str
    tags: Mapping[str, str]


def copied(text: str, imported: Mapping[str, str]) -> Copied | str:
    """Return a function's text, or why it cannot be taken.

    Args:
        text: its source.
        imported: the import statement that a name comes from, in the modules of the repository.
    """
    source = textwrap.dedent(text)
    try:
        found = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    except SyntaxError:
        found = []
    if not found:
        return "its source is not in the registry"
    function = found[0]
    arguments = function.args
    if len(arguments.args) != 1 or arguments.vararg or arguments.kwonlyargs or arguments.kwarg:
        return "its function takes more than one argument"
    imports = []
    for name in sorted(_free(function)):
        statement = imported.get(name) or (f"import {name}" if name in sys.stdlib_module_names else "")
        if not statement:
            return f"its function uses {name}, which is not in its source"
        if _module(statement) not in sys.stdlib_module_names:
            return f"its function uses {name} ({statement}): on-demand functions have the standard library alone"
        imports.append(statement)
    body = _body(source.splitlines(), function)
    if not _same(body, function):
        return "its function has lines that cannot be moved, such as a text of several lines: copy it by hand"
    return Copied(arguments.args[0].arg, body, tuple(dict.fromkeys(imports)))


def imported_names(folder: Path) -> dict[str, str]:
    """Return the import statement of each name that the modules of a repository import."""
    names: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        if _ELSEWHERE & set(path.relative_to(folder).parts):
            continue
        try:
            module = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in module.body:
            names |= _imports(node)
    return names


def _body(lines: list[str], function: ast.FunctionDef) -> str:
    """Return the lines of a body, with the comments before its first statement."""
    first = function.body[0].lineno - 1
    while lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return textwrap.dedent("\n".join(lines[first : function.end_lineno]))


def _same(body: str, function: ast.FunctionDef) -> bool:
    """Say whether a body is what it was when it is written below another function's head."""
    try:
        moved = ast.parse(f"def moved():\n{textwrap.indent(body, '    ')}").body
    except SyntaxError:
        return False
    (again,) = moved
    return isinstance(again, ast.FunctionDef) and [*map(ast.dump, again.body)] == [*map(ast.dump, function.body)]


def _imports(node: ast.stmt) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name.partition(".")[0]: f"import {_said(alias)}" for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {alias.asname or alias.name: f"from {node.module} import {_said(alias)}" for alias in node.names}
    return {}


def _said(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _module(statement: str) -> str:
    return statement.split()[1].partition(".")[0]


def _free(function: ast.FunctionDef) -> set[str]:
    """Return the names that the body reads and does not make."""
    nodes = [node for statement in function.body for node in ast.walk(statement)]
    made = {argument.arg for argument in function.args.args} | set(_made(nodes)) | set(dir(builtins))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return read - made


def _made(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
