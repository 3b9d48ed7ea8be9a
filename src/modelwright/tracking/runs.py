"""Use cases of runs, but for what is logged to them (``logging``) and searches (``search``)."""

import json
import secrets
from dataclasses import replace
from typing import Any

from modelwright.artifacts import new_run_id
from modelwright.context import Call
from modelwright.errors import ConditionFailed, Conflict, InvalidInput, NotFound
from modelwright.events import Event, RunChanged, RunCreated, RunEnded
from modelwright.log import Happened, Log, stream_of
from modelwright.once import Once
from modelwright.storage import Blobs, Tables
from modelwright.tracking.answers import run_answer
from modelwright.tracking.datasets import remember as remember_uses
from modelwright.tracking.entities import ACTIVE, DELETED, FINAL, RUN_NAME, STATUSES, Experiment, Run
from modelwright.tracking.experiments import load as load_experiment
from modelwright.tracking.experiments import milliseconds
from modelwright.tracking.messages import (
    CreateRun,
    DeleteRunTag,
    LogInputs,
    LogModel,
    LogOutputs,
    OfRun,
    SetRunTag,
    UpdateRun,
)
from modelwright.tracking.store import TABLE, Placed, TrackingStore
from modelwright.tracking.validation import TAG_LENGTH, checked_experiment_id, checked_key, first_tags

LOGGED_MODELS = "mlflow.log-model.history"
_ADJECTIVES = (
    "able",
    "bold",
    "calm",
    "clean",
    "deft",
    "eager",
    "fair",
    "keen",
    "neat",
    "quick",
    "rare",
    "sleek",
    "wise",
)
_NOUNS = ("ant", "bass", "crane", "dove", "elk", "finch", "gull", "hare", "ibis", "jay", "lark", "mole", "newt", "owl")


def create(call: Call, message: CreateRun, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Begin a run; it gets a name when the caller has none.

    The same request again begins no other run. Raises ``InvalidInput`` in a deleted experiment.
    """
    call.authorise("runs:write", f"experiment/{checked_experiment_id(message.experiment_id)}")
    store = TrackingStore(tables, call, blobs)
    experiment = load_experiment(call, message.experiment_id, tables=tables, blobs=blobs, log=log).writable()
    once = Once.of(call, "runs/create", message, TABLE)
    run = _begun(call, message, experiment, new_run_id(experiment.experiment_id, once.seed))
    event = RunCreated(run_id=run.run_id, experiment_id=run.experiment_id)
    mark = once.mark(run.run_id) if once.keyed else []
    try:
        log.commit(call, [_of(call, run, event, fresh=True)], [*store.add_run(run), *mark])
    except ConditionFailed as failure:
        run = _made_before(once, run.run_id, store, tables, failure)
    return {"run": run.answer({})}


def _made_before(once: Once, run_id: str, store: TrackingStore, tables: Tables, failure: ConditionFailed) -> Run:
    """Return the run that the same request made before.

    Raises:
        ConditionFailed: it was not for that.
        Conflict: that run was removed for good since.
    """
    made = once.made(tables) if once.keyed else run_id
    if not once.request or made is None:
        raise failure
    try:
        return store.run(made)
    except NotFound:
        if once.keyed:
            raise Conflict(f"the run {made}, which this Idempotency-Key made, was removed: use another key") from None
        raise failure from None


def _begun(call: Call, message: CreateRun, experiment: Experiment, run_id: str) -> Run:
    given = first_tags(message.tags)
    if message.run_name and given.get(RUN_NAME, message.run_name) != message.run_name:
        raise InvalidInput(f"the run has two names: {message.run_name!r} and the tag {RUN_NAME} {given[RUN_NAME]!r}")
    name = message.run_name or given.get(RUN_NAME) or invented_name()
    start = milliseconds(call) if message.start_time is None else message.start_time
    return Run(
        run_id=run_id,
        experiment_id=experiment.experiment_id,
        run_name=name,
        user_id=message.user_id,
        start_time=max(0, start),
        artifact_uri=run_artifacts(experiment, run_id),
        tags={**given, RUN_NAME: name},
    )


def get(call: Call, message: OfRun, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return a run in any stage, as JSON; raises ``NotFound``."""
    store = TrackingStore(tables, call, blobs)
    run = store.run(message.run)
    call.authorise("runs:read", run.resource)
    return run_answer(run.answer(store.datasets([run])))


def update(call: Call, message: UpdateRun, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Change status, end time and name; a final status is an event."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    if message.status and message.status not in STATUSES:
        raise InvalidInput(f"invalid status {message.status!r}: a run is {', '.join(STATUSES)}")
    changes = {"status": message.status, "end_time": message.end_time}
    changed = run.model_copy(update={k: v for k, v in changes.items() if v not in ("", None)})
    if message.run_name:
        changed = changed.with_tags({RUN_NAME: message.run_name})
    if changed.status in FINAL and run.status not in FINAL:
        event = RunEnded(run_id=run.run_id, experiment_id=run.experiment_id, status=changed.status)
        log.commit(call, [_of(call, run, event)], store.put_run(changed))
    else:
        tables.write(store.put_run(changed))
    return {"run_info": changed.info()}


def delete(call: Call, message: OfRun, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Move a run to the deleted stage; one that is there stays there."""
    return _move(call, message.run, DELETED, TrackingStore(tables, call, blobs), log)


def restore(call: Call, message: OfRun, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Bring a run back."""
    return _move(call, message.run, ACTIVE, TrackingStore(tables, call, blobs), log)


def set_tag(call: Call, message: SetRunTag, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Set a tag; ``mlflow.runName`` renames the run."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    tables.write(store.put_run(run.with_tags({checked_key(message.key, "key"): message.value[:TAG_LENGTH]})))
    return {}


def delete_tag(call: Call, message: DeleteRunTag, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    if message.key not in run.tags:
        raise NotFound(f"No tag with name: {message.key} in run with id {run.run_id}")
    rest = {k: v for k, v in run.tags.items() if k != message.key}
    tables.write(store.put_run(run.model_copy(update={"tags": rest})))
    return {}


def log_inputs(call: Call, message: LogInputs, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Record the datasets and logged models that a run reads."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    for dataset in store.put_datasets(run.experiment_id, [d.dataset for d in message.datasets]):
        tables.write([dataset])  # by itself: together they may be more than a transaction takes
    tables.write(store.put_run(run.with_inputs(message.datasets, message.models)))
    remember_uses(call, run.experiment_id, message.datasets, tables=tables)
    return {}


def log_outputs(call: Call, message: LogOutputs, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Record the logged models that a run made."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    if message.models is None:
        raise InvalidInput("Missing value for required parameter 'models'.")
    outputs = tuple(dict.fromkeys((*run.model_outputs, *message.models)))
    tables.write(store.put_run(run.model_copy(update={"model_outputs": outputs})))
    return {}


def log_model(call: Call, message: LogModel, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Record a model as clients before 3.0 did: in a tag."""
    store = TrackingStore(tables, call, blobs)
    run = writable(call, message.run, store).run
    known = json.loads(run.tags.get(LOGGED_MODELS, "[]"))
    told = json.dumps([*known, _model_of(message.model_json)])
    if len(told) > TAG_LENGTH:
        raise InvalidInput(f"the tag {LOGGED_MODELS} would have {len(told)} characters: it takes up to {TAG_LENGTH}")
    tables.write(store.put_run(run.with_tags({LOGGED_MODELS: told})))
    return {}


def _model_of(text: str) -> dict[str, Any]:
    """Return what is recorded of a model; raises ``InvalidInput``."""
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"Malformed model info. \n {text[:200]} \n is not a valid JSON.") from error
    missing = {"artifact_path", "flavors", "utc_time_created", "run_id"} - set(model if isinstance(model, dict) else ())
    if missing or not isinstance(model["flavors"], dict):
        raise InvalidInput(f"Model json is missing mandatory fields: {', '.join(sorted(missing)) or 'flavors'}")
    told = {key: model[key] for key in ("run_id", "utc_time_created", "artifact_path", "model_uuid") if key in model}
    flavors = {
        name: {k: v for k, v in flavor.items() if k != "config"} if isinstance(flavor, dict) else flavor
        for name, flavor in model["flavors"].items()
    }
    return {**told, "flavors": flavors}


def writable(call: Call, run_id: str, store: TrackingStore) -> Placed:
    """Return a run, without its metrics, that the caller may write to and that is active; raises accordingly."""
    placed = store.placed(run_id, metrics=False)
    call.authorise("runs:write", placed.run.resource)
    return replace(placed, run=placed.seen.writable())


def run_artifacts(experiment: Experiment, run_id: str) -> str:
    """Return where a run's files lie."""
    return f"{experiment.artifact_location.rstrip('/')}/{run_id}/artifacts"


def _move(call: Call, run_id: str, to: str, store: TrackingStore, log: Log) -> dict[str, Any]:
    placed = store.placed(run_id, metrics=False)
    run, experiment = placed.run, placed.experiment
    call.authorise("runs:write", run.resource)
    if experiment.own_stage_of(run) != to:
        change = "deleted" if to == DELETED else "restored"
        event = RunChanged.model_validate({"run_id": run.run_id, "experiment_id": run.experiment_id, "change": change})
        moved = run.model_copy(update={"lifecycle_stage": to, "epoch": experiment.epoch if to == DELETED else 0})
        log.commit(call, [_of(call, run, event)], store.close(placed, moved) if to == DELETED else store.put_run(moved))
    return {}


def _of(call: Call, run: Run, event: Event, *, fresh: bool = False) -> Happened:
    return Happened(stream_of(call.workspace, "RUN", run.run_id), event, fresh)


def invented_name() -> str:
    """Return a name for what was given none."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(1000)}"
