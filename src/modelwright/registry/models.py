"""MLflow's use cases of registered models, but for aliases (``transitions``)."""

from typing import Any

from modelwright.context import Call
from modelwright.errors import AlreadyExists, Forbidden, NotFound
from modelwright.events import RegisteredModelChanged, RegisteredModelCreated
from modelwright.filters import Clause, Searchable, matches, rank
from modelwright.log import Log
from modelwright.protocol import page
from modelwright.registry.entities import (
    PROMPT,
    RegisteredModel,
    checked_name,
    checked_tag,
    latest_by_stage,
)
from modelwright.registry.messages import (
    CreateModel,
    DeleteModelTag,
    LatestVersions,
    Named,
    RenameModel,
    Search,
    SetModelTag,
    UpdateModel,
)
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables, Write

_SEARCHABLE = Searchable(
    "a registered model", ("name",), ("last_updated_timestamp",), synonyms={"timestamp": "last_updated_timestamp"}
)


def milliseconds(call: Call) -> int:
    """Return the call's time as MLflow tells it."""
    return int(call.now.timestamp() * 1000)


def create(call: Call, message: CreateModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Make a registered model; raises ``AlreadyExists``."""
    name = checked_name(message.name)
    call.authorise("models:write", f"model/{name}")
    store = RegistryStore(tables, call)
    if store.find(name) is not None:
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    tags = {k: v for tag in message.tags for k, v in checked_tag(tag.key, tag.value).items()}
    model = born(call, name, store).model_copy(update={"description": message.description, "tags": tags})
    writes = [store.put_model(model), store.take_name(name, model.model_id)]
    log.commit(call, [store.happened(model, RegisteredModelCreated(model=name))], writes)
    return {"registered_model": model.answer([])}


def born(call: Call, name: str, store: RegistryStore) -> RegisteredModel:
    """Return a new model, not stored yet."""
    now = milliseconds(call)
    return RegisteredModel(model_id=store.fresh_id(name), name=name, created=now, updated=now)


def get(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a registered model; raises ``NotFound``."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return {"registered_model": model.answer(latest_by_stage(store.versions(model)))}


def update(call: Call, message: UpdateModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Change the description."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    return _save(call, model.model_copy(update={"description": message.description}), store, tables)


def rename(call: Call, message: RenameModel, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Give a model another name; raises ``AlreadyExists``."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    name = checked_name(message.new_name)
    call.authorise("models:write", f"model/{name}")
    if store.find(name) is not None:
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    renamed = model.model_copy(update={"name": name, "updated": milliseconds(call)})
    event = RegisteredModelChanged(model=model.name, change="renamed", new_name=name)
    writes: list[Write] = [store.put_model(renamed), store.take_name(name, model.model_id), store.free_name(model.name)]
    log.commit(call, [store.happened(model, event)], writes)
    return {"registered_model": renamed.answer(latest_by_stage(store.versions(renamed)))}


def delete(call: Call, message: Named, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Delete a model with its versions; its history stays in the log, its name is free."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    gone = model.model_copy(update={"deleted": True, "aliases": {}, "updated": milliseconds(call)})
    event = RegisteredModelChanged(model=model.name, change="deleted")
    log.commit(call, [store.happened(model, event)], [store.put_model(gone), store.free_name(model.name)])
    return {}


def set_tag(call: Call, message: SetModelTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    tags = {**model.tags, **checked_tag(message.key, message.value)}
    _save(call, model.model_copy(update={"tags": tags}), store, tables)
    return {}


def delete_tag(call: Call, message: DeleteModelTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; one that is not there is no error."""
    store = RegistryStore(tables, call)
    model = writable(call, message.name, store)
    tags = {k: v for k, v in model.tags.items() if k != message.key}
    _save(call, model.model_copy(update={"tags": tags}), store, tables)
    return {}


def latest_versions(call: Call, message: LatestVersions, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the newest version of each stage."""
    store = RegistryStore(tables, call)
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return {"model_versions": [v.answer(model) for v in latest_by_stage(store.versions(model), message.stages)]}


def search(call: Call, message: Search, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the models that match and that the caller may read; prompts only when asked for."""
    store = RegistryStore(tables, call)
    clauses, hidden = without_prompts(_SEARCHABLE.parse(message.filter))
    orders = _SEARCHABLE.orders(message.order_by)
    found = [
        model
        for model in store.models()
        if not (hidden and model.is_prompt) and matches(clauses, model.value) and readable(call, model)
    ]
    for order in reversed(orders):
        found.sort(key=lambda model: rank(model.value(order.entity, order.key)[0], ascending=order.ascending))
    chosen, token = page(found, message.limit(100, 1000), message.page_token)
    said = [model.answer(latest_by_stage(store.versions(model))) for model in chosen]
    return {"registered_models": said} | ({"next_page_token": token} if token else {})


def without_prompts(clauses: tuple[Clause, ...]) -> tuple[tuple[Clause, ...], bool]:
    """Return a filter's other clauses, and whether prompts are hidden: so they are unless it asks for them.

    ``tags.`mlflow.prompt.is_prompt` != 'true'`` holds for what lacks the tag too, which is MLflow's one exception.
    """
    asked = [c for c in clauses if c.entity == "tags" and c.key == PROMPT]
    hiding = [c for c in asked if (c.operator, c.value) == ("!=", "true")]
    return tuple(c for c in clauses if c not in hiding), not asked or bool(hiding)


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


def _save(call: Call, model: RegisteredModel, store: RegistryStore, tables: Tables) -> dict[str, Any]:
    touched = model.model_copy(update={"updated": milliseconds(call)})
    tables.write([store.put_model(touched)])
    return {"registered_model": touched.answer(latest_by_stage(store.versions(touched)))}
