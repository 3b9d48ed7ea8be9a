"""monitor: judges uploads, measures performance, and shows both to people."""

from contextlib import ExitStack
from functools import cache, partial
from typing import Any

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import (
    AliasChanged,
    Delivery,
    ModelVersionCreated,
    QualityFailed,
    ScheduleDue,
    TrainingCompleted,
    UploadAccepted,
)
from modelwright.flavors import OpenModel, open_model
from modelwright.http import Answer, Request, Route
from modelwright.monitoring import healing, performance, references, uploads
from modelwright.monitoring.performance import estimating
from modelwright.monitoring.performance.records import Artifact
from modelwright.monitoring.verdict import showing
from modelwright.monitoring.watching import Watch, close_windows
from modelwright.plugins import Kind, load
from modelwright.runtime import Function, Upload
from modelwright.teamcode import install
from modelwright.wiring import Wiring

REPORTS = {"html": "text/html; charset=utf-8", "json": "application/json"}


@cache
def plugin(kind: Kind, name: str) -> Any:
    return load(kind, name)()


def receive(upload: Upload, call: Call, wiring: Wiring) -> str:
    return uploads.receive(
        call, upload.key, upload.version, tables=wiring.tables, log=wiring.log, blobs=wiring.blobs,
        check=partial(plugin, "checks"), detector=partial(plugin, "detectors"),
        virtual_time=wiring.settings.virtual_time, cache=wiring.cache, size=upload.size,
    )  # fmt: skip


def estimate(_: ScheduleDue, call: Call, wiring: Wiring) -> None:
    def opened(name: str, artifact: Artifact) -> OpenModel:
        project = wiring.project(call.workspace)
        if project.wheel:
            install(project, blobs=wiring.blobs)  # models may be pickled with the team's classes
        flavors = partial(plugin, "flavors")
        return open_model(name, artifact.key, digest=artifact.digest, blobs=wiring.blobs, flavors=flavors)

    tools = estimating.Tools(wiring.tables, wiring.log, wiring.blobs, partial(plugin, "estimators"), opened)
    estimating.estimate(call, tools)


def made(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    performance.follow_version(delivery, call, tables=wiring.tables)
    references.follow_version(delivery, call, log=wiring.log)


def show(request: Request, wiring: Wiring) -> object:
    return performance.history(request.call, request.path["model"], tables=wiring.tables)


def watching(request: Request, wiring: Wiring) -> Watch:
    name, sources = request.path["source"], wiring.project(request.call.workspace).sources
    if name not in sources:
        raise NotFound(f"there is no source {name}")
    tools = (wiring.tables, wiring.blobs, partial(plugin, "detectors"), wiring.cache)
    return Watch(request.call, name, sources[name], *tools)


def drift(request: Request, wiring: Wiring) -> object:
    return showing.verdicts(watching(request, wiring), whole(request, "limit", 30))


def report(request: Request, wiring: Wiring) -> Answer:
    form = request.first("form", "html")
    body = showing.report_of(watching(request, wiring), request.first("window"), form)
    return Answer(body, headers={"content-type": REPORTS[form], "content-security-policy": "sandbox allow-scripts"})


def plan(request: Request, wiring: Wiring) -> object:
    return showing.planned(watching(request, wiring), whole(request, "rows", 1_000)).model_dump(mode="json")


def whole(request: Request, name: str, default: int) -> int:
    said = request.first(name, str(default))
    if not said.isdecimal():
        raise InvalidInput(f"{name} is a whole number, not {said!r}")
    return int(said)


def close(_: ScheduleDue, call: Call, wiring: Wiring) -> None:
    tables, blobs, log = wiring.tables, wiring.blobs, wiring.log
    with ExitStack() as last:  # each has its turn, whatever becomes of the others
        last.callback(performance.look_again, call, log=log, tables=tables, blobs=blobs)
        last.callback(performance.pack, call, tables=tables, blobs=blobs)
        detector = partial(plugin, "detectors")
        close_windows(call, log=log, tables=tables, blobs=blobs, detector=detector, cache=wiring.cache)


def quarantined(request: Request, wiring: Wiring) -> object:
    found = uploads.quarantined(request.call, tables=wiring.tables)
    return {"quarantines": [one.model_dump(mode="json", exclude={"closed"}) for one in found]}


def shop(call: Call, wiring: Wiring) -> healing.Shop:
    return healing.Shop(
        call=call, tables=wiring.tables, log=wiring.log, blobs=wiring.blobs, check=partial(plugin, "checks"),
        detector=partial(plugin, "detectors"), repair=partial(plugin, "repairs"), cache=wiring.cache,
    )  # fmt: skip


def heal(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    healing.heal(delivery, shop(call, wiring))


def held(request: Request, wiring: Wiring) -> object:
    return healing.show(request.path["id"], shop(request.call, wiring))


def repair(request: Request, wiring: Wiring) -> object:
    said = request.parse(healing.RepairBody)
    return healing.repair(request.path["id"], said, shop(request.call, wiring)).model_dump(mode="json")


def revert(request: Request, wiring: Wiring) -> object:
    said = request.parse(healing.RevertBody)
    again = healing.revert(request.path["id"], said, shop(request.call, wiring))
    return {**again.model_dump(mode="json"), "stays": healing.STAYS}


def discard(request: Request, wiring: Wiring) -> object:
    return uploads.discard(request.call, request.path["id"], tables=wiring.tables, log=wiring.log).model_dump(
        mode="json"
    )


handler = Function(
    "monitor",
    table="monitoring",
    uploads=receive,
    schedules={"windows": close, "estimate": estimate},
    routes=(
        Route("GET", "/v1/monitoring/<model>", show),
        Route("GET", "/v1/monitoring/drift/<source>", drift),
        Route("GET", "/v1/monitoring/drift/<source>/report", report),
        Route("GET", "/v1/monitoring/plan/<source>", plan),
        Route("GET", "/v1/quarantine", quarantined),
        Route("GET", "/v1/quarantine/<id>", held),
        Route("POST", "/v1/quarantine/<id>/discard", discard),
        Route("POST", "/v1/quarantine/<id>/repair", repair),
        Route("POST", "/v1/quarantine/<id>/revert", revert),
    ),
    consumers={
        UploadAccepted: lambda d, c, w: performance.measure(d, c, tables=w.tables, log=w.log, blobs=w.blobs),
        AliasChanged: lambda d, c, w: performance.follow_alias(d, c, tables=w.tables, log=w.log),
        QualityFailed: heal,
        ModelVersionCreated: made,
        TrainingCompleted: lambda d, c, w: references.follow_training(d, c, log=w.log),
    },
)
