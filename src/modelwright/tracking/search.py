"""Searches of runs and logged models: the summaries of the experiments, filtered, ordered, and paged."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.filters import Order, Searchable, matches, rank
from modelwright.log import Log
from modelwright.protocol import page
from modelwright.storage import Tables
from modelwright.tracking.entities import ACTIVE, LoggedModel, Run, stages
from modelwright.tracking.messages import SearchLoggedModels, SearchRuns
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import checked_experiment_id

_RUNS = Searchable(
    "a run",
    ("run_id", "run_name", "user_id", "status", "artifact_uri"),
    ("start_time", "end_time"),
    ("metrics", "params", "tags", "datasets"),
    {
        "created": "start_time",
        "Created": "start_time",
        "run name": "run_name",
        "Run name": "run_name",
        "User": "user_id",
    },
)
_MODELS = Searchable(
    "a logged model",
    ("model_id", "name", "model_type", "status", "source_run_id", "experiment_id"),
    ("creation_timestamp_ms", "last_updated_timestamp_ms"),
    ("metrics", "params", "tags"),
    {
        "creation_timestamp": "creation_timestamp_ms",
        "creation_time": "creation_timestamp_ms",
        "last_updated_timestamp": "last_updated_timestamp_ms",
        "model_name": "name",
        "run_id": "source_run_id",
    },
)
T = TypeVar("T", Run, LoggedModel)


def runs(call: Call, message: SearchRuns, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the runs that match, newest first unless ordered otherwise."""
    store, shown = TrackingStore(tables, call), stages(message.run_view_type)
    limit, clauses, orders = message.limit(1000, 50_000), _RUNS.parse(message.filter), _RUNS.orders(message.order_by)
    found = [
        run
        for experiment_id in _readable(call, message.experiment_ids)
        for run in store.runs(experiment_id)
        if run.lifecycle_stage in shown and matches(clauses, run.value)
    ]
    found.sort(key=lambda run: (-run.start_time, run.run_id))
    chosen, token = page(_ordered(found, orders), limit, message.page_token)
    datasets = store.datasets(chosen)
    return {"runs": [run.answer(datasets) for run in chosen]} | ({"next_page_token": token} if token else {})


def logged_models(call: Call, message: SearchLoggedModels, *, tables: Tables, log: Log) -> dict[str, Any]:
    """Return the logged models that match, newest first unless ordered otherwise."""
    store = TrackingStore(tables, call)
    limit, clauses = message.limit(100, 1000), _MODELS.parse(message.filter)
    orders = _MODELS.orders([f"{o.field_name} {'ASC' if o.ascending else 'DESC'}" for o in message.order_by])
    if not message.experiment_ids:
        raise InvalidInput("Missing value for required parameter 'experiment_ids'.")
    found = [
        model
        for experiment_id in _readable(call, message.experiment_ids)
        for model in store.logged_models(experiment_id)
        if model.lifecycle_stage == ACTIVE and matches(clauses, model.value)
    ]
    found.sort(key=lambda model: (-model.creation_timestamp_ms, model.model_id))
    chosen, token = page(_ordered(found, orders), limit, message.page_token)
    return {"models": [model.answer() for model in chosen]} | ({"next_page_token": token} if token else {})


def _readable(call: Call, experiment_ids: Sequence[str]) -> Iterator[str]:
    for identity in dict.fromkeys(experiment_ids):
        call.authorise("runs:read", f"experiment/{checked_experiment_id(identity)}")
        yield identity


def _ordered(found: list[T], orders: Sequence[Order]) -> list[T]:
    for order in reversed(orders):
        found = sorted(found, key=partial(_place, order=order))
    return found


def _place(thing: Run | LoggedModel, order: Order) -> tuple[int, float, tuple[int, ...]]:
    return rank(next(iter(thing.value(order.entity, order.key)), None), ascending=order.ascending)
