"""Use cases of experiments. ``Default`` (id 0) comes into being when it is first asked for."""

from contextlib import suppress
from typing import Any

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.errors import AlreadyExists, ConditionFailed, Conflict, InvalidInput, NotFound
from modelwright.events import ExperimentChanged, ExperimentCreated
from modelwright.log import Happened, Log, stream_of
from modelwright.once import Once
from modelwright.storage import Blobs, Delete, Tables, Write
from modelwright.tracking.entities import ACTIVE, DELETED, Experiment
from modelwright.tracking.messages import (
    CreateExperiment,
    DeleteExperimentTag,
    ExperimentByName,
    OfExperiment,
    Pair,
    SetExperimentTag,
    UpdateExperiment,
)
from modelwright.tracking.store import TABLE, TrackingStore
from modelwright.tracking.validation import (
    checked_experiment_id,
    checked_experiment_name,
    checked_location,
    experiment_tags,
)

DEFAULT_ID, DEFAULT_NAME = "0", "Default"


def milliseconds(call: Call) -> int:
    """Return the call's time as MLflow tells it."""
    return int(call.now.timestamp() * 1000)


def create(call: Call, message: CreateExperiment, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Make an experiment; its name stays taken even while it is deleted. Raises ``AlreadyExists``.

    The same request again makes no other one.
    """
    call.authorise("experiments:write", f"experiment/{message.name}")
    store, once = TrackingStore(tables, call, blobs), Once.of(call, "experiments/create", message, TABLE)
    name = checked_experiment_name(message.name)
    if name == DEFAULT_NAME:
        load(call, DEFAULT_ID, tables=tables, blobs=blobs, log=log)
    if (holder := store.experiment_id_of(name)) is not None:
        if once.made(tables) == holder:
            return {"experiment_id": holder}
        raise AlreadyExists(
            f"Experiment '{name}' already exists: it has the id {holder} (a deleted one keeps its name)"
        )
    number = store.last_experiment_id() + 1
    location = checked_location(message.artifact_location or f"{SCHEME}:/{number}")
    experiment = _made(call, str(number), name, location, experiment_tags(message.tags))
    try:
        _create(call, experiment, store, log, [store.count_to(number), *once.mark(experiment.experiment_id)])
    except ConditionFailed:
        once.made(tables)
        raise
    return {"experiment_id": experiment.experiment_id}


def get(call: Call, message: OfExperiment, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return an experiment in any stage; raises ``NotFound``."""
    experiment = load(call, message.experiment_id, tables=tables, blobs=blobs, log=log)
    call.authorise("experiments:read", resource(experiment))
    return {"experiment": experiment.answer()}


def get_by_name(call: Call, message: ExperimentByName, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return an experiment by its name, a deleted one too; raises ``NotFound``."""
    identity = TrackingStore(tables, call, blobs).experiment_id_of(message.experiment_name)
    if identity is None and message.experiment_name == DEFAULT_NAME:
        identity = DEFAULT_ID
    if identity is None:
        raise NotFound(f"Could not find experiment with name '{message.experiment_name}'")
    return get(call, OfExperiment(experiment_id=identity), tables=tables, blobs=blobs, log=log)


def update(call: Call, message: UpdateExperiment, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Rename an experiment; raises ``AlreadyExists``, or ``Conflict`` when it is deleted."""
    store = TrackingStore(tables, call, blobs)
    experiment = _writable(call, message.experiment_id, tables, blobs, log)
    if not message.new_name:
        raise InvalidInput("Missing value for required parameter 'new_name'.")
    if message.new_name == experiment.name:
        return {}
    if experiment.lifecycle_stage != ACTIVE:
        raise Conflict(f"Cannot rename the experiment {experiment.experiment_id}: it is deleted")
    name = checked_experiment_name(message.new_name)
    if store.experiment_id_of(name) is not None:
        raise AlreadyExists(f"Experiment '{name}' already exists")
    writes: list[Write] = [
        store.take_name(name, experiment.experiment_id),
        Delete("tracking", store.name_key(experiment.name)),
    ]
    renamed = experiment.model_copy(update={"name": name, "last_update_time": milliseconds(call)})
    _change(call, renamed, "renamed", store, log, writes)
    return {}


def delete(call: Call, message: OfExperiment, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Move an experiment, and so its runs, to the deleted stage; raises ``NotFound`` if it is not active.

    Its open runs are closed afterwards, in that case too: a deletion that was cut short is then simply done again.
    """
    store = TrackingStore(tables, call, blobs)
    experiment = _writable(call, message.experiment_id, tables, blobs, log)
    try:
        _move(call, experiment.in_stage(ACTIVE), DELETED, store, log)
    finally:
        store.close_runs(experiment.experiment_id)
    return {}


def restore(call: Call, message: OfExperiment, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Bring an experiment and all its runs back; raises ``NotFound`` if it is not deleted."""
    experiment = _writable(call, message.experiment_id, tables, blobs, log).in_stage(DELETED)
    back = experiment.model_copy(update={"epoch": experiment.epoch + 1})
    _move(call, back, ACTIVE, TrackingStore(tables, call, blobs), log)
    return {}


def set_tag(call: Call, message: SetExperimentTag, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Set a tag."""
    experiment = _writable(call, message.experiment_id, tables, blobs, log).writable()
    more = experiment_tags([Pair(key=message.key, value=message.value)])
    _save(experiment.model_copy(update={"tags": {**experiment.tags, **more}}), call, tables, blobs)
    return {}


def delete_tag(call: Call, message: DeleteExperimentTag, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    experiment = _writable(call, message.experiment_id, tables, blobs, log).writable()
    if message.key not in experiment.tags:
        raise NotFound(f"No tag with name: {message.key} in experiment {experiment.experiment_id}")
    rest = {k: v for k, v in experiment.tags.items() if k != message.key}
    _save(experiment.model_copy(update={"tags": rest}), call, tables, blobs)
    return {}


def load(call: Call, identity: str, *, tables: Tables, blobs: Blobs, log: Log) -> Experiment:
    """Return an experiment in any stage, making ``Default`` if need be; raises ``NotFound``."""
    store = TrackingStore(tables, call, blobs)
    experiment = store.experiment(checked_experiment_id(identity))
    if experiment is None and identity == DEFAULT_ID:
        experiment = _made(call, DEFAULT_ID, DEFAULT_NAME, f"{SCHEME}:/{DEFAULT_ID}", {})
        with suppress(ConditionFailed):  # somebody else was quicker
            _create(call, experiment, store, log, [])
        experiment = store.experiment(DEFAULT_ID)
    if experiment is None:
        raise NotFound(f"No Experiment with id={identity} exists")
    return experiment


def ensure(call: Call, name: str, *, tables: Tables, blobs: Blobs, log: Log) -> Experiment:
    """Return the experiment of this name, made if there is none, for the platform's own runs."""
    store = TrackingStore(tables, call, blobs)
    identity = store.experiment_id_of(name)
    if identity is None:
        create(call, CreateExperiment(name=name), tables=tables, blobs=blobs, log=log)
        identity = store.experiment_id_of(name)
    return load(call, str(identity), tables=tables, blobs=blobs, log=log)


def resource(experiment: Experiment) -> str:
    """Return what grants name."""
    return f"experiment/{experiment.experiment_id}"


def _made(call: Call, identity: str, name: str, location: str, with_tags: dict[str, str]) -> Experiment:
    now = milliseconds(call)
    return Experiment(
        experiment_id=identity,
        name=name,
        artifact_location=location,
        creation_time=now,
        last_update_time=now,
        tags=with_tags,
    )


def _create(call: Call, experiment: Experiment, store: TrackingStore, log: Log, writes: list[Write]) -> None:
    identity = experiment.experiment_id
    event = ExperimentCreated(experiment_id=identity, name=experiment.name)
    own = [store.put_experiment(experiment), store.take_name(experiment.name, identity)]
    log.commit(call, [Happened(stream_of(call.workspace, "EXPERIMENT", identity), event)], [*own, *writes])


def _writable(call: Call, identity: str, tables: Tables, blobs: Blobs, log: Log) -> Experiment:
    experiment = load(call, identity, tables=tables, blobs=blobs, log=log)
    call.authorise("experiments:write", resource(experiment))
    return experiment


def _save(experiment: Experiment, call: Call, tables: Tables, blobs: Blobs) -> None:
    touched = experiment.model_copy(update={"last_update_time": milliseconds(call)})
    tables.write([TrackingStore(tables, call, blobs).put_experiment(touched)])


def _move(call: Call, experiment: Experiment, to: str, store: TrackingStore, log: Log) -> None:
    moved = experiment.model_copy(update={"lifecycle_stage": to, "last_update_time": milliseconds(call)})
    _change(call, moved, "deleted" if to == DELETED else "restored", store, log, [])


def _change(
    call: Call, experiment: Experiment, change: str, store: TrackingStore, log: Log, writes: list[Write]
) -> None:
    event = ExperimentChanged.model_validate({"experiment_id": experiment.experiment_id, "change": change})
    stream = stream_of(call.workspace, "EXPERIMENT", experiment.experiment_id)
    log.commit(call, [Happened(stream, event)], [store.put_experiment(experiment), *writes])
