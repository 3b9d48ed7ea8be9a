"""Keeps what is stored small and quick: exports the log, compacts tracking, removes for good what was deleted."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby

from modelwright.adapters.parquet import ParquetTables, events_table, to_parquet
from modelwright.adapters.registrations import RegisteredVersions
from modelwright.context import Call
from modelwright.events import Delivery, RunEnded, ScheduleDue
from modelwright.log import new_id
from modelwright.runtime import Function, Request, Route
from modelwright.tracking import collection, rounds
from modelwright.tracking.maintenance import Upkeep
from modelwright.wiring import Wiring

BACK = timedelta(days=8)
IN_FLIGHT = timedelta(minutes=5)
"""An item may be written so long after its time was taken; an hour is complete when that is over."""
ROUND_S, ANSWER_S = 600, 15
"""After so many seconds nothing new is begun: a function may take 900, a caller waits for 30."""


def export_log(wiring: Wiring) -> None:
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


def upkeep(wiring: Wiring, seconds: float) -> Upkeep:
    started = time.monotonic()
    spare: Callable[[], bool] = lambda: time.monotonic() - started < seconds  # noqa: E731 - a clock
    return Upkeep(wiring.tables, wiring.blobs, ParquetTables(), lambda: datetime.now(UTC), new_id, spare)


def maintain(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    work = upkeep(wiring, ROUND_S)
    export_log(wiring)
    rounds.go_round(call, work)


def run_ended(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    event: RunEnded = delivery.event
    rounds.run_ended(call, event, upkeep(wiring, ROUND_S))


def compact(request: Request, wiring: Wiring) -> object:
    work = upkeep(wiring, ANSWER_S)
    return asdict(rounds.compact_now(request.call, request.path["experiment_id"], work))


def collect(request: Request, wiring: Wiring) -> object:
    message, versions = request.parse(collection.Collect), RegisteredVersions(wiring.tables)
    work = upkeep(wiring, ANSWER_S)
    return collection.collect(request.call, message, upkeep=work, log=wiring.log, registrations=versions)


handler = Function(
    "maintain",
    table="tracking",
    routes=(
        Route("POST", "/v1/gc", collect),
        Route("POST", "/v1/experiments/<experiment_id>/compact", compact),
    ),
    consumers={RunEnded: run_ended},
    schedules={"maintain": maintain},
)
