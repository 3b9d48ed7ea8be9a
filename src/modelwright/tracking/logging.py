"""What is logged to runs: metrics, params and tags. No request costs more than a read and a write, bar races.

A batch is one transaction: its packed points (a resend is the same item), the run's summary, and
the logged models that the metrics are of. Writers of one run that meet try again on what the
other wrote; the latest values do not depend on who came first.
"""

from collections.abc import Sequence
from typing import Any

from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput
from modelwright.log import Log
from modelwright.protocol import page
from modelwright.storage import Tables, Write
from modelwright.tracking.entities import ModelMetric, Point, Run, newest, said
from modelwright.tracking.messages import GetHistory, LogBatch, LogMetric, LogParameter, Measured, Pair
from modelwright.tracking.points import distinct
from modelwright.tracking.runs import writable
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import check_batch, checked_key, params, tags

_HISTORY_LIMIT = 25_000
_ATTEMPTS = 8


def log_metric(call: Call, message: LogMetric, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Log one point."""
    batch = LogBatch(run_id=message.run, metrics=(Measured.model_validate(message.model_dump()),))
    return log_batch(call, batch, tables=tables, log=log)


def log_parameter(call: Call, message: LogParameter, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Log one param; raises ``InvalidInput`` when it had another value."""
    batch = LogBatch(run_id=message.run, params=(Pair(key=message.key, value=message.value),))
    return log_batch(call, batch, tables=tables, log=log)


def log_batch(call: Call, message: LogBatch, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Log metrics, params and tags, all or nothing; raises ``InvalidInput`` over a limit or on a changed param."""
    check_batch(message.metrics, message.params, message.tags)
    points = [
        Point(checked_key(m.key, f"metrics[{n}].name"), m.value, m.timestamp, m.step)
        for n, m in enumerate(message.metrics)
    ]
    given_params, given_tags = params(message.params), tags(message.tags)
    store = TrackingStore(tables, call)
    with_points = bool(points)
    for attempt in range(_ATTEMPTS):
        run = writable(call, message.run, store)
        changed = run.with_params(given_params).with_tags(given_tags)
        changed = changed.model_copy(update={"metrics": newest(changed.metrics, points)})
        writes: list[Write] = [store.add_points(run.run_id, points)] if with_points else []
        writes += [store.put_run(changed)] if changed != run else []
        writes += _of_models(call, run, message.metrics, store)
        try:
            tables.write(writes)
        except ConditionFailed as failure:
            with_points = with_points and 0 not in failure.failed
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return {}


def history(call: Call, message: GetHistory, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the points of a metric by (timestamp, step, value), each once."""
    if message.max_results <= 0:
        raise InvalidInput(
            f"Invalid value {message.max_results} for parameter 'max_results' supplied: it must be positive"
        )
    store = TrackingStore(tables, call)
    run = store.run(message.run)
    call.authorise("runs:read", run.resource)
    points = distinct(p for p in store.points(run.run_id) if p.key == message.metric_key)
    chosen, token = page(points, min(message.max_results, _HISTORY_LIMIT), message.page_token)
    metrics = [{"key": p.key, "value": said(p.value), "timestamp": p.timestamp, "step": p.step} for p in chosen]
    return {"metrics": metrics} | ({"next_page_token": token} if token else {})


def _of_models(call: Call, run: Run, metrics: Sequence[Measured], store: TrackingStore) -> list[Write]:
    writes: list[Write] = []
    for model_id in dict.fromkeys(m.model_id for m in metrics if m.model_id):
        of_model = [
            ModelMetric(m.key, m.value, m.timestamp, m.step, run.run_id, m.dataset_name, m.dataset_digest)
            for m in metrics
            if m.model_id == model_id
        ]
        model = store.logged_model(model_id)
        call.authorise("runs:write", model.resource)
        changed = model.with_metrics(of_model)
        writes += [store.put_logged_model(changed)] if changed != model else []
    return writes
