"""The other end of a copy: anything that the stock MLflow client opens.

It is asked through the client's own stores (the contract of its plug-ins), because the client itself cannot
say all of it: who began a run, prompts, statuses without an end. So addresses, credentials and SigV4 come
out of the client's own environment variables. Nothing of MLflow is imported before one of these is made.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from modelwright import errors
from modelwright.transfer import entities
from modelwright.transfer.answers import quoted
from modelwright.transfer.opening import checked, local_level, local_path, prepare, stores, translated, without_secrets
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
from modelwright.transfer.renaming import copied_from

_PAGE = 1000
_MODELS_PAGE = 100
_HISTORY_PAGE = 25_000
_ONLY_PROMPTS = "tags.`mlflow.prompt.is_prompt` = 'true'"


class Theirs:
    """A server, database or folder of MLflow's.

    Args:
        uri: ``http(s)://``, ``sqlite:///`` and other databases, ``file:`` or the path of an ``mlruns`` folder.
        registry: where the registered models are, if elsewhere.
        artifacts: a folder or URI where ``mlflow-artifacts:`` is, when no server is there to say it.
        must_exist: whether a database or folder that does not exist is an error; else it is made.

    Raises:
        InvalidInput: there is no such folder or database, or it is of another version of MLflow.
        Unavailable: the server does not answer.
        LocalStackError: MLflow is not installed.
    """

    chooses_numbers = False

    def __init__(self, uri: str, *, registry: str = "", artifacts: str = "", must_exist: bool = True) -> None:
        self._uri = checked(uri, must_exist=must_exist)
        self.name = without_secrets(self._uri)
        self._artifacts = artifacts.rstrip("/")
        prepare(self._uri)
        with translated():
            self._tracking, self._registry = stores(self._uri, registry or self._uri)

    # --- reading --------------------------------------------------------------------------

    def experiments(self) -> Iterator[Experiment]:
        """See ``Source``."""
        found = _paged(lambda token: self._tracking.search_experiments(_all(), _PAGE, None, None, token))
        return (entities.experiment_of(experiment) for experiment in found)

    def runs(self, experiment_id: str, *, since: int = 0) -> Iterator[Run]:
        """See ``Source``."""
        return self._runs(experiment_id, f"attributes.start_time >= {since}" if since else "")

    def copied_runs(self, experiment_id: str) -> Iterator[Run]:
        """See ``Target``."""
        return self._runs(experiment_id, f"tags.`{RUN_ID}` LIKE '%'")

    def run(self, run_id: str) -> Run:
        """See ``Source``."""
        with translated():
            return entities.run_of(self._tracking.get_run(run_id))

    def points(self, run_id: str, key: str) -> list[Point]:
        """See ``Source``."""
        ask = self._tracking.get_metric_history
        found = _paged(lambda token: ask(run_id, key, max_results=_HISTORY_PAGE, page_token=token))
        return [Point(int(m.timestamp), int(m.step), float(m.value)) for m in found]

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """See ``Source``; servers before 3.0 have none."""
        ask = self._tracking.search_logged_models
        try:
            for model in _paged(lambda token: ask([experiment_id], max_results=_MODELS_PAGE, page_token=token)):
                yield entities.logged_model_of(model)
        except (errors.EndpointNotFound, errors.NotImplementedHere):
            return

    def logged_model(self, model_id: str) -> LoggedModel:
        """See ``Source``."""
        with translated():
            return entities.logged_model_of(self._tracking.get_logged_model(model_id))

    def registered_models(self) -> Iterator[RegisteredModel]:
        """See ``Source``."""
        ask = self._registry.search_registered_models
        for only in (None, _ONLY_PROMPTS):
            for model in _paged(partial(ask, only, _MODELS_PAGE, None)):
                yield entities.registered_model_of(model)

    def registered_model(self, name: str) -> RegisteredModel:
        """See ``Source``."""
        with translated():
            return entities.registered_model_of(self._registry.get_registered_model(name))

    def versions(self, model: RegisteredModel) -> list[Version]:
        """See ``Source``."""
        clauses = [f"name = {quoted(model.name)}", *([_ONLY_PROMPTS] if model.is_prompt else [])]
        ask = self._registry.search_model_versions
        found = _paged(lambda token: ask(" AND ".join(clauses), _PAGE, None, token))
        return sorted((entities.version_of(version) for version in found), key=lambda version: version.number)

    def download_uri(self, model: str, number: int) -> str:
        """See ``Source``."""
        with translated():
            return str(self._registry.get_model_version_download_uri(model, str(number)))

    def level(self, uri: str, path: str) -> list[Entry]:
        """See ``Source``."""
        with translated():
            if (local := local_path(self._place(uri))) is not None:
                return local_level(local, path)
            found = self._files(uri).list_artifacts(path or None)
        return [Entry(f.path, bool(f.is_dir), None if f.is_dir else f.file_size) for f in found]

    def fetch(self, uri: str, path: str, folder: Path) -> Path:
        """See ``Source``; whatever the store of the artifacts raises goes on."""
        if (local := local_path(self._place(uri))) is not None:
            return local / path
        file = folder / Path(path).name
        with translated():  # the method that stores of artifacts are made of; the public one lists first
            self._files(uri)._download_file(path, str(file))
        return file

    # --- writing --------------------------------------------------------------------------

    def add_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """See ``Target``."""
        with translated():
            return str(self._tracking.create_experiment(name, None, entities.pairs("ExperimentTag", tags)))

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        for tag in entities.pairs("ExperimentTag", tags):
            with translated():
                self._tracking.set_experiment_tag(experiment_id, tag)

    def move_experiment(self, experiment_id: str, *, deleted: bool) -> None:
        """See ``Target``."""
        move = self._tracking.delete_experiment if deleted else self._tracking.restore_experiment
        with translated():
            move(experiment_id)

    def add_run(self, run: Run, *, key: str) -> str:
        """See ``Target``; MLflow knows no keys: what keeps a run from being made twice are its tags."""
        tags = entities.pairs("RunTag", run.tags)
        with translated():
            made = self._tracking.create_run(run.experiment_id, run.user, run.start, tags, run.name or None)
        return str(made.info.run_id)

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[tuple[str, ModelPoint]] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """See ``Target``."""
        with translated():
            metrics = [entities.metric(point, model) for model, point in points]
            self._tracking.log_batch(
                run_id, metrics, entities.pairs("Param", params or {}), entities.pairs("RunTag", tags or {})
            )

    def link(
        self,
        run_id: str,
        *,
        datasets: Sequence[DatasetInput] = (),
        inputs: Sequence[str] = (),
        outputs: Sequence[tuple[str, int]] = (),
    ) -> None:
        """See ``Target``."""
        with translated():
            if datasets or inputs:
                self._tracking.log_inputs(run_id, entities.dataset_inputs(datasets), entities.model_inputs(inputs))
            if outputs:
                self._tracking.log_outputs(run_id, entities.model_outputs(outputs))

    def close_run(self, run_id: str, status: str, end: int | None) -> None:
        """See ``Target``."""
        with translated():
            self._tracking.update_run_info(run_id, entities.run_status(status), end, None)

    def move_run(self, run_id: str, *, deleted: bool) -> None:
        """See ``Target``."""
        with translated():
            (self._tracking.delete_run if deleted else self._tracking.restore_run)(run_id)

    def add_logged_model(self, model: LoggedModel, *, key: str) -> str:
        """See ``Target``; ``key`` as for ``add_run``."""
        tags, kind = entities.pairs("LoggedModelTag", model.tags), model.model_type or None
        with translated():
            made = self._tracking.create_logged_model(
                model.experiment_id, model.name, model.run_id or None, tags, None, kind
            )
        return str(made.model_id)

    def describe_logged_model(
        self, model_id: str, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """See ``Target``."""
        with translated():
            if params:
                self._tracking.log_logged_model_params(model_id, entities.pairs("LoggedModelParameter", params))
            if tags:
                self._tracking.set_logged_model_tags(model_id, entities.pairs("LoggedModelTag", tags))

    def finish_logged_model(self, model_id: str, status: str) -> None:
        """See ``Target``."""
        with translated():
            self._tracking.finalize_logged_model(model_id, entities.model_status(status))

    def put(self, uri: str, path: str, file: Path) -> None:
        """See ``Target``."""
        with translated():
            self._files(uri).log_artifact(str(file), path.rpartition("/")[0] or None)

    def add_registered_model(self, model: RegisteredModel) -> None:
        """See ``Target``."""
        with translated():
            tags = entities.pairs("RegisteredModelTag", model.tags)
            self._registry.create_registered_model(model.name, tags, model.description)

    def describe_registered_model(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        with translated():
            self._registry.update_registered_model(name, description)
            for tag in entities.pairs("RegisteredModelTag", tags):
                self._registry.set_registered_model_tag(name, tag)

    def add_version(self, version: Version) -> int:
        """See ``Target``."""
        tags = entities.pairs("ModelVersionTag", version.tags)
        model_id = None if copied_from(version.source) else version.model_id or None  # what it copies tells it
        with translated():
            made = self._registry.create_model_version(
                version.model, version.source, version.run_id or None, tags, version.run_link or None,
                version.description or None, model_id=model_id,
            )  # fmt: skip
        return int(made.version)

    def describe_version(self, model: str, number: int, description: str, tags: Mapping[str, str]) -> None:
        """See ``Target``."""
        with translated():
            self._registry.update_model_version(model, str(number), description)
            for tag in entities.pairs("ModelVersionTag", tags):
                self._registry.set_model_version_tag(model, str(number), tag)

    def drop_version(self, model: str, number: int) -> None:
        """See ``Target``."""
        with translated():
            self._registry.delete_model_version(model, str(number))

    def stage_version(self, model: str, number: int, stage: str) -> None:
        """See ``Target``."""
        with translated():
            self._registry.transition_model_version_stage(model, str(number), stage, False)

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """See ``Target``."""
        with translated():
            self._registry.set_registered_model_alias(model, alias, str(number))

    # --- private --------------------------------------------------------------------------

    def _runs(self, experiment_id: str, only: str) -> Iterator[Run]:
        ask = self._tracking.search_runs
        found = _paged(lambda token: ask([experiment_id], only, _all(), _PAGE, None, token))
        return (entities.run_of(run) for run in found)

    def _place(self, uri: str) -> str:
        """Return where files lie that are said to lie somewhere: below ``artifacts``, or in a folder's trash."""
        if uri.startswith("mlflow-artifacts:") and self._artifacts:
            return f"{self._artifacts}/{uri.removeprefix('mlflow-artifacts:').lstrip('/')}"
        local, folder = local_path(uri), local_path(self._uri)
        if local is None or folder is None or local.exists() or not local.is_relative_to(folder):
            return uri
        thrown = folder / ".trash" / local.relative_to(folder)
        return str(thrown) if thrown.exists() else uri

    def _files(self, uri: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(self._place(uri), tracking_uri=self._uri)


def _all() -> int:
    from mlflow.entities import ViewType

    return int(ViewType.ALL)


def _paged(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        with translated():
            found = ask(token)
        yield from found
        if not (token := found.token or None):
            return
