"""The generated schemas are those of the events."""

import json
from pathlib import Path

import pytest

from modelwright.events import kinds
from modelwright.schemas import differences, main, schemas

FOLDER = Path(__file__).parents[2] / "events" / "schemas"


def test_the_schemas_that_lie_there_are_those_of_the_events() -> None:
    faults = "\n".join(differences(FOLDER))
    assert not faults, f"{faults}\nwrite them again with: python -m modelwright.schemas events/schemas"


def test_every_event_has_a_schema_that_says_what_it_means() -> None:
    for name in kinds():
        schema = json.loads(schemas()[f"{name}.json"])
        assert schema["title"] == name
        assert schema["description"]
        assert schema["type"] == "object"


def test_a_difference_is_told_with_how_to_mend_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "schemas")
    assert main([folder]) == 0
    assert main(["--check", folder]) == 0
    (tmp_path / "schemas" / "RunEnded.json").write_text("{}")
    (tmp_path / "schemas" / "Old.json").write_text("{}")
    (tmp_path / "schemas" / "RunCreated.json").unlink()
    assert main(["--check", folder]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "Old.json is no event of modelwright.events",
        "RunCreated.json is missing",
        "RunEnded.json differs from modelwright.events",
        f"write them again with: python -m modelwright.schemas {folder}",
    ]
    assert main([folder]) == 0
    assert main(["--check", folder]) == 0
