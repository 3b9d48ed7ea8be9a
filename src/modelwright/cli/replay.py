"""``modelwright replay``: what another policy would have done with what happened."""

import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from modelwright.adapters.memory import MemoryTables
from modelwright.client import whole_log
from modelwright.errors import InvalidInput
from modelwright.http import parse_time
from modelwright.local import stacks
from modelwright.project import Model, Project
from modelwright.retraining.differences import compare
from modelwright.retraining.whatif import Past
from modelwright.team import read_team

PARTS = ("retraining", "monitoring")
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


def replay(
    policy: Annotated[
        Path, typer.Option(help="A TOML file with tables [models.NAME.retraining] or [models.NAME.monitoring].")
    ],
    since: Annotated[str, typer.Option("--from", help="From this time on: 2026-03-01T00:00Z; empty: the start.")] = "",
    until: Annotated[str, typer.Option("--to", help="Before this time; empty: now.")] = "",
    model: Annotated[str, typer.Option(help="Only this model; empty: all that the file names.")] = "",
    project: Annotated[
        Path | None, typer.Option(help="Folder of the project; without it, what the stack has now.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A file that `modelwright log export` wrote; without it, the stack's log.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Tell what happened to another policy, and print what it does otherwise: alarms, retrainings, money, outcome.

    What the file does not say is as in the project. Which policies ran at which time is in the log; before it tells of
    any, the project's counts. The other policy decides from `--from` on.
    """
    ran = _ran(project, log, endpoint)
    others = others_of(policy, ran)
    if model and model not in others:
        raise InvalidInput(f"{policy} says nothing of model {model}: it names {', '.join(others)}")
    period = (parse_time(since) if since else _EVER, parse_time(until) if until else datetime.now(UTC))
    if period[0] >= period[1]:
        raise InvalidInput(f"--from {since} is not before --to {until}")
    envelopes = _envelopes(log, endpoint)
    found = [
        compare(Past.read(envelopes, ran, name), ran, other, period, MemoryTables)
        for name, other in others.items()
        if model in ("", name)
    ]
    if as_json:
        typer.echo(json.dumps([each.json() for each in found], indent=2))
    else:
        typer.echo("\n\n".join("\n".join(each.lines()) for each in found))


def others_of(policy: Path, ran: Project) -> dict[str, Project]:
    """Return, for each model that a file names, the project with what the file says instead.

    Raises:
        InvalidInput: the file is none, is no TOML, or names what is not there.
    """
    try:
        document = tomllib.loads(policy.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no file {policy}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{policy} is no TOML: {error}") from error
    models = document.get("models", {})
    told = {name: said for name, said in models.items() if isinstance(said, dict) and set(PARTS) & set(said)}
    if not told:
        raise InvalidInput(f"{policy} has no table [models.NAME.retraining] or [models.NAME.monitoring]")
    return {name: _other(policy, ran, name, said) for name, said in told.items()}


def _other(policy: Path, ran: Project, name: str, said: Mapping[str, Any]) -> Project:
    """Return a project with other policies of one model; what else a model's table says is passed over."""
    declared = ran.model(name)
    parts = {part: {**getattr(declared, part).model_dump(), **said.get(part, {})} for part in PARTS}
    try:
        other = Model.model_validate({**declared.model_dump(), **parts})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidInput(f"{policy}: models.{name}: {faults}") from error
    return ran.model_copy(update={"models": {**ran.models, name: other}})


def _ran(project: Path | None, log: Path | None, endpoint: str) -> Project:
    if project is not None:
        return read_team(project).project
    if log is not None:
        raise InvalidInput("a file of the log does not say what is declared: give the project's folder as --project")
    return Project.model_validate(stacks.connect(endpoint).get("/v1/projects/current"))


def _envelopes(log: Path | None, endpoint: str) -> list[dict[str, Any]]:
    """Return the envelopes of a whole log."""
    if log is None:
        items, _ = whole_log(stacks.connect(endpoint))
        return [json.loads(item["envelope"]) for item in items]
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        return [json.loads(json.loads(line)["envelope"]) for line in lines if line.strip()]
    except FileNotFoundError as error:
        raise InvalidInput(f"there is no file {log}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{log} is no export of a log: write one with `modelwright log export`") from error
