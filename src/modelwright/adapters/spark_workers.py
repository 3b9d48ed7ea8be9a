"""What Spark's workers do with files of entity rows and partitions of history: see ``spark_join``.

They give one another messages: rows ``(place, kind, body)`` of where to, what it is, and a table.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from modelwright import teamcode
from modelwright.adapters.memory import MemoryTables
from modelwright.features import arrow, datasets
from modelwright.features.encoding import bits, flat
from modelwright.features.history import History, Partition, empty, plain
from modelwright.features.joining import in_declared_types, read_entities
from modelwright.features.layout import spelled
from modelwright.features.ondemand import computed
from modelwright.features.plan import Plan, functions_of, plan_of
from modelwright.features.remote import Part
from modelwright.project import Project, Service, View

SCHEMA = "place long, kind string, body binary"
_ARROW = pa.schema({"place": pa.int64(), "kind": pa.string(), "body": pa.binary()})
_FILE, _ROW, _TIME = "#file", "#row", "#time"
_ASKED = ""
_PRIME = 1_000_003
BUCKET_ROWS = 500_000
_MESSAGE_ROWS = 250_000

Batches = Iterable[pa.RecordBatch]
Message = tuple[int, str, bytes]


class Extent(BaseModel):
    """How many rows a file has, and from when to when they ask, in microseconds; 0 and -1 when none has a time."""

    model_config = ConfigDict(frozen=True)
    rows: int
    low: int
    high: int


@dataclass(frozen=True)
class Work:
    """What driver and workers know of a join.

    Attributes:
        files: keys in the lake of Parquet files with entity rows.
        partitions: of the sources of the service's views.
        blobs: gives a worker its buckets: the lake, and artifacts with the team's code.
        known_by: what became known later is not seen, in microseconds; None: everything is.
        available: whether a row counts only from when it became known.
        bucket_rows: entity rows and rows of history that a worker joins at once, about.
        about: what is said of an answer that is the entity rows with all inputs of the service; None: the answer is the
            stored features alone.
    """

    project: Project
    service: Service
    workspace: str
    files: tuple[str, ...]
    partitions: Mapping[str, tuple[Partition, ...]]
    blobs: Callable[[], Any]
    known_by: int | None = None
    available: bool = True
    bucket_rows: int = BUCKET_ROWS
    about: datasets.About | None = None

    @cached_property
    def plan(self) -> Plan:
        """The plan of the service."""
        return plan_of(self.project, self.service)

    def stages(self) -> tuple[tuple[str, ...], ...]:
        """Return the combinations of join keys, each of which is a shuffle."""
        return tuple(dict.fromkeys(_keys(view) for view in self.plan.views.values()))

    def sources(self, entity: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Return the sources of the views that join by these keys, each with the columns that the views read."""
        found: dict[str, dict[str, None]] = {}
        for name, view in self.plan.views.items():
            if _keys(view) == entity:
                columns = arrow.columns_of(view, self.project.sources[view.source], self.plan.features(name))
                found.setdefault(view.source, {}).update(dict.fromkeys(columns))
        return {source: tuple(columns) for source, columns in found.items()}

    def entity_rows(self, file: int) -> pa.Table:
        """Return the entity rows of a file, request columns in their declared types."""
        body = self.blobs().get("lake", self.files[file]).body
        return in_declared_types(read_entities(body, self.service), self.service)

    def history(self, source: str, partition: Partition, columns: Sequence[str]) -> pa.Table:
        """Return rows of a partition; it is read once, and not kept."""
        history = History(blobs=self.blobs(), tables=MemoryTables(), workspace=self.workspace, cache={})
        (rows,) = history.rows(self.project.sources[source], source, [partition], columns, known_by=self.known_by)
        return rows


def _keys(view: View) -> tuple[str, ...]:
    return tuple(sorted(view.entity))


# --- what they do ---------------------------------------------------------------------


def measured(work: Work, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Say what files of entity rows hold."""
    for file in _numbers(batches):
        rows = work.entity_rows(file)
        times, known = arrow.times_of(arrow.request_columns(work.service, rows)[work.service.time_column])
        low, high = (int(times[known].min()), int(times[known].max())) if known.any() else (0, -1)
        yield _message(file, Extent(rows=rows.num_rows, low=low, high=high).model_dump_json())


def addressed(places: Sequence[int], batches: Batches) -> Iterator[pa.RecordBatch]:
    """Name every file where its answer is put together, so that one without rows has an answer too."""
    for file in _numbers(batches):
        yield _message(places[file], json.dumps([file]))


def cut(work: Work, entity: tuple[str, ...], buckets: Sequence[int], batches: Batches) -> Iterator[pa.RecordBatch]:
    """Read files of entity rows, and partitions after them, and cut them into buckets."""
    sources = work.sources(entity)
    partitions = [(source, p) for source in sources for p in work.partitions[source]]
    for task in _numbers(batches):
        if task < len(work.files):
            yield from _dealt(_asked(work, entity, task), entity, buckets, _ASKED)
        else:
            source, partition = partitions[task - len(work.files)]
            yield from _dealt(work.history(source, partition, sources[source]), entity, buckets, source)


def _asked(work: Work, entity: tuple[str, ...], file: int) -> pa.Table:
    request = arrow.request_columns(work.service, work.entity_rows(file))
    time = request[work.service.time_column]
    numbers = {_FILE: np.full(len(time), file, np.int32), _ROW: np.arange(len(time), dtype=np.int64)}
    return pa.table({**numbers, _TIME: time, **{key: request[key] for key in entity}})


def _dealt(rows: pa.Table, entity: tuple[str, ...], buckets: Sequence[int], kind: str) -> Iterator[pa.RecordBatch]:
    """Cut rows into buckets; history of a null key is nobody's, and rows that ask for one are spread."""
    hashes, known = _hashed([rows[key] for key in entity])
    bucket = (hashes % len(buckets)).astype(np.int64)
    bucket[~known] = np.flatnonzero(~known) % len(buckets) if kind == _ASKED else -1
    order = np.argsort(bucket, kind="stable")
    bounds = np.searchsorted(bucket[order], np.arange(len(buckets) + 1))
    for n, place in enumerate(buckets):
        for start in range(int(bounds[n]), int(bounds[n + 1]), _MESSAGE_ROWS):
            chosen = order[start : min(start + _MESSAGE_ROWS, int(bounds[n + 1]))]
            yield _message(place, kind, rows.take(pa.array(chosen)))


def _hashed(columns: Sequence[Any]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return a hash of each row's join keys, of the one spelling of each, and whether all of them are known."""
    hashes = np.zeros(len(columns[0]), dtype=np.uint64)
    known = np.ones(len(hashes), dtype=bool)
    for column in columns:
        encoded = pc.dictionary_encode(bits(flat(column)))
        known &= np.asarray(encoded.is_valid())
        parts = [zlib.crc32(spelled([value]).encode()) for value in plain(encoded.dictionary)]
        places = np.asarray(encoded.indices.fill_null(0)).astype(np.int64)
        hashes = hashes * np.uint64(_PRIME) + np.array([*parts, 0], dtype=np.uint64)[places]
    return hashes, known


def joined(work: Work, entity: tuple[str, ...], places: Sequence[int], batches: Batches) -> Iterator[pa.RecordBatch]:
    """Join the entity rows of a bucket to its history, and send the features to the files that the rows are of."""
    tables: dict[str, list[pa.Table]] = {}
    for _, kind, body in _messages(batches):
        tables.setdefault(kind, []).append(_unpacked(body))
    if _ASKED not in tables:
        return
    asked = pa.concat_tables(tables.pop(_ASKED)).combine_chunks()
    found = _features(work, entity, asked, tables).append_column(_ROW, asked[_ROW])
    files = np.asarray(asked[_FILE])
    for file in np.unique(files).tolist():
        yield _message(places[file], json.dumps([file, *entity]), found.filter(pa.array(files == file)))


def _features(
    work: Work, entity: tuple[str, ...], asked: pa.Table, tables: Mapping[str, Sequence[pa.Table]]
) -> pa.Table:
    """Return the stored features of the views that join by these keys, by the names that the service reads."""
    columns: dict[str, Any] = {}
    times, known = arrow.times_of(asked[_TIME].combine_chunks())
    for name, view in work.plan.views.items():
        if _keys(view) != entity:
            continue
        declared = work.project.sources[view.source]
        rows = pa.concat_tables(tables.get(view.source) or [empty(declared)]).combine_chunks()
        request = {key: asked[key].combine_chunks() for key in entity}
        found = arrow.point_in_time(
            work.project, name, work.plan.features(name), rows, request, times, known, available=work.available
        )
        columns |= {n: found[s.feature] for n, s in work.plan.stored.items() if s.view == name}
    return pa.table(columns)


def assembled(work: Work, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Put the features of a file's rows in their order, and store them."""
    files: dict[int, dict[tuple[str, ...], list[pa.Table]]] = {}
    for _, kind, body in _messages(batches):
        file, *keys = json.loads(kind)
        stages = files.setdefault(file, {})
        if body:
            stages.setdefault(tuple(keys), []).append(_unpacked(body))
    for file, stages in files.items():
        rows = work.entity_rows(file)
        stored: dict[str, Any] = {}
        for entity in work.stages():
            found = _in_order(stages[entity], rows.num_rows) if rows.num_rows else _nothing(work, entity, file)
            stored |= {name: found[name] for name in found.column_names}
        digest, key = _saved(work, rows, stored)
        yield _message(file, Part(key=key, digest=digest, rows=rows.num_rows).model_dump_json())


def _saved(work: Work, rows: pa.Table, stored: dict[str, Any]) -> tuple[str, str]:
    blobs = work.blobs()
    if work.about is None:
        return datasets.save(pa.table(stored), blobs=blobs, workspace=work.workspace)
    request = arrow.request_columns(work.service, rows)
    if work.plan.on_demand:
        functions = functions_of(work.plan, teamcode.loader(work.project, blobs=blobs))
        stored |= computed(work.plan, request, stored, functions)
    answer = arrow.placed(work.plan, rows, request, stored)
    private = tuple(name for name in answer.column_names if name not in work.service.inputs)
    about = work.about.model_copy(update={"private": private})
    return datasets.save(answer, blobs=blobs, workspace=work.workspace, about=about)


def _in_order(tables: Sequence[pa.Table], rows: int) -> pa.Table:
    found = pa.concat_tables(tables).combine_chunks()
    assert found.num_rows == rows, f"{found.num_rows} of {rows} rows came back"
    return found.drop_columns(_ROW).take(pa.array(np.argsort(np.asarray(found[_ROW]))))


def _nothing(work: Work, entity: tuple[str, ...], file: int) -> pa.Table:
    """Return no features, in their types, of a file that has no rows."""
    return _features(work, entity, _asked(work, entity, file), {})


# --- messages ----------------------------------------------------------------------------


def _numbers(batches: Batches) -> Iterator[int]:
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _message(place: int, kind: str, table: pa.Table | None = None) -> pa.RecordBatch:
    body = b"" if table is None else _packed(table)
    return pa.RecordBatch.from_pylist([{"place": place, "kind": kind, "body": body}], schema=_ARROW)


def _messages(batches: Batches) -> Iterator[Message]:
    for batch in batches:
        for row in batch.to_pylist():
            yield row["place"], row["kind"], row["body"]


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _unpacked(body: bytes) -> pa.Table:
    return pa.ipc.open_stream(body).read_all()
