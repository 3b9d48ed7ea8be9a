"""Predictions: looks features up, asks the routed versions, logs what they said."""

from typing import Any

from modelwright import plugins
from modelwright.adapters.featurestore import FeatureStore
from modelwright.flavors import Flavor
from modelwright.http import Request, Route
from modelwright.rollout.serving import Models, predict
from modelwright.runtime import Function
from modelwright.teamcode import install
from modelwright.wiring import Wiring


def flavor(name: str) -> Flavor:
    made: Flavor = plugins.load("flavors", name)()
    return made


def answer(request: Request, wiring: Wiring) -> dict[str, Any]:
    call = request.call
    project = wiring.project(call.workspace)
    if project.wheel:
        install(project, blobs=wiring.blobs)  # models may be pickled with the team's classes
    if "models" not in wiring.cache:
        wiring.cache["models"] = Models(blobs=wiring.blobs, flavors=flavor)
    return predict(
        call,
        request.path["model"],
        request.raw,
        idempotency_key=request.headers.get("idempotency-key", ""),
        project=project,
        tables=wiring.tables,
        blobs=wiring.blobs,
        models=wiring.cache["models"],
        features=FeatureStore(project, call.workspace, tables=wiring.tables, blobs=wiring.blobs, cache=wiring.cache),
    )


handler = Function("predict", table="rollout", routes=(Route("POST", "/v1/predict/<model>", answer),))
