"""``modelwright access``: who may do what, and why; tokens, IAM principals, identity providers."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelwright.errors import InvalidInput
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Who may do what, and why; tokens, principals, identity providers.")
tokens = typer.Typer(no_args_is_help=True, help="Bearer tokens; a secret is shown once, and only its hash is kept.")
principals = typer.Typer(no_args_is_help=True, help="IAM users and roles that sign their requests.")
people = typer.Typer(no_args_is_help=True, help="Whom identity providers vouched for, under pseudonyms.")
app.add_typer(tokens, name="tokens")
app.add_typer(principals, name="principals")
app.add_typer(people, name="people")

Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Grants = Annotated[list[str] | None, typer.Option("--grant", help="ROLE, or ROLE:RESOURCES (approver:model/*).")]
Denies = Annotated[list[str] | None, typer.Option("--deny", help="The same, taken away: a deny wins.")]
Until = Annotated[str, typer.Option("--expires", help="Days (30) or an ISO time (2026-12-31); without it: never.")]
_TOKENS, _PRINCIPALS, _PROVIDERS, _PEOPLE = (
    f"/v1/access/{each}" for each in ("tokens", "principals", "providers", "people")
)


@app.command()
def explain(
    actor: Annotated[str, typer.Argument(help="As the log names it, or an ARN.")],
    action: Annotated[str, typer.Argument(help="Such as models:approve.")],
    resource: Annotated[str, typer.Argument(help="Such as model/churn.")],
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Say whether somebody may do something, and which grants decide; exit status 1 if not."""
    asked = {"actor": actor, "action": action, "resource": resource}
    told = stacks.connect(endpoint).get("/v1/access/explain", **asked)
    typer.echo(json.dumps(told, indent=2) if as_json else _explained(told))
    raise typer.Exit(0 if told["allowed"] else 1)


@app.command()
def matrix(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """Print what each role may do."""
    roles = stacks.connect(endpoint).get("/v1/access/roles")["roles"]
    if as_json:
        typer.echo(json.dumps(roles, indent=2))
        return
    actions = sorted({action for allowed in roles.values() for action in allowed})
    marks = [[action, *("x" if action in allowed else "" for allowed in roles.values())] for action in actions]
    _table(["action", *roles], marks)


@app.command()
def trust(
    file: Annotated[Path, typer.Argument(help="TOML: issuer, audiences, [[rules]] with claim, value, grants.")],
    endpoint: Endpoint = "",
) -> None:
    """Let an identity provider's people in, as a file says; an issuer that is trusted already is replaced."""
    try:
        provider = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read as TOML: {error}") from error
    made = stacks.connect(endpoint).post(_PROVIDERS, provider)
    typer.echo(f"trusted {provider['issuer']} as {made['id']}")


@app.command()
def distrust(
    provider: Annotated[str, typer.Argument(help="Its id, as `providers` lists it.")], endpoint: Endpoint = ""
) -> None:
    """Let an identity provider's people in no more."""
    stacks.connect(endpoint).send("DELETE", f"{_PROVIDERS}/{quote(provider, safe='')}")
    typer.echo("distrusted")


@app.command()
def providers(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """List the identity providers that are trusted."""
    found = stacks.connect(endpoint).get(_PROVIDERS)["providers"]
    rows = [[each["id"], each["issuer"], " ".join(each["audiences"]), _time(each["trusted"])] for each in found]
    _listed(found, ["id", "issuer", "audiences", "trusted"], rows, as_json=as_json)


@tokens.command("list")
def list_tokens(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """List tokens, without anything that would let one in."""
    found = stacks.connect(endpoint).get(_TOKENS)["tokens"]
    rows = [[*_held(t), " ".join(t["shown_to"]) or "-", _said(t["grants"])] for t in found]
    _listed(found, ["id", "actor", "state", "issued", "expires", "shown to", "grants"], rows, as_json=as_json)


@tokens.command()
def issue(
    actor: Annotated[str, typer.Argument(help="Whom the log will name; better a pseudonym.")],
    grant: Grants = None,
    deny: Denies = None,
    expires: Until = "",
    endpoint: Endpoint = "",
) -> None:
    """Make a token and print it, this once."""
    when = {"days": float(expires)} if expires.replace(".", "", 1).isdigit() else {"expires": expires or None}
    asked = {"actor": actor, "grants": _grants(grant, deny), **when}
    typer.echo(stacks.connect(endpoint).post(_TOKENS, asked)["token"])


@tokens.command()
def rotate(
    token_id: Annotated[str, typer.Argument(help="As `list` shows it.")],
    grace: Annotated[float, typer.Option(min=0, max=24, help="Hours that the old secret stays good.")] = 0,
    endpoint: Endpoint = "",
) -> None:
    """Give a token a new secret and print it with that, this once."""
    path = f"{_TOKENS}/{quote(token_id, safe='')}/rotate"
    typer.echo(stacks.connect(endpoint).post(path, {"grace_hours": grace})["token"])


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(help="As `list` shows it.")], endpoint: Endpoint = "") -> None:
    """Make a token invalid at once."""
    stacks.connect(endpoint).send("DELETE", f"{_TOKENS}/{quote(token_id, safe='')}")
    typer.echo("revoked")


@principals.command("list")
def list_principals(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """List the IAM users and roles that were admitted."""
    found = stacks.connect(endpoint).get(_PRINCIPALS)["principals"]
    rows = [[each["id"], each["arn"], _time(each["admitted"]), _said(each["grants"])] for each in found]
    _listed(found, ["id", "arn", "admitted", "grants"], rows, as_json=as_json)


@principals.command()
def admit(
    arn: Annotated[str, typer.Argument(help="Of an IAM user or role.")],
    grant: Grants = None,
    deny: Denies = None,
    endpoint: Endpoint = "",
) -> None:
    """Say what an IAM user or role may do; repeated, it is replaced."""
    admitted = stacks.connect(endpoint).post(_PRINCIPALS, {"arn": arn, "grants": _grants(grant, deny)})
    typer.echo(f"admitted {admitted['principal']} as {admitted['id']}")


@principals.command()
def dismiss(
    arn: Annotated[str, typer.Argument(help="The ARN, or the id as `list` shows it.")], endpoint: Endpoint = ""
) -> None:
    """Take an admission away, at once."""
    stacks.connect(endpoint).send("DELETE", f"{_PRINCIPALS}/{quote(arn, safe=':/')}")
    typer.echo("dismissed")


@people.command("list")
def list_people(as_json: AsJson = False, endpoint: Endpoint = "") -> None:
    """List whose pseudonyms are known."""
    found = stacks.connect(endpoint).get(_PEOPLE)["people"]
    rows = [[each["id"], each["subject"], each["issuer"], _time(each["first"])] for each in found]
    _listed(found, ["id", "subject", "issuer", "first seen"], rows, as_json=as_json)


@people.command()
def forget(
    person: Annotated[str, typer.Argument(help="The pseudonym, as `list` shows it.")], endpoint: Endpoint = ""
) -> None:
    """Forget whose a pseudonym is, for good; the log stays as it is."""
    stacks.connect(endpoint).send("DELETE", f"{_PEOPLE}/{quote(person, safe='')}")
    typer.echo("forgotten")


def _grants(allowed: Sequence[str] | None, denied: Sequence[str] | None) -> list[dict[str, str]]:
    return [
        {"role": role, "resources": resources or "*", "effect": effect}
        for effect, texts in (("allow", allowed or ()), ("deny", denied or ()))
        for role, _, resources in (text.partition(":") for text in texts)
    ]


def _explained(told: Mapping[str, Any]) -> str:
    verdict = "allowed" if told["allowed"] else "NOT allowed"
    lines = [f"{told['actor']}: {told['action']} on {told['resource']} is {verdict}", told["why"], ""]
    for each in told["credentials"]:
        lines.append(f"{each['kind']} {each['id']} ({each['state']})")
        for text in each["grants"]:
            decides = "decides" if text in (*each["allows"], *each["denies"]) else "does not cover it"
            lines.append(f"  {text:<44} {decides}")
    return "\n".join([*lines, f"roles that may {told['action']}: {', '.join(told['roles'])}"])


def _state(token: Mapping[str, Any]) -> str:
    if token["revoked"]:
        return "revoked"
    over = token["expires"] and datetime.fromisoformat(token["expires"]) <= datetime.now(UTC)
    return "expired" if over else "valid"


def _held(token: Mapping[str, Any]) -> list[str]:
    return [token["id"], token["actor"], _state(token), _time(token["issued"]), _time(token["expires"])]


def _said(grants: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{each['effect']} {each['role']} on {each['resources']}" for each in grants) or "nothing"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M}" if text else "-"


def _listed(found: Any, titles: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _table(titles, rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[n]) for row in (titles, *rows)) for n in range(len(titles))]
    for row in (titles, *rows):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
