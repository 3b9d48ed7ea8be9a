"""The steps of a training that a state machine takes one by one, each in a function of its own.

=============  ============================================================================================
a pipeline     ``prepare`` (the set is saved), ``fit`` (challenger and model are kept), ``evaluate`` (what
               challenger and champion say of the holdout is kept), ``register`` (the training completes)
a search       ``plan`` (who is to be fitted next), ``try`` (one candidate), in parallel; then ``register``
either         ``fail`` (the training ends without a model)
=============  ============================================================================================

Every step may be repeated: it finds what it made before. A step that cannot be taken raises, and whoever runs the steps
says ``fail`` with the reason.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from modelwright.errors import InvalidInput
from modelwright.retraining import pipelines, training
from modelwright.retraining.automl import Stopwatch
from modelwright.retraining.search import SearchOptions
from modelwright.retraining.store import Training, load_training
from modelwright.retraining.workshop import Workshop

_LONGEST = 2_000

Step = Callable[[str, Training, Mapping[str, Any], Workshop, Stopwatch], dict[str, Any]]


def take(workspace: str, training_id: str, step: str, said: Mapping[str, Any], shop: Workshop) -> dict[str, Any]:
    """Take a step of a training and return what the next step needs to know.

    Args:
        workspace: whose.
        training_id: which training.
        step: its name, see above.
        said: what else the state machine says: ``rung`` and ``number`` of a candidate, ``error`` of a failure.
        shop: what the training works with.

    Raises:
        InvalidInput: there is no such step, or the data does not allow it.
        NotFound: there is no such training.
        PluginError: the team's code or the search failed.
        Unavailable: the step should be taken again.
    """
    if step not in _STEPS:
        raise InvalidInput(f"a training has no step {step}: there are {', '.join(_STEPS)}")
    watch = Stopwatch(shop.clock)
    known = load_training(shop.tables, workspace, training_id)
    if known.over:
        return {"outcome": "ended before", "over": True, "rung": 0, "pending": [], "concurrency": 1}
    if step == "register":  # which keeps a record itself
        return _register(workspace, known, said, replace(shop, stepwise=True), watch)
    with training.attempt(workspace, training_id, replace(shop, stepwise=True)) as busy:
        return _STEPS[step](workspace, known, said, busy, watch)


def owner_of(step: str, said: Mapping[str, Any]) -> str:
    """Return who takes a step: a state machine takes one at a time, but for candidates, and again if one was killed."""
    return f"try {said.get('rung')} {said.get('number')}" if step == "try" else "steps"


def _prepare(
    workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch
) -> dict[str, Any]:
    examples, _, held = training.gathered(workspace, known, shop)
    return {"outcome": "prepared", "rows": len(examples.labels), "held": len(held.labels), "dataset": examples.key}


def _fit(workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch) -> dict[str, Any]:
    training.fit(workspace, known, shop, watch)
    return {"outcome": "fitted"}


def _evaluate(
    workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch
) -> dict[str, Any]:
    training.fit(workspace, known, shop, watch)
    _, _, held = training.gathered(workspace, known, shop)
    drafts = training.drafts_of(workspace, known, shop, watch)
    fresh = drafts.kept("challenger.pkl", lambda: b"")
    challenger, champion, notes = training.scored(workspace, known, fresh, held, shop, drafts)
    return {"outcome": "evaluated", "held": len(challenger), "champion": champion is not None, **notes}


def _register(
    workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch
) -> dict[str, Any]:
    return {"outcome": training.train(workspace, known.training_id, shop)}


def _plan(workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch) -> dict[str, Any]:
    options = shop.project.model(known.model).retraining.trainer_options
    concurrency = SearchOptions.read(options, pipelines.KINDS).concurrency
    at = training.searching(workspace, known, shop).position()
    return {"outcome": "planned", **at.model_dump(mode="json"), "concurrency": concurrency}


def _try(workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch) -> dict[str, Any]:
    rung, number = int(said["rung"]), int(said["number"])
    on = training.searching(workspace, known, shop)
    if not 0 <= number < len(on.plan.candidates) or not 0 <= rung < len(on.plan.rows):
        raise InvalidInput(f"training {known.training_id} has no candidate {number} or no rung {rung}")
    _, seen, _ = training.gathered(workspace, known, shop)
    days = shop.project.model(known.model).retraining.holdout_days
    return {"outcome": on.attempt(seen, days, rung, number, watch)}


def _fail(workspace: str, known: Training, said: Mapping[str, Any], shop: Workshop, watch: Stopwatch) -> dict[str, Any]:
    return {"outcome": training.fail(workspace, known, reason_in(said.get("error", {})), shop, watch)}


def reason_in(error: Mapping[str, Any]) -> str:
    """Return why a step failed, of what a state machine says of it: Lambda's causes are JSON with the message in it."""
    name, cause = str(error.get("Error", "")), str(error.get("Cause", ""))
    try:
        told = json.loads(cause)
        cause = str(told.get("errorMessage", cause)) if isinstance(told, dict) else cause
    except ValueError:
        pass
    return ": ".join(part for part in (name, cause) if part)[:_LONGEST] or "a step failed and nobody said why"


_STEPS: dict[str, Step] = {
    "prepare": _prepare,
    "fit": _fit,
    "evaluate": _evaluate,
    "register": _register,
    "plan": _plan,
    "try": _try,
    "fail": _fail,
}
