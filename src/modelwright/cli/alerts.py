"""``modelwright alerts``, ``silences`` and ``incidents``: who is told of what, what is kept back, what is wrong."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from modelwright.declarations import span_us
from modelwright.errors import InvalidInput
from modelwright.local import stacks

Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
_CHANNELS, _SILENCES = "/v1/alerts/channels", "/v1/alerts/silences"

alerts = typer.Typer(no_args_is_help=True, help="Channels: who is told of which incidents, and by what.")
silences = typer.Typer(no_args_is_help=True, help="Silences: alerts that are kept back until a time.")
incidents = typer.Typer(no_args_is_help=True, help="Incidents: what is wrong, and what was.")


@alerts.command("channels")
def channels(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print the channels."""
    found = stacks.connect(endpoint).get(_CHANNELS)["channels"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    for channel in () if as_json else found:
        options = ", ".join(f"{name} {value}" for name, value in channel["options"].items())
        about = f"  of {', '.join(channel['subjects'])}" if channel["subjects"] else ""
        typer.echo(
            f"{channel['name']:<20} {channel['notifier']:<8} {', '.join(channel['tiers'])}{about}  {options}".rstrip()
        )


@alerts.command()
def add(
    name: Annotated[str, typer.Argument(help="What the channel is called; one of that name is replaced.")],
    notifier: Annotated[str, typer.Argument(help="sns, slack, webhook, email, or one of your own.")],
    option: Annotated[list[str] | None, typer.Option(help="name=value; - reads the value from standard input.")] = None,
    tier: Annotated[list[str] | None, typer.Option(help="critical, warning or info; may be repeated.")] = None,
    subject: Annotated[list[str] | None, typer.Option(help="Only subjects that begin so; may be repeated.")] = None,
    endpoint: Endpoint = "",
) -> None:
    """Add a channel: modelwright alerts add ops slack --option url=- --tier critical."""
    told = {}
    for each in option or []:
        key, equals, value = each.partition("=")
        if not equals:
            raise InvalidInput(f"--option {each}: write name=value")
        told[key] = typer.get_text_stream("stdin").readline().strip() if value == "-" else value
    body: dict[str, Any] = {"name": name, "notifier": notifier, "options": told, "subjects": subject or []}
    stacks.connect(endpoint).post(_CHANNELS, {**body, **({"tiers": tier} if tier else {})})
    typer.echo(f"{name} is told; try it: modelwright alerts test {name}")


@alerts.command()
def remove(name: str, endpoint: Endpoint = "") -> None:
    """Remove a channel."""
    stacks.connect(endpoint).send("DELETE", f"{_CHANNELS}/{name}")


@alerts.command("test")
def try_out(name: str, endpoint: Endpoint = "") -> None:
    """Send a test notice."""
    stacks.connect(endpoint).post(f"{_CHANNELS}/{name}/test", {})
    typer.echo("sent")


@alerts.command()
def series(
    name: Annotated[str, typer.Argument(help="One of them, with all its points.")] = "", endpoint: Endpoint = ""
) -> None:
    """Print the series of figures that are watched for anomalies, with their newest value and band."""
    found = stacks.connect(endpoint).get("/v1/alerts/series", **({"name": name} if name else {}))
    if name:
        typer.echo(json.dumps(found, indent=2))
    for one in () if name else found["series"]:
        state = "OUTSIDE" if one["outside"] else "inside"
        band = "not enough is known" if one["low"] is None else f"{one['low']:.4g} to {one['high']:.4g}"
        typer.echo(f"{one['name']:<40} {one['value']:<12.5g} {state:<8} {band}  {one['at']}")


@silences.command("list")
def list_silences(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print the silences."""
    found = stacks.connect(endpoint).get(_SILENCES)["silences"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    for one in () if as_json else found:
        state = "until" if one["active"] else "was until"
        typer.echo(f"{one['silence_id']} {one['subject']:<40} {state} {one['until']}  {one['reason']}")


@silences.command("add")
def add_silence(
    subject: Annotated[str, typer.Argument(help="Of incidents; all that begin with it, if it ends in /.")],
    reason: Annotated[str, typer.Argument(help="Why.")],
    last: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h, 7d.")] = "2h",
    endpoint: Endpoint = "",
) -> None:
    """Keep alerts back for a while."""
    try:
        until = datetime.now(UTC) + timedelta(microseconds=span_us(last))
    except (ValueError, KeyError) as error:
        raise InvalidInput(f"--for {last}: write 30m, 2h or 7d") from error
    body = {"subject": subject, "reason": reason, "until": until.isoformat()}
    typer.echo(stacks.connect(endpoint).post(_SILENCES, body)["silence"]["silence_id"])


@silences.command()
def end(silence: str, endpoint: Endpoint = "") -> None:
    """End a silence before its time."""
    stacks.connect(endpoint).send("DELETE", f"{_SILENCES}/{silence}")


@incidents.command("list")
def list_incidents(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print what is wrong."""
    found = stacks.connect(endpoint).get("/v1/incidents")["incidents"]
    found = [one for one in found if one["open"] or everything]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    for one in () if as_json else found:
        state = one["severity"] if one["open"] else "closed"
        typer.echo(f"{one['incident_id']} {state:<8} {one['at']}  {one['subject']} (x{one['count']})")
        typer.echo(f"    {one['last_text']}")


@incidents.command()
def close(
    incident: str,
    reason: Annotated[str, typer.Argument(help="Why nobody need look at it any more.")],
    endpoint: Endpoint = "",
) -> None:
    """Close an incident; a newer cause opens another one."""
    stacks.connect(endpoint).post(f"/v1/alerts/incidents/{incident}/close", {"reason": reason})
