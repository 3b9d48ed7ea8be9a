"""What follows in the registry from trainings and rollouts; every event is handled once, in any order."""

import hashlib
from collections.abc import Sequence

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
from modelwright.log import Happened, Log, new_id
from modelwright.plugins import Gates
from modelwright.registry.entities import CHALLENGER, CHAMPION, DIGEST_TAG, ModelVersion, RegisteredModel, checked_name
from modelwright.registry.judging import Judge
from modelwright.registry.models import born, milliseconds
from modelwright.registry.policies import policy_of
from modelwright.registry.proofs import proven, told
from modelwright.registry.requests import Change, RequestStore, moved, superseded, without_challenger
from modelwright.registry.store import TABLE, RegistryStore
from modelwright.registry.workflow import TransitionRequest, asked
from modelwright.storage import Blobs, Tables, Write


def register(
    call: Call, delivery: Delivery, *, tables: Tables, log: Log, blobs: Blobs, gates: Gates, tier: str
) -> None:
    """Make a version of a completed training and ask that it be challenger (or champion, where there is none).

    Model, version and request are one transaction. A training gives one version, however often it is told. What an
    older training asked for and still waits ends, unless gates refuse the new one.
    """
    event: TrainingCompleted = delivery.event
    store = RequestStore(tables, call)
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
        dataset_digest=version.dataset_digest,
        code=version.code,
        environment_digest=version.environment_digest,
        metrics=version.metrics,
        told=told(version.tags),
        **proven(model, version.description, version.tags),
    )
    asked = _asked(call, event, model, version, Judge(call, store, tables, blobs, tier), gates)
    change = Change(model.grown(milliseconds(call)))
    if asked.state != "refused":
        change = change.then(
            lambda left: superseded(
                call, tables, left, "a newer version was trained", alias=asked.alias, actor=call.actor
            )
        )
    change = change.then(lambda left: moved(call, store, left, None, asked))
    born_now: tuple[Event, ...] = () if known else (RegisteredModelCreated(model=model.name),)
    happened = [store.happened(model, e) for e in (*born_now, created, *change.events)]
    writes: list[Write] = [
        *store.put_aliases(model, change.model, version),
        *change.writes,
        *store.add_version(model, version),
        store.put_training(event.training_id, gave),
    ]
    if known is None:
        writes += store.take_name(model.name, model.model_id)
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)


def move_to_run(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Give a training's version the run that tracking made of the training, or keep that for when there is one.

    Both reactions write the training's item and fail when the other did meanwhile, so that none misses the other.
    """
    event: TrainingRecorded = delivery.event
    store = RegistryStore(tables, call)
    training = store.training(event.training_id)
    writes: list[Write] = []
    happened: list[Happened] = []
    if training.run_id != event.run_id:
        told = training.model_copy(update={"run_id": event.run_id})
        writes, happened = store.move_to_run(told)
        writes.append(store.put_training(event.training_id, told))
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)


def remember_run(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Remember which run made a logged model, for versions that are made of it later."""
    event: LoggedModelCreated = delivery.event
    writes = [RegistryStore(tables, call).put_run_of(event.model_id, event.run_id)] if event.run_id else []
    log.commit(call, (), writes, delivery=delivery, table=TABLE)


def promote(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Make the challenger of a finished rollout the champion; a later change of the alias stands.

    It was approved as challenger, and the canary is the better judge: nobody has to approve it again, and who asked
    for just that has nothing to wait for any more.
    """
    event: RolloutPromoted = delivery.event
    store = RegistryStore(tables, call)
    model = store.find(event.model)
    version = store.find_version(model, event.challenger) if model else None
    if model is None or version is None:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    reason, number = f"rollout {event.rollout_id} promoted v{event.challenger}", event.challenger
    change = Change(model)
    newer = CHAMPION in model.alias_at and model.alias_at[CHAMPION] > call.now
    previous = model.aliases.get(CHAMPION)
    if not newer and previous != number:
        event_of_it = AliasChanged(model=model.name, alias=CHAMPION, version=number, previous=previous, reason=reason)
        change = Change(model.pointing(CHAMPION, number, call.now), (event_of_it,))
        change = change.then(lambda left: superseded(call, tables, left, reason, version=number, alias=CHAMPION))
    change = change.then(lambda left: without_challenger(call, left, number, reason))
    _commit(call, model, change, [version], delivery, store, log)


def roll_back(call: Call, delivery: Delivery, *, tables: Tables, log: Log) -> None:
    """Take the alias challenger from a version whose rollout was rolled back."""
    event: RolloutRolledBack = delivery.event
    store = RegistryStore(tables, call)
    model = store.find(event.model)
    if model is None:
        log.commit(call, (), delivery=delivery, table=TABLE)
        return
    reason = f"rollout {event.rollout_id} rolled back: {event.reason}"
    change = without_challenger(call, model, event.challenger, reason)
    _commit(call, model, change, (), delivery, store, log)


def _asked(
    call: Call, event: TrainingCompleted, model: RegisteredModel, version: ModelVersion, judge: Judge, gates: Gates
) -> TransitionRequest:
    """Return the request that a training makes for its version."""
    alias = CHALLENGER if CHAMPION in model.aliases else CHAMPION
    policy = policy_of(call, model, judge.tables, judge.tier)
    request = TransitionRequest(
        request_id=new_id(call.now),
        model=model.name,
        version=version.version,
        alias=alias,
        at=call.now,
        actor=call.actor,
        on_behalf_of="" if event.requested_by == call.actor else event.requested_by,
        reason=f"training {event.training_id} ({event.trigger})",
        champion=model.aliases.get(CHAMPION),
        expires=call.now,
    )
    verdict = judge.at_once(model, version, alias, policy, gates)
    return asked(request, *verdict, policy, guarded=alias in policy.guarded, force=False)


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
        code=event.project_digest,
        environment_digest=event.environment_digest,
        size=event.size,
        signature=event.signature,
        parity=event.parity_digest,
        predictions=event.predictions_digest,
        trigger=event.trigger,
        rows=event.rows,
        window=event.window,
    )


def _commit(
    call: Call,
    model: RegisteredModel,
    change: Change,
    versions: Sequence[ModelVersion],
    delivery: Delivery,
    store: RegistryStore,
    log: Log,
) -> None:
    touched = change.model.model_copy(update={"updated": milliseconds(call)})
    happened = [store.happened(model, event) for event in change.events]
    writes = [*change.writes, *store.put_aliases(model, touched, *versions)] if change.events else []
    log.commit(call, happened, writes, delivery=delivery, table=TABLE)
