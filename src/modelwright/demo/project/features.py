"""Features of a flight, each written once and computed alike for training and for serving.

Windows end at full hours and go by the time at which a departure became known, so a flight is
never in its own window.
"""

from datetime import datetime
from typing import Any

from modelwright.project import Aggregate, Entity, View, on_demand

airport = Entity(join_keys=("origin",), owner="operations", description="An airport that flights leave from.")
airline = Entity(join_keys=("carrier",), owner="operations", description="Who operates a flight.")

WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def _departures(entity: Entity) -> View:
    (name,) = entity.join_keys
    return View(
        entity=entity,
        source="departures",
        aggregates={
            f"{name}_flights": Aggregate(function="count"),
            f"{name}_delay": Aggregate(function="mean", column="dep_delay"),
            f"{name}_late": Aggregate(function="mean", column="late"),
            f"{name}_cancelled": Aggregate(function="mean", column="cancelled"),
        },
        windows=("2h", "12h"),
        owner="operations",
        description=f"Departures by {name}: how many, how late, how many cancelled, over the last full hours.",
    )


weather_now = View(
    entity=airport,
    source="weather",
    features=WEATHER,
    ttl="6h",
    owner="operations",
    description="The newest hourly observation at the origin that was known at the time.",
)
origin_departures = _departures(airport)
carrier_departures = _departures(airline)


@on_demand(
    inputs=("scheduled_departure",),
    outputs=("hour", "weekday"),
    request={"scheduled_departure": "timestamp"},
    owner="operations",
)
def calendar(row: dict[str, Any]) -> dict[str, float]:
    """Hour of the day (with minutes) and day of the week (Monday is 0) of the scheduled departure."""
    time: datetime = row["scheduled_departure"]
    return {"hour": time.hour + time.minute / 60.0, "weekday": float(time.weekday())}
