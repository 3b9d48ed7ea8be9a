"""What checks the tokens of identity providers is in the packages of the functions that do, and in no other."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from packages.conftest import LIGHT, ROOT, imported

CHECKING = ("authorize", "console")


@pytest.mark.parametrize("name", LIGHT)
def test_requirements_are_those_of_the_project(name: str) -> None:
    file = ROOT / "functions" / name / "requirements.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if name in CHECKING:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert lines == [*project["dependencies"], *project["optional-dependencies"]["identity"]]
    else:
        assert not file.exists()


@pytest.mark.parametrize("name", CHECKING)
def test_it_is_there_and_not_imported_before_it_is_needed(name: str, package: Callable[[str], Path]) -> None:
    folder = package(name)
    assert (folder / "jwt").is_dir()
    assert (folder / "cryptography").is_dir()
    assert not {module.split(".")[0] for module in imported(folder, name).modules} & {"jwt", "cryptography"}
