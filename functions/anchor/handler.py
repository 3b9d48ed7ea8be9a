"""Keeps the audit: roots of the chains and archived days in the Object-Lock bucket, and exports of any period."""

from datetime import UTC, datetime, timedelta
from typing import Any

from modelwright.context import PLATFORM, Call
from modelwright.events import ScheduleDue
from modelwright.governance import exporting
from modelwright.governance.anchoring import anchor
from modelwright.governance.archiving import archive
from modelwright.http import Request, Route, parse_time
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def keep(due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    wall, kept = datetime.now(UTC), _kept(wiring)
    anchor(call, wall=wall, **kept)
    archive(call, **kept)


def begin(request: Request, wiring: Wiring) -> object:
    call = request.call
    platform = Call(call.workspace, PLATFORM, call.now, call.correlation_id)
    asked, wall = request.parse(exporting.BeginExport), datetime.now(UTC)
    return exporting.begin(call, asked, wall=wall, platform=platform, **_kept(wiring))


def items(request: Request, wiring: Wiring) -> object:
    cursor, identity = request.first("cursor"), request.path["export"]
    given: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs, "cache": wiring.cache}
    return exporting.page(request.call, identity, cursor=cursor, **given)


def finish(request: Request, wiring: Wiring) -> object:
    taken, identity = request.parse(exporting.FinishExport), request.path["export"]
    return exporting.finish(request.call, identity, taken, tables=wiring.tables, log=wiring.log)


def roots(request: Request, wiring: Wiring) -> object:
    now = datetime.now(UTC)
    start = parse_time(request.first("from") or (now - timedelta(days=7)).isoformat())
    end = parse_time(request.first("to") or now.isoformat())
    return exporting.roots(request.call, start, end, tables=wiring.tables, cursor=request.first("cursor"))


def root(request: Request, wiring: Wiring) -> object:
    at = parse_time(said) if (said := request.first("at")) else None
    after = request.first("after")
    return exporting.root(request.call, at, after=after, tables=wiring.tables, blobs=wiring.blobs)


def _kept(wiring: Wiring) -> dict[str, Any]:
    return {"tables": wiring.tables, "blobs": wiring.blobs, "log": wiring.log}


handler = Function(
    "anchor",
    table="governance",
    routes=(
        Route("POST", "/v1/audit/exports", begin),
        Route("GET", "/v1/audit/exports/<export>/items", items),
        Route("POST", "/v1/audit/exports/<export>", finish),
        Route("GET", "/v1/audit/roots", roots),
        Route("GET", "/v1/audit/root", root),
    ),
    schedules={"anchor": keep},
)
