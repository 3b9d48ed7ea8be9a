"""What a training leaves beside its model: a lock, predictions, a sample, and a proof or a reason."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier

from modelwright.artifacts import environment_digest
from modelwright.errors import InvalidInput
from modelwright.events import TrainingCompleted, Window
from modelwright.plugins import Candidate
from modelwright.project import GatePolicy
from modelwright.registry.fullgates import LatencyBudget, NotInferior
from modelwright.retraining import beside
from modelwright.retraining.training import train
from modelwright.retraining.workshop import Examples
from retraining.stage import WS, Stage
from retraining.test_training import Sets, champion, completed, requested, shop, trainer


class Served(Sets):
    """Examples that the feature store can serve again; ``spoiled`` rows of it are off by the last bit."""

    def __init__(self, spoiled: int = 0, fault: str = "") -> None:
        super().__init__()
        self.spoiled, self.fault = spoiled, fault
        self.frame["carrier"] = pd.Categorical(
            ["AA" if hour > 12 else None for hour in self.frame["hour"]], ["AA", "UA"]
        )
        self.frame.loc[self.frame["hour"] == 3, "temp"] = np.nan

    def examples(self, model: str, window: Window, *, as_of: Any, labels_until: Any) -> Examples:
        found = super().examples(model, window, as_of=as_of, labels_until=labels_until)

        def again(places: Sequence[int]) -> pd.DataFrame:
            if self.fault:
                raise InvalidInput(self.fault)
            frame = self.frame.iloc[list(places)].reset_index(drop=True)
            frame["carrier"] = frame["carrier"].astype(object).where(frame["carrier"].notna(), None)
            frame["hour"] = np.where(frame.index < self.spoiled, np.nextafter(frame["hour"], 99), frame["hour"])
            return frame

        return replace(found, ids=np.array([f"F{n}" for n in range(3000)], dtype=object), again=again)


def trained(sets: Sets) -> tuple[Stage, TrainingCompleted]:
    stage = Stage()
    known = champion(stage, trainer(sets.frame[["temp", "hour"]], np.roll(sets.labels, 1), {"depth": 2}))
    digest = hashlib.sha256(stage.blobs.get("artifacts", f"{known['champion_key']}model.pkl").body).hexdigest()
    fit = trainer if "carrier" not in sets.frame else by_category
    assert train(WS, requested(stage, **known, champion_digest=digest), shop(stage, sets, fit)) == "completed"
    assert completed(stage).evaluation.champion == digest
    return stage, completed(stage)


def by_category(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
    return HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=10, random_state=0).fit(
        frame, labels
    )


def files(stage: Stage, event: TrainingCompleted) -> dict[str, bytes]:
    listed = stage.blobs.list("artifacts", event.artifact_key)
    return {one.key.removeprefix(event.artifact_key): stage.blobs.get("artifacts", one.key).body for one in listed}


def test_what_both_versions_said_of_the_held_out_rows_is_kept() -> None:
    sets = Served()
    stage, event = trained(sets)
    there = files(stage, event)
    table = pq.read_table(io.BytesIO(there["predictions.parquet"]))
    held = len(table)
    assert held == event.evaluation.rows
    assert table.schema.metadata[b"modelwright.champion"].decode() == event.evaluation.champion
    assert table["id"].to_pylist() == [f"F{n}" for n in range(3000 - held, 3000)]
    assert table["label"].to_pylist() == sets.labels[-held:].tolist()
    assert len(set(table["cluster"].to_pylist())) in (7, 8)
    assert event.predictions_digest == hashlib.sha256(there["predictions.parquet"]).hexdigest()
    gap = table["challenger"].to_numpy() - table["label"].to_numpy()
    assert float((gap**2).mean()) == pytest.approx(event.evaluation.challenger_brier)


def test_full_gates_can_judge_what_a_training_leaves() -> None:
    stage, event = trained(Served())
    there = files(stage, event)
    candidate = Candidate(
        "flights", 2, "champion", champion=9, champion_digest=event.evaluation.champion,
        signature=event.signature, digest=event.artifact_digest,
        scored=lambda: there["predictions.parquet"], read=there.__getitem__,
    )  # fmt: skip
    for metric in ("auc", "brier"):
        verdict = NotInferior().check(candidate, GatePolicy(comparison=metric))
        assert verdict.passed, verdict.text
        said = getattr(event.evaluation, f"{metric}_difference")
        assert f"differs by {said.value:+.4f} [{said.low:+.4f}, {said.high:+.4f}]" in verdict.text
    verdict = LatencyBudget().check(candidate, GatePolicy(max_latency_ms=5000))
    assert verdict.passed, verdict.text
    assert "rows it was tested on" in verdict.text


def test_the_environment_is_locked_to_what_is_installed() -> None:
    stage, event = trained(Sets())
    lock = files(stage, event)["requirements.txt"]
    lines = lock.decode().splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))
    assert f"numpy=={version('numpy')}" in lines
    assert event.environment_digest == environment_digest({"requirements.txt": lock}) != ""
    assert beside.requirements() == lock


def test_the_folder_says_its_size_and_its_signature() -> None:
    stage, event = trained(Served())
    there = files(stage, event)
    assert event.size == sum(map(len, there.values()))
    inputs = [("temp", "double"), ("hour", "double"), ("carrier", "string")]
    assert [(c["name"], c["type"]) for c in json.loads(event.signature)["inputs"]] == inputs
    written = yaml.safe_load(there["MLmodel"])["signature"]
    assert {part: json.loads(text) for part, text in written.items()} == json.loads(event.signature)


def test_rows_that_are_served_as_they_were_trained_on_are_proof() -> None:
    stage, event = trained(Served())
    proof = files(stage, event)["parity.json"]
    said = json.loads(proof)
    assert (said["rows"], said["equal"], said["service"]) == (beside.PROVEN, beside.PROVEN, "flights d1")
    assert event.parity_digest == hashlib.sha256(proof).hexdigest()
    assert "parity_not_proven" not in event.parameters


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        (Served(spoiled=2), "2 of 16 rows are served otherwise than they were trained on: hour"),
        (Served(fault="no such view"), "rows could not be served again: no such view"),
        (Sets(), "the feature store cannot serve past rows again"),
    ],
)
def test_without_equality_there_is_no_proof_but_a_reason(sets: Sets, reason: str) -> None:
    stage, event = trained(sets)
    assert event.parity_digest == ""
    assert "parity.json" not in files(stage, event)
    assert event.parameters["parity_not_proven"] == reason


def test_without_a_champion_there_is_nothing_to_compare_and_that_is_kept_too() -> None:
    stage = Stage()
    train(WS, requested(stage), shop(stage, Sets()))
    event = completed(stage)
    table = pq.read_table(io.BytesIO(files(stage, event)["predictions.parquet"]))
    assert set(table["champion"].to_pylist()) == {None}
    assert b"modelwright.champion" not in (table.schema.metadata or {})
    assert event.evaluation.champion == ""


def test_the_same_training_leaves_the_same_bytes() -> None:
    first, second = (files(*trained(Served())) for _ in range(2))
    assert first == second
