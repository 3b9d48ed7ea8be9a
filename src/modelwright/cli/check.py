"""``modelwright check``: try a project's models on a sample, here, and say whether they would pass."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli.transfer import connect
from modelwright.errors import InvalidInput, LocalStackError, NotFound
from modelwright.promotion.bundle import BundleSource
from modelwright.promotion.stack import Reference, StackSource
from modelwright.team import read_team

if TYPE_CHECKING:
    from modelwright.trial.rehearsal import Rival


def check(
    folder: Annotated[Path, typer.Argument(help="Folder with modelwright.toml.")],
    data: Annotated[
        Path, typer.Option("--data", help="Folder with a sample's files, below the prefixes of the sources.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            help="NAME@ALIAS at --endpoint, an exported file, or the project's folder as it was; repeatable, the first "
            "that has not seen the rows it would be judged by is taken.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    environment: Annotated[str, typer.Option(help="Whose policy counts: dev, staging, prod.")] = "dev",
    report: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown.")] = None,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Train a project's models on a sample, compare them with champions, and ask the gates; needs no AWS.

    Exit status 1 if a gate says no, a training fails, or the sample is held back.
    """
    try:
        from modelwright.trial.rehearsal import rehearse
        from modelwright.trial.report import markdown
    except ModuleNotFoundError as error:
        raise LocalStackError(f'{error.name} is not installed: pip install "modelwright[local]"') from error
    if not data.is_dir():
        raise InvalidInput(f"{data} is no folder: a sample's files lie below the prefixes of the sources")
    team = read_team(folder)
    names = [model] if model else list(team.project.models)
    given = [rival(text, endpoint) for text in against or ()]
    if strange := sorted({name for name, _ in filter(None, given) if name} - set(names)):
        raise InvalidInput(f"--against names {', '.join(strange)}, and the models are {', '.join(names) or 'none'}")
    found = [
        rehearse(
            team,
            name,
            data,
            environment=environment,
            rivals=[one for of, one in filter(None, given) if of in ("", name)],
        )
        for name in names
    ]
    text = markdown(found)
    typer.echo(text)
    if report:
        report.write_text(text, encoding="utf-8")
    if not all(each.passed for each in found):
        raise typer.Exit(1)


def rival(text: str, endpoint: str) -> "tuple[str, Rival] | None":
    """Return a rival and the model that it is of (empty: of each); None, said aloud, where there is none yet."""
    from modelwright.trial.rehearsal import Rival

    place = Path(text)
    if place.is_dir():
        if not (place / "modelwright.toml").exists():
            typer.echo(f"{place} holds no project yet: compared with nothing", err=True)
            return None
        return "", Rival("before", read_team(place))
    if place.is_file():
        bundled = BundleSource(place)
        origin = bundled.manifest().origin
        return origin.model, Rival(f"v{origin.version}", bundled)
    reference = Reference.read(text)
    stack = connect(endpoint)
    try:
        shown: Any = stack.ask("GET", f"/v1/models/{quote(reference.name, safe='')}")
    except NotFound:
        shown = {"aliases": {}}
    if reference.alias and reference.alias not in shown["aliases"]:
        typer.echo(f"{stack.name} has no {reference} yet: compared with nothing", err=True)
        return None
    number = shown["aliases"][reference.alias] if reference.alias else reference.version
    return reference.name, Rival(f"v{number}", StackSource(stack, reference, "check"))
