"""``modelwright erase``: a subject is removed from everything that lives, and the receipt is printed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from modelwright.client import Api
from modelwright.local import stacks

_EVERY_S = 2.0


def erase(
    entity: Annotated[str, typer.Argument(help="An entity, or the join keys of a view, with commas.")],
    key: Annotated[list[str], typer.Argument(help="Which one: the value of each of its join keys.")],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the receipt.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Remove a subject: online, offline, logs, quarantine, datasets, and all their versions.

    It is done in the stack; who interrupts the command, or does not wait, finds it by its id.
    """
    api = stacks.connect(endpoint)
    said = api.post("/v1/erasures", {"entity": entity, "key": key})
    if wait:
        if not as_json:
            typer.echo(f"erasure {said['erasure_id']} was asked for; it goes on if you stop waiting")
        said = awaited(api, said["erasure_id"])
    typer.echo(json.dumps(said, indent=2) if as_json else "\n".join(lines(said)))


def awaited(api: Api, erasure_id: str, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Return an erasure when it is over."""
    while True:
        said: dict[str, Any] = api.get(f"/v1/erasures/{erasure_id}")
        if said["status"] == "erased":
            return said
        sleep(_EVERY_S)


def lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an erasure did, for people; times are UTC."""
    receipt = said.get("receipt")
    if not receipt:
        yield f"erasure {said['erasure_id']} is {said['status']}: GET /v1/erasures/{said['erasure_id']}"
        return
    yield f"erased      {receipt['erasure_id']} at {_time(receipt['erased_at'])}"
    total = sum(receipt["rows"].values())
    objects = sum(receipt["objects"].values())
    removed = f"{total} rows in {objects} objects and items" if objects else "nothing: nothing was found"
    yield f"removed     {removed}"
    for place, count in receipt["objects"].items():
        yield f"  {place:<18} {receipt['rows'].get(place, 0):>8} rows in {count}"
    for dataset in receipt["datasets"]:
        yield f"dataset     {dataset['digest'][:12]} is {dataset['replaced_by'][:12] or 'no more'}"
    yield f"trained on  {', '.join(receipt['models']) or 'no model version'}"
    yield f"backups     expire by {_time(receipt['backups_until'])}"
    yield f"subject     {receipt['subject']} (HMAC-SHA256, salt {receipt['salt']})"


def _time(text: str) -> str:
    return f"{text[:10]} {text[11:19]}"
