"""``modelwright models``: what is in the registry, how it came there, and who decides what comes next."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli import cards, telling
from modelwright.client import Api
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Registered models: their history, their requests, their cards.")
Name = Annotated[str, typer.Argument(help="A registered model.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
app.command("card")(cards.card)
app.command("write-card")(cards.write_card)


@app.command()
def history(
    name: Name,
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only events of this type; can be repeated.")] = None,
    since: Annotated[str, typer.Option(help="From this time on: 2026-03-01T12:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Before this time.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print all that ever happened to a model, oldest first: when (UTC), who, what."""
    for event in _events(stacks.connect(endpoint), name, kind or [], since, until):
        typer.echo(json.dumps(event) if as_json else telling.event_line(event))


@app.command("as-of")
def as_of(
    name: Name,
    time: Annotated[str, typer.Argument(help="When: 2026-03-01T12:00Z; without it, now.")] = "",
    version: Annotated[int, typer.Option(min=0, help="Tell of this version too.")] = 0,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print what was so at a time: which versions held which aliases, from where, by whom, with what traffic."""
    path = f"/v1/models/{quote(name, safe='')}/as-of"
    said = stacks.connect(endpoint).get(path, time=time, version=str(version))
    typer.echo(json.dumps(said, indent=2) if as_json else "\n".join(telling.as_of_lines(said)))


@app.command()
def lineage(
    name: Annotated[str, typer.Argument(help="A model, or its version: churn, churn/3, churn@champion.")],
    kind: Annotated[
        str,
        typer.Option(help="What NAME is: source, view, feature, dataset, run, version, model; empty: the last two."),
    ] = "",
    depth: Annotated[int, typer.Option(min=1, max=10, help="Steps away from it.")] = 10,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print what something was made of, and what was made of it."""
    kind = kind or ("version" if {"/", "@"} & set(name) else "model")
    path = f"/v1/lineage/{quote(kind, safe='')}/{quote(name, safe='')}"
    api = stacks.connect(endpoint)
    if as_json:
        typer.echo(json.dumps(api.get(path, depth=str(depth)), indent=2))
        return
    lines: list[str] = []
    for direction, title in (("up", "made of:"), ("down", "used by:")):
        graph = api.get(path, depth=str(depth), direction=direction)
        lines += [title, *telling.tree(graph, direction)] if graph["edges"] else []
    typer.echo("\n".join(lines) or f"nothing is known of what {name} was made of, or where it is used")


@app.command()
def uses(
    feature: Annotated[str, typer.Argument(help="A feature: its name, or <view>:<feature>.")],
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print which versions of which models use a feature, those that are deployed first."""
    graph = stacks.connect(endpoint).get(f"/v1/lineage/feature/{quote(feature, safe='')}", direction="down")
    typer.echo(json.dumps(graph, indent=2) if as_json else "\n".join(telling.uses_lines(graph)))


def _events(api: Api, name: str, kinds: list[str], since: str, until: str) -> Iterator[Mapping[str, Any]]:
    """Yield the events of a history, page by page."""
    token, path = "", f"/v1/models/{quote(name, safe='')}/history"
    types = "&".join(f"type={quote(kind, safe='')}" for kind in kinds)
    while True:
        said = api.get(f"{path}?{types}" if types else path, since=since, until=until, page_token=token)
        yield from said["events"]
        if not (token := said.get("next_page_token", "")):
            return
