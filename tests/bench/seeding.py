"""Experiments full of finished runs, on our side.

Up to some ten thousand they are written as items and settled by the project's own compaction, but for the
newest, which come in by the front door and are still open. Far more of them are written as the parts that
compaction would make of them.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

from bench.operations import new_experiment
from bench.ours import Ours
from bench.runs import SeededRun, seeded
from modelwright.adapters.parquet import ParquetTables
from modelwright.artifacts import new_run_id
from modelwright.context import Call
from modelwright.log import new_id
from modelwright.storage import Put, Write
from modelwright.tracking.columns import Part
from modelwright.tracking.compaction import BUCKET, compact
from modelwright.tracking.entities import RUN_NAME, Latest, Point, Run
from modelwright.tracking.maintenance import Upkeep
from modelwright.tracking.parts import encode, row_of
from modelwright.tracking.store import TABLE, TrackingStore

OPEN = 50
"""So many runs ended since the last compaction."""
PART_ROWS = (80_000, 20_000, 5_000)
"""Of the parts that compaction leaves when groups of 5,000 runs ended: four of them become one, twice."""
_CHUNK = 2500


def experiment(side: Ours, count: int) -> str:
    """Make an experiment with so many finished runs and return its id."""
    identity = new_experiment(side)
    wiring, call = side.wiring, _call()
    store = TrackingStore(wiring.tables, call, wiring.blobs)
    runs = seeded(count)
    while some := list(islice(runs, min(_CHUNK, max(0, count - OPEN)))):
        count -= len(some)
        wiring.tables.write_many(TABLE, [write.item for write in _puts(store, identity, some)])
    upkeep = Upkeep(wiring.tables, wiring.blobs, ParquetTables(), lambda: datetime.now(UTC), new_id, lambda: True)
    assert compact(call, identity, upkeep).done
    for run in runs:
        _by_the_front_door(side, identity, run)
    return identity


def snapshot(side: Ours, count: int) -> str:
    """Make an experiment that has so many runs in parts alone, and return its id."""
    identity = new_experiment(side)
    wiring, call = side.wiring, _call()
    store = TrackingStore(wiring.tables, call, wiring.blobs)
    runs, parts = seeded(count), list[Part]()
    while count:
        size = next((rows for rows in PART_ROWS if rows <= count), count)
        encoded = encode(row_of(_entity(identity, run), {}) for run in islice(runs, size))
        for kind, body in (("columns", encoded.columns), ("rows", encoded.rows)):
            wiring.blobs.put(BUCKET, encoded.part.key(call.workspace, identity, kind), body)
        parts.append(encoded.part)
        count -= size
    wiring.tables.write([store.put_parts(identity, parts, 0)])
    return identity


def _call() -> Call:
    return Call("default", "bench", datetime.now(UTC), "bench")


def _puts(store: TrackingStore, experiment_id: str, runs: Sequence[SeededRun]) -> Iterator[Put]:
    for seed in runs:
        run = _entity(experiment_id, seed)
        points = [Point(key, m.value, m.timestamp, m.step) for key, m in run.metrics.items()]
        writes: list[Write] = [*store.add_run(run, points), store.put_points(run.run_id, points)]
        yield from (write for write in writes if isinstance(write, Put))


def _entity(experiment_id: str, seed: SeededRun) -> Run:
    run_id = new_run_id(experiment_id)
    return Run(
        run_id=run_id,
        experiment_id=experiment_id,
        run_name=seed.name,
        user_id="b",
        status="FINISHED",
        start_time=seed.start_time,
        end_time=seed.end_time,
        artifact_uri=f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts",
        params=seed.params,
        tags=seed.tags,
        metrics={key: Latest(value, seed.start_time, 0) for key, value in seed.metrics.items()},
    )


def _by_the_front_door(side: Ours, experiment_id: str, run: SeededRun) -> None:
    assert run.tags[RUN_NAME] == run.name
    tags = [{"key": key, "value": value} for key, value in run.tags.items()]
    body = {"experiment_id": experiment_id, "start_time": run.start_time, "tags": tags, "user_id": "b"}
    run_id = side.ask("POST", "runs/create", body)["run"]["info"]["run_id"]
    params = [{"key": key, "value": value} for key, value in run.params.items()]
    metrics = [{"key": k, "value": v, "timestamp": run.start_time, "step": 0} for k, v in run.metrics.items()]
    side.ask("POST", "runs/log-batch", {"run_id": run_id, "params": params, "metrics": metrics})
    side.ask("POST", "runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": run.end_time})
