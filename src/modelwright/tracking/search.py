"""Searches of runs, logged models and experiments: filtered, ordered, and page by page.

Answers are JSON in text; that of settled runs was stored as such. A page ends before an answer would be
too long for a function to give. Its token says where the next begins (``ordering``), so clients, who
go on as long as there is one, miss nothing.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, TypeVar

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput
from modelwright.filters import EXPERIMENTS, LOGGED_MODELS, RUNS, Actual, Clause, matches
from modelwright.log import Log
from modelwright.storage import Blobs, Tables
from modelwright.tracking.answers import ANSWER_BYTES, ENVELOPE_BYTES, dumped, escaped, run_answer
from modelwright.tracking.entities import ACTIVE, Experiment, Latest, LoggedModel, ModelMetric, stages
from modelwright.tracking.experiments import DEFAULT_ID, load, resource
from modelwright.tracking.messages import OfDataset, SearchExperiments, SearchLoggedModels, SearchRuns
from modelwright.tracking.ordering import Ordering, Spot
from modelwright.tracking.parts import answer_of, lines_of
from modelwright.tracking.reading import Cache, Reader
from modelwright.tracking.selection import Hit, Live, Query, Scope, Settled, find
from modelwright.tracking.store import TrackingStore
from modelwright.tracking.validation import checked_experiment_id

_MOST: Final = 10_000
"""No answer holds more runs than this: the shortest takes 450 bytes."""
_HIGHEST = 50_000
_AT_ONCE = 1000
_THREADS = 16

T = TypeVar("T")


def runs(call: Call, message: SearchRuns, *, tables: Tables, blobs: Blobs, cache: dict[str, Any]) -> str:
    """Return the runs that match as JSON, newest first unless ordered otherwise.

    Args:
        call: who asks.
        message: what for.
        tables: where open runs are.
        blobs: where settled runs are.
        cache: what this process keeps; what is read of settled runs goes there.

    Raises:
        InvalidInput: the search makes no sense, or the page's token is another search's.
        ConditionFailed: the snapshot was replaced meanwhile; trying again is right.
    """
    shown, clauses, orders = stages(message.run_view_type), RUNS.parse(message.filter), RUNS.orders(message.order_by)
    said = ["runs", message.experiment_ids, message.filter, message.order_by, shown]
    ordering = Ordering.of(orders, said, message.page_token, numbers=RUNS.numbers)
    limit = min(message.limit(1000, _HIGHEST), _MOST)
    experiment_ids = _readable(call, message.experiment_ids)
    store, reader = TrackingStore(tables, call, blobs), Reader(blobs, call.workspace, Cache.of(cache))
    found = find(_scopes(store, experiment_ids), Query(clauses, ordering, shown, limit + 1), reader)
    hits = list(islice(found, limit + 1))
    texts = _fitting(_told(hits[:limit], store, reader))
    return _page("runs", texts, hits, lambda hit: ordering.token(hit.source.spot(hit.row)))


def logged_models(call: Call, message: SearchLoggedModels, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return the logged models that match as JSON, newest first unless ordered otherwise.

    When datasets are named, metrics are those on one of them, and models without any are not found.
    Raises ``InvalidInput`` as ``runs`` does.
    """
    if not message.experiment_ids:
        raise InvalidInput("Missing value for required parameter 'experiment_ids'.")
    if not all(dataset.dataset_name for dataset in message.datasets):
        raise InvalidInput("`dataset_name` in the `datasets` clause must be specified.")
    clauses, limit = LOGGED_MODELS.parse(message.filter), message.limit(100, _HIGHEST) if message.max_results else 100
    spots = _ModelSpots(message)
    said = ["logged_models", message.model_dump(exclude={"page_token", "max_results"})]
    numbers = (*LOGGED_MODELS.numbers, "experiment_id")
    ordering = Ordering.of(spots.orders, said, message.page_token, numbers=numbers)
    store = TrackingStore(tables, call, blobs)
    experiment_ids = _readable(call, message.experiment_ids)
    with _pool(len(experiment_ids)) as pool:
        known = pool.map(lambda identity: list(store.logged_models(identity)), experiment_ids)
        models = [model for of_one in known for model in of_one if model.lifecycle_stage == ACTIVE]
    found = [model for model in models if spots.matches(model, clauses)]
    rest = ordering.rest(found, spots.of)
    texts = _fitting(dumped(model.answer()) for model in rest[:limit])
    return _page("models", texts, rest, lambda model: ordering.token(spots.of(model)))


def experiments(call: Call, message: SearchExperiments, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return the experiments that match and that the caller may read, as JSON, newest first unless ordered otherwise.

    Raises ``InvalidInput`` as ``runs`` does.
    """
    shown, clauses = stages(message.view_type), EXPERIMENTS.parse(message.filter)
    orders, limit = EXPERIMENTS.orders(message.order_by), message.limit(1000, _HIGHEST)
    said = ["experiments", message.filter, message.order_by, shown]
    numbers = (*EXPERIMENTS.numbers, "experiment_id")
    ordering = Ordering.of(orders, said, message.page_token, numbers=numbers)

    def spot(experiment: Experiment) -> Spot:
        identity = experiment.experiment_id
        values = [int(identity) if o.key == "experiment_id" else experiment.value(o.entity, o.key)[0] for o in orders]
        if orders:  # among equals the higher id comes first
            return Spot(tuple(values), int(identity), "")
        return Spot((), experiment.creation_time, identity.zfill(20))

    load(call, DEFAULT_ID, tables=tables, blobs=blobs, log=log)
    found = [
        experiment
        for experiment in TrackingStore(tables, call, blobs).experiments()
        if experiment.lifecycle_stage in shown and matches(clauses, experiment.value) and _may_read(call, experiment)
    ]
    rest = ordering.rest(found, spot)
    texts = _fitting(dumped(experiment.answer()) for experiment in rest[:limit])
    return _page("experiments", texts, rest, lambda experiment: ordering.token(spot(experiment)))


class _ModelSpots:
    """What logged models are found and ordered by: their latest metrics on the datasets that are asked for."""

    def __init__(self, message: SearchLoggedModels) -> None:
        if any(field.dataset_digest and not field.dataset_name for field in message.order_by):
            raise InvalidInput("`dataset_digest` can only be specified if `dataset_name` is also specified.")
        self._datasets = message.datasets
        self._fields = message.order_by
        self.orders = [LOGGED_MODELS.order_of_field(o.field_name, ascending=o.ascending) for o in message.order_by]

    def matches(self, model: LoggedModel, clauses: Sequence[Clause]) -> bool:
        """Say whether a model is found."""
        if self._datasets and not any(clause.entity == "metrics" for clause in clauses):
            return any(map(self._wanted, model.metrics)) and matches(clauses, model.value)
        return matches(clauses, lambda entity, key: self._values(model, entity, key, OfDataset()))

    def of(self, model: LoggedModel) -> Spot:
        """Return where a model stands."""
        values = [
            self._values(model, order.entity, order.key, field)[0]
            for order, field in zip(self.orders, self._fields, strict=True)
        ]
        return Spot(tuple(values), model.creation_timestamp_ms, model.model_id)

    def _values(self, model: LoggedModel, entity: str, key: str, dataset: OfDataset) -> tuple[Actual, ...]:
        if entity == "metrics":
            found = [m for m in model.metrics if m.key == key and self._wanted(m) and _is_on(m, dataset)]
            newest = max(found, key=lambda m: Latest(m.value, m.timestamp, m.step).rank, default=None)
            return (newest.value if newest else None,)
        return model.value(entity, key)

    def _wanted(self, metric: ModelMetric) -> bool:
        return not self._datasets or any(_is_on(metric, dataset) for dataset in self._datasets)


def _is_on(metric: ModelMetric, dataset: OfDataset) -> bool:
    name, digest = dataset.dataset_name, dataset.dataset_digest
    return name in ("", metric.dataset_name) and digest in ("", metric.dataset_digest)


def _readable(call: Call, experiment_ids: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(checked_experiment_id(identity) for identity in experiment_ids))
    for identity in wanted:
        call.authorise("runs:read", f"experiment/{identity}")
    return wanted


def _may_read(call: Call, experiment: Experiment) -> bool:
    try:
        call.authorise("experiments:read", resource(experiment))
    except Forbidden:
        return False
    return True


def _scopes(store: TrackingStore, experiment_ids: Sequence[str]) -> list[Scope]:
    """Read the experiments that there are, all at once."""
    with _pool(2 * len(experiment_ids)) as pool:
        found = pool.map(store.experiment, experiment_ids)
        overviews = pool.map(store.overview, experiment_ids)
        return [
            Scope(experiment, overview.open, overview.parts)
            for experiment, overview in zip(found, overviews, strict=True)
            if experiment is not None
        ]


def _pool(questions: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, min(_THREADS, questions)))


def _told(hits: Sequence[Hit], store: TrackingStore, reader: Reader) -> Iterator[str]:
    """Yield runs in the protocol's form, reading only as many as are asked for."""
    for first in range(0, len(hits), _AT_ONCE):
        batch = hits[first : first + _AT_ONCE]
        live = [hit.source.runs[hit.row] for hit in batch if isinstance(hit.source, Live)]
        datasets = store.datasets(live)
        settled = _settled(batch, reader)
        for hit in batch:
            if isinstance(hit.source, Live):
                yield dumped(hit.source.runs[hit.row].answer(datasets))
            else:
                yield settled(hit.source, hit.row)


def _settled(hits: Sequence[Hit], reader: Reader) -> Callable[[Settled, int], str]:
    """Return what tells the hits that are of parts; their records are read at once, and then their datasets'."""
    rows: dict[Settled, list[int]] = defaultdict(list)
    for hit in hits:
        if isinstance(hit.source, Settled):
            rows[hit.source].append(hit.row)
    records = reader.records([(source.place, source.head, numbers) for source, numbers in rows.items()])
    lines = {
        (source, row): lines_of(record)
        for (source, numbers), found in zip(rows.items(), records, strict=True)
        for row, record in zip(numbers, found, strict=True)
    }
    wanted: dict[Settled, dict[int, None]] = defaultdict(dict)
    for (source, _), (_, used) in lines.items():
        wanted[source].update(dict.fromkeys(used))
    read = reader.records(
        [(s.place, s.head, [s.place.part.rows + number for number in numbers]) for s, numbers in wanted.items()]
    )
    datasets = {
        (source, number): text
        for (source, numbers), texts in zip(wanted.items(), read, strict=True)
        for number, text in zip(numbers, texts, strict=True)
    }

    def told(source: Settled, row: int) -> str:
        said, used = lines[source, row]
        return answer_of(source.stage(row), said, [datasets[source, number] for number in used])

    return told


def _fitting(texts: Iterator[str]) -> list[str]:
    """Return as many texts as an answer holds; at least one, if there is one."""
    found: list[str] = []
    size = taken = 0
    for text in texts:
        size += len(text.encode()) + 1
        taken += escaped(text) + 1
        if size > ANSWER_BYTES or taken > ENVELOPE_BYTES:
            return found or [_shortened(text)]
        found.append(text)
    return found


def _shortened(text: str) -> str:
    """Return a run that fits into an answer; nothing else is so long."""
    return run_answer(json.loads(text)).removeprefix('{"run":').removesuffix("}")


def _page(name: str, texts: Sequence[str], found: Sequence[T], token: Callable[[T], str]) -> str:
    """Return a page; if it does not have all that was found, with the token of the next."""
    more = f',"next_page_token":"{token(found[len(texts) - 1])}"' if len(found) > len(texts) else ""
    return f'{{"{name}":[{",".join(texts)}]{more}}}'
