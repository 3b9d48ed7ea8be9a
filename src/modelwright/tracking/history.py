"""Histories of metrics: of one, page by page, and of many runs, sampled for charts.

A history is told from the packed batches of a run and from what was compacted of them; a point that came more than
once is told once. Answers are JSON in text: there may be tens of thousands of points, and each is but four words.
A page's token is the point it ended with, so that nothing is missed or told twice while others log.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isnan
from operator import itemgetter

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.log import Log
from modelwright.storage import Blobs, Tables
from modelwright.tracking.answers import ANSWER_BYTES
from modelwright.tracking.messages import GetHistories, GetHistory, SampleHistories
from modelwright.tracking.store import TrackingStore, experiment_of_run

PAGE_LIMIT, RUNS_LIMIT, SAMPLE_LIMIT = 25_000, 100, 2500
_POINT_BYTES = 120
"""About the bytes of a point in an answer, besides the names of metric and run, at most."""
_THREADS = 16


Row = tuple[int, int, float, bool]
"""A point in the order of histories: timestamp, step, value, and whether it is NaN, which comes where zero comes."""
_by_step = itemgetter(1, 0, 2, 3)


def history(call: Call, message: GetHistory, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return the points of a metric by (timestamp, step, value), each once, as JSON; raises ``NotFound``."""
    if message.max_results <= 0:
        raise InvalidInput(
            f"Invalid value {message.max_results} for parameter 'max_results' supplied: it must be positive"
        )
    store, run_id = TrackingStore(tables, call, blobs), message.run
    call.authorise("runs:read", f"experiment/{experiment_of_run(run_id)}")
    after = _after(message.page_token) if message.page_token else None
    rows = _rows(store, run_id, message.metric_key)
    if not rows:
        run = store.run(run_id)
        call.authorise("runs:read", run.resource)
        rows = _rows(store, run.run_id, message.metric_key) if run.run_id != run_id else rows
    first = bisect_right(rows, after) if after else 0
    fitting = ANSWER_BYTES // (_POINT_BYTES + len(json.dumps(message.metric_key)))
    chosen = rows[first : first + min(message.max_results, PAGE_LIMIT, fitting)]
    more = first + len(chosen) < len(rows)
    token = f',"next_page_token":"{_token(chosen[-1])}"' if more else ""
    return f'{{"metrics":[{_told(chosen, message.metric_key)}]{token}}}'


def histories(call: Call, message: GetHistories, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return the points of a metric in some runs, by run and as ``history`` orders them, up to a number in all."""
    if not message.run_id:
        raise InvalidInput("GetMetricHistoryBulk request must specify at least one run_id.")
    if (count := len(message.run_id)) > RUNS_LIMIT:
        raise InvalidInput(
            f"GetMetricHistoryBulk request cannot specify more than {RUNS_LIMIT} run_ids. Received {count} run_ids."
        )
    if not message.metric_key:
        raise InvalidInput("GetMetricHistoryBulk request must specify a metric_key.")
    found = _of_runs(call, message.run_id, message.metric_key, TrackingStore(tables, call, blobs), list)
    limit, told = min(max(0, message.max_results), PAGE_LIMIT), []
    for run_id, rows in sorted(found.items()):
        told.append(_told(rows[:limit], message.metric_key, run_id))
        limit -= len(rows[:limit])
    return f'{{"metrics":[{",".join(filter(None, told))}]}}'


def samples(call: Call, message: SampleHistories, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return evenly spread points of a metric in some runs, by step, the first and last of each run among them."""
    if (count := len(message.run_ids)) > RUNS_LIMIT:
        raise InvalidInput(
            f"GetMetricHistoryBulkInterval request must specify at most {RUNS_LIMIT} run_ids. Received {count} run_ids."
        )
    if not message.metric_key:
        raise InvalidInput("Missing value for required parameter 'metric_key'.")
    if not 1 <= message.max_results <= SAMPLE_LIMIT:
        raise InvalidInput(f"max_results must be between 1 and {SAMPLE_LIMIT}.")
    if (message.start_step is None) != (message.end_step is None):
        raise InvalidInput("If either start step or end step are specified, both must be specified.")
    start = -(2**63) if message.start_step is None else message.start_step
    end = 2**63 if message.end_step is None else message.end_step
    if start > end:
        raise InvalidInput(f"end_step must be greater than start_step. Found start_step={start} and end_step={end}.")

    def sample(rows: Sequence[Row]) -> Sequence[Row]:
        return sampled(sorted((row for row in rows if start <= row[1] <= end), key=_by_step), message.max_results)

    store = TrackingStore(tables, call, blobs)
    found = _of_runs(call, message.run_ids, message.metric_key, store, sample)
    told = (_told(found[run_id], message.metric_key, run_id) for run_id in message.run_ids)
    return f'{{"metrics":[{",".join(filter(None, told))}]}}'


def sampled(rows: Sequence[Row], count: int) -> Sequence[Row]:
    """Return up to ``count`` rows: the first of each of so many groups of equal size, and the last row of all.

    The groups are those of SQL's NTILE: the first ones are larger by one where it does not come out even.
    """
    if len(rows) <= count:
        return rows
    size, larger = divmod(len(rows), count)
    chosen = [rows[size * group + min(group, larger)] for group in range(count)]
    if chosen[-1] != rows[-1]:
        chosen[-1] = rows[-1]
    return chosen


def _of_runs(
    call: Call,
    run_ids: Sequence[str],
    key: str,
    store: TrackingStore,
    choose: Callable[[Sequence[Row]], Sequence[Row]],
) -> dict[str, Sequence[Row]]:
    wanted = list(dict.fromkeys(run_ids))
    for run_id in wanted:
        call.authorise("runs:read", f"experiment/{experiment_of_run(run_id)}")
    if len(wanted) <= 1:
        return {run_id: choose(_rows(store, run_id, key)) for run_id in wanted}
    with ThreadPoolExecutor(min(_THREADS, len(wanted))) as pool:
        found = pool.map(lambda run_id: choose(_rows(store, run_id, key)), wanted)
        return dict(zip(wanted, found, strict=True))


def _rows(store: TrackingStore, run_id: str, key: str) -> list[Row]:
    rows: list[Row] = []
    for columns in store.columns(run_id, key):
        rows += [
            (timestamp, step, 0.0, True) if isnan(value) else (timestamp, step, value, False)
            for timestamp, step, value in zip(*columns, strict=True)
        ]
    rows.sort()
    return list(dict.fromkeys(rows))


def _told(rows: Iterable[Row], key: str, run_id: str = "") -> str:
    """Return points as the protocol says them: NaN is a word."""
    head = f'{{"key":{json.dumps(key)},"value":'
    tail = f',"run_id":{json.dumps(run_id)}}}' if run_id else "}"
    return ",".join(
        [
            f'{head}{value!r},"timestamp":{timestamp},"step":{step}{tail}'
            if not nan
            else f'{head}"NaN","timestamp":{timestamp},"step":{step}{tail}'
            for timestamp, step, value, nan in rows
        ]
    )


def _token(row: Row) -> str:
    return urlsafe_b64encode(json.dumps(row).encode()).decode()


def _after(token: str) -> Row:
    try:
        timestamp, step, value, nan = json.loads(urlsafe_b64decode(token))
        return int(timestamp), int(step), float(value), bool(nan)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidInput(f"Invalid page token {token!r}: it is not one of ours") from error
