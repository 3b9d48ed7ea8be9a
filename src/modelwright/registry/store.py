"""How the registry's state is kept.

================  =============================  ====================  ===================================
entity            pk                             sk                    access pattern
================  =============================  ====================  ===================================
name              ``WS#<ws>#MODELS``             ``<name>``            model by name; list by name
registered model  ``WS#<ws>#MODEL#<model id>``   ``META``              get
version           ``WS#<ws>#MODEL#<model id>``   ``VERSION#<n:09>``    get; list
training's mark   ``WS#<ws>#MODEL#<model id>``   ``TRAINING#<id>``     one version per training
logged model      ``WS#<ws>#LOGGED_MODEL#<id>``  ``LINEAGE``           its run; a projection of events
================  =============================  ====================  ===================================

A rename touches the name's item alone; ids are the name at birth (with a suffix when that was used
before), so that streams of the log read well. Documents (``doc``) are JSON under an optimistic version (``v``).
No index is used.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.events import Event
from modelwright.log import Happened, new_id, stream_of
from modelwright.registry.entities import Document, ModelVersion, RegisteredModel, existing
from modelwright.storage import Absent, Anything, Delete, Is, Item, Key, Put, Tables, every

TABLE: Final = "registry"
_META, _LINEAGE = "META", "LINEAGE"

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

    def models(self) -> Iterator[RegisteredModel]:
        """Yield all models by name."""
        keys = [self._meta_key(str(i["model_id"])) for i in every(self._tables, TABLE, self._pk("MODELS"))]
        found = self._tables.batch_get(TABLE, keys) if keys else {}
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

    def trained(self, model: RegisteredModel, training_id: str) -> bool:
        """Say whether a version of this training exists, or did."""
        return self._tables.get(TABLE, Key(self._pk("MODEL", model.model_id), f"TRAINING#{training_id}")) is not None

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

    def put_version(self, model: RegisteredModel, version: ModelVersion) -> Put:
        """Return the write of a version that is new or changed."""
        return _put(self._version_key(model, version.version), version)

    def delete_version(self, model: RegisteredModel, version: ModelVersion) -> Delete:
        """Return the write that removes a version."""
        return Delete(TABLE, self._version_key(model, version.version), Is("v", version.v))

    def take_name(self, name: str, model_id: str) -> Put:
        """Return the write that gives a model its name; fails when it is taken."""
        return Put(TABLE, {**self._name_key(name)._asdict(), "model_id": model_id}, Absent())

    def free_name(self, name: str) -> Delete:
        """Return the write that frees a name."""
        return Delete(TABLE, self._name_key(name))

    def mark_training(self, model: RegisteredModel, training_id: str, number: int) -> Put:
        """Return the write that remembers which version a training gave; fails when it gave one before."""
        key = Key(self._pk("MODEL", model.model_id), f"TRAINING#{training_id}")
        return Put(TABLE, {**key._asdict(), "version": number}, Absent())

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
        return Key(self._pk("MODEL", model.model_id), f"VERSION#{number:09d}")


def _load(kind: type[D], item: Item) -> D:
    return kind.model_validate_json(item["doc"]).model_copy(update={"v": int(item["v"])})


def _put(key: Key, document: Document) -> Put:
    item = {**key._asdict(), "doc": document.model_dump_json(), "v": document.v + 1}
    return Put(TABLE, item, Is("v", document.v) if document.v else Absent())
