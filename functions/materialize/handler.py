"""Features out of accepted uploads and pushed rows, and training sets out of features."""

from contextlib import suppress
from functools import partial
from typing import Any

from modelwright import teamcode
from modelwright.adapters import emr
from modelwright.adapters.replay import replays
from modelwright.context import Call
from modelwright.errors import ModelwrightError, NotFound
from modelwright.events import (
    BackfillRequested,
    Delivery,
    HistoricalFeaturesRequested,
    ParityRequested,
    ProjectApplied,
    ScheduleDue,
    UploadAccepted,
)
from modelwright.feast import registry
from modelwright.features import adoption, compaction, datasets, freshness, joining, materialization, refilling, remote
from modelwright.features.parity import proof as parity
from modelwright.features.parity import proofs
from modelwright.features.plan import Load
from modelwright.features.rounds import go_round
from modelwright.http import Request, Route
from modelwright.log import new_id
from modelwright.project import Project, applied
from modelwright.runtime import Function
from modelwright.wiring import Wiring


def follow_upload(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    materialization.follow_upload(delivery, call, **_collaborators(call, wiring))
    _check_freshness(call, wiring, delivery.event.source)


def follow_backfill(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    refilling.follow_request(delivery, call, **_collaborators(call, wiring))


def follow_project(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    registry.publish(call, tables=wiring.tables, blobs=wiring.blobs)
    project = wiring.project(call.workspace)
    adoption.follow_project(delivery, call, project=project, tables=wiring.tables, log=wiring.log)


def fold_pushed(_due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    try:
        collaborators = _collaborators(call, wiring)
    except NotFound:  # no project was applied yet, so that nothing was pushed
        return
    stores: dict[str, Any] = {"tables": wiring.tables, "blobs": wiring.blobs}
    go_round(
        (
            partial(materialization.fold_pushed, call, **collaborators),
            partial(refilling.resume, call, **collaborators),
            partial(compaction.remove_replaced, call, project=collaborators["project"], **stores),
            partial(_check_freshness, call, wiring),
            partial(_settle_jobs, call, wiring),
        )
    )


def _check_freshness(call: Call, wiring: Wiring, source: str = "") -> None:
    project = wiring.project(call.workspace)
    freshness.check(call, project=project, tables=wiring.tables, log=wiring.log, source=source)


def _take_pushes_in(call: Call, wiring: Wiring) -> None:
    """Fold pushed rows in before history is read; what cannot be is told by the round, and is not waited for here."""
    with suppress(ModelwrightError):
        materialization.fold_pushed(call, **_collaborators(call, wiring))


def follow_parity(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    project = wiring.project(call.workspace)
    _take_pushes_in(call, wiring)

    def former(digest: str) -> tuple[Project, Load] | None:
        known = applied(wiring.tables, call.workspace, digest)
        return None if known is None else (known, teamcode.loader(known, blobs=wiring.blobs))

    stand = parity.Stand(
        call.workspace, project, teamcode.loader(project, blobs=wiring.blobs), former, replays, wiring.blobs,
        wiring.tables, wiring.cache,
    )  # fmt: skip
    parity.follow(delivery, call, stand=stand, log=wiring.log)


def prove_all(_due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    try:
        project = wiring.project(call.workspace)
    except NotFound:  # no project was applied yet, so that nothing was served
        return
    stores: dict[str, Any] = {"project": project, "tables": wiring.tables, "log": wiring.log, "blobs": wiring.blobs}
    proofs.ask_all(call, identity=new_id, **stores)


def follow_historical_request(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    cluster = emr.cluster(wiring.settings.environment) if delivery.event.engine == emr.ENGINE else None
    _take_pushes_in(call, wiring)
    if cluster is None:
        joining.follow_request(delivery, call, **_collaborators(call, wiring))
        return
    stores: dict[str, Any] = {"tables": wiring.tables, "log": wiring.log, "blobs": wiring.blobs}
    remote.hand_over(delivery, call, project=wiring.project(call.workspace), cluster=cluster, **stores)


def _settle_jobs(call: Call, wiring: Wiring) -> None:
    if cluster := emr.cluster(wiring.settings.environment):
        remote.settle(call, tables=wiring.tables, log=wiring.log, blobs=wiring.blobs, cluster=cluster)


def training_set(request: Request, wiring: Wiring) -> dict[str, Any]:
    query = request.parse(datasets.TrainingSetQuery)
    return datasets.build(request.call, query, **_collaborators(request.call, wiring)).model_dump(mode="json")


def _collaborators(call: Call, wiring: Wiring) -> dict[str, Any]:
    stores = {"tables": wiring.tables, "log": wiring.log, "blobs": wiring.blobs, "cache": wiring.cache}
    return {"project": wiring.project(call.workspace), **stores}


handler = Function(
    "materialize",
    table="features",
    routes=(Route("POST", "/v1/training-sets", training_set),),
    consumers={
        BackfillRequested: follow_backfill,
        ParityRequested: follow_parity,
        ProjectApplied: follow_project,
        HistoricalFeaturesRequested: follow_historical_request,
        UploadAccepted: follow_upload,
    },
    schedules={"materialize": fold_pushed, "parity": prove_all},
)
