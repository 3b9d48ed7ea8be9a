"""A folder whose stack was started by ``modelwright up --detach``; what commands in process need."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e import shell
from support.http import handler_of, memory_wiring


@pytest.fixture(scope="session", autouse=True)
def _loggers() -> None:
    """Make the functions' loggers before a runner of commands puts its own streams in place, which it closes."""
    wiring = memory_wiring()
    for name in ("features", "maintain", "materialize", "monitor", "notify", "registry", "tracking"):
        assert handler_of(name, wiring)._logger


@dataclass(frozen=True)
class Home:
    """The folder, the port, and what the first ``up`` said."""

    folder: Path
    port: int
    up: shell.Said

    def run(self, *arguments: str) -> shell.Said:
        return shell.run(*arguments, folder=self.folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder, port = tmp_path_factory.mktemp("home"), shell.free_port()
    up = shell.run("up", "--detach", "--port", str(port), folder=folder)
    yield Home(folder, port, up)
    shell.run("down", folder=folder)
