"""How runs, logged models and experiments are kept from the moment nobody can reach them until nothing is left of them.

==================  ================================  ==============================  ================================
entity              pk                                sk                              access pattern
==================  ================================  ==============================  ================================
doomed run, model   ``WS#<ws>#EXPERIMENT#<id>``       ``COLLECTING#<id>``             those to go on with
doomed experiment   ``WS#<ws>#EXPERIMENTS``           ``COLLECTING#<id:020>``         those to go on with
==================  ================================  ==============================  ================================

Who looks for a run needs its head, its metrics and its experiment; for a logged model, its document. One transaction
removes these and leaves an item where only a collection looks. The runs and logged models of a doomed
experiment are doomed with it, as they are.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelwright.storage import Absent, Anything, Check, Delete, Exists, Is, Item, Key, Put, Write, every
from modelwright.tracking.entities import Experiment, LoggedModel, Run
from modelwright.tracking.latest import METRICS
from modelwright.tracking.store import TABLE, TrackingStore

_COLLECTING = "COLLECTING#"
_HEADS = ("OPEN#", "SETTLED#")


class Doomed(NamedTuple):
    """A run or logged model that nobody can reach any more, and of which something may be left.

    Attributes:
        identity: its id.
        artifact_uri: where its files are; empty when they are gone.
        key: the item that goes last.
    """

    identity: str
    artifact_uri: str
    key: Key

    @property
    def is_model(self) -> bool:
        """Whether it is a logged model."""
        return self.identity.startswith("m-")


class DoomedStore(TrackingStore):
    """Reads of one workspace, and the writes of a collection."""

    def run_ids(self, experiment_id: str) -> Iterator[str]:
        """Yield the ids of all runs, first those of the open ones."""
        for prefix in _HEADS:
            for item in every(self._tables, TABLE, self._pk("EXPERIMENT", experiment_id), prefix=prefix):
                yield item["sk"].removeprefix(prefix)

    def doom_run(self, run: Run) -> list[Write]:
        """Return the writes after which a run cannot be reached."""
        head = (self._settled_key if run.settled else self._head_key)(run.experiment_id, run.run_id)
        metrics = Delete(TABLE, self._run_key(run.run_id, METRICS), Anything())
        doomed = self._doom(run.experiment_id, run.run_id, run.artifact_uri)
        return [doomed, Delete(TABLE, head, Is("v", run.v)), metrics]

    def doom_model(self, model: LoggedModel) -> list[Write]:
        """Return the writes after which a logged model cannot be reached."""
        line = Delete(TABLE, self._line_key(model), Anything())
        summary = Delete(TABLE, self._model_key(model.model_id), Is("v", model.v))
        return [self._doom(model.experiment_id, model.model_id, model.artifact_uri), summary, line]

    def doom_experiment(self, experiment: Experiment) -> list[Write]:
        """Return the writes after which an experiment and all in it cannot be reached, and its name is free."""
        item = {**self._doomed_key(experiment.experiment_id)._asdict(), **self._document(experiment, "experiments")}
        known = Delete(TABLE, self._experiment_key(experiment.experiment_id), Is("v", experiment.v))
        name = Delete(TABLE, self.name_key(experiment.name), Anything())
        return [Put(TABLE, {**item, "v": experiment.v}, Absent()), known, name]

    def unchanged(self, experiment: Experiment) -> Write:
        """Return the check that an experiment is as it was read."""
        return Check(TABLE, self._experiment_key(experiment.experiment_id), Is("v", experiment.v))

    def doomed(self, experiment_id: str, limit: int, *, whole: bool) -> list[Doomed]:
        """Return some runs and logged models that cannot be reached: any, if their experiment is doomed as a whole."""
        found: list[Doomed] = []
        for prefix in (_COLLECTING, *_HEADS, "MODEL#") if whole else (_COLLECTING,):
            if len(found) < limit:
                pk = self._pk("EXPERIMENT", experiment_id)
                page = self._tables.query(TABLE, pk, prefix=prefix, limit=limit - len(found))
                found += [self._doomed_of(item) for item in page.items]
        return found

    def is_doomed(self, experiment_id: str, identity: str) -> bool:
        """Say whether something may be left of a run or logged model."""
        key = Key(self._pk("EXPERIMENT", experiment_id), f"{_COLLECTING}{identity}")
        return self._tables.get(TABLE, key) is not None

    def doomed_experiments(self) -> list[Experiment]:
        """Return the experiments of which something may be left."""
        items = every(self._tables, TABLE, self._pk("EXPERIMENTS"), prefix=_COLLECTING)
        return [self._load(Experiment, item) for item in items]

    def forget(self, doomed: Sequence[Doomed]) -> list[Write]:
        """Return the writes that end the collecting of runs and logged models."""
        return [Delete(TABLE, each.key, Exists()) for each in doomed]

    def forget_experiment(self, experiment_id: str) -> Write:
        """Return the write that ends the collecting of an experiment."""
        return Delete(TABLE, self._doomed_key(experiment_id), Exists())

    def items(self, kind: str, identity: str) -> list[Item]:
        """Return all items of a run, a logged model or an experiment, by its kind of partition."""
        return list(every(self._tables, TABLE, self._pk(kind, identity)))

    def drop(self, items: Sequence[Item]) -> None:
        """Remove items."""
        self._tables.delete_many(TABLE, [Key(item["pk"], item["sk"]) for item in items])

    def _doom(self, experiment_id: str, identity: str, artifact_uri: str) -> Put:
        key = Key(self._pk("EXPERIMENT", experiment_id), f"{_COLLECTING}{identity}")
        return Put(TABLE, {**key._asdict(), "identity": identity, "artifact_uri": artifact_uri}, Absent())

    def _doomed_of(self, item: Item) -> Doomed:
        key = Key(item["pk"], item["sk"])
        if "identity" in item:
            return Doomed(item["identity"], item["artifact_uri"], key)
        if "model_id" in item:
            model = self._read(LoggedModel, self._tables.get(TABLE, self._model_key(item["model_id"])))
            return Doomed(item["model_id"], model.artifact_uri if model else "", key)
        run = self._load(Run, item)
        return Doomed(run.run_id, run.artifact_uri, key)

    def _doomed_key(self, experiment_id: str) -> Key:
        return Key(self._pk("EXPERIMENTS"), f"{_COLLECTING}{experiment_id.zfill(20)}")
