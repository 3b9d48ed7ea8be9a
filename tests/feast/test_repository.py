"""Where a repository's registry is looked for, and what is said where there is none."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from feast.feast_cases import on_demand, reads, registry, view
from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound
from modelwright.feast import repository
from modelwright.team import read_team

SETTINGS = "project: rides\nregistry: data/registry.db\n"


def made(folder: Path, settings: str = SETTINGS) -> Path:
    """Return a repository whose registry holds one view."""
    (folder / "data").mkdir()
    (folder / "feature_store.yaml").write_text(settings)
    body = registry(feature_views=[view("stats", {"rate": "double"})]).SerializeToString()
    (folder / "data" / "registry.db").write_bytes(body)
    return folder


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, "project: rides\n", "project: rides\nregistry: {registry_type: file, path: data/registry.db}\n"],
)
def test_a_registry_in_a_file_is_read_without_feast(tmp_path: Path, settings: str) -> None:
    found = repository.read(made(tmp_path, settings))
    assert (found.project, [one.spec.name for one in found.registry.feature_views]) == ("rides", ["stats"])


def test_a_registrys_file_is_a_repository_too(tmp_path: Path) -> None:
    found = repository.read(made(tmp_path) / "data" / "registry.db")
    assert repository.translated(found).project == "rides"


@pytest.mark.parametrize(
    ("registry", "place"),
    [
        ("data/other.db", "other.db: run `feast apply`, or name the interpreter that has Feast"),
        ("s3://bucket/registry.db", "in a file here: run `feast apply`"),
        ("{registry_type: sql, path: postgresql://db}", "in a file here: run `feast apply`"),
    ],
)
def test_a_registry_that_is_no_file_here_wants_feast(tmp_path: Path, registry: str, place: str) -> None:
    made(tmp_path, f"project: rides\nregistry: {registry}\n")
    with pytest.raises(NotFound, match=place.replace("(", "\\(")):
        repository.read(tmp_path)


@pytest.mark.parametrize(("settings", "said"), [("a: [", "is no YAML"), ("", "says nothing")])
def test_settings_that_are_none_are_named(tmp_path: Path, settings: str, said: str) -> None:
    (tmp_path / "feature_store.yaml").write_text(settings)
    with pytest.raises(InvalidInput, match=said):
        repository.read(tmp_path)


def test_a_folder_without_settings_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"is no repository of Feast's: it holds no feature_store\.yaml"):
        repository.read(tmp_path)


def test_an_interpreter_that_has_no_feast_is_named_with_what_it_says(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(InvalidInput, match=r"do not apply with .*No module named"):
        repository.read(tmp_path, python=sys.executable)
    with pytest.raises(InvalidInput, match="/no/python does not run"):
        repository.read(tmp_path, python="/no/python")


def test_the_command_makes_a_project_and_says_what_became_of_it(tmp_path: Path) -> None:
    made(tmp_path)
    done = CliRunner().invoke(app, ["import", "feast", str(tmp_path), str(tmp_path / "ours")])
    assert done.exit_code == 0, done.output
    assert "feature views: stats" in done.output
    assert f"modelwright apply {tmp_path / 'ours'}" in done.output
    assert set(read_team(tmp_path / "ours").project.views) == {"stats"}


def test_a_function_is_copied_with_what_the_repositorys_modules_import(tmp_path: Path) -> None:
    made(tmp_path)
    text = "def plus(inputs):\n    return {'plus': [floor(rate) for rate in inputs['rate']]}\n"
    group = on_demand("plus", text, [reads("stats", {"rate": "double"})], {"plus": "double"})
    found = registry(feature_views=[view("stats", {"rate": "double"})], on_demand_feature_views=[group])
    (tmp_path / "data" / "registry.db").write_bytes(found.SerializeToString())
    (tmp_path / "definitions.py").write_text("from math import floor\n")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "other.py").write_text("from numpy import floor\n")
    (tmp_path / "broken.py").write_text("def\n")
    copied = repository.translated(repository.read(tmp_path)).on_demand["plus"].copied
    assert copied.imports == ("from math import floor",)


def test_data_wants_a_stack_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELWRIGHT_ENDPOINT", raising=False)
    arguments = ["import", "feast", str(made(tmp_path)), "ours", "--data"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, InvalidInput)
    assert "which stack?" in str(done.exception)
    done = CliRunner().invoke(app, [*arguments, "--endpoint", "http://127.0.0.1:1"])
    assert "which landing bucket? give --landing" in str(done.exception)
    assert not (tmp_path / "ours").exists()
