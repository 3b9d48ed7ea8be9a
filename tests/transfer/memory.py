"""Either end of a copy, in memory: with MLflow's rules, and with faults where a test wants them."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from modelwright.errors import AlreadyExists, InvalidInput, NotFound, Unavailable
from modelwright.transfer.records import (
    RUN_ID,
    DatasetInput,
    Entry,
    Experiment,
    LoggedModel,
    ModelPoint,
    Point,
    RegisteredModel,
    Run,
    Version,
)

K = TypeVar("K")
T = TypeVar("T")
WRITES = (
    "add_experiment", "tag_experiment", "move_experiment", "add_run", "log", "link", "close_run", "move_run",
    "add_logged_model", "describe_logged_model", "finish_logged_model", "put", "add_registered_model",
    "describe_registered_model", "add_version", "describe_version", "drop_version", "stage_version", "set_alias",
)  # fmt: skip


@dataclass
class MemorySide:
    """A source and a target.

    Attributes:
        name: what it is called, and what its ids begin with.
        chooses_numbers: whether a version may be given its number, as at the platform; else it gets the next one.
        knows_keys: whether a creation with the key of one before it returns what that made.
        refuses: a param of this key, as a server with other rules would.
        loses: points of this metric, as no server should.
        clamps: infinities, as databases do.
        broken: files that cannot be read, by path.
        break_at: the number of the writing (from 1) at which it stops to answer for good.
        effective: whether that writing still has its effect, and only its answer is lost.
    """

    name: str = "a"
    chooses_numbers: bool = True
    knows_keys: bool = True
    refuses: str = ""
    loses: str = ""
    clamps: bool = False
    broken: Sequence[str] = ()
    break_at: int = 0
    effective: bool = False
    writes: int = 0
    found: dict[str, Experiment] = field(default_factory=dict)
    executions: dict[str, Run] = field(default_factory=dict)
    histories: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    models: dict[str, LoggedModel] = field(default_factory=dict)
    registered: dict[str, RegisteredModel] = field(default_factory=dict)
    numbered: dict[tuple[str, int], Version] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock, repr=False)

    def __getattribute__(self, name: str) -> Any:
        """Count what writes, and fail where it is wanted."""
        found = super().__getattribute__(name)
        return self._counted(found) if name in WRITES else found

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(write)
        def counted(*arguments: Any, **named: Any) -> Any:
            with self.lock:
                self.writes += 1
                broken = self.break_at and self.writes >= self.break_at
                if broken and not (self.effective and self.writes == self.break_at):
                    raise Unavailable("it does not answer")
                result = write(*arguments, **named)
                if broken:
                    raise Unavailable("it does not answer any more")
                return result

        return counted

    # --- reading --------------------------------------------------------------------------

    def experiments(self) -> Iterator[Experiment]:
        return iter(list(self.found.values()))

    def runs(self, experiment_id: str, *, since: int = 0) -> Iterator[Run]:
        runs = [self.run(run.run_id) for run in self.executions.values() if run.experiment_id == experiment_id]
        return iter([run for run in runs if run.start >= since])

    def copied_runs(self, experiment_id: str) -> Iterator[Run]:
        return (run for run in self.runs(experiment_id) if RUN_ID in run.tags)

    def run(self, run_id: str) -> Run:
        run = self._of(self.executions, run_id)
        keys = frozenset(key for found, key in self.histories if found == run_id)
        return replace(run, metrics=keys, deleted=run.deleted or self.found[run.experiment_id].deleted)

    def points(self, run_id: str, key: str) -> list[Point]:
        return list(self.histories.get((run_id, key), ()))

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        return iter([model for model in self.models.values() if model.experiment_id == experiment_id])

    def logged_model(self, model_id: str) -> LoggedModel:
        return self._of(self.models, model_id)

    def registered_models(self) -> Iterator[RegisteredModel]:
        return iter(list(self.registered.values()))

    def registered_model(self, name: str) -> RegisteredModel:
        return self._of(self.registered, name)

    def versions(self, model: RegisteredModel) -> list[Version]:
        return [version for (name, _), version in sorted(self.numbered.items()) if name == model.name]

    def download_uri(self, model: str, number: int) -> str:
        source = self._of(self.numbered, (model, number)).source
        name, _, copied = source.removeprefix("models:/").rpartition("/")
        return self.download_uri(name, int(copied)) if name and copied.isdigit() else self._resolved(source)

    def level(self, uri: str, path: str) -> list[Entry]:
        below = f"{uri}/{path}".rstrip("/") + "/"
        rest = {name.removeprefix(below): len(body) for name, body in self.files.items() if name.startswith(below)}
        folder = f"{path}/" if path else ""
        folders = {name.partition("/")[0] for name in rest if "/" in name}
        return [
            *(Entry(folder + name, is_folder=True) for name in sorted(folders)),
            *(Entry(folder + name, is_folder=False, size=size) for name, size in rest.items() if "/" not in name),
        ]

    def fetch(self, uri: str, path: str, folder: Path) -> Path:
        if path in self.broken:
            raise NotFound(f"No such artifact: {path}")
        file = folder / Path(path).name
        file.write_bytes(self.files[f"{uri}/{path}"])
        return file

    # --- writing --------------------------------------------------------------------------

    def add_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        if any(experiment.name == name for experiment in self.found.values()):
            raise AlreadyExists(name)
        identity = str(len(self.found))
        self.found[identity] = Experiment(identity, name, dict(tags))
        return identity

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        experiment = self._awake(experiment_id)
        self.found[experiment_id] = replace(experiment, tags={**experiment.tags, **tags})

    def move_experiment(self, experiment_id: str, *, deleted: bool) -> None:
        experiment = self._of(self.found, experiment_id)
        if experiment.deleted == deleted:
            raise NotFound(f"{experiment_id} is {'deleted' if deleted else 'active'} already")
        self.found[experiment_id] = replace(experiment, deleted=deleted)
        if not deleted:
            for run in [run for run in self.executions.values() if run.experiment_id == experiment_id]:
                self.executions[run.run_id] = replace(run, deleted=False)

    def add_run(self, run: Run, *, key: str = "") -> str:
        self._awake(run.experiment_id)
        if self.knows_keys and key in self.keys:
            return self.keys[key]
        identity = f"{self.name}{len(self.executions):031x}"
        made = replace(run, run_id=identity, status="RUNNING", end=None, artifact_uri=f"{self.name}://files/{identity}")
        self.executions[identity] = replace(made, deleted=False)
        self.keys[key] = identity
        return identity

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[tuple[str, ModelPoint]] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        run = self._writable(run_id)
        if self.refuses in (params or {}) or any(run.params.get(k, v) != v for k, v in (params or {}).items()):
            raise InvalidInput("this param is refused")
        all_tags = {**run.tags, **(tags or {})}
        name = all_tags.get("mlflow.runName", run.name)
        self.executions[run_id] = replace(run, params={**run.params, **(params or {})}, tags=all_tags, name=name)
        keys = {point.key for _, point in points}
        places = {key: {known.place for known in self.histories.get((run_id, key), ())} for key in keys}
        for model, point in points:
            history = self.histories.setdefault((run_id, point.key), [])
            if point.point.place not in places[point.key] and point.key != self.loses:
                places[point.key].add(point.point.place)
                history.append(self._kept(point.point))
            if model:
                known = self._of(self.models, model)
                self.models[model] = replace(known, points=(*known.points, point._replace(run_id=run_id)))

    def link(
        self,
        run_id: str,
        *,
        datasets: Sequence[DatasetInput] = (),
        inputs: Sequence[str] = (),
        outputs: Sequence[tuple[str, int]] = (),
    ) -> None:
        run = self._writable(run_id)
        by_name = {(d.name, d.digest): d for d in (*datasets, *run.datasets)}  # the first one of its name stays
        self.executions[run_id] = replace(
            run,
            datasets=tuple(by_name.values()),
            model_inputs=tuple(dict.fromkeys((*run.model_inputs, *inputs))),
            model_outputs=tuple(dict.fromkeys((*run.model_outputs, *outputs))),
        )

    def close_run(self, run_id: str, status: str, end: int | None) -> None:
        self.executions[run_id] = replace(self._writable(run_id), status=status, end=end)

    def move_run(self, run_id: str, *, deleted: bool) -> None:
        self._awake(self._of(self.executions, run_id).experiment_id)
        self.executions[run_id] = replace(self.executions[run_id], deleted=deleted)

    def add_logged_model(self, model: LoggedModel, *, key: str = "") -> str:
        self._awake(model.experiment_id)
        if self.knows_keys and key in self.keys:
            return self.keys[key]
        identity = f"m-{self.name}e{len(self.models):030x}"
        uri = f"{self.name}://files/{identity}"
        self.models[identity] = replace(
            model, model_id=identity, status="PENDING", artifact_uri=uri, params={}, points=()
        )
        self.keys[key] = identity
        return identity

    def describe_logged_model(
        self, model_id: str, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        model = self._of(self.models, model_id)
        params, tags = {**model.params, **(params or {})}, {**model.tags, **(tags or {})}
        self.models[model_id] = replace(model, params=params, tags=tags)

    def finish_logged_model(self, model_id: str, status: str) -> None:
        self.models[model_id] = replace(self._of(self.models, model_id), status=status)

    def put(self, uri: str, path: str, file: Path) -> None:
        assert file.name == Path(path).name
        self.files[f"{uri}/{path}"] = file.read_bytes()

    def add_registered_model(self, model: RegisteredModel) -> None:
        if model.name in self.registered:
            raise AlreadyExists(model.name)
        self.registered[model.name] = replace(model, aliases={})

    def describe_registered_model(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        model = self._of(self.registered, name)
        self.registered[name] = replace(model, description=description, tags={**model.tags, **tags})

    def add_version(self, version: Version) -> int:
        self._of(self.registered, version.model)
        newest = self.highest.get(version.model, 0)
        number = version.number if self.chooses_numbers and version.number else newest + 1
        if number <= newest:
            raise AlreadyExists(f"v{number}")
        self.highest[version.model] = number
        self.numbered[version.model, number] = replace(version, number=number, stage="None")
        return number

    def describe_version(self, model: str, number: int, description: str, tags: Mapping[str, str]) -> None:
        version = self._of(self.numbered, (model, number))
        changed = replace(version, description=description, tags={**version.tags, **tags})
        self.numbered[model, number] = changed

    def drop_version(self, model: str, number: int) -> None:
        self._of(self.numbered, (model, number))
        del self.numbered[model, number]

    def stage_version(self, model: str, number: int, stage: str) -> None:
        self.numbered[model, number] = replace(self._of(self.numbered, (model, number)), stage=stage)

    def set_alias(self, model: str, alias: str, number: int) -> None:
        self._of(self.numbered, (model, number))
        found = self.registered[model]
        self.registered[model] = replace(found, aliases={**found.aliases, alias: number})

    # --- private --------------------------------------------------------------------------

    def _of(self, things: Mapping[K, T], identity: K) -> T:
        if identity not in things:
            raise NotFound(f"{identity} is not at {self.name}")
        return things[identity]

    def _awake(self, experiment_id: str) -> Experiment:
        experiment: Experiment = self._of(self.found, experiment_id)
        if experiment.deleted:
            raise InvalidInput(f"the experiment {experiment_id} is deleted")
        return experiment

    def _writable(self, run_id: str) -> Run:
        run: Run = self._of(self.executions, run_id)
        if self.run(run_id).deleted:
            raise InvalidInput(f"the run {run_id} is deleted")
        return run

    def _kept(self, point: Point) -> Point:
        largest = sys.float_info.max
        kept = max(-largest, min(largest, point.value)) if self.clamps else point.value
        return point._replace(value=kept if point.value == point.value else point.value)

    def _resolved(self, source: str) -> str:
        scheme, _, rest = source.partition(":/")
        identity, slash, inside = rest.partition("/")
        roots = {f"runs {run.run_id}": run.artifact_uri for run in self.executions.values()}
        roots |= {f"models {model.model_id}": model.artifact_uri for model in self.models.values()}
        root = roots.get(f"{scheme} {identity}")
        return f"{root}{slash}{inside}" if root else source
