"""One training, from examples to model folder."""

import math
import pickle
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, PluginError
from modelwright.events import Estimate, Evaluation, TrainingCompleted, TrainingFailed, Window
from modelwright.flavors import Flavor, Sklearn, mlmodel, open_model, pickled
from modelwright.project import Project
from modelwright.retraining import store
from modelwright.retraining.store import Training
from modelwright.retraining.training import artifact_key_of, run_id_of, train
from modelwright.retraining.workshop import Examples, Workshop
from retraining.stage import START, WALL, WS, Stage, project


def completed_event(training_id: str, cost: float) -> TrainingCompleted:
    window = Window(start=START, end=START)
    auc = Estimate(value=0.7, low=0.6, high=0.8)
    return TrainingCompleted(
        training_id=training_id,
        model="flights",
        trigger="manual",
        artifact_key="k/",
        artifact_digest="d",
        features=("temp",),
        dataset_digest="d",
        dataset_key="k",
        rows=1,
        window=window,
        parameters={},
        metrics={},
        evaluation=Evaluation(rows=1, window=window, challenger_auc=auc, challenger_brier=0.1),
        project_digest="d",
        seconds=1.0,
        cost=cost,
    )


class Sets:
    """Examples whose label depends on temperature; the newest week has another sign for old models."""

    def __init__(self, rows: int = 3000, positives: float = 0.3) -> None:
        rng = np.random.default_rng(5)
        start = np.datetime64((START - timedelta(days=60)).replace(tzinfo=None), "us")
        self.times = np.sort(
            start + rng.integers(0, 59 * 86_400, rows) * np.timedelta64(1, "s").astype("timedelta64[us]")
        )
        self.frame = pd.DataFrame({"temp": rng.normal(size=rows), "hour": rng.integers(0, 24, rows).astype(float)})
        chance = 1 / (1 + np.exp(-(2 * self.frame["temp"] + math.log(max(positives, 1e-9) / (1 - positives)))))
        self.labels = ((rng.random(rows) < chance) & (positives > 0)).to_numpy().astype(np.int8)
        self.asked: list[Any] = []

    def examples(self, model: str, window: Window, *, as_of: Any, labels_until: Any) -> Examples:
        self.asked.append((model, window, as_of))
        if not len(self.frame):
            raise InvalidInput(f"model {model} has no labelled rows")
        return Examples(self.frame, self.labels, self.times, "digest", f"datasets/{WS}/digest.parquet")


def trainer(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
    return HistGradientBoostingClassifier(max_iter=30, max_depth=int(parameters["depth"]), random_state=0).fit(
        frame, labels
    )


def flavors(name: str) -> Flavor:
    if name != "sklearn":
        raise PluginError(f"no plugin {name}")
    return Sklearn()


def shop(stage: Stage, sets: Sets, function: Any = trainer) -> Workshop:
    ticks = iter(range(0, 1000, 30))
    return Workshop(
        project=project(),
        tables=stage.tables,
        blobs=stage.blobs,
        log=stage.log,
        sets=sets,
        flavors=flavors,
        load=lambda _: function,
        clock=lambda: float(next(ticks)),
        memory_mb=2048,
    )


def requested(stage: Stage, **changes: Any) -> str:
    found = Training(
        training_id="01TRAINING",
        model="flights",
        trigger="manual",
        reason="r",
        trainer="lambda",
        window=Window(start=START - timedelta(days=365), end=START),
        requested=START,
        requested_wall=WALL,
        correlation_id="c",
        month="2013-03",
        reserved=50_000,
    ).having(**changes)
    stage.tables.write([store.put_training(WS, found)])
    return found.training_id


def champion(stage: Stage, estimator: Any) -> dict[str, Any]:
    key = f"{WS}/1/models/m-1/artifacts/"
    stage.blobs.put("artifacts", key + "MLmodel", mlmodel("r", inputs=["temp", "hour"], training_id=""))
    stage.blobs.put("artifacts", key + "model.pkl", estimator if isinstance(estimator, bytes) else pickled(estimator))
    return {"champion": 1, "champion_key": key, "champion_features": ("temp", "hour")}


def completed(stage: Stage) -> TrainingCompleted:
    event = stage.happened()[-1]
    assert isinstance(event, TrainingCompleted)
    return event


def test_who_asked_for_a_training_is_told_with_it() -> None:
    stage, sets = Stage(), Sets()
    train(WS, requested(stage, requested_by="ann"), shop(stage, sets))
    assert completed(stage).requested_by == "ann"


def test_a_training_leaves_a_loadable_model_and_says_how_good_it_is() -> None:
    stage, sets = Stage(), Sets()
    identity = requested(stage)
    assert train(WS, identity, shop(stage, sets)) == "completed"
    event = completed(stage)
    assert event.artifact_key == artifact_key_of(WS, identity) == f"{WS}/trainings/{identity}/model/"
    assert event.rows == 3000
    assert event.features == ("temp", "hour")
    assert event.evaluation.challenger_auc is not None
    assert event.metrics["auc"] == event.evaluation.challenger_auc.value > 0.75
    assert event.evaluation.rows < 600
    assert event.evaluation.window.end - event.evaluation.window.start <= timedelta(days=7, microseconds=1)
    assert event.cost == pytest.approx(30 * 2 * 0.0000133334 + 2e-7)
    model = open_model(
        "flights v2", event.artifact_key, digest=event.artifact_digest, blobs=stage.blobs, flavors=flavors
    )
    assert model.digest == event.artifact_digest
    assert len(model.score(sets.frame.iloc[:5])) == 5
    assert run_id_of(identity).encode() in stage.blobs.get("artifacts", event.artifact_key + "MLmodel").body
    assert store.load_training(stage.tables, WS, identity).status == "completed"
    assert sets.asked[0][2] == START


def test_the_kept_model_has_seen_the_holdout() -> None:
    fitted: list[int] = []

    def counting(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
        fitted.append(len(frame))
        return trainer(frame, labels, parameters)

    stage = Stage()
    train(WS, requested(stage), shop(stage, Sets(), counting))
    assert fitted[1] == 3000 > fitted[0] == 3000 - completed(stage).evaluation.rows


def test_a_champion_is_compared_on_the_very_same_rows() -> None:
    stage, sets = Stage(), Sets()
    weak = trainer(sets.frame, np.random.default_rng(1).permutation(sets.labels), {"depth": 2})
    train(WS, requested(stage, **champion(stage, weak)), shop(stage, sets))
    evaluation = completed(stage).evaluation
    assert evaluation.challenger_auc is not None
    assert evaluation.champion_auc is not None
    assert evaluation.auc_difference is not None
    assert evaluation.brier_difference is not None
    difference = evaluation.challenger_auc.value - evaluation.champion_auc.value
    assert evaluation.auc_difference.value == pytest.approx(difference)
    assert evaluation.auc_difference.low > 0
    assert evaluation.brier_difference.high < 0


@pytest.mark.parametrize("broken", [b"no pickle", pickle.dumps(3)])
def test_a_champion_that_does_not_load_hinders_no_training(broken: bytes) -> None:
    stage = Stage()
    assert train(WS, requested(stage, **champion(stage, broken)), shop(stage, Sets())) == "completed"
    assert completed(stage).evaluation.champion_auc is None
    assert "flights v1 does not load" in completed(stage).parameters["champion_not_compared"]


def test_a_champion_whose_file_was_overwritten_is_not_compared() -> None:
    stage, sets = Stage(), Sets()
    weak = trainer(sets.frame, sets.labels, {"depth": 2})
    train(WS, requested(stage, **champion(stage, weak), champion_digest="0" * 64), shop(stage, sets))
    assert completed(stage).evaluation.champion_auc is None
    assert f"the registry knows {'0' * 64}" in completed(stage).parameters["champion_not_compared"]


def test_the_same_data_gives_the_same_bytes() -> None:
    digests = set()
    for _ in range(2):
        stage = Stage()
        train(WS, requested(stage), shop(stage, Sets()))
        digests.add(completed(stage).artifact_digest)
    assert len(digests) == 1


def test_a_training_that_ended_does_nothing_a_second_time() -> None:
    stage, sets = Stage(), Sets()
    identity = requested(stage)
    train(WS, identity, shop(stage, sets))
    assert train(WS, identity, shop(stage, sets)) == "ended before"
    assert len(stage.happened()) == len(sets.asked) == 1


def test_a_start_that_is_recorded_meanwhile_costs_no_training() -> None:
    stage = Stage()
    identity = requested(stage)

    def slow(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
        now = store.load_training(stage.tables, WS, identity)
        if now.status == "requested":
            stage.tables.write([store.put_training(WS, now.having(status="started", job="j"))])
        return trainer(frame, labels, parameters)

    assert train(WS, identity, shop(stage, Sets(), slow)) == "completed"
    assert store.load_training(stage.tables, WS, identity).job == "j"


def test_a_training_given_up_meanwhile_stays_given_up() -> None:
    stage = Stage()
    identity = requested(stage)

    def slow(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
        now = store.load_training(stage.tables, WS, identity)
        if not now.over:
            stage.tables.write([store.put_training(WS, now.having(status="failed"))])
        return trainer(frame, labels, parameters)

    assert train(WS, identity, shop(stage, Sets(), slow)) == "ended before"
    assert stage.happened() == []


def raising(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
    raise ZeroDivisionError("my fault")


@pytest.mark.parametrize(
    ("sets", "function", "reason"),
    [
        (Sets(rows=0), trainer, "no labelled rows"),
        (Sets(rows=50), trainer, "50 labelled rows are too few"),
        (Sets(positives=0), trainer, "both classes are needed"),
        (Sets(), raising, "the trainer team:train failed: ZeroDivisionError: my fault"),
        (Sets(), lambda *_: object(), "a object has no predict_proba"),
        (Sets(), lambda *_: lambda: 1, "the trainer team:train failed"),
    ],
)
def test_unfit_data_or_code_fails_the_training_with_the_reason(sets: Sets, function: Any, reason: str) -> None:
    stage = Stage()
    assert train(WS, requested(stage), shop(stage, sets, function)) == "failed"
    event = stage.happened()[-1]
    assert isinstance(event, TrainingFailed)
    assert reason in event.reason
    assert event.seconds == 30
    assert event.cost == pytest.approx(30 * 2 * 0.0000133334 + 2e-7)
    assert not list(stage.blobs.list("artifacts", ""))


def test_an_unknown_training_is_an_error() -> None:
    with pytest.raises(NotFound, match="no training 01X"):
        train(WS, "01X", shop(Stage(), Sets()))


def test_another_workspaces_training_is_unknown() -> None:
    stage = Stage()
    with pytest.raises(NotFound):
        train("other", requested(stage), shop(stage, Sets()))
    assert Call(WS, "a", START, "c").workspace == WS


def test_a_training_tells_how_the_challenger_does_on_every_large_category_of_the_holdout() -> None:
    stage, sets = Stage(), Sets()
    sets.frame["hour"] = np.where(sets.frame["hour"] < 12, 0.0, 1.0)
    sliced = project().model_dump()
    sliced["models"]["flights"]["categorical"] = ["hour"]
    train(WS, requested(stage), replace(shop(stage, sets), project=Project.model_validate(sliced)))
    evaluation = completed(stage).evaluation
    assert {one.value for one in evaluation.slices} == {"0.0", "1.0"}
    assert sum(one.rows for one in evaluation.slices) == evaluation.rows
    whole = sum(one.brier * one.rows for one in evaluation.slices) / evaluation.rows
    assert whole == pytest.approx(evaluation.challenger_brier)
