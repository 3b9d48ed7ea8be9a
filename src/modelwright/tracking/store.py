"""How tracking's state is kept.

==================  ================================  ==============================  ======================
entity              pk                                sk                              access pattern
==================  ================================  ==============================  ======================
experiment          ``WS#<ws>#EXPERIMENTS``           ``<id:020>``                    get; list
counter of ids      ``WS#<ws>#EXPERIMENTS``           ``COUNTER``                     next id
experiment's name   ``WS#<ws>#EXPERIMENT_NAME``       ``<name>``                      get by name; uniqueness
run in experiment   ``WS#<ws>#EXPERIMENT#<id>``       ``RUN#<start:013>#<run id>``    list by start time
model in experiment ``WS#<ws>#EXPERIMENT#<id>``       ``MODEL#<made:013>#<model id>`` list by time
dataset             ``WS#<ws>#EXPERIMENT#<id>``       ``DATASET#<name>#<digest>``     of a run's inputs
run (summary)       ``WS#<ws>#RUN#<run id>``          ``SUMMARY``                     get; search
points              ``WS#<ws>#RUN#<run id>``          ``POINTS#<content id>``         history
logged model        ``WS#<ws>#LOGGED_MODEL#<id>``     ``SUMMARY``                     get; search
==================  ================================  ==============================  ======================

Experiments, runs and logged models are JSON documents (``doc``) under an optimistic version (``v``).
Lists and searches read the lines of an experiment and then summaries, never points. No index is used.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from modelwright.context import Call
from modelwright.errors import NotFound, TooLarge
from modelwright.storage import Absent, Anything, Condition, Is, Item, Key, Put, Tables, Write, every
from modelwright.tracking.entities import Document, Experiment, LoggedModel, Point, Run
from modelwright.tracking.messages import Dataset
from modelwright.tracking.points import content_id, pack, unpack

TABLE: Final = "tracking"
_SUMMARY, _COUNTER = "SUMMARY", "COUNTER"
_BATCH = 500
_DATASET_LIMIT = 300_000

D = TypeVar("D", bound=Document)


class TrackingStore:
    """Reads of one workspace, and the writes that a use case commits."""

    def __init__(self, tables: Tables, call: Call) -> None:
        self._tables = tables
        self._workspace = call.workspace

    # --- experiments ----------------------------------------------------------------------

    def experiment(self, identity: str) -> Experiment | None:
        """Return an experiment in any stage."""
        return _read(Experiment, self._tables.get(TABLE, self._experiment_key(identity)))

    def experiments(self) -> Iterator[Experiment]:
        """Yield all experiments in the order of their ids."""
        for item in every(self._tables, TABLE, self._pk("EXPERIMENTS"), start="0", end="9" * 20):
            yield _load(Experiment, item)

    def experiment_id_of(self, name: str) -> str | None:
        """Return the id of the experiment that holds a name."""
        item = self._tables.get(TABLE, Key(self._pk("EXPERIMENT_NAME"), name))
        return str(item["experiment_id"]) if item else None

    def last_experiment_id(self) -> int:
        """Return the highest id given so far."""
        item = self._tables.get(TABLE, Key(self._pk("EXPERIMENTS"), _COUNTER))
        return int(item["v"]) if item else 0

    def put_experiment(self, experiment: Experiment) -> Put:
        """Return the write of an experiment that is new or changed."""
        return _put(self._experiment_key(experiment.experiment_id), experiment)

    def take_name(self, name: str, identity: str) -> Put:
        """Return the write that gives an experiment its name; fails when it is taken."""
        item = {"pk": self._pk("EXPERIMENT_NAME"), "sk": name, "experiment_id": identity}
        return Put(TABLE, item, Absent())

    def name_key(self, name: str) -> Key:
        """Return the key of a name, to free it."""
        return Key(self._pk("EXPERIMENT_NAME"), name)

    def count_to(self, number: int) -> Put:
        """Return the write that raises the counter of ids to ``number``."""
        condition: Condition = Absent() if number == 1 else Is("v", number - 1)
        return Put(TABLE, {"pk": self._pk("EXPERIMENTS"), "sk": _COUNTER, "v": number}, condition)

    # --- runs -----------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """Return a run in any stage; raises ``NotFound``."""
        run = _read(Run, self._tables.get(TABLE, self._run_key(run_id)))
        if run is None:
            raise NotFound(f"Run with id={run_id} not found")
        return run

    def has_run(self, run_id: str) -> bool:
        """Say whether there is such a run."""
        return self._tables.get(TABLE, self._run_key(run_id)) is not None

    def runs(self, experiment_id: str) -> Iterator[Run]:
        """Yield an experiment's runs, newest first."""
        lines = every(self._tables, TABLE, self._pk("EXPERIMENT", experiment_id), prefix="RUN#", reverse=True)
        yield from self._summaries(Run, (self._run_key(line["run_id"]) for line in lines))

    def put_run(self, run: Run) -> Put:
        """Return the write of a run's summary."""
        return _put(self._run_key(run.run_id), run)

    def add_run(self, run: Run) -> tuple[Put, Put]:
        """Return the writes of a new run: its summary, and its line in the experiment."""
        sk = f"RUN#{run.start_time:013d}#{run.run_id}"
        line = {"pk": self._pk("EXPERIMENT", run.experiment_id), "sk": sk, "run_id": run.run_id}
        return self.put_run(run), Put(TABLE, line, Absent())

    def add_points(self, run_id: str, points: Sequence[Point]) -> Put:
        """Return the write of a batch of points; fails when the very batch was written before."""
        packed = pack(points)
        item = {"pk": self._pk("RUN", run_id), "sk": f"POINTS#{content_id(packed)}", "points": packed}
        return Put(TABLE, item, Absent())

    def points(self, run_id: str) -> Iterator[Point]:
        """Yield all points of a run, batch by batch; one that came twice in different batches comes twice."""
        for item in every(self._tables, TABLE, self._pk("RUN", run_id), prefix="POINTS#"):
            yield from unpack(item["points"])

    def put_datasets(self, experiment_id: str, datasets: Iterable[Dataset]) -> list[Write]:
        """Return the writes of datasets; name and digest tell them apart, so that again is the same."""
        writes: list[Write] = []
        for dataset in {(d.name, d.digest): d for d in datasets}.values():
            key = self._dataset_key(experiment_id, dataset.name, dataset.digest)
            if len(dataset.schema_) + len(dataset.profile) > _DATASET_LIMIT:
                raise TooLarge(
                    f"schema and profile of dataset {dataset.name} have more than {_DATASET_LIMIT} characters"
                )
            item = {**key._asdict(), "doc": dataset.model_dump_json(by_alias=True)}
            writes.append(Put(TABLE, item, Anything()))
        return writes

    def datasets(self, runs: Sequence[Run]) -> dict[tuple[str, str], Dataset]:
        """Return the datasets that runs read, by name and digest."""
        wanted = {
            self._dataset_key(r.experiment_id, d.name, d.digest): (d.name, d.digest) for r in runs for d in r.datasets
        }
        found = self._tables.batch_get(TABLE, list(wanted)) if wanted else {}
        return {wanted[key]: Dataset.model_validate_json(item["doc"]) for key, item in found.items()}

    # --- logged models --------------------------------------------------------------------

    def logged_model(self, model_id: str) -> LoggedModel:
        """Return a logged model in any stage; raises ``NotFound``."""
        model = _read(LoggedModel, self._tables.get(TABLE, self._model_key(model_id)))
        if model is None:
            raise NotFound(f"Logged model with ID '{model_id}' not found.")
        return model

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """Yield an experiment's logged models, newest first."""
        lines = every(self._tables, TABLE, self._pk("EXPERIMENT", experiment_id), prefix="MODEL#", reverse=True)
        yield from self._summaries(LoggedModel, (self._model_key(line["model_id"]) for line in lines))

    def put_logged_model(self, model: LoggedModel) -> Put:
        """Return the write of a logged model."""
        return _put(self._model_key(model.model_id), model)

    def add_logged_model(self, model: LoggedModel) -> tuple[Put, Put]:
        """Return the writes of a new logged model."""
        sk = f"MODEL#{model.creation_timestamp_ms:013d}#{model.model_id}"
        line = {"pk": self._pk("EXPERIMENT", model.experiment_id), "sk": sk, "model_id": model.model_id}
        return self.put_logged_model(model), Put(TABLE, line, Absent())

    # --- keys -----------------------------------------------------------------------------

    def _pk(self, kind: str, identity: str = "") -> str:
        return f"WS#{self._workspace}#{kind}" + (f"#{identity}" if identity else "")

    def _experiment_key(self, identity: str) -> Key:
        return Key(self._pk("EXPERIMENTS"), identity.zfill(20))

    def _run_key(self, run_id: str) -> Key:
        return Key(self._pk("RUN", run_id), _SUMMARY)

    def _model_key(self, model_id: str) -> Key:
        return Key(self._pk("LOGGED_MODEL", model_id), _SUMMARY)

    def _dataset_key(self, experiment_id: str, name: str, digest: str) -> Key:
        return Key(self._pk("EXPERIMENT", experiment_id), f"DATASET#{name}#{digest}")

    def _summaries(self, kind: type[D], keys: Iterable[Key]) -> Iterator[D]:
        pending = list(keys)
        for first in range(0, len(pending), _BATCH):
            chunk = pending[first : first + _BATCH]
            found = self._tables.batch_get(TABLE, chunk)
            yield from (_load(kind, found[key]) for key in chunk if key in found)


def _load(kind: type[D], item: Item) -> D:
    return kind.model_validate_json(item["doc"]).model_copy(update={"v": int(item["v"])})


def _read(kind: type[D], item: Item | None) -> D | None:
    return _load(kind, item) if item else None


def _put(key: Key, document: Document) -> Put:
    item = {**key._asdict(), "doc": document.model_dump_json(), "v": document.v + 1}
    return Put(TABLE, item, Is("v", document.v) if document.v else Absent())
