"""``modelwright monitor``: what drifts, since when and why, reports, and what a source's policy would find at all."""

import json
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from modelwright.cli.telling import when
from modelwright.errors import InvalidInput, LocalStackError
from modelwright.local import stacks

app = typer.Typer(no_args_is_help=True, help="Drift of sources: verdicts, reports, and what could be found at all.")
SourceName = Annotated[str, typer.Argument(help="A source of the project.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Endpoint = Annotated[str, typer.Option("--endpoint", envvar="MODELWRIGHT_ENDPOINT", help="URL of a stack.")]
Told = Mapping[str, Any]


@app.command()
def drift(
    source: SourceName,
    limit: Annotated[int, typer.Option(min=1, max=200, help="So many newest windows.")] = 30,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print a source's verdicts over time, newest first: what drifted, by how much, and since when (UTC)."""
    told = stacks.connect(endpoint).get(_path("drift", source), limit=str(limit))
    typer.echo(json.dumps(told, indent=2) if as_json else "\n".join(drift_lines(told)))


@app.command()
def show(
    source: SourceName,
    window: Annotated[str, typer.Option(help="Of which window: the first letters of its digest; empty: newest.")] = "",
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print a window's verdict column by column, what is furthest above its floor first."""
    told = stacks.connect(endpoint).get(_path("drift", source), limit="200")
    found = next((one for one in told["windows"] if one["digest"].startswith(window)), None)
    if found is None:
        raise InvalidInput(f"no window {window or 'at all'} of {source} was judged among the newest 200")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(window_lines(found)))


@app.command()
def report(
    source: SourceName,
    window: Annotated[str, typer.Option(help="Of which window: the first letters of its digest; empty: newest.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; without it SOURCE-drift.html.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The same figures as JSON, to the screen or --output.")
    ] = False,
    show_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    endpoint: Endpoint = "",
) -> None:
    """Write the report of a window, one HTML file that loads nothing."""
    query = urlencode({"window": window, "form": "json" if as_json else "html"})
    body = stacks.connect(endpoint).download(f"{_path('drift', source)}/report?{query}")
    if as_json and output is None:
        typer.echo(body.decode())
        return
    target = output or Path(f"{source}-drift.html")
    target.write_bytes(body)
    typer.echo(f"wrote {target}")
    if show_it and not as_json:
        webbrowser.open(target.resolve().as_uri())


@app.command()
def plan(
    source: SourceName,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a window.")] = 1_000,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Files of the source to plan from, here and without a stack; needs --project."),
    ] = None,
    project: Annotated[Path | None, typer.Option(help="Folder with modelwright.toml, with --data.")] = None,
    as_json: AsJson = False,
    endpoint: Endpoint = "",
) -> None:
    """Print, from the reference alone, how often windows would alarm without drift, and the smallest shifts found."""
    if data or project:
        told = _planned_here(source, rows, data or [], project)
    else:
        told = stacks.connect(endpoint).get(_path("plan", source), rows=str(rows))
    typer.echo(json.dumps(told, indent=2) if as_json else "\n".join(plan_lines(told)))


def drift_lines(told: Told) -> Iterator[str]:
    """Yield verdicts over time for people."""
    if not told["windows"]:
        yield f"no window of {told['source']} was judged yet: it takes a reference and rows enough"
    for one in told["windows"]:
        drifted = [column for column in one["columns"] if column["drifted"]]
        said = (
            f"{one['share']:.0%} drifts{', the data set as a whole' if one['dataset'] else ''}" if drifted else "quiet"
        )
        yield f"{when(one['window']['end'])}  {one['digest'][:8]}  {one['rows']:>9} rows  {said}"
        yield from (f"    {_told(column)}" for column in drifted)


def window_lines(one: Told) -> Iterator[str]:
    """Yield a window's verdict for people."""
    yield f"{when(one['window']['start'])} to {when(one['window']['end'])} UTC, {one['rows']} rows"
    yield f"compared with {one['reference']}"
    yield from (f"note: {note}" for note in one["notes"])
    yield f"{'column':<24} {'detector':<18} {'effect':>9} {'floor':>9} {'p':>9}"
    for column in sorted(one["columns"], key=_by_strength):
        p = "" if column["p_adjusted"] is None else f"{column['p_adjusted']:.2g}"
        named = f"{column['column']} [{column['segment']}]" if column["segment"] else column["column"]
        mark = f"  drifts: {column['text']}" if column["drifted"] else ""
        yield f"{named:<24} {column['detector']:<18} {column['effect']:>9.3g} {column['floor']:>9.3g} {p:>9}{mark}"


def plan_lines(told: Told) -> Iterator[str]:
    """Yield a plan for people."""
    against = f"{told['reference']} ({told['reference_rows']} rows)"
    yield f"{told['source']}: windows of {told['rows']} rows against {against}"
    titles = {
        "false_alarms": "without drift, windows in which a column moves",
        "after_agreement": "without drift, windows that alarm, since several have to agree",
    }
    for name, title in titles.items():
        share = told[name]
        interval = f"95 %: {share['low']:.1%} to {share['high']:.1%}, {told['windows']} drawn"
        yield f"{title}: {share['value']:.1%} ({interval})"
    yield from (f"note: {note}" for note in told["notes"])
    yield f"smallest shifts found in {told['power']:.0%} of windows (- : none of those that were tried)"
    yield f"{'column':<24} {'mean, in sd':>12} {'missing':>9} {'category':>9} {'unseen':>9}"
    for one in (*told["columns"], {**told, "column": "all of them", "unseen": None}):
        shares = " ".join(f"{_percent(one[name]):>9}" for name in ("missing", "category", "unseen"))
        mean = "-" if one["mean"] is None else f"{one['mean']:g}"
        yield f"{one['column']:<24} {mean:>12} {shares}"


# --- private -----------------------------------------------------------------------------


def _path(what: str, source: str) -> str:
    return f"/v1/monitoring/{what}/{quote(source, safe='')}"


def _told(column: Told) -> str:
    place = f" where {column['segment']}" if column["segment"] else ""
    since = f", since {when(column['since'])}" if column["since"] else ""
    return f"{column['column']}{place}: {column['text']}{since}, against {column['reference']}"


def _by_strength(column: Told) -> tuple[bool, float]:
    return not column["drifted"], -(column["effect"] / column["floor"] if column["floor"] else column["effect"])


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _planned_here(source: str, rows: int, data: list[Path], project: Path | None) -> dict[str, Any]:
    """Plan from files of a source, without a stack."""
    if not data or project is None:
        raise InvalidInput("to plan here give both --project FOLDER and --data FILE, once for each file")
    try:
        from modelwright.monitoring.documents import Reference
        from modelwright.monitoring.profiles import profile_of
        from modelwright.monitoring.reading import read_rows
        from modelwright.monitoring.verdict.sensitivity import plan as planned
    except ModuleNotFoundError as error:
        raise LocalStackError(f'{error.name} is not installed: pip install "modelwright[local]"') from error
    from modelwright.plugins import load
    from modelwright.team import read_team

    sources = read_team(project).project.sources
    if source not in sources:
        raise InvalidInput(f"there is no source {source}: {project} declares {', '.join(sorted(sources)) or 'none'}")
    declared = sources[source]
    if lost := [file for file in data if not file.is_file()]:
        raise InvalidInput(f"{lost[0]} is no file")
    read = [read_rows(file.read_bytes(), declared) for file in data]
    profiles = [profile_of(one.typed, source, declared, one.digest) for one in read]
    reference = Reference(tuple(sorted(profiles, key=lambda one: one.end)), f"{len(profiles)} files given here")
    detectors = [load("detectors", name)() for name in declared.detectors]
    return planned(source, declared, reference, detectors, rows).model_dump(mode="json")
