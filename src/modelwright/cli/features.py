"""``modelwright features``: what the feature store has, and how it is."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from modelwright.cli import backfills, held, retrieval
from modelwright.cli.telling import shown, when
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="The feature store: find features, see how they are, get them.")
app.command("get")(retrieval.get)
app.command("jobs")(retrieval.jobs)
app.command("dataset")(retrieval.dataset)
app.command("backfill")(backfills.backfill)
app.command("backfills")(backfills.backfills)
app.command("held")(held.held)
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Row = Sequence[str]
_FIGURES = ("least", "q05", "median", "mean", "q95", "most")


@app.command("list")
def listed(
    what: Annotated[
        Literal["views", "entities", "sources", "services"], typer.Argument(help="Of what kind.")
    ] = "views",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print the feature views, or entities, sources or feature services (models among them)."""
    found = stacks.connect(endpoint).get(f"/v1/features/{what}")[what]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        head, row = _LISTS[what]
        _print(table([head, *map(row, found)]) if found else [f"there are no {what} that you may read"])


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="All of them are in a name, description, owner, tag or column.")],
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Find views, entities, sources, services and on-demand features."""
    found = stacks.connect(endpoint).get("/v1/features/search", q=" ".join(words))["found"]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        rows = [(f["kind"], f["name"], f["owner"], ", ".join(f["matching"][:4]), f["description"]) for f in found]
        _print(table([("kind", "name", "owner", "matching", ""), *rows]) if found else ["nothing has all these words"])


@app.command()
def registry(
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("registry.db"),
    endpoint: Endpoint = "",
) -> None:
    """Write the project as a registry of Feast's, for its clients: `registry: registry.db` in feature_store.yaml."""
    out.write_bytes(stacks.connect(endpoint).download("/v1/features/registry.db"))
    typer.echo(f"wrote {out}")


@app.command()
def describe(
    view: Annotated[str, typer.Argument(help="A feature view.")],
    first: Annotated[str, typer.Option("--from", help="Statistics from this day on: 2026-03-01.")] = "",
    last: Annotated[str, typer.Option("--to", help="Up to this day.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print all that is known of a view: features, freshness, who uses it, and its values day by day."""
    api, path = stacks.connect(endpoint), f"/v1/features/views/{quote(view, safe='')}"
    said = api.get(path)
    values = api.get(f"{path}/statistics", **{"from": first, "to": last})
    if as_json:
        typer.echo(json.dumps({**said, "statistics": values}, indent=2))
    else:
        _print([*view_lines(said), *statistics_lines(values)])


def view_lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is known of a view."""
    yield f"{said['name']} version {said['version']}: {said['description'] or 'nobody has described it'}"
    yield f"  owner       {said['owner'] or 'nobody'}{_tags(said['tags'])}"
    named = f" ({', '.join(said['entities'])})" if said["entities"] else ""
    yield f"  entity      {', '.join(said['entity']) or 'none'}{named}"
    yield f"  source      {said['source']}" + (f", rows are served for {said['ttl']}" if said["ttl"] else "")
    yield f"  freshness   {_fresh(said['freshness'])}"
    if ran := said["last_materialized"]:
        yield f"  last taken  {when(ran['at'])} UTC: {ran['rows']} rows of {ran['upload_key']}"
    for user in said["used_by"]:
        yield f"  used by     {user['kind']} {user['name']}: {', '.join(user['features'])}"
    rows = [(f["name"], f["type"], _made(f), _expected(f["expected"]), f["description"]) for f in said["features"]]
    yield from table([("feature", "type", "of", "expected", ""), *rows])
    for feature in said["features"]:
        if feature["expectation_broken"]:
            yield f"  NOT AS EXPECTED: {feature['name']}: {feature['expectation_broken']}"


def statistics_lines(said: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values of a view's columns by the day on which their rows became known."""
    rows = [
        (day["day"], str(day["rows"]), name, str(told["missing"]), str(told.get("distinct", "")), *_figures(told))
        for name in dict.fromkeys(said["columns"].values())
        for day in said["days"]
        for told in [day["columns"].get(name)]
        if told is not None
    ]
    if rows:
        yield from table([("day", "rows", "column", "missing", "distinct", *_FIGURES), *rows])
        if made := [f"{name} of {column}" for name, column in said["columns"].items() if name != column]:
            yield f"these are values of columns, not of what is made from them ({', '.join(made)})"
    else:
        yield "there are no rows of these days"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield rows as lines with their columns below one another; the first is the head."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        typer.echo(shown(line))


def _view(v: Mapping[str, Any]) -> Row:
    return (
        v["name"],
        str(v["version"]),
        ", ".join(v["entity"]),
        v["source"],
        str(len(v["serves"])),
        v["owner"],
        _said(v),
    )


def _entity(e: Mapping[str, Any]) -> Row:
    return e["name"], ", ".join(e["join_keys"]), ", ".join(e["views"]), e["owner"], _said(e)


def _source(s: Mapping[str, Any]) -> Row:
    came = f"below {s['prefix']}" if s["prefix"] else f"from {s['derived']['source']}" if s["derived"] else "pushed"
    newest = when(s["newest_available"]) if s["newest_available"] else "never"
    return s["name"], came, str(s["rows"]), newest, ", ".join(s["views"]), s["owner"], _said(s)


def _service(s: Mapping[str, Any]) -> Row:
    return s["name"], s["kind"], ", ".join(s["views"]), str(len(s["inputs"])), s["owner"], _said(s)


_LISTS: Mapping[str, tuple[Row, Any]] = {
    "views": (("view", "version", "entity", "source", "features", "owner", ""), _view),
    "entities": (("entity", "join keys", "views", "owner", ""), _entity),
    "sources": (("source", "rows come", "rows", "newest (UTC)", "views", "owner", ""), _source),
    "services": (("service", "kind", "views", "inputs", "owner", ""), _service),
}


def _said(thing: Mapping[str, Any]) -> str:
    return str(thing["description"])


def _tags(tags: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in tags.items())


def _fresh(said: Mapping[str, Any]) -> str:
    if not said["newest_available"]:
        return "no row yet"
    event = f", of {when(said['newest_event'])}" if said["newest_event"] else ""
    limit = f"; {'within' if said['fresh'] else 'NOT within'} {said['fresh_within']}" if said["fresh_within"] else ""
    return f"the newest of {said['rows']} rows became known at {when(said['newest_available'])} UTC{event}{limit}"


def _made(feature: Mapping[str, Any]) -> str:
    aggregate = feature["aggregate"]
    if aggregate is None:
        return "newest row"
    named = f"{aggregate['q']} quantile" if "q" in aggregate else aggregate["function"]
    where = f" where {aggregate['where']}" if "where" in aggregate else ""
    return f"{named} of {aggregate.get('column', 'rows')}{where}"


def _expected(said: Mapping[str, float] | None) -> str:
    if said is None:
        return ""
    ends = f"{said.get('low', '')} to {said.get('high', '')}" if {"low", "high"} & set(said) else ""
    share = f"{said['missing']:.1%} missing" if "missing" in said else ""
    return ", ".join(filter(None, (ends.strip(), share)))


def _figures(told: Mapping[str, Any]) -> Iterator[str]:
    for name in _FIGURES:
        yield f"{told[name]:.4g}" if name in told else ""
