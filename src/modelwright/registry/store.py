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
naming            ``WS#<ws>#NAMED#<name>``       ``<time>#<model>``    which models ever had a name
version by input  ``WS#<ws>#FEATURE#<name>``     ``<model>#<n:09>``    versions that use a feature
version by data   ``WS#<ws>#DATASET#<digest>``   ``<model>#<n:09>``    versions made of a dataset
alias             ``WS#<ws>#MODEL#<model id>``   ``ALIAS#<alias>``     the version that holds it, as answered
edition           ``WS#<ws>#MODEL#<model id>``   ``EDITION#<n:09>``    the ``v`` of a version, to be checked
card              ``WS#<ws>#MODEL#<model id>``   ``CARD#<n:09>#<r:06>`` revision of a version's card; newest; list
================  =============================  ====================  ===================================

A version of a run is only a pointer, as the versions of a run are asked for on each run's page.
A rename touches the name's item alone; ids are the name at birth (with a suffix when that was used
before), so that streams of the log read well. Nearly every model's id is its name: what is asked for by
name is looked for there before the name's item was read, in the same call.
Documents (``doc``) are JSON under an optimistic version (``v``). No index is used. A condition costs as much as
the item is large, and a version's document may be: so conditions on a version are on its edition.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel

from modelwright.context import Call
from modelwright.errors import NotFound, TooLarge
from modelwright.events import Event, ModelVersionTraced
from modelwright.log import Happened, new_id, stream_of
from modelwright.registry.entities import STAGES, Document, ModelVersion, RegisteredModel, Training, existing
from modelwright.registry.sections import LAST_REVISION, Card
from modelwright.storage import Absent, Anything, Check, Delete, Exists, Is, Item, Key, Put, Tables, Write, every

TABLE: Final = "registry"
_META, _LINEAGE = "META", "LINEAGE"
_AT_ONCE = 100
DOCUMENT_BYTES = 400_000
"""An item of DynamoDB has up to 409,600 bytes, its keys and their names among them."""
_LONGEST_NAME = 500
"""By a longer name of a feature, or digest, no version is found."""
_AFTER_ALL = "\U0010ffff"

D = TypeVar("D", bound=Document)


class Naming(NamedTuple):
    """A model took a name, or gave it up."""

    at: datetime
    model_id: str
    taken: bool


class Place(NamedTuple):
    """What a name led to: its model, if there is one, and other items of the model's partition by sort key."""

    model: RegisteredModel | None
    items: dict[str, Item]


class Using(NamedTuple):
    """Versions that were made of something, and whether these are all."""

    found: list[tuple[RegisteredModel, ModelVersion]]
    whole: bool


class RegistryStore:
    """Reads of one workspace, and the writes that a use case commits."""

    def __init__(self, tables: Tables, call: Call) -> None:
        self._tables = tables
        self._workspace = call.workspace
        self._now = call.now

    def find(self, name: str) -> RegisteredModel | None:
        """Return the model of this name, if there is one."""
        return self.look_up(name).model

    def look_up(self, name: str, *sort_keys: str) -> Place:
        """Return a model and other items of its partition: one call, or two if its id is not its name."""
        pointer, wanted = self._name_key(name), (_META, *sort_keys)
        found = self._tables.batch_get(TABLE, [pointer, *self._keys_of(name, wanted)])
        if pointer not in found:
            return Place(None, {})
        model_id = str(found[pointer]["model_id"])
        if model_id != name:
            found = self._tables.batch_get(TABLE, self._keys_of(model_id, wanted))
        items = {key.sk: item for key, item in found.items() if key != pointer}
        model = load_document(RegisteredModel, items[_META]) if _META in items else None
        return Place(model if model and model.name == name else None, items)  # else it was renamed just now

    def model(self, name: str) -> RegisteredModel:
        """Return the model of this name; raises ``NotFound``."""
        return existing(self.find(name), name)

    def models(self, prefix: str = "") -> Iterator[RegisteredModel]:
        """Yield the models whose names begin so, by name; who stops early reads no more than a hundred too many."""
        names = every(self._tables, TABLE, self._pk("MODELS"), prefix=prefix)
        while keys := [self._meta_key(str(item["model_id"])) for item in islice(names, _AT_ONCE)]:
            found = self._tables.batch_get(TABLE, keys)
            yield from (load_document(RegisteredModel, found[key]) for key in keys if key in found)

    def fresh_id(self, name: str) -> str:
        """Return an id for a new model: its name, unless a model was born with that before."""
        used = self._tables.get(TABLE, self._meta_key(name)) is not None
        return f"{name}~{new_id()}" if used else name

    def version(self, model: RegisteredModel, number: int) -> ModelVersion:
        """Return a version; raises ``NotFound``."""
        found = self.find_version(model, number)
        if found is None:
            raise NotFound(f"Model Version (name={model.name}, version={number}) not found")
        return found

    def find_version(self, model: RegisteredModel, number: int) -> ModelVersion | None:
        """Return a version, if it is there."""
        item = self._tables.get(TABLE, self._version_key(model, number))
        return load_document(ModelVersion, item) if item else None

    def versions(self, model: RegisteredModel) -> list[ModelVersion]:
        """Return a model's versions in order."""
        items = every(self._tables, TABLE, self._pk("MODEL", model.model_id), prefix="VERSION#")
        return [load_document(ModelVersion, item) for item in items]

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
            found[model_id] += [load_document(ModelVersion, items[key])] if key in items else []
        return found

    def versions_of_runs(self, run_ids: Sequence[str]) -> list[tuple[RegisteredModel, ModelVersion]]:
        """Return the versions of runs, with their models."""
        return self._pointed_at([item for run_id in dict.fromkeys(run_ids) for item in self._pointers(run_id)])

    def _pointed_at(self, items: Sequence[Item]) -> list[tuple[RegisteredModel, ModelVersion]]:
        """Return what pointers point at, as far as it is there."""
        metas = {str(item["model_id"]): self._meta_key(str(item["model_id"])) for item in items}
        keys = [self._numbered_key(str(item["model_id"]), int(item["version"])) for item in items]
        found = self._tables.batch_get(TABLE, list(dict.fromkeys([*metas.values(), *keys]))) if items else {}
        models = {
            model_id: load_document(RegisteredModel, found[key]) for model_id, key in metas.items() if key in found
        }
        return [
            (models[model_id], load_document(ModelVersion, found[key]))
            for item, key in zip(items, keys, strict=True)
            if key in found and (model_id := str(item["model_id"])) in models and not models[model_id].deleted
        ]

    def training(self, training_id: str) -> Training:
        """Return what is known of a training; a blank one if nothing is."""
        item = self._tables.get(TABLE, self._training_key(training_id))
        return load_document(Training, item) if item else Training()

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
        return put_document(self._meta_key(model.model_id), model)

    def add_version(self, model: RegisteredModel, version: ModelVersion) -> list[Write]:
        """Return the writes of a new version.

        What finds it by its features and data may be more than a transaction takes: it is written at once, and
        who follows it looks whether the version is there.
        """
        self.point_from(model.model_id, version)
        return [*self._put_edition(model, version), *self._point_at(model.model_id, version)]

    def point_from(self, model_id: str, version: ModelVersion) -> None:
        """Let a version be found by its features and by the digests of its data."""
        pointer = {"model_id": model_id, "version": version.version}
        items = [{**key._asdict(), **pointer} for key in self._origin_keys(model_id, version)]
        if items:
            self._tables.write_many(TABLE, items)

    def forget(self, model_id: str, version: ModelVersion) -> None:
        """Let a version that is gone not be found by its features and data any more."""
        if keys := self._origin_keys(model_id, version):
            self._tables.delete_many(TABLE, keys)

    def versions_with(self, kind: Literal["FEATURE", "DATASET"], name: str, newest: int) -> Using:
        """Return versions that were made of a feature or dataset: of each model the newest, and those with an alias.

        What was indexed may be gone by now, or made of something else: whoever follows must look.
        """
        items, model_ids, whole = self._newest_pointers(self._pk(kind, name), newest)
        models = self.by_id(model_ids)
        known = {(str(item["model_id"]), int(item["version"])) for item in items}
        for model_id, model in sorted(models.items()):
            held = {(model_id, number) for number in model.aliases.values()} - known
            items += [{"model_id": model_id, "version": number} for _, number in sorted(held)]
        return Using(self._pointed_at(items), whole)

    def _newest_pointers(self, partition: str, newest: int) -> tuple[list[Item], list[str], bool]:
        """Return the newest pointers to each model, the models, and whether these are all pointers there are."""
        items: list[Item] = []
        model_ids: list[str] = []
        whole, end = True, _AFTER_ALL
        while page := self._tables.query(TABLE, partition, start=" ", end=end, reverse=True, limit=newest + 1).items:
            model_id = str(page[0]["model_id"])
            of_one = [item for item in page if item["model_id"] == model_id]
            whole &= len(of_one) <= newest
            items += of_one[:newest]
            model_ids.append(model_id)
            end = f"{model_id}#{0:09d}"
        return items, model_ids, whole

    def put_version(self, model: RegisteredModel, version: ModelVersion, *, alone: bool = True) -> list[Write]:
        """Return the writes of a version that changed, and of its copies under the aliases that point to it.

        Args:
            model: as it was read; the writes fail when an alias moved meanwhile.
            version: the version.
            alone: the same transaction does not write the model as well (which holds it to the same).
        """
        copies = [self._put_copy(model, alias, version, version.v + 1) for alias in model.aliases_of(version.version)]
        return [*self._put_edition(model, version), *copies, *([self.unchanged(model)] if alone else [])]

    def unchanged(self, model: RegisteredModel) -> Check:
        """Return the condition that a model is as it was read."""
        return Check(TABLE, self._meta_key(model.model_id), Is("v", model.v))

    def put_aliases(self, before: RegisteredModel, model: RegisteredModel, *versions: ModelVersion) -> list[Write]:
        """Return the writes of a model whose aliases changed.

        Args:
            before: the model as it was read.
            model: the model as it is now.
            versions: those that aliases point to now and did not before; one that is not stored yet must be stored
                by the same transaction, another must not have changed meanwhile.
        """
        known = {version.version: version for version in versions}
        unheld = {version.version for version in versions if version.v}
        writes: list[Write] = [self.put_model(model)]
        for alias in sorted({*before.aliases, *model.aliases}):
            was, number = before.aliases.get(alias), model.aliases.get(alias)
            if number is None and was in unheld:  # its copy has the version's ``v`` too
                unheld.discard(was)
                writes.append(Delete(TABLE, self._alias_key(model, alias), Is("v", known[was].v)))
            elif number is None:
                writes.append(Delete(TABLE, self._alias_key(model, alias), Anything()))
            elif number != was:
                writes.append(self._put_copy(model, alias, known[number], known[number].v or 1))
        return [*writes, *(Check(TABLE, self._edition_key(model, n), Is("v", known[n].v)) for n in sorted(unheld))]

    def of_alias(self, name: str, alias: str) -> tuple[RegisteredModel, ModelVersion]:
        """Return a model and the version that holds an alias, with all that an answer says of it.

        Raises:
            NotFound: there is no such model.
            InvalidInput: it has no such alias.
        """
        place = self.look_up(name, _alias_sk(alias))
        model = existing(place.model, name)
        number, copy = model.version_of(alias), place.items.get(_alias_sk(alias))
        if copy is None or copy["version"] != number:  # the alias moved between two reads
            return model, self.version(model, number)
        return model, ModelVersion.model_validate_json(copy["doc"])

    def delete_version(self, model: RegisteredModel, version: ModelVersion) -> list[Delete]:
        """Return the writes that remove a version."""
        key = self._pointer_key(model.model_id, version)
        removed = Delete(TABLE, self._version_key(model, version.version), Is("v", version.v))
        edition = Delete(TABLE, self._edition_key(model, version.version), Anything())
        return [removed, edition, *([Delete(TABLE, key, Anything())] if key else [])]

    def take_name(self, name: str, model_id: str) -> list[Write]:
        """Return the writes that give a model its name; they fail when it is taken."""
        taken = Put(TABLE, {**self._name_key(name)._asdict(), "model_id": model_id}, Absent())
        return [taken, self._put_named(name, model_id, taken=True)]

    def free_name(self, name: str, model_id: str) -> list[Write]:
        """Return the writes that free a name."""
        return [Delete(TABLE, self._name_key(name)), self._put_named(name, model_id, taken=False)]

    def named(self, name: str) -> list[Naming]:
        """Return when models took and gave up a name, in the order of time."""
        items = every(self._tables, TABLE, self._pk("NAMED", name))
        return [
            Naming(datetime.fromisoformat(at), model_id, bool(item["taken"]))
            for item in items
            for at, _, model_id in [str(item["sk"]).partition("#")]
        ]

    def by_id(self, model_ids: Sequence[str]) -> dict[str, RegisteredModel]:
        """Return models by id, deleted ones too."""
        keys = {self._meta_key(model_id): model_id for model_id in model_ids}
        found = self._tables.batch_get(TABLE, list(keys)) if keys else {}
        return {keys[key]: load_document(RegisteredModel, item) for key, item in found.items()}

    def put_training(self, training_id: str, training: Training) -> Put:
        """Return the write of what is known of a training; fails when more became known meanwhile."""
        return put_document(self._training_key(training_id), training)

    def move_to_run(self, training: Training) -> tuple[list[Write], list[Happened]]:
        """Return what gives a training's version, if there is one, the training's run: writes, and that it happened."""
        key, meta = self._numbered_key(training.model_id, training.version), self._meta_key(training.model_id)
        found = self._tables.batch_get(TABLE, [key, meta]) if training.model_id else {}
        if key not in found or meta not in found:
            return [], []
        model, version = load_document(RegisteredModel, found[meta]), load_document(ModelVersion, found[key])
        if model.deleted or version.run_id == training.run_id:
            return [], []
        before = self._pointer_key(training.model_id, version)
        moved = version.model_copy(update={"run_id": training.run_id})
        forgotten = [Delete(TABLE, before, Anything())] if before else []
        writes = [*self.put_version(model, moved), *forgotten, *self._point_at(training.model_id, moved)]
        traced = ModelVersionTraced(model=model.name, version=moved.version, run_id=moved.run_id)
        return writes, [self.happened(model, traced)]

    def card(self, model: RegisteredModel, version: int, revision: int = 0) -> Card:
        """Return a revision of what people wrote on a version's card; 0: the newest, or what its predecessors left.

        Raises:
            NotFound: there is no such revision.
        """
        last = self._card_key(model, version, revision or LAST_REVISION)
        page = self._tables.query(TABLE, last.pk, start="CARD#", end=last.sk, reverse=True, limit=1)
        found = Card.model_validate_json(page.items[0]["doc"]) if page.items else Card(version=version)
        if revision and (found.version, found.revision) != (version, revision):
            raise NotFound(f"the card of {model.name} v{version} has no revision {revision}")
        return found if found.version == version else found.carried_to(version)

    def cards(self, model: RegisteredModel, version: int) -> list[Card]:
        """Return all revisions of what people wrote on a version's card, newest first."""
        prefix = self._card_key(model, version, 0).sk.rpartition("#")[0] + "#"
        items = every(self._tables, TABLE, self._pk("MODEL", model.model_id), prefix=prefix, reverse=True)
        return [Card.model_validate_json(item["doc"]) for item in items]

    def put_card(self, model: RegisteredModel, card: Card) -> list[Write]:
        """Return the writes of a card's next revision; fail when somebody else made it, or the version is gone."""
        key = self._card_key(model, card.version, card.revision)
        item = {**key._asdict(), "doc": _text(card)}
        return [Put(TABLE, item, Absent()), Check(TABLE, self._version_key(model, card.version), Exists())]

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
        return Key(self._pk("MODEL", model_id), version_sk(number))

    def _keys_of(self, model_id: str, sort_keys: Sequence[str]) -> list[Key]:
        return [Key(self._pk("MODEL", model_id), sk) for sk in sort_keys]

    def _alias_key(self, model: RegisteredModel, alias: str) -> Key:
        return Key(self._pk("MODEL", model.model_id), _alias_sk(alias))

    def _edition_key(self, model: RegisteredModel, number: int) -> Key:
        return Key(self._pk("MODEL", model.model_id), f"EDITION#{number:09d}")

    def _put_edition(self, model: RegisteredModel, version: ModelVersion) -> list[Write]:
        edition = {**self._edition_key(model, version.version)._asdict(), "v": version.v + 1}
        return [put_document(self._version_key(model, version.version), version), Put(TABLE, edition, Anything())]

    def _put_copy(self, model: RegisteredModel, alias: str, version: ModelVersion, v: int) -> Put:
        item = {"version": version.version, "doc": version.said(), "v": v}
        return Put(TABLE, {**self._alias_key(model, alias)._asdict(), **item}, Anything())

    def _card_key(self, model: RegisteredModel, version: int, revision: int) -> Key:
        return Key(self._pk("MODEL", model.model_id), f"CARD#{version:09d}#{revision:06d}")

    def _training_key(self, training_id: str) -> Key:
        return Key(self._pk("TRAINING", training_id), _LINEAGE)

    def _pointer_key(self, model_id: str, version: ModelVersion) -> Key | None:
        if not version.run_id:
            return None
        return Key(self._pk("RUN", version.run_id), f"{model_id}#{version.version:09d}")

    def _origin_keys(self, model_id: str, version: ModelVersion) -> list[Key]:
        named = {("FEATURE", name) for name in version.features} | {("DATASET", digest) for digest in version.data}
        sk = f"{model_id}#{version.version:09d}"
        return [Key(self._pk(kind, name), sk) for kind, name in sorted(named) if 0 < len(name) <= _LONGEST_NAME]

    def _put_named(self, name: str, model_id: str, *, taken: bool) -> Put:
        at = f"{self._now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00"
        item = {"pk": self._pk("NAMED", name), "sk": f"{at}#{model_id}", "taken": taken}
        return Put(TABLE, item, Anything())

    def _point_at(self, model_id: str, version: ModelVersion) -> list[Put]:
        key = self._pointer_key(model_id, version)
        pointer = {"model_id": model_id, "version": version.version}
        return [Put(TABLE, {**key._asdict(), **pointer}, Anything())] if key else []

    def _pointers(self, run_id: str) -> Iterator[Item]:
        return every(self._tables, TABLE, self._pk("RUN", run_id))


def version_sk(number: int) -> str:
    """Return the sort key of a version."""
    return f"VERSION#{number:09d}"


def _alias_sk(alias: str) -> str:
    return f"ALIAS#{alias}"


def load_document(kind: type[D], item: Item) -> D:
    """Return the document of an item."""
    return kind.model_validate_json(item["doc"]).model_copy(update={"v": int(item["v"])})


def _text(document: BaseModel) -> str:
    """Return a document's JSON; raises ``TooLarge``."""
    text = document.model_dump_json()
    if (size := len(text.encode())) > DOCUMENT_BYTES:
        kind = {"RegisteredModel": "registered model", "ModelVersion": "model version", "Card": "model card"}
        what = kind.get(type(document).__name__, "request")
        raise TooLarge(f"a {what} with all its texts has {size} bytes, more than {DOCUMENT_BYTES}")
    return text


def put_document(key: Key, document: Document) -> Put:
    """Return the write of a document; fails when it changed since it was read, or is there already.

    Raises:
        TooLarge: DynamoDB takes no item of this size.
    """
    item = {**key._asdict(), "doc": _text(document), "v": document.v + 1}
    return Put(TABLE, item, Is("v", document.v) if document.v else Absent())
