"""Use cases of traces: what ``mlflow.trace`` and automatic tracing record, and what is asked of it.

Spans come by OTLP while a program runs, one by one; what is told of the trace itself comes at its end, before or
after them. Either makes the trace when it is the first. When both came, clients read the spans here; else
they put them into a file among the artifacts, and read it there.
"""

import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from modelwright.artifacts import SCHEME
from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, TooLarge
from modelwright.filters import TRACES, matches
from modelwright.log import Log
from modelwright.storage import Blobs, Tables
from modelwright.tracking import spans as s
from modelwright.tracking.answers import ANSWER_BYTES
from modelwright.tracking.entities import Experiment
from modelwright.tracking.experiments import load
from modelwright.tracking.ordering import Ordering, Spot
from modelwright.tracking.trace_entities import Trace, begin_ms
from modelwright.tracking.trace_messages import (
    LAST_TIME,
    TRACE_TAGS_REFUSED,
    BatchGet,
    DeleteTraces,
    GetTrace,
    LinkTraces,
    OfRequest,
    OfTrace,
    OlderSearch,
    SearchTraces,
    StartTrace,
    TagTrace,
    UntagTrace,
)
from modelwright.tracking.trace_store import Line, TraceStore
from modelwright.tracking.validation import KEY_LENGTH, TAG_LENGTH, checked_experiment_id

DATA_FILE = "traces.json"


def start(call: Call, message: StartTrace, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Record what is told of a trace at its end; the same again changes nothing."""
    info, store = message.trace.trace_info, TraceStore(tables, call, blobs)
    experiment = _writable(call, info.trace_location.mlflow_experiment.experiment_id, tables, blobs, log)
    known = store.find(info.trace_id)
    trace = (_here(known, experiment) or _made(experiment, info.trace_id, info.request_time)).told(info)
    if known is None or trace != known:
        tables.write(store.put(trace, known))
    return {"trace": {"trace_info": trace.info()}}


def receive(
    call: Call, experiment_id: str, spans: dict[str, list[s.Span]], *, tables: Tables, blobs: Blobs, log: Log
) -> None:
    """Record spans, by the ids of their traces; those that came before change nothing."""
    store = TraceStore(tables, call, blobs)
    experiment = _writable(call, experiment_id, tables, blobs, log)
    known = {trace.trace_id: trace for trace in store.traces(list(spans))}
    for trace in known.values():
        _here(trace, experiment)
    for trace_id, batch in spans.items():
        before = known.get(trace_id)
        trace = (before or _made(experiment, trace_id, begin_ms(batch))).with_spans(batch)
        changed = store.put(trace, before) if before is None or trace != before else []
        tables.write([*changed, store.add_spans(trace, batch)])


def allowed(call: Call, experiment_id: str) -> None:
    """Raise ``Forbidden`` unless the caller may record traces in an experiment."""
    call.authorise("runs:write", f"experiment/{checked_experiment_id(experiment_id)}")


def info(call: Call, message: OfTrace, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return what is known of a trace; raises ``NotFound``."""
    return {"trace": {"trace_info": _readable(call, message.trace_id, TraceStore(tables, call, blobs)).info()}}


def older_info(call: Call, message: OfRequest, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return what is known of a trace as older clients read it; raises ``NotFound``."""
    return {"trace_info": _readable(call, message.request_id, TraceStore(tables, call, blobs)).older_info()}


def get(call: Call, message: GetTrace, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return a trace with its spans; raises ``NotFound``, also while some are on their way unless a part will do."""
    store = TraceStore(tables, call, blobs)
    trace = _readable(call, message.trace_id, store)
    (spans,) = store.spans([trace])
    if not message.allow_partial and not _whole(trace, spans):
        raise NotFound(f"Trace with ID {trace.trace_id} is not fully exported yet, please try again later.")
    return _fitting({"trace": _said(trace, spans)})


def batch_get(call: Call, message: BatchGet, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return those traces that exist and are complete, with their spans."""
    store = TraceStore(tables, call, blobs)
    traces = _all_readable(call, message, store)
    told = [(trace, spans) for trace, spans in zip(traces, store.spans(traces), strict=True) if _whole(trace, spans)]
    return _fitting({"traces": [_said(trace, spans) for trace, spans in told]})


def batch_infos(call: Call, message: BatchGet, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return what is known of those traces that exist."""
    traces = _all_readable(call, message, TraceStore(tables, call, blobs))
    return {"trace_infos": [trace.info() for trace in traces]}


def data(call: Call, message: OfRequest, *, tables: Tables, blobs: Blobs) -> dict[str, Any] | str:
    """Return a trace's spans as its file would hold them, or where among the artifacts that file is."""
    store = TraceStore(tables, call, blobs)
    trace = _readable(call, message.request_id, store)
    if not trace.in_store:
        return f"{trace.experiment_id}/traces/{trace.trace_id}/artifacts/{DATA_FILE}"
    return _fitting({"spans": [s.in_file(span) for span in store.spans([trace])[0]]})


def search(call: Call, message: SearchTraces, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return the traces that match, newest first unless ordered otherwise."""
    return _found(call, message, Trace.info, tables, blobs)


def older_search(call: Call, message: OlderSearch, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return the traces that match as older clients read them."""
    return _found(call, message.newer(), Trace.older_info, tables, blobs)


def set_tag(call: Call, message: TagTrace, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Set a tag."""
    if not 0 < len(message.key) <= KEY_LENGTH:
        raise InvalidInput(f"Invalid value for parameter 'key' supplied: it must have 1 to {KEY_LENGTH} characters")
    tags = {_free(message.key): message.value[:TAG_LENGTH]}
    return _retagged(call, message.trace_id, lambda known: {**known, **tags}, tables, blobs)


def delete_tag(call: Call, message: UntagTrace, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove a tag; raises ``NotFound``."""
    key = _free(message.key)

    def without(known: dict[str, str]) -> dict[str, str]:
        if key not in known:
            raise NotFound(f"No trace tag with key '{key}' for trace with ID '{message.trace_id}'")
        return {k: v for k, v in known.items() if k != key}

    return _retagged(call, message.trace_id, without, tables, blobs)


def link(call: Call, message: LinkTraces, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Say that traces belong to a run, besides the one in which they were made; unknown ones are passed over."""
    store = TraceStore(tables, call, blobs)
    for trace in store.traces(message.trace_ids):
        call.authorise("runs:write", trace.resource)
        if message.run_id not in trace.runs:
            tables.write(store.put(trace.model_copy(update={"runs": (*trace.runs, message.run_id)}), trace))
    return {}


def delete(call: Call, message: DeleteTraces, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Delete traces with their spans, by their ids or up to a time (the oldest first); their files are collected later.

    Interrupted, it may be asked again.
    """
    _check(message)
    store = TraceStore(tables, call, blobs)
    place = checked_experiment_id(message.experiment_id)
    call.authorise("runs:write", f"experiment/{place}")
    if message.request_ids:
        chosen = [trace for trace in store.traces(message.request_ids) if trace.experiment_id == place]
        store.forget(chosen)
        return {"traces_deleted": len(chosen)}
    lines = sorted(line for line in store.lines(place) if line.time <= (message.max_timestamp_millis or 0))
    lines = lines[: message.max_traces]
    found = store.traces([line.trace_id for line in lines])
    store.forget(found)
    for line in lines:
        store.forget_line(place, line)
    return {"traces_deleted": len(found)}


def _found(
    call: Call, message: SearchTraces, said_of: Callable[[Trace], dict[str, Any]], tables: Tables, blobs: Blobs
) -> dict[str, Any]:
    store = TraceStore(tables, call, blobs)
    places = sorted({location.mlflow_experiment.experiment_id for location in message.locations})
    for place in places:
        call.authorise("runs:read", f"experiment/{checked_experiment_id(place)}")
    clauses, orders = TRACES.parse(message.filter), TRACES.orders(message.order_by)
    said = ["traces", places, message.filter, message.order_by]
    ordering = Ordering.of(orders, said, message.page_token, numbers=TRACES.numbers)
    limit = message.limit(100, 500)
    start = Line(min(max(0, ordering.after.time), LAST_TIME), "") if ordering.after and not orders else None
    found = (trace for trace in _newest(store, places, start) if matches(clauses, trace.value))
    if orders:
        rest = ordering.rest(list(found), lambda trace: _spot(trace, ordering))
    else:
        after = ordering.key(ordering.after) if ordering.after else ()
        rest = list(islice((trace for trace in found if ordering.key(_spot(trace, ordering)) > after), limit + 1))
    told = list(_as_many_as_fit([said_of(trace) for trace in rest[:limit]]))
    token = ordering.token(_spot(rest[len(told) - 1], ordering)) if len(told) < len(rest) else ""
    return {"traces": told} | ({"next_page_token": token} if token else {})


def _check(message: DeleteTraces) -> None:
    if (message.max_timestamp_millis is None) == (not message.request_ids):
        raise InvalidInput("Either `max_timestamp_millis` or `trace_ids` must be specified, and not both.")
    if message.request_ids and message.max_traces is not None:
        raise InvalidInput("`max_traces` can't be specified if `trace_ids` is specified.")
    if message.max_traces is not None and message.max_traces <= 0:
        raise InvalidInput(f"`max_traces` must be a positive integer, received {message.max_traces}.")


def _writable(call: Call, experiment_id: str, tables: Tables, blobs: Blobs, log: Log) -> Experiment:
    allowed(call, experiment_id)
    return load(call, experiment_id, tables=tables, blobs=blobs, log=log).writable()


def _made(experiment: Experiment, trace_id: str, time: int) -> Trace:
    location = f"{experiment.artifact_location.rstrip('/')}/traces/{trace_id}/artifacts"
    own = experiment.artifact_location.startswith(f"{SCHEME}:")
    place = f"{SCHEME}:/{experiment.experiment_id}/traces/{trace_id}/artifacts" if own else location
    return Trace(
        trace_id=trace_id,
        experiment_id=experiment.experiment_id,
        request_time=time,
        tags={"mlflow.artifactLocation": place},
    )


def _here(trace: Trace | None, experiment: Experiment) -> Trace | None:
    if trace is not None and trace.experiment_id != experiment.experiment_id:
        raise InvalidInput(f"Trace with ID '{trace.trace_id}' already exists in another experiment.")
    return trace


def _readable(call: Call, trace_id: str, store: TraceStore) -> Trace:
    trace = store.trace(trace_id)
    call.authorise("runs:read", trace.resource)
    return trace


def _all_readable(call: Call, message: BatchGet, store: TraceStore) -> list[Trace]:
    traces = store.traces(message.trace_ids)
    for resource in {trace.resource for trace in traces}:
        call.authorise("runs:read", resource)
    return traces


def _whole(trace: Trace, spans: Sequence[s.Span]) -> bool:
    return bool(spans) and len(spans) >= trace.expected


def _said(trace: Trace, spans: Sequence[s.Span]) -> dict[str, Any]:
    return {"trace_info": trace.info(), "spans": list(spans)}


def _fitting(answer: dict[str, Any]) -> dict[str, Any]:
    size = len(json.dumps(answer))
    if size > ANSWER_BYTES:
        raise TooLarge(
            f"the spans have {size} bytes, more than the {ANSWER_BYTES} that an answer can: ask for fewer traces"
        )
    return answer


def _as_many_as_fit(told: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    size = 0
    for number, each in enumerate(told):
        size += len(json.dumps(each))
        if number and size > ANSWER_BYTES:
            return
        yield each


def _newest(store: TraceStore, places: Sequence[str], start: Line | None) -> Iterator[Trace]:
    each = [store.newest(place, start) for place in places]
    return heapq.merge(*each, key=lambda trace: (-trace.request_time, trace.trace_id))


def _spot(trace: Trace, ordering: Ordering) -> Spot:
    values = tuple(trace.value(order.entity, order.key)[0] for order in ordering.orders)
    return Spot(values, trace.request_time, trace.trace_id)


def _free(key: str) -> str:
    if key in TRACE_TAGS_REFUSED:
        raise InvalidInput(f"Tag '{key}' is immutable and cannot be set or deleted on a trace.")
    return key


def _retagged(call: Call, trace_id: str, change: Any, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    store = TraceStore(tables, call, blobs)
    trace = store.trace(trace_id)
    call.authorise("runs:write", trace.resource)
    tables.write(store.put(trace.model_copy(update={"tags": change(trace.tags)}), trace))
    return {}
