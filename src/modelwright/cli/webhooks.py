"""``modelwright webhooks``: who is told what happens, and what became of that."""

import json
import secrets
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from modelwright.errors import InvalidInput
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Webhooks: who is told what happens, and what became of that.")
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Identity = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
_PATH = "/v1/webhooks"


@app.command("list")
def show(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print the webhooks, newest first."""
    found = _pages(endpoint, _PATH, "webhooks")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for webhook in found:
        failing = f"  failing ({webhook['failures_in_a_row']} in a row)" if webhook["failures_in_a_row"] else ""
        events = ", ".join(webhook["events"])
        typer.echo(f"{webhook['webhook_id']} {webhook['status']:<8} {webhook['name']:<20} {webhook['url']}{failing}")
        typer.echo(f"    {events}")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    url: Annotated[str, typer.Argument(help="Where to send to: https, and nowhere private.")],
    events: Annotated[list[str], typer.Option("--event", help="Such as model_version.created; may be repeated.")],
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    secret: Annotated[
        str, typer.Option(envvar="MODELWRIGHT_WEBHOOK_SECRET", help="Signs each delivery; made up unless given.")
    ] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Sign nothing.")] = False,
    endpoint: Endpoint = "",
) -> None:
    """Make a webhook; prints its id, and the secret where that was made up, this once."""
    if unsigned and secret:
        raise InvalidInput("a webhook is either unsigned or has a secret")
    chosen = "" if unsigned else secret or secrets.token_urlsafe(32)
    body = {"name": name, "url": url, "events": events, "description": description, "secret": chosen}
    typer.echo(stacks.connect(endpoint).post(_PATH, body)["webhook"]["webhook_id"])
    if chosen and not secret:
        typer.echo(f"secret (shown this once): {chosen}")


@app.command("test")
def try_out(
    webhook: Identity,
    event: Annotated[str, typer.Option(help="Which event to make an example of.")] = "",
    endpoint: Endpoint = "",
) -> None:
    """Send an example; exit status 1 unless the endpoint takes it."""
    result = stacks.connect(endpoint).post(f"{_PATH}/{webhook}/test", {"event": event} if event else {})["result"]
    said = result.get("error_message") or f"answered {result['response_status']}"
    typer.echo(f"{said} {result.get('response_body', '')}".rstrip())
    raise typer.Exit(0 if result["success"] else 1)


@app.command()
def delete(webhook: Identity, endpoint: Endpoint = "") -> None:
    """Remove a webhook; what waits for it is not sent any more."""
    stacks.connect(endpoint).send("DELETE", f"{_PATH}/{webhook}")


@app.command()
def deliveries(
    webhook: Identity,
    status: Annotated[str, typer.Option(help="Only these: pending, delivered or dead.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print what was told or is to be, newest first; kept for 30 days."""
    found = _pages(endpoint, f"{_PATH}/{webhook}/deliveries", "deliveries", **({"status": status} if status else {}))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for each in found:
        at = datetime.fromisoformat(each["created"]).astimezone(UTC)
        due = f", next {each['due'][:16].replace('T', ' ')}" if each["due"] else ""
        typer.echo(f"{at:%Y-%m-%d %H:%M:%S} {each['delivery_id']} {each['event']:<28} {each['status']}")
        typer.echo(f"    attempts: {each['attempts']}{due}; {each['reason'] or 'no outcome yet'}")


@app.command()
def redeliver(
    webhook: Identity,
    delivery: Annotated[str, typer.Argument(help="A delivery's id.")] = "",
    dead: Annotated[bool, typer.Option("--dead", help="All that were given up, oldest first.")] = False,
    endpoint: Endpoint = "",
) -> None:
    """Send a delivery again; exit status 1 unless the endpoint takes it."""
    if bool(delivery) == dead:
        raise InvalidInput("say either a delivery's id or --dead")
    path = f"{_PATH}/{webhook}/deliveries"
    wanted = (
        [each["delivery_id"] for each in _pages(endpoint, path, "deliveries", status="dead")] if dead else [delivery]
    )
    api, missed = stacks.connect(endpoint), 0
    for identity in reversed(wanted):
        said = api.post(f"{path}/{identity}/redeliver", {})["delivery"]
        missed += said["status"] != "delivered"
        typer.echo(f"{identity} {said['status']}: {said['reason']}")
    raise typer.Exit(1 if missed else 0)


def _pages(endpoint: str, path: str, name: str, **query: str) -> list[dict[str, Any]]:
    api, found, token = stacks.connect(endpoint), [], ""
    while True:
        page = api.get(path, **query, page_token=token)
        found += page[name]
        if not (token := page.get("next_page_token", "")):
            return found
