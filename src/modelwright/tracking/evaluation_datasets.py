"""Use cases of evaluation datasets: examples for programs with language models, shared by experiments.

One that belongs to several experiments can be read by whoever may read any of them, and changed by whoever may change
all of them. Different from MLflow's own server, an unknown dataset is ``NotFound`` wherever one is named (there,
deleting it is no error and its records are an empty list), and so is an unknown experiment when one is made.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput
from modelwright.filters import EVALUATION_DATASETS, matches
from modelwright.log import Log
from modelwright.once import Once
from modelwright.storage import Blobs, Tables
from modelwright.tracking.answers import ENVELOPE_BYTES, dumped, escaped
from modelwright.tracking.evaluation_entities import USER, EvaluationDataset, Record, record_id, shape_of, user_of
from modelwright.tracking.evaluation_messages import (
    CreateDataset,
    DeleteDatasetTag,
    DeleteRecords,
    GetRecords,
    OfDataset,
    OfExperiments,
    SearchEvaluationDatasets,
    SetDatasetTags,
    UpsertRecords,
)
from modelwright.tracking.evaluation_store import EvaluationStore, half_empty, text_of, told_bytes
from modelwright.tracking.experiments import load, milliseconds
from modelwright.tracking.ordering import Ordering, Spot
from modelwright.tracking.records import TABLE
from modelwright.tracking.validation import KEY_LENGTH

NAME_LENGTH, TAG_LENGTH = 255, 5000
EXPERIMENTS_LIMIT: Final = 100
_PAGES_AT_ONCE: Final = 4
_HIGHEST: Final = 50_000
_READ, _WRITE = "experiments:read", "experiments:write"


def create(call: Call, message: CreateDataset, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Make a dataset; names need not differ. The same request again makes no other one."""
    store, once = EvaluationStore(tables, call, blobs), Once.of(call, "datasets/create", message, TABLE)
    if not 0 < len(message.name) <= NAME_LENGTH:
        raise InvalidInput(f"Invalid value for parameter 'name' supplied: it must have 1 to {NAME_LENGTH} characters")
    tags, now = _tags(message.tags), milliseconds(call)
    user = tags.get(USER, call.actor)
    dataset = EvaluationDataset(
        dataset_id=f"d-{(once.seed or uuid4().hex)[:32]}", name=message.name, created_time=now, last_update_time=now,
        created_by=user, last_updated_by=user, tags=tags, experiment_ids=tuple(dict.fromkeys(message.experiment_ids)),
    ).at(now)  # fmt: skip
    _authorise(call, _WRITE, dataset)
    if (made := once.made(tables)) is not None:
        return {"dataset": store.dataset(made).answer()}
    _check_experiments(call, dataset.experiment_ids, tables, blobs, log)
    tables.write([store.put(dataset), *once.mark(dataset.dataset_id)])
    return {"dataset": dataset.answer()}


def get(call: Call, message: OfDataset, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return a dataset without its records; raises ``NotFound``."""
    return {"dataset": _readable(call, message.dataset_id, EvaluationStore(tables, call, blobs)).answer()}


def experiment_ids(call: Call, message: OfDataset, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Return the experiments that a dataset belongs to; raises ``NotFound``."""
    dataset = _readable(call, message.dataset_id, EvaluationStore(tables, call, blobs))
    return {"experiment_ids": list(dataset.experiment_ids)}


def delete(call: Call, message: OfDataset, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Delete a dataset with its records; raises ``NotFound``.

    Nobody sees it from the first step on; interrupted, it may be asked again.
    """
    store = EvaluationStore(tables, call, blobs)
    dataset = store.dataset(message.dataset_id, deleted=True)
    _authorise(call, _WRITE, dataset)
    if not dataset.deleted:
        tables.write([store.put(dataset.model_copy(update={"deleted": True}))])
    store.forget(dataset)
    return {}


def search(call: Call, message: SearchEvaluationDatasets, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return the datasets that match and that the caller may read, as JSON, newest first unless ordered otherwise."""
    clauses, orders = EVALUATION_DATASETS.parse(message.filter_string), EVALUATION_DATASETS.orders(message.order_by)
    limit, places = message.limit(1000, _HIGHEST), set(message.experiment_ids)
    said = ["datasets", sorted(places), message.filter_string, message.order_by]
    ordering = Ordering.of(orders, said, message.page_token, numbers=EVALUATION_DATASETS.numbers)

    def spot(dataset: EvaluationDataset) -> Spot:
        values = tuple(dataset.value(order.entity, order.key)[0] for order in ordering.orders)
        return Spot(values, dataset.created_time, dataset.dataset_id)

    found = [
        dataset
        for dataset in EvaluationStore(tables, call, blobs).datasets()
        if (not places or places & set(dataset.experiment_ids))
        and matches(clauses, dataset.value)
        and _may_read(call, dataset)
    ]
    rest = ordering.rest(found, spot)
    told, size = list[dict[str, Any]](), 0
    for answer in (dataset.answer() for dataset in rest[:limit]):
        size += escaped(dumped(answer)) + 1
        if told and size > ENVELOPE_BYTES - 1000:
            break
        told.append(answer)
    token = ordering.token(spot(rest[len(told) - 1])) if len(told) < len(rest) else ""
    return dumped({"datasets": told} | ({"next_page_token": token} if token else {}))


def set_tags(call: Call, message: SetDatasetTags, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Set tags, and leave the others as they are."""
    store = EvaluationStore(tables, call, blobs)
    dataset = _writable(call, message.dataset_id, store)
    tables.write([store.put(dataset.model_copy(update={"tags": {**dataset.tags, **_tags(message.tags)}}))])
    return {}


def delete_tag(call: Call, message: DeleteDatasetTag, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove a tag, if there is one."""
    store = EvaluationStore(tables, call, blobs)
    dataset = _writable(call, message.dataset_id, store)
    if message.key in dataset.tags:
        rest = {key: value for key, value in dataset.tags.items() if key != message.key}
        tables.write([store.put(dataset.model_copy(update={"tags": rest}))])
    return {}


def upsert(call: Call, message: UpsertRecords, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Add records, and change those that have the same inputs: all of them or, whatever happens, none."""
    store, now = EvaluationStore(tables, call, blobs), milliseconds(call)
    dataset = _writable(call, message.dataset_id, store)
    places, last = store.places(dataset), len(dataset.pages) - 1
    ids = [record_id(dataset.dataset_id, given.inputs) for given in message.records]
    fresh = [identity for identity in dict.fromkeys(ids) if identity not in places]
    touched = {places[identity] for identity in ids if identity in places}
    if fresh and last >= 0 and half_empty(dataset.pages[last]):
        touched.add(last)
    pages = _pages(store, dataset, touched)
    known = {record.dataset_record_id: record for page in pages.values() for record in page}
    numbers = {identity: number for number, identity in enumerate(fresh, dataset.told)}
    for identity, given in zip(ids, message.records, strict=True):
        before = known.get(identity)
        known[identity] = before.told(given, now) if before else Record.made(given, identity, numbers[identity], now)
    edited = {number: [known[record.dataset_record_id] for record in page] for number, page in pages.items()}
    edited.setdefault(last if last in edited else last + 1, []).extend(known[identity] for identity in fresh)
    users = [user for given in message.records if (user := user_of(given))]
    after = dataset.at(
        now,
        pages=store.put_pages(dataset, edited),
        told=dataset.told + len(fresh),
        shape=shape_of(dataset.shape, message.records),
        last_updated_by=users[-1] if users else call.actor,
    )
    tables.write([store.put(after)])
    store.drop_pages(dataset, after)
    return {"inserted_count": len(fresh), "updated_count": len(ids) - len(fresh)}


def records(call: Call, message: GetRecords, *, tables: Tables, blobs: Blobs, log: Log) -> str:
    """Return records in the order in which they were added, as JSON within JSON; as many as fit into an answer."""
    store = EvaluationStore(tables, call, blobs)
    dataset = _readable(call, message.dataset_id, store)
    after = _number(message.page_token, dataset.dataset_id) if message.page_token else -1
    limit = message.limit(1000, _HIGHEST)
    texts, size, token = list[str](), 0, ""
    for record in _after(store, dataset, after):
        text = text_of(record, dataset.dataset_id)
        size += told_bytes(text) + 2
        if len(texts) == limit or (texts and size > ENVELOPE_BYTES - 1000):
            token = urlsafe_b64encode(json.dumps([dataset.dataset_id, after]).encode()).decode()
            break
        texts.append(text)
        after = record.number
    return dumped({"records": f"[{', '.join(texts)}]"} | ({"next_page_token": token} if token else {}))


def delete_records(call: Call, message: DeleteRecords, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Remove records, all at once; unknown ones are passed over."""
    store = EvaluationStore(tables, call, blobs)
    dataset = _writable(call, message.dataset_id, store)
    places, wanted = store.places(dataset), set(message.dataset_record_ids)
    gone = wanted & places.keys()
    if gone:
        pages = _pages(store, dataset, {places[identity] for identity in gone})
        edited = {n: [r for r in page if r.dataset_record_id not in gone] for n, page in pages.items()}
        after = dataset.at(milliseconds(call), pages=store.put_pages(dataset, edited), last_updated_by=call.actor)
        tables.write([store.put(after)])
        store.drop_pages(dataset, after)
    return {"deleted_count": len(gone)}


def add_experiments(call: Call, message: OfExperiments, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Let a dataset belong to more experiments; raises ``NotFound`` for an unknown one."""
    dataset = EvaluationStore(tables, call, blobs).dataset(message.dataset_id)
    together = tuple(dict.fromkeys((*dataset.experiment_ids, *message.experiment_ids)))
    if len(together) > EXPERIMENTS_LIMIT:
        raise InvalidInput(f"an evaluation dataset belongs to up to {EXPERIMENTS_LIMIT} experiments")
    after = dataset.model_copy(update={"experiment_ids": together})
    _authorise(call, _WRITE, dataset)
    _authorise(call, _WRITE, after)
    _check_experiments(call, message.experiment_ids, tables, blobs, log)
    return _placed(call, dataset, together, tables, blobs)


def remove_experiments(call: Call, message: OfExperiments, *, tables: Tables, blobs: Blobs, log: Log) -> dict[str, Any]:
    """Let a dataset belong to some experiments no more."""
    dataset = _writable(call, message.dataset_id, EvaluationStore(tables, call, blobs))
    rest = tuple(each for each in dataset.experiment_ids if each not in message.experiment_ids)
    return _placed(call, dataset, rest, tables, blobs)


def _placed(
    call: Call, dataset: EvaluationDataset, places: tuple[str, ...], tables: Tables, blobs: Blobs
) -> dict[str, Any]:
    if places == dataset.experiment_ids:
        return {"dataset": dataset.answer()}
    after = dataset.model_copy(update={"experiment_ids": places, "last_update_time": milliseconds(call)})
    tables.write([EvaluationStore(tables, call, blobs).put(after)])
    return {"dataset": after.answer()}


def _readable(call: Call, dataset_id: str, store: EvaluationStore) -> EvaluationDataset:
    dataset = store.dataset(dataset_id)
    if not _may_read(call, dataset):
        call.authorise(_READ, dataset.resources[0])
    return dataset


def _writable(call: Call, dataset_id: str, store: EvaluationStore) -> EvaluationDataset:
    dataset = store.dataset(dataset_id)
    _authorise(call, _WRITE, dataset)
    return dataset


def _authorise(call: Call, action: str, dataset: EvaluationDataset) -> None:
    for resource in dataset.resources:
        call.authorise(action, resource)


def _may_read(call: Call, dataset: EvaluationDataset) -> bool:
    for resource in dataset.resources:
        try:
            call.authorise(_READ, resource)
        except Forbidden:
            continue
        return True
    return False


def _check_experiments(call: Call, identities: Sequence[str], tables: Tables, blobs: Blobs, log: Log) -> None:
    for identity in identities:
        load(call, identity, tables=tables, blobs=blobs, log=log).writable()


def _tags(said: Mapping[str, Any]) -> dict[str, str]:
    """Return tags as text, as MLflow keeps them; raises ``InvalidInput`` when one is too long."""
    tags = {key: value if isinstance(value, str) else str(value) for key, value in said.items() if value is not None}
    for key, value in tags.items():
        if not 0 < len(key) <= KEY_LENGTH or len(value) > TAG_LENGTH:
            raise InvalidInput(
                f"Invalid tag {key[:50]!r}: keys have 1 to {KEY_LENGTH} and values up to {TAG_LENGTH} characters"
            )
    return tags


def _pages(store: EvaluationStore, dataset: EvaluationDataset, numbers: set[int]) -> dict[int, list[Record]]:
    wanted = sorted(numbers)
    found = store.records(dataset, [dataset.pages[number] for number in wanted])
    return dict(zip(wanted, found, strict=True))


def _after(store: EvaluationStore, dataset: EvaluationDataset, number: int) -> Iterator[Record]:
    """Yield the records after one, reading no more pages than needed."""
    pages = [page for page in dataset.pages if page.last > number]
    for first in range(0, len(pages), _PAGES_AT_ONCE):
        for page in store.records(dataset, pages[first : first + _PAGES_AT_ONCE]):
            yield from (record for record in page if record.number > number)


def _number(token: str, dataset_id: str) -> int:
    try:
        owner, number = json.loads(urlsafe_b64decode(token))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"Invalid page token {token[:200]!r}: it is not one of ours") from error
    if owner != dataset_id or type(number) is not int:
        raise InvalidInput(f"Invalid page token {token[:200]!r}: it is not one of this dataset's")
    return number
