"""``modelwright features backfill``: views of a source computed again from the offline store, and how far that is."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli.audit import time_of
from modelwright.cli.telling import shown, when
from modelwright.client import Api
from modelwright.errors import InvalidInput, Refused
from modelwright.local import stacks

_EVERY_S = 2.0
_PATH = "/v1/features/backfills"
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Said = Mapping[str, Any]


def backfill(
    source: Annotated[str, typer.Argument(help="A source.")],
    view: Annotated[list[str] | None, typer.Option("--view", help="Only this view of it; may be said again.")] = None,
    start: Annotated[
        str, typer.Option("--start", help="Only entities with rows whose event times are from here: 2026-03-01T12:00Z")
    ] = "",
    end: Annotated[str, typer.Option("--end", help="to here, this moment not included.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is over.")] = True,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Compute views of a source again from the offline store, and put them online; exit status 1 if that failed.

    It is done in the stack; who interrupts the command, or does not wait, finds it by `modelwright features backfills`.
    """
    asked: dict[str, Any] = {"source": source, "views": list(view or ())}
    if bool(start) != bool(end):
        raise InvalidInput("--start and --end go together")
    if start:
        asked["window"] = {"start": time_of(start).isoformat(), "end": time_of(end).isoformat()}
    api = stacks.connect(endpoint)
    said: Said = api.post(_PATH, asked)
    if wait:
        typer.echo(f"backfill {said['backfill_id']} was asked for; it goes on if you stop waiting", err=True)
        said = awaited(api, said["backfill_id"], pause=time.sleep)
    typer.echo(json.dumps(said, indent=2) if as_json else line(said))
    if said["state"] == "failed":
        raise Refused(f"backfill {said['backfill_id']} of {said['source']} failed: {said['reason']}")


def backfills(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print the newest backfills, how far they are, and why they failed."""
    page = stacks.connect(endpoint).get(_PATH)
    if as_json:
        typer.echo(json.dumps(page["backfills"], indent=2))
    else:
        typer.echo("\n".join(lines(page)))


def awaited(api: Api, backfill_id: str, *, pause: Callable[[float], None]) -> Said:
    """Return a backfill when it is over, and tell on stderr how far it is whenever that is news."""
    told = ""
    while True:
        said: Said = api.get(f"{_PATH}/{quote(backfill_id, safe='')}")
        if said["state"] in ("completed", "failed"):
            return said
        if (news := line(said)) != told:
            typer.echo(news, err=True)
            told = news
        pause(_EVERY_S)


def lines(page: Said) -> Iterator[str]:
    """Yield a page of backfills, newest first; times are UTC."""
    yield from map(line, page["backfills"])
    if not page["backfills"]:
        yield "there was no backfill"
    if page["cursor"]:
        yield "older ones are left out"


def line(said: Said) -> str:
    """Return a backfill as a line."""
    views = ", ".join(said["views"]) or "all views"
    within = f" {when(said['window']['start'])} to {when(said['window']['end'])}" if said["window"] else ""
    return shown(
        f"{said['backfill_id']} {when(said['requested_at'])} {said['state']:<9} "
        f"{said['source']} ({views}{within}): {_progress(said)}"
    )


def _progress(said: Said) -> str:
    done = f"{said['rows']:,} rows read, {said['online_items']:,} items written"
    match said["state"]:
        case "requested":
            return "nothing is done yet"
        case "running":
            return f"step {said['steps']} of {said['of']}, {said['phase']}; {done}"
        case "failed":
            return f"{said['reason']}; {done}"
        case _:
            return done
