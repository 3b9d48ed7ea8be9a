"""Compaction: what ended is kept in forms that are quick to read and cost little.

*Points.* The many packed batches of a run become one keyed object (``archive``): when it has ended, and now and then
while it goes on.

*Runs.* Runs that ended are *settled*: a part of their experiment's snapshot tells them from then on (``parts``), so
that a search reads a few objects and not a million items. The steps, in this order:

1. read the pointer's version, then the open heads and the pointer, which must still be the same. Whatever
   settles a run changes the pointer, so what was read of the heads is as new as the snapshot;
2. write the objects of a new part (they are on trial, see ``maintenance``);
3. let the pointer name the part, unless the pointer changed. Rows that older parts have of its runs are *gone*;
4. move each head out of sight, unless the run was written to since it was read.

Until step 4 the head tells the run and hides the row, so it does not matter where this is interrupted: when it is done
again there is a newer row. A run that somebody writes to in between stays open. What two workers do at
once, one of them does in vain (step 3 fails).

Parts of about one size are merged when there are ``FANOUT`` of them, so that there are few; rows that are gone are left
out then. Parts of more than half the largest size stay as they are. Files for other tools (``tabular``) follow.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, chain
from typing import Final

from modelwright.artifacts import experiment_of
from modelwright.context import Call
from modelwright.errors import ConditionFailed, NotFound, Unavailable
from modelwright.tracking.archive import Archive, archived
from modelwright.tracking.columns import Part
from modelwright.tracking.entities import ACTIVE, FINAL, Point, Run
from modelwright.tracking.maintenance import MaintenanceStore, Trial, Upkeep
from modelwright.tracking.parts import Row, encode, row_of
from modelwright.tracking.points import distinct
from modelwright.tracking.reading import Place, Reader
from modelwright.tracking.store import Chunks, Held
from modelwright.tracking.tabular import Cabinet, Files, Filing

BUCKET: Final = "lake"
CHUNKS: Final = 64
"""A run with more packed batches than that is worth compacting."""
WRITES: Final = 4 * CHUNKS
"""A run that goes on is looked at when its metrics were raised more often than that."""
FANOUT: Final = 4
SMALLEST: Final = 64
WASTE: Final = 4
"""A part is written anew when more than this fraction of its rows is gone."""
PART_ROWS: Final = 100_000
PART_BYTES: Final = 48_000_000
"""Of both objects, compressed: what surely fits into memory when it is merged."""
GROUP_RUNS, GROUP_VALUES = 5_000, 1_000_000
"""What goes into one new part: so many runs, with so many metrics, params and tags."""
DATASETS_BYTES: Final = 256_000_000
"""So much of the schemas and profiles that a group read is held at once; rows beyond tell the datasets without."""
IDLE: Final = 30 * 86_400_000
"""A run that began so many milliseconds ago and never ended is settled too; a write opens it again."""
PATIENCE: Final = 86_400_000
"""So many milliseconds a few runs wait for more of them to end."""
KINDS = ("columns", "rows")
_ATTEMPTS = 3


@dataclass(frozen=True)
class Compacted:
    """What was done: how many runs were settled, how many parts there are now, and whether that is all."""

    settled: int
    parts: int
    done: bool


def compact_points(call: Call, run_id: str, upkeep: Upkeep) -> int:
    """Compact a run's points if they are in many packed batches; return how many of these became one."""
    store = MaintenanceStore(upkeep.tables, call, upkeep.blobs)
    if not store.many_chunks(run_id, CHUNKS):
        return 0
    with suppress(ConditionFailed):  # somebody else does it
        return _archive(call, run_id, store.chunks(run_id), upkeep)
    return 0


def compact(call: Call, experiment_id: str, upkeep: Upkeep, *, least: int = 1) -> Compacted:
    """Settle an experiment's ended runs and merge its parts, as far as time allows; what is left is done next time.

    Args:
        call: whose doing it is.
        experiment_id: the experiment.
        upkeep: what it is done with.
        least: fewer runs are left alone, unless they have waited for long.

    Raises:
        Unavailable: it fails although nobody else changes anything, as when an object is lost.
    """
    settled, versions = 0, set[int]()
    for _ in range(_ATTEMPTS):
        compaction = Compaction(call, experiment_id, upkeep)
        versions.add(compaction.version)
        try:
            for count in compaction.settle(least):
                settled += count
            compaction.merge()
            compaction.refresh()
        except ConditionFailed as failure:  # somebody else was quicker: see what is left to do
            reason = failure
        else:
            return Compacted(settled, len(compaction.parts), upkeep.spare())
    if len(versions) == 1:
        raise Unavailable(f"the snapshot of experiment {experiment_id} can be neither read nor changed") from reason
    return Compacted(settled, len(compaction.parts), done=False)


class Compaction:
    """One experiment's snapshot while it is worked on; ``ConditionFailed`` when somebody else works on it too.

    Attributes:
        parts: the parts, as they were read or written last.
        version: the pointer's version as it was read or written last.
    """

    def __init__(self, call: Call, experiment_id: str, upkeep: Upkeep) -> None:
        self._call = call
        self._experiment_id = experiment_id
        self._upkeep = upkeep
        self._store = MaintenanceStore(upkeep.tables, call, upkeep.blobs)
        self._reader = Reader(upkeep.blobs, call.workspace)
        self._cabinet = Cabinet(call.workspace, experiment_id, upkeep.tabular, upkeep.blobs)
        self.parts, self.version = self._store.parts(experiment_id)
        self._files, self._files_v = self._store.files(experiment_id) if self.version else ({}, 0)

    # --- settling -------------------------------------------------------------------------

    def settle(self, least: int) -> Iterator[int]:
        """Leave the runs that ended to the snapshot, group by group; yield how many. Compact long ones that go on."""
        overview = self._store.overview(self._experiment_id)
        if overview.v != self.version:
            raise ConditionFailed("the snapshot changed while the experiment's runs were read", ())
        now = _milliseconds(self._upkeep.wall())
        ended = [held for held in overview.held if ripe(held.run, now)]
        waited = any((held.run.end_time or held.run.start_time) < now - PATIENCE for held in ended)
        for group in _groups(ended) if waited or len(ended) >= least else ():
            if not self._upkeep.spare():
                return
            self._add([held.run for held in group])
            yield self._store.settle(group)
        for held in overview.held:
            if int(held.standing.hot["n"]) > WRITES and not ripe(held.run, now) and self._upkeep.spare():
                compact_points(self._call, held.run.run_id, self._upkeep)

    def drop(self, run_ids: Collection[str]) -> None:
        """Let the snapshot forget some runs, and fail whoever is about to settle them."""
        self._switch(self._without(run_ids), self._files)

    def _add(self, runs: Sequence[Run]) -> None:
        name, datasets = self._upkeep.make_id(), self._store.datasets(runs, DATASETS_BYTES)
        rows = [row_of(run, datasets) for run in runs]
        points = ((run.run_id, point) for run in runs for point in self._points(run.run_id))
        filing = self._cabinet.fresh(name, runs, points)
        parts = self._without({run.run_id for run in runs})
        self._replace(name, rows, filing, parts, self._files)

    def _points(self, run_id: str) -> Iterator[Point]:
        """Yield a run's points, each once; where there are many, compact them first."""
        found = self._store.chunks(run_id)
        if len(found.chunks) > CHUNKS or (found.chunks and found.archive):
            _archive(self._call, run_id, found, self._upkeep)
            found = self._store.chunks(run_id)
        with _replaced(self._store, run_id, found):
            points = found.points(self._upkeep.blobs)
            yield from distinct(points) if found.chunks else points

    def _without(self, run_ids: Collection[str]) -> list[Part]:
        """Return the parts, where the rows of some runs are gone."""
        heads = self._reader.heads([Place(self._experiment_id, part) for part in self.parts])
        found = []
        for part, head in zip(self.parts, heads, strict=True):
            gone = {row for row in range(len(head.runs)) if head.runs[row] in run_ids}
            found.append(part.model_copy(update={"gone": tuple(sorted(gone.union(part.gone)))}) if gone else part)
        return found

    # --- merging --------------------------------------------------------------------------

    def merge(self) -> None:
        """Merge parts as long as there are several of one size, or many rows that are gone."""
        while self._upkeep.spare() and (group := next_merge(self.parts)):
            ids, name = {part.id for part in group}, self._upkeep.make_id()
            filing = self._cabinet.merged(name, [self._known(part) for part in group])
            parts = [part for part in self.parts if part.id not in ids]
            files = {part: of for part, of in self._files.items() if part not in ids}
            self._replace(name, list(self._rows(group)), filing, parts, files)

    def refresh(self) -> None:
        """Write the files again that tell of runs which are gone."""
        for part in self.parts:
            if self._files.get(part.id, Files()).gone != len(part.gone) and self._upkeep.spare():
                filing = self._cabinet.merged(self._upkeep.make_id(), [self._known(part)], len(part.gone))
                self._replace("", (), filing, self.parts, {**self._files, part.id: filing.files})

    def _known(self, part: Part) -> tuple[Files, Collection[str]]:
        """Return the files of a part, and the runs that are gone from it."""
        (head,) = self._reader.heads([Place(self._experiment_id, part)])
        return self._files.get(part.id, Files()), {head.runs[row] for row in part.gone}

    def _rows(self, group: Sequence[Part]) -> Iterator[Row]:
        for part in group:
            gone = set(part.gone)
            rows = self._reader.rows(Place(self._experiment_id, part))
            yield from (row for number, row in enumerate(rows) if number not in gone)

    # --- writing --------------------------------------------------------------------------

    def _replace(
        self, name: str, rows: Sequence[Row], filing: Filing, parts: Sequence[Part], files: Mapping[str, Files]
    ) -> None:
        """Make a part of rows, if there are any, and let it be there beside others, with its files."""
        bodies = dict(filing.bodies)
        if rows:
            encoded = encode(rows)
            part = encoded.part.model_copy(update={"id": name})
            bodies |= {self._key(part, "columns"): encoded.columns, self._key(part, "rows"): encoded.rows}
            parts, files = (*parts, part), {**files, name: filing.files}
        self._announce(parts, files)
        for key, body in bodies.items():
            self._upkeep.blobs.put(BUCKET, key, body)
        self._switch(parts, files)

    def _announce(self, parts: Sequence[Part], files: Mapping[str, Files]) -> None:
        """Put all objects on trial that come or go."""
        known, wanted = ({self._key(p, kind): p.id for p in each for kind in KINDS} for each in (self.parts, parts))
        places = {key: name for key, name in (known | wanted).items() if not (key in known and key in wanted)}
        trials = [
            Trial(names=places, holder=self._store.pointer_key(self._experiment_id)),
            Trial(
                names={key: key for key in sorted(_keys(self._files) ^ _keys(files))},
                holder=self._store.files_key(self._experiment_id),
            ),
        ]
        self._store.put_on_trial([trial for trial in trials if trial.names], self._upkeep.wall())

    def _switch(self, parts: Sequence[Part], files: Mapping[str, Files]) -> None:
        """Let the snapshot be of these parts, unless it was collected; remove what other tools would find twice."""
        writes = [
            self._store.put_parts(self._experiment_id, parts, self.version),
            self._store.exists(self._experiment_id),
        ]
        changed, going = files != self._files, _keys(self._files) - _keys(files)
        if changed:
            writes.append(self._store.put_files(self._experiment_id, files, self._files_v))
        self._upkeep.tables.write(writes)
        self.parts, self.version = tuple(parts), self.version + 1
        self._files, self._files_v = dict(files), self._files_v + changed
        if going:
            self._upkeep.blobs.delete_many(BUCKET, sorted(going))

    def _key(self, part: Part, kind: str) -> str:
        return part.key(self._call.workspace, self._experiment_id, kind)


def ripe(run: Run, now: int) -> bool:
    """Say whether a run is to be settled (``now`` in milliseconds): it ended, was deleted, or was forgotten."""
    return run.status in FINAL or run.lifecycle_stage != ACTIVE or run.start_time < now - IDLE


def next_merge(parts: Sequence[Part]) -> list[Part]:
    """Return parts that are to become one; none when all is well."""
    for part in parts:
        if WASTE * len(part.gone) > part.rows:
            return [part]
    levels: dict[int, list[Part]] = defaultdict(list)
    for part in sorted(parts, key=_weight):
        if _weight(part) <= 1 / 2:
            levels[_level(part)].append(part)
    for level in sorted(levels):
        if len(levels[level]) >= FANOUT:
            weights = accumulate(map(_weight, levels[level]))
            return [part for part, weight in zip(levels[level], weights, strict=True) if weight <= 1]
    return []


def sweep(call: Call, upkeep: Upkeep) -> int:
    """Remove the objects whose hour has passed and that nothing names; return how many."""
    store, removed = MaintenanceStore(upkeep.tables, call, upkeep.blobs), 0
    for key, trial in store.due_trials(upkeep.wall()):
        if not upkeep.spare():
            break
        if unnamed := store.unnamed(trial):
            upkeep.blobs.delete_many(BUCKET, unnamed)
        store.close_trial(key)
        removed += len(unnamed)
    return removed


def _level(part: Part) -> int:
    """Return how often the smallest size grew by ``FANOUT`` to this one."""
    level, size = 0, FANOUT * SMALLEST
    while part.rows - len(part.gone) >= size:
        level, size = level + 1, size * FANOUT
    return level


def _weight(part: Part) -> float:
    """Return how much of the largest size a part has, in rows or bytes."""
    return max((part.rows - len(part.gone)) / PART_ROWS, (part.bytes_columns + part.bytes_rows) / PART_BYTES)


def _groups(ended: Sequence[Held]) -> Iterator[list[Held]]:
    """Yield the runs of one new part each."""
    group: list[Held] = []
    values = 0
    for held in ended:
        more = len(held.run.metrics) + len(held.run.params) + len(held.run.tags)
        if group and (len(group) == GROUP_RUNS or values + more > GROUP_VALUES):
            yield group
            group, values = [], 0
        group.append(held)
        values += more
    if group:
        yield group


def _archive(call: Call, run_id: str, found: Chunks, upkeep: Upkeep) -> int:
    """Write a run's packed batches, and what was compacted before, into one object; return how many there were.

    Raises:
        ConditionFailed: somebody else compacts them too, or the run was collected.
    """
    store = MaintenanceStore(upkeep.tables, call, upkeep.blobs)
    known = Archive.read(found.archive) if found.archive else None
    key = f"tracking/{call.workspace}/points/{experiment_of(run_id)}/{run_id}/{upkeep.make_id()}"
    batches = chain((chunk.packed for chunk in found.chunks), known.blocks(upkeep.blobs) if known else ())
    with _replaced(store, run_id, found):
        archive, body = archived(batches, key)
    names = {name: name for name in (key, *([known.object] if known else []))}
    store.put_on_trial([Trial(names=names, holder=store.archive_key(run_id))], upkeep.wall())
    upkeep.blobs.put(BUCKET, key, body)
    upkeep.tables.write(store.put_archive(run_id, archive, int(found.archive["v"]) if found.archive else 0))
    store.drop_chunks(run_id, found.chunks)
    return len(found.chunks)


@contextmanager
def _replaced(store: MaintenanceStore, run_id: str, found: Chunks) -> Iterator[None]:
    """Turn a missing object into ``ConditionFailed`` if somebody has replaced or collected it meanwhile."""
    try:
        yield
    except NotFound as error:
        if store.chunks(run_id).archive == found.archive:
            raise
        raise ConditionFailed(f"the points of {run_id} were moved while they were read", ()) from error


def _keys(files: Mapping[str, Files]) -> set[str]:
    return {key for of in files.values() for key in of.keys}


def _milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
