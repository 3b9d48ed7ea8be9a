"""What is logged to runs: metrics, params and tags.

A few metrics are two calls: the latest values are raised, which finds out by itself whether the run takes any, and the
points are put. Many are three: the latest values are read and merged first. Nothing of that depends on who came
first or how often a request comes. Params and tags are in the run's head and cost a read and a write of it.

The effects of a batch come in this order: params and tags (a param that would change refuses it all), the latest
values, the points, and the logged models that the metrics are of. A request that broke off is made whole by sending
it again.
"""

from collections.abc import Sequence
from typing import Any

from modelwright.context import Call
from modelwright.errors import ConditionFailed
from modelwright.log import Log
from modelwright.storage import Blobs, Tables
from modelwright.tracking.entities import LoggedModel, ModelMetric, Point
from modelwright.tracking.latest import FEW, FULL, OPEN, entries_of
from modelwright.tracking.messages import LogBatch, LogMetric, LogParameter, Measured, Pair
from modelwright.tracking.runs import writable
from modelwright.tracking.store import TrackingStore, experiment_of_run
from modelwright.tracking.validation import check_batch, checked_key, params, tags

_ATTEMPTS = 4


def log_metric(call: Call, message: LogMetric, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Log one point."""
    store = TrackingStore(tables, call, blobs)
    _log(call, message.run, [message], store, tables, [checked_key(message.key, "name")])
    return {}


def log_parameter(call: Call, message: LogParameter, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Log one param; raises ``InvalidInput`` when it had another value."""
    batch = LogBatch(run_id=message.run, params=(Pair(key=checked_key(message.key, "key"), value=message.value),))
    return log_batch(call, batch, tables=tables, blobs=blobs, log=log)


def log_batch(call: Call, message: LogBatch, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Log metrics, params and tags; raises ``InvalidInput`` over a limit or on a changed param."""
    check_batch(message.metrics, message.params, message.tags)
    numbers = range(len(message.metrics))
    firsts = dict(zip((m.key for m in reversed(message.metrics)), reversed(numbers), strict=True))
    keys = [checked_key(key, f"metrics[{n}].name") for key, n in firsts.items()]
    given_params, given_tags = params(message.params), tags(message.tags)
    store, run_id = TrackingStore(tables, call, blobs), message.run
    if given_params or given_tags or not keys:
        placed = writable(call, run_id, store)
        changed = placed.run.with_params(given_params).with_tags(given_tags)
        if changed != placed.run:
            tables.write(store.put_run(changed))
        run_id = placed.run.run_id
    if keys:
        _log(call, run_id, message.metrics, store, tables, keys)
    return {}


def _log(
    call: Call, run_id: str, metrics: Sequence[Measured], store: TrackingStore, tables: Tables, keys: Sequence[str]
) -> None:
    """Log metrics, whose keys were checked."""
    call.authorise("runs:write", f"experiment/{experiment_of_run(run_id)}")
    points = [Point(metric.key, metric.value, metric.timestamp, metric.step) for metric in metrics]
    models = _models(call, metrics, store)
    run_id, size = _raised(call, run_id, points, store, few=len(keys) <= FEW)
    tables.write([store.put_points(run_id, points)])
    for model in models:
        changed = model.with_metrics(_of_model(model, run_id, metrics))
        if changed != model:
            tables.write([store.put_logged_model(changed)])
    if size:
        store.latest(run_id).fold(size)


def _raised(call: Call, run_id: str, points: Sequence[Point], store: TrackingStore, *, few: bool) -> tuple[str, int]:
    """Raise the latest values; return the run's own id, and the size of what should be folded now."""
    entries = entries_of(points)
    for _ in range(_ATTEMPTS):
        latest = store.latest(run_id)
        outcome = latest.raise_entries(entries) if few else latest.merge(entries)
        if outcome.stage == FULL:
            outcome = latest.merge(entries)
        if not outcome.stage:
            return run_id, outcome.size if outcome.crowded else 0
        placed = writable(call, run_id, store)
        run_id = placed.run.run_id
        if placed.standing.stage not in (OPEN, FULL):
            store.open(placed)
    raise ConditionFailed(f"the run {run_id} is opened and closed all the time", ())


def _models(call: Call, metrics: Sequence[Measured], store: TrackingStore) -> list[LoggedModel]:
    """Return the logged models that metrics are of; raises ``NotFound`` before anything is written."""
    models = [store.logged_model(model_id) for model_id in dict.fromkeys(m.model_id for m in metrics if m.model_id)]
    for model in models:
        call.authorise("runs:write", model.resource)
    return models


def _of_model(model: LoggedModel, run_id: str, metrics: Sequence[Measured]) -> list[ModelMetric]:
    return [
        ModelMetric(m.key, m.value, m.timestamp, m.step, run_id, m.dataset_name, m.dataset_digest)
        for m in metrics
        if m.model_id == model.model_id
    ]
