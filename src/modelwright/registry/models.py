"""MLflow's use cases of registered models, but for aliases (``transitions``).

Every change is in the log. What changes nothing is not, though it counts as an update, as in MLflow.
"""

import secrets
from typing import Any, Literal

from modelwright.context import Call
from modelwright.errors import AlreadyExists, ConditionFailed, Forbidden, NotFound
from modelwright.events import AliasChanged, Event, RegisteredModelChanged, RegisteredModelCreated
from modelwright.log import Log
from modelwright.once import Once
from modelwright.registry.entities import (
    CHALLENGER,
    CHAMPION,
    STAGES,
    RegisteredModel,
    checked_name,
    checked_stage,
    checked_tag,
)
from modelwright.registry.messages import (
    CreateModel,
    DeleteModelTag,
    LatestVersions,
    Named,
    RenameModel,
    SetModelTag,
    UpdateModel,
)
from modelwright.registry.policies import may_be_called, may_take_away
from modelwright.registry.proofs import proof, proven
from modelwright.registry.requests import superseded
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.storage import Tables, Write


def milliseconds(call: Call) -> int:
    """Return the call's time as MLflow tells it."""
    return int(call.now.timestamp() * 1000)


def create(call: Call, message: CreateModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Make a registered model; the same request again makes no other one. Raises ``AlreadyExists``."""
    name = checked_name(message.name)
    call.authorise("models:write", f"model/{name}")
    store, once = RegistryStore(tables, call), Once.of(call, "registered-models/create", message, TABLE)
    if (known := store.find(name)) is not None:
        if once.made(tables) == known.model_id:
            return {"registered_model": known.answer([])}
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    tags = {k: v for tag in message.tags for k, v in checked_tag(tag.key, tag.value).items()}
    model = born(call, name, store).model_copy(update={"description": message.description, "tags": tags})
    writes = [store.put_model(model), *store.take_name(name, model.model_id), *once.mark(model.model_id)]
    event = RegisteredModelCreated(model=name, **proven(model, message.description, tags))
    try:
        log.commit(call, [store.happened(model, event)], writes)
    except ConditionFailed:
        once.made(tables)
        raise
    return {"registered_model": model.answer([])}


def born(call: Call, name: str, store: RegistryStore) -> RegisteredModel:
    """Return a new model, not stored yet."""
    now = milliseconds(call)
    salt = secrets.token_hex(16)
    return RegisteredModel(model_id=store.fresh_id(name), name=name, created=now, updated=now, salt=salt)


def get(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a registered model; raises ``NotFound``."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return {"registered_model": model.answer(store.latest([model])[model.model_id])}


def update(call: Call, message: UpdateModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Change the description."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    changed = model.model_copy(update={"description": message.description})
    event = _event(model, "description", value=message.description)
    touched = _save(call, model, changed, event, store, tables=tables, log=log)
    return {"registered_model": touched.answer(store.latest([touched])[touched.model_id])}


def rename(call: Call, message: RenameModel, *, tables: Tables, log: Log, tier: str) -> dict[str, Any]:
    """Give a model another name.

    Raises:
        AlreadyExists: the name is taken.
        InvalidInput: a project declares the name, and the model's versions are another's.
        Forbidden: the old name would lose a version that had to be judged or approved (``may_take_away``).
    """
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    name = checked_name(message.new_name)
    call.authorise("models:write", f"model/{name}")
    if store.find(name) is not None:
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    may_be_called(call, model, name, tables)
    may_take_away(call, model, model.aliases, tables, tier)
    renamed = model.model_copy(update={"name": name, "updated": milliseconds(call)})
    event = RegisteredModelChanged(model=model.name, change="renamed", new_name=name)
    writes: list[Write] = [store.put_model(renamed), *store.take_name(name, model.model_id)]
    writes += store.free_name(model.name, model.model_id)
    log.commit(call, [store.happened(model, event)], writes)
    return {"registered_model": renamed.answer(store.latest([renamed])[renamed.model_id])}


def delete(call: Call, message: Named, *, tables: Tables, log: Log, tier: str) -> dict[str, Any]:
    """Delete a model with its versions; its history stays in the log, its name is free, its open requests end.

    Raises:
        Forbidden: one of its versions had to be judged or approved (``may_take_away``).
    """
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    may_take_away(call, model, model.aliases, tables, tier)
    gone = model.model_copy(update={"deleted": True, "aliases": {}, "updated": milliseconds(call)})
    change = superseded(call, tables, gone, "model deleted")
    lost: list[Event] = [  # whoever serves the name hears of aliases, not of models
        AliasChanged(model=model.name, alias=alias, version=None, previous=model.aliases[alias], reason="model deleted")
        for alias in (CHALLENGER, CHAMPION)
        if alias in model.aliases
    ]
    events = [*change.events, *lost, RegisteredModelChanged(model=model.name, change="deleted")]
    writes: list[Write] = [store.put_model(change.model), *store.free_name(model.name, model.model_id)]
    log.commit(call, [store.happened(model, event) for event in events], [*writes, *change.writes])
    return {}


def set_tag(call: Call, message: SetModelTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    changed = model.model_copy(update={"tags": {**model.tags, **checked_tag(message.key, message.value)}})
    event = _event(model, "tag_set", message.key, message.value)
    _save(call, model, changed, event, store, tables=tables, log=log)
    return {}


def delete_tag(call: Call, message: DeleteModelTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; one that is not there is no error."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    changed = model.model_copy(update={"tags": {k: v for k, v in model.tags.items() if k != message.key}})
    _save(call, model, changed, _event(model, "tag_deleted", message.key), store, tables=tables, log=log)
    return {}


def latest_versions(call: Call, message: LatestVersions, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the newest version of each stage."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    stages = tuple(checked_stage(stage) for stage in message.stages) or STAGES
    return {"model_versions": [v.answer(model) for v in store.latest([model], stages)[model.model_id]]}


def readable(call: Call, model: RegisteredModel) -> bool:
    """Say whether the caller may read a model."""
    try:
        call.authorise("models:read", model.resource)
    except Forbidden:
        return False
    return True


def writable(call: Call, name: str, store: RegistryStore) -> RegisteredModel:
    """Return a model that the caller may change; raises ``NotFound`` or ``Forbidden``."""
    call.authorise("models:write", f"model/{name}")
    model = store.find(checked_name(name))
    if model is None:
        raise NotFound(f"Registered Model with name={name} not found")
    return model


def _event(
    model: RegisteredModel, change: Literal["description", "tag_set", "tag_deleted"], key: str = "", value: str = ""
) -> RegisteredModelChanged:
    proving = proof(model, value) if value or change == "tag_set" else ""
    return RegisteredModelChanged(model=model.name, change=change, key=key, proof=proving)


def _save(
    call: Call,
    before: RegisteredModel,
    model: RegisteredModel,
    event: RegisteredModelChanged,
    store: RegistryStore,
    *,
    tables: Tables,
    log: Log,
) -> RegisteredModel:
    touched = model.model_copy(update={"updated": milliseconds(call)})
    if model == before:
        tables.write([store.put_model(touched)])
    else:
        log.commit(call, [store.happened(model, event)], [store.put_model(touched)])
    return touched
