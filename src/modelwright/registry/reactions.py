"""What follows in the registry from trainings and rollouts; every event is handled once, in any order."""

import hashlib

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.events import (
    AliasChanged,
    Delivery,
    Event,
    LoggedModelCreated,
    ModelVersionCreated,
    RegisteredModelCreated,
    RolloutPromoted,
    RolloutRolledBack,
    TrainingCompleted,
    TrainingRecorded,
)
from modelwright.log import Log
from modelwright.plugins import Gates
from modelwright.registry.entities import CHALLENGER, CHAMPION, DIGEST_TAG, ModelVersion, RegisteredModel, checked_name
from modelwright.registry.models import born, milliseconds
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.registry.transitions import decide, judge, policy_of, without_challenger
from modelwright.storage import Tables, Write


def register(call: Call, delivery: Delivery, *, tables: Tables, log: Log, gates: Gates) -> None:
    """Make a version of a completed training and ask that it be challenger (or champion, where there is none).

    Model, version and transition are one transaction. A training gives one version, however often it is told.
    """
    event: TrainingCompleted = delivery.event
    store = RegistryStore(tables, call)
    known = store.find(checked_name(event.model))
    model = known or born(call, event.model, store)
    training = store.training(event.training_id)
    if known and training.model_id == known.model_id:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    version = _trained(call, event, model, training.run_id)
    gave = training.model_copy(update={"model_id": model.model_id, "version": version.version})
    created = ModelVersionCreated(
        model=model.name,
        version=version.version,
        source=version.source,
        artifact_key=version.artifact_key,
        run_id=version.run_id,
        training_id=event.training_id,
        features=event.features,
        artifact_digest=version.artifact_digest,
    )
    alias = CHALLENGER if CHAMPION in model.aliases else CHAMPION
    results = judge(version, alias, model, policy_of(call, model.name, tables), gates)
    grown = model.grown(milliseconds(call))
    decision = decide(call, grown, version, alias, results, reason=f"training {event.training_id} ({event.trigger})")
    born_now: tuple[Event, ...] = () if known else (RegisteredModelCreated(model=model.name),)
    happened = [store.happened(model, e) for e in (*born_now, created, *decision.events)]
    writes: list[Write] = [
        store.put_model(decision.model),
        *store.add_version(model, version),
        store.put_training(event.training_id, gave),
    ]
    if known is None:
        writes.append(store.take_name(model.name, model.model_id))
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)


def move_to_run(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Give a training's version the run that tracking made of the training, or keep that for when there is one.

    Both reactions write the training's item and fail when the other did meanwhile, so that none misses the other.
    """
    event: TrainingRecorded = delivery.event
    store = RegistryStore(tables, call)
    training = store.training(event.training_id)
    writes: list[Write] = []
    if training.run_id != event.run_id:
        told = training.model_copy(update={"run_id": event.run_id})
        writes = [store.put_training(event.training_id, told), *store.move_to_run(told)]
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def remember_run(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember which run made a logged model, for versions that are made of it later."""
    event: LoggedModelCreated = delivery.event
    writes = [RegistryStore(tables, call).put_run_of(event.model_id, event.run_id)] if event.run_id else []
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def promote(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Make the challenger of a finished rollout the champion; a later change of the alias stands."""
    event: RolloutPromoted = delivery.event
    store = RegistryStore(tables, call)
    model = store.find(event.model)
    if model is None:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    reason = f"rollout {event.rollout_id} promoted v{event.challenger}"
    changed, events = without_challenger(model, event.challenger, reason, call)
    newer = CHAMPION in model.alias_at and model.alias_at[CHAMPION] > call.now
    previous = model.aliases.get(CHAMPION)
    if not newer and previous != event.challenger:
        moved = AliasChanged(
            model=model.name, alias=CHAMPION, version=event.challenger, previous=previous, reason=reason
        )
        changed, events = changed.pointing(CHAMPION, event.challenger, call.now), (moved, *events)
    _commit(call, changed, events, delivery, store, log)


def roll_back(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Take the alias challenger from a version whose rollout was rolled back."""
    event: RolloutRolledBack = delivery.event
    store = RegistryStore(tables, call)
    model = store.find(event.model)
    if model is None:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    reason = f"rollout {event.rollout_id} rolled back: {event.reason}"
    changed, events = without_challenger(model, event.challenger, reason, call)
    _commit(call, changed, events, delivery, store, log)


def _trained(call: Call, event: TrainingCompleted, model: RegisteredModel, run_id: str) -> ModelVersion:
    """Return the version of a training; until its run is known it names that by the id tracking also finds it by."""
    now = milliseconds(call)
    key = event.artifact_key.rstrip("/") + "/"
    return ModelVersion(
        model=model.name,
        version=model.newest + 1,
        created=now,
        updated=now,
        source=f"{SCHEME}:/{key.removeprefix(f'{call.workspace}/').rstrip('/')}",
        artifact_key=key,
        artifact_digest=event.artifact_digest,
        run_id=run_id or hashlib.sha256(event.training_id.encode()).hexdigest()[:32],
        user_id="modelwright",
        description=f"trained by {event.trigger} on {event.rows} rows",
        tags={"modelwright.training_id": event.training_id, DIGEST_TAG: event.dataset_digest},
        training_id=event.training_id,
        features=event.features,
        metrics=event.metrics,
        evaluation=event.evaluation,
        dataset_digest=event.dataset_digest,
    )


def _commit(
    call: Call, model: RegisteredModel, events: tuple[Event, ...], delivery: Delivery, store: RegistryStore, log: Log
) -> None:
    touched = model.model_copy(update={"updated": milliseconds(call)})
    happened = [store.happened(model, event) for event in events]
    writes = [store.put_model(touched)] if events else []
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)
