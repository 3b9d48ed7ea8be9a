"""Features of many entities as of their times, as a job: asked over HTTP, joined by an engine, saved as a dataset.

A request is checked at once, as far as that needs no data, and what was asked is stored in the lake; the event that
says so starts the join (``joining``). What was asked lies there until the job is over.

======  =======================  ===========  ==================================
entity  pk (table ``features``)  sk           access pattern
======  =======================  ===========  ==================================
job     ``WS#<ws>#JOBS``         ``<job id>``  get; query, newest first
======  =======================  ===========  ==================================
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from modelwright.context import Call
from modelwright.errors import InvalidInput, NotFound, TooLarge
from modelwright.events import HistoricalFeaturesRequested
from modelwright.features import saved
from modelwright.features.layout import dataset_path, entities_path, query_path
from modelwright.features.plan import Plan, plan_of, service_of
from modelwright.features.rights import known, may, read_views
from modelwright.features.rows import asked, columnar
from modelwright.log import Happened, Log, new_id, stream_of
from modelwright.once import Once
from modelwright.plugins import installed
from modelwright.project import Project, Service
from modelwright.storage import Absent, Blobs, Item, Key, Put, Tables

INLINE_ROWS = 20_000
"""Entities that a request may hold itself; more are uploaded first."""
HERE = "arrow"
"""The engine of this process."""
MOST_BYTES = 250_000_000
"""Of a file of entities that is joined in this process."""
_PAGE = 50
State = Literal["requested", "saved", "failed"]


class HistoricalQuery(BaseModel):
    """Which features of which entities: of ``service``, or ``features``; of ``entities``, or those in a file.

    Attributes:
        service: a feature service or model.
        features: ``view:feature`` and ``group:output`` each.
        entities: columns by name: join keys, request columns, the time; others are kept as they are.
        entities_key: the lake's key of a Parquet or CSV file of entities: an upload (``upload``) or a dataset; of up
            to ``MOST_BYTES`` for the engine of this process.
        time_column: the column with the time, where features are named; a service names its own, and takes no other.
        as_of: what became known later is not in the answer; by default now.
        engine: name of the engine that joins.
        available: whether rows count only from when they became known; see ``engines.Engine``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    service: str = ""
    features: tuple[str, ...] = ()
    entities: dict[str, list[Any]] | None = Field(default=None, repr=False)
    entities_key: str = ""
    time_column: str = "event_timestamp"
    as_of: AwareDatetime | None = None
    engine: str = HERE
    available: bool = True

    def resolved(self, project: Project) -> Service:
        """Return the feature service that is asked for.

        Raises:
            NotFound: a service, view or feature is not declared.
            InvalidInput: none or both of service and features were named.
        """
        if bool(self.service) == bool(self.features):
            raise InvalidInput("name either a `service` or `features` (view:feature each)")
        if self.service:
            return project.service(self.service)
        return service_of(project, self.features, time_column=self.time_column)


class Job(BaseModel):
    """A job and what became of it.

    Attributes:
        rows: entities asked for, or, once it is saved, answered; 0 where nobody counted yet.
        views: the views that it reads.
        url: downloads the answer for a while.
        reason: why it failed.
    """

    model_config = ConfigDict(frozen=True)
    job_id: str
    state: State
    requested_at: datetime
    as_of: datetime
    engine: str
    service: str = ""
    features: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    rows: int = 0
    digest: str = ""
    key: str = ""
    reason: str = ""
    url: str = ""

    @classmethod
    def read(cls, item: Item) -> "Job":
        """Read the stored form."""
        return cls.model_validate_json(item["job"])

    def item(self, workspace: str, version: int) -> dict[str, Any]:
        """Return the stored form."""
        return {**job_key(workspace, self.job_id)._asdict(), "job": self.model_dump_json(exclude={"url"}), "v": version}


def job_key(workspace: str, job_id: str) -> Key:
    """Return the key of a job's item."""
    return Key(f"WS#{workspace}#JOBS", job_id)


def job_stream(workspace: str, job_id: str) -> str:
    """Return the stream of a job's events."""
    return stream_of(workspace, "JOB", job_id)


def request(
    call: Call, query: HistoricalQuery, *, project: Project, tables: Tables, log: Log, blobs: Blobs
) -> dict[str, str]:
    """Start a job and return its id; the same request again is the same job.

    Raises:
        NotFound: a service, view, feature or file is not there.
        InvalidInput: the query is not clear, the engine is not installed, or entities are not as they must be.
        TooLarge: the file of entities is larger than ``MOST_BYTES``, for the engine of this process.
        Gone: a subject was erased from the dataset that is named as file.
        Forbidden: the caller may not read a view, or one that the dataset named as file is made of.
    """
    if query.service and "time_column" in query.model_fields_set:
        raise InvalidInput("a service names its own time column: leave `time_column` out, or name `features` instead")
    plan = known(call, project, lambda seen: plan_of(seen, query.resolved(seen)))
    behind = saved.views_of(call.workspace, query.entities_key, blobs=blobs)
    views = tuple(dict.fromkeys((*plan.views, *behind)))
    read_views(call, views)
    once = Once.of(call, "historical-features", query, "features")
    if (made := once.made(tables)) is not None:
        return {"job_id": made}
    if query.engine not in installed("engines"):
        raise InvalidInput(f"there is no engine {query.engine}: installed are {', '.join(installed('engines'))}")
    rows = _counted(call, query, plan, blobs)
    job_id, as_of = new_id(call.now), min(query.as_of or call.now, call.now)
    query = query.model_copy(update={"as_of": as_of})
    path = query_path(call.workspace, job_id)
    blobs.put("lake", path, query.model_dump_json().encode())
    job = Job(
        job_id=job_id,
        state="requested",
        requested_at=call.now,
        as_of=as_of,
        engine=query.engine,
        service=query.service,
        features=query.features,
        views=views,
        rows=rows,
    )
    event = HistoricalFeaturesRequested(job_id=job_id, query_key=path, rows=rows, engine=query.engine)
    happened = Happened(job_stream(call.workspace, job_id), event, fresh=True)
    log.commit(call, [happened], [Put("features", job.item(call.workspace, 1), Absent()), *once.mark(job_id)])
    return {"job_id": job_id}


def upload(call: Call, *, blobs: Blobs) -> dict[str, str]:
    """Return where a file of entities goes (``entities_key``) and a URL that takes it; one job can be asked of it."""
    call.authorise("features:read", "view/*")
    key = entities_path(call.workspace, new_id(call.now))
    return {"entities_key": key, "url": blobs.presigned_put("lake", key)}


def show(call: Call, job_id: str, *, tables: Tables, blobs: Blobs) -> dict[str, Any]:
    """Return a job, with a URL of its answer if there is one; raises ``NotFound``."""
    item = tables.get("features", job_key(call.workspace, job_id))
    if item is None:
        raise NotFound(f"there is no job {job_id}")
    job = Job.read(item)
    read_views(call, job.views)
    url = blobs.presigned_get("lake", job.key, filename=f"{job_id}.parquet") if job.key else ""
    return job.model_copy(update={"url": url}).model_dump(mode="json")


def listed(call: Call, *, tables: Tables, cursor: str = "") -> dict[str, Any]:
    """Return a page of the jobs whose views the caller may read, newest first, and where the next page begins."""
    page = tables.query("features", job_key(call.workspace, "").pk, reverse=True, limit=_PAGE, cursor=cursor)
    jobs = [Job.read(item) for item in page.items]
    shown = [
        job.model_dump(mode="json", exclude={"url"})
        for job in jobs
        if all(may(call, "features:read", f"view/{view}") for view in job.views)
    ]
    return {"jobs": shown, "next": page.cursor}


def _counted(call: Call, query: HistoricalQuery, plan: Plan, blobs: Blobs) -> int:
    """Return how many entities are asked for, 0 where they are in a file; raises if they are not as they must be."""
    if (query.entities is None) == (not query.entities_key):
        raise InvalidInput("give either `entities` (columns by name) or `entities_key` (a file in the lake)")
    if query.entities is None:
        own = (entities_path(call.workspace, ""), dataset_path(call.workspace, ""))
        folders = tuple(path.rpartition("/")[0] + "/" for path in own)
        if not query.entities_key.startswith(folders):
            raise InvalidInput(f"entities_key must begin with {' or '.join(folders)}, not be {query.entities_key}")
        size = blobs.size("lake", query.entities_key)
        if query.engine == HERE and size > MOST_BYTES:
            raise TooLarge(
                f"the file of entities has {size:,} bytes, more than {MOST_BYTES:,}: ask with another engine, such as "
                "spark, or in parts"
            )
        return 0
    rows = columnar(query.entities)
    if not 0 < len(rows) <= INLINE_ROWS:
        raise InvalidInput(
            f"a request holds 1 to {INLINE_ROWS:,} entities, this one {len(rows):,}: upload a file "
            "(POST /v1/features/uploads) and give its key"
        )
    asked(plan.service, rows)
    return len(rows)
