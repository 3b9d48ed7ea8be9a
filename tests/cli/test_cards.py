"""``modelwright models card`` and ``write-card`` against the registry behind a loopback port."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.http import serve
from support.mlflow_desk import API, Desk
from typer.testing import CliRunner, Result

from modelwright.cli.cards import changed
from modelwright.cli.models import app
from modelwright.errors import InvalidInput, NotFound

TEXT = """# About

for people

## Intended use

Tells *late* flights.

### Not for

other things

## Owner
team delays
"""
Run = Callable[..., Result]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.registry.ok("POST", f"{API}/registered-models/create", {"name": "flights"})
    for _ in range(2):
        body = {"name": "flights", "source": "mlflow-artifacts:/1/x"}
        desk.registry.ok("POST", f"{API}/model-versions/create", body)
    desk.registry.ok("POST", f"{API}/registered-models/alias", {"name": "flights", "alias": "blue", "version": "1"})
    return desk


@pytest.fixture
def run(desk: Desk) -> Iterator[Run]:
    with serve([desk.functions["registry"]], desk.blobs) as url:
        yield lambda *arguments, **more: CliRunner().invoke(app, [*arguments, "--endpoint", url], **more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "card.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def sections(desk: Desk, version: int = 1) -> dict[str, str]:
    card = desk.registry.ok("GET", f"/v1/models/flights/versions/{version}/card")
    return {name: section["text"] for name, section in card["sections"].items()}


def test_a_card_is_written_from_a_files_headings(run: Run, desk: Desk, file: Path) -> None:
    done = run("write-card", "flights", "1", str(file))
    assert (done.exit_code, done.output) == (0, "flights v1: revision 1\n")
    assert sections(desk) == {
        "intended_use": "Tells *late* flights.\n\n### Not for\n\nother things",
        "owner": "team delays",
    }


def test_a_printed_card_can_be_written_back_and_changes_nothing(run: Run, desk: Desk, file: Path) -> None:
    run("write-card", "flights", "1", str(file))
    for version in ("1", "2"):  # of the second all is carried over
        run("card", "flights", version, "--out", str(file))
        done = run("write-card", "flights", version, str(file))
        assert "nothing changed" in done.output
    file.write_text(file.read_text(encoding="utf-8").replace("team delays", "team arrivals"), encoding="utf-8")
    done = run("write-card", "flights", "2", str(file))
    assert done.output == "flights v2: revision 1\ncarried over and not confirmed: intended_use\n"
    assert sections(desk, 2)["owner"] == "team arrivals"


def test_a_heading_with_nothing_below_it_removes_its_section(run: Run, desk: Desk, file: Path) -> None:
    run("write-card", "flights", "1", str(file))
    file.write_text("## Owner\n", encoding="utf-8")
    run("write-card", "flights", "1", str(file))
    assert list(sections(desk)) == ["intended_use"]


def test_carried_sections_are_confirmed(run: Run, desk: Desk, file: Path) -> None:
    run("write-card", "flights", "1", str(file))
    assert run("write-card", "flights", "2", "--confirm", "*").output == "flights v2: revision 1\n"
    card = desk.registry.ok("GET", "/v1/models/flights/versions/2/card")
    assert [section["carried_from"] for section in card["sections"].values()] == [0, 0]


@pytest.mark.parametrize(
    ("form", "begins"), [("markdown", "# flights v1\n\n**blue**"), ("html", "<!doctype html>"), ("json", "{\n")]
)
def test_a_card_is_printed_in_each_form_by_alias_too(run: Run, form: str, begins: str) -> None:
    by_number, by_alias = (run("card", "flights", version, "--format", form) for version in ("1", "@blue"))
    assert by_number.output.startswith(begins)
    assert len(by_alias.output) == len(by_number.output)


def test_a_card_goes_into_a_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    assert run("card", "flights", "1", "--format", "json", "--out", str(path)).output == f"wrote {path}\n"
    assert json.loads(path.read_text(encoding="utf-8"))["version"] == 1


def test_the_card_comes_from_standard_input_too(run: Run, desk: Desk) -> None:
    run("write-card", "flights", "1", "-", input="## Owner\nteam delays\n")
    assert sections(desk) == {"owner": "team delays"}


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (["write-card", "flights", "1"], InvalidInput, "name a Markdown file"),
        (["write-card", "flights", "1", "/nowhere.md"], InvalidInput, "/nowhere.md cannot be read"),
        (["card", "flights", "9"], NotFound, "version=9"),
        (["card", "flights", "1", "--revision", "3"], NotFound, "no revision 3"),
        (["write-card", "flights", "1", "--confirm", "owner"], InvalidInput, "nothing to confirm in owner"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: list[str], error: type[Exception], told: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, error)
    assert told in str(done.exception)


@pytest.mark.parametrize(
    ("text", "told"), [("words", "no section"), ("## Owner\na\n## owner\nb", "'Owner' comes twice")]
)
def test_a_file_without_clear_sections_is_refused(desk: Desk, text: str, told: str) -> None:
    card: dict[str, Any] = desk.registry.ok("GET", "/v1/models/flights/versions/1/card")
    with pytest.raises(InvalidInput, match=told):
        changed(card, text)


def test_a_write_on_what_somebody_else_changed_meanwhile_is_refused(desk: Desk, run: Run, file: Path) -> None:
    stale = desk.registry.ok("GET", "/v1/models/flights/versions/1/card")
    run("write-card", "flights", "1", str(file))
    body = {"sections": changed(stale, "## Owner\nme\n"), "revision": stale["revision"]}
    status, said = desk.registry("PUT", "/v1/models/flights/versions/1/card", body)
    assert (status, "at revision 1, not 0" in said["message"]) == (409, True)
