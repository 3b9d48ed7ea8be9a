"""A small made-up sample for a project that starts as a copy of the demo's: four weeks of flights, with a pattern.

Flights are late when it blows, late in the day, and by carrier. It is for trying changes in seconds, and stands for
nothing; a team replaces it by rows of its own. Always the same bytes.
"""

import csv
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS, FLIGHTS = 28, 60
CARRIERS = {"AA": 0.0, "B6": 0.5, "DL": -0.4, "UA": 0.1}
ORIGINS = ("EWR", "JFK", "LGA")
_DESTINATIONS = {"BOS": 187, "ORD": 733, "MIA": 1089, "LAX": 2475}
_SEED = 20260105

Row = dict[str, object]


def write(folder: Path) -> None:
    """Write the sample's files below a folder, as they would land."""
    drawn = random.Random(_SEED)  # noqa: S311 - nothing is secret about it
    weather = list(_weather(drawn))
    gusts = {(row["origin"], row["observed_at"]): float(str(row["wind_gust"])) for row in weather}
    flights = [flight for day in range(DAYS) for flight in _flights(drawn, day, gusts)]
    _file(folder / "weather" / "sample.csv", weather)
    _file(folder / "departures" / "sample.csv", [departure for departure, _ in flights])
    _file(folder / "arrivals" / "sample.csv", [arrival for _, arrival in flights])


def _weather(drawn: random.Random) -> Iterator[Row]:
    for hour in range(DAYS * 24):
        at = START + timedelta(hours=hour)
        for place, origin in enumerate(ORIGINS):
            wind = 10 + 8 * math.sin(hour / 37 + place) + drawn.gauss(0, 2)
            yield {
                "origin": origin,
                "observed_at": _said(at),
                "temp": round(35 + 10 * math.sin(hour / 24 * 2 * math.pi) + drawn.gauss(0, 2), 1),
                "dewp": round(25 + drawn.gauss(0, 3), 1),
                "humid": round(min(100.0, max(10.0, 60 + drawn.gauss(0, 10))), 1),
                "wind_dir": drawn.randrange(0, 360, 10),
                "wind_speed": round(max(0.0, wind), 1),
                "wind_gust": round(max(0.0, wind * 1.4), 1),
                "precip": round(max(0.0, drawn.gauss(-0.05, 0.05)), 2),
                "pressure": round(1015 + drawn.gauss(0, 6), 1),
                "visib": round(min(10.0, max(0.5, 10 - abs(drawn.gauss(0, 1.5)))), 1),
                "known_at": _said(at + timedelta(hours=1)),
            }


def _flights(drawn: random.Random, day: int, gusts: dict[tuple[object, object], float]) -> Iterator[tuple[Row, Row]]:
    for number in range(FLIGHTS):
        minutes = 6 * 60 + number * 16
        at = START + timedelta(days=day, minutes=minutes)
        origin, carrier = drawn.choice(ORIGINS), drawn.choice(sorted(CARRIERS))
        dest = drawn.choice(sorted(_DESTINATIONS))
        gust = gusts[origin, _said(at.replace(minute=0))]
        score = (gust - 14) / 7 + (minutes / 60 - 14) / 5 + CARRIERS[carrier] - 1
        late = drawn.random() < 1 / (1 + math.exp(-score))
        delay = drawn.randrange(18, 90) if late else drawn.randrange(-8, 12)
        named = {"flight_id": f"{at:%Y%m%d}-{carrier}{number}-{origin}", "carrier": carrier, "origin": origin}
        departed = {**named, "dest": dest, "scheduled_departure": _said(at)}
        left = at + timedelta(minutes=max(delay, 0) + 1)
        landed = left + timedelta(minutes=60 + _DESTINATIONS[dest] // 8)
        yield (
            {**departed, "dep_delay": delay, "late": _true(delay > 15), "cancelled": "false", "known_at": _said(left)},
            {
                **named,
                "dest": dest,
                "distance": _DESTINATIONS[dest],
                "scheduled_departure": _said(at),
                "arr_delay": delay + drawn.randrange(-3, 4),
                "known_at": _said(landed),
            },
        )


def _file(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _said(at: datetime) -> str:
    return at.isoformat()


def _true(claim: bool) -> str:
    return "true" if claim else "false"
