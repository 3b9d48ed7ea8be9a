"""``modelwright features held``: rows of accepted uploads of which no features could be made, where they are and why.

There is no index of them: the log of each source says what was held, and what came since.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer

from modelwright.cli.telling import shown, when
from modelwright.client import Api, full_name
from modelwright.events import FeaturesMaterialized, RowsHeld
from modelwright.local import stacks

Said = Mapping[str, Any]


def held(
    source: Annotated[list[str] | None, typer.Argument(help="Sources; all of them if none is named.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    endpoint: Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")] = "",
) -> None:
    """Print rows that were accepted and could not be made features of; it takes the right to read the log.

    To settle them, send them again corrected; or, where the function of a derived source is wrong, apply a repaired
    one and run `modelwright features backfill SOURCE`.
    """
    api = stacks.connect(endpoint)
    streams = [full_name(f"SOURCE#{name}", api.token) for name in source] if source else _streams(api)
    found = [each for stream in streams for each in of_stream(_envelopes(api, stream))]
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


def of_stream(envelopes: Iterable[Said]) -> list[dict[str, Any]]:
    """Return what was held of a source, oldest first; what was held again is told once, as it was the last time.

    ``whole_since`` is when rows of the source came after it of which none was held; that closed its incident, and says
    nothing of whether these very rows were among them.
    """
    found: dict[str, dict[str, Any]] = {}
    for envelope in envelopes:
        at = envelope["at"]
        if envelope["type"] == RowsHeld.detail_type():
            event = RowsHeld.model_validate(envelope["data"])
            found.pop(event.key, None)
            found[event.key] = {**event.model_dump(mode="json"), "at": at, "whole_since": None}
        elif _whole(envelope):
            for one in found.values():
                one["whole_since"] = one["whole_since"] or at
    return list(found.values())


def lines(found: Iterable[Said]) -> Iterator[str]:
    """Yield held rows for people; times are UTC."""
    empty = True
    for one in found:
        empty = False
        whole = one["whole_since"]
        since = f"others went through at {when(whole)}" if whole else "nothing went through whole since"
        yield shown(f"{one['source']}: {one['rows']} rows of {one['upload_key']}, {when(one['at'])} UTC; {since}")
        yield shown(f"  lie in the lake at {one['key']}")
        yield from (shown(f"  {reason}") for reason in one["reasons"])
    yield "no rows are held" if empty else "settle them: send them corrected, or repair the function and backfill"


def _whole(envelope: Said) -> bool:
    told = envelope["type"] == FeaturesMaterialized.detail_type()
    return told and FeaturesMaterialized.model_validate(envelope["data"]).whole


def _streams(api: Api) -> list[str]:
    return [stream for stream in api.get("/v1/log")["streams"] if stream.split("#")[2:3] == ["SOURCE"]]


def _envelopes(api: Api, stream: str) -> Iterator[Said]:
    for item in api.stream(stream):
        yield json.loads(item["envelope"])
