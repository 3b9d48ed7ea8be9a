"""MLflow's use cases of model versions."""

import hashlib
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from modelwright.artifacts import SCHEME, key_of_path, path_of, resource_of_path
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound
from modelwright.events import AliasChanged, ModelVersionCreated, ModelVersionDeleted
from modelwright.log import Log
from modelwright.once import Once
from modelwright.registry.entities import (
    UNPINNED_TAG,
    ModelVersion,
    RegisteredModel,
    checked_name,
    checked_stage,
    checked_tag,
)
from modelwright.registry.messages import (
    CreateVersion,
    DeleteVersionTag,
    OfVersion,
    SetVersionTag,
    TransitionStage,
    UpdateVersion,
)
from modelwright.registry.models import milliseconds, writable
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Blobs, Tables, Write

MODEL_FILE = "model.pkl"
PINNED_BYTES = 200_000_000
"""A larger file is not read, and so not known."""


class Files(NamedTuple):
    """Where a version's files lie and what they must be.

    Attributes:
        key: a prefix (ending in ``/``) of the artifacts bucket; empty when they lie elsewhere.
        digest: SHA-256 of ``model.pkl``; empty when it is not known.
        unpinned: why it is not known, if that is a fault of the file.
    """

    key: str = ""
    digest: str = ""
    unpinned: str = ""


def create(call: Call, message: CreateVersion, *, tables: Tables, log: Log, blobs: Blobs) -> dict[str, Any]:
    """Make the next version: its number is the highest ever given plus one, and its file is what lies there now.

    The same request again makes no other one.
    """
    store, once = RegistryStore(tables, call), Once.of(call, "model-versions/create", message, TABLE)
    model = writable(call, message.name, store)
    if message.number and (made := once.made(tables)) is not None:
        return {"model_version": store.version(model, int(made)).answer(model)}
    now, model_id = milliseconds(call), message.model_id or _model_id(message.source)
    files, grown = files_of(call, message.source, store, blobs), model.grown(now, message.number)
    tags = {k: v for tag in message.tags for k, v in checked_tag(tag.key, tag.value).items()}
    version = ModelVersion(
        model=model.name,
        version=grown.newest,
        created=now,
        updated=now,
        source=message.source,
        artifact_key=files.key,
        artifact_digest=files.digest,
        run_id=message.run_id or (store.run_of(model_id) if model_id else ""),
        run_link=message.run_link,
        model_id=model_id,
        user_id=call.actor,
        description=message.description,
        tags={**tags, UNPINNED_TAG: files.unpinned} if files.unpinned else tags,
    )
    event = ModelVersionCreated(
        model=model.name,
        version=version.version,
        source=version.source,
        artifact_key=version.artifact_key,
        run_id=version.run_id,
        artifact_digest=version.artifact_digest,
    )
    writes: list[Write] = [store.put_model(grown), *store.add_version(grown, version)]
    writes += once.mark(str(version.version))
    try:
        log.commit(call, [store.happened(model, event)], writes)
    except ConditionFailed:
        if (made := once.made(tables)) is None:
            raise
        version = store.version(model, int(made))
    return {"model_version": version.answer(grown)}


def files_of(call: Call, source: str, store: RegistryStore, blobs: Blobs) -> Files:
    """Return the files that a source names.

    The platform reads what lies there in its own name, so the caller must be allowed to read it.
    ``models:/<name>/<version>`` and ``models:/<name>@<alias>`` are another version's files, as they were then.

    Raises:
        InvalidInput: the source is not well formed.
        Forbidden: the caller may not read it.
    """
    path = path_of(source)
    if path:
        call.authorise("artifacts:read", resource_of_path(path))
        key = key_of_path(call.workspace, path) + "/"
        if _model_id(source) and next(blobs.level("artifacts", key), None) is None:
            return Files()  # its experiment keeps files elsewhere: clients find them by the logged model
        return _pinned(key, blobs)
    parts = urlsplit(source)
    if path == "" or (parts.scheme == SCHEME):
        raise InvalidInput(f"Invalid model version source: '{source}' names no folder")
    if parts.scheme != "models":
        return Files()
    return _copied(call, parts.path.strip("/"), source, store)


def get(call: Call, message: OfVersion, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a version; raises ``NotFound``."""
    model, version = load(call, message, RegistryStore(tables, call))
    return {"model_version": version.answer(model)}


def download_uri(call: Call, message: OfVersion, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return where a version's files can be fetched from, copies resolved."""
    _, version = load(call, message, RegistryStore(tables, call))
    ours = version.artifact_key.removeprefix(f"{call.workspace}/").rstrip("/")
    return {"artifact_uri": f"{SCHEME}:/{ours}" if ours else version.source}


def update(call: Call, message: UpdateVersion, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Change the description."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    return _save(call, model, version.model_copy(update={"description": message.description}), store, tables)


def delete(call: Call, message: OfVersion, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Delete a version and the aliases that point to it."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    lost = [alias for alias, number in sorted(model.aliases.items()) if number == version.version]
    without = model.model_copy(update={"updated": milliseconds(call)})
    if model.latest.get(version.stage) == version.version:
        others = (other for other in store.versions(model) if other.version != version.version)
        without = model.holding(others, milliseconds(call))
    for alias in lost:
        without = without.pointing(alias, None, call.now)
    events = [
        AliasChanged(model=model.name, alias=a, version=None, previous=version.version, reason="version deleted")
        for a in lost
    ]
    happened = [
        store.happened(model, e) for e in (*events, ModelVersionDeleted(model=model.name, version=version.version))
    ]
    log.commit(call, happened, [store.put_model(without), *store.delete_version(model, version)])
    return {}


def set_tag(call: Call, message: SetVersionTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag.

    ``modelwright.metric.<name>``, ``modelwright.dataset_digest`` and ``modelwright.evaluation`` (JSON) are what gates
    know of a version that a client made, as the registry does not read tracking's table.
    """
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    tags = {**version.tags, **checked_tag(message.key, message.value)}
    _save(call, model, version.model_copy(update={"tags": tags}), store, tables)
    return {}


def delete_tag(call: Call, message: DeleteVersionTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; one that is not there is no error."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    tags = {k: v for k, v in version.tags.items() if k != message.key}
    _save(call, model, version.model_copy(update={"tags": tags}), store, tables)
    return {}


def transition_stage(call: Call, message: TransitionStage, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Move a version to one of MLflow's (deprecated) stages; they mean nothing to the platform."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    call.authorise("models:transition", model.resource)
    stage, now = checked_stage(message.stage), milliseconds(call)
    if message.archive_existing_versions and stage not in ("Staging", "Production"):
        raise InvalidInput(f"existing versions are archived by a move to Staging or Production, not to {stage}")
    known = store.versions(model)
    changed = {version.version: version.model_copy(update={"stage": stage, "updated": now})}
    if message.archive_existing_versions:
        rest = [other for other in known if other.stage == stage and other.version != version.version]
        changed |= {o.version: o.model_copy(update={"stage": "Archived", "updated": now}) for o in rest}
    holding = model.holding((changed.get(each.version, each) for each in known), now)
    tables.write([store.put_model(holding), *(store.put_version(model, each) for each in changed.values())])
    return {"model_version": changed[version.version].answer(model)}


def load(call: Call, message: OfVersion, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion]:
    """Return a model and its version that the caller may read; raises ``NotFound``."""
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return model, store.version(model, message.version)


def _writable(call: Call, message: OfVersion, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion]:
    model = writable(call, message.name, store)
    return model, store.version(model, message.version)


def _save(
    call: Call, model: RegisteredModel, version: ModelVersion, store: RegistryStore, tables: Tables
) -> dict[str, Any]:
    touched = version.model_copy(update={"updated": milliseconds(call)})
    tables.write([store.put_version(model, touched)])
    return {"model_version": touched.answer(model)}


def _model_id(source: str) -> str:
    """Return the logged model that ``models:/m-...`` names."""
    head = source.removeprefix("models:/").partition("/")[0]
    return head if source.startswith("models:/m-") else ""


def _pinned(key: str, blobs: Blobs) -> Files:
    try:
        size = blobs.size("artifacts", key + MODEL_FILE)
        if size > PINNED_BYTES:
            return Files(key, "", f"{MODEL_FILE} has {size} bytes; up to {PINNED_BYTES} are read to know its digest")
        return Files(key, hashlib.sha256(blobs.get("artifacts", key + MODEL_FILE).body).hexdigest())
    except NotFound:
        return Files(key)


def _copied(call: Call, path: str, source: str, store: RegistryStore) -> Files:
    name, at, alias = path.partition("@")
    if not at:
        name, _, number = path.partition("/")
        if not number.isdigit():
            raise InvalidInput(f"Invalid model version source: '{source}' is no models:/<name>/<version>")
    call.authorise("models:read", f"model/{name}")
    model = store.model(checked_name(name))
    copied = store.version(model, model.version_of(alias) if at else int(number))
    return Files(copied.artifact_key, copied.artifact_digest, copied.tags.get(UNPINNED_TAG, ""))
