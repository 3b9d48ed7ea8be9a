"""Exports the log as Parquet for other tools; compaction and clearing up."""

from datetime import UTC, datetime, timedelta

from modelwright.adapters.parquet import events_table, to_parquet
from modelwright.context import Call
from modelwright.events import ScheduleDue
from modelwright.runtime import Function, Wiring


def export_log(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    """Write the last 25 hours of the log, an object per hour, so that a missed run is made up for by the next."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for hours in range(25):
        hour = now - timedelta(hours=hours)
        items = list(wiring.log.hour(hour))
        if items:
            wiring.blobs.put("lake", f"log/dt={hour:%Y-%m-%d}/{hour:%H}.parquet", to_parquet(events_table(items)))


handler = Function("maintain", schedules={"maintain": export_log})
