"""A team's functions come out of the wheel that its project names, and of no other."""

import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator

import pytest

from features.feature_cases import PROJECT
from modelwright import teamcode
from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import NotFound, PluginError
from modelwright.project import Project


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("team_of_tests")]:
        del sys.modules[name]


def wheel_of(blobs: MemoryBlobs, source: str) -> Project:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(zipfile.ZipInfo("team_of_tests/__init__.py"), "")
        archive.writestr(zipfile.ZipInfo("team_of_tests/rows.py"), source)
    digest = hashlib.sha256(body.getvalue()).hexdigest()
    key = f"default/projects/{digest}.whl"
    blobs.put("artifacts", key, body.getvalue())
    return PROJECT.model_copy(update={"wheel": key, "digest": digest})


def test_functions_of_two_versions_each_run_for_their_own_project() -> None:
    blobs = MemoryBlobs()
    one = wheel_of(blobs, "def add(row):\n    return {'x': row['x'] + 1}\n")
    two = wheel_of(blobs, "def add(row):\n    return {'x': row['x'] + 2}\n")
    for _ in range(2):
        assert teamcode.load(one, "team_of_tests.rows:add", blobs=blobs)({"x": 1}) == {"x": 2}
        assert teamcode.load(two, "team_of_tests.rows:add", blobs=blobs)({"x": 1}) == {"x": 3}


def test_a_wheel_that_was_exchanged_does_not_run() -> None:
    blobs = MemoryBlobs()
    project = wheel_of(blobs, "def add(row):\n    return {}\n")
    blobs.put("artifacts", project.wheel, b"something else")
    with pytest.raises(PluginError, match="not the project's"):
        teamcode.load(project, "team_of_tests.rows:add", blobs=blobs)


@pytest.mark.parametrize(
    ("reference", "text"),
    [("nothing", "module:function"), ("no_such_module:f", "does not load"), ("json:no_function", "no function")],
)
def test_a_wrong_reference_is_named(reference: str, text: str) -> None:
    with pytest.raises(PluginError, match=text):
        teamcode.load(PROJECT, reference, blobs=MemoryBlobs())


def test_a_missing_wheel_is_not_found() -> None:
    project = PROJECT.model_copy(update={"wheel": "default/projects/none.whl"})
    with pytest.raises(NotFound):
        teamcode.load(project, "json:dumps", blobs=MemoryBlobs())
