"""``modelwright promote``, ``export model``, ``import model``: a version to another stack, directly or in a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from modelwright.cli.transfer import connect, exports, imports
from modelwright.errors import InvalidInput, Refused
from modelwright.promotion import bundle
from modelwright.promotion.addresses import address
from modelwright.promotion.carrying import Carried, carry
from modelwright.promotion.stack import Arrivals, Reference, StackSource
from modelwright.transfer.ours import Ours

Version = Annotated[str, typer.Argument(help="NAME@ALIAS or NAME/VERSION.")]
As = Annotated[str, typer.Option("--as", help="The model's name there; without it, its own.")]
Alias = Annotated[str, typer.Option(help="Ask for this alias there, which goes by that stack's policy.")]
Reason = Annotated[str, typer.Option(help="Why, for who has to approve.")]
Project = Annotated[Path, typer.Option("--folder", help="Folder whose modelwright.toml says where stacks are.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
HERE = Path()


def promote(
    version: Version,
    to: Annotated[str, typer.Option("--to", help="Name of a stack in modelwright.toml, where it is stacks.NAME.")],
    source: Annotated[str, typer.Option("--from", help="Name of another; without it, --endpoint.")] = "",
    alias: Alias = "",
    name: As = "",
    reason: Reason = "",
    folder: Project = HERE,
    endpoint: Endpoint = "",
) -> None:
    """Carry a version to another stack, with its files, digests and proof, and ask for its alias there.

    It asks for the alias that the version was named by, if --alias says no other. Started again, it goes on.
    """
    reference = Reference.read(version)
    target = named(to, folder)
    here = named(source, folder) if source else connect(endpoint)
    if here.name == target.name:
        raise InvalidInput(f"{version} is at {target.name} already")
    arrivals = Arrivals(target, name or reference.name)
    carried = carry(StackSource(here, reference, to), arrivals)
    typer.echo(arrived(carried, name or reference.name, to))
    if wanted := alias or reference.alias:
        ask(arrivals, carried, wanted, reason or f"promoted from {here.name}")


@exports.command("model")
def export_model(
    version: Version,
    file: Annotated[Path, typer.Argument(help="A file that does not exist yet, such as churn-3.zip.")],
    endpoint: Endpoint = "",
) -> None:
    """Write a version into a file, with its files, digests and proof, for `modelwright import model`."""
    if file.exists():
        raise InvalidInput(f"{file} exists already")
    manifest = bundle.write(StackSource(connect(endpoint), Reference.read(version), file.name), file)
    typer.echo(f"{manifest.origin}: {len(manifest.files)} files, {manifest.size} bytes, manifest {manifest.digest}")


@imports.command("model")
def import_model(
    file: Annotated[Path, typer.Argument(help="What `modelwright export model` wrote.")],
    name: As = "",
    alias: Alias = "",
    reason: Reason = "",
    endpoint: Endpoint = "",
) -> None:
    """Make a version of what is in a file, if all of it is as it was written."""
    source = bundle.BundleSource(file)
    target = connect(endpoint)
    chosen = name or source.manifest().origin.model
    arrivals = Arrivals(target, chosen)
    carried = carry(source, arrivals)
    typer.echo(arrived(carried, chosen, target.name))
    if alias:
        ask(arrivals, carried, alias, reason or f"imported from {file.name}")


def named(name: str, folder: Path) -> Ours:
    """Return a stack by its name in a folder's ``modelwright.toml``."""
    found = address(name, folder)
    return Ours(found.endpoint, found.token())


def arrived(carried: Carried, name: str, where: str) -> str:
    """Return what came of carrying in a line."""
    manifest = carried.manifest
    how = "was there already" if carried.known else f"{carried.sent} of {len(manifest.files)} files sent, all verified"
    return f"{manifest.origin} is {name} v{carried.version} at {where}: {how}; manifest {manifest.digest[:16]}"


def ask(arrivals: Arrivals, carried: Carried, alias: str, reason: str) -> None:
    """Ask for an alias and print what came of it; exit status 1 if it was refused."""
    try:
        typer.echo(outcome(arrivals.request(carried.version, alias, reason), alias))
    except Refused as error:
        typer.echo(f"{alias}: refused: {error}")
        raise typer.Exit(1) from error


def outcome(request: dict[str, Any], alias: str) -> str:
    """Return in a line how a request stands."""
    state, identity = request["state"], request["request_id"]
    if state == "applied":
        return f"{alias}: applied" + (f" (request {identity})" if identity else ", as it was before")
    if state == "judging":
        return f"{alias}: waits for the gates {', '.join(request['pending'])} (request {identity})"
    return f"{alias}: waits for {request['missing']} approval(s) (request {identity})"
