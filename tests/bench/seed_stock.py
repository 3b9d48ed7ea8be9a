"""``python -m bench.seed_stock DATABASE EXPERIMENT RUNS``: finished runs, straight into the tables of MLflow's server.

Run by the interpreter that has MLflow and the database's driver; needs SQLAlchemy and nothing of ours
but ``bench.runs``. The planner's statistics are brought up to date at the end, which MLflow itself does not do.
"""

import sys
import uuid
from typing import Any

import sqlalchemy as sa

from bench.runs import SeededRun, seeded

_CHUNK = 2000


def main(database: str, experiment_id: str, count: int) -> None:
    """Seed."""
    engine = sa.create_engine(database)
    tables = sa.MetaData()
    tables.reflect(engine, only=["runs", "tags", "params", "metrics", "latest_metrics"])
    pending: list[SeededRun] = []
    for run in seeded(count):
        pending.append(run)
        if len(pending) == _CHUNK:
            _insert(engine, tables, int(experiment_id), pending)
            pending = []
    _insert(engine, tables, int(experiment_id), pending)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("ANALYZE"))


def _insert(engine: sa.Engine, tables: sa.MetaData, experiment_id: int, runs: list[SeededRun]) -> None:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in tables.tables}
    for run in runs:
        identity = uuid.uuid4().hex
        rows["runs"].append(_row(run, identity, experiment_id))
        rows["tags"] += [{"run_uuid": identity, "key": k, "value": v} for k, v in run.tags.items()]
        rows["params"] += [{"run_uuid": identity, "key": k, "value": v} for k, v in run.params.items()]
        figures = [
            {"run_uuid": identity, "key": k, "value": v, "timestamp": run.start_time, "step": 0, "is_nan": False}
            for k, v in run.metrics.items()
        ]
        rows["metrics"] += figures
        rows["latest_metrics"] += figures
    with engine.begin() as connection:
        for name in ("runs", "tags", "params", "metrics", "latest_metrics"):
            if rows[name]:
                connection.execute(sa.insert(tables.tables[name]), rows[name])


def _row(run: SeededRun, identity: str, experiment_id: int) -> dict[str, Any]:
    return {
        "run_uuid": identity, "name": run.name, "source_type": "UNKNOWN", "source_name": "", "entry_point_name": "",
        "user_id": "b", "status": "FINISHED", "start_time": run.start_time, "end_time": run.end_time,
        "source_version": "", "lifecycle_stage": "active", "experiment_id": experiment_id,
        "artifact_uri": f"mlflow-artifacts:/{experiment_id}/{identity}/artifacts",
    }  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
