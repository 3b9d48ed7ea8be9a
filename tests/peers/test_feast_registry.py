"""Feast's stock client with our registry and offline store: no repository of its own, and the same features."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.feast_desk import FeastDesk, asked

from modelwright.team import read_team

pytestmark = pytest.mark.peers
START = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = """
[project]
name = "rides"

[sources.figures]
prefix = "figures/"
key = ["driver_id", "at"]
event_time = "at"
available_at = "made"

[sources.figures.columns]
driver_id = { type = "integer" }
at = { type = "timestamp" }
made = { type = "timestamp", nullable = true }
rate = { type = "number", nullable = true }
trips = { type = "integer", nullable = true }
car = { type = "string", nullable = true }
"""
FEATURES = '''
from modelwright.project import Aggregate, Entity, Service, View, on_demand

driver = Entity(join_keys=("driver_id",), description="who drives")
stats = View(entity=driver, source="figures", features=("rate", "trips", "car"), ttl="7d", owner="ops")
sums = View(entity=driver, source="figures", aggregates={"n": Aggregate(function="count")}, windows=("24h",))


@on_demand(inputs=("rate", "val"), outputs=("more",), request={"val": "integer"})
def more(row):
    """The rate and a little."""
    return {"more": None if row["rate"] is None else row["rate"] + row["val"]}


model = Service(
    request={"driver_id": "integer", "val": "integer", "event_timestamp": "timestamp"},
    views=("stats", "sums"), on_demand=("more",), inputs=("rate", "car", "n_1d", "more"), owner="ds",
)
'''
STORE = """
import json, os
import pandas as pd
from feast import FeatureStore, RepoConfig
store = FeatureStore(config=RepoConfig(
    project="rides", provider="local",
    registry={"registry_type": "file", "path": "registry.db", "cache_ttl_seconds": 60},
    online_store={"type": "remote", "path": os.environ["MODELWRIGHT_ENDPOINT"]},
    offline_store={"type": "modelwright.feast.offline_store.ModelwrightOfflineStore",
                   "endpoint": os.environ["MODELWRIGHT_ENDPOINT"], **json.loads(os.environ.get("OFFLINE", "{}"))},
    entity_key_serialization_version=3))
"""


def row(driver: int, hour: float, rate: float | None, *, late_h: float = 0, car: str = "a") -> dict[str, Any]:
    """Return a row that became known some hours after its event."""
    at = START + timedelta(hours=hour)
    return {"driver_id": driver, "at": at, "made": at + timedelta(hours=late_h), "rate": rate, "trips": 3, "car": car}


@pytest.fixture
def desk(tmp_path: Path) -> FeastDesk:
    """Return the functions with a project, and its registry in the client's folder."""
    team = tmp_path / "team"
    team.mkdir()
    (team / "modelwright.toml").write_text(PROJECT)
    (team / "features.py").write_text(FEATURES)
    found = FeastDesk(read_team(team))
    body = io.BytesIO()
    rows = [row(1, 1, 0.5), row(1, 3, 0.75, late_h=5), row(2, 2, None, car="b")]
    pq.write_table(pa.Table.from_pylist(rows), body)
    found.upload("figures", body.getvalue())
    (tmp_path / "registry.db").write_bytes(found.registry())
    return found


def run(desk: FeastDesk, python: str, folder: Path, script: str, **more: str) -> Any:
    """Return what a script of the client's prints as JSON."""
    return json.loads(desk.run(python, STORE + script, folder, **more).splitlines()[-1])


def test_the_client_lists_what_there_is(desk: FeastDesk, feast_python: str, tmp_path: Path) -> None:
    found = run(desk, feast_python, tmp_path, """
views = {v.name: v for v in store.list_feature_views()}
print(json.dumps({
    "entities": {e.name: [e.join_key, e.value_type.name, e.description] for e in store.list_entities()},
    "views": {name: [v.entities, sorted((f.name, str(f.dtype)) for f in v.features), v.ttl.days, v.owner]
              for name, v in views.items()},
    "services": {s.name: [[p.name, [f.name for f in p.features]] for p in s.feature_view_projections]
                 for s in store.list_feature_services()},
    "sources": sorted(s.name for s in store.list_data_sources()),
}))
""")  # fmt: skip
    assert found["entities"] == {"driver": ["driver_id", "INT64", "who drives"]}
    assert found["views"]["stats"] == [
        ["driver"],
        [["car", "String"], ["rate", "Float64"], ["trips", "Int64"]],
        7,
        "ops",
    ]
    assert found["views"]["sums"][:2] == [["driver"], [["n_1d", "Int64"]]]
    assert found["services"] == {"model": [["stats", ["rate", "car"]], ["sums", ["n_1d"]]]}
    assert found["sources"] == ["figures", "figures_rows"]


def test_a_service_of_the_registry_is_answered_with_its_on_demand_features(
    desk: FeastDesk, feast_python: str, tmp_path: Path
) -> None:
    found = run(desk, feast_python, tmp_path, """
service = store.get_feature_service("model")
now = pd.Timestamp.now(tz="UTC").floor("s")
store.push("figures", pd.DataFrame({"driver_id": [1, 2], "at": [now, now], "made": [now, now], "rate": [0.9, None],
                                    "trips": [7, 8], "car": ["c", "d"]}))
rows = [{"driver_id": 1, "val": 2}, {"driver_id": 2, "val": 2}, {"driver_id": 3, "val": 2}]
print(json.dumps(store.get_online_features(features=service, entity_rows=rows).to_dict()))
""")  # fmt: skip
    assert found == {
        "driver_id": [1, 2, 3], "rate": [0.9, None, None], "car": ["c", "d", None], "n_1d": [0, 0, 0],
        "more": [2.9, None, None],
    }  # fmt: skip


HISTORY = """
t = pd.Timestamp("2026-01-01", tz="UTC")
asked = pd.DataFrame({
    "note": ["a", "b", "c", "d", "e", "a"], "driver_id": [1, 1, 2, 3, 1, 1],
    "event_timestamp": [t + pd.Timedelta(hours=h) for h in (4, 9, 4, 4, 0, 4)],
})
job = store.get_historical_features(asked, features=%s, full_feature_names=%s)
frame = job.to_df()
assert frame["note"].tolist() == asked["note"].tolist()
assert (frame["event_timestamp"] == asked["event_timestamp"]).all()
assert job.to_arrow().num_rows == 6
frame = frame.drop(columns=["event_timestamp", "note"]).astype(object)
print(json.dumps({n: [None if pd.isna(v) else v for v in frame[n]] for n in frame}))
"""


def test_historical_features_are_joined_here_by_what_was_known_when(
    desk: FeastDesk, feast_python: str, tmp_path: Path
) -> None:
    found = run(desk, feast_python, tmp_path, HISTORY % ('["stats:rate", "stats:car"]', False))
    assert found == {
        "driver_id": [1, 1, 2, 3, 1, 1],
        "rate": [0.5, 0.75, None, None, None, 0.5],
        "car": ["a", "a", "b", None, None, "a"],
    }


def test_by_event_time_alone_they_are_as_feast_joins_them(desk: FeastDesk, feast_python: str, tmp_path: Path) -> None:
    script = HISTORY % ('store.get_feature_service("model")', True)
    found = run(desk, feast_python, tmp_path, script, OFFLINE=json.dumps({"available": False}))
    assert found["stats__rate"] == [0.75, 0.75, None, None, None, 0.75]
    assert set(found) == {"driver_id", "stats__rate", "stats__car", "sums__n_1d"}


def test_what_cannot_be_joined_is_said_by_the_stack(desk: FeastDesk, feast_python: str, tmp_path: Path) -> None:
    found = run(desk, feast_python, tmp_path, """
from modelwright.feast.offline_store import HistoricalFeaturesError
t = pd.Timestamp("2026-01-01", tz="UTC")
try:
    store.get_historical_features(pd.DataFrame({"who": [1], "event_timestamp": [t]}), features=["stats:rate"]).to_df()
except HistoricalFeaturesError as error:
    said = str(error)
try:
    store.get_historical_features("SELECT 1", features=["stats:rate"])
except ValueError as error:
    also = str(error)
print(json.dumps([said, also]))
""")  # fmt: skip
    assert "driver_id" in found[0]
    assert found[1] == "entity_df must be a data frame, it is a str"


def test_materialization_is_left_to_the_server(desk: FeastDesk, feast_python: str, tmp_path: Path) -> None:
    run(desk, feast_python, tmp_path, """
import datetime
now = datetime.datetime.now(datetime.timezone.utc)
store.materialize(datetime.datetime(2026, 1, 1), now)
store.materialize(datetime.datetime(2026, 1, 1), now, feature_views=["sums"], run_async=True)
store.materialize_incremental(now, feature_views=["stats"])
try:
    store.materialize_incremental(now, feature_views=["wrong"])
except (RuntimeError, KeyError) as error:
    assert "there is no feature view wrong: there are stats, sums" in str(error), error
else:
    raise AssertionError("it was taken")
print("1")
""")  # fmt: skip
    assert [(e.path.partition("?")[0], e.status) for e in desk.seen] == [
        ("/materialize", 200), ("/materialize", 202), ("/materialize-incremental", 200),
        ("/materialize-incremental", 404),
    ]  # fmt: skip


def test_rows_are_not_pulled_into_another_online_store(desk: FeastDesk, feast_python: str, tmp_path: Path) -> None:
    script = """
import datetime
from modelwright.feast.offline_store import HistoricalFeaturesError
now = datetime.datetime.now(datetime.timezone.utc)
try:
    store.materialize(datetime.datetime(2026, 1, 1), now)
except HistoricalFeaturesError as error:
    print(json.dumps(str(error)))
"""
    online = (
        '{"type": "remote", "path": os.environ["MODELWRIGHT_ENDPOINT"]}',
        '{"type": "sqlite", "path": "online.db"}',
    )
    told = desk.run(feast_python, STORE.replace(*online) + script, tmp_path)
    assert "is materialized by the stack that has it, when its rows arrive" in json.loads(told.splitlines()[-1])


def test_the_registry_on_s3_is_what_the_route_answers(desk: FeastDesk) -> None:
    answer = asked(desk, "GET", "/v1/features/registry.db")
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"] == "application/octet-stream"
    desk.applied()
    assert desk.blobs.get("lake", "feast/default/registry.db").body == desk.registry()
