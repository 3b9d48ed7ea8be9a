"""Predictions, from body to log."""

import hashlib
import io
import json
import math
import pickle
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelwright.context import Call
from modelwright.errors import Conflict, Forbidden, InvalidInput, NotFound, PluginError, TooLarge, Unavailable
from modelwright.events import ModelVersionCreated
from modelwright.flavors import BLOCK_ROWS, Flavor, Sklearn, mlmodel, pickled
from modelwright.project import ColumnType, Project
from modelwright.rollout import rollouts
from modelwright.rollout.predictions import Inputs
from modelwright.rollout.serving import Models, predict
from rollout.stage import WS, Stage, alias

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(3000, 3)), columns=["hour", "x1", "x2"])
TARGET = (FRAME["x1"] + RNG.normal(size=3000) > 0).astype(int)
BOOSTED = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(FRAME, TARGET)
LINEAR = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, TARGET)

PROJECT = Project.model_validate(
    {
        "name": "demo",
        "sources": {
            "arrivals": {
                "prefix": "arrivals/",
                "columns": {"flight_id": {"type": "string"}, "scheduled": {"type": "timestamp"}},
                "key": ["flight_id"],
                "event_time": "scheduled",
                "labels": True,
            }
        },
        "models": {
            "flights": {
                "id_column": "flight_id",
                "time_column": "scheduled",
                "request": {"flight_id": "string", "distance": "number", "stops": "integer", "scheduled": "timestamp"},
                "views": [],
                "inputs": ["hour", "x1", "x2"],
                "label": {"source": "arrivals", "column": "delay", "above": 15},
                "trainer": "trainer:train",
            }
        },
    }
)


class FakeFeatures:
    """Features from the row's own time and distance; online ones from the clock."""

    def frame(self, model: str, rows: Sequence[Mapping[str, Any]], *, mode: str, now: datetime) -> pd.DataFrame:
        times = [now if mode == "online" else row["scheduled"] for row in rows]
        columns = {"hour": [float(t.hour) for t in times], "x1": [row["distance"] / 1000 for row in rows]}
        return pd.DataFrame({**columns, "x2": [math.nan if row["stops"] == 9 else 0.5 for row in rows]})


def flavors(name: str) -> Flavor:
    if name != "sklearn":
        raise PluginError(f"no plugin {name} of flavors")
    return Sklearn()


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    first = datetime(2013, 3, 1, 6, tzinfo=UTC)
    return [
        {
            "flight_id": f"F{n:05}",
            "distance": float(100 + n % 997),
            "stops": n % 3,
            "scheduled": (first + timedelta(minutes=n)).isoformat(),
        }
        for n in range(start, start + count)
    ]


def register(stage: Stage, version: int, estimator: Any, features: tuple[str, ...] = (), digest: str = "") -> None:
    key = f"{WS}/1/models/m-{version}/artifacts/"
    stage.blobs.put("artifacts", key + "MLmodel", mlmodel("r", inputs=PROJECT.models["flights"].inputs, training_id=""))
    stage.blobs.put("artifacts", key + "model.pkl", estimator if isinstance(estimator, bytes) else pickled(estimator))
    event = ModelVersionCreated(
        model="flights", version=version, source="s", artifact_key=key, features=features, artifact_digest=digest
    )
    delivery = stage.delivery(event, consumer="rollout")
    rollouts.follow_version(stage.call, delivery, tables=stage.tables, log=stage.log)


def follow(stage: Stage, name: str, version: int) -> None:
    delivery = stage.delivery(alias(name, version), consumer="rollout")
    rollouts.follow_alias(stage.call, delivery, tables=stage.tables, log=stage.log)


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.apply(PROJECT)
    register(made, 1, BOOSTED)
    register(made, 2, LINEAR)
    follow(made, "champion", 1)
    return made


def ask(
    stage: Stage, asked: Any, *, key: str = "", call: Call | None = None, model: str = "flights", **options: Any
) -> Any:
    raw = asked if isinstance(asked, bytes) else json.dumps({"rows": asked, **options}).encode()
    return predict(
        call or stage.call,
        model,
        raw,
        idempotency_key=key,
        project=PROJECT,
        tables=stage.tables,
        blobs=stage.blobs,
        models=Models(blobs=stage.blobs, flavors=flavors),
        features=FakeFeatures(),
    )


def logged(stage: Stage) -> pd.DataFrame:
    keys = [listed.key for listed in stage.blobs.list("lake", f"predictions/{WS}/flights/")]
    if not keys:
        return pd.DataFrame()
    frames = (pq.read_table(io.BytesIO(stage.blobs.get("lake", key).body)).to_pandas() for key in keys)
    joined: pd.DataFrame = pd.concat(list(frames))
    return joined


def test_the_log_holds_what_was_asked_and_what_the_model_was_fed(stage: Stage) -> None:
    asked = rows(3)
    ask(stage, asked, mode="point_in_time")
    (key,) = [listed.key for listed in stage.blobs.list("lake", f"predictions/{WS}/flights/")]
    table = pq.read_table(io.BytesIO(stage.blobs.get("lake", key).body))
    lines = table.filter(pc.equal(table.column("role"), "champion")).to_pylist()
    assert [line["flight_id"] for line in lines] == [row["flight_id"] for row in asked]
    assert [line["distance"] for line in lines] == [row["distance"] for row in asked]
    assert [line["feature_x1"] for line in lines] == [row["distance"] / 1000 for row in asked]
    assert lines[0]["scheduled"] == datetime.fromisoformat(asked[0]["scheduled"])


def test_a_request_column_that_the_log_has_itself_gets_a_name_of_its_own() -> None:
    frame = pd.DataFrame({"x": pd.Categorical(["a", None]), "y": [1.0, math.nan]})
    kinds: dict[str, ColumnType] = {"role": "string", "id": "integer"}
    inputs = Inputs.of(["p", "q"], [{"role": "r", "id": 1}, {"role": "s", "id": 2}], kinds, frame)
    assert inputs.table.to_pylist() == [
        {"request_role": "r", "id": 1, "feature_x": "a", "feature_y": 1.0},
        {"request_role": "s", "id": 2, "feature_x": None, "feature_y": None},
    ]


def test_rows_are_answered_in_order_and_logged_once_each(stage: Stage) -> None:
    answer = ask(stage, rows(50), mode="point_in_time")
    assert [p["id"] for p in answer["predictions"]] == [row["flight_id"] for row in rows(50)]
    assert {p["role"] for p in answer["predictions"]} == {"champion"}
    log = logged(stage)
    assert list(log["score"]) == [p["score"] for p in answer["predictions"]]
    assert set(log["request_id"]) == {answer["request_id"]}
    assert str(log["as_of"].iloc[0]) == "2013-03-01 06:00:00+00:00"


def test_a_request_over_several_days_lies_in_each_days_partition(stage: Stage) -> None:
    ask(stage, rows(1500), mode="point_in_time")
    keys = [listed.key for listed in stage.blobs.list("lake", "predictions/")]
    assert [key.split("/")[3] for key in keys] == ["dt=2013-03-01", "dt=2013-03-02"]
    assert len(logged(stage)) == 1500


def test_online_features_are_as_of_now_and_can_be_shown(stage: Stage) -> None:
    stage.now = stage.now.replace(hour=17)
    answer = ask(stage, [{**rows(1)[0], "stops": 9}], return_features=True)
    assert answer["predictions"][0]["features"] == {"hour": 17.0, "x1": 0.1, "x2": None}
    assert logged(stage)["as_of"].iloc[0] == stage.now


def test_what_is_asked_before_midnight_for_after_it_lies_on_the_day_of_the_row(stage: Stage) -> None:
    stage.now = datetime(2013, 3, 1, 23, 50, tzinfo=UTC)
    departure = datetime(2013, 3, 2, 0, 20, tzinfo=UTC)
    past = datetime(2013, 3, 1, 20, tzinfo=UTC)
    first, second = rows(2)
    ask(stage, [{**first, "scheduled": departure.isoformat()}, {**second, "scheduled": past.isoformat()}])
    keys = [listed.key for listed in stage.blobs.list("lake", "predictions/")]
    assert [key.split("/")[3] for key in keys] == ["dt=2013-03-01", "dt=2013-03-02"]
    log = logged(stage)
    assert list(log["as_of"]) == [stage.now, departure]
    assert set(log["asked_at"]) == {stage.now}


def test_a_dry_run_logs_nothing(stage: Stage) -> None:
    assert ask(stage, rows(3), dry_run=True)["predictions"]
    assert logged(stage).empty


def test_the_same_request_twice_is_the_same_object(stage: Stage) -> None:
    first = ask(stage, rows(20), mode="point_in_time")
    assert ask(stage, rows(20), mode="point_in_time") == first
    assert len(logged(stage)) == 20


def test_a_repeat_overwrites_nothing_whoever_would_answer_it_now(stage: Stage) -> None:
    first = ask(stage, rows(20), mode="point_in_time")
    before = list(stage.blobs.list("lake", "predictions/"))
    follow(stage, "champion", 2)
    assert ask(stage, rows(20), mode="point_in_time") == first
    assert list(stage.blobs.list("lake", "predictions/")) == before


def test_a_repeat_logs_the_days_that_a_broken_request_did_not_reach(stage: Stage) -> None:
    first = ask(stage, rows(1500), mode="point_in_time")
    one, other = (listed.key for listed in stage.blobs.list("lake", "predictions/"))
    stage.blobs.delete("lake", one)
    assert ask(stage, rows(1500), mode="point_in_time") == first
    assert [listed.key for listed in stage.blobs.list("lake", "predictions/")] == [one, other]


def test_a_body_that_comes_again_later_is_another_request(stage: Stage) -> None:
    first = ask(stage, rows(20))
    stage.pass_days(0.25)
    second = ask(stage, rows(20))
    assert first["request_id"] != second["request_id"]
    log = logged(stage)
    assert (len(log), log["asked_at"].nunique()) == (40, 2)


def test_a_key_under_which_the_log_has_other_predictions_is_refused(stage: Stage) -> None:
    name = ask(stage, rows(20))["request_id"]
    with pytest.raises(Conflict, match="the log has other predictions"):
        ask(stage, rows(21), key=name)
    assert len(logged(stage)) == 20


def test_an_idempotency_key_is_answered_from_the_log_and_refuses_another_body(stage: Stage) -> None:
    first = ask(stage, rows(20), key="night-1")
    stage.pass_days(1)
    again = ask(stage, rows(20), key="night-1")
    assert again["predictions"] == first["predictions"]
    assert again["request_id"] == "night-1"
    assert len(logged(stage)) == 20
    with pytest.raises(Conflict, match="another body"):
        ask(stage, rows(21), key="night-1")


def test_a_canary_answers_its_share_and_both_score_everything(stage: Stage) -> None:
    follow(stage, "challenger", 2)
    answer = ask(stage, rows(1000))
    roles = [p["role"] for p in answer["predictions"]]
    assert 60 < roles.count("canary") < 140
    log = logged(stage)
    assert len(log) == 2000
    assert (log[log["role"] != "shadow"].groupby("prediction_id").size() == 1).all()
    assert set(log[log["role"] == "canary"]["version"]) == {2}
    assert ask(stage, rows(1000))["predictions"] == answer["predictions"]


def test_a_broken_canary_costs_nobody_an_answer(stage: Stage) -> None:
    register(stage, 3, b"no pickle")
    follow(stage, "challenger", 3)
    answer = ask(stage, rows(200))
    assert {p["version"] for p in answer["predictions"]} == {1}
    assert "flights v3 does not load" in answer["warnings"][0]


def test_a_champion_that_does_not_load_is_named_with_its_reason(stage: Stage) -> None:
    register(stage, 4, b"no pickle")
    follow(stage, "champion", 4)
    with pytest.raises(Unavailable, match="flights v4 does not load: its pickle"):
        ask(stage, rows(1))
    follow(stage, "champion", 9)
    with pytest.raises(Unavailable, match="v9 has routes, but its artifacts are not known"):
        ask(stage, rows(1))


class Planted:
    """Unpickled, it leaves a mark."""

    marks: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return plant, ()


def plant() -> str:
    Planted.marks.append("executed")
    return "planted"


def test_a_pickle_that_was_put_there_later_is_refused_and_never_executed(stage: Stage) -> None:
    good, bad = pickled(LINEAR), pickle.dumps(Planted())
    known, found = hashlib.sha256(good).hexdigest(), hashlib.sha256(bad).hexdigest()
    register(stage, 3, good, digest=known)
    follow(stage, "challenger", 3)
    assert "warnings" not in ask(stage, rows(200))
    place = f"{WS}/1/models/m-3/artifacts/"
    stage.blobs.put("artifacts", place + "model.pkl", bad)
    answer = ask(stage, rows(200), mode="point_in_time")
    assert {p["version"] for p in answer["predictions"]} == {1}
    text = f"flights v3 does not load: model.pkl has the digest {found}, the registry knows {known}"
    assert answer["warnings"] == [text]
    follow(stage, "champion", 3)
    with pytest.raises(Unavailable, match=found):
        ask(stage, rows(1))
    stage.blobs.put("artifacts", place + "model.pkl", good)
    stage.blobs.put("artifacts", place + "other.pkl", bad)
    stage.blobs.put("artifacts", place + "MLmodel", b"flavors: {sklearn: {pickled_model: other.pkl}}")
    with pytest.raises(Unavailable, match=r"other\.pkl has the digest"):
        ask(stage, rows(1))
    assert Planted.marks == []


def test_a_model_that_is_no_classifier_or_wants_other_features_is_named(stage: Stage) -> None:
    register(stage, 5, pickle.dumps({"no": "model"}))
    follow(stage, "champion", 5)
    with pytest.raises(Unavailable, match="flights v5 does not load: a dict has no predict_proba"):
        ask(stage, rows(1))
    register(stage, 6, BOOSTED, features=("hour", "gone"))
    follow(stage, "champion", 6)
    with pytest.raises(Unavailable, match="needs gone"):
        ask(stage, rows(1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"distance": "far"}, "row 1, column distance: 'far' is no number"),
        ({"distance": None}, "row 1, column distance: None is no number"),
        ({"distance": True}, "row 1, column distance: True is no number"),
        ({"stops": 1.5}, "row 1, column stops: 1.5 is no integer"),
        ({"stops": 2**63}, "row 1, column stops"),
        ({"scheduled": "soon"}, "row 1, column scheduled: 'soon' is no timestamp"),
        ({"flight_id": ""}, "row 1, column flight_id"),
        ({"flight_id": "F00000"}, "row 1, column flight_id: 'F00000' is asked in row 0 already"),
        ({"gate": "B2"}, "row 1: column gate is not one that flights takes"),
    ],
)
def test_a_wrong_row_is_named_with_its_column(stage: Stage, change: dict[str, Any], text: str) -> None:
    first, second = rows(2)
    with pytest.raises(InvalidInput, match=text):
        ask(stage, [first, {**second, **change}])
    assert logged(stage).empty


def test_a_missing_column_is_named(stage: Stage) -> None:
    row = rows(1)[0]
    del row["stops"]
    with pytest.raises(InvalidInput, match="row 0: column stops is missing"):
        ask(stage, [row])


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"rows": []}', b'{"rows": [1]}', b'{"rows": [], "mood": 1}', b'{"rows":[],"mode":"x"}']
)
def test_a_body_that_is_no_request_is_refused(stage: Stage, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        ask(stage, body)


def test_too_many_rows_an_unknown_model_no_champion_and_no_grant(stage: Stage) -> None:
    with pytest.raises(TooLarge, match="5001 rows"):
        ask(stage, rows(5001))
    with pytest.raises(NotFound, match="model boats"):
        ask(stage, rows(1), model="boats")
    with pytest.raises(Conflict, match="no champion yet"):
        ask(stage, rows(1), call=Call("other", "a", stage.now, "c"))

    def nobody(action: str, resource: str) -> None:
        raise Forbidden(f"{action} {resource}")

    with pytest.raises(Forbidden, match="predict:call model/flights"):
        ask(stage, rows(1), call=Call(WS, "a", stage.now, "c", nobody))


@pytest.mark.parametrize("estimator", [BOOSTED, LINEAR], ids=["boosted", "linear"])
def test_a_score_is_the_same_to_the_bit_in_any_batch(estimator: Any) -> None:
    score = Sklearn().load(lambda _: pickled(estimator), {})
    whole = score(FRAME)
    for size in (1, 3, 64, BLOCK_ROWS - 1, BLOCK_ROWS + 1):
        starts = range(0, min(40 * size, 1200), size)
        assert [s for start in starts for s in score(FRAME.iloc[start : start + size])] == whole[: len(starts) * size]
    shuffled = RNG.permutation(len(FRAME))
    assert score(FRAME.iloc[shuffled]) == [whole[n] for n in shuffled]


def test_two_thousand_rows_take_less_than_0_4_s_warm(stage: Stage) -> None:
    follow(stage, "challenger", 2)
    ask(stage, rows(2000))
    took = []
    for n in range(3):
        asked = rows(2000, start=10_000 * (n + 1))
        began = time.perf_counter()
        ask(stage, asked)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.4
