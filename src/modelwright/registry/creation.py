"""How a version is made: its number, its files as they lie there now, and what they say of it."""

import hashlib
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from modelwright.artifacts import SCHEME, key_of_path, path_of, resource_of_path
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput, NotFound
from modelwright.events import ModelVersionCreated
from modelwright.log import Log
from modelwright.once import Once
from modelwright.registry.entities import UNPINNED_TAG, ModelVersion, checked_name, checked_tag
from modelwright.registry.messages import CreateVersion
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
