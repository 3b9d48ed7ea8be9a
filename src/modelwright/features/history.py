"""The offline store: every version of every row of a source, in immutable Parquet partitions by week of availability.

A partition's object is named by its content, and the source's manifest, which is replaced under a
version, says which objects count: readers never see half a change, and equal rows give equal bytes in
whatever order they came. Beside its columns a row has ``_key`` (64 bits of its source's key), ``_available``
(microseconds), ``_arrival``, and ``_until``.

Rows with one key are versions of one row, in order of availability, then arrival. A version counts from its
availability until that of the next (``_until``; ``NEVER`` where there is none), so that a correction erases
nothing: as of a time before it, what was known then is still there. A version that ends when it begins was never seen.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter

from modelwright.errors import InvalidInput
from modelwright.features.aggregates import NEVER
from modelwright.features.caching import kept
from modelwright.features.layout import WEEK_US, partition_path, row_key, source_key, summary_path
from modelwright.features.summaries import summarised
from modelwright.project import ColumnType, Source
from modelwright.storage import Absent, Blobs, Is, Put, Tables

Ints = npt.NDArray[np.int64]
KEY, AVAILABLE, ARRIVAL, UNTIL = "_key", "_available", "_arrival", "_until"
TIME = pa.timestamp("us", tz="UTC")
ARROW: dict[ColumnType, Any] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": TIME,
}
_THREADS = 8
_LARGE = 400_000
"""More rows than this are read one partition after the other, and not kept: one at a time is enough memory."""


class Partition(BaseModel):
    """One week of a source.

    Attributes:
        week: of availability, since 1970.
        digest: of its object.
        event_low: earliest event time, in microseconds; 0 with ``event_high`` -1 when no row has one.
    """

    model_config = ConfigDict(frozen=True)
    week: int
    digest: str
    rows: int
    event_low: int
    event_high: int
    available_low: int
    available_high: int


_partitions = TypeAdapter(tuple[Partition, ...])


@dataclass(frozen=True)
class Manifest:
    """Which partitions of a source count, by week."""

    partitions: tuple[Partition, ...] = ()
    version: int = 0


class History:
    """The offline store of a workspace.

    Args:
        blobs: where partitions are.
        tables: where manifests are.
        workspace: whose.
        cache: decoded partitions, kept between calls; partitions are immutable, so they never go stale.
        known_by: joins see what was known then, in microseconds; None: everything.

    Attributes:
        prepared: what an engine makes of partitions, by their digests.
    """

    def __init__(
        self, *, blobs: Blobs, tables: Tables, workspace: str, cache: dict[str, Any], known_by: int | None = None
    ) -> None:
        self._blobs = blobs
        self._tables = tables
        self._workspace = workspace
        self._decoded = kept(cache, "features.partitions")
        self._keys = kept(cache, "features.keys")
        self.prepared = kept(cache, "features.prepared")
        self.known_by = known_by

    def manifest(self, source: str) -> Manifest:
        """Return a source's manifest; one that never had rows has an empty one."""
        item = self._tables.get("features", source_key(self._workspace, source, "MANIFEST"))
        return Manifest() if item is None else Manifest(_partitions.validate_json(item["partitions"]), item["v"])

    def replacement(self, source: str, old: Manifest, partitions: Sequence[Partition]) -> Put:
        """Return the write that makes these the partitions, if nobody else changed them."""
        item = {
            **source_key(self._workspace, source, "MANIFEST")._asdict(),
            "v": old.version + 1,
            "partitions": _partitions.dump_json(tuple(partitions)).decode(),
        }
        return Put("features", item, Is("v", old.version) if old.version else Absent())

    def rows(
        self,
        declared: Source,
        source: str,
        partitions: Sequence[Partition],
        columns: Sequence[str] = (),
        *,
        known_by: int | None = None,
    ) -> list[pa.Table]:
        """Return the rows of partitions as declared now; what is not cached is read in parallel.

        Args:
            declared: the source.
            source: its name.
            partitions: which.
            columns: only these, of the declared ones and those that every row has; none: all.
            known_by: as they were known then, in microseconds: no version that became known later, none ended by one.
        """
        wanted = tuple(columns)
        found = {p.digest: self._kept(source, p, wanted) for p in partitions}
        missing = [p for p in partitions if found[p.digest] is None]
        for partition, table in zip(missing, _parallel(lambda p: self._read(source, p, wanted), missing), strict=True):
            found[partition.digest] = table
            if sum(p.rows for p in missing) <= _LARGE:
                self._decoded.put((source, partition.digest, wanted), table, table.nbytes)
        read = [conformed(declared, found[p.digest], wanted) for p in partitions]
        return read if known_by is None else [_known(rows, known_by) for rows in read]

    def keys(self, source: str, partitions: Iterable[Partition]) -> Iterator[npt.NDArray[np.uint64]]:
        """Yield the sorted row keys of partitions, one per version; few partitions are in memory at a time."""
        for some in _few(partitions):
            found = {p.digest: self._keys.get((source, p.digest)) for p in some}
            missing = [p for p in some if found[p.digest] is None]
            for partition, keys in zip(missing, _parallel(lambda p: self._read_keys(source, p), missing), strict=True):
                found[partition.digest] = keys
                self._keys.put((source, partition.digest), keys, keys.nbytes)
            yield from (found[p.digest] for p in some)

    def body(self, source: str, partition: Partition) -> bytes:
        """Return a partition's object as it is stored."""
        return self._blobs.get("lake", partition_path(self._workspace, source, partition.week, partition.digest)).body

    def store(self, source: str, declared: Source, week: int, rows: pa.Table) -> Partition:
        """Write a week's rows and return their partition; equal rows in any order are the same object."""
        order = np.lexsort((arrival_ranks(rows), numbers(rows[KEY]), numbers(rows[AVAILABLE])))
        rows = rows.take(pa.array(order)).combine_chunks()
        body = parquet(rows)
        digest = hashlib.sha256(body).hexdigest()
        keys = np.sort(_unsigned(rows[KEY]))
        path = partition_path(self._workspace, source, week, digest)
        self._blobs.put("lake", _keys_path(path), keys.astype("<u8").tobytes())
        self._blobs.put("lake", summary_path(path), summarised(declared, rows, rows[AVAILABLE]))
        self._blobs.put("lake", path, body)
        self._decoded.put((source, digest, ()), rows, rows.nbytes)
        self._keys.put((source, digest), keys, keys.nbytes)
        events, available = pc.min_max(rows[declared.event_time].cast(pa.int64())), pc.min_max(rows[AVAILABLE])
        known = events["min"].as_py() is not None
        return Partition(
            week=week,
            digest=digest,
            rows=rows.num_rows,
            event_low=events["min"].as_py() if known else 0,
            event_high=events["max"].as_py() if known else -1,
            available_low=available["min"].as_py(),
            available_high=available["max"].as_py(),
        )

    def _kept(self, source: str, partition: Partition, columns: tuple[str, ...]) -> pa.Table | None:
        whole = self._decoded.get((source, partition.digest, ()))
        return self._decoded.get((source, partition.digest, columns)) if whole is None else whole

    def _read(self, source: str, partition: Partition, columns: Sequence[str]) -> pa.Table:
        return decoded(self.body(source, partition), columns).combine_chunks()

    def _read_keys(self, source: str, partition: Partition) -> npt.NDArray[np.uint64]:
        path = partition_path(self._workspace, source, partition.week, partition.digest)
        return np.frombuffer(self._blobs.get("lake", _keys_path(path)).body, dtype="<u8")


@dataclass(frozen=True)
class Folded:
    """What putting rows into a source's history changed.

    Attributes:
        partitions: of the source now, by week.
        incoming: all rows that came.
        added: of them, the versions that are new in the store, each with its ``_until``.
        ended: versions that were in the store and now end earlier, each with its new ``_until``.
    """

    partitions: tuple[Partition, ...]
    incoming: pa.Table
    added: pa.Table
    ended: pa.Table


@dataclass(frozen=True)
class _Touched:
    """A partition that holds versions of rows that came.

    Attributes:
        partition: the partition.
        rows: all of its rows.
        places: where in them those versions are.
    """

    partition: Partition
    rows: pa.Table
    places: Ints


def fold(history: History, source: str, declared: Source, manifest: Manifest, rows: pa.Table) -> Folded:
    """Put canonical rows (``canonical``) into a source's partitions, writing those that change.

    A version that is there (same key, availability and arrival) changes nothing; of those that come twice at once
    the last counts. Nothing counts before the manifest is replaced.
    """
    incoming = rows.select(_came(declared))
    touched = _touched(history, source, declared, manifest, np.unique(_unsigned(incoming[KEY])))
    there = [_taken(each.rows, each.places) for each in touched]
    known = pa.concat_tables([empty(declared), *there]).combine_chunks()
    versions = [AVAILABLE, ARRIVAL, KEY]
    both = pa.concat_tables([known.select(versions), incoming.select(versions)]).combine_chunks()
    count, until = known.num_rows, _ends(both, known.num_rows)
    fresh = np.flatnonzero(until[count:] >= 0)
    added = incoming if len(fresh) == incoming.num_rows else _taken(incoming, fresh)
    added = added.append_column(UNTIL, pa.array(until[count:][fresh]))
    moved = until[:count] != numbers(known[UNTIL])
    ended = _until(_taken(known, np.flatnonzero(moved)), until[:count][moved])
    left: dict[int, pa.Table] = {}
    first = 0
    for each in touched:
        place = slice(first, first + len(each.places))
        first = place.stop
        if moved[place].any():
            ends = numbers(each.rows[UNTIL]).copy()
            ends[each.places] = until[place]
            left[each.partition.week] = _until(each.rows, ends)
    partitions = _rewritten(history, source, declared, manifest, left, added)
    return Folded(partitions, incoming, added, ended)


def _touched(
    history: History, source: str, declared: Source, manifest: Manifest, keys: npt.NDArray[np.uint64]
) -> list[_Touched]:
    found = []
    for partition, theirs in zip(manifest.partitions, history.keys(source, manifest.partitions), strict=True):
        place = np.minimum(np.searchsorted(theirs, keys), len(theirs) - 1)
        there = theirs[place] == keys
        if there.any():
            (rows,) = history.rows(declared, source, [partition])
            found.append(_Touched(partition, rows, np.flatnonzero(np.isin(_unsigned(rows[KEY]), keys[there]))))
    return found


def _ends(rows: pa.Table, stored: int) -> Ints:
    """Return until when each version counts; -1 for rows that are the same version as one before or beside them.

    Args:
        rows: versions; the first ``stored`` of them are in the store, the others came.
        stored: how many.
    """
    keys, available, came = _unsigned(rows[KEY]), numbers(rows[AVAILABLE]), arrival_ranks(rows)
    latest_first = np.concatenate([np.full(stored, -rows.num_rows), -np.arange(rows.num_rows - stored)])
    order = np.lexsort((latest_first, came, available, keys))
    repeated = np.zeros(rows.num_rows, dtype=bool)
    repeated[1:] = (np.diff(keys[order]) == 0) & (np.diff(available[order]) == 0) & (np.diff(came[order]) == 0)
    versions = order[~repeated]
    until = np.full(rows.num_rows, -1)
    until[versions] = NEVER
    followed = np.flatnonzero(np.diff(keys[versions]) == 0)
    until[versions[followed]] = available[versions[followed + 1]]
    return until


def _until(rows: pa.Table, ends: Ints) -> pa.Table:
    return rows.set_column(rows.column_names.index(UNTIL), UNTIL, pa.array(ends))


def empty(declared: Source) -> pa.Table:
    """Return a stored table without rows."""
    schema = {name: ARROW[column.type] for name, column in declared.columns.items()}
    own = {AVAILABLE: pa.int64(), ARRIVAL: pa.string(), KEY: pa.uint64(), UNTIL: pa.int64()}
    return pa.schema({**schema, **own}).empty_table()


def canonical(declared: Source, table: pa.Table, *, now_us: int, arrival: str) -> pa.Table:
    """Return a file's rows as the offline store keeps them.

    NaN becomes null, a declared column that the file lacks is null, and rows without an availability
    were available at ``now_us``.

    Raises:
        InvalidInput: a column does not have the declared type.
    """
    columns = {name: _column(table, name, column.type) for name, column in declared.columns.items()}
    available = pa.nulls(table.num_rows, pa.int64())
    if declared.available_at:
        available = columns[declared.available_at].cast(pa.int64())
    columns[AVAILABLE] = pc.fill_null(available, now_us)
    columns[ARRIVAL] = pa.array([arrival]).take(pa.array(np.zeros(table.num_rows, dtype=np.int64)))
    parts = [plain(columns[name]) for name in declared.key]
    keys = np.fromiter((row_key(values) for values in zip(*parts, strict=True)), np.uint64, table.num_rows)
    columns[KEY] = pa.array(keys)
    return pa.table(columns)


def arrival_ranks(rows: pa.Table) -> Ints:
    """Return the place of each row's arrival among all of them."""
    column = rows[ARRIVAL].combine_chunks()
    encoded = pc.dictionary_encode(column if isinstance(column, pa.Array) else pa.array([], pa.string()))
    names = encoded.dictionary.to_pylist()
    place = {name: n for n, name in enumerate(sorted(names))}
    ranks = np.array([place[name] for name in names], dtype=np.int64)
    return cast(Ints, ranks[np.asarray(encoded.indices)]) if names else ranks


def conformed(declared: Source, table: pa.Table, columns: Sequence[str] = ()) -> pa.Table:
    """Return stored rows with the columns and types declared now (new ones are null), or only some columns."""
    names = list(columns) or [*_came(declared), UNTIL]
    kinds = {name: ARROW[declared.columns[name].type] for name in names if name in declared.columns}
    for place, (name, kind) in enumerate(zip(table.schema.names, table.schema.types, strict=True)):
        if kinds.get(name, kind) != kind:  # it was declared narrower when these were stored
            table = table.set_column(place, name, table[name].cast(kinds[name]))
    for name in names:
        if name == UNTIL and name not in table.column_names:
            table = table.append_column(UNTIL, pa.array(np.full(table.num_rows, NEVER)))
        elif name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, ARROW[declared.columns[name].type]))
    if columns and ARRIVAL in columns and pa.types.is_string(table.schema.field(ARRIVAL).type):
        place = table.column_names.index(ARRIVAL)
        table = table.set_column(place, ARRIVAL, table[ARRIVAL].dictionary_encode())
    return table if table.column_names == names else table.select(names)


def _known(rows: pa.Table, known_by: int) -> pa.Table:
    rows = rows.filter(pc.less_equal(rows[AVAILABLE], known_by))
    ends = numbers(rows[UNTIL])
    return _until(rows, np.where(ends <= known_by, ends, NEVER))


def numbers(column: Any) -> Ints:
    """Return an integer or time column without nulls as int64."""
    return cast(Ints, np.asarray(column.cast(pa.int64()) if column.type == TIME else column).astype(np.int64))


def plain(column: Any) -> list[Any]:
    """Return a column as Python values, times as microseconds."""
    return cast(list[Any], (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


def parquet(table: pa.Table) -> bytes:
    """Return a table as Parquet; the same rows are the same bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", compression_level=1, write_statistics=False)
    return sink.getvalue()


def decoded(body: bytes, columns: Sequence[str] = ()) -> pa.Table:
    """Return the table that a Parquet file holds, or only some columns of it; raises ``InvalidInput`` if it is none."""
    try:
        file = pq.ParquetFile(pa.BufferReader(body), read_dictionary=[ARRIVAL] if ARRIVAL in columns else None)
        wanted = [name for name in file.schema_arrow.names if name in columns] if columns else None
        return file.read(wanted, use_threads=file.metadata.num_rows > _LARGE // 4)
    except (pa.ArrowException, OSError) as error:
        told = "the object is no Parquet file"
        raise InvalidInput(f"{told}: {error}", logged=told) from error


def footer(body: bytes) -> Any:
    """Return what a Parquet file says of itself, without decoding it; raises ``InvalidInput`` if it is none."""
    try:
        return pq.ParquetFile(pa.BufferReader(body)).metadata
    except (pa.ArrowException, OSError) as error:
        told = "the object is no Parquet file"
        raise InvalidInput(f"{told}: {error}", logged=told) from error


def _parallel(read: Callable[[Partition], Any], partitions: Sequence[Partition]) -> Iterator[Any]:
    if len(partitions) < 2 or sum(partition.rows for partition in partitions) > _LARGE:
        return (read(partition) for partition in partitions)
    with ThreadPoolExecutor(_THREADS) as pool:
        return iter(list(pool.map(read, partitions)))


def _few(partitions: Iterable[Partition]) -> Iterator[list[Partition]]:
    """Yield partitions in groups of few enough rows to be read in parallel; a large one is alone."""
    some: list[Partition] = []
    for partition in partitions:
        if some and sum(p.rows for p in some) + partition.rows > _LARGE:
            yield some
            some = []
        some.append(partition)
    if some:
        yield some


def _rewritten(
    history: History, source: str, declared: Source, manifest: Manifest, left: Mapping[int, pa.Table], added: pa.Table
) -> tuple[Partition, ...]:
    weeks = numbers(added[AVAILABLE]) // WEEK_US
    changed = {*left, *np.unique(weeks).tolist()}
    partitions = {p.week: p for p in manifest.partitions}
    for week in sorted(changed):
        parts = [added.filter(pa.array(weeks == week))]
        if week in left:
            parts.append(left[week])
        elif week in partitions:
            parts.extend(history.rows(declared, source, [partitions[week]]))
        partitions[week] = history.store(source, declared, week, pa.concat_tables(parts))
    return tuple(partitions[week] for week in sorted(partitions))


def _came(declared: Source) -> list[str]:
    return [*declared.columns, AVAILABLE, ARRIVAL, KEY]


def _taken(rows: pa.Table, places: Any) -> pa.Table:
    return rows.take(pa.array(places, pa.int64()))


def _column(table: pa.Table, name: str, kind: ColumnType) -> Any:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, ARROW[kind])
    try:
        column = table[name].cast(ARROW[kind]).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        told = f"column {name} is no {kind}"
        raise InvalidInput(f"{told}: {error}", logged=told) from error
    if kind == "number":
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return column


def _unsigned(column: Any) -> npt.NDArray[np.uint64]:
    return np.asarray(column).astype(np.uint64)


def _keys_path(path: str) -> str:
    return path.removesuffix(".parquet") + ".keys"
