"""``modelwright import`` and ``modelwright export``: copy from and to MLflow."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from modelwright.client import TOKEN
from modelwright.errors import InvalidInput
from modelwright.local import stacks
from modelwright.transfer.copying import Copy
from modelwright.transfer.counting import count
from modelwright.transfer.ours import Ours
from modelwright.transfer.plan import Options, survey
from modelwright.transfer.showing import Bar, counts, table
from modelwright.transfer.sides import Target
from modelwright.transfer.tally import Tally
from modelwright.transfer.theirs import Theirs

OWN_TOKEN = "MODELWRIGHT_TOKEN"  # noqa: S105 - the name of a variable

imports = typer.Typer(no_args_is_help=True, help="Copy into the platform; started again, it goes on.")
exports = typer.Typer(no_args_is_help=True, help="Copy out of the platform; started again, it goes on.")

Uri = Annotated[str, typer.Argument(help="http(s)://..., sqlite:///..., or an mlruns folder.")]
Experiments = Annotated[list[str] | None, typer.Option("--experiment", help="Only this experiment; repeatable.")]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="Only this registered model, and what its versions were made from; repeatable."),
]
Since = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only runs that started then or later, in UTC."),
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Deleted experiments and runs too.")]
Prefix = Annotated[str, typer.Option(help="What names of experiments and registered models get.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count what there is.")]
Threads = Annotated[int, typer.Option(min=1, max=32, help="Runs, and files, at once.")]
Registry = Annotated[str, typer.Option(help="MLflow's registry, if it is at another address.")]
Artifacts = Annotated[str, typer.Option(help="Where mlflow-artifacts:/ is, for a database without its server.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


@imports.callback()
@exports.callback()
def group() -> None:
    """Keep ``mlflow`` a word of its own, though it is the only one."""


@imports.command("mlflow")
def import_mlflow(
    uri: Uri,
    experiment: Experiments = None,
    model: Models = None,
    since: Since = None,
    deleted: Deleted = False,
    prefix: Prefix = "",
    dry_run: DryRun = False,
    threads: Threads = 4,
    registry: Registry = "",
    artifacts: Artifacts = "",
    endpoint: Endpoint = "",
) -> None:
    """Copy experiments, runs, points, files and models from an MLflow server, database or folder.

    Its credentials come from MLflow's own variables; where MLFLOW_TRACKING_TOKEN is for that server, MODELWRIGHT_TOKEN
    is this platform's.
    """
    options = _options(experiment, model, since, prefix, deleted=deleted, threads=threads)
    ours = connect(endpoint)
    copy(Theirs(uri, registry=registry, artifacts=artifacts), ours, options, dry_run=dry_run)


@exports.command("mlflow")
def export_mlflow(
    uri: Uri,
    experiment: Experiments = None,
    model: Models = None,
    since: Since = None,
    deleted: Deleted = False,
    prefix: Prefix = "",
    dry_run: DryRun = False,
    threads: Threads = 4,
    registry: Registry = "",
    artifacts: Artifacts = "",
    endpoint: Endpoint = "",
) -> None:
    """Copy experiments, runs, points, files and models to an MLflow server, database or folder."""
    options = _options(experiment, model, since, prefix, deleted=deleted, threads=threads)
    ours = connect(endpoint)
    copy(ours, Theirs(uri, registry=registry, artifacts=artifacts, must_exist=False), options, dry_run=dry_run)


def connect(endpoint: str) -> Ours:
    """Return the stack; a token that is for it is not left where the client of MLflow would send it elsewhere."""
    api = stacks.connect(endpoint)
    token = os.environ.get(OWN_TOKEN) or api.token
    if os.environ.get(TOKEN) == token:
        del os.environ[TOKEN]
    return Ours(api.endpoint, token)


def copy(source: Target, target: Target, options: Options, *, dry_run: bool) -> None:
    """Copy, or only count, and print the table; exit status 1 if anything differs.

    Raises:
        InvalidInput: both are the same.
    """
    if source.name == target.name:
        raise InvalidInput(f"{source.name} cannot be copied into itself")
    tally = Tally()
    with Bar() as bar:
        plan = survey(source, options, tally)
        if dry_run:
            count(source, plan, tally, bar, options.threads)
        else:
            Copy(source, target, options, tally, bar).run(plan)
    typer.echo(counts(tally, source.name) if dry_run else table(tally, source.name, target.name))
    if tally.differences or not (dry_run or tally.complete):
        raise typer.Exit(1)


def _options(
    experiments: Sequence[str] | None,
    models: Sequence[str] | None,
    since: datetime | None,
    prefix: str,
    *,
    deleted: bool,
    threads: int,
) -> Options:
    began = int(since.replace(tzinfo=UTC).timestamp() * 1000) if since else 0
    return Options(tuple(experiments or ()), tuple(models or ()), began, deleted, prefix, threads)
