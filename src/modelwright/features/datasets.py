"""Datasets: rows with what was known when each was asked, stored under their content's digest.

Beside a dataset lies what is said of it as JSON (``About``): its columns and their profile, what was asked, as of
when, the versions of the views and the digest of the project. A training set is a dataset with labels.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import InvalidInput, TooLarge
from modelwright.events import TrainingSetSaved, Window
from modelwright.features.history import AVAILABLE, KEY, UNTIL, History, empty, numbers, parquet
from modelwright.features.layout import about_path, dataset_path, micros
from modelwright.features.offline import historical
from modelwright.features.plan import plan_of
from modelwright.features.rights import known, read_views
from modelwright.log import Happened, Log, canonical, stream_of
from modelwright.project import Model, Project
from modelwright.storage import Absent, Blobs, Key, Put, Tables, Write

LABEL = "label"
MOST_ROWS = 400_000
"""What is joined and stored while a caller waits for an answer, which they do for 30 seconds at most."""
_AT_ONCE = 8


class TrainingSetQuery(BaseModel):
    """Which examples: of a model, asked in ``[start, end)``, whose label was known by ``as_of`` (by default: now)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    start: AwareDatetime
    end: AwareDatetime
    as_of: AwareDatetime | None = None


class TrainingSet(BaseModel):
    """A saved training set; asked again with its ``as_of`` it is the same, whatever was corrected since."""

    model_config = ConfigDict(frozen=True)
    digest: str
    key: str
    rows: int
    as_of: datetime
    features: tuple[str, ...]
    url: str = ""


class About(BaseModel):
    """What is said of a dataset.

    Attributes:
        query: what was asked.
        as_of: what became known later is not in it.
        features: the columns that are features.
        views: versions of the views that they are of.
        project: digest of the project that declares them.
        private: columns of whose values nothing is told.
    """

    model_config = ConfigDict(frozen=True)
    query: dict[str, Any]
    as_of: datetime | None
    features: tuple[str, ...]
    views: dict[str, int]
    project: str
    private: tuple[str, ...] = ()


def training_rows(
    project: Project,
    model: Model | str,
    start: datetime,
    end: datetime,
    *,
    known_by: datetime,
    blobs: Blobs,
    tables: Tables,
    workspace: str,
    cache: dict[str, Any],
    most: int | None = None,
) -> pa.Table:
    """Return labelled examples asked in ``[start, end)``: request columns, inputs, and ``label`` (int8).

    They are in order of time, then id; the same query on the same data is the same table.

    Args:
        project: the definitions.
        model: the model or its name.
        start: of the window of the model's time column.
        end: of that window.
        known_by: labels are as they were known then: one that became available later (where the source does not
            say when: that came later) is not seen, and neither is a correction that did.
        blobs: the lake, and the wheel of the team's code.
        tables: manifests.
        workspace: whose.
        cache: kept between calls by the caller (``wiring.cache``).
        most: how many examples are joined; None for any number.

    Raises:
        InvalidInput: the label source lacks a request column.
        TooLarge: there are more than ``most``; they are counted before anything is joined.
    """
    model = project.model(model) if isinstance(model, str) else model
    history = History(blobs=blobs, tables=tables, workspace=workspace, cache=cache)
    examples = _examples(project, model, Window(start=start, end=end), micros(known_by), history, most)
    value = examples[model.label.column].cast(pa.float64())
    labels = value if model.label.above is None else pc.greater(value, model.label.above).cast(pa.int8())
    asked = examples.select(list(model.request))
    stores: dict[str, Any] = {"blobs": blobs, "tables": tables, "workspace": workspace, "cache": cache}
    rows = historical(project, model, asked, known_by=known_by, **stores)
    return rows.append_column(LABEL, labels)


def save(rows: pa.Table, *, blobs: Blobs, workspace: str, about: About | None = None) -> tuple[str, str]:
    """Store a dataset under its content's digest, and beside it what is said of it; return digest and key."""
    table = rows.replace_schema_metadata(None).combine_chunks()
    body = parquet(table)
    digest = hashlib.sha256(body).hexdigest()
    key = dataset_path(workspace, digest)
    blobs.put("lake", key, body)
    if about is not None:
        told = {
            "digest": digest,
            "rows": table.num_rows,
            "bytes": len(body),
            **about.model_dump(mode="json", exclude={"private"}),
            "columns": [_profile(table, name, name in about.private) for name in table.column_names],
        }
        blobs.put("lake", about_path(workspace, digest), canonical(told))
    return digest, key


def announced(
    workspace: str, digest: str, query: Mapping[str, Any], rows: int, views: Iterable[str], tables: Tables
) -> list[Write]:
    """Return the write that remembers that a dataset was announced; none if it was before."""
    known = Key(f"WS#{workspace}#DATASET#{digest}", "SAVED")
    if tables.get("features", known) is not None:
        return []
    item = {**known._asdict(), "query": json.dumps(query), "rows": rows, "views": list(views)}
    return [Put("features", item, Absent())]


def about_model(project: Project, model: Model, query: Mapping[str, Any], as_of: datetime | None) -> About:
    """Return what is said of a model's training set."""
    plan = plan_of(project, model)
    views = {name: view.version for name, view in plan.views.items()}
    private = tuple(name for name in model.request if name not in model.inputs)
    return About(
        query=dict(query), as_of=as_of, features=model.inputs, views=views, project=project.digest, private=private
    )


def build(
    call: Call,
    query: TrainingSetQuery,
    *,
    project: Project,
    tables: Tables,
    log: Log,
    blobs: Blobs,
    cache: dict[str, Any],
    most: int = MOST_ROWS,
) -> TrainingSet:
    """Build and store a training set; the same again is the same object and is announced once.

    Model, window and ``as_of`` name a set: when the caller leaves ``as_of`` out, or names a time to come, it is now,
    and the answer says so.

    Raises:
        NotFound: there is no such model.
        Forbidden: the caller may not read the model, a view of its, or the source of its labels.
        InvalidInput: the window is empty or holds no labelled row.
        TooLarge: it holds more than ``most``.
    """
    call.authorise("features:read", f"model/{query.model}")
    model = known(call, project, lambda seen: seen.model(query.model))
    read_views(call, plan_of(project, model).views)
    call.authorise("features:read", f"source/{model.label.source}")
    if query.start >= query.end:
        raise InvalidInput(f"the window ends at {query.end.isoformat()}, not after its start {query.start.isoformat()}")
    options: dict[str, Any] = {"blobs": blobs, "tables": tables, "workspace": call.workspace}
    as_of = min(query.as_of or call.now, call.now)
    query = query.model_copy(update={"as_of": as_of})
    rows = training_rows(project, model, query.start, query.end, known_by=as_of, cache=cache, most=most, **options)
    if not rows.num_rows:
        raise InvalidInput(f"{query.model} has no labelled rows from {query.start} to {query.end}")
    about = about_model(project, model, query.model_dump(mode="json"), as_of)
    digest, key = save(rows, blobs=blobs, workspace=call.workspace, about=about)
    writes = announced(call.workspace, digest, about.query, rows.num_rows, about.views, tables)
    if writes:
        event = TrainingSetSaved(
            request_id=call.correlation_id,
            model=query.model,
            digest=digest,
            key=key,
            rows=rows.num_rows,
            window=Window(start=query.start, end=query.end),
            features=model.inputs,
            as_of=as_of,
        )
        log.commit(call, [Happened(stream_of(call.workspace, "TRAINING", query.model), event)], writes)
    url = blobs.presigned_get("lake", key)
    return TrainingSet(digest=digest, key=key, rows=rows.num_rows, as_of=as_of, features=model.inputs, url=url)


def _examples(
    project: Project, model: Model, window: Window, known_us: int, history: History, most: int | None
) -> pa.Table:
    """Return the label rows that are examples, in order; stops reading as soon as there are too many."""
    source = project.sources[model.label.source]
    if missing := [name for name in (*model.request, model.label.column) if name not in source.columns]:
        raise InvalidInput(f"the label source {model.label.source} lacks {', '.join(missing)}")
    start_us, end_us = micros(window.start), micros(window.end)
    partitions = tuple(p for p in history.manifest(model.label.source).partitions if p.available_low <= known_us)
    if model.time_column == source.event_time:
        partitions = tuple(p for p in partitions if p.event_low < end_us and p.event_high >= start_us)
    chosen = [empty(source)]
    for first in range(0, len(partitions), _AT_ONCE):
        read = history.rows(source, model.label.source, partitions[first : first + _AT_ONCE])
        chosen += [_chosen(model, rows, start_us, end_us, known_us) for rows in read]
        if most is not None and sum(rows.num_rows for rows in chosen) > most:
            raise TooLarge(
                f"{window.start:%Y-%m-%d}/{window.end:%Y-%m-%d} holds more than {most:,} labelled rows of "
                f"{model.label.source}: ask for a shorter window, or train by POST /v1/retraining/<model>, "
                "which takes any size"
            )
    rows = pa.concat_tables(chosen).combine_chunks()
    ids = np.argsort(np.asarray(rows[model.id_column].to_pylist(), dtype=object), kind="stable")
    rank = np.empty(len(ids), dtype=np.int64)
    rank[ids] = np.arange(len(ids))
    order = np.lexsort((np.asarray(rows[KEY]), rank, numbers(rows[model.time_column])))
    return rows.take(pa.array(order))


def _chosen(model: Model, rows: pa.Table, start_us: int, end_us: int, known_us: int) -> pa.Table:
    times = rows[model.time_column].cast(pa.int64())
    asked = pc.and_(pc.greater_equal(times, start_us), pc.less(times, end_us))
    known = pc.and_(pc.less_equal(rows[AVAILABLE], known_us), pc.greater(rows[UNTIL], known_us))
    return rows.filter(pc.and_(asked, pc.and_(pc.is_valid(rows[model.label.column]), known)))


def _profile(table: pa.Table, name: str, private: bool) -> dict[str, Any]:
    """Return a column's name, type and profile; of texts, and of columns that are private, no values."""
    column = table[name]
    found: dict[str, Any] = {"name": name, "type": str(column.type), "n": len(column), "nulls": column.null_count}
    if private or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return found
    span = pc.min_max(column).as_py()
    return {**found, **{k: _finite(v) for k, v in {**span, "mean": pc.mean(column).as_py()}.items()}}


def _finite(value: float | None) -> float | str | None:
    """Return a number as JSON can say it."""
    return value if value is None or isfinite(value) else str(value)
