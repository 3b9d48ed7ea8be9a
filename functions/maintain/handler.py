"""Exports the log as Parquet for other tools."""

from datetime import UTC, datetime, timedelta
from itertools import groupby

from modelwright.adapters.parquet import events_table, to_parquet
from modelwright.context import Call
from modelwright.events import ScheduleDue
from modelwright.runtime import Function, Wiring

BACK = timedelta(days=8)
IN_FLIGHT = timedelta(minutes=5)
"""An item may be written so long after its time was taken; an hour is complete when that is over."""


def export_log(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    """Write the complete hours of the last 8 days that are not written yet, an object per workspace and hour.

    So runs that were missed are made up for. The price is that each run reads those days' log again.
    """
    complete = (datetime.now(UTC) - IN_FLIGHT).replace(minute=0, second=0, microsecond=0)
    written: dict[str, set[str]] = {}
    for hours in range(int(BACK / timedelta(hours=1)), 0, -1):
        hour = complete - timedelta(hours=hours)
        items = sorted(wiring.log.hour(hour), key=lambda item: item.envelope.workspace)
        for workspace, group in groupby(items, key=lambda item: item.envelope.workspace):
            day = f"log/{workspace}/dt={hour:%Y-%m-%d}/"
            if day not in written:
                written[day] = {row.key for row in wiring.blobs.list("lake", day)}
            if (key := f"{day}{hour:%H}.parquet") not in written[day]:
                wiring.blobs.put("lake", key, to_parquet(events_table(list(group))))


handler = Function("maintain", schedules={"maintain": export_log})
