"""``modelwright erase``: a subject is removed from everything that lives, and the receipt is printed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.client import Api
from modelwright.errors import Unavailable
from modelwright.local import stacks

_EVERY_S = 2.0
_PATIENCE_S = 3600.0
"""A function erases for a quarter of an hour at most, then another goes on; of large stores they are a few."""


def erase(
    entity: Annotated[str, typer.Argument(help="An entity, or the join keys of a view, with commas.")] = "",
    key: Annotated[list[str] | None, typer.Argument(help="Which one: the value of each of its join keys.")] = None,
    status: Annotated[str, typer.Option("--status", help="Show this erasure instead of asking for one.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the receipt.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Remove a subject: online, offline, logs, quarantine, datasets, and all their versions.

    It is done in the stack; who interrupts the command, or does not wait, finds it by its id with --status.
    """
    if bool(status) == bool(entity and key) or (status and entity):
        raise typer.BadParameter("say whom: an entity and its key; or --status with the id of an erasure")
    api = stacks.connect(endpoint)
    if status:
        said = shown(api, status)
    else:
        said = api.post("/v1/erasures", {"entity": entity, "key": key})
        if wait:
            if not as_json:
                typer.echo(f"erasure {said['erasure_id']} was asked for; it goes on if you stop waiting")
            said = awaited(api, said["erasure_id"])
    typer.echo(json.dumps(said, indent=2) if as_json else "\n".join(lines(said)))


def shown(api: Api, erasure_id: str) -> dict[str, Any]:
    """Return how far an erasure is; raises ``NotFound``."""
    said: dict[str, Any] = api.get(f"/v1/erasures/{quote(erasure_id, safe='')}")
    return said


def awaited(api: Api, erasure_id: str, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Return an erasure when it is over.

    Raises:
        Unavailable: it is not over after all the time that it may take.
    """
    for _ in range(int(_PATIENCE_S / _EVERY_S)):
        said = shown(api, erasure_id)
        if said["status"] == "erased":
            return said
        sleep(_EVERY_S)
    raise Unavailable(
        f"erasure {erasure_id} is not over: modelwright logs maintain says why, and "
        f"modelwright erase --status {erasure_id} how far it is"
    )


def lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an erasure did, for people; times are UTC."""
    receipt = said.get("receipt")
    if not receipt:
        yield f"erasure {said['erasure_id']} is {said['status']}: modelwright erase --status {said['erasure_id']}"
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
