"""MLflow's own stores on a temporary SQLite file, asked over standard input; run by ``test_filters.py``.

The first line tells what to store and is answered with what MLflow made of it; each line after it is a search,
answered with the names found in order, or with why it was refused.
"""

import itertools
import json
import sys
import tempfile
from typing import Any

import mlflow
import mlflow.entities
import mlflow.entities.model_registry
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store

CLOCK = itertools.count(1_700_000_000_000)
e: Any = mlflow.entities
r: Any = mlflow.entities.model_registry
registry: Any = mlflow.store.model_registry.sqlalchemy_store
tracking: Any = mlflow.store.tracking.sqlalchemy_store
registry.get_current_time_millis = lambda: next(CLOCK)


class Oracle:
    """Both stores."""

    def __init__(self, folder: str) -> None:
        uri = f"sqlite:///{folder}/mlflow.db"
        self.tracking = tracking.SqlAlchemyStore(uri, folder)
        self.registry = registry.SqlAlchemyStore(uri)
        self.experiment = self.tracking.create_experiment("all runs")

    def fill(self, things: dict[str, list[Any]]) -> dict[str, Any]:
        """Store things, and return what is only known then: ids and times, by name."""
        return {
            "version": mlflow.__version__,
            "runs": {run["name"]: self.run(run) for run in things["runs"]},
            "models": {model["name"]: self.model(model) for model in things["models"]},
            "experiments": {each["name"]: self.experiment_of(each) for each in things["experiments"]},
            "traces": [self.trace(trace) for trace in things["traces"]],
            "registry": [self.registered(model) for model in things["registry"]],
        }

    def run(self, told: dict[str, Any]) -> dict[str, Any]:
        run_id = self.tracking.create_run(
            self.experiment, told["user_id"], told["start_time"], [e.RunTag(*pair) for pair in told["tags"].items()],
            told["name"],
        ).info.run_id  # fmt: skip
        metrics = [e.Metric(key, float(value), 1, 0) for key, value in told["metrics"].items()]
        self.tracking.log_batch(run_id, metrics, [e.Param(*pair) for pair in told["params"].items()], [])
        if told["end_time"] is not None:
            self.tracking.update_run_info(run_id, e.RunStatus.from_string(told["status"]), told["end_time"], None)
        inputs = [
            e.DatasetInput(
                e.Dataset(each["name"], each["digest"], "local", "x"),
                [e.InputTag("mlflow.data.context", each["context"])] if each["context"] else [],
            )
            for each in told["datasets"]
        ]
        self.tracking.log_inputs(run_id, inputs, [])
        info = self.tracking.get_run(run_id).info
        return {"run_id": run_id, "artifact_uri": info.artifact_uri, "status": str(info.status)}

    def model(self, told: dict[str, Any]) -> dict[str, Any]:
        made = self.tracking.create_logged_model(
            self.experiment, told["name"], told["source_run_id"],
            [e.LoggedModelTag(*pair) for pair in told["tags"].items()],
            [e.LoggedModelParameter(*pair) for pair in told["params"].items()], told["model_type"],
        )  # fmt: skip
        run_id = self.tracking.create_run(self.experiment, "", 0, [], f"of {told['name']}").info.run_id
        self.tracking.delete_run(run_id) if not told["metrics"] else None
        metrics = [e.Metric(k, float(v), 1, 0, model_id=made.model_id) for k, v in told["metrics"].items()]
        self.tracking.log_batch(run_id, metrics, [], []) if metrics else None
        self.tracking.delete_run(run_id) if metrics else None
        if told["status"] != "PENDING":
            made = self.tracking.finalize_logged_model(made.model_id, e.LoggedModelStatus(told["status"]))
        return {
            "model_id": made.model_id,
            "creation_timestamp_ms": made.creation_timestamp,
            "last_updated_timestamp_ms": made.last_updated_timestamp,
            "experiment_id": self.experiment,
        }

    def experiment_of(self, told: dict[str, Any]) -> dict[str, Any]:
        identity = self.tracking.create_experiment(told["name"])
        for key, value in told["tags"].items():
            self.tracking.set_experiment_tag(identity, e.ExperimentTag(key, value))
        made = self.tracking.get_experiment(identity)
        return {
            "experiment_id": identity,
            "creation_time": made.creation_time,
            "last_update_time": made.last_update_time,
        }

    def trace(self, told: dict[str, Any]) -> str:
        place = e.trace_location.TraceLocation.from_experiment_id(self.experiment)
        state = e.trace_state.TraceState(told["status"])
        more = {"execution_duration": told["execution_time_ms"], "client_request_id": told["client_request_id"]}
        known = {"tags": told["tags"], "trace_metadata": told["metadata"]}
        made = e.trace_info.TraceInfo(told["request_id"], place, told["timestamp_ms"], state, **more, **known)
        self.tracking.start_trace(made)
        identity: str = told["request_id"]
        return identity

    def registered(self, told: dict[str, Any]) -> str:
        self.registry.create_registered_model(
            told["name"], [r.RegisteredModelTag(*pair) for pair in told["tags"].items()]
        )
        for version in told["versions"]:
            tags = [r.ModelVersionTag(*pair) for pair in version["tags"].items()]
            self.registry.create_model_version(told["name"], version["source"], version["run_id"], tags)
        name: str = told["name"]
        return name

    def search(self, kind: str, text: str, order: list[Any]) -> list[str]:
        """Return the names of what is found."""
        if kind == "runs":
            found = self.tracking.search_runs([self.experiment], text, e.ViewType.ACTIVE_ONLY, 1000, order)
            return [run.info.run_name for run in found]
        if kind == "traces":
            found, _ = self.tracking.search_traces([self.experiment], text, 500, order)
            return [trace.trace_id for trace in found]
        if kind == "models":
            return [m.name for m in self.tracking.search_logged_models([self.experiment], text, None, 100, order)]
        if kind == "experiments":
            return [x.name for x in self.tracking.search_experiments(e.ViewType.ALL, 1000, text, order)]
        if kind == "registered":
            return [m.name for m in self.registry.search_registered_models(text, 1000, order)]
        return [f"{v.name}/{v.version}" for v in self.registry.search_model_versions(text, 1000, order)]


def answered(oracle: Oracle, kind: str, text: str, order: list[Any]) -> dict[str, Any]:
    try:
        return {"found": oracle.search(kind, text, order)}
    except Exception as error:  # noqa: BLE001 - whatever MLflow raises, it refuses
        return {"refused": f"{type(error).__name__}: {error}"}


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        oracle = Oracle(folder)
        say(oracle.fill(json.loads(sys.stdin.readline())))
        for line in sys.stdin:
            asked = json.loads(line)
            say(answered(oracle, asked["kind"], asked["filter"], asked["order_by"]))


main()
