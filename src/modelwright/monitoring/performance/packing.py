"""Packs the prediction log: online requests write an object each, and whoever reads a day would read them all.

Of a day, objects that are small and were left alone for an hour are written together into one below ``packed/`` and
then removed; small packed ones among them, so that few remain. Rows stay as they are, and where they are: below the
same day of the same model, where whoever erases somebody finds and rewrites them like the others. Whoever is killed
between both leaves rows that lie twice, which readers count once (``logbook``); the next round goes on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

import pyarrow as pa

from modelwright.context import Call
from modelwright.errors import NotFound
from modelwright.monitoring.performance.logbook import OF_LOG, PACKED, THREADS, folder, in_order, once, packed, stacked
from modelwright.monitoring.performance.turns import in_turn
from modelwright.monitoring.reading import parquet_bytes, parquet_table
from modelwright.project import load_current
from modelwright.storage import Blobs, Listed, Tables, Version

AGE = timedelta(hours=1)
"""So long an object is left alone: a request that is sent again soon finds what was answered under its own name."""
LEAST = 16
"""Fewer small objects of a day are not worth the while."""
SMALL = 4 << 20
"""Larger objects, in bytes, are left as they are."""
MOST_AT_ONCE = 4_000
BYTES_AT_ONCE = 16 << 20
"""Of objects that are written together; so much is in memory, and what comes of unpacking it."""
MOST = 10_000
"""Objects in one go; the next goes on."""
_NEEDED = pa.schema([*OF_LOG, pa.field("mode", pa.string())])
_FEATURE = "feature_"


def pack(call: Call, *, tables: Tables, blobs: Blobs, most: int = MOST) -> int:
    """Pack the logs of all models; return how many objects were. Without a project there is nothing to do."""
    try:
        project = load_current(tables, call.workspace)
    except NotFound:
        return 0
    done = 0

    def of_model(name: str) -> None:
        nonlocal done
        done += pack_model(call, name, blobs=blobs, most=most - done)

    in_turn(project.models, of_model)
    return done


def pack_model(call: Call, model: str, *, blobs: Blobs, most: int = MOST) -> int:
    """Pack the log of a model, the oldest days first; return how many objects were packed."""
    done = 0
    listed = blobs.list("lake", folder(call.workspace, model))
    for prefix, of_day in groupby(listed, key=lambda one: one.key.removesuffix(_name(one.key))):
        loose = [one for one in of_day if one.size < SMALL and _rested(one, call.now)]
        if len(loose) < LEAST:
            continue
        for together in _together(in_order(loose)):
            if done >= most:
                return done
            done += _packed(blobs, prefix, {one.key: one.etag for one in together})
    return done


# --- private -----------------------------------------------------------------------------


@dataclass
class _Group:
    """Objects whose columns can stand in one table without a value becoming another.

    Attributes:
        kinds: what a column holds; None while nobody knows, because it was empty.
    """

    kinds: dict[str, str | None]
    keys: list[str] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)

    def takes(self, kinds: dict[str, str | None]) -> bool:
        if self.kinds.keys() != kinds.keys():
            return False
        return all(None in (kind, self.kinds[name]) or kind == self.kinds[name] for name, kind in kinds.items())

    def add(self, key: str, table: pa.Table, kinds: dict[str, str | None]) -> None:
        self.kinds = {name: kind or kinds[name] for name, kind in self.kinds.items()}
        self.keys.append(key)
        self.tables.append(table)


def _name(key: str) -> str:
    """Return the part of a key below its day."""
    end = key.rpartition("/")[2]
    return PACKED + end if packed(key) else end


def _rested(one: Listed, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(one.modified) <= now - AGE
    except ValueError:  # a bucket in memory counts
        return True


def _together(listed: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Yield what is packed at once."""
    some: list[Listed] = []
    size = 0
    for one in listed:
        if len(some) == MOST_AT_ONCE or size + one.size > BYTES_AT_ONCE:
            yield some
            some, size = [], 0
        some.append(one)
        size += one.size
    yield some


def _packed(blobs: Blobs, prefix: str, etags: Mapping[str, str]) -> int:
    """Write objects together and remove them; those that cannot stand in one table stay apart.

    An erasure that rewrites them between reading and writing is over before it could find what is written here. So
    they are looked at again after that: if one is another by then, what was written is removed for good.
    """
    done = 0
    for group in _groups(blobs, list(etags)):
        if len(group.keys) < 2:
            continue
        rows = once(stacked(group.tables, _NEEDED), [table.num_rows for table in group.tables])
        name = hashlib.sha256("\n".join(sorted(group.keys)).encode()).hexdigest()[:32]
        key = f"{prefix}{PACKED}{name}.parquet"
        version = blobs.put("lake", key, parquet_bytes(rows.combine_chunks()))
        now = {one.key: one.etag for one in blobs.list("lake", prefix)}
        if any(now.get(one) != etags[one] for one in group.keys):
            blobs.delete_versions("lake", [Version(key, version, newest=True)])
            continue
        blobs.delete_many("lake", group.keys)
        done += len(group.keys)
    return done


def _groups(blobs: Blobs, keys: Sequence[str]) -> list[_Group]:
    groups: list[_Group] = []
    with ThreadPoolExecutor(THREADS) as pool:
        for key, table in zip(keys, pool.map(lambda key: _read(blobs, key), keys), strict=True):
            if table is None:
                continue
            kinds = {column.name: _kind(column) for column in table.schema}
            group = next((one for one in groups if one.takes(kinds)), None)
            if group is None:
                groups.append(group := _Group(kinds))
            group.add(key, table, kinds)
    return groups


def _read(blobs: Blobs, key: str) -> pa.Table | None:
    """Return the rows of an object; None if somebody removed it meanwhile."""
    try:
        table = parquet_table(blobs.get("lake", key).body).replace_schema_metadata(None)
    except NotFound:
        return None
    if packed(key):
        return table
    request = pa.array([_name(key).removesuffix(".parquet")] * table.num_rows, pa.string())
    table = table.drop_columns(["request_id"]) if "request_id" in table.column_names else table
    return table.append_column("request_id", request)


def _kind(column: pa.Field) -> str | None:
    """Return what a column holds; numbers that a model was fed are one kind, as whoever reads them takes them."""
    if pa.types.is_null(column.type):
        return None
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
    return "number" if number and column.name.startswith(_FEATURE) else str(column.type)
