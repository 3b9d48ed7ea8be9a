"""``modelwright transitions``: who asked that which version take which alias, and what became of that."""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.cli.telling import shown, when
from modelwright.client import Api
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Requests that versions take aliases: ask, follow, approve, reject.")
Name = Annotated[str, typer.Argument(help="A registered model.")]
Identity = Annotated[str, typer.Argument(metavar="REQUEST", help="A request's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]


@app.command()
def request(
    name: Name,
    version: Annotated[int, typer.Argument(min=1, help="Its version.")],
    alias: Annotated[str, typer.Argument(help="Such as champion.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Override gates and missing approvals, for the reason given.")
    ] = False,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Ask that a version take an alias: it does at once, or the request waits for gates or people."""
    body = {"version": version, "alias": alias, "reason": reason, "force": force}
    _tell(stacks.connect(endpoint).post(_path(name), body), as_json=as_json)


@app.command("list")
def listed(
    name: Annotated[str, typer.Argument(help="A registered model; without it, what waits for your approval.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print a model's requests, newest first, or all those that you could approve."""
    found = list(_pages(stacks.connect(endpoint), _path(name) if name else "/v1/approvals"))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo(f"nobody asked for a version of {name}" if name else "nothing waits for your approval")
    else:
        for transition in found:
            typer.echo(_line(transition))


@app.command()
def show(name: Name, request: Identity, as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print a request with what its gates said and who approved it."""
    _tell(stacks.connect(endpoint).get(_path(name, request)), as_json=as_json)


@app.command()
def approve(
    name: Name,
    request: Identity,
    comment: Annotated[str, typer.Option(help="What the record should say.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Approve a request of somebody else; the last approval that it needs applies it."""
    _tell(stacks.connect(endpoint).post(_path(name, request, "approve"), {"comment": comment}), as_json=as_json)


@app.command()
def reject(
    name: Name,
    request: Identity,
    reason: Annotated[str, typer.Option(help="Why.")],
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """End a request with a no."""
    _tell(stacks.connect(endpoint).post(_path(name, request, "reject"), {"reason": reason}), as_json=as_json)


@app.command()
def withdraw(
    name: Name,
    request: Identity,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Take your own request back."""
    _tell(stacks.connect(endpoint).post(_path(name, request, "withdraw"), {"reason": reason}), as_json=as_json)


def _path(name: str, request: str = "", verb: str = "") -> str:
    parts = ("/v1/models", quote(name, safe=""), "transitions", quote(request, safe=""), verb)
    return "/".join(part for part in parts if part)


def _pages(api: Api, path: str) -> Iterator[Any]:
    token = ""
    while True:
        page = api.get(path, page_token=token)
        yield from page["transitions"]
        if not (token := page.get("next_page_token", "")):
            return


def _tell(answer: Any, *, as_json: bool) -> None:
    transition = answer["transition"]
    typer.echo(json.dumps(transition, indent=2) if as_json else "\n".join(_lines(transition)))


def _lines(transition: Mapping[str, Any]) -> Iterator[str]:
    yield _line(transition)
    if transition["reason"]:
        yield shown(f"  {'overridden' if transition['forced'] else 'asked'} because: {transition['reason']}")
    for result in transition["results"]:
        yield shown(f"  {'yes' if result['passed'] else 'NO '}  {result['gate']}: {result['text']}")
    yield from (shown(f"  ...  {gate}: still to be run") for gate in transition["pending"])
    for approval in transition["approvals"]:
        comment = f": {approval['comment']}" if approval["comment"] else ""
        yield shown(f"  approved by {approval['actor']} at {when(approval['at'])} UTC{comment}")
    if transition["state"] in ("judging", "waiting"):
        yield f"  expires at {when(transition['expires'])} UTC"


def _line(transition: Mapping[str, Any]) -> str:
    what = f"{transition['model']} v{transition['version']} -> {transition['alias']}"
    who = f"asked by {transition['actor']} at {when(transition['at'])} UTC"
    return shown(f"{transition['request_id'] or '-':<32}  {what}  {_standing(transition)}, {who}")


def _standing(transition: Mapping[str, Any]) -> str:
    """Return how far a request is, in words."""
    state, missing = transition["state"], transition["missing"]
    if state == "waiting":
        return f"waits for {missing} more approval{'' if missing == 1 else 's'}"
    if state == "judging":
        return "waits for gates"
    if state == "applied":
        return "applied (overridden)" if transition["forced"] else "applied"
    said = f": {transition['decision']}" if transition["decision"] else ""
    by = "gates" if transition["why"] == "gates" else f"{transition['why']} by {transition['decided_by']}{said}"
    return f"refused ({by})"
