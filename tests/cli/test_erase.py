"""What `modelwright erase` prints."""

from typing import Any

import pytest
from typer.testing import CliRunner

from modelwright.cli import erase as erasing
from modelwright.cli.commands import app
from modelwright.client import Api
from modelwright.errors import Unavailable

RECEIPT = {
    "erasure_id": "01A",
    "erased_at": "2026-03-02T08:00:00Z",
    "backups_until": "2026-04-06T08:00:00Z",
    "rows": {"offline": 3, "online": 1},
    "objects": {"offline": 2, "online": 1},
    "datasets": [{"digest": "a" * 64, "replaced_by": "b" * 64}, {"digest": "c" * 64, "replaced_by": ""}],
    "models": ["churn/3"],
    "subject": "f00",
    "salt": "5a17",
}


def test_a_receipt_is_told_in_lines_for_people() -> None:
    said = {"erasure_id": "01A", "status": "erased", "receipt": RECEIPT}
    assert list(erasing.lines(said)) == [
        "erased      01A at 2026-03-02 08:00:00",
        "removed     4 rows in 3 objects and items",
        "  offline                   3 rows in 2",
        "  online                    1 rows in 1",
        "dataset     aaaaaaaaaaaa is bbbbbbbbbbbb",
        "dataset     cccccccccccc is no more",
        "trained on  churn/3",
        "backups     expire by 2026-04-06 08:00:00",
        "subject     f00 (HMAC-SHA256, salt 5a17)",
    ]


def test_nothing_that_was_found_is_said_as_such() -> None:
    empty = {**RECEIPT, "rows": {}, "objects": {}, "datasets": [], "models": []}
    told = list(erasing.lines({"erasure_id": "01A", "status": "erased", "receipt": empty}))
    assert "removed     nothing: nothing was found" in told
    assert "trained on  no model version" in told


def test_one_that_is_not_over_says_where_to_look() -> None:
    (line,) = erasing.lines({"erasure_id": "01A", "status": "erasing", "receipt": None})
    assert line == "erasure 01A is erasing: modelwright erase --status 01A"


def test_the_command_waits_until_it_is_over() -> None:
    answers = iter([{"status": "erasing"}, {"status": "erased", "receipt": RECEIPT}])
    slept: list[float] = []

    class Later(Api):
        def get(self, path: str, **query: str) -> Any:
            assert path == "/v1/erasures/01A"
            return next(answers)

    assert erasing.awaited(Later("http://127.0.0.1:1", "t"), "01A", slept.append)["status"] == "erased"
    assert len(slept) == 1


def test_patience_ends_and_says_where_to_look() -> None:
    class Never(Api):
        def get(self, path: str, **query: str) -> Any:
            return {"status": "erasing"}

    slept: list[float] = []
    with pytest.raises(Unavailable, match="modelwright erase --status 01A"):
        erasing.awaited(Never("http://127.0.0.1:1", "t"), "01A", slept.append)
    assert sum(slept) == 3600


@pytest.mark.parametrize(
    "arguments", [["erase"], ["erase", "passenger"], ["erase", "passenger", "ann", "--status", "01A"]]
)
def test_whom_to_erase_has_to_be_said(arguments: list[str]) -> None:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2
