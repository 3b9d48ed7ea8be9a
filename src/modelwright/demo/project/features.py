"""Features of a flight, each written once and computed alike for training and for serving.

Windows end at full hours and go by the time at which a departure became known, so a flight is
never in its own window.
"""

from datetime import datetime
from typing import Any

from modelwright.project import Aggregate, View, on_demand

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def _departures(entity: str) -> View:
    return View(
        entity=(entity,),
        source="departures",
        aggregates={
            f"{entity}_flights": Aggregate(function="count"),
            f"{entity}_delay": Aggregate(function="mean", column="dep_delay"),
            f"{entity}_late": Aggregate(function="mean", column="late"),
            f"{entity}_cancelled": Aggregate(function="mean", column="cancelled"),
        },
        windows=("2h", "12h"),
        owner="operations",
        description=f"Departures by {entity}: how many, how late, how many cancelled, over the last full hours.",
    )


weather_now = View(
    entity=("origin",),
    source="weather",
    features=WEATHER,
    ttl="6h",
    owner="operations",
    description="The newest hourly observation at the origin that was known at the time.",
)
origin_departures = _departures("origin")
carrier_departures = _departures("carrier")


@on_demand(inputs=("scheduled_departure",), outputs=("hour", "weekday"))
def calendar(row: dict[str, Any]) -> dict[str, float]:
    """Hour of the day (with minutes) and day of the week (Monday is 0) of the scheduled departure."""
    time: datetime = row["scheduled_departure"]
    return {"hour": time.hour + time.minute / 60.0, "weekday": float(time.weekday())}
