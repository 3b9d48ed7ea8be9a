"""monitor: judges uploads, measures performance, and shows both to people."""

from functools import cache, partial
from typing import Any

from modelwright.context import Call
from modelwright.events import AliasChanged, UploadAccepted
from modelwright.http import Request, Route
from modelwright.monitoring import performance, uploads
from modelwright.plugins import Kind, load
from modelwright.runtime import Function, Upload
from modelwright.wiring import Wiring


@cache
def plugin(kind: Kind, name: str) -> Any:
    return load(kind, name)()


def receive(upload: Upload, call: Call, wiring: Wiring) -> str:
    return uploads.receive(
        call, upload.key, upload.version, tables=wiring.tables, log=wiring.log, blobs=wiring.blobs,
        check=partial(plugin, "checks"), detector=partial(plugin, "detectors"),
        virtual_time=wiring.settings.virtual_time,
    )  # fmt: skip


def show(request: Request, wiring: Wiring) -> object:
    return performance.history(request.call, request.path["model"], tables=wiring.tables)


def quarantined(request: Request, wiring: Wiring) -> object:
    found = uploads.quarantined(request.call, tables=wiring.tables)
    return {"quarantines": [one.model_dump(mode="json", exclude={"closed"}) for one in found]}


def discard(request: Request, wiring: Wiring) -> object:
    return uploads.discard(request.call, request.path["id"], tables=wiring.tables, log=wiring.log).model_dump(
        mode="json"
    )


handler = Function(
    "monitor",
    table="monitoring",
    uploads=receive,
    routes=(
        Route("GET", "/v1/monitoring/<model>", show),
        Route("GET", "/v1/quarantine", quarantined),
        Route("POST", "/v1/quarantine/<id>/discard", discard),
    ),
    consumers={
        UploadAccepted: lambda d, c, w: performance.measure(d, c, tables=w.tables, log=w.log, blobs=w.blobs),
        AliasChanged: lambda d, c, w: performance.follow_alias(d, c, tables=w.tables, log=w.log),
    },
)
