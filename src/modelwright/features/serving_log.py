"""The serving log: of a sample of the answers that feature services gave, what exactly was said.

``serving/<ws>/<service>/<day>/<as of>-<request>.json.gz`` in the lake, one small object per sampled answer. A request
is in the sample or not by its id alone, and the object's name follows from it, so that a request that comes again is
logged once. Values are as they were served: floats come back to the bit, times as microseconds.

The log costs one PUT per sampled answer, and it holds join keys: whoever removes a subject rewrites it (``without``).
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelwright.context import Call
from modelwright.errors import InvalidInput
from modelwright.features.layout import micros, moment
from modelwright.project import ColumnType, Project, Service
from modelwright.storage import Blobs

if TYPE_CHECKING:
    from modelwright.features.serving import Answered

PREFIX = "serving/"
_FORMAT = 1
_THREADS = 8
_AT_ONCE = 64
_TIME, _NAIVE = "us", "naive_us"


@dataclass(frozen=True)
class Answer:
    """What a feature service answered.

    Attributes:
        service: its name.
        request: the id of the request.
        project: digest of the project whose code answered.
        views: versions of the views that were read.
        as_of: the time as of which it was answered, in microseconds.
        arrival: whatever came to the store later sorts after this (``layout.arrival``).
        types: types of the request columns.
        given: request columns, as the features were computed from them.
        values: features by name.
        statuses: a status per value.
    """

    service: str
    request: str
    project: str
    views: Mapping[str, int]
    as_of: int
    arrival: str
    types: Mapping[str, ColumnType]
    given: Mapping[str, Sequence[Any]]
    values: Mapping[str, Sequence[Any]]
    statuses: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many rows were answered."""
        return len(next(iter(self.given.values()), ()))

    @classmethod
    def read(cls, body: bytes) -> "Answer":
        """Return the answer that an object holds; raises ``InvalidInput``."""
        try:
            said = json.loads(gzip.decompress(body))
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise InvalidInput(f"the object is no logged answer: {error}") from error
        if said.pop("format", None) != _FORMAT:
            raise InvalidInput(f"the object is no logged answer of format {_FORMAT}")
        given, values = _columns(said.pop("given")), _columns(said.pop("values"))
        return cls(given=given, values=values, **said)

    def body(self) -> bytes:
        """Return the object that holds the answer; the same answer is the same bytes."""
        columns = {
            kind: {name: [_said(value) for value in values] for name, values in found.items()}
            for kind, found in (("given", self.given), ("values", self.values))
        }
        said = json.dumps({**vars(self), **columns, "format": _FORMAT}, separators=(",", ":"))
        return gzip.compress(said.encode(), compresslevel=6, mtime=0)

    def key(self, workspace: str) -> str:
        """Return where it lies in the lake."""
        name = hashlib.blake2b(self.request.encode(), digest_size=8).hexdigest()
        return f"{_folder(workspace, self.service)}{moment(self.as_of):%Y-%m-%d}/{self.as_of:017d}-{name}.json.gz"


def sampled(service: str, request: str, share: float) -> bool:
    """Say whether a request is in the sample of a service: always the same for the same request."""
    place = hashlib.blake2b(f"{service}\n{request}".encode(), digest_size=8).digest()
    return int.from_bytes(place, "big") < share * 2**64


def record(call: Call, answered: "Answered", *, project: Project, put: Callable[[str, bytes], None]) -> None:
    """Log an answer of a feature service, if its request is in the sample.

    Args:
        call: who asked.
        answered: what is answered.
        project: whose code answers.
        put: writes an object of the lake; what hinders it is its own affair, and must not cost the caller the answer.
    """
    question = answered.question
    service = project.service(question.service)
    if not sampled(question.service, call.correlation_id, service.sampled):
        return
    rows = [dict(row) for row in answered.rows]
    statuses = {}
    for name, stored in question.plan.stored.items():
        view = answered.found[stored.view]
        column = view.features[stored.feature]
        statuses[name] = view.of_rows(column.statuses)
        for row, value in zip(rows, view.of_rows(column.values), strict=True):
            row[name] = value
    times = {"as_of": call.now, "now": call.now}
    answer = noted(
        question.service, service, rows, project=project, request=call.correlation_id, statuses=statuses, **times
    )
    put(answer.key(call.workspace), answer.body())


def noted(
    name: str,
    service: Service,
    rows: Sequence[Mapping[str, Any]],
    *,
    project: Project,
    request: str,
    as_of: datetime,
    now: datetime,
    statuses: Mapping[str, Sequence[str]],
) -> Answer:
    """Return what is logged of an answer.

    Args:
        name: of the service.
        service: its declaration.
        rows: the rows with request columns and features, as they were computed.
        project: whose code answered.
        request: the id of the request.
        as_of: the time as of which it was answered.
        now: when it was.
        statuses: a status per value, of the features that have one.
    """
    given = [column for column in service.request if rows and column in rows[0]]
    features = [feature for feature in service.inputs if feature not in service.request]
    return Answer(
        service=name,
        request=request,
        project=project.digest,
        views={view: project.views[view].version for view in service.views},
        as_of=micros(as_of),
        arrival=watermark(now),
        types={column: service.request[column] for column in given},
        given={column: [row[column] for row in rows] for column in given},
        values={feature: [row[feature] for row in rows] for feature in features},
        statuses=statuses,
    )


def watermark(now: datetime) -> str:
    """Return text that sorts after whatever came up to a time, and before all that comes later."""
    return f"{micros(now):017d}#~"


def services(blobs: Blobs, workspace: str, since: datetime) -> Iterator[str]:
    """Yield the names of the services that have logged answers since a day."""
    for line in blobs.level("lake", f"{PREFIX}{workspace}/"):
        days = blobs.level("lake", line.key, after=f"{line.key}{since:%Y-%m-%d}")
        if line.key.endswith("/") and next(days, None) is not None:
            yield line.key.rstrip("/").rpartition("/")[2]


def keys(blobs: Blobs, workspace: str, service: str, since: datetime, until: datetime) -> Iterator[str]:
    """Yield where the answers of a service lie that were given as of times in ``[since, until]``, oldest first."""
    folder = _folder(workspace, service)
    for day in blobs.level("lake", folder, after=f"{folder}{since:%Y-%m-%d}"):
        if day.key[len(folder) :].rstrip("/") > f"{until:%Y-%m-%d}":
            return
        for listed in blobs.list("lake", day.key):
            as_of = listed.key.rpartition("/")[2].partition("-")[0]
            if f"{micros(since):017d}" <= as_of <= f"{micros(until):017d}":
                yield listed.key


def answers(
    blobs: Blobs, workspace: str, service: str, since: datetime, until: datetime, *, most: int
) -> tuple[list[Answer], int]:
    """Return the answers of a service in ``[since, until]``, oldest first, and how many there are.

    Args:
        blobs: the lake.
        workspace: whose.
        service: which.
        since: of the moments.
        until: of the moments.
        most: when the newest ones have so many rows, no more are read.
    """
    found = list(keys(blobs, workspace, service, since, until))
    newest: list[Answer] = []
    rows = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for end in range(len(found), 0, -_AT_ONCE):
            if rows >= most:
                break
            some = found[max(0, end - _AT_ONCE) : end]
            for body in reversed(list(pool.map(lambda key: blobs.get("lake", key).body, some))):
                if rows < most:
                    newest.append(Answer.read(body))
                    rows += len(newest[-1])
    return newest[::-1], len(found)


def without(answer: Answer, gone: Callable[[Mapping[str, Any]], bool]) -> Answer:
    """Return an answer without the rows whose request columns ``gone`` recognises."""
    columns = list(answer.given)
    rows = zip(*answer.given.values(), strict=True)
    kept = [n for n, row in enumerate(rows) if not gone(dict(zip(columns, row, strict=True)))]

    def taken(of: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        return {name: [values[n] for n in kept] for name, values in of.items()}

    return replace(answer, given=taken(answer.given), values=taken(answer.values), statuses=taken(answer.statuses))


def _folder(workspace: str, service: str) -> str:
    return f"{PREFIX}{workspace}/{service}/"


def _columns(said: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {name: [_read(value) for value in values] for name, values in said.items()}


def _said(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return {_NAIVE if value.tzinfo is None else _TIME: micros(value)}


def _read(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return moment(value[_TIME]) if _TIME in value else moment(value[_NAIVE]).replace(tzinfo=None)
