"""A history in memory, an engine over it, and an oracle that looks at every version of every row."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from modelwright.adapters.memory import MemoryBlobs, MemoryTables
from modelwright.features import offline
from modelwright.features.aggregates import NEVER, Rank, cells_of, contribution, finished, merged, span
from modelwright.features.history import ARROW, Folded, History, canonical, fold
from modelwright.features.layout import micros, row_key, spelled
from modelwright.features.plan import service_of
from modelwright.project import Project, Source, View

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Version:
    """What the oracle knows of one version of a row."""

    values: Row
    key: int
    event: int | None
    available: int
    arrival: str


class Offline:
    """Sources' histories in memory, and every version that ever came, for the oracle."""

    engine = "arrow"

    def __init__(self, project: Project) -> None:
        self.project, self.workspace = project, "w"
        self.tables, self.blobs = MemoryTables(), MemoryBlobs()
        self.cache: dict[str, Any] = {}
        self.versions: dict[str, dict[tuple[int, int, str], Version]] = {name: {} for name in project.sources}

    def history(self, cache: dict[str, Any] | None = None) -> History:
        return History(cache={} if cache is None else cache, **self.stores())

    def stores(self) -> dict[str, Any]:
        return {"blobs": self.blobs, "tables": self.tables, "workspace": self.workspace}

    def put(self, source: str, rows: Sequence[Row], arrival: str, now: datetime = EPOCH) -> Folded:
        declared = self.project.sources[source]
        table = pa.table({n: pa.array([r.get(n) for r in rows], ARROW[c.type]) for n, c in declared.columns.items()})
        history = self.history(self.cache)
        manifest = history.manifest(source)
        folded = fold(
            history, source, declared, manifest, canonical(declared, table, now_us=micros(now), arrival=arrival)
        )
        self.tables.write([history.replacement(source, manifest, folded.partitions)])
        for row in rows:
            version = _version(declared, row, arrival, now)
            self.versions[source][version.key, version.available, arrival] = version
        return folded

    def ask(self, rows: Sequence[Row], features: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Return what the engine says; the rows' time is ``event_timestamp``."""
        found = self.asked(self.request(rows, features), features, **options)
        return list(found.select(list(features)).to_pylist())

    def asked(self, table: pa.Table, features: Sequence[str], **options: Any) -> pa.Table:
        options = {"engine": self.engine, "cache": self.cache, **self.stores(), **options}
        return offline.get_historical_features(self.project, table, features, **options)

    def request(self, rows: Sequence[Row], features: Sequence[str]) -> pa.Table:
        service = service_of(self.project, features)
        return pa.table({n: pa.array([r[n] for r in rows], ARROW[kind]) for n, kind in service.request.items()})

    def oracle(self, rows: Sequence[Row], features: Sequence[str], *, available: bool = True) -> list[dict[str, Any]]:
        ends = {name: _ends(versions.values()) for name, versions in self.versions.items()}
        return [{f: self._one(f, row, ends, available=available) for f in features} for row in rows]

    def _one(self, feature: str, row: Row, known: Mapping[str, Mapping[Version, int]], *, available: bool) -> Any:
        name, _, wanted = feature.partition(":")
        view = self.project.views[name]
        source = self.project.sources[view.source]
        if row["event_timestamp"] is None or any(row[key] is None for key in view.entity):
            return None
        time, entity = micros(row["event_timestamp"]), _entity(view, row)
        ends = {v: until for v, until in known[view.source].items() if _entity(view, v.values) == entity}
        if not available:
            ends = {v: NEVER for v, until in ends.items() if until == NEVER}
        if wanted in view.features:
            return _latest(view, wanted, ends, time, available=available)
        return _rolled(view, source, wanted, ends, time, available=available)


def _version(declared: Source, row: Row, arrival: str, now: datetime) -> Version:
    said = row.get(declared.available_at) if declared.available_at else None
    event = row[declared.event_time]
    values = {name: row.get(name) for name in declared.columns}
    key = row_key([values[name] for name in declared.key])
    return Version(values, key, event and micros(event), micros(said or now), arrival)


def _entity(view: View, values: Row) -> str | None:
    parts = [values[key] for key in view.entity]
    return None if None in parts else spelled(parts)


def _ends(versions: Collection[Version]) -> dict[Version, int]:
    """Return until when each version counts."""
    return {version: _until(version, versions) for version in versions}


def _until(version: Version, versions: Collection[Version]) -> int:
    later = [
        other.available
        for other in versions
        if other.key == version.key and (other.available, other.arrival) > (version.available, version.arrival)
    ]
    return min(later, default=NEVER)


def _latest(view: View, wanted: str, ends: Mapping[Version, int], time: int, *, available: bool) -> Any:
    candidates = [
        v
        for v, until in ends.items()
        if v.event is not None
        and v.event <= time
        and (not view.ttl_us or v.event >= time - view.ttl_us)
        and (not available or v.available <= time < until)
    ]
    best = max(candidates, key=lambda v: (v.event, v.available, v.arrival, v.key), default=None)
    return best.values[wanted] if best else None


def _rolled(view: View, source: Source, wanted: str, ends: Mapping[Version, int], time: int, *, available: bool) -> Any:
    aggregate, window = next((a, w) for name, a, w in view.aggregated() if name == wanted)
    tile = time // view.tile_us
    inside = []
    for version, until in ends.items():
        if version.event is None and (view.by == "event_time" or not available):
            continue
        known = version.available if available else version.event
        assert known is not None
        x = version.event if view.by == "event_time" else known
        assert x is not None
        low, high = span(view, window, x, known, until)
        if low <= tile <= high:
            inside.append(version)
    states = [
        merged(
            cell.kind,
            [contribution(cell, source, v.values, Rank(v.event or 0, v.available, v.arrival, v.key)) for v in inside],
        )
        for cell in cells_of(aggregate)
    ]
    return finished(aggregate, source, states)
