"""Addresses of MLflow's, before MLflow is asked anything."""

from pathlib import Path

import pytest

from modelwright.errors import InvalidInput, Unavailable
from modelwright.transfer.opening import checked, local_level, local_path, without_secrets
from modelwright.transfer.records import Entry
from modelwright.transfer.renaming import copied_from, plain


def test_folders_and_databases_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    (tmp_path / "x.db").touch()
    assert checked("a b", must_exist=True) == f"file://{tmp_path}/a%20b"
    assert checked("sqlite:///x.db", must_exist=True) == f"sqlite:///{tmp_path}/x.db"
    assert checked("sqlite:///new.db", must_exist=False) == f"sqlite:///{tmp_path}/new.db"
    assert checked("postgresql://u:p@h/x", must_exist=True) == "postgresql://u:p@h/x"


def test_what_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no database"):
        checked(f"sqlite:///{tmp_path}/x.db", must_exist=True)
    with pytest.raises(InvalidInput, match="there is no folder"):
        checked(str(tmp_path / "mlruns"), must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(Unavailable, match=r"^http://127.0.0.1:9 does not answer"):
        checked("http://ann:secret@127.0.0.1:9/", must_exist=True)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ann:secret@mlflow.example:5000/x?token=1", "https://mlflow.example:5000/x"),
        ("postgresql://u:p@h/db", "postgresql://h/db"),
        ("sqlite:////a/b.db?mode=ro", "sqlite:////a/b.db"),
        ("file:///a/mlruns", "file:///a/mlruns"),
    ],
)
def test_tags_and_messages_hold_no_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


def test_only_folders_of_this_machine_are_local() -> None:
    assert local_path("file:///a/b%20c") == Path("/a/b c")
    assert local_path("/a/b") == Path("/a/b")
    assert local_path("s3://a/b") is None
    assert local_path("file://other/a") is None


def test_a_link_to_nothing_is_listed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"xy")
    (tmp_path / "d" / "gone").symlink_to("nowhere")
    assert local_level(tmp_path, "") == [Entry("d", is_folder=True, size=(tmp_path / "d").stat().st_size)]
    assert local_level(tmp_path, "d") == [Entry("d/f", is_folder=False, size=2), Entry("d/gone", is_folder=False)]
    assert local_level(tmp_path, "e") == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a/b/", "file:///a/b"),
        ("mlflow-artifacts:/1/x", "mlflow-artifacts://host:5000/1/x"),
        ("s3://b/x/", "s3://b/x"),
    ],
)
def test_one_folder_has_one_plain_form(first: str, second: str) -> None:
    assert plain(first) == plain(second)


def test_a_version_that_is_a_copy_names_model_and_number() -> None:
    assert copied_from("models:/a b/12") == ("a b", 12)
    assert copied_from("models:/m-0123") is None
    assert copied_from("models:/a@live") is None
    assert copied_from("runs:/x/12") is None
