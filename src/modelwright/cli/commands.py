"""Every command of ``modelwright``, thin: parse, call one function, print."""

import json
import re
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from modelwright.cli import (
    access,
    alerts,
    audit,
    feast,
    features,
    models,
    monitor,
    parity,
    projects,
    promote,
    quarantine,
    sagemaker,
    transfer,
    transitions,
    ui,
    webhooks,
)
from modelwright.cli.check import check
from modelwright.cli.erase import erase
from modelwright.cli.gc import gc
from modelwright.cli.replay import replay
from modelwright.client import full_name, whole_log
from modelwright.errors import InvalidInput, LocalStackError
from modelwright.governance import verifier
from modelwright.local import stacks

app = typer.Typer(
    name="modelwright", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)


class _StreamOrCommand(typer.core.TyperGroup):
    """``modelwright log MODEL#flights`` is ``modelwright log show MODEL#flights``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = bool(args) and (args[0] in self.commands or args[0].startswith("-"))
        return super().resolve_command(ctx, args if known else ["show", *args])


log = typer.Typer(cls=_StreamOrCommand, no_args_is_help=True, help="Print a stream of the log, or verify all of it.")
app.add_typer(log, name="log")
app.add_typer(ui.app, name="ui")
app.add_typer(models.app, name="models")
app.add_typer(monitor.app, name="monitor")
app.add_typer(transitions.app, name="transitions")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(access.app, name="access")
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(alerts.silences, name="silences")
app.add_typer(alerts.incidents, name="incidents")
app.add_typer(audit.app, name="audit")
app.command("gc")(gc)
app.command("erase")(erase)
transfer.imports.command("feast")(feast.import_feast)
transfer.imports.command("sagemaker")(sagemaker.import_sagemaker)
transfer.exports.command("sagemaker")(sagemaker.export_sagemaker)
app.add_typer(transfer.imports, name="import")
app.add_typer(transfer.exports, name="export")
app.command("promote")(promote.promote)
app.command("check")(check)
app.command("apply")(projects.apply)
app.command("replay")(replay)
app.add_typer(features.app, name="features")
features.app.command("prove")(parity.prove)
features.app.command("proofs")(parity.proofs)

Workdir = Annotated[Path, typer.Option("--workdir", help="Folder whose .modelwright/ holds the local stack.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
HERE = Path()


@app.command()
def up(
    port: Annotated[int, typer.Option(help="Loopback port; 0: the one it had before, else 4566.")] = 0,
    workspace: Annotated[str, typer.Option(help="Workspace of uploads and schedules.")] = "default",
    detach: Annotated[bool, typer.Option("--detach", help="Leave it running and return.")] = False,
    virtual_time: Annotated[bool, typer.Option("--virtual-time", help="Let callers say what time it is.")] = False,
    environment: Annotated[str, typer.Option(help="Which of a team's environments it is: dev, staging, prod.")] = "dev",
    private_webhooks: Annotated[
        bool, typer.Option("--private-webhooks", help="Let webhooks lead to this machine and its network, over http.")
    ] = False,
    workdir: Workdir = HERE,
) -> None:
    """Start the whole platform on this machine, or bring a running one up to date."""
    stacks.up(
        workdir, port=port, workspace=workspace, detach=detach, virtual_time=virtual_time,
        private_webhooks=private_webhooks, environment=environment, say=typer.echo,
    )  # fmt: skip


@app.command()
def down(workdir: Workdir = HERE) -> None:
    """Stop the local stack; what it holds is kept."""
    typer.echo("stopped" if stacks.stack(workdir).down() else "it did not run")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False, workdir: Workdir = HERE
) -> None:
    """Say whether the local stack runs, and where."""
    found = stacks.describe(workdir)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join(f"{name:<12} {value}" for name, value in found.items()))
    if not found["running"]:
        raise typer.Exit(1)


@app.command()
def env(workdir: Workdir = HERE) -> None:
    """Print lines for `eval "$(modelwright env)"`, once the stack is ready."""
    for name, value in stacks.environment(workdir).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def logs(
    function: Annotated[str, typer.Argument(help="Only this function.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they print.")] = False,
    workdir: Workdir = HERE,
) -> None:
    """Print what the functions of the local stack printed."""
    for line in stacks.stack(workdir).logs(function or None, follow=follow):
        typer.echo(line)


@app.command()
def bootstrap(
    stack: Annotated[str, typer.Option(help="Name of the deployed CloudFormation stack.")] = "modelwright",
    workspace: Annotated[str, typer.Option(help="Whose administrator.")] = "default",
) -> None:
    """Make an administrator's token of a deployed stack, with your own AWS credentials, and print it this once."""
    typer.echo(stacks.bootstrap(stack, workspace))


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")]) -> None:
    """Start a project: a copy of the demo's under a name of its own, to be changed."""
    import modelwright.demo
    from modelwright.cli.scaffold import scaffold

    if folder.exists():
        raise InvalidInput(f"{folder} exists already")
    if not re.fullmatch("[a-z][a-z0-9_]*", folder.name):
        raise InvalidInput(f"the folder's name is the project's: {folder.name!r} must be like churn or churn_2")
    source = Path(modelwright.demo.__file__).parent / "project"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = folder / "modelwright.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace('name = "flights"', f'name = "{folder.name}"', 1), encoding="utf-8")
    scaffold(folder)
    tried = f"modelwright check {folder} --data {folder / 'sample'}"
    typer.echo(f"made {folder}; then: {tried}, and modelwright apply {folder}")


@app.command()
def demo(
    weeks: Annotated[int, typer.Option(min=1, max=48, help="Weeks to replay after the learning month.")] = 48,
    fast: Annotated[bool, typer.Option("--fast", help="Twelve weeks, with both planted faults.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
    port: Annotated[int, typer.Option(help="Loopback port.")] = 0,
    workdir: Workdir = HERE,
) -> None:
    """Replay a year of flights through the whole loop."""
    try:
        from modelwright.demo.command import play
    except ModuleNotFoundError as error:
        raise LocalStackError(f'{error.name} is not installed: pip install "modelwright[demo]"') from error
    if not play(workdir, chosen=12 if fast else weeks, report=report, port=port):
        raise typer.Exit(1)


@log.command("show")
def show(stream: Annotated[str, typer.Argument(help="Such as MODEL#flights.")], endpoint: Endpoint = "") -> None:
    """Print a stream of the log, oldest first."""
    api = stacks.connect(endpoint)
    for item in api.stream(full_name(stream, api.token)):
        envelope = json.loads(item["envelope"])
        data = json.dumps(envelope["data"], sort_keys=True)
        typer.echo(f"{envelope['sequence']:>6} {envelope['at']} {envelope['type']:<22} {envelope['actor']} {data}")


@log.command("export")
def export(target: Annotated[Path, typer.Argument(help="A file of JSON Lines.")], endpoint: Endpoint = "") -> None:
    """Write the whole log and the last root, for `python -m modelwright.governance.verifier`."""
    items, root = whole_log(stacks.connect(endpoint))
    target.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    if root:
        target.with_suffix(".root.json").write_text(json.dumps(root), encoding="utf-8")
    typer.echo(f"{len(items)} items")


@log.command("verify")
def verify(
    file: Annotated[Path | None, typer.Argument(help="An export; without it, the stack's own log.")] = None,
    roots: Annotated[list[Path] | None, typer.Option(help="Root files from the audit bucket.")] = None,
    endpoint: Endpoint = "",
) -> None:
    """Check the hash chains; exit status 1 and the first bad sequence number if one is broken."""
    if file is not None:
        raise typer.Exit(verifier.main([str(file), "--roots", *map(str, roots or [])]))
    items, root = whole_log(stacks.connect(endpoint))
    breaks, streams, count = verifier.verify(items, [root] if root else [])
    for broken in breaks:
        typer.echo(str(broken))
    verdict = "BROKEN" if breaks else "verified"
    typer.echo(f"{count} items in {streams} streams: {verdict} at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    raise typer.Exit(1 if breaks else 0)
