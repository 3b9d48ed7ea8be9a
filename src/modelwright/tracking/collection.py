"""Collection: what was deleted is removed for good.

Deleting a run, a logged model or an experiment hides it; collecting it removes its items, points, rows and files.
What a registered version needs is kept, whatever was deleted: its run, its logged model, and whatever holds its files.
Here is what is to go; ``removal`` knows how.

A collection answers page by page, each within the time that it is given. Whoever breaks it off and begins anew
goes on where it was, as what is gone is not found again.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from modelwright.context import Call
from modelwright.errors import Forbidden, InvalidInput, NotFound
from modelwright.log import Log, stream_of
from modelwright.tracking.doomed import DoomedStore
from modelwright.tracking.entities import ACTIVE, DELETED, Experiment, Run
from modelwright.tracking.maintenance import Upkeep
from modelwright.tracking.reading import Place, Reader
from modelwright.tracking.removal import (
    BATCH,
    Outcome,
    OutOfTime,
    Registrations,
    Removal,
    Thing,
    folder_of,
    identity_of,
    outcome_of,
)
from modelwright.tracking.store import experiment_of_run

ACTION: Final = "runs:collect"
DEFAULT_ID: Final = "0"
_AGE = re.compile(r"(?:([\d.]+)d)?(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s)?")


class Collect(BaseModel):
    """``POST /v1/gc``.

    Attributes:
        older_than: only what was deleted at least so long ago: ``30d``, ``1d2h3m4s``; empty: however lately.
        experiment_ids: only these experiments, and all that is in them.
        run_ids: only these runs.
        logged_model_ids: only these logged models.
        dry_run: remove nothing.
        page_token: from the page before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    older_than: str = ""
    experiment_ids: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    logged_model_ids: tuple[str, ...] = ()
    dry_run: bool = False
    page_token: str = ""

    @property
    def identities(self) -> tuple[str, ...]:
        """The runs and logged models that are named."""
        return (*self.run_ids, *self.logged_model_ids)

    @property
    def named(self) -> bool:
        """Whether anything is named: then nothing else is collected."""
        return bool(self.experiment_ids or self.identities)

    @property
    def age(self) -> timedelta:
        """How long ago it must have been deleted; raises ``InvalidInput``."""
        found = _AGE.fullmatch(self.older_than)
        try:
            days, hours, minutes, seconds = [float(part or 0) for part in found.groups()] if found else []
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        except (ValueError, OverflowError) as error:
            raise InvalidInput(f"{self.older_than!r} is no time such as 30d, 8h or 1d2h3m4s") from error


class Spot(NamedTuple):
    """How far a collection came: the experiment, and the last run or logged model of it that is done with."""

    experiment: int = 0
    identity: str = ""

    @property
    def token(self) -> str:
        """The page token."""
        return urlsafe_b64encode(json.dumps(self).encode()).decode()

    @classmethod
    def of(cls, token: str) -> "Spot":
        """Read a page token; raises ``InvalidInput``."""
        try:
            experiment, identity = json.loads(urlsafe_b64decode(token)) if token else cls()
            return cls(int(experiment), str(identity))
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"Invalid page token {token!r}: it is not one of ours") from error


def collect(call: Call, message: Collect, *, upkeep: Upkeep, log: Log, registrations: Registrations) -> dict[str, Any]:
    """Remove what was deleted, as far as time allows; the token says where the next page goes on.

    Raises:
        InvalidInput: the request is not well formed, or something that it names is not deleted.
        NotFound: an experiment that it names does not exist.
    """
    collection = _Collection(call, message, upkeep, log, registrations)
    start = Spot.of(message.page_token)
    if not message.page_token:
        collection.check()
    token = ""
    for experiment in collection.experiments():
        number = int(experiment.experiment_id)
        if number >= start.experiment and not token:
            token = collection.of(experiment, start.identity if number == start.experiment else "")
    outcomes = [outcome.model_dump() for outcome in collection.removal.outcomes]
    return {"outcomes": outcomes, "next_page_token": token}


class _Collection:
    """One page of a collection."""

    def __init__(self, call: Call, message: Collect, upkeep: Upkeep, log: Log, registrations: Registrations) -> None:
        self._call = call
        self._message = message
        self._upkeep = upkeep
        self._log = log
        self._needed = registrations.needed(call)
        self._store = DoomedStore(upkeep.tables, call, upkeep.blobs)
        self._doomed = {each.experiment_id: each for each in self._store.doomed_experiments()}
        self._latest = call.now.timestamp() - message.age.total_seconds()
        self._spot = Spot()
        self.removal = Removal(call, upkeep, log, registrations)

    # --- where to look --------------------------------------------------------------------

    def check(self) -> None:
        """Raise unless the caller may do this, and all that is named can be collected; nothing is removed before."""
        if not self._message.named:
            self._call.authorise(ACTION, "experiment/*")
            return
        for experiment in self.experiments():
            identity = experiment.experiment_id
            wanted = identity in self._message.experiment_ids and identity not in self._doomed
            if wanted and experiment.lifecycle_stage != DELETED:
                raise InvalidInput(f"the experiment {identity} is not deleted: delete it first")
            for thing in self._those_named(experiment):
                if _stage(thing, experiment) != DELETED:
                    raise InvalidInput(f"{identity_of(thing)} is not deleted: delete it first")

    def experiments(self) -> Iterator[Experiment]:
        """Yield the experiments to be looked at, by number."""
        for identity in sorted(self._experiment_ids(), key=int):
            try:
                self._call.authorise(ACTION, f"experiment/{identity}")
            except Forbidden:
                if self._message.named:
                    raise
                continue
            experiment = self._doomed.get(identity) or self._store.experiment(identity)
            if experiment is None and identity in self._message.experiment_ids:
                raise NotFound(f"No Experiment with id={identity} exists")
            if experiment is not None:
                yield experiment

    def _experiment_ids(self) -> set[str]:
        message = self._message
        if not message.named:
            return {each.experiment_id for each in self._store.experiments()} | set(self._doomed)
        if any(not identity.isdecimal() for identity in message.experiment_ids):
            raise InvalidInput(f"experiment ids are numbers, not {', '.join(message.experiment_ids)}")
        return set(message.experiment_ids) | {experiment_of_run(identity) for identity in message.identities}

    # --- an experiment --------------------------------------------------------------------

    def of(self, experiment: Experiment, after: str) -> str:
        """Collect what is deleted in an experiment; return the token if time runs out.

        Args:
            experiment: the experiment.
            after: the last run or logged model of it that an earlier page was done with.
        """
        self._spot = Spot(int(experiment.experiment_id), after)
        try:
            whole = self._whole(experiment)
            if not self._message.dry_run:
                self.removal.finish(experiment.experiment_id, whole=whole)
            if self._message.dry_run or not whole:
                self._each(experiment)
            if whole:
                self._end(experiment)
        except OutOfTime:
            return self._spot.token
        return ""

    def _whole(self, experiment: Experiment) -> bool:
        """Say whether the experiment itself goes; tell why not where that was to be expected."""
        identity = experiment.experiment_id
        if identity in self._doomed:
            return True
        wanted = identity in self._message.experiment_ids or not self._message.named
        if not wanted or experiment.lifecycle_stage != DELETED or not self._old(experiment.last_update_time / 1000):
            return False
        why = self._why_not(experiment)
        if why and not self._spot.identity:
            kept = Outcome(kind="experiment", id=identity, experiment_id=identity, kept=why)
            self.removal.outcomes.append(kept)
        return not why

    def _why_not(self, experiment: Experiment) -> str:
        """Make an experiment unreachable, but for a dry run; return why it is kept, if it is."""
        if experiment.experiment_id == DEFAULT_ID:
            return "it is the default one"
        folder = folder_of(self._call.workspace, experiment.artifact_location)
        if name := self._needed.within(experiment, folder):
            return f"{name} needs something of it"
        done = self._message.dry_run or self.removal.doom_experiment(experiment)
        return "" if done else "it changed just now"

    def _each(self, experiment: Experiment) -> None:
        """Remove the runs and logged models that are to go, or say which they are."""
        things = self._things(experiment)
        while batch := list(islice(things, BATCH)):
            if not self._upkeep.spare():
                raise OutOfTime
            chosen = [thing for thing in batch if self._is_to_go(thing, experiment)]
            if not self._message.dry_run:
                self.removal.doom(experiment, chosen)
            self._spot = Spot(self._spot.experiment, identity_of(batch[-1]))
            if self._message.dry_run:
                self.removal.outcomes += [outcome_of(thing, files=self._files(thing)) for thing in chosen]
            else:
                self.removal.finish(experiment.experiment_id)

        if not self._message.identities:
            self.removal.strays(experiment.experiment_id, dry_run=self._message.dry_run)

    def _files(self, thing: Thing) -> int:
        return self.removal.count(folder_of(self._call.workspace, thing.artifact_uri))

    def _end(self, experiment: Experiment) -> None:
        """Remove a doomed experiment of which nothing is left, or say that it would be."""
        identity = experiment.experiment_id
        if self._message.dry_run:
            self.removal.outcomes.append(Outcome(kind="experiment", id=identity, experiment_id=identity))
            return
        own = folder_of(self._call.workspace, experiment.artifact_location)
        others = (folder_of(self._call.workspace, each.artifact_location) for each in self._store.experiments())
        self.removal.finish_experiment(experiment, shared=any(folder.startswith(own) for folder in others if own))

    # --- runs and logged models -----------------------------------------------------------

    def _things(self, experiment: Experiment) -> Iterator[Thing]:
        """Yield what may be to go and was not looked at yet, by id."""
        message, identity = self._message, experiment.experiment_id
        if message.identities and identity not in message.experiment_ids:
            yield from self._those_named(experiment)
            return
        whole = experiment.lifecycle_stage == DELETED and self._old(experiment.last_update_time / 1000)
        run_ids = self._store.run_ids(identity) if whole else self._deleted_run_ids(experiment)
        for run_id in sorted(run_id for run_id in run_ids if run_id > self._spot.identity):
            yield from self._found(run_id)
        models = (model for model in self._store.logged_models(identity) if model.model_id > self._spot.identity)
        yield from sorted(models, key=identity_of)

    def _those_named(self, experiment: Experiment) -> Iterator[Thing]:
        for identity in sorted(self._message.identities):
            if experiment_of_run(identity) == experiment.experiment_id and identity > self._spot.identity:
                yield from self._found(identity)

    def _found(self, identity: str) -> Iterator[Thing]:
        """Yield a run (in its own stage) or logged model, if there is one."""
        with suppress(NotFound):
            is_model = identity.startswith("m-")
            yield self._store.logged_model(identity) if is_model else self._store.placed(identity, metrics=False).run

    def _deleted_run_ids(self, experiment: Experiment) -> Iterator[str]:
        """Yield the runs that were deleted by themselves: open ones, and those of the parts that have any."""
        overview = self._store.overview(experiment.experiment_id)
        yield from (run.run_id for run in overview.open if run.lifecycle_stage == DELETED)
        places = [Place(experiment.experiment_id, part) for part in overview.parts if not part.active]
        heads = Reader(self._upkeep.blobs, self._call.workspace).heads(places)
        hidden = {run.run_id for run in overview.open}
        for place, head in zip(places, heads, strict=True):
            gone = set(place.part.gone)
            for row in range(len(head.runs)):
                deleted = head.stages is not None and head.stages.actual(row) != ACTIVE
                if deleted and row not in gone and head.runs[row] not in hidden:
                    yield head.runs[row]

    def _is_to_go(self, thing: Thing, experiment: Experiment) -> bool:
        """Say whether something is to go; tell why not where that was to be expected."""
        if _stage(thing, experiment) != DELETED:
            return False
        if self._message.older_than and not self._old(self._deleted(thing, experiment)):
            if self._message.named:
                self.removal.keep(thing, f"it was deleted later than {self._message.older_than} ago")
            return False
        folder = folder_of(self._call.workspace, thing.artifact_uri)
        if name := self._needed.by(identity_of(thing), folder):
            self.removal.keep(thing, f"{name} needs it")
        return not name

    def _deleted(self, thing: Thing, experiment: Experiment) -> float:
        """Return when something was deleted: by itself, as the log tells, or with its experiment."""
        if thing.lifecycle_stage != DELETED:
            return experiment.last_update_time / 1000
        kind = "RUN" if isinstance(thing, Run) else "MODEL"
        items = self._log.read(stream_of(self._call.workspace, kind, identity_of(thing)))
        times = [item.envelope.at for item in items if item.envelope.data.get("change") == DELETED]
        return max(times, default=self._call.now).timestamp()

    def _old(self, deleted: float) -> bool:
        return not self._message.older_than or deleted <= self._latest


def _stage(thing: Thing, experiment: Experiment) -> str:
    """Return the stage in which callers see a run or logged model."""
    if isinstance(thing, Run):
        return experiment.stage_of(thing)
    return DELETED if experiment.lifecycle_stage == DELETED else thing.lifecycle_stage
