"""Use cases of experiments. ``Default`` (id 0) comes into being when it is first asked for."""

from contextlib import suppress
from typing import Any

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.errors import AlreadyExists, ConditionFailed, Conflict, Forbidden, NotFound
from modelwright.events import ExperimentChanged, ExperimentCreated
from modelwright.filters import Searchable, matches, rank
from modelwright.log import Happened, Log, stream_of
from modelwright.protocol import page
from modelwright.storage import Delete, Tables, Write
from modelwright.tracking.entities import ACTIVE, DELETED, Experiment, stages
from modelwright.tracking.messages import (
    CreateExperiment,
    DeleteExperimentTag,
    ExperimentByName,
    OfExperiment,
    SearchExperiments,
    SetExperimentTag,
    UpdateExperiment,
)
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import (
    EXPERIMENT_TAG_LENGTH,
    checked_experiment_id,
    checked_experiment_name,
    checked_key,
    tags,
)

DEFAULT_ID, DEFAULT_NAME = "0", "Default"
_SEARCHABLE = Searchable("an experiment", ("name",), ("creation_time", "last_update_time", "experiment_id"))


def milliseconds(call: Call) -> int:
    """Return the call's time as MLflow tells it."""
    return int(call.now.timestamp() * 1000)


def create(call: Call, message: CreateExperiment, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Make an experiment; its name stays taken even while it is deleted. Raises ``AlreadyExists``."""
    call.authorise("experiments:write", f"experiment/{message.name}")
    store = TrackingStore(tables, call)
    name = checked_experiment_name(message.name)
    if name == DEFAULT_NAME:
        load(call, DEFAULT_ID, tables=tables, log=log)
    if (holder := store.experiment_id_of(name)) is not None:
        raise AlreadyExists(
            f"Experiment '{name}' already exists: it has the id {holder} (a deleted one keeps its name)"
        )
    number = store.last_experiment_id() + 1
    location = message.artifact_location or f"{SCHEME}:/{number}"
    experiment = _made(call, str(number), name, location, tags(message.tags, EXPERIMENT_TAG_LENGTH))
    _create(call, experiment, store, log, [store.count_to(number)])
    return {"experiment_id": experiment.experiment_id}


def get(call: Call, message: OfExperiment, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return an experiment in any stage; raises ``NotFound``."""
    experiment = load(call, message.experiment_id, tables=tables, log=log)
    call.authorise("experiments:read", resource(experiment))
    return {"experiment": experiment.answer()}


def get_by_name(call: Call, message: ExperimentByName, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return an experiment by its name, a deleted one too; raises ``NotFound``."""
    identity = TrackingStore(tables, call).experiment_id_of(message.experiment_name)
    if identity is None and message.experiment_name == DEFAULT_NAME:
        identity = DEFAULT_ID
    if identity is None:
        raise NotFound(f"Could not find experiment with name '{message.experiment_name}'")
    return get(call, OfExperiment(experiment_id=identity), tables=tables, log=log)


def search(call: Call, message: SearchExperiments, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the experiments that match and that the caller may read, newest first unless ordered."""
    load(call, DEFAULT_ID, tables=tables, log=log)
    clauses, orders = _SEARCHABLE.parse(message.filter), _SEARCHABLE.orders(message.order_by)
    wanted = stages(message.view_type)
    found = [
        experiment
        for experiment in TrackingStore(tables, call).experiments()
        if experiment.lifecycle_stage in wanted
        and matches(clauses, _filterable(experiment))
        and _readable(call, experiment)
    ]
    found.sort(key=lambda e: (-e.creation_time, -int(e.experiment_id)))
    for order in reversed(orders):
        found.sort(key=lambda e: rank(_filterable(e)(order.entity, order.key)[0], ascending=order.ascending))
    chosen, token = page(found, message.limit(1000, 50_000), message.page_token)
    return {"experiments": [e.answer() for e in chosen]} | ({"next_page_token": token} if token else {})


def update(call: Call, message: UpdateExperiment, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Rename an experiment; raises ``AlreadyExists``, or ``Conflict`` when it is deleted."""
    store = TrackingStore(tables, call)
    experiment = _writable(call, message.experiment_id, tables, log)
    if not message.new_name or message.new_name == experiment.name:
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


def delete(call: Call, message: OfExperiment, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Move an experiment and its runs to the deleted stage; raises ``NotFound`` if it is not active."""
    return _move(call, message.experiment_id, ACTIVE, DELETED, tables, log)


def restore(call: Call, message: OfExperiment, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Bring an experiment and all its runs back; raises ``NotFound`` if it is not deleted."""
    return _move(call, message.experiment_id, DELETED, ACTIVE, tables, log)


def set_tag(call: Call, message: SetExperimentTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag."""
    experiment = _writable(call, message.experiment_id, tables, log).writable()
    more = {checked_key(message.key, "key"): message.value[:EXPERIMENT_TAG_LENGTH]}
    _save(experiment.model_copy(update={"tags": {**experiment.tags, **more}}), call, tables)
    return {}


def delete_tag(call: Call, message: DeleteExperimentTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    experiment = _writable(call, message.experiment_id, tables, log).writable()
    if message.key not in experiment.tags:
        raise NotFound(f"No tag with name: {message.key} in experiment {experiment.experiment_id}")
    rest = {k: v for k, v in experiment.tags.items() if k != message.key}
    _save(experiment.model_copy(update={"tags": rest}), call, tables)
    return {}


def load(call: Call, identity: str, *, tables: Tables, log: Log) -> Experiment:
    """Return an experiment in any stage, making ``Default`` if need be; raises ``NotFound``."""
    store = TrackingStore(tables, call)
    experiment = store.experiment(checked_experiment_id(identity))
    if experiment is None and identity == DEFAULT_ID:
        experiment = _made(call, DEFAULT_ID, DEFAULT_NAME, f"{SCHEME}:/{DEFAULT_ID}", {})
        with suppress(ConditionFailed):  # somebody else was quicker
            _create(call, experiment, store, log, [])
        experiment = store.experiment(DEFAULT_ID)
    if experiment is None:
        raise NotFound(f"No Experiment with id={identity} exists")
    return experiment


def ensure(call: Call, name: str, *, tables: Tables, log: Log) -> Experiment:
    """Return the experiment of this name, made if there is none, for the platform's own runs."""
    store = TrackingStore(tables, call)
    identity = store.experiment_id_of(name)
    if identity is None:
        create(call, CreateExperiment(name=name), tables=tables, log=log)
        identity = store.experiment_id_of(name)
    return load(call, str(identity), tables=tables, log=log)


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


def _writable(call: Call, identity: str, tables: Tables, log: Log) -> Experiment:
    experiment = load(call, identity, tables=tables, log=log)
    call.authorise("experiments:write", resource(experiment))
    return experiment


def _save(experiment: Experiment, call: Call, tables: Tables) -> None:
    touched = experiment.model_copy(update={"last_update_time": milliseconds(call)})
    tables.write([TrackingStore(tables, call).put_experiment(touched)])


def _move(call: Call, identity: str, now_in: str, to: str, tables: Tables, log: Log) -> dict[str, Any]:
    """Move the runs first: a move that was cut short is then simply done again."""
    store = TrackingStore(tables, call)
    experiment = _writable(call, identity, tables, log).in_stage(now_in)
    for run in store.runs(identity):
        if run.lifecycle_stage != to:
            tables.write([store.put_run(run.model_copy(update={"lifecycle_stage": to}))])
    moved = experiment.model_copy(update={"lifecycle_stage": to, "last_update_time": milliseconds(call)})
    _change(call, moved, "deleted" if to == DELETED else "restored", store, log, [])
    return {}


def _change(
    call: Call, experiment: Experiment, change: str, store: TrackingStore, log: Log, writes: list[Write]
) -> None:
    event = ExperimentChanged.model_validate({"experiment_id": experiment.experiment_id, "change": change})
    stream = stream_of(call.workspace, "EXPERIMENT", experiment.experiment_id)
    log.commit(call, [Happened(stream, event)], [store.put_experiment(experiment), *writes])


def _readable(call: Call, experiment: Experiment) -> bool:
    try:
        call.authorise("experiments:read", resource(experiment))
    except Forbidden:
        return False
    return True


def _filterable(experiment: Experiment) -> Any:
    def value(entity: str, key: str) -> tuple[Any]:
        if (entity, key) == ("attributes", "experiment_id"):
            return (float(experiment.experiment_id),)
        return experiment.value(entity, key)

    return value
