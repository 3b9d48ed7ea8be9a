"""Where a repository of Feast's keeps its registry, and how it is read.

Feast wants an older pandas than we do and is no dependency of ours, so nothing of it is imported. Either the
registry is a file, which ``feast apply`` wrote and ``modelwright.feast.messages`` reads; or the interpreter that
has Feast is named, and runs ``SCRIPT`` in the repository: it applies the definitions to a registry of its own in a
scratch folder, without an online store, and hands that back. So nothing of the user's is touched, and a registry in a
database, a bucket or behind a server is as good as a file.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from modelwright.errors import InvalidInput, NotFound
from modelwright.feast.functions import imported_names
from modelwright.feast.messages import Message, read_registry
from modelwright.feast.translation import Translation, translate

_SETTINGS = "feature_store.yaml"
_TIMEOUT_S = 600
SCRIPT = """
import sys
from pathlib import Path
from feast import FeatureStore, RepoConfig
from feast.repo_config import load_repo_config
from feast.repo_operations import parse_repo

repository, registry = Path(sys.argv[1]), sys.argv[2]
sys.path.insert(0, str(repository))
theirs = load_repo_config(repository, repository / "feature_store.yaml")
scratch = RepoConfig(project=theirs.project, provider="local", registry=registry, online_store=None,
                     offline_store=theirs.offline_store, repo_path=repository, entity_key_serialization_version=3)
found = parse_repo(repository)
kinds = ("data_sources", "entities", "feature_views", "stream_feature_views", "on_demand_feature_views",
         "feature_services")
FeatureStore(config=scratch).apply([thing for kind in kinds for thing in getattr(found, kind)])
"""
"""Run by the user's interpreter; all that it needs of Feast is there since 0.30."""


class Repository(NamedTuple):
    """A repository of Feast's.

    Attributes:
        folder: what relative paths of its sources start from.
        project: its project; empty: not told.
    """

    registry: Message
    folder: Path
    project: str


def read(path: Path, *, python: str = "") -> Repository:
    """Read a repository.

    Args:
        path: its folder, or a registry's file.
        python: the interpreter that has Feast; without it, the registry has to be a file.

    Raises:
        NotFound: there is no repository, or no registry.
        InvalidInput: it is none, or its definitions do not apply.
    """
    if path.is_file():
        return Repository(read_registry(path.read_bytes(), str(path)), path.parent, "")
    settings = _settings(path)
    project = str(settings.get("project", ""))
    if python:
        return Repository(_applied(path, python), path, project)
    file = _registry_file(path, settings)
    if file is None or not file.is_file():
        where = f"at {file}" if file else "in a file here"
        raise NotFound(
            f"{path} has no registry {where}: run `feast apply`, or name the interpreter that has Feast (--python)"
        )
    return Repository(read_registry(file.read_bytes(), str(file)), path, project)


def translated(repository: Repository, project: str = "") -> Translation:
    """Return what a repository declares as ours; see ``translate``."""
    imported = imported_names(repository.folder) if (repository.folder / _SETTINGS).is_file() else {}
    return translate(repository.registry, project or repository.project, imported)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"{folder} is no repository of Feast's: it holds no {_SETTINGS}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"{path} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} says nothing")
    return found


def _registry_file(folder: Path, settings: dict[str, Any]) -> Path | None:
    said = settings.get("registry", "data/registry.db")
    if isinstance(said, dict):
        said = said.get("path", "") if said.get("registry_type", "file") == "file" else ""
    if not isinstance(said, str) or not said or "://" in said:
        return None
    return folder / said


def _applied(folder: Path, python: str) -> Message:
    """Return the registry that the definitions make, by the interpreter that has Feast."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "registry.db"
        command = [python, "-c", SCRIPT, str(folder.resolve()), str(file)]
        try:
            done = subprocess.run(  # noqa: S603 - the interpreter is the user's word
                command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except OSError as error:
            raise InvalidInput(f"{python} does not run: {error}") from error
        except subprocess.TimeoutExpired as error:
            raise InvalidInput(f"{python} took more than {_TIMEOUT_S} s to read {folder}") from error
        if done.returncode or not file.is_file():
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it says nothing"]
            raise InvalidInput(f"the definitions of {folder} do not apply with {python}: {last[0]}")
        return read_registry(file.read_bytes(), str(folder))
