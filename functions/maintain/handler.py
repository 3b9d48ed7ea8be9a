"""Keeps what is stored small and quick: exports the log, compacts tracking, removes for good what was deleted.

It also erases subjects: what that takes is loaded when the first erasure comes.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from modelwright.adapters.parquet import ParquetTables, events_table, to_parquet
from modelwright.adapters.registrations import RegisteredVersions
from modelwright.context import Call
from modelwright.events import Delivery, ErasureRequested, RunEnded, ScheduleDue
from modelwright.http import Answer, Request, Route
from modelwright.log import new_id
from modelwright.runtime import Function
from modelwright.tracking import collection, rounds
from modelwright.tracking.maintenance import Upkeep
from modelwright.wiring import Wiring

if TYPE_CHECKING:
    from modelwright.features.erasing.erasure import Shop

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
    sweep_erasures(call, wiring)


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


def ask_erasure(request: Request, wiring: Wiring) -> Answer:
    from modelwright.features.erasing import erasure

    body, project = request.parse(erasure.EraseSubject), wiring.project(request.call.workspace)
    identity, salt = new_id(), secrets.token_hex(32)
    said = erasure.ask(
        request.call, body, project=project, tables=wiring.tables, log=wiring.log, identity=identity, salt=salt
    )
    return Answer(said, 202)


def show_erasure(request: Request, wiring: Wiring) -> object:
    from modelwright.features.erasing import erasure

    return erasure.show(request.call, request.path["erasure_id"], tables=wiring.tables, blobs=wiring.blobs)


def erase(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    from modelwright.features.erasing import erasure

    erasure.follow(delivery, call, shop=shop_of(call, wiring))


def sweep_erasures(call: Call, wiring: Wiring) -> None:
    from modelwright.features.erasing import erasure

    erasure.sweep(call, shop=lambda: shop_of(call, wiring), tables=wiring.tables)


def shop_of(call: Call, wiring: Wiring) -> "Shop":
    from modelwright.adapters import erasing

    return erasing.shop_of(
        call, project=wiring.project(call.workspace), tables=wiring.tables, log=wiring.log, blobs=wiring.blobs,
        cache=wiring.cache, landing=call.workspace == wiring.settings.workspace, seconds=ROUND_S,
    )  # fmt: skip


handler = Function(
    "maintain",
    table="tracking",
    routes=(
        Route("POST", "/v1/gc", collect),
        Route("POST", "/v1/experiments/<experiment_id>/compact", compact),
        Route("POST", "/v1/erasures", ask_erasure),
        Route("GET", "/v1/erasures/<erasure_id>", show_erasure),
    ),
    consumers={ErasureRequested: erase, RunEnded: run_ended},
    schedules={"maintain": maintain},
)
