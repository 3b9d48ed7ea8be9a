"""``modelwright features prove``: is a feature service served what it is trained on, to the bit?"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli.audit import time_of
from modelwright.cli.telling import when
from modelwright.client import Api
from modelwright.errors import InvalidInput, Unavailable
from modelwright.local import stacks

_PAUSE_S = 1.0
_PATIENCE_S = 20 * 60.0
"""A function runs for a quarter of an hour at most, and its event takes a moment to arrive."""
Service = Annotated[str, typer.Argument(help="A feature service or model.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


def prove(
    service: Service,
    pairs: Annotated[int, typer.Option(min=0, help="Random moments of the history that are served again.")] = 10_000,
    since: Annotated[str, typer.Option(help="From this time on: 2026-03-01T12:00Z; else answers of a week.")] = "",
    proof: Annotated[str, typer.Option(help="Show this proof instead of making a new one.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Compare what was served with what is trained on; exit status 1 if anything differs or nothing is there."""
    api = stacks.connect(endpoint)
    if not proof:
        asked: dict[str, Any] = {"pairs": pairs}
        if since:
            asked["since"] = time_of(since).isoformat()
        proof = api.post(_path(service), asked)["proof_id"]
    found = awaited(api, service, proof, pause=time.sleep)
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(told(found)))
    if found["proof"]["state"] != "proven":
        raise typer.Exit(1)


def proofs(service: Service, as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print the proofs of a service, newest first."""
    listed = stacks.connect(endpoint).get(_path(service))["proofs"]
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
    elif not listed:
        typer.echo(f"nobody asked for a proof of {service}: modelwright features prove {service}")
    for each in [] if as_json else listed:
        typer.echo(f"{each['proof_id']} {when(each['asked_at'])} {each['state']:<10} {each['text']}".rstrip())


def awaited(api: Api, service: str, proof: str, *, pause: Callable[[float], None]) -> Mapping[str, Any]:
    """Return a proof when it waits no more, with its report.

    Raises:
        NotFound: the service has no such proof.
        Unavailable: it still waits after all the time that making it may take.
    """
    for _ in range(int(_PATIENCE_S / _PAUSE_S)):
        found: Mapping[str, Any] = api.get(f"{_path(service)}/{quote(proof, safe='')}")
        if found["proof"]["state"] != "waiting":
            return found
        pause(_PAUSE_S)
    raise Unavailable(f"proof {proof} of {service} still waits: modelwright logs materialize says why")


def told(found: Mapping[str, Any]) -> list[str]:
    """Return a proof as a person reads it."""
    from modelwright.features.parity.report import Report, lines

    proof = found["proof"]
    if found["report"] is None:
        return [f"{proof['service']}: NOT PROVEN: {proof['text']}"]
    return [
        *lines(Report.model_validate(found["report"])),
        f"  proof {proof['proof_id']}, report {proof['digest']}",
        f"  page, for 15 minutes: {found['url']}",
    ]


def _path(service: str) -> str:
    if not service:
        raise InvalidInput("say which feature service: modelwright features list services")
    return f"/v1/features/parity/{quote(service, safe='')}"
