"""Jobs for historical features whose join runs elsewhere, on a cluster: handed over, and finished once it has answered.

The cluster is told a ``Query``: files and partitions by name, all of them immutable, and not a source's newest
state. So the same query has the same answer, to the byte. It lies beside what the job was asked, and so do the
name of the run and the cluster's word on it, until the job is over: what lies there is what is not over.

An answer has a file for each file of entity rows, in its order, made and named as ``datasets.save`` does. One file is
the dataset. Several are a dataset whose digest is the SHA-256 of theirs, one a line; its description lists them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from modelwright.context import Call
from modelwright.errors import AlreadyHandled, Conflict, ModelwrightError, NotFound, Unavailable
from modelwright.events import (
    Delivery,
    Event,
    HistoricalFeaturesFailed,
    HistoricalFeaturesRequested,
    HistoricalFeaturesSaved,
)
from modelwright.features import datasets, saved
from modelwright.features.history import History, Partition, parquet
from modelwright.features.jobs import HistoricalQuery, Job, job_key, job_stream
from modelwright.features.joining import query_of, table_of
from modelwright.features.layout import entities_path, micros, query_path
from modelwright.features.plan import Plan, plan_of
from modelwright.features.rounds import go_round
from modelwright.log import Happened, Log
from modelwright.project import Project, Service
from modelwright.storage import Blobs, Is, Put, Tables, Write

_AGAIN = (Unavailable, Conflict, AlreadyHandled)
_RUN = ".run"


class Query(BaseModel):
    """What a cluster is told.

    Attributes:
        files: keys in the lake of files with entity rows: Parquet, or CSV. One worker puts the answer to one
            together, so that a file should have no more than a few million rows.
        partitions: of the sources of the service's views, as they were when it was asked.
        about: what is said of the answer.
        known_by: what became known later is not seen, in microseconds; None: everything is.
        available: see ``engines.Engine``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    project: Project
    service: Service
    workspace: str
    files: tuple[str, ...]
    partitions: dict[str, tuple[Partition, ...]]
    about: datasets.About
    known_by: int | None = None
    available: bool = True


class Part(BaseModel):
    """A stored file of the answer: it has the rows, in order, of one file of entity rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    digest: str
    rows: int


class Answer(BaseModel):
    """A dataset that a cluster saved.

    Attributes:
        features: names of its columns that are features.
        parts: its files, in the order of the files of entity rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    digest: str
    rows: int
    features: tuple[str, ...]
    parts: tuple[Part, ...]


class Failure(BaseModel):
    """Why there is no answer.

    Attributes:
        reason: for who asked; may quote entities and rows.
        logged: the same for the log, which keeps what it is told: without a word of the data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str
    logged: str = "the run gave no answer: its job says why"


class Cluster(Protocol):
    """Where joins run."""

    def start(self, job_id: str, query_key: str) -> str:
        """Start what answers a query and return the name of the run; the same job again is the same run.

        Raises:
            Unavailable: it did not take the job, and may when it is asked again.
        """
        ...

    def ended(self, run: str) -> str:
        """Return why a run ended that gave no answer; empty while it goes on, and if it succeeded."""
        ...


def dataset_digest(parts: Sequence[Part]) -> str:
    """Return what names a dataset of these files."""
    if len(parts) == 1:
        return parts[0].digest
    return hashlib.sha256("".join(f"{part.digest}\n" for part in parts).encode()).hexdigest()


def answer_key(query_key: str) -> str:
    """Return where a cluster says what became of a query: an ``Answer``, or a ``Failure``."""
    return f"{query_key.removesuffix('.json')}.answer.json"


def outcome(query_key: str, *, blobs: Blobs) -> Answer | Failure:
    """Return what became of a query; raises ``NotFound`` while the cluster has not said so."""
    said = blobs.get("lake", answer_key(query_key)).body
    try:
        return Answer.model_validate_json(said)
    except ValidationError:
        return Failure.model_validate_json(said)


# --- handing over ------------------------------------------------------------------------


def hand_over(
    delivery: Delivery, call: Call, *, project: Project, tables: Tables, log: Log, blobs: Blobs, cluster: Cluster
) -> None:
    """Start the run that a job asks for; one that cannot be told to a cluster fails, and says why.

    Raises:
        AlreadyHandled: the job was handed over, or is over.
        Unavailable: the cluster did not take it.
    """
    event: HistoricalFeaturesRequested = delivery.event
    item = tables.get("features", job_key(call.workspace, event.job_id))
    if item is None or (job := Job.read(item)).state != "requested":
        raise AlreadyHandled(f"job {event.job_id} is over")
    run_key = _path(call.workspace, job.job_id, _RUN)
    if any(blobs.list("lake", run_key)):
        raise AlreadyHandled(f"job {event.job_id} runs")
    asked = HistoricalQuery.model_validate_json(blobs.get("lake", event.query_key).body)
    try:
        told = _query(call, job, asked, project=project, tables=tables, blobs=blobs)
        blobs.put("lake", _told_key(call.workspace, job.job_id), told.model_dump_json().encode())
        run = cluster.start(job.job_id, _told_key(call.workspace, job.job_id))
    except _AGAIN:
        raise
    except ModelwrightError as error:
        _finish(
            call,
            job,
            item["v"],
            asked,
            Failure(reason=str(error), logged=error.logged),
            tables=tables,
            log=log,
            blobs=blobs,
        )
        return
    blobs.put("lake", run_key, run.encode())


def _query(call: Call, job: Job, asked: HistoricalQuery, *, project: Project, tables: Tables, blobs: Blobs) -> Query:
    service = asked.resolved(project)
    plan = plan_of(project, service)
    file = asked.entities_key
    if asked.entities is not None:
        file = _path(call.workspace, job.job_id, ".parquet")
        blobs.put("lake", file, parquet(table_of(asked.entities, service)))
    history = History(blobs=blobs, tables=tables, workspace=call.workspace, cache={})
    return Query(
        project=project,
        service=service,
        workspace=call.workspace,
        files=(file,),
        partitions={view.source: history.manifest(view.source).partitions for view in plan.views.values()},
        about=_about(project, plan, asked, job, saved.views_of(call.workspace, asked.entities_key, blobs=blobs)),
        known_by=micros(job.as_of),
        available=asked.available,
    )


def _about(project: Project, plan: Plan, asked: HistoricalQuery, job: Job, behind: Mapping[str, int]) -> datasets.About:
    return datasets.About(
        query=query_of(asked),
        as_of=job.as_of,
        features=plan.service.inputs,
        views={**behind, **{name: view.version for name, view in plan.views.items()}},
        project=project.digest,
    )


# --- finishing ---------------------------------------------------------------------------


def settle(call: Call, *, tables: Tables, log: Log, blobs: Blobs, cluster: Cluster) -> int:
    """Finish the jobs of a workspace whose runs are over, and return how many these were.

    What is wrong with one is raised after the others were looked at.
    """
    folder = query_path(call.workspace, "").removesuffix(".json")
    runs = [listed.key for listed in blobs.list("lake", folder) if listed.key.endswith(_RUN)]
    over: list[bool] = []

    def look_at(key: str) -> None:
        over.append(_settled(call, key, tables=tables, log=log, blobs=blobs, cluster=cluster))

    go_round(partial(look_at, key) for key in runs)
    return sum(over)


def _settled(call: Call, run_key: str, *, tables: Tables, log: Log, blobs: Blobs, cluster: Cluster) -> bool:
    job_id = run_key.rpartition("/")[2].removesuffix(_RUN)
    item = tables.get("features", job_key(call.workspace, job_id))
    if item is None or (job := Job.read(item)).state != "requested":
        _forget(call, job_id, blobs)
        return False
    found: Answer | Failure
    try:
        found = outcome(_told_key(call.workspace, job_id), blobs=blobs)
    except NotFound:
        found = Failure(reason=cluster.ended(blobs.get("lake", run_key).body.decode()))
        if not found.reason:
            return False
    asked = HistoricalQuery.model_validate_json(blobs.get("lake", query_path(call.workspace, job_id)).body)
    _finish(call, job, item["v"], asked, found, tables=tables, log=log, blobs=blobs)
    return True


def _finish(
    call: Call,
    job: Job,
    version: int,
    asked: HistoricalQuery,
    found: Answer | Failure,
    *,
    tables: Tables,
    log: Log,
    blobs: Blobs,
) -> None:
    writes: list[Write] = []
    event: Event
    if isinstance(found, Failure):
        over = job.model_copy(update={"state": "failed", "reason": found.reason})
        event = HistoricalFeaturesFailed(job_id=job.job_id, reason=found.logged)
    else:
        key = found.parts[0].key
        over = job.model_copy(update={"state": "saved", "digest": found.digest, "key": key, "rows": found.rows})
        writes = datasets.announced(call.workspace, found.digest, query_of(asked), found.rows, job.views, tables)
        event = HistoricalFeaturesSaved(
            job_id=job.job_id, digest=found.digest, key=key, rows=found.rows, features=found.features, as_of=job.as_of
        )
    writes.insert(0, Put("features", over.item(call.workspace, version + 1), Is("v", version)))
    log.commit(call, [Happened(job_stream(call.workspace, job.job_id), event)], writes)
    _forget(call, job.job_id, blobs, asked)


def _forget(call: Call, job_id: str, blobs: Blobs, asked: HistoricalQuery | None = None) -> None:
    """Remove what was asked and told, and an upload of entities: they are in the answer, or of no use any more."""
    if asked is not None and asked.entities_key.startswith(entities_path(call.workspace, "")):
        blobs.delete("lake", asked.entities_key)
    folder = query_path(call.workspace, job_id).removesuffix(".json")
    blobs.delete_many("lake", [listed.key for listed in blobs.list("lake", folder)])


def _told_key(workspace: str, job_id: str) -> str:
    return _path(workspace, job_id, ".told.json")


def _path(workspace: str, job_id: str, suffix: str) -> str:
    return query_path(workspace, job_id).removesuffix(".json") + suffix
