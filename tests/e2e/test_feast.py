"""A Feast repository moved into a stack that is up, and Feast's stock client before it: nothing here is a double."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.conftest import feast_python as feast_python  # noqa: PLC0414 - a fixture of the neighbours

from e2e import shell
from e2e.desk import wait
from modelwright.client import TOKEN
from modelwright.local.stack import Running, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.peers]
SOURCE = Path(__file__).parents[2] / "src"
DEFINITIONS = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(name="stats", entities=[driver], ttl=timedelta(days=36500),
                    schema=[Field(name="driver_id", dtype=Int64), Field(name="rate", dtype=Float64)],
                    source=FileSource(name="trips", path="trips.parquet", timestamp_field="at"))
model = FeatureService(name="model", features=[stats])
"""
ROWS = """
import pandas as pd
t = pd.Timestamp("2026-01-01", tz="UTC")
rates = [n / 4 for n in range(200)]
pd.DataFrame({"driver_id": range(200), "rate": rates, "at": [t] * 200}).to_parquet("trips.parquet")
"""
CLIENT = """
import json, os
import pandas as pd
from feast import FeatureStore, RepoConfig
url = os.environ["MODELWRIGHT_ENDPOINT"]
store = FeatureStore(config=RepoConfig(
    project="rides", provider="local", entity_key_serialization_version=3,
    registry={"registry_type": "file", "path": os.environ["REGISTRY"], "cache_ttl_seconds": 60},
    online_store={"type": "remote", "path": url},
    auth={"type": "oidc", "token": os.environ["MODELWRIGHT_TOKEN"]},
    offline_store={"type": "modelwright.feast.offline_store.ModelwrightOfflineStore", "endpoint": url,
                   "available": False}))
rows = [{"driver_id": 3}, {"driver_id": 1000}]
online = store.get_online_features(features=store.get_feature_service("model"), entity_rows=rows).to_dict()
asked = pd.DataFrame({"driver_id": [7, 7], "event_timestamp": pd.to_datetime(["2026-01-02", "2025-01-01"], utc=True)})
frame = store.get_historical_features(asked, features=store.get_feature_service("model")).to_df()
print(json.dumps({"online": online, "offline": [None if pd.isna(v) else v for v in frame["rate"]]}))
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    up = shell.run("up", "--detach", "--port", str(shell.free_port()), folder=tmp_path)
    assert up.code == 0, up
    found = Stack(tmp_path).status()
    assert found is not None
    yield found
    shell.run("down", folder=tmp_path)


def test_a_repository_is_moved_and_the_stock_client_reads_it_there(
    running: Running, feast_python: str, tmp_path: Path
) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "feature_store.yaml").write_text("project: rides\nprovider: local\nregistry: registry.db\n")
    (repo / "definitions.py").write_text(DEFINITIONS)
    assert shell.execute(feast_python, "-c", ROWS, folder=repo).code == 0
    moved = shell.run("import", "feast", "repo", "--python", feast_python, "--data", folder=tmp_path)
    assert moved.code == 0, moved
    assert moved.lines[-1] == "landed trips.parquet below trips/ (1 files)"
    s3, lake = running.client("s3"), running.outputs["LakeBucketName"]

    def lies_there() -> bool:
        found = s3.list_objects_v2(Bucket=lake, Prefix="feast/default/").get("KeyCount", 0)
        return bool(found) and answer(online_only(), feast_python, running, tmp_path)["online"]["rate"][0] is not None

    wait(lies_there, "the rows", limit_s=90)
    found = answer(CLIENT, feast_python, running, tmp_path)
    assert found["online"] == {"driver_id": [3, 1000], "rate": [0.75, None]}
    assert found["offline"] == [1.75, None]
    assert shell.run("features", "registry", folder=tmp_path).lines == ["wrote registry.db"]
    same = s3.get_object(Bucket=lake, Key="feast/default/registry.db")["Body"].read()
    assert (tmp_path / "registry.db").read_bytes() == same


def online_only() -> str:
    """Return the client's script without the join."""
    kept = [line for line in CLIENT.splitlines() if not line.startswith(("asked", "frame", "print"))]
    return "\n".join([*kept, 'print(json.dumps({"online": online}))'])


def answer(script: str, python: str, running: Running, folder: Path) -> Any:
    """Return what a script of the client's prints, with the registry on S3."""
    access = running.env()
    done = shell.execute(
        python,
        "-c",
        script,
        folder=folder,
        variables={
            **access,
            "PYTHONPATH": str(SOURCE),
            "PYTHONWARNINGS": "ignore",
            "FEAST_USAGE": "False",
            "MODELWRIGHT_ENDPOINT": running.url,
            "MODELWRIGHT_TOKEN": running.extra[TOKEN],
            "FEAST_S3_ENDPOINT_URL": running.url,
            "REGISTRY": f"s3://{running.outputs['LakeBucketName']}/feast/default/registry.db",
        },
    )
    assert done.code == 0, done
    return json.loads(done.lines[-1])
