"""Training sets: labelled rows with what was known when each was asked, stored under their content's digest."""

import hashlib
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.events import TrainingSetSaved, Window
from modelwright.features.history import KEY, History, empty, numbers, parquet
from modelwright.features.layout import dataset_path, micros
from modelwright.features.offline import historical
from modelwright.log import Happened, Log, stream_of
from modelwright.project import Model, Project
from modelwright.storage import Absent, Blobs, Key, Put, Tables

LABEL = "label"


class TrainingSetQuery(BaseModel):
    """Which examples: of a model, asked in ``[start, end)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    start: AwareDatetime
    end: AwareDatetime


class TrainingSet(BaseModel):
    """A saved training set."""

    model_config = ConfigDict(frozen=True)
    digest: str
    key: str
    rows: int
    features: tuple[str, ...]
    url: str = ""


def training_rows(
    project: Project,
    model: Model | str,
    start: datetime,
    end: datetime,
    *,
    blobs: Blobs,
    tables: Tables,
    workspace: str,
    cache: dict[str, Any],
) -> pa.Table:
    """Return labelled examples asked in ``[start, end)``: request columns, inputs, and ``label`` (int8).

    They are in order of time, then id; the same query on the same data is the same table.

    Raises:
        InvalidInput: the label source lacks a request column.
    """
    model = project.model(model) if isinstance(model, str) else model
    examples = _examples(project, model, micros(start), micros(end), blobs, tables, workspace, cache)
    labels = pc.greater(examples[model.label.column].cast(pa.float64()), model.label.above).cast(pa.int8())
    asked = examples.select(list(model.request))
    rows = historical(project, model, asked, blobs=blobs, tables=tables, workspace=workspace, cache=cache)
    return rows.append_column(LABEL, labels)


def save(rows: pa.Table, *, blobs: Blobs, workspace: str) -> tuple[str, str]:
    """Store a training set under its content's digest and return digest and key."""
    body = parquet(rows.replace_schema_metadata(None).combine_chunks())
    digest = hashlib.sha256(body).hexdigest()
    key = dataset_path(workspace, digest)
    blobs.put("lake", key, body)
    return digest, key


def build(
    call: Call,
    query: TrainingSetQuery,
    *,
    project: Project,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    cache: dict[str, Any],
) -> TrainingSet:
    """Build and store a training set; the same again is the same object and is announced once.

    Raises:
        NotFound: there is no such model.
        InvalidInput: the window is empty or holds no labelled row.
    """
    model = project.model(query.model)
    call.authorise("features:read", f"model/{query.model}")
    if query.start >= query.end:
        raise InvalidInput(f"the window ends at {query.end.isoformat()}, not after its start {query.start.isoformat()}")
    options: dict[str, Any] = {"blobs": blobs, "tables": tables, "workspace": call.workspace}
    rows = training_rows(project, model, query.start, query.end, cache=cache, **options)
    if not rows.num_rows:
        raise InvalidInput(f"{query.model} has no labelled rows from {query.start} to {query.end}")
    digest, key = save(rows, blobs=blobs, workspace=call.workspace)
    known = Key(f"WS#{call.workspace}#DATASET#{digest}", "SAVED")
    if tables.get("features", known) is None:
        event = TrainingSetSaved(
            request_id=call.correlation_id,
            model=query.model,
            digest=digest,
            key=key,
            rows=rows.num_rows,
            window=Window(start=query.start, end=query.end),
            features=model.inputs,
        )
        item = {**known._asdict(), "query": query.model_dump_json(), "rows": rows.num_rows}
        happened = Happened(stream_of(call.workspace, "TRAINING", query.model), event)
        log.commit(call, [happened], [Put("features", item, Absent())])
    url = blobs.presigned_get("lake", key)
    return TrainingSet(digest=digest, key=key, rows=rows.num_rows, features=model.inputs, url=url)


def _examples(
    project: Project,
    model: Model,
    start_us: int,
    end_us: int,
    blobs: Blobs,
    tables: Tables,
    workspace: str,
    cache: dict[str, Any],
) -> pa.Table:
    source = project.sources[model.label.source]
    if missing := [name for name in (*model.request, model.label.column) if name not in source.columns]:
        raise InvalidInput(f"the label source {model.label.source} lacks {', '.join(missing)}")
    history = History(blobs=blobs, tables=tables, workspace=workspace, cache=cache)
    partitions = history.manifest(model.label.source).partitions
    if model.time_column == source.event_time:
        partitions = tuple(p for p in partitions if p.event_low < end_us and p.event_high >= start_us)
    rows = pa.concat_tables([empty(source), *history.rows(source, model.label.source, partitions)])
    times = rows[model.time_column].cast(pa.int64())
    chosen = pc.and_(pc.greater_equal(times, start_us), pc.less(times, end_us))
    rows = rows.filter(pc.and_(chosen, pc.is_valid(rows[model.label.column]))).combine_chunks()
    ids = np.argsort(np.asarray(rows[model.id_column].to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(ids), dtype=np.int64)
    rank[ids] = np.arange(len(ids))
    order = np.lexsort((np.asarray(rows[KEY]), rank, numbers(rows[model.time_column])))
    return rows.take(pa.array(order))
