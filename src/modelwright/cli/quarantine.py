"""``modelwright quarantine``: what is held back and why, what repairs are plausible, and what a person says of it."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli.telling import shown, when
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Data that is held back: why, and what becomes of it.")
Identity = Annotated[str, typer.Argument(metavar="QUARANTINE", help="A quarantine's id.")]
Reason = Annotated[str, typer.Option(help="Why, for those who read the log.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
_PATH = "/v1/quarantine"


@app.command("list")
def listed(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print what is held back: since when (UTC), of which source, how much, and what waits for a person."""
    found = stacks.connect(endpoint).get(_PATH)["quarantines"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for held in found:
        typer.echo(_line(held))
    if not found:
        typer.echo("nothing is in quarantine")


@app.command()
def show(quarantine: Identity, as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print why something is held back, what could repair it, and what did."""
    held = stacks.connect(endpoint).get(_at(quarantine))
    typer.echo(json.dumps(held, indent=2) if as_json else "\n".join(map(shown, _lines(held))))


@app.command()
def repair(
    quarantine: Identity,
    rule: Annotated[
        str,
        typer.Option(
            help="Which of the choices: its name, of several of one name NAME/2; as_it_is: the data is right."
        ),
    ],
    reason: Reason = "",
    endpoint: Endpoint = "",
) -> None:
    """Say how to repair what is held back; it must pass quality all the same, and goes on."""
    held = stacks.connect(endpoint).post(f"{_at(quarantine)}/repair", {"rule": rule, "reason": reason})
    typer.echo(shown(f"{held['id']}: {held['closed']}"))


@app.command()
def revert(quarantine: Identity, reason: Reason = "", endpoint: Endpoint = "") -> None:
    """Take a repair back: the original is in quarantine again, under the id that is printed."""
    held = stacks.connect(endpoint).post(f"{_at(quarantine)}/revert", {"reason": reason})
    typer.echo(held["id"])
    typer.echo(shown(held["stays"]), err=True)


@app.command()
def discard(quarantine: Identity, endpoint: Endpoint = "") -> None:
    """Close a quarantine without its data."""
    held = stacks.connect(endpoint).post(f"{_at(quarantine)}/discard", {})
    typer.echo(shown(f"{held['id']}: {held['closed']}"))


def _at(identity: str) -> str:
    return f"{_PATH}/{quote(identity, safe='')}"


def _line(held: Mapping[str, Any]) -> str:
    what = "the whole file" if held["scope"] == "file" else f"{held['rows']} rows"
    waits = f"  asked: {held['asked']}" if held.get("asked") else ""
    return shown(f"{held['id']:<26} {when(held['at'])}  {held['source']:<16} {what} of {held['upload_key']}{waits}")


def _lines(held: Mapping[str, Any]) -> Iterator[str]:
    yield _line({**held, "asked": ""})
    yield from (f"  {finding['severity']}: {finding['text']}" for finding in held["findings"])
    if held["asked"]:
        yield f"a person was asked: {held['asked']}"
        yield from (f"  {number}. {choice}" for number, choice in enumerate(held["choices"], 1))
    if held["reverts"]:
        yield f"a repair of {held['reverts']} was taken back"
    if held["closed"]:
        yield held["closed"]
    for step in held.get("steps", ()):
        yield f"  {step['rule']}: {step['text']}"
    if held.get("repaired") and held["repaired"]["reverted"]:
        yield held["repaired"]["reverted"]
