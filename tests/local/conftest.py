"""The small project that the tests deploy: every kind of resource that the real template has."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelwright
from modelwright.local.packaging import Sources
from modelwright.local.stack import Running, Stack

PROJECT = Path(__file__).parent / "project"


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project that a test may change."""
    target = tmp_path_factory.mktemp("local") / "project"
    shutil.copytree(PROJECT, target, ignore=shutil.ignore_patterns("__pycache__"))
    package = Path(modelwright.__file__).parent
    for name in ("__init__.py", "errors.py"):  # a small package: its size is not the subject
        (target / "src" / "modelwright").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / name, target / "src" / "modelwright" / name)
    return target


@pytest.fixture(scope="session")
def sources(project: Path) -> Sources:
    return Sources.at(project, project / "src" / "modelwright")


@pytest.fixture(scope="session")
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, sources: Sources, free_port: int) -> Iterator[Stack]:
    """The project's stack, deployed once for all tests."""
    deployed = Stack(tmp_path_factory.mktemp("work"), sources)
    deployed.up(port=free_port, workspace="first")
    yield deployed
    deployed.reset()


@pytest.fixture
def running(stack: Stack) -> Running:
    found = stack.status()
    assert found is not None
    return found
