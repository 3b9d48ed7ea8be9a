"""How a version is made: its number, its files as they lie there now, and what they say of it.

A source must lie within the run or the logged model that the request names, as MLflow has it: the platform reads
and signs URLs in its own name, and nobody shall pass off another run's files as this one's.
"""

from typing import Any
from urllib.parse import urlsplit

from modelwright.artifacts import (
    SCHEME,
    experiment_of,
    is_of_logged_model,
    is_of_run,
    key_of_path,
    path_of,
    resource_of_path,
)
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput
from modelwright.events import ModelVersionCreated
from modelwright.log import Log
from modelwright.once import Once
from modelwright.registry import folder
from modelwright.registry.entities import (
    UNPINNED_TAG,
    ModelVersion,
    RegisteredModel,
    checked_name,
    checked_tag,
    is_number,
)
from modelwright.registry.folder import Files
from modelwright.registry.messages import CreateVersion
from modelwright.registry.models import milliseconds, writable
from modelwright.registry.proofs import proven, told
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Blobs, Tables, Write

_COPIED = (
    "artifact_key", "artifact_digest", "features", "metrics", "dataset_digest", "code", "datasets",
    "environment_digest", "size", "signature", "parity",
)  # fmt: skip
"""What is known of a version's files and training, and so of a copy's."""
_COMPARED = ("champion_auc", "champion_brier", "auc_difference", "brier_difference")
"""What an evaluation says of the champion of one model, which says nothing of another's."""


def create(call: Call, message: CreateVersion, *, tables: Tables, log: Log, blobs: Blobs) -> dict[str, Any]:
    """Make the next version: its number is the highest ever given plus one, and its file is what lies there now.

    The same request again makes no other one.

    Raises:
        InvalidInput: the source is not well formed, or lies outside the run or logged model that is named.
        Forbidden: the caller may not write the model, or not read the source or the run.
    """
    store, once = RegistryStore(tables, call), Once.of(call, "model-versions/create", message, TABLE)
    model = writable(call, message.name, store)
    if message.number and (made := once.made(tables)) is not None:
        return {"model_version": store.version(model, int(made)).answer(model)}
    grown = model.grown(milliseconds(call), message.number)
    version = _version(call, message, grown, store, blobs)
    if not version.copied_from:
        _may_read_run(call, version.run_id)
    event = ModelVersionCreated(
        model=model.name,
        version=version.version,
        source=version.source,
        artifact_key=version.artifact_key,
        run_id=version.run_id,
        features=version.features,
        artifact_digest=version.artifact_digest,
        dataset_digest=version.dataset_digest,
        code=version.code,
        environment_digest=version.environment_digest,
        copied_from=version.copied_from,
        datasets=version.datasets,
        metrics=version.metrics,
        told=told(version.tags),
        **proven(model, version.description, version.tags),
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


def _version(
    call: Call, message: CreateVersion, model: RegisteredModel, store: RegistryStore, blobs: Blobs
) -> ModelVersion:
    """Return the new version, ``model.newest``, with what its files or the version that it copies say."""
    copied = copied_of(call, message.source, store)
    tags = {k: v for tag in message.tags for k, v in checked_tag(tag.key, tag.value).items()}
    model_id = message.model_id or _model_id(message.source)
    blank = ModelVersion(
        model=model.name,
        version=model.newest,
        created=model.updated,
        updated=model.updated,
        source=message.source,
        run_id=message.run_id,
        run_link=message.run_link,
        model_id=model_id,
        user_id=call.actor,
        description=message.description,
        tags=tags,
    )
    if copied is not None:
        _require_same(message, copied[1])
        return _copy(blank, model, *copied)
    _require_within(message, store)
    files = files_of(call, message.source, store, blobs)
    return blank.model_copy(
        update={
            "artifact_key": files.key,
            "artifact_digest": files.digest,
            "run_id": message.run_id or (store.run_of(model_id) if model_id else ""),
            "tags": {**tags, UNPINNED_TAG: files.unpinned} if files.unpinned else tags,
            "size": files.size,
            "signature": files.signature,
            "environment_digest": files.environment_digest,
            "predictions": files.predictions,
        }
    )


def files_of(call: Call, source: str, store: RegistryStore, blobs: Blobs) -> Files:
    """Return the files that a source names, with what they say.

    The platform reads what lies there in its own name, so the caller must be allowed to read it.
    ``models:/<name>/<version>`` and ``models:/<name>@<alias>`` are another version's files, as they were then.

    Raises:
        InvalidInput: the source is not well formed.
        Forbidden: the caller may not read it.
    """
    path = path_of(source)
    if path:
        call.authorise("artifacts:read", resource_of_path(path))
        found = folder.read(key_of_path(call.workspace, path) + "/", blobs)
        # None lie there: its experiment keeps files elsewhere, and clients find them by the logged model.
        return Files() if _model_id(source) and found.size is None else found
    parts = urlsplit(source)
    if path == "" or (parts.scheme == SCHEME):
        raise InvalidInput(f"Invalid model version source: '{source}' names no folder")
    copied = copied_of(call, source, store)
    if copied is None:
        return Files()
    _, version = copied
    facts = (version.size, version.signature, version.environment_digest, version.predictions)
    return Files(version.artifact_key, version.artifact_digest, version.tags.get(UNPINNED_TAG, ""), *facts)


def copied_of(call: Call, source: str, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion] | None:
    """Return the version that a source names, ``models:/<name>/<version>`` or ``...@<alias>``; None if it names none.

    Raises:
        InvalidInput: the source is not well formed.
        NotFound: there is no such version.
        Forbidden: the caller may not read it.
    """
    if path_of(source) is not None:
        return None
    parts = urlsplit(source)
    if parts.scheme != "models":
        return None
    name, at, alias = parts.path.strip("/").partition("@")
    if not at:
        name, _, number = name.partition("/")
        if not is_number(number):
            raise InvalidInput(f"Invalid model version source: '{source}' is no models:/<name>/<version>")
    call.authorise("models:read", f"model/{name}")
    model = store.model(checked_name(name))
    return model, store.version(model, model.version_of(alias) if at else int(number))


def _copy(blank: ModelVersion, model: RegisteredModel, origin: RegisteredModel, copied: ModelVersion) -> ModelVersion:
    """Return the new version with all that is known of the one that it copies, whose very files it has.

    What somebody said by tags stays with the version it was said of, and a comparison with its model.
    """
    evaluation, elsewhere = copied.evaluation, origin.model_id != model.model_id
    if evaluation is not None and elsewhere:
        evaluation = evaluation.model_copy(update={**dict.fromkeys(_COMPARED), "champion": ""})
    unpinned = {UNPINNED_TAG: copied.tags[UNPINNED_TAG]} if UNPINNED_TAG in copied.tags else {}
    return blank.model_copy(
        update={
            **{name: getattr(copied, name) for name in _COPIED},
            "run_id": blank.run_id or copied.run_id,
            "model_id": blank.model_id or copied.model_id,
            "evaluation": evaluation,
            "predictions": "" if elsewhere else copied.predictions,
            "tags": {**blank.tags, **unpinned},
            "copied_from": f"{origin.name}/{copied.version}",
        }
    )


def _require_same(message: CreateVersion, copied: ModelVersion) -> None:
    """Raise ``InvalidInput`` unless run and logged model, where they are named, are those of the version copied."""
    if message.run_id not in ("", copied.run_id) or message.model_id not in ("", copied.model_id):
        named = f"run_id and model_id must be those of {copied.model} v{copied.version}"
        raise InvalidInput(f"Invalid model version source: '{message.source}'. {named}, which it names.")


def _may_read_run(call: Call, run_id: str) -> None:
    """Raise ``Forbidden`` unless the caller may read a run: tracking tells the version what the run's figures are."""
    try:
        experiment = experiment_of(run_id)
    except InvalidInput:  # it is no run of ours, so nothing is told of it
        return
    call.authorise("runs:read", f"experiment/{experiment}")


def _require_within(message: CreateVersion, store: RegistryStore) -> None:
    """Raise ``InvalidInput`` unless a source of ours lies within the run or logged model that is named."""
    path = path_of(message.source)
    if not path:
        return
    if message.model_id:
        inside, named = is_of_logged_model(path, message.model_id), f"logged model {message.model_id}"
        if inside and message.run_id and store.run_of(message.model_id) not in ("", message.run_id):
            inside, named = False, f"run {message.run_id}"
    elif message.run_id:
        inside, named = _is_of_run(path, message, store), f"run {message.run_id}"
    else:
        return
    if not inside:
        raise InvalidInput(f"Invalid model version source: '{message.source}'. It lies outside the {named}.")


def _is_of_run(path: str, message: CreateVersion, store: RegistryStore) -> bool:
    """Say whether a path lies within the run, or within a logged model that is not known to be another run's."""
    model_id = _model_id(message.source)
    if model_id:
        return store.run_of(model_id) in ("", message.run_id)
    return is_of_run(path, message.run_id)


def _model_id(source: str) -> str:
    """Return the logged model that ``models:/m-...`` names."""
    head = source.removeprefix("models:/").partition("/")[0]
    return head if source.startswith("models:/m-") else ""
