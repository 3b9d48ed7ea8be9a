"""``modelwright monitor``: verdicts, reports and plans of a source behind a loopback port, and plans without one."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monitoring.desk import Desk
from monitoring.verdict.test_watching import body, desk_of, higher, land
from support.http import ServedBlobs, handler_of, memory_wiring, serve
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app

Run = Callable[..., Result]
FOLDER = """
[project]
name = "tiny"

[sources.rows]
prefix = "rows/"
key = ["id"]
event_time = "at"

[sources.rows.columns]
id = { type = "string" }
at = { type = "timestamp" }
carrier = { type = "string" }
x = { type = "number" }
y = { type = "number" }
"""


@pytest.fixture(scope="module")
def desk() -> Desk:
    desk = desk_of()
    land(desk, range(4))
    land(desk, range(4, 6), change=higher)
    return desk


@pytest.fixture
def run(desk: Desk) -> Iterator[Run]:
    wiring = memory_wiring(tables=desk.tables, blobs=desk.blobs)
    with serve([handler_of("monitor", wiring)], ServedBlobs()) as url:
        yield lambda *said: CliRunner().invoke(app, ["monitor", *said, "--endpoint", url])


def lines(found: Result) -> list[str]:
    assert found.exit_code == 0, (found.output, found.exception)
    return found.stdout.splitlines()


def test_verdicts_over_time_say_what_drifted_and_since_when(run: Run) -> None:
    first, why, *rest = lines(run("drift", "rows"))
    assert first.startswith("2026-03-02 05:59:48  ")
    assert first.endswith("300 rows  33% drifts, the data set as a whole")
    assert why.startswith("    x: mean 0.")
    assert ", since 2026-03-02 04:00:00, against 5 uploads of 56 days before" in why
    assert [line.rpartition("rows  ")[2] for line in rest if not line.startswith(" ")] == ["quiet", "quiet"]
    told = json.loads(run("drift", "rows", "--json", "--limit", "1").stdout)
    assert len(told["windows"]) == 1


def test_a_window_is_shown_column_by_column(run: Run) -> None:
    shown = lines(run("show", "rows"))
    assert shown[1] == "compared with 5 uploads of 56 days before"
    assert shown[3].startswith("x ")
    assert "  drifts: mean 0." in shown[3]
    assert {line.split()[0] for line in shown[3:]} == {"x", "y", "carrier"}
    missing = run("show", "rows", "--window", "zz")
    assert "no window zz of rows" in str(missing.exception)


def test_a_report_is_written_where_one_wants_it(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    assert lines(run("report", "rows", "--output", str(target))) == [f"wrote {target}"]
    assert target.read_bytes().startswith(b"<!")
    assert json.loads(run("report", "rows", "--json").stdout)["source"] == "rows"
    assert "no window zz of rows was judged" in str(run("report", "rows", "--window", "zz").exception)


def test_a_plan_tells_false_alarms_and_the_smallest_shifts(run: Run, tmp_path: Path) -> None:
    told = lines(run("plan", "rows", "--rows", "400"))
    assert told[0] == "rows: windows of 400 rows against 6 uploads of 56 days before (1800 rows)"
    assert told[1].startswith("without drift, windows in which a column moves: ")
    assert told[-1].startswith("all of them")
    (tmp_path / "modelwright.toml").write_text(FOLDER)
    files = []
    for number in range(3):
        files += ["--data", str(tmp_path / f"{number}.parquet")]
        Path(files[-1]).write_bytes(body(number))
    here = CliRunner().invoke(app, ["monitor", "plan", "rows", "--project", str(tmp_path), *files, "--json"])
    assert here.exit_code == 0, (here.output, here.exception)
    assert json.loads(here.stdout)["reference"] == "3 files given here"
    alone = CliRunner().invoke(app, ["monitor", "plan", "rows", "--project", str(tmp_path)])
    assert "give both --project FOLDER and --data FILE" in str(alone.exception)


def test_what_is_not_there_is_named(run: Run) -> None:
    assert "there is no source ships" in str(run("drift", "ships").exception)
    assert "there is no source ships" in str(run("plan", "ships").exception)
