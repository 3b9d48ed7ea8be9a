"""The work of a job for historical features: read what was asked, join, save.

It can be done again at any time: what is asked says as of when, the answer lies under its content's digest, and job,
event and mark are written together at the end.
"""

import io
from typing import Any

import pyarrow as pa
import pyarrow.csv

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, Conflict, InvalidInput, ModelwrightError, NotFound, TooLarge, Unavailable
from modelwright.events import (
    Delivery,
    Event,
    HistoricalFeaturesFailed,
    HistoricalFeaturesRequested,
    HistoricalFeaturesSaved,
)
from modelwright.features import datasets
from modelwright.features.arrow import request_columns
from modelwright.features.history import ARROW, decoded
from modelwright.features.jobs import HistoricalQuery, Job, job_key, job_stream
from modelwright.features.layout import entities_path
from modelwright.features.offline import historical
from modelwright.features.plan import plan_of
from modelwright.features.rows import typed
from modelwright.log import Happened, Log
from modelwright.project import Project, Service
from modelwright.storage import Blobs, Is, Put, Tables, Write

MOST_ROWS = 5_000_000
"""Entities that are joined in this process; more are for an engine that works elsewhere."""
_HERE = "arrow"
_AGAIN = (Unavailable, Conflict, AlreadyHandled)
_PARQUET = b"PAR1"


def follow_request(
    delivery: Delivery, call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cache: dict[str, Any]
) -> None:
    """Do a job that was asked for; the same again does nothing.

    Raises:
        AlreadyHandled: the job is over.
        NotFound: there is no such job.
    """
    event: HistoricalFeaturesRequested = delivery.event
    item = tables.get("features", job_key(call.workspace, event.job_id))
    if item is None:
        raise NotFound(f"there is no job {event.job_id}")
    job = Job.read(item)
    if job.state != "requested":
        blobs.delete("lake", event.query_key)
        raise AlreadyHandled(f"job {event.job_id} is over")
    query = HistoricalQuery.model_validate_json(blobs.get("lake", event.query_key).body)
    over, happened = _done(call, job, query, project=project, tables=tables, blobs=blobs, cache=cache)
    writes: list[Write] = [Put("features", over.item(call.workspace, item["v"] + 1), Is("v", item["v"]))]
    if over.digest:
        writes += datasets.announced(call.workspace, over.digest, query_of(query), over.rows, over.views, tables)
    log.commit(
        call,
        [Happened(job_stream(call.workspace, job.job_id), happened)],
        writes,
        delivery=delivery,
        table="features",
    )
    _forget(call, event, blobs, query)


def query_of(query: HistoricalQuery) -> dict[str, Any]:
    """Return what was asked without the entities, which may be people."""
    return query.model_dump(mode="json", exclude={"entities"})


def entity_rows(query: HistoricalQuery, service: Service, blobs: Blobs) -> pa.Table:
    """Return the entities that a query asks about, request columns in their declared types.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file, or a column of it, is not as it must be.
    """
    if query.entities is not None:
        return table_of(query.entities, service)
    return read_entities(blobs.get("lake", query.entities_key).body, service)


def table_of(columns: dict[str, list[Any]], service: Service) -> pa.Table:
    """Return columns as JSON has them as a table; raises ``InvalidInput``."""
    found = {}
    for name, values in columns.items():
        kind = service.request.get(name)
        try:
            if kind is None:
                found[name] = pa.array(values)
            else:
                found[name] = pa.array(
                    [typed(kind, v, f"{name} of entity {n}") for n, v in enumerate(values)], ARROW[kind]
                )
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(f"column {name} of the entities mixes kinds of values: {error}") from error
    return pa.table(found)


def read_entities(body: bytes, service: Service) -> pa.Table:
    """Return the entities in a Parquet or CSV file; of CSV, request columns have their declared types."""
    if body[:4] == _PARQUET:
        return decoded(body)
    texts = {name: pa.string() for name, kind in service.request.items() if kind in ("string", "timestamp")}
    numbers = {name: ARROW[kind] for name, kind in service.request.items() if name not in texts}
    options = pa.csv.ConvertOptions(column_types={**texts, **numbers}, strings_can_be_null=True, null_values=[""])
    try:
        table = pa.csv.read_csv(io.BytesIO(body), convert_options=options)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"the entities are neither Parquet nor CSV of the declared types: {error}") from error
    for name, kind in service.request.items():
        if kind == "timestamp" and name in table.column_names:
            times = [typed(kind, v, f"{name} of entity {n}") for n, v in enumerate(table[name].to_pylist())]
            table = table.set_column(table.column_names.index(name), name, pa.array(times, ARROW[kind]))
    return table


def _done(
    call: Call,
    job: Job,
    query: HistoricalQuery,
    *,
    project: Project,
    tables: Tables,
    blobs: Blobs,
    cache: dict[str, Any],
) -> tuple[Job, Event]:
    try:
        return _saved(call, job, query, project=project, tables=tables, blobs=blobs, cache=cache)
    except _AGAIN:
        raise
    except ModelwrightError as error:
        failed = job.model_copy(update={"state": "failed", "reason": str(error)})
        return failed, HistoricalFeaturesFailed(job_id=job.job_id, reason=str(error))


def _saved(
    call: Call,
    job: Job,
    query: HistoricalQuery,
    *,
    project: Project,
    tables: Tables,
    blobs: Blobs,
    cache: dict[str, Any],
) -> tuple[Job, Event]:
    service = query.resolved(project)
    plan = plan_of(project, service)
    entities = entity_rows(query, service, blobs)
    if query.engine == _HERE and entities.num_rows > MOST_ROWS:
        raise TooLarge(
            f"{entities.num_rows:,} entities are more than {MOST_ROWS:,}: ask with another engine, such as spark"
        )
    entities = in_declared_types(entities, service)
    joined = historical(
        project,
        service,
        entities,
        blobs=blobs,
        tables=tables,
        workspace=call.workspace,
        cache=cache,
        engine=query.engine,
        available=query.available,
        known_by=job.as_of,
    )
    about = datasets.About(
        query=query_of(query),
        as_of=job.as_of,
        features=service.inputs,
        views={name: view.version for name, view in plan.views.items()},
        project=project.digest,
        private=tuple(name for name in joined.column_names if name not in service.inputs),
    )
    digest, key = datasets.save(joined, blobs=blobs, workspace=call.workspace, about=about)
    over = job.model_copy(update={"state": "saved", "digest": digest, "key": key, "rows": joined.num_rows})
    event = HistoricalFeaturesSaved(
        job_id=job.job_id, digest=digest, key=key, rows=joined.num_rows, features=service.inputs, as_of=job.as_of
    )
    return over, event


def in_declared_types(entities: pa.Table, service: Service) -> pa.Table:
    """Return entities with their request columns in the declared types; raises ``InvalidInput``."""
    for name, column in request_columns(service, entities).items():
        entities = entities.set_column(entities.column_names.index(name), name, column)
    return entities


def _forget(call: Call, event: HistoricalFeaturesRequested, blobs: Blobs, query: HistoricalQuery) -> None:
    """Remove what was asked, and an upload of entities: they are in the answer, or of no use any more."""
    blobs.delete("lake", event.query_key)
    folder = entities_path(call.workspace, "").rpartition("/")[0] + "/"
    if query.entities_key.startswith(folder):
        blobs.delete("lake", query.entities_key)
