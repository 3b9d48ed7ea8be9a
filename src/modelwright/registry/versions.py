"""MLflow's use cases of model versions; every change is in the log (see ``models``)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.events import AliasChanged, Event, ModelVersionChanged, ModelVersionDeleted
from modelwright.log import Happened, Log
from modelwright.registry.entities import (
    DIGEST_TAG,
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
from modelwright.registry.policies import may_take_away
from modelwright.registry.proofs import proof, told
from modelwright.registry.requests import superseded
from modelwright.registry.store import RegistryStore
from modelwright.storage import TRANSACTION_LIMIT, Tables, Write

_TOGETHER = TRANSACTION_LIMIT - 2
"""Writes and events of one transaction that changes stages, but for one more event and the model."""


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
    changed = version.model_copy(update={"description": message.description})
    event = _event(model, version, "description", value=message.description)
    return _save(call, model, version, changed, event, store, tables=tables, log=log)


def delete(call: Call, message: OfVersion, *, tables: Tables, log: Log, tier: str) -> dict[str, Any]:
    """Delete a version and the aliases that point to it; its open requests end.

    Raises:
        Forbidden: it had to be judged or approved for one of them (``may_take_away``).
    """
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    lost = [alias for alias, number in sorted(model.aliases.items()) if number == version.version]
    may_take_away(call, model, lost, tables, tier)
    without = model.model_copy(update={"updated": milliseconds(call)})
    if model.latest.get(version.stage) == version.version:
        others = (other for other in store.versions(model) if other.version != version.version)
        without = model.holding(others, milliseconds(call))
    for alias in lost:
        without = without.pointing(alias, None, call.now)
    events: list[Event] = [
        AliasChanged(model=model.name, alias=a, version=None, previous=version.version, reason="version deleted")
        for a in lost
    ]
    change = superseded(call, tables, without, "version deleted", version=version.version)
    events += [*change.events, ModelVersionDeleted(model=model.name, version=version.version)]
    writes = [*store.put_aliases(model, change.model), *change.writes, *store.delete_version(model, version)]
    log.commit(call, [store.happened(model, event) for event in events], writes)
    store.forget(model.model_id, version)
    return {}


def set_tag(call: Call, message: SetVersionTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag.

    ``modelwright.metric.<name>``, ``modelwright.dataset_digest`` and ``modelwright.evaluation`` (JSON) are what gates
    know of a version that a client made, as the registry does not read tracking's table.
    """
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    changed = version.model_copy(update={"tags": {**version.tags, **checked_tag(message.key, message.value)}})
    if message.key == DIGEST_TAG:
        store.point_from(model.model_id, changed)
    event = _event(model, version, "tag_set", message.key, message.value)
    _save(call, model, version, changed, event, store, tables=tables, log=log)
    return {}


def delete_tag(call: Call, message: DeleteVersionTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; one that is not there is no error."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    changed = version.model_copy(update={"tags": {k: v for k, v in version.tags.items() if k != message.key}})
    event = _event(model, version, "tag_deleted", message.key)
    _save(call, model, version, changed, event, store, tables=tables, log=log)
    return {}


def transition_stage(call: Call, message: TransitionStage, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Move a version to one of MLflow's (deprecated) stages; they mean nothing to the platform."""
    store = RegistryStore(tables, call)
    model, version = _writable(call, message, store)
    call.authorise("models:transition", model.resource)
    stage, now = checked_stage(message.stage), milliseconds(call)
    if message.archive_existing_versions and stage not in ("Staging", "Production"):
        raise InvalidInput(f"existing versions are archived by a move to Staging or Production, not to {stage}")
    known = {version.version: version, **{each.version: each for each in store.versions(model)}}
    rest = [other for other in known.values() if other.stage == stage and other.version != version.version]
    archived = rest if message.archive_existing_versions else []
    moved = [other.model_copy(update={"stage": "Archived", "updated": now}) for other in archived]
    moved.append(version.model_copy(update={"stage": stage, "updated": now}))
    holding = model.holding(({**known, **{each.version: each for each in moved}}).values(), now)
    _move(call, holding, moved, known, store, log)
    return {"model_version": moved[-1].answer(model)}


def load(call: Call, message: OfVersion, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion]:
    """Return a model and its version that the caller may read; raises ``NotFound``."""
    call.authorise("models:read", f"model/{message.name}")
    model = store.model(checked_name(message.name))
    return model, store.version(model, message.version)


def _writable(call: Call, message: OfVersion, store: RegistryStore) -> tuple[RegisteredModel, ModelVersion]:
    model = writable(call, message.name, store)
    return model, store.version(model, message.version)


def _move(
    call: Call,
    model: RegisteredModel,
    versions: Sequence[ModelVersion],
    before: Mapping[int, ModelVersion],
    store: RegistryStore,
    log: Log,
) -> None:
    """Write versions in new stages, the last with the model; some of them before if one transaction is too small."""
    events: list[Happened] = []
    writes: list[Write] = []
    for version in versions:
        more = store.put_version(model, version, alone=False)
        if len(events) + len(writes) + len(more) > _TOGETHER:
            log.commit(call, events, [*writes, store.unchanged(model)])
            events, writes = [], []
        writes += more
        if version.stage != before[version.version].stage:
            moved = ModelVersionChanged(model=model.name, version=version.version, change="stage", key=version.stage)
            events.append(store.happened(model, moved))
    log.commit(call, events, [*writes, store.put_model(model)])


def _event(
    model: RegisteredModel,
    version: ModelVersion,
    change: Literal["description", "tag_set", "tag_deleted"],
    key: str = "",
    value: str = "",
) -> ModelVersionChanged:
    return ModelVersionChanged(
        model=model.name,
        version=version.version,
        change=change,
        key=key,
        value=told({key: value}).get(key, "") if change == "tag_set" else "",
        proof=proof(model, value) if value or change == "tag_set" else "",
    )


def _save(
    call: Call,
    model: RegisteredModel,
    before: ModelVersion,
    version: ModelVersion,
    event: ModelVersionChanged,
    store: RegistryStore,
    *,
    tables: Tables,
    log: Log,
) -> dict[str, Any]:
    touched = version.model_copy(update={"updated": milliseconds(call)})
    if version == before:
        tables.write(store.put_version(model, touched))
    else:
        log.commit(call, [store.happened(model, event)], store.put_version(model, touched))
    return {"model_version": touched.answer(model)}
