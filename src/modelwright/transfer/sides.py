"""The two ends of a copy, as ports: a source is read, a target is read and written.

Both are asked from several threads at once. They raise ``ModelwrightError``: ``Unavailable``,
``Unauthenticated`` and ``Forbidden`` end the whole copy (``FATAL``), everything else is a fault of the one
thing that was asked for. ``level``, ``fetch`` and ``put`` may also raise whatever a store of artifacts raises.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from modelwright import errors
from modelwright.transfer.records import (
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

FATAL = (errors.Unavailable, errors.Unauthenticated, errors.Forbidden)
POINTS_AT_ONCE, PAIRS_AT_ONCE = 1000, 100
"""How many points, and how many params and tags each, fit into one ``log``."""


class Source(Protocol):
    """What is read."""

    @property
    def name(self) -> str:
        """The address, without secrets: how tags and messages call it."""
        ...

    def experiments(self) -> Iterator[Experiment]:
        """Yield every experiment, deleted ones too."""
        ...

    def runs(self, experiment_id: str, *, since: int = 0) -> Iterator[Run]:
        """Yield an experiment's runs, deleted ones too, that started at or after ``since`` (milliseconds)."""
        ...

    def run(self, run_id: str) -> Run:
        """Return a run in any stage; raises ``NotFound``."""
        ...

    def points(self, run_id: str, key: str) -> list[Point]:
        """Return all points of a metric, in any order."""
        ...

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """Yield an experiment's logged models; deleted ones cannot be read."""
        ...

    def logged_model(self, model_id: str) -> LoggedModel:
        """Return a logged model; raises ``NotFound``."""
        ...

    def registered_models(self) -> Iterator[RegisteredModel]:
        """Yield every registered model and every prompt."""
        ...

    def registered_model(self, name: str) -> RegisteredModel:
        """Return a registered model or prompt; raises ``NotFound``."""
        ...

    def versions(self, model: RegisteredModel) -> list[Version]:
        """Return a model's versions by number."""
        ...

    def download_uri(self, model: str, number: int) -> str:
        """Return where a version's files lie, copies of versions resolved."""
        ...

    def level(self, uri: str, path: str) -> list[Entry]:
        """Return what lies in the folder ``path`` below ``uri``; nothing if there is no such folder."""
        ...

    def fetch(self, uri: str, path: str, folder: Path) -> Path:
        """Return a local file with the bytes of a file, in ``folder`` unless it is a local one already."""
        ...


class Target(Source, Protocol):
    """What is written; every writing can be sent again without doing harm, but for ``add_*`` without a key."""

    def copied_runs(self, experiment_id: str) -> Iterator[Run]:
        """Yield those of an experiment's runs, in any stage, that a copy made."""
        ...

    def add_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Make an experiment and return its id; raises if its name is taken."""
        ...

    def tag_experiment(self, experiment_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        ...

    def move_experiment(self, experiment_id: str, *, deleted: bool) -> None:
        """Delete an active experiment, or restore a deleted one."""
        ...

    def add_run(self, run: Run, *, key: str) -> str:
        """Begin a run with the name, user, start and tags of ``run``, and return its id.

        Args:
            run: what to make; its experiment is the target's.
            key: names the request, so that the same request makes one run, where the target knows such keys.
        """
        ...

    def log(
        self,
        run_id: str,
        *,
        points: Sequence[tuple[str, ModelPoint]] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log what fits into one request; a point comes with the id of the model that it is of, if any."""
        ...

    def link(
        self,
        run_id: str,
        *,
        datasets: Sequence[DatasetInput] = (),
        inputs: Sequence[str] = (),
        outputs: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Record what a run read and made."""
        ...

    def close_run(self, run_id: str, status: str, end: int | None) -> None:
        """Set status and end time."""
        ...

    def move_run(self, run_id: str, *, deleted: bool) -> None:
        """Delete or restore a run."""
        ...

    def add_logged_model(self, model: LoggedModel, *, key: str) -> str:
        """Make a logged model with name, type, run and tags of ``model`` and return its id; ``key`` as for runs."""
        ...

    def describe_logged_model(
        self, model_id: str, *, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """Add params and set tags."""
        ...

    def finish_logged_model(self, model_id: str, status: str) -> None:
        """Say READY or UPLOAD_FAILED."""
        ...

    def put(self, uri: str, path: str, file: Path) -> None:
        """Store a local file, whose name is the last part of ``path``, below ``uri``."""
        ...

    def add_registered_model(self, model: RegisteredModel) -> None:
        """Make a registered model with description and tags; raises if its name is taken."""
        ...

    def describe_registered_model(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        """Set the description and tags."""
        ...

    def add_version(self, version: Version) -> int:
        """Make a version with all but its stage and return its number, the wanted one if the target can choose."""
        ...

    def describe_version(self, model: str, number: int, description: str, tags: Mapping[str, str]) -> None:
        """Set the description and tags."""
        ...

    def drop_version(self, model: str, number: int) -> None:
        """Delete a version."""
        ...

    def stage_version(self, model: str, number: int, stage: str) -> None:
        """Move a version to a stage."""
        ...

    def set_alias(self, model: str, alias: str, number: int) -> None:
        """Point an alias to a version; raises ``Refused`` where gates say no."""
        ...

    @property
    def chooses_numbers(self) -> bool:
        """Whether a version can be made with any number above those there were."""
        ...
