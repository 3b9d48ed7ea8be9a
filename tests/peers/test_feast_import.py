"""A repository that the stock Feast client wrote becomes a project that is accepted, and serves what Feast serves."""

import json
import subprocess
from pathlib import Path

import pytest
from support.feast_desk import FeastDesk

from modelwright.errors import InvalidInput
from modelwright.feast import data, folder, repository
from modelwright.team import read_team

pytestmark = pytest.mark.peers
SETTINGS = """
project: rides
provider: local
registry: data/registry.db
online_store: {type: sqlite, path: data/online.db}
offline_store: {type: dask}
entity_key_serialization_version: 3
"""
DEFINITIONS = """
from datetime import timedelta
from typing import Any
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int64, String

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="who drives")
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
figures = FileSource(name="figures", path="data/figures.parquet", timestamp_field="at", created_timestamp_column="made")
pushed = PushSource(name="figures_push", batch_source=figures)
orders = FileSource(path="data/orders.parquet", timestamp_field="at", field_mapping={"amt": "amount"})
driver_stats = FeatureView(
    name="driver_stats", entities=[driver], ttl=timedelta(days=36500), source=pushed, owner="ops", tags={"team": "ops"},
    description="Hourly figures.",
    schema=[Field(name="driver_id", dtype=Int64), Field(name="rate", dtype=Float32), Field(name="trips", dtype=Int64),
            Field(name="vector", dtype=Array(Float32))],
)
order_stats = FeatureView(
    name="order_stats", entities=[driver, customer], source=orders,
    schema=[Field(name="driver_id", dtype=Int64), Field(name="customer_id", dtype=String),
            Field(name="amount", dtype=Float64), Field(name="paid", dtype=Bool), Field(name="note", dtype=String)],
)
everywhere = FeatureView(name="everywhere", entities=[], schema=[Field(name="level", dtype=Int64)],
                         source=FileSource(name="levels", path="data/levels.parquet", timestamp_field="at"))
asked = RequestSource(name="asked", schema=[Field(name="val", dtype=Int64)])


@on_demand_feature_view(sources=[driver_stats, asked], schema=[Field(name="more", dtype=Float64)], mode="python")
def more(inputs: dict[str, Any]) -> dict[str, Any]:
    import math  # in here, or their client does not find it

    # a missing rate gives nothing
    pairs = zip(inputs["rate"], inputs["val"])
    return {"more": [None if rate is None else float(math.floor(rate * 100) + val) for rate, val in pairs]}


@on_demand_feature_view(sources=[driver_stats], schema=[Field(name="doubled", dtype=Float64)])
def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"doubled": frame["rate"] * 2})


model = FeatureService(name="ride-model", features=[driver_stats[["rate", "trips"]], order_stats, more], owner="ds")
"""
ROWS = """
import numpy as np, pandas as pd
t = pd.Timestamp("2026-01-01", tz="UTC")
pd.DataFrame({"driver_id": [1, 2, 2], "rate": np.float32([0.5, 0.25, 0.75]), "trips": [3, 4, 5],
              "vector": [[1.0], [2.0], [3.0]], "at": [t, t, t + pd.Timedelta("1h")], "made": [t, t, t]}
             ).to_parquet("data/figures.parquet")
pd.DataFrame({"driver_id": [1, 2], "customer_id": ["a", "b"], "amt": [1.5, None], "paid": [True, False],
              "note": ["x", None], "at": [t.tz_localize(None)] * 2}).to_parquet("data/orders.parquet")
pd.DataFrame({"level": [7], "at": [t]}).to_parquet("data/levels.parquet")
"""
QUESTION = {
    "features": [
        "driver_stats:rate", "driver_stats:trips", "order_stats:amount", "order_stats:note", "more:more",
        "everywhere:level",
    ],
    "entity_rows": [
        {"driver_id": 1, "customer_id": "a", "val": 1},
        {"driver_id": 2, "customer_id": "b", "val": 2},
        {"driver_id": 3, "customer_id": "a", "val": 3},
    ],
}  # fmt: skip
THEIRS = """
import json, sys, datetime
from feast import FeatureStore
store = FeatureStore(repo_path=".")
store.materialize(datetime.datetime(2025, 1, 1), datetime.datetime(2026, 2, 1))
print("ANSWER " + json.dumps(store.get_online_features(**json.loads(sys.stdin.read())).to_dict()))
"""


@pytest.fixture(scope="module")
def theirs(feast_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository as its users have it: definitions, data, and what ``feast apply`` made."""
    made = tmp_path_factory.mktemp("feast") / "repo"
    (made / "data").mkdir(parents=True)
    (made / "feature_store.yaml").write_text(SETTINGS)
    (made / "definitions.py").write_text(DEFINITIONS)
    subprocess.run([feast_python, "-c", ROWS], cwd=made, check=True, timeout=120)
    told = theirs_says(str(Path(feast_python).parent / "feast"), "apply", cwd=made)
    assert "Created feature service ride-model" in told
    return made


def theirs_says(*command: str, cwd: Path, said: str = "") -> str:
    """Run a command of theirs, which must succeed, and return what it prints."""
    done = subprocess.run(command, cwd=cwd, input=said, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def test_what_their_server_answers_ours_answers_after_the_import(
    theirs: Path, feast_python: str, tmp_path: Path
) -> None:
    told = theirs_says(feast_python, "-c", THEIRS, cwd=theirs, said=json.dumps(QUESTION))
    expected = json.loads(told.rpartition("ANSWER ")[2])
    found = repository.translated(repository.read(theirs))
    desk = FeastDesk(folder.write(found, tmp_path / "ours"))
    for name, files in found.files.items():
        for _, body in data.landing(desk.project.sources[name], files, theirs):
            desk.upload(name, body)
    script = f"""
import json, os
from feast import FeatureStore, RepoConfig
store = FeatureStore(config=RepoConfig(project="rides", provider="local", registry="registry.db",
    online_store={{"type": "remote", "path": os.environ["MODELWRIGHT_ENDPOINT"]}}, entity_key_serialization_version=3))
print("ANSWER " + json.dumps(store.get_online_features(**json.loads({json.dumps(json.dumps(QUESTION))})).to_dict()))
"""
    answer = json.loads(desk.run(feast_python, script, tmp_path).rpartition("ANSWER ")[2])
    assert answer == {name: expected[name] for name in answer}
    assert set(answer) == {"driver_id", "customer_id", "rate", "trips", "amount", "note", "more", "level"}
    assert answer["rate"] == [0.5, 0.75, None]
    assert answer["more"] == [51.0, 77.0, None]


def test_definitions_that_were_never_applied_give_the_same_and_nothing_of_theirs_is_touched(
    theirs: Path, feast_python: str, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (theirs / "data").iterdir()}
    applied, never = tmp_path / "applied", tmp_path / "never"
    folder.write(repository.translated(repository.read(theirs)), applied)
    folder.write(repository.translated(repository.read(theirs, python=feast_python)), never)
    for name in ("modelwright.toml", "features.py", "FEAST.md"):
        assert (applied / name).read_text() == (never / name).read_text()
    assert before == {path: path.stat().st_mtime_ns for path in (theirs / "data").iterdir()}


def test_the_report_says_what_was_taken_changed_and_left(theirs: Path, tmp_path: Path) -> None:
    folder.write(repository.translated(repository.read(theirs)), tmp_path / "p")
    report = (tmp_path / "p" / "FEAST.md").read_text()
    for line in (
        "feature views: driver_stats, everywhere, order_stats",
        "feature services: ride_model",
        "source figures: is called figures_push, as what is pushed to it",
        "source data/orders.parquet: is called orders",
        "feature view driver_stats: vector, of type Array(Float32)",
        "on-demand feature view doubled: it is in pandas mode: write it as a row function",
    ):
        assert line in report
    assert "# a missing rate gives nothing" in (tmp_path / "p" / "features.py").read_text()


def test_a_definition_that_does_not_apply_is_said_by_its_own_words(feast_python: str, tmp_path: Path) -> None:
    (tmp_path / "feature_store.yaml").write_text(SETTINGS)
    (tmp_path / "definitions.py").write_text("from feast import Entity\ndriver = Entity(join_keys=['x'])\n")
    with pytest.raises(InvalidInput, match=r"do not apply with .*missing 1 required keyword-only argument: 'name'"):
        repository.read(tmp_path, python=feast_python)


def test_the_project_is_read_again_as_it_was_written(theirs: Path, tmp_path: Path) -> None:
    written = folder.write(repository.translated(repository.read(theirs)), tmp_path / "p")
    assert read_team(tmp_path / "p").project == written.project
