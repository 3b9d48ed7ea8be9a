"""The offline store: every row of a source once, in immutable Parquet partitions by week of availability.

A partition's object is named by its content, and the source's manifest, which is replaced under a
version, says which objects count: readers never see half a change, and equal rows give equal bytes in
whatever order they came. Beside its columns a row has ``_key`` (64 bits of its source's key),
``_available`` (microseconds) and ``_arrival``; of rows with one key the newest by availability, then
arrival, is kept.

So a correction takes the place of what it corrects, at its own availability: a read as of an earlier time
finds neither of the two, and does not see what was served then.
"""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from modelwright.features.layout import WEEK_US, partition_path, row_key, source_key
from modelwright.project import ColumnType, Source
from modelwright.storage import Absent, Blobs, Is, Put, Tables

Ints = npt.NDArray[np.int64]
KEY, AVAILABLE, ARRIVAL = "_key", "_available", "_arrival"
TIME = pa.timestamp("us", tz="UTC")
ARROW: dict[ColumnType, Any] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": TIME,
}
_CACHED = 160
_THREADS = 8


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
    """

    def __init__(self, *, blobs: Blobs, tables: Tables, workspace: str, cache: dict[str, Any]) -> None:
        self._blobs = blobs
        self._tables = tables
        self._workspace = workspace
        self._decoded = kept(cache, "features.partitions")
        self._keys = kept(cache, "features.keys")

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

    def rows(self, declared: Source, source: str, partitions: Sequence[Partition]) -> list[pa.Table]:
        """Return the rows of partitions as declared now; what is not cached is read in parallel."""
        missing = [p for p in partitions if (source, p.digest) not in self._decoded]
        for partition, table in zip(missing, _parallel(lambda p: self._read(source, p), missing), strict=True):
            remember(self._decoded, (source, partition.digest), table, max(_CACHED, len(partitions)))
        return [conformed(declared, self._decoded[source, p.digest]) for p in partitions]

    def keys(self, source: str, partitions: Sequence[Partition]) -> list[npt.NDArray[np.uint64]]:
        """Return the sorted row keys of partitions."""
        missing = [p for p in partitions if (source, p.digest) not in self._keys]
        for partition, found in zip(missing, _parallel(lambda p: self._read_keys(source, p), missing), strict=True):
            remember(self._keys, (source, partition.digest), found, max(_CACHED, len(partitions)))
        return [self._keys[source, p.digest] for p in partitions]

    def store(self, source: str, declared: Source, week: int, rows: pa.Table) -> Partition:
        """Write a week's rows and return their partition; equal rows in any order are the same object."""
        order = np.lexsort((numbers(rows[KEY]), numbers(rows[AVAILABLE])))
        rows = rows.take(pa.array(order)).combine_chunks()
        body = parquet(rows)
        digest = hashlib.sha256(body).hexdigest()
        keys = np.sort(_unsigned(rows[KEY]))
        path = partition_path(self._workspace, source, week, digest)
        self._blobs.put("lake", _keys_path(path), keys.astype("<u8").tobytes())
        self._blobs.put("lake", path, body)
        remember(self._decoded, (source, digest), rows)
        remember(self._keys, (source, digest), keys)
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

    def _read(self, source: str, partition: Partition) -> pa.Table:
        path = partition_path(self._workspace, source, partition.week, partition.digest)
        return decoded(self._blobs.get("lake", path).body).combine_chunks()

    def _read_keys(self, source: str, partition: Partition) -> npt.NDArray[np.uint64]:
        path = partition_path(self._workspace, source, partition.week, partition.digest)
        return np.frombuffer(self._blobs.get("lake", _keys_path(path)).body, dtype="<u8")


@dataclass(frozen=True)
class Folded:
    """What putting rows into a source's history changed.

    Attributes:
        partitions: of the source now, by week.
        incoming: all rows that came.
        added: of them, those that are now in the store.
        superseded: versions of rows, in the store before or among those that came, that lost to a newer one.
        winners: those newer ones, in the same order.
    """

    partitions: tuple[Partition, ...]
    incoming: pa.Table
    added: pa.Table
    superseded: pa.Table
    winners: pa.Table


def fold(history: History, source: str, declared: Source, manifest: Manifest, rows: pa.Table) -> Folded:
    """Put canonical rows (``canonical``) into a source's partitions, writing those that change.

    Nothing counts before the manifest is replaced.
    """
    incoming = rows = rows.select(_names(declared))
    rows, lost, won = newest(incoming)
    keep = np.ones(rows.num_rows, dtype=bool)
    keys = _unsigned(rows[KEY])
    order = np.argsort(keys, kind="stable")
    left: dict[int, pa.Table] = {}
    losers, winners = [lost], [won]
    for partition, theirs in zip(manifest.partitions, history.keys(source, manifest.partitions), strict=True):
        place = np.searchsorted(theirs, keys)
        there = theirs[np.minimum(place, len(theirs) - 1)] == keys
        if not there.any():
            continue
        (old,) = history.rows(declared, source, [partition])
        stored = _unsigned(old[KEY])
        match = np.flatnonzero(np.isin(stored, keys[there]))
        mine = order[np.searchsorted(keys[order], stored[match])]
        newer, same = _compared(rows, mine, old, match)
        keep[mine[~newer]] = False
        older = ~newer & ~same
        losers.extend((_taken(old, match[newer]), _taken(rows, mine[older])))
        winners.extend((_taken(rows, mine[newer]), _taken(old, match[older])))
        if newer.any():
            mask = np.ones(old.num_rows, dtype=bool)
            mask[match[newer]] = False
            left[partition.week] = old.filter(pa.array(mask))
    added = rows.filter(pa.array(keep))
    partitions = _rewritten(history, source, declared, manifest, left, added)
    return Folded(partitions, incoming, added, pa.concat_tables(losers), pa.concat_tables(winners))


def empty(declared: Source) -> pa.Table:
    """Return a stored table without rows."""
    schema = {name: ARROW[column.type] for name, column in declared.columns.items()}
    return pa.schema({**schema, AVAILABLE: pa.int64(), ARRIVAL: pa.string(), KEY: pa.uint64()}).empty_table()


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


def newest(rows: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the newest row of each key (by availability, arrival, then place), and the others beside theirs."""
    keys = _unsigned(rows[KEY])
    order = np.lexsort((arrival_ranks(rows), numbers(rows[AVAILABLE]), keys))
    ends = np.ones(len(order), dtype=bool)
    ends[:-1] = keys[order][1:] != keys[order][:-1]
    if ends.all():
        return rows, rows.slice(0, 0), rows.slice(0, 0)
    last = np.flatnonzero(ends)
    others = np.flatnonzero(~ends)
    winner = last[np.searchsorted(last, others)]
    return _taken(rows, np.sort(order[last])), _taken(rows, order[others]), _taken(rows, order[winner])


def arrival_ranks(rows: pa.Table) -> Ints:
    """Return the place of each row's arrival among all of them."""
    column = rows[ARRIVAL].combine_chunks()
    encoded = pc.dictionary_encode(column if isinstance(column, pa.Array) else pa.array([], pa.string()))
    names = encoded.dictionary.to_pylist()
    place = {name: n for n, name in enumerate(sorted(names))}
    ranks = np.array([place[name] for name in names], dtype=np.int64)
    return cast(Ints, ranks[np.asarray(encoded.indices)]) if names else ranks


def conformed(declared: Source, table: pa.Table) -> pa.Table:
    """Return stored rows with the columns declared now: those declared since are null."""
    names = _names(declared)
    if table.column_names == names:
        return table
    for name in names:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, ARROW[declared.columns[name].type]))
    return table.select(names)


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


def decoded(body: bytes) -> pa.Table:
    """Return the table that a Parquet file holds; raises ``InvalidInput`` when it is none."""
    try:
        return pq.read_table(pa.BufferReader(body), use_threads=False)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"the object is no Parquet file: {error}") from error


def kept(cache: dict[str, Any], name: str) -> "OrderedDict[Any, Any]":
    """Return a named part of a function's cache."""
    part: OrderedDict[Any, Any] = cache.setdefault(name, OrderedDict())
    return part


def remember(part: "OrderedDict[Any, Any]", key: Any, value: Any, limit: int = _CACHED) -> None:
    """Put a value into a part of the cache and drop the oldest over the limit."""
    part[key] = value
    while len(part) > limit:
        part.popitem(last=False)


def _parallel(read: Callable[[Partition], Any], partitions: Sequence[Partition]) -> Iterator[Any]:
    if len(partitions) < 2:
        return (read(partition) for partition in partitions)
    with ThreadPoolExecutor(_THREADS) as pool:
        return iter(list(pool.map(read, partitions)))


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
        rows = pa.concat_tables([part.select(_names(declared)) for part in parts])
        if rows.num_rows:
            partitions[week] = history.store(source, declared, week, rows)
        else:
            del partitions[week]
    return tuple(partitions[week] for week in sorted(partitions))


def _names(declared: Source) -> list[str]:
    return [*declared.columns, AVAILABLE, ARRIVAL, KEY]


def _taken(rows: pa.Table, places: Any) -> pa.Table:
    return rows.take(pa.array(places, pa.int64()))


def _compared(
    rows: pa.Table, mine: Ints, old: pa.Table, theirs: Ints
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say which of our rows are newer than theirs, and which are the same version."""
    ours, stored = numbers(rows[AVAILABLE])[mine], numbers(old[AVAILABLE])[theirs]
    arrivals = [_taken(rows.select([ARRIVAL]), mine), _taken(old.select([ARRIVAL]), theirs)]
    both = arrival_ranks(pa.concat_tables(arrivals))
    came, before = both[: len(mine)], both[len(mine) :]
    newer = (ours > stored) | ((ours == stored) & (came > before))
    return newer, (ours == stored) & (came == before)


def _column(table: pa.Table, name: str, kind: ColumnType) -> Any:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, ARROW[kind])
    try:
        column = table[name].cast(ARROW[kind]).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"column {name} is no {kind}: {error}") from error
    if kind == "number":
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return column


def _unsigned(column: Any) -> npt.NDArray[np.uint64]:
    return np.asarray(column).astype(np.uint64)


def _keys_path(path: str) -> str:
    return path.removesuffix(".parquet") + ".keys"
