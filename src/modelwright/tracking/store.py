"""How tracking's state is kept.

==================  ================================  ==============================  ==================================
entity              pk                                sk                              access pattern
==================  ================================  ==============================  ==================================
experiment          ``WS#<ws>#EXPERIMENTS``           ``<id:020>``                    get; list
counter of ids      ``WS#<ws>#EXPERIMENTS``           ``COUNTER``                     next id
experiment's name   ``WS#<ws>#EXPERIMENT_NAME``       ``<name>``                      get by name; uniqueness
head of a run       ``WS#<ws>#EXPERIMENT#<id>``       ``OPEN#<run id>``               get; all that are open
snapshot            ``WS#<ws>#EXPERIMENT#<id>``       ``OPEN~``                       with the heads, after them
head, settled       ``WS#<ws>#EXPERIMENT#<id>``       ``SETTLED#<run id>``            get
model in experiment ``WS#<ws>#EXPERIMENT#<id>``       ``MODEL#<made:013>#<model id>`` list by time
dataset             ``WS#<ws>#EXPERIMENT#<id>``       ``DATASET#<hash of name, digest>`` of a run's inputs
latest metrics      ``WS#<ws>#RUN#<run id>``          ``METRICS``, ``METRICS#<nn>``   raise; of one run (see ``latest``)
points              ``WS#<ws>#RUN#<run id>``          ``POINTS#<content id>``         history
compacted points    ``WS#<ws>#RUN#<run id>``          ``POINTS~``                     history, after the others
another id          ``WS#<ws>#RUN#<id>``              ``ALIAS``                       the run of a training
logged model        ``WS#<ws>#LOGGED_MODEL#<id>``     ``SUMMARY``                     get; search
==================  ================================  ==============================  ==================================

Experiments, heads and logged models are JSON documents (``documents``) under an optimistic version (``v``). A run's id
ends in its experiment's, so that it gives both partitions. Lists and searches never read points. No index is used.

A run is *open* or *settled*: settled runs are told by the parts that the snapshot's pointer names, open ones by
themselves, and they hide the rows that a part may have of them. Every write to a head moves it to ``OPEN#``, and
``v`` goes on counting; ``settle`` moves it back together with its metrics' stage, if nobody wrote meanwhile. As the
pointer comes after all open heads, one query reads the heads before it: a run that is settled in between is then
in the pointer already. Metrics are raised without a look at the head: their own ``stage`` says whether that
is right. It is ``open`` only while neither the run nor its experiment is deleted and the run is open; whoever finds it
otherwise looks at head and experiment, and opens it or refuses.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from modelwright.artifacts import experiment_of
from modelwright.errors import ConditionFailed, InvalidInput, NotFound, Unavailable
from modelwright.storage import Absent, Anything, Blobs, Check, Condition, Delete, Is, Item, Key, Put, Write, every
from modelwright.tracking.archive import Archive
from modelwright.tracking.columns import Part
from modelwright.tracking.entities import Experiment, Point, Run
from modelwright.tracking.latest import FULL, METRICS, OPEN, LatestMetrics, Standing, entries_of, latest_of
from modelwright.tracking.points import Columns, content_id, pack, unpack, unpack_columns
from modelwright.tracking.records import TABLE, RecordStore

__all__ = ["TABLE", "Chunk", "Chunks", "Held", "Overview", "Placed", "TrackingStore", "experiment_of_run"]

_POINTER, _ARCHIVE, _ALIAS = "OPEN~", "POINTS~", "ALIAS"
_OPEN, _SETTLED, _POINTS, _SHARD = "OPEN#", "SETTLED#", "POINTS#", f"{METRICS}#00"
_READINGS: Final = 3
_TOGETHER, _RACES = 50, 5

_parts: TypeAdapter[tuple[Part, ...]] = TypeAdapter(tuple[Part, ...])


@dataclass(frozen=True, slots=True)
class Held:
    """A run as it was read, to be written back.

    Attributes:
        run: the run, in its own stage.
        standing: the items of its latest metrics.
    """

    run: Run
    standing: Standing


@dataclass(frozen=True, slots=True)
class Placed(Held):
    """A run and the experiment that it is in."""

    experiment: Experiment

    @property
    def seen(self) -> Run:
        """The run as callers see it."""
        return self.experiment.seen(self.run)


@dataclass(frozen=True, slots=True)
class Overview:
    """An experiment's runs.

    Attributes:
        held: the open ones.
        parts: where the settled ones lie.
        v: the version of the pointer to the parts (0: there is none).
    """

    held: tuple[Held, ...]
    parts: tuple[Part, ...]
    v: int

    @property
    def open(self) -> tuple[Run, ...]:
        """The open runs, complete, each in its own stage."""
        return tuple(held.run for held in self.held)


class Chunk(NamedTuple):
    """A packed batch of points."""

    id: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class Chunks:
    """A run's points: what is not compacted yet, and the item that tells where the rest is."""

    chunks: tuple[Chunk, ...]
    archive: Item | None

    def points(self, blobs: Blobs, key: str | None = None) -> Iterator[Point]:
        """Yield the points (of one metric); one that came twice comes twice."""
        for chunk in self.chunks:
            yield from unpack(chunk.packed, key)
        if self.archive is not None:
            yield from Archive.read(self.archive).points(blobs, key)


class TrackingStore(RecordStore):
    """Reads of one workspace, and the writes that a use case commits."""

    # --- runs -----------------------------------------------------------------------------

    def run(self, run_id: str) -> Run:
        """Return a run, complete and as callers see it, in any stage; raises ``NotFound``."""
        return self.placed(run_id).seen

    def placed(self, run_id: str, *, metrics: bool = True) -> Placed:
        """Return a run to be written back, with its metrics or without; raises ``NotFound``."""
        place = experiment_of_run(run_id)
        head, settled = self._head_key(place, run_id), self._settled_key(place, run_id)
        hot, shard, experiment = *self._metrics_keys(run_id), self._experiment_key(place)
        for _ in range(_READINGS):
            found = self._tables.batch_get(TABLE, [head, settled, hot, experiment, *([shard] if metrics else [])])
            if hot not in found or experiment not in found:
                break
            if (item := found.get(head) or found.get(settled)) is None:
                continue
            run = self._load(Run, item).model_copy(update={"settled": head not in found})
            standing = Standing(found[hot], [found[shard]] if shard in found else [])
            if metrics:
                run, standing = self._with_metrics(run, standing)
            return Placed(run, standing, self._load(Experiment, found[experiment]))
        alias = self._tables.get(TABLE, self._run_key(run_id, _ALIAS))
        if alias is None:
            raise NotFound(f"Run with id={run_id} not found")
        return self.placed(str(alias["run_id"]), metrics=metrics)

    def overview(self, experiment_id: str) -> Overview:
        """Return an experiment's open runs, complete, and where the settled ones lie."""
        heads, pointer = self._heads(experiment_id)
        runs = [self._load(Run, head) for head in heads]
        standings = self._standings([run.run_id for run in runs])
        held = tuple(Held(*self._with_metrics(run, standings[run.run_id])) for run in runs if run.run_id in standings)
        return Overview(held, *_pointed(pointer))

    def add_run(self, run: Run, points: Iterable[Point] = ()) -> list[Write]:
        """Return the writes of a new run and the latest values of its points (at most 100 writes)."""
        return [self._put_head(run, Absent()), *self.latest(run.run_id).begin(entries_of(points))]

    def put_run(self, run: Run) -> list[Write]:
        """Return the writes of a run's head, which is open after them."""
        if not run.settled:
            return [self._put_head(run, Is("v", run.v))]
        settled = self._settled_key(run.experiment_id, run.run_id)
        return [self._put_head(run, Absent()), Delete(TABLE, settled, Is("v", run.v))]

    def open(self, placed: Placed) -> None:
        """Let metrics be logged again, unless run, metrics or experiment change meanwhile.

        Head and metrics may have been read before and after the run was settled: so the head is held to its version.
        """
        run, experiment = placed.run, placed.experiment
        key = self._head_key(run.experiment_id, run.run_id)
        head: list[Write] = self.put_run(run) if run.settled else [Check(TABLE, key, Is("v", run.v))]
        unchanged = Check(TABLE, self._experiment_key(experiment.experiment_id), Is("v", experiment.v))
        self._tables.write([self.latest(run.run_id).open(placed.standing), unchanged, *head])

    def close(self, held: Held, run: Run) -> list[Write]:
        """Return the writes of a run, after which no metrics are logged to it before its stage was looked at."""
        return [*self.put_run(run), self.latest(run.run_id).close(held.standing)]

    def settling(self, held: Held) -> list[Write]:
        """Return the writes that leave an open run to the snapshot, which must have it; they fail after others."""
        run = held.run
        attributes = self._document(run, run.run_id)
        settled = {**self._settled_key(run.experiment_id, run.run_id)._asdict(), **attributes, "v": run.v + 1}
        head = self._head_key(run.experiment_id, run.run_id)
        moves: list[Write] = [Put(TABLE, settled, Absent()), Delete(TABLE, head, Is("v", run.v))]
        return [*moves, *self.latest(run.run_id).settle(held.standing)]

    def close_runs(self, experiment_id: str) -> None:
        """Let no metrics be logged to an experiment's open runs before their stage was looked at."""
        heads, _ = self._heads(experiment_id)
        run_ids = [head["sk"].removeprefix(_OPEN) for head in heads]
        for first in range(0, len(run_ids), _TOGETHER):
            self._close(run_ids[first : first + _TOGETHER])

    def parts(self, experiment_id: str) -> tuple[tuple[Part, ...], int]:
        """Return where an experiment's settled runs lie, and the version of the pointer that says so (0: none)."""
        return _pointed(self._tables.get(TABLE, self.pointer_key(experiment_id)))

    def put_parts(self, experiment_id: str, parts: Sequence[Part], v: int) -> Put:
        """Return the write of the pointer to an experiment's parts, which was read at version ``v``."""
        item = {"doc": _parts.dump_json(tuple(parts)).decode(), "v": v + 1}
        return Put(TABLE, {**self.pointer_key(experiment_id)._asdict(), **item}, Is("v", v) if v else Absent())

    def pointer_key(self, experiment_id: str) -> Key:
        """Return the key of the pointer to an experiment's parts."""
        return Key(self._pk("EXPERIMENT", experiment_id), _POINTER)

    def put_alias(self, alias: str, run_id: str) -> Put:
        """Return the write of another id of a run, under which it is found too; fails when there is one."""
        return Put(TABLE, {**self._run_key(alias, _ALIAS)._asdict(), "run_id": run_id}, Absent())

    def has_alias(self, alias: str) -> bool:
        """Say whether a run has this other id."""
        return self._tables.get(TABLE, self._run_key(alias, _ALIAS)) is not None

    # --- metrics --------------------------------------------------------------------------

    def latest(self, run_id: str) -> LatestMetrics:
        """Return the latest metrics of a run, to be written to."""
        return LatestMetrics(self._tables, self._pk("RUN", run_id))

    def put_points(self, run_id: str, points: Iterable[Point]) -> Put:
        """Return the write of a batch of points; the same batch again is the same write."""
        packed = pack(points)
        key = self._run_key(run_id, f"{_POINTS}{content_id(packed)}")
        return Put(TABLE, {**key._asdict(), "points": packed}, Anything())

    def points(self, run_id: str, key: str | None = None) -> Iterator[Point]:
        """Yield the points of a run (of one metric), batch by batch; one that came twice comes twice."""
        return self.chunks(run_id).points(self._blobs, key)

    def columns(self, run_id: str, key: str) -> Iterator[Columns]:
        """Yield the points of one metric as ``points`` does, column by column."""
        chunks = self.chunks(run_id)
        for chunk in chunks.chunks:
            yield from (columns for _, columns in unpack_columns(chunk.packed, key))
        if chunks.archive is not None:
            yield Columns.of(Archive.read(chunks.archive).points(self._blobs, key))

    def chunks(self, run_id: str) -> Chunks:
        """Return a run's packed points."""
        chunks, archive = [], None
        for item in every(self._tables, TABLE, self._pk("RUN", run_id), prefix="POINTS"):
            if item["sk"] == _ARCHIVE:
                archive = item
            else:
                chunks.append(Chunk(item["sk"].removeprefix(_POINTS), bytes(item["points"])))
        return Chunks(tuple(chunks), archive)

    def archive_key(self, run_id: str) -> Key:
        """Return the key of the item that tells where a run's compacted points are."""
        return self._run_key(run_id, _ARCHIVE)

    def chunk_key(self, run_id: str, chunk_id: str) -> Key:
        """Return the key of a packed batch."""
        return self._run_key(run_id, f"{_POINTS}{chunk_id}")

    # --- keys -------------------------------------------------------------------------------

    def _head_key(self, experiment_id: str, run_id: str) -> Key:
        return Key(self._pk("EXPERIMENT", experiment_id), f"{_OPEN}{run_id}")

    def _settled_key(self, experiment_id: str, run_id: str) -> Key:
        return Key(self._pk("EXPERIMENT", experiment_id), f"{_SETTLED}{run_id}")

    def _run_key(self, run_id: str, sk: str) -> Key:
        return Key(self._pk("RUN", run_id), sk)

    def _metrics_keys(self, run_id: str) -> tuple[Key, Key]:
        return self._run_key(run_id, METRICS), self._run_key(run_id, _SHARD)

    def _put_head(self, run: Run, condition: Condition) -> Put:
        put = self._put(self._head_key(run.experiment_id, run.run_id), run, run.run_id)
        return Put(TABLE, put.item, condition)

    # --- readings -------------------------------------------------------------------------

    def _heads(self, experiment_id: str) -> tuple[list[Item], Item | None]:
        """Return the open heads, and the pointer as it is after they were read."""
        partition = self._pk("EXPERIMENT", experiment_id)
        items = list(every(self._tables, TABLE, partition, start=_OPEN, end=_POINTER))
        pointer = items.pop() if items and items[-1]["sk"] == _POINTER else None
        return items, pointer

    def _standings(self, run_ids: Sequence[str]) -> dict[str, Standing]:
        """Return the items of the latest metrics of runs, as far as there are any."""
        keys = [key for run_id in run_ids for key in self._metrics_keys(run_id)]
        found = self._tables.batch_get(TABLE, keys) if keys else {}
        standings = {}
        for run_id, hot, shard in zip(run_ids, keys[::2], keys[1::2], strict=True):
            if hot in found:
                standings[run_id] = Standing(found[hot], [found[shard]] if shard in found else [])
        return standings

    def _with_metrics(self, run: Run, standing: Standing) -> tuple[Run, Standing]:
        """Return a run with its metrics, whose items are read anew if they do not fit together or are many."""
        for _ in range(_READINGS):
            if not standing.torn:
                break
            standing = self.latest(run.run_id).read()
        metrics = {key: latest_of(entry) for key, entry in standing.entries().items()}
        return run.model_copy(update={"metrics": metrics}), standing

    def _close(self, run_ids: Sequence[str]) -> None:
        """Close metrics together, or, if others change some of them meanwhile, each for itself."""
        for _ in range(_RACES if len(run_ids) == 1 else 1):
            standings = self._standings(run_ids).items()
            open_ones = [self.latest(run_id).close(held) for run_id, held in standings if held.stage in (OPEN, FULL)]
            try:
                self._tables.write(open_ones)
            except ConditionFailed:
                continue
            return
        if len(run_ids) == 1:
            raise Unavailable(f"the run {run_ids[0]} is written to all the time: try again")
        for run_id in run_ids:
            self._close([run_id])


def experiment_of_run(run_id: str) -> str:
    """Return the experiment that a run's id names; raises ``NotFound``."""
    try:
        return experiment_of(run_id)
    except InvalidInput as error:
        raise NotFound(f"Run with id={run_id} not found") from error


def _pointed(pointer: Item | None) -> tuple[tuple[Part, ...], int]:
    return (_parts.validate_json(pointer["doc"]), int(pointer["v"])) if pointer else ((), 0)
