"""Use cases of logged models."""

from typing import Any

from modelwright.artifacts import SCHEME, model_uri, new_model_id
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Event, LoggedModelChanged, LoggedModelCreated
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Tables
from modelwright.tracking.entities import ACTIVE, DELETED, LoggedModel
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
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import params, tags


def create(call: Call, message: CreateLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Make a logged model, pending until its files are there."""
    experiment = load_experiment(call, message.experiment_id, tables=tables, log=log).writable()
    call.authorise("runs:write", f"experiment/{experiment.experiment_id}")
    model_id = new_model_id(experiment.experiment_id)
    if "/" in message.name or ":" in message.name:
        raise InvalidInput(f"invalid model name {message.name!r}: it may contain neither '/' nor ':'")
    uri = f"{experiment.artifact_location.rstrip('/')}/models/{model_id}/artifacts"
    own = experiment.artifact_location.startswith(f"{SCHEME}:")
    now = milliseconds(call)
    model = LoggedModel(
        model_id=model_id,
        experiment_id=experiment.experiment_id,
        name=message.name or model_id,
        artifact_uri=model_uri(experiment.experiment_id, model_id) if own else uri,
        creation_timestamp_ms=now,
        last_updated_timestamp_ms=now,
        model_type=message.model_type,
        source_run_id=message.source_run_id,
        params=params(message.params),
        tags=tags(message.tags),
    )
    store = TrackingStore(tables, call)
    event = LoggedModelCreated(model_id=model_id, experiment_id=experiment.experiment_id, run_id=message.source_run_id)
    log.commit(call, [_of(call, model, event)], store.add_logged_model(model))
    return {"model": model.answer()}


def get(call: Call, message: OfLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a logged model; raises ``NotFound``, for a deleted one too."""
    model = TrackingStore(tables, call).logged_model(message.model_id)
    call.authorise("runs:read", model.resource)
    return {"model": _active(model).answer()}


def finalize(call: Call, message: FinalizeLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Say that a logged model's files are there, or failed to be."""
    store = TrackingStore(tables, call)
    model = _writable(call, message.model_id, store)
    changed = model.finalized(message.status, milliseconds(call))
    change = "ready" if message.status == "LOGGED_MODEL_READY" else "failed"
    log.commit(call, [_of(call, model, _changed(model, change))], [store.put_logged_model(changed)])
    return {"model": changed.answer()}


def delete(call: Call, message: OfLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Move a logged model to the deleted stage; its files stay until they are collected."""
    store = TrackingStore(tables, call)
    model = _writable(call, message.model_id, store)
    deleted = model.model_copy(update={"lifecycle_stage": DELETED})
    log.commit(call, [_of(call, model, _changed(model, "deleted"))], [store.put_logged_model(deleted)])
    return {}


def set_tags(call: Call, message: TagLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set tags."""
    store = TrackingStore(tables, call)
    model = _writable(call, message.model_id, store)
    changed = model.model_copy(update={"tags": {**model.tags, **tags(message.tags)}})
    return _save(call, changed, tables)


def delete_tag(call: Call, message: UntagLoggedModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    store = TrackingStore(tables, call)
    model = _writable(call, message.model_id, store)
    if message.key not in model.tags:
        raise NotFound(f"No tag with key {message.key!r} found for model with ID {model.model_id!r}.")
    rest = {k: v for k, v in model.tags.items() if k != message.key}
    return _save(call, model.model_copy(update={"tags": rest}), tables)


def log_params(call: Call, message: LogModelParams, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Record params."""
    store = TrackingStore(tables, call)
    model = _writable(call, message.model_id, store)
    return _save(call, model.model_copy(update={"params": {**model.params, **params(message.params)}}), tables)


def _writable(call: Call, model_id: str, store: TrackingStore) -> LoggedModel:
    model = store.logged_model(model_id)
    call.authorise("runs:write", model.resource)
    return _active(model)


def _active(model: LoggedModel) -> LoggedModel:
    if model.lifecycle_stage != ACTIVE:
        raise NotFound(f"Logged model with ID '{model.model_id}' not found.")
    return model


def _save(call: Call, model: LoggedModel, tables: Tables) -> dict[str, Any]:
    touched = model.model_copy(update={"last_updated_timestamp_ms": milliseconds(call)})
    tables.write([TrackingStore(tables, call).put_logged_model(touched)])
    return {"model": touched.answer()}


def _changed(model: LoggedModel, change: str) -> Event:
    return LoggedModelChanged.model_validate(
        {"model_id": model.model_id, "experiment_id": model.experiment_id, "change": change}
    )


def _of(call: Call, model: LoggedModel, event: Event) -> Happened:
    return Happened(stream_of(call.workspace, "MODEL", model.model_id), event)
