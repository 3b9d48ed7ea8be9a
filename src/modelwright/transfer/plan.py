"""What is to be copied: chosen by the options, with all that a chosen version was made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from modelwright.errors import InvalidInput, ModelwrightError, NotFound
from modelwright.transfer.records import Experiment, LoggedModel, RegisteredModel, Run, Version
from modelwright.transfer.renaming import copied_from, ids_in
from modelwright.transfer.sides import FATAL, Source
from modelwright.transfer.tally import Tally


@dataclass(frozen=True)
class Options:
    """What is asked for.

    Attributes:
        experiments: only these; none and no models: all experiments.
        models: only these registered models and what they were made from; none and no experiments: all models.
        since: only runs that started then or later, in milliseconds; 0: all.
        deleted: deleted experiments and runs too.
        prefix: what names of experiments and registered models get at the target.
        threads: how many runs at once.
    """

    experiments: Sequence[str] = ()
    models: Sequence[str] = ()
    since: int = 0
    deleted: bool = False
    prefix: str = ""
    threads: int = 4

    @property
    def everything(self) -> bool:
        """Whether nothing is chosen by name."""
        return not self.experiments and not self.models


@dataclass
class Plan:
    """What is to be copied, by the source's ids.

    Attributes:
        runs: by experiment, what making each run takes.
        models: logged models.
        registered: registered models by name.
        versions: their versions by number, by name.
    """

    experiments: dict[str, Experiment] = field(default_factory=dict)
    runs: dict[str, dict[str, Run]] = field(default_factory=dict)
    models: dict[str, LoggedModel] = field(default_factory=dict)
    registered: dict[str, RegisteredModel] = field(default_factory=dict)
    versions: dict[str, list[Version]] = field(default_factory=dict)

    def every_run(self) -> Iterator[Run]:
        """Yield the runs of all experiments."""
        for runs in self.runs.values():
            yield from runs.values()


def survey(source: Source, options: Options, tally: Tally) -> Plan:
    """Return what is to be copied; raises ``InvalidInput`` when a name that was asked for is not there."""
    plan = Plan()
    known = {experiment.experiment_id: experiment for experiment in source.experiments()}
    if not known:
        raise InvalidInput(f"there is no experiment at {source.name}, not even Default: is it the right place?")
    for experiment in _chosen_experiments(known, options):
        plan.experiments[experiment.experiment_id] = experiment
        plan.runs[experiment.experiment_id] = _runs(source, experiment, options, tally)
    _registry(source, options, plan)
    for versions in plan.versions.values():
        for version in versions:
            for identity in sorted(ids_in(version)):
                _bring(source, identity, known, plan)
    for experiment_id in list(plan.experiments):
        _logged_models(source, known[experiment_id], options, plan)
    for model in list(plan.models.values()):
        _bring(source, model.run_id, known, plan)
    return plan


def _chosen_experiments(known: dict[str, Experiment], options: Options) -> list[Experiment]:
    names = {experiment.name for experiment in known.values()}
    if missing := [name for name in options.experiments if name not in names]:
        raise InvalidInput(f"there is no experiment {', '.join(missing)}; there are: {', '.join(sorted(names))}")
    return [experiment for experiment in known.values() if _chosen(experiment, options)]


def _chosen(experiment: Experiment, options: Options) -> bool:
    named = options.everything or experiment.name in options.experiments
    return named and (options.deleted or not experiment.deleted)


def _runs(source: Source, experiment: Experiment, options: Options, tally: Tally) -> dict[str, Run]:
    try:
        found = source.runs(experiment.experiment_id, since=options.since)
        return {run.run_id: _shell(run, experiment) for run in found if options.deleted or not run.deleted}
    except FATAL:
        raise
    except ModelwrightError as error:
        tally.differs(f"experiment {experiment.name}", f"its runs cannot be read: {error}")
        return {}


def _shell(run: Run, experiment: Experiment) -> Run:
    """Return a run's shell; what is in a deleted experiment is deleted."""
    return replace(run.shell(), deleted=run.deleted or experiment.deleted)


def _registry(source: Source, options: Options, plan: Plan) -> None:
    """Choose registered models, and those that their versions are copies of."""
    if not options.everything and not options.models:
        return
    known = {model.name: model for model in source.registered_models()}
    if missing := [name for name in options.models if name not in known]:
        raise InvalidInput(f"there is no registered model {', '.join(missing)}")
    wanted = list(options.models or known)
    while wanted:
        name = wanted.pop()
        if name in plan.registered or name not in known:
            continue
        plan.registered[name], plan.versions[name] = known[name], source.versions(known[name])
        wanted += [origin[0] for version in plan.versions[name] if (origin := copied_from(version.source))]


def _bring(source: Source, identity: str, known: dict[str, Experiment], plan: Plan) -> None:
    """Add the run or logged model of this id, whatever else was chosen, if there is one."""
    if not identity or identity in plan.models or any(identity in runs for runs in plan.runs.values()):
        return
    try:
        if identity.startswith("m-"):
            model = source.logged_model(identity)
            plan.models[identity], experiment_id = model, model.experiment_id
        else:
            run = source.run(identity)
            experiment_id = run.experiment_id
            plan.runs.setdefault(experiment_id, {})[identity] = _shell(run, known[experiment_id])
    except NotFound:
        return
    plan.experiments.setdefault(experiment_id, known[experiment_id])
    plan.runs.setdefault(experiment_id, {})


def _logged_models(source: Source, experiment: Experiment, options: Options, plan: Plan) -> None:
    """Add an experiment's logged models: those of copied runs, and, where all was chosen, the new ones."""
    for model in source.logged_models(experiment.experiment_id):
        made_by = any(model.run_id in runs for runs in plan.runs.values())
        if made_by or (_chosen(experiment, options) and model.created >= options.since):
            plan.models[model.model_id] = model
