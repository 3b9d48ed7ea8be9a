"""Features out of accepted uploads and pushed rows, and training sets out of features."""

from typing import Any

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import Delivery, ScheduleDue, UploadAccepted
from modelwright.features import datasets, materialization
from modelwright.runtime import Function, Request, Route
from modelwright.wiring import Wiring


def follow_upload(delivery: Delivery, call: Call, wiring: Wiring) -> None:
    materialization.follow_upload(delivery, call, **_collaborators(call, wiring))


def fold_pushed(_due: ScheduleDue, call: Call, wiring: Wiring) -> None:
    try:
        collaborators = _collaborators(call, wiring)
    except NotFound:  # no project was applied yet, so that nothing was pushed
        return
    materialization.fold_pushed(call, **collaborators)


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
    consumers={UploadAccepted: follow_upload},
    schedules={"materialize": fold_pushed},
)
