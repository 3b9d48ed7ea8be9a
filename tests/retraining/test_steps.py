"""A training step by step, each in a function of its own: the same model as in one."""

import json
from typing import Any

import pytest
from sklearn.naive_bayes import GaussianNB
from support.interruptions import Interrupted, Killed

from modelwright.adapters.memory import MemoryBlobs
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import TrainingCompleted, TrainingFailed
from modelwright.retraining import steps
from modelwright.retraining.training import train
from retraining.stage import WS, Stage
from retraining.test_automl import asked, bench, same
from retraining.test_training import Sets, champion, completed, requested, shop, trainer

PIPELINE = ("prepare", "fit", "evaluate", "register")


def in_one(sets: Sets) -> TrainingCompleted:
    stage = Stage()
    train(WS, requested(stage, **champion(stage, trainer(sets.frame, sets.labels, {"depth": 2}))), shop(stage, sets))
    return completed(stage)


def alike(one: TrainingCompleted, other: TrainingCompleted) -> bool:
    timeless = {"seconds", "cost"}
    return one.model_dump(exclude=timeless) == other.model_dump(exclude=timeless)


def test_four_steps_give_the_model_that_one_training_gives() -> None:
    stage, sets = Stage(), Sets()
    identity = requested(stage, **champion(stage, trainer(sets.frame, sets.labels, {"depth": 2})))
    told = [steps.take(WS, identity, step, {}, shop(stage, sets)) for step in PIPELINE]
    assert [one["outcome"] for one in told] == ["prepared", "fitted", "evaluated", "completed"]
    assert told[0]["rows"] == 3000
    assert told[2]["champion"] is True
    assert alike(completed(stage), in_one(sets))
    assert completed(stage).seconds >= 90, "the fits of former steps count"


def test_a_step_that_is_repeated_finds_what_it_made() -> None:
    stage, sets = Stage(), Sets()
    fitted: list[int] = []

    def counting(*arguments: Any) -> Any:
        fitted.append(1)
        return trainer(*arguments)

    identity = requested(stage)
    for step in (*PIPELINE, *PIPELINE):
        steps.take(WS, identity, step, {}, shop(stage, sets, counting))
    assert len(fitted) == 2
    assert steps.take(WS, identity, "fit", {}, shop(stage, sets))["outcome"] == "ended before"


def test_a_step_that_failed_fails_the_training_with_what_lambda_said() -> None:
    stage = Stage()
    identity = requested(stage)
    cause = json.dumps({"errorMessage": "50 labelled rows are too few", "errorType": "InvalidInput"})
    with pytest.raises(InvalidInput, match="50 labelled rows"):
        steps.take(WS, identity, "prepare", {}, shop(stage, Sets(rows=50)))
    said = {"error": {"Error": "InvalidInput", "Cause": cause}}
    assert steps.take(WS, identity, "fail", said, shop(stage, Sets()))["outcome"] == "failed"
    failed = stage.happened()[-1]
    assert isinstance(failed, TrainingFailed)
    assert failed.reason == "InvalidInput: 50 labelled rows are too few"
    assert steps.take(WS, identity, "fail", said, shop(stage, Sets()))["outcome"] == "ended before"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"Error": "States.Timeout", "Cause": ""}, "States.Timeout"),
        ({"Error": "Lambda.Unknown", "Cause": "it died"}, "Lambda.Unknown: it died"),
        ({"Cause": "[1]"}, "[1]"),
        ({}, "a step failed and nobody said why"),
    ],
)
def test_the_reason_of_a_failed_step_is_text_whatever_it_was(error: dict[str, str], reason: str) -> None:
    assert steps.reason_in(error) == reason


def test_steps_and_candidates_that_do_not_exist_are_refused() -> None:
    stage = Stage()
    identity = asked(stage)
    with pytest.raises(InvalidInput, match="no step dance: there are prepare, fit"):
        steps.take(WS, identity, "dance", {}, shop(stage, Sets()))
    with pytest.raises(NotFound, match="no training x"):
        steps.take(WS, "x", "fit", {}, shop(stage, Sets()))
    with pytest.raises(InvalidInput, match="no candidate 99"):
        steps.take(WS, identity, "try", {"rung": 0, "number": 99}, bench(stage, Sets(1500)))


def test_a_search_whose_candidates_are_fitted_apart_ends_as_one_in_one_function() -> None:
    stage, sets = Stage(), Sets(1500)
    identity = asked(stage)
    rounds = 0
    while not (at := steps.take(WS, identity, "plan", {}, bench(stage, sets)))["over"]:
        rounds += 1
        for number in reversed(at["pending"]):
            tried = steps.take(WS, identity, "try", {"rung": at["rung"], "number": number}, bench(stage, sets))
            assert tried["outcome"].startswith("brier 0.")
        again = steps.take(WS, identity, "try", {"rung": at["rung"], "number": number}, bench(stage, sets))
        assert again == tried
    assert rounds >= 2
    late = steps.take(WS, identity, "try", {"rung": 1, "number": 0}, bench(stage, sets))
    assert "is not wanted" in late["outcome"] or late["outcome"].startswith("brier")
    assert steps.take(WS, identity, "register", {}, bench(stage, sets))["outcome"] == "completed"
    alone = Stage()
    train(WS, asked(alone), bench(alone, sets))
    assert same(completed(stage), completed(alone))


def quick(frame: Any, labels: Any, parameters: dict[str, float]) -> Any:
    return GaussianNB().fit(frame, labels)


class Mortal(MemoryBlobs):
    """Buckets in which the process dies at the put of a number."""

    def __init__(self) -> None:
        super().__init__()
        self.puts, self.dies_at = 0, -1

    def put(self, *arguments: Any, **options: Any) -> str:
        """See ``Blobs``."""
        self.puts += 1
        if self.puts == self.dies_at:
            raise Killed
        return super().put(*arguments, **options)


def test_a_training_that_is_killed_at_any_write_and_invoked_again_gives_its_model_once() -> None:
    sets = Sets(600)
    whole, stored = Interrupted(), Mortal()
    rehearsal = Stage(tables=whole, blobs=stored)
    train(WS, requested(rehearsal), shop(rehearsal, sets, quick))
    calls, wanted = whole.calls, completed(rehearsal)
    for at in (*(("blobs", n) for n in range(1, stored.puts + 1)), *(("tables", n) for n in range(1, calls, 2))):
        tables, blobs = Interrupted(), Mortal()
        stage = Stage(tables=tables, blobs=blobs)
        identity = requested(stage)
        if at[0] == "blobs":
            blobs.dies_at = at[1]
        else:
            tables.dies_after = at[1]
        with pytest.raises(Killed):
            train(WS, identity, shop(stage, sets, quick))
        tables.dies_after = blobs.dies_at = -1
        assert train(WS, identity, shop(stage, sets, quick)) in ("completed", "ended before")
        assert alike(completed(stage), wanted), at
        assert len([event for event in stage.happened() if isinstance(event, TrainingCompleted)]) == 1
