"""A training in a container or in the function, over the real feature store: the search to its model."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.http import Caller, handler_of, memory_wiring

from adapters.test_featurestore import NOW, PROJECT, START, WS, Stack
from modelwright import trainer
from modelwright.events import Delivery, TrainingCompleted, TrainingPaused, Window
from modelwright.log import stream_of
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put
from modelwright.wiring import Wiring

SEARCH = {"kinds": ["linear", "naive_bayes"], "candidates": 4, "eta": 2, "min_rows": 500}


class Context:
    """What Lambda tells a function."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left_s * 1000)


def searching() -> tuple[Wiring, str]:
    stack = Stack()
    document = PROJECT.model_dump()
    document["models"]["flights"] |= {"trainer": "", "parameters": {}}
    document["models"]["flights"]["retraining"] |= {"trainer": "automl", "trainer_options": {"search": SEARCH}}
    applied = Project.model_validate(document).model_dump_json()
    stack.tables.write([Put("governance", {**current_key(WS)._asdict(), "project": applied}, Anything())])
    wiring = memory_wiring(tables=stack.tables, blobs=stack.blobs)
    asked = Caller(handler_of("retrain", wiring))
    said = asked("POST", "/v1/retraining/flights", {"reason": "x"}, x_modelwright_as_of=NOW.isoformat())[1]
    return wiring, str(said["training_id"])


def happened(wiring: Wiring) -> list[Any]:
    items = wiring.log.read(stream_of(WS, "TRAINING", "flights"))
    return [Delivery.read("test", item.envelope.model_dump()).event for item in items]


def test_a_container_does_the_training_at_its_own_price(capsys: pytest.CaptureFixture[str]) -> None:
    wiring, identity = searching()
    said = ["--workspace", WS, "--training-id", identity, "--price-per-hour", "3.6"]
    assert trainer.main(said, wiring=wiring) == 0
    assert capsys.readouterr().out == f"training {identity}: completed\n"
    completed = happened(wiring)[-1]
    assert isinstance(completed, TrainingCompleted)
    assert completed.cost == pytest.approx(completed.seconds * 0.001)
    assert len(completed.candidates) == 4
    assert trainer.main(said, wiring=wiring) == 0
    assert capsys.readouterr().out == f"training {identity}: ended before\n"


def test_the_function_hands_over_before_lambda_stops_it() -> None:
    wiring, identity = searching()
    train = handler_of("train", wiring)
    payload = {"workspace": WS, "training_id": identity}
    outcomes = [train(payload, Context(5.0))["outcome"]]
    while outcomes[-1] == "paused" and len(outcomes) < 20:
        outcomes.append(train(payload, Context(5.0))["outcome"])
    assert outcomes[-1] == "completed"
    paused = [event for event in happened(wiring) if isinstance(event, TrainingPaused)]
    assert len(paused) == len(outcomes) - 1 >= 4


def test_a_saved_training_set_is_opened_as_it_was_to_the_bit() -> None:
    store = Stack().store()
    window = Window(start=START, end=NOW)
    made = store.examples("flights", window, as_of=NOW, labels_until=None)
    again = store.reopen("flights", made.key)
    pd.testing.assert_frame_equal(again.frame, made.frame, check_exact=True)
    assert again.labels.tobytes() == made.labels.tobytes()
    assert (again.times == made.times).all()
    assert np.array_equal(again.ids if again.ids is not None else [], made.ids if made.ids is not None else [])
    assert (again.digest, again.key) == (made.digest, made.key)
