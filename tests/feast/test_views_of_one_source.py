"""Feast's client writes what is pushed view by view; of one source these are the same rows."""

from pathlib import Path
from typing import Any

import pytest
from support.feast_desk import FeastDesk
from support.http import Caller

from modelwright.team import read_team

PROJECT = """
[project]
name = "rides"
[sources.figures]
key = ["driver_id", "at"]
event_time = "at"
available_at = "made"
[sources.figures.columns]
driver_id = { type = "integer" }
at = { type = "timestamp" }
made = { type = "timestamp", nullable = true }
rate = { type = "number", nullable = true }
car = { type = "string", nullable = true }
"""
FEATURES = """
from modelwright.project import View
rates = View(entity=("driver_id",), source="figures", features=("rate",))
cars = View(entity=("driver_id",), source="figures", features=("car",))
"""
TIMES = {"event_timestamp": ["2026-01-01T10:00:00"] * 2, "created": ["2026-01-01T10:00:00"] * 2}
LATER = {"event_timestamp": ["2026-01-01T11:00:00"] * 2, "created": ["2026-01-01T11:00:00"] * 2}


@pytest.fixture
def ask(tmp_path: Path) -> Caller:
    (tmp_path / "modelwright.toml").write_text(PROJECT)
    (tmp_path / "features.py").write_text(FEATURES)
    return Caller(FeastDesk(read_team(tmp_path)).features)


def write(ask: Caller, view: str, **columns: list[Any]) -> None:
    ask.ok("POST", "/write-to-online-store", {"feature_view_name": view, "df": {"driver_id": [1, 2], **columns}})


def served(ask: Caller) -> dict[str, list[Any]]:
    query = {"features": ["rates:rate", "cars:car"], "entities": {"driver_id": [1, 2]}}
    found = ask.ok("POST", "/get-online-features", query)
    return {n: r["values"] for n, r in zip(found["metadata"]["feature_names"], found["results"], strict=True)}


def test_what_one_view_was_given_another_views_write_does_not_take_away(ask: Caller) -> None:
    write(ask, "rates", rate=[0.5, 0.75], **TIMES)
    write(ask, "cars", car=["a", None], **TIMES)
    assert served(ask) == {"driver_id": [1, 2], "rate": [0.5, 0.75], "car": ["a", None]}
    write(ask, "rates", rate=[0.25, None], **TIMES)
    assert served(ask) == {"driver_id": [1, 2], "rate": [0.25, None], "car": ["a", None]}


def test_a_row_of_another_time_is_another_row(ask: Caller) -> None:
    write(ask, "rates", rate=[0.5, 0.75], **TIMES)
    write(ask, "cars", car=["a", "b"], **LATER)
    assert served(ask) == {"driver_id": [1, 2], "rate": [None, None], "car": ["a", "b"]}


def test_a_row_that_is_not_as_declared_is_named_and_changes_nothing(ask: Caller) -> None:
    write(ask, "rates", rate=[0.5, 0.75], **TIMES)
    frame = {"driver_id": ["x", None], "car": ["a", "b"], **TIMES}
    status, said = ask("POST", "/write-to-online-store", {"feature_view_name": "cars", "df": frame})
    assert status == 400
    assert "row 0, column driver_id" in said
    assert "row 1, column driver_id" in said
    assert served(ask)["rate"] == [0.5, 0.75]
