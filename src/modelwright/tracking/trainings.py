"""What tracking does when the platform itself has trained a model: a finished run, as a person would have logged it."""

import hashlib

from modelwright.artifacts import SCHEME, experiment_of, new_run_id
from modelwright.context import Call
from modelwright.events import Delivery, RunCreated, RunEnded, TrainingCompleted, TrainingRecorded
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import Blobs, Tables
from modelwright.tracking.entities import RUN_NAME, Point, Run
from modelwright.tracking.experiments import ensure, milliseconds
from modelwright.tracking.store import TABLE, TrackingStore


def run_id_of(training_id: str) -> str:
    """Return the id of a training's run that everybody can work out; its own also tells its experiment."""
    return hashlib.sha256(training_id.encode()).hexdigest()[:32]


def record(call: Call, delivery: Delivery, *, tables: Tables, blobs: Blobs, log: Log) -> None:
    """Record a completed training as a run of the experiment named as the model; again is the same."""
    event: TrainingCompleted = delivery.event
    store = TrackingStore(tables, call, blobs)
    experiment = ensure(call, event.model, tables=tables, blobs=blobs, log=log)
    alias = run_id_of(event.training_id)
    run_id = new_run_id(experiment.experiment_id, alias)
    if store.has_alias(alias):
        _record_candidates(call, delivery, run_id, store, log)
        return
    end = milliseconds(call)
    points = [Point(key, value, end, 0) for key, value in sorted(_metrics(event).items())]
    name = f"{event.model}-{event.training_id[-8:].lower()}"
    run = Run(
        run_id=run_id,
        experiment_id=experiment.experiment_id,
        run_name=name,
        user_id="modelwright",
        status="FINISHED",
        start_time=max(0, end - int(event.seconds * 1000)),
        end_time=end,
        artifact_uri=f"{SCHEME}:/trainings/{event.training_id}",
        params=dict(event.parameters),
        tags={RUN_NAME: name, "mlflow.user": "modelwright", **_tags(event)},
    )
    stream = stream_of(call.workspace, "RUN", run_id)
    which = {"run_id": run_id, "experiment_id": run.experiment_id}
    happened = [
        Happened(stream, RunCreated(**which, training_id=event.training_id)),
        Happened(stream, TrainingRecorded(**which, training_id=event.training_id)),
        Happened(stream, RunEnded(**which, status=run.status)),
    ]
    writes = [*store.add_run(run, points), store.put_alias(alias, run_id), store.put_points(run_id, points)]
    if not event.candidates:
        log.commit(call, happened, writes, delivery=delivery, table=TABLE)
        return
    log.commit(call, happened, writes)
    _record_candidates(call, delivery, run_id, store, log)


def _record_candidates(call: Call, delivery: Delivery, parent: str, store: TrackingStore, log: Log) -> None:
    """Record what a search tried as runs within the training's, one after the other; what was recorded before stays.

    Together they exceed one transaction, so the delivery is marked when all are there.
    """
    event: TrainingCompleted = delivery.event
    experiment, end = experiment_of(parent), milliseconds(call)
    for place, candidate in enumerate(event.candidates):
        alias = run_id_of(f"{event.training_id}#{candidate.name}")
        if store.has_alias(alias):
            continue
        run_id = new_run_id(experiment, alias)
        fitted = candidate.metric is not None
        points = [Point("rung", candidate.rung, end, 0), Point("rows", candidate.rows, end, 0)]
        points += [Point(event.searched_by, candidate.metric, end, 0)] if candidate.metric is not None else []
        tags = {
            RUN_NAME: candidate.name,
            "mlflow.user": "modelwright",
            "mlflow.parentRunId": parent,
            "modelwright.training_id": event.training_id,
            "modelwright.place": str(place + 1),
            **({"modelwright.reason": candidate.text} if candidate.text else {}),
        }
        run = Run(
            run_id=run_id,
            experiment_id=experiment,
            run_name=candidate.name,
            user_id="modelwright",
            status="FINISHED" if fitted else "FAILED",
            start_time=max(0, end - int(candidate.seconds * 1000)),
            end_time=end,
            artifact_uri=f"{SCHEME}:/trainings/{event.training_id}/candidates/{candidate.name}",
            params=dict(candidate.parameters),
            tags=tags,
        )
        stream, which = stream_of(call.workspace, "RUN", run_id), {"run_id": run_id, "experiment_id": experiment}
        happened = [Happened(stream, RunCreated(**which)), Happened(stream, RunEnded(**which, status=run.status))]
        writes = [*store.add_run(run, points), store.put_alias(alias, run_id), store.put_points(run_id, points)]
        log.commit(call, happened, writes)
    log.commit(call, (), delivery=delivery, table=TABLE)


def _metrics(event: TrainingCompleted) -> dict[str, float]:
    evaluation = event.evaluation
    known = {name: one.value for name, one in evaluation.metrics.items()}
    if evaluation.challenger_auc is not None:
        known["auc"] = evaluation.challenger_auc.value
    if evaluation.challenger_brier is not None:
        known["brier"] = evaluation.challenger_brier
    return {**known, **event.metrics}


def _tags(event: TrainingCompleted) -> dict[str, str]:
    return {
        "modelwright.training_id": event.training_id,
        "modelwright.trigger": event.trigger,
        "modelwright.dataset_digest": event.dataset_digest,
        "modelwright.artifact_digest": event.artifact_digest,
        "modelwright.project_digest": event.project_digest,
        "modelwright.window": f"{event.window.start.isoformat()}/{event.window.end.isoformat()}",
    }
