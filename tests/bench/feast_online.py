"""Feast's side of ``features_online``: its DynamoDB online store, in an interpreter that has ``feast``.

    PYTHON feast_online.py FOLDER CELLS

Materializes the data into the DynamoDB that the environment names, and prints a line of JSON for each cell.
"""

import json
import random
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

warnings.simplefilter("ignore")

import pandas as pd  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402
from feast.types import Float64  # noqa: E402

from replaying import Replaying  # noqa: E402  # isort: skip


def main(folder, cells):
    """Set up and measure."""
    values = json.loads((folder / "values.json").read_text())
    entity = Entity(name="eid", join_keys=["eid"], value_type=ValueType.INT64)
    names = [list(columns) for columns in values["views"]]
    source = FileSource(path=str(folder / "none.parquet"), timestamp_field="event_timestamp")
    views = [
        FeatureView(
            name=f"view{n}",
            entities=[entity],
            ttl=timedelta(days=3650),
            source=source,
            schema=[Field(name=name, dtype=Float64) for name in columns],
        )
        for n, columns in enumerate(names)
    ]
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "dynamodb", "region": "us-east-1"},
            offline_store={"type": "dask"},
            entity_key_serialization_version=3,
        )
    )
    event = datetime.now(UTC) - timedelta(hours=1)
    frame = {"eid": values["entities"], "event_timestamp": [event] * len(values["entities"])}
    pd.DataFrame({**frame, **values["views"][0]}).to_parquet(folder / "none.parquet")
    store.apply([entity, *views])
    for view, columns in zip(views, values["views"], strict=True):
        store.write_to_online_store(view.name, df=pd.DataFrame({**frame, **columns}))
    with Replaying() as replaying:
        for entities, count in cells:
            used = names[: count // 10]
            asked = [f"view{n}:{name}" for n, columns in enumerate(used) for name in columns]
            measure(store, replaying, asked, values["entities"], entities)


def measure(store, replaying, asked, known, entities):
    """Print what a request costs: the least of several rounds."""
    rng = random.Random(2)
    sets = [rng.sample(known, entities) for _ in range(3)]

    def ask(n):
        return store.get_online_features(asked, [{"eid": e} for e in sets[n % 3]]).to_dict()

    for n in range(3):
        answer = ask(n)
    sent, rounds, times = replaying.sent, max(9, 600 // (entities * 5)), []
    for _ in range(5):
        start = time.process_time()
        for n in range(rounds):
            ask(n)
        times.append((time.process_time() - start) / rounds * 1e3)
    assert replaying.sent == sent, "an answer was not replayed"
    first = {name: values[0] for name, values in answer.items()}
    cell = {"entities": entities, "features": len(asked), "cpu_ms": min(times), "first": first}
    sys.stdout.write(json.dumps(cell) + "\n")


main(Path(sys.argv[1]), json.loads(sys.argv[2]))
