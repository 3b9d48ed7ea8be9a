"""The built-in trainer: does one training, which it is told by its id, and writes what came of it."""

import os
import time
from typing import Any

from modelwright import plugins
from modelwright.adapters.featurestore import FeatureStore
from modelwright.flavors import Flavor
from modelwright.retraining.training import Workshop, train
from modelwright.runtime import Function
from modelwright.teamcode import loader
from modelwright.wiring import Wiring


def flavor(name: str) -> Flavor:
    made: Flavor = plugins.load("flavors", name)()
    return made


def run(payload: dict[str, Any], wiring: Wiring) -> dict[str, str]:
    workspace, training_id = str(payload["workspace"]), str(payload["training_id"])
    project = wiring.project(workspace)
    shop = Workshop(
        project=project,
        tables=wiring.tables,
        blobs=wiring.blobs,
        log=wiring.log,
        sets=FeatureStore(project, workspace, tables=wiring.tables, blobs=wiring.blobs, cache=wiring.cache),
        flavors=flavor,
        load=loader(project, blobs=wiring.blobs),
        clock=time.perf_counter,
        memory_mb=int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")),
    )
    return {"outcome": train(workspace, training_id, shop)}


handler = Function("train", table="retraining", raw=run)
