"""One copy, from beginning to end.

The order is what makes it safe to break off: experiments, then every run and logged model as an empty shell
that carries the tags of its origin, so that all new ids are known; then contents and files, then the
registry, which reads files, and in the end what is deleted. Each step first looks at what is there.
"""

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

from modelwright.errors import ModelwrightError
from modelwright.transfer.files import Files
from modelwright.transfer.models import ModelCopy
from modelwright.transfer.parallel import for_each
from modelwright.transfer.plan import Options, Plan
from modelwright.transfer.records import (
    EXPERIMENT_ID,
    MODEL_ID,
    PREFIX,
    RUN_ID,
    SOURCE,
    Experiment,
    LoggedModel,
    ModelPoint,
    Run,
    unmarked,
)
from modelwright.transfer.registry import RegistryCopy
from modelwright.transfer.renaming import Renaming
from modelwright.transfer.runs import RunCopy
from modelwright.transfer.sides import FATAL, Source, Target
from modelwright.transfer.tally import Tally

T = TypeVar("T")


class View(Protocol):
    """What is told of the progress."""

    def begin(self, what: str, total: int) -> None:
        """Say what is done from now on, to so many things."""
        ...

    def step(self) -> None:
        """Say that one more is done; from any thread."""
        ...


class Copy:
    """Copies a plan.

    Args:
        source: where from.
        target: where to.
        options: the prefix, and how many threads.
        tally: where everything is counted.
        view: is told of the progress.
    """

    def __init__(self, source: Source, target: Target, options: Options, tally: Tally, view: View) -> None:
        self._source, self._target, self._options = source, target, options
        self._tally, self._view = tally, view
        self._names = Renaming(source.name, options.prefix)
        self._files = Files(source, target, tally, options.threads)
        self._asleep: set[str] = set()
        self._waking = threading.Lock()

    def run(self, plan: Plan) -> None:
        """Copy it, and count both sides; raises what ends the whole copy, after which it can be started again."""
        self._names.places |= {model.model_id: model.artifact_uri for model in plan.models.values()}
        try:
            self._experiments(plan)
            self._shells(plan)
            self._contents(plan)
            self._registry(plan)
            self._each("tags of models", self._copied_models(plan), partial(self._model, "settle"))
            self._delete_experiments(plan)
            self._recount(plan)
        finally:
            self._files.close()

    # --- experiments ----------------------------------------------------------------------

    def _experiments(self, plan: Plan) -> None:
        there = list(self._target.experiments())
        by_origin = {
            (e.tags.get(SOURCE), e.tags.get(PREFIX, ""), e.tags[EXPERIMENT_ID]): e
            for e in there
            if EXPERIMENT_ID in e.tags
        }
        by_name = {experiment.name: experiment for experiment in there}
        for given in plan.experiments.values():
            wanted = self._names.experiment(given)
            origin = (self._source.name, self._options.prefix, given.experiment_id)
            found = by_origin.get(origin) or by_name.get(wanted.name)
            self._guarded(f"experiment {given.name}", partial(self._experiment, given, wanted, found))

    def _experiment(self, given: Experiment, wanted: Experiment, there: Experiment | None) -> None:
        if there is None:
            marks = self._names.marks(experiment=given.experiment_id, prefix=self._options.prefix)
            self._names.experiments[given.experiment_id] = self._target.add_experiment(
                wanted.name, {**wanted.tags, **marks}
            )
            return
        made_by_a_copy = EXPERIMENT_ID in there.tags
        if given.deleted != there.deleted and not made_by_a_copy:
            state = "deleted" if there.deleted else "in use"
            hint = "restore it there, or copy with a prefix" if there.deleted else "copy with a prefix"
            raise ModelwrightError(f"its name is {state} at the target, whose experiment is another one: {hint}")
        if there.deleted:
            self._asleep.add(there.experiment_id)
        if not given.deleted:
            self._wake(there.experiment_id)
        missing = {
            key: value
            for key, value in wanted.tags.items()
            if key not in there.tags or (made_by_a_copy and there.tags[key] != value)
        }
        if missing:
            self._wake(there.experiment_id)
            self._target.tag_experiment(there.experiment_id, missing)
        self._names.experiments[given.experiment_id] = there.experiment_id

    def _wake(self, experiment_id: str) -> None:
        """Bring back an experiment that is deleted, before something is written to it."""
        with self._waking:
            if experiment_id in self._asleep:
                self._target.move_experiment(experiment_id, deleted=False)
                self._asleep.remove(experiment_id)

    def _delete_experiments(self, plan: Plan) -> None:
        for old, new in self._names.experiments.items():
            if plan.experiments[old].deleted and new not in self._asleep:
                self._guarded(
                    f"experiment {plan.experiments[old].name}",
                    partial(self._target.move_experiment, new, deleted=True),
                )

    # --- shells ---------------------------------------------------------------------------

    def _shells(self, plan: Plan) -> None:
        for old, new in self._names.experiments.items():
            runs = plan.runs[old]
            for run in self._target.copied_runs(new):
                if run.tags[RUN_ID] in runs:
                    self._names.runs.setdefault(run.tags[RUN_ID], run.run_id)
            missing = [run for run in runs.values() if run.run_id not in self._names.runs]
            self._each(f"runs of {plan.experiments[old].name}", missing, self._run_shell)
        models = defaultdict(list)
        for model in plan.models.values():
            models[model.experiment_id].append(model)
        for old, new in self._names.experiments.items():
            there = {m.tags[MODEL_ID]: m.model_id for m in self._target.logged_models(new) if MODEL_ID in m.tags}
            self._names.models |= {m.model_id: there[m.model_id] for m in models[old] if m.model_id in there}
            lacking = [model for model in models[old] if model.model_id not in there]
            self._each(f"models of {plan.experiments[old].name}", lacking, self._model_shell)

    def _run_shell(self, run: Run) -> None:
        experiment = self._names.experiments[run.experiment_id]
        self._wake(experiment)
        shell = replace(run, experiment_id=experiment, tags=self._names.marks(run=run.run_id))
        self._names.runs[run.run_id] = self._target.add_run(shell, key=self._key(experiment, run.run_id))

    def _model_shell(self, model: LoggedModel) -> None:
        wanted = self._names.model(model)
        self._wake(wanted.experiment_id)
        shell = replace(wanted, tags=self._names.marks(model=model.model_id, created=str(model.created or "")))
        made = self._target.add_logged_model(shell, key=self._key(wanted.experiment_id, model.model_id))
        self._names.models[model.model_id] = made

    def _key(self, experiment: str, identity: str) -> str:
        text = "\n".join((self._source.name, experiment, identity))
        return hashlib.sha256(text.encode()).hexdigest()

    # --- contents -------------------------------------------------------------------------

    def _contents(self, plan: Plan) -> None:
        of_models: dict[str, list[tuple[str, ModelPoint]]] = defaultdict(list)
        for model in plan.models.values():
            for point in model.newest:
                of_models[point.run_id].append((model.model_id, point))
        copier = RunCopy(self._source, self._target, self._names, of_models, self._files, self._tally)
        runs = [run for run in plan.every_run() if run.run_id in self._names.runs]

        def copy(run: Run) -> None:
            experiment = plan.experiments[run.experiment_id]
            wake = partial(self._wake, self._names.experiments[run.experiment_id]) if experiment.deleted else None
            copier.copy(run.run_id, _called(run, experiment), delete=run.deleted, wake=wake)

        self._each("runs", runs, copy)
        self._each("models", self._copied_models(plan), partial(self._model, "fill"))

    def _copied_models(self, plan: Plan) -> list[LoggedModel]:
        return [model for model in plan.models.values() if model.model_id in self._names.models]

    def _model(self, step: str, model: LoggedModel) -> None:
        copier = ModelCopy(self._target, self._names, self._files, self._tally)
        (copier.fill if step == "fill" else copier.settle)(model, f"model {model.model_id} ({model.name})")

    def _registry(self, plan: Plan) -> None:
        copier = RegistryCopy(self._source, self._target, plan, self._names, self._tally)
        self._view.begin("registered models", len(plan.registered))
        for name in plan.registered:
            self._guarded(name, partial(copier.copy, name))
            self._view.step()

    # --- counting -------------------------------------------------------------------------

    def _recount(self, plan: Plan) -> None:
        """Read once more what there is of everything that is countable by itself."""
        there = {experiment.experiment_id: experiment for experiment in self._target.experiments()}
        for old, given in plan.experiments.items():
            self._recount_experiment(given, there.get(self._names.experiments.get(old, "")))
            self._recount_runs(plan, given)
            self._recount_models(plan, given)
        names = {model.name for model in self._target.registered_models()} if plan.registered else set()
        found = sum(self._options.prefix + name in names for name in plan.registered)
        self._tally.count("registered models", len(plan.registered), found)

    def _recount_experiment(self, given: Experiment, there: Experiment | None) -> None:
        alike = there is not None and there.deleted == given.deleted
        self._tally.count("experiments", 1, int(alike))
        wanted = unmarked(given.tags)
        different = [key for key, value in wanted.items() if there is None or there.tags.get(key) != value]
        self._tally.count("experiment tags", len(wanted), len(wanted) - len(different))
        for key in different:
            self._tally.differs(f"experiment {given.name}", f"its tag {key} is not that of the source")

    def _recount_runs(self, plan: Plan, given: Experiment) -> None:
        runs, new = plan.runs[given.experiment_id], self._names.experiments.get(given.experiment_id)
        copies: dict[str, list[Run]] = defaultdict(list)
        for run in self._target.copied_runs(new) if new else ():
            copies[run.tags[RUN_ID]].append(run)
        for run_id, run in runs.items():
            stages = [copy.deleted for copy in copies[run_id]]
            self._tally.count("runs", 1, int(run.deleted in stages))
            if len(stages) > 1:
                self._tally.differs(_called(run, given), f"it is there {len(stages)} times")
            elif run.deleted not in stages:
                self._tally.differs(_called(run, given), "it is not there, or in another stage")

    def _recount_models(self, plan: Plan, given: Experiment) -> None:
        wanted = {m.model_id for m in plan.models.values() if m.experiment_id == given.experiment_id}
        new = self._names.experiments.get(given.experiment_id)
        found = Counter(m.tags.get(MODEL_ID) for m in self._target.logged_models(new)) if new and wanted else Counter()
        self._tally.count("logged models", len(wanted), sum(found[model_id] > 0 for model_id in wanted))
        for model_id in sorted(wanted):
            if found[model_id] != 1:
                self._tally.differs(f"model {model_id}", f"it is there {found[model_id]} times")

    # --- all of it ------------------------------------------------------------------------

    def _each(self, what: str, items: list[T], work: Callable[[T], None]) -> None:
        if not items:
            return
        self._view.begin(what, len(items))

        def step(item: T) -> None:
            self._guarded(_named(item), partial(work, item))
            self._view.step()

        for_each(items, step, self._options.threads)

    def _guarded(self, what: str, work: Callable[[], object]) -> None:
        """Do one thing, and name what goes wrong with it, unless it ends everything."""
        try:
            work()
        except FATAL:
            raise
        except ModelwrightError as error:
            self._tally.differs(what, str(error))


def _called(run: Run, experiment: Experiment) -> str:
    return f"run {run.run_id} of {experiment.name}"


def _named(item: object) -> str:
    return f"run {item.run_id}" if isinstance(item, Run) else f"model {getattr(item, 'model_id', item)}"
