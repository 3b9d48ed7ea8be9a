"""MLflow's use cases of model versions."""

from typing import Any

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.events import AliasChanged, ModelVersionDeleted
from modelwright.log import Log
from modelwright.registry.entities import (
    ModelVersion,
    RegisteredModel,
    checked_name,
    checked_stage,
    checked_tag,
)
from modelwright.registry.messages import (
    DeleteVersionTag,
    OfVersion,
    SetVersionTag,
    TransitionStage,
    UpdateVersion,
)
from modelwright.registry.models import milliseconds, writable
from modelwright.registry.store import RegistryStore
from modelwright.storage import Tables


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
