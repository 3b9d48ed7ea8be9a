"""What only ``maintain`` reads and writes of tracking's state, beside what everybody does (``store``).

==================  ================================  ============================  ====================================
entity              pk                                sk                            access pattern
==================  ================================  ============================  ====================================
objects on trial    ``WS#<ws>#OBJECTS``               ``<due>#<hash>``              those that are due
files               ``WS#<ws>#EXPERIMENT#<id>``       ``FILES``                     get
known workspace     ``WORKSPACES``                    ``<ws>``                      list; where to go on
==================  ================================  ============================  ====================================

An object of the lake counts when an item, its *holder*, names it. Names are unique, and an object is put on trial
before it is written, and again before its holder lets go of it. An hour later nobody can still be about to name it,
or be reading it because of what the holder said before: then it is removed, unless it is named. So nothing has to
be cleaned up after a crash, wherever that was, and no reader loses what it reads.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, TypeAdapter

from modelwright.errors import ConditionFailed
from modelwright.storage import (
    TRANSACTION_LIMIT,
    Absent,
    Anything,
    Blobs,
    Check,
    Delete,
    Exists,
    Is,
    Key,
    Put,
    Tables,
    Write,
    every,
)
from modelwright.tracking.archive import Archive
from modelwright.tracking.latest import METRICS
from modelwright.tracking.store import TABLE, Chunk, Held, TrackingStore
from modelwright.tracking.tabular import Files, Tabular

GRACE = timedelta(hours=1)
"""Longer than a function lives, which is 15 minutes."""
_WORKSPACES, _FILES = "WORKSPACES", "FILES"
_TRANSACTION_BYTES = 2_000_000


class Trial(BaseModel):
    """Objects that are removed unless an item names them.

    Attributes:
        names: by the object's key, what must be found in the holder.
        holder: the item's key.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    names: dict[str, str]
    holder: Key


_files: TypeAdapter[dict[str, Files]] = TypeAdapter(dict[str, Files])


@dataclass(frozen=True)
class Upkeep:
    """What maintenance works with.

    Attributes:
        tables: tracking's table.
        blobs: the lake.
        tabular: writes files for other tools.
        wall: the wall clock.
        make_id: gives names that nothing ever had.
        spare: whether there is time left to begin something.
    """

    tables: Tables
    blobs: Blobs
    tabular: Tabular
    wall: Callable[[], datetime]
    make_id: Callable[[], str]
    spare: Callable[[], bool]


class MaintenanceStore(TrackingStore):
    """Reads of one workspace, and the writes of maintenance."""

    # --- objects --------------------------------------------------------------------------

    def put_on_trial(self, trials: Sequence[Trial], wall: datetime) -> None:
        """Put objects on trial that are about to be written, or about to lose their holder."""
        items = []
        for trial in trials:
            doc = trial.model_dump_json()
            sk = f"{(wall + GRACE).isoformat()}#{hashlib.sha256(doc.encode()).hexdigest()[:16]}"
            items.append({"pk": self._pk("OBJECTS"), "sk": sk, "doc": doc})
        self._tables.write_many(TABLE, items)

    def due_trials(self, wall: datetime) -> Iterator[tuple[Key, Trial]]:
        """Yield the trials whose time has come."""
        for item in every(self._tables, TABLE, self._pk("OBJECTS"), start="0", end=wall.isoformat()):
            yield Key(item["pk"], item["sk"]), Trial.model_validate_json(item["doc"])

    def unnamed(self, trial: Trial) -> list[str]:
        """Return the keys of the objects that their holder does not name."""
        holder = self._tables.get(TABLE, trial.holder) or {}
        said = [value for value in holder.values() if isinstance(value, str)]
        return [key for key, name in trial.names.items() if not any(name in text for text in said)]

    def close_trial(self, key: Key) -> None:
        """Forget a trial."""
        self._tables.write([Delete(TABLE, key, Anything())])

    def exists(self, experiment_id: str) -> Write:
        """Return the check that an experiment was not collected."""
        return Check(TABLE, self._experiment_key(experiment_id), Exists())

    # --- snapshots ------------------------------------------------------------------------

    def settle(self, runs: Sequence[Held]) -> int:
        """Leave open runs to the snapshot, which must have them; return to how many nobody had written meanwhile."""
        done, together, size, count = 0, list[list[Write]](), 0, 0
        for writes in map(self.settling, runs):
            weight = len(repr(writes[0]))
            if count + len(writes) > TRANSACTION_LIMIT or size + weight > _TRANSACTION_BYTES:
                done += self._write_each(together)
                together, size, count = [], 0, 0
            together.append(writes)
            size, count = size + weight, count + len(writes)
        return done + self._write_each(together)

    def _write_each(self, groups: Sequence[Sequence[Write]]) -> int:
        """Apply groups of writes together, without those of which a condition fails; return how many were applied."""
        try:
            self._tables.write([write for group in groups for write in group])
        except ConditionFailed as failure:
            owners = [n for n, group in enumerate(groups) for _ in group]
            lost = {owners[position] for position in failure.failed}
            if lost:
                return self._write_each([group for n, group in enumerate(groups) if n not in lost])
            return sum(self._write_each([group]) for group in groups) if len(groups) > 1 else 0
        return len(groups)

    # --- files for other tools --------------------------------------------------------------

    def files(self, experiment_id: str) -> tuple[dict[str, Files], int]:
        """Return what other tools have, by part, and the version of the item that says so (0: there is none)."""
        item = self._tables.get(TABLE, self.files_key(experiment_id))
        return (_files.validate_json(item["doc"]), int(item["v"])) if item else ({}, 0)

    def put_files(self, experiment_id: str, files: Mapping[str, Files], v: int) -> Put:
        """Return the write of what other tools have, which was read at version ``v``."""
        item = {"doc": _files.dump_json(dict(files)).decode(), "v": v + 1}
        return Put(TABLE, {**self.files_key(experiment_id)._asdict(), **item}, Is("v", v) if v else Absent())

    def files_key(self, experiment_id: str) -> Key:
        """Return the key of the item that names an experiment's files."""
        return Key(self._pk("EXPERIMENT", experiment_id), _FILES)

    # --- points ---------------------------------------------------------------------------

    def many_chunks(self, run_id: str, many: int) -> bool:
        """Say whether a run has more packed batches than so many."""
        page = self._tables.query(TABLE, self._pk("RUN", run_id), prefix="POINTS#", limit=many + 1)
        return len(page.items) > many or bool(page.cursor)

    def put_archive(self, run_id: str, archive: Archive, v: int) -> list[Write]:
        """Return the writes of where a run's compacted points are, which was read at version ``v``."""
        item = {**self.archive_key(run_id)._asdict(), **archive.attributes(), "v": v + 1}
        exists = Check(TABLE, self._run_key(run_id, METRICS), Exists())
        return [Put(TABLE, item, Is("v", v) if v else Absent()), exists]

    def drop_chunks(self, run_id: str, chunks: Sequence[Chunk]) -> None:
        """Remove packed batches."""
        self._tables.delete_many(TABLE, [self.chunk_key(run_id, chunk.id) for chunk in chunks])


def remember_workspace(workspace: str, tables: Tables) -> None:
    """Note that there are runs in a workspace; where its maintenance is to go on stays as it is."""
    key = Key(_WORKSPACES, workspace)
    if tables.get(TABLE, key) is None:
        tables.write([Put(TABLE, {**key._asdict(), "next": "0"}, Anything())])


def workspaces(tables: Tables) -> dict[str, str]:
    """Return the experiment at which maintenance goes on, by workspace."""
    return {str(item["sk"]): str(item["next"]) for item in every(tables, TABLE, _WORKSPACES)}


def go_on_at(workspace: str, experiment_id: str, tables: Tables) -> None:
    """Note at which experiment a workspace's maintenance goes on."""
    item = {**Key(_WORKSPACES, workspace)._asdict(), "next": experiment_id}
    tables.write([Put(TABLE, item, Anything())])
