"""``modelwright models``: what is in the registry, how it came there, and who decides what comes next."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Registered models: their history, their requests, their cards.")
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


@app.command()
def history(name: Annotated[str, typer.Argument(help="A registered model.")], endpoint: Endpoint = "") -> None:
    """Print all that ever happened to a model, oldest first."""
    for event in stacks.connect(endpoint).get(f"/v1/models/{name}/history")["events"]:
        at = datetime.fromisoformat(event["at"]).astimezone(UTC)
        typer.echo(f"{at:%Y-%m-%d %H:%M:%S} {event['type']:<24} {event['actor']}")
