"""One training, wherever it runs: in the function `train`, or in a container elsewhere.

    python -m modelwright.trainer --workspace default --training-id 01J... --price-per-hour 0.23

reads the ``MODELWRIGHT_*`` variables of the function and does what the function does: what comes of it is in the log.
The exit status is 0 when the training ended, with a model or with a reason; anything else is a crash, which the service
that runs the container tells.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from modelwright import plugins
from modelwright.adapters.featurestore import FeatureStore
from modelwright.flavors import Flavor
from modelwright.retraining import steps, training
from modelwright.retraining.workshop import Workshop
from modelwright.teamcode import loader
from modelwright.wiring import Settings, Wiring

_JOB = "job"
_MEMORY = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"


def flavor(name: str) -> Flavor:
    """Return the installed flavor of that name; raises ``PluginError``."""
    made: Flavor = plugins.load("flavors", name)()
    return made


def workshop(workspace: str, wiring: Wiring, owner: str, *, price_per_hour: float | None = None) -> Workshop:
    """Return what a training of a workspace works with.

    Args:
        workspace: whose project.
        wiring: the stores.
        owner: of attempts; the same for each repetition of one that was killed.
        price_per_hour: of the machine, in US dollars, where it is not Lambda's.

    Raises:
        NotFound: no project was applied.
    """
    project = wiring.project(workspace)
    sets = FeatureStore(project, workspace, tables=wiring.tables, blobs=wiring.blobs, cache=wiring.cache)
    return Workshop(
        project=project,
        tables=wiring.tables,
        blobs=wiring.blobs,
        log=wiring.log,
        sets=sets,
        flavors=flavor,
        load=loader(project, blobs=wiring.blobs),
        clock=time.perf_counter,
        memory_mb=int(os.environ.get(_MEMORY, "2048")),
        price_per_hour=price_per_hour,
        remaining=wiring.remaining_s,
        reopen=sets.reopen,
        owner=owner,
    )


def run(payload: dict[str, Any], wiring: Wiring) -> dict[str, Any]:
    """Do a training, or the step of one that ``payload`` names."""
    workspace, training_id = str(payload["workspace"]), str(payload["training_id"])
    if step := str(payload.get("step", "")):
        shop = workshop(workspace, wiring, steps.owner_of(step, payload))
        return steps.take(workspace, training_id, step, payload, shop)
    shop = workshop(workspace, wiring, wiring.invocation or uuid4().hex)
    return {"outcome": training.train(workspace, training_id, shop)}


def main(arguments: Sequence[str] | None = None, *, wiring: Wiring | None = None) -> int:
    """Do a training in a container and say how it ended; returns the exit status."""
    parser = argparse.ArgumentParser(prog="modelwright.trainer", description=main.__doc__)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--training-id", required=True)
    parser.add_argument("--price-per-hour", type=float, required=True, help="of this machine, in US dollars")
    given = parser.parse_args(arguments)
    stores = wiring or Wiring(Settings.read(os.environ))
    # A service runs one container of a job at a time, and another one when the first was killed.
    shop = workshop(given.workspace, stores, _JOB, price_per_hour=given.price_per_hour)
    outcome = training.train(given.workspace, given.training_id, shop)
    sys.stdout.write(f"training {given.training_id}: {outcome}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
