"""Features for serving and training, from uploads to scores: what was trained on is what is served."""

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from support.http import Caller, handler_of, memory_wiring

from modelwright.adapters.featurestore import FeatureStore
from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.context import Call
from modelwright.errors import InvalidInput, Unavailable
from modelwright.events import Delivery, Envelope, TrainingCompleted, UploadAccepted, Window
from modelwright.features import materialization
from modelwright.features.history import ARROW
from modelwright.log import Log, new_id, stream_of
from modelwright.project import Project, current_key
from modelwright.storage import Anything, Put

START = datetime(2013, 2, 1, tzinfo=UTC)
DAYS = 40
WS = "default"
TIME = {"type": "timestamp"}
PROJECT = Project.model_validate(
    {
        "name": "demo",
        "sources": {
            "weather": {
                "prefix": "weather/",
                "columns": {
                    "origin": {"type": "string"},
                    "observed_at": TIME,
                    "known_at": TIME,
                    "temp": {"type": "number"},
                },
                "key": ["origin", "observed_at"],
                "event_time": "observed_at",
                "available_at": "known_at",
            },
            "arrivals": {
                "prefix": "arrivals/",
                "columns": {
                    "flight_id": {"type": "string"},
                    "origin": {"type": "string"},
                    "scheduled": TIME,
                    "delay": {"type": "integer", "nullable": True},
                    "known_at": TIME,
                },
                "key": ["flight_id"],
                "event_time": "scheduled",
                "available_at": "known_at",
                "labels": True,
            },
        },
        "views": {"weather": {"entity": ["origin"], "source": "weather", "features": ["temp"]}},
        "on_demand": {
            "calendar": {
                "function": "adapters.test_featurestore:calendar",
                "inputs": ["scheduled"],
                "outputs": ["hour"],
            }
        },
        "models": {
            "flights": {
                "id_column": "flight_id",
                "time_column": "scheduled",
                "request": {"flight_id": "string", "origin": "string", "scheduled": "timestamp"},
                "views": ["weather"],
                "on_demand": ["calendar"],
                "inputs": ["origin", "temp", "hour"],
                "categorical": ["origin"],
                "label": {"source": "arrivals", "column": "delay", "above": 15},
                "trainer": "adapters.test_featurestore:trainer",
                "retraining": {"window_days": 60},
            }
        },
    }
)


def calendar(row: dict[str, Any]) -> dict[str, Any]:
    return {"hour": row["scheduled"].hour + row["scheduled"].minute / 60}


def trainer(frame: pd.DataFrame, labels: Any, parameters: dict[str, float]) -> Any:
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20, random_state=0)
    return model.fit(frame, labels)


class Stack:
    """Memory tables and buckets, with weather and arrivals of some weeks materialized."""

    def __init__(self) -> None:
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.log = Log(self.tables)
        key = current_key(WS)
        item = {"pk": key.pk, "sk": key.sk, "project": PROJECT.model_dump_json()}
        self.tables.write([Put("governance", item, Anything())])
        rng = np.random.default_rng(3)
        hours = [START + timedelta(hours=n) for n in range(24 * DAYS)]
        temps = rng.normal(50, 15, (len(hours), 2)).round(2)
        self.upload(
            "weather",
            [
                {"origin": origin, "observed_at": hour, "known_at": hour + timedelta(minutes=50), "temp": temps[n, k]}
                for n, hour in enumerate(hours)
                for k, origin in enumerate(("EWR", "JFK"))
            ],
        )
        self.flights: list[dict[str, Any]] = [
            {
                "flight_id": f"F{n:05}",
                "origin": ("EWR", "JFK")[n % 2],
                "scheduled": START + timedelta(hours=5, minutes=15 * n),
                "delay": None if n % 50 == 0 else int(60 - temps[(15 * n) // 60 + 4, n % 2] + rng.normal(0, 10)),
                "known_at": START + timedelta(hours=9, minutes=15 * n),
            }
            for n in range(3600)
        ]
        self.upload("arrivals", self.flights)

    def upload(self, source: str, rows: list[dict[str, Any]]) -> None:
        columns = PROJECT.sources[source].columns
        table = pa.table({n: pa.array([row[n] for row in rows], ARROW[c.type]) for n, c in columns.items()})
        sink = io.BytesIO()
        pq.write_table(table, sink)
        digest = hashlib.sha256(sink.getvalue()).hexdigest()
        key = f"accepted/{WS}/{source}/{digest}.parquet"
        self.blobs.put("lake", key, sink.getvalue())
        now = START + timedelta(days=DAYS)
        event = UploadAccepted(
            source=source, upload_key="k", upload_version="1", digest=digest, key=key, rows=len(rows), bad_rows=0,
            window=Window(start=START, end=now), profile_key="",
        )  # fmt: skip
        envelope = Envelope(
            id=new_id(), type="UploadAccepted", schema_version=1, workspace=WS, stream="s", sequence=1, at=now,
            actor="a", correlation_id="c", data=event.model_dump(mode="json"),
        )  # fmt: skip
        delivery = Delivery(consumer="materialize", envelope=envelope, event=event)
        call = Call(WS, "platform", now, "c")
        materialization.follow_upload(
            delivery, call, project=PROJECT, tables=self.tables, log=self.log, blobs=self.blobs, cache={}
        )

    def store(self) -> FeatureStore:
        return FeatureStore(PROJECT, WS, tables=self.tables, blobs=self.blobs, cache={})

    def requests(self, count: int, *, at: datetime) -> list[dict[str, Any]]:
        rows = [{n: flight[n] for n in ("flight_id", "origin")} for flight in self.flights[:count]]
        return [{**row, "scheduled": at} for row in rows]


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack()


NOW = START + timedelta(days=DAYS, hours=1)


def test_online_and_point_in_time_give_the_same_frame(stack: Stack) -> None:
    rows = stack.requests(20, at=NOW)
    online = stack.store().frame("flights", rows, mode="online", now=NOW)
    point_in_time = stack.store().frame("flights", rows, mode="point_in_time", now=NOW)
    pd.testing.assert_frame_equal(online, point_in_time, check_exact=True)
    assert list(online.columns) == ["origin", "temp", "hour"]


def test_examples_are_labelled_rows_of_the_window_as_they_were_then(stack: Stack) -> None:
    window = Window(start=START, end=START + timedelta(days=10))
    found = stack.store().examples("flights", window, as_of=NOW, labels_until=None)
    asked = [f for f in stack.flights if f["scheduled"] < window.end and f["delay"] is not None]
    assert len(found.labels) == len(found.frame) == len(found.times) == len(asked)
    assert found.labels.tolist() == [int(f["delay"] > 15) for f in asked]
    assert found.times[0] == np.datetime64("2013-02-01T05:15")
    again = stack.store().examples("flights", window, as_of=NOW, labels_until=None)
    assert (again.digest, again.key) == (found.digest, found.key)
    served = stack.store().frame("flights", [{n: f[n] for n in ("flight_id", "origin", "scheduled")} for f in asked],
                                 mode="point_in_time", now=NOW)  # fmt: skip
    pd.testing.assert_frame_equal(served, found.frame.reset_index(drop=True), check_exact=True)


def test_a_label_that_became_known_after_the_training_was_asked_for_is_not_seen(stack: Stack) -> None:
    as_of = START + timedelta(days=5)
    window = Window(start=START, end=as_of)
    found = stack.store().examples("flights", window, as_of=as_of, labels_until=None)
    known = [f for f in stack.flights if f["known_at"] <= as_of and f["delay"] is not None]
    flown = [f for f in stack.flights if f["scheduled"] < as_of and f["delay"] is not None]
    assert len(found.labels) == len(known) < len(flown)


def test_a_window_without_labels_is_an_error(stack: Stack) -> None:
    window = Window(start=START - timedelta(days=9), end=START)
    with pytest.raises(InvalidInput, match="no labelled rows in 2013-01-23/2013-02-01"):
        stack.store().examples("flights", window, as_of=NOW, labels_until=None)


def test_labels_that_are_still_on_their_way_are_waited_for(stack: Stack) -> None:
    window = Window(start=START, end=START + timedelta(days=10))
    later = NOW + timedelta(days=30)
    with pytest.raises(Unavailable, match="are not in the feature store yet"):
        stack.store().examples("flights", window, as_of=NOW, labels_until=later)


def test_from_a_training_by_hand_to_predictions_online_and_point_in_time() -> None:
    stack = Stack()
    wiring = memory_wiring(tables=stack.tables, blobs=stack.blobs)
    retrain, train, rollout, predict = (handler_of(name, wiring) for name in ("retrain", "train", "rollout", "predict"))
    asked = Caller(retrain)
    as_of = {"x_modelwright_as_of": NOW.isoformat()}
    status, said = asked("POST", "/v1/retraining/flights", {"reason": "the first"}, **as_of)
    assert status == 200
    assert train({"training_id": said["training_id"], "workspace": WS}) == {"outcome": "completed"}
    items = [item.envelope for item in stack.log.read(stream_of(WS, "TRAINING", "flights"))]
    completed = TrainingCompleted.model_validate(items[-1].data)
    assert completed.evaluation.challenger_auc is not None
    assert completed.evaluation.challenger_auc.value > 0.7
    assert completed.dataset_key.startswith(f"datasets/{WS}/")
    proof = stack.blobs.get("artifacts", f"{completed.artifact_key}parity.json").body
    assert hashlib.sha256(proof).hexdigest() == completed.parity_digest
    assert json.loads(proof)["equal"] == 16

    for number, (kind, data) in enumerate(
        [
            ("ModelVersionCreated", {"version": 1, "source": "s", "artifact_key": completed.artifact_key,
                                     "features": completed.features}),
            ("AliasChanged", {"alias": "champion", "version": 1, "previous": None}),
        ], start=1
    ):  # fmt: skip
        envelope = Envelope(
            id=new_id(), type=kind, schema_version=1, workspace=WS, stream="s", sequence=number, at=NOW, actor="a",
            correlation_id="c", data={"model": "flights", **data},
        )  # fmt: skip
        rollout({"detail-type": kind, "detail": envelope.model_dump(mode="json")})

    rows = [{**row, "scheduled": row["scheduled"].isoformat()} for row in stack.requests(30, at=NOW)]
    answers = []
    for mode in ("online", "point_in_time"):
        body = {"rows": rows, "mode": mode, "return_features": True}
        status, said = Caller(predict)("POST", "/v1/predict/flights", body, **as_of)
        assert status == 200, said
        answers.append(json.dumps(said["predictions"]))
    assert answers[0] == answers[1]
