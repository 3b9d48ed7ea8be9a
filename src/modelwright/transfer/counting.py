"""Counts what a plan holds, and copies nothing."""

from concurrent.futures import ThreadPoolExecutor

from modelwright.errors import ModelwrightError
from modelwright.transfer.copying import View
from modelwright.transfer.files import listed
from modelwright.transfer.parallel import for_each
from modelwright.transfer.plan import Plan
from modelwright.transfer.records import History, LoggedModel, Run, unmarked
from modelwright.transfer.sides import FATAL, Source
from modelwright.transfer.tally import Tally


def count(source: Source, plan: Plan, tally: Tally, view: View, threads: int) -> None:
    """Count everything of a plan at its source."""

    def run(shell: Run) -> None:
        try:
            _run(source, shell.run_id, tally, pool)
        except FATAL:
            raise
        except ModelwrightError as error:
            tally.differs(f"run {shell.run_id}", str(error))
        view.step()

    for experiment in plan.experiments.values():
        tally.count("experiments", 1)
        tally.count("experiment tags", len(unmarked(experiment.tags)))
    runs = list(plan.every_run())
    view.begin("runs", len(runs))
    with ThreadPoolExecutor(threads) as pool:
        for_each(runs, run, threads)
        for model in plan.models.values():
            _model(source, model, tally, pool)
    tally.count("runs", len(runs))
    tally.count("registered models", len(plan.registered))
    tally.count("versions", sum(map(len, plan.versions.values())))
    tally.count("aliases", sum(len(model.aliases) for model in plan.registered.values()))


def _run(source: Source, run_id: str, tally: Tally, pool: ThreadPoolExecutor) -> None:
    run = source.run(run_id)
    for kind, number in (
        ("params", len(run.params)),
        ("tags", len(unmarked(run.tags))),
        ("metrics", len(run.metrics)),
        ("metric points", sum(History.of(source.points(run_id, key)).points for key in run.metrics)),
        ("datasets", len(run.datasets)),
        ("models read", len(set(run.model_inputs))),
        ("models made", len(set(run.model_outputs))),
    ):
        tally.count(kind, number)
    _files(f"run {run_id}", source, run.artifact_uri, tally, pool)


def _model(source: Source, model: LoggedModel, tally: Tally, pool: ThreadPoolExecutor) -> None:
    for kind, number in (
        ("logged models", 1),
        ("model params", len(model.params)),
        ("model tags", len(unmarked(model.tags))),
        ("model metrics", len(model.newest)),
    ):
        tally.count(kind, number)
    _files(f"model {model.model_id}", source, model.artifact_uri, tally, pool)


def _files(what: str, source: Source, uri: str, tally: Tally, pool: ThreadPoolExecutor) -> None:
    found = listed(what, source, uri, tally, pool)
    tally.count("files", len(found))
    tally.count("bytes", sum(entry.size or 0 for entry in found.values()))
