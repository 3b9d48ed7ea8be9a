"""``modelwright apply``: what a team's definitions would change, and the change."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from modelwright.cli.telling import shown
from modelwright.errors import Refused
from modelwright.local import stacks
from modelwright.team import Team, read_team

_KINDS = {"on_demand": "on-demand"}
_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


def apply(
    folder: Annotated[Path, typer.Argument(help="Folder with modelwright.toml.")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Only print what would change; exit status 1 if refused.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: for programs.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Print what a team's definitions change and whom that touches, and make them take effect."""
    team = read_team(folder)
    api = stacks.connect(endpoint)
    planned = api.post("/v1/projects/plan", {"project": team.project.model_dump(mode="json")})
    if plan and as_json:
        typer.echo(json.dumps(planned, indent=2))
    else:
        typer.echo("\n".join(plan_lines(team, planned)))
    if planned["refused"]:
        if plan:
            raise typer.Exit(1)
        raise Refused("nothing was applied: " + "; ".join(planned["refused"]))
    if not plan:
        stacks.apply(team, api)
        models = ", ".join(team.project.models) or "no model"
        typer.echo(f"applied {team.digest[:12]}: {models}; {len(team.project.views)} views")


def plan_lines(team: Team, planned: Mapping[str, Any]) -> Iterator[str]:
    """Yield a plan for people: what changes, whom it touches, what follows, what is refused."""
    said = "the first that is applied here" if planned["first"] else _counted(planned["changes"])
    code = ", and the code" if planned["code"] else ""
    yield shown(f"{team.project.name} {team.digest[:12]}: {said}{code}")
    for change in planned["changes"]:
        kind = _KINDS.get(change["kind"], change["kind"])
        yield shown(f"  {_SIGNS[change['change']]} {kind} {change['name']}")
        yield from (shown(f"      {text}") for text in change["details"])
        yield from (shown(f"      breaks readers: {text}") for text in change["breaking"])
    for each in planned["affected"]:
        held = f" ({each['deployed']})" if each["deployed"] else ""
        yield shown(f"  affects {each['kind']} {each['name']}{held}: {', '.join(each['features'])}")
    if planned["backfills"]:
        yield shown(f"  computed from the rows that there are: {', '.join(planned['backfills'])}")
    yield from (shown(f"  REFUSED: {text}") for text in planned["refused"])


def _counted(changes: list[Mapping[str, Any]]) -> str:
    counts = {change: sum(c["change"] == change for c in changes) for change in _SIGNS}
    return ", ".join(f"{n} {change}" for change, n in counts.items() if n) or "declares nothing new"
