"""What tests of several kinds look at, made once in a run."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from e2e.desk import Desk


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Desk"]:
    """A stack with a virtual clock, the demo's project in both of its workspaces, and nothing else in it.

    Who adds things that others would stumble upon does it in a workspace of its own.
    """
    from e2e.desk import made

    from modelwright.local.stack import Stack

    folder = tmp_path_factory.mktemp("desk")
    try:
        yield made(folder)
    finally:
        Stack(folder).reset()
