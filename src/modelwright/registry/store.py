"""How the registry's state is kept.

================  =============================  ====================  ===================================
entity            pk                             sk                    access pattern
================  =============================  ====================  ===================================
name              ``WS#<ws>#MODELS``             ``<name>``            model by name; list by name
registered model  ``WS#<ws>#MODEL#<model id>``   ``META``              get
version           ``WS#<ws>#MODEL#<model id>``   ``VERSION#<n:09>``    get; list
version of a run  ``WS#<ws>#RUN#<run id>``       ``<model>#<n:09>``    versions by run
training          ``WS#<ws>#TRAINING#<id>``      ``LINEAGE``           its run and its one version
logged model      ``WS#<ws>#LOGGED_MODEL#<id>``  ``LINEAGE``           its run; a projection of events
================  =============================  ====================  ===================================

A version of a run is only a pointer, as the versions of a run are asked for on each run's page.
A rename touches the name's item alone; ids are the name at birth (with a suffix when that was used
before), so that streams of the log read well. Documents (``doc``) are JSON under an optimistic version (``v``).
No index is used.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import Event
from modelwright.log import Happened, new_id, stream_of
from modelwright.registry.entities import STAGES, Document, ModelVersion, RegisteredModel, Training, existing
from modelwright.storage import Absent, Anything, Delete, Is, Item, Key, Put, Tables, Write, every

TABLE: Final = "registry"
_META, _LINEAGE = "META", "LINEAGE"
_AT_ONCE = 100

D = TypeVar("D", bound=Document)


class RegistryStore:
    """Reads of one workspace, and the writes that a use case commits."""

    def __init__(self, tables: Tables, call: Call) -> None:
        self._tables = tables
        self._workspace = call.workspace

    def find(self, name: str) -> RegisteredModel | None:
        """Return the model of this name, if there is one."""
        pointer = self._tables.get(TABLE, self._name_key(name))
        item = self._tables.get(TABLE, self._meta_key(str(pointer["model_id"]))) if pointer else None
        return _load(RegisteredModel, item) if item else None

    def model(self, name: str) -> RegisteredModel:
        """Return the model of this name; raises ``NotFound``."""
        return existing(self.find(name), name)

    def models(self, prefix: str = "") -> Iterator[RegisteredModel]:
        """Yield the models whose names begin so, by name; who stops early reads no more than a hundred too many."""
        names = every(self._tables, TABLE, self._pk("MODELS"), prefix=prefix)
        while keys := [self._meta_key(str(item["model_id"])) for item in islice(names, _AT_ONCE)]:
            found = self._tables.batch_get(TABLE, keys)
            yield from (_load(RegisteredModel, found[key]) for key in keys if key in found)

    def fresh_id(self, name: str) -> str:
        """Return an id for a new model: its name, unless a model was born with that before."""
        used = self._tables.get(TABLE, self._meta_key(name)) is not None
        return f"{name}~{new_id()}" if used else name

    def version(self, model: RegisteredModel, number: int) -> ModelVersion:
        """Return a version; raises ``NotFound``."""
        item = self._tables.get(TABLE, self._version_key(model, number))
        if item is None:
            raise NotFound(f"Model Version (name={model.name}, version={number}) not found")
        return _load(ModelVersion, item)

    def versions(self, model: RegisteredModel) -> list[ModelVersion]:
        """Return a model's versions in order."""
        items = every(self._tables, TABLE, self._pk("MODEL", model.model_id), prefix="VERSION#")
        return [_load(ModelVersion, item) for item in items]

    def latest(
        self, models: Sequence[RegisteredModel], stages: Sequence[str] = STAGES
    ) -> dict[str, list[ModelVersion]]:
        """Return the newest version of each stage (of those asked for) by the id of the model, for all in one read."""
        keys = {
            (model.model_id, stage): self._version_key(model, model.latest[stage])
            for model in models
            for stage in STAGES
            if stage in stages and stage in model.latest
        }
        items = self._tables.batch_get(TABLE, list(keys.values())) if keys else {}
        found: dict[str, list[ModelVersion]] = {model.model_id: [] for model in models}
        for (model_id, _), key in keys.items():
            found[model_id] += [_load(ModelVersion, items[key])] if key in items else []
        return found

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[tuple[RegisteredModel, ModelVersion]]:
        """Return the versions of runs, with their models."""
        items = [item for run_id in dict.fromkeys(run_ids) for item in self._pointers(run_id)]
        metas = {str(item["model_id"]): self._meta_key(str(item["model_id"])) for item in items}
        keys = [self._numbered_key(str(item["model_id"]), int(item["version"])) for item in items]
        found = self._tables.batch_get(TABLE, [*metas.values(), *keys]) if items else {}
        models = {model_id: _load(RegisteredModel, found[key]) for model_id, key in metas.items() if key in found}
        return [
            (models[model_id], _load(ModelVersion, found[key]))
            for item, key in zip(items, keys, strict=True)
            if key in found and (model_id := str(item["model_id"])) in models and not models[model_id].deleted
        ]

    def training(self, training_id: str) -> Training:
        """Return what is known of a training; a blank one if nothing is."""
        item = self._tables.get(TABLE, self._training_key(training_id))
        return _load(Training, item) if item else Training()

    def run_of(self, model_id: str) -> str:
        """Return the run that made a logged model; empty when there was none, or its event is still on its way."""
        item = self._tables.get(TABLE, Key(self._pk("LOGGED_MODEL", model_id), _LINEAGE))
        return str(item["run_id"]) if item else ""

    def put_run_of(self, model_id: str, run_id: str) -> Put:
        """Return the write that remembers which run made a logged model."""
        item = {"pk": self._pk("LOGGED_MODEL", model_id), "sk": _LINEAGE, "run_id": run_id}
        return Put(TABLE, item, Anything())

    def put_model(self, model: RegisteredModel) -> Put:
        """Return the write of a model that is new or changed."""
        return _put(self._meta_key(model.model_id), model)

    def add_version(self, model: RegisteredModel, version: ModelVersion) -> list[Put]:
        """Return the writes of a new version."""
        return [self.put_version(model, version), *self._point_at(model.model_id, version)]

    def put_version(self, model: RegisteredModel, version: ModelVersion) -> Put:
        """Return the write of a version that changed."""
        return _put(self._version_key(model, version.version), version)

    def delete_version(self, model: RegisteredModel, version: ModelVersion) -> list[Delete]:
        """Return the writes that remove a version."""
        key = self._pointer_key(model.model_id, version)
        removed = Delete(TABLE, self._version_key(model, version.version), Is("v", version.v))
        return [removed, *([Delete(TABLE, key, Anything())] if key else [])]

    def take_name(self, name: str, model_id: str) -> Put:
        """Return the write that gives a model its name; fails when it is taken."""
        return Put(TABLE, {**self._name_key(name)._asdict(), "model_id": model_id}, Absent())

    def free_name(self, name: str) -> Delete:
        """Return the write that frees a name."""
        return Delete(TABLE, self._name_key(name))

    def put_training(self, training_id: str, training: Training) -> Put:
        """Return the write of what is known of a training; fails when more became known meanwhile."""
        return _put(self._training_key(training_id), training)

    def move_to_run(self, training: Training) -> list[Write]:
        """Return the writes that give a training's version, if there is one, the training's run."""
        key = self._numbered_key(training.model_id, training.version)
        item = self._tables.get(TABLE, key) if training.model_id else None
        version = _load(ModelVersion, item) if item else None
        if version is None or version.run_id == training.run_id:
            return []
        before = self._pointer_key(training.model_id, version)
        moved = version.model_copy(update={"run_id": training.run_id})
        forgotten = [Delete(TABLE, before, Anything())] if before else []
        return [_put(key, moved), *forgotten, *self._point_at(training.model_id, moved)]

    def happened(self, model: RegisteredModel, event: Event) -> Happened:
        """Return an event in the model's stream."""
        return Happened(stream_of(self._workspace, "MODEL", model.model_id), event)

    def _pk(self, kind: str, identity: str = "") -> str:
        return f"WS#{self._workspace}#{kind}" + (f"#{identity}" if identity else "")

    def _name_key(self, name: str) -> Key:
        return Key(self._pk("MODELS"), name)

    def _meta_key(self, model_id: str) -> Key:
        return Key(self._pk("MODEL", model_id), _META)

    def _version_key(self, model: RegisteredModel, number: int) -> Key:
        return self._numbered_key(model.model_id, number)

    def _numbered_key(self, model_id: str, number: int) -> Key:
        return Key(self._pk("MODEL", model_id), f"VERSION#{number:09d}")

    def _training_key(self, training_id: str) -> Key:
        return Key(self._pk("TRAINING", training_id), _LINEAGE)

    def _pointer_key(self, model_id: str, version: ModelVersion) -> Key | None:
        if not version.run_id:
            return None
        return Key(self._pk("RUN", version.run_id), f"{model_id}#{version.version:09d}")

    def _point_at(self, model_id: str, version: ModelVersion) -> list[Put]:
        key = self._pointer_key(model_id, version)
        pointer = {"model_id": model_id, "version": version.version}
        return [Put(TABLE, {**key._asdict(), **pointer}, Anything())] if key else []

    def _pointers(self, run_id: str) -> Iterator[Item]:
        return every(self._tables, TABLE, self._pk("RUN", run_id))


def _load(kind: type[D], item: Item) -> D:
    return kind.model_validate_json(item["doc"]).model_copy(update={"v": int(item["v"])})


def _put(key: Key, document: Document) -> Put:
    item = {**key._asdict(), "doc": document.model_dump_json(), "v": document.v + 1}
    return Put(TABLE, item, Is("v", document.v) if document.v else Absent())
