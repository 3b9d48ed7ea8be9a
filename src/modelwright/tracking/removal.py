"""How what was deleted goes for good, step by step, so that any step may be the last one and the next time goes on.

1. Runs and logged models become unreachable (``doomed``), as does an experiment as a whole.
2. The experiment's snapshot forgets its doomed runs, and nobody can be about to settle them any more.
3. What lies in buckets goes, then the items. Files that a registered version needs by now stay.
4. The event is written to the log, together with the removal of the item that remembered them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from modelwright.artifacts import experiment_of, key_of_path, path_of
from modelwright.context import Call
from modelwright.errors import ConditionFailed, InvalidInput
from modelwright.events import RunsCollected
from modelwright.log import Happened, Log, stream_of
from modelwright.storage import BucketName, Write
from modelwright.tracking import documents
from modelwright.tracking.compaction import Compaction
from modelwright.tracking.doomed import Doomed, DoomedStore
from modelwright.tracking.entities import Experiment, LoggedModel, Run
from modelwright.tracking.maintenance import Upkeep
from modelwright.tracking.trace_store import TraceStore

BATCH = 90
"""Things that are removed together: their last items and the event fit into a transaction."""
_TRANSACTION = 30
_ATTEMPTS = 8
_TRACES = 100
_OBJECTS = 1000
Thing = Run | LoggedModel
Kind = Literal["run", "logged_model", "trace", "experiment"]


class OutOfTime(Exception):
    """The time that was given is over; the next time goes on."""


class Outcome(BaseModel):
    """What became of one thing.

    Attributes:
        files: how many of its files were removed (or would be).
        left: what was left of it, and why.
        kept: why it was not removed; empty when it was.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)
    kind: Kind
    id: str
    experiment_id: str
    files: int = 0
    left: str = ""
    kept: str = ""


@dataclass(frozen=True)
class Needed:
    """What registered versions need, each with the name of one that does.

    Attributes:
        runs: by id.
        models: logged models, by id.
        places: folders of the artifacts bucket (keys that end in ``/``) in which a version's files are.
    """

    runs: Mapping[str, str]
    models: Mapping[str, str]
    places: Mapping[str, str]

    def by(self, identity: str, folder: str) -> str:
        """Return a version that needs a run or logged model, or files in or around its folder; empty if none does."""
        named = (self.models if identity.startswith("m-") else self.runs).get(identity, "")
        return named or self.around(folder)

    def around(self, folder: str) -> str:
        """Return a version with files in or around a folder; empty if there is none, or no folder."""
        for place, name in self.places.items():
            if place and folder and (place.startswith(folder) or folder.startswith(place)):
                return name
        return ""

    def within(self, experiment: Experiment, folder: str) -> str:
        """Return a version that needs anything of an experiment whose files are in a folder; empty if none does."""
        for identity, name in (*self.runs.items(), *self.models.items()):
            if is_of(identity, experiment.experiment_id):
                return name
        return self.around(folder)


class Registrations(Protocol):
    """Knows what the registry needs of tracking."""

    def needed(self, call: Call) -> Needed:
        """Return what every version that exists now needs."""
        ...


class Removal:
    """Removes things, each with an outcome.

    Attributes:
        outcomes: what became of what, in order.
    """

    def __init__(self, call: Call, upkeep: Upkeep, log: Log, registrations: Registrations) -> None:
        self._call = call
        self._upkeep = upkeep
        self._log = log
        self._registrations = registrations
        self._store = DoomedStore(upkeep.tables, call, upkeep.blobs)
        self._traces = TraceStore(upkeep.tables, call, upkeep.blobs)
        self.outcomes: list[Outcome] = []

    def doom(self, experiment: Experiment, things: Sequence[Thing]) -> None:
        """Make runs and logged models unreachable; one that changes meanwhile is kept."""
        for first in range(0, len(things), _TRANSACTION):
            together = things[first : first + _TRANSACTION]
            if not self._doomed(experiment, together):
                for thing in together:
                    if not self._doomed(experiment, [thing]):
                        self.keep(thing, "it changed just now")

    def doom_experiment(self, experiment: Experiment) -> bool:
        """Make an experiment and all in it unreachable; say whether it had not changed."""
        try:
            self._upkeep.tables.write(self._store.doom_experiment(experiment))
        except ConditionFailed:
            return False
        return True

    def finish(self, experiment_id: str, *, whole: bool = False) -> None:
        """Remove what is left of an experiment's doomed runs and logged models; raises ``OutOfTime``."""
        while doomed := self._store.doomed(experiment_id, BATCH, whole=whole):
            if not whole:
                self._forget_rows(experiment_id, {each.identity for each in doomed})
            needed, done = self._registrations.needed(self._call), list[tuple[Doomed, Outcome]]()
            try:
                for each in doomed:
                    done.append((each, self._remove(each, experiment_id, needed)))
            finally:
                self._commit(experiment_id, done)

    def finish_experiment(self, experiment: Experiment, *, shared: bool) -> None:
        """Remove a doomed experiment of which no run and no logged model is left; raises ``OutOfTime``.

        Args:
            experiment: the experiment.
            shared: whether others keep files in its folder, which are then left.
        """
        workspace, identity = self._call.workspace, experiment.experiment_id
        folder = folder_of(workspace, experiment.artifact_location)
        own = folder == f"{workspace}/{identity}/" and not shared
        stays = self._registrations.needed(self._call).within(experiment, folder)
        self._forget_traces(identity)
        files = self._empty("artifacts", f"{workspace}/{identity}/traces/")
        files += self._empty("artifacts", folder) if own and not stays else 0
        for kind in ("runs", "points", "traces", "parquet/runs", "parquet/points"):
            self._empty("lake", f"tracking/{workspace}/{kind}/{identity}/")
        self._empty("lake", documents.folder(workspace, identity))
        self._store.drop(self._store.items("EXPERIMENT", identity))
        left = f"the files in {experiment.artifact_location} stay" if (folder and not own) or stays else ""
        outcome = Outcome(kind="experiment", id=identity, experiment_id=identity, files=files, left=left)
        event = RunsCollected(experiment_id=identity, whole=True)
        self._log_it(event, [self._store.forget_experiment(identity)], [outcome])

    def strays(self, experiment_id: str, *, dry_run: bool) -> None:
        """Remove the files of traces that are no more, or count them; raises ``OutOfTime``."""
        folder = f"{self._call.workspace}/{experiment_id}/traces/"
        found = (line.key for line in self._upkeep.blobs.level("artifacts", folder) if line.key.endswith("/"))
        while places := list(islice(found, _TRACES)):
            if not self._upkeep.spare():
                raise OutOfTime
            ids = {place.removeprefix(folder).rstrip("/"): place for place in places}
            for trace_id in ids.keys() - {trace.trace_id for trace in self._traces.traces(list(ids))}:
                files = self.count(ids[trace_id]) if dry_run else self._empty("artifacts", ids[trace_id])
                outcome = Outcome(kind="trace", id=trace_id, experiment_id=experiment_id, files=files)
                self.outcomes.append(outcome)

    def count(self, folder: str) -> int:
        """Return how many files there are in a folder of the artifacts bucket."""
        return sum(1 for _ in self._upkeep.blobs.list("artifacts", folder)) if folder else 0

    def keep(self, thing: Thing, why: str) -> None:
        """Tell that something is kept."""
        self.outcomes.append(outcome_of(thing, kept=why))

    def _doomed(self, experiment: Experiment, things: Sequence[Thing]) -> bool:
        """Make things unreachable at once; say whether none had changed."""
        writes: list[Write] = [self._store.unchanged(experiment)]
        for thing in things:
            writes += self._store.doom_run(thing) if isinstance(thing, Run) else self._store.doom_model(thing)
        try:
            self._upkeep.tables.write(writes)
        except ConditionFailed:
            return False
        return True

    def _forget_rows(self, experiment_id: str, identities: set[str]) -> None:
        """Let the snapshot forget runs, and whoever is about to settle them fail."""
        for attempt in range(_ATTEMPTS):
            try:
                Compaction(self._call, experiment_id, self._upkeep).drop(identities)
            except ConditionFailed:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _remove(self, doomed: Doomed, experiment_id: str, needed: Needed) -> Outcome:
        """Remove all of a thing but the item that remembers it; raises ``OutOfTime``."""
        kind = "LOGGED_MODEL" if doomed.is_model else "RUN"
        folder = folder_of(self._call.workspace, doomed.artifact_uri)
        name = needed.by(doomed.identity, folder)
        files = self._empty("artifacts", folder) if folder and not name else 0
        while items := self._store.items(kind, doomed.identity):  # once more: a write may have been on its way
            if objects := [str(item["object"]) for item in items if "object" in item]:
                self._upkeep.blobs.delete_many("lake", objects)
            self._store.drop(items)
        self._empty("lake", documents.folder(self._call.workspace, doomed.identity))
        return Outcome(
            kind="logged_model" if doomed.is_model else "run",
            id=doomed.identity,
            experiment_id=experiment_id,
            files=files,
            left=_left(doomed.artifact_uri, folder, name),
        )

    def _forget_traces(self, experiment_id: str) -> None:
        """Remove all traces of an experiment; raises ``OutOfTime``."""
        lines = self._traces.lines(experiment_id)
        while some := list(islice(lines, _TRACES)):
            if not self._upkeep.spare():
                raise OutOfTime
            self._traces.forget(self._traces.traces([line.trace_id for line in some]))
            for line in some:
                self._traces.forget_line(experiment_id, line)

    def _empty(self, bucket: BucketName, folder: str) -> int:
        """Remove the objects of a folder; return how many. Raises ``OutOfTime``."""
        removed, listed = 0, self._upkeep.blobs.list(bucket, folder)
        while keys := [each.key for each in islice(listed, _OBJECTS)]:
            if not self._upkeep.spare():
                raise OutOfTime
            self._upkeep.blobs.delete_many(bucket, keys)
            removed += len(keys)
        return removed

    def _commit(self, experiment_id: str, done: Sequence[tuple[Doomed, Outcome]]) -> None:
        if done:
            identities = [each.identity for each, _ in done]
            event = RunsCollected(
                experiment_id=experiment_id,
                run_ids=tuple(each for each in identities if not each.startswith("m-")),
                model_ids=tuple(each for each in identities if each.startswith("m-")),
            )
            self._log_it(event, self._store.forget([each for each, _ in done]), [outcome for _, outcome in done])

    def _log_it(self, event: RunsCollected, writes: Sequence[Write], outcomes: Sequence[Outcome]) -> None:
        """Commit the end of things; if somebody else just did that for some, they are left for the next look."""
        stream = stream_of(self._call.workspace, "EXPERIMENT", event.experiment_id)
        with suppress(ConditionFailed):
            self._log.commit(self._call, [Happened(stream, event)], writes)
            self.outcomes += outcomes


def outcome_of(thing: Thing, *, files: int = 0, kept: str = "") -> Outcome:
    """Return what became of a run or logged model."""
    kind: Kind = "run" if isinstance(thing, Run) else "logged_model"
    return Outcome(kind=kind, id=identity_of(thing), experiment_id=thing.experiment_id, files=files, kept=kept)


def identity_of(thing: Thing) -> str:
    """Return the id of a run or logged model."""
    return thing.run_id if isinstance(thing, Run) else thing.model_id


def folder_of(workspace: str, uri: str) -> str:
    """Return the folder of the artifacts bucket (it ends in ``/``) that a URI names; empty when it lies elsewhere."""
    try:
        path = path_of(uri)
    except InvalidInput:
        return ""
    return f"{key_of_path(workspace, path)}/" if path else ""


def is_of(identity: str, experiment_id: str) -> bool:
    """Say whether a run or logged model is one of an experiment."""
    try:
        return experiment_of(identity) == experiment_id
    except InvalidInput:
        return False


def _left(uri: str, folder: str, needed_by: str) -> str:
    if needed_by:
        return f"its files stay, {needed_by} needs them"
    return "" if folder or not uri else f"its files in {uri} are not this platform's"
