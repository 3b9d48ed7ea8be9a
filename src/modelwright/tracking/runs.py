"""Use cases of runs, but for what is logged to them (``logging``) and searches (``search``)."""

import secrets
from typing import Any

from modelwright.artifacts import new_run_id
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound
from modelwright.events import Event, RunChanged, RunCreated, RunEnded
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Tables
from modelwright.tracking.entities import ACTIVE, DELETED, FINAL, RUN_NAME, STATUSES, Experiment, Run
from modelwright.tracking.experiments import load as load_experiment
from modelwright.tracking.experiments import milliseconds
from modelwright.tracking.messages import (
    CreateRun,
    DeleteRunTag,
    LogInputs,
    LogOutputs,
    OfRun,
    SetRunTag,
    UpdateRun,
)
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import TAG_LENGTH, checked_key, tags

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


def create(call: Call, message: CreateRun, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Begin a run; it gets a name when the caller has none. Raises ``InvalidInput`` in a deleted experiment."""
    experiment = load_experiment(call, message.experiment_id, tables=tables, log=log)
    call.authorise("runs:write", f"experiment/{experiment.experiment_id}")
    given = tags(message.tags)
    if message.run_name and given.get(RUN_NAME, message.run_name) != message.run_name:
        raise InvalidInput(f"the run has two names: {message.run_name!r} and the tag {RUN_NAME} {given[RUN_NAME]!r}")
    name = message.run_name or given.get(RUN_NAME) or _invented_name()
    run_id = new_run_id(experiment.experiment_id)
    start = milliseconds(call) if message.start_time is None else message.start_time
    run = Run(
        run_id=run_id,
        experiment_id=experiment.experiment_id,
        run_name=name,
        user_id=message.user_id,
        start_time=max(0, start),
        artifact_uri=run_artifacts(experiment, run_id),
        tags={**given, RUN_NAME: name},
    )
    store = TrackingStore(tables, call)
    event = RunCreated(run_id=run_id, experiment_id=experiment.experiment_id)
    experiment.writable()
    log.commit(call, [_of(call, run, event)], store.add_run(run))
    return {"run": run.answer({})}


def get(call: Call, message: OfRun, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return a run in any stage; raises ``NotFound``."""
    store = TrackingStore(tables, call)
    run = store.run(message.run)
    call.authorise("runs:read", run.resource)
    return {"run": run.answer(store.datasets([run]))}


def update(call: Call, message: UpdateRun, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Change status, end time and name; a final status is an event."""
    store = TrackingStore(tables, call)
    run = writable(call, message.run, store)
    if message.status and message.status not in STATUSES:
        raise InvalidInput(f"invalid status {message.status!r}: a run is {', '.join(STATUSES)}")
    changes = {"status": message.status, "end_time": message.end_time}
    changed = run.model_copy(update={k: v for k, v in changes.items() if v not in ("", None)})
    if message.run_name:
        changed = changed.with_tags({RUN_NAME: message.run_name})
    if changed.status in FINAL and run.status not in FINAL:
        event = RunEnded(run_id=run.run_id, experiment_id=run.experiment_id, status=changed.status)
        log.commit(call, [_of(call, run, event)], [store.put_run(changed)])
    else:
        tables.write([store.put_run(changed)])
    return {"run_info": changed.info()}


def delete(call: Call, message: OfRun, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Move a run to the deleted stage; one that is there stays there."""
    return _move(call, message.run, DELETED, tables, log)


def restore(call: Call, message: OfRun, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Bring a run back."""
    return _move(call, message.run, ACTIVE, tables, log)


def set_tag(call: Call, message: SetRunTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Set a tag; ``mlflow.runName`` renames the run."""
    store = TrackingStore(tables, call)
    run = writable(call, message.run, store)
    tables.write([store.put_run(run.with_tags({checked_key(message.key, "key"): message.value[:TAG_LENGTH]}))])
    return {}


def delete_tag(call: Call, message: DeleteRunTag, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    store = TrackingStore(tables, call)
    run = writable(call, message.run, store)
    if message.key not in run.tags:
        raise NotFound(f"No tag with name: {message.key} in run with id {run.run_id}")
    rest = {k: v for k, v in run.tags.items() if k != message.key}
    tables.write([store.put_run(run.model_copy(update={"tags": rest}))])
    return {}


def log_inputs(call: Call, message: LogInputs, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Record the datasets and logged models that a run reads."""
    store = TrackingStore(tables, call)
    run = writable(call, message.run, store)
    datasets = store.put_datasets(run.experiment_id, [d.dataset for d in message.datasets])
    tables.write([store.put_run(run.with_inputs(message.datasets, message.models)), *datasets])
    return {}


def log_outputs(call: Call, message: LogOutputs, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Record the logged models that a run made."""
    store = TrackingStore(tables, call)
    run = writable(call, message.run, store)
    outputs = tuple(dict.fromkeys((*run.model_outputs, *message.models)))
    tables.write([store.put_run(run.model_copy(update={"model_outputs": outputs}))])
    return {}


def writable(call: Call, run_id: str, store: TrackingStore) -> Run:
    """Return a run that the caller may write to and that is active; raises accordingly."""
    run = store.run(run_id)
    call.authorise("runs:write", run.resource)
    return run.writable()


def run_artifacts(experiment: Experiment, run_id: str) -> str:
    """Return where a run's files lie."""
    return f"{experiment.artifact_location.rstrip('/')}/{run_id}/artifacts"


def _move(call: Call, run_id: str, to: str, tables: Tables, log: Log) -> dict[str, Any]:
    store = TrackingStore(tables, call)
    run = store.run(run_id)
    call.authorise("runs:write", run.resource)
    if run.lifecycle_stage != to:
        change = "deleted" if to == DELETED else "restored"
        event = RunChanged.model_validate({"run_id": run_id, "experiment_id": run.experiment_id, "change": change})
        log.commit(call, [_of(call, run, event)], [store.put_run(run.model_copy(update={"lifecycle_stage": to}))])
    return {}


def _of(call: Call, run: Run, event: Event) -> Happened:
    return Happened(stream_of(call.workspace, "RUN", run.run_id), event)


def _invented_name() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(1000)}"
