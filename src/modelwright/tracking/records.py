"""What tracking keeps as documents under a key: experiments, datasets and logged models.

The table of all items is at the head of ``store``, which adds runs, metrics and points to this.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from modelwright.context import Call
from modelwright.errors import NotFound, TooLarge
from modelwright.storage import Absent, Anything, Blobs, Condition, Is, Item, Key, Put, Tables, Write, every
from modelwright.tracking import documents
from modelwright.tracking.answers import ANSWER_BYTES, DOCUMENT_BYTES
from modelwright.tracking.entities import Document, Experiment, LoggedModel, Run
from modelwright.tracking.messages import Dataset

TABLE: Final = "tracking"
_SUMMARY, _COUNTER = "SUMMARY", "COUNTER"
_BATCH: Final = 500

D = TypeVar("D", bound=Document)


class RecordStore:
    """Reads of one workspace, and the writes that a use case commits.

    Args:
        tables: where items lie.
        call: whose workspace it is.
        blobs: where what is too large for an item lies.
    """

    def __init__(self, tables: Tables, call: Call, blobs: Blobs) -> None:
        self._tables = tables
        self._workspace = call.workspace
        self._blobs = blobs

    # --- experiments ----------------------------------------------------------------------

    def experiment(self, identity: str) -> Experiment | None:
        """Return an experiment in any stage."""
        return self._read(Experiment, self._tables.get(TABLE, self._experiment_key(identity)))

    def experiments(self) -> Iterator[Experiment]:
        """Yield all experiments in the order of their ids."""
        for item in every(self._tables, TABLE, self._pk("EXPERIMENTS"), start="0", end="9" * 20):
            yield self._load(Experiment, item)

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
        return self._put(self._experiment_key(experiment.experiment_id), experiment, experiment.experiment_id)

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

    # --- datasets -------------------------------------------------------------------------

    def put_datasets(self, experiment_id: str, datasets: Iterable[Dataset]) -> list[Write]:
        """Return the writes of datasets; name and digest tell them apart, so that again is the same."""
        writes: list[Write] = []
        for dataset in {(d.name, d.digest): d for d in datasets}.values():
            key = self._dataset_key(experiment_id, dataset.name, dataset.digest)
            item = documents.written(_text(dataset), self._folder(experiment_id), self._blobs)
            brief = dataset.model_copy(update={"schema_": "", "profile": ""})
            item |= {} if "doc" in item else {"brief": _text(brief)}
            writes.append(Put(TABLE, {**key._asdict(), **item}, Anything()))
        return writes

    def datasets(self, runs: Sequence[Run], room: int = ANSWER_BYTES) -> dict[tuple[str, str], Dataset]:
        """Return the datasets that runs read, by name and digest.

        Of long ones as many as there is room for (in bytes, an answer's unless told) are complete; of the others
        schema and profile are left out.
        """
        wanted = {
            self._dataset_key(r.experiment_id, d.name, d.digest): (d.name, d.digest) for r in runs for d in r.datasets
        }
        found = self._tables.batch_get(TABLE, list(wanted)) if wanted else {}
        told = {}
        for key, item in ((key, found[key]) for key in wanted if key in found):
            room -= documents.size(item) if "brief" in item else 0
            text = item["brief"] if room < 0 and "brief" in item else documents.read(item, self._blobs)
            told[wanted[key]] = Dataset.model_validate_json(text)
        return told

    # --- logged models --------------------------------------------------------------------

    def logged_model(self, model_id: str) -> LoggedModel:
        """Return a logged model in any stage; raises ``NotFound``."""
        model = self._read(LoggedModel, self._tables.get(TABLE, self._model_key(model_id)))
        if model is None:
            raise NotFound(f"Logged model with ID '{model_id}' not found.")
        return model

    def logged_models(self, experiment_id: str) -> Iterator[LoggedModel]:
        """Yield an experiment's logged models, newest first."""
        lines = every(self._tables, TABLE, self._pk("EXPERIMENT", experiment_id), prefix="MODEL#", reverse=True)
        keys = [self._model_key(line["model_id"]) for line in lines]
        for first in range(0, len(keys), _BATCH):
            chunk = keys[first : first + _BATCH]
            found = self._tables.batch_get(TABLE, chunk)
            yield from (self._load(LoggedModel, found[key]) for key in chunk if key in found)

    def put_logged_model(self, model: LoggedModel) -> Put:
        """Return the write of a logged model."""
        return self._put(self._model_key(model.model_id), model, model.model_id)

    def add_logged_model(self, model: LoggedModel) -> tuple[Put, Put]:
        """Return the writes of a new logged model."""
        line = {**self._line_key(model)._asdict(), "model_id": model.model_id}
        return self.put_logged_model(model), Put(TABLE, line, Absent())

    # --- keys and documents ---------------------------------------------------------------

    def _pk(self, kind: str, identity: str = "") -> str:
        return f"WS#{self._workspace}#{kind}" + (f"#{identity}" if identity else "")

    def _experiment_key(self, identity: str) -> Key:
        return Key(self._pk("EXPERIMENTS"), identity.zfill(20))

    def _model_key(self, model_id: str) -> Key:
        return Key(self._pk("LOGGED_MODEL", model_id), _SUMMARY)

    def _line_key(self, model: LoggedModel) -> Key:
        sk = f"MODEL#{model.creation_timestamp_ms:013d}#{model.model_id}"
        return Key(self._pk("EXPERIMENT", model.experiment_id), sk)

    def _dataset_key(self, experiment_id: str, name: str, digest: str) -> Key:
        """Name and digest may hold any letter and be too long for a key: their hash is not."""
        hashed = hashlib.sha256(json.dumps([name, digest]).encode()).hexdigest()[:32]
        return Key(self._pk("EXPERIMENT", experiment_id), f"DATASET#{hashed}")

    def _folder(self, owner: str) -> str:
        return documents.folder(self._workspace, owner)

    def _load(self, kind: type[D], item: Item) -> D:
        return kind.model_validate_json(documents.read(item, self._blobs)).model_copy(update={"v": int(item["v"])})

    def _read(self, kind: type[D], item: Item | None) -> D | None:
        return self._load(kind, item) if item else None

    def _document(self, document: Document, owner: str) -> Mapping[str, Any]:
        text = document.model_dump_json(exclude_defaults=True)
        if (size := len(text.encode())) > DOCUMENT_BYTES:
            raise TooLarge(
                f"{owner} would have {size} bytes of params, tags and inputs: up to {DOCUMENT_BYTES} fit into an "
                "answer; log what is longer as a file"
            )
        return documents.written(text, self._folder(owner), self._blobs)

    def _put(self, key: Key, document: Document, owner: str) -> Put:
        item = {**key._asdict(), **self._document(document, owner), "v": document.v + 1}
        return Put(TABLE, item, Is("v", document.v) if document.v else Absent())


def _text(dataset: Dataset) -> str:
    return dataset.model_dump_json(by_alias=True, exclude_defaults=True)
