"""The work of a job for historical features: read what was asked, join, save.

It can be done again at any time: what is asked says as of when, the answer lies under its content's digest, and job,
event and mark are written together at the end.
"""

import io
import re
from typing import Any

import pyarrow as pa
import pyarrow.csv

from modelwright.context import Call
from modelwright.errors import (
    AlreadyHandled,
    Conflict,
    InvalidInput,
    ModelwrightError,
    NotFound,
    Refused,
    TooLarge,
    Unavailable,
)
from modelwright.events import (
    Delivery,
    Event,
    HistoricalFeaturesFailed,
    HistoricalFeaturesRequested,
    HistoricalFeaturesSaved,
)
from modelwright.features import datasets, saved
from modelwright.features.arrow import request_columns
from modelwright.features.history import ARROW, decoded, footer
from modelwright.features.jobs import HERE, HistoricalQuery, Job, job_key, job_stream
from modelwright.features.layout import entities_path
from modelwright.features.offline import historical
from modelwright.features.plan import plan_of
from modelwright.features.rows import typed
from modelwright.log import Happened, Log
from modelwright.project import Project, Service
from modelwright.storage import Blobs, Is, Put, Tables, Update, Write

MOST_ROWS = 5_000_000
"""Entities that are joined in this process; more are for an engine that works elsewhere."""
MOST_DECODED = 500_000_000
"""Bytes that a Parquet file of entities may take when it is no longer compressed."""
ATTEMPTS = 2
"""A job that was begun so often, and did not end, fails: the delivery that is left says so."""
_NEVER_ENDED = (
    f"it was begun {ATTEMPTS} times and did not end: it needs more memory or time than this engine has; ask with "
    "another, such as spark, or in parts"
)
_AGAIN = (Unavailable, Conflict, AlreadyHandled)
_PARQUET = b"PAR1"
_PLACE = re.compile(r"In CSV column #(?P<column>\d+): Row #(?P<row>\d+)")


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
        _forget_left(call, event, blobs)
        raise AlreadyHandled(f"job {event.job_id} is over")
    query = HistoricalQuery.model_validate_json(blobs.get("lake", event.query_key).body)
    begun = int(item.get("begun", 0))
    if begun < ATTEMPTS:
        _count(call, job, begun + 1, tables)
        try:
            over, happened = _done(call, job, query, project=project, tables=tables, blobs=blobs, cache=cache)
        except _AGAIN:
            _count(call, job, begun, tables)
            raise
    else:
        over, happened = _failed(job, Refused(_NEVER_ENDED))
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


def entity_rows(query: HistoricalQuery, service: Service, blobs: Blobs, *, most: int | None = None) -> pa.Table:
    """Return the entities that a query asks about, request columns in their declared types.

    Raises:
        NotFound: there is no such file.
        InvalidInput: the file, or a column of it, is not as it must be.
        TooLarge: it has more than ``most`` rows.
    """
    if query.entities is not None:
        return table_of(query.entities, service)
    table = read_entities(blobs.get("lake", query.entities_key).body, service, most=most)
    if not table.num_rows:
        raise InvalidInput("the file of entities has no rows: a header, and nothing below it")
    return table


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
            told = f"column {name} of the entities mixes kinds of values"
            raise InvalidInput(f"{told}: {error}", logged=told) from error
    return pa.table(found)


def read_entities(body: bytes, service: Service, *, most: int | None = None) -> pa.Table:
    """Return the entities in a Parquet or CSV file; of CSV, request columns have their declared types.

    Args:
        body: the file.
        service: names the request columns.
        most: how many rows it may have; None: any number. They are counted before anything is decoded.

    Raises:
        TooLarge: it has more.
        InvalidInput: it cannot be read, or a value is not of its column's type.
    """
    if most is not None:
        _require_fewer(body, most)
    if body[:4] == _PARQUET:
        return decoded(body)
    texts = {name: pa.string() for name, kind in service.request.items() if kind in ("string", "timestamp")}
    numbers = {name: ARROW[kind] for name, kind in service.request.items() if name not in texts}
    options = pa.csv.ConvertOptions(column_types={**texts, **numbers}, strings_can_be_null=True, null_values=[""])
    try:
        one = pa.csv.ReadOptions(use_threads=False)  # who reads on several threads cannot say in which row it was
        table = pa.csv.read_csv(io.BytesIO(body), read_options=one, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        told = "the entities are neither Parquet nor CSV of the declared types"
        place = _PLACE.match(str(error))
        where = f": column {int(place['column']) + 1}, line {place['row']}" if place else ""
        raise InvalidInput(f"{told}: {error}", logged=f"{told}{where}") from error
    for name, kind in service.request.items():
        if kind == "timestamp" and name in table.column_names:
            times = [typed(kind, v, f"{name} of entity {n}") for n, v in enumerate(table[name].to_pylist())]
            table = table.set_column(table.column_names.index(name), name, pa.array(times, ARROW[kind]))
    return table


def _require_fewer(body: bytes, most: int) -> None:
    if body[:4] == _PARQUET:
        told = footer(body)
        if told.num_rows > most:
            raise _too_many(told.num_rows, "entities", most)
        size = sum(told.row_group(n).total_byte_size for n in range(told.num_row_groups))
        if size > MOST_DECODED:
            raise _too_many(size, "decoded bytes of entities", MOST_DECODED)
    elif (lines := body.count(b"\n")) > most + 1:
        raise _too_many(lines, "lines of entities", most)


def _too_many(count: int, what: str, most: int) -> TooLarge:
    return TooLarge(f"{count:,} {what} are more than {most:,}: ask with another engine, such as spark, or in parts")


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
        return _failed(job, error)
    except (pa.ArrowException, ArithmeticError, MemoryError) as error:
        told = f"the join raised {type(error).__name__}"
        return _failed(job, InvalidInput(f"{told}: {error}", logged=told))


def _failed(job: Job, error: ModelwrightError) -> tuple[Job, Event]:
    over = job.model_copy(update={"state": "failed", "reason": str(error)})
    return over, HistoricalFeaturesFailed(job_id=job.job_id, reason=error.logged)


def _count(call: Call, job: Job, begun: int, tables: Tables) -> None:
    """Remember how often a job was begun: one that ends this process cannot say that it failed."""
    tables.write([Update("features", job_key(call.workspace, job.job_id), {"begun": begun})])


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
    behind = saved.views_of(call.workspace, query.entities_key, blobs=blobs)
    entities = entity_rows(query, service, blobs, most=MOST_ROWS if query.engine == HERE else None)
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
        views={**behind, **{name: view.version for name, view in plan.views.items()}},
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
    folder = entities_path(call.workspace, "").rpartition("/")[0] + "/"
    if query.entities_key.startswith(folder):
        blobs.delete("lake", query.entities_key)
    blobs.delete("lake", event.query_key)  # last: it says what else is to be removed


def _forget_left(call: Call, event: HistoricalFeaturesRequested, blobs: Blobs) -> None:
    """Remove what a job left that died when all was done but this."""
    try:
        left = blobs.get("lake", event.query_key).body
    except NotFound:
        return
    _forget(call, event, blobs, HistoricalQuery.model_validate_json(left))
