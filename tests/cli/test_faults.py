"""What ``up`` says when the template or a function is wrong: one line that names it."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from e2e import shell

from modelwright.errors import LocalStackError
from modelwright.local.packaging import Sources
from modelwright.local.stack import Stack

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("faults")
    yield found
    Stack(found).reset()


@pytest.fixture(scope="module")
def port() -> int:
    return shell.free_port()


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("Resources:\n", "Resources:\n  : [\n", r"template\.yaml is no YAML in line \d+"),
        ("!GetAtt AuthorizeFunction.Arn", "!GetAtt AuthoriseFunction.Arn", "AuthoriseFunction"),
        ("Handler: tracking.handler.handler", "Handler: trakking.handler.handler", "trakking"),
    ],
    ids=["syntax", "reference", "function"],
)
def test_a_template_fault_is_one_line_that_names_it(
    folder: Path, port: int, tmp_path: Path, right: str, wrong: str, named: str
) -> None:
    sources = Sources.find()
    text = sources.template.read_text(encoding="utf-8")
    assert right in text
    template = tmp_path / "template.yaml"
    template.write_text(text.replace(right, wrong, 1))
    with pytest.raises(LocalStackError, match=named) as failed:
        Stack(folder, replace(sources, template=template)).up(port=port)
    assert "\n" not in str(failed.value)


def test_a_function_that_does_not_start_is_named(folder: Path, port: int, tmp_path: Path) -> None:
    sources = Sources.find()
    functions = tmp_path / "functions"
    shutil.copytree(sources.functions, functions, ignore=shutil.ignore_patterns("__pycache__"))
    handler = functions / "notify" / "handler.py"
    handler.write_text(handler.read_text() + "\nimport nothing_of_that_name\n")
    with pytest.raises(LocalStackError, match=r"notify.*nothing_of_that_name") as failed:
        Stack(folder, replace(sources, functions=functions)).up(port=port)
    assert "\n" not in str(failed.value)
