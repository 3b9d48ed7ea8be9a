"""Fills an MLflow with something of everything, and says all that an MLflow can say; run in its own interpreter.

    python mlflow_store.py 'fill|URI|SEED' 'dump|URI|FILE' 'modelwright|import|mlflow|URI' ...

A dump is JSON in which nothing has an id: runs and logged models are called by their names, which ``fill``
makes unique, so that two stores that hold the same say the same.
"""

import hashlib
import json
import logging
import math
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunStatus,
    RunTag,
    ViewType,
)

from modelwright.cli import main

VALUES = (0.0, -0.0, 1.5, -2.25, 1e308, 5e-324, math.nan, math.inf, -math.inf, 0.1)
TEXTS = ("", "x", "a b", "ünï ☃", "l\nn", "'q\"", "%2e", "9" * 6000)
KEYS = ("k", "a b", "a/b.c-d", "K_1", "deep/er/key")
MARKS = "modelwright.import."
NAMES = ("churn", "it's", "wi/th 'odd\" name", "deleted one")
MODEL = "it's a model"


class Filler:
    """Fills a store from a seed."""

    def __init__(self, uri: str, seed: int, folder: Path) -> None:
        self.random, self.folder = random.Random(seed), folder
        self.client = MlflowClient(uri, uri)
        self.store: Any = self.client._tracking_client.store
        self.runs: list[str] = []
        self.models: list[str] = []
        self.in_folder = not uri.startswith(("sqlite", "http"))
        self.names = [name.replace("'", "").replace('"', "") if self.in_folder else name for name in NAMES]
        self.name = MODEL.replace("'", "") if self.in_folder else MODEL  # folders cannot find names with quotes

    def fill(self) -> None:
        experiments = ["0", *(self.client.create_experiment(name, tags=self.pairs()) for name in self.names)]
        for number, experiment in enumerate(experiments):
            for each in range(self.random.randint(1, 3)):
                self.runs.append(self.run(experiment, f"run {number}.{each}"))
                self.models += [self.model(experiment, f"model-{number}-{n}") for n in range(each * 10, each * 10 + 1)]
        self.relate()
        self.register()
        for run in self.random.sample(self.runs, 2):
            self.client.delete_run(run)
        self.client.delete_experiment(experiments[-1])

    def run(self, experiment: str, name: str) -> str:
        some = self.random
        start = 1_700_000_000_000 + some.randint(0, 10**6)
        tags = [RunTag(k, v) for k, v in {**self.pairs(), "mlflow.user": "ann"}.items()]
        run: str = self.store.create_run(experiment, some.choice(("ann", "bob")), start, tags, name).info.run_id
        params = [Param(key, some.choice(TEXTS)) for key in some.sample(KEYS, some.randint(0, len(KEYS)))]
        self.client.log_batch(run, self.metrics(), params, [])
        datasets = [self.dataset(n) for n in range(some.randint(0, 2))]
        if datasets:
            self.client.log_inputs(run, datasets)
        for path in some.sample(("a.txt", "empty.bin", "d/e/f g.txt", "d/ü b.bin", "d/h+(1).txt"), some.randint(0, 5)):
            self.artifact(path, lambda file, parent: self.client.log_artifact(run, str(file), parent))
        status, ended = some.choice(
            (("FINISHED", 5), ("FAILED", 7), ("KILLED", 9), ("SCHEDULED", None), ("RUNNING", None))
        )
        self.store.update_run_info(run, RunStatus.from_string(status), start + ended if ended else None, None)
        return run

    def model(self, experiment: str, name: str) -> str:
        some, run = self.random, self.runs[-1]
        model = self.client.create_logged_model(
            experiment, name, run, tags=self.pairs(), params=self.pairs(), model_type=some.choice((None, "agent"))
        )
        for path in ("MLmodel", "data/model.pkl"):
            self.artifact(path, lambda file, parent: self.client.log_model_artifact(model.model_id, str(file)))
        points = [Metric(f"of {name}", float(n), 1000 + n, n, model.model_id) for n in range(some.randint(0, 3))]
        if not self.in_folder:  # which forget the step of such points
            points += [Metric(f"on {name}", 0.5, 9, 2, model.model_id, "data", "d1")] * some.randint(0, 1)
        self.client.log_batch(run, points)
        self.client.log_outputs(run, [LoggedModelOutput(model.model_id, some.randint(0, 5))])
        if status := some.choice((LoggedModelStatus.READY, LoggedModelStatus.FAILED, None)):
            self.client.finalize_logged_model(model.model_id, status)
        return str(model.model_id)

    def relate(self) -> None:
        for child, parent in zip(self.runs, self.random.sample(self.runs, len(self.runs)), strict=True):
            if child != parent and self.random.random() < 0.5:
                self.client.set_tag(child, "mlflow.parentRunId", parent)
            if self.random.random() < 0.3:
                self.client.log_inputs(child, models=[LoggedModelInput(self.random.choice(self.models))])
            history = [{"run_id": child, "artifact_path": "m", "flavors": {}}]
            self.client.set_tag(child, "mlflow.log-model.history", json.dumps(history))

    def register(self) -> None:
        some, client = self.random, self.client
        for name in ("lone", self.name, "copy"):
            client.create_registered_model(name, self.pairs(), some.choice(TEXTS[:5]))
        for n in range(some.randint(3, 5)):
            model = some.choice(self.models)
            client.create_model_version(
                self.name, f"models:/{model}", tags=self.pairs(), run_link="http://x/y" if n else None,
                description=some.choice(TEXTS[1:5]), model_id=model,
            )  # fmt: skip
        with_files = [r for r in self.runs if any(not f.is_dir for f in client.list_artifacts(r))]
        for run in some.sample(with_files, 2):
            root = client.get_run(run).info.artifact_uri
            client.create_model_version(self.name, root, run)
        client.copy_model_version(f"models:/{self.name}/2", "copy")
        client.delete_model_version(self.name, "1")
        client.delete_model_version(self.name, "3")
        client.set_registered_model_alias(self.name, "champion", "2")
        client.set_registered_model_alias(self.name, "other", "4")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client.transition_model_version_stage(self.name, "4", "Production")
        client.register_prompt("greeting", "Hello {{name}}", tags={"lang": "en"})
        client.register_prompt("greeting", "Good day {{name}}", commit_message="politer")
        client.set_prompt_alias("greeting", "live", 2)

    def pairs(self) -> dict[str, str]:
        some = self.random
        return {key: some.choice(TEXTS[1:7]) for key in some.sample(KEYS, some.randint(0, 3))}

    def metrics(self) -> list[Metric]:
        some = self.random
        points = [
            Metric(key, some.choice(VALUES), some.choice((0, 1, 10**12)), some.choice((-3, 0, 1, 2**40)))
            for key in some.sample(KEYS, some.randint(0, 4))
            for _ in range(some.randint(1, 30))
        ]
        return points + points[:2]

    def dataset(self, number: int) -> DatasetInput:
        schema = json.dumps({"columns": number}) if number else None
        dataset = Dataset(f"data{number}", f"d{number}", "local", f"/data/{number}", schema, '{"rows": 1}')
        return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")] * number)

    def artifact(self, path: str, log: Any) -> None:
        file = self.folder / Path(path).name
        file.write_bytes(b"" if "empty" in path else self.random.randbytes(self.random.randint(1, 5000)))
        log(file, str(Path(path).parent) if "/" in path else None)


class Dumper:
    """Says all of a store."""

    def __init__(self, uri: str) -> None:
        self.client = MlflowClient(uri, uri)
        client: Any = self.client
        self.registry = client._get_registry_client().store
        self.names: dict[str, str] = {}
        self.folder = "" if uri.startswith(("sqlite", "http")) else uri

    def dump(self) -> dict[str, Any]:
        experiments = list(self.client.search_experiments(ViewType.ALL))
        runs = {
            e.experiment_id: self.client.search_runs([e.experiment_id], run_view_type=ViewType.ALL) for e in experiments
        }
        models = {e.experiment_id: self.client.search_logged_models([e.experiment_id]) for e in experiments}
        self.names |= {r.info.run_id: f"<{r.info.run_name}>" for some in runs.values() for r in some}
        self.names |= {m.model_id: f"<{m.name}>" for some in models.values() for m in some}
        return {
            "experiments": {
                e.name: {
                    "tags": self.tags(e.tags),
                    "stage": e.lifecycle_stage,
                    "runs": {r.info.run_name: self.run(r.info.run_id) for r in runs[e.experiment_id]},
                    "models": {m.name: self.model(m) for m in models[e.experiment_id]},
                }
                for e in experiments
            },
            "registered": {model.name: self.registered(model) for model in self.registered_models()},
        }

    def run(self, run_id: str) -> dict[str, Any]:
        run = self.client.get_run(run_id)
        info = {n: getattr(run.info, n) for n in ("user_id", "status", "start_time", "end_time", "lifecycle_stage")}
        inputs, outputs = run.inputs, run.outputs
        return {
            **info,
            "params": run.data.params,
            "tags": self.tags(run.data.tags),
            "latest": {key: repr(clamped(value)) for key, value in run.data.metrics.items()},
            "points": {key: places(self.client.get_metric_history(run_id, key)) for key in run.data.metrics},
            "datasets": sorted(
                (json.dumps(dict(d.dataset), sort_keys=True), sorted((t.key, t.value) for t in d.tags))
                for d in (inputs.dataset_inputs if inputs else ())
            ),
            "read": sorted(self.names.get(m.model_id, m.model_id) for m in (inputs.model_inputs if inputs else ())),
            "made": sorted(
                (self.names.get(m.model_id, m.model_id), m.step) for m in (outputs.model_outputs if outputs else ())
            ),
            "files": self.files(run.info.artifact_uri),
        }  # fmt: skip

    def model(self, model: Any) -> dict[str, Any]:
        return {
            "type": model.model_type or "",
            "status": str(model.status),
            "run": self.names.get(model.source_run_id or "", model.source_run_id),
            "params": model.params,
            "tags": self.tags(model.tags),
            "metrics": newest(
                ((m.key, self.names.get(m.run_id or ""), m.dataset_name or ""), (m.step, m.timestamp, m.value))
                for m in model.metrics or ()
            ),
            "files": self.files(model.artifact_location),
        }

    def registered_models(self) -> Iterable[Any]:
        for only in (None, "tags.`mlflow.prompt.is_prompt` = 'true'"):
            yield from self.registry.search_registered_models(only, 1000, None, None)

    def registered(self, model: Any) -> dict[str, Any]:
        name = json.dumps(model.name) if "'" in model.name else f"'{model.name}'"
        only = f"name={name}" + (" AND tags.`mlflow.prompt.is_prompt` = 'true'" if model._is_prompt() else "")
        found = self.registry.search_model_versions(only, 1000, None, None)
        return {
            "description": model.description or "",
            "tags": self.tags(model._tags),
            "aliases": {alias: int(version) for alias, version in model.aliases.items()},
            "versions": {int(v.version): self.version(v) for v in found},
        }

    def version(self, version: Any) -> dict[str, Any]:
        prompt = version._is_prompt()
        uri = self.registry.get_model_version_download_uri(version.name, version.version)
        return {
            "run": self.names.get(version.run_id or "", version.run_id or ""),
            "link": version.run_link or "",
            "description": version.description or "",
            "stage": version.current_stage,
            "tags": self.tags(version.tags),
            "source": version.source if prompt else self.source(version.source),
            "files": {} if prompt else self.files(uri),
        }

    def source(self, uri: str) -> str:
        """Return what a source names: the part from the id on, called by its name."""
        found = re.search("|".join(map(re.escape, self.names)), uri)
        return self.names[found[0]] + uri[found.end() :] if found else uri

    def files(self, uri: str) -> dict[str, str]:
        """Return a digest of every file below a URI; folders do not say where those of deleted experiments went."""
        thrown = uri.replace(self.folder, f"{self.folder}/.trash")
        uri = thrown if self.folder and Path(thrown).exists() else uri
        with tempfile.TemporaryDirectory() as folder:
            if not list_artifacts(artifact_uri=uri):
                return {}
            root = Path(download_artifacts(artifact_uri=uri, dst_path=folder))
            found = (path for path in root.rglob("*") if path.is_file())
            return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def tags(self, given: Any) -> dict[str, str]:
        kept = {key: value for key, value in dict(given).items() if not key.startswith(MARKS)}
        for identity, name in self.names.items():
            kept = {key: value.replace(identity, name) for key, value in kept.items()}
        return kept


def clamped(value: float) -> float:
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value + 0.0


def places(points: Iterable[Metric]) -> list[Any]:
    return sorted({(m.timestamp, m.step, repr(clamped(m.value))) for m in points})


def newest(points: Iterable[tuple[Any, Any]]) -> list[Any]:
    """Return the newest value of each metric of a model: the platform keeps no more."""
    return sorted(dict(sorted(points)).items())


def step(command: str, *rest: str) -> None:
    """Do one thing: fill, dump (into a file), or run a command of modelwright, whose exit status is printed."""
    if command == "modelwright":
        sys.argv = ["modelwright", *rest]
        try:
            main.run()
            code: object = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
            sys.stderr.write("" if isinstance(ended.code, int) else f"{ended.code}\n")
        sys.stdout.write(f"exit status {code}\n")
        return
    mlflow.set_tracking_uri(rest[0])
    mlflow.set_registry_uri(rest[0])
    if command == "fill":
        with tempfile.TemporaryDirectory() as folder:
            Filler(rest[0], int(rest[1]), Path(folder)).fill()
    else:
        Path(rest[1]).write_text(json.dumps(Dumper(rest[0]).dump(), sort_keys=True, indent=1))


if __name__ == "__main__":
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for line in sys.argv[1:]:
        step(*line.split("|"))
