"""MLflow's use cases of model versions."""

import hashlib
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from modelwright.artifacts import SCHEME, key_of_path, path_of, resource_of_path
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import AliasChanged, ModelVersionCreated, ModelVersionDeleted
from modelwright.filters import Searchable, matches, rank
from modelwright.log import Log
from modelwright.protocol import page
from modelwright.registry.entities import (
    PROMPT,
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
    Search,
    SetVersionTag,
    TransitionStage,
    UpdateVersion,
)
from modelwright.registry.models import milliseconds, readable, without_prompts, writable
from modelwright.registry.store import RegistryStore
from modelwright.storage import Blobs, Tables, Write

MODEL_FILE = "model.pkl"
PINNED_BYTES = 200_000_000
"""A larger file is not read, and so not known."""

_SEARCHABLE = Searchable(
    "a model version",
    ("name", "run_id", "source_path"),
    ("version_number", "creation_timestamp", "last_updated_timestamp"),
    synonyms={"source": "source_path", "version": "version_number"},
)


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
    """Make the next version: its number is the highest ever given plus one, and its file is what lies there now."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    now, model_id = milliseconds(call), message.model_id or _model_id(message.source)
    files = files_of(call, message.source, store, blobs)
    tags = {k: v for tag in message.tags for k, v in checked_tag(tag.key, tag.value).items()}
    version = ModelVersion(
        model=model.name,
        version=model.newest + 1,
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
    grown = model.model_copy(update={"newest": version.version, "updated": now})
    writes = [store.put_model(grown), store.put_version(grown, version)]
    log.commit(call, [store.happened(model, event)], writes)
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
        return _pinned(key_of_path(call.workspace, path) + "/", blobs)
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
    for alias in lost:
        without = without.pointing(alias, None, call.now)
    events = [
        AliasChanged(model=model.name, alias=a, version=None, previous=version.version, reason="version deleted")
        for a in lost
    ]
    happened = [
        store.happened(model, e) for e in (*events, ModelVersionDeleted(model=model.name, version=version.version))
    ]
    log.commit(call, happened, [store.put_model(without), store.delete_version(model, version)])
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
    moved = version.model_copy(update={"stage": stage, "updated": now})
    others = store.versions(model) if message.archive_existing_versions else []
    archived = {"stage": "Archived", "updated": now}
    writes: list[Write] = [store.put_version(model, moved)]
    writes += [
        store.put_version(model, other.model_copy(update=archived))
        for other in others
        if other.stage == stage and other.version != version.version
    ]
    tables.write(writes)
    return {"model_version": moved.answer(model)}


def search(call: Call, message: Search, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the versions that match and that the caller may read, newest first unless ordered otherwise."""
    store = RegistryStore(tables, call)
    clauses, hidden = without_prompts(_SEARCHABLE.parse(message.filter))
    orders = _SEARCHABLE.orders(message.order_by)
    named = [str(c.value) for c in clauses if (c.key, c.operator) == ("name", "=")]
    models = [m for name in named if (m := store.find(name))] if named else list(store.models())
    found = [
        (version, model)
        for model in models
        if readable(call, model)
        for version in (v.model_copy(update={"model": model.name}) for v in store.versions(model))
        if not (hidden and version.tags.get(PROMPT) == "true") and matches(clauses, version.value)
    ]
    found.sort(key=lambda pair: (-pair[0].updated, pair[1].name, -pair[0].version))
    for order in reversed(orders):
        found.sort(key=lambda pair: rank(pair[0].value(order.entity, order.key)[0], ascending=order.ascending))
    chosen, token = page(found, message.limit(10_000, 200_000), message.page_token)
    return {"model_versions": [v.answer(m) for v, m in chosen]} | ({"next_page_token": token} if token else {})


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
