"""Use cases of logged models."""

from typing import Any

from modelwright.artifacts import SCHEME, model_uri, new_model_id
from modelwright.context import Call
from modelwright.errors import ConditionFailed, NotFound
from modelwright.events import Event, LoggedModelChanged, LoggedModelCreated
from modelwright.log import Happened, Log, stream_of
from modelwright.once import Once
from modelwright.storage import Blobs, Tables
from modelwright.tracking.entities import ACTIVE, DELETED, Experiment, LoggedModel
from modelwright.tracking.experiments import load as load_experiment
from modelwright.tracking.experiments import milliseconds
from modelwright.tracking.messages import (
    CreateLoggedModel,
    FinalizeLoggedModel,
    LogModelParams,
    OfLoggedModel,
    TagLoggedModel,
    UntagLoggedModel,
)
from modelwright.tracking.runs import invented_name
from modelwright.tracking.store import TABLE, TrackingStore
from modelwright.tracking.validation import checked_experiment_id, checked_model_name, params, tags


def create(call: Call, message: CreateLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Make a logged model, pending until its files are there; the same request again makes no other one."""
    call.authorise("runs:write", f"experiment/{checked_experiment_id(message.experiment_id)}")
    experiment = load_experiment(call, message.experiment_id, tables=tables, blobs=blobs, log=log).writable()
    store, once = TrackingStore(tables, call, blobs), Once.of(call, "logged-models", message, TABLE)
    model = _made(call, message, experiment, new_model_id(experiment.experiment_id, once.seed))
    event = LoggedModelCreated(
        model_id=model.model_id, experiment_id=experiment.experiment_id, run_id=message.source_run_id
    )
    mark = once.mark(model.model_id) if once.keyed else []
    try:
        log.commit(call, [_of(call, model, event, fresh=True)], [*store.add_logged_model(model), *mark])
    except ConditionFailed:
        made = once.made(tables) if once.keyed else model.model_id
        if not once.request or made is None:
            raise
        model = store.logged_model(made)
    return {"model": model.answer()}


def _made(call: Call, message: CreateLoggedModel, experiment: Experiment, model_id: str) -> LoggedModel:
    uri = f"{experiment.artifact_location.rstrip('/')}/models/{model_id}/artifacts"
    own = experiment.artifact_location.startswith(f"{SCHEME}:")
    now = milliseconds(call)
    return LoggedModel(
        model_id=model_id,
        experiment_id=experiment.experiment_id,
        name=checked_model_name(message.name) or invented_name(),
        artifact_uri=model_uri(experiment.experiment_id, model_id) if own else uri,
        creation_timestamp_ms=now,
        last_updated_timestamp_ms=now,
        model_type=message.model_type,
        source_run_id=message.source_run_id,
        params=params(message.params),
        tags=tags(message.tags),
    )


def get(call: Call, message: OfLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return a logged model; raises ``NotFound``, for a deleted one too."""
    model = TrackingStore(tables, call, blobs).logged_model(message.model_id)
    call.authorise("runs:read", model.resource)
    return {"model": _active(model).answer()}


def finalize(call: Call, message: FinalizeLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Say that a logged model's files are there, or failed to be."""
    store = TrackingStore(tables, call, blobs)
    model = _writable(call, message.model_id, store)
    changed = model.finalized(message.status, milliseconds(call))
    change = "ready" if message.status == "LOGGED_MODEL_READY" else "failed"
    log.commit(call, [_of(call, model, _changed(model, change))], [store.put_logged_model(changed)])
    return {"model": changed.answer()}


def delete(call: Call, message: OfLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Move a logged model to the deleted stage; its files stay until they are collected."""
    store = TrackingStore(tables, call, blobs)
    model = _writable(call, message.model_id, store)
    deleted = model.model_copy(update={"lifecycle_stage": DELETED})
    log.commit(call, [_of(call, model, _changed(model, "deleted"))], [store.put_logged_model(deleted)])
    return {}


def set_tags(call: Call, message: TagLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Set tags."""
    store = TrackingStore(tables, call, blobs)
    model = _writable(call, message.model_id, store)
    changed = model.model_copy(update={"tags": {**model.tags, **tags(message.tags)}})
    return _save(call, changed, tables, blobs)


def delete_tag(call: Call, message: UntagLoggedModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    store = TrackingStore(tables, call, blobs)
    model = _writable(call, message.model_id, store)
    if message.key not in model.tags:
        raise NotFound(f"No tag with key {message.key!r} found for model with ID {model.model_id!r}.")
    rest = {k: v for k, v in model.tags.items() if k != message.key}
    return _save(call, model.model_copy(update={"tags": rest}), tables, blobs)


def log_params(call: Call, message: LogModelParams, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Record params."""
    store = TrackingStore(tables, call, blobs)
    model = _writable(call, message.model_id, store)
    return _save(call, model.model_copy(update={"params": {**model.params, **params(message.params)}}), tables, blobs)


def _writable(call: Call, model_id: str, store: TrackingStore) -> LoggedModel:
    model = store.logged_model(model_id)
    call.authorise("runs:write", model.resource)
    return _active(model)


def _active(model: LoggedModel) -> LoggedModel:
    if model.lifecycle_stage != ACTIVE:
        raise NotFound(f"Logged model with ID '{model.model_id}' not found.")
    return model


def _save(call: Call, model: LoggedModel, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    touched = model.model_copy(update={"last_updated_timestamp_ms": milliseconds(call)})
    tables.write([TrackingStore(tables, call, blobs).put_logged_model(touched)])
    return {}


def _changed(model: LoggedModel, change: str) -> Event:
    return LoggedModelChanged.model_validate(
        {"model_id": model.model_id, "experiment_id": model.experiment_id, "change": change}
    )


def _of(call: Call, model: LoggedModel, event: Event, *, fresh: bool = False) -> Happened:
    return Happened(stream_of(call.workspace, "MODEL", model.model_id), event, fresh)
