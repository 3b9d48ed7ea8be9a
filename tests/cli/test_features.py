"""``modelwright apply`` and ``modelwright features`` over the functions behind a loopback port."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from features.feature_cases import Stack
from support.http import Caller, handler_of, serve
from support.mlflow_desk import Desk
from typer.testing import CliRunner, Result

from modelwright.cli.commands import app
from modelwright.errors import InvalidInput, NotFound, Refused
from modelwright.log import Log

DEMO = Path(__file__).parents[2] / "src" / "modelwright" / "demo" / "project"
START = datetime(2026, 1, 5, tzinfo=UTC)
Run = Callable[..., Result]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def run(desk: Desk) -> Iterator[Run]:
    features = handler_of("features", desk.wiring)
    desk.registry("GET", "/v1/projects/current")  # the functions' loggers keep the stream that they first see
    Caller(features).ok("GET", "/health")
    with serve([desk.functions["registry"], features], desk.blobs) as url:
        yield lambda *arguments: CliRunner().invoke(app, [*arguments, "--endpoint", url])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the demo's project, to be changed."""
    return Path(shutil.copytree(DEMO, tmp_path / "flights", ignore=shutil.ignore_patterns("__pycache__")))


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "features.py"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def lines(run: Run, *arguments: str) -> list[str]:
    said = run(*arguments)
    assert said.exit_code == 0, (said.output, said.exception)
    return said.stdout.splitlines()


# --- apply -----------------------------------------------------------------------------------


def test_a_plan_says_what_would_change_and_changes_nothing(run: Run, desk: Desk, folder: Path) -> None:
    first, *more = lines(run, "apply", str(folder), "--plan")
    assert first.startswith("flights ")
    assert first.endswith(": the first that is applied here")
    assert "  + entity airport" in more
    assert more[more.index("  + view weather_now") + 1].startswith("      features temp, dewp, humid")
    assert more[-1] == ("  computed from the rows that there are: carrier_departures, origin_departures, weather_now")
    assert desk.types("PROJECT", "flights") == []
    found = json.loads(run("apply", str(folder), "--plan", "--json").stdout)
    assert (found["first"], found["refused"]) == (True, [])


def test_apply_says_the_plan_and_does_it(run: Run, desk: Desk, folder: Path) -> None:
    assert lines(run, "apply", str(folder))[-1].endswith(": flights; 3 views")
    assert lines(run, "apply", str(folder))[0].endswith(": declares nothing new")
    edit(folder, 'ttl="6h"', 'ttl="9h"')
    said = lines(run, "apply", str(folder))
    assert said[0].endswith(": 1 changed, and the code")
    assert said[1:3] == ["  ~ view weather_now", "      ttl 9h, was 6h"]
    assert said[-1].startswith("applied ")
    assert desk.types("PROJECT", "flights") == ["ProjectApplied", "ProjectApplied"]


def test_a_change_that_breaks_readers_is_refused_until_the_view_has_a_new_version(
    run: Run, desk: Desk, folder: Path
) -> None:
    lines(run, "apply", str(folder))
    edit(folder, 'ttl="6h"', 'ttl="1h"')
    planned = run("apply", str(folder), "--plan")
    assert planned.exit_code == 1
    assert "      breaks readers: rows are served for 1h, it was 6h" in planned.output
    assert "  affects model flights: weather_now:dewp, weather_now:humid" in planned.output
    refused = "view weather_now: rows are served for 1h, it was 6h: that breaks its readers, so give it version=2"
    assert f"  REFUSED: {refused}" in planned.output
    said = run("apply", str(folder))
    assert isinstance(said.exception, Refused)
    assert str(said.exception) == f"nothing was applied: {refused}"
    assert desk.types("PROJECT", "flights") == ["ProjectApplied"]
    edit(folder, 'ttl="1h",', 'ttl="1h",\n    version=2,')
    done = lines(run, "apply", str(folder))
    assert "  computed from the rows that there are: weather_now" in done


def test_another_function_is_told_with_whom_it_touches_and_another_layout_of_it_is_not(run: Run, folder: Path) -> None:
    lines(run, "apply", str(folder))
    edit(folder, "    time: datetime =", "    # when it is to leave\n    time: datetime =")
    edit(folder, "Hour of the day (with minutes)", "The hour (with minutes)")
    said = lines(run, "apply", str(folder))
    assert said[1:3] == ["  ~ on-demand calendar", "      description is said otherwise"]
    assert not any("affects" in line for line in said)
    edit(folder, "time.minute / 60.0", "time.minute / 61.0")
    said = lines(run, "apply", str(folder))
    assert said[1:4] == [
        "  ~ on-demand calendar",
        "      its function does something else",
        "  affects model flights: calendar:hour, calendar:weekday",
    ]


def test_a_folder_that_is_not_sound_asks_nobody(folder: Path) -> None:
    edit(folder, 'WEATHER = ("temp",', 'WEATHER = ("tmp",')
    said = CliRunner().invoke(app, ["apply", str(folder), "--endpoint", "http://127.0.0.1:9"])
    assert isinstance(said.exception, InvalidInput)
    assert "view weather_now serves tmp, which source weather does not declare" in str(said.exception)


# --- features ---------------------------------------------------------------------------------


@pytest.fixture
def stocked(run: Run, desk: Desk, folder: Path) -> None:
    """The demo's project is applied, and its weather of two days is known."""
    edit(folder, 'ttl="6h",', 'ttl="6h",\n    fresh_within="3h",\n    tags={"tier": "1"},')
    lines(run, "apply", str(folder))
    stack = Stack(desk.wiring.project("default"))
    stack.tables, stack.blobs, stack.log = desk.tables, desk.blobs, Log(desk.tables)
    rows = [weather(hour) for hour in range(30)]
    stack.upload("weather", rows, START + timedelta(hours=31))


def weather(hour: int) -> dict[str, Any]:
    seen = START + timedelta(hours=hour)
    measured = dict.fromkeys(("dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "visib"), 1.0)
    known = {"origin": "JFK", "observed_at": seen, "known_at": seen + timedelta(minutes=5)}
    return {**measured, **known, "temp": float(hour), "pressure": None}


@pytest.mark.usefixtures("stocked")
def test_views_entities_sources_and_services_are_listed(run: Run) -> None:
    head, *views = lines(run, "features", "list")
    assert head.split() == ["view", "version", "entity", "source", "features", "owner"]
    assert [view.split()[:5] for view in views] == [
        ["carrier_departures", "1", "carrier", "departures", "8"],
        ["origin_departures", "1", "origin", "departures", "8"],
        ["weather_now", "1", "origin", "weather", "9"],
    ]
    assert lines(run, "features", "list", "entities")[2].split()[:4] == [
        "airport", "origin", "origin_departures,", "weather_now"
    ]  # fmt: skip
    sources = {line.split()[0]: line for line in lines(run, "features", "list", "sources")}
    told = ["weather", "below", "weather/", "30", "2026-01-06", "05:05:00", "weather_now"]
    assert sources["weather"].split() == told
    assert " never " in sources["departures"]
    assert lines(run, "features", "list", "services")[1].startswith("flights  model ")
    found = json.loads(run("features", "list", "--json").stdout)
    assert [view["name"] for view in found] == ["carrier_departures", "origin_departures", "weather_now"]
    assert run("features", "list", "fruit").exit_code == 2


@pytest.mark.usefixtures("stocked")
def test_what_has_all_words_is_found(run: Run) -> None:
    found = lines(run, "features", "search", "hourly", "wind")
    assert [line.split()[:3] for line in found[1:]] == [["view", "weather_now", "operations"]]
    assert "wind_dir, wind_speed, wind_gust" in found[1]
    assert lines(run, "features", "search", "zebra") == ["nothing has all these words"]
    found = json.loads(run("features", "search", "airport", "--json").stdout)
    assert [(each["kind"], each["name"]) for each in found] == [("entity", "airport")]


@pytest.mark.usefixtures("stocked")
def test_a_view_is_described_with_its_values_day_by_day(run: Run) -> None:
    said = lines(run, "features", "describe", "weather_now")
    assert said[0] == ("weather_now version 1: The newest hourly observation at the origin that was known at the time.")
    assert "  owner       operations, tier=1" in said
    assert "  entity      origin (airport)" in said
    assert "  source      weather, rows are served for 6h" in said
    assert (
        "  freshness   the newest of 30 rows became known at 2026-01-06 05:05:00 UTC, of 2026-01-06 05:00:00; "
        "NOT within 3h"
    ) in said
    assert "  last taken  2026-01-06 07:00:00 UTC: 30 rows of weather/x.csv" in [
        line.replace(".parquet", ".csv") for line in said
    ]
    assert any(line.startswith("  used by     model flights: dewp, humid") for line in said)
    day = next(line.split() for line in said if line.startswith("2026-01-05"))
    assert day[:4] == ["2026-01-05", "24", "temp", "0"]
    assert day[4:] == ["0", "1", "11", "11.5", "22", "23"]
    pressure = next(line.split() for line in said if "  pressure " in line and line.startswith("2026-01-05"))
    assert pressure == ["2026-01-05", "24", "pressure", "24"]
    later = lines(run, "features", "describe", "weather_now", "--from", "2026-01-06")
    assert not any(line.startswith("2026-01-05") for line in later)
    assert any(line.startswith("2026-01-06  6 ") for line in later)
    found = json.loads(run("features", "describe", "weather_now", "--json").stdout)
    assert (found["source"], len(found["statistics"]["days"])) == ("weather", 2)
    assert lines(run, "features", "describe", "origin_departures")[-1] == "there are no rows of these days"


@pytest.mark.usefixtures("stocked")
def test_what_is_not_there_or_no_day_is_said(run: Run) -> None:
    said = run("features", "describe", "wether")
    assert isinstance(said.exception, NotFound)
    there = "there are carrier_departures, origin_departures, weather_now"
    assert str(said.exception) == f"there is no feature view wether: {there}"
    said = run("features", "describe", "weather_now", "--from", "monday")
    assert isinstance(said.exception, InvalidInput)
    assert "from=monday is no day" in str(said.exception)
